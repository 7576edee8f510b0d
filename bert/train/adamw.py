"""AdamW as PyTorch and transformers have it: gluonnlp's bertadam with the bias correction."""
import math

import mxnet as mx
from gluonnlp.optimizer import BERTAdam


@mx.optimizer.register
class AdamW(BERTAdam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101).

        m = beta1 m + (1 − beta1) g;  v = beta2 v + (1 − beta2) g²;  at step t
        w = w − lr ((m / (1 − beta1ᵗ)) / (sqrt(v / (1 − beta2ᵗ)) + epsilon) + wd w)

    bertadam leaves out the two divisions by 1 − betaᵗ, so its first steps are larger; on small
    data sets some runs fail because of that (Zhang et al. 2021, arXiv:2006.05987).
    Takes the parameters of bertadam.
    """

    def __init__(self, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-6, **options):
        super().__init__(learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon,
                         **options)
        self.base_epsilon = epsilon
        self._correction = 1.0

    def _update_impl(self, indices, *arguments, **options):
        index = indices[0] if isinstance(indices, (list, tuple)) else indices
        step = self._index_update_count.get(index, self.begin_num_update) + 1
        root = math.sqrt(1 - self.beta2 ** step)
        # Both corrections go into bertadam's learning rate. Epsilon and the weight decay are
        # scaled so that the new rate doesn't change their effect.
        self._correction = root / (1 - self.beta1 ** step)
        self.epsilon = self.base_epsilon * root
        super()._update_impl(indices, *arguments, **options)

    def _get_lrs(self, indices):
        return [rate * self._correction for rate in super()._get_lrs(indices)]

    def _get_wds(self, indices):
        return [decay / self._correction for decay in super()._get_wds(indices)]
