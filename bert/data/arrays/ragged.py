"""Ragged arrays: parts of unequal length in one flat array.

Part i has the rows from offsets[i] to before offsets[i + 1].
"""
import numpy as np


def offsets_of(lengths):
    """(parts + 1,) int64: the start of each part of these lengths, and the last end."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype('int64')


def gather(offsets, order):
    """(row numbers of the parts `order`, part after part; the offsets of these parts)."""
    lengths = np.diff(offsets)[order]
    return ranges(offsets[order], lengths), offsets_of(lengths)


def ranges(starts, lengths):
    """The numbers from starts[i] to before starts[i] + lengths[i], concatenated over all i."""
    ends = np.cumsum(lengths)
    return np.arange(lengths.sum()) + np.repeat(starts - (ends - lengths), lengths)
