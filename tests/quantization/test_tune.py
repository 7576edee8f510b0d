"""The search: what is tried in which order, what is accepted, and what survives a kill."""
import json

import numpy as np
import pytest
from support import tiny_networks

from bert.errors import UserError
from bert.model.inference import InterleavedNetwork
from bert.quantization import report
from bert.quantization import tune as module
from bert.quantization.calibrate import Quantizer
from bert.quantization.config import TuningConfig
from bert.quantization.loss import Goal, ScoreLoss
from bert.quantization.tune import Journal, rebuild_network, symbol_block, tune

pytestmark = pytest.mark.usefixtures('fast_int8')

BATCHES = [tiny_networks.batch(8, 8, seed) for seed in range(2)]
HELD_OUT = [tiny_networks.batch(16, 8, seed) for seed in range(2, 6)]


@pytest.fixture(scope='module')
def network():
    return tiny_networks.make_classifier()


class Evaluation:
    """Score: 1 less the error of the outputs against the float network's. Counts its calls."""

    def __init__(self, network):
        self.expected = [tiny_networks.outputs(network, batch) for batch in HELD_OUT]
        self.calls = 0

    def __call__(self, compiled):
        self.calls += 1
        outputs = np.concatenate([np.abs(compiled(*batch).asnumpy() - expected).mean(axis=1)
                                  for batch, expected in zip(HELD_OUT, self.expected)])
        return 1 - outputs.mean(), 1 - outputs


def score(outputs, rows):
    return outputs[rows].mean()


def search(network, loss, evaluate=None, is_relative=False, **options):
    goal = Goal(loss, is_relative)
    return tune(InterleavedNetwork(network), BATCHES, evaluate or Evaluation(network),
                TuningConfig(goal, **options.pop('config', {})),
                interval=lambda a, b: goal.measure(score, a, b), **options)


def harms_by_hand(network):
    """{operator: what the mean squared error of the outputs loses when it alone is float}"""
    quantizer = Quantizer(InterleavedNetwork(network))
    quantizer.calibrate(BATCHES)
    expected = [tiny_networks.outputs(network, batch) for batch in BATCHES]

    def error(kept):
        compiled = symbol_block(*quantizer.quantize(kept))
        return np.mean([np.mean((compiled(*batch).asnumpy() - one) ** 2)
                        for batch, one in zip(BATCHES, expected)])
    return {name: error(()) - error((name,)) for name in quantizer.operators}


def test_an_easy_goal_needs_one_trial(network):
    tuned = search(network, 0.9)
    assert tuned.is_goal_reached and len(tuned.trials) == 1 and tuned.harms == {}
    assert tuned.trial.kept == () and tuned.trial.accepted and tuned.trial.number == 1
    assert tuned.float_score == pytest.approx(1, abs=1e-5)


def test_operators_return_by_their_harm(network):
    all_int8 = search(network, 0.9).trial.loss
    tuned = search(network, all_int8.value / 3)
    assert tuned.is_goal_reached
    harms = harms_by_hand(network)
    assert tuned.harms == pytest.approx(harms, rel=1e-3, abs=1e-9)
    ranked = sorted(harms, key=harms.get, reverse=True)
    assert [trial.kept for trial in tuned.trials] == [tuple(ranked[:i])
                                                     for i in range(len(tuned.trials))]
    assert len(tuned.trials) > 1
    assert [trial.accepted for trial in tuned.trials] == [False] * (len(tuned.trials) - 1) + [True]
    assert tuned.trial == tuned.trials[-1]
    assert tuned.trial.loss.value <= all_int8.value / 3
    # the network that the tuned quantizer makes is the one that was scored
    compiled = symbol_block(*tuned.quantizer.quantize(tuned.trial.kept))
    assert Evaluation(network)(compiled)[0] == pytest.approx(tuned.trial.score, abs=1e-6)


