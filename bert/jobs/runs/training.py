"""What all training runs share: devices, folders, seeds, and how a run describes itself."""
import contextlib
import logging
import math
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bert import file_names, files, locks
from bert.data.batches import training_batches
from bert.jobs.runs import results, run_folder
from bert.jobs.runs.curves import draw_curves
from bert.model import zoo
from bert.pipelines.sentence_files import read_checkpoint_sentence_model, write_sentence_model
from bert.train.devices import pick_device, seed_everything
from bert.train.log import open_log
from bert.train.loop import format_classifier_line
from bert.train.optimizer import check_optimizer
from bert.train.step import SplitBatch
from bert.train.workers import open_workers, take_share


def pick_training_device(options, workers):
    """The device of --gpu. Each Horovod worker takes the GPU of its local rank."""
    if options.gpu is None or workers.size == 1:
        return pick_device(options.gpu, options.dtype)
    return pick_device(workers.local_rank, options.dtype)


@contextlib.contextmanager
def open_shared_folder(options, name, script, output_files, workers):
    """Context of `run_folder.open_run_folder` in worker 0; all workers get the path."""
    context = contextlib.nullcontext() if workers.rank else run_folder.open_run_folder(
        options, name, script, output_files)
    with context as folder:
        yield workers.broadcast(folder)


def open_run_log(path, workers):
    """Worker 0 logs to `path`; the other workers only show warnings."""
    if workers.rank:
        open_log(level=logging.WARNING)
    else:
        open_log(path)


# A run of fine-tuning


class RunPlan(NamedTuple):
    """What a run of fine-tuning is. options: with what follows from others. name: of the task.
    log_name: of the log. output_files: names of all files that it may write. task: what the job
    keeps for its seeds."""
    options: object
    name: str
    log_name: str
    output_files: list
    task: object = None


class RunSeries(NamedTuple):
    """An open run folder. runs: yields the `SeedRun` of each seed."""
    plan: RunPlan
    device: object
    folder: str
    workers: object
    runs: Iterator

    def conclude(self, reports):
        """The `JobResult`. reports: of `runs`, in their order."""
        return conclude_seeds(self.plan.options, self.plan.name, self.folder, self.plan.log_name,
                              reports, self.workers)


@contextlib.contextmanager
def open_runs(options, explicit, name, script, make_plan):
    """Context of the `RunSeries` of a fine-tuning job. Raises `UserError`.

    name: of the run, before the options of a run that is resumed are known. make_plan:
    function(options, explicit) → `RunPlan`.
    """
    workers, folder = open_workers(options.comm_backend), None
    with contextlib.ExitStack() as held:
        if options.resume:
            folder, options = held.enter_context(run_folder.reopen_run_folder(
                options, explicit, name, script, not workers.rank))
        device = pick_training_device(options, workers)
        check_optimizer(options.optimizer, 1, workers.size)
        plan = make_plan(options, explicit)
        folder = folder or held.enter_context(open_shared_folder(
            plan.options, plan.name, script, plan.output_files, workers))
        runs = held.enter_context(contextlib.closing(
            seed_runs(plan.options, folder, plan.log_name, workers)))
        yield RunSeries(plan, device, folder, workers, runs)


# Seeds


class SeedRun(NamedTuple):
    """The run with one seed. report: that of a finished run, in worker 0."""
    options: object
    folder: str
    is_finished: bool
    report: dict | None


def seed_runs(options, folder, log_name, workers):
    """Yield the `SeedRun` of --seed, or one for each of --seeds in a sub-folder. In the body of the
    caller's loop the seed is set and the log is open."""
    for seed in options.seeds or (options.seed,):
        seed_options, seed_folder, is_finished = options, folder, False
        if options.seeds:
            seed_options = options.replace(seeds=None, seed=seed)
            seed_folder = os.path.join(folder, 'seed-%d' % seed)
            results_path = os.path.join(seed_folder, file_names.RESULTS_FILE)
            is_finished = workers.broadcast(options.resume and os.path.exists(results_path))
        if is_finished:
            report = None if workers.rank else files.read_json(results_path)
            yield SeedRun(seed_options, seed_folder, True, report)
            continue
        with locks.own_folder(seed_folder) if options.seeds and not workers.rank else \
                contextlib.nullcontext():
            seed_everything(seed)
            open_run_log(os.path.join(seed_folder, log_name), workers)
            yield SeedRun(seed_options, seed_folder, False, None)


