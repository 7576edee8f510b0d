"""Processes that train one model together, each on its share of every batch: by Horovod, or this
one alone. All of them call the same functions here in the same order."""
import contextlib
import os

import mxnet as mx
import numpy as np

from bert.errors import UserError


class Alone:
    """One process. rank: its number, 0 is the one that writes files; size: how many there are."""
    rank, size, local_rank = 0, 1, 0

    def sum(self, values):
        """(n,) float64 NumPy: `values` summed over all workers."""
        return np.asarray(values, dtype='float64')

    def gather(self, value):
        """The values of all workers (whatever pickles) in the order of their ranks."""
        return [value]

    def broadcast(self, value):
        """The value of worker 0; what the others give is ignored."""
        return value

    def sum_gradients(self, gradients):
        """Have every NDArray be the sum of those of all workers."""

    def share_parameters(self, parameters):
        """Have the values of a ParameterDict be those of worker 0."""


class Horovod(Alone):
    """The workers that `horovodrun` started."""

    def __init__(self):
        try:
            import horovod.mxnet
        except ImportError as error:
            raise UserError('Horovod is not installed here (%s): start the script by \'./run '
                            'horovodrun -np 2 python …\', which installs it at its first use'
                            % error) from None
        # Gradients that are summed together are so in an order that depends on when they arrive:
        # with three workers or more a run would not repeat itself to the last bit
        os.environ.setdefault('HOROVOD_FUSION_THRESHOLD', '0')
        self._horovod = horovod.mxnet
        self._horovod.init()
        self.rank, self.size = self._horovod.rank(), self._horovod.size()
        self.local_rank = self._horovod.local_rank()
        self._num_objects = 0

    def sum(self, values):
        array = mx.nd.array(values, dtype='float64')
        name = 'sum of %s' % (array.shape,)
        with _others_may_end():
            return self._horovod.allreduce(array, average=False, name=name).asnumpy()

    def gather(self, value):
        with _others_may_end():
            return self._horovod.allgather_object(value, name=self._new_name())

    def broadcast(self, value):
        with _others_may_end():
            return self._horovod.broadcast_object(value, root_rank=0, name=self._new_name())

    def _new_name(self):
        """The workers may stand still when a name comes again with an array of another size."""
        self._num_objects += 1
        return 'object %d' % self._num_objects

    def sum_gradients(self, gradients):
        for i, gradient in enumerate(gradients):
            self._horovod.allreduce_(gradient, average=False, name='gradient.%d' % i, priority=-i)

    def share_parameters(self, parameters):
        self._horovod.broadcast_parameters(parameters, root_rank=0)


@contextlib.contextmanager
def _others_may_end():
    """Context that answers the end of another worker in one line; why it ended is for it to say."""
    try:
        yield
    except mx.MXNetError as error:
        if 'Horovod has been shut down' not in str(error):
            raise
        raise UserError('another worker ended, and this one with it') from None


def open_workers(backend=None):
    """Those that this process is one of: Horovod's where `backend` is 'horovod' or horovodrun
    started it, else it alone. Raises `UserError` for another one under horovodrun."""
    number = int(os.environ.get('HOROVOD_SIZE', 0))     # set by horovodrun with Gloo
    if backend == 'device' and number > 1:
        raise UserError('--comm_backend device: horovodrun started %d processes, and each would '
                        'train alone: leave the flag out' % number)
    return Horovod() if number or backend == 'horovod' else Alone()


def share(indices, worker, number):
    """The part of a batch that is for `worker` of `number`; parts differ by one example at most,
    and some are empty in a batch smaller than their number."""
    return indices[worker::number]
