"""The fused encoder within Gluon: graphs, gradients that are added up, weights that change."""
import copy
import gc
import os
import pathlib
import subprocess
import sys
import threading

import mxnet as mx
import numpy as np
import pytest
from support.fused_networks import (
    batch,
    gradients,
    make,
    make_classifier,
    make_config,
    own_operators,
    token_mask,
)

from bert.model.bert import BERTModel
from bert.model.inference import Predictor
from bert.model.kernels import gluon_hooks

pytestmark = pytest.mark.usefixtures('kernels')

RAGGED = [10, 3, 1, 7]
HYBRID = [None, {}, {'static_alloc': True}, {'static_alloc': True, 'static_shape': True}]


def step(network, arrays, seed=3):
    """(output, gradients) of a step with the dropout of a seed."""
    mx.random.seed(seed)
    with mx.autograd.record():
        output = network(*arrays)
        loss = (output * output).sum()
    loss.backward()
    return output.asnumpy(), [value.grad().asnumpy() for value in
                              network.collect_params().values()]


def assert_equal(found, expected):
    assert np.array_equal(found[0], expected[0])
    for one, other in zip(found[1], expected[1]):
        assert np.array_equal(one, other)


@pytest.mark.parametrize('options', HYBRID)
def test_hybridized(options):
    """The same graph serves for training and prediction, step after step."""
    plain, network = make_classifier(), make_classifier()
    for one, other in zip(plain.collect_params().values(), network.collect_params().values()):
        other.set_data(one.data())
    if options is not None:
        network.hybridize(**options)
    for seed, lengths in ((1, RAGGED), (2, RAGGED), (3, [5, 5]), (1, RAGGED)):
        arrays = batch(lengths)
        assert np.array_equal(network(*arrays).asnumpy(), plain(*arrays).asnumpy())
        # the two draw other numbers in the head's dropout: it comes after the encoder's seed
        assert_equal(step(network, arrays, seed), step(network, arrays, seed))
    first, second = (step(network, arrays, seed)[0] for seed in (1, 2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize('options', HYBRID)
def test_hybridized_gradients(options):
    network, arrays = make(), batch(RAGGED)
    plain = gradients(network, arrays)
    if options is not None:
        network.hybridize(**options)
    for _ in range(2):
        found = gradients(network, arrays)
        assert_equal((found[0], found[1].values()), (plain[0], plain[1].values()))
    assert gluon_hooks._uses_operator(network._cached_graph) == (options is not None)


@pytest.mark.parametrize('options', HYBRID)
@pytest.mark.parametrize('late', [False, True])
def test_gradients_that_are_added_up(options, late):
    """MXNet doesn't tell the operator to add. late: when the graph is there already."""
    network, arrays = make(), [batch(RAGGED, seed) for seed in range(3)]
    expected = [gradients(network, one)[1] for one in arrays]
    if options is not None:
        network.hybridize(**options)
    if late:
        gradients(network, arrays[0])
    parameters = network._collect_params_with_prefix()
    for value in parameters.values():
        value.grad_req = 'add'
        value.zero_grad()
    for one in arrays:
        found = gradients(network, one)[1]
    for name, value in found.items():
        total = sum(one[name] for one in expected)
        np.testing.assert_allclose(value, total, atol=1e-5 * np.abs(total).max() + 1e-7)
    for value in parameters.values():       # and back
        value.grad_req = 'write'
    found = gradients(network, arrays[1])[1]
    for name, value in found.items():
        assert np.array_equal(value, expected[1][name]), name


@pytest.mark.parametrize('options', HYBRID)
@pytest.mark.parametrize('grad_req', ['write', 'add'])
def test_two_calls_in_one_step(options, grad_req):
    """Each keeps what its own backward pass needs."""
    network, one, other = make(), batch(RAGGED), batch([4, 4, 9], 1)
    expected = [gradients(network, arrays)[1] for arrays in (one, other)]
    if options is not None:
        network.hybridize(**options)
    for value in network.collect_params().values():
        value.grad_req = grad_req
        value.zero_grad()
    with mx.autograd.record():
        total = 0
        for arrays in (one, other):
            output = network(*arrays)
            random = np.random.RandomState(1).randn(*output.shape) * token_mask(arrays)[:, :, None]
            total = total + (output * mx.nd.array(random)).sum()
    total.backward()
    for name, value in network._collect_params_with_prefix().items():
        wanted = expected[0][name] + expected[1][name]
        np.testing.assert_allclose(value.grad().asnumpy(), wanted,
                                   atol=1e-5 * np.abs(wanted).max() + 1e-6)


def test_backward_twice():
    network, arrays = make(), batch(RAGGED)
    expected = gradients(network, arrays)[1]
    with mx.autograd.record():
        output = network(*arrays)
        random = np.random.RandomState(1).randn(*output.shape) * token_mask(arrays)[:, :, None]
        total = (output * mx.nd.array(random)).sum()
    for retain in (True, False):
        total.backward(retain_graph=retain)
        for name, value in network._collect_params_with_prefix().items():
            assert np.array_equal(value.grad().asnumpy(), expected[name])


def test_a_tied_decoder_adds_to_the_word_embedding():
    arrays, positions = batch([10, 3, 2, 7]), mx.nd.array([[0, 1]] * 4)
    network = make(use_decoder=True)

    def run():
        with mx.autograd.record():
            sequence, tokens = network(*arrays, positions)
            total = (sequence[:, 0] ** 3).sum() + (tokens ** 2).sum()
        total.backward()
        return network.word_embed[0].weight.grad().asnumpy().copy()
    found = run()
    with own_operators():
        expected = run()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_a_gradient_that_is_added_to_survives_a_cast():
    network, arrays = make(), batch(RAGGED)
    expected = gradients(network, arrays)[1]
    for value in network.collect_params().values():
        value.grad_req = 'add'
    network.cast('float32')         # which makes new gradients
    for value in network.collect_params().values():
        value.zero_grad()
    for _ in range(2):
        found = gradients(network, arrays)[1]
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], 2 * value, atol=1e-5 * np.abs(value).max() + 1e-7)


