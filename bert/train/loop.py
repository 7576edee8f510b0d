"""The training loop of every script: steps, log lines, evaluation, checkpoints, resume."""
import contextlib
import dataclasses
import logging
import math
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

from bert.errors import UserError
from bert.train.log import duration, progress
from bert.train.metrics import format_metrics

ESTIMATE_AFTER = 10     # steps until the remaining time is worth telling


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long to train and how often to look."""
    num_epochs: int
    num_steps: int              # optimizer steps in all
    accumulate: int = 1         # micro-batches a step
    log_interval: int = 10      # micro-batches a log line
    checkpoint_interval: int = 0    # steps between checkpoints inside an epoch; 0: none
    early_stop: int | None = None    # evaluations without a better score before stopping
    # Steps between evaluations, whose scores then don't choose a best checkpoint: the newest is
    # it. None: an evaluation at the end of each epoch.
    evaluation_interval: int | None = None


@dataclasses.dataclass
class State:
    """Where a run stands; saved as JSON in every checkpoint."""
    step: int = 0
    epoch: int = 0
    position: int = 0           # micro-batches of this epoch that are done
    best_step: int = 0
    best_score: float | None = None
    evaluations_without_gain: int = 0
    stopped_early: bool = False
    seconds: float = 0.0        # spent training, evaluation and earlier sessions included
    history: list[dict] = dataclasses.field(default_factory=list)   # one entry an evaluation
    curve: list[dict] = dataclasses.field(default_factory=list)     # one entry a log line


class LogEntry(NamedTuple):
    """What a log line of training tells of the micro-batches since the last one."""
    epoch: int              # from 0
    batch: int              # micro-batches of this epoch that are done
    num_batches: int        # in the epoch
    loss: float
    rate: float             # learning rate of the last step
    metrics: list           # of (name, value), over the epoch so far
    seconds: float
    examples_per_second: float
    step: int               # optimizer steps that are done
    steps: int              # of them since the last line


def classifier_line(entry):
    """The line of the original finetune_classifier.py."""
    line = '[Epoch %d Batch %d/%d] loss=%.4f, lr=%.7f' % (
        entry.epoch + 1, entry.batch, entry.num_batches, entry.loss, entry.rate)
    return line + (', metrics:' + format_metrics(entry.metrics) if entry.metrics else '')


def count_steps(num_examples, batch_size, accumulate, num_epochs):
    """Optimizer steps of `num_epochs`; the last step of an epoch may hold fewer batches."""
    return math.ceil(math.ceil(num_examples / batch_size) / accumulate) * num_epochs


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM arrived, and the run was saved."""


class Interrupt:
    """Context in which the first SIGINT or SIGTERM only sets `requested`, so that a step can
    end and be saved; a second one acts at once."""

    requested = False

    def __enter__(self):
        self._before = {number: signal.signal(number, self._note)
                        for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, number, frame):
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Window:
    """What happened since the last log line. Reading it waits for the device, so it is read
    once a line and before a checkpoint, not at every step."""

    def __init__(self, metric):
        self._metric = metric
        self._steps = []        # (step number, StepResult)
        self._loss, self._examples, self.micro_batches, self.steps = 0.0, 0, 0, 0
        self._started = time.time()

    def add(self, number, result, num_batches):
        self._steps.append((number, result))
        self.micro_batches += num_batches
        self.steps += 1
        if len(self._steps) > 1:    # keep the queue of pending work, and its memory, short
            self._steps[-2][1].loss.wait_to_read()

    def read(self, float16=False):
        """Move pending results into the sums; UserError names the first step whose loss or
        gradient is not finite."""
        for number, result in self._steps:
            loss = float(result.loss.asscalar())
            norm = float(result.gradient_norm.asscalar())
            if not math.isfinite(loss) or not (float16 or math.isfinite(norm)):
                raise NotFinite(number, 'loss' if not math.isfinite(loss) else 'gradient norm',
                                norm if math.isfinite(loss) else loss)
            self._loss += loss * result.all_examples
            self._examples += result.num_examples
            if self._metric is not None:
                for labels, outputs in result.outputs:
                    self._metric.update(labels.asnumpy(), outputs.asnumpy())
        self._steps = []

    def close(self, sum_over_workers=list):
        """(mean loss, examples, seconds) since the last call; starts anew."""
        (loss, examples), now = sum_over_workers([self._loss, self._examples]), time.time()
        loss, examples = float(loss / max(examples, 1)), int(examples)
        seconds = max(now - self._started, 1e-9)
        self._loss, self._examples, self.micro_batches, self.steps = 0.0, 0, 0, 0
        self._started = now
        return loss, examples, seconds

    @contextlib.contextmanager
    def paused(self):
        """Context for what is not training: its time doesn't count in the speed."""
        started = time.time()
        yield
        self._started += time.time() - started