def conclude_seeds(options, name, folder, log_name, reports, workers):
    """The `JobResult` of the runs of `seed_runs`. With several seeds it writes and reports mean and
    standard deviation of their best scores. reports: in the order of the seeds."""
    report = reports[0]
    if options.seeds and not workers.rank:
        metrics = {segment: {key: _summarize([report['metrics'][segment][key]
                                              for report in reports]) for key in values}
                   for segment, values in reports[0]['metrics'].items()}
        open_log(os.path.join(folder, log_name))
        for segment, values in metrics.items():
            for key, value in values.items():
                spread = '(one seed has no spread)' if value['sd'] is None else \
                    '(a seed has no value)' if math.isnan(value['mean']) else \
                    '± %.4f' % value['sd']
                logging.info('%s %s over %d seeds: %.4f %s', segment, key, len(reports),
                             value['mean'], spread)
        report = results.write_results(folder, options, task=name, seeds=list(options.seeds),
                                       metrics=metrics)
    return results.JobResult(report, folder)


def _summarize(values):
    """Mean and standard deviation of one score over the seeds; one seed has no deviation."""
    values = [math.nan if value is None else value for value in values]     # NaN is null in JSON
    return {'mean': float(np.mean(values)), 'values': values,
            'sd': float(np.std(values, ddof=1)) if len(values) > 1 else None}


# The task of a trainer


class NetworkTask:
    """The common part of every `bert.train.trainer.TrainingTask`: the network of a pipeline, which
    is described in each checkpoint, with the files of sentence-transformers that stand beside the
    weights it starts from. Each job has a subclass.

    name: of the task, in the reports. model: `bert.pipelines.base.Pipeline`. With several workers
    each takes --batch_size examples.
    """
    metric, digest = None, None
    log_line = staticmethod(format_classifier_line)

    def __init__(self, options, name, model, folder, workers):
        self.options, self.name, self.model = options, name, model
        self.folder, self.workers = folder, workers
        self.num_shares = workers.size
        self._sentence_model = options.bert_checkpoint and read_checkpoint_sentence_model(
            options.bert_checkpoint, model.config)

    @property
    def network(self):
        return self.model.network

    def draw_batches(self, lengths, epoch):
        """The batches of an epoch, lists of indices, for all workers together. lengths: of the
        examples, in tokens."""
        options = self.options
        return training_batches(lengths, options.batch_size * self.workers.size, options.seed,
                                epoch, options.group_by_length)

    def load_batch(self, indices):
        worker_indices = take_share(indices, self.workers.rank, self.workers.size)
        return SplitBatch([self.collate(worker_indices)] if len(worker_indices) else [])

    def materialize(self):
        pass

    def write_description(self, folder, state):
        self.model.write_description(folder)
        write_sentence_model(folder, self._sentence_model, self.model.config)
        results.write_results(folder, self.options, task=self.name, seed=self.options.seed,
                              step=state.step,
                              metrics=state.history[-1]['metrics'] if state.history else {})

    def load_parameters(self, path):
        zoo.load_model(self.network, path, self.model.tokenizer.vocab, self.model.device)

    def report(self, state, metrics, **values):
        """Write results.json and curves.png; returns the report. Only worker 0 calls this."""
        report = results.write_results(
            self.folder, self.options, task=self.name, seed=self.options.seed, metrics=metrics,
            best_step=state.best_step, steps=state.step, history=state.history,
            examples_per_second=mean_speed(state.curve), seconds=state.seconds,
            training_loss=mean_loss(state.curve),
            stopped_early=state.stopped_early, workers=self.workers.size, **values)
        if state.curve:
            draw_curves(os.path.join(self.folder, file_names.CURVES_FILE), state,
                        '%s, seed %d' % (self.name, self.options.seed))
        return report


def mean_loss(curve):
    """Mean loss over the whole training, from the log lines; None without any."""
    total = sum(point['examples'] for point in curve)
    return sum(point['loss'] * point['examples'] for point in curve) / total if total else None


def mean_speed(curve):
    """Examples per second over the whole training, each log line weighed by its time; None without
    log lines."""
    seconds = sum(point['examples'] / point['examples_per_second'] for point in curve)
    return sum(point['examples'] for point in curve) / seconds if seconds else None
