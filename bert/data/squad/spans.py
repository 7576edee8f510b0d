"""Scores of the network to answers: the best spans, the null score, what is written of them.

Source: google-research/bert, run_squad.py, and its flags n_best_size, max_answer_length and
null_score_diff_threshold. Other than there, the search is exact (not among the best starts and the
best ends only), and the text is cut out of the context, not put together from word pieces.
"""
from typing import NamedTuple

import numpy as np

# The odds of "no answer" where no span can be one: above every threshold, and still JSON.
CERTAINLY_NULL = float(np.finfo('float32').max)


class Span(NamedTuple):
    """A candidate: characters `start` to before `end` of the context."""
    start_logit: float
    end_logit: float
    start: int
    end: int
    text: str

    @property
    def score(self):
        return self.start_logit + self.end_logit


class Answer(NamedTuple):
    """What was found for one question."""
    spans: list             # `Span`s, best first, each text once
    null_start: float       # scores of [CLS] in the window that has the lowest sum of the two
    null_end: float

    @property
    def null_odds(self):
        """How much better "no answer" scores than the best span."""
        if not self.spans:
            return CERTAINLY_NULL
        return self.null_start + self.null_end - self.spans[0].score

    def text(self, version_2=False, threshold=0.0):
        """The best span's text; '' without one, and in 2.0 where `null_odds` > `threshold`."""
        if not self.spans or version_2 and self.null_odds > threshold:
            return ''
        return self.spans[0].text


def best_pairs(start_logits, end_logits, may_start, n_best, max_length):
    """The best (first, last) of tokens by the sum of their scores.

    start_logits, end_logits (tokens,), may_start (tokens,) bool; last < first + max_length.
    Returns ((found,) first, (found,) last), best first, at most n_best; of equal ones the
    earlier and shorter comes first.
    """
    rows = np.flatnonzero(may_start)
    if not len(rows):
        return rows, rows
    width = min(max_length, len(end_logits))
    ends = np.concatenate([end_logits, np.full(width - 1, -np.inf, dtype=end_logits.dtype)])
    scores = start_logits[rows, None] + np.lib.stride_tricks.sliding_window_view(ends, width)[rows]
    flat = scores.ravel()
    # all that reach the n-th best, so that ties are not cut at random
    nth = -np.partition(-flat, min(n_best, len(flat)) - 1)[min(n_best, len(flat)) - 1]
    chosen = np.flatnonzero((flat >= nth) & (flat > -np.inf))
    chosen = chosen[np.argsort(-flat[chosen], kind='stable')][:n_best]
    first, length = rows[chosen // width], chosen % width
    return first, first + length


class AnswerFinder:
    """Collects windows in any order and answers the questions of a `Squad` at the end.

    windows: `Windows`; n_best: spans kept a question; max_answer_length: in tokens.
    """

    def __init__(self, squad, windows, n_best=20, max_answer_length=30):
        self._squad, self._windows = squad, windows
        self._n_best, self._max_answer_length = n_best, max_answer_length
        self._may_start = windows.max_context()
        self._found = [[] for _ in squad.questions]
        self._null = [None] * len(squad.questions)

    def add(self, i, logits):
        """logits (length, 2) of window i; what stands after its tokens is ignored."""
        windows = self._windows
        question, offset = int(windows.windows[i, 0]), windows.offset(i)
        spans = windows.spans(i)
        self._add_null(question, tuple(map(float, logits[0])))
        scores = logits[offset:offset + len(spans)].astype('float64')
        context = self._squad.contexts[self._squad.questions[question].context]
        wanted, distinct = self._n_best, {}
        while True:
            pairs = list(zip(*best_pairs(scores[:, 0], scores[:, 1], self._may_start[i], wanted,
                                         self._max_answer_length)))
            for first, last in pairs:
                start, end = int(spans[first, 0]), int(spans[last, 1])
                text = context[start:end]
                distinct.setdefault(text, Span(scores[first, 0], scores[last, 1], start, end, text))
            if len(distinct) >= self._n_best or len(pairs) < wanted:
                break
            wanted *= 2         # some stand there twice: words repeat
        self._found[question] += list(distinct.values())[:self._n_best]

    def found(self):
        """All that was added, to be merged into another finder of the same windows."""
        return self._found, self._null

    def merge(self, found):
        """Add what `found` of another finder returned."""
        for question, (spans, null) in enumerate(zip(*found)):
            self._found[question] += spans
            self._add_null(question, null)

    def _add_null(self, question, null):
        before = self._null[question]
        if before is None or null is not None and sum(null) < sum(before):
            self._null[question] = null

    def answers(self):
        """[`Answer`] in the order of the questions."""
        return [Answer(self._best(found), *null) for found, null in zip(self._found, self._null)]

    def _best(self, found):
        """The n best spans, each text once."""
        best = {}
        for span in sorted(found, key=lambda span: (-span.score, span.start, span.end)):
            best.setdefault(span.text, span)
        return list(best.values())[:self._n_best]


def n_best_entries(answer, version_2):
    """An entry of nbest_predictions.json: [{'text', 'probability', 'start_logit', 'end_logit',
    'answer_start'}], best first; with 2.0 one of them is "no answer", text ''.

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
    shares = np.exp(scores - scores.max())
    return [dict(entry, probability=float(share))
            for (_, entry), share in zip(entries, shares / shares.sum())]
