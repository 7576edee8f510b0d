"""INT8 networks: MXNet's own result, the thresholds, and what stays float."""
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
PLAIN = [LAYER % i + name for i in range(2) for name in (
    'attention_cell.proj_query', 'attention_cell.proj_key', 'attention_cell.proj_value', 'proj',
    'ffn.ffn_1', 'ffn.ffn_2')] + ['bert.pooler', 'classifier.1']
ENTROPY = pytest.param('entropy', marks=pytest.mark.exhaustive)     # takes MXNet ten seconds
BATCHES = [tiny_networks.batch(4, 8, seed) for seed in range(3)]


@pytest.fixture(scope='module')
def network():
    return tiny_networks.make_classifier()


def quantized(network, kept=(), batches=BATCHES, **options):
    """Function of a batch's arrays."""
    quantizer = Quantizer(network, **options)
    quantizer.calibrate(batches)
    return compute_of(*quantizer.quantize(kept))


def compute_of(graph, parameters):
    block = symbol_block(graph, parameters)
    return lambda arrays: block(*arrays).asnumpy()


def test_names_of_operators(network):
    assert list(Quantizer(InterleavedNetwork(network)).operators) == OPERATORS
    assert list(Quantizer(network).operators) == PLAIN
    assert list(Quantizer(network, 'none').operators) == PLAIN


@pytest.mark.parametrize('mode', ['naive', ENTROPY])
def test_it_is_what_mxnet_makes(network, mode):
    """The same bits as `quantize_net_v2`, which calibrates for every network anew."""
    loader = [[mx.nd.array(array) for array in batch] for batch in BATCHES]
    theirs = quantization.quantize_net_v2(
        network, quantized_dtype='auto', quantize_mode='smart', exclude_layers=[],
        quantize_granularity='channel-wise', calib_data=loader, calib_mode=mode,
        num_calib_examples=12, ctx=mx.cpu(), logger=None)
    ours = quantized(network, mode=mode)
    for batch in BATCHES:
        np.testing.assert_array_equal(ours(batch),
                                      theirs(*map(mx.nd.array, batch)).asnumpy())


@pytest.mark.parametrize('form,dtype', [(InterleavedNetwork, 'auto'),
                                        (lambda network: network, 'auto'),
                                        (lambda network: network, 'int8')],
                         ids=['for prediction, auto', 'as trained, auto', 'as trained, int8'])
@pytest.mark.parametrize('mode', ['customize', 'naive', ENTROPY])
def test_near_the_float_network(network, form, dtype, mode):
    compute = quantized(form(network), mode=mode, dtype=dtype)
    expected = np.concatenate([tiny_networks.outputs(network, batch) for batch in BATCHES])
    found = np.concatenate(list(map(compute, BATCHES)))
    error = np.sqrt(np.mean((found - expected) ** 2)) / expected.std()
    assert 1e-4 < error < 0.3       # INT8 in earnest, and not far off


def test_uint8_takes_the_negative_side_away(network):
    error = quantized(network, dtype='uint8')(BATCHES[0]) - tiny_networks.outputs(network,
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
def test_all_kept_is_float(network, mode):
    form = network if mode == 'none' else InterleavedNetwork(network)
    kept = Quantizer(form, mode).operators
    compute = quantized(form, kept, mode=mode)
    for batch in BATCHES:
        np.testing.assert_allclose(compute(batch), tiny_networks.outputs(network, batch),
                                   atol=1e-6)


def test_some_kept(network):
    """Of one operator in float the graph has one INT8 operator less."""
    quantizer = Quantizer(InterleavedNetwork(network))
    quantizer.calibrate(BATCHES)

    def count(kept):
        names = [node.name for node in quantizer.quantize(kept)[0].get_internals()]
        return len({name for name in names if name.startswith('quantized_')})
    assert count(()) == len(OPERATORS)
    assert count(OPERATORS[:1]) == len(OPERATORS) - 1
    assert count((OPERATORS[4], OPERATORS[12])) == len(OPERATORS) - 2


def test_thresholds_are_what_was_seen(network):
    found = Quantizer(network, 'naive').calibrate(BATCHES)
    graph = network(*map(mx.sym.var, ('data0', 'data1', 'data2')))
    norms = [name for name in found if 'layernorm' in name]
    # one for the embeddings, two a layer; of the last one the pooler reads a slice
    assert len(norms) == 4
    values = {name: value.data() for name, value in network.collect_params().items()}
    for name in norms:
        seen = [graph.get_internals()[name].eval(
            **values, **dict(zip(('data0', 'data1', 'data2'), map(mx.nd.array, batch)))
        )[0].asnumpy() for batch in BATCHES]
        assert found[name] == pytest.approx((min(map(np.min, seen)), max(map(np.max, seen))))


def test_gelu_is_cut(network):
    """As gluonnlp's collector means to: its upper end, and nothing else than by "customize"."""
    wide = tiny_networks.make_classifier(spread=6)
    found = {mode: Quantizer(InterleavedNetwork(wide), mode).calibrate(BATCHES)
             for mode in ('naive', 'customize')}
    activated = [name for name in found['naive'] if '_eltwise_' in name]
    assert len(activated) == 2
    for name, (least, greatest) in found['naive'].items():
        if name in activated:
            assert greatest > CLIP_MAX and found['customize'][name] == (least, CLIP_MAX)
        else:
            assert found['customize'][name] == (least, greatest)


def test_normalisation_is_cut():
    """At its lower end, by gluonnlp's collector."""
    wide = tiny_networks.make_classifier()
    for parameter in wide.collect_params('.*gamma').values():
        parameter.set_data(100 * parameter.data())
    found = {mode: Quantizer(InterleavedNetwork(wide), mode).calibrate(BATCHES)
             for mode in ('naive', 'customize')}
    cut = [name for name, (least, _) in found['naive'].items()
           if 'layernorm' in name and least < CLIP_MIN]
    assert cut
    for name in cut:
        assert found['customize'][name][0] == CLIP_MIN


def test_the_network_stays_as_it_is(network):
    before = tiny_networks.outputs(network, BATCHES[0])
    quantized(InterleavedNetwork(network))
    np.testing.assert_array_equal(tiny_networks.outputs(network, BATCHES[0]), before)


def test_an_unknown_mode():
    with pytest.raises(ValueError, match="mode 'kl': one of customize, naive, entropy, none exp"):
        Quantizer(tiny_networks.make_classifier(), 'kl')
