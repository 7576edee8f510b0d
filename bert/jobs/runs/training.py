"""What fine-tuning is, whatever the task: one seed or several, the loop, checkpoints, resume."""
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
from bert.train.loop import Loop, Plan, State, classifier_line, count_steps
from bert.train.metrics import format_metrics
from bert.train.schedule import linear_warmup_decay
from bert.train.step import Parts, Stepper
from bert.train.workers import share


def check_flags(args):
    """Raises `UserError` for shared flags that contradict each other."""
    optimizer.check_name(args.optimizer)
    check_model_flags(args)


def pick_device_of(args, workers):
    """The device of --gpu; each of Horovod's workers takes the GPU of its place on the machine."""
    if args.gpu is None or workers.size == 1:
        return pick_device(args.gpu, args.dtype)
    return pick_device(workers.local_rank, args.dtype)


def open_folder(args, name, script, written, workers):
    """`run_folder.open_folder` by worker 0; its path for all."""
    folder = None if workers.rank else run_folder.open_folder(args, name, script, written)
    return workers.broadcast(folder)


def run(args, name, folder, log_name, run_seed, workers):
    """One run, or one a seed of `--seeds`. Returns the report in results.json; None in other
    workers than 0.

    run_seed: function(args, folder) → report; the log is open when it is called.
    """
    if args.seeds:
        return _run_seeds(args, name, folder, log_name, run_seed, workers)
    return _run_one(args, folder, log_name, run_seed, workers)


def _run_seeds(args, name, folder, log_name, run_seed, workers):
    """One run a seed, in sub-folders; mean and standard deviation of their best scores."""
    reports = []
    for seed in args.seeds:
        one = copy.copy(args)
        one.seeds, one.seed = None, seed
        sub = os.path.join(folder, 'seed-%d' % seed)
        finished = os.path.join(sub, file_names.RESULTS)
        if workers.broadcast(args.resume and os.path.exists(finished)):
            reports.append(None if workers.rank else files.read_json(finished))
            continue
        with files.writing(sub):
            os.makedirs(sub, exist_ok=True)
        reports.append(_run_one(one, sub, log_name, run_seed, workers))
    if workers.rank:
        return None
    spread = {segment: {key: _spread([report['metrics'][segment][key] for report in reports])
                        for key in values}
              for segment, values in reports[0]['metrics'].items()}
    open_log(os.path.join(folder, log_name))
    for segment, values in spread.items():
        for key, value in values.items():
            logging.info('%s %s over %d seeds: %.4f ± %.4f', segment, key, len(reports),
                         value['mean'], value['sd'])
    return results.write_results(folder, args, task=name, seeds=list(args.seeds), metrics=spread)


def _spread(values):
    values = [math.nan if value is None else value for value in values]     # null in JSON
    return {'mean': float(np.mean(values)), 'values': values,
            'sd': float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}


def _run_one(args, folder, log_name, run_seed, workers):
    seed_everything(args.seed)
    open_run_log(os.path.join(folder, log_name), workers)
    return run_seed(args, folder)


def open_run_log(path, workers):
    """Worker 0 logs; of the others only warnings are shown."""
    if workers.rank:
        open_log(level=logging.WARNING)
    else:
        open_log(path)


