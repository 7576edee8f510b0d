"""Arrays on their way into a network and out of it are those of MXNet's own functions."""
import mxnet as mx
import numpy as np
import pytest

from bert.model import arrays

ARRAYS = {
    'int32': np.arange(6, dtype='int32').reshape(2, 3),
    'float32': np.linspace(-1, 1, 24, dtype='float32').reshape(2, 3, 4),
    'float16': np.linspace(-1, 1, 5, dtype='float16'),
    'transposed': np.arange(6, dtype='int32').reshape(2, 3).T,
    'a slice': np.arange(12, dtype='float32').reshape(3, 4)[:, 1:3],
    'read-only': np.frombuffer(b'\1\0\0\0\2\0\0\0', 'int32'),
    'large': np.arange(arrays.PARALLEL_BYTES // 4 + 1, dtype='int32'),
}


@pytest.mark.parametrize('array', ARRAYS.values(), ids=ARRAYS.keys())
def test_there_and_back(array):
    on_device = arrays.to_device(array, mx.cpu())
    assert on_device.shape == array.shape and on_device.dtype == array.dtype
    assert (on_device.asnumpy() == array).all()
    back = arrays.to_numpy(on_device)
    assert back.dtype == array.dtype and (back == array).all()


def test_to_numpy_waits_for_the_computation():
    matrix = mx.nd.ones((700, 700)) / 700
    result = mx.nd.ones((700, 700))
    for _ in range(20):
        result = mx.nd.dot(result, matrix)
    np.testing.assert_allclose(arrays.to_numpy(result[:2]), 1, rtol=1e-3)


def test_an_error_of_the_computation_is_raised():
    with pytest.raises(mx.MXNetError):
        arrays.to_numpy(mx.nd.dot(mx.nd.ones((2, 3)), mx.nd.ones((2, 3))))


def test_the_result_is_the_callers():
    """Later computations do not change it."""
    array = mx.nd.ones((3,))
    result = arrays.to_numpy(array)
    array[:] = 2
    array.wait_to_read()
    assert (result == 1).all()
