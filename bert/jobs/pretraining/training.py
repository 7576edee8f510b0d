"""The job of run_pretraining.py: pre-train BERT on masked tokens and next sentences."""
import contextlib
import functools
import logging
import math
import os
import time
from typing import NamedTuple

import mxnet as mx

from bert import file_names, files, vocabulary
from bert.data.pretraining.batches import Buckets, PretrainingBatch, collate_examples
from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.families import BERT
from bert.jobs.pretraining.example_sources import RawTextExamples, ShardExamples, SyntheticExamples
from bert.jobs.pretraining.option_rules import (
    SCRIPT,
    TASK_NAME,
    check_start_step,
    find_phase1_checkpoint,
    resolve_options,
)
from bert.jobs.runs import model_from_options, results, run_folder, training
from bert.model import zoo
from bert.model.bert import BERTModel
from bert.model.config import BertConfig
from bert.model.kernels.optimizer import fused_update
from bert.model.pretraining import BertForPretraining, PretrainingSums
from bert.model.weights import checkpoint_reader, vocabularies
from bert.pipelines.base import Pipeline, write_description
from bert.train import optimizer
from bert.train.devices import pick_device, seed_everything
from bert.train.log import progress_bar
from bert.train.loop import EvaluationInterrupted, TrainerState
from bert.train.metrics import PretrainingMetric
from bert.train.profiling import (
    LAST_PROFILED_STEP,
    NO_BULKING_OPTIONS,
    ProfiledStepper,
    ProfileFinished,
)
from bert.train.schedule import TrainingPlan
from bert.train.step import PretrainingStepper, SplitBatch
from bert.train.trainer import Trainer
from bert.train.workers import Horovod, open_workers, take_share

LOG_FILE = 'phase%d_log.0'
# Folders for the texts of --raw, until the run is complete
RAW_FOLDER, RAW_EVAL_FOLDER = '.raw', '.raw_eval'
HEADS = dict(use_pooler=True, use_decoder=True, use_classifier=True)


def pretrain(options, explicit):
    """Pre-train, or without --data only evaluate. Returns a `JobResult`. Raises `UserError`."""
    workers, folder = open_workers(options.comm_backend), None
    if options.start_step:
        check_start_step(options)
        options = options.replace(resume=True)
    with contextlib.ExitStack() as held:
        if options.resume:
            folder, options = held.enter_context(run_folder.reopen_run_folder(
                options, explicit, TASK_NAME, SCRIPT, not workers.rank))
        devices = pick_devices(options, workers)
        options = resolve_options(options, explicit, len(devices) * workers.size)
        optimizer.check_optimizer(options.optimizer, len(devices), workers.size)
        if not folder:
            output_files = [LOG_FILE % 1, LOG_FILE % 2]
            output_files += [RAW_FOLDER, RAW_EVAL_FOLDER] if options.raw else []
            folder = held.enter_context(training.open_shared_folder(
                options, TASK_NAME, SCRIPT, output_files, workers))
        seed_everything(options.seed)
        log_name = LOG_FILE % (2 if options.phase2 else 1)
        training.open_run_log(os.path.join(folder, log_name), workers)
        try:
            return results.JobResult(pretrain_on_devices(options, devices, folder, workers), folder)
        except ProfileFinished:
            return results.JobResult(None, folder)


def pretrain_on_devices(options, devices, folder, workers):
    """Pre-train, or only evaluate; returns the report, None in all workers but worker 0."""
    network, vocab = build_model(options, devices)
    model_from_options.apply_dtype(network, options.dtype)
    model = PretrainingModel(
        network, BertTokenizer(vocab, lower=not network.config.cased), network.config, {},
        network.config.max_length, devices[0])
    model.heads.hybridize(**NO_BULKING_OPTIONS if options.profile else {})
    task = PretrainingTask(options, model, devices, folder, workers)
    state = TrainerState()
    if task.data:
        stepper = functools.partial(ProfiledStepper, path=None if workers.rank else options.profile
                                    ) if options.profile else PretrainingStepper
        trainer = Trainer(options, task, make_pretraining_plan(options, task.data), folder, workers,
                          fused_update, stepper)
        state = trainer.fit(find_phase1_checkpoint(options) if options.phase2 else None)
    return conclude(task, state)


def make_pretraining_plan(options, data):
    """The `TrainingPlan`. Raises `UserError` if --batch_size counts tokens, and too few."""
    if options.use_avg_len and options.batch_size < data.longest:
        raise UserError('--batch_size %d: with --use_avg_len it counts tokens, and the longest '
                        'example has %d: give at least as many'
                        % (options.batch_size, data.longest))
    return TrainingPlan(math.inf, options.num_steps, options.accumulate,
                        options.log_interval * options.accumulate, options.ckpt_interval,
                        evaluation_interval=options.eval_interval)


