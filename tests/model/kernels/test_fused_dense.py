"""The operator for the decoder's scores of all words, against NumPy and MXNet's own operator."""
import unittest.mock

import mxnet as mx
import numpy as np
import pytest
from support.fused_networks import (
    VOCABULARY,
    assert_same_gradients,
    batch,
    cosine,
    gradients_of,
    make,
    make_config,
    operators_of,
    own_operators,
)

from bert.model import bert
from bert.model.kernels import gluon_hooks

pytestmark = pytest.mark.usefixtures('kernels')

# (rows, in, out): 1 row, 1 output; no multiples of the size of a register or a tile; several blocks
# of the bias's sums; several steps of the sum over words; several blocks of the sum over rows
SIZES = [(1, 32, 1), (7, 64, 50), (33, 96, 17), (3, 32, 2100), (130, 800, 67), (1100, 32, 40)]
BOUNDS = {'float32': 1e-5, 'bfloat16': 1e-2}
HYBRIDIZE_OPTIONS = [None, {}, {'static_alloc': True, 'static_shape': True}]


def draw(rows, width, units, seed=0):
    """(input, weight, bias, gradient of the output) as NumPy arrays of float64."""
    random = np.random.RandomState(seed)
    return [random.randn(*shape).astype('float32').astype('float64') for shape in
            ((rows, width), (units, width), (units,), (rows, units))]


def compute(arrays, dtype, grad_req='write', num_steps=1):
    """[output, gradients of input, weight and bias] of the operator."""
    *inputs, output_gradient = map(mx.nd.array, arrays)
    parameters = [mx.gluon.Parameter(str(i), shape=array.shape, grad_req=grad_req)
                  for i, array in enumerate(inputs)]
    for parameter, value in zip(parameters, inputs):
        parameter.initialize()
        parameter.set_data(value)
        parameter.zero_grad()
    for _ in range(num_steps):
        with mx.autograd.record():
            output = mx.nd.bert_dense(*[array.data() for array in parameters], dtype=dtype)
        output.backward(output_gradient)
    return [array.asnumpy() for array in
            (output, *[parameter.grad() for parameter in parameters])]


def assert_near(actual, expected, bound):
    for array, expected_array in zip(actual, expected):
        assert np.abs(array - expected_array).max() <= bound * np.abs(expected_array).max()


@pytest.mark.parametrize('threads', [1, 2, 3])
@pytest.mark.parametrize('sizes', SIZES)
@pytest.mark.parametrize('dtype', BOUNDS)
def test_against_numpy(kernels, dtype, sizes, threads):
    kernels.use_threads(threads)
    arrays = values, weight, bias, output_gradient = draw(*sizes)
    expected = (values @ weight.T + bias, output_gradient @ weight, output_gradient.T @ values,
                output_gradient.sum(axis=0))
    actual = compute(arrays, dtype)
    assert_near(actual, expected, BOUNDS[dtype])
    for array, same_array in zip(actual, compute(arrays, dtype)):      # and the same bits twice
        assert np.array_equal(array, same_array)


