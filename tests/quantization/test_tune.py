"""The search: the order of its trials, which are accepted, and what survives a kill."""
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
EVALUATION_BATCHES = [tiny_networks.batch(16, 8, seed) for seed in range(2, 6)]


@pytest.fixture(scope='module')
def network():
    return tiny_networks.make_classifier()


class Evaluation:
    """Score: 1 minus the error of the outputs against the float network's. Counts its calls."""

    def __init__(self, network):
        self.expected = [tiny_networks.outputs(network, batch) for batch in EVALUATION_BATCHES]
        self.calls = 0

    def __call__(self, block):
        self.calls += 1
        outputs = np.concatenate([np.abs(block(*batch).asnumpy() - expected).mean(axis=1)
                                  for batch, expected in zip(EVALUATION_BATCHES, self.expected)])
        return 1 - outputs.mean(), 1 - outputs


def score(outputs, rows):
    return outputs[rows].mean()


def search(network, loss, evaluate=None, is_relative=False, **options):
    goal = Goal(loss, is_relative)
    return tune(InterleavedNetwork(network), BATCHES, evaluate or Evaluation(network),
                TuningConfig(goal, **options.pop('config', {})),
                interval=lambda a, b: goal.measure(score, a, b), **options)


def compute_harms(network):
    """{operator: decrease of the outputs' mean squared error when only this operator is float}"""
    quantizer = Quantizer(InterleavedNetwork(network))
    quantizer.calibrate(BATCHES)
    expected = [tiny_networks.outputs(network, batch) for batch in BATCHES]

    def error(float_operators):
        block = symbol_block(*quantizer.quantize(float_operators))
        return np.mean([np.mean((block(*batch).asnumpy() - float_outputs) ** 2)
                        for batch, float_outputs in zip(BATCHES, expected)])
    return {name: error(()) - error((name,)) for name in quantizer.operators}


def test_an_easy_goal_needs_one_trial(network):
    result = search(network, 0.9)
    assert result.is_goal_reached and len(result.trials) == 1 and result.harms == {}
    assert result.trial.kept == () and result.trial.accepted and result.trial.number == 1
    assert result.float_score == pytest.approx(1, abs=1e-5)


def test_operators_return_by_their_harm(network):
    int8_loss = search(network, 0.9).trial.loss
    result = search(network, int8_loss.value / 3)
    assert result.is_goal_reached
    harms = compute_harms(network)
    assert result.harms == pytest.approx(harms, rel=1e-3, abs=1e-9)
    ranked = sorted(harms, key=harms.get, reverse=True)
    assert [trial.kept for trial in result.trials] == [tuple(ranked[:i])
                                                     for i in range(len(result.trials))]
    assert len(result.trials) > 1
    assert [trial.accepted for trial in result.trials] == \
        [False] * (len(result.trials) - 1) + [True]
    assert result.trial == result.trials[-1]
    assert result.trial.loss.value <= int8_loss.value / 3
    # the network that the tuned quantizer makes is the one that was scored
    block = symbol_block(*result.quantizer.quantize(result.trial.kept))
    assert Evaluation(network)(block)[0] == pytest.approx(result.trial.score, abs=1e-6)


def test_with_time_left_operators_are_tried_in_int8_again(network):
    goal = search(network, 0.9).trial.loss.value / 3
    short_result = search(network, goal)
    result = search(network, goal, config={'timeout': 1000})
    assert result.trials[:len(short_result.trials)] == tuple(
        trial._replace(seconds=same_trial.seconds)
        for trial, same_trial in zip(short_result.trials, result.trials))
    extra_trials = result.trials[len(short_result.trials):]
    assert len(extra_trials) == len(short_result.trial.kept) - 1
    float_operators = list(short_result.trial.kept)
    next_trials = iter(extra_trials)
    for name in reversed(short_result.trial.kept):     # least harm first
        candidate = [operator for operator in float_operators if operator != name]
        if tuple(candidate) == short_result.trials[-2].kept:     # missed before, not tried again
            continue
        trial = next(next_trials)
        assert list(trial.kept) == candidate
        float_operators = candidate if trial.accepted else float_operators
    assert len({trial.kept for trial in result.trials}) == len(result.trials)
    assert [trial.number for trial in result.trials] == list(range(1, len(result.trials) + 1))
    assert list(result.trial.kept) == float_operators and result.is_goal_reached


