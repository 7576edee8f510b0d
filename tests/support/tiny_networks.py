"""Tiny networks with random weights, and batches for them."""
import dataclasses

import mxnet as mx
import numpy as np
from support import tiny

from bert.model.bert import BERTModel
from bert.model.classification import BERTClassifier
from bert.model.qa import BertForQA


def make_classifier(num_classes=2, seed=3, spread=0.5, **config):
    """A hybridized `BERTClassifier` of `tiny.CONFIG`, changed as `config` says."""
    return _initialised(BERTClassifier(_bert(config, True), num_classes, dropout=0.1), seed, spread)


def make_qa(seed=3, spread=0.5, **config):
    return _initialised(BertForQA(_bert(config, False)), seed, spread)


def _bert(config, pooler):
    return BERTModel(dataclasses.replace(tiny.CONFIG, **config), dropout=0.1, use_pooler=pooler)


def _initialised(network, seed, spread):
    """Weights of standard deviation `spread`, so that outputs are around 1."""
    network.initialize()
    network.hybridize()
    network(*map(mx.nd.array, batch(1, 4)))     # the head's width is open until then
    random = np.random.RandomState(seed)
    for name, value in network.collect_params().items():
        drawn = random.randn(*value.shape)
        value.set_data(mx.nd.array(1 + 0.1 * drawn if name.endswith('gamma') else
                                   spread * drawn if name.endswith('weight') else 0.1 * drawn))
    return network


def batch(size, length, seed=0):
    """token_ids, segment_ids, valid_length of texts of 1 to `length` tokens, the first one full."""
    random = np.random.RandomState(seed)
    valid_length = random.randint(1, length + 1, size=size).astype('float32')
    valid_length[0] = length
    return (random.randint(len(tiny.TOKENS), size=(size, length)).astype('int32'),
            random.randint(2, size=(size, length)).astype('int32'), valid_length)


def outputs(network, arrays):
    return network(*map(mx.nd.array, arrays)).asnumpy()


def assert_same(found, expected, valid_length, atol=1e-5):
    """Equal, but for scores of padding."""
    assert found.shape == expected.shape and found.dtype == np.float32
    if found.ndim == 3:
        used = np.arange(found.shape[1]) < valid_length[:, None]
        found, expected = found[used], expected[used]
    np.testing.assert_allclose(found, expected, atol=atol)
