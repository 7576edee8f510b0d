"""The fused encoder's dropout: its rate, its places, and the same masks again in backward."""
import mxnet as mx
import numpy as np
import pytest
from scipy import stats
from support import fused_networks
from support.fused_networks import batch, gradients, make, make_config

RATE, UNITS, LENGTH, BATCH = 0.1, 256, 64, 32
CONFIG = make_config(2, UNITS, 512, 8)
LENGTHS = [LENGTH] * BATCH
MIN_P_VALUE = 1e-4       # seeds are fixed, so a test of a hypothesis fails always or never

pytestmark = pytest.mark.usefixtures('kernels')


def hidden_state(network, layer, seed=None):
    """A hidden state (batch, length, units) from a forward pass in training."""
    network.encoder.layers = (layer,), 'sum'
    if seed is not None:
        mx.random.seed(seed)
    with mx.autograd.train_mode():
        return network(*batch(LENGTHS)).asnumpy()


def make_silent_network(dropout, **biases):
    """A network whose dense layers output 0, except those with these biases, which output 1
    everywhere. After layer normalisation a row of these has two values, and the smaller one marks
    what is dropped. The embeddings are 0."""
    network = make(CONFIG, dropout=dropout)
    for name, value in network._collect_params_with_prefix().items():
        is_one = name.endswith('gamma') and 'encoder.layer_norm' not in name
        value.set_data(mx.nd.full(value.shape, int(is_one or name.replace('.', '_') in biases)))
    return network


CELL = 'encoder_transformer_cells_%d_'
PROJECTION_BIAS, OUTPUT_BIAS = (CELL + name for name in ('proj_bias', 'ffn_ffn_2_bias'))


def masks(layer, name, seed=0, dropout=RATE, steps=1):
    """[(batch, length, units) bool] of each step: what dropout keeps of the output of a layer."""
    network = make_silent_network(dropout, **{name % layer: 1})
    mx.random.seed(seed)
    return [hidden_state(network, layer + 1) > 0 for _ in range(steps)]


def embedding_masks(seed=0, dropout=RATE, steps=1):
    network = make(CONFIG, dropout=dropout)
    mx.random.seed(seed)
    return [hidden_state(network, 0) != 0 for _ in range(steps)]


def assert_rate(mask, rate):
    num_dropped = (~mask).sum()
    assert stats.binomtest(int(num_dropped), mask.size, rate).pvalue > MIN_P_VALUE, \
        num_dropped / mask.size


def assert_independent(a, b):
    """By their correlation, which is normal with the deviation 1 / √size."""
    a, b = a.ravel().astype(float), b.ravel().astype(float)
    assert abs(np.corrcoef(a, b)[0, 1]) * np.sqrt(a.size) < stats.norm.isf(MIN_P_VALUE / 2)


DRAWS = [embedding_masks] + [lambda seed=0, dropout=RATE, steps=1, layer=layer, name=name:
                             masks(layer, name, seed, dropout, steps)
                             for layer in (0, 1) for name in (PROJECTION_BIAS, OUTPUT_BIAS)]


@pytest.mark.parametrize('rate', [0.1, 0.5, 0.9])
@pytest.mark.parametrize('draw', DRAWS)
def test_the_rate(draw, rate):
    mask, = draw(dropout=rate)
    assert_rate(mask, rate)
    for axes in ((0, 1), (1, 2), (0, 2)):       # of each unit, each text, each position
        counts = (~mask).sum(axis=axes)
        num_values = mask.size // len(counts)
        spread = ((counts - num_values * rate) ** 2).sum() / (num_values * rate * (1 - rate))
        assert MIN_P_VALUE < stats.chi2.sf(spread, len(counts)) < 1 - MIN_P_VALUE


@pytest.mark.parametrize('draw', DRAWS)
def test_neighbours_and_steps_are_independent(draw):
    first, second, third = draw(steps=3)
    for a, b in ((first, second), (second, third), (first, third),
                 (first[..., 1:], first[..., :-1]), (first[..., 16:], first[..., :-16]),
                 (first[:, 1:], first[:, :-1]), (first[1:], first[:-1]),
                 (first[:, 8:], first[:, :-8])):
        assert_independent(a, b)


