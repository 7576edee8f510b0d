"""Our token ids for a sample of the shared data, against those that transformers confirmed.

benchmarks/weights/tokenizer.py compared the ids of every text and wrote the digests.
"""
import json
import pathlib

import pytest

from benchmarks.weights import tokenizer

FOLDER = pathlib.Path(__file__).resolve().parent
DIGESTS = json.loads((FOLDER / 'tokenizer_digests.json').read_text(encoding='utf-8'))
SHORT_RUN_NAMES = 'bert-base-uncased', 'bert-base-chinese'     # tested in the short run too


@pytest.fixture(scope='module')
def texts(data_dir):
    return tokenizer.sample_of(tokenizer.texts_of(data_dir))


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=[] if name in SHORT_RUN_NAMES else pytest.mark.exhaustive)
    for name in sorted(DIGESTS)])
def test_ids_are_those_that_transformers_confirmed(name, texts, data_dir):
    expected = DIGESTS[name]['sample']
    assert len(texts) == expected['texts']
    ids = tokenizer.our_ids(tokenizer.vocabularies_of(data_dir)[name], texts)
    assert tokenizer.digest_of(ids) == expected['sha256']


def test_every_vocabulary_has_its_digest(data_dir):
    assert sorted(tokenizer.vocabularies_of(data_dir)) == sorted(DIGESTS)
