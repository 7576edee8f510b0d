"""What INT8 costs: the loss of score, with the interval that the data leave open."""
from typing import NamedTuple

import numpy as np

from bert.errors import UserError

DRAWS = 1000            # of the bootstrap
INTERVAL = 2.5, 97.5    # percentiles of the 95 % interval

REACHED, MISSED, OPEN = 'reached', 'missed', 'not resolvable'


class Loss(NamedTuple):
    """Score of the float network less that of the other, and its 95 % interval; where the goal is
    relative, in parts of the float score."""
    value: float
    low: float
    high: float


class Goal(NamedTuple):
    """The loss that is accepted: a part of the float score, or (absolute) of the score itself."""
    loss: float = 0.01      # as in the configuration of lpot's BERT example
    is_relative: bool = True

    def measure(self, score, reference, outputs, seed=0):
        """The `Loss` of `outputs` against `reference`, both (examples, …) of the same examples.

        score: function(outputs, rows) → number, larger is better. The interval is of the paired
        bootstrap (Efron & Tibshirani 1993): the same examples are drawn for both.
        """
        rng = np.random.RandomState(seed)
        rows = np.arange(len(reference))
        draws = [self._loss(score, reference, outputs, rng.choice(rows, len(rows)))
                 for _ in range(DRAWS)]
        draws = [value for value in draws if np.isfinite(value)]
        low, high = np.percentile(draws, INTERVAL) if draws else (np.nan, np.nan)
        return Loss(self._loss(score, reference, outputs, rows), float(low), float(high))

    def _loss(self, score, reference, outputs, rows):
        return self.of_scores(float(score(reference, rows)), float(score(outputs, rows)))

    def of_scores(self, before, after):
        """The loss from one score to another."""
        if not self.is_relative:
            return before - after
        return (before - after) / abs(before) if before else np.nan

    def judge(self, loss):
        """Whether a `Loss` meets the goal: `REACHED` or `MISSED` where its whole interval does,
        else `OPEN`."""
        if loss.high <= self.loss:
            return REACHED
        return MISSED if loss.low > self.loss else OPEN

    def accepts(self, loss):
        """Whether a `Loss` counts as within the goal: as `judge` says, and by its value where the
        data can't tell."""
        verdict = self.judge(loss)
        return verdict == REACHED or verdict == OPEN and loss.value <= self.loss

    def describe(self):
        return ('%g %% of the float score' % (100 * self.loss) if self.is_relative
                else '%g of the score' % self.loss)

    def check_score(self, score):
        """Raises `UserError` for a float network's score that the goal says nothing about."""
        if self.is_relative and not score:
            raise UserError('the score of the float network is 0: no part of it can be lost; give '
                            'an absolute goal, or train the network')
        if not self.is_relative and 0 < score <= self.loss:
            raise UserError('accuracy_criterion.absolute: %g found, and the float network\'s score '
                            'is %g: it could lose all of it; an absolute loss counts as the score '
                            'does' % (self.loss, score))

    def check(self):
        """Raises `UserError` for a loss that is no number from 0 on, below 1 where relative."""
        limit = 1 if self.is_relative else np.inf
        if not (isinstance(self.loss, (int, float)) and 0 <= self.loss < limit):
            raise UserError('accuracy_criterion: %r found, a number from 0 on%s expected'
                            % (self.loss, ' and below 1' * self.is_relative))
        return self
