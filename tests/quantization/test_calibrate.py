"""INT8 networks: MXNet's own result, the thresholds, and operators that stay float."""
import mxnet as mx
import numpy as np
import pytest
from mxnet.contrib import quantization
from support import tiny_networks

from bert.model.inference import InterleavedNetwork
from bert.quantization.calibrate import CLIP_MAX, CLIP_MIN, Quantizer
from bert.quantization.tune import symbol_block

LAYER = 'bert.encoder.transformer_cells.%d.'
OPERATORS = [LAYER % i + name for i in range(2) for name in (
    'attention_cell.query_key_value', 'attention_cell.scores', 'attention_cell.context', 'proj',
    'ffn.ffn_1', 'ffn.ffn_2')] + ['bert.pooler', 'classifier.1']
PLAIN_OPERATORS = [LAYER % i + name for i in range(2) for name in (
    'attention_cell.proj_query', 'attention_cell.proj_key', 'attention_cell.proj_value', 'proj',
    'ffn.ffn_1', 'ffn.ffn_2')] + ['bert.pooler', 'classifier.1']
ENTROPY = pytest.param('entropy', marks=pytest.mark.exhaustive)     # takes MXNet ten seconds
BATCHES = [tiny_networks.batch(4, 8, seed) for seed in range(3)]


@pytest.fixture(scope='module')
def network():
    return tiny_networks.make_classifier()


def quantize(network, float_operators=(), batches=BATCHES, **options):
    """Function (arrays of a batch) → outputs of the INT8 network."""
    quantizer = Quantizer(network, **options)
    quantizer.calibrate(batches)
    return compute_of(*quantizer.quantize(float_operators))


def compute_of(graph, parameters):
    block = symbol_block(graph, parameters)
    return lambda arrays: block(*arrays).asnumpy()


def test_names_of_operators(network):
    assert list(Quantizer(InterleavedNetwork(network)).operators) == OPERATORS
    assert list(Quantizer(network).operators) == PLAIN_OPERATORS
    assert list(Quantizer(network, 'none').operators) == PLAIN_OPERATORS


@pytest.mark.parametrize('mode', ['naive', ENTROPY])
def test_it_equals_mxnets_network(network, mode):
    """The same bits as `quantize_net_v2`, which calibrates anew for every network."""
    loader = [[mx.nd.array(array) for array in batch] for batch in BATCHES]
    reference = quantization.quantize_net_v2(
        network, quantized_dtype='auto', quantize_mode='smart', exclude_layers=[],
        quantize_granularity='channel-wise', calib_data=loader, calib_mode=mode,
        num_calib_examples=12, ctx=mx.cpu(), logger=None)
    compute = quantize(network, mode=mode)
    for batch in BATCHES:
        np.testing.assert_array_equal(compute(batch),
                                      reference(*map(mx.nd.array, batch)).asnumpy())


@pytest.mark.parametrize('convert,dtype', [(InterleavedNetwork, 'auto'),
                                           (lambda network: network, 'auto'),
                                           (lambda network: network, 'int8')],
                         ids=['for prediction, auto', 'as trained, auto', 'as trained, int8'])
@pytest.mark.parametrize('mode', ['customize', 'naive', ENTROPY])
def test_near_the_float_network(network, convert, dtype, mode):
    compute = quantize(convert(network), mode=mode, dtype=dtype)
    expected = np.concatenate([tiny_networks.outputs(network, batch) for batch in BATCHES])
    actual = np.concatenate(list(map(compute, BATCHES)))
    error = np.sqrt(np.mean((actual - expected) ** 2)) / expected.std()
    assert 1e-4 < error < 0.3       # really INT8, and close to float


def test_uint8_cuts_negative_values(network):
    error = quantize(network, dtype='uint8')(BATCHES[0]) - tiny_networks.outputs(network,
                                                                                BATCHES[0])
    assert np.abs(error).max() > 0.1


