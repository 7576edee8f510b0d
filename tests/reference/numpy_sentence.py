"""The tests' reference for vectors of texts: pooling and the layers after it, in float64.

Written from Reimers and Gurevych 2019 (arXiv:1908.10084), Muennighoff 2022 (arXiv:2202.08904, the
weighted mean) and PyTorch's definitions of its activations. Loops over tokens, where the package
has products of matrices.
"""
import math

import numpy as np


def pool(states, poolings, first=0):
    """states: vectors of all tokens; first: the first token that counts."""
    positions = range(first, len(states))
    parts = []
    for pooling in poolings:
        if pooling == 'cls':
            parts.append(states[first])
        elif pooling == 'lasttoken':
            parts.append(states[len(states) - 1])
        elif pooling == 'max':
            parts.append([max(states[i][k] for i in positions) for k in range(states.shape[1])])
        else:
            weights = [i + 1 if pooling == 'weightedmean' else 1 for i in positions]
            total = sum(weight * states[i] for weight, i in zip(weights, positions))
            parts.append(total / {'mean': len(positions), 'weightedmean': sum(weights),
                                  'mean_sqrt_len_tokens': math.sqrt(len(positions))}[pooling])
    return np.concatenate(parts)


ACTIVATIONS = {
    'Tanh': math.tanh, 'Identity': lambda x: x, 'ReLU': lambda x: x if x > 0 else 0.0,
    'GELU': lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    'Sigmoid': lambda x: 1 / (1 + math.exp(-x)), 'SiLU': lambda x: x / (1 + math.exp(-x))}


def dense(vector, weight, bias=None, activation='Tanh', residual=None):
    """residual: None, 'input' or a matrix."""
    outputs = []
    for i, row in enumerate(weight):
        value = ACTIVATIONS[activation](sum(a * b for a, b in zip(row.astype('float64'), vector))
                                        + (0 if bias is None else float(bias[i])))
        if residual is not None:
            value += vector[i] if isinstance(residual, str) else float(
                residual[i].astype('float64') @ vector)
        outputs.append(value)
    return np.array(outputs)


def normalize(vector):
    return vector / math.sqrt(sum(x * x for x in vector))