@pytest.mark.parametrize('dtype', BOUNDS)
def test_accumulated_gradients(dtype):
    arrays = draw(9, 32, 70)
    single, triple = compute(arrays, dtype), compute(arrays, dtype, 'add', num_steps=3)
    for array, result in zip(single, compute(arrays, dtype, 'write', num_steps=3)):      # replaced
        assert np.array_equal(array, result)
    for array, result in zip(single[1:], triple[1:]):
        np.testing.assert_allclose(result, 3 * array, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('shapes', [
    ((2, 48), (5, 48), (5,)), ((2, 32), (5, 64), (5,)), ((2, 32), (5, 32), (6,)),
    ((2, 2, 32), (5, 32), (5,))])
def test_wrong_shapes(shapes):
    with pytest.raises(mx.MXNetError, match='bert_dense: input .* expected .* in a multiple of 32'):
        mx.nd.bert_dense(*map(mx.nd.ones, shapes), dtype='float32').asnumpy()


def test_wrong_types():
    arrays = [mx.nd.ones(shape) for shape in ((2, 32), (5, 32), (5,))]
    with pytest.raises(mx.MXNetError, match='dtype int8: this library has no products of it'):
        mx.nd.bert_dense(*arrays, dtype='int8').asnumpy()
    with pytest.raises(mx.MXNetError, match='bert_dense: input 1 is not float32'):
        mx.nd.bert_dense(arrays[0], arrays[1].astype('float64'), arrays[2],
                         dtype='float32').asnumpy()


def test_an_unused_gradient():
    arrays = draw(9, 32, 70)
    *inputs, output_gradient = map(mx.nd.array, arrays)
    inputs[0].attach_grad()
    inputs[1].attach_grad('null')
    with mx.autograd.record():
        output = mx.nd.bert_dense(*inputs, dtype='float32')
    output.backward(output_gradient)
    assert np.array_equal(inputs[0].grad.asnumpy(), compute(arrays, 'float32')[1])


# ---- in a model

POSITIONS = [[0, 3, 1], [2, 2, 0], [0, 1, 2], [6, 5, 0]]


def make_decoder(dtype, options=None, tied=True):
    network = make(make_config(tied_decoder=tied), dtype=dtype, use_decoder=True)
    if options is not None:
        network.hybridize(**options)
    return network


def scores_and_gradients(network):
    """Of the decoder's scores only. The gradients reach the whole encoder."""
    arrays = *batch([10, 3, 4, 7]), mx.nd.array(POSITIONS)
    return gradients_of(network, lambda: network(*arrays)[1])


@pytest.mark.parametrize('tied', [True, False])
@pytest.mark.parametrize('options', HYBRIDIZE_OPTIONS)
@pytest.mark.parametrize('dtype', BOUNDS)
def test_a_model(kernels, dtype, options, tied):
    network = make_decoder(dtype, options, tied)
    scores, gradients = scores_and_gradients(network)
    assert scores.shape == (4, 3, VOCABULARY)
    # in float32 MXNet's own product is as fast, so it computes
    with unittest.mock.patch.object(bert, 'fused_dense', side_effect=RuntimeError('asked for')):
        if dtype == 'bfloat16':
            with pytest.raises(RuntimeError, match='asked for'):
                scores_and_gradients(make_decoder(dtype, options, tied))
        else:
            scores_and_gradients(make_decoder(dtype, options, tied))
    if options is not None:
        assert ('bert_dense' in operators_of(network)) == (dtype == 'bfloat16')
    with own_operators():
        expected_scores, expected = scores_and_gradients(make_decoder('float32', tied=tied))
    if dtype == 'float32':
        assert_near([scores], [expected_scores], 1e-5)
        assert_same_gradients(gradients, expected, 1e-4)
        return
    assert_near([scores], [expected_scores], 2e-2)
    for name, value in expected.items():
        if np.abs(value).max() > 1e-4:      # the bias of keys has no gradient
            assert cosine(gradients[name], value) > 0.999, name


@pytest.mark.parametrize('tied', [True, False])
@pytest.mark.parametrize('options', HYBRIDIZE_OPTIONS)
def test_bfloat16_gradients_accumulate(options, tied):
    """A tied word embedding gets two gradients and adds both to the one that it has."""
    network = make_decoder('bfloat16', options, tied)
    _, single = scores_and_gradients(network)
    for value in network.collect_params().values():
        value.grad_req = 'add'
        value.zero_grad()
    for _ in range(3):
        _, triple = scores_and_gradients(network)
    for name, value in single.items():
        np.testing.assert_allclose(triple[name], 3 * value, atol=1e-4 * np.abs(value).max() + 1e-6)


def test_bfloat16_symbols_have_mxnets_operators():
    network = make_decoder('bfloat16')
    inputs = [mx.sym.var('data%d' % i) for i in range(4)]
    assert 'bert_dense' not in network(*inputs)[1].tojson()
    with gluon_hooks.allow_fusion():
        assert 'bert_dense' in network(*inputs)[1].tojson()