def test_an_impossible_goal(network, monkeypatch):
    """Not even all in float is accepted if that is no faster. The result is the best trial."""
    speeds = iter([2.0] * 5 + [0.9] * 100)
    monkeypatch.setattr(module._Search, '_speed', lambda *arguments: next(speeds))
    result = search(network, 0)
    assert not result.is_goal_reached
    assert len(result.trials) == len(result.quantizer.operators) + 1
    assert len(result.trials[-1].kept) == len(result.quantizer.operators)
    faster_trials = result.trials[:5]
    assert result.trial == min(faster_trials, key=lambda trial: trial.loss.value)


def test_a_slower_network_is_not_accepted(network, monkeypatch):
    monkeypatch.setattr(module._Search, '_speed', lambda *arguments: 1.0)
    result = search(network, 0.9, config={'max_trials': 3})
    assert not result.is_goal_reached and [trial.accepted for trial in result.trials] == [False] * 3


def test_max_trials(network):
    assert len(search(network, 0, config={'max_trials': 2}).trials) == 2


def test_timeout(network):
    """A timeout ends the search even if the goal is not reached yet."""
    clock, evaluation = [0], Evaluation(network)

    def evaluate(block):
        clock[0] += 10
        return evaluation(block)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.time, 'monotonic', lambda: clock[0])
        result = search(network, 0, evaluate, config={'timeout': 25})
    assert len(result.trials) == 2 and not result.is_goal_reached


def test_a_kill_costs_one_trial(network, tmp_path):
    path = tmp_path / 'trials.jsonl'
    goal = search(network, 0.9).trial.loss.value / 3
    full_result = search(network, goal, journal=str(path))
    lines = path.read_text().splitlines()
    assert len(lines) == 1 + len(full_result.trials) + len(full_result.quantizer.operators)
    # killed while it wrote the last line
    path.write_text('\n'.join(lines[:-1]) + '\n' + lines[-1][:20])
    evaluate = Evaluation(network)
    resumed_result = search(network, goal, evaluate, journal=str(path))
    assert evaluate.calls == 2      # the float network, and the trial that was cut off
    assert [trial._replace(seconds=0) for trial in resumed_result.trials] == \
        [trial._replace(seconds=0) for trial in full_result.trials]
    assert resumed_result.harms == full_result.harms
    evaluate = Evaluation(network)
    search(network, goal, evaluate, journal=str(path))
    assert evaluate.calls == 1
    assert Journal(str(path)).trials() == [trial.kept for trial in full_result.trials]
    assert [json.loads(line)['key'] for line in lines[:2]] == ['about', 'trial ']


def test_trials_keep_their_numbers(network, tmp_path):
    """When a search that resumes with a tighter goal skips trials and goes on with others."""
    path = str(tmp_path / 'trials.jsonl')
    goal = search(network, 0.9).trial.loss.value / 1.5
    first_result = search(network, goal, journal=path, config={'timeout': 1000})
    result = search(network, 0, journal=path)        # more than the loose goal needed
    numbers = [trial.number for trial in result.trials]
    assert numbers != list(range(1, len(numbers) + 1)) and numbers[-1] > len(first_result.trials)
    evaluate = Evaluation(network)
    for trial in result.trials[-3:]:
        float_operators, symbol = rebuild_network(
            trial.number, path, InterleavedNetwork(network), BATCHES, evaluate,
            TuningConfig(Goal(goal, False)))
        assert float_operators == trial.kept
        assert evaluate(symbol_block(*symbol))[0] == pytest.approx(trial.score, abs=1e-6)
    for number in (0, len(Journal(path).trials()) + 1):
        with pytest.raises(UserError, match='--rebuild %d: no such trial: .*trials.jsonl has '
                           % number):
            rebuild_network(number, path, InterleavedNetwork(network), BATCHES, evaluate)
    other_network = tiny_networks.make_classifier(seed=4)
    with pytest.raises(UserError, match='these trials belong to other parameters'):
        rebuild_network(1, path, InterleavedNetwork(other_network), BATCHES,
                        Evaluation(other_network), TuningConfig(Goal(goal, False)))


