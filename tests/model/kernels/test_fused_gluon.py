"""The fused encoder within Gluon: graphs, accumulated gradients, weights that change."""
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

LENGTHS = [10, 3, 1, 7]
HYBRIDIZE_OPTIONS = [None, {}, {'static_alloc': True}, {'static_alloc': True, 'static_shape': True}]


def step(network, arrays, seed=3):
    """(output, gradients) of a step, with the seed of its dropout."""
    mx.random.seed(seed)
    with mx.autograd.record():
        output = network(*arrays)
        loss = (output * output).sum()
    loss.backward()
    return output.asnumpy(), [value.grad().asnumpy() for value in
                              network.collect_params().values()]


def assert_equal(actual, expected):
    assert np.array_equal(actual[0], expected[0])
    for gradient, expected_gradient in zip(actual[1], expected[1]):
        assert np.array_equal(gradient, expected_gradient)


@pytest.mark.parametrize('options', HYBRIDIZE_OPTIONS)
def test_hybridized(options):
    """The same graph serves for training and prediction, step after step."""
    reference, network = make_classifier(), make_classifier()
    for source, target in zip(reference.collect_params().values(),
                              network.collect_params().values()):
        target.set_data(source.data())
    if options is not None:
        network.hybridize(**options)
    for seed, lengths in ((1, LENGTHS), (2, LENGTHS), (3, [5, 5]), (1, LENGTHS)):
        arrays = batch(lengths)
        assert np.array_equal(network(*arrays).asnumpy(), reference(*arrays).asnumpy())
        # the head's dropout, which comes after the encoder's seed, differs between the networks
        assert_equal(step(network, arrays, seed), step(network, arrays, seed))
    first, second = (step(network, arrays, seed)[0] for seed in (1, 2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize('options', HYBRIDIZE_OPTIONS)
def test_hybridized_gradients(options):
    network, arrays = make(), batch(LENGTHS)
    expected = gradients(network, arrays)
    if options is not None:
        network.hybridize(**options)
    for _ in range(2):
        actual = gradients(network, arrays)
        assert_equal((actual[0], actual[1].values()), (expected[0], expected[1].values()))
    assert gluon_hooks._uses_operator(network._cached_graph) == (options is not None)


@pytest.mark.parametrize('options', HYBRIDIZE_OPTIONS)
@pytest.mark.parametrize('has_graph', [False, True])
def test_accumulated_gradients(options, has_graph):
    """MXNet doesn't pass "add" on to the operator. has_graph: change to it when a graph exists."""
    network, batches = make(), [batch(LENGTHS, seed) for seed in range(3)]
    expected = [gradients(network, arrays)[1] for arrays in batches]
    if options is not None:
        network.hybridize(**options)
    if has_graph:
        gradients(network, batches[0])
    parameters = network._collect_params_with_prefix()
    for value in parameters.values():
        value.grad_req = 'add'
        value.zero_grad()
    for arrays in batches:
        actual = gradients(network, arrays)[1]
    for name, value in actual.items():
        total = sum(gradient[name] for gradient in expected)
        np.testing.assert_allclose(value, total, atol=1e-5 * np.abs(total).max() + 1e-7)
    for value in parameters.values():       # and back
        value.grad_req = 'write'
    actual = gradients(network, batches[1])[1]
    for name, value in actual.items():
        assert np.array_equal(value, expected[1][name]), name


@pytest.mark.parametrize('options', HYBRIDIZE_OPTIONS)
@pytest.mark.parametrize('grad_req', ['write', 'add'])
def test_two_calls_in_one_step(options, grad_req):
    """Each call saves what its own backward pass needs."""
    network, first, second = make(), batch(LENGTHS), batch([4, 4, 9], 1)
    expected = [gradients(network, arrays)[1] for arrays in (first, second)]
    if options is not None:
        network.hybridize(**options)
    for value in network.collect_params().values():
        value.grad_req = grad_req
        value.zero_grad()
    with mx.autograd.record():
        total = 0
        for arrays in (first, second):
            output = network(*arrays)
            random = np.random.RandomState(1).randn(*output.shape) * token_mask(arrays)[:, :, None]
            total = total + (output * mx.nd.array(random)).sum()
    total.backward()
    for name, value in network._collect_params_with_prefix().items():
        expected_sum = expected[0][name] + expected[1][name]
        np.testing.assert_allclose(value.grad().asnumpy(), expected_sum,
                                   atol=1e-5 * np.abs(expected_sum).max() + 1e-6)


def test_backward_twice():
    network, arrays = make(), batch(LENGTHS)
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

    def compute_gradient():
        with mx.autograd.record():
            sequence, tokens = network(*arrays, positions)
            total = (sequence[:, 0] ** 3).sum() + (tokens ** 2).sum()
        total.backward()
        return network.word_embed[0].weight.grad().asnumpy().copy()
    actual = compute_gradient()
    with own_operators():
        expected = compute_gradient()
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())


def test_accumulation_survives_a_cast():
    network, arrays = make(), batch(LENGTHS)
    expected = gradients(network, arrays)[1]
    for value in network.collect_params().values():
        value.grad_req = 'add'
    network.cast('float32')         # makes new gradient arrays
    for value in network.collect_params().values():
        value.zero_grad()
    for _ in range(2):
        actual = gradients(network, arrays)[1]
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], 2 * value, atol=1e-5 * np.abs(value).max() + 1e-7)


