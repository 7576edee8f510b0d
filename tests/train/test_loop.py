"""The loop with a stepper that only takes notes."""
import contextlib
import copy
import dataclasses
import json
import logging
import math
import os
import signal
import types

import mxnet as mx
import pytest

from bert.errors import UserError
from bert.train import loop as module
from bert.train.loop import Loop, TrainerState, TrainingInterrupted, TrainingPlan, count_steps
from bert.train.metrics import Metric
from bert.train.step import StepResult

NUM_BATCHES, BATCH_SIZE = 5, 4


class Clock:
    """Time that passes when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def time(self):
        return self.now


class Notes:
    """Everything a `Loop` is given, and what it did with it.

    scores: first dev metric of each evaluation. losses, norms: {step: value}; else 1.
    """

    def __init__(self, scores=(), losses=None, norms=None):
        self.scores, self.losses, self.norms = list(scores), losses or {}, norms or {}
        self.loss_scale = types.SimpleNamespace(enabled=False)
        self.finite_parameters = True
        self.steps = []         # (number, [batch], rate)
        self.saved = []         # State as JSON would keep it
        self.evaluations = 0
        self.on_step = self.on_evaluate = lambda: None

    def step(self, number, batches, rate):
        self.steps.append((number, [batch.name for batch in batches], rate))
        self.on_step()
        labels = mx.nd.array([1, 0])
        outputs = mx.nd.array([[0, 1], [0, 1]])     # half of them right
        return StepResult(mx.nd.array([self.losses.get(number, 1)]),
                          mx.nd.array([self.norms.get(number, 1)]),
                          [(labels, outputs)] * len(batches),
                          *[sum(batch.size for batch in batches)] * 2)

    def is_finite(self):
        return self.finite_parameters

    def batches_of(self, epoch):
        return ['%d.%d' % (epoch, i) for i in range(NUM_BATCHES)]

    def load_batch(self, name):
        return types.SimpleNamespace(name=name, size=BATCH_SIZE)

    def evaluate(self, interrupt):
        self.on_evaluate()
        if interrupt.is_requested:
            return None
        self.evaluations += 1
        if not self.scores:
            return {'dev': [('accuracy', 0.5)]}
        score = self.scores.pop(0)
        return score if isinstance(score, dict) else {'dev': [('accuracy', score), ('f1', 0.1)]}

    def save(self, state):
        self.saved.append(json.loads(json.dumps(dataclasses.asdict(state))))


def plan_of(num_epochs=2, accumulate=1, **options):
    steps = count_steps(NUM_BATCHES * BATCH_SIZE, BATCH_SIZE, accumulate, num_epochs)
    return TrainingPlan(num_epochs, options.pop('num_steps', steps), accumulate, **options)


def make(notes, plan, state=None, metric=None):
    return Loop(plan, notes, notes.batches_of, notes.load_batch, lambda step: step / 1000,
                notes.evaluate, notes.save, metric, state)


def run(plan, state=None, metric=None, **options):
    """(final state, notes) of a run to its end."""
    notes = Notes(**options)
    return make(notes, plan, state, metric).run(), notes


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, 'time', clock)
    return clock


# ---- steps

@pytest.mark.parametrize('examples,batch_size,accumulate,epochs,steps', [
    (3668, 32, 1, 3, 345), (3668, 32, 4, 3, 87), (10, 3, 2, 1, 2), (12, 3, 2, 5, 10),
    (1, 32, 8, 2, 2)])
def test_count_steps(examples, batch_size, accumulate, epochs, steps):
    assert count_steps(examples, batch_size, accumulate, epochs) == steps


def test_every_batch_once_an_epoch_in_order():
    state, notes = run(plan_of(2))
    assert [names for _, names, _ in notes.steps] == [
        ['%d.%d' % (epoch, i)] for epoch in range(2) for i in range(5)]
    assert [number for number, _, _ in notes.steps] == list(range(1, 11))
    assert (state.step, state.epoch, state.position) == (10, 2, 0)


def test_accumulation_loses_no_batch_at_the_end_of_an_epoch():
    # the original dropped the gradient of 0.4 and 1.4
    state, notes = run(plan_of(2, accumulate=2))
    assert [names for _, names, _ in notes.steps] == [
        ['0.0', '0.1'], ['0.2', '0.3'], ['0.4'], ['1.0', '1.1'], ['1.2', '1.3'], ['1.4']]
    assert state.step == 6


def test_each_step_gets_its_rate():
    assert [rate for _, _, rate in run(plan_of(1))[1].steps] == [0.001, 0.002, 0.003, 0.004, 0.005]


def test_a_number_of_steps_ends_in_the_middle_of_an_epoch_with_an_evaluation():
    state, notes = run(plan_of(2, num_steps=7))
    assert notes.steps[-1][:2] == (7, ['1.1'])
    assert notes.evaluations == 2
    assert notes.saved[-1]['step'] == 7
    assert [entry['step'] for entry in state.history] == [5, 7]


# ---- log lines and records

def test_log_lines(caplog):
    caplog.set_level(logging.INFO)
    run(plan_of(2, log_interval=2), losses={1: 3.0}, metric=Metric(('accuracy',)))
    assert [message for message in caplog.messages if 'Batch' in message] == [
        '[Epoch 1 Batch 2/5] loss=2.0000, lr=0.0020000, metrics:accuracy:0.5000',
        '[Epoch 1 Batch 4/5] loss=1.0000, lr=0.0040000, metrics:accuracy:0.5000',
        '[Epoch 1 Batch 5/5] loss=1.0000, lr=0.0050000, metrics:accuracy:0.5000',
        '[Epoch 2 Batch 2/5] loss=1.0000, lr=0.0070000, metrics:accuracy:0.5000',
        '[Epoch 2 Batch 4/5] loss=1.0000, lr=0.0090000, metrics:accuracy:0.5000',
        '[Epoch 2 Batch 5/5] loss=1.0000, lr=0.0100000, metrics:accuracy:0.5000']


def test_a_short_run_has_a_log_line_too(caplog):
    caplog.set_level(logging.INFO)
    state, _ = run(plan_of(9, num_steps=3, log_interval=100))
    assert [message for message in caplog.messages if 'Batch' in message] == [
        '[Epoch 1 Batch 3/5] loss=1.0000, lr=0.0030000']
    assert [point['step'] for point in state.curve] == [3]


def test_loss_of_a_line_is_the_mean_over_its_examples(monkeypatch):
    sizes = {'0.4': 1}
    monkeypatch.setattr(Notes, 'load_batch', lambda self, name: types.SimpleNamespace(
        name=name, size=sizes.get(name, BATCH_SIZE)))
    state, _ = run(plan_of(1, log_interval=100), losses={5: 10.0})
    assert state.curve[0]['loss'] == pytest.approx((4 * 4 * 1 + 1 * 10) / 17)


def test_history_and_curve():
    state, _ = run(plan_of(2, log_interval=100), scores=[0.5, 0.75])
    assert state.history == [
        {'epoch': 1, 'step': 5, 'metrics': {'dev': {'accuracy': 0.5, 'f1': 0.1}}},
        {'epoch': 2, 'step': 10, 'metrics': {'dev': {'accuracy': 0.75, 'f1': 0.1}}}]
    assert [(point['step'], point['lr']) for point in state.curve] == [(5, 0.005), (10, 0.01)]


def test_speed_counts_training_alone(clock):
    notes = Notes()
    notes.on_step = lambda: setattr(clock, 'now', clock.now + 2)
    notes.on_evaluate = lambda: setattr(clock, 'now', clock.now + 1000)
    notes.save = lambda state: setattr(clock, 'now', clock.now + 500)
    state = make(notes, plan_of(2, log_interval=2, checkpoint_interval=1)).run()
    assert [point['examples_per_second'] for point in state.curve] == pytest.approx(
        [BATCH_SIZE / 2] * len(state.curve))


def test_remaining_time_is_told_after_some_steps(clock, caplog):
    caplog.set_level(logging.INFO)
    notes = Notes()
    notes.on_step = lambda: setattr(clock, 'now', clock.now + 3)
    make(notes, plan_of(4)).run()
    assert [message for message in caplog.messages if 'to go' in message] == [
        '10 of 20 steps done, about 30 s to go']
    caplog.clear()
    make(notes, plan_of(4), TrainerState(step=7, epoch=1, position=2)).run()
    assert [message for message in caplog.messages if 'to go' in message] == [
        '17 of 20 steps done, about 9 s to go']


def test_the_bar_shows_every_step(monkeypatch):
    shown = []

    @contextlib.contextmanager
    def progress(total, initial=0, **options):
        shown.append((initial, total))
        yield types.SimpleNamespace(update=shown.append)
    monkeypatch.setattr(module, 'progress_bar', progress)
    _, notes = run(plan_of(2, checkpoint_interval=7))
    assert shown == [(0, 10)] + [1] * 10
    shown.clear()
    run(plan_of(2), TrainerState(**notes.saved[1]))
    assert shown == [(7, 10)] + [1] * 3


def test_seconds_add_up_over_sessions(clock):
    notes = Notes()
    notes.on_step = lambda: setattr(clock, 'now', clock.now + 1)
    make(notes, plan_of(2, checkpoint_interval=3)).run()
    state = TrainerState(**notes.saved[0])
    assert (state.step, state.seconds) == (3, 3)
    clock.now += 10000
    assert make(notes, plan_of(2), state).run().seconds == 10


# ---- checkpoints

def test_checkpoints_at_the_interval_and_after_each_epoch():
    _, notes = run(plan_of(2, checkpoint_interval=2))
    assert [(state['step'], state['epoch'], state['position']) for state in notes.saved] == [
        (2, 0, 2), (4, 0, 4), (5, 1, 0), (6, 1, 1), (8, 1, 3), (10, 1, 5), (10, 2, 0)]


def test_resumed_from_any_checkpoint_it_does_what_is_left():
    plan = plan_of(3, accumulate=2, checkpoint_interval=1, log_interval=100)
    scores = [0.5, 0.7, 0.6]
    whole, notes = run(plan, scores=scores)
    assert len(notes.saved) == 12
    for saved in notes.saved:
        state, again = run(plan, TrainerState(**copy.deepcopy(saved)),
                           scores=scores[saved['epoch']:])
        assert notes.steps[:saved['step']] + again.steps == notes.steps
        assert state.history == whole.history
        assert (state.best_step, state.best_score) == (whole.best_step, whole.best_score)
        assert (state.step, state.epoch, state.position) == (9, 3, 0)


def test_a_finished_run_does_nothing_more():
    plan = plan_of(1)
    _, notes = run(plan)
    state, again = run(plan, TrainerState(**notes.saved[-1]))
    assert (again.steps, again.saved, again.evaluations) == ([], [], 0)
    assert state.step == 5


# ---- the best one, and stopping early

def best_of(scores, **options):
    state, notes = run(plan_of(len(scores), **options), scores=scores)
    return state, notes


def test_the_best_evaluation_is_the_first_of_the_highest():
    state, notes = best_of([0.5, 0.8, 0.6, 0.8])
    assert (state.best_step, state.best_score) == (10, 0.8)
    assert [saved['best_step'] for saved in notes.saved] == [5, 10, 10, 10]


def test_a_score_that_is_no_number_is_the_least():
    nan = float('nan')
    assert best_of([nan, 0.2, nan])[0].best_step == 10
    assert best_of([-0.4, nan])[0].best_step == 5
    assert best_of([nan, nan])[0].best_step == 5        # there is a best one all the same
    assert best_of([nan, -0.5])[0].best_step == 10


def test_without_dev_data_the_last_one_is_the_best():
    state, _ = best_of([{}, {}])
    assert state.best_step == 10 and state.best_score is None


def test_the_first_metric_of_the_first_segment_decides():
    def scores(matched, mismatched):
        return {'dev_matched': [('accuracy', matched)],
                'dev_mismatched': [('accuracy', mismatched)]}
    assert best_of([scores(0.5, 0.9), scores(0.6, 0.1)])[0].best_step == 10


def test_early_stop_after_so_many_evaluations_without_gain(caplog):
    caplog.set_level(logging.INFO)
    state, notes = best_of([0.5, 0.6, 0.6, 0.5, 0.9], early_stop=2)
    assert state.stopped_early and state.step == 20
    assert 'Early stopping at epoch 4' in caplog.messages
    assert notes.saved[-1]['stopped_early']
    assert not best_of([0.5, 0.4, 0.6, 0.5, 0.9], early_stop=2)[0].stopped_early


def test_two_dev_segments_cost_patience_once_an_epoch():
    # the original took it twice
    both = {'dev_matched': [('accuracy', 0.5)], 'dev_mismatched': [('accuracy', 0.5)]}
    state, _ = best_of([both, both, both, both], early_stop=3)
    assert state.step == 20 and state.stopped_early


def test_a_run_that_stopped_early_stays_stopped():
    state, notes = best_of([0.5, 0.4, 0.3], early_stop=1)
    assert state.step == 10
    state, again = run(plan_of(3, early_stop=1), TrainerState(**notes.saved[-1]))
    assert again.steps == []


def test_patience_goes_on_after_a_resume():
    _, notes = best_of([0.5, 0.4, 0.3, 0.2], early_stop=3)
    state, _ = run(plan_of(9, early_stop=3), TrainerState(**notes.saved[1]), scores=[0.1, 0.1, 0.1])
    assert state.stopped_early and state.step == 20


# ---- not finite

def stopped_by(losses=None, norms=None, float16=False, **options):
    notes = Notes(losses=losses, norms=norms)
    notes.loss_scale.enabled = float16
    with pytest.raises(UserError) as error:
        make(notes, plan_of(2, **options)).run()
    return str(error.value), notes


HINT = '. A lower --lr or a longer --warmup_ratio usually mends it'


@pytest.mark.parametrize('value,text', [(math.nan, 'nan'), (math.inf, 'inf')])
def test_loss_that_is_not_finite_names_the_step(value, text):
    message, notes = stopped_by(losses={4: value, 5: value})
    assert message == ('the loss of step 4 is %s: training stopped; there was no checkpoint yet'
                       % text + HINT)
    assert notes.saved == []


def test_the_last_good_checkpoint_is_kept_and_named():
    message, notes = stopped_by(losses={7: math.nan}, checkpoint_interval=1, log_interval=100)
    assert message == ('the loss of step 7 is nan: training stopped; the checkpoint of step 6 is '
                       'kept' + HINT)
    assert notes.saved[-1]['step'] == 6
    message, notes = stopped_by(losses={7: math.nan}, log_interval=100)
    assert 'the checkpoint of step 5 is kept' in message


def test_gradient_that_is_not_finite():
    message, _ = stopped_by(norms={3: math.inf})
    assert message.startswith('the gradient norm of step 3 is inf: training stopped; ')


def test_in_float16_a_gradient_may_overflow_but_not_the_loss():
    notes = Notes(norms={3: math.inf})
    notes.loss_scale.enabled = True
    assert make(notes, plan_of(2)).run().step == 10
    assert stopped_by(losses={3: math.inf}, float16=True)[0].startswith('the loss of step 3 is inf')


def test_a_model_that_is_no_longer_finite_is_not_evaluated():
    _, notes = stopped_by(losses={5: math.nan}, log_interval=100)
    assert notes.evaluations == 0


# ---- Ctrl-C

def interrupted(at_step=None, at_evaluation=False, number=signal.SIGINT, times=1):
    notes = Notes()

    def send(now=True):
        for _ in range(times if now else 0):
            os.kill(os.getpid(), number)
    notes.on_step = lambda: send(len(notes.steps) == at_step)
    notes.on_evaluate = lambda: send(at_evaluation)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as error:
        make(notes, plan_of(2)).run()
    assert signal.getsignal(number) is before
    return notes, error.type


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_interrupt_ends_the_step_and_saves(number):
    notes, kind = interrupted(at_step=3, number=number)
    assert kind is TrainingInterrupted
    assert len(notes.steps) == 3
    assert [(state['step'], state['position']) for state in notes.saved] == [(3, 3)]
    state, again = run(plan_of(2), TrainerState(**notes.saved[0]))
    assert again.steps[0][:2] == (4, ['0.3']) and state.step == 10


def test_interrupt_at_the_last_step_of_an_epoch_resumes_with_the_evaluation():
    notes, _ = interrupted(at_step=5)
    assert (notes.saved[-1]['step'], notes.saved[-1]['position']) == (5, 5)
    assert notes.evaluations == 0
    state, again = run(plan_of(2), TrainerState(**notes.saved[-1]))
    assert len(again.steps) == 5 and again.evaluations == 2


def test_interrupt_in_an_evaluation_is_saved_and_evaluated_again():
    notes, kind = interrupted(at_evaluation=True)
    assert kind is TrainingInterrupted
    assert (notes.saved[-1]['step'], notes.saved[-1]['epoch']) == (5, 0)
    assert notes.saved[-1]['history'] == []
    state, again = run(plan_of(2), TrainerState(**notes.saved[-1]))
    assert [entry['step'] for entry in state.history] == [5, 10]


def test_a_second_interrupt_ends_at_once():
    notes, kind = interrupted(at_step=3, times=2)
    assert kind is KeyboardInterrupt
    assert notes.saved == []


# ---- reading results

def test_results_are_not_waited_for_at_every_step(monkeypatch):
    read = []
    real = mx.nd.NDArray.asscalar
    monkeypatch.setattr(mx.nd.NDArray, 'asscalar', lambda array: read.append(1) or real(array))
    notes = Notes()
    notes.on_step = lambda: counts.append(len(read))
    counts = []
    make(notes, plan_of(1, log_interval=4)).run()
    assert counts == [0, 0, 0, 0, 8]        # loss and norm of four steps, once


def test_metric_of_an_epoch_begins_anew(monkeypatch):
    metric = Metric(('accuracy',))
    resets, seen = [], []
    update = metric.update
    monkeypatch.setattr(metric, 'reset', lambda: resets.append(len(seen)))
    monkeypatch.setattr(metric, 'update', lambda *arrays: (seen.extend(arrays[0]),
                                                           update(*arrays)))
    run(plan_of(3), metric=metric)
    assert resets == [0, 10, 20] and len(seen) == 2 * 5 * 3


def test_parameters_that_are_not_finite_are_not_saved():
    notes = Notes()
    notes.on_step = lambda: setattr(notes, 'finite_parameters', len(notes.steps) < 7)
    with pytest.raises(UserError) as error:
        make(notes, plan_of(checkpoint_interval=1)).run()
    assert str(error.value).startswith(
        'a parameter is no longer finite after step 7: training stopped; the checkpoint of step 6 '
        'is kept.')
    assert [state['step'] for state in notes.saved][-1] == 6
