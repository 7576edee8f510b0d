"""The loop with a stepper that only records its calls."""
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
from bert.train.loop import TrainerState, TrainingInterrupted, format_classifier_line
from bert.train.metrics import Metric, NoValue
from bert.train.schedule import TrainingPlan, count_steps
from bert.train.step import StepResult
from bert.train.workers import SingleWorker

NUM_BATCHES, BATCH_SIZE = 5, 4


class Clock:
    """Time that passes when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def time(self):
        return self.now


class Recorder:
    """The `bert.train.loop.LoopHost` of a loop, and its stepper. It records the calls.

    scores: first dev metric of each evaluation. losses, norms: {step: value}; else 1.
    """

    workers = SingleWorker()
    log_line = staticmethod(format_classifier_line)

    def __init__(self, scores=(), losses=None, norms=None):
        self.stepper, self.metric = self, None
        self.scores, self.losses, self.norms = list(scores), losses or {}, norms or {}
        self.loss_scale = types.SimpleNamespace(enabled=False)
        self.finite_parameters = True
        self.steps = []         # (step, [batch], rate)
        self.states = []        # of save(), as after JSON
        self.evaluations = 0
        self.on_step = self.on_evaluate = lambda: None

    def step(self, step, batches, rate):
        self.steps.append((step, [batch.name for batch in batches], rate))
        self.on_step()
        labels = mx.nd.array([1, 0])
        outputs = mx.nd.array([[0, 1], [0, 1]])     # half of them are right
        return StepResult(mx.nd.array([self.losses.get(step, 1)]),
                          mx.nd.array([self.norms.get(step, 1)]),
                          [(labels, outputs)] * len(batches),
                          *[sum(batch.size for batch in batches)] * 2)

    def is_finite(self):
        return self.finite_parameters

    def batches_of(self, epoch):
        return ['%d.%d' % (epoch, i) for i in range(NUM_BATCHES)]

    def load_batch(self, name):
        return types.SimpleNamespace(name=name, size=BATCH_SIZE)

    def learning_rate(self, step):
        return step / 1000

    def evaluate(self, interrupt, is_last_epoch):
        self.on_evaluate()
        if interrupt.is_requested:
            return None
        self.evaluations += 1
        if not self.scores:
            return {'dev': [('accuracy', 0.5)]}
        score = self.scores.pop(0)
        return score if isinstance(score, dict) else {'dev': [('accuracy', score), ('f1', 0.1)]}

    def save(self, state):
        self.states.append(json.loads(json.dumps(dataclasses.asdict(state))))


def make_plan(num_epochs=2, accumulate=1, **options):
    steps = count_steps(NUM_BATCHES * BATCH_SIZE, BATCH_SIZE, accumulate, num_epochs)
    return TrainingPlan(num_epochs, options.pop('num_steps', steps), accumulate, **options)


def make_loop(recorder, plan, state=None, metric=None):
    recorder.metric = metric
    return module.make_loop(plan, recorder, state)


def run(plan, state=None, metric=None, **options):
    """(final state, notes) of a run to its end."""
    recorder = Recorder(**options)
    return make_loop(recorder, plan, state, metric).run(), recorder


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
    state, recorder = run(make_plan(2))
    assert [names for _, names, _ in recorder.steps] == [
        ['%d.%d' % (epoch, i)] for epoch in range(2) for i in range(5)]
    assert [step for step, _, _ in recorder.steps] == list(range(1, 11))
    assert (state.step, state.epoch, state.position) == (10, 2, 0)


def test_accumulation_loses_no_batch_at_the_end_of_an_epoch():
    # the original dropped the gradient of 0.4 and 1.4
    state, recorder = run(make_plan(2, accumulate=2))
    assert [names for _, names, _ in recorder.steps] == [
        ['0.0', '0.1'], ['0.2', '0.3'], ['0.4'], ['1.0', '1.1'], ['1.2', '1.3'], ['1.4']]
    assert state.step == 6


def test_each_step_gets_its_rate():
    assert [rate for *_, rate in run(make_plan(1))[1].steps] == [0.001, 0.002, 0.003, 0.004, 0.005]


def test_a_number_of_steps_ends_in_the_middle_of_an_epoch_with_an_evaluation():
    state, recorder = run(make_plan(2, num_steps=7))
    assert recorder.steps[-1][:2] == (7, ['1.1'])
    assert recorder.evaluations == 2
    assert recorder.states[-1]['step'] == 7
    assert [entry['step'] for entry in state.history] == [5, 7]


# ---- log lines and records

def test_log_lines(caplog):
    caplog.set_level(logging.INFO)
    run(make_plan(2, log_interval=2), losses={1: 3.0}, metric=Metric(('accuracy',)))
    assert [message for message in caplog.messages if 'Batch' in message] == [
        '[Epoch 1 Batch 2/5] loss=2.0000, lr=0.0020000, metrics:accuracy:0.5000',
        '[Epoch 1 Batch 4/5] loss=1.0000, lr=0.0040000, metrics:accuracy:0.5000',
        '[Epoch 1 Batch 5/5] loss=1.0000, lr=0.0050000, metrics:accuracy:0.5000',
        '[Epoch 2 Batch 2/5] loss=1.0000, lr=0.0070000, metrics:accuracy:0.5000',
        '[Epoch 2 Batch 4/5] loss=1.0000, lr=0.0090000, metrics:accuracy:0.5000',
        '[Epoch 2 Batch 5/5] loss=1.0000, lr=0.0100000, metrics:accuracy:0.5000']


def test_a_short_run_has_a_log_line_too(caplog):
    caplog.set_level(logging.INFO)
    state, _ = run(make_plan(9, num_steps=3, log_interval=100))
    assert [message for message in caplog.messages if 'Batch' in message] == [
        '[Epoch 1 Batch 3/5] loss=1.0000, lr=0.0030000']
    assert [point['step'] for point in state.curve] == [3]


def test_loss_of_a_line_is_the_mean_over_its_examples(monkeypatch):
    sizes = {'0.4': 1}
    monkeypatch.setattr(Recorder, 'load_batch', lambda self, name: types.SimpleNamespace(
        name=name, size=sizes.get(name, BATCH_SIZE)))
    state, _ = run(make_plan(1, log_interval=100), losses={5: 10.0})
    assert state.curve[0]['loss'] == pytest.approx((4 * 4 * 1 + 1 * 10) / 17)


def test_history_and_curve():
    state, _ = run(make_plan(2, log_interval=100), scores=[0.5, 0.75])
    assert state.history == [
        {'epoch': 1, 'step': 5, 'metrics': {'dev': {'accuracy': 0.5, 'f1': 0.1}}},
        {'epoch': 2, 'step': 10, 'metrics': {'dev': {'accuracy': 0.75, 'f1': 0.1}}}]
    assert [(point['step'], point['lr']) for point in state.curve] == [(5, 0.005), (10, 0.01)]


def test_speed_counts_training_alone(clock):
    recorder = Recorder()
    recorder.on_step = lambda: setattr(clock, 'now', clock.now + 2)
    recorder.on_evaluate = lambda: setattr(clock, 'now', clock.now + 1000)
    recorder.save = lambda state: setattr(clock, 'now', clock.now + 500)
    state = make_loop(recorder, make_plan(2, log_interval=2, checkpoint_interval=1)).run()
    assert [point['examples_per_second'] for point in state.curve] == pytest.approx(
        [BATCH_SIZE / 2] * len(state.curve))


def test_remaining_time_is_logged_after_some_steps(clock, caplog):
    caplog.set_level(logging.INFO)
    recorder = Recorder()
    recorder.on_step = lambda: setattr(clock, 'now', clock.now + 3)
    make_loop(recorder, make_plan(4)).run()
    assert [message for message in caplog.messages if 'to go' in message] == [
        '10 of 20 steps done, about 30 s to go']
    caplog.clear()
    make_loop(recorder, make_plan(4), TrainerState(step=7, epoch=1, position=2)).run()
    assert [message for message in caplog.messages if 'to go' in message] == [
        '17 of 20 steps done, about 9 s to go']


def test_the_bar_shows_every_step(monkeypatch):
    updates = []

    @contextlib.contextmanager
    def progress(total, initial=0, **options):
        updates.append((initial, total))
        yield types.SimpleNamespace(update=updates.append)
    monkeypatch.setattr(module, 'progress_bar', progress)
    _, recorder = run(make_plan(2, checkpoint_interval=7))
    assert updates == [(0, 10)] + [1] * 10
    updates.clear()
    run(make_plan(2), TrainerState(**recorder.states[1]))
    assert updates == [(7, 10)] + [1] * 3


def test_seconds_add_up_over_sessions(clock):
    recorder = Recorder()
    recorder.on_step = lambda: setattr(clock, 'now', clock.now + 1)
    make_loop(recorder, make_plan(2, checkpoint_interval=3)).run()
    state = TrainerState(**recorder.states[0])
    assert (state.step, state.seconds) == (3, 3)
    clock.now += 10000
    assert make_loop(recorder, make_plan(2), state).run().seconds == 10


# ---- checkpoints

def test_checkpoints_at_the_interval_and_after_each_epoch():
    _, recorder = run(make_plan(2, checkpoint_interval=2))
    assert [(state['step'], state['epoch'], state['position']) for state in recorder.states] == [
        (2, 0, 2), (4, 0, 4), (5, 1, 0), (6, 1, 1), (8, 1, 3), (10, 1, 5), (10, 2, 0)]


def test_a_run_resumed_from_any_checkpoint_does_the_remaining_steps():
    plan = make_plan(3, accumulate=2, checkpoint_interval=1, log_interval=100)
    scores = [0.5, 0.7, 0.6]
    full_state, recorder = run(plan, scores=scores)
    assert len(recorder.states) == 12
    for saved_state in recorder.states:
        state, rerun = run(plan, TrainerState(**copy.deepcopy(saved_state)),
                           scores=scores[saved_state['epoch']:])
        assert recorder.steps[:saved_state['step']] + rerun.steps == recorder.steps
        assert state.history == full_state.history
        assert (state.best_step, state.best_score) == (full_state.best_step, full_state.best_score)
        assert (state.step, state.epoch, state.position) == (9, 3, 0)


def test_the_losses_of_a_resumed_run_are_those_of_an_undisturbed_one(clock):
    """Its first log line counts the steps before the resume, too."""
    losses = {step: step / 7 for step in range(1, 11)}
    plan = make_plan(2, checkpoint_interval=1, log_interval=3)
    recorder = Recorder(losses=losses)
    recorder.on_step = lambda: setattr(clock, 'now', clock.now + 2)
    curve = make_loop(recorder, plan).run().curve
    assert [point['step'] for point in curve] == [3, 5, 8, 10]
    for saved_state in recorder.states:
        clock.now += 1000
        rerun = Recorder(losses=losses)
        rerun.on_step = recorder.on_step
        assert make_loop(rerun, plan, TrainerState(**copy.deepcopy(saved_state))).run().curve == \
            curve


def test_the_metrics_of_a_resumed_epoch_say_what_they_count(caplog):
    caplog.set_level(logging.INFO)
    plan = make_plan(2, checkpoint_interval=1)
    _, recorder = run(plan, metric=Metric(['accuracy']))
    assert 'resumed' not in caplog.text
    state = next(state for state in recorder.states if state['step'] == NUM_BATCHES + 2)
    run(plan, TrainerState(**state), metric=Metric(['accuracy']))
    assert ('metrics of epoch 2: of the batches after 2, where the run was resumed'
            in caplog.messages)


def test_a_finished_run_does_nothing():
    plan = make_plan(1)
    _, recorder = run(plan)
    state, rerun = run(plan, TrainerState(**recorder.states[-1]))
    assert (rerun.steps, rerun.states, rerun.evaluations) == ([], [], 0)
    assert state.step == 5


# ---- the best checkpoint, and stopping early

def run_with_scores(scores, **options):
    return run(make_plan(len(scores), **options), scores=scores)


def test_the_best_evaluation_is_the_first_of_the_highest():
    state, recorder = run_with_scores([0.5, 0.8, 0.6, 0.8])
    assert (state.best_step, state.best_score) == (10, 0.8)
    assert [saved_state['best_step'] for saved_state in recorder.states] == [5, 10, 10, 10]


def test_a_score_without_a_value_chooses_no_checkpoint(caplog):
    nan = float('nan')
    assert run_with_scores([nan, 0.2, nan])[0].best_step == 10
    assert run_with_scores([-0.4, nan])[0].best_step == 5
    assert run_with_scores([nan, nan])[0].best_step == 10       # the last one
    assert run_with_scores([nan, -0.5])[0].best_step == 10
    caplog.clear()
    state, recorder = run_with_scores([NoValue('all predictions are equal'), 0.2])
    assert ('dev accuracy has no value (all predictions are equal), so it can\'t choose the best '
            'checkpoint') in caplog.messages
    assert [saved_state['best_step'] for saved_state in recorder.states] == [5, 10]


def test_without_dev_data_the_last_checkpoint_is_the_best():
    state, _ = run_with_scores([{}, {}])
    assert state.best_step == 10 and state.best_score is None


def test_the_first_metric_of_the_first_segment_decides():
    def scores(matched, mismatched):
        return {'dev_matched': [('accuracy', matched)],
                'dev_mismatched': [('accuracy', mismatched)]}
    assert run_with_scores([scores(0.5, 0.9), scores(0.6, 0.1)])[0].best_step == 10


def test_early_stop_after_several_evaluations_without_gain(caplog):
    caplog.set_level(logging.INFO)
    state, recorder = run_with_scores([0.5, 0.6, 0.6, 0.5, 0.9], early_stop=2)
    assert state.stopped_early and state.step == 20
    assert 'Early stopping at epoch 4' in caplog.messages
    assert recorder.states[-1]['stopped_early']
    assert not run_with_scores([0.5, 0.4, 0.6, 0.5, 0.9], early_stop=2)[0].stopped_early


def test_two_dev_segments_cost_patience_once_an_epoch():
    # the original took it twice
    metrics = {'dev_matched': [('accuracy', 0.5)], 'dev_mismatched': [('accuracy', 0.5)]}
    state, _ = run_with_scores([metrics, metrics, metrics, metrics], early_stop=3)
    assert state.step == 20 and state.stopped_early


def test_a_run_that_stopped_early_stays_stopped():
    state, recorder = run_with_scores([0.5, 0.4, 0.3], early_stop=1)
    assert state.step == 10
    state, rerun = run(make_plan(3, early_stop=1), TrainerState(**recorder.states[-1]))
    assert rerun.steps == []


def test_patience_goes_on_after_a_resume():
    _, recorder = run_with_scores([0.5, 0.4, 0.3, 0.2], early_stop=3)
    state, _ = run(make_plan(9, early_stop=3), TrainerState(**recorder.states[1]),
                   scores=[0.1, 0.1, 0.1])
    assert state.stopped_early and state.step == 20


# ---- not finite

def fail_run(losses=None, norms=None, float16=False, **options):
    recorder = Recorder(losses=losses, norms=norms)
    recorder.loss_scale.enabled = float16
    with pytest.raises(UserError) as error:
        make_loop(recorder, make_plan(2, **options)).run()
    return str(error.value), recorder


HINT = '. A lower --lr or a higher --warmup_ratio usually helps'


@pytest.mark.parametrize('value,text', [(math.nan, 'nan'), (math.inf, 'inf')])
def test_loss_that_is_not_finite_names_the_step(value, text):
    message, recorder = fail_run(losses={4: value, 5: value})
    assert message == ('the loss of step 4 is %s: training stopped; there was no checkpoint yet'
                       % text + HINT)
    assert recorder.states == []


def test_the_last_good_checkpoint_is_kept_and_named():
    message, recorder = fail_run(losses={7: math.nan}, checkpoint_interval=1, log_interval=100)
    assert message == ('the loss of step 7 is nan: training stopped; the checkpoint of step 6 is '
                       'kept' + HINT)
    assert recorder.states[-1]['step'] == 6
    message, recorder = fail_run(losses={7: math.nan}, log_interval=100)
    assert 'the checkpoint of step 5 is kept' in message


def test_gradient_that_is_not_finite():
    message, _ = fail_run(norms={3: math.inf})
    assert message.startswith('the gradient norm of step 3 is inf: training stopped; ')


def test_in_float16_a_gradient_may_overflow_but_not_the_loss():
    recorder = Recorder(norms={3: math.inf})
    recorder.loss_scale.enabled = True
    assert make_loop(recorder, make_plan(2)).run().step == 10
    assert fail_run(losses={3: math.inf}, float16=True)[0].startswith('the loss of step 3 is inf')


def test_a_model_that_is_no_longer_finite_is_not_evaluated():
    _, recorder = fail_run(losses={5: math.nan}, log_interval=100)
    assert recorder.evaluations == 0


# ---- Ctrl-C

def run_interrupted(at_step=None, at_evaluation=False, signal_number=signal.SIGINT, count=1):
    recorder = Recorder()

    def send(condition=True):
        for _ in range(count if condition else 0):
            os.kill(os.getpid(), signal_number)
    recorder.on_step = lambda: send(len(recorder.steps) == at_step)
    recorder.on_evaluate = lambda: send(at_evaluation)
    before = signal.getsignal(signal_number)
    with pytest.raises(KeyboardInterrupt) as error:
        make_loop(recorder, make_plan(2)).run()
    assert signal.getsignal(signal_number) is before
    return recorder, error.type


@pytest.mark.parametrize('signal_number', [signal.SIGINT, signal.SIGTERM])
def test_interrupt_ends_the_step_and_saves(signal_number):
    recorder, error_type = run_interrupted(at_step=3, signal_number=signal_number)
    assert error_type is TrainingInterrupted
    assert len(recorder.steps) == 3
    assert [(state['step'], state['position']) for state in recorder.states] == [(3, 3)]
    state, rerun = run(make_plan(2), TrainerState(**recorder.states[0]))
    assert rerun.steps[0][:2] == (4, ['0.3']) and state.step == 10


def test_interrupt_at_the_last_step_of_an_epoch_resumes_with_the_evaluation():
    recorder, _ = run_interrupted(at_step=5)
    assert (recorder.states[-1]['step'], recorder.states[-1]['position']) == (5, 5)
    assert recorder.evaluations == 0
    state, rerun = run(make_plan(2), TrainerState(**recorder.states[-1]))
    assert len(rerun.steps) == 5 and rerun.evaluations == 2


def test_interrupt_in_an_evaluation_is_saved_and_evaluated_again():
    recorder, error_type = run_interrupted(at_evaluation=True)
    assert error_type is TrainingInterrupted
    assert (recorder.states[-1]['step'], recorder.states[-1]['epoch']) == (5, 0)
    assert recorder.states[-1]['history'] == []
    state, rerun = run(make_plan(2), TrainerState(**recorder.states[-1]))
    assert [entry['step'] for entry in state.history] == [5, 10]


def test_a_second_interrupt_ends_at_once():
    recorder, error_type = run_interrupted(at_step=3, count=2)
    assert error_type is KeyboardInterrupt
    assert recorder.states == []


# ---- reading results

def test_results_are_not_waited_for_at_every_step(monkeypatch):
    reads = []
    asscalar = mx.nd.NDArray.asscalar
    monkeypatch.setattr(mx.nd.NDArray, 'asscalar', lambda array: reads.append(1) or asscalar(array))
    recorder = Recorder()
    recorder.on_step = lambda: counts.append(len(reads))
    counts = []
    make_loop(recorder, make_plan(1, log_interval=4)).run()
    assert counts == [0, 0, 0, 0, 8]        # loss and norm of four steps, once


def test_metric_of_an_epoch_begins_anew(monkeypatch):
    metric = Metric(('accuracy',))
    resets, labels = [], []
    update = metric.update
    monkeypatch.setattr(metric, 'reset', lambda: resets.append(len(labels)))
    monkeypatch.setattr(metric, 'update', lambda *arrays: (labels.extend(arrays[0]),
                                                           update(*arrays)))
    run(make_plan(3), metric=metric)
    assert resets == [0, 10, 20] and len(labels) == 2 * 5 * 3


def test_parameters_that_are_not_finite_are_not_saved():
    recorder = Recorder()
    recorder.on_step = lambda: setattr(recorder, 'finite_parameters', len(recorder.steps) < 7)
    with pytest.raises(UserError) as error:
        make_loop(recorder, make_plan(checkpoint_interval=1)).run()
    assert str(error.value).startswith(
        'a parameter is no longer finite after step 7: training stopped; the checkpoint of step 6 '
        'is kept.')
    assert [state['step'] for state in recorder.states][-1] == 6
