"""Files of pre-training examples → padded batches, the same ones for any number of workers."""
from typing import NamedTuple

import numpy as np

from bert.data.arrays.ragged import gather
from bert.data.pretraining.examples import join_examples

STREAM = 2 ** 31 + 2    # apart from the random numbers of examples and shards (generation.py)


class PretrainingBatch(NamedTuple):
    """Padded arrays; `size` examples."""
    token_ids: np.ndarray               # (size, length) int32
    segment_ids: np.ndarray             # (size, length) int32
    valid_length: np.ndarray            # (size,) float32
    masked_positions: np.ndarray        # (size, number) int32
    masked_ids: np.ndarray              # (size, number) int32
    masked_weights: np.ndarray          # (size, number) float32: 1, and 0 for what fills up
    next_sentence_labels: np.ndarray    # (size,) int32

    @property
    def size(self):
        return len(self.token_ids)

    @property
    def num_masked(self):
        return int(self.masked_weights.sum())

    @property
    def num_tokens(self):
        """Without padding."""
        return int(self.valid_length.sum())


def collate_examples(examples, indices, padding_id, round_to=1):
    """The examples `indices` of `Examples` as a `PretrainingBatch`; its length and its number of
    masks are those of the largest, the length a multiple of `round_to`."""
    lengths = np.diff(examples.token_offsets)[indices]
    length = -(-int(lengths.max()) // round_to) * round_to
    masks = np.diff(examples.masked_offsets)[indices]
    number = max(int(masks.max()), 1)

    def fill(values, offsets, width, filler):
        rows, starts = gather(offsets, indices)
        filled = np.full((len(indices), width), filler, dtype='int32')
        filled[np.arange(width) < np.diff(starts)[:, None]] = values[rows]
        return filled
    return PretrainingBatch(
        fill(examples.input_ids, examples.token_offsets, length, padding_id),
        fill(examples.segment_ids, examples.token_offsets, length, 0),
        lengths.astype('float32'),
        fill(examples.masked_lm_positions, examples.masked_offsets, number, 0),
        fill(examples.masked_lm_ids, examples.masked_offsets, number, 0),
        (np.arange(number) < masks[:, None]).astype('float32'),
        examples.next_sentence_labels[indices].astype('int32'))


class Buckets:
    """Examples of about equal length go together.

    number: of buckets; longest: tokens of the longest example. batch_size: examples; with
    by_tokens tokens, padding included, so that batches of short examples hold more of them.
    """

    def __init__(self, number, longest, batch_size, by_tokens=False):
        self._number, self._longest = min(number, longest), longest
        self._batch_size, self._by_tokens = batch_size, by_tokens

    def of(self, lengths):
        """(examples,) the bucket of each."""
        return (lengths.astype('int64') - 1) * self._number // self._longest

    def size(self, bucket):
        """Examples of a batch of this bucket."""
        if not self._by_tokens:
            return self._batch_size
        widest = -(-(bucket + 1) * self._longest // self._number)   # its longest example
        return max(1, self._batch_size // int(widest))

    def cut(self, lengths, rng, is_last):
        """([indices of a batch], indices that are left), all in random order; with is_last the
        rest makes smaller batches and nothing is left."""
        order = rng.permutation(len(lengths))
        buckets = self.of(lengths[order])
        batches, left = [], [order[:0]]
        for bucket in np.unique(buckets):
            mine, size = order[buckets == bucket], self.size(bucket)
            whole = len(mine) if is_last else len(mine) // size * size
            batches += [mine[i:i + size] for i in range(0, whole, size)]
            left.append(mine[whole:])
        return [batches[i] for i in rng.permutation(len(batches))], np.concatenate(left)


class Stream:
    """All examples of some files, epoch after epoch.

    paths: of shards; lengths: for each the number of tokens of its examples; read: function(path)
    → `Examples`; buckets: `Buckets`; pool: files whose examples are mixed, and in memory, at a
    time.
    """

    def __init__(self, paths, lengths, read, buckets, seed, pool=2):
        order = np.argsort(paths)
        self._paths = [paths[i] for i in order]
        self._lengths = [lengths[i] for i in order]
        self._read, self._buckets, self._seed, self._pool = read, buckets, seed, pool

    def epoch(self, number):
        """The `Epoch` of this number, the same for the same seed."""
        rng = np.random.RandomState([self._seed % 2 ** 32, number, STREAM])
        order = rng.permutation(len(self._paths))
        pools, left = [], np.zeros(0, dtype='int64')
        for start in range(0, len(order), self._pool):
            files = order[start:start + self._pool]
            lengths = np.concatenate([left] + [self._lengths[i] for i in files])
            batches, rest = self._buckets.cut(lengths, rng, start + self._pool >= len(order))
            pools.append(([self._paths[i] for i in files], batches, rest))
            left = lengths[rest]
        return Epoch(pools, self._read)


class Epoch:
    """A list of batches, each example in one of them. What a batch holds is read by `load`: one
    pool of files is in memory at a time, for batches that are asked for in order."""

    def __init__(self, pools, read):
        self._pools, self._read = pools, read
        self._batches = [(i, batch) for i, (_, batches, _) in enumerate(pools)
                         for batch in batches]
        self._current, self._examples = -1, None

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, which):
        """(its pool, indices there), for `load`; of a slice a list of them."""
        return self._batches[which]

    def load(self, pool):
        """The `Examples` of a pool: those of its files after what the last one left."""
        if pool < self._current:
            self._current, self._examples = -1, None
        while self._current < pool:
            parts = [self._read(path) for path in self._pools[self._current + 1][0]]
            if self._examples is not None:
                parts.insert(0, self._examples.select(self._pools[self._current][2]))
            self._examples, self._current = join_examples(parts), self._current + 1
        return self._examples
