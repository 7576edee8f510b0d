"""Shards of pre-training examples: .npz files of plain arrays, with a manifest beside them.

A shard holds the arrays of `bert.data.pretraining.examples.PretrainingExamples` under their names.
The original's scripts wrote arrays of Python objects instead: rows (input_ids, segment_ids,
masked_lm_positions, masked_lm_ids, masked_lm_weights) and numbers (next_sentence_labels,
valid_lengths). Reading these means unpickling, so we read them only if the caller allows it.
"""
import os

import numpy as np

from bert import files
from bert.data.arrays.ragged import offsets_of
from bert.data.pretraining.examples import PretrainingExamples
from bert.errors import UserError

MANIFEST, MANIFEST_FORMAT = 'manifest.json', 'bert-pretraining-1'
ARRAY_DTYPES = {'input_ids': 'int32', 'segment_ids': 'uint8', 'token_offsets': 'int64',
                'masked_lm_positions': 'uint16', 'masked_lm_ids': 'int32',
                'masked_offsets': 'int64', 'next_sentence_labels': 'uint8'}
ORIGINAL_ARRAYS = ('input_ids', 'segment_ids', 'masked_lm_positions', 'masked_lm_ids',
                   'masked_lm_weights', 'next_sentence_labels', 'valid_lengths')


def write_shard(path, examples):
    """Write `PretrainingExamples` to `path`, whole or not at all; equal content, equal bytes."""
    with files.atomic_write(path, 'wb') as out:
        np.savez(out, **{name: getattr(examples, name).astype(dtype, copy=False)
                         for name, dtype in ARRAY_DTYPES.items()})


def read_shard(path, allow_pickle=False, vocab_size=None):
    """The `PretrainingExamples` in a shard.

    allow_pickle: also read the original's format, which runs any code that the file contains.
    vocab_size: all ids must be below it. Raises `UserError` for a file that is damaged, in another
    format, or from another vocabulary.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            if set(archive.files) == set(ORIGINAL_ARRAYS):
                return check_examples(path, read_original_shard(path, allow_pickle), vocab_size)
            arrays = {name: archive[name] for name in PretrainingExamples._fields}
        return check_examples(path, PretrainingExamples(**arrays), vocab_size)
    except OSError as error:
        raise _unreadable(path, error) from None
    except files.NPZ_ERRORS as error:
        raise _damaged(path, error) from None


def read_lengths(path):
    """(examples,) int32: number of tokens of each example in a shard. Reads the original's format
    too, whose lengths are not objects. Raises `UserError` for a file in another format."""
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
    return UserError('%s: damaged, or not a shard of create_pretraining_data.py: %s; create the '
                     'shard again' % (path, error))


def check_examples(path, examples, vocab_size=None):
    """Return the examples. Raises `UserError` if their arrays are inconsistent."""
    problem = (_problem_of_types(examples) or _problem_of_sizes(examples)
               or _problem_of_values(examples, vocab_size))
    if problem:
        raise UserError('%s: %s' % (path, problem))
    return examples


def _problem_of_types(examples):
    for name, dtype in ARRAY_DTYPES.items():
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
            return 'damaged: %s and its offsets don\'t match' % name
    return None


def _problem_of_values(examples, vocab_size):
    lengths = np.repeat(np.diff(examples.token_offsets), np.diff(examples.masked_offsets))
    if (examples.masked_lm_positions >= lengths).any():
        return 'damaged: a masked position lies after the end of its example'
    ids = [array for array in (examples.input_ids, examples.masked_lm_ids) if len(array)]
    if any(array.min() < 0 for array in ids):
        return 'damaged: an id is negative'
    if vocab_size and any(array.max() >= vocab_size for array in ids):
        return ('an id is %d, but the vocabulary has %d tokens: the shard was made with another '
                'vocabulary' % (max(array.max() for array in ids), vocab_size))
    return None


def read_original_shard(path, allow_pickle):
    """The `PretrainingExamples` of a shard in the original's format."""
    if not allow_pickle:
        raise UserError('%s: a shard of the original format, whose arrays are pickled Python '
                        'objects: reading it runs any code that the file contains. Give '
                        '--allow_pickle if you trust the file, or create the shard again with '
                        'create_pretraining_data.py'
                        % path)
    with np.load(path, allow_pickle=True) as archive:
        rows = {name: archive[name] for name in ORIGINAL_ARRAYS}
    lengths = rows['valid_lengths'].astype('int64')
    ids, segments, positions, masked_ids, weights = (
        [np.asarray(row) for row in rows[name]] for name in ORIGINAL_ARRAYS[:5])
    is_mask = [row > 0 for row in weights]      # padding has weight 0
    return PretrainingExamples(
        _join(ids, lengths, 'int32'), _join(segments, lengths, 'uint8'), offsets_of(lengths),
        _select(positions, is_mask, 'uint16'), _select(masked_ids, is_mask, 'int32'),
        offsets_of([int(row.sum()) for row in is_mask]),
        rows['next_sentence_labels'].astype('uint8').reshape(len(lengths)))


def _join(rows, lengths, dtype):
    """Concatenate the first `lengths[i]` entries of each row i."""
    return np.concatenate([row[:length] for row, length in zip(rows, lengths)]
                          or [[]]).astype(dtype)


def _select(rows, masks, dtype):
    """Concatenate the entries of each row that its boolean mask selects."""
    return np.concatenate([row[mask] for row, mask in zip(rows, masks)] or [[]]).astype(dtype)


def describe_shard(path, examples=None):
    """The manifest's entry for a shard. examples: the content of the shard, if known."""
    if examples is None:
        examples = read_shard(path)
    return {'file': os.path.basename(path), 'sha256': files.digest_file(path, 'sha256'),
            'examples': examples.size, 'tokens': len(examples.input_ids),
            'masked': len(examples.masked_lm_ids),
            'random_next': int(examples.next_sentence_labels.sum())}
