"""Questions and contexts as windows of tokens: [CLS] question [SEP] part of the context [SEP].

Several overlapping windows cover a context longer than a window (Devlin et al. 2018; the flags
max_seq_length, doc_stride and max_query_length are those of google-research/bert).
We tokenize each context once for all its questions, and assemble a window when it is read: the
arrays here take a few bytes per token of a context, not per token of a window.
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
from bert.data.windows import cut_into_windows
from bert.errors import UserError

LOG = logging.getLogger(__name__)

NUM_SPECIALS = 3                # of BERT: [CLS], [SEP] and [SEP]
CONTEXTS_PER_CALL = 500     # per call of the tokenizer: enough for two threads, little memory
CACHE_VERSION = 2           # raise it when the result of `make_windows` changes


class WindowOptions(NamedTuple):
    """Sizes in tokens."""
    max_seq_length: int = 384       # of a window, special tokens included
    doc_stride: int = 128           # from the start of one window to the start of the next
    max_query_length: int = 64      # of a question; more tokens are cut off and counted

    def check(self, num_positions=None, num_specials=NUM_SPECIALS):
        """Raises `UserError` when a window can't hold a token of the context, or the model
        can't read it."""
        for name, value in self._asdict().items():
            if value < 1:
                raise UserError('--%s %d: expected a whole number from 1 on' % (name, value))
        if self.max_seq_length <= self.max_query_length + num_specials:
            raise UserError('--max_seq_length %d: expected more than --max_query_length %d and %d '
                            'special tokens together, to leave room for the context'
                            % (self.max_seq_length, self.max_query_length, num_specials))
        if num_positions is not None and self.max_seq_length > num_positions:
            raise UserError('--max_seq_length %d is more than the %d positions of this model: '
                            'use %d or less' % (self.max_seq_length, num_positions, num_positions))


class Windows:
    """All windows of a data set; item i is window i, as `Features` with the label [start, end].

    Flat arrays; in those with bounds, text i has the rows bounds[i] to before bounds[i + 1]:
        context_ids (tokens,) int32, context_spans (tokens, 2) int32: first character of a token and
            the character after its last, context_bounds (contexts + 1,) int64
        question_ids (tokens,) int32, question_bounds (questions + 1,) int64
        question_context (questions,) int32: index of the context
        question_cut (questions,) int32: number of tokens cut off
        answers (questions, 2) int32: first and last token of the first answer in the context,
            -1 without an answer
        windows (windows, 3) int32: question, first token in its context, number of tokens
    """
    ARRAYS = ('context_ids', 'context_spans', 'context_bounds', 'question_ids', 'question_bounds',
              'question_context', 'question_cut', 'answers', 'windows')

    def __init__(self, frame, arrays):
        """frame: the `Frame` of a pair."""
        for name in self.ARRAYS:
            setattr(self, name, arrays[name])
        self._frame = frame

    def arrays(self):
        return {name: getattr(self, name) for name in self.ARRAYS}

    def __len__(self):
        return len(self.windows)

    @property
    def lengths(self):
        """(windows,) number of tokens in each window, special tokens included."""
        question_lengths = np.diff(self.question_bounds)[self.windows[:, 0]]
        return self.windows[:, 2] + question_lengths + self._frame.num_specials

    def offset(self, i):
        """Position in window i at which the context begins."""
        question = self.windows[i, 0]
        query_length = self.question_bounds[question + 1] - self.question_bounds[question]
        return self._frame.offset(1, [int(query_length)])

    def __getitem__(self, i):
        question, first, num_tokens = self.windows[i]
        query = self.question_ids[self.question_bounds[question]:self.question_bounds[question + 1]]
        start = self.context_bounds[self.question_context[question]] + first
        token_ids, segment_ids = self._frame.join(
            [query, self.context_ids[start:start + num_tokens]])
        return Features(token_ids, segment_ids, len(token_ids), self._label(i), len(token_ids))

    def _label(self, i):
        """(2,) int32: positions of the first and the last token of the answer; 0, the position of
        [CLS], if this window does not hold the whole answer."""
        question, first, num_tokens = self.windows[i]
        start, end = self.answers[question]
        if start < first or end >= first + num_tokens:
            return np.zeros(2, dtype='int32')
        return np.array([start, end], dtype='int32') - first + self.offset(i)

    def spans(self, i):
        """(tokens, 2) int32: the characters of each context token in window i."""
        question, first, num_tokens = self.windows[i]
        start = self.context_bounds[self.question_context[question]] + first
        return self.context_spans[start:start + num_tokens]

    def answers_in_no_window(self):
        """Number of answers that no window holds whole; training treats them as missing."""
        question, first, num_tokens = self.windows.T
        start, end = self.answers[question].T
        is_whole = (start >= first) & (end < first + num_tokens) & (start >= 0)
        return int((self.answers[:, 0] >= 0).sum() - len(np.unique(question[is_whole])))

    def question_windows(self):
        """List of (index of the first window, number of windows) for each question."""
        bounds = np.searchsorted(self.windows[:, 0], np.arange(len(self.question_context) + 1))
        return list(zip(bounds[:-1], np.diff(bounds)))

    def max_context(self):
        """For each window a (tokens,) bool array: the tokens that see more context here than in any
        other window of the question. An answer may start only at these tokens, so each answer is
        scored once (google-research/bert, run_squad.py)."""
        result = []
        for first, count in self.question_windows():
            parts = self.windows[first:first + count, 1:]
            if count == 1:
                result.append(np.ones(parts[0, 1], dtype=bool))
                continue
            result += _max_context_of(parts)
        return result


