"""The fused encoder's dropout: how much, where, and the same again in backward."""
import mxnet as mx
import numpy as np
import pytest
from scipy import stats
from support import fused_networks
from support.fused_networks import batch, gradients, make, make_config

RATE, UNITS, LENGTH, BATCH = 0.1, 256, 64, 32
CONFIG = make_config(2, UNITS, 512, 8)
LENGTHS = [LENGTH] * BATCH
LIKELY = 1e-4       # tests of hypotheses fail below, for fixed seeds: never or always

pytestmark = pytest.mark.usefixtures('kernels')


def state(network, number, seed=None):
    """A hidden state (batch, length, units) of a forward pass in training."""
    network.encoder.layers = (number,), 'sum'
    if seed is not None:
        mx.random.seed(seed)
    with mx.autograd.train_mode():
        return network(*batch(LENGTHS)).asnumpy()


def silenced(dropout, **ones):
    """A network of which every dense layer gives 0, but those named 1 everywhere: what is dropped
    of them is the smaller one of a row's two values after the layer normalisation. Its embeddings
    are 0."""
    network = make(CONFIG, dropout=dropout)
    for name, value in network._collect_params_with_prefix().items():
        is_one = name.endswith('gamma') and 'encoder.layer_norm' not in name
        value.set_data(mx.nd.full(value.shape, int(is_one or name.replace('.', '_') in ones)))
    return network


LAYER = 'encoder_transformer_cells_%d_'
PROJECTION, OUT = (LAYER + name for name in ('proj_bias', 'ffn_ffn_2_bias'))


def masks(layer, name, seed=0, dropout=RATE, steps=1):
    """[(batch, length, units)]: what is kept of the dropout of the layer `name`, step by step."""
    network = silenced(dropout, **{name % layer: 1})
    mx.random.seed(seed)
    return [state(network, layer + 1) > 0 for _ in range(steps)]


def embedding_masks(seed=0, dropout=RATE, steps=1):
    network = make(CONFIG, dropout=dropout)
    mx.random.seed(seed)
    return [state(network, 0) != 0 for _ in range(steps)]


def assert_rate(kept, rate):
    count = (~kept).sum()
    assert stats.binomtest(int(count), kept.size, rate).pvalue > LIKELY, count / kept.size


def assert_independent(one, other):
    """By their correlation, which is normal with a deviation of 1 / √number."""
    one, other = one.ravel().astype(float), other.ravel().astype(float)
    assert abs(np.corrcoef(one, other)[0, 1]) * np.sqrt(one.size) < stats.norm.isf(LIKELY / 2)


ALL = [embedding_masks] + [lambda seed=0, dropout=RATE, steps=1, layer=layer, name=name:
                           masks(layer, name, seed, dropout, steps)
                           for layer in (0, 1) for name in (PROJECTION, OUT)]


@pytest.mark.parametrize('rate', [0.1, 0.5, 0.9])
@pytest.mark.parametrize('draw', ALL)
def test_the_rate(draw, rate):
    kept, = draw(dropout=rate)
    assert_rate(kept, rate)
    for axes in ((0, 1), (1, 2), (0, 2)):       # of each unit, each text, each position
        counts = (~kept).sum(axis=axes)
        number = kept.size // len(counts)
        spread = ((counts - number * rate) ** 2).sum() / (number * rate * (1 - rate))
        assert LIKELY < stats.chi2.sf(spread, len(counts)) < 1 - LIKELY


@pytest.mark.parametrize('draw', ALL)
def test_neighbours_and_steps_are_independent(draw):
    first, second, third = draw(steps=3)
    for one, other in ((first, second), (second, third), (first, third),
                       (first[..., 1:], first[..., :-1]), (first[..., 16:], first[..., :-16]),
                       (first[:, 1:], first[:, :-1]), (first[1:], first[:-1]),
                       (first[:, 8:], first[:, :-8])):
        assert_independent(one, other)


def test_places_are_independent():
    drawn = [draw()[0] for draw in ALL]
    for i, one in enumerate(drawn):
        for other in drawn[:i]:
            assert_independent(one, other)


@pytest.mark.parametrize('draw', ALL)
def test_the_seed_decides(draw):
    assert np.array_equal(draw(seed=5)[0], draw(seed=5)[0])
    assert_independent(draw(seed=5)[0], draw(seed=6)[0])


def test_what_is_kept_is_scaled():
    network = make(CONFIG, dropout=0.25)
    dropped, plain = state(network, 0), network(*batch(LENGTHS)).asnumpy()
    kept = dropped != 0
    np.testing.assert_allclose(dropped[kept], plain[kept] / 0.75, rtol=1e-6)
    assert_rate(kept, 0.25)


def test_forward_and_backward_drop_the_same():
    """The slope along a random direction, by differences of the loss with the same seed, is the
    gradient's, for every parameter; with other masks in backward it would not be."""
    network, arrays = make(make_config(2, 64, 128, 2), dropout=0.3), batch([10, 3, 1, 7, 33])
    parameters = network._collect_params_with_prefix()

    def run():
        mx.random.seed(11)
        output, found = gradients(network, arrays)
        factors = np.random.RandomState(1).randn(*output.shape) * \
            fused_networks.token_mask(arrays)[:, :, None]
        return (output.astype(float) * factors).sum(), found
    _, found = run()
    for name, value in parameters.items():
        if name.endswith('proj_key.bias'):
            continue        # its gradient is zero
        start, slope = value.data().copy(), found[name]
        length = np.sqrt((slope.astype(float) ** 2).sum())
        step = 2e-2 / length * np.sqrt((start.asnumpy() ** 2).mean())
        direction = slope / length
        values = []
        for sign in (1, -1):
            value.set_data(start + sign * step * mx.nd.array(direction))
            values.append(run()[0])
        value.set_data(start)
        expected = (slope * direction).sum()
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(expected, rel=0.02), name


def test_attention_drops_single_weights():
    """With keys of 0 all weights are alike. Values of 1 at one position and 0 elsewhere make the
    context of a head this weight alone: 0 or 1 / (LENGTH (1 - rate))."""
    network = silenced(0.3)
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
    found = state(network, 1, seed=3)[:, 1:, ::size]        # other positions: no residual
    kept = found > 1e-3 * np.abs(found).max()
    # each of them is dropped twice: as a weight, and behind the projection. The mark too, once
    marked = state(network, 0, seed=3)[:, 0, 0] > 0
    assert 0.3 < marked.mean() < 1 and not kept[~marked].any()
    assert_rate(kept[marked], 1 - 0.7 * 0.7)
    for one, other in ((kept[marked][:, 1:], kept[marked][:, :-1]),
                       (kept[marked][..., 1:], kept[marked][..., :-1])):
        assert_independent(one, other)


def test_a_rate_of_one_drops_all():
    assert not state(make(CONFIG, dropout=1.0), 0).any()


def test_a_rate_of_zero_drops_nothing():
    network = make(CONFIG, dropout=0.0)
    assert np.array_equal(state(network, 2), network(*batch(LENGTHS)).asnumpy())
