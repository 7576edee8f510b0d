"""The training loop of every script: steps, log lines, evaluation, checkpoints, resume, Ctrl-C."""
import contextlib
import dataclasses
import logging
import math
import signal
import threading
import time
from typing import NamedTuple, Protocol

from bert.errors import UserError
from bert.train.log import format_duration, progress_bar
from bert.train.metrics import format_metrics

STEPS_BEFORE_ESTIMATE = 10     # steps before the first estimate of the remaining time


@dataclasses.dataclass
class TrainerState:
    """The state of a run; saved as JSON in every checkpoint."""
    step: int = 0
    epoch: int = 0
    position: int = 0           # finished micro-batches of this epoch
    best_step: int = 0
    best_score: float | None = None
    evaluations_without_gain: int = 0
    stopped_early: bool = False
    seconds: float = 0.0        # training time, including evaluation and earlier sessions
    history: list[dict] = dataclasses.field(default_factory=list)   # one entry per evaluation
    curve: list[dict] = dataclasses.field(default_factory=list)     # one entry per log line
    # of the steps since the last log line: `RunningStats.sums`
    unlogged: dict | None = None


class LogEntry(NamedTuple):
    """The content of a training log line: the micro-batches since the last line."""
    epoch: int              # from 0
    batch: int              # finished micro-batches of this epoch
    num_batches: int        # in the epoch
    loss: float
    rate: float             # learning rate of the last step
    metrics: list           # of (name, value), over the epoch so far
    seconds: float
    examples_per_second: float
    step: int               # finished optimizer steps
    steps: int              # those since the last line


def format_classifier_line(entry):
    """The log line of the original finetune_classifier.py."""
    line = '[Epoch %d Batch %d/%d] loss=%.4f, lr=%.7f' % (
        entry.epoch + 1, entry.batch, entry.num_batches, entry.loss, entry.rate)
    return line + (', metrics:' + format_metrics(entry.metrics) if entry.metrics else '')


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM arrived, and the run was saved."""


class EvaluationInterrupted(Exception):
    """Ctrl-C or SIGTERM arrived during an evaluation."""


class InterruptHandler:
    """Context in which the first SIGINT or SIGTERM only sets `is_requested`, so that the current
    step can end and be saved. The second one raises `KeyboardInterrupt`."""

    is_requested = False

    def __enter__(self):
        # Python lets only the main thread handle signals
        is_main = threading.current_thread() is threading.main_thread()
        self._old_handlers = {number: signal.signal(number, self._handle)
                              for number in ((signal.SIGINT, signal.SIGTERM) if is_main else ())}
        return self

    def _handle(self, number, frame):
        if self.is_requested:
            raise KeyboardInterrupt
        self.is_requested = True

    def __exit__(self, *exception):
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)


class RunningStats:
    """Sums over the steps since the last log line. Reading them waits for the device, so the loop
    reads them once per line and before a checkpoint, not at every step. sums: what `sums` returned
    in the session before, or None."""

    def __init__(self, metric, workers, sums=None):
        self._metric, self._workers = metric, workers
        self._pending = []      # (step, StepResult)
        sums = sums or dict(loss=0.0, examples=0, micro_batches=0, steps=0, seconds=0.0)
        self._loss, self._examples = 0.0, 0     # of this worker alone
        if not workers.rank:
            self._loss, self._examples = sums['loss'], sums['examples']
        self.micro_batches, self.steps = sums['micro_batches'], sums['steps']
        self._started = time.time() - sums['seconds']

    def add(self, step, result, num_batches):
        self._pending.append((step, result))
        self.micro_batches += num_batches
        self.steps += 1
        if len(self._pending) > 1:      # limit the queued work, and its memory, to two steps
            self._pending[-2][1].loss.wait_to_read()

    def read_pending(self, float16=False):
        """Add the pending results to the sums. Raises `NonFiniteError` for the first step whose
        loss or gradient norm is not finite. float16: an overflow of the norm is no error."""
        for step, result in self._pending:
            loss = float(result.loss.asscalar())
            norm = float(result.gradient_norm.asscalar())
            if not math.isfinite(loss) or not (float16 or math.isfinite(norm)):
                raise NonFiniteError(step, 'loss' if not math.isfinite(loss) else 'gradient norm',
                                     norm if math.isfinite(loss) else loss)
            self._loss += loss * result.all_examples
            self._examples += result.num_examples
            if self._metric is not None:
                for labels, outputs in result.outputs:
                    self._metric.update(labels.asnumpy(), outputs.asnumpy())
        self._pending = []

    def sums(self):
        """What a resume needs to go on with the sums of all workers, as values for JSON."""
        loss, examples = self._workers.sum([self._loss, self._examples])
        return {'loss': float(loss), 'examples': int(examples), 'steps': self.steps,
                'micro_batches': self.micro_batches, 'seconds': time.time() - self._started}

    def pop_totals(self):
        """(mean loss, number of examples, seconds) since the last call; resets the sums."""
        sums = self.sums()
        self._loss, self._examples, self.micro_batches, self.steps = 0.0, 0, 0, 0
        self._started = time.time()
        return (sums['loss'] / max(sums['examples'], 1), sums['examples'],
                max(sums['seconds'], 1e-9))

    @contextlib.contextmanager
    def pause(self):
        """Context for work other than training: its time doesn't count in the speed."""
        started = time.time()
        yield
        self._started += time.time() - started


