"""ONNX graphs compute the same outputs as the networks, on two independent runtimes."""
import dataclasses

import numpy as np
import onnx
import pytest
from reference import numpy_bert
from support import tiny, tiny_networks

from bert.errors import UserError
from bert.export import onnx_graph
from bert.export.runtimes import ONNX_RUNTIMES
from bert.train.checkpoint import collect_parameters

SHAPES = ((1, 1), (1, 7), (3, 5), (16, 40))


def arrays_of(network):
    return {name: value.asnumpy() for name, value in collect_parameters(network).items()}


@pytest.fixture
def save(tmp_path):
    """Function: network, its configuration → path of its ONNX file."""
    def save(network, config=tiny.CONFIG):
        path = str(tmp_path / 'model.onnx')
        onnx.save(onnx_graph.build_onnx_model(arrays_of(network), config), path)
        return path
    return save


@pytest.mark.parametrize('runtime', sorted(ONNX_RUNTIMES))
@pytest.mark.parametrize('activation', ['gelu', 'gelu_new', 'relu'])
def test_classifier(save, runtime, activation):
    network = tiny_networks.make_classifier(3, activation=activation)
    compute = ONNX_RUNTIMES[runtime](
        save(network, dataclasses.replace(tiny.CONFIG, activation=activation)), 1)
    for i, shape in enumerate(SHAPES):
        arrays = tiny_networks.batch(*shape, seed=i)
        tiny_networks.assert_same(compute(*arrays), tiny_networks.outputs(network, arrays),
                                  arrays[2])


@pytest.mark.parametrize('runtime', sorted(ONNX_RUNTIMES))
def test_question_answering(save, runtime):
    network = tiny_networks.make_qa(num_layers=3)
    compute = ONNX_RUNTIMES[runtime](save(network, dataclasses.replace(tiny.CONFIG, num_layers=3)),
                                     1)
    for i, shape in enumerate(SHAPES):
        arrays = tiny_networks.batch(*shape, seed=i)
        tiny_networks.assert_same(compute(*arrays), tiny_networks.outputs(network, arrays),
                                  arrays[2])


@pytest.mark.parametrize('runtime', sorted(ONNX_RUNTIMES))
@pytest.mark.parametrize('make', [tiny_networks.make_classifier, tiny_networks.make_discriminator])
@pytest.mark.parametrize('changes', tiny_networks.RELATIVES.values(), ids=tiny_networks.RELATIVES)
def test_relatives(save, runtime, make, changes):
    network = make(**changes)
    config = dataclasses.replace(tiny.CONFIG, **changes)
    path = save(network, config)
    names = [item.name for item in onnx.load(path).graph.input]
    assert names == ['input_ids', 'attention_mask', 'token_type_ids'][:2 + (
        config.token_type_vocab_size > 1)]
    arrays = tiny_networks.batch(3, 7)
    tiny_networks.assert_same(ONNX_RUNTIMES[runtime](path, 1)(*arrays),
                              tiny_networks.outputs(network, arrays), arrays[2])


def test_against_numpy(tmp_path):
    """The same weights through the reference, without any Gluon network."""
    config = tiny.CONFIG
    tensors = numpy_bert.random_tensors(config, 5)
    from bert.model.weights import mapping
    arrays = {'bert.' + name: array for name, array in mapping.from_transformers(
        tensors, 'tensors').items() if name.startswith(('word_', 'token_', 'encoder'))}
    random = np.random.RandomState(1)
    weight, bias = random.randn(2, config.units).astype('float32'), np.zeros(2, 'float32')
    arrays.update({'span_classifier.weight': weight, 'span_classifier.bias': bias})
    path = str(tmp_path / 'model.onnx')
    onnx.save(onnx_graph.build_onnx_model(arrays, config), path)
    token_ids, segment_ids, valid_length = tiny_networks.batch(4, 9)
    expected = numpy_bert.sequence(tensors, config, token_ids, segment_ids, valid_length) @ weight.T
    actual = ONNX_RUNTIMES['onnxruntime'](path, 1)(token_ids, segment_ids, valid_length)
    tiny_networks.assert_same(actual, expected.astype('float32'), valid_length)


@pytest.mark.parametrize('is_tied', [True, False])
def test_a_decoder_against_numpy(tmp_path, is_tied):
    config = dataclasses.replace(tiny.CONFIG, tied_decoder=is_tied, activation='gelu_new')
    tensors = numpy_bert.random_tensors(config, 5)
    from bert.model.weights import mapping
    arrays = {'bert.' + name: array for name, array in mapping.from_transformers(
        tensors, 'tensors').items()}
    if not is_tied:
        arrays['bert.decoder.3.weight'] = 2 * arrays['bert.word_embed.0.weight']
    path = str(tmp_path / 'model.onnx')
    onnx.save(onnx_graph.build_onnx_model(arrays, config), path)
    token_ids, segment_ids, valid_length = tiny_networks.batch(4, 9)
    states = numpy_bert.sequence(tensors, config, token_ids, segment_ids, valid_length)
    expected = numpy_bert.token_logits(tensors, config, states, [range(9)] * 4)
    if not is_tied:
        expected = 2 * expected - tensors['cls.predictions.bias']
    actual = ONNX_RUNTIMES['onnxruntime'](path, 1)(token_ids, segment_ids, valid_length)
    tiny_networks.assert_same(actual, expected.astype('float32'), valid_length, atol=1e-4)


def test_names_and_dynamic_sizes():
    proto = onnx_graph.build_onnx_model(arrays_of(tiny_networks.make_classifier(3)), tiny.CONFIG,
                                        '1.2')
    assert [opset.version for opset in proto.opset_import] == [17]
    assert proto.producer_version == '1.2'

    def shapes(values):
        return {value.name: [size.dim_param or size.dim_value
                             for size in value.type.tensor_type.shape.dim] for value in values}
    assert shapes(proto.graph.input) == {name: ['batch', 'length'] for name in (
        'input_ids', 'attention_mask', 'token_type_ids')}
    assert shapes(proto.graph.output) == {'logits': ['batch', 3]}
    proto = onnx_graph.build_onnx_model(arrays_of(tiny_networks.make_qa()), tiny.CONFIG)
    assert shapes(proto.graph.output) == {name: ['batch', 'length']
                                          for name in ('start_logits', 'end_logits')}


def test_unsupported_networks_and_activations():
    arrays = arrays_of(tiny_networks.make_classifier())
    with pytest.raises(UserError, match='activation "swish": expected gelu, gelu_new or relu'):
        onnx_graph.build_onnx_model(arrays, dataclasses.replace(tiny.CONFIG, activation='swish'))
    other = dict(arrays, **{'bert.decoder.2.gamma': arrays['classifier.1.weight']})
    other = {name: array for name, array in other.items() if not name.startswith('classifier')}
    with pytest.raises(UserError, match='to ONNX: the head of this network is not supported: '
                                        'expected a classifier of texts or tokens, a regression, '
                                        'question answering, a masked language model or an '
                                        'encoder'):
        onnx_graph.build_onnx_model(other, tiny.CONFIG)


def test_an_encoder_gives_the_last_hidden_states():
    arrays = arrays_of(tiny_networks.make_classifier())
    encoder = {name: array for name, array in arrays.items() if not name.startswith('classifier')}
    proto = onnx_graph.build_onnx_model(encoder, tiny.CONFIG)
    assert [output.name for output in proto.graph.output] == ['last_hidden_state']
