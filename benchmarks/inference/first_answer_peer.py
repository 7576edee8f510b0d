"""The peers' side of first_answer.py: opens a model and prints its first result. The imports are
those that a user of each library writes, and are a part of what is timed."""
import os
import sys


def make_label(folder, text, _):
    from transformers import pipeline
    return pipeline('text-classification', model=folder)(text)


def make_vector(folder, text, _):
    from sentence_transformers import SentenceTransformer
    return SentenceTransformer(folder, device='cpu').encode([text])[0][:2]


def make_answer(folder, text, question):
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    inputs = tokenizer(question, text, return_tensors='pt')
    with torch.no_grad():
        outputs = model(**inputs)
    start, end = int(outputs.start_logits.argmax()), int(outputs.end_logits.argmax())
    return tokenizer.decode(inputs['input_ids'][0, start:end + 1])


MAKERS = {'label': make_label, 'vector': make_vector, 'answer': make_answer}

if __name__ == '__main__':
    kind, *arguments = sys.argv[1:]
    os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')
    print('result:', MAKERS[kind](*arguments), flush=True)
