"""Questions and contexts as windows of tokens: [CLS] question [SEP] part of the context [SEP].

A context longer than a window is read in several that overlap (Devlin et al. 2018; the flags
max_seq_length, doc_stride and max_query_length are those of google-research/bert).
Each context is tokenized once, whatever the number of its questions, and windows are put together
when they are read: the arrays here are a few bytes a token, not a window.
"""
import hashlib
import logging
import os
import unicodedata
from typing import NamedTuple

import numpy as np

from bert import files
from bert.data.arrays.ragged import offsets_of
from bert.data.transform import Features
from bert.errors import UserError

LOG = logging.getLogger(__name__)

SPECIALS = 3            # [CLS], [SEP] and [SEP]
TEXTS_PER_CALL = 500    # contexts tokenized at once: enough for two threads, little memory
CACHE_VERSION = 2       # of what `make_windows` computes; raise it when that changes


class Options(NamedTuple):
    """Sizes in tokens."""
    max_seq_length: int = 384       # of a window, special tokens included
    doc_stride: int = 128           # from the start of one window to the start of the next
    max_query_length: int = 64      # of a question; the rest is cut off, and counted

    def check(self, num_positions=None):
        """Raises `UserError` when a window can't hold a token of the context, or the model
        can't read it."""
        for name, value in self._asdict().items():
            if value < 1:
                raise UserError('--%s %d: a whole number from 1 on expected' % (name, value))
        if self.max_seq_length <= self.max_query_length + SPECIALS:
            raise UserError('--max_seq_length %d: more than --max_query_length %d and %d special '
                            'tokens expected, or no context fits in'
                            % (self.max_seq_length, self.max_query_length, SPECIALS))
        if num_positions is not None and self.max_seq_length > num_positions:
            raise UserError('--max_seq_length %d is more than the %d positions of this model: '
                            'use %d or less' % (self.max_seq_length, num_positions, num_positions))


class Windows:
    """All windows of a data set; item i is one, as `Features` with the label [start, end].

    Flat arrays, in which rows bounds[i] … bounds[i + 1] belong to text i:
        context_ids (tokens,) int32, context_spans (tokens, 2) int32: first character and the one
            after the last, context_bounds (contexts + 1,) int64
        question_ids (tokens,) int32, question_bounds (questions + 1,) int64
        question_context (questions,) int32, question_cut (questions,) int32: tokens cut off
        answers (questions, 2) int32: first and last token of the first answer in the context,
            -1 where there is none
        windows (windows, 3) int32: question, first token in its context, number of tokens
    """
    ARRAYS = ('context_ids', 'context_spans', 'context_bounds', 'question_ids', 'question_bounds',
              'question_context', 'question_cut', 'answers', 'windows')

    def __init__(self, vocabulary, arrays):
        for name in self.ARRAYS:
            setattr(self, name, arrays[name])
        self._cls = np.array([vocabulary[vocabulary.cls_token]], dtype='int32')
        self._sep = np.array([vocabulary[vocabulary.sep_token]], dtype='int32')

    def arrays(self):
        return {name: getattr(self, name) for name in self.ARRAYS}

    def __len__(self):
        return len(self.windows)

    @property
    def lengths(self):
        """(windows,) tokens of each, special ones included."""
        return self.windows[:, 2] + np.diff(self.question_bounds)[self.windows[:, 0]] + SPECIALS

    def offset(self, i):
        """Position in window i at which the context begins."""
        question = self.windows[i, 0]
        return int(self.question_bounds[question + 1] - self.question_bounds[question]) + 2

    def __getitem__(self, i):
        question, first, number = self.windows[i]
        query = self.question_ids[self.question_bounds[question]:self.question_bounds[question + 1]]
        start = self.context_bounds[self.question_context[question]] + first
        token_ids = np.concatenate([self._cls, query, self._sep,
                                    self.context_ids[start:start + number], self._sep])
        segment_ids = np.zeros(len(token_ids), dtype='int32')
        segment_ids[len(query) + 2:] = 1
        return Features(token_ids, segment_ids, len(token_ids), self._label(i), len(token_ids))

    def _label(self, i):
        """(2,) int32: where the answer starts and ends; [CLS], position 0, where this window
        does not hold it whole."""
        question, first, number = self.windows[i]
        start, end = self.answers[question]
        if start < first or end >= first + number:
            return np.zeros(2, dtype='int32')
        return np.array([start, end], dtype='int32') - first + self.offset(i)

    def spans(self, i):
        """(number, 2) int32: the characters of each context token in window i."""
        question, first, number = self.windows[i]
        start = self.context_bounds[self.question_context[question]] + first
        return self.context_spans[start:start + number]

    def answers_in_no_window(self):
        """How many answers no window holds whole: for training they are as if not there."""
        question, first, number = self.windows.T
        start, end = self.answers[question].T
        whole = np.unique(question[(start >= first) & (end < first + number) & (start >= 0)])
        return int((self.answers[:, 0] >= 0).sum() - len(whole))

    def of_question(self):
        """List of (first window, number) for each question."""
        bounds = np.searchsorted(self.windows[:, 0], np.arange(len(self.question_context) + 1))
        return list(zip(bounds[:-1], np.diff(bounds)))

    def max_context(self):
        """For each window a (number,) bool array: the tokens that see more context here than in
        any other window of the question. Only there may an answer start, so that each is scored
        once (google-research/bert, run_squad.py)."""
        result = []
        for first, count in self.of_question():
            parts = self.windows[first:first + count, 1:]
            if count == 1:
                result.append(np.ones(parts[0, 1], dtype=bool))
                continue
            result += _owned(parts)
        return result


