"""The fused optimizer step against the optimizers of MXNet and gluonnlp."""
import mxnet as mx
import numpy as np
import pytest
from support.fused_networks import batch, gradients, make

from bert.model.kernels.optimizer import fused_update
from bert.train import optimizer

pytestmark = pytest.mark.usefixtures('kernels')

# more than 32768 numbers, which a thread takes at a time; fewer than 16; a product of odd sizes
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
    """(parameters, states, norms, counters) after `steps` steps with a changing rate."""
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
        new_gradients = {key: value.grad().asnumpy().astype(float)
                         for key, value in parameters.items()}
        norm = np.sqrt(sum((value ** 2).sum() for value in new_gradients.values()))
        for key, gradient in new_gradients.items():
            gradient = gradient * min(1.0, max_norm / (norm + 1e-8))
            if name == 'adam':
                gradient = gradient + decays[key] * weights[key]
            means[key] = 0.9 * means[key] + 0.1 * gradient
            variances[key] = 0.999 * variances[key] + 0.001 * gradient ** 2
            mean, root, epsilon = means[key], np.sqrt(variances[key]), 1e-6
            if name in ('adamw', 'lamb'):
                mean, root = mean / (1 - 0.9 ** step), root / np.sqrt(1 - 0.999 ** step)
            elif name == 'adam':        # as in MXNet: epsilon is not corrected
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
def test_it_follows_the_papers(kernels, name, scale, max_norm, threads):
    kernels.use_threads(threads)
    actual = run(name, True, scale=scale, max_norm=max_norm)[0]
    for key, value in reference(name, scale=scale, max_norm=max_norm).items():
        np.testing.assert_allclose(actual[key], value, rtol=1e-5, atol=3e-6, err_msg=key)


@pytest.mark.parametrize('scale,max_norm', [(1.0, 1.0), (1e-5, 1.0), (0.0, 1.0), (1.0, 5.0)])
@pytest.mark.parametrize('name', OPTIMIZERS)
def test_it_equals_mxnets_optimizers(name, scale, max_norm):
    """MXNet's optimizers round 1 - beta2 and more, so they are off by 1e-4."""
    actual, expected = (run(name, fused, scale=scale, max_norm=max_norm) for fused in (True, False))
    for arrays, expected_arrays in zip(actual[:2], expected[:2]):
        assert arrays.keys() == expected_arrays.keys()
        for key, value in expected_arrays.items():
            np.testing.assert_allclose(arrays[key], value, rtol=1e-3, atol=1e-4, err_msg=key)
    np.testing.assert_allclose(actual[2], expected[2], rtol=1e-5)
    assert actual[3] == expected[3]


@pytest.mark.parametrize('options', [{'bias_correction': False},
                                     {'lower_bound': 200.0}, {'upper_bound': 0.5}])
def test_options_of_lamb(options):
    actual, expected = (run('lamb', fused, **options)[0] for fused in (True, False))
    default = run('lamb', True)[0]
    for key, value in expected.items():
        np.testing.assert_allclose(actual[key], value, rtol=1e-3, atol=1e-4)
    assert any(np.abs(actual[key] - default[key]).max() > 1e-3 for key in default)


def test_lamb_moves_weights_that_are_zero():
    """Their norm must not be a factor of the step, or they would stay zero for ever."""
    weights = []
    for fused in (fused_update, None):
        parameters = make_parameters()
        trainer = optimizer.make_trainer(parameters, 'lamb', 0.1, 1e-6, 0.01)
        for value in parameters.values():
            value.set_data(mx.nd.zeros(value.shape))
        write_gradients(parameters, 0)
        arrays = [parameter.list_grad()[0] for parameter in trainer._params]
        optimizer.clip_and_update(trainer, arrays, 1.0, fused=fused)
        weights.append([value.data().asnumpy() for value in parameters.values()])
    for weight, expected in zip(*weights):
        assert np.abs(weight).min() > 0.01
        np.testing.assert_allclose(weight, expected, rtol=1e-3)


def test_clipping_uses_the_norm_of_all_gradients():
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
def test_fused_and_other_steps_alternate(name):
    """Both keep the same states and counters, so a run may go on with the other."""
    def train(order):
        parameters = make_parameters()
        trainer = optimizer.make_trainer(parameters, name, 0.1)
        for step, fused in enumerate(order):
            write_gradients(parameters, step)
            arrays = [parameter.list_grad()[0] for parameter in trainer._params]
            optimizer.clip_and_update(trainer, arrays, 1.0, fused=fused_update if fused else None)
        return parameters
    expected = train([False] * 6)
    for order in ([True, False] * 3, [False, True] * 3):
        for key, value in train(order).items():
            np.testing.assert_allclose(value.data().asnumpy(), expected[key].data().asnumpy(),
                                       rtol=1e-3, atol=1e-4)


def test_the_encoder_sees_the_new_weights():
    network, arrays = make(), batch([5, 3])
    trainer = optimizer.make_trainer(network.collect_params(), 'bertadam', 0.01)
    before = network(*arrays).asnumpy()
    for _ in range(3):
        gradients(network, arrays)
        assert fused_update(trainer, 1.0) is not None
        output = network(*arrays).asnumpy()
        assert np.abs(output - before).max() > 1e-3
        before = output
    network_copy = make(seed=9)
    for name, value in network_copy._collect_params_with_prefix().items():
        value.set_data(network._collect_params_with_prefix()[name].data())
    assert np.array_equal(network_copy(*arrays).asnumpy(), before)


def test_updates_that_are_left_to_the_trainer(monkeypatch):
    """`fused_update` returns None and changes nothing."""
    def is_refused(name='bertadam', change=lambda trainer, parameters: None):
        parameters = make_parameters()
        trainer = optimizer.make_trainer(parameters, name, 0.1)
        write_gradients(parameters, 0)
        change(trainer, parameters)
        norm = fused_update(trainer, 1.0)
        assert trainer._optimizer.num_update == (0 if norm is None else 1)
        return norm is None

    def make_stale(trainer, parameters):
        parameters['b_gamma'].data()._fresh_grad = False

    def set_clipping(trainer, parameters):
        trainer._optimizer.clip_gradient = 1.0
    assert not is_refused()
    assert is_refused('sgd') and is_refused('nadam')
    assert is_refused(change=make_stale) and is_refused(change=set_clipping)

    class Adam(mx.optimizer.Adam):
        pass
    assert is_refused('adam', lambda trainer, _: setattr(trainer, '_optimizer', Adam()))
    monkeypatch.setenv('BERT_KERNELS', '0')
    assert is_refused()


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
    array, wrong_array = mx.nd.ones((2, 3)), mx.nd.ones((3, 2))
    options = dict(parameters=1, max_norm=1, beta1=0.9, beta2=0.999, epsilon=1e-6, is_lamb=0)
    for arrays, message in (
            ((mx.nd.ones((1, 3)), array, wrong_array, array, array),
             r'parameter 0 has the shape \(2, 3\), and what belongs to it \(3, 2\)'),
            ((mx.nd.ones((1, 2)), array, array, array, array), r'rates have the shape \(1, 2\)'),
            ((mx.nd.ones((1, 3)), array, array.astype('float64'), array, array),
             'input 2 is not float32')):
        with pytest.raises(mx.MXNetError, match=message):
            mx.nd.bert_update(*arrays, **options).asnumpy()
