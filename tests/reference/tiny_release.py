"""A tiny model as a repository releases it: its files, their hashes and the true values."""
import hashlib
import io
import json
import zipfile

import mxnet as mx
from reference import numpy_bert
from safetensors.numpy import save

from bert.model.bert import BertConfig
from bert.model.weights import mapping

MODEL, CORPUS = 'bert_2_8_2', 'tiny_corpus'
SIZES = dict(num_layers=2, units=8, hidden_size=16, num_heads=2)
# the special tokens have the same ids as in every published vocabulary
TOKENS = (['[PAD]'] + ['[unused%d]' % i for i in range(99)] + ['[UNK]', '[CLS]', '[SEP]', '[MASK]']
          + ['the', 'cat', 'sat', '##s', 'é', '.'])


def tokens_text(tokens=TOKENS):
    return ''.join(token + '\n' for token in tokens)


def sha1_of(data):
    return hashlib.sha1(data).hexdigest()


def make_zip(name, data, **more_files):
    """The bytes of a zip archive with the file `name`. more_files: {name: content}."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for member, content in dict(more_files, **{name: data}).items():
            archive.writestr(member, content)
    return buffer.getvalue()


def wheel_of(release):
    """The bytes of the wheel tinybert 1.0, with the model in transformers' layout."""
    info, model = 'tinybert-1.0.dist-info/', 'tinybert/model/'
    return make_zip(model + 'model.safetensors', save(release.tensors), **{
        model + 'config.json': '{}', model + 'tokenizer_config.json': '{}',
        model + 'vocab.txt': tokens_text(),
        info + 'METADATA': 'Metadata-Version: 2.1\nName: tinybert\nVersion: 1.0\n',
        info + 'WHEEL': 'Wheel-Version: 1.0\nTag: py3-none-any\n'})


class Release:
    """The tiny model as the Gluon repository has it: its files, their hashes and the true values.

    config. tensors: with transformers' names and the ids of vocab.txt. params, vocab: bytes of
    gluonnlp's files, with gluonnlp's ids. content: {path in the repository: zip}.
    """

    def __init__(self, folder):
        self.config = BertConfig(vocab_size=len(TOKENS), **SIZES)
        self.tensors = numpy_bert.random_tensors(self.config)
        arrays = mapping.from_transformers(self.tensors, 'test')
        self.order = swap_special_tokens(TOKENS)
        arrays = {name: mx.nd.array(array) for name, array in
                  mapping.reorder_ids(arrays, TOKENS, self.order).items()}
        path = str(folder / 'made.params')
        mx.nd.save(path, arrays)
        with open(path, 'rb') as file:
            self.params = file.read()
        self.vocab = json.dumps({'idx_to_token': self.order}).encode()
        self.params_sha1, self.vocab_sha1 = sha1_of(self.params), sha1_of(self.vocab)
        self.params_name = '%s_%s-%s' % (MODEL, CORPUS, self.params_sha1[:8])
        self.vocab_name = '%s-%s' % (CORPUS, self.vocab_sha1[:8])
        self.content = {
            'gluon/models/%s.zip' % self.params_name:
                make_zip(self.params_name + '.params', self.params),
            'gluon/dataset/vocab/%s.zip' % self.vocab_name:
                make_zip(self.vocab_name + '.vocab', self.vocab)}


def swap_special_tokens(tokens):
    """Order `tokens` as gluonnlp's conversion tool does, reimplemented here: one after the other,
    the special tokens change places with the tokens at 0, 1, 2, 3, 4."""
    tokens = list(tokens)
    for target, special_token in enumerate(('[UNK]', '[PAD]', '[CLS]', '[SEP]', '[MASK]')):
        index = tokens.index(special_token)
        tokens[index], tokens[target] = tokens[target], tokens[index]
    return tokens
