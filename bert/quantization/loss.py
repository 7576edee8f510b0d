"""The loss of score through INT8, with its confidence interval, and the goal for it."""
from typing import NamedTuple

import numpy as np

from bert.errors import UserError

NUM_BOOTSTRAP_SAMPLES = 1000            # bootstrap samples
INTERVAL_PERCENTILES = 2.5, 97.5    # percentiles of the 95 % interval

GOAL_REACHED, GOAL_MISSED, GOAL_UNDECIDED = 'reached', 'missed', 'undecided'


class ScoreLoss(NamedTuple):
    """Score of the float network minus score of the other one, with its 95 % interval. With a
    relative goal the values are fractions of the float score."""
    value: float
    low: float
    high: float


class Goal(NamedTuple):
    """The largest acceptable loss: a fraction of the float score, or (absolute) a difference of
    scores."""
    loss: float = 0.01      # as in the configuration of lpot's BERT example
    is_relative: bool = True

    def measure(self, score, reference, outputs, seed=0):
        """The `ScoreLoss` of `outputs` against `reference`, both (examples, …) for the same rows.

        score: function(outputs, rows) → number, larger is better. The interval comes from the
        paired bootstrap (Efron & Tibshirani 1993): each sample has the same rows for both. Where
        all samples agree, because no example differs, the bootstrap knows nothing of the examples
        that were not drawn: the interval is then that of the rule of three (Hanley &
        Lippman-Hand 1983), 3 / examples to either side.
        """
        rng = np.random.RandomState(seed)
        rows = np.arange(len(reference))
        losses = [self._loss(score, reference, outputs, rng.choice(rows, len(rows)))
                  for _ in range(NUM_BOOTSTRAP_SAMPLES)]
        losses = [value for value in losses if np.isfinite(value)]
        low, high = np.percentile(losses, INTERVAL_PERCENTILES) if losses else (np.nan, np.nan)
        if low == high:
            scale = 1 if self.is_relative else abs(float(score(reference, rows)))
            low, high = low - 3 * scale / len(rows), high + 3 * scale / len(rows)
        return ScoreLoss(self._loss(score, reference, outputs, rows), float(low), float(high))

    def _loss(self, score, reference, outputs, rows):
        return self.loss_between(float(score(reference, rows)), float(score(outputs, rows)))

    def loss_between(self, float_score, score):
        """The loss between the score of the float network and another score."""
        if not self.is_relative:
            return float_score - score
        return (float_score - score) / abs(float_score) if float_score else np.nan

    def judge(self, loss):
        """Whether a `ScoreLoss` meets the goal: `GOAL_REACHED` if its whole interval does,
        `GOAL_MISSED` if its whole interval doesn't, else `GOAL_UNDECIDED`."""
        if loss.high <= self.loss:
            return GOAL_REACHED
        return GOAL_MISSED if loss.low > self.loss else GOAL_UNDECIDED

    def accepts(self, loss):
        """Whether a `ScoreLoss` counts as within the goal: by `judge`, or by its value if the
        verdict is `GOAL_UNDECIDED`."""
        verdict = self.judge(loss)
        return verdict == GOAL_REACHED or verdict == GOAL_UNDECIDED and loss.value <= self.loss

    def describe(self):
        return ('%g %% of the float score' % (100 * self.loss) if self.is_relative
                else '%g of the score' % self.loss)

    def check_score(self, score):
        """Raises `UserError` for a score of the float network that makes the goal meaningless."""
        if self.is_relative and not score:
            raise UserError('the score of the float network is 0, so a relative loss means '
                            'nothing: give an absolute goal, or train the network')
        if not self.is_relative and 0 < score <= self.loss:
            raise UserError('accuracy_criterion.absolute: %g found, but the score of the float '
                            'network is only %g: expected a smaller loss, in the unit of the '
                            'score' % (self.loss, score))

    def check(self):
        """Raises `UserError` unless the loss is a number of at least 0, and below 1 if relative.
        Returns the goal."""
        limit = 1 if self.is_relative else np.inf
        if not (isinstance(self.loss, (int, float)) and 0 <= self.loss < limit):
            raise UserError('accuracy_criterion: %r found, expected a number from 0 on%s'
                            % (self.loss, ' and below 1' * self.is_relative))
        return self
