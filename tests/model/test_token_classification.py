"""The network for token classification and its loss against NumPy."""
import mxnet as mx
import numpy as np
import pytest
from reference import numpy_bert
from support import tiny, tiny_networks

from bert.model.bert import BERTModel
from bert.model.token_classification import BertForTokenClassification, TokenClassificationLoss
from bert.model.weights import heads, loading, mapping

CLASSES = 5


@pytest.fixture(scope='module')
def tensors():
    random = np.random.RandomState(1)
    tensors = {name: tensor for name, tensor in numpy_bert.random_tensors(tiny.CONFIG).items()
               if not name.startswith(('cls.', 'bert.pooler'))}
    return dict(tensors, **{
        'classifier.weight': random.normal(0, 0.3, (CLASSES, tiny.CONFIG.units)).astype('float32'),
        'classifier.bias': random.normal(0, 0.3, CLASSES).astype('float32')})


def network_of(tensors, **options):
    network = BertForTokenClassification(
        BERTModel(tiny.CONFIG, dropout=0.0, use_pooler=False), CLASSES, **options)
    loading.load_parameters(network, mapping.from_transformers(tensors, 'here'), 'here', mx.cpu())
    return network


@pytest.mark.parametrize('hybridize', [False, True])
def test_logits(tensors, hybridize):
    """Also of padded texts: the padding changes nothing before it."""
    network = network_of(tensors)
    if hybridize:
        network.hybridize()
    token_ids, segment_ids, valid_length = tiny_networks.batch(4, 12)
    expected = numpy_bert.dense(numpy_bert.sequence(
        tensors, tiny.CONFIG, token_ids, segment_ids, valid_length), tensors, 'classifier')
    logits = tiny_networks.outputs(network, (token_ids, segment_ids, valid_length))
    assert logits.shape == (4, 12, CLASSES) and valid_length.min() < 12
    tiny_networks.assert_same(logits, expected, valid_length)
    if not hybridize:
        whole = tiny_networks.outputs(network, (token_ids, segment_ids))
        tiny_networks.assert_same(whole[:1], expected[:1], valid_length[:1])


def test_dropout_is_only_for_training(tensors):
    network, arrays = network_of(tensors, dropout=0.5), tiny_networks.batch(2, 6)
    expected = tiny_networks.outputs(network_of(tensors), arrays)
    np.testing.assert_array_equal(tiny_networks.outputs(network, arrays), expected)
    with mx.autograd.train_mode():
        assert np.abs(tiny_networks.outputs(network, arrays) - expected).max() > 1e-3


def numpy_losses(logits, labels):
    """The sum over the labelled tokens of each text."""
    probabilities = numpy_bert.softmax(logits.astype(np.float64))
    return [sum(-np.log(row[label]) for row, label in zip(rows, text_labels) if label >= 0)
            for rows, text_labels in zip(probabilities, labels)]


@pytest.mark.parametrize('hybridize', [False, True])
def test_loss(hybridize):
    random, loss = np.random.RandomState(2), TokenClassificationLoss()
    if hybridize:
        loss.hybridize()
    logits = random.normal(0, 3, (4, 7, CLASSES)).astype('float32')
    labels = np.where(random.rand(4, 7) < 0.4, -100, random.randint(CLASSES, size=(4, 7)))
    labels[2] = -100
    labels[3, 2:] = -1
    losses = loss(mx.nd.array(logits), mx.nd.array(labels)).asnumpy()
    assert losses.shape == (4,) and losses[2] == 0
    np.testing.assert_allclose(losses, numpy_losses(logits, labels), rtol=1e-5)


def test_gradients_of_unlabelled_tokens_are_zero():
    logits = mx.nd.array(np.random.RandomState(3).normal(0, 3, (2, 4, CLASSES)))
    labels = mx.nd.array([[1, -100, 0, -100], [-100] * 4])
    logits.attach_grad()
    with mx.autograd.record():
        TokenClassificationLoss()(logits, labels).sum().backward()
    gradients = logits.grad.asnumpy()
    assert (gradients[labels.asnumpy() < 0] == 0).all()
    rows = numpy_bert.softmax(logits.asnumpy()[0, [0, 2]])
    np.testing.assert_allclose(gradients[0, [0, 2]], rows - np.eye(CLASSES)[[1, 0]], atol=1e-5)


# ---- The head among others


def test_the_head_is_recognised(tensors):
    """By the architecture, or by the pooler that it lacks: transformers has one name for the
    classifiers of texts and of tokens."""
    with_pooler = dict(tensors, **{
        name: np.zeros(shape, 'float32') for name, shape in (
            ('bert.pooler.dense.weight', (8, 8)), ('bert.pooler.dense.bias', (8,)))})
    for values, architectures, name, left_out in (
            (tensors, (), heads.TOKEN_CLASSIFICATION, []),
            (tensors, ('BertForTokenClassification',), heads.TOKEN_CLASSIFICATION, []),
            (with_pooler, ('BertForTokenClassification',), heads.TOKEN_CLASSIFICATION,
             ['pooler.bias', 'pooler.weight']),
            (with_pooler, (), heads.CLASSIFICATION, []),
            (with_pooler, ('BertForSequenceClassification',), heads.CLASSIFICATION, [])):
        head, arrays, others = heads.identify_head(mapping.from_transformers(values, 'here'),
                                                   'here', architectures)
        assert (head.name, others) == (name, left_out)
        assert heads.num_classes(arrays) == CLASSES
        heads.check_head_arrays(tiny.CONFIG, head, arrays, 'here')
        saved = heads.with_gluon_names(head, arrays, tiny.CONFIG)
        again, _, _ = heads.identify_head(saved, 'here')
        assert again == head
