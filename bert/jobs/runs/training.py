"""A training run of any task: one seed or several, the loop, checkpoints, resume, results."""
import copy
import dataclasses
import logging
import math
import os

import numpy as np

from bert import file_names, files
from bert.data.batches import training_batches
from bert.errors import UserError
from bert.jobs.runs import results, run_folder
from bert.jobs.runs.model_from_flags import check_model_flags
from bert.model import zoo
from bert.model.kernels.optimizer import fused_update
from bert.train import checkpoint, optimizer
from bert.train.devices import pick_device, seed_everything
from bert.train.log import open_log
from bert.train.loop import Loop, TrainerState, TrainingPlan, count_steps, format_classifier_line
from bert.train.metrics import format_metrics
from bert.train.schedule import linear_warmup_decay
from bert.train.step import SplitBatch, Stepper
from bert.train.workers import take_share


def check_training_flags(args):
    """Raises `UserError` for flags of every fine-tuning that contradict each other."""
    optimizer.check_optimizer_name(args.optimizer)
    check_model_flags(args)


def pick_training_device(args, workers):
    """The device of --gpu. Each Horovod worker takes the GPU of its local rank."""
    if args.gpu is None or workers.size == 1:
        return pick_device(args.gpu, args.dtype)
    return pick_device(workers.local_rank, args.dtype)


def open_shared_folder(args, name, script, output_files, workers):
    """Worker 0 calls `run_folder.open_run_folder`; all workers get the path."""
    folder = None if workers.rank else run_folder.open_run_folder(args, name, script, output_files)
    return workers.broadcast(folder)


def run_seeds(args, name, folder, log_name, run_seed, workers):
    """Run with one seed, or once for each of `--seeds`. Returns the report in results.json; None
    in all workers but worker 0.

    run_seed: function(args, folder) → report. The log is open when it is called.
    """
    if args.seeds:
        return _run_each_seed(args, name, folder, log_name, run_seed, workers)
    return _run_single_seed(args, folder, log_name, run_seed, workers)


def _run_each_seed(args, name, folder, log_name, run_seed, workers):
    """Run each seed in its sub-folder; report mean and standard deviation of the best scores."""
    reports = []
    for seed in args.seeds:
        seed_args = copy.copy(args)
        seed_args.seeds, seed_args.seed = None, seed
        seed_folder = os.path.join(folder, 'seed-%d' % seed)
        results_path = os.path.join(seed_folder, file_names.RESULTS_FILE)
        if workers.broadcast(args.resume and os.path.exists(results_path)):
            reports.append(None if workers.rank else files.read_json(results_path))
            continue
        with files.explain_write_errors(seed_folder):
            os.makedirs(seed_folder, exist_ok=True)
        reports.append(_run_single_seed(seed_args, seed_folder, log_name, run_seed, workers))
    if workers.rank:
        return None
    metrics = {segment: {key: _summarize([report['metrics'][segment][key] for report in reports])
                         for key in values}
               for segment, values in reports[0]['metrics'].items()}
    open_log(os.path.join(folder, log_name))
    for segment, values in metrics.items():
        for key, value in values.items():
            logging.info('%s %s over %d seeds: %.4f ± %.4f', segment, key, len(reports),
                         value['mean'], value['sd'])
    return results.write_results(folder, args, task=name, seeds=list(args.seeds), metrics=metrics)


def _summarize(values):
    """Mean and standard deviation of one score over the seeds."""
    values = [math.nan if value is None else value for value in values]     # NaN is null in JSON
    return {'mean': float(np.mean(values)), 'values': values,
            'sd': float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}


def _run_single_seed(args, folder, log_name, run_seed, workers):
    seed_everything(args.seed)
    open_run_log(os.path.join(folder, log_name), workers)
    return run_seed(args, folder)


def open_run_log(path, workers):
    """Worker 0 logs to `path`; the other workers only show warnings."""
    if workers.rank:
        open_log(level=logging.WARNING)
    else:
        open_log(path)