def test_a_copy_has_nothing_of_the_original():
    network, arrays = make(), batch(RAGGED)
    expected = gradients(network, arrays)
    for value in network.collect_params().values():
        value.grad_req = 'add'
        value.zero_grad()
    other = copy.deepcopy(network)
    assert other._fused._model_id != network._fused._model_id
    assert np.array_equal(other(*arrays).asnumpy(), expected[0])
    for request in ('null', 'write'):
        for value in other.collect_params().values():
            value.grad_req = request
    for _ in range(2):
        found = gradients(network, arrays)[1]
    for name, value in expected[1].items():
        np.testing.assert_allclose(found[name], 2 * value, atol=1e-5 * np.abs(value).max() + 1e-7)


def test_models_of_one_number():
    """As a graph or a pickle of another process may bring it."""
    arrays = batch(RAGGED)
    models = [make(make_config(2, units, 2 * units, 2)) for units in (64, 256)] + [make(seed=4)]
    expected = [network(*arrays).asnumpy() for network in models]
    for network in models:
        network._fused._model_id = 'same'
    for _ in range(2):
        for network, output in zip(models, expected):
            assert np.array_equal(network(*arrays).asnumpy(), output)


@pytest.mark.process
def test_fewer_threads_than_asked_for(kernels):
    code = ('from support.fused_networks import *\nfrom bert.model.kernels import library\n'
            'library.load().use_threads(4)\n'
            'found = gradients(make(), batch([9, 2]))[1].values()\n'
            'print(float(sum(abs(one).sum() for one in found)))')
    environment = dict(os.environ, PYTHONPATH=str(pathlib.Path(__file__).parents[2]))
    found = [float(subprocess.run(
        [sys.executable, '-c', code], env=dict(environment, OMP_THREAD_LIMIT=limit), text=True,
        capture_output=True, check=True).stdout) for limit in ('1', '2', '9')]
    assert found == pytest.approx([found[0]] * 3, rel=1e-5)


