"""A network of two dense layers in Gluon, and the same network and its training in NumPy."""
from typing import NamedTuple

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

INPUTS, HIDDEN = 4, 5


class Batch(NamedTuple):
    x: np.ndarray       # (size, INPUTS) float32
    y: np.ndarray       # (size, 1) float32

    @property
    def size(self):
        return len(self.x)


def examples(count, seed=0):
    """A `Batch` of random examples that a network can learn."""
    rng = np.random.RandomState(seed)
    x = rng.randn(count, INPUTS).astype('float32')
    return Batch(x, np.sin(x.sum(axis=1, keepdims=True)) * 2)


def split(batch, *sizes):
    """Split `batch` into batches of these sizes."""
    ends = np.cumsum(sizes)
    return [Batch(batch.x[end - size:end], batch.y[end - size:end])
            for size, end in zip(sizes, ends)]


def make_network(seed=1, dropout=0.0):
    """The Gluon network, with parameters dense0_weight, dense0_bias, dense1_weight, dense1_bias."""
    network = nn.HybridSequential(prefix='')
    with network.name_scope():
        network.add(nn.Dense(HIDDEN, in_units=INPUTS, activation='tanh', prefix='dense0_'),
                    nn.Dropout(dropout), nn.Dense(1, in_units=HIDDEN, prefix='dense1_'))
    network.initialize()
    rng = np.random.RandomState(seed)
    for parameter in network.collect_params().values():
        parameter.set_data(mx.nd.array(rng.randn(*parameter.shape) * 0.5))
    network.hybridize()
    return network


def forward_of(network):
    """The function that a `Stepper` needs: batch → (loss of each example, labels, outputs)."""
    def forward(batch):
        labels = mx.nd.array(batch.y)
        outputs = network(mx.nd.array(batch.x))
        return mx.nd.square(outputs - labels).reshape((-1,)), labels, outputs
    return forward


def values(network):
    """{name: NumPy array} of the parameters."""
    return {name: parameter.data().asnumpy()
            for name, parameter in network.collect_params().items()}


def same_bits(first, second):
    """Whether two results of `values` are equal to the last bit."""
    return all((first[name] == second[name]).all() for name in first)


# ---- the reference

def numpy_loss(weights, batch):
    hidden = np.tanh(batch.x @ weights['dense0_weight'].T + weights['dense0_bias'])
    outputs = hidden @ weights['dense1_weight'].T + weights['dense1_bias']
    return ((outputs - batch.y) ** 2).mean(), hidden, outputs


def numpy_gradients(weights, batch):
    """Gradients of the mean loss over the examples of `batch`, by the chain rule."""
    _, hidden, outputs = numpy_loss(weights, batch)
    d_outputs = 2 * (outputs - batch.y) / batch.size
    d_hidden = d_outputs @ weights['dense1_weight'] * (1 - hidden ** 2)
    return {'dense0_weight': d_hidden.T @ batch.x, 'dense0_bias': d_hidden.sum(axis=0),
            'dense1_weight': d_outputs.T @ hidden, 'dense1_bias': d_outputs.sum(axis=0)}


def numpy_norm(gradients):
    return np.sqrt(sum((gradient ** 2).sum() for gradient in gradients.values()))


class NumpyBertAdam:
    """google-research/bert, optimization.py: AdamWeightDecayOptimizer with clipping."""

    def __init__(self, weights, epsilon=1e-6, decay=0.01, max_norm=1.0):
        self.weights = {name: weight.astype('float64') for name, weight in weights.items()}
        self.epsilon, self.decay, self.max_norm = epsilon, decay, max_norm
        self.mean = {name: np.zeros(weight.shape) for name, weight in weights.items()}
        self.square = {name: np.zeros(weight.shape) for name, weight in weights.items()}

    def step(self, batch, rate):
        """Update the weights. Returns the loss and the gradient norm before the update."""
        gradients = numpy_gradients(self.weights, batch)
        loss, norm = numpy_loss(self.weights, batch)[0], numpy_norm(gradients)
        for name, weight in self.weights.items():
            gradient = gradients[name] * min(self.max_norm / norm, 1)
            self.mean[name] = 0.9 * self.mean[name] + 0.1 * gradient
            self.square[name] = 0.999 * self.square[name] + 0.001 * gradient ** 2
            decay = 0 if name.endswith('bias') else self.decay
            update = self.mean[name] / (np.sqrt(self.square[name]) + self.epsilon)
            self.weights[name] = weight - rate * (update + decay * weight)
        return loss, norm
