"""Sums of the pre-training losses against NumPy."""
import mxnet as mx
import numpy as np
import pytest

from bert.model.pretraining import PretrainingSums


def expected_sums(tokens, sentences, ids, weights, labels):
    def sums(scores, labels, weights):
        shifted = scores - scores.max(axis=-1, keepdims=True)
        log_softmax = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        losses = -np.take_along_axis(log_softmax, labels[..., None], axis=-1)[..., 0]
        return [(losses * weights).sum(), ((scores.argmax(-1) == labels) * weights).sum()]
    return sums(tokens, ids, weights) + sums(sentences, labels, np.ones(len(labels)))


@pytest.mark.parametrize('hybridize', [False, True])
def test_sums_and_gradients(hybridize):
    rng = np.random.RandomState(0)
    tokens, sentences = rng.randn(3, 4, 11) * 3, rng.randn(3, 2)
    ids, labels = rng.randint(0, 11, size=(3, 4)), rng.randint(0, 2, size=3)
    ids[0, 0] = tokens[0, 0].argmax()       # at least one correct prediction
    labels[1] = sentences[1].argmax()
    weights = (rng.random_sample((3, 4)) < 0.6).astype('float32')
    weights[0, 0] = 1
    sums = PretrainingSums()
    if hybridize:
        sums.hybridize()
    arrays = [mx.nd.array(array, dtype=dtype) for array, dtype in (
        (tokens, 'float32'), (sentences, 'float32'), (ids, 'int32'), (weights, 'float32'),
        (labels, 'int32'))]
    for array in arrays[:2]:
        array.attach_grad()
    with mx.autograd.record():
        actual = sums(*arrays)
        loss = actual[0:1] / weights.sum() + actual[2:3] / 3
    loss.backward()
    np.testing.assert_allclose(actual.asnumpy(),
                               expected_sums(tokens, sentences, ids, weights, labels), rtol=1e-5)
    softmax = np.exp(tokens) / np.exp(tokens).sum(-1, keepdims=True)
    gradient = (softmax - np.eye(11)[ids]) * weights[..., None] / weights.sum()
    np.testing.assert_allclose(arrays[0].grad.asnumpy(), gradient, atol=1e-6)
    softmax = np.exp(sentences) / np.exp(sentences).sum(-1, keepdims=True)
    np.testing.assert_allclose(arrays[1].grad.asnumpy(), (softmax - np.eye(2)[labels]) / 3,
                               atol=1e-6)


def test_nothing_is_counted_without_masks():
    scores = mx.nd.ones((2, 1, 5))
    actual = PretrainingSums()(scores, mx.nd.ones((2, 2)), mx.nd.zeros((2, 1)),
                               mx.nd.zeros((2, 1)), mx.nd.zeros(2)).asnumpy()
    assert actual[:2].tolist() == [0, 0] and actual[3] == 2
    np.testing.assert_allclose(actual[2], 2 * np.log(2), rtol=1e-5)