def test_without_calibration(network):
    quantizer = Quantizer(network, 'none')
    assert quantizer.calibrate(BATCHES) == {}
    graph, parameters = quantizer.quantize()
    assert parameters['%s_quantize' % network.bert.pooler.weight.name].dtype == np.int8
    difference = compute_of(graph, parameters)(BATCHES[0]) - tiny_networks.outputs(network,
                                                                                 BATCHES[0])
    assert 0 < np.abs(difference).max() < 1


@pytest.mark.parametrize('mode', ['customize', 'naive', ENTROPY, 'none'])
def test_all_operators_in_float(network, mode):
    float_network = network if mode == 'none' else InterleavedNetwork(network)
    float_operators = Quantizer(float_network, mode).operators
    compute = quantize(float_network, float_operators, mode=mode)
    for batch in BATCHES:
        np.testing.assert_allclose(compute(batch), tiny_networks.outputs(network, batch),
                                   atol=1e-6)


def test_some_operators_in_float(network):
    """For each operator in float the graph has one INT8 operator less."""
    quantizer = Quantizer(InterleavedNetwork(network))
    quantizer.calibrate(BATCHES)

    def count_int8_operators(float_operators):
        names = [node.name for node in quantizer.quantize(float_operators)[0].get_internals()]
        return len({name for name in names if name.startswith('quantized_')})
    assert count_int8_operators(()) == len(OPERATORS)
    assert count_int8_operators(OPERATORS[:1]) == len(OPERATORS) - 1
    assert count_int8_operators((OPERATORS[4], OPERATORS[12])) == len(OPERATORS) - 2


def test_thresholds_are_extreme_outputs(network):
    thresholds = Quantizer(network, 'naive').calibrate(BATCHES)
    graph = network(*map(mx.sym.var, ('data0', 'data1', 'data2')))
    norms = [name for name in thresholds if 'layernorm' in name]
    # one for the embeddings, two a layer, but not the last: the pooler reads a slice of it
    assert len(norms) == 4
    values = {name: value.data() for name, value in network.collect_params().items()}
    for name in norms:
        outputs = [graph.get_internals()[name].eval(
            **values, **dict(zip(('data0', 'data1', 'data2'), map(mx.nd.array, batch)))
        )[0].asnumpy() for batch in BATCHES]
        assert thresholds[name] == pytest.approx((min(map(np.min, outputs)),
                                                  max(map(np.max, outputs))))


def test_gelu_is_cut(network):
    """As gluonnlp's collector intends: its upper end, and only by "customize"."""
    wide_network = tiny_networks.make_classifier(spread=6)
    thresholds = {mode: Quantizer(InterleavedNetwork(wide_network), mode).calibrate(BATCHES)
                  for mode in ('naive', 'customize')}
    activations = [name for name in thresholds['naive'] if '_eltwise_' in name]
    assert len(activations) == 2
    for name, (low, high) in thresholds['naive'].items():
        if name in activations:
            assert high > CLIP_MAX and thresholds['customize'][name] == (low, CLIP_MAX)
        else:
            assert thresholds['customize'][name] == (low, high)


def test_normalisation_is_cut():
    """At its lower end, as by gluonnlp's collector."""
    wide_network = tiny_networks.make_classifier()
    for parameter in wide_network.collect_params('.*gamma').values():
        parameter.set_data(100 * parameter.data())
    thresholds = {mode: Quantizer(InterleavedNetwork(wide_network), mode).calibrate(BATCHES)
                  for mode in ('naive', 'customize')}
    clipped_names = [name for name, (low, _) in thresholds['naive'].items()
                     if 'layernorm' in name and low < CLIP_MIN]
    assert clipped_names
    for name in clipped_names:
        assert thresholds['customize'][name][0] == CLIP_MIN


def test_the_network_does_not_change(network):
    before = tiny_networks.outputs(network, BATCHES[0])
    quantize(InterleavedNetwork(network))
    np.testing.assert_array_equal(tiny_networks.outputs(network, BATCHES[0]), before)


def test_an_unknown_mode():
    with pytest.raises(ValueError, match="mode 'kl': expected one of customize, naive, entropy, n"):
        Quantizer(tiny_networks.make_classifier(), 'kl')
