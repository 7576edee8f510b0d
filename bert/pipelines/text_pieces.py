"""Texts as word pieces, and the windows in which a model reads them."""
import itertools
from typing import NamedTuple

import numpy as np

from bert.data.transform import Features
from bert.data.windows import cut_into_windows
from bert.errors import UserError, is_unicode


class TextPieces(NamedTuple):
    """A text as word pieces, without special tokens."""
    text: str
    token_ids: np.ndarray       # (pieces,) int32
    word_indices: np.ndarray | None     # (pieces,) int32: the word that each piece belongs to
    spans: np.ndarray | None            # (pieces, 2) int32: the characters of each piece


class TextWindow(NamedTuple):
    """A part of a text that the model reads at once."""
    text_index: int     # in the chunk
    first_piece: int
    num_pieces: int


def check_text(text, index, name='text'):
    """Raises `UserError` for an item that is no text, or no Unicode. index, name: for the error."""
    if not isinstance(text, str):
        raise UserError('%s %d: %s found, expected a str' % (name, index, type(text).__name__))
    if not is_unicode(text):
        raise UserError('%s %d: half a surrogate pair found: the text is not valid Unicode'
                        % (name, index))


def split_into_pieces(tokenizer, texts, first):
    """[`TextPieces`] of texts. first: index of the first text, for errors. Raises `UserError` for
    an item that is no text."""
    for i, text in enumerate(texts, first):
        check_text(text, i)
    return [TextPieces(text, *pieces)
            for text, pieces in zip(texts, tokenizer.encode_with_words(texts))]


def split_into_ids(tokenizer, texts):
    """[`TextPieces`] of texts with their ids alone: vectors of whole texts need no more."""
    return [TextPieces(text, ids, None, None) for text, ids in zip(texts, tokenizer.encode(texts))]


def pieces_of_ids(id_lists, prompt_ids, vocab_size):
    """[`TextPieces`] of sequences of token ids, with their ids alone. prompt_ids: before each.
    Raises `UserError` for an id that is not below `vocab_size`."""
    text_pieces = []
    for i, ids in enumerate(id_lists):
        for token_id in ids:
            if not 0 <= token_id < vocab_size:
                raise UserError('text %d: token id %s: expected from 0 to %d, the vocabulary of '
                                'this model' % (i, token_id, vocab_size - 1))
        text_pieces.append(TextPieces(
            '', np.concatenate([prompt_ids, np.array(ids, 'int32')]), None, None))
    return text_pieces


def cut_into_text_windows(text_pieces, limit, num_specials, long_text, first, length_keyword,
                          from_end=True):
    """([`TextWindow`] of all texts, number of texts that were cut).

    text_pieces: [`TextPieces`]; limit: tokens of a window, `num_specials` special tokens included;
    long_text: as in `BertEmbedding`; first, length_keyword: index of the first text and name of the
    limit, for errors; from_end: whether texts are cut at their end or at their beginning. Raises
    `UserError`.
    """
    room, windows, num_cut = limit - num_specials, [], 0
    for i, pieces in enumerate(text_pieces):
        length = len(pieces.token_ids)
        if length > room and long_text == 'error':
            raise UserError('text %d (from 0): %d tokens, special tokens included, but %s is %d: '
                            'shorten the text, raise the length, or choose long_text warn or split'
                            % (first + i, length + num_specials, length_keyword, limit))
        if long_text == 'split':
            windows += [TextWindow(i, *part) for part in cut_into_windows(
                length, room, max(room // 2, 1))]
        else:
            windows.append(TextWindow(i, 0 if from_end else max(length - room, 0),
                                      min(length, room)))
            num_cut += length > room
    return windows, num_cut


def window_features(text_pieces, windows, frame):
    """[`Features`] of `TextWindow`s. frame: the `Frame` of special tokens around one text."""
    features = []
    for text_index, first, count in windows:
        token_ids, segment_ids = frame.join(
            [text_pieces[text_index].token_ids[first:first + count]])
        features.append(Features(token_ids, segment_ids, len(token_ids), None, len(token_ids)))
    return features


class PieceVectors:
    """Collects the vectors of the tokens of windows, in any order, and gives those of the pieces of
    texts. The arguments of `window_features`; width: numbers in a vector."""

    def __init__(self, text_pieces, windows, frame, width):
        self._windows, self._frame, self._width = windows, frame, width
        self._lengths = [len(pieces.token_ids) for pieces in text_pieces]
        self._sums = [None] * len(text_pieces)
        self._window_counts = np.bincount([window.text_index for window in windows],
                                          minlength=len(text_pieces))

    def add(self, i, vectors):
        """Add the vectors (tokens, width) of window i; those of padding are ignored."""
        text, first, count = self._windows[i]
        start = self._frame.offset(0, [count])
        rows = vectors[start:start + count].astype('float32')
        if self._window_counts[text] == 1:
            self._sums[text] = rows
            return
        if self._sums[text] is None:
            self._sums[text] = np.zeros((self._lengths[text], self._width), 'float32')
        self._sums[text][first:first + count] += rows

    def means(self):
        """For each text (pieces, width) float32: a piece's mean over the windows that hold it. Of a
        text that was cut only the pieces before that."""
        counts = [np.zeros(len(rows), 'float32') for rows in self._sums]
        for text, first, count in self._windows:
            counts[text][first:first + count] += 1
        return [rows if windows == 1 else rows / count[:, None]
                for rows, windows, count in zip(self._sums, self._window_counts, counts)]


def piece_names(tokenizer, pieces):
    """The pieces as they are in the vocabulary."""
    return [tokenizer.vocab.idx_to_token[i] for i in pieces.token_ids]


def word_names(tokenizer, pieces):
    """The words that the pieces make up, as the model sees them: in lower case for an uncased
    model. A word with an unknown piece, and any word of a tokenizer.json, is taken as it stands in
    the text."""
    names, words = piece_names(tokenizer, pieces), []
    unknown = tokenizer.vocab.unknown_token
    for _, group in itertools.groupby(range(len(names)), key=lambda i: pieces.word_indices[i]):
        group = list(group)
        text = ''.join(names[i][2:] if names[i].startswith('##') and k else names[i]
                       for k, i in enumerate(group))
        if tokenizer.definition or unknown in [names[i] for i in group]:
            text = pieces.text[pieces.spans[group[0], 0]:pieces.spans[group[-1], 1]]
            text = text.lower() if tokenizer.lower else text
        words.append(text)
    return words
