"""The schedule of the learning rate."""
import pytest

from bert.train.schedule import linear_warmup_decay


def rates(num_steps, warmup_ratio, peak=1.0):
    return [linear_warmup_decay(step, num_steps, warmup_ratio, peak)
            for step in range(1, num_steps + 1)]


def test_ten_steps():
    assert rates(10, 0.2, peak=8) == pytest.approx([4, 8, 8, 7, 6, 5, 4, 3, 2, 1])


@pytest.mark.parametrize('warmup_ratio', [0, 0.1, 0.5, 1])
@pytest.mark.parametrize('num_steps', [1, 2, 7, 100])
def test_every_step_learns_and_the_peak_is_reached(num_steps, warmup_ratio):
    actual = rates(num_steps, warmup_ratio, peak=2e-5)
    assert min(actual) > 0       # the original spent its first step at 0
    assert max(actual) == pytest.approx(2e-5)


def test_without_warmup_it_only_falls():
    assert rates(4, 0) == pytest.approx([1, 0.75, 0.5, 0.25])


def test_with_nothing_but_warmup_it_only_rises():
    assert rates(4, 1) == pytest.approx([0.25, 0.5, 0.75, 1])


def test_rises_then_falls():
    actual = rates(200, 0.1)
    assert actual[:20] == sorted(actual[:20]) and actual[20:] == sorted(actual[20:], reverse=True)
    assert actual[19] == actual[20] == 1
    assert actual[-1] == pytest.approx(1 / 180)


def test_sum():
    # two triangles, each half a step longer: warmup * (warmup + 1) / 2 / warmup …
    assert sum(rates(200, 0.1)) == pytest.approx((20 + 1) / 2 + (180 + 1) / 2)
