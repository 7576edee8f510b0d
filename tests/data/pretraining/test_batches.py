"""Batches of pre-training examples: every example once an epoch, with others of its length."""
import collections

import numpy as np
import pytest

from bert.data.pretraining.batches import Buckets, ExampleStream, collate_examples
from bert.data.pretraining.examples import PretrainingExamples

MAX_LENGTH = 40


def make_examples(num_examples, seed):
    """Examples with distinct names: the first token of each is its name."""
    rng = np.random.RandomState(seed)
    lengths = rng.randint(5, MAX_LENGTH + 1, size=num_examples)
    masks = rng.randint(0, 4, size=num_examples)
    ids = rng.randint(10, 1000, size=lengths.sum()).astype('int32')
    starts = np.concatenate([[0], np.cumsum(lengths)])
    ids[starts[:-1]] = 1000 * (seed + 1) + np.arange(num_examples)
    return PretrainingExamples(ids, rng.randint(0, 2, size=lengths.sum()).astype('uint8'), starts,
                               np.concatenate([np.arange(1, n + 1)
                                               for n in masks]).astype('uint16'),
                               rng.randint(10, 1000, size=masks.sum()).astype('int32'),
                               np.concatenate([[0], np.cumsum(masks)]),
                               rng.randint(0, 2, size=num_examples).astype('uint8'))


FILES = {'part-%d.npz' % i: make_examples(50 + 13 * i, i) for i in range(5)}


def make_stream(num_buckets=4, batch_size=8, by_tokens=False, seed=1, paths=None, **options):
    paths = list(FILES) if paths is None else paths
    return ExampleStream(paths, [np.diff(FILES[path].token_offsets) for path in paths],
                         FILES.__getitem__,
                         Buckets(num_buckets, MAX_LENGTH, batch_size, by_tokens), seed, **options)


def names_of(epoch):
    """The list of example names of each batch of an epoch."""
    names = []
    for pool, indices in epoch[:]:
        examples = epoch.load(pool)
        names.append(examples.input_ids[examples.token_offsets[:-1]][indices].tolist())
    return names


def lengths_of(epoch):
    return [np.diff(epoch.load(pool).token_offsets)[indices] for pool, indices in epoch[:]]


ALL_NAMES = sorted(1000 * (i + 1) + k for i, part in enumerate(FILES.values())
                   for k in range(part.size))


@pytest.mark.parametrize('pool', [1, 2, 3, 10])
@pytest.mark.parametrize('num_buckets', [1, 4, 100])
def test_every_example_once_an_epoch(pool, num_buckets):
    epoch = make_stream(num_buckets, pool=pool).epoch(0)
    names = names_of(epoch)
    assert sorted(name for batch in names for name in batch) == ALL_NAMES
    assert len(epoch) == len(names)
    # only the remainder of a bucket makes a smaller batch
    num_full_batches = collections.Counter(map(len, names))[8]
    assert num_full_batches >= len(ALL_NAMES) // 8 - min(num_buckets, MAX_LENGTH)


def test_a_batch_is_of_one_bucket():
    for lengths in lengths_of(make_stream().epoch(0)):
        assert len(set((lengths - 1) // 10)) == 1       # 40 tokens, four buckets
    assert max(np.ptp(lengths) for lengths in lengths_of(make_stream(1).epoch(0))) > 25


def test_a_batch_size_in_tokens():
    sizes_by_bucket = collections.defaultdict(set)
    for lengths in lengths_of(make_stream(batch_size=120, by_tokens=True).epoch(0)):
        sizes_by_bucket[int(lengths.max() - 1) // 10].add(len(lengths))
    assert {bucket: max(sizes) for bucket, sizes in sizes_by_bucket.items()} == {
        0: 12, 1: 6, 2: 4, 3: 3}
    assert Buckets(4, 40, 7, by_tokens=True).size(3) == 1


def test_buckets_reduce_padding():
    """The share of padding with ten buckets, against that with one."""
    def padding(num_buckets):
        lengths = lengths_of(make_stream(num_buckets, pool=5).epoch(0))
        return 1 - sum(map(np.sum, lengths)) / sum(len(batch) * batch.max() for batch in lengths)
    assert padding(10) < 0.1 < 0.3 < padding(1)


def test_the_order_depends_on_seed_and_epoch_alone():
    expected = names_of(make_stream().epoch(0))
    assert names_of(make_stream().epoch(0)) == expected
    assert names_of(make_stream(paths=list(FILES)[::-1]).epoch(0)) == expected
    assert names_of(make_stream().epoch(1)) != expected
    assert names_of(make_stream(seed=2).epoch(0)) != expected


def test_a_resumed_epoch_has_the_same_batches():
    names = names_of(make_stream().epoch(3))
    for position in (len(names) - 1, 20, 0):
        epoch = make_stream().epoch(3)
        pool, indices = epoch[position]
        examples = epoch.load(pool)
        assert examples.input_ids[examples.token_offsets[:-1]][indices].tolist() == \
            names[position]


def test_each_file_is_read_once(monkeypatch):
    paths = []
    stream = make_stream(pool=2)
    monkeypatch.setattr(stream, '_read', lambda path: paths.append(path) or FILES[path])
    epoch = stream.epoch(0)
    for pool, _ in epoch[:]:
        epoch.load(pool)
    assert sorted(paths) == sorted(FILES)


def test_batches_mix_files():
    names = names_of(make_stream(pool=5).epoch(0))
    assert np.mean([len({name // 1000 for name in batch}) for batch in names]) > 3


@pytest.mark.parametrize('round_to', [1, 8])
def test_collated_arrays(round_to):
    examples = FILES['part-2.npz']
    indices = np.array([5, 0, 17])
    batch = collate_examples(examples, indices, 7, round_to)
    max_length = max(np.diff(examples.token_offsets)[indices])
    assert batch.token_ids.shape == (3, -(-max_length // round_to) * round_to)
    assert batch.masked_ids.shape[1] == max(np.diff(examples.masked_offsets)[indices])
    for row, i in enumerate(indices):
        tokens = slice(*examples.token_offsets[i:i + 2])
        masked = slice(*examples.masked_offsets[i:i + 2])
        for name, array, padding in (
                ('token_ids', examples.input_ids[tokens], 7),
                ('segment_ids', examples.segment_ids[tokens], 0),
                ('masked_positions', examples.masked_lm_positions[masked], 0),
                ('masked_ids', examples.masked_lm_ids[masked], 0),
                ('masked_weights', np.ones(masked.stop - masked.start), 0)):
            actual = getattr(batch, name)[row]
            assert actual[:len(array)].tolist() == array.tolist(), name
            assert set(actual[len(array):].tolist()) <= {padding}, name
        assert batch.valid_length[row] == tokens.stop - tokens.start
        assert batch.next_sentence_labels[row] == examples.next_sentence_labels[i]
    assert batch.num_tokens == np.diff(examples.token_offsets)[indices].sum()
    assert batch.num_masked == np.diff(examples.masked_offsets)[indices].sum()
    assert {name: array.dtype.name for name, array in batch._asdict().items()} == {
        'token_ids': 'int32', 'segment_ids': 'int32', 'valid_length': 'float32',
        'masked_positions': 'int32', 'masked_ids': 'int32', 'masked_weights': 'float32',
        'next_sentence_labels': 'int32'}


def test_a_batch_without_masks_keeps_its_shape():
    examples = FILES['part-0.npz']
    indices = np.flatnonzero(np.diff(examples.masked_offsets) == 0)[:2]
    batch = collate_examples(examples, indices, 0)
    assert batch.masked_ids.shape == (2, 1) and batch.num_masked == 0
