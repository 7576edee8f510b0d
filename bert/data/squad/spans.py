"""Turns the logits of the network into answers: best spans, null score, n-best entries.

Source: google-research/bert, run_squad.py, and its flags n_best_size, max_answer_length and
null_score_diff_threshold. Unlike there, the search is exact (not only among the best starts and the
best ends), and the text is a part of the context, not a concatenation of word pieces.
"""
from typing import NamedTuple

import numpy as np

# The odds of "no answer" for a question without spans: above every threshold, and valid in JSON.
MAX_NULL_ODDS = float(np.finfo('float32').max)


class Span(NamedTuple):
    """A candidate for an answer: characters `start` to before `end` of the context."""
    start_logit: float
    end_logit: float
    start: int
    end: int
    text: str

    @property
    def score(self):
        return self.start_logit + self.end_logit


class Answer(NamedTuple):
    """The n-best spans and the null score of one question."""
    spans: list             # `Span`s, best first, each text once
    null_start: float       # logits of [CLS], from the window with the lowest sum of both
    null_end: float

    @property
    def null_odds(self):
        """The score of "no answer" minus the score of the best span."""
        if not self.spans:
            return MAX_NULL_ODDS
        return self.null_start + self.null_end - self.spans[0].score

    def text(self, version_2=False, threshold=0.0):
        """Text of the best span; '' without spans, and in 2.0 if `null_odds` > `threshold`."""
        if not self.spans or version_2 and self.null_odds > threshold:
            return ''
        return self.spans[0].text


def best_pairs(start_logits, end_logits, may_start, n_best, max_length):
    """The best pairs (first token, last token) by the sum of their logits.

    start_logits, end_logits (tokens,), may_start (tokens,) bool; last < first + max_length.
    Returns ((pairs,) first, (pairs,) last), best first, at most n_best pairs; among equal scores,
    earlier and then shorter pairs come first.
    """
    rows = np.flatnonzero(may_start)
    if not len(rows):
        return rows, rows
    width = min(max_length, len(end_logits))
    ends = np.concatenate([end_logits, np.full(width - 1, -np.inf, dtype=end_logits.dtype)])
    scores = start_logits[rows, None] + np.lib.stride_tricks.sliding_window_view(ends, width)[rows]
    flat = scores.ravel()
    # take all scores down to the n-th best, so that ties are not cut at random
    min_score = -np.partition(-flat, min(n_best, len(flat)) - 1)[min(n_best, len(flat)) - 1]
    indices = np.flatnonzero((flat >= min_score) & (flat > -np.inf))
    indices = indices[np.argsort(-flat[indices], kind='stable')][:n_best]
    first, length = rows[indices // width], indices % width
    return first, first + length


class AnswerFinder:
    """Collects windows in any order and answers the questions of a `Squad` at the end.

    windows: `Windows`; n_best: number of spans per question; max_answer_length: in tokens.
    """

    def __init__(self, squad, windows, n_best=20, max_answer_length=30):
        self._squad, self._windows = squad, windows
        self._n_best, self._max_answer_length = n_best, max_answer_length
        self._may_start = windows.max_context()
        self._spans = [[] for _ in squad.questions]
        self._null_logits = [None] * len(squad.questions)

    def add(self, i, logits):
        """Add the logits (length, 2) of window i; the logits of padding are ignored."""
        windows = self._windows
        question, offset = int(windows.windows[i, 0]), windows.offset(i)
        spans = windows.spans(i)
        self._add_null_logits(question, tuple(map(float, logits[0])))
        scores = logits[offset:offset + len(spans)].astype('float64')
        context = self._squad.contexts[self._squad.questions[question].context]
        num_pairs, spans_by_text = self._n_best, {}
        while True:
            pairs = list(zip(*best_pairs(scores[:, 0], scores[:, 1], self._may_start[i], num_pairs,
                                         self._max_answer_length)))
            for first, last in pairs:
                start, end = int(spans[first, 0]), int(spans[last, 1])
                text = context[start:end]
                spans_by_text.setdefault(
                    text, Span(scores[first, 0], scores[last, 1], start, end, text))
            if len(spans_by_text) >= self._n_best or len(pairs) < num_pairs:
                break
            num_pairs *= 2      # several pairs have the same text: words repeat
        self._spans[question] += list(spans_by_text.values())[:self._n_best]

    def candidates(self):
        """All spans and null logits, for `merge` of another finder of the same windows."""
        return self._spans, self._null_logits

    def merge(self, candidates):
        """Add the `candidates` of another finder."""
        for question, (spans, logits) in enumerate(zip(*candidates)):
            self._spans[question] += spans
            self._add_null_logits(question, logits)

    def _add_null_logits(self, question, logits):
        lowest = self._null_logits[question]
        if lowest is None or logits is not None and sum(logits) < sum(lowest):
            self._null_logits[question] = logits

    def answers(self):
        """[`Answer`] in the order of the questions."""
        return [Answer(self._select_best(spans), *logits)
                for spans, logits in zip(self._spans, self._null_logits)]

    def _select_best(self, spans):
        """The n-best spans, each text once."""
        spans_by_text = {}
        for span in sorted(spans, key=lambda span: (-span.score, span.start, span.end)):
            spans_by_text.setdefault(span.text, span)
        return list(spans_by_text.values())[:self._n_best]


def n_best_entries(answer, version_2):
    """The entries of a question in nbest_predictions.json: [{'text', 'probability', 'start_logit',
    'end_logit', 'answer_start'}], best first. In 2.0 one of them is "no answer", with text ''.

    The probability is a softmax over these entries.
    """
    entries = [(span.score, {'text': span.text, 'start_logit': float(span.start_logit),
                             'end_logit': float(span.end_logit), 'answer_start': span.start})
               for span in answer.spans]
    if version_2 or not entries:
        entries.append((answer.null_start + answer.null_end,
                        {'text': '', 'start_logit': answer.null_start,
                         'end_logit': answer.null_end, 'answer_start': None}))
    entries.sort(key=lambda entry: -entry[0])
    scores = np.array([score for score, _ in entries])
    exponentials = np.exp(scores - scores.max())
    return [dict(entry, probability=float(probability))
            for (_, entry), probability in zip(entries, exponentials / exponentials.sum())]