def _max_context_of(parts):
    """`Windows.max_context` for the windows of one question. parts (windows, 2): first token and
    number of tokens. The time is proportional to the sum of the windows' lengths."""
    best_scores = np.full(parts[-1].sum(), -1.0)
    best_windows = np.zeros(len(best_scores), dtype='int32')
    for i, (first, num_tokens) in enumerate(parts):
        num_left = np.arange(num_tokens)
        # ties go to the longer window, ties of equal length to the earlier window
        scores = np.minimum(num_left, num_left[::-1]) + 0.01 * num_tokens
        stop = first + num_tokens
        is_better = scores > best_scores[first:stop]
        best_scores[first:stop][is_better] = scores[is_better]
        best_windows[first:stop][is_better] = i
    return [best_windows[first:first + num_tokens] == i
            for i, (first, num_tokens) in enumerate(parts)]


def load_windows(squad, tokenizer, options):
    """(`Windows` of the questions; path of the cache file, or None if it could not be written;
    whether the windows come from this file).

    The cache file is an .npz under `files.cache_dir()`, named after a hash of content and options.
    It is read without unpickling; if it can't be read, the windows are computed again.
    """
    path = os.path.join(files.cache_dir(), 'features', 'squad-%s.npz'
                        % _cache_key(squad, tokenizer, options))
    arrays = _read_cache(path)
    if arrays is not None:
        return Windows(tokenizer.frame(pair=True), arrays), path, True
    windows = make_windows(squad, tokenizer, options)
    try:
        with files.atomic_write(path, 'wb') as out:
            np.savez(out, **windows.arrays())
    except UserError as error:
        LOG.warning('the features could not be saved for the next run: %s', error)
        path = None
    return windows, path, False


def _cache_key(squad, tokenizer, options):
    """sha256 of everything that the windows depend on."""
    digest = hashlib.sha256(repr((
        CACHE_VERSION, tuple(options), tokenizer.lower, tokenizer.definition)).encode())
    for texts in (tokenizer.vocab.idx_to_token, squad.contexts):
        for text in texts:
            digest.update(text.encode() + b'\0')
    for question in squad.questions:
        digest.update(repr((question.text, question.context, question.is_impossible,
                            (question.answers or ())[:1])).encode())
    return digest.hexdigest()


def _read_cache(path):
    """The arrays of `Windows` in the file, or None if it can't be read."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in Windows.ARRAYS}
    except (OSError,) + files.NPZ_ERRORS:
        return None


def make_windows(squad, tokenizer, options):
    """Tokenize a `Squad` and cut it into `Windows`. Raises `UserError` for options that leave no
    room for the context."""
    frame = tokenizer.frame(pair=True)
    options.check(num_specials=frame.num_specials)
    context_ids, context_spans = _encode_contexts(squad.contexts, tokenizer)
    question_ids = tokenizer.encode([question.text for question in squad.questions])
    num_cut = [max(len(ids) - options.max_query_length, 0) for ids in question_ids]
    question_ids = [ids[:options.max_query_length] for ids in question_ids]
    windows = []
    for i, (question, ids) in enumerate(zip(squad.questions, question_ids)):
        room = options.max_seq_length - len(ids) - frame.num_specials
        windows += [(i, first, num_tokens) for first, num_tokens in cut_into_windows(
            len(context_ids[question.context]), room, options.doc_stride)]
    answers = [_answer_tokens(question, context_spans[question.context])
               for question in squad.questions]
    return Windows(frame, {
        'context_ids': _join(context_ids), 'context_spans': np.concatenate(context_spans),
        'context_bounds': offsets_of([len(ids) for ids in context_ids]),
        'question_ids': _join(question_ids),
        'question_bounds': offsets_of([len(ids) for ids in question_ids]),
        'question_context': np.array([q.context for q in squad.questions], dtype='int32'),
        'question_cut': np.array(num_cut, dtype='int32'),
        'answers': np.array(answers, dtype='int32').reshape(-1, 2),
        'windows': np.array(windows, dtype='int32')})


def _encode_contexts(contexts, tokenizer):
    """([ids (tokens,) int32], [spans of characters (tokens, 2) int32]), an item for each text."""
    all_ids, all_spans = [], []
    for start in range(0, len(contexts), CONTEXTS_PER_CALL):
        chunk = contexts[start:start + CONTEXTS_PER_CALL]
        for text, (ids, spans) in zip(chunk, tokenizer.encode_with_spans(chunk)):
            all_ids.append(ids)
            all_spans.append(_include_marks(text, spans))
    return all_ids, all_spans


def _include_marks(text, spans):
    """Extend the spans over combining marks (accents, for example) that the tokenizer dropped: an
    answer is a part of the text with its marks."""
    if text.isascii():
        return spans
    for i, end in enumerate(spans[:, 1]):
        while end < len(text) and unicodedata.category(text[end]) == 'Mn':
            end += 1
        spans[i, 1] = end
    return spans


def _answer_tokens(question, spans):
    """(first, last) token of the first answer; (-1, -1) without an answer."""
    if question.is_impossible or not question.answers:
        return -1, -1
    text, start = question.answers[0]
    first = int(np.searchsorted(spans[:, 1], start, side='right'))
    last = int(np.searchsorted(spans[:, 0], start + len(text), side='left')) - 1
    return (first, last) if first <= last else (-1, -1)


def _join(arrays):
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype='int32')
