"""The fused encoder and symbols: what is exported, loaded and quantized."""
import json
import os

import mxnet as mx
import numpy as np
import pytest
from support.fused_networks import (
    batch,
    gradients,
    make,
    make_classifier,
    make_config,
    operators,
    operators_of,
    own_operators,
    token_mask,
)

from bert.errors import UserError
from bert.export.symbol import export_network
from bert.graph_names import FUSED_OPERATOR
from bert.model.inference import InterleavedNetwork
from bert.model.kernels.quantizer import with_attributes

pytestmark = pytest.mark.usefixtures('kernels')

LENGTHS = [10, 3, 1, 7]


def test_a_symbol_has_mxnets_operators(tmp_path):
    network = make_classifier()
    network.hybridize()
    expected = network(*batch(LENGTHS)).asnumpy()
    assert FUSED_OPERATOR in operators_of(network)
    inputs = [mx.sym.var('data%d' % i) for i in range(3)]
    assert FUSED_OPERATOR not in operators(network(*inputs))
    assert FUSED_OPERATOR not in operators(InterleavedNetwork(network)(*inputs))
    paths = export_network(network, str(tmp_path), 'ours')
    network.export(str(tmp_path / 'gluon'), 2)
    assert sorted(os.listdir(tmp_path)) == ['gluon-0002.params', 'gluon-symbol.json',
                                            'ours-0000.params', 'ours-symbol.json']
    for graph, values in (paths, (str(tmp_path / 'gluon-symbol.json'),
                                  str(tmp_path / 'gluon-0002.params'))):
        assert FUSED_OPERATOR not in operators(mx.sym.load(graph))
        block = mx.gluon.SymbolBlock.imports(graph, ['data0', 'data1', 'data2'], values)
        np.testing.assert_allclose(block(*batch(LENGTHS)).asnumpy(), expected, atol=1e-5)
    # the hybridized network has not changed
    assert FUSED_OPERATOR in operators_of(network)
    assert np.array_equal(network(*batch(LENGTHS)).asnumpy(), expected)


def test_a_symbol_block_of_the_operator(tmp_path):
    """The graph that `hybridize` makes contains the operator. It runs where the library is."""
    network, arrays = make(), batch(LENGTHS)
    network.hybridize()
    expected = gradients(network, arrays)
    graph = network._cached_graph[1]
    block = mx.gluon.SymbolBlock(graph, [mx.sym.var('data%d' % i) for i in range(3)],
                                 params=network.collect_params())
    with mx.autograd.record():
        output = block(*arrays)
        random = np.random.RandomState(1).randn(*output.shape) * token_mask(arrays)[:, :, None]
        total = (output * mx.nd.array(random)).sum()
    total.backward()
    assert np.array_equal(output.asnumpy(), expected[0])
    for name, value in network._collect_params_with_prefix().items():
        assert np.array_equal(value.grad().asnumpy(), expected[1][name]), name


def test_symbols_of_before_have_gelu_and_no_narrow_embeddings():
    """They lack the two attributes."""
    network, arrays = make(), batch(LENGTHS)
    network.hybridize()
    expected = network(*arrays).asnumpy()
    content = json.loads(network._cached_graph[1].tojson())
    node, = [node for node in content['nodes'] if node['op'] == FUSED_OPERATOR]
    for name in ('activation', 'embedding_size'):
        del node['attrs'][name]
    inputs = [mx.sym.var('data%d' % i) for i in range(3)]
    block = mx.gluon.SymbolBlock(mx.sym.load_json(json.dumps(content)), inputs,
                                 params=network.collect_params())
    assert np.array_equal(block(*arrays).asnumpy(), expected)
    node['attrs']['activation'] = 'swish'
    with pytest.raises(mx.MXNetError, match='attribute activation: swish, expected gelu, gelu_new '
                                            'or relu'):
        mx.sym.load_json(json.dumps(content))


def fused_block(network, **attributes):
    """(`SymbolBlock` of the operator with these attributes, the network's output)"""
    network.hybridize()
    expected = network(*batch(LENGTHS)).asnumpy()
    graph = with_attributes(network._cached_graph[1], **attributes)
    return mx.gluon.SymbolBlock(graph, [mx.sym.var('data%d' % i) for i in range(3)],
                                params=network.collect_params()), expected


@pytest.mark.parametrize('sizes', [[None, 32], [32, None], [64, 32]])
def test_symbols_of_files_may_have_one_name_and_other_embeddings(sizes):
    """Each has packed weights of its own."""
    units = 96
    for size in sizes + sizes:
        block, expected = fused_block(make(make_config(units=units, num_heads=3,
                                                       embedding_size=size)), model='the same')
        assert np.array_equal(block(*batch(LENGTHS)).asnumpy(), expected)


def test_embeddings_wider_than_the_layers_are_refused():
    with pytest.raises(mx.MXNetError, match='attribute embedding_size: 96 found, expected 64 or '
                                            'less'):
        fused_block(make(), embedding_size='96')


def test_a_symbol_block_of_the_operator_is_not_exported(tmp_path):
    network = make()
    network.hybridize()
    network(*batch(LENGTHS))
    inputs = [mx.sym.var('data%d' % i) for i in range(3)]
    block = mx.gluon.SymbolBlock(network._cached_graph[1], inputs, params=network.collect_params())
    block(*batch(LENGTHS))
    with pytest.raises(UserError, match='export the block that the graph was made from'):
        block.export(str(tmp_path / 'block'))
    assert not os.listdir(tmp_path)


def quantize(network, arrays):
    """The output of the INT8 network that MXNet's own function makes."""
    shapes = [mx.io.DataDesc('data%d' % i, array.shape) for i, array in enumerate(arrays)]
    quantized_network = mx.contrib.quantization.quantize_net_v2(
        network, data_shapes=shapes, calib_mode='none', logger=None)
    assert mx.nd.ones(3).sum().asscalar() == 3      # would raise a late error of the lines above
    return quantized_network(*[array.astype('float32') for array in arrays]).asnumpy()


@pytest.mark.parametrize('is_hybridized', [False, True])
def test_mxnet_quantizes(is_hybridized):
    """Before it exports, MXNet computes with lengths of 0, which the operator refuses."""
    network, arrays = make_classifier(), batch([10, 3])
    with own_operators():
        expected = quantize(network, arrays)
    network.hybridize(is_hybridized)
    output = network(*arrays).asnumpy()
    assert np.array_equal(quantize(network, arrays), expected)
    # the network has not changed
    assert np.array_equal(network(*arrays).asnumpy(), output)
    assert FUSED_OPERATOR in operators_of(network)


def test_a_length_of_0_is_an_error_elsewhere():
    network = make_classifier()
    network.hybridize()
    with pytest.raises(mx.MXNetError, match='valid_length in row 1 of the batch is 0'):
        network(*batch([3, 0])).asnumpy()
