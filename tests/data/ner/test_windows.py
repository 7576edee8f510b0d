"""windows.py: long texts cut between words, and each word decided where its context is longest."""
import itertools

import numpy as np
import pytest
from reference import slow_entities
from support import tiny

from bert.data.ner.windows import (
    NO_LABEL,
    TokenSequence,
    cut_at_words,
    deciding_windows,
    make_tag_windows,
    pad_labels,
    tokenize_words,
)
from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.vocabulary import make_vocabulary


def random_words(count, longest):
    """(words (tokens,), room, overlap): index of each token's word; some words have no token."""
    random = np.random.RandomState(3)
    for _ in range(count):
        lengths = random.randint(0, longest + 1, size=random.randint(1, 100 // longest + 5))
        room = random.randint(1, 25)
        yield np.repeat(np.arange(len(lengths)), lengths), room, int(room / 4)


@pytest.mark.parametrize('longest', [1, 3, 8, 40])
def test_windows_lie_between_words_and_overlap(longest):
    for words, room, overlap in random_words(300, longest):
        windows = cut_at_words(words, room, overlap)
        assert all(0 < stop - first <= room for first, stop in windows)
        covered = sorted(set(itertools.chain.from_iterable(map(range, *zip(*windows))))) \
            if windows else []
        assert covered == list(range(len(words)))
        sizes = np.bincount(words) if len(words) else []
        for (_, stop), (first, _) in itertools.pairwise(windows):
            for end in (stop, first):
                assert words[end - 1] != words[end] or sizes[words[end]] > room
            if max(sizes) <= overlap:
                assert overlap <= stop - first < overlap + max(sizes)


def test_a_short_word_before_one_that_no_window_holds():
    words = np.repeat([0, 1, 2], [1, 30, 2])
    assert cut_at_words(words, 18, 4) == [(0, 1), (1, 19), (19, 33)]


def test_a_text_that_fits_is_one_window():
    for length in (1, 7, 8):
        assert cut_at_words(np.arange(length), 8, 2) == [(0, length)]
    assert cut_at_words(np.arange(9), 8, 2) == [(0, 8), (6, 9)]
    assert cut_at_words(np.array([], int), 8, 2) == []


@pytest.mark.parametrize('longest', [1, 3, 8, 40])
def test_each_word_is_decided_where_its_context_is_longest(longest):
    for words, room, overlap in random_words(100, longest):
        windows = cut_at_words(words, room, overlap)
        owners = deciding_windows(words, windows)
        assert len(owners) == len(words)
        for token, owner in enumerate(owners):
            assert windows[owner][0] <= token < windows[owner][1]
        for word in set(words):
            tokens = np.flatnonzero(words == word)
            first, stop = windows[owners[tokens[0]]]
            if len(tokens) <= room:
                assert first <= tokens[0] and tokens[-1] < stop
                assert set(owners[tokens]) == {owners[tokens[0]]}
                assert slow_entities.context(words, word, (first, stop)) == max(
                    slow_entities.context(words, word, window) for window in windows)


@pytest.fixture(scope='module')
def tokenizer():
    return BertTokenizer(make_vocabulary(tiny.TOKENS), lower=True)


def test_labels_of_first_pieces_of_decided_words(tokenizer):
    """Put together again, all windows give each word its label once."""
    random = np.random.RandomState(4)
    vocabulary = (*tiny.WORDS, 'films', '', '\u200b', 'good.', 'unknown')
    sentences = [list(random.choice(vocabulary, size=size)) for size in (1, 3, 30, 77, 5)]
    sequences = tokenize_words(tokenizer, sentences)
    labels = [np.arange(len(words)) for words in sentences]
    windows = make_tag_windows(sequences, tokenizer.frame(pair=False), 12, labels)
    assert [window.sequence for window in windows] == sorted(window.sequence for window in windows)
    found = [[] for _ in sentences]
    for window in windows:
        features, sequence = window.features, sequences[window.sequence]
        assert len(features.token_ids) == features.valid_length == len(features.label) <= 12
        assert features.label.dtype == np.int32
        assert features.token_ids[[0, -1]].tolist() == [2, 3]
        assert features.label[[0, -1]].tolist() == [NO_LABEL] * 2
        size = len(window.is_decided)
        tokens = np.arange(window.first, window.first + size)
        assert (features.token_ids[1:-1] == sequence.ids[tokens]).all()
        for label, token, is_decided in zip(features.label[1:-1], tokens, window.is_decided):
            word = sequence.words[token]
            is_first = token == 0 or sequence.words[token - 1] != word
            assert label == (word if is_first and is_decided else NO_LABEL)
            if label != NO_LABEL:
                found[window.sequence].append(int(word))
    for words, sequence, numbers in zip(sentences, sequences, found):
        expected = [i for i, word in enumerate(words) if tokenizer(word)]
        assert numbers == expected and sequence.num_words == len(words)
    assert len(windows) > len(sentences)


def test_words_of_several_tokens_and_of_none(tokenizer):
    sequence, = tokenize_words(tokenizer, [['films', '', 'good.', '\u200b', 'the']])
    assert sequence.words.tolist() == [0, 0, 2, 2, 4]
    assert sequence.first_pieces.tolist() == [True, False, True, False, True]
    assert tokenizer.vocab.to_tokens(sequence.ids.tolist()) == ['film', '##s', 'good', '.', 'the']


def test_windows_without_labels(tokenizer):
    windows = make_tag_windows([TokenSequence(np.array([7, 8], 'int32'), np.array([0, 1]), 2)],
                               tokenizer.frame(pair=False), 12)
    assert windows[0].features.label is None and windows[0].is_decided.all()
    assert make_tag_windows([TokenSequence(np.array([], 'int32'), np.array([], int), 2)],
                            tokenizer.frame(pair=False), 12) == []


def test_padding_of_labels():
    padded = pad_labels([np.array([1, -100, 2]), np.array([0])], 4)
    assert padded.dtype == np.int32
    assert padded.tolist() == [[1, -100, 2, -100], [0, -100, -100, -100]]


def test_a_length_that_is_too_small(tokenizer):
    frame = tokenizer.frame(pair=False)
    with pytest.raises(UserError, match='^a length of 2 tokens is too small for 2 special tokens '
                                        'and at least one token of text$'):
        make_tag_windows([], frame, 2)
    sequence, = tokenize_words(tokenizer, [['the', 'films', 'good']])
    windows = make_tag_windows([sequence], frame, 3)
    assert [window.first for window in windows] == [0, 1, 2, 3]
