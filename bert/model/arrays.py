"""Arrays on their way into a network and out of it.

MXNet's own functions, `mx.nd.array` and `asnumpy`, copy by a parallel region of OpenMP. Beside the
threads that compute, such a region costs about 0.15 ms however small the array is, which is a
noticeable part of the time of a single text (benchmarks/inference/single_text.py).
"""
import ctypes

import mxnet as mx
import numpy as np

from bert.model.kernels.gluon_hooks import address_of

# Bytes from which on MXNet's parallel copy is worth its fixed costs
PARALLEL_BYTES = 1 << 20


def to_device(array, device):
    """The NDArray with the numbers, shape and dtype of a NumPy array."""
    if device.device_type != 'cpu' or array.nbytes >= PARALLEL_BYTES:
        return mx.nd.array(array, ctx=device, dtype=array.dtype)
    result = mx.nd.empty(array.shape, ctx=device, dtype=array.dtype)
    array = np.ascontiguousarray(array)
    ctypes.memmove(address_of(result), array.ctypes.data, array.nbytes)
    return result


def to_numpy(array):
    """The NumPy array with the numbers, shape and dtype of an NDArray, once it is computed."""
    if array.context.device_type != 'cpu':
        return array.asnumpy()
    result = np.empty(array.shape, array.dtype)
    if result.nbytes >= PARALLEL_BYTES:
        return array.asnumpy()
    ctypes.memmove(result.ctypes.data, address_of(array), result.nbytes)
    return result