def test_with_time_left_operators_are_tried_in_int8_again(network):
    goal = search(network, 0.9).trial.loss.value / 3
    short = search(network, goal)
    tuned = search(network, goal, config={'timeout': 1000})
    assert tuned.trials[:len(short.trials)] == tuple(
        trial._replace(seconds=other.seconds)
        for trial, other in zip(short.trials, tuned.trials))
    again = tuned.trials[len(short.trials):]
    assert len(again) == len(short.trial.kept) - 1
    kept = list(short.trial.kept)
    tried = iter(again)
    for name in reversed(short.trial.kept):     # least harm first
        without = [one for one in kept if one != name]
        if tuple(without) == short.trials[-2].kept:     # which was missed before, not tried again
            continue
        trial = next(tried)
        assert list(trial.kept) == without
        kept = without if trial.accepted else kept
    assert len({trial.kept for trial in tuned.trials}) == len(tuned.trials)
    assert [trial.number for trial in tuned.trials] == list(range(1, len(tuned.trials) + 1))
    assert list(tuned.trial.kept) == kept and tuned.is_goal_reached


def test_an_impossible_goal(network, monkeypatch):
    """Even all in float isn't accepted when that is no faster than float; the best is told."""
    speeds = iter([2.0] * 5 + [0.9] * 100)
    monkeypatch.setattr(module._Search, '_speed', lambda *arguments: next(speeds))
    tuned = search(network, 0)
    assert not tuned.is_goal_reached
    assert len(tuned.trials) == len(tuned.quantizer.operators) + 1
    assert len(tuned.trials[-1].kept) == len(tuned.quantizer.operators)
    faster = tuned.trials[:5]
    assert tuned.trial == min(faster, key=lambda trial: trial.loss.value)


def test_a_slower_network_is_not_accepted(network, monkeypatch):
    monkeypatch.setattr(module._Search, '_speed', lambda *arguments: 1.0)
    tuned = search(network, 0.9, config={'max_trials': 3})
    assert not tuned.is_goal_reached and [trial.accepted for trial in tuned.trials] == [False] * 3


def test_max_trials(network):
    assert len(search(network, 0, config={'max_trials': 2}).trials) == 2


def test_time_is_over(network):
    """A timeout ends the search also while the goal is missed."""
    now, evaluation = [0], Evaluation(network)

    def evaluate(compiled):
        now[0] += 10
        return evaluation(compiled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.time, 'monotonic', lambda: now[0])
        tuned = search(network, 0, evaluate, config={'timeout': 25})
    assert len(tuned.trials) == 2 and not tuned.is_goal_reached


def test_a_kill_costs_one_trial(network, tmp_path):
    path = tmp_path / 'trials.jsonl'
    goal = search(network, 0.9).trial.loss.value / 3
    whole = search(network, goal, journal=str(path))
    lines = path.read_text().splitlines()
    assert len(lines) == 1 + len(whole.trials) + len(whole.quantizer.operators)
    # killed while it wrote the last line
    path.write_text('\n'.join(lines[:-1]) + '\n' + lines[-1][:20])
    evaluate = Evaluation(network)
    again = search(network, goal, evaluate, journal=str(path))
    assert evaluate.calls == 2      # the float network, and the trial that was cut off
    assert [trial._replace(seconds=0) for trial in again.trials] == \
        [trial._replace(seconds=0) for trial in whole.trials]
    assert again.harms == whole.harms
    evaluate = Evaluation(network)
    search(network, goal, evaluate, journal=str(path))
    assert evaluate.calls == 1
    assert Journal(str(path)).trials() == [trial.kept for trial in whole.trials]
    assert [json.loads(line)['key'] for line in lines[:2]] == ['about', 'trial ']


