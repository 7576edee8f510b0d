"""Networks that the fused operators serve, the same of MXNet's own operators, and batches."""
import contextlib
import json
import os
import re

import mxnet as mx
import numpy as np

from bert.model.bert import BertConfig, BERTModel
from bert.model.classification import BERTClassifier
from bert.model.kernels import library

VOCABULARY, POSITIONS = 50, 512
VALUE = re.compile(r'(query|key)\.(weight|bias)')


def make_config(num_layers=2, units=64, hidden_size=128, num_heads=2, **more):
    return BertConfig(num_layers, units, hidden_size, num_heads, vocab_size=VOCABULARY,
                      max_length=POSITIONS, **more)


def make(config=None, dropout=0.0, seed=0, gain=1.0, dtype='float32', use_pooler=False, **parts):
    """A `BERTModel` of random weights, with which a dense layer gives about `gain` times the
    spread that it gets."""
    network = BERTModel(config or make_config(), dropout=dropout, use_pooler=use_pooler,
                        compute_dtype=dtype, **parts)
    network.initialize()
    random = np.random.RandomState(seed)
    for name, value in network._collect_params_with_prefix().items():
        drawn = random.randn(*value.shape)
        if name.endswith('gamma'):
            drawn = 1 + 0.1 * drawn
        elif name.endswith('weight') and 'embed' not in name and 'position' not in name:
            drawn *= gain / np.sqrt(value.shape[1])
        else:
            drawn *= 0.3
        value.set_data(mx.nd.array(drawn))
    return network


def batch(lengths, seed=0, longest=None):
    """token_ids, segment_ids, valid_length of texts of these lengths."""
    random = np.random.RandomState(seed)
    shape = len(lengths), longest or max(lengths)
    return (mx.nd.array(random.randint(VOCABULARY, size=shape), dtype='int32'),
            mx.nd.array(random.randint(2, size=shape), dtype='int32'),
            mx.nd.array(lengths, dtype='float32'))


def make_classifier(dropout=0.1, **parts):
    """A `BERTClassifier` that is not hybridized."""
    network = BERTClassifier(BERTModel(make_config(), dropout=dropout, **parts), dropout=dropout)
    network.initialize(mx.init.Normal(0.2))
    network(*batch([2]))        # the head's width is open until then
    return network


@contextlib.contextmanager
def own_operators():
    """Context in which MXNet's own operators compute."""
    before = os.environ.get(library.SWITCH)
    os.environ[library.SWITCH] = '0'
    try:
        yield
    finally:
        if before is None:
            del os.environ[library.SWITCH]
        else:
            os.environ[library.SWITCH] = before


def operators_of(network):
    """The names of the operators in the graph of a hybridized network."""
    return operators(network._cached_graph[1])


def operators(graph):
    """The names of the operators in a symbol."""
    return {node['op'] for node in json.loads(graph.tojson())['nodes']}


def used(arrays):
    """(batch, length): what is no padding."""
    return np.arange(arrays[0].shape[1]) < arrays[2].asnumpy()[:, None]


def gradients(network, arrays, seed=1, train_mode=True):
    """(output, {name: gradient}) of a sum of the outputs with random factors, 0 at padding."""
    return gradients_of(network, lambda: network(*arrays), used(arrays)[:, :, None], seed,
                        train_mode)


def gradients_of(network, compute, mask=1, seed=1, train_mode=True):
    """The same of what `compute()` gives, a part of it where `mask` is 1."""
    with mx.autograd.record(train_mode):
        output = compute()
        random = np.random.RandomState(seed).randn(*output.shape) * mask
        total = (output * mx.nd.array(random)).sum()
    total.backward(train_mode=train_mode)
    return output.asnumpy(), {name: value.grad().asnumpy().copy() for name, value
                              in network._collect_params_with_prefix().items()}


def assert_same_gradients(found, expected, bound):
    """Within `bound` of the largest number of each array."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = np.abs(value).max()
        if 'proj_query' in name or 'proj_key' in name:
            # zero for a single token, and for the bias of keys always: then it is rounding alone,
            # and small next to what went into it
            scale = max(scale, 0.01 * np.abs(expected[VALUE.sub('value.weight', name)]).max())
        difference = np.abs(found[name] - value).max()
        assert difference <= bound * scale, (name, difference / scale)


def cosine(a, b):
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
