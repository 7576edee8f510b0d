"""Processes that train one model together, each on its share of every batch: by Horovod, or this
one alone."""
import mxnet as mx
import numpy as np

from bert.errors import UserError


class Alone:
    """One process. rank: its number, 0 is the one that writes files; size: how many there are."""
    rank, size, local_rank = 0, 1, 0

    def sum(self, values):
        """(n,) float64 NumPy: `values` summed over all workers, which all call this at the same
        moment."""
        return np.asarray(values, dtype='float64')

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
        self._horovod = horovod.mxnet
        self._horovod.init()
        self.rank, self.size = self._horovod.rank(), self._horovod.size()
        self.local_rank = self._horovod.local_rank()

    def sum(self, values):
        array = mx.nd.array(values, dtype='float64')
        return self._horovod.allreduce(array, average=False, name='sum').asnumpy()

    def sum_gradients(self, gradients):
        for i, gradient in enumerate(gradients):
            self._horovod.allreduce_(gradient, average=False, name='gradient.%d' % i, priority=-i)

    def share_parameters(self, parameters):
        self._horovod.broadcast_parameters(parameters, root_rank=0)
