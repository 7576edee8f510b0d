"""Which devices are accepted, and the errors for the others."""
import random

import mxnet as mx
import numpy as np
import pytest

from bert.errors import UserError
from bert.train import devices
from bert.train.devices import pick_device, seed_everything


@pytest.fixture
def machine(monkeypatch):
    """Function (number of GPUs, compute capability, CUDA build): what MXNet and the driver say."""
    def set_machine(count, capability=None, cuda=True):
        monkeypatch.setattr(mx.context, 'num_gpus', lambda: count)
        monkeypatch.setattr(devices, 'compute_capability', lambda gpu: capability)
        monkeypatch.setattr(devices, '_built_with_cuda', lambda: cuda)
    return set_machine


def refusal(gpu=None, dtype='float32'):
    with pytest.raises(UserError) as error:
        pick_device(gpu, dtype)
    return str(error.value)


def test_the_cpu_by_default():
    assert pick_device() == mx.cpu()


def test_float16_on_the_cpu():
    assert refusal(dtype='float16') == ('--dtype float16 needs a GPU: MXNet\'s CPU operators '
                                        'don\'t support it; leave --dtype out')


def test_no_gpu(machine):
    machine(0, cuda=False)
    assert refusal(0) == ('--gpu 0: no GPU for this MXNet: it is the CPU build, GPUs need '
                          'mxnet-cu112 or mxnet-cu117; leave --gpu out to run on the CPU')
    machine(0, cuda=True)
    assert refusal(0) == ('--gpu 0: no GPU for this MXNet: no CUDA device is visible; leave --gpu '
                          'out to run on the CPU')


def test_this_build_is_the_cpu_build():
    if devices._built_with_cuda():
        pytest.skip('a CUDA build')
    assert 'it is the CPU build' in refusal(0)


@pytest.mark.parametrize('gpu', [2, 7, -1])
def test_a_number_that_no_gpu_has(gpu, machine):
    machine(2, (8, 0))
    assert refusal(gpu) == '--gpu %d: there are 2 GPUs, numbered 0 to 1' % gpu


@pytest.mark.parametrize('capability', [(5, 0), (7, 0), (8, 0), (8, 6), (8, 9), None])
def test_gpus_that_the_wheels_support(capability, machine):
    machine(2, capability)
    assert pick_device(1) == mx.gpu(1)
    assert pick_device(0, 'float16') == mx.gpu(0)


@pytest.mark.parametrize('capability,text', [((9, 0), '9.0'), ((12, 0), '12.0'), ((3, 7), '3.7')])
def test_gpus_that_the_wheels_hold_no_code_for(capability, text, machine):
    machine(1, capability)
    assert refusal(0) == (
        '--gpu 0: the GPU has compute capability %s, but MXNet 1.9.1 supports 5.0 to 8.9 '
        '(Maxwell to Ada); leave --gpu out to run on the CPU' % text)


def test_capability_without_a_driver(monkeypatch):
    def missing(name):
        raise OSError(name)
    monkeypatch.setattr(devices.ctypes, 'CDLL', missing)
    assert devices.compute_capability(0) is None


def test_capability_from_the_driver(monkeypatch):
    class Driver:
        """A libcuda with one GPU of capability 8.6."""

        def cuInit(self, flags):
            return 0

        def cuDeviceGet(self, device, index):
            return 0 if index == 0 else 101

        def cuDeviceGetAttribute(self, value, attribute, device):
            value._obj.value = {75: 8, 76: 6}[attribute]
            return 0
    monkeypatch.setattr(devices.ctypes, 'CDLL', lambda name: Driver())
    assert devices.compute_capability(0) == (8, 6)
    assert devices.compute_capability(1) is None


def test_one_seed_for_all_generators():
    def draw(seed):
        seed_everything(seed)
        return (random.random(), np.random.rand(), mx.nd.random.uniform(shape=3).asnumpy().tolist())
    first, second, third = draw(1), draw(1), draw(2)
    assert first == second
    assert all(a != b for a, b in zip(first, third))
    draw(-1)
    draw(2 ** 40)
