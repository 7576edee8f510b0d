"""bert/model/bert.py against plain NumPy and against gluonnlp's own BERT."""
import gluonnlp
import mxnet as mx
import numpy as np
import pytest
from reference import numpy_bert

from bert.errors import UserError
from bert.model.bert import BertConfig, BERTModel
from bert.model.weights import loading, mapping

TINY = dict(num_layers=2, units=8, hidden_size=16, num_heads=2, vocab_size=30, max_length=12)
TOKEN_IDS = np.array([[2, 5, 9, 3, 0, 0], [2, 7, 7, 29, 11, 3], [2, 3, 0, 0, 0, 0]])
SEGMENT_IDS = np.array([[0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0]])
VALID_LENGTH = np.array([4, 6, 2])
POSITIONS = np.array([[1, 3], [4, 0], [0, 0]])
ALL_PARTS = dict(use_pooler=True, use_decoder=True, use_classifier=True)


def make(config, **parts):
    """A network with random weights, and the same weights under transformers' names."""
    tensors = numpy_bert.random_tensors(config)
    arrays = mapping.from_transformers(tensors, 'test')
    return loading.build_bert(config, arrays, 'test', mx.cpu(), **(parts or ALL_PARTS)), tensors


def inputs(valid_length=True, dtype='int32'):
    return [mx.nd.array(TOKEN_IDS, dtype=dtype), mx.nd.array(SEGMENT_IDS, dtype=dtype),
            mx.nd.array(VALID_LENGTH) if valid_length else None]


@pytest.mark.parametrize('hybrid', [False, True])
@pytest.mark.parametrize('padded', [False, True])
@pytest.mark.parametrize('activation', ['gelu', 'gelu_new', 'relu'])
def test_every_output_equals_numpy(activation, padded, hybrid):
    config = BertConfig(activation=activation, layer_norm_eps=1e-5, **TINY)
    network, tensors = make(config)
    if hybrid:
        network.hybridize(static_alloc=True)
    outputs = network(*inputs(padded), mx.nd.array(POSITIONS, dtype='int32'))
    states = numpy_bert.sequence(tensors, config, TOKEN_IDS, SEGMENT_IDS,
                                 VALID_LENGTH if padded else None)
    pooled = numpy_bert.pooled(tensors, states)
    expected = [states, pooled, numpy_bert.next_sentence(tensors, pooled),
                numpy_bert.token_logits(tensors, config, states, POSITIONS)]
    assert [output.shape for output in outputs] == [(3, 6, 8), (3, 8), (3, 2), (3, 2, 30)]
    for output, reference in zip(outputs, expected):
        np.testing.assert_allclose(output.asnumpy(), reference, atol=1e-5)


def test_the_activations_differ():
    outputs = [make(BertConfig(activation=name, **TINY))[0](*inputs())[0].asnumpy()
               for name in ('gelu', 'gelu_new', 'relu')]
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-5
    assert np.abs(outputs[0] - outputs[2]).max() > 1e-2


def test_unknown_activation():
    network = BERTModel(BertConfig(activation='swish', **TINY))
    network.initialize()
    with pytest.raises(UserError, match='activation "swish"'):
        network(*inputs())


def test_padding_changes_nothing():
    network, _ = make(BertConfig(**TINY), use_pooler=False)
    token_ids, segment_ids, valid_length = inputs()
    states = network(token_ids, segment_ids, valid_length).asnumpy()
    for row, length in enumerate(VALID_LENGTH):
        row_states = network(token_ids[row:row + 1, :length], segment_ids[row:row + 1, :length])
        np.testing.assert_allclose(states[row, :length], row_states.asnumpy()[0], atol=1e-5)
    changed_ids = token_ids.asnumpy()
    changed_ids[0, 4:] = 17       # the ids in the padding must not matter
    changed_states = network(mx.nd.array(changed_ids), segment_ids, valid_length).asnumpy()
    np.testing.assert_array_equal(states[0, :4], changed_states[0, :4])


def test_float_ids_and_integer_ids_are_the_same():
    network, _ = make(BertConfig(**TINY), use_pooler=False)
    np.testing.assert_array_equal(network(*inputs()).asnumpy(),
                                  network(*inputs(dtype='float32')).asnumpy())


