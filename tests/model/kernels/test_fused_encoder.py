"""The fused encoder against NumPy, and against MXNet's own operators."""
import contextlib
import pathlib
import re

import mxnet as mx
import numpy as np
import pytest
from reference import numpy_bert
from support import fused_networks
from support.fused_networks import (
    assert_same_gradients,
    batch,
    gradients,
    make,
    make_config,
    own_operators,
    token_mask,
)

import bert
from bert.data.batches import collate
from bert.data.text.readers import Example
from bert.data.text.tokenizer import BertTokenizer
from bert.data.transform import featurize
from bert.errors import UserError
from bert.model import zoo
from bert.model.bert import BERTModel
from bert.model.config import ACTIVATIONS
from bert.model.weights import loading, mapping

pytestmark = pytest.mark.usefixtures('kernels')

LENGTHS = [10, 3, 1, 7]
FORWARD_BOUND, GRADIENT_BOUND = 1e-5, 1e-4      # relative to the largest number
BFLOAT16_BOUND, MIN_COSINE = 2e-2, 0.999
ZERO_GRADIENT = 'proj_key.bias'    # a number added to all scores of a query changes no weight


def assert_near(output, expected, bound):
    assert output.shape == expected.shape
    assert np.abs(output - expected).max() <= bound * np.abs(expected).max()


def compare(network, arrays):
    assert network.is_fused()
    output, actual = gradients(network, arrays)
    with own_operators():
        assert not network.is_fused()
        expected_output, expected = gradients(network, arrays)
    assert_near(output[token_mask(arrays)], expected_output[token_mask(arrays)], FORWARD_BOUND)
    assert not output[~token_mask(arrays)].any()
    assert_same_gradients(actual, expected, GRADIENT_BOUND)


@pytest.mark.parametrize('is_padded', [True, False])
@pytest.mark.parametrize('dtype,bound', [('float32', FORWARD_BOUND), ('bfloat16', BFLOAT16_BOUND)])
@pytest.mark.parametrize('num_heads', [1, 2])       # of size 64 and 32
def test_it_equals_numpy(num_heads, dtype, bound, is_padded):
    config = make_config(num_heads=num_heads, layer_norm_eps=1e-5)
    tensors = numpy_bert.random_tensors(config)
    for name, value in tensors.items():
        if value.ndim == 2 and 'embeddings' not in name:
            value /= 0.3 * np.sqrt(value.shape[1])
    network = BERTModel(config, use_pooler=False, compute_dtype=dtype)
    loading.load_parameters(network, {
        name: value for name, value in mapping.from_transformers(tensors, 'test').items()
        if not name.startswith(tuple(loading.PARTS))}, 'test', mx.cpu())
    arrays = batch(LENGTHS)
    ids, segments, lengths = (array.asnumpy().astype(int) for array in arrays)
    output = network(*arrays[:2], arrays[2] if is_padded else None).asnumpy()
    expected = numpy_bert.sequence(tensors, config, ids, segments, lengths if is_padded else None)
    mask = token_mask(arrays) if is_padded else np.ones(ids.shape, bool)
    assert_near(output[mask], expected[mask], bound)
    assert not output[~mask].any()


@pytest.mark.parametrize('threads', [1, 2, 3])
@pytest.mark.parametrize('sizes', [{}, {'num_heads': 1}, {'units': 96, 'num_heads': 3},
                                   {'units': 256, 'hidden_size': 1024, 'num_heads': 4},
                                   {'hidden_size': 1632}, {'token_type_vocab_size': 0},
                                   {'token_type_vocab_size': 1, 'family': 'roberta'},
                                   {'activation': 'gelu_new'}, {'activation': 'relu'},
                                   {'embedding_size': 32}, {'units': 128, 'embedding_size': 96,
                                                            'activation': 'gelu_new'}])
def test_it_equals_mxnets_operators(kernels, sizes, threads):
    kernels.use_threads(threads)
    compare(make(make_config(**sizes)), batch(LENGTHS))


@pytest.mark.parametrize('lengths', [[1], [2], [1, 1, 1], [511], [512], [512, 1], [2, 511, 16, 17],
                                     [130] * 5, [300, 20, 290, 310], list(range(1, 90, 2))])
def test_lengths(kernels, lengths):
    kernels.use_threads(2)
    compare(make(), batch(lengths))


@pytest.mark.parametrize('embedding_size', [None, 32])
@pytest.mark.parametrize('layers', [((0,), 'sum'), ((-1, 0, 1), 'sum'), ((2, 1), 'mean'),
                                    ((2, 0, 1), 'concat'), ((1, 1), 'sum')])
