"""Transforms from texts to the input of BERT: token_ids, segment_ids, valid_length, label.

`truncate_texts` cuts a text or a pair to max_len. Question answering cuts its contexts into windows
instead (bert/data/windows.py). Embeddings do so with long_text 'split'; by default they cut the
text, too.
"""
from typing import NamedTuple

import numpy as np

from bert.data.glue.labels import LabelEncoder
from bert.data.text.frames import vocabulary_frame
from bert.data.text.tokenizer import encode_texts, frame_of
from bert.errors import UserError


class Features(NamedTuple):
    """The input of BERT for one example, without padding."""
    token_ids: np.ndarray           # (valid_length,) int32, [CLS] a [SEP] or [CLS] a [SEP] b [SEP]
    segment_ids: np.ndarray         # (valid_length,) int32, 1 in the second text and its [SEP]
    valid_length: int
    label: np.generic | None        # int32 class index, float32 score, or None
    num_tokens: int                 # before truncation, with special tokens


def num_special_tokens(pair):
    """Number of special tokens around one text or a pair: [CLS] a [SEP], [CLS] a [SEP] b [SEP]."""
    return 3 if pair else 2


def check_max_length(max_length, pair, num_positions=None, flag='--max_len'):
    """Raises `UserError` when `max_length` can't hold the special tokens and one token of
    each text, or exceeds the positions of the model."""
    minimum = num_special_tokens(pair) + (2 if pair else 1)
    if max_length < minimum:
        raise UserError('%s %d is too small: %d special tokens and at least one token of each text '
                        'need %d' % (flag, max_length, num_special_tokens(pair), minimum))
    if num_positions is not None and max_length > num_positions:
        raise UserError('%s %d is more than the %d positions of this model: use %s %d or less'
                        % (flag, max_length, num_positions, flag, num_positions))


def truncate_texts(texts, room, favors_longer=False, from_end=True):
    """Shorten a list of one or two id arrays to `room` ids in total. Drops ids from the end of the
    longer array; with from_end=False from the beginnings. Where both arrays are cut and `room` is
    odd, one array keeps one id more: the first, as in google-research/bert. With favors_longer it
    is the array that was longer, else the second, as in transformers."""
    if len(texts) == 1:
        return [_keep_ids(texts[0], room, from_end)]
    length_a, length_b = len(texts[0]), len(texts[1])
    excess = length_a + length_b - room
    if excess <= 0:
        return texts
    # first cut the longer text down to the length of the other, then cut both in turn,
    # starting with the second
    from_longer = min(excess, abs(length_a - length_b))
    from_both = excess - from_longer
    first_loses = from_both % 2 if favors_longer and length_a <= length_b else 0
    length_a -= (from_longer if length_a > length_b else 0) + from_both // 2 + first_loses
    length_b = room - length_a
    return [_keep_ids(texts[0], length_a, from_end), _keep_ids(texts[1], length_b, from_end)]


def _keep_ids(ids, count, from_end):
    """The first `count` ids, or the last ones."""
    return ids[:count] if from_end else ids[max(len(ids) - count, 0):]


def frame_texts(texts, max_length, frame, favors_longer=False, from_end=True):
    """Id arrays of one text or a pair → (token_ids, segment_ids, num_tokens before truncation).

    Truncates the texts to `max_length` tokens in total and adds the special tokens of the `Frame`.
    favors_longer, from_end: see `truncate_texts`.
    """
    num_tokens = sum(len(text) for text in texts) + frame.num_specials
    texts = truncate_texts(texts, max_length - frame.num_specials, favors_longer, from_end)
    return *frame.join(texts), num_tokens


