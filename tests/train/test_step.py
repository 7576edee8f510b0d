"""One optimizer step against NumPy: loss, clipping, accumulation, loss scale, randomness."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn
from reference import toy

from bert.train import step as module
from bert.train.optimizer import make_trainer
from bert.train.step import LossScale, Stepper, step_seed


def make_stepper(network, name='bertadam', seed=0, max_norm=1.0, **options):
    trainer = make_trainer(network.collect_params(), name, 1e-3, epsilon=1e-6, **options)
    return Stepper(toy.forward_of(network), trainer, seed, max_norm)


@pytest.mark.parametrize('sizes', [(12,), (4, 4, 4), (5, 5, 2), (1, 11)], ids=str)
@pytest.mark.parametrize('max_norm', [0.05, 1e9], ids=['clipped', 'not clipped'])
def test_bertadam_equals_numpy(sizes, max_norm):
    network = toy.make_network()
    stepper = make_stepper(network, max_norm=max_norm)
    reference = toy.NumpyBertAdam(toy.values(network), max_norm=max_norm)
    for step in range(1, 31):
        batch = toy.examples(12, seed=step)
        result = stepper.step(step, toy.split(batch, *sizes), 0.01 * step / 30)
        loss, norm = reference.step(batch, 0.01 * step / 30)
        assert result.loss.asscalar() == pytest.approx(loss, rel=1e-4)
        assert result.gradient_norm.asscalar() == pytest.approx(norm, rel=1e-3)
        assert result.num_examples == 12
    for name, weight in toy.values(network).items():
        np.testing.assert_allclose(weight, reference.weights[name], atol=2e-4)


def test_each_example_weighs_the_same_in_a_ragged_step():
    # the original averaged the averages of the micro-batches
    network = toy.make_network()
    stepper = make_stepper(network, 'sgd', max_norm=1e9, weight_decay=0)
    batch, before = toy.examples(7), toy.values(network)
    stepper.step(1, toy.split(batch, 3, 3, 1), 1.0)
    expected = toy.numpy_gradients(before, batch)
    for name, weight in toy.values(network).items():
        np.testing.assert_allclose(before[name] - weight, expected[name], atol=1e-5)


def test_steps_with_and_without_accumulation_alternate():
    # an epoch whose last step holds one micro-batch: no gradient may stay behind
    network = toy.make_network()
    stepper = make_stepper(network)
    reference = toy.NumpyBertAdam(toy.values(network))
    for step, sizes in enumerate([(6, 6), (12,), (4, 4, 4), (12,), (12,), (6, 6)], 1):
        batch = toy.examples(12, seed=step)
        stepper.step(step, toy.split(batch, *sizes), 0.01)
        reference.step(batch, 0.01)
    for name, weight in toy.values(network).items():
        np.testing.assert_allclose(weight, reference.weights[name], atol=1e-4)


def test_result_holds_labels_and_outputs_of_each_micro_batch():
    network = toy.make_network()
    batch = toy.examples(5)
    expected = toy.numpy_loss(toy.values(network), batch)[2]
    result = make_stepper(network).step(1, toy.split(batch, 3, 2), 0.01)
    assert [len(labels) for labels, _ in result.outputs] == [3, 2]
    np.testing.assert_array_equal(
        np.concatenate([labels.asnumpy() for labels, _ in result.outputs]), batch.y)
    np.testing.assert_allclose(
        np.concatenate([outputs.asnumpy() for _, outputs in result.outputs]), expected, atol=1e-5)


def test_the_rate_of_the_step_is_used():
    network = toy.make_network()
    stepper = make_stepper(network)
    before = toy.values(network)
    stepper.step(1, [toy.examples(4)], 0.0)
    assert toy.same_bits(before, toy.values(network))
    stepper.step(2, [toy.examples(4)], 0.1)
    assert not toy.same_bits(before, toy.values(network))


def test_frozen_parameters_stay():
    network = toy.make_network()
    network.collect_params()['dense0_weight'].grad_req = 'null'
    before = toy.values(network)
    make_stepper(network).step(1, toy.split(toy.examples(8), 4, 4), 0.1)
    after = toy.values(network)
    assert (before['dense0_weight'] == after['dense0_weight']).all()
    assert (before['dense1_weight'] != after['dense1_weight']).all()


# ---- randomness

def run_steps(steps, seed, weights):
    """The parameters after these steps of a network with dropout that starts from `weights`."""
    network = toy.make_network(dropout=0.5)
    for name, parameter in network.collect_params().items():
        parameter.set_data(mx.nd.array(weights[name]))
    stepper = make_stepper(network, 'sgd', seed)
    for step in steps:
        stepper.step(step, [toy.examples(8)], 0.1)
    return toy.values(network)


def test_the_random_numbers_of_a_step_depend_on_seed_and_number_alone():
    start = toy.values(toy.make_network())
    expected = run_steps([1, 2], 3, start)
    mx.nd.random.uniform(shape=7)       # other draws don't matter
    assert toy.same_bits(run_steps([2], 3, run_steps([1], 3, start)), expected)
    assert not toy.same_bits(run_steps([1, 1], 3, start), expected)
    assert not toy.same_bits(run_steps([1, 2], 4, start), expected)


def test_step_seeds_differ():
    seeds = {step_seed(seed, step) for seed in (0, 1, 2, -1, 2 ** 31) for step in range(1000)}
    assert len(seeds) > 4990        # a rare collision does no harm
    assert all(0 <= seed < 2 ** 31 for seed in seeds)
    assert step_seed(5, 6) == step_seed(5, 6) != step_seed(6, 5)


# ---- float16

class Scaling(nn.HybridBlock):
    """outputs = weight * x, element by element, which MXNet has in float16 on the CPU."""

    def __init__(self):
        super().__init__(prefix='')
        self.weight = self.params.get('weight', shape=(1, 3), init='ones', dtype='float16')

    def hybrid_forward(self, F, x, weight):
        return F.broadcast_mul(x, weight)


def float16_stepper(name):
    network = Scaling()
    network.initialize()
    trainer = make_trainer(network.collect_params(), name, 0.1, weight_decay=0,
                           multi_precision=True)

    def forward(batch):
        outputs = network(mx.nd.array(batch.x, dtype='float16'))
        return outputs.sum(axis=1), mx.nd.array(batch.y), outputs
    return network, Stepper(forward, trainer, 0, max_norm=1e9, float16=True)


def float16_batch(value):
    return toy.Batch(np.full((2, 3), value, dtype='float32'), np.zeros((2, 1), dtype='float32'))


@pytest.mark.parametrize('name', ['sgd', 'bertadam', 'adam'])
def test_float16_step(name):
    network, stepper = float16_stepper(name)
    result = stepper.step(1, [float16_batch(0.5)], 0.125)
    assert result.loss.asscalar() == pytest.approx(1.5)     # not multiplied by the loss scale
    assert result.gradient_norm.asscalar() == pytest.approx(0.5 * 3 ** 0.5, rel=1e-3)
    if name == 'sgd':
        assert network.weight.data().asnumpy().tolist() == [[1 - 0.0625] * 3]


@pytest.mark.parametrize('name', ['sgd', 'bertadam', 'adam'])
def test_small_gradients_survive_float16(name):
    network, stepper = float16_stepper(name)
    x = np.array([[2.0 ** -24] * 3, [0, 0, 0]], dtype='float32')    # float16's smallest number
    # the gradient is half of that: zero in float16
    result = stepper.step(1, [toy.Batch(x, np.zeros((2, 1)))], 2.0 ** 14)
    assert result.gradient_norm.asscalar() == pytest.approx(2.0 ** -25 * 3 ** 0.5, rel=1e-3)
    assert (network.weight.data().asnumpy() < 1).all()


def test_an_overflow_halves_the_scale_and_skips_the_step():
    network, stepper = float16_stepper('bertadam')
    for step in (1, 2):
        result = stepper.step(step, [float16_batch(300)], 0.125)   # 300 * 1024 is too much
        assert not np.isfinite(result.gradient_norm.asscalar())
        assert np.isfinite(result.loss.asscalar())
        assert stepper.loss_scale.value == 1024 / 2 ** step
        assert network.weight.data().asnumpy().tolist() == [[1, 1, 1]]
    while stepper.loss_scale.value * 300 > 65504:
        stepper.step(3, [float16_batch(300)], 0.125)
    stepper.step(4, [float16_batch(300)], 0.125)
    assert (network.weight.data().asnumpy() < 1).all()


def norm(value):
    return mx.nd.array([value])


def test_the_scale_grows_after_many_good_steps(monkeypatch):
    monkeypatch.setattr(module, 'GROWTH_INTERVAL', 3)
    scale = LossScale(enabled=True)
    assert scale.value == 1024
    assert [scale.accept(norm(1)) for _ in range(6)] == [True] * 6
    assert scale.value == 4096
    assert scale.accept(norm(1)) and scale.accept(norm(1))
    assert not scale.accept(norm(np.inf))       # and the count restarts
    assert (scale.value, scale.good_steps) == (2048, 0)
    scale.accept(norm(1))
    scale.accept(norm(1))
    assert scale.value == 2048
    scale.accept(norm(1))
    assert scale.value == 4096


def test_the_scale_is_never_below_one():
    scale = LossScale(enabled=True)
    assert not any(scale.accept(norm(np.nan)) for _ in range(30))
    assert scale.value == 1


def test_float32_has_no_scale():
    scale = LossScale(enabled=False)
    assert scale.accept(norm(np.inf)) and scale.value == 1


@pytest.mark.parametrize('index', [None, 0, 150, 449])
def test_finite_parameters_of_a_deep_model(index):
    """More arrays than MXNet's operator takes at once: BERT-large has 390 and more."""
    parameters = mx.gluon.ParameterDict('deep_')
    for i in range(450):
        parameters.get('p%d' % i, shape=(2,)).initialize(mx.init.One())
    if index is not None:
        parameters.get('p%d' % index).set_data(mx.nd.array([1, np.nan]))
    trainer = mx.gluon.Trainer(parameters, 'sgd', kvstore=None)
    assert Stepper(None, trainer, seed=0).is_finite() == (index is None)
