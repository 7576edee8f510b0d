"""The device to compute on: the CPU, or a GPU that the installed MXNet supports."""
import ctypes
import random

import mxnet as mx
import numpy as np

from bert.errors import UserError

# The CUDA wheels of MXNet 1.9.1 hold machine code up to sm_86 and no PTX. GPUs with the same major
# version run it (8.9, Ada); newer ones (9.0, Hopper) can't.
MAX_CAPABILITY_MAJOR = 8
MIN_CAPABILITY = (5, 0)
# CUdevice_attribute in cuda.h
COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR = 75, 76


def pick_device(gpu=None, dtype='float32', flag='--gpu'):
    """The `mx.Context` for `--gpu` (None: the CPU), after a check that it can be used.

    Raises `UserError` when there is no such GPU, when MXNet's wheels hold no code for it, or when
    the device's operators lack `dtype`: the CPU lacks float16, a GPU lacks bfloat16 and int8.
    flag: name of the flag in messages.
    """
    if gpu is None:
        if dtype == 'float16':
            raise UserError('--dtype float16 needs a GPU: MXNet\'s CPU operators don\'t support '
                            'it; leave --dtype out')
        return mx.cpu()
    if dtype in ('bfloat16', 'int8'):
        raise UserError('--dtype %s is for CPUs: use float16 on a GPU' % dtype)
    num_gpus = mx.context.num_gpus()
    if num_gpus == 0:
        raise UserError('%s %d: no GPU for this MXNet: %s; leave %s out to run on the CPU'
                        % (flag, gpu, 'no CUDA device is visible' if _built_with_cuda() else
                           'it is the CPU build, GPUs need mxnet-cu112 or mxnet-cu117',
                           flag))
    if not 0 <= gpu < num_gpus:
        raise UserError('%s %d: there are %d GPUs, numbered 0 to %d'
                        % (flag, gpu, num_gpus, num_gpus - 1))
    capability = compute_capability(gpu)
    if capability and (capability[0] > MAX_CAPABILITY_MAJOR or capability < MIN_CAPABILITY):
        raise UserError('%s %d: the GPU has compute capability %d.%d, but MXNet 1.9.1 supports '
                        '5.0 to 8.9 (Maxwell to Ada); leave %s out to run on the CPU'
                        % ((flag, gpu) + capability + (flag,)))
    return mx.gpu(gpu)


def _built_with_cuda():
    return mx.runtime.Features().is_enabled('CUDA')


def compute_capability(gpu):
    """(major, minor) of a GPU, from the CUDA driver; None when the driver doesn't know it."""
    try:
        cuda = ctypes.CDLL('libcuda.so.1')
    except OSError:
        return None
    device, values = ctypes.c_int(), (ctypes.c_int(), ctypes.c_int())
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), gpu):
        return None
    attributes = (COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR)
    for value, attribute in zip(values, attributes):
        if cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device):
            return None
    return values[0].value, values[1].value


def seed_everything(seed):
    """Seed python, numpy and mxnet."""
    random.seed(seed)
    np.random.seed(seed % 2 ** 32)
    mx.random.seed(seed % 2 ** 31)
