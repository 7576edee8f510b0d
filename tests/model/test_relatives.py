"""BERT's relatives against plain NumPy: by MXNet's operators, by the fused ones, and gradients.
test_relatives_of_transformers.py has their checkpoints."""
import json

import mxnet as mx
import numpy as np
import pytest
from reference import numpy_bert

from bert.errors import UserError
from bert.model.bert import BertConfig
from bert.model.classification import BERTClassifier
from bert.model.weights import loading, mapping

# The first is too narrow for the fused operators
SIZES = dict(num_layers=2, units=8, hidden_size=16, num_heads=2), \
    dict(num_layers=2, units=64, hidden_size=96, num_heads=2)
FAMILIES = {
    'roberta': dict(token_type_vocab_size=1, position_offset=2),
    'distilbert': dict(token_type_vocab_size=0), 'electra': {}, 'ernie': dict(activation='relu')}
NARROW = 'electra with narrow embeddings'       # half as wide as the layers
NAMES = *FAMILIES, NARROW
POOLER_ACTIVATIONS = {'roberta': np.tanh, 'distilbert': numpy_bert.relu,
                      'electra': numpy_bert.gelu, 'ernie': np.tanh}
TOKEN_IDS = np.array([[2, 5, 9, 3, 0, 0], [2, 7, 7, 29, 11, 3], [2, 3, 0, 0, 0, 0]])
SEGMENT_IDS = np.array([[0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0]])
VALID_LENGTH = np.array([4, 6, 2])
MASK = np.arange(6) < VALID_LENGTH[:, None]
all_families = pytest.mark.parametrize('name', NAMES)


def make_config(name, sizes=SIZES[0]):
    return BertConfig(vocab_size=30, max_length=12, layer_norm_eps=1e-5, family=name.split()[0],
                      embedding_size=sizes['units'] // 2 if name == NARROW else None,
                      **sizes, **FAMILIES[name.split()[0]])


def make_tensors(config):
    """Small enough for float32: the sums of narrow layers have the same spread."""
    tensors = numpy_bert.random_tensors(config)
    for name, value in tensors.items():
        if value.ndim == 2 and 'embeddings.' not in name:
            value /= 0.3 * np.sqrt(value.shape[1])
    return tensors


def build(config, tensors, **parts):
    return loading.build_bert(config, mapping.from_transformers(tensors, 'test'), 'test', mx.cpu(),
                              **parts)


def inputs():
    return [mx.nd.array(TOKEN_IDS, dtype='int32'), mx.nd.array(SEGMENT_IDS, dtype='int32'),
            mx.nd.array(VALID_LENGTH)]


def expected_outputs(config, tensors):
    """Sequence and pooled output. A network that knows one segment takes no others."""
    segments = SEGMENT_IDS * (config.token_type_vocab_size > 1)
    states = numpy_bert.sequence(tensors, config, TOKEN_IDS, segments, VALID_LENGTH)
    return states, numpy_bert.pooled(tensors, states, POOLER_ACTIVATIONS[config.family])


@pytest.mark.parametrize('hybrid', [False, True])
@pytest.mark.parametrize('sizes', SIZES)
@all_families
def test_the_outputs_equal_numpy(name, sizes, hybrid):
    config = make_config(name, sizes)
    tensors = make_tensors(config)
    network = build(config, tensors)
    assert network.is_fused() == (sizes is SIZES[1])
    if hybrid:
        network.hybridize()
    states, pooled = network(*inputs())
    expected_states, expected_pooled = expected_outputs(config, tensors)
    np.testing.assert_allclose(states.asnumpy()[MASK], expected_states[MASK], atol=2e-5)
    np.testing.assert_allclose(pooled.asnumpy(), expected_pooled, atol=2e-5)


