"""Transforms for single SQuAD records, under the public names of the original.

Our own scripts use `bert.data.squad.files` and `bert.data.squad.windows`, which do the same for a
whole file.
"""
from typing import NamedTuple

import numpy as np

from bert.data.squad.files import Question, Squad
from bert.data.squad.windows import WindowOptions, make_windows
from bert.data.text.tokenizer import BertTokenizer


class SquadExample(NamedTuple):
    """One question. start_position and end_position index `doc_tokens`; -1 without an answer."""
    qas_id: str
    question_text: str
    doc_tokens: list[str]           # the context, split at white space
    example_id: int
    orig_answer_text: str
    start_position: int
    end_position: int
    is_impossible: bool


class SQuADFeature(NamedTuple):
    """One window. Positions count from 0, which is [CLS]."""
    example_id: int
    qas_id: str
    doc_tokens: list[str]
    doc_span_index: int             # index of the window within its question
    tokens: list[str]
    token_to_orig_map: dict[int, int]       # position of a context token → word of doc_tokens
    token_is_max_context: dict[int, bool]   # keyed by the same positions
    input_ids: list                 # ids (tokens when do_lookup is off), padded when is_pad is on
    valid_length: int
    segment_ids: list[int]          # padded like input_ids
    start_position: int | None      # 0 where the window does not hold the answer
    end_position: int | None
    is_impossible: bool


class SQuADTransform:
    """A record of `gluonnlp.data.SQuAD` → list of `SQuADFeature`, one a window.

    tokenizer: ours, or gluonnlp's BERTTokenizer, whose vocabulary and case setting we take over.
    max_seq_length, doc_stride, max_query_length: see `bert.data.squad.windows.WindowOptions`.
    is_pad: pad to max_seq_length. is_training: include the positions of the answer.
    do_lookup: return ids instead of tokens. Raises `UserError` for sizes that hold no context.
    """

    def __init__(self, tokenizer, max_seq_length=384, doc_stride=128, max_query_length=64,
                 is_pad=True, is_training=True, do_lookup=True):
        self._options = WindowOptions(max_seq_length, doc_stride, max_query_length)
        self._options.check()
        if not hasattr(tokenizer, 'encode_with_spans'):
            tokenizer = BertTokenizer(tokenizer.vocab, tokenizer.basic_tokenizer.lower)
        self._tokenizer = tokenizer
        self._is_pad, self._is_training, self._do_lookup = is_pad, is_training, do_lookup

    def __call__(self, record):
        """record: (index, id, question, context, answers, their starts[, is_impossible])."""
        example, question, spans = self._example(record)
        windows = make_windows(Squad('', [record[3]], [question], []), self._tokenizer,
                               self._options)
        return [self._feature(example, windows, i, is_max_context, spans)
                for i, is_max_context in enumerate(windows.max_context())]

    def _example(self, record):
        """(`SquadExample`, `Question`, (words, 2) int64 span of characters of each word)"""
        index, qas_id, text, context, answers, answer_starts = record[:6]
        is_impossible = bool(record[6]) if len(record) > 6 else False
        words = context.split()
        word_starts = _word_starts(context, words)
        spans = np.array([[start, start + len(word)] for start, word in zip(word_starts, words)],
                         dtype='int64').reshape(-1, 2)
        question = Question(qas_id, text, 0, tuple(zip(answers, answer_starts)), is_impossible)
        start = end = -1
        if question.answers and not is_impossible:
            answer, answer_start = question.answers[0]
            start = _word_at(spans, answer_start)
            end = _word_at(spans, answer_start + len(answer) - 1)
        return SquadExample(qas_id, text, words, index, answers[0] if answers else '', start, end,
                            is_impossible), question, spans

    def _feature(self, example, windows, i, is_max_context, words):
        features, offset = windows[i], windows.offset(i)
        ids, segments = features.token_ids.tolist(), features.segment_ids.tolist()
        vocabulary = self._tokenizer.vocab
        tokens = [vocabulary.idx_to_token[token] for token in ids]
        inputs, filler = (ids, vocabulary[vocabulary.padding_token]) if self._do_lookup \
            else (tokens, vocabulary.padding_token)
        num_padding = self._options.max_seq_length - len(ids) if self._is_pad else 0
        start, end = features.label.tolist() if self._is_training else (None, None)
        return SQuADFeature(
            example.example_id, example.qas_id, example.doc_tokens, i, tokens,
            {offset + k: _word_at(words, span[0]) for k, span in enumerate(windows.spans(i))},
            {offset + k: bool(value) for k, value in enumerate(is_max_context)},
            inputs + [filler] * num_padding, features.valid_length, segments + [0] * num_padding,
            start, end, example.is_impossible)


def _word_starts(text, words):
    """Yield the position of the first character of each word."""
    start = 0
    for word in words:
        start = text.index(word, start)
        yield start
        start += len(word)


def _word_at(spans, character):
    """Index of the word that holds the character, or else of the next word."""
    return int(np.searchsorted(spans[:, 1], character, side='right'))