def test_a_copy_shares_nothing_with_the_original():
    network, arrays = make(), batch(LENGTHS)
    expected = gradients(network, arrays)
    for value in network.collect_params().values():
        value.grad_req = 'add'
        value.zero_grad()
    network_copy = copy.deepcopy(network)
    assert network_copy._fused._model_id != network._fused._model_id
    assert np.array_equal(network_copy(*arrays).asnumpy(), expected[0])
    for grad_req in ('null', 'write'):
        for value in network_copy.collect_params().values():
            value.grad_req = grad_req
    for _ in range(2):
        actual = gradients(network, arrays)[1]
    for name, value in expected[1].items():
        np.testing.assert_allclose(actual[name], 2 * value, atol=1e-5 * np.abs(value).max() + 1e-7)


def test_models_with_the_same_id():
    """A graph or a pickle from another process may have the same id."""
    arrays = batch(LENGTHS)
    models = [make(make_config(2, units, 2 * units, 2)) for units in (64, 256)] + [make(seed=4)]
    expected = [network(*arrays).asnumpy() for network in models]
    for network in models:
        network._fused._model_id = 'same'
    for _ in range(2):
        for network, output in zip(models, expected):
            assert np.array_equal(network(*arrays).asnumpy(), output)


@pytest.mark.process
def test_fewer_threads_than_requested(kernels):
    code = ('from support.fused_networks import *\nfrom bert.model.kernels import library\n'
            'library.load().use_threads(4)\n'
            'values = gradients(make(), batch([9, 2]))[1].values()\n'
            'print(float(sum(abs(value).sum() for value in values)))')
    environment = dict(os.environ, PYTHONPATH=str(pathlib.Path(__file__).parents[2]))
    sums = [float(subprocess.run(
        [sys.executable, '-c', code], env=dict(environment, OMP_THREAD_LIMIT=limit), text=True,
        capture_output=True, check=True).stdout) for limit in ('1', '2', '9')]
    assert sums == pytest.approx([sums[0]] * 3, rel=1e-5)


def test_frozen_parameters():
    network, arrays = make(), batch(LENGTHS)
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

def check_against_mxnet(network, arrays):
    output = network(*arrays).asnumpy()
    with own_operators():
        expected = network(*arrays).asnumpy()
    np.testing.assert_allclose(output[token_mask(arrays)], expected[token_mask(arrays)], atol=1e-4)
    return output


