"""The peer's side of relative_tokens.py: trains tokenizers of BERT's relatives, and encodes texts.

Runs in the peer's own environment (harness.py) and knows nothing of `bert`.
"""
import json

import numpy as np
import transformers
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, pre_tokenizers, trainers

from benchmarks import harness

BYTE_PAIR_TOKENS = ('<s>', '<pad>', '</s>', '<unk>', '<mask>')
# {class: its special tokens before the pieces}
PIECE_TOKENS = {'XLMRobertaTokenizer': ('<s>', '<pad>', '</s>', '<unk>'),
                'CamembertTokenizer': ('<s>NOTUSED', '<pad>', '</s>NOTUSED', '<unk>',
                                       '<unk>NOTUSED')}
MAX_TOKENS = 10 ** 6        # nothing is cut


def make_byte_pairs(texts, size):
    """RoBERTa's tokenizer with `size` tokens."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(texts, size, special_tokens=list(BYTE_PAIR_TOKENS),
                                show_progress=False)
    model = json.loads(trained.to_str())['model']
    return transformers.RobertaTokenizer(
        vocab=model['vocab'], merges=[tuple(pair) for pair in model['merges']],
        model_max_length=MAX_TOKENS)


def make_pieces(name, texts, size):
    """The tokenizer of a class of PIECE_TOKENS with `size` pieces of a unigram model."""
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(texts, trainers.UnigramTrainer(
        vocab_size=size, unk_token='<unk>', special_tokens=['<unk>'], show_progress=False))
    pieces = [tuple(entry) for entry in json.loads(trained.to_str())['model']['vocab']]
    vocabulary = [(token, 0.0) for token in PIECE_TOKENS[name]] + [
        entry for entry in pieces if entry[0] != '<unk>'] + [('<mask>', 0.0)]
    return getattr(transformers, name)(vocab=vocabulary, model_max_length=MAX_TOKENS)


def make_word_pieces(name, path, lower):
    """The tokenizer of a class with BERT's rules, by a vocab.txt."""
    return getattr(transformers, name)(path, do_lower_case=lower, model_max_length=MAX_TOKENS)


def make(question):
    """Save a tokenizer in 'folder'."""
    name = question['name']
    if 'vocabulary' in question:
        tokenizer = make_word_pieces(name, question['vocabulary'], question['lower'])
    else:
        texts = harness.read_json(question['texts'])
        tokenizer = make_byte_pairs(texts, question['size']) if name == 'RobertaTokenizer' else \
            make_pieces(name, texts, question['size'])
    tokenizer.save_pretrained(question['folder'])
    return {'tokens': len(tokenizer)}


def encode(question):
    """Write the ids of 'texts', special tokens included, and of each text with the next one as a
    pair, to 'output'."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(question['folder'])
    texts = harness.read_json(question['texts'])
    rows = tokenizer(texts)['input_ids'] + tokenizer(texts[:-1], texts[1:])['input_ids']
    np.savez(question['output'], ids=np.array([i for row in rows for i in row], dtype='int32'),
             lengths=np.array([len(row) for row in rows], dtype='int32'))
    return {'rows': len(rows)}


JOBS = {'make': make, 'encode': encode}


def main():
    transformers.logging.set_verbosity_error()
    harness.answer_questions(lambda question: JOBS[question['job']](question))


if __name__ == '__main__':
    main()
