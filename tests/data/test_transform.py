"""Framing and truncation against a slow reference, and the transforms of the tutorial."""
import random

import gluonnlp
import mxnet as mx
import numpy as np
import pytest

from bert import data
from bert.data.glue.labels import LabelEncoder
from bert.data.text.frames import vocabulary_frame
from bert.data.text.readers import Example
from bert.data.text.tokenizer import BertTokenizer
from bert.data.transform import (
    BERTDatasetTransform,
    BERTSentenceTransform,
    check_max_length,
    featurize,
    frame_texts,
    truncate_texts,
)
from bert.errors import UserError
from bert.vocabulary import make_vocabulary

TOKENS = ['[UNK]', '[PAD]', '[CLS]', '[SEP]', '[MASK]', 'is', 'this', 'jack', '##son', '##ville',
          '?', 'no', 'it', 'not', 'the', 'dog', 'hair', '##y', '.']
PAIR = ('is this jacksonville ?', 'no it is not')
PAIR_IDS = [2, 5, 6, 7, 8, 9, 10, 3, 11, 12, 5, 13, 3]
PAIR_SEGMENTS = [0] * 8 + [1] * 5


@pytest.fixture
def vocabulary():
    return make_vocabulary(TOKENS)


@pytest.fixture(params=['ours', 'gluonnlp'])
def tokenizer(request, vocabulary):
    if request.param == 'ours':
        return BertTokenizer(vocabulary, lower=True)
    return gluonnlp.data.BERTTokenizer(vocabulary, lower=True)


def pop_one_at_a_time(texts, room, index=-1):
    """As `_truncate_seq_pair` of google-research/bert. index: of the id that is popped."""
    texts = [list(text) for text in texts]
    while sum(len(text) for text in texts) > room:
        longer_text = texts[0] if len(texts) == 1 or len(texts[0]) > len(texts[1]) else texts[1]
        longer_text.pop(index)
    return texts


def test_truncate_equals_popping_one_at_a_time():
    rng = random.Random(3)
    for _ in range(5000):
        texts = [np.arange(rng.randrange(20)) for _ in range(rng.choice((1, 2)))]
        room = rng.randrange(2, 25)
        for from_end, index in ((True, -1), (False, 0)):
            actual = truncate_texts(texts, room, from_end=from_end)
            assert [list(text) for text in actual] == pop_one_at_a_time(texts, room, index), \
                (texts, room)


def test_truncate_drops_from_the_longer_text():
    first, second = truncate_texts([np.arange(10), np.arange(3)], 8)
    assert first.tolist() == [0, 1, 2, 3, 4] and second.tolist() == [0, 1, 2]


@pytest.mark.parametrize('lengths, room, expected', [
    # of transformers 5.24, for texts of these lengths and this room
    ((3, 9), 5, (2, 3)), ((9, 3), 5, (3, 2)), ((7, 7), 5, (2, 3)), ((9, 6), 9, (5, 4)),
    ((6, 9), 9, (4, 5)), ((9, 6), 8, (4, 4)), ((4, 20), 7, (3, 4)), ((20, 4), 7, (4, 3)),
    ((4, 20), 10, (4, 6)), ((3, 9), 9, (3, 6)), ((9, 3), 10, (7, 3)), ((4, 5), 9, (4, 5))])
def test_truncate_as_transformers(lengths, room, expected):
    texts = truncate_texts([np.arange(length) for length in lengths], room, favors_longer=True)
    assert tuple(map(len, texts)) == expected


def test_truncate_leaves_what_fits():
    texts = [np.arange(4), np.arange(3)]
    assert truncate_texts(texts, 7) is texts


def test_frame_of_one_text_and_of_a_pair(vocabulary):
    token_ids, segment_ids, num_tokens = frame_texts(
        [np.array([14, 15])], 10, vocabulary_frame(vocabulary, pair=False))
    assert token_ids.tolist() == [2, 14, 15, 3] and segment_ids.tolist() == [0, 0, 0, 0]
    assert num_tokens == 4
    token_ids, segment_ids, num_tokens = frame_texts(
        [np.array([14, 15]), np.array([16])], 10, vocabulary_frame(vocabulary, pair=True))
    assert token_ids.tolist() == [2, 14, 15, 3, 16, 3]
    assert segment_ids.tolist() == [0, 0, 0, 0, 1, 1]
    assert num_tokens == 6
    assert token_ids.dtype == segment_ids.dtype == np.int32