class NonFiniteError(Exception):
    """The loss or the gradient norm of a step is infinite or not a number. Arguments: step, name
    of the value, value."""


class LoopHost(Protocol):
    """What a `Loop` runs: a `bert.train.trainer.Trainer`. stepper: a `Stepper`; metric: a `Metric`
    for the log lines of training, or None; workers: of `bert.train.workers`."""

    def batches_of(self, epoch):
        """List of index arrays, always the same ones for an epoch."""

    def load_batch(self, indices):
        """The batch of an index array."""

    def learning_rate(self, step):
        """The learning rate of a step, counted from 1."""

    def evaluate(self, interrupt, is_last_epoch):
        """{segment: [(metric, value)]}, or None if it stopped because of `interrupt.is_requested`.
        The first metric of the first segment (higher is better) chooses the best checkpoint."""

    def save(self, state):
        """Write a checkpoint."""

    def log_line(self, entry):
        """The text of a `LogEntry`."""


class Loop:
    """Trains until the plan ends. What happens between the steps is in its subclasses."""
    logs_ends_of_epochs = True

    def __init__(self, plan, host: LoopHost, state=None):
        self.plan, self.state, self.host = plan, state or TrainerState(), host
        self._stats = RunningStats(host.metric, host.workers, self.state.unlogged)
        self._saved_step = self.state.step if state else None
        self._session_start, self._seconds_before = time.time(), self.state.seconds
        self._first_step = self.state.step
        self._interrupt = InterruptHandler()

    def run(self):
        """Train; returns the final `TrainerState`. Raises `TrainingInterrupted` after Ctrl-C or
        SIGTERM and a checkpoint, `UserError` when the loss is no longer finite."""
        state, host = self.state, self.host
        with self._interrupt, progress_bar(self.plan.num_steps, state.step) as bar:
            self._start()
            while not self._is_done():
                batches = self._begin_epoch()
                while state.position < len(batches) and state.step < self.plan.num_steps:
                    micro_batches = batches[state.position:state.position + self.plan.accumulate]
                    rate = host.learning_rate(state.step + 1)
                    result = host.stepper.step(
                        state.step + 1, [host.load_batch(item) for item in micro_batches], rate)
                    self._count_step(result, len(micro_batches), rate, len(batches))
                    bar.update(1)
                    self._stop_if_interrupted()
                    self._end_step()
                self._end_epoch()
            if self._interrupt.is_requested:   # during the last evaluation or checkpoint
                raise TrainingInterrupted
        return state

    @property
    def is_last_epoch(self):
        """Whether the current epoch is the last one, apart from early stopping."""
        return (self.state.epoch + 1 >= self.plan.num_epochs
                or self.state.step >= self.plan.num_steps)

    def _is_done(self):
        state = self.state
        return (state.stopped_early or state.epoch >= self.plan.num_epochs
                or (state.step >= self.plan.num_steps and state.position == 0))

    def _begin_epoch(self):
        """The batches of the current epoch."""
        if self.host.metric is not None:
            self.host.metric.reset()
            if self.state.position:
                logging.info('metrics of epoch %d: of the batches after %d, where the run was '
                             'resumed', self.state.epoch + 1, self.state.position)
        return self.host.batches_of(self.state.epoch)

    def _count_step(self, result, num_micro_batches, rate, num_batches):
        """Count a finished step, and log if it is time to."""
        state, plan = self.state, self.plan
        state.step += 1
        state.position += num_micro_batches
        self._stats.add(state.step, result, num_micro_batches)
        ends_epoch = state.position >= num_batches and self.logs_ends_of_epochs
        if (self._stats.micro_batches >= plan.log_interval or ends_epoch
                or state.step >= plan.num_steps):
            self._log_progress(rate, num_batches)
        if state.step - self._first_step == STEPS_BEFORE_ESTIMATE:
            self._log_estimate()

    def _stop_if_interrupted(self):
        # a signal to one worker stops all of them after the same step
        if self.host.workers.sum([self._interrupt.is_requested])[0]:
            self._save_checkpoint()
            raise TrainingInterrupted

    def _save_at_interval(self):
        interval = self.plan.checkpoint_interval
        if interval and self.state.step % interval == 0:
            self._save_checkpoint()

    def _log_progress(self, rate, num_batches):
        self._read_stats()
        steps = self._stats.steps
        loss, examples, seconds = self._stats.pop_totals()
        speed = examples / seconds
        state, metric = self.state, self.host.metric
        values = metric.get() if metric is not None else []
        logging.info(self.host.log_line(LogEntry(
            state.epoch, state.position, num_batches, loss, rate, values, seconds, speed,
            state.step, steps)))
        state.curve.append({'step': state.step, 'loss': loss, 'lr': rate,
                            'examples': examples, 'examples_per_second': speed})

    def _log_estimate(self):
        self._read_stats()
        step, num_steps = self.state.step, self.plan.num_steps
        seconds_per_step = (time.time() - self._session_start) / (step - self._first_step)
        logging.info('%d of %d steps done, about %s to go', step, num_steps,
                     format_duration(seconds_per_step * (num_steps - step)))

    def _read_stats(self):
        try:
            self._stats.read_pending(self.host.stepper.loss_scale.enabled)
        except NonFiniteError as error:
            step, name, value = error.args
            self._stop('the %s of step %d is %s' % (name, step, value))

    def _stop(self, problem):
        """End a training that failed: a `UserError` with the problem and the last checkpoint."""
        step = self._saved_step
        checkpoint = ('the checkpoint of step %d is kept' % step if step
                      else 'there was no checkpoint yet')
        raise UserError('%s: training stopped; %s. A lower --lr or a higher --warmup_ratio '
                        'usually helps' % (problem, checkpoint)) from None

    def _evaluate(self):
        """The scores, which also go into the history."""
        state = self.state
        self._check_finite()
        with self._stats.pause():
            results = self.host.evaluate(self._interrupt, self.is_last_epoch)
        if results is None:         # interrupted: a resume repeats the evaluation
            self._save_checkpoint()
            raise TrainingInterrupted
        state.history.append({'epoch': state.epoch + 1, 'step': state.step,
                              'metrics': {name: dict(values) for name, values in results.items()}})
        return results

    def _check_finite(self):
        """End the training if the model is no longer finite."""
        self._read_stats()
        if not self.host.stepper.is_finite():
            self._stop('a parameter is no longer finite after step %d' % self.state.step)

    def _save_checkpoint(self):
        self._check_finite()    # don't save such a model
        self.state.unlogged = self._stats.sums()
        self.state.seconds = self._seconds_before + time.time() - self._session_start
        with self._stats.pause():
            self.host.save(self.state)
        self._saved_step = self.state.step

    def _start(self):
        """Do what the last session could not do any more."""

    def _end_step(self):
        """Save, or evaluate, after a step."""

    def _end_epoch(self):
        """The state then points at the next epoch."""
        self.state.epoch, self.state.position = self.state.epoch + 1, 0