def test_hidden_states(layers, embedding_size):
    network = make(make_config(embedding_size=embedding_size))
    network.encoder.layers = layers
    compare(network, batch(LENGTHS))


def random_case(seed, activations=ACTIVATIONS):
    """(network, arrays) with random sizes and lengths."""
    random = np.random.RandomState(seed)
    head_size = random.choice([32, 64])
    num_heads = random.randint(1, 5)
    units = head_size * num_heads
    embedding_size = 32 * random.randint(1, units // 32 + 1)
    config = make_config(random.randint(1, 4), units, 32 * random.randint(1, 13), num_heads,
                         activation=str(random.choice(activations)),
                         embedding_size=embedding_size if embedding_size < units else None)
    lengths = random.randint(1, random.choice([4, 20, 70]), size=random.randint(1, 7))
    return (make(config, seed=seed, gain=random.uniform(0.5, 1.2)),
            batch(list(lengths), seed, max(lengths) + random.randint(3)))


@pytest.mark.parametrize('first_seed', range(0, 1000, 100))
def test_a_thousand_random_networks(kernels, first_seed, num_cases):
    for seed in range(first_seed, first_seed + num_cases(2, 100)):
        kernels.use_threads(seed % 4 + 1)
        compare(*random_case(seed))


@pytest.mark.parametrize('first_seed', [0, 50])
def test_bfloat16_of_random_networks(kernels, first_seed, num_cases):
    for seed in range(first_seed, first_seed + num_cases(5, 50)):
        kernels.use_threads(seed % 4 + 1)
        # without ReLU, whose gradient jumps where rounding changes a sign
        network, arrays = random_case(seed, ACTIVATIONS[:2])
        expected = gradients(network, arrays)
        bfloat16_network = make(network.config, dtype='bfloat16')
        copy_parameters(network, bfloat16_network)
        output, actual = gradients(bfloat16_network, arrays)
        # at most three random layers; test_bfloat16_of_a_real_model has real weights
        assert np.sqrt(np.mean((output - expected[0]) ** 2)
                       / np.mean(expected[0] ** 2)) < BFLOAT16_BOUND
        for name, value in expected[1].items():
            # a single token attends to itself, whatever query and key are
            if not name.endswith(ZERO_GRADIENT) and np.abs(value).max() > 1e-4:
                assert fused_networks.cosine(actual[name], value) > 0.99, name


def test_bfloat16_of_a_real_model(minilm):
    lines = pathlib.Path(bert.__file__).with_name('sample_text.txt').read_text(encoding='utf-8')
    examples = [Example((line,), None, '', 0) for line in lines.splitlines() if line.strip()][:24]
    network, vocabulary = zoo.get_model(minilm.model, dropout=0.0, use_pooler=False,
                                        use_decoder=False, use_classifier=False)
    features = collate(featurize(examples, BertTokenizer(vocabulary, lower=True), 128), 0)
    arrays = tuple(mx.nd.array(array, dtype=array.dtype) for array in features[:3])
    bfloat16_network = BERTModel(network.config, dropout=0.0, use_pooler=False,
                                 compute_dtype='bfloat16')
    bfloat16_network.initialize()
    copy_parameters(network, bfloat16_network)
    output, actual = gradients(bfloat16_network, arrays)
    expected_output, expected = gradients(network, arrays)
    assert_near(output, expected_output, BFLOAT16_BOUND)
    for name, value in expected.items():
        if not name.endswith(ZERO_GRADIENT):
            assert fused_networks.cosine(actual[name], value) > MIN_COSINE, name


def copy_parameters(source, target):
    """Copy the parameters of `source` into `target`."""
    values = source._collect_params_with_prefix()
    for name, parameter in target._collect_params_with_prefix().items():
        parameter.set_data(values[name].data())


def test_a_batch_equals_its_rows_one_by_one(kernels):
    kernels.use_threads(2)
    network, arrays = make(), batch([5, 17, 1, 40, 40, 3])
    batch_output = network(*arrays).asnumpy()
    for row, length in enumerate(arrays[2].asnumpy().astype(int)):
        row_output = network(*[array[row:row + 1, :length] for array in arrays[:2]], None).asnumpy()
        assert_near(batch_output[row, :length], row_output[0], 1e-6)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('threads', [1, 2, 3])
def test_the_same_bits_twice(kernels, dtype, threads):
    kernels.use_threads(threads)
    network, arrays = make(dropout=0.1, dtype=dtype), batch([5, 17, 1, 40, 40, 3])
    results = []
    for _ in range(2):
        mx.random.seed(7)
        results.append(gradients(network, arrays))
    assert np.array_equal(results[0][0], results[1][0])
    for name, value in results[0][1].items():
        assert np.array_equal(value, results[1][1][name]), name


def test_float_and_int_ids():
    network, arrays = make(), batch(LENGTHS)
    floats = [array.astype('float32') for array in arrays]
    assert np.array_equal(network(*arrays).asnumpy(), network(*floats).asnumpy())
    assert np.array_equal(network(*arrays).asnumpy(),
                          network(*arrays[:2], arrays[2].astype('int32')).asnumpy())


def test_a_gradient_outside_of_training():
    """Forward saves nothing then, and backward computes everything again, without dropout."""
    network, arrays = make(dropout=0.5), batch(LENGTHS)
    output, actual = gradients(network, arrays, train_mode=False)
    with own_operators():
        expected_output, expected = gradients(network, arrays, train_mode=False)
    assert_near(output[token_mask(arrays)], expected_output[token_mask(arrays)], FORWARD_BOUND)
    assert_same_gradients(actual, expected, GRADIENT_BOUND)


# ---- invalid inputs: refused before anything is computed

@pytest.mark.parametrize('change,message', [
    ((2, 1, 0), 'valid_length in row 1 of the batch is 0, expected 1 to 10'),
    ((2, 0, -5), 'valid_length in row 0 of the batch is -5, expected 1 to 10'),
    ((2, 2, -2 ** 31), 'valid_length in row 2 of the batch is -2147483648, expected 1 to 10'),
    ((2, 3, 2 ** 30), 'valid_length in row 3 of the batch is 1073741824, expected 1 to 10'),
    ((2, 3, 11), 'valid_length in row 3 of the batch is 11, expected 1 to 10'),
    ((0, (2, 0), 50), 'a token id in row 2 of the batch is 50, expected 0 to 49'),
    ((0, (0, 9), -1), 'a token id in row 0 of the batch is -1, expected 0 to 49'),
    ((1, (3, 6), 2), 'a segment id in row 3 of the batch is 2, expected 0 to 1')])
def test_invalid_values(change, message):
    network, arrays = make(), batch(LENGTHS)
    index, position, value = change
    values = arrays[index].asnumpy()
    values[position] = value
    arrays = arrays[:index] + (mx.nd.array(values, dtype=values.dtype),) + arrays[index + 1:]
    with pytest.raises(mx.MXNetError, match=message):
        network(*arrays).asnumpy()
    assert network(*batch(LENGTHS)).asnumpy().any()      # the network still works


@pytest.mark.parametrize('dtype,value', [('int32', 999), ('int64', 2 ** 40), ('float32', np.nan)])
def test_padding_may_hold_anything(dtype, value):
    network, arrays = make(), list(batch(LENGTHS))
    expected = network(*arrays).asnumpy()
    for index in (0, 1):
        values = arrays[index].asnumpy().astype(dtype)
        values[~token_mask(arrays)] = value
        arrays[index] = mx.nd.array(values, dtype=dtype)
    assert np.array_equal(network(*arrays).asnumpy(), expected)


def test_too_long():
    with pytest.raises(mx.MXNetError, match='the batch is 513 tokens long, and the model has 512 '
                                            'positions'):
        make()(*batch([513])).asnumpy()


def test_shapes_and_types():
    network, (ids, segments, lengths) = make(), batch(LENGTHS)
    for arrays, message in (
            ((ids, segments[:3], lengths), r'segment_ids: shape \(3, 10\), expected \(4, 10\)'),
            ((ids, segments, lengths[:3]), r'valid_length: shape \(3\), expected \(4\)'),
            ((ids[0], segments[0], None), r'token_ids have the shape \(10\), expected \(batch, '),
            ((ids.astype('float16'), segments, lengths),
             'token_ids: expected int8, uint8, int32, int64, float32 or float64')):
        with pytest.raises(mx.MXNetError, match=message):
            network(*arrays).asnumpy()
    network.word_embed.cast('int32')
    for arrays in ((ids, segments, lengths), (ids, segments)):
        with pytest.raises(mx.MXNetError, match='parameter 0: expected float32'):
            network(*arrays).asnumpy()


@pytest.mark.parametrize('dtype', ['float32', 'float64', 'int64', 'int8', 'uint8'])
def test_types_of_ids(dtype):
    network, arrays = make(), batch(LENGTHS)
    expected = gradients(network, arrays)
    actual = gradients(network, [array.astype(dtype) for array in arrays])
    assert np.array_equal(actual[0], expected[0])
    for name, value in expected[1].items():
        assert np.array_equal(actual[1][name], value), name


@pytest.mark.parametrize('index,name', [(0, 'a token id'), (1, 'a segment id'),
                                        (2, 'valid_length')])
@pytest.mark.parametrize('value,text', [(1.5, '1.5'), (np.nan, 'nan'), (np.inf, 'inf'),
                                        (2.0 ** 31, '2147483648'),
                                        (2.9999998, '2.9999997615814209')])
def test_numbers_that_are_not_ids(index, name, value, text):
    network, arrays = make(), list(batch(LENGTHS))
    arrays[index] = arrays[index].astype('float32')
    arrays[index][2] = value
    with pytest.raises(mx.MXNetError, match='%s in row 2 of the batch is %s, expected a whole '
                                            'number of 32 bits' % (name, re.escape(text))):
        network(*arrays).asnumpy()


# ---- INT8

@pytest.mark.parametrize('threads', [1, 2, 3])
@pytest.mark.parametrize('sizes', [{}, {'num_heads': 1}, {'units': 96, 'num_heads': 3},
                                   {'hidden_size': 800}, {'units': 256, 'hidden_size': 1632}])
def test_int8_is_near(kernels, sizes, threads):
    kernels.use_threads(threads)
    config, arrays = make_config(**sizes), batch([10, 3, 1, 70])
    output, expected = (make(config, dtype=dtype)(*arrays).asnumpy()
                        for dtype in ('int8', 'float32'))
    difference = (output - expected)[token_mask(arrays)]
    assert np.sqrt((difference ** 2).mean() / (expected[token_mask(arrays)] ** 2).mean()) < 0.02
    assert not output[~token_mask(arrays)].any()


def test_int8_of_a_text_ignores_the_others(kernels):
    """The scales of a token do not depend on the other texts of the batch."""
    kernels.use_threads(1)
    network, arrays = make(dtype='int8'), batch([5, 17, 1, 40, 40, 3])
    batch_output = network(*arrays).asnumpy()
    for row, length in enumerate(arrays[2].asnumpy().astype(int)):
        row_output = network(*[array[row:row + 1, :length] for array in arrays[:2]], None).asnumpy()
        assert np.array_equal(batch_output[row, :length], row_output[0])


def test_int8_sees_new_weights_and_zeros():
    network, arrays = make(dtype='int8'), batch(LENGTHS)
    before = network(*arrays).asnumpy()
    dense = network.encoder.transformer_cells[1].ffn.ffn_2
    dense.weight.data()[3:40] = 0      # rows whose scale is 0
    output = network(*arrays).asnumpy()
    assert np.isfinite(output).all() and np.abs(output - before).max() > 0.1
    with own_operators():
        expected = network(*arrays).asnumpy()
    assert np.abs(output - expected)[token_mask(arrays)].max() < 0.1


def test_int8_of_tiny_numbers_and_of_nan():
    network, arrays = make(dtype='int8'), batch(LENGTHS)
    weight = network.encoder.transformer_cells[1].ffn.ffn_2.weight
    weight.data()[3:40] = 1e-40
    assert np.isfinite(network(*arrays).asnumpy()).all()
    weight.data()[7, 5] = np.nan
    assert np.isnan(network(*arrays).asnumpy()[token_mask(arrays)]).all()    # a unit of every token


def test_int8_of_nan_between_layers():
    """An input of a product is NaN: then all its outputs are NaN, as in floating point."""
    network, arrays = make(dtype='int8'), batch(LENGTHS)
    network.encoder.transformer_cells[1].ffn.ffn_1.bias.data()[5] = np.nan
    assert np.isnan(network(*arrays).asnumpy()[token_mask(arrays)]).all()


def test_int8_refuses_to_train():
    network, arrays = make(dtype='int8'), batch(LENGTHS)
    for train_mode in (True, False):
        with pytest.raises(mx.MXNetError, match='int8 is for prediction: float32 and bfloat16'):
            gradients(network, arrays, train_mode=train_mode)
        with contextlib.suppress(mx.MXNetError):    # of another array of the same pass
            mx.nd.waitall()
    assert network(*arrays).asnumpy().any()


def test_unknown_type():
    with pytest.raises(UserError, match='compute_dtype "int4": expected one of float32, bfloat16, '
                                        'int8'):
        make(dtype='int4')