def test_frozen_parameters():
    network, arrays = make(), batch(RAGGED)
    expected = gradients(network, arrays)[1]
    for name, value in network._collect_params_with_prefix().items():
        if 'embed' in name or 'transformer_cells.0' in name:
            value.grad_req = 'null'
    with mx.autograd.record():
        output = network(*arrays)
        random = np.random.RandomState(1).randn(*output.shape) * token_mask(arrays)[:, :, None]
        total = (output * mx.nd.array(random)).sum()
    total.backward()
    for name, value in network._collect_params_with_prefix().items():
        if value.grad_req != 'null':
            assert np.array_equal(value.grad().asnumpy(), expected[name])


# ---- weights that change

def check_against_own(network, arrays):
    found = network(*arrays).asnumpy()
    with own_operators():
        expected = network(*arrays).asnumpy()
    np.testing.assert_allclose(found[token_mask(arrays)], expected[token_mask(arrays)], atol=1e-4)
    return found


@pytest.mark.parametrize('options', HYBRID)
@pytest.mark.parametrize('optimizer', ['bertadam', 'adam', 'sgd'])
def test_training_is_seen(options, optimizer):
    network, arrays = make(), batch(RAGGED)
    trainer = mx.gluon.Trainer(network.collect_params(), optimizer, {'learning_rate': 0.01})
    if options is not None:
        network.hybridize(**options)
    before = network(*arrays).asnumpy()
    for _ in range(3):
        gradients(network, arrays)
        trainer.step(1)
        found = network(*arrays).asnumpy()
        assert np.abs(found - before).max() > 1e-3
        before = found
    network.hybridize(False)
    assert np.array_equal(check_against_own(network, arrays), before)


def test_every_way_to_write_a_weight_is_seen():
    network, arrays = make(), batch(RAGGED)
    weight = network.encoder.transformer_cells[1].ffn.ffn_2.weight
    other = make(seed=5).encoder.transformer_cells[1].ffn.ffn_2.weight.data()
    check_against_own(network, arrays)

    def rows(array):
        array[3:5] = 0
    for change in (lambda: weight.set_data(other), lambda: rows(weight.data()),
                   lambda: mx.nd.elemwise_add(weight.data(), other, out=weight.data()),
                   lambda: network.initialize(mx.init.Normal(0.3), force_reinit=True),
                   lambda: network.collect_params().reset_ctx(mx.cpu())):
        change()
        check_against_own(network, arrays)


def test_memory_that_comes_back_holds_another_weight(num_cases):
    """Networks that come and go get the same addresses with the same version numbers."""
    arrays, found, number = batch(RAGGED), [], num_cases(5, 20)
    for seed in range(number):
        network = make(seed=seed)
        found.append(check_against_own(network, arrays).sum())
        del network
        gc.collect()
    assert len(set(found)) == number
    network = make()
    for _ in range(number):
        network.initialize(mx.init.Normal(0.3), force_reinit=True)
        check_against_own(network, arrays)


def test_other_memory_that_looks_alike():
    """A weight in the place of another: written as often, and the same where samples are taken."""
    network, arrays = make(), batch(RAGGED)
    weight = network.encoder.transformer_cells[0].ffn.ffn_1.weight
    numbers = weight.data().asnumpy()
    others = numbers.copy()
    others[1, 5:9] += 3
    outputs = []
    for values in [mx.nd.array(numbers), mx.nd.array(others)]:
        weight._data = [values]
        outputs.append(check_against_own(network, arrays))
    assert np.abs(outputs[0] - outputs[1]).max() > 0.01


def test_several_models_in_turns():
    models = [make(seed=seed) for seed in range(3)] + [make(make_config(3, 96, 96, 3))]
    arrays = batch(RAGGED)
    expected = [network(*arrays).asnumpy() for network in models]
    for _ in range(3):
        for network, output in zip(models, expected):
            assert np.array_equal(network(*arrays).asnumpy(), output)


