"""The fused optimizer step against those of MXNet and gluonnlp."""
import mxnet as mx
import numpy as np
import pytest
from support.fused_networks import batch, gradients, make

from bert.model.kernels.optimizer import fused_update
from bert.train import optimizer

pytestmark = pytest.mark.usefixtures('kernels')

# above 32768, what one thread takes at a time; one less than 16 numbers; a product of odd ones
SHAPES = {'a_weight': (300, 131), 'b_gamma': (7,), 'c_weight': (64, 48), 'd_bias': (33,),
          'e_weight': (2, 3, 5)}
OPTIMIZERS = ['bertadam', 'adamw', 'adam', 'lamb']


def make_parameters(seed=0):
    random = np.random.RandomState(seed)
    parameters = mx.gluon.ParameterDict()
    for name, shape in SHAPES.items():
        parameter = parameters.get(name, shape=shape)
        parameter.initialize()
        parameter.set_data(mx.nd.array(random.randn(*shape)))
    return parameters


def write_gradients(parameters, seed, scale=1.0):
    random = np.random.RandomState(seed)
    for parameter in parameters.values():
        parameter.grad()[:] = mx.nd.array(scale * random.randn(*parameter.shape))
        parameter.data()._fresh_grad = True


def run(name, fused, steps=5, scale=1.0, max_norm=1.0, **options):
    """(parameters, states, norms, counters) after some steps with a changing rate."""
    parameters = make_parameters()
    trainer = optimizer.make_trainer(parameters, name, 0.1, 1e-6, 0.01)
    for key, value in options.items():
        setattr(trainer._optimizer, key, value)
    norms = []
    for step in range(steps):
        write_gradients(parameters, step, scale * (1 + step))
        trainer.set_learning_rate(0.1 / (1 + step))
        arrays = [parameter.list_grad()[0] for parameter in trainer._params]
        norms.append(optimizer.clip_and_update(
            trainer, arrays, max_norm, fused=fused_update if fused else None).asscalar())
    states, counters = optimizer.collect_optimizer_state(trainer)
    return ({key: value.data().asnumpy() for key, value in parameters.items()},
            {key: value.asnumpy() for key, value in states.items()}, norms, counters)


def reference(name, steps=5, scale=1.0, max_norm=1.0):
    """The parameters after the same steps, in NumPy's float64, from the papers' formulas."""
    parameters = make_parameters()
    weights = {key: value.data().asnumpy().astype(float) for key, value in parameters.items()}
    decays = {key: 0.01 if key.endswith('weight') else 0.0 for key in weights}
    means, variances = ({key: 0.0 for key in weights} for _ in range(2))
    for step in range(1, steps + 1):
        write_gradients(parameters, step - 1, scale * step)
        drawn = {key: value.grad().asnumpy().astype(float) for key, value in parameters.items()}
        norm = np.sqrt(sum((value ** 2).sum() for value in drawn.values()))
        for key, gradient in drawn.items():
            gradient = gradient * min(1.0, max_norm / (norm + 1e-8))
            if name == 'adam':
                gradient = gradient + decays[key] * weights[key]
            means[key] = 0.9 * means[key] + 0.1 * gradient
            variances[key] = 0.999 * variances[key] + 0.001 * gradient ** 2
            mean, root, epsilon = means[key], np.sqrt(variances[key]), 1e-6
            if name in ('adamw', 'lamb'):
                mean, root = mean / (1 - 0.9 ** step), root / np.sqrt(1 - 0.999 ** step)
            elif name == 'adam':        # as MXNet has it: epsilon is not corrected
                mean = mean * np.sqrt(1 - 0.999 ** step) / (1 - 0.9 ** step)
            change = mean / (root + epsilon)
            if name != 'adam':
                change = change + decays[key] * weights[key]
            if name == 'lamb' and np.abs(change).max() > 0:
                change = change * np.linalg.norm(weights[key]) / np.linalg.norm(change)
            weights[key] = weights[key] - 0.1 / step * change
    return weights


@pytest.mark.parametrize('threads', [1, 3])
@pytest.mark.parametrize('scale,max_norm', [(1.0, 1.0), (1e-5, 1.0), (0.0, 1.0), (1.0, 5.0)])
@pytest.mark.parametrize('name', OPTIMIZERS)
def test_it_is_what_the_papers_say(kernels, name, scale, max_norm, threads):
    kernels.use_threads(threads)
    found = run(name, True, scale=scale, max_norm=max_norm)[0]
    for key, value in reference(name, scale=scale, max_norm=max_norm).items():
        np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=3e-6, err_msg=key)


@pytest.mark.parametrize('scale,max_norm', [(1.0, 1.0), (1e-5, 1.0), (0.0, 1.0), (1.0, 5.0)])
@pytest.mark.parametrize('name', OPTIMIZERS)
def test_it_is_the_step_of_the_own_operators(name, scale, max_norm):
    """These round 1 - beta2 and more: they are off by 1e-4."""
    found, expected = (run(name, fused, scale=scale, max_norm=max_norm) for fused in (True, False))
    for one, other in zip(found[:2], expected[:2]):
        assert one.keys() == other.keys()
        for key, value in other.items():
            np.testing.assert_allclose(one[key], value, rtol=1e-3, atol=1e-4, err_msg=key)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-5)
    assert found[3] == expected[3]


@pytest.mark.parametrize('options', [{'bias_correction': False},
                                     {'lower_bound': 200.0}, {'upper_bound': 0.5}])
def test_options_of_lamb(options):
    found, expected = (run('lamb', fused, **options)[0] for fused in (True, False))
    plain = run('lamb', True)[0]
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-3, atol=1e-4)
    assert any(np.abs(found[key] - plain[key]).max() > 1e-3 for key in plain)


