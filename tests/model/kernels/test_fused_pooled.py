"""The fused encoder where only the first token of each text is read, as a classifier does: the last
layer computes no others. Everything is as if it had."""
import functools
import json

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import HybridBlock
from support.fused_networks import (
    assert_same_gradients,
    batch,
    gradients_of,
    make,
    make_config,
    own_operators,
)

from bert.graph_names import FUSED_OPERATOR
from bert.model.bert import set_compute_dtype
from bert.model.classification import BERTClassifier
from bert.model.kernels.quantizer import FusedQuantizer, with_attributes
from bert.model.qa import BertForQA
from bert.quantization.tune import symbol_block

pytestmark = pytest.mark.usefixtures('kernels')

LENGTHS = [3, 10, 1, 70, 7]     # the first text has fewer tokens than there are texts
FORWARD, GRADIENT = 1e-5, 1e-4      # relative to the largest number
ORDER = 1e-6        # the same numbers added in another order
SIZES = [{}, {'num_layers': 1}, {'units': 96, 'num_heads': 3}, {'hidden_size': 1632},
         {'units': 256, 'hidden_size': 1024, 'num_heads': 4}]


class NotOurs(HybridBlock):
    """A BERT that no `BERTModel` is."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def hybrid_forward(self, F, *arrays):
        return self.network(*arrays)


def gradients(network, compute, **more):
    mx.random.seed(1)       # of the dropout
    return gradients_of(network, compute, **more)


def classifier_on(bert, num_classes=2):
    network = BERTClassifier(bert, num_classes)
    network.classifier.initialize()
    return network


def firsts(network, arrays, cls_only):
    """(texts, units): states of first tokens."""
    return network._encode(mx.nd, *arrays, cls_only=cls_only)[:, 0]


def both_ways(network, arrays):
    """`gradients` of first tokens' states: computed alone, and among all."""
    return [gradients(network, functools.partial(firsts, network, arrays, cls_only))
            for cls_only in (True, False)]


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('threads', [1, 2, 3])
@pytest.mark.parametrize('sizes', SIZES)
def test_it_equals_the_whole_layer(kernels, sizes, threads, dtype):
    """Bit by bit in forward, dropout too; in backward up to the order of sums."""
    kernels.use_threads(threads)
    network, arrays = make(make_config(**sizes), dropout=0.1, dtype=dtype), batch(LENGTHS)
    found, expected = both_ways(network, arrays)
    assert np.array_equal(found[0], expected[0])
    # what is rounded to bfloat16 after another order of a sum may differ by a step of it
    assert_same_gradients(found[1], expected[1], ORDER if dtype == 'float32' else 2e-3)
    assert np.array_equal(firsts(network, arrays, True).asnumpy(),
                          firsts(network, arrays, False).asnumpy())


@pytest.mark.parametrize('threads', [1, 2])
@pytest.mark.parametrize('lengths', [[1], [2], [130], [512, 1], [1] * 300, [40] * 20])
def test_lengths(kernels, lengths, threads):
    kernels.use_threads(threads)
    network, arrays = make(dropout=0.1), batch(lengths)
    found, expected = both_ways(network, arrays)
    assert np.array_equal(found[0], expected[0])
    assert_same_gradients(found[1], expected[1], 10 * ORDER)


@pytest.mark.parametrize('seed', range(20))
def test_random_networks_equal_the_own_operators(kernels, seed):
    kernels.use_threads(seed % 4 + 1)
    random = np.random.RandomState(seed)
    heads = random.randint(1, 5)
    config = make_config(random.randint(1, 4), random.choice([32, 64]) * heads,
                         32 * random.randint(1, 13), heads)
    classifier = classifier_on(make(config, seed=seed, use_pooler=True), 3)
    lengths = random.randint(1, 40, size=random.randint(1, 7))
    arrays = batch(list(lengths), seed, max(lengths) + random.randint(3))
    found = gradients(classifier, lambda: classifier(*arrays))
    with own_operators():
        expected = gradients(classifier, lambda: classifier(*arrays))
    assert found[0].shape == (len(lengths), 3)
    assert np.abs(found[0] - expected[0]).max() <= FORWARD * np.abs(expected[0]).max()
    assert_same_gradients(found[1], expected[1], GRADIENT)