def test_threads(kernels):
    """One network and several, called by threads of Python at the same time."""
    kernels.use_threads(2)
    models = [make(seed=seed) for seed in range(2)]
    cases = [(network, batch([3, 9, 1 + seed], seed)) for network in models for seed in range(6)]
    expected = [network(*arrays).asnumpy() for network, arrays in cases]
    wrong = []

    def work(number):
        for _ in range(10):
            network, arrays = cases[number]
            if not np.array_equal(network(*arrays).asnumpy(), expected[number]):
                wrong.append(number)
    workers = [threading.Thread(target=work, args=(number,)) for number in range(len(cases))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_without_values():
    network = BERTModel(make_config())
    assert not network.is_fused()
    with pytest.raises(RuntimeError, match='has not been initialized'):
        network(*batch(RAGGED))


def test_a_hidden_state_that_is_not_there():
    network = make()
    network.encoder.layers = (5,), 'sum'
    with pytest.raises(IndexError):
        network(*batch(RAGGED))


def test_without_valid_length():
    network, arrays = make(), batch([9, 9])
    expected = network(*arrays).asnumpy()
    for hybrid in (False, True):
        network.hybridize(hybrid)
        assert np.array_equal(network(*arrays[:2]).asnumpy(), expected)


def test_the_predictor_takes_it():
    network, arrays = make_classifier(dropout=0.0), batch([40] * 20)
    predictor = Predictor(network)
    assert np.array_equal(predictor(*arrays).asnumpy(), network(*arrays).asnumpy())
    assert not predictor._graphs
    with own_operators():
        predictor(*arrays)
    assert predictor._graphs


# ---- what it doesn't serve

@pytest.mark.parametrize('config', [make_config(units=48, num_heads=1),
                                    make_config(units=64, num_heads=4),
                                    make_config(hidden_size=80), make_config(activation='relu')])
def test_sizes_it_does_not_know(config, caplog):
    network = make(config)
    assert not network.is_fused() and network(*batch(RAGGED)).asnumpy().any()
    assert not caplog.records
    make(config, dtype='bfloat16')
    assert [record.getMessage() for record in caplog.records] == [
        'no fused kernels with bfloat16 for this CPU and network: float32 computes']


def test_other_types_than_float32():
    network = make()
    network.cast('float64')
    assert not network.is_fused()


def test_float64_takes_own_operators_after_float32():
    network = make()
    network.hybridize()
    found = network(*batch(RAGGED)).asnumpy()
    network.cast('float64')
    ids, segments, lengths = batch(RAGGED)
    output = network(ids, segments, lengths.astype('float64'))
    assert output.dtype == np.float64
    chosen = token_mask(batch(RAGGED))
    np.testing.assert_allclose(output.asnumpy()[chosen], found[chosen], atol=1e-4)


# ---- memory: of a process of its own, which nothing else has filled and emptied

LOOP = """
import gc, os
import mxnet as mx
from support.fused_networks import batch, gradients, make, make_config

def resident():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

def growth(first, then):
    %s
    run(first)
    before = resident()
    run(then)
    return resident() - before

print(growth(%d, %d))
"""
CALLS = """network, arrays = make(make_config(1, 32, 32, 1)), [batch([3, n]) for n in (1, 5, 9)]
    network.hybridize()
    def run(number):
        for i in range(number):
            if i % 4:
                network(*arrays[i % 3]).wait_to_read()
            else:
                gradients(network, arrays[i % 3])"""
MODELS = """def run(number):
        for _ in range(number):
            network = make(make_config(4, 512, 2048, 8))
            network(*batch([9, 3])).wait_to_read()
            del network
            gc.collect()
            mx.nd.waitall()"""


@pytest.mark.exhaustive
@pytest.mark.parametrize('code,first,then,most', [(CALLS, 500, 10000, 4 << 20),
                                                  # each packs 50 MB of weights; one may wait
                                                  # for MXNet to let go of it
                                                  (MODELS, 3, 8, 150 << 20)],
                         ids=['calls', 'models'])
def test_no_leak(code, first, then, most):
    environment = dict(os.environ, PYTHONPATH=str(pathlib.Path(__file__).parents[2]))
    done = subprocess.run([sys.executable, '-c', LOOP % (code, first, then)], text=True,
                          capture_output=True, env=environment, check=True)
    assert int(done.stdout) < most