def test_lamb_moves_weights_that_are_zero():
    """Their norm is no factor of the step, or they would stay zero for ever."""
    found = []
    for fused in (fused_update, None):
        parameters = make_parameters()
        trainer = optimizer.make_trainer(parameters, 'lamb', 0.1, 1e-6, 0.01)
        for value in parameters.values():
            value.set_data(mx.nd.zeros(value.shape))
        write_gradients(parameters, 0)
        arrays = [parameter.list_grad()[0] for parameter in trainer._params]
        optimizer.clip_and_update(trainer, arrays, 1.0, fused=fused)
        found.append([value.data().asnumpy() for value in parameters.values()])
    for one, other in zip(*found):
        assert np.abs(one).min() > 0.01
        np.testing.assert_allclose(one, other, rtol=1e-3)


def test_the_clipping_is_of_all_gradients_together():
    parameters = make_parameters()
    trainer = optimizer.make_trainer(parameters, 'bertadam', 0.1)
    write_gradients(parameters, 0)
    total = np.sqrt(sum((value.grad().asnumpy().astype(float) ** 2).sum()
                        for value in parameters.values()))
    assert fused_update(trainer, 1.0).asscalar() == pytest.approx(total, rel=1e-6)
    mean = trainer._updaters[0].states[0][0].asnumpy()
    gradient = parameters['a_weight'].grad().asnumpy()
    np.testing.assert_allclose(mean, 0.1 * gradient / total, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_the_same_bits_twice(kernels, name):
    kernels.use_threads(3)
    first, second = (run(name, True) for _ in range(2))
    for key, value in first[0].items():
        assert np.array_equal(value, second[0][key])


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_steps_of_both_kinds_in_turns(name):
    """They keep the same states and counters: a run may go on by the other."""
    def mixed(order):
        parameters = make_parameters()
        trainer = optimizer.make_trainer(parameters, name, 0.1)
        for step, fused in enumerate(order):
            write_gradients(parameters, step)
            arrays = [parameter.list_grad()[0] for parameter in trainer._params]
            optimizer.clip_and_update(trainer, arrays, 1.0, fused=fused_update if fused else None)
        return parameters
    expected = mixed([False] * 6)
    for order in ([True, False] * 3, [False, True] * 3):
        for key, value in mixed(order).items():
            np.testing.assert_allclose(value.data().asnumpy(), expected[key].data().asnumpy(),
                                       rtol=1e-3, atol=1e-4)


def test_the_encoder_sees_the_new_weights():
    network, arrays = make(), batch([5, 3])
    trainer = optimizer.make_trainer(network.collect_params(), 'bertadam', 0.01)
    before = network(*arrays).asnumpy()
    for _ in range(3):
        gradients(network, arrays)
        assert fused_update(trainer, 1.0) is not None
        found = network(*arrays).asnumpy()
        assert np.abs(found - before).max() > 1e-3
        before = found
    other = make(seed=9)
    for name, value in other._collect_params_with_prefix().items():
        value.set_data(network._collect_params_with_prefix()[name].data())
    assert np.array_equal(other(*arrays).asnumpy(), before)


def test_what_is_left_to_the_trainer(monkeypatch):
    """Returns None, and changes nothing."""
    def refuses(name='bertadam', change=lambda trainer, parameters: None):
        parameters = make_parameters()
        trainer = optimizer.make_trainer(parameters, name, 0.1)
        write_gradients(parameters, 0)
        change(trainer, parameters)
        found = fused_update(trainer, 1.0)
        assert trainer._optimizer.num_update == (0 if found is None else 1)
        return found is None

    def stale(trainer, parameters):
        parameters['b_gamma'].data()._fresh_grad = False

    def clips(trainer, parameters):
        trainer._optimizer.clip_gradient = 1.0
    assert not refuses()
    assert refuses('sgd') and refuses('nadam')
    assert refuses(change=stale) and refuses(change=clips)

    class Adam(mx.optimizer.Adam):
        pass
    assert refuses('adam', lambda trainer, _: setattr(trainer, '_optimizer', Adam()))
    monkeypatch.setenv('BERT_KERNELS', '0')
    assert refuses()


def test_frozen_parameters_stay():
    parameters = make_parameters()
    parameters['c_weight'].grad_req = 'null'
    trainer = optimizer.make_trainer(parameters, 'bertadam', 0.1)
    before = {key: value.data().asnumpy() for key, value in parameters.items()}
    for key, value in parameters.items():
        if key != 'c_weight':
            value.grad()[:] = 1
            value.data()._fresh_grad = True
    fused_update(trainer, 1.0)
    for key, value in parameters.items():
        assert np.array_equal(value.data().asnumpy(), before[key]) == (key == 'c_weight')


def test_wrong_shapes_and_types():
    one, other = mx.nd.ones((2, 3)), mx.nd.ones((3, 2))
    options = dict(parameters=1, max_norm=1, beta1=0.9, beta2=0.999, epsilon=1e-6, is_lamb=0)
    for arrays, message in (
            ((mx.nd.ones((1, 3)), one, other, one, one),
             r'parameter 0 has the shape \(2, 3\), and what belongs to it \(3, 2\)'),
            ((mx.nd.ones((1, 2)), one, one, one, one), r'rates have the shape \(1, 2\)'),
            ((mx.nd.ones((1, 3)), one, one.astype('float64'), one, one), 'input 2 is not float32')):
        with pytest.raises(mx.MXNetError, match=message):
            mx.nd.bert_update(*arrays, **options).asnumpy()
