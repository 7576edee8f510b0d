"""Probabilities of logits. scipy.special has the same functions, and takes half a second to import,
which is long before a first answer."""
import numpy as np


def softmax(logits, axis=-1):
    """exp(logits) / their sum along an axis, in the type of the logits."""
    values = np.exp(logits - np.max(logits, axis=axis, keepdims=True))
    return values / values.sum(axis=axis, keepdims=True)


def sigmoid(logits):
    """1 / (1 + exp(−logits)), in the type of the logits, a floating one."""
    small = np.exp(-np.abs(logits))     # at most 1: it can't overflow
    return np.where(logits >= 0, 1, small) / (1 + small)