def _owned(parts):
    """`Windows.max_context` of the windows of one question, parts (windows, 2): first token and
    number. Tokens are looked at once for each window that they stand in."""
    best = np.full(parts[-1].sum(), -1.0)
    owner = np.zeros(len(best), dtype='int32')
    for i, (first, number) in enumerate(parts):
        left = np.arange(number)
        # on equal terms the longer window; on equal length the first
        score = np.minimum(left, left[::-1]) + 0.01 * number
        better = score > best[first:first + number]
        best[first:first + number][better] = score[better]
        owner[first:first + number][better] = i
    return [owner[first:first + number] == i for i, (first, number) in enumerate(parts)]


def load_windows(squad, tokenizer, options):
    """(`Windows` of the questions, path of the cached file, None where it could not be written,
    whether they were read from it).

    The cache is a .npz under `files.cache_dir()`, named by content and options; nothing in it is
    unpickled, and what can't be read is computed again.
    """
    path = os.path.join(files.cache_dir(), 'features', 'squad-%s.npz'
                        % _key(squad, tokenizer, options))
    arrays = _read(path)
    if arrays is not None:
        return Windows(tokenizer.vocab, arrays), path, True
    windows = make_windows(squad, tokenizer, options)
    try:
        with files.atomic_write(path, 'wb') as out:
            np.savez(out, **windows.arrays())
    except UserError as error:
        LOG.warning('the features are not kept for the next time: %s', error)
        path = None
    return windows, path, False


def _key(squad, tokenizer, options):
    """sha256 of all that the windows depend on."""
    total = hashlib.sha256(repr((CACHE_VERSION, tuple(options), tokenizer.lower)).encode())
    for part in (tokenizer.vocab.idx_to_token, squad.contexts):
        for text in part:
            total.update(text.encode() + b'\0')
    for question in squad.questions:
        total.update(repr((question.text, question.context, question.is_impossible,
                           (question.answers or ())[:1])).encode())
    return total.hexdigest()


def _read(path):
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in Windows.ARRAYS}
    except (OSError,) + files.NPZ_ERRORS:
        return None


def make_windows(squad, tokenizer, options):
    """Tokenize a `Squad` and cut it into `Windows`. Raises `UserError` for options that hold
    no context."""
    options.check()
    context_ids, context_spans = _encode_contexts(squad.contexts, tokenizer)
    question_ids = tokenizer.encode([question.text for question in squad.questions])
    cut = [max(len(ids) - options.max_query_length, 0) for ids in question_ids]
    question_ids = [ids[:options.max_query_length] for ids in question_ids]
    windows = []
    for i, (question, ids) in enumerate(zip(squad.questions, question_ids)):
        room = options.max_seq_length - len(ids) - SPECIALS
        windows += [(i, first, number) for first, number in cut_into_windows(
            len(context_ids[question.context]), room, options.doc_stride)]
    answers = [_answer_tokens(question, context_spans[question.context])
               for question in squad.questions]
    return Windows(tokenizer.vocab, {
        'context_ids': _join(context_ids), 'context_spans': np.concatenate(context_spans),
        'context_bounds': offsets_of([len(ids) for ids in context_ids]),
        'question_ids': _join(question_ids),
        'question_bounds': offsets_of([len(ids) for ids in question_ids]),
        'question_context': np.array([q.context for q in squad.questions], dtype='int32'),
        'question_cut': np.array(cut, dtype='int32'),
        'answers': np.array(answers, dtype='int32').reshape(-1, 2),
        'windows': np.array(windows, dtype='int32')})


def cut_into_windows(length, room, stride):
    """[(first token, number)] of windows of at most `room` tokens over `length` tokens; one of
    no tokens for an empty context. A stride longer than a window leaves nothing out: the next
    one then starts where the last ended."""
    windows, first = [], 0
    while True:
        number = min(length - first, room)
        windows.append((first, number))
        if first + number >= length:
            return windows
        first += min(number, stride)


def _encode_contexts(contexts, tokenizer):
    """([ids (tokens,) int32], [characters (tokens, 2) int32]) of each text."""
    all_ids, all_spans = [], []
    for start in range(0, len(contexts), TEXTS_PER_CALL):
        chunk = contexts[start:start + TEXTS_PER_CALL]
        for text, (ids, spans) in zip(chunk, tokenizer.encode_with_spans(chunk)):
            all_ids.append(ids)
            all_spans.append(_with_marks(text, spans))
    return all_ids, all_spans


def _with_marks(text, spans):
    """Have a token's span end after the combining marks (accents, say) that the tokenizer
    dropped: an answer is cut out of the text with them."""
    if text.isascii():
        return spans
    for i, end in enumerate(spans[:, 1]):
        while end < len(text) and unicodedata.category(text[end]) == 'Mn':
            end += 1
        spans[i, 1] = end
    return spans


def _answer_tokens(question, spans):
    """(first, last) token of the first answer; (-1, -1) where there is none."""
    if question.is_impossible or not question.answers:
        return -1, -1
    text, start = question.answers[0]
    first = int(np.searchsorted(spans[:, 1], start, side='right'))
    last = int(np.searchsorted(spans[:, 0], start + len(text), side='left')) - 1
    return (first, last) if first <= last else (-1, -1)


def _join(arrays):
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype='int32')
