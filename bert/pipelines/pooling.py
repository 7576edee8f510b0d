"""Merges the vectors of word pieces into vectors of words; normalizes and compares vectors."""
import numpy as np

from bert.errors import UserError


def merge_pieces(rows, word_indices, oov_way):
    """rows (pieces, width), word_indices (pieces,) → vectors of the words (words, width)."""
    starts = np.flatnonzero(np.diff(word_indices, prepend=-1))
    ends = np.append(starts[1:], len(word_indices))
    if not len(starts) or oov_way == 'last':
        return rows[ends[:len(starts)] - 1]
    sums = np.add.reduceat(rows, starts, axis=0)
    return sums if oov_way == 'sum' else sums / (ends - starts)[:, None].astype('float32')


SMALLEST_LENGTH = 1e-18     # the square of a smaller one loses digits in float32


def normalize_rows(rows):
    """The rows scaled to length 1; a row of zeros stays as it is."""
    with np.errstate(over='ignore'):
        lengths = np.sqrt((rows ** 2).sum(axis=1, keepdims=True))
    extreme = ~np.isfinite(lengths[:, 0]) | (lengths[:, 0] < SMALLEST_LENGTH)
    if extreme.any():       # their squares are beyond the range of float32
        exact = rows[extreme].astype('float64')
        lengths = lengths.astype('float64')
        lengths[extreme] = np.sqrt((exact ** 2).sum(axis=1, keepdims=True))
        return (rows / np.where(lengths == 0, 1, lengths)).astype(rows.dtype)
    return rows / np.where(lengths == 0, 1, lengths)


def similarity(a, b):
    """Cosines (rows of a, rows of b) of two arrays of vectors; a single vector is one row.

    Raises `UserError` if the vectors of the two arrays differ in width, are none, or not finite.
    """
    try:
        a, b = (np.atleast_2d(np.asarray(vectors, 'float32')) for vectors in (a, b))
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise ValueError('a number is not finite')
    except (TypeError, ValueError) as error:
        raise UserError('similarity: arrays of vectors expected: %s' % error) from None
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise UserError('similarity: arrays of the shapes %s and %s: (number, width) and (number, '
                        'the same width) expected' % (a.shape, b.shape))
    return normalize_rows(a) @ normalize_rows(b).T
