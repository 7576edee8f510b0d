"""Files of pre-training examples: plain arrays in .npz, and the manifest beside them.

A shard holds the arrays of `bert.data.pretraining.examples.Examples` under their names. The
original's scripts wrote arrays of Python objects instead (of rows: input_ids, segment_ids,
masked_lm_positions, masked_lm_ids, masked_lm_weights; of numbers: next_sentence_labels,
valid_lengths), which can only be unpickled: those are read when the caller allows it.
"""
import os

import numpy as np

from bert import files
from bert.data.arrays.ragged import offsets_of
from bert.data.pretraining.examples import Examples
from bert.errors import UserError

MANIFEST, FORMAT = 'manifest.json', 'bert-pretraining-1'
DTYPES = {'input_ids': 'int32', 'segment_ids': 'uint8', 'token_offsets': 'int64',
          'masked_lm_positions': 'uint16', 'masked_lm_ids': 'int32', 'masked_offsets': 'int64',
          'next_sentence_labels': 'uint8'}
ORIGINAL = ('input_ids', 'segment_ids', 'masked_lm_positions', 'masked_lm_ids',
            'masked_lm_weights', 'next_sentence_labels', 'valid_lengths')


def write_shard(path, examples):
    """Write `Examples` as `path`, whole or not at all; the same ones give the same bytes."""
    with files.atomic_write(path, 'wb') as out:
        np.savez(out, **{name: getattr(examples, name).astype(dtype, copy=False)
                         for name, dtype in DTYPES.items()})


def read_shard(path, allow_pickle=False, vocab_size=None):
    """The `Examples` in a shard.

    allow_pickle: read the original's format too, which runs whatever code the file brings.
    vocab_size: ids must be below it. Raises `UserError` for a file that is damaged, none of
    these, or of another vocabulary.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            if set(archive.files) == set(ORIGINAL):
                return check(path, read_original(path, allow_pickle), vocab_size)
            return check(path, Examples(**{name: archive[name] for name in Examples._fields}),
                         vocab_size)
    except OSError as error:
        raise _unreadable(path, error) from None
    except files.NPZ_ERRORS as error:
        raise _damaged(path, error) from None


def read_lengths(path):
    """(examples,) int32: how many tokens each example of a shard has; of the original's format
    too, whose lengths are no objects. Raises `UserError` for a file that is none of them."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            if 'valid_lengths' in archive.files:
                return archive['valid_lengths'].astype('int32').reshape(-1)
            return np.diff(archive['token_offsets']).astype('int32')
    except OSError as error:
        raise _unreadable(path, error) from None
    except files.NPZ_ERRORS as error:
        raise _damaged(path, error) from None


def _unreadable(path, error):
    return UserError('%s: can\'t be read: %s' % (path, error.strerror or 'not an .npz file'))


def _damaged(path, error):
    return UserError('%s: not a shard of create_pretraining_data.py, or a damaged one: %s; make it '
                     'again' % (path, error))


def check(path, examples, vocab_size=None):
    """The examples, if their arrays fit together; else a `UserError`."""
    problem = (_problem_of_types(examples) or _problem_of_sizes(examples)
               or _problem_of_values(examples, vocab_size))
    if problem:
        raise UserError('%s: %s' % (path, problem))
    return examples


def _problem_of_types(examples):
    for name, dtype in DTYPES.items():
        array = getattr(examples, name)
        if array.ndim != 1 or array.dtype != dtype:
            return 'damaged: %s is %s %s, expected (…,) %s' % (name, array.shape, array.dtype,
                                                              dtype)
    return None


def _problem_of_sizes(examples):
    for name, offsets in (('input_ids', examples.token_offsets),
                          ('segment_ids', examples.token_offsets),
                          ('masked_lm_positions', examples.masked_offsets),
                          ('masked_lm_ids', examples.masked_offsets)):
        if len(offsets) != examples.size + 1 or offsets[0] or (np.diff(offsets) < 0).any() or \
                offsets[-1] != len(getattr(examples, name)):
            return 'damaged: %s and its offsets don\'t fit together' % name
    return None


def _problem_of_values(examples, vocab_size):
    lengths = np.repeat(np.diff(examples.token_offsets), np.diff(examples.masked_offsets))
    if (examples.masked_lm_positions >= lengths).any():
        return 'damaged: a masked position lies after the end of its example'
    ids = [array for array in (examples.input_ids, examples.masked_lm_ids) if len(array)]
    if any(array.min() < 0 for array in ids):
        return 'damaged: an id is negative'
    if vocab_size and any(array.max() >= vocab_size for array in ids):
        return ('an id is %d, and the vocabulary has %d tokens: the shard was made with another '
                'one' % (max(array.max() for array in ids), vocab_size))
    return None


def read_original(path, allow_pickle):
    """The `Examples` of a shard in the original's format."""
    if not allow_pickle:
        raise UserError('%s: a shard of the original format, whose arrays are pickled Python '
                        'objects: reading them runs whatever code the file brings. If you trust '
                        'it, give --allow_pickle; or make it again by create_pretraining_data.py'
                        % path)
    with np.load(path, allow_pickle=True) as archive:
        rows = {name: archive[name] for name in ORIGINAL}
    lengths = rows['valid_lengths'].astype('int64')
    number = len(lengths)
    ids, segments, positions, masked, weights = (
        [np.asarray(row) for row in rows[name]] for name in ORIGINAL[:5])
    used = [row > 0 for row in weights]     # what fills up to the most has weight 0
    return Examples(
        _join(ids, lengths, 'int32'), _join(segments, lengths, 'uint8'), offsets_of(lengths),
        _pick(positions, used, 'uint16'), _pick(masked, used, 'int32'),
        offsets_of([int(row.sum()) for row in used]),
        rows['next_sentence_labels'].astype('uint8').reshape(number))


def _join(rows, lengths, dtype):
    return np.concatenate([row[:length] for row, length in zip(rows, lengths)]
                          or [[]]).astype(dtype)


def _pick(rows, used, dtype):
    return np.concatenate([row[which] for row, which in zip(rows, used)] or [[]]).astype(dtype)


def describe_shard(path, examples=None):
    """What the manifest says of a shard; examples: what it holds, if known."""
    if examples is None:
        examples = read_shard(path)
    return {'file': os.path.basename(path), 'sha256': files.digest(path, 'sha256'),
            'examples': examples.size, 'tokens': len(examples.input_ids),
            'masked': len(examples.masked_lm_ids),
            'random_next': int(examples.next_sentence_labels.sum())}
