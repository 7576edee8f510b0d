"""Every optimizer trains, clips gradients, and continues after a reload with the same bits."""
import json

import mxnet as mx
import numpy as np
import pytest
from reference import toy

from bert.errors import UserError
from bert.train.optimizer import (
    OPTIMIZERS,
    clip_and_update,
    collect_optimizer_state,
    global_norm,
    make_trainer,
    restore_optimizer_state,
)

BATCH = toy.examples(32)
STEPS = 12


def make(name, learning_rate=1e-2, **options):
    network = toy.make_network()
    return network, make_trainer(network.collect_params(), name, learning_rate, **options)


def train(network, trainer, first, last, max_norm=1.0):
    """Run the steps in range(first, last). Returns the losses."""
    forward, losses = toy.forward_of(network), []
    gradients = [parameter.list_grad()[0] for parameter in network.collect_params().values()]
    for step in range(first, last):
        mx.random.seed(step)        # sgld draws noise
        with mx.autograd.record():
            loss = forward(BATCH)[0].mean()
        loss.backward()
        clip_and_update(trainer, gradients, max_norm)
        losses.append(float(loss.asscalar()))
    return losses


# a new MXNet that lacks one of these would fail here
def test_optimizers_of_today_can_be_chosen():
    assert set(OPTIMIZERS) >= {'adadelta', 'adagrad', 'adam', 'adamax', 'adamw', 'bertadam',
                               'dcasgd', 'ftml', 'ftrl', 'lamb', 'lars', 'nadam', 'nag',
                               'rmsprop', 'sgd', 'sgld', 'signum'}


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_it_trains(name):
    rate = {'lars': 1, 'adadelta': 1}.get(name, 1e-2)    # lars scales its rate by 0.001
    network, trainer = make(name, rate, epsilon=1e-6)
    before = toy.values(network)
    losses = train(network, trainer, 0, STEPS)
    after = toy.values(network)
    assert all(np.isfinite(weight).all() for weight in after.values())
    assert not any((before[key] == after[key]).all() for key in before)
    if name != 'sgld':      # sgld samples
        assert losses[-1] < losses[0]


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_reloaded_it_goes_on_with_equal_bits(name, tmp_path):
    network, trainer = make(name)
    train(network, trainer, 0, STEPS)
    arrays, counters = collect_optimizer_state(trainer)
    mx.nd.save(str(tmp_path / 'state'), arrays)
    counters = json.loads(json.dumps(counters))
    weights = toy.values(network)
    train(network, trainer, STEPS, STEPS + 5)

    reloaded_network, trainer = make(name)
    for key, parameter in reloaded_network.collect_params().items():
        parameter.set_data(mx.nd.array(weights[key]))
    restore_optimizer_state(trainer, mx.nd.load(str(tmp_path / 'state')) or {}, counters)
    train(reloaded_network, trainer, STEPS, STEPS + 5)
    assert toy.same_bits(toy.values(reloaded_network), toy.values(network))


@pytest.mark.parametrize('name', ['bertadam', 'adamw', 'adam', 'nadam', 'lamb'])
def test_without_its_state_it_goes_on_differently(name):
    network, trainer = make(name)
    train(network, trainer, 0, STEPS)
    weights = toy.values(network)
    train(network, trainer, STEPS, STEPS + 5)
    reloaded_network, trainer = make(name)
    for key, parameter in reloaded_network.collect_params().items():
        parameter.set_data(mx.nd.array(weights[key]))
    train(reloaded_network, trainer, STEPS, STEPS + 5)
    assert not toy.same_bits(toy.values(reloaded_network), toy.values(network))


def test_state_of_another_optimizer_or_network_is_refused():
    network, trainer = make('adam')
    train(network, trainer, 0, 1)
    arrays, counters = collect_optimizer_state(trainer)
    with pytest.raises(ValueError, match='unknown optimizer states: 0.0, 0.1'):
        restore_optimizer_state(make('sgd')[1], arrays, counters)
    del arrays['3.1']
    with pytest.raises(KeyError):
        restore_optimizer_state(make('adam')[1], arrays, counters)


# ---- AdamW

def test_adamw_follows_its_paper():
    network, trainer = make('adamw', 0.03, weight_decay=0.1, epsilon=1e-3)
    weights = {name: weight.astype('float64') for name, weight in toy.values(network).items()}
    mean = {name: np.zeros_like(weight) for name, weight in weights.items()}
    square = {name: np.zeros_like(weight) for name, weight in weights.items()}
    for step in range(1, 9):
        trainer.set_learning_rate(0.03 / step)
        gradients = toy.numpy_gradients(weights, BATCH)
        train(network, trainer, step, step + 1, max_norm=1e6)
        for name, gradient in gradients.items():
            mean[name] = 0.9 * mean[name] + 0.1 * gradient
            square[name] = 0.999 * square[name] + 0.001 * gradient ** 2
            unbiased = mean[name] / (1 - 0.9 ** step), square[name] / (1 - 0.999 ** step)
            decay = 0 if name.endswith('bias') else 0.1
            weights[name] -= 0.03 / step * (unbiased[0] / (np.sqrt(unbiased[1]) + 1e-3)
                                            + decay * weights[name])
        for name, weight in toy.values(network).items():
            np.testing.assert_allclose(weight, weights[name], rtol=2e-4, atol=1e-6)