@pytest.mark.parametrize('train_mode', [True, False])
@pytest.mark.parametrize('request_of', ['write', 'add'])
def test_gradients_that_are_added_or_outside_of_training(kernels, request_of, train_mode):
    """Outside of training forward keeps nothing, and backward computes it again."""
    kernels.use_threads(2)
    classifier, arrays = classifier_on(make(use_pooler=True)), batch(LENGTHS)
    classifier(*arrays)
    for parameter in classifier.collect_params().values():
        parameter.grad_req = request_of

    def twice():
        for parameter in classifier.collect_params().values():
            parameter.zero_grad()
        return [gradients(classifier, lambda: classifier(*arrays), train_mode=train_mode)
                for _ in range(2)]

    found = twice()
    with own_operators():
        expected = twice()
    for one, other in zip(found, expected):
        assert_same_gradients(one[1], other[1], GRADIENT)
    name = 'bert.encoder.transformer_cells.1.attention_cell.proj_query.weight'
    times = 2 if request_of == 'add' else 1
    assert np.allclose(found[1][1][name], times * found[0][1][name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('threads', [1, 2])
def test_int8_equals_the_whole_layer(kernels, threads):
    kernels.use_threads(threads)
    network, arrays = make(make_config(hidden_size=1600), dtype='int8'), batch(LENGTHS)
    assert np.array_equal(firsts(network, arrays, True).asnumpy(),
                          firsts(network, arrays, False).asnumpy())


def operator_of(network):
    """The attributes of the fused operator in the graph of a hybridized network."""
    nodes = json.loads(network._cached_graph[1].tojson())['nodes']
    found, = [node['attrs'] for node in nodes if node['op'] == FUSED_OPERATOR]
    return found


def test_who_reads_first_tokens_alone():
    arrays = batch(LENGTHS)
    bert, answering = make(use_pooler=True), BertForQA(make())
    answering.span_classifier.initialize()
    for network, expected in ((classifier_on(bert), '1'), (bert, '0'), (answering, '0')):
        network.hybridize()
        network(*arrays)
        assert operator_of(network)['first_only'] == expected
    sequence, pooled = bert(*arrays)
    assert sequence.shape == (5, 70, 64)
    assert np.array_equal(pooled.asnumpy(), bert.pooled(mx.nd, *arrays).asnumpy())


def test_without_layers_the_own_operators_compute():
    network = make(make_config(num_layers=0), use_pooler=True)
    assert not network.is_fused()
    assert network.pooled(mx.nd, *batch(LENGTHS)).shape == (5, 64)


def test_hidden_states_are_of_all_tokens():
    network, arrays = make(use_pooler=True), batch(LENGTHS)
    network.encoder.layers = (0, -1), 'sum'
    sequence, pooled = network(*arrays)
    assert np.array_equal(network.pooled(mx.nd, *arrays).asnumpy(), pooled.asnumpy())
    assert network._encode(mx.nd, *arrays, cls_only=True).shape == sequence.shape


def test_the_bert_of_somebody_else():
    """gluonnlp's, for one, gives both, and the classifier takes the second."""
    ours = make(use_pooler=True)
    classifier, other = classifier_on(ours), classifier_on(NotOurs(ours))
    arrays = batch(LENGTHS)
    expected = classifier(*arrays).asnumpy()
    other(*arrays)
    other.classifier[0].weight.set_data(classifier.classifier[0].weight.data())
    assert np.array_equal(other(*arrays).asnumpy(), expected)


def test_symbols():
    """An INT8 symbol has it too; one of before the attribute existed is of all tokens."""
    classifier, arrays = classifier_on(make(use_pooler=True)), batch(LENGTHS)
    classifier(*arrays)
    graph, parameters = FusedQuantizer(classifier).quantize()
    set_compute_dtype(classifier, 'int8')
    expected = classifier(*arrays).asnumpy()
    content = json.loads(graph.tojson())
    node, = [node for node in content['nodes'] if node['op'] == FUSED_OPERATOR]
    assert node['attrs'].pop('first_only') == '1'
    for one in (graph, mx.sym.load_json(json.dumps(content))):
        assert np.array_equal(symbol_block(one, parameters)(*arrays).asnumpy(), expected)
    with pytest.raises(mx.MXNetError, match='attribute first_only: for the last state alone'):
        with_attributes(graph, outputs='0:0:1.0')
