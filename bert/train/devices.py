"""Where to compute: the CPU or a GPU that this MXNet can drive."""
import ctypes
import random

import mxnet as mx
import numpy as np

from bert.errors import UserError

# The newest GPU generation in the CUDA wheels of MXNet 1.9.1: machine code up to sm_86, no PTX.
# A GPU of the same major generation runs it (8.9, Ada); a newer one (9.0, Hopper) can't.
NEWEST_MAJOR = 8
OLDEST = (5, 0)
# CUdevice_attribute in cuda.h
COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR = 75, 76


def pick_device(gpu=None, dtype='float32', flag='--gpu'):
    """The `mx.Context` for `--gpu` (None: the CPU) after checking that it can be used.

    Raises UserError when there is no such GPU, when it is one MXNet's wheels hold no code
    for, or when `dtype` is float16 on the CPU, whose operators lack it, or bfloat16 or int8 on a
    GPU, whose operators lack those.
    """
    if gpu is None:
        if dtype == 'float16':
            raise UserError('--dtype float16 needs a GPU: MXNet\'s CPU operators lack it; leave '
                            '--dtype out')
        return mx.cpu()
    if dtype in ('bfloat16', 'int8'):
        raise UserError('--dtype %s is for CPUs: on a GPU it is float16' % dtype)
    count = mx.context.num_gpus()
    if count == 0:
        raise UserError('%s %d: no GPU for this MXNet: %s; leave %s out to run on the CPU'
                        % (flag, gpu, 'no CUDA device is visible' if _built_with_cuda() else
                           'it is the CPU build, mxnet-cu112 or mxnet-cu117 is the one for GPUs',
                           flag))
    if not 0 <= gpu < count:
        raise UserError('%s %d: there are %d GPUs, 0 to %d' % (flag, gpu, count, count - 1))
    capability = compute_capability(gpu)
    if capability and (capability[0] > NEWEST_MAJOR or capability < OLDEST):
        raise UserError('%s %d: it has compute capability %d.%d, and MXNet 1.9.1 holds code for '
                        '5.0 to 8.9 (Maxwell to Ada); leave %s out to run on the CPU'
                        % ((flag, gpu) + capability + (flag,)))
    return mx.gpu(gpu)


def _built_with_cuda():
    return mx.runtime.Features().is_enabled('CUDA')


def compute_capability(gpu):
    """(major, minor) of a GPU from the CUDA driver, None when the driver doesn't tell."""
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