class Trainer:
    """One run with one seed. Each task has a subclass, which sets the attribute `model` (a
    `bert.pipelines.base.Pipeline`) and defines

        forward(batch) → (losses (size,), labels, outputs), called while recording,
        collate(indices) → the batch of these training examples,
        evaluate(interrupt) → {segment: [(metric, value)]}, None when interrupted.

    With several `bert.train.workers` each worker takes --batch_size examples, all workers know all
    scores, and only worker 0 writes files.
    """
    log_line = staticmethod(format_classifier_line)
    stepper = Stepper

    def __init__(self, args, name, device, folder, workers):
        self.args, self.name, self.device, self.folder = args, name, device, folder
        self.workers = workers

    def fit_and_load_best(self, lengths, digest, metric=None):
        """Train for the epochs or steps of the flags, from the newest checkpoint on a resume, then
        load the best checkpoint; returns the `TrainerState`.

        lengths: tokens of each training example. digest: of the training data; a resume refuses
        other data. metric: a `Metric` for the log lines, or None.
        """
        args = self.args
        num_epochs = args.epochs
        batch_size = args.batch_size * self.workers.size
        steps_per_epoch = count_steps(len(lengths), batch_size, args.accumulate, 1)
        num_steps = args.training_steps or steps_per_epoch * num_epochs
        if args.training_steps:
            num_epochs = math.ceil(num_steps / steps_per_epoch)
        plan = TrainingPlan(num_epochs, num_steps, args.accumulate, args.log_interval,
                            args.ckpt_interval, args.early_stop)
        state = self.fit(
            plan, lambda epoch: training_batches(lengths, batch_size, args.seed, epoch),
            digest, metric)
        self._load_best(state)
        return state

    def fit(self, plan, batches_of, digest, metric=None):
        """Train by a `TrainingPlan`, on from the newest checkpoint; returns the `TrainerState`.

        batches_of: function(epoch) → list; `load_batch` turns each of its items into a batch.
        """
        args = self.args
        logging.info('training steps=%d', plan.num_steps)
        self._digest = digest
        self._make_stepper()
        self.loop = Loop(
            plan, self._stepper, batches_of, self.load_batch,
            lambda step: linear_warmup_decay(step, plan.num_steps, args.warmup_ratio,
                                             args.lr),
            self._evaluate, self._save, metric, self._resume(), self.log_line, self.workers.sum)
        if self.workers.size > 1:
            self.materialize()
        self.workers.share_parameters(self.model.network.collect_params())
        state = self.loop.run()
        logging.info('Finish training step: %d', state.step)
        return state

    def materialize(self):
        """Initialise the parameters that otherwise get values in the first forward pass, because a
        worker may get no examples of the first batch."""

    @property
    def num_shares(self):
        """Number of parts of a batch: one for each device of each worker."""
        return self.workers.size

    def load_batch(self, indices):
        """The part of a batch that this worker computes, as `SplitBatch`."""
        worker_indices = take_share(indices, self.workers.rank, self.workers.size)
        return SplitBatch([self.collate(worker_indices)] if len(worker_indices) else [])

    def _evaluate(self, interrupt):
        # with several workers none may stop by itself: the others would wait for it
        return self.evaluate(interrupt if self.workers.size == 1 else None)

    def _make_stepper(self):
        args, network = self.args, self.model.network
        self._trainer = optimizer.make_trainer(
            network.collect_params(), args.optimizer, args.lr, args.epsilon, args.weight_decay,
            multi_precision=args.dtype == 'float16')
        if args.dtype == 'float16':
            network.cast('float16')
        self._stepper = self.stepper(self.forward, self._trainer, args.seed, args.max_grad_norm,
                                args.dtype == 'float16', self.workers, fused_update)

    # Checkpoints

    def _save(self, state):
        if self.workers.rank:
            return
        arrays, counters = optimizer.collect_optimizer_state(self._trainer)
        scale = self._stepper.loss_scale
        content = dict(dataclasses.asdict(state), seed=self.args.seed, optimizer=counters,
                       loss_scale=[scale.value, scale.good_steps], data=self._digest,
                       shares=self.num_shares)
        name = checkpoint.save(self.folder, content, self.model.network, arrays,
                               lambda folder: self._describe(folder, state), _best_name(state))
        logging.info('params saved in: %s', os.path.join(self.folder, name, file_names.MODEL_FILE))

    def _describe(self, folder, state):
        self.model.write_description(folder)
        results.write_results(folder, self.args, task=self.name, seed=self.args.seed,
                              step=state.step,
                              metrics=state.history[-1]['metrics'] if state.history else {})

    def _resume(self):
        """Restore the newest checkpoint; returns its `TrainerState`, None for a new run."""
        folder = checkpoint.newest_checkpoint(self.folder) if self.args.resume else None
        names = self.workers.gather(folder and os.path.basename(folder))
        if len(set(names)) > 1:
            raise UserError('--resume: the newest checkpoint in %s is %s for worker 0, and %s for '
                            'another: all must see the same folder'
                            % (self.folder, names[0],
                               next(name for name in names if name != names[0])))
        if folder is None:
            return None
        content, arrays = checkpoint.load_resume_state(folder)
        self._load_checkpoint(folder)
        try:
            is_same_data = content.pop('data') == self._digest
            optimizer.restore_optimizer_state(self._trainer, arrays, content.pop('optimizer'))
            scale = self._stepper.loss_scale
            scale.value, scale.good_steps = content.pop('loss_scale')
            content.pop('seed')
            num_shares = content.pop('shares', 1)
            state = TrainerState(**content)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError('%s: not a checkpoint of this version and run: %s'
                            % (folder, error)) from None
        if not is_same_data:
            raise UserError('--resume: the training examples are not those that the run in %s '
                            'was started with: put them back, or start another run'
                            % self.folder)
        if num_shares != self.num_shares:
            raise UserError('--resume: the run in %s was started with %d workers or GPUs, and here '
                            'are %d: take as many' % (self.folder, num_shares, self.num_shares))
        logging.info('resumed from %s', folder)
        if not self.workers.rank:
            checkpoint.write_index(self.folder, os.path.basename(folder), _best_name(state))
        return state

    def _load_checkpoint(self, folder):
        """Load the parameters of one of this run's checkpoints into the network."""
        zoo.load_model(self.model.network, os.path.join(folder, file_names.MODEL_FILE),
                       self.model.tokenizer.vocab, self.device)

    def _load_best(self, state):
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
        self.workers.share_parameters(self.model.network.collect_params())

    # The end

    def report(self, state, metrics, **values):
        """Write results.json and curves.png; returns the report. Only worker 0 calls this."""
        report = results.write_results(
            self.folder, self.args, task=self.name, seed=self.args.seed, metrics=metrics,
            best_step=state.best_step, steps=state.step, history=state.history,
            examples_per_second=mean_speed(state.curve), seconds=state.seconds,
            training_loss=mean_loss(state.curve),
            stopped_early=state.stopped_early, workers=self.workers.size, **values)
        if state.curve:
            results.draw_curves(os.path.join(self.folder, file_names.CURVES_FILE), state)
        return report


def _best_name(state):
    """Name of the best checkpoint; None before the first evaluation."""
    return checkpoint.checkpoint_name(state.best_step) if state.best_step else None


def mean_loss(curve):
    """Mean loss over the whole training, from the log lines; None without any."""
    total = sum(point['examples'] for point in curve)
    return sum(point['loss'] * point['examples'] for point in curve) / total if total else None


def mean_speed(curve):
    """Examples per second over the whole training, each log line weighed by its time; None without
    log lines."""
    seconds = sum(point['examples'] / point['examples_per_second'] for point in curve)
    return sum(point['examples'] for point in curve) / seconds if seconds else None
