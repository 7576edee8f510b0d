"""The peer's side of the entity comparisons: transformers on PyTorch.

Runs in the peer's own environment (harness.py) and knows nothing of `bert`: it reads and writes
JSON. It tokenizes words with its own tokenizer.
"""
import argparse
import os
import time

import numpy as np
import torch
import transformers

from benchmarks import harness
from benchmarks.classifier.peer import autocast, train_epochs

NO_LABEL = -100


class Sentences:
    """Sentences of words and tags from a JSON file, tokenized, batched and padded here."""

    def __init__(self, path, tokenizer, max_len):
        content = harness.read_json(path)
        self.labels, self.sentences = content['labels'], content['sentences']
        self._tokenizer = tokenizer
        self._encodings = tokenizer([words for words, _ in self.sentences], truncation=True,
                                    max_length=max_len, is_split_into_words=True)
        indices = {label: i for i, label in enumerate(self.labels)}
        self._token_labels = [
            self._label_first_pieces([indices[tag] for tag in tags], self.word_ids(i))
            for i, (_, tags) in enumerate(self.sentences)]

    def __len__(self):
        return len(self.sentences)

    def word_ids(self, i):
        return self._encodings.word_ids(i)

    def _label_first_pieces(self, labels, word_ids):
        return [NO_LABEL if word is None or word == previous else labels[word]
                for word, previous in zip(word_ids, [None] + word_ids)]

    def batch(self, indices):
        """The model's keyword arguments, padded to the longest."""
        features = [{name: values[i] for name, values in self._encodings.items()}
                    for i in indices]
        batch = dict(self._tokenizer.pad(features, return_tensors='pt'))
        labels = np.full(batch['input_ids'].shape, NO_LABEL)
        for row, i in zip(labels, indices):
            row[:len(self._token_labels[i])] = self._token_labels[i]
        return dict(batch, labels=torch.from_numpy(labels))


@torch.no_grad()
def predict_tags(model, sentences, dtype, batch_size=32):
    """The tag of each word: that of its first piece; O for a word that was cut off."""
    model.eval()
    tags = []
    for start in range(0, len(sentences), batch_size):
        indices = range(start, min(start + batch_size, len(sentences)))
        with autocast(dtype):
            classes = model(**sentences.batch(indices)).logits.argmax(dim=-1).numpy()
        for i, row in zip(indices, classes):
            words, _ = sentences.sentences[i]
            word_tags = ['O'] * len(words)
            for position, word in reversed(list(enumerate(sentences.word_ids(i)))):
                if word is not None:        # the first piece comes last here
                    word_tags[word] = sentences.labels[row[position]]
            tags.append(word_tags)
    return tags


def write_dev_tags(args):
    """Fine-tune with one seed; write the tags of dev after each epoch, and the seconds."""
    torch.manual_seed(args.seed)
    rng = np.random.RandomState(args.seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.weights)
    train, dev = (Sentences(path, tokenizer, args.max_len) for path in (args.words, args.dev))
    model = transformers.BertForTokenClassification.from_pretrained(
        args.weights, num_labels=len(train.labels))
    tags, seconds = train_epochs(model, train, args, rng,
                                 lambda: predict_tags(model, dev, args.dtype))
    harness.write_json(args.output, {'tags': tags, 'seconds': seconds})


def answer_with_entities(args):
    """Answer {'texts', 'batch_size'} with the seconds that its pipeline takes, and the entities."""
    model = transformers.BertForTokenClassification.from_pretrained(
        args.weights, dtype=getattr(torch, args.dtype))
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.weights)
    tag = transformers.pipeline('token-classification', model=model, tokenizer=tokenizer,
                                aggregation_strategy='first', device='cpu')

    def answer(question):
        started = time.perf_counter()
        results = tag(question['texts'], batch_size=question['batch_size'])
        seconds = time.perf_counter() - started
        return {'seconds': seconds, 'entities': [
            [[entity['entity_group'], entity['start'], entity['end'], float(entity['score'])]
             for entity in entities] for entities in results]}
    harness.answer_questions(answer)


JOBS = {'scores': write_dev_tags, 'speed': answer_with_entities}


def main():
    parser = argparse.ArgumentParser(description='worker of the entity comparisons')
    parser.add_argument('job', choices=sorted(JOBS))
    harness.add_peer_flags(parser)
    parser.add_argument('--max_len', type=int, default=128)
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), default='float32')
    parser.add_argument('--words', help='.json of training sentences (scores)')
    parser.add_argument('--dev', help='.json of dev sentences (scores)')
    parser.add_argument('--output', help='.json to write (scores)')
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    transformers.logging.set_verbosity_error()
    JOBS[args.job](args)


if __name__ == '__main__':
    main()
