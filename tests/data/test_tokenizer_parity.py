"""Our ids of a sample of the shared data, against those that transformers confirmed.

benchmarks/tokenizer.py compared the ids of every text and wrote the digests.
"""
import importlib
import json
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
DIGESTS = json.loads((HERE / 'tokenizer_digests.json').read_text(encoding='utf-8'))
SHORT = 'bert-base-uncased', 'bert-base-chinese'     # in the short run, too


@pytest.fixture(scope='module')
def tokenizer():
    """The module benchmarks/tokenizer.py."""
    folder = str(HERE.parents[1] / 'benchmarks')
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module('tokenizer')
    finally:
        sys.path.remove(folder)


@pytest.fixture(scope='module')
def texts(tokenizer, data_dir):
    return tokenizer.sample_of(tokenizer.texts_of(data_dir))


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=[] if name in SHORT else pytest.mark.exhaustive)
    for name in sorted(DIGESTS)])
def test_ids_are_those_that_transformers_confirmed(name, tokenizer, texts, data_dir):
    expected = DIGESTS[name]['sample']
    assert len(texts) == expected['texts']
    ids = tokenizer.our_ids(tokenizer.vocabularies_of(data_dir)[name], texts)
    assert tokenizer.digest_of(ids) == expected['sha256']


def test_every_vocabulary_has_its_digest(tokenizer, data_dir):
    assert sorted(tokenizer.vocabularies_of(data_dir)) == sorted(DIGESTS)