# ---- names that are refused

def test_unknown_name():
    with pytest.raises(UserError) as error:
        make('Bert-Adam')
    assert str(error.value).startswith('--optimizer Bert-Adam: no such optimizer. Did you mean '
                                       '"bertadam"? Known are adadelta, adagrad, adam, ')


def test_names_that_cannot_train_bert():
    with pytest.raises(UserError) as error:
        make('groupadagrad')
    assert str(error.value).startswith('--optimizer groupadagrad: it updates matrices only, and '
                                       'BERT has vectors too; choose one of adadelta, ')
    with pytest.raises(UserError, match='--optimizer test: it is only for MXNet\'s own tests'):
        make('test')
    assert not {'groupadagrad', 'test'} & set(OPTIMIZERS)


# ---- options

def test_epsilon_reaches_optimizers_that_have_one():
    assert make('bertadam', epsilon=1e-8)[1]._optimizer.epsilon == 1e-8
    assert make('adam', epsilon=1e-9)[1]._optimizer.epsilon == 1e-9
    assert make('sgd', epsilon=1e-9)[1]._optimizer.lr == 1e-2


def test_biases_and_layer_normalisation_do_not_decay():
    network = mx.gluon.nn.HybridSequential(prefix='')
    network.add(mx.gluon.nn.Dense(3, in_units=3, prefix='dense_'),
                mx.gluon.nn.LayerNorm(in_channels=3, prefix='norm_'))
    network.initialize()
    for parameter in network.collect_params().values():
        parameter.set_data(mx.nd.ones(parameter.shape))
    trainer = make_trainer(network.collect_params(), 'bertadam', 0.1, weight_decay=0.5)
    gradients = [parameter.list_grad()[0] for parameter in network.collect_params().values()]
    with mx.autograd.record():
        loss = sum((parameter.data() * 0).sum()
                   for parameter in network.collect_params().values())
    loss.backward()
    clip_and_update(trainer, gradients, 1.0)
    weights = {name: weight.flat[0] for name, weight in toy.values(network).items()}
    assert weights == pytest.approx({'dense_weight': 0.95, 'dense_bias': 1, 'norm_gamma': 1,
                                     'norm_beta': 1})


# ---- clipping

def gradients_of(network):
    with mx.autograd.record():
        loss = toy.forward_of(network)(BATCH)[0].mean()
    loss.backward()
    return [parameter.list_grad()[0] for parameter in network.collect_params().values()]


def test_global_norm():
    assert global_norm([mx.nd.array([3, 0]), mx.nd.array([[4]])]).asnumpy().tolist() == [5]
    network = toy.make_network()
    expected = toy.numpy_norm(toy.numpy_gradients(toy.values(network), BATCH))
    assert global_norm(gradients_of(network)).asscalar() == pytest.approx(expected, rel=1e-5)


def test_global_norm_of_many_numbers():
    # multi_sum_sq adds them one by one in float32, and its result is 3e-3 too small
    array = np.random.RandomState(0).rand(5000000).astype('float32')
    expected = np.linalg.norm(array.astype('float64'))
    assert global_norm([mx.nd.array(array)]).asscalar() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize('max_norm', [0.01, 1.0, 1e6])
def test_the_step_of_sgd_has_the_clipped_norm(max_norm):
    network, trainer = make('sgd', 1.0, weight_decay=0)
    before, gradients = toy.values(network), gradients_of(network)
    norm = clip_and_update(trainer, gradients, max_norm).asscalar()
    expected = toy.numpy_gradients(before, BATCH)
    assert norm == pytest.approx(toy.numpy_norm(expected), rel=1e-5)
    after = toy.values(network)
    for name in before:
        np.testing.assert_allclose(before[name] - after[name],
                                   expected[name] * min(1, max_norm / norm), atol=1e-6)


def test_a_zero_gradient_stays_zero():
    network, trainer = make('sgd', 1.0, weight_decay=0)
    before, gradients = toy.values(network), gradients_of(network)
    for gradient in gradients:
        gradient[:] = 0
    assert clip_and_update(trainer, gradients, 1.0).asscalar() == 0
    assert toy.same_bits(before, toy.values(network))


@pytest.mark.parametrize('name', ['bertadam', 'adamw', 'adam', 'lamb', 'sgd'])
def test_float16_weights_have_float32_copies(name):
    weight = mx.gluon.Parameter('weight', shape=(3,), dtype='float16', init='ones')
    weight.initialize()
    parameters = mx.gluon.ParameterDict()
    parameters.update({'weight': weight})
    trainer = make_trainer(parameters, name, 1e-4, weight_decay=0, multi_precision=True)
    for _ in range(20):     # a single step from 1 is too small for float16
        with mx.autograd.record():
            loss = (weight.data() * 3).sum()
        loss.backward()
        clip_and_update(trainer, [weight.list_grad()[0]], 1.0, loss_scale=1.0)
    assert weight.data().dtype == np.float16
    assert (weight.data().asnumpy() < 1).all()
