"""Parts of unequal length, one after the other in one flat array: part i has the rows from
offsets[i] to offsets[i + 1]."""
import numpy as np


def offsets_of(lengths):
    """(parts + 1,) int64: where each part of these lengths starts, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype('int64')


def gather(offsets, order):
    """(rows of the parts `order` one after the other, their offsets)."""
    lengths = np.diff(offsets)[order]
    return ranges(offsets[order], lengths), offsets_of(lengths)


def ranges(starts, lengths):
    """The numbers from starts[i] to before starts[i] + lengths[i] for each i, one after the
    other."""
    ends = np.cumsum(lengths)
    return np.arange(lengths.sum()) + np.repeat(starts - (ends - lengths), lengths)
