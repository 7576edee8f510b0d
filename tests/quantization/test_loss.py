"""The loss, its interval, and when a goal is reached."""
import numpy as np
import pytest

from bert.errors import UserError
from bert.quantization.loss import GOAL_MISSED, GOAL_REACHED, GOAL_UNDECIDED, Goal, ScoreLoss


def mean(outputs, rows):
    return float(outputs[rows].mean())


def test_interval_of_a_mean():
    """For paired differences the bootstrap gives the interval of the normal distribution."""
    random = np.random.RandomState(0)
    before = random.rand(2000)
    after = before - 0.02 + 0.1 * random.randn(2000)
    loss = Goal(is_relative=False).measure(mean, before, after, seed=1)
    differences = before - after
    assert loss.value == pytest.approx(differences.mean())
    half_width = 1.96 * differences.std() / np.sqrt(2000)
    assert loss.low == pytest.approx(differences.mean() - half_width, abs=0.15 * half_width)
    assert loss.high == pytest.approx(differences.mean() + half_width, abs=0.15 * half_width)


def test_relative():
    before = np.random.RandomState(0).rand(50)
    relative, absolute = (Goal(is_relative=is_relative).measure(mean, before, 0.95 * before)
                          for is_relative in (True, False))
    assert relative.value == pytest.approx(0.05)
    assert absolute.value == pytest.approx(0.05 * before.mean())
    assert absolute.low < absolute.value < absolute.high
    assert Goal().loss_between(-0.5, -0.6) == pytest.approx(0.2)   # a correlation may be negative


@pytest.mark.parametrize('size, verdict', [(1, GOAL_UNDECIDED), (299, GOAL_UNDECIDED),
                                           (301, GOAL_REACHED)])
def test_the_same_outputs_lose_nothing_as_far_as_the_examples_tell(size, verdict):
    """The rule of three: 3 / examples to either side, here of a score of 0.5 too."""
    outputs = np.random.RandomState(0).rand(size)
    loss = Goal().measure(mean, outputs, outputs)
    assert loss == pytest.approx((0, -3 / size, 3 / size)) and Goal().judge(loss) == verdict
    absolute = Goal(is_relative=False).measure(mean, outputs, outputs)
    assert absolute == pytest.approx((0, -3 * outputs.mean() / size, 3 * outputs.mean() / size))


def test_same_seed_same_interval():
    random = np.random.RandomState(0)
    before, after = random.rand(2, 40)
    losses = [Goal().measure(mean, before, after, seed) for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize('loss,verdict,accepted', [
    ((0.00, -0.01, 0.01), GOAL_REACHED, True), ((0.00, -0.01, 0.011), GOAL_UNDECIDED, True),
    ((0.011, 0.0, 0.02), GOAL_UNDECIDED, False), ((0.02, 0.0101, 0.03), GOAL_MISSED, False),
    ((-0.1, -0.2, -0.05), GOAL_REACHED, True), ((np.nan, np.nan, np.nan), GOAL_UNDECIDED, False)])
def test_judgement(loss, verdict, accepted):
    goal = Goal(0.01)
    assert (goal.judge(ScoreLoss(*loss)), goal.accepts(ScoreLoss(*loss))) == (verdict, accepted)


@pytest.mark.parametrize('loss', [-0.01, np.inf, np.nan, 'little', None])
def test_invalid_goal(loss):
    with pytest.raises(UserError, match='expected a number from 0 on and below 1'):
        Goal(loss).check()