def test_places_are_independent():
    place_masks = [draw()[0] for draw in DRAWS]
    for i, mask in enumerate(place_masks):
        for earlier_mask in place_masks[:i]:
            assert_independent(mask, earlier_mask)


@pytest.mark.parametrize('draw', DRAWS)
def test_the_seed_decides(draw):
    assert np.array_equal(draw(seed=5)[0], draw(seed=5)[0])
    assert_independent(draw(seed=5)[0], draw(seed=6)[0])


def test_kept_values_are_scaled():
    network = make(CONFIG, dropout=0.25)
    output, expected = hidden_state(network, 0), network(*batch(LENGTHS)).asnumpy()
    mask = output != 0
    np.testing.assert_allclose(output[mask], expected[mask] / 0.75, rtol=1e-6)
    assert_rate(mask, 0.25)


def test_forward_and_backward_drop_the_same():
    """For every parameter, differences of the loss with the same seed have the slope that the
    gradient says. With other masks in backward they would not."""
    network, arrays = make(make_config(2, 64, 128, 2), dropout=0.3), batch([10, 3, 1, 7, 33])
    parameters = network._collect_params_with_prefix()

    def compute():
        mx.random.seed(11)
        output, all_gradients = gradients(network, arrays)
        weights = np.random.RandomState(1).randn(*output.shape) * \
            fused_networks.token_mask(arrays)[:, :, None]
        return (output.astype(float) * weights).sum(), all_gradients
    _, all_gradients = compute()
    for name, value in parameters.items():
        if name.endswith('proj_key.bias'):
            continue        # its gradient is zero
        start, gradient = value.data().copy(), all_gradients[name]
        length = np.sqrt((gradient.astype(float) ** 2).sum())
        step = 2e-2 / length * np.sqrt((start.asnumpy() ** 2).mean())
        direction = gradient / length
        losses = []
        for sign in (1, -1):
            value.set_data(start + sign * step * mx.nd.array(direction))
            losses.append(compute()[0])
        value.set_data(start)
        expected = (gradient * direction).sum()
        assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(expected, rel=0.02), name


def test_attention_drops_single_weights():
    """With keys of 0 all attention weights are equal. With values of 1 at one position and 0
    elsewhere the context of a head is a single weight: 0 or 1 / (LENGTH (1 - rate))."""
    network = make_silent_network(0.3)
    parameters = network._collect_params_with_prefix()
    # the embedding of position 0 marks it: unit 0 is 1 there and 0 elsewhere
    mark = np.zeros((512, UNITS), 'float32')
    mark[0, 0], mark[0, 1] = 1, -1
    parameters['encoder.position_weight'].set_data(mx.nd.array(mark))
    parameters['encoder.layer_norm.gamma'].set_data(mx.nd.ones(UNITS))
    cell = 'encoder.transformer_cells.0.'
    values, projection = np.zeros((2, UNITS, UNITS), 'float32')
    heads, size = CONFIG.num_heads, UNITS // CONFIG.num_heads
    values[::size, 0] = 1       # the first unit of each head is the mark
    projection[::size, ::size] = np.eye(heads)
    parameters[cell + 'attention_cell.proj_value.weight'].set_data(mx.nd.array(values))
    parameters[cell + 'proj.weight'].set_data(mx.nd.array(projection))
    contexts = hidden_state(network, 1, seed=3)[:, 1:, ::size]        # other positions: no residual
    mask = contexts > 1e-3 * np.abs(contexts).max()
    # dropout acts on each of them twice: on the weight, and behind the projection; on the mark once
    has_mark = hidden_state(network, 0, seed=3)[:, 0, 0] > 0
    assert 0.3 < has_mark.mean() < 1 and not mask[~has_mark].any()
    assert_rate(mask[has_mark], 1 - 0.7 * 0.7)
    for a, b in ((mask[has_mark][:, 1:], mask[has_mark][:, :-1]),
                 (mask[has_mark][..., 1:], mask[has_mark][..., :-1])):
        assert_independent(a, b)


def test_a_rate_of_one_drops_all():
    assert not hidden_state(make(CONFIG, dropout=1.0), 0).any()


def test_a_rate_of_zero_drops_nothing():
    network = make(CONFIG, dropout=0.0)
    assert np.array_equal(hidden_state(network, 2), network(*batch(LENGTHS)).asnumpy())
