"""The activation functions of BERT and its relatives."""
import math

from mxnet.gluon import HybridBlock

from bert.errors import UserError


def apply_activation(F, x, name):
    """Apply the activation `name` to each element: gelu (exact), gelu_new (tanh form) or relu."""
    if name == 'gelu':
        return F.LeakyReLU(x, act_type='gelu')
    if name == 'gelu_new':  # Hendrycks & Gimpel 2016, the approximation with tanh
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
        return 0.5 * x * (1 + F.tanh(inner))
    if name == 'relu':
        return F.relu(x)
    raise UserError('activation "%s": expected gelu, gelu_new or relu' % name)


class Activation(HybridBlock):
    """The function `apply_activation` as a block."""

    def __init__(self, name, **kwargs):
        super().__init__(**kwargs)
        self._name = name

    def hybrid_forward(self, F, x):
        return apply_activation(F, x, self._name)