class NotFinite(Exception):
    """A step whose loss or gradient is no number."""


class Loop:
    """Trains until the plan ends.

    stepper: a `Stepper`.
    batches_of: function(epoch) → list of index arrays, the same for the same epoch.
    load_batch: function(index array) → batch with a `size`.
    rate_of: function(step, from 1) → learning rate.
    evaluate: function(interrupt) → {segment: [(metric, value)]}, or None when it stopped
        because of `interrupt.requested`; the first metric of the first segment (higher is
        better) chooses the best checkpoint.
    save: function(state), writes a checkpoint.
    metric: a `Metric` for the log lines of training, or None.
    log_line: function(`LogEntry`) → text.
    sum_over_workers: function(list of numbers) → their sums over all workers that train together.
    """

    def __init__(self, plan, stepper, batches_of: Callable, load_batch: Callable,
                 rate_of: Callable, evaluate: Callable, save: Callable, metric=None,
                 state=None, log_line: Callable = classifier_line,
                 sum_over_workers: Callable = list):
        self.plan, self.state = plan, state or State()
        self._stepper, self._batches_of, self._load_batch = stepper, batches_of, load_batch
        self._rate_of, self._evaluate, self._save, self._metric = rate_of, evaluate, save, metric
        self._log_line, self._sum = log_line, sum_over_workers
        self._window = Window(metric)
        self._saved_step = self.state.step if state else None
        self._session_start, self._seconds_before = time.time(), self.state.seconds
        self._first_step = self.state.step

    def run(self):
        """Returns the final `State`. Raises Interrupted after saving on Ctrl-C, UserError when
        the loss is no longer finite."""
        with Interrupt() as self._interrupt, \
                progress(self.plan.num_steps, self.state.step) as self._bar:
            self._evaluate_if_due()     # after an interruption in an evaluation
            while not self._done():
                self._epoch()
            if self._interrupt.requested:   # during the last evaluation or checkpoint
                raise Interrupted
        return self.state

    @property
    def is_last_epoch(self):
        """Whether the epoch under way ends the training, unless it stops early."""
        return (self.state.epoch + 1 >= self.plan.num_epochs
                or self.state.step >= self.plan.num_steps)

    def _done(self):
        state = self.state
        return (state.stopped_early or state.epoch >= self.plan.num_epochs
                or (state.step >= self.plan.num_steps and state.position == 0))

    def _epoch(self):
        state, plan = self.state, self.plan
        batches = self._batches_of(state.epoch)
        if self._metric is not None:
            self._metric.reset()
        while state.position < len(batches) and state.step < plan.num_steps:
            self._step(batches)
            if self._sum([self._interrupt.requested])[0]:   # all stop after one step
                self._checkpoint()
                raise Interrupted
            is_evaluated = self._evaluate_if_due()
            if (not is_evaluated and plan.checkpoint_interval
                    and state.step % plan.checkpoint_interval == 0):
                self._checkpoint()
        self._end_epoch()

    def _step(self, batches):
        state, plan = self.state, self.plan
        group = batches[state.position:state.position + plan.accumulate]
        rate = self._rate_of(state.step + 1)
        result = self._stepper.step(state.step + 1, [self._load_batch(i) for i in group], rate)
        state.step += 1
        state.position += len(group)
        self._window.add(state.step, result, len(group))
        self._bar.update(1)
        ends_epoch = state.position >= len(batches) and not plan.evaluation_interval
        if (self._window.micro_batches >= plan.log_interval or ends_epoch
                or state.step >= plan.num_steps):
            self._log(rate, len(batches))
        if state.step - self._first_step == ESTIMATE_AFTER:
            self._log_estimate()

    def _log(self, rate, num_batches):
        self._read_window()
        steps = self._window.steps
        loss, examples, seconds = self._window.close(self._sum)
        speed = examples / seconds
        state = self.state
        values = self._metric.get() if self._metric is not None else []
        logging.info(self._log_line(LogEntry(state.epoch, state.position, num_batches, loss, rate,
                                             values, seconds, speed, state.step, steps)))
        state.curve.append({'step': state.step, 'loss': loss, 'lr': rate,
                            'examples': examples, 'examples_per_second': speed})

    def _log_estimate(self):
        self._read_window()
        done = self.state.step - self._first_step
        left = self.plan.num_steps - self.state.step
        logging.info('%d of %d steps done, about %s to go', self.state.step, self.plan.num_steps,
                     duration((time.time() - self._session_start) / done * left))

    def _read_window(self):
        try:
            self._window.read(self._stepper.loss_scale.enabled)
        except NotFinite as error:
            number, what, value = error.args
            self._stop('the %s of step %d is %s' % (what, number, value))

    def _stop(self, problem):
        """End a training that went astray, saying what is left of it."""
        kept = ('the checkpoint of step %d is kept' % self._saved_step if self._saved_step
                else 'there was no checkpoint yet')
        raise UserError('%s: training stopped; %s. A lower --lr or a longer --warmup_ratio '
                        'usually mends it' % (problem, kept)) from None

    def _end_epoch(self):
        """Evaluate, judge, save; the state then points at the next epoch."""
        state = self.state
        if not self.plan.evaluation_interval:
            self._judge(self._evaluate_now())
        state.epoch, state.position = state.epoch + 1, 0
        if not self.plan.evaluation_interval:
            self._checkpoint()

    def _evaluate_now(self):
        """The scores, also kept in the history."""
        state = self.state
        with self._window.paused():
            results = self._evaluate(self._interrupt)
        if results is None:         # interrupted: resume evaluates again
            self._checkpoint()
            raise Interrupted
        state.history.append({'epoch': state.epoch + 1, 'step': state.step,
                              'metrics': {name: dict(values) for name, values in results.items()}})
        return results

    def _evaluate_if_due(self):
        """With an evaluation_interval: evaluate and save where it, or the training, ends. Returns
        whether it did."""
        state, plan = self.state, self.plan
        is_done = bool(state.history) and state.history[-1]['step'] == state.step
        if (not plan.evaluation_interval or not state.step or is_done
                or (state.step % plan.evaluation_interval and state.step < plan.num_steps)):
            return False
        self._evaluate_now()
        self._checkpoint()
        return True

    def _judge(self, results):
        """Keep the best score: the first metric of the first dev segment (MNLI: matched)."""
        state = self.state
        if not results:
            state.best_step = state.step
            return
        score = next(iter(results.values()))[0][1]
        if math.isnan(score):
            score = -1.0    # a constant prediction correlates with nothing: the least of all
        if state.best_score is None or score > state.best_score:
            state.best_score, state.best_step = score, state.step
            state.evaluations_without_gain = 0
            return
        state.evaluations_without_gain += 1
        patience = self.plan.early_stop
        if patience is not None and state.evaluations_without_gain >= patience:
            state.stopped_early = True
            logging.info('Early stopping at epoch %d', state.epoch + 1)

    def _checkpoint(self):
        self._read_window()     # a model that is no longer finite is not worth keeping
        if not self._stepper.is_finite():
            self._stop('a parameter is no longer finite after step %d' % self.state.step)
        self.state.seconds = self._seconds_before + time.time() - self._session_start
        if self.plan.evaluation_interval:
            self.state.best_step = self.state.step
        with self._window.paused():
            self._save(self.state)
        self._saved_step = self.state.step
