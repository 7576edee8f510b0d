"""Grouping of examples into batches, and their padding."""
import numpy as np
import pytest

from bert.data.batches import BATCHES_PER_WINDOW, collate, evaluation_batches, training_batches
from bert.data.transform import Features

BOTH_WAYS = pytest.mark.parametrize('by_length', [False, True])
LENGTHS = np.random.RandomState(0).randint(5, 100, size=4001)


def indices(batches):
    return np.concatenate(batches).tolist()


def padding_share(batches):
    padded_size = sum(len(batch) * LENGTHS[batch].max() for batch in batches)
    return 1 - LENGTHS.sum() / padded_size


@pytest.mark.parametrize('num_examples,batch_size', [(4001, 16), (7, 3), (3, 8), (1, 1), (96, 32)])
def test_every_index_once(num_examples, batch_size):
    lengths = LENGTHS[:num_examples]
    for batches in (training_batches(lengths, batch_size, 1, 0),
                    training_batches(lengths, batch_size, 1, 0, by_length=True),
                    evaluation_batches(lengths, batch_size)):
        assert sorted(indices(batches)) == list(range(num_examples))
        sizes = sorted(len(batch) for batch in batches)
        assert len(batches) == -(-num_examples // batch_size)
        assert sizes[1:] == [batch_size] * (len(batches) - 1)   # one batch may be smaller
    short_batches = evaluation_batches(lengths, batch_size, min_uniform_tokens=200)
    assert sorted(indices(short_batches)) == list(range(num_examples))
    assert max(len(batch) for batch in short_batches) <= batch_size


@BOTH_WAYS
def test_order_depends_on_seed_and_epoch_alone(by_length):
    expected = indices(training_batches(LENGTHS, 16, 7, 3, by_length))
    assert indices(training_batches(LENGTHS, 16, 7, 3, by_length)) == expected
    assert indices(training_batches(LENGTHS, 16, 8, 3, by_length)) != expected
    assert indices(training_batches(LENGTHS, 16, 7, 4, by_length)) != expected


def test_batches_are_drawn_at_random():
    """The lengths of a batch are those of any sample: their means vary as much as such means do."""
    batches = [batch for epoch in range(20) for batch in training_batches(LENGTHS, 16, 1, epoch)
               if len(batch) == 16]
    deviation = np.std([LENGTHS[batch].mean() for batch in batches])
    assert deviation == pytest.approx(LENGTHS.std() / 4, rel=0.03)
    pairs = np.array([batch[:2] for batch in batches])
    assert abs(np.corrcoef(LENGTHS[pairs[:, 0]], LENGTHS[pairs[:, 1]])[0, 1]) < 0.05


def test_numpys_global_seed_changes_nothing():
    np.random.seed(5)
    expected = indices(training_batches(LENGTHS, 16, 7, 3))
    np.random.seed(6)
    assert indices(training_batches(LENGTHS, 16, 7, 3)) == expected


def test_any_whole_number_is_a_seed():
    for seed in (-1, 0, 2 ** 40):
        assert len(training_batches([1, 2], 1, seed, 0)) == 2


def test_batches_hold_about_equal_lengths():
    order = np.random.RandomState(1).permutation(len(LENGTHS))
    random_padding = padding_share([order[i:i + 16] for i in range(0, len(order), 16)])
    bucketed_padding = padding_share(training_batches(LENGTHS, 16, 1, 0, by_length=True))
    assert random_padding > 0.35 and bucketed_padding < 0.05


@BOTH_WAYS
def test_epochs_mix_the_examples_anew(by_length):
    def groups(epoch):
        return {frozenset(batch.tolist())
                for batch in training_batches(LENGTHS, 16, 1, epoch, by_length)}
    assert not groups(0) & groups(1)


@BOTH_WAYS
def test_lengths_come_in_no_order(by_length):
    max_lengths = [LENGTHS[batch].max()
                   for batch in training_batches(LENGTHS, 16, 1, 0, by_length)]
    correlation = np.corrcoef(np.arange(len(max_lengths)), max_lengths)[0, 1]
    assert abs(correlation) < 0.2
    rise_share = np.mean(np.diff(max_lengths) > 0)
    assert 0.35 < rise_share < 0.65


def test_windows_are_wide():
    assert BATCHES_PER_WINDOW >= 20


def test_evaluation_begins_with_the_longest():
    batches = evaluation_batches([3, 9, 5, 9, 1], 2)
    assert [batch.tolist() for batch in batches] == [[1, 3], [2, 0], [4]]


def test_evaluation_ends_a_batch_of_enough_tokens_where_the_length_changes():
    lengths = [64] * 8 + [63] * 7 + [10] * 70 + [9] * 3
    batch_lengths = [sorted(np.array(lengths)[batch].tolist(), reverse=True)
                     for batch in evaluation_batches(lengths, 40, min_uniform_tokens=512)]
    assert batch_lengths == [[64] * 8,                  # enough tokens of one length
                             [63] * 7 + [10] * 33,      # not enough tokens, then full
                             [10] * 37 + [9] * 3]       # 370 tokens are too few for a batch


def test_no_batch_is_cut_after_lengths_are_mixed():
    lengths = [64] * 3 + [60] * 20 + [50] * 20
    sizes = [len(batch) for batch in evaluation_batches(lengths, 30, min_uniform_tokens=512)]
    assert sizes == [30, 13]    # a batch with padding has a mask anyway


# ---- collate

def features(length, label=None, start=10):
    return Features(np.arange(start, start + length, dtype='int32'),
                    np.ones(length, dtype='int32'), length, label, length)


def test_collate_pads_on_the_right():
    batch = collate([features(3, np.int32(1)), features(5, np.int32(0))], padding_id=7)
    assert batch.token_ids.tolist() == [[10, 11, 12, 7, 7], [10, 11, 12, 13, 14]]
    assert batch.segment_ids.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch.valid_length.tolist() == [3, 5]
    assert batch.labels.tolist() == [1, 0]
    assert batch.size == 2
    assert [array.dtype for array in batch] == ['int32', 'int32', 'float32', 'int32']


def test_scores_stay_float32():
    batch = collate([features(3, np.float32(2.5)), features(3, np.float32(1))], 0)
    assert batch.labels.dtype == np.float32 and batch.labels.tolist() == [2.5, 1]


def test_without_labels():
    assert collate([features(3)], 0).labels is None


@pytest.mark.parametrize('max_length,round_to,padded_length',
                         [(5, 1, 5), (5, 8, 8), (8, 8, 8), (9, 8, 16)])
def test_round_to(max_length, round_to, padded_length):
    batch = collate([features(3), features(max_length)], 0, round_to)
    assert batch.token_ids.shape == batch.segment_ids.shape == (2, padded_length)


def test_pad_to():
    batch = collate([features(3), features(5)], 0, pad_to=12)
    assert batch.token_ids.shape == (2, 12)
    assert batch.token_ids[0, 3:].tolist() == [0] * 9


def test_evaluation_batches_with_a_token_limit():
    """Padding counts. A text longer than the limit is a batch of its own."""
    lengths = [5, 40, 9, 10, 10, 3, 4]
    batches = [list(batch) for batch in evaluation_batches(lengths, 3, max_tokens=20)]
    assert batches == [[1], [3, 4], [2, 0], [6, 5]]
    assert [list(batch) for batch in evaluation_batches([2] * 5, 2, max_tokens=20)] == [
        [0, 1], [2, 3], [4]]