def test_frame_counts_tokens_before_truncation_and_never_exceeds_the_length(vocabulary):
    for lengths in ((50,), (50, 2), (2, 50), (50, 50), (0,), (0, 0), (0, 50)):
        texts = [np.full(length, 14) for length in lengths]
        frame = vocabulary_frame(vocabulary, pair=len(texts) == 2)
        token_ids, segment_ids, num_tokens = frame_texts(texts, 9, frame)
        assert num_tokens == sum(lengths) + len(lengths) + 1
        assert len(token_ids) == len(segment_ids) == min(num_tokens, 9)
        assert list(token_ids).count(3) == len(lengths)     # every [SEP] stays
        assert token_ids[-1] == 3


def test_max_length_must_hold_the_special_tokens_and_fit_the_model():
    check_max_length(3, pair=False, num_positions=3)
    check_max_length(5, pair=True, num_positions=512)
    with pytest.raises(UserError) as error:
        check_max_length(4, pair=True)
    assert str(error.value) == ('--max_len 4 is too small: 3 special tokens and at least one '
                                'token of each text need 5')
    with pytest.raises(UserError, match='--max_len 2 is too small: 2 special tokens'):
        check_max_length(2, pair=False)
    with pytest.raises(UserError) as error:
        check_max_length(513, pair=False, num_positions=512)
    assert str(error.value) == ('--max_len 513 is more than the 512 positions of this model: '
                                'use --max_len 512 or less')


# ---- featurize: many examples at once

EXAMPLES = [Example(PAIR, '1', 'a.tsv', 2),
            Example(('the dog is hairy .', ''), '0', 'a.tsv', 3),
            Example(('no ' * 40, 'it ' * 40), '1', 'a.tsv', 4)]


def test_featurize_equals_the_dataset_transform(tokenizer):
    features = featurize(EXAMPLES, tokenizer, 15, LabelEncoder(['0', '1']))
    transform = BERTDatasetTransform(tokenizer, 15, class_labels=['0', '1'], pad=False)
    for example, feature in zip(EXAMPLES, features):
        token_ids, segment_ids, valid_length, label = transform(example.texts + (example.label,))
        assert feature.token_ids.tolist() == token_ids.tolist()
        assert feature.segment_ids.tolist() == segment_ids.tolist()
        assert feature.valid_length == valid_length == len(token_ids)
        assert feature.label == label[0]
    assert [feature.num_tokens for feature in features] == [13, 9, 83]
    assert [feature.valid_length for feature in features] == [13, 9, 15]


def test_featurize_without_labels(tokenizer):
    features = featurize(EXAMPLES, tokenizer, 15)
    assert [feature.label for feature in features] == [None] * 3
    assert featurize([], tokenizer, 15) == []


def test_unlabelled_examples_obey_the_length_too(tokenizer):
    # the original truncated these before it added [CLS] and [SEP]
    assert len(featurize(EXAMPLES, tokenizer, 15)[2].token_ids) == 15


# ---- BERTDatasetTransform: the exact arrays of gluonnlp's own test

def assert_arrays(row, label, label_dtype):
    token_ids, segment_ids, valid_length, actual_label = row
    assert token_ids.tolist() == PAIR_IDS + [1, 1]
    assert segment_ids.tolist() == PAIR_SEGMENTS + [0, 0]
    assert valid_length == 13 and valid_length.shape == ()
    assert actual_label.tolist() == np.array([label], dtype=label_dtype).tolist()
    assert actual_label.dtype == label_dtype
    assert token_ids.dtype == segment_ids.dtype == valid_length.dtype == np.int32


def test_classification(tokenizer):
    transform = BERTDatasetTransform(tokenizer, 15, class_labels=[0], pad=True, pair=True)
    assert_arrays(transform(PAIR + (0,)), 0, 'int32')


def test_regression(tokenizer):
    transform = BERTDatasetTransform(tokenizer, 15, pad=True, pair=True)
    assert_arrays(transform(PAIR + (0.2,)), 0.2, 'float32')
    assert_arrays(transform(PAIR + ('0.2',)), 0.2, 'float32')


def test_labels_keep_their_order_and_have_aliases(tokenizer):
    transform = BERTDatasetTransform(
        tokenizer, 15, class_labels=['neutral', 'entailment', 'contradiction'],
        label_alias={'contradictory': 'contradiction'})
    for label, index in (('neutral', 0), ('contradiction', 2), ('contradictory', 2)):
        assert_arrays(transform(PAIR + (label,)), index, 'int32')


