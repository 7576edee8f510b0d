"""SQuAD records one by one, with the names that the original's users have in their code.

The scripts here use `bert.data.squad.files` and `bert.data.squad.windows`, which do the same for a
whole file.
"""
from typing import NamedTuple

import numpy as np

from bert.data.squad.files import Question, Squad
from bert.data.squad.windows import Options, make_windows
from bert.data.text.tokenizer import BertTokenizer


class SquadExample(NamedTuple):
    """One question. start_position, end_position: words of `doc_tokens`, -1 without an answer."""
    qas_id: str
    question_text: str
    doc_tokens: list[str]           # the context, split at white space
    example_id: int
    orig_answer_text: str
    start_position: int
    end_position: int
    is_impossible: bool


class SQuADFeature(NamedTuple):
    """One window. Positions count from [CLS], 0."""
    example_id: int
    qas_id: str
    doc_tokens: list[str]
    doc_span_index: int             # which window of its question
    tokens: list[str]
    token_to_orig_map: dict[int, int]       # position of a context token → word of doc_tokens
    token_is_max_context: dict[int, bool]   # by the same positions
    input_ids: list                 # ids (tokens when do_lookup is off), padded when is_pad is on
    valid_length: int
    segment_ids: list[int]          # padded like input_ids
    start_position: int | None   # 0 where the window does not hold the answer
    end_position: int | None
    is_impossible: bool


class SQuADTransform:
    """A record of `gluonnlp.data.SQuAD` → list of `SQuADFeature`, one a window.

    tokenizer: ours, or gluonnlp's BERTTokenizer, of which vocabulary and case are taken.
    max_seq_length, doc_stride, max_query_length: `bert.data.squad.windows.Options`.
    is_pad: fill up to max_seq_length. is_training: with positions of the answer.
    do_lookup: ids instead of tokens. Raises `UserError` for sizes that hold no context.
    """

    def __init__(self, tokenizer, max_seq_length=384, doc_stride=128, max_query_length=64,
                 is_pad=True, is_training=True, do_lookup=True):
        self._options = Options(max_seq_length, doc_stride, max_query_length)
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
        return [self._feature(example, windows, i, owned, spans)
                for i, owned in enumerate(windows.max_context())]

    def _example(self, record):
        """(`SquadExample`, `Question`, (words, 2) characters of each word)"""
        index, name, text, context, answers, starts = record[:6]
        impossible = bool(record[6]) if len(record) > 6 else False
        words = context.split()
        first = _word_starts(context, words)
        spans = np.array([[start, start + len(word)] for start, word in zip(first, words)],
                         dtype='int64').reshape(-1, 2)
        question = Question(name, text, 0, tuple(zip(answers, starts)), impossible)
        start = end = -1
        if question.answers and not impossible:
            answer, at = question.answers[0]
            start, end = _word_at(spans, at), _word_at(spans, at + len(answer) - 1)
        return SquadExample(name, text, words, index, answers[0] if answers else '', start, end,
                            impossible), question, spans

    def _feature(self, example, windows, i, owned, words):
        features, offset = windows[i], windows.offset(i)
        ids, segments = features.token_ids.tolist(), features.segment_ids.tolist()
        vocabulary = self._tokenizer.vocab
        tokens = [vocabulary.idx_to_token[token] for token in ids]
        shown, filler = (ids, vocabulary[vocabulary.padding_token]) if self._do_lookup \
            else (tokens, vocabulary.padding_token)
        room = self._options.max_seq_length - len(ids) if self._is_pad else 0
        start, end = features.label.tolist() if self._is_training else (None, None)
        return SQuADFeature(
            example.example_id, example.qas_id, example.doc_tokens, i, tokens,
            {offset + k: _word_at(words, span[0]) for k, span in enumerate(windows.spans(i))},
            {offset + k: bool(value) for k, value in enumerate(owned)},
            shown + [filler] * room, features.valid_length, segments + [0] * room, start, end,
            example.is_impossible)


def _word_starts(text, words):
    """Yield where each word begins."""
    start = 0
    for word in words:
        start = text.index(word, start)
        yield start
        start += len(word)


def _word_at(spans, character):
    """Index of the word that holds or follows a character."""
    return int(np.searchsorted(spans[:, 1], character, side='right'))
