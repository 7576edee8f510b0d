"""Question answering trains the same with the fused operator, which outputs zeros for padding, and
with MXNet's own operators, which compute something there."""
import mxnet as mx
import numpy as np
import pytest
from support.fused_networks import assert_same_gradients, batch, gradients_of, make, own_operators

from bert.model.qa import BertForQA, BertForQALoss

pytestmark = pytest.mark.usefixtures('kernels')

LENGTHS = [40, 17, 3, 64]
START, END = [5, 3, 1, 60], [9, 3, 2, 63]
FORWARD_BOUND, GRADIENT_BOUND = 1e-5, 1e-4      # relative to the largest number
# A number added to the scores of all tokens changes no probability, so these gradients are 0.
ZERO_GRADIENTS = 'span_classifier.bias', 'bert.encoder.transformer_cells.1.ffn.layer_norm.beta'


def make_question_answerer():
    network = BertForQA(make())
    network.span_classifier.initialize(mx.init.Normal(0.3))
    return network


def compute_gradients(network, padded_length):
    """(losses, {name: gradient}) with the batch padded to `padded_length`."""
    token_ids, segment_ids, lengths = batch(LENGTHS)
    padding = padded_length - token_ids.shape[1]
    arrays = [mx.nd.concat(array, mx.nd.zeros((len(LENGTHS), padding), dtype='int32'), dim=1)
              if padding else array for array in (token_ids, segment_ids)]
    positions = [mx.nd.array(START), mx.nd.array(END)]
    return gradients_of(network, lambda: BertForQALoss()(network(*arrays, lengths), positions,
                                                         lengths))


def assert_equal(actual, expected):
    for gradients in (actual, expected):
        for name in ZERO_GRADIENTS:
            assert np.abs(gradients.pop(name)).max() < 2e-5
    assert_same_gradients(actual, expected, GRADIENT_BOUND)


@pytest.mark.parametrize('padded_length', [64, 100])
def test_the_same_as_mxnets_operators(padded_length):
    network = make_question_answerer()
    losses, gradients = compute_gradients(network, padded_length)
    with own_operators():
        expected_losses, expected = compute_gradients(network, padded_length)
    np.testing.assert_allclose(losses, expected_losses, rtol=FORWARD_BOUND)
    assert_equal(gradients, expected)


def test_more_padding_changes_nothing():
    network = make_question_answerer()
    losses, gradients = compute_gradients(network, 64)
    wide_losses, wide_gradients = compute_gradients(network, 100)
    np.testing.assert_allclose(wide_losses, losses, rtol=FORWARD_BOUND)
    assert_equal(wide_gradients, gradients)