@pytest.mark.parametrize('options', HYBRIDIZE_OPTIONS)
@pytest.mark.parametrize('optimizer', ['bertadam', 'adam', 'sgd'])
def test_new_weights_of_a_trainer_are_used(options, optimizer):
    network, arrays = make(), batch(LENGTHS)
    trainer = mx.gluon.Trainer(network.collect_params(), optimizer, {'learning_rate': 0.01})
    if options is not None:
        network.hybridize(**options)
    before = network(*arrays).asnumpy()
    for _ in range(3):
        gradients(network, arrays)
        trainer.step(1)
        output = network(*arrays).asnumpy()
        assert np.abs(output - before).max() > 1e-3
        before = output
    network.hybridize(False)
    assert np.array_equal(check_against_mxnet(network, arrays), before)


def test_new_weights_are_used_however_they_are_written():
    network, arrays = make(), batch(LENGTHS)
    weight = network.encoder.transformer_cells[1].ffn.ffn_2.weight
    new_value = make(seed=5).encoder.transformer_cells[1].ffn.ffn_2.weight.data()
    check_against_mxnet(network, arrays)

    def clear_rows(array):
        array[3:5] = 0
    for change in (lambda: weight.set_data(new_value), lambda: clear_rows(weight.data()),
                   lambda: mx.nd.elemwise_add(weight.data(), new_value, out=weight.data()),
                   lambda: network.initialize(mx.init.Normal(0.3), force_reinit=True),
                   lambda: network.collect_params().reset_ctx(mx.cpu())):
        change()
        check_against_mxnet(network, arrays)


def test_reused_memory_holds_another_weight(num_cases):
    """Networks, made and freed in turn, get the same addresses and version numbers."""
    arrays, sums, num_networks = batch(LENGTHS), [], num_cases(5, 20)
    for seed in range(num_networks):
        network = make(seed=seed)
        sums.append(check_against_mxnet(network, arrays).sum())
        del network
        gc.collect()
    assert len(set(sums)) == num_networks
    network = make()
    for _ in range(num_networks):
        network.initialize(mx.init.Normal(0.3), force_reinit=True)
        check_against_mxnet(network, arrays)


def test_a_replaced_weight_with_the_same_stamp():
    """A weight replaces another one that has the same version number and the same samples."""
    network, arrays = make(), batch(LENGTHS)
    weight = network.encoder.transformer_cells[0].ffn.ffn_1.weight
    old_values = weight.data().asnumpy()
    new_values = old_values.copy()
    new_values[1, 5:9] += 3
    outputs = []
    for values in [mx.nd.array(old_values), mx.nd.array(new_values)]:
        weight._data = [values]
        outputs.append(check_against_mxnet(network, arrays))
    assert np.abs(outputs[0] - outputs[1]).max() > 0.01


def test_several_models_in_turns():
    models = [make(seed=seed) for seed in range(3)] + [make(make_config(3, 96, 96, 3))]
    arrays = batch(LENGTHS)
    expected = [network(*arrays).asnumpy() for network in models]
    for _ in range(3):
        for network, output in zip(models, expected):
            assert np.array_equal(network(*arrays).asnumpy(), output)


