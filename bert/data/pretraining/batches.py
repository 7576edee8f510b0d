"""Padded batches of pre-training examples, the same batches for any number of workers."""
from typing import NamedTuple

import numpy as np

from bert.data.arrays.ragged import gather
from bert.data.pretraining.examples import join_examples

BATCH_STREAM = 2 ** 31 + 2    # differs from the streams of examples and shards (worker_tasks.py)


class PretrainingBatch(NamedTuple):
    """Padded arrays; `size` examples."""
    token_ids: np.ndarray               # (size, length) int32
    segment_ids: np.ndarray             # (size, length) int32
    valid_length: np.ndarray            # (size,) float32
    masked_positions: np.ndarray        # (size, masks) int32
    masked_ids: np.ndarray              # (size, masks) int32
    masked_weights: np.ndarray          # (size, masks) float32: 1, and 0 for padding
    next_sentence_labels: np.ndarray    # (size,) int32

    @property
    def size(self):
        return len(self.token_ids)

    @property
    def num_masked(self):
        return int(self.masked_weights.sum())

    @property
    def num_tokens(self):
        """Number of tokens without padding."""
        return int(self.valid_length.sum())


def collate_examples(examples, indices, padding_id, round_to=1):
    """The examples `indices` of `PretrainingExamples` → `PretrainingBatch`. Its length is their
    maximum, rounded up to a multiple of `round_to`; its number of masks is their maximum, or 1."""
    lengths = np.diff(examples.token_offsets)[indices]
    length = -(-int(lengths.max()) // round_to) * round_to
    mask_counts = np.diff(examples.masked_offsets)[indices]
    num_masks = max(int(mask_counts.max()), 1)

    def pad(values, offsets, width, filler):
        rows, row_offsets = gather(offsets, indices)
        padded = np.full((len(indices), width), filler, dtype='int32')
        padded[np.arange(width) < np.diff(row_offsets)[:, None]] = values[rows]
        return padded
    return PretrainingBatch(
        pad(examples.input_ids, examples.token_offsets, length, padding_id),
        pad(examples.segment_ids, examples.token_offsets, length, 0),
        lengths.astype('float32'),
        pad(examples.masked_lm_positions, examples.masked_offsets, num_masks, 0),
        pad(examples.masked_lm_ids, examples.masked_offsets, num_masks, 0),
        (np.arange(num_masks) < mask_counts[:, None]).astype('float32'),
        examples.next_sentence_labels[indices].astype('int32'))


class Buckets:
    """Groups examples of about equal length into batches.

    max_length: tokens of the longest example. batch_size: number of examples, or with by_tokens
    number of tokens including padding, so that batches of short examples hold more examples.
    """

    def __init__(self, num_buckets, max_length, batch_size, by_tokens=False):
        self._num_buckets, self._max_length = min(num_buckets, max_length), max_length
        self._batch_size, self._by_tokens = batch_size, by_tokens

    def _buckets_of(self, lengths):
        """(examples,) int64: index of the bucket for each length."""
        return (lengths.astype('int64') - 1) * self._num_buckets // self._max_length

    def size(self, bucket):
        """Number of examples in a batch of this bucket."""
        if not self._by_tokens:
            return self._batch_size
        bucket_length = -(-(bucket + 1) * self._max_length // self._num_buckets)    # at most
        return max(1, self._batch_size // int(bucket_length))

    def make_batches(self, lengths, rng, is_last):
        """([indices of each batch], remaining indices), all in random order. With is_last, smaller
        batches take the remaining indices too."""
        order = rng.permutation(len(lengths))
        buckets = self._buckets_of(lengths[order])
        batches, remainders = [], [order[:0]]
        for bucket in np.unique(buckets):
            indices, size = order[buckets == bucket], self.size(bucket)
            stop = len(indices) if is_last else len(indices) // size * size
            batches += [indices[i:i + size] for i in range(0, stop, size)]
            remainders.append(indices[stop:])
        return [batches[i] for i in rng.permutation(len(batches))], np.concatenate(remainders)


class ExampleStream:
    """All examples of some shards, epoch after epoch.

    paths: of the shards; lengths: for each shard an array, the number of tokens of each example;
    read: function(path) → `PretrainingExamples`; buckets: `Buckets`; pool: number of shards that
    are in memory at a time, with their examples mixed.
    """

    def __init__(self, paths, lengths, read, buckets, seed, pool=2):
        order = np.argsort(paths)
        self._paths = [paths[i] for i in order]
        self._lengths = [lengths[i] for i in order]
        self._read, self._buckets, self._seed, self._pool_size = read, buckets, seed, pool

    def epoch(self, index):
        """The `EpochBatches` with this index, from 0; equal seeds give equal epochs."""
        rng = np.random.RandomState([self._seed % 2 ** 32, index, BATCH_STREAM])
        order = rng.permutation(len(self._paths))
        pools, remaining_lengths = [], np.zeros(0, dtype='int64')
        for start in range(0, len(order), self._pool_size):
            stop = start + self._pool_size
            files = order[start:stop]
            lengths = np.concatenate([remaining_lengths] + [self._lengths[i] for i in files])
            batches, remainder = self._buckets.make_batches(lengths, rng, stop >= len(order))
            pools.append(([self._paths[i] for i in files], batches, remainder))
            remaining_lengths = lengths[remainder]
        return EpochBatches(pools, self._read)


class EpochBatches:
    """The batches of an epoch, with each example in one batch. `load` reads the examples: one pool
    of shards is in memory at a time, so ask for the batches in order."""

    def __init__(self, pools, read):
        self._pools, self._read = pools, read
        self._batches = [(i, batch) for i, (_, batches, _) in enumerate(pools)
                         for batch in batches]
        self._current, self._examples = -1, None

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        """(pool of the batch, indices in this pool), for `load`; for a slice a list of these."""
        return self._batches[index]

    def load(self, pool):
        """`PretrainingExamples` of a pool: the last pool's remainder, then those of its shards."""
        if pool < self._current:
            self._current, self._examples = -1, None
        while self._current < pool:
            paths, _, _ = self._pools[self._current + 1]
            parts = [self._read(path) for path in paths]
            if self._examples is not None:
                _, _, remainder = self._pools[self._current]
                parts.insert(0, self._examples.select(remainder))
            self._examples, self._current = join_examples(parts), self._current + 1
        return self._examples
