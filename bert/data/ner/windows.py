"""Words and texts as windows of tokens: documents of any length are tagged in overlapping windows,
and each word is decided in the window that shows most of its context."""
from typing import NamedTuple

import numpy as np

from bert.data.transform import Features
from bert.errors import UserError

# Label of a token that is not trained: a special token, a later piece of a word, a word that
# another window decides. transformers' number.
NO_LABEL = -100
# A window shares this part of its tokens with the next one, so that each word has at least an
# eighth of a window as context on either side, as far as the text has it
OVERLAP_SHARE = 1 / 4


class TokenSequence(NamedTuple):
    """The tokens of a sentence or text. ids (tokens,) int32; words (tokens,) int32: index of each
    token's word, ascending; num_words: words without a token count too."""
    ids: np.ndarray
    words: np.ndarray
    num_words: int

    @property
    def first_pieces(self):
        """(tokens,) bool: whether a token is the first of its word."""
        return np.diff(self.words, prepend=-1) != 0


def tokenize_words(tokenizer, sentences):
    """[`TokenSequence`] of sentences, each a sequence of words."""
    return [TokenSequence(ids, words, len(sentence)) for sentence, (ids, words) in
            zip(sentences, tokenizer.encode_words(sentences))]


def cut_at_words(words, room, overlap):
    """[(first token, stop)] of windows of at most `room` tokens that begin and end between words,
    and share about `overlap` tokens with the next one. A word of more than `room` tokens is cut.

    words: (tokens,) index of each token's word. Without tokens there is no window.
    """
    num_tokens, windows, first = len(words), [], 0
    while first < num_tokens:
        stop = _word_start(words, first + room) if first + room < num_tokens else num_tokens
        if stop <= first:
            stop = first + room         # within a word that no window holds
        windows.append((first, stop))
        if stop == num_tokens:
            break
        next_first = _word_start(words, max(stop - overlap, first))
        first = next_first if next_first > first else stop
    return windows


def _word_start(words, token):
    """The first token of the word that a token belongs to."""
    return int(np.searchsorted(words, words[token]))


def deciding_windows(words, windows):
    """(tokens,) int: for each token the index in `windows` of the window that decides it: all
    tokens of a word have one, where the context of the word, to the nearer end of the window, is
    the longest. A window that begins or ends with the text has all context there."""
    num_tokens = len(words)
    owners, best_contexts = np.zeros(num_tokens, int), np.full(num_tokens, -np.inf)
    starts, stops = np.searchsorted(words, words), np.searchsorted(words, words, side='right')
    for i, (first, stop) in enumerate(windows):
        tokens = slice(first, stop)
        left = np.inf if first == 0 else starts[tokens] - first
        right = np.inf if stop == num_tokens else stop - stops[tokens]
        contexts = np.broadcast_to(np.minimum(left, right), stop - first)
        is_better = contexts > best_contexts[tokens]
        owners[tokens][is_better] = i
        best_contexts[tokens][is_better] = contexts[is_better]
    return owners


class TagWindow(NamedTuple):
    """One window of a `TokenSequence`. features: with special tokens around it, and a label for
    each token, or None. sequence: its index. first: its first token there. is_decided (tokens,)
    bool: which of its tokens this window decides."""
    features: Features
    sequence: int
    first: int
    is_decided: np.ndarray


def make_tag_windows(sequences, frame, max_length, labels=None):
    """The `TagWindow`s of `TokenSequence`s, in their order.

    frame: the `Frame` of special tokens around one text. max_length: tokens of a window, special
    tokens included. labels: for each sequence the label of each word, int. Raises `UserError` if
    no token fits.
    """
    room = max_length - frame.num_specials
    if room < 1:
        raise UserError('a length of %d tokens is too small for %d special tokens and at least '
                        'one token of text' % (max_length, frame.num_specials))
    windows = []
    for i, sequence in enumerate(sequences):
        spans = cut_at_words(sequence.words, room, int(room * OVERLAP_SHARE))
        owners = deciding_windows(sequence.words, spans)
        token_labels = None if labels is None else _token_labels(sequence, labels[i])
        for number, (first, stop) in enumerate(spans):
            is_decided = owners[first:stop] == number
            windows.append(TagWindow(_features(
                sequence.ids[first:stop], frame, is_decided,
                None if labels is None else token_labels[first:stop]), i, first, is_decided))
    return windows


def _token_labels(sequence, word_labels):
    """(tokens,) int32: the label of each word at its first token, `NO_LABEL` elsewhere."""
    labels = np.asarray(word_labels, dtype='int32')[sequence.words]
    return np.where(sequence.first_pieces, labels, NO_LABEL)


def _features(ids, frame, is_decided, labels):
    token_ids, segment_ids = frame.join([ids])
    label = None
    if labels is not None:
        label = np.full(len(token_ids), NO_LABEL, dtype='int32')
        start = frame.offset(0, [len(ids)])
        label[start:start + len(ids)] = np.where(is_decided, labels, NO_LABEL)
    return Features(token_ids, segment_ids, len(token_ids), label, len(token_ids))


def pad_labels(labels, length):
    """(size, length) int32 of arrays of labels, padded with `NO_LABEL`."""
    padded = np.full((len(labels), length), NO_LABEL, dtype='int32')
    for row, label in zip(padded, labels):
        row[:len(label)] = label
    return padded
