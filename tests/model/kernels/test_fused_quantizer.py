"""INT8 symbols of the fused operator, in which some products stay in floating point."""
import mxnet as mx
import numpy as np
import pytest
from support.fused_networks import batch, make, make_config, own_operators

from bert.errors import UserError
from bert.model.bert import set_compute_dtype
from bert.model.kernels.quantizer import FusedQuantizer, with_attributes
from bert.quantization.tune import symbol_block

LENGTHS = [20, 3, 7, 20, 1, 12]
OPERATORS = ['encoder.transformer_cells.%d.%s' % (layer, name) for layer in (0, 1) for name in
             ('attention_cell.query_key_value', 'proj', 'ffn.ffn_1', 'ffn.ffn_2')]


def outputs(quantizer, float_operators):
    """(texts, length, units)"""
    return symbol_block(*quantizer.quantize(float_operators))(*batch(LENGTHS)).asnumpy()


@pytest.mark.parametrize('threads', [1, 2, 3])
@pytest.mark.parametrize('sizes', [{'hidden_size': 96}, {'hidden_size': 1600},  # 768 at a time
                                   {'activation': 'relu'}])
def test_int8_with_float_products(kernels, sizes, threads):
    """All products in float: bit by bit the outputs of bfloat16, or of float32 where the CPU lacks
    bfloat16. One product in float: for each product other outputs."""
    kernels.use_threads(threads)
    network = make(make_config(**sizes))
    quantizer = FusedQuantizer(network)
    assert list(quantizer.operators) == OPERATORS and quantizer.calibrate([]) == {}
    expected = {}
    for dtype in ('float32', 'bfloat16', 'int8'):
        set_compute_dtype(network, dtype)
        expected[dtype] = network(*batch(LENGTHS)).asnumpy()
    assert np.array_equal(outputs(quantizer, OPERATORS), expected['bfloat16'])
    assert np.array_equal(outputs(quantizer, ()), expected['int8'])
    graph, parameters = quantizer.float_symbol()
    assert np.array_equal(symbol_block(graph, parameters)(*batch(LENGTHS)).asnumpy(),
                          expected['float32'])
    errors = [np.square(outputs(quantizer, OPERATORS[:n]) - expected['bfloat16']).mean()
              for n in (0, 4, 8)]
    assert errors[0] > errors[1] > errors[2] == 0
    distinct_outputs = {outputs(quantizer, names).tobytes()
                        for names in [[name] for name in OPERATORS] + [[]]}
    assert len(distinct_outputs) == len(OPERATORS) + 1


def test_the_layer_after_narrow_embeddings_is_always_int8(kernels):
    """It is no product that a tuned network may keep in float."""
    network = make(make_config(embedding_size=32))
    quantizer = FusedQuantizer(network)
    assert list(quantizer.operators) == OPERATORS
    set_compute_dtype(network, 'int8')
    assert np.array_equal(outputs(quantizer, ()), network(*batch(LENGTHS)).asnumpy())
    floats = {}
    for dtype in ('float32', 'bfloat16'):
        set_compute_dtype(network, dtype)
        floats[dtype] = network(*batch(LENGTHS)).asnumpy()
    error = np.abs(outputs(quantizer, OPERATORS) - floats['float32']).max()
    assert not np.array_equal(outputs(quantizer, OPERATORS), floats['bfloat16'])
    assert error < 0.1 * np.abs(floats['float32']).max()


def test_int8_and_float_products_use_the_weights(kernels):
    network = make()
    quantizer, other_quantizer = FusedQuantizer(network), FusedQuantizer(make(seed=1))
    assert quantizer.digest() != other_quantizer.digest()
    block = symbol_block(*quantizer.quantize(OPERATORS[1:3]))
    before = block(*batch(LENGTHS)).asnumpy()
    assert not np.array_equal(before, outputs(other_quantizer, OPERATORS[1:3]))
    assert np.array_equal(before, outputs(quantizer, OPERATORS[1:3]))
    assert not np.array_equal(before, outputs(quantizer, OPERATORS[2:3]))
    assert np.array_equal(before, block(*batch(LENGTHS)).asnumpy())


def test_int8_missing_product(kernels):
    graph, _ = FusedQuantizer(make()).quantize()
    with pytest.raises(mx.MXNetError, match='attribute kept: there is no product 8'):
        with_attributes(graph, kept='3 8')


@pytest.mark.parametrize('config', [make_config(units=48, num_heads=1), make_config()])
def test_int8_unsupported_network(kernels, config):
    network = make(config)
    with pytest.raises(UserError, match='no fused kernels for this CPU and network'):
        if config.units == 48:
            FusedQuantizer(network)
        with own_operators():
            FusedQuantizer(network)