class EpochLoop(Loop):
    """Evaluates and saves at the end of each epoch. The best score chooses the best checkpoint, and
    may stop the training early."""

    def _end_step(self):
        self._save_at_interval()

    def _end_epoch(self):
        self._update_best(self._evaluate())
        super()._end_epoch()
        self._save_checkpoint()

    def _update_best(self, results):
        """Update the best score and the early stopping. The score is the first metric of the first
        dev segment (MNLI: matched). Until there is one with a value, the last checkpoint is the
        best."""
        state = self.state
        if not results:
            state.best_step = state.step
            return
        segment, ((metric, score), *_) = next(iter(results.items()))
        if math.isnan(score):
            logging.warning('%s %s has no value (%s), so it can\'t choose the best checkpoint',
                            segment, metric,
                            getattr(score, 'reason', 'undefined'))
            if state.best_score is None:
                state.best_step = state.step
        elif state.best_score is None or score > state.best_score:
            state.best_score, state.best_step = score, state.step
            state.evaluations_without_gain = 0
            return
        state.evaluations_without_gain += 1
        patience = self.plan.early_stop
        if patience is not None and state.evaluations_without_gain >= patience:
            state.stopped_early = True
            logging.info('Early stopping at epoch %d', state.epoch + 1)


class StepLoop(Loop):
    """Evaluates and saves every `plan.evaluation_interval` steps, and at the end. Scores choose no
    best checkpoint: the newest counts as the best."""
    logs_ends_of_epochs = False

    def _start(self):
        self._evaluate_if_due()     # the last session may have ended in an evaluation

    def _end_step(self):
        if not self._evaluate_if_due():
            self._save_at_interval()

    def _evaluate_if_due(self):
        """Evaluate and save if the interval or the training ends here; returns whether it does."""
        state, plan = self.state, self.plan
        is_evaluated = bool(state.history) and state.history[-1]['step'] == state.step
        if not state.step or is_evaluated or (state.step % plan.evaluation_interval
                                              and state.step < plan.num_steps):
            return False
        self._evaluate()
        self._save_checkpoint()
        return True

    def _save_checkpoint(self):
        self.state.best_step = self.state.step
        super()._save_checkpoint()


def make_loop(plan, host, state=None):
    """The `Loop` of a plan."""
    return (StepLoop if plan.evaluation_interval else EpochLoop)(plan, host, state)