@pytest.mark.parametrize('parts, shapes', [
    (dict(use_pooler=False), (3, 6, 8)),
    (dict(use_pooler=True), [(3, 6, 8), (3, 8)]),
    (dict(use_pooler=False, use_classifier=True), (3, 6, 8)),   # it needs the pooler
    (dict(use_pooler=True, use_classifier=True), [(3, 6, 8), (3, 8), (3, 2)]),
    (dict(use_pooler=False, use_decoder=True), [(3, 6, 8), (3, 2, 30)]),
])
def test_parts_select_the_outputs(parts, shapes):
    network, _ = make(BertConfig(**TINY), **parts)
    positions = [mx.nd.array(POSITIONS)] if parts.get('use_decoder') else []
    outputs = network(*inputs(), *positions)
    if isinstance(shapes, list):
        assert [output.shape for output in outputs] == shapes
    else:
        assert outputs.shape == shapes


@pytest.mark.parametrize('name, index', [
    ('bert.embeddings.word_embeddings.weight', (7, 2)),         # also used by the decoder
    ('bert.encoder.layer.0.attention.self.key.weight', (3, 5)),
    ('bert.encoder.layer.1.output.LayerNorm.weight', (4,)),
    ('bert.embeddings.position_embeddings.weight', (1, 1)),
])
def test_gradients_equal_finite_differences(name, index):
    config = BertConfig(**TINY)
    network, tensors = make(config)
    weights = np.random.RandomState(1).normal(size=(3, 2, 30))

    def loss(value):
        changed_tensors = {key: tensor.astype(np.float64) for key, tensor in tensors.items()}
        changed_tensors[name][index] = value
        states = numpy_bert.sequence(changed_tensors, config, TOKEN_IDS, SEGMENT_IDS, VALID_LENGTH)
        return (numpy_bert.token_logits(changed_tensors, config, states, POSITIONS) * weights).sum()

    with mx.autograd.record(train_mode=False):
        logits = network(*inputs(), mx.nd.array(POSITIONS))[-1]
        total = (logits * mx.nd.array(weights)).sum()
    total.backward()
    parameters = network._collect_params_with_prefix()
    gradient = parameters[mapping.translate_name(name, mapping.TO_GLUON)].grad().asnumpy()[index]
    value, step = float(tensors[name][index]), 1e-4
    expected = (loss(value + step) - loss(value - step)) / (2 * step)
    assert abs(expected) > 1e-3
    assert gradient == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_dropout_acts_in_training_only():
    network, _ = make(BertConfig(**TINY), use_pooler=False)
    expected = network(*inputs()).asnumpy()
    np.testing.assert_array_equal(expected, network(*inputs()).asnumpy())
    with mx.autograd.train_mode():
        assert np.abs(network(*inputs()).asnumpy() - expected).max() > 1e-2


def test_gluonnlp_agrees_on_names_and_values(tmp_path):
    config = BertConfig(**TINY)
    network, _ = make(config)
    encoder = gluonnlp.model.bert.BERTEncoder(
        units=8, hidden_size=16, max_length=12, num_layers=2, num_heads=2, dropout=0.1)
    reference = gluonnlp.model.bert.BERTModel(
        encoder, 30, 2, 8, embed_size=8, use_pooler=True, use_decoder=True, use_classifier=True)
    network.save_parameters(str(tmp_path / 'ours.params'))
    reference.load_parameters(str(tmp_path / 'ours.params'))
    assert (set(network._collect_params_with_prefix())
            == set(reference._collect_params_with_prefix()))
    arguments = inputs(dtype='float32') + [mx.nd.array(POSITIONS)]
    for output, expected in zip(network(*arguments), reference(*arguments)):
        # gluonnlp sets the states of padded positions to 0
        mask = np.ones(output.shape)
        if output.shape == (3, 6, 8):
            mask = (np.arange(6)[None, :] < VALID_LENGTH[:, None])[:, :, None]
        np.testing.assert_allclose(output.asnumpy() * mask, expected.asnumpy() * mask, atol=1e-5)


def test_config_round_trip_and_mistakes():
    import json
    config = BertConfig(cased=True, **TINY)
    values = json.loads(config.to_json())
    assert BertConfig.from_dict(values) == config
    with pytest.raises(UserError, match='file: no key "units": not a BERT configuration'):
        BertConfig.from_dict({key: values[key] for key in values if key != 'units'}, 'file')
    with pytest.raises(UserError, match='file: unknown key "unit"'):
        BertConfig.from_dict(dict(values, unit=8), 'file')
