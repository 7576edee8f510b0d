"""Networks that use the fused operators, the switch to MXNet's own operators, and batches."""
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
QUERY_OR_KEY = re.compile(r'(query|key)\.(weight|bias)')


def make_config(num_layers=2, units=64, hidden_size=128, num_heads=2, **options):
    return BertConfig(num_layers, units, hidden_size, num_heads,
                      **dict(dict(vocab_size=VOCABULARY, max_length=POSITIONS), **options))


def make(config=None, dropout=0.0, seed=0, gain=1.0, dtype='float32', use_pooler=False, **parts):
    """A `BERTModel` with random weights, such that each dense layer multiplies the spread of its
    input by about `gain`."""
    network = BERTModel(config or make_config(), dropout=dropout, use_pooler=use_pooler,
                        compute_dtype=dtype, **parts)
    network.initialize()
    random = np.random.RandomState(seed)
    for name, parameter in network._collect_params_with_prefix().items():
        array = random.randn(*parameter.shape)
        if name.endswith('gamma'):
            array = 1 + 0.1 * array
        elif name.endswith('weight') and 'embed' not in name and 'position' not in name:
            array *= gain / np.sqrt(parameter.shape[1])
        else:
            array *= 0.3
        parameter.set_data(mx.nd.array(array))
    return network


def batch(lengths, seed=0, padded_length=None):
    """token_ids, segment_ids, valid_length of texts of these lengths."""
    random = np.random.RandomState(seed)
    shape = len(lengths), padded_length or max(lengths)
    return (mx.nd.array(random.randint(VOCABULARY, size=shape), dtype='int32'),
            mx.nd.array(random.randint(2, size=shape), dtype='int32'),
            mx.nd.array(lengths, dtype='float32'))


def make_classifier(dropout=0.1, **parts):
    """A `BERTClassifier` that is not hybridized."""
    network = BERTClassifier(BERTModel(make_config(), dropout=dropout, **parts), dropout=dropout)
    network.initialize(mx.init.Normal(0.2))
    network(*batch([2]))        # the first batch sets the head's input width
    return network


@contextlib.contextmanager
def own_operators():
    """Context in which MXNet's own operators compute."""
    old_value = os.environ.get(library.KERNELS_VARIABLE)
    os.environ[library.KERNELS_VARIABLE] = '0'
    try:
        yield
    finally:
        if old_value is None:
            del os.environ[library.KERNELS_VARIABLE]
        else:
            os.environ[library.KERNELS_VARIABLE] = old_value


def operators_of(network):
    """The names of the operators in the graph of a hybridized network."""
    return operators(network._cached_graph[1])


def operators(graph):
    """The names of the operators in a symbol."""
    return {node['op'] for node in json.loads(graph.tojson())['nodes']}


def token_mask(arrays):
    """(batch, length) bool: False at padding."""
    return np.arange(arrays[0].shape[1]) < arrays[2].asnumpy()[:, None]


def gradients(network, arrays, seed=1, train_mode=True):
    """(output, {name: gradient}) of a randomly weighted sum of the outputs; padding weighs 0."""
    return gradients_of(network, lambda: network(*arrays), token_mask(arrays)[:, :, None],
                        seed, train_mode)


def gradients_of(network, compute, mask=1, seed=1, train_mode=True):
    """The same for the result of `compute()`, with weight 0 where `mask` is 0."""
    with mx.autograd.record(train_mode):
        output = compute()
        random = np.random.RandomState(seed).randn(*output.shape) * mask
        total = (output * mx.nd.array(random)).sum()
    total.backward(train_mode=train_mode)
    return output.asnumpy(), {name: parameter.grad().asnumpy().copy() for name, parameter
                              in network._collect_params_with_prefix().items()}


def assert_same_gradients(gradients, expected, bound):
    """Each array differs by at most `bound` times its largest number."""
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = np.abs(gradient).max()
        if 'proj_query' in name or 'proj_key' in name:
            # The exact gradient is zero for a single token, and always for the bias of keys. Then
            # the array holds only rounding errors, which are small beside the value's gradient.
            value_gradient = expected[QUERY_OR_KEY.sub('value.weight', name)]
            scale = max(scale, 0.01 * np.abs(value_gradient).max())
        difference = np.abs(gradients[name] - gradient).max()
        assert difference <= bound * scale, (name, difference / scale)


def cosine(a, b):
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