def test_trials_keep_their_numbers(network, tmp_path):
    """Where a resume with a tighter goal leaves trials out, and goes on with others."""
    path = str(tmp_path / 'trials.jsonl')
    goal = search(network, 0.9).trial.loss.value / 1.5
    first = search(network, goal, journal=path, config={'timeout': 1000})
    tuned = search(network, 0, journal=path)        # beyond those that the loose goal wanted
    numbers = [trial.number for trial in tuned.trials]
    assert numbers != list(range(1, len(numbers) + 1)) and numbers[-1] > len(first.trials)
    evaluate = Evaluation(network)
    for trial in tuned.trials[-3:]:
        kept, made = rebuild_network(trial.number, path, InterleavedNetwork(network), BATCHES,
                                     evaluate, TuningConfig(Goal(goal, False)))
        assert kept == trial.kept
        assert evaluate(symbol_block(*made))[0] == pytest.approx(trial.score, abs=1e-6)
    for number in (0, len(Journal(path).trials()) + 1):
        with pytest.raises(UserError, match='--rebuild %d: .*trials.jsonl has ' % number):
            rebuild_network(number, path, InterleavedNetwork(network), BATCHES, evaluate)
    other = tiny_networks.make_classifier(seed=4)
    with pytest.raises(UserError, match='its trials are of other parameters'):
        rebuild_network(1, path, InterleavedNetwork(other), BATCHES, Evaluation(other),
                        TuningConfig(Goal(goal, False)))


def test_a_journal_of_something_else(network, tmp_path):
    path = tmp_path / 'trials.jsonl'
    search(network, 0.9, journal=str(path))
    # another goal judges the same trials anew
    assert not search(network, 0, journal=str(path), config={'max_trials': 1}).is_goal_reached
    other = tiny_networks.make_classifier(seed=4)
    for arguments in ((other, 0.9, Evaluation(other)),):
        with pytest.raises(UserError, match='trials.jsonl: its trials are of other parameters'):
            search(*arguments, journal=str(path))
    for options in ({'quantizer': Quantizer(InterleavedNetwork(network), 'naive')},
                    {'is_relative': True}, {'config': {'random_seed': 1}}):
        with pytest.raises(UserError, match='its trials are of other'):
            search(network, 0.9, journal=str(path), **options)


@pytest.mark.parametrize('line', ['garbage', '{"key": "trial "}', '[1]', '{"key": 3, "value": 4}',
                                  '{"key": "trial a", "value": {"score": 1}}',
                                  '{"key": "harm a", "value": "x"}', '\udcff'])
def test_a_damaged_journal(tmp_path, line):
    path = tmp_path / 'trials.jsonl'
    path.write_bytes(b'{"key": "about", "value": {}}\n' + line.encode('utf-8', 'surrogateescape')
                     + b'\n')
    with pytest.raises(UserError, match='trials.jsonl:2: not a trial of a tuning run: take the li'):
        Journal(str(path))


def test_a_score_alone(network):
    """Without outputs the loss is the difference of scores, and resolvable."""
    evaluation = Evaluation(network)
    tuned = tune(network, BATCHES, lambda compiled: evaluation(compiled)[0])
    value = tuned.trials[0].loss.value
    assert tuned.trials[0].loss == (value, value, value)
    assert value == pytest.approx((tuned.float_score - tuned.trials[0].score) / tuned.float_score)
    assert tuned.trials[0].verdict in ('reached', 'missed')


def test_no_score(network):
    with pytest.raises(UserError, match='the score is nan: there is nothing to tune by'):
        tune(network, BATCHES, lambda compiled: float('nan'))
    with pytest.raises(UserError, match='the score of the float network is 0: no part of it can'):
        tune(network, BATCHES, lambda compiled: 0.0)
    assert tune(network, BATCHES, lambda compiled: 0.0,
                TuningConfig(Goal(0.1, False))).is_goal_reached


def test_table_and_picture(network, tmp_path):
    trials = (module.Trial(1, (), 0.8, ScoreLoss(0.05, 0.02, 0.07), 2.5, 'missed', False, 1.0),
              module.Trial(2, ('a', 'b'), 0.85, ScoreLoss(0.001, -0.01, 0.009), 2.0, 'reached',
                           True, 1.0))
    assert report.format_trials(trials) == [
        'trial  in float   score    loss     from      to     goal  speed  accepted',
        '    1         0  0.8000  0.0500   0.0200  0.0700   missed   2.50        no',
        '    2         2  0.8500  0.0010  -0.0100  0.0090  reached   2.00       yes']
    tuned = module.TuningResult(trials[1], True, trials, {}, 0.86, None)
    report.draw_trials(str(tmp_path / 'trials.png'), tuned, 'f1', 0.85)
    assert (tmp_path / 'trials.png').read_bytes().startswith(b'\x89PNG')