def test_threads(kernels):
    """The same network and different ones, called by several Python threads at the same time."""
    kernels.use_threads(2)
    models = [make(seed=seed) for seed in range(2)]
    cases = [(network, batch([3, 9, 1 + seed], seed)) for network in models for seed in range(6)]
    expected = [network(*arrays).asnumpy() for network, arrays in cases]
    failures = []

    def work(index):
        for _ in range(10):
            network, arrays = cases[index]
            if not np.array_equal(network(*arrays).asnumpy(), expected[index]):
                failures.append(index)
    workers = [threading.Thread(target=work, args=(index,)) for index in range(len(cases))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def test_an_uninitialized_network():
    network = BERTModel(make_config())
    assert not network.is_fused()
    with pytest.raises(RuntimeError, match='has not been initialized'):
        network(*batch(LENGTHS))


def test_a_missing_hidden_state():
    network = make()
    network.encoder.layers = (5,), 'sum'
    with pytest.raises(IndexError):
        network(*batch(LENGTHS))


def test_without_valid_length():
    network, arrays = make(), batch([9, 9])
    expected = network(*arrays).asnumpy()
    for is_hybridized in (False, True):
        network.hybridize(is_hybridized)
        assert np.array_equal(network(*arrays[:2]).asnumpy(), expected)


def test_the_predictor_uses_it():
    network, arrays = make_classifier(dropout=0.0), batch([40] * 20)
    predictor = Predictor(network)
    assert np.array_equal(predictor(*arrays).asnumpy(), network(*arrays).asnumpy())
    assert not predictor._graphs
    with own_operators():
        predictor(*arrays)
    assert predictor._graphs


# ---- networks that it doesn't support

@pytest.mark.parametrize('config', [make_config(units=48, num_heads=1),
                                    make_config(units=64, num_heads=4),
                                    make_config(hidden_size=80), make_config(embedding_size=48),
                                    make_config(embedding_size=64),
                                    make_config(embedding_size=96)])
def test_unsupported_networks(config, caplog):
    network = make(config)
    assert not network.is_fused() and network(*batch(LENGTHS)).asnumpy().any()
    assert not caplog.records
    make(config, dtype='bfloat16')
    assert [record.getMessage() for record in caplog.records] == [
        'no fused kernels in bfloat16 for this CPU and network: computing in float32 instead']


def test_other_types_than_float32():
    network = make()
    network.cast('float64')
    assert not network.is_fused()


def test_float64_uses_mxnets_operators_after_float32():
    network = make()
    network.hybridize()
    expected = network(*batch(LENGTHS)).asnumpy()
    network.cast('float64')
    ids, segments, lengths = batch(LENGTHS)
    output = network(ids, segments, lengths.astype('float64'))
    assert output.dtype == np.float64
    mask = token_mask(batch(LENGTHS))
    np.testing.assert_allclose(output.asnumpy()[mask], expected[mask], atol=1e-4)


# ---- memory, in a new process, where nothing else has used and freed any

PROGRAM = """
import gc, os
import mxnet as mx
from support.fused_networks import batch, gradients, make, make_config

def resident():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

def growth(warmup, count):
    %s
    run(warmup)
    before = resident()
    run(count)
    return resident() - before

print(growth(%d, %d))
"""
CALL_LOOP = """network, arrays = make(make_config(1, 32, 32, 1)), [batch([3, n]) for n in (1, 5, 9)]
    network.hybridize()
    def run(count):
        for i in range(count):
            if i % 4:
                network(*arrays[i % 3]).wait_to_read()
            else:
                gradients(network, arrays[i % 3])"""
MODEL_LOOP = """def run(count):
        for _ in range(count):
            network = make(make_config(4, 512, 2048, 8))
            network(*batch([9, 3])).wait_to_read()
            del network
            gc.collect()
            mx.nd.waitall()"""


@pytest.mark.exhaustive
@pytest.mark.parametrize('code,warmup,count,max_growth', [
    (CALL_LOOP, 500, 10000, 4 << 20),
    # each network packs 50 MB of weights; one may wait until MXNet lets go of it
    (MODEL_LOOP, 3, 8, 150 << 20)], ids=['calls', 'models'])
def test_no_leak(code, warmup, count, max_growth):
    environment = dict(os.environ, PYTHONPATH=str(pathlib.Path(__file__).parents[2]))
    process = subprocess.run([sys.executable, '-c', PROGRAM % (code, warmup, count)], text=True,
                             capture_output=True, env=environment, check=True)
    assert int(process.stdout) < max_growth