def test_a_journal_of_another_search(network, tmp_path):
    path = tmp_path / 'trials.jsonl'
    search(network, 0.9, journal=str(path))
    # another goal judges the same trials anew
    assert not search(network, 0, journal=str(path), config={'max_trials': 1}).is_goal_reached
    other_network = tiny_networks.make_classifier(seed=4)
    for arguments in ((other_network, 0.9, Evaluation(other_network)),):
        with pytest.raises(UserError, match='trials.jsonl: these trials belong to other '
                                            'parameters'):
            search(*arguments, journal=str(path))
    for options in ({'quantizer': Quantizer(InterleavedNetwork(network), 'naive')},
                    {'is_relative': True}, {'config': {'random_seed': 1}}):
        with pytest.raises(UserError, match='these trials belong to other'):
            search(network, 0.9, journal=str(path), **options)


@pytest.mark.parametrize('line', ['garbage', '{"key": "trial "}', '[1]', '{"key": 3, "value": 4}',
                                  '{"key": "trial a", "value": {"score": 1}}',
                                  '{"key": "harm a", "value": "x"}', '\udcff'])
def test_a_damaged_journal(tmp_path, line):
    path = tmp_path / 'trials.jsonl'
    path.write_bytes(b'{"key": "about", "value": {}}\n' + line.encode('utf-8', 'surrogateescape')
                     + b'\n')
    with pytest.raises(UserError, match='trials.jsonl:2: not a trial of a tuning run: delete the'):
        Journal(str(path))


def test_a_score_alone(network):
    """Without outputs the loss is the difference of scores, and the verdict is certain."""
    evaluation = Evaluation(network)
    result = tune(network, BATCHES, lambda block: evaluation(block)[0])
    value = result.trials[0].loss.value
    assert result.trials[0].loss == (value, value, value)
    assert value == pytest.approx(
        (result.float_score - result.trials[0].score) / result.float_score)
    assert result.trials[0].verdict in ('reached', 'missed')


def test_no_score(network):
    with pytest.raises(UserError, match='the score is nan: tuning needs a finite score'):
        tune(network, BATCHES, lambda block: float('nan'))
    with pytest.raises(UserError, match='the score of the float network is 0, so a relative '
                                        'loss means nothing'):
        tune(network, BATCHES, lambda block: 0.0)
    assert tune(network, BATCHES, lambda block: 0.0,
                TuningConfig(Goal(0.1, False))).is_goal_reached


def test_table_and_picture(network, tmp_path):
    trials = (module.Trial(1, (), 0.8, ScoreLoss(0.05, 0.02, 0.07), 2.5, 'missed', False, 1.0),
              module.Trial(2, ('a', 'b'), 0.85, ScoreLoss(0.001, -0.01, 0.009), 2.0, 'reached',
                           True, 1.0))
    assert report.format_trials(trials) == [
        'trial  in float   score    loss     from      to     goal  speed  accepted',
        '    1         0  0.8000  0.0500   0.0200  0.0700   missed   2.50        no',
        '    2         2  0.8500  0.0010  -0.0100  0.0090  reached   2.00       yes']
    result = module.TuningResult(trials[1], True, trials, {}, 0.86, None)
    report.draw_trials(str(tmp_path / 'trials.png'), result, 'f1', 0.85)
    assert (tmp_path / 'trials.png').read_bytes().startswith(b'\x89PNG')
