"""Texts as word pieces, and the windows in which a model reads them."""
import itertools
from typing import NamedTuple

import numpy as np

from bert.data.squad.windows import cut_into_windows
from bert.data.text.readers import is_text
from bert.errors import UserError

SPECIALS = 2            # [CLS] and [SEP]


class TextPieces(NamedTuple):
    """A text as word pieces, without special tokens."""
    text: str
    ids: np.ndarray     # (pieces,) int32
    words: np.ndarray   # (pieces,) int32: which word each belongs to
    spans: np.ndarray   # (pieces, 2) int32: its characters


class TextWindow(NamedTuple):
    """A part of a text that the model reads at once."""
    text: int           # number in its chunk
    first: int          # piece
    number: int         # of pieces


def split_texts(tokenizer, texts, first):
    """[`TextPieces`] of texts. first: the number of the first text, for errors. Raises `UserError`
    for what is no text."""
    for i, text in enumerate(texts, first):
        if not isinstance(text, str):
            raise UserError('text %d: a str expected, %s found' % (i, type(text).__name__))
        if not is_text(text):
            raise UserError('text %d: half a surrogate pair in it: it can\'t be read as '
                            'Unicode' % i)
    return [TextPieces(text, *found)
            for text, found in zip(texts, tokenizer.encode_with_words(texts))]


def cut_texts(texts, limit, long_text, first):
    """([`TextWindow`] of all texts, how many texts were cut).

    texts: [`TextPieces`]; limit: tokens of a window, special ones included; long_text: as
    `BertEmbedding` has it; first: the number of the first text, for errors. Raises `UserError`.
    """
    room, windows, cut = limit - SPECIALS, [], 0
    for i, text in enumerate(texts):
        length = len(text.ids)
        if length > room and long_text == 'error':
            raise UserError('text %d (from 0): %d tokens, special ones included, and '
                            'max_seq_length is %d: shorten the text, raise the length, or '
                            'choose long_text warn or split'
                            % (first + i, length + SPECIALS, limit))
        if long_text == 'split':
            windows += [TextWindow(i, *part) for part in cut_into_windows(
                length, room, max(room // 2, 1))]
        else:
            windows.append(TextWindow(i, 0, min(length, room)))
            cut += length > room
    return windows, cut


def piece_names(tokenizer, pieces):
    """The pieces as the vocabulary has them."""
    return [tokenizer.vocab.idx_to_token[i] for i in pieces.ids]


def word_names(tokenizer, pieces):
    """The words that the pieces make up, as the model sees them: lower-cased where it does
    that; a word that the vocabulary doesn't know as it stands in the text."""
    names, words = piece_names(tokenizer, pieces), []
    unknown = tokenizer.vocab.unknown_token
    for _, group in itertools.groupby(range(len(names)), key=lambda i: pieces.words[i]):
        group = list(group)
        text = ''.join(names[i][2:] if names[i].startswith('##') and k else names[i]
                       for k, i in enumerate(group))
        if unknown in [names[i] for i in group]:
            text = pieces.text[pieces.spans[group[0], 0]:pieces.spans[group[-1], 1]]
            text = text.lower() if tokenizer.lower else text
        words.append(text)
    return words
