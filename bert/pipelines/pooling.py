"""Vectors of pieces → vectors of words and of texts; the similarity of vectors."""
import numpy as np

from bert.errors import UserError


def merge(rows, words, oov_way):
    """(pieces, width), (pieces,) the number of each one's word → (words, width)."""
    starts = np.flatnonzero(np.diff(words, prepend=-1))
    ends = np.append(starts[1:], len(words))
    if not len(starts) or oov_way == 'last':
        return rows[ends[:len(starts)] - 1]
    sums = np.add.reduceat(rows, starts, axis=0)
    return sums if oov_way == 'sum' else sums / (ends - starts)[:, None].astype('float32')


def normalized(rows):
    """Rows of length 1; one of zeros stays."""
    lengths = np.sqrt((rows ** 2).sum(axis=1, keepdims=True))
    return rows / np.where(lengths == 0, 1, lengths)


def similarity(a, b):
    """(rows of a, rows of b) cosines of two arrays of vectors; a single vector is one row.

    Raises `UserError` when the vectors of one are longer than those of the other.
    """
    a, b = (np.atleast_2d(np.asarray(one, 'float32')) for one in (a, b))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise UserError('similarity: arrays of the shapes %s and %s: (number, width) and (number, '
                        'the same width) expected' % (a.shape, b.shape))
    return normalized(a) @ normalized(b).T
