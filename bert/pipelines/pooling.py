"""Merges the vectors of word pieces into vectors of words, and those of tokens into one of a text;
normalizes and compares vectors."""
import numpy as np

from bert.errors import UserError
from bert.flags.embedding import SIMILARITIES


def check_choice(name, value, choices):
    if value not in choices:
        raise UserError('%s "%s": expected one of %s' % (name, value, ', '.join(choices)))


def merge_pieces(rows, word_indices, oov_way):
    """rows (pieces, width), word_indices (pieces,) → vectors of the words (words, width)."""
    starts = np.flatnonzero(np.diff(word_indices, prepend=-1))
    ends = np.append(starts[1:], len(word_indices))
    if not len(starts) or oov_way == 'last':
        return rows[ends[:len(starts)] - 1]
    sums = np.add.reduceat(rows, starts, axis=0)
    return sums if oov_way == 'sum' else sums / (ends - starts)[:, None].astype('float32')


def _weighted_mean(rows, first):
    weights = np.arange(first + 1, len(rows) + 1, dtype='float32')
    return weights @ rows[first:] / weights.sum()


# {pooling: function(rows (tokens, width), index of the first token that counts) → (width,)}
POOLING_FUNCTIONS = {
    'mean': lambda rows, first: rows[first:].mean(axis=0),
    'cls': lambda rows, first: rows[first],
    'max': lambda rows, first: rows[first:].max(axis=0),
    'mean_sqrt_len_tokens': lambda rows, first:
        rows[first:].sum(axis=0) / np.sqrt(len(rows) - first).astype('float32'),
    'weightedmean': _weighted_mean,
    'lasttoken': lambda rows, first: rows[-1],
}


def pool_tokens(rows, poolings, first=0):
    """The vectors of all tokens of a text (tokens, width) float32 → one vector float32; several
    poolings are concatenated.

    poolings: keys of `POOLING_FUNCTIONS`. first: index of the first token that counts, for a prompt
    that is left out; the positions, which 'weightedmean' takes as weights, count from the start.
    """
    vectors = [POOLING_FUNCTIONS[pooling](rows, first) for pooling in poolings]
    return vectors[0] if len(vectors) == 1 else np.concatenate(vectors)


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


def similarity(a, b, function='cosine'):
    """The similarities (rows of a, rows of b) float32 of two arrays of vectors. A single vector is
    one row.

    function
        'cosine'; 'dot': the product; 'euclidean' or 'manhattan': a distance below zero, so that
        more is nearer.

    Raises `UserError` if the vectors of the two arrays differ in width, are none, or are not
    finite.
    """
    check_choice('similarity', function, SIMILARITIES)
    try:
        a, b = (np.atleast_2d(np.asarray(vectors, 'float32')) for vectors in (a, b))
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise ValueError('a number is not finite')
    except (TypeError, ValueError) as error:
        raise UserError('similarity: expected arrays of vectors: %s' % error) from None
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not a.shape[1]:
        raise UserError('similarity: arrays of the shapes %s and %s found, expected (number, '
                        'width) and (number, the same width)' % (a.shape, b.shape))
    return compare_rows(a, b, function)


def compare_rows(a, b, function):
    """`similarity` without its checks. a, b: (number, width) float32."""
    if function in ('cosine', 'dot'):
        return normalize_rows(a) @ normalize_rows(b).T if function == 'cosine' else a @ b.T
    scores = np.empty((len(a), len(b)), 'float32')
    for i, row in enumerate(a):     # (number, width) values in memory at once
        differences = b - row
        scores[i] = -np.abs(differences).sum(axis=1) if function == 'manhattan' else \
            -np.sqrt((differences ** 2).sum(axis=1))
    return scores
