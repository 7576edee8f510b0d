"""Question answering is trained alike by the fused operator, which leaves zeros behind the tokens
of a window, and by MXNet's own operators, which compute something there."""
import mxnet as mx
import numpy as np
import pytest
from support.fused_networks import assert_same_gradients, batch, gradients_of, make, own_operators

from bert.model.qa import BertForQA, BertForQALoss

pytestmark = pytest.mark.usefixtures('kernels')

LENGTHS = [40, 17, 3, 64]
START, END = [5, 3, 1, 60], [9, 3, 2, 63]
FORWARD, GRADIENT = 1e-5, 1e-4      # relative to the largest number
# What adds the same to the scores of all tokens changes no probability: their gradients are 0.
WITHOUT_EFFECT = 'span_classifier.bias', 'bert.encoder.transformer_cells.1.ffn.layer_norm.beta'


def answering():
    network = BertForQA(make())
    network.span_classifier.initialize(mx.init.Normal(0.3))
    return network


def trained(network, longest):
    """(losses, {name: gradient}) with the batch padded to `longest`."""
    token_ids, segment_ids, lengths = batch(LENGTHS)
    missing = longest - token_ids.shape[1]
    arrays = [mx.nd.concat(array, mx.nd.zeros((len(LENGTHS), missing), dtype='int32'), dim=1)
              if missing else array for array in (token_ids, segment_ids)]
    positions = [mx.nd.array(START), mx.nd.array(END)]
    return gradients_of(network, lambda: BertForQALoss()(network(*arrays, lengths), positions,
                                                         lengths))


def assert_alike(found, expected):
    for gradients in (found, expected):
        for name in WITHOUT_EFFECT:
            assert np.abs(gradients.pop(name)).max() < 2e-5
    assert_same_gradients(found, expected, GRADIENT)


@pytest.mark.parametrize('longest', [64, 100])
def test_the_same_as_own_operators(longest):
    network = answering()
    losses, gradients = trained(network, longest)
    with own_operators():
        expected_losses, expected = trained(network, longest)
    np.testing.assert_allclose(losses, expected_losses, rtol=FORWARD)
    assert_alike(gradients, expected)


def test_the_same_however_far_a_batch_is_padded():
    network = answering()
    losses, gradients = trained(network, 64)
    wide_losses, wide = trained(network, 100)
    np.testing.assert_allclose(wide_losses, losses, rtol=FORWARD)
    assert_alike(wide, gradients)
