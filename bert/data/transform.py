"""Texts to what BERT reads: token_ids, segment_ids, valid_length and the label."""
from typing import NamedTuple

import numpy as np

from bert.data.glue.labels import LabelEncoder
from bert.data.text.tokenizer import encode_texts
from bert.errors import UserError


class Features(NamedTuple):
    """One example as BERT reads it; nothing is padded yet."""
    token_ids: np.ndarray           # (valid_length,) int32, [CLS] a [SEP] or [CLS] a [SEP] b [SEP]
    segment_ids: np.ndarray         # (valid_length,) int32, 1 in the second text and its [SEP]
    valid_length: int
    label: np.generic | None     # int32 class index, float32 score, or None
    num_tokens: int                 # before truncation, special tokens counted


def special_tokens(pair):
    """How many special tokens frame one text or a pair: [CLS] a [SEP], [CLS] a [SEP] b [SEP]."""
    return 3 if pair else 2


def check_max_length(max_length, pair, num_positions=None, flag='--max_len'):
    """Raises `UserError` when `max_length` can't hold the special tokens and one token of
    each text, or exceeds the positions of the model."""
    smallest = special_tokens(pair) + (2 if pair else 1)
    if max_length < smallest:
        raise UserError('%s %d is too small: %d special tokens and at least one token of each text '
                        'need %d' % (flag, max_length, special_tokens(pair), smallest))
    if num_positions is not None and max_length > num_positions:
        raise UserError('%s %d is more than the %d positions of this model: use %s %d or less'
                        % (flag, max_length, num_positions, flag, num_positions))


def truncate(texts, room):
    """Shorten a list of one or two id arrays to `room` ids in all, dropping ids from the
    end of the longer one, as google-research/bert does."""
    if len(texts) == 1:
        return [texts[0][:room]]
    first, second = len(texts[0]), len(texts[1])
    excess = first + second - room
    if excess <= 0:
        return texts
    # what it takes to make both equally long comes off the longer, the rest in turn,
    # the second text first
    from_longer = min(excess, abs(first - second))
    rest = excess - from_longer
    first -= (from_longer if first > second else 0) + rest // 2
    second = room - first
    return [texts[0][:first], texts[1][:second]]


def frame(texts, max_length, vocabulary):
    """Id arrays of one text or a pair → (token_ids, segment_ids, num_tokens before
    truncation): truncated to `max_length` with the special tokens in place."""
    specials = special_tokens(len(texts) == 2)
    num_tokens = sum(len(text) for text in texts) + specials
    separator = [vocabulary[vocabulary.sep_token]]
    pieces, segments = [[vocabulary[vocabulary.cls_token]]], [0]
    for segment, text in enumerate(truncate(texts, max_length - specials)):
        pieces += [text, separator]
        segments += [segment] * (len(text) + 1)
    return np.concatenate(pieces).astype('int32'), np.array(segments, dtype='int32'), num_tokens


def featurize(examples, tokenizer, max_length, encode_label=None):
    """`Example`s (texts, label) → list of `Features`, tokenized in batches.

    encode_label: a `LabelEncoder`, or None where labels are absent.
    """
    num_texts = len(examples[0].texts) if examples else 1
    ids = [encode_texts(tokenizer, [example.texts[i] for example in examples])
           for i in range(num_texts)]
    features = []
    for i, example in enumerate(examples):
        token_ids, segment_ids, num_tokens = frame([column[i] for column in ids],
                                                   max_length, tokenizer.vocab)
        label = encode_label(example.label) if encode_label else None
        features.append(Features(token_ids, segment_ids, len(token_ids), label, num_tokens))
    return features


class BERTSentenceTransform:
    """One text or a pair → (token_ids, segment_ids, valid_length).

    tokenizer: ours, or gluonnlp's BERTTokenizer.
    max_seq_length: tokens at most, special ones included.
    vocab: default the tokenizer's.
    pad: fill up to `max_seq_length` with the padding token.
    pair: two texts or one.
    """

    def __init__(self, tokenizer, max_seq_length, vocab=None, pad=True, pair=True):
        check_max_length(max_seq_length, pair)
        self._tokenizer = tokenizer
        self._max_seq_length = max_seq_length
        self._pad = pad
        self._pair = pair
        self._vocab = vocab if vocab is not None else tokenizer.vocab

    def __call__(self, line):
        """line: sequence of str, at least one, two for a pair. Returns token_ids and
        segment_ids (valid_length or max_seq_length,) int32 and valid_length () int32."""
        texts = list(line[:2 if self._pair else 1])
        if self._pair and len(texts) != 2:
            raise UserError('a pair needs two texts, found %d in %r' % (len(texts), line))
        ids = [np.array(self._vocab[self._tokenizer(text)], dtype='int32') for text in texts]
        token_ids, segment_ids, _ = frame(ids, self._max_seq_length, self._vocab)
        valid_length = np.array(len(token_ids), dtype='int32')
        if self._pad:
            room = self._max_seq_length - len(token_ids)
            padding_id = self._vocab[self._vocab.padding_token]
            token_ids = np.pad(token_ids, (0, room), constant_values=padding_id)
            segment_ids = np.pad(segment_ids, (0, room))
        return token_ids, segment_ids, valid_length


class BERTDatasetTransform:
    """A row of a data set → (token_ids, segment_ids, valid_length, label).

    tokenizer, max_seq_length, vocab, pad, pair: as `BERTSentenceTransform`.
    class_labels: the classes in order, None for regression (label float32).
    label_alias: other spellings of classes.
    has_label: False leaves the label out.
    labels, label_dtype: names of class_labels and the label's dtype in early versions.
    """

    def __init__(self, tokenizer, max_seq_length, vocab=None, class_labels=None,
                 label_alias=None, pad=True, pair=True, has_label=True, labels=None,
                 label_dtype=None):
        class_labels = class_labels if class_labels is not None else labels
        self._texts = BERTSentenceTransform(tokenizer, max_seq_length, vocab=vocab, pad=pad,
                                            pair=pair)
        self._encode_label = LabelEncoder(class_labels, label_alias) if has_label else None
        self._label_dtype = label_dtype or ('float32' if class_labels is None else 'int32')

    def __call__(self, line):
        """line: sequence of str, the label last. label: (1,) int32 or float32."""
        if self._encode_label is None:
            return self._texts(line)
        try:
            label = self._encode_label(line[-1])
        except (KeyError, ValueError):
            raise UserError('label %r: expected %s'
                            % (line[-1], self._encode_label.expected)) from None
        return self._texts(line[:-1]) + (np.array([label], dtype=self._label_dtype),)