class Training:
    """One run with one seed. A task is a subclass, with the attribute `model` (a
    `jobs.folder.Model`) and

        forward(batch) → (losses (size,), labels, outputs), called while recording,
        collate(indices) → the batch of these training examples,
        evaluate(interrupt) → {segment: [(metric, value)]}, None when interrupted.

    With several `bert.train.workers` --batch_size is that of each; all know all scores, and worker
    0 alone writes.
    """
    log_line = staticmethod(classifier_line)
    stepper = Stepper

    def __init__(self, args, name, device, folder, workers):
        self.args, self.name, self.device, self.folder = args, name, device, folder
        self.workers = workers

    def train(self, lengths, digest, metric=None):
        """Train to the end of the plan, or from the newest checkpoint; returns the `State`.

        lengths: tokens of each training example. digest: of the training data; a run is not
        resumed on another's. metric: a `Metric` for the log lines.
        """
        args = self.args
        num_epochs = args.epochs
        batch_size = args.batch_size * self.workers.size
        steps_an_epoch = count_steps(len(lengths), batch_size, args.accumulate, 1)
        num_steps = args.training_steps or steps_an_epoch * num_epochs
        if args.training_steps:
            num_epochs = math.ceil(num_steps / steps_an_epoch)
        plan = Plan(num_epochs, num_steps, args.accumulate, args.log_interval, args.ckpt_interval,
                    args.early_stop)
        state = self.follow(
            plan, lambda epoch: training_batches(lengths, batch_size, args.seed, epoch),
            digest, metric)
        self._load_best(state)
        return state

    def follow(self, plan, batches_of, digest, metric=None):
        """Train as the `Plan` says, or on from the newest checkpoint; returns the `State`.

        batches_of: function(epoch) → list, whose items `load_batch` makes batches.
        """
        args = self.args
        logging.info('training steps=%d', plan.num_steps)
        self._digest = digest
        self._make_stepper()
        self.loop = Loop(
            plan, self._stepper, batches_of, self.load_batch,
            lambda step: linear_warmup_decay(step, plan.num_steps, args.warmup_ratio, args.lr),
            self._evaluate, self._save, metric, self._resume(), self.log_line, self.workers.sum)
        if self.workers.size > 1:
            self.settle()
        self.workers.share_parameters(self.model.network.collect_params())
        state = self.loop.run()
        logging.info('Finish training step: %d', state.step)
        return state

    def settle(self):
        """Give values to parameters that have none before the first forward pass, in which a
        worker may have no part."""

    @property
    def num_shares(self):
        """How many parts a batch has: one for each device of each worker."""
        return self.workers.size

    def load_batch(self, indices):
        """What this worker computes of a batch."""
        mine = share(indices, self.workers.rank, self.workers.size)
        return Parts([self.collate(mine)] if len(mine) else [])

    def _evaluate(self, interrupt):
        # one of several workers can't leave alone
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
        arrays, counters = optimizer.save_state(self._trainer)
        scale = self._stepper.loss_scale
        content = dict(dataclasses.asdict(state), seed=self.args.seed, optimizer=counters,
                       loss_scale=[scale.value, scale.good_steps], data=self._digest,
                       shares=self.num_shares)
        name = checkpoint.save(self.folder, content, self.model.network, arrays,
                               lambda folder: self._describe(folder, state), _best_name(state))
        logging.info('params saved in: %s', os.path.join(self.folder, name, file_names.MODEL))

    def _describe(self, folder, state):
        self.model.write_description(folder)
        results.write_results(folder, self.args, task=self.name, seed=self.args.seed,
                              step=state.step,
                              metrics=state.history[-1]['metrics'] if state.history else {})

    def _resume(self):
        """The `State` of the newest checkpoint, its arrays put back; None for a new run."""
        folder = checkpoint.newest(self.folder) if self.args.resume else None
        seen = self.workers.gather(folder and os.path.basename(folder))
        if len(set(seen)) > 1:
            raise UserError('--resume: the newest checkpoint in %s is %s for worker 0, and %s for '
                            'another: all must see the same folder'
                            % (self.folder, seen[0], next(one for one in seen if one != seen[0])))
        if folder is None:
            return None
        content, arrays = checkpoint.load_state(folder)
        self._load_checkpoint(folder)
        try:
            same_data = content.pop('data') == self._digest
            optimizer.load_state(self._trainer, arrays, content.pop('optimizer'))
            scale = self._stepper.loss_scale
            scale.value, scale.good_steps = content.pop('loss_scale')
            content.pop('seed')
            num_shares = content.pop('shares', 1)
            state = State(**content)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError('%s: not a checkpoint of this version and run: %s'
                            % (folder, error)) from None
        if not same_data:
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
        """Put the parameters of one of this run's checkpoints into the network."""
        zoo.load_model(self.model.network, os.path.join(folder, file_names.MODEL),
                       self.model.tokenizer.vocab, self.device)

    def _load_best(self, state):
        """Go on with the checkpoint of the best evaluation."""
        best = next((entry for entry in state.history if entry['step'] == state.best_step), None)
        if best is None or not best['metrics']:
            return
        segment, values = next(iter(best['metrics'].items()))
        logging.info('Best model at epoch %d. Validation metrics:%s', best['epoch'],
                     format_metrics(values.items()))
        if state.best_step == state.step:
            return
        if not self.workers.rank:
            self._load_checkpoint(checkpoint.best(self.folder))
        self.workers.share_parameters(self.model.network.collect_params())

    # The end

    def report(self, state, metrics, **values):
        """Write results.json and curves.png, for worker 0; returns the report."""
        report = results.write_results(
            self.folder, self.args, task=self.name, seed=self.args.seed, metrics=metrics,
            best_step=state.best_step, steps=state.step, history=state.history,
            examples_per_second=mean_speed(state.curve), seconds=state.seconds,
            training_loss=mean_loss(state.curve),
            stopped_early=state.stopped_early, workers=self.workers.size, **values)
        if state.curve:
            results.draw_curves(os.path.join(self.folder, file_names.CURVES), state)
        return report


def _best_name(state):
    """Name of the best checkpoint, None before the first evaluation."""
    return checkpoint.name_of(state.best_step) if state.best_step else None


def mean_loss(curve):
    """Loss over all of training, of its log lines."""
    total = sum(point['examples'] for point in curve)
    return sum(point['loss'] * point['examples'] for point in curve) / total if total else None


def mean_speed(curve):
    """Examples per second of training; the log lines cover unequal times."""
    seconds = sum(point['examples'] / point['examples_per_second'] for point in curve)
    return sum(point['examples'] for point in curve) / seconds if seconds else None
