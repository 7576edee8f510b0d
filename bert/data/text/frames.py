"""The special tokens around a text or a pair of texts."""
from typing import NamedTuple

import numpy as np

from bert.errors import UserError


class Frame(NamedTuple):
    """The special tokens around n texts: n + 1 groups, before each text and at the end.

    ids: n + 1 tuples of token ids. id_segments: n + 1 tuples with their segment ids.
    text_segments: the segment id of each text.
    """
    ids: tuple[tuple[int, ...], ...]
    id_segments: tuple[tuple[int, ...], ...]
    text_segments: tuple[int, ...]

    @property
    def num_specials(self):
        """Number of special tokens."""
        return sum(map(len, self.ids))

    def offset(self, i, lengths):
        """Position of the first token of text i. lengths: numbers of tokens of the texts."""
        return sum(map(len, self.ids[:i + 1])) + sum(lengths[:i])

    def join(self, texts):
        """n arrays of token ids → (token_ids, segment_ids), both (tokens,) int32."""
        parts, segments, lengths = [self.ids[0]], list(self.id_segments[0]), [1] * len(self.ids[0])
        for i, text in enumerate(texts):
            parts += [text, self.ids[i + 1]]
            segments += [self.text_segments[i], *self.id_segments[i + 1]]
            lengths += [len(text)] + [1] * len(self.ids[i + 1])
        return (np.concatenate(parts).astype('int32'),
                np.repeat(np.array(segments, dtype='int32'), lengths))


def vocabulary_frame(vocabulary, pair):
    """BERT's `Frame`, [CLS] a [SEP] or [CLS] a [SEP] b [SEP], with the ids of a vocabulary."""
    cls, sep = ((vocabulary[token],) for token in (vocabulary.cls_token, vocabulary.sep_token))
    if pair:
        return Frame((cls, sep, sep), ((0,), (0,), (1,)), (0, 1))
    return Frame((cls, sep), ((0,), (0,)), (0,))


def tokenizer_frame(tokenizer, pair):
    """The `Frame` that the post-processor of a `tokenizers.Tokenizer` makes. Raises `UserError` if
    it makes none, for example if it drops or reorders the texts."""
    encoding = tokenizer.encode('a', 'a' if pair else None)
    ids, segments, text_segments = [()], [()], []
    for token_id, text, segment in zip(encoding.ids, encoding.sequence_ids, encoding.type_ids):
        if text is None:
            ids[-1] += (token_id,)
            segments[-1] += (segment,)
        elif text == len(text_segments):    # its first token
            ids.append(())
            segments.append(())
            text_segments.append(segment)
        elif text != len(text_segments) - 1 or ids[-1]:
            text_segments = []
            break
    if len(text_segments) != 1 + pair:
        raise UserError('tokenizer.json: expected a post_processor that keeps %s whole and in '
                        'order, found %s'
                        % ('a pair' if pair else 'a text', ' '.join(encoding.tokens)))
    return Frame(tuple(ids), tuple(segments), tuple(text_segments))
