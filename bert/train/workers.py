"""Worker processes that train one model together, by Horovod; or a single process.

Each worker computes its part of every batch. All workers must call the functions of this module in
the same order.
"""
import contextlib
import os

import mxnet as mx
import numpy as np

from bert.errors import UserError

# How often Horovod looks for gradients that all workers have, where CPUs compute. By default it
# looks every millisecond, which takes 18 % of the time of a worker with one core
# (benchmarks/pretraining/workers.py).
CYCLE_MILLISECONDS = '25'


class SingleWorker:
    """A single process. rank: index of the worker; worker 0 writes the files. size: number of
    workers. local_rank: index among the workers on the same machine."""
    rank, size, local_rank = 0, 1, 0

    def sum(self, values):
        """(n,) float64 NumPy: `values` summed over all workers."""
        return np.asarray(values, dtype='float64')

    def gather(self, value):
        """List of the values of all workers (picklable objects), in the order of their ranks."""
        return [value]

    def broadcast(self, value):
        """The value of worker 0; the values of the others are ignored."""
        return value

    def sum_gradients(self, gradients):
        """Replace every NDArray by its sum over all workers."""

    def share_parameters(self, parameters):
        """Set the values of a ParameterDict to those of worker 0."""


class Horovod(SingleWorker):
    """One of the workers that `horovodrun` started. Raises `UserError` without Horovod."""

    def __init__(self):
        try:
            import horovod.mxnet
        except ImportError as error:
            raise UserError('Horovod is not installed here (%s): start the script with \'./run '
                            'horovodrun -np 2 python …\', which installs Horovod at its first use'
                            % error) from None
        # Horovod would fuse gradients in the order of their arrival: with three or more workers two
        # runs would differ in the last bits
        os.environ.setdefault('HOROVOD_FUSION_THRESHOLD', '0')
        if not mx.context.num_gpus():
            os.environ.setdefault('HOROVOD_CYCLE_TIME', CYCLE_MILLISECONDS)
        self._horovod = horovod.mxnet
        self._horovod.init()
        self.rank, self.size = self._horovod.rank(), self._horovod.size()
        self.local_rank = self._horovod.local_rank()
        self._num_objects = 0

    def sum(self, values):
        array = mx.nd.array(values, dtype='float64')
        name = 'sum of %s' % (array.shape,)
        with _explain_shutdown():
            return self._horovod.allreduce(array, average=False, name=name).asnumpy()

    def gather(self, value):
        with _explain_shutdown():
            return self._horovod.allgather_object(value, name=self._new_name())

    def broadcast(self, value):
        with _explain_shutdown():
            return self._horovod.broadcast_object(value, root_rank=0, name=self._new_name())

    def _new_name(self):
        """A new name: Horovod can hang when a name comes back with an array of another size."""
        self._num_objects += 1
        return 'object %d' % self._num_objects

    def sum_gradients(self, gradients):
        for i, gradient in enumerate(gradients):
            self._horovod.allreduce_(gradient, average=False, name='gradient.%d' % i, priority=-i)

    def share_parameters(self, parameters):
        self._horovod.broadcast_parameters(parameters, root_rank=0)


@contextlib.contextmanager
def _explain_shutdown():
    """Context that reports the end of another worker as a `UserError`, in one line. That worker
    reports the reason itself."""
    try:
        yield
    except mx.MXNetError as error:
        if 'Horovod has been shut down' not in str(error):
            raise
        raise UserError('another worker ended, so this worker ends too') from None


def open_workers(backend=None):
    """The workers of this process: `Horovod` if `backend` is 'horovod' or horovodrun started the
    process, else `SingleWorker`. Raises `UserError` for the backend 'device' under horovodrun."""
    num_workers = int(os.environ.get('HOROVOD_SIZE', 0))     # set by horovodrun with Gloo
    if backend == 'device' and num_workers > 1:
        raise UserError('--comm_backend device: horovodrun started %d processes, and each would '
                        'train alone: leave the flag out' % num_workers)
    return Horovod() if num_workers or backend == 'horovod' else SingleWorker()


def take_share(indices, worker, num_workers):
    """The part of a batch for one worker of `num_workers`. The sizes of the parts differ by at most
    one example; a batch with fewer examples than workers has empty parts."""
    return indices[worker::num_workers]
