"""Batching: groups examples by length and pads them into arrays."""
import math
from typing import NamedTuple

import numpy as np

# Number of batches in a window, of training by length. Examples are sorted by length inside each
# window: it is wide enough for batches of about equal lengths and narrow enough that every epoch
# mixes the examples anew.
BATCHES_PER_WINDOW = 50


class Batch(NamedTuple):
    """Padded arrays; `size` examples."""
    token_ids: np.ndarray           # (size, length) int32
    segment_ids: np.ndarray         # (size, length) int32
    valid_length: np.ndarray        # (size,) float32
    labels: np.ndarray | None       # (size,) int32 or float32

    @property
    def size(self):
        return len(self.token_ids)


def training_batches(lengths, batch_size, seed, epoch, by_length=False):
    """Batches with each index of `lengths` once, at random; by_length: about equal lengths
    together, in random order.

    The order depends on the arguments alone, so a resumed epoch gets the same batches again.
    Returns a list of int arrays; one of them may be smaller than `batch_size`.
    """
    rng = np.random.RandomState([seed % 2 ** 32, epoch])
    order = rng.permutation(len(lengths))
    if not by_length:
        return [order[i:i + batch_size] for i in range(0, len(order), batch_size)]
    lengths = np.asarray(lengths)
    batches = []
    for start in range(0, len(order), BATCHES_PER_WINDOW * batch_size):
        window = order[start:start + BATCHES_PER_WINDOW * batch_size]
        window = window[np.argsort(lengths[window], kind='stable')]
        batches += [window[i:i + batch_size] for i in range(0, len(window), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def evaluation_batches(lengths, batch_size, min_uniform_tokens=math.inf, max_tokens=math.inf):
    """Batches with each index once, longest first: the first batch shows how much memory is needed.

    A batch holds `batch_size` examples, but three kinds are smaller: the last batch; a batch of at
    least `min_uniform_tokens` tokens without padding, which ends where the length changes, so that
    it stays without padding; a batch that would have more than `max_tokens` tokens, padding
    included, with one more example. A single example may have more.
    """
    lengths = np.asarray(lengths)
    order = np.argsort(-lengths, kind='stable')
    batches, start = [], 0
    for end in range(1, len(order) + 1):
        length = lengths[order[start]]
        is_full = end - start == batch_size or (end - start + 1) * length > max_tokens
        is_uniform = (end - start) * length >= min_uniform_tokens and end < len(order) and \
            lengths[order[end]] != length == lengths[order[end - 1]]
        if is_full or is_uniform or end == len(order):
            batches.append(order[start:end])
            start = end
    return batches


def collate(features, padding_id, round_to=1, pad_to=None):
    """Pad the `Features` of one batch on the right with `padding_id` → `Batch`.

    round_to: round the length of the batch up to a multiple of this number.
    pad_to: use this length for every batch instead of the length of its longest example.
    """
    valid_length = np.array([feature.valid_length for feature in features], dtype='float32')
    max_length = int(valid_length.max())
    length = pad_to or -(-max_length // round_to) * round_to
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
    """At most `limit` items, drawn from the whole list because it may be sorted. The draw does not
    depend on any seed."""
    if limit is None or limit >= len(items):
        return items
    indices = np.random.RandomState(0).permutation(len(items))[:limit]
    return [items[i] for i in sorted(indices)]
