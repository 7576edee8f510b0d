"""The fused encoder when only some tokens of each text are read: the first one, as by a classifier,
or the masked ones. The last layer computes only these tokens. The results must be the same."""
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
from bert.model.bert import gather_positions, set_compute_dtype
from bert.model.classification import BERTClassifier
from bert.model.kernels.quantizer import FusedQuantizer, with_attributes
from bert.model.masked_lm import BertForMaskedLM
from bert.model.pretraining import BertForPretraining
from bert.model.qa import BertForQA
from bert.quantization.tune import symbol_block

pytestmark = pytest.mark.usefixtures('kernels')

LENGTHS = [3, 10, 1, 70, 7]     # the first text has fewer tokens than there are texts
FORWARD_BOUND, GRADIENT_BOUND = 1e-5, 1e-4      # relative to the largest number
SUM_ORDER_BOUND = 1e-6        # for the same numbers, added in another order
SIZES = [{}, {'num_layers': 1}, {'units': 96, 'num_heads': 3}, {'hidden_size': 1632},
         {'units': 256, 'hidden_size': 1024, 'num_heads': 4}]


class ForeignBert(HybridBlock):
    """A BERT that is not a `BERTModel`."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def hybrid_forward(self, F, *arrays):
        return self.network(*arrays)


def gradients(network, compute, **options):
    mx.random.seed(1)       # for dropout
    return gradients_of(network, compute, **options)


def make_classifier(bert, num_classes=2):
    network = BERTClassifier(bert, num_classes)
    network.classifier.initialize()
    return network


def first_states(network, arrays, cls_only):
    """(texts, units): hidden states of the first tokens."""
    return network._encode(mx.nd, *arrays, cls_only=cls_only)[:, 0]


def compute_both_ways(network, arrays, compute=first_states):
    """[`gradients` of the states that are read]: computed alone, and computed with all tokens."""
    return [gradients(network, functools.partial(compute, network, arrays, alone))
            for alone in (True, False)]


def draw_config(random):
    num_heads = random.randint(1, 5)
    return make_config(random.randint(1, 4), random.choice([32, 64]) * num_heads,
                       32 * random.randint(1, 13), num_heads)


def draw_positions(lengths, count, seed=0, replace=True):
    """(texts, count): positions of tokens, which may occur twice."""
    random = np.random.RandomState(seed)
    return np.array([random.choice(length, count, replace) for length in lengths], dtype='int32')


def states_at(positions):
    """Function like `first_states` for these positions."""
    def compute(network, arrays, alone):
        indices = mx.nd.array(positions, dtype=positions.dtype)
        if alone:
            return network._encode(mx.nd, *arrays, positions=indices)
        return gather_positions(mx.nd, network._encode(mx.nd, *arrays), indices)
    return compute


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('threads', [1, 2, 3])
@pytest.mark.parametrize('sizes', SIZES)
def test_it_equals_the_whole_layer(kernels, sizes, threads, dtype):
    """Forward bit by bit, with dropout too; backward up to the order of sums."""
    kernels.use_threads(threads)
    network, arrays = make(make_config(**sizes), dropout=0.1, dtype=dtype), batch(LENGTHS)
    actual, expected = compute_both_ways(network, arrays)
    assert np.array_equal(actual[0], expected[0])
    # a sum in another order, rounded to bfloat16, may differ by one step of bfloat16
    assert_same_gradients(actual[1], expected[1], SUM_ORDER_BOUND if dtype == 'float32' else 2e-3)
    assert np.array_equal(first_states(network, arrays, True).asnumpy(),
                          first_states(network, arrays, False).asnumpy())


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('count, threads', [(1, 1), (3, 2), (20, 3)])
@pytest.mark.parametrize('sizes', SIZES)
def test_tokens_at_positions_equal_those_of_the_whole_layer(kernels, sizes, count, threads, dtype):
    kernels.use_threads(threads)
    lengths = [20, 33, 70, 21, 25]
    network, arrays = make(make_config(**sizes), dropout=0.1, dtype=dtype), batch(lengths)
    compute = states_at(draw_positions(lengths, count, replace=False))
    actual, expected = compute_both_ways(network, arrays, compute)
    assert actual[0].shape == (5, count, sizes.get('units', 64))
    assert np.array_equal(actual[0], expected[0])
    assert_same_gradients(actual[1], expected[1],
                          10 * SUM_ORDER_BOUND if dtype == 'float32' else 2e-3)
    assert np.array_equal(compute(network, arrays, True).asnumpy(),
                          compute(network, arrays, False).asnumpy())


@pytest.mark.parametrize('threads', [1, 2])
@pytest.mark.parametrize('count', [1, 4, 70])
@pytest.mark.parametrize('lengths', [[1], [2], [130], [512, 1], [1] * 300, [40] * 20])
def test_positions_that_occur_twice(kernels, lengths, count, threads):
    """Also where there are more positions than tokens."""
    kernels.use_threads(threads)
    network, arrays = make(dropout=0.1), batch(lengths)
    actual, expected = compute_both_ways(network, arrays,
                                         states_at(draw_positions(lengths, count)))
    assert np.array_equal(actual[0], expected[0])
    assert_same_gradients(actual[1], expected[1], GRADIENT_BOUND)


def test_position_0_is_the_first_token():
    network, arrays = make(dropout=0.1), batch(LENGTHS)
    (actual, actual_gradients), (expected, expected_gradients) = [
        gradients(network, functools.partial(network._encode, mx.nd, *arrays, **selection))
        for selection in (dict(positions=mx.nd.zeros((len(LENGTHS), 1))), dict(cls_only=True))]
    assert np.array_equal(actual, expected)
    assert all(np.array_equal(actual_gradients[name], expected_gradients[name])
               for name in expected_gradients)


@pytest.mark.parametrize('seed', range(20))
def test_pretraining_equals_mxnets_operators(kernels, seed):
    kernels.use_threads(seed % 4 + 1)
    random = np.random.RandomState(seed)
    config = draw_config(random)
    lengths = list(random.randint(1, 40, size=random.randint(1, 7)))
    positions = mx.nd.array(draw_positions(lengths, random.randint(1, 9), seed), dtype='int32')
    arrays = batch(lengths, seed, max(lengths) + random.randint(3))
    network = BertForPretraining(make(config, seed=seed, use_pooler=True, use_decoder=True,
                                      use_classifier=True))
    if seed % 2:
        network.hybridize()

    def compute():
        next_sentence, tokens = network(*arrays, positions)
        assert next_sentence.shape == (len(lengths), 2)
        assert tokens.shape == (*positions.shape, config.vocab_size)
        return mx.nd.concat(next_sentence.reshape(-1), tokens.reshape(-1), dim=0)
    actual = gradients(network, compute)
    network.hybridize(False)
    with own_operators():
        expected = gradients(network, compute)
    assert np.abs(actual[0] - expected[0]).max() <= FORWARD_BOUND * np.abs(expected[0]).max()
    assert_same_gradients(actual[1], expected[1], GRADIENT_BOUND)


@pytest.mark.parametrize('positions, message', [
    ([[0, 3], [0, 0]], 'a position in row 0 of the batch is 3, expected 0 to 2'),
    ([[0, 0], [-1, 0]], 'a position in row 1 of the batch is -1, expected 0 to 9'),
    ([[0, 0.5], [0, 0]], 'a position in row 0 of the batch is 0.5, expected a whole number'),
    ([0, 0], r'positions have the shape \(2\), expected \(2, 1 or more\)'),
    ([[0]], r'positions have the shape \(1, 1\), expected \(2, 1 or more\)')])
def test_wrong_positions(positions, message):
    network = make()
    with pytest.raises(mx.MXNetError, match=message):
        network._encode(mx.nd, *batch([3, 10]), positions=mx.nd.array(positions)).wait_to_read()


@pytest.mark.parametrize('threads', [1, 2])
@pytest.mark.parametrize('lengths', [[1], [2], [130], [512, 1], [1] * 300, [40] * 20])
def test_lengths(kernels, lengths, threads):
    kernels.use_threads(threads)
    network, arrays = make(dropout=0.1), batch(lengths)
    actual, expected = compute_both_ways(network, arrays)
    assert np.array_equal(actual[0], expected[0])
    assert_same_gradients(actual[1], expected[1], 10 * SUM_ORDER_BOUND)


@pytest.mark.parametrize('seed', range(20))
def test_random_networks_equal_mxnets_operators(kernels, seed):
    kernels.use_threads(seed % 4 + 1)
    random = np.random.RandomState(seed)
    config = draw_config(random)
    classifier = make_classifier(make(config, seed=seed, use_pooler=True), 3)
    lengths = random.randint(1, 40, size=random.randint(1, 7))
    arrays = batch(list(lengths), seed, max(lengths) + random.randint(3))
    actual = gradients(classifier, lambda: classifier(*arrays))
    with own_operators():
        expected = gradients(classifier, lambda: classifier(*arrays))
    assert actual[0].shape == (len(lengths), 3)
    assert np.abs(actual[0] - expected[0]).max() <= FORWARD_BOUND * np.abs(expected[0]).max()
    assert_same_gradients(actual[1], expected[1], GRADIENT_BOUND)


@pytest.mark.parametrize('train_mode', [True, False])
@pytest.mark.parametrize('grad_req', ['write', 'add'])
def test_accumulated_gradients_and_gradients_outside_of_training(kernels, grad_req, train_mode):
    """Outside of training forward saves nothing, and backward computes it again."""
    kernels.use_threads(2)
    classifier, arrays = make_classifier(make(use_pooler=True)), batch(LENGTHS)
    classifier(*arrays)
    for parameter in classifier.collect_params().values():
        parameter.grad_req = grad_req

    def compute_twice():
        for parameter in classifier.collect_params().values():
            parameter.zero_grad()
        return [gradients(classifier, lambda: classifier(*arrays), train_mode=train_mode)
                for _ in range(2)]

    actual = compute_twice()
    with own_operators():
        expected = compute_twice()
    for actual_step, expected_step in zip(actual, expected):
        assert_same_gradients(actual_step[1], expected_step[1], GRADIENT_BOUND)
    name = 'bert.encoder.transformer_cells.1.attention_cell.proj_query.weight'
    factor = 2 if grad_req == 'add' else 1
    assert np.allclose(actual[1][1][name], factor * actual[0][1][name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('threads', [1, 2])
@pytest.mark.parametrize('compute', [first_states, states_at(draw_positions(LENGTHS, 4))],
                         ids=['first', 'positions'])
def test_int8_equals_the_whole_layer(kernels, compute, threads):
    kernels.use_threads(threads)
    network, arrays = make(make_config(hidden_size=1600), dtype='int8'), batch(LENGTHS)
    assert np.array_equal(compute(network, arrays, True).asnumpy(),
                          compute(network, arrays, False).asnumpy())


def operator_attributes(network):
    """The attributes of the fused operator in the graph of a hybridized network."""
    nodes = json.loads(network._cached_graph[1].tojson())['nodes']
    attributes, = [node['attrs'] for node in nodes if node['op'] == FUSED_OPERATOR]
    return attributes


def test_only_classifiers_read_first_tokens_alone():
    arrays = batch(LENGTHS)
    bert, question_answerer = make(use_pooler=True), BertForQA(make())
    question_answerer.span_classifier.initialize()
    for network, expected in ((make_classifier(bert), '1'), (bert, '0'), (question_answerer, '0')):
        network.hybridize()
        network(*arrays)
        assert operator_attributes(network)['first_only'] == expected
    sequence, pooled = bert(*arrays)
    assert sequence.shape == (5, 70, 64)
    assert np.array_equal(pooled.asnumpy(), bert.pooled(mx.nd, *arrays).asnumpy())


@pytest.mark.parametrize('make_block', [BertForPretraining, BertForMaskedLM])
def test_networks_that_read_masked_tokens_select_them(make_block):
    network = make_block(make(use_pooler=True, use_decoder=True, use_classifier=True))
    network.hybridize()
    network(*batch(LENGTHS), mx.nd.array(draw_positions(LENGTHS, 2), dtype='int32'))
    assert operator_attributes(network)['has_positions'] == '1'


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
    compute = states_at(draw_positions(LENGTHS, 4))
    assert np.array_equal(compute(network, arrays, True).asnumpy(),
                          compute(network, arrays, False).asnumpy())


def test_a_foreign_bert():
    """gluonnlp's, for example, returns both outputs, and the classifier takes the second."""
    bert = make(use_pooler=True)
    classifier, foreign_classifier = make_classifier(bert), make_classifier(ForeignBert(bert))
    arrays = batch(LENGTHS)
    expected = classifier(*arrays).asnumpy()
    foreign_classifier(*arrays)
    foreign_classifier.classifier[0].weight.set_data(classifier.classifier[0].weight.data())
    assert np.array_equal(foreign_classifier(*arrays).asnumpy(), expected)


def test_symbols():
    """An INT8 symbol has the attribute too. An older symbol lacks it and computes all tokens."""
    classifier, arrays = make_classifier(make(use_pooler=True)), batch(LENGTHS)
    classifier(*arrays)
    graph, parameters = FusedQuantizer(classifier).quantize()
    set_compute_dtype(classifier, 'int8')
    expected = classifier(*arrays).asnumpy()
    content = json.loads(graph.tojson())
    node, = [node for node in content['nodes'] if node['op'] == FUSED_OPERATOR]
    assert node['attrs'].pop('first_only') == '1'
    for symbol in (graph, mx.sym.load_json(json.dumps(content))):
        assert np.array_equal(symbol_block(symbol, parameters)(*arrays).asnumpy(), expected)
    with pytest.raises(mx.MXNetError, match='attribute first_only: for the last state alone'):
        with_attributes(graph, outputs='0:0:1.0')