def test_keywords_of_early_versions(tokenizer):
    transform = BERTDatasetTransform(tokenizer, 15, labels=['0', '1'], label_dtype='float32')
    assert_arrays(transform(PAIR + ('1',)), 1, 'float32')


def test_without_padding_and_without_label(tokenizer):
    transform = BERTDatasetTransform(tokenizer, 15, pad=False, has_label=False)
    token_ids, segment_ids, valid_length = transform(PAIR)
    assert token_ids.tolist() == PAIR_IDS and segment_ids.tolist() == PAIR_SEGMENTS
    assert valid_length == 13


def test_one_text(tokenizer):
    transform = BERTDatasetTransform(tokenizer, 9, class_labels=['0', '1'], pair=False)
    token_ids, segment_ids, valid_length, label = transform(['the dog is hairy .', '1'])
    assert token_ids.tolist() == [2, 14, 15, 5, 16, 17, 18, 3, 1]
    assert segment_ids.tolist() == [0] * 9
    assert valid_length == 8 and label == 1


def test_padding_id_comes_from_the_vocabulary():
    vocabulary = make_vocabulary(['the', 'dog'] + TOKENS[:5])     # [PAD] is 3
    transform = BERTSentenceTransform(BertTokenizer(vocabulary, True), 6, pair=False)
    assert transform(['the dog'])[0].tolist() == [4, 0, 1, 5, 3, 3]


def test_vocab_replaces_the_vocabulary_of_the_tokenizer(tokenizer):
    vocabulary = make_vocabulary(list(reversed(TOKENS)))
    token_ids, _, _ = BERTSentenceTransform(tokenizer, 13, vocab=vocabulary)(PAIR)
    assert token_ids.tolist() == [len(TOKENS) - 1 - i for i in PAIR_IDS]


def test_bad_rows_of_the_transform(tokenizer):
    transform = BERTDatasetTransform(tokenizer, 15, class_labels=['0', '1'])
    with pytest.raises(UserError) as error:
        transform(PAIR + ('2',))
    assert str(error.value) == "label '2': expected one of 0, 1"
    with pytest.raises(UserError) as error:
        BERTDatasetTransform(tokenizer, 15)(PAIR + ('high',))
    assert str(error.value) == "label 'high': expected a number"
    with pytest.raises(UserError, match='a pair needs two texts, found 1'):
        transform((PAIR[0], '1'))
    with pytest.raises(UserError, match='too small'):
        BERTDatasetTransform(tokenizer, 4)


# ---- the tutorial (seed 003): TSVDataset, transform, FixedBucketSampler, DataLoader

@pytest.mark.filterwarnings('ignore:Some buckets are empty')
def test_tutorial(tmp_path, vocabulary):
    header = 'Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n'
    rows = ['%d\t7\t8\t%s\t%s\n' % (i % 2, 'the dog ' * (i + 1), 'is "hairy') for i in range(6)]
    (tmp_path / 'dev.tsv').write_text(header + ''.join(rows))
    dataset = gluonnlp.data.TSVDataset(filename=str(tmp_path / 'dev.tsv'),
                                       field_separator=gluonnlp.data.Splitter('\t'),
                                       num_discard_samples=1, field_indices=[3, 4, 0])
    bert_tokenizer = gluonnlp.data.BERTTokenizer(vocabulary, lower=True)
    transform = data.transform.BERTDatasetTransform(bert_tokenizer, 12, class_labels=['0', '1'],
                                                    has_label=True, pad=True, pair=True)
    data_train = dataset.transform(transform)
    assert data_train[0][0].tolist() == [2, 14, 15, 3, 5, 0, 16, 17, 3, 1, 1, 1]
    assert data_train[0][1].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0]
    assert (data_train[0][2], data_train[1][3].tolist()) == (9, [1])
    sampler = gluonnlp.data.FixedBucketSampler(lengths=[int(item[2]) for item in data_train],
                                               batch_size=2, shuffle=True)
    token_rows = []
    for token_ids, segment_ids, valid_length, label in mx.gluon.data.DataLoader(
            data_train, batch_sampler=sampler):
        size = len(token_ids)
        assert token_ids.shape == segment_ids.shape == (size, 12)
        assert valid_length.shape == (size,) and label.shape == (size, 1)
        assert token_ids.dtype == segment_ids.dtype == label.dtype == np.int32
        token_rows += token_ids.asnumpy().tolist()
    assert sorted(token_rows) == sorted(row[0].tolist() for row in data_train)