def pick_devices(options, workers):
    """[`mx.Context`] of --gpus. Each Horovod worker takes the GPU of its local rank, or the CPU if
    MXNet has no GPU. Raises `UserError`."""
    if not isinstance(workers, Horovod):
        return [pick_device(gpu, options.dtype, '--gpus') for gpu in options.gpus or [None]]
    if options.gpus:
        raise UserError('--gpus: it is for one process; each worker of Horovod uses the GPU of its '
                        'local rank')
    gpu = workers.local_rank if mx.context.num_gpus() else None
    return [pick_device(gpu, options.dtype, 'GPU')]


# Model


def build_model(options, devices):
    """(`BERTModel` with both heads, vocabulary) from the flags."""
    arguments = dict(HEADS, ctx=devices, dropout=options.dropout)
    if options.bert_checkpoint:
        path = find_phase1_checkpoint(options) if options.phase2 else options.bert_checkpoint
        checkpoint = checkpoint_reader.read_checkpoint(path, options.model, options.dataset_name)
        check_family(checkpoint.config, checkpoint.source)
        return zoo.load_checkpoint(checkpoint, **arguments)
    if options.bert_config:
        network, vocab = new_model(options)
    else:
        network, vocab = zoo.get_released_model(options.model, options.dataset_name,
                                                options.pretrained, **arguments)
        check_family(network.config, '--model ' + options.model)
    if not options.pretrained:
        network.initialize(mx.init.Normal(options.init_std), ctx=devices)
        logging.info('the model starts from random weights; give --pretrained to start from '
                     'released weights')
    return network, vocab


def check_family(config, source):
    """Raises `UserError` for one of BERT's relatives: they are pre-trained in other ways. Raises
    it too for a BERT with embeddings too narrow for the decoder."""
    if config.family != BERT:
        raise UserError('%s: a model of the family %s: only BERT can be pre-trained here, with '
                        'next-sentence prediction; fine-tuning supports all families'
                        % (source, config.family))
    config.require_decoder(source)


def new_model(options):
    """(`BERTModel`, vocabulary): the sizes are those in --bert_config, --dataset_name names the
    vocabulary. Raises `UserError`."""
    if not options.dataset_name:
        raise UserError('--bert_config: name the vocabulary with --dataset_name, a corpus or a '
                        'vocab.txt')
    tokens, cased = vocabularies.fetch_vocabulary(options.dataset_name)
    values = {'vocab_size': len(tokens), 'cased': cased, **files.read_json(options.bert_config)}
    config = BertConfig.from_dict(values, options.bert_config)
    check_family(config, options.bert_config)
    if config.vocab_size != len(tokens):
        raise UserError('%s: vocab_size is %d, but the vocabulary has %d tokens: remove vocab_size'
                        % (options.bert_config, config.vocab_size, len(tokens)))
    return (BERTModel(config, dropout=options.dropout, **HEADS),
            vocabulary.make_vocabulary(tokens, options.dataset_name))


class PretrainingModel(Pipeline):
    """A `BERTModel` with both heads. Its checkpoint folders hold no task."""

    def __post_init__(self):
        super().__post_init__()
        self.heads = BertForPretraining(self.network)

    def write_description(self, folder):
        write_description(folder, self.config, self.tokenizer.vocab)

    def sums(self, batch, device, compute):
        """The sums of a `PretrainingBatch`. compute: a `PretrainingSums` block."""
        arrays = {name: mx.nd.array(array, ctx=device, dtype=array.dtype)
                  for name, array in batch._asdict().items()}
        dtype = self.network.word_embed[0].weight.dtype
        next_sentence, tokens = self.heads(
            arrays['token_ids'], arrays['segment_ids'], arrays['valid_length'].astype(dtype),
            arrays['masked_positions'])
        return compute(tokens, next_sentence, arrays['masked_ids'], arrays['masked_weights'],
                       arrays['next_sentence_labels'])


# Training


class DeviceBatch(NamedTuple):
    """The part of a batch that one device computes."""
    batch: PretrainingBatch
    device: mx.Context

    @property
    def num_masked(self):
        return self.batch.num_masked

    @property
    def num_tokens(self):
        return self.batch.num_tokens

    @property
    def size(self):
        return self.batch.size


def pretraining_line(entry):
    """The log line of the original run_pretraining.py."""
    values = dict(entry.metrics)
    scores = '\t'.join(name + '=' + form % values[name] for name, form in (
        ('mlm_loss', '%7.5f'), ('mlm_acc', '%4.2f'), ('nsp_loss', '%5.2f'), ('nsp_acc', '%5.2f'))
        if name in values)
    return '[step %d]\t%s\tthroughput=%.1fK tks/s\tlr=%.7f time=%.2f, latency=%.1f ms/step' % (
        entry.step, scores, values['tokens'] / 1000 / entry.seconds, entry.rate,
        entry.seconds, 1000 * entry.seconds / max(entry.steps, 1))


