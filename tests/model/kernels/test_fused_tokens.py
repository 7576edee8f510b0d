"""Token classification is the same with the fused operator, which outputs zeros for padding, as by
MXNet's own operators: logits of tokens, losses, gradients; also its INT8 network."""
import mxnet as mx
import numpy as np
import pytest
from support.fused_networks import assert_same_gradients, batch, gradients_of, make, own_operators

from bert.model.bert import is_fused, set_compute_dtype
from bert.model.kernels.quantizer import FusedQuantizer
from bert.model.token_classification import BertForTokenClassification, TokenClassificationLoss
from bert.quantization.tune import symbol_block

pytestmark = pytest.mark.usefixtures('kernels')

LENGTHS, NUM_CLASSES = [40, 17, 3, 64], 5
FORWARD_BOUND, GRADIENT_BOUND = 1e-5, 1e-4      # relative to the largest number
# of products with 8 and 7 bits, two layers deep, relative to the largest logit
DTYPE_BOUNDS = {'bfloat16': 0.03, 'int8': 0.06}
# A number added to the logits of all classes changes no probability, so this gradient is 0.
ZERO_GRADIENT = 'tag_classifier.bias'


def make_tagger(dtype='float32'):
    network = BertForTokenClassification(make(dtype=dtype), NUM_CLASSES)
    network.tag_classifier.initialize(mx.init.Normal(0.3))
    return network


def labels():
    """Labels of a third of the tokens, none of padding and none of the third text."""
    array = np.random.RandomState(0).randint(NUM_CLASSES, size=(4, max(LENGTHS)))
    array[:, np.arange(max(LENGTHS)) % 3 > 0] = -100
    for i, length in enumerate(LENGTHS):
        array[i, length:] = -100
    array[2] = -100
    return mx.nd.array(array)


def token_logits(network):
    arrays = batch(LENGTHS)
    is_token = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    return network(*arrays).asnumpy()[is_token]


def test_losses_and_gradients_are_those_of_mxnets_operators():
    network, loss = make_tagger(), TokenClassificationLoss()

    def compute():
        return gradients_of(network, lambda: loss(network(*batch(LENGTHS)), labels()))
    losses, gradients = compute()
    with own_operators():
        expected_losses, expected = compute()
    np.testing.assert_allclose(losses, expected_losses, rtol=FORWARD_BOUND)
    assert losses[2] == 0 < min(losses[0], losses[1], losses[3])
    assert_same_gradients(gradients, expected, GRADIENT_BOUND)


@pytest.mark.parametrize('dtype', DTYPE_BOUNDS)
def test_logits_in_other_types(dtype):
    network = make_tagger()
    with own_operators():
        expected = token_logits(network)
    set_compute_dtype(network, dtype)
    assert is_fused(network, dtype)
    difference = np.abs(token_logits(network) - expected).max() / np.abs(expected).max()
    assert 0 < difference < DTYPE_BOUNDS[dtype]


def test_a_quantized_network():
    network = make_tagger()
    network.hybridize()
    expected = token_logits(network)
    int8_network = symbol_block(*FusedQuantizer(network).quantize())
    outputs = token_logits(int8_network)
    assert np.abs(outputs - expected).max() / np.abs(expected).max() < DTYPE_BOUNDS['int8']
