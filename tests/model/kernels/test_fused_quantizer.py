"""INT8 symbols of the fused operator, with products that are kept in floating point."""
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


def outputs(quantizer, kept):
    """(texts, length, units)"""
    return symbol_block(*quantizer.quantize(kept))(*batch(LENGTHS)).asnumpy()


@pytest.mark.parametrize('threads', [1, 2, 3])
@pytest.mark.parametrize('hidden_size', [96, 1600])     # of 1600, 768 columns at a time
def test_int8_with_products_kept(kernels, hidden_size, threads):
    """All: what bfloat16, or where the CPU lacks it float32 gives, bit by bit. Each: its own."""
    kernels.use_threads(threads)
    network = make(make_config(hidden_size=hidden_size))
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
    found = {outputs(quantizer, kept).tobytes() for kept in [[name] for name in OPERATORS] + [[]]}
    assert len(found) == len(OPERATORS) + 1


def test_int8_and_kept_products_see_new_weights(kernels):
    network = make()
    quantizer, other = FusedQuantizer(network), FusedQuantizer(make(seed=1))
    assert quantizer.digest() != other.digest()
    block = symbol_block(*quantizer.quantize(OPERATORS[1:3]))
    before = block(*batch(LENGTHS)).asnumpy()
    assert not np.array_equal(before, outputs(other, OPERATORS[1:3]))
    assert np.array_equal(before, outputs(quantizer, OPERATORS[1:3]))
    assert not np.array_equal(before, outputs(quantizer, OPERATORS[2:3]))
    assert np.array_equal(before, block(*batch(LENGTHS)).asnumpy())


def test_int8_product_that_is_not_there(kernels):
    graph, _ = FusedQuantizer(make()).quantize()
    with pytest.raises(mx.MXNetError, match='attribute kept: there is no product 8'):
        with_attributes(graph, kept='3 8')


@pytest.mark.parametrize('config', [make_config(units=48, num_heads=1), make_config()])
def test_int8_refused(kernels, config):
    network = make(config)
    with pytest.raises(UserError, match='no fused kernels for this CPU and network'):
        if config.units == 48:
            FusedQuantizer(network)
        with own_operators():
            FusedQuantizer(network)