class PretrainingTask(training.NetworkTask):
    """A `bert.train.trainer.TrainingTask` of pre-training. Opens the examples that the options
    name: `data` to train on, `data_eval` to evaluate on; each may be None."""
    log_line = staticmethod(pretraining_line)

    def __init__(self, options, model, devices, folder, workers):
        super().__init__(options, TASK_NAME, model, folder, workers)
        self._devices = devices
        self.num_shares = len(devices) * workers.size
        self._sums = PretrainingSums(not options.no_compute_acc)
        self._sums.hybridize()
        self.metric = PretrainingMetric(workers, not options.no_compute_acc)
        self._epoch = None      # `EpochBatches` of the current epoch
        if options.synthetic_data:
            self.data = self._check_length('--synthetic_data', SyntheticExamples(
                options.dummy_data_len or options.max_seq_length,
                options.batch_size * self.num_shares, options, self._tokens))
        else:
            self.data = self._open(options.data, '--data', options.raw, RAW_FOLDER, options.seed)
        # seed 0: the examples to evaluate on do not depend on --seed, as in the original
        self.data_eval = self._open(options.data_eval, '--data_eval',
                                    options.raw and not options.eval_use_npz, RAW_EVAL_FOLDER,
                                    seed=0)
        if self.data:
            self.digest = self.data.digest()

    @property
    def _tokens(self):
        return self.model.tokenizer.vocab.idx_to_token

    def _open(self, patterns, flag, is_raw, folder, seed):
        """The source of the examples that a flag names, None without the flag."""
        if not patterns:
            return None
        if is_raw:
            if self.model.tokenizer.definition:
                raise UserError('%s with --raw: this model has its own tokenizer.json, but --raw '
                                'reads text only by the rules of a vocab.txt: choose another model'
                                % flag)
            return self._check_length(flag, RawTextExamples(
                flag, patterns, self.options, self._tokens, self.model.config.cased,
                os.path.join(self.folder, folder), self.workers, seed))
        paths = files.find_files(patterns, 'for %s the files of create_pretraining_data.py' % flag)
        return self._check_length(flag, ShardExamples(paths, self._tokens,
                                                      self.options.allow_pickle))

    def _check_length(self, flag, source):
        """The source itself. Raises `UserError` if its examples are too long for the model."""
        logging.info('%s: %s', flag, source.describe())
        if source.longest > self.model.max_len:
            raise UserError('%s: an example has %d tokens, but the model has %d positions: make '
                            'the data with --max_seq_length %d, or choose another model'
                            % (flag, source.longest, self.model.max_len, self.model.max_len))
        return source

    # Training

    def batches_of(self, epoch):
        options = self.options
        buckets = Buckets(options.num_buckets, self.data.longest,
                          options.batch_size * self.num_shares, options.use_avg_len)
        self._epoch = self.data.epoch(epoch, buckets, options.seed)
        return self._epoch

    def load_batch(self, item):
        pool, indices = item
        examples = self._epoch.load(pool)
        first_share = self.workers.rank * len(self._devices)
        shares = [take_share(indices, first_share + i, self.num_shares)
                  for i in range(len(self._devices))]
        return SplitBatch([
            DeviceBatch(collate_examples(examples, device_indices, self.model.padding_id), device)
            for device_indices, device in zip(shares, self._devices) if len(device_indices)])

    def forward(self, part):
        return self.model.sums(part.batch, part.device, self._sums)

    # Evaluation

    def evaluate(self, interrupt=None, is_last_epoch=False):
        """{'eval': [(metric, value)]} for --data_eval, {} without it. Raises
        `EvaluationInterrupted`."""
        if self.data_eval is None:
            return {}
        logging.info('Running evaluation ... ')
        start_time, source = time.time(), self.data_eval
        metric = PretrainingMetric(self.workers, not self.options.no_compute_acc)
        epoch = source.epoch(0, Buckets(source.longest, source.longest,
                                        self.options.batch_size_eval), seed=0)
        with progress_bar(len(epoch), unit='batch', description='evaluating') as bar:
            for pool, indices in epoch[self.workers.rank::self.workers.size]:
                if interrupt is not None and interrupt.is_requested:
                    raise EvaluationInterrupted
                batch = collate_examples(epoch.load(pool), indices, self.model.padding_id)
                metric.update([batch.num_masked, batch.size, batch.num_tokens],
                              self.forward(DeviceBatch(batch, self.model.device)).asnumpy())
                bar.update(1)
        values = metric.get()[:-1]
        logging.info('Eval %s', '\t'.join('%s=%.*f' % (name, 3 if 'loss' in name else 1, value)
                                          for name, value in values))
        logging.info('Eval cost=%.1fs', time.time() - start_time)
        return {'eval': values}


def conclude(task, state):
    """Evaluate if training did not, remove working files, write results.json and curves.png;
    returns the report."""
    metrics = state.history[-1]['metrics'] if state.history else {
        name: dict(values) for name, values in task.evaluate().items()}
    if task.workers.rank:
        return None
    if task.options.profile:
        logging.warning('--profile: the run ended before step %d of this session: there is '
                        'no profile', LAST_PROFILED_STEP)
    for source in (task.data, task.data_eval):
        if isinstance(source, RawTextExamples):    # a resume can make them again
            source.remove()
    report = task.report(state, metrics)
    if state.curve:
        logging.info('Train cost=%.1fs', state.seconds)
    logging.info('results: %s', os.path.join(task.folder, file_names.RESULTS_FILE))
    return report
