"""Which examples go together, and how they become padded arrays."""
import math
from typing import NamedTuple

import numpy as np

# Examples are sorted by length inside windows of so many batches: wide enough that a batch
# holds about equal lengths, narrow enough that every epoch mixes examples anew.
WINDOW = 50


class Batch(NamedTuple):
    """Padded arrays; `size` examples."""
    token_ids: np.ndarray           # (size, length) int32
    segment_ids: np.ndarray         # (size, length) int32
    valid_length: np.ndarray        # (size,) float32
    labels: np.ndarray | None    # (size,) int32 or float32

    @property
    def size(self):
        return len(self.token_ids)


def training_batches(lengths, batch_size, seed, epoch):
    """Every index of `lengths` once, in batches of about equal length and random order.

    The order depends on (seed, epoch) alone, so a resumed epoch finds its batches again.
    Returns a list of int arrays; one may be smaller than `batch_size`.
    """
    rng = np.random.RandomState([seed % 2 ** 32, epoch])
    order = rng.permutation(len(lengths))
    lengths = np.asarray(lengths)
    batches = []
    for start in range(0, len(order), WINDOW * batch_size):
        window = order[start:start + WINDOW * batch_size]
        window = window[np.argsort(lengths[window], kind='stable')]
        batches += [window[i:i + batch_size] for i in range(0, len(window), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def evaluation_batches(lengths, batch_size, enough_tokens=math.inf, most_tokens=math.inf):
    """Every index once, longest first, so that the first batch shows the memory needed.

    Batches are of `batch_size`, and smaller at the end. One that has `enough_tokens` and no
    padding ends where the length changes: it stays without. None of several examples has more than
    `most_tokens`, padding included.
    """
    lengths = np.asarray(lengths)
    order = np.argsort(-lengths, kind='stable')
    batches, start = [], 0
    for end in range(1, len(order) + 1):
        length = lengths[order[start]]
        is_full = end - start == batch_size or (end - start + 1) * length > most_tokens
        is_even = (end - start) * length >= enough_tokens and end < len(order) and \
            lengths[order[end]] != length == lengths[order[end - 1]]
        if is_full or is_even or end == len(order):
            batches.append(order[start:end])
            start = end
    return batches


def collate(features, padding_id, round_to=1, pad_to=None):
    """`Features` of one batch → `Batch`, padded on the right with `padding_id`.

    round_to: the length of the batch is a multiple of it.
    pad_to: the length of every batch, instead of its longest example's.
    """
    valid_length = np.array([feature.valid_length for feature in features], dtype='float32')
    longest = int(valid_length.max())
    length = pad_to or -(-longest // round_to) * round_to
    token_ids = np.full((len(features), length), padding_id, dtype='int32')
    segment_ids = np.zeros((len(features), length), dtype='int32')
    for i, feature in enumerate(features):
        token_ids[i, :feature.valid_length] = feature.token_ids
        segment_ids[i, :feature.valid_length] = feature.segment_ids
    labels = None
    if features[0].label is not None:
        labels = np.array([feature.label for feature in features])
    return Batch(token_ids, segment_ids, valid_length, labels)


def subsample(items, limit):
    """At most `limit` items, from all over the list, which may be sorted; the same for every
    seed."""
    if limit is None or limit >= len(items):
        return items
    chosen = np.random.RandomState(0).permutation(len(items))[:limit]
    return [items[i] for i in sorted(chosen)]