@pytest.mark.usefixtures('kernels')
@pytest.mark.parametrize('dtype', ['bfloat16', 'int8'])
@all_families
def test_smaller_types_are_near(name, dtype):
    """The fused operators, with the bound of BERT's own tests."""
    config = make_config(name, SIZES[1])
    tensors = make_tensors(config)
    network = build(config, tensors, compute_dtype=dtype)
    assert network.is_fused()
    states = network(*inputs())[0].asnumpy()
    expected = expected_outputs(config, tensors)[0]
    difference = (states - expected)[MASK]
    error = np.sqrt((difference ** 2).mean() / (expected[MASK] ** 2).mean())
    assert 1e-5 < error < 0.02      # above what float32 has
    assert not states[~MASK].any()


PARTS = ('embeddings.word_embeddings.weight', 'embeddings.position_embeddings.weight',
         'embeddings.LayerNorm.weight', 'embeddings.LayerNorm.bias',
         'encoder.layer.0.attention.self.key.weight', 'encoder.layer.0.intermediate.dense.weight',
         'encoder.layer.0.output.dense.weight', 'pooler.dense.weight')


@pytest.mark.parametrize('sizes', SIZES)
@pytest.mark.parametrize('name, part', [
    *((name, part) for name in NAMES for part in PARTS),
    (NARROW, 'embeddings_project.weight'), (NARROW, 'embeddings_project.bias')])
def test_the_gradients_equal_finite_differences(name, sizes, part):
    config = make_config(name, sizes)
    tensors = make_tensors(config)
    index = (3, 1)[:tensors['bert.' + part].ndim]
    network = build(config, tensors)
    weights = np.random.RandomState(1).normal(size=(3, config.units))

    def loss(value):
        changed = {key: tensor.astype('float64') for key, tensor in tensors.items()}
        changed['bert.' + part][index] = value
        return (expected_outputs(config, changed)[1] * weights).sum()

    with mx.autograd.record(train_mode=False):
        total = (network(*inputs())[1] * mx.nd.array(weights)).sum()
    total.backward()
    gluon_name, = mapping.from_transformers({'bert.' + part: 0}, 'x')
    gradient = network._collect_params_with_prefix()[gluon_name].grad().asnumpy()[index]
    value, step = float(tensors['bert.' + part][index]), 1e-5
    expected = (loss(value + step) - loss(value - step)) / (2 * step)
    assert gradient == pytest.approx(expected, rel=2e-3, abs=2e-4)


@all_families
def test_where_dropout_acts(name):
    """RoBERTa's and ELECTRA's classifiers have one more, before their first layer."""
    config = make_config(name)
    network = build(config, make_tensors(config), dropout=0.5)
    assert (network.pooler_dropout is not None) == (config.family in ('roberta', 'electra'))
    classifier = BERTClassifier(network, num_classes=3)
    classifier.classifier.initialize()
    expected = classifier(*inputs()).asnumpy()
    np.testing.assert_array_equal(expected, classifier(*inputs()).asnumpy())
    with mx.autograd.train_mode():
        assert np.abs(classifier(*inputs()).asnumpy() - expected).max() > 1e-3


def test_a_configuration_in_a_file():
    config = make_config(NARROW)
    assert BertConfig.from_dict(json.loads(config.to_json())) == config
    values = {key: value for key, value in json.loads(config.to_json()).items()
              if key not in ('family', 'position_offset', 'embedding_size')}
    old = BertConfig.from_dict(values)      # of a checkpoint before there were relatives
    assert (old.family, old.position_offset, old.embedding_size) == ('bert', 0, None)
    for key, value, message in (
            ('family', 'albert', 'expected one of bert, roberta'), ('family', ['bert'], 'one of'),
            ('position_offset', -1, 'a whole number from 0 on'),
            ('embedding_size', 0, 'from 1 on, or null'),
            ('token_type_vocab_size', -1, 'a whole number from 0 on')):
        with pytest.raises(UserError, match='"%s" is .*%s' % (key, message)):
            BertConfig.from_dict({**json.loads(config.to_json()), key: value})
