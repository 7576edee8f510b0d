"""The trainer: makes the steps of a plan on a task, with checkpoints, resume and workers."""
import dataclasses
import logging
import os
from typing import Protocol

from bert import file_names
from bert.errors import UserError
from bert.train import checkpoint, optimizer
from bert.train.loop import (
    EvaluationInterrupted,
    TrainerState,
    TrainingInterrupted,
    make_loop,
)
from bert.train.metrics import format_metrics
from bert.train.schedule import linear_warmup_decay
from bert.train.step import Stepper
from bert.train.workers import SingleWorker


class TrainingTask(Protocol):
    """What a `Trainer` trains: a network with its data. The data have a `digest`; a resume refuses
    others. metric: a `bert.train.metrics.Metric` for the log lines of training, or None.
    num_shares: number of parts that a batch is split into, over all workers and devices."""

    def forward(self, batch):
        """(losses (size,) NDArray, labels, outputs) of a part of a batch, called while
        recording."""

    def batches_of(self, epoch):
        """List of items for `load_batch`, always the same ones for an epoch."""

    def load_batch(self, item):
        """The part of a batch that this worker computes, as `bert.train.step.SplitBatch`."""

    def evaluate(self, interrupt, is_last_epoch):
        """{segment: [(metric, value)]}. Raises `EvaluationInterrupted` when interrupted."""

    def log_line(self, entry):
        """The text of a `bert.train.loop.LogEntry`."""

    def write_description(self, folder, state):
        """Write the files of a checkpoint that describe its network."""

    def load_parameters(self, path):
        """Load the parameters of one of the run's checkpoints into the network."""

    def materialize(self):
        """Initialise the parameters that otherwise get values in the first forward pass, because a
        worker may get no examples of the first batch."""


class Trainer:
    """Trains the network of a task for a `TrainingPlan`.

    options: with the fields of `bert.flags.common.StepOptions`, `optimizer`, `seed` and `resume`.
    fused_update: parameter of `optimizer.clip_and_update`. stepper_class: makes the stepper.

    All workers know all scores, and only worker 0 writes files.
    """

    def __init__(self, options, task: TrainingTask, plan, folder, workers=None, fused_update=None,
                 stepper_class=Stepper):
        self.options, self.task, self.plan, self.folder = options, task, plan, folder
        self.workers, self.metric = workers or SingleWorker(), task.metric
        is_float16 = options.dtype == 'float16'
        self._optimizer = optimizer.make_trainer(
            task.network.collect_params(), options.optimizer, options.lr, options.epsilon,
            options.weight_decay, multi_precision=is_float16)
        if is_float16:
            task.network.cast('float16')
        self.stepper = stepper_class(task.forward, self._optimizer, options.seed,
                                     options.max_grad_norm, is_float16, self.workers, fused_update)
        # what the loop asks for
        self.batches_of, self.load_batch, self.log_line = (
            task.batches_of, task.load_batch, task.log_line)

    def fit(self, phase1_folder=None):
        """Train, on from the newest checkpoint on a resume; returns the `TrainerState`.

        phase1_folder: checkpoint of another run, whose state of the optimizer a new run takes.
        """
        logging.info('training steps=%d', self.plan.num_steps)
        if phase1_folder:
            content, arrays = checkpoint.load_resume_state(phase1_folder)
            optimizer.restore_optimizer_state(self._optimizer, arrays, content['optimizer'])
            logging.info('phase 2 continues from %s', phase1_folder)
        loop = make_loop(self.plan, self, self._resume())
        if self.workers.size > 1:
            self.task.materialize()
        self._share_parameters()
        try:
            state = loop.run()
        except TrainingInterrupted:
            logging.info('interrupted after step %d, and saved: the same command with --resume '
                         'goes on from there', loop.state.step)
            raise
        logging.info('Finish training step: %d', state.step)
        return state

    # What the loop calls

    def learning_rate(self, step):
        return linear_warmup_decay(step, self.plan.num_steps, self.options.warmup_ratio,
                                   self.options.lr)

    def evaluate(self, interrupt, is_last_epoch):
        try:
            # with several workers none may stop by itself: the others would wait for it
            return self.task.evaluate(interrupt if self.workers.size == 1 else None, is_last_epoch)
        except EvaluationInterrupted:
            return None

    def save(self, state):
        if self.workers.rank:
            return
        arrays, counters = optimizer.collect_optimizer_state(self._optimizer)
        scale = self.stepper.loss_scale
        content = dict(dataclasses.asdict(state), seed=self.options.seed, optimizer=counters,
                       loss_scale=[scale.value, scale.good_steps], data=self.task.digest,
                       shares=self.task.num_shares)
        name = checkpoint.save(
            self.folder, content, self.task.network, arrays,
            lambda folder: self.task.write_description(folder, state), _best_name(state))
        logging.info('params saved in: %s', os.path.join(self.folder, name, file_names.MODEL_FILE))

    # Checkpoints

    def _share_parameters(self):
        self.workers.share_parameters(self.task.network.collect_params())

    def _resume(self):
        """Restore the newest checkpoint; returns its `TrainerState`, None for a new run."""
        folder = checkpoint.newest_checkpoint(self.folder) if self.options.resume else None
        names = self.workers.gather(folder and os.path.basename(folder))
        if len(set(names)) > 1:
            raise UserError('--resume: the newest checkpoint in %s is %s for worker 0, but %s for '
                            'another worker: all workers must see the same folder'
                            % (self.folder, names[0],
                               next(name for name in names if name != names[0])))
        if folder is None:
            return None
        content, arrays = checkpoint.load_resume_state(folder)
        self._load_checkpoint(folder)
        try:
            digest, num_shares = content.pop('data'), content.pop('shares', 1)
            optimizer.restore_optimizer_state(self._optimizer, arrays, content.pop('optimizer'))
            scale = self.stepper.loss_scale
            scale.value, scale.good_steps = content.pop('loss_scale')
            content.pop('seed')
            state = TrainerState(**content)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError('%s: not a checkpoint of this version and run: %s'
                            % (folder, error)) from None
        self._check_same_run(digest, num_shares)
        logging.info('resumed from %s', folder)
        if not self.workers.rank:
            checkpoint.write_index(self.folder, os.path.basename(folder), _best_name(state))
        return state

    def _check_same_run(self, digest, num_shares):
        """Raises `UserError` if a checkpoint was made on other data or another number of parts."""
        if digest != self.task.digest:
            raise UserError('--resume: the training examples differ from those of the run in %s: '
                            'restore them, or start a new run'
                            % self.folder)
        if num_shares != self.task.num_shares:
            raise UserError('--resume: the run in %s was started with %d workers or GPUs, but now '
                            'there are %d: use the same number'
                            % (self.folder, num_shares, self.task.num_shares))

    def _load_checkpoint(self, folder):
        self.task.load_parameters(os.path.join(folder, file_names.MODEL_FILE))

    def load_best(self, state):
        """Load the parameters of the best evaluation, and share them with all workers."""
        entry = next((entry for entry in state.history if entry['step'] == state.best_step), None)
        if entry is None or not entry['metrics']:
            return
        segment, values = next(iter(entry['metrics'].items()))
        logging.info('Best model at epoch %d. Validation metrics:%s', entry['epoch'],
                     format_metrics(values.items()))
        if state.best_step == state.step:
            return
        if not self.workers.rank:
            self._load_checkpoint(checkpoint.best_checkpoint(self.folder))
        self._share_parameters()


def _best_name(state):
    """Name of the best checkpoint; None before the first evaluation."""
    return checkpoint.checkpoint_name(state.best_step) if state.best_step else None