def featurize(examples, tokenizer, max_length, encode_label=None, favors_longer=False,
              from_end=True):
    """`Example`s (texts, label) → list of `Features`. Tokenizes the texts in batches.

    encode_label: a `LabelEncoder`, or None for examples without labels. favors_longer, from_end:
    see `truncate_texts`.
    """
    num_texts = len(examples[0].texts) if examples else 1
    frame = frame_of(tokenizer, num_texts == 2)
    if max_length < frame.num_specials + num_texts:
        raise UserError('a length of %d tokens is too small: %d special tokens and at least one '
                        'token of each text need %d'
                        % (max_length, frame.num_specials, frame.num_specials + num_texts))
    columns = [_encode_distinct(tokenizer, [example.texts[i] for example in examples])
               for i in range(num_texts)]
    features = []
    for i, example in enumerate(examples):
        token_ids, segment_ids, num_tokens = frame_texts(
            [column[i] for column in columns], max_length, frame, favors_longer, from_end)
        label = encode_label(example.label) if encode_label else None
        features.append(Features(token_ids, segment_ids, len(token_ids), label, num_tokens))
    return features


def _encode_distinct(tokenizer, texts):
    """The ids of each text. Equal texts are tokenized once: a query stands beside many documents.
    """
    distinct = list(dict.fromkeys(texts))
    ids = dict(zip(distinct, encode_texts(tokenizer, distinct)))
    return [ids[text] for text in texts]


class BERTSentenceTransform:
    """One text or a pair → (token_ids, segment_ids, valid_length).

    tokenizer: ours, or gluonnlp's BERTTokenizer.
    max_seq_length: maximum number of tokens, special tokens included.
    vocab: default: the tokenizer's.
    pad: pad to `max_seq_length` with the padding token.
    pair: whether an example has two texts or one.
    """

    def __init__(self, tokenizer, max_seq_length, vocab=None, pad=True, pair=True):
        check_max_length(max_seq_length, pair)
        self._tokenizer = tokenizer
        self._max_seq_length = max_seq_length
        self._pad = pad
        self._pair = pair
        self._vocab = vocab if vocab is not None else tokenizer.vocab
        self._frame = frame_of(tokenizer, pair) if self._vocab is tokenizer.vocab else \
            vocabulary_frame(vocab, pair)       # its ids may differ from the tokenizer's

    def __call__(self, line):
        """line: sequence of one or more str, two for a pair. Returns token_ids and
        segment_ids (valid_length or max_seq_length,) int32 and valid_length () int32."""
        texts = list(line[:2 if self._pair else 1])
        if self._pair and len(texts) != 2:
            raise UserError('a pair needs two texts, found %d in %r' % (len(texts), line))
        ids = [np.array(self._vocab[self._tokenizer(text)], dtype='int32') for text in texts]
        token_ids, segment_ids, _ = frame_texts(ids, self._max_seq_length, self._frame)
        valid_length = np.array(len(token_ids), dtype='int32')
        if self._pad:
            num_padding = self._max_seq_length - len(token_ids)
            padding_id = self._vocab[self._vocab.padding_token]
            token_ids = np.pad(token_ids, (0, num_padding), constant_values=padding_id)
            segment_ids = np.pad(segment_ids, (0, num_padding))
        return token_ids, segment_ids, valid_length


class BERTDatasetTransform:
    """A row of a data set → (token_ids, segment_ids, valid_length, label).

    tokenizer, max_seq_length, vocab, pad, pair: see `BERTSentenceTransform`.
    class_labels: the classes in order, None for regression (label float32).
    label_alias: other spellings of classes, {alias: class}.
    has_label: False drops the label from the result.
    labels, label_dtype: class_labels and the dtype of the label, under the names of early versions.
    """

    def __init__(self, tokenizer, max_seq_length, vocab=None, class_labels=None,
                 label_alias=None, pad=True, pair=True, has_label=True, labels=None,
                 label_dtype=None):
        class_labels = class_labels if class_labels is not None else labels
        self._transform = BERTSentenceTransform(tokenizer, max_seq_length, vocab=vocab, pad=pad,
                                                pair=pair)
        self._encode_label = LabelEncoder(class_labels, label_alias) if has_label else None
        self._label_dtype = label_dtype or ('float32' if class_labels is None else 'int32')

    def __call__(self, line):
        """line: sequence of str, the label last. label: (1,) int32 or float32."""
        if self._encode_label is None:
            return self._transform(line)
        try:
            label = self._encode_label(line[-1])
        except (KeyError, ValueError):
            raise UserError('label %r: expected %s'
                            % (line[-1], self._encode_label.expected)) from None
        return self._transform(line[:-1]) + (np.array([label], dtype=self._label_dtype),)
