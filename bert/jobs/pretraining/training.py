"""Pre-training of BERT on masked tokens and next sentences: the whole job."""
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
from bert.jobs.pretraining.example_sources import RawTextExamples, ShardExamples, SyntheticExamples
from bert.jobs.pretraining.flag_rules import (
    SCRIPT,
    TASK_NAME,
    check_pretraining_flags,
    check_start_step,
    find_phase1_checkpoint,
)
from bert.jobs.runs import model_from_flags, run_folder, training
from bert.model import zoo
from bert.model.bert import BERTModel
from bert.model.config import BertConfig
from bert.model.pretraining import PretrainingSums
from bert.model.weights import vocabularies
from bert.pipelines.base import Pipeline, write_description
from bert.train import checkpoint, optimizer
from bert.train.devices import pick_device, seed_everything
from bert.train.log import progress_bar
from bert.train.loop import TrainerState, TrainingPlan
from bert.train.metrics import PretrainingMetric
from bert.train.profiling import LAST_PROFILED_STEP, NO_BULKING_OPTIONS, ProfiledStepper
from bert.train.step import PretrainingStepper, SplitBatch
from bert.train.workers import Horovod, open_workers, take_share

LOG_FILE = 'phase%d_log.0'
# Folders for the texts of --raw, until the run is complete
RAW_FOLDER, RAW_EVAL_FOLDER = '.raw', '.raw_eval'
HEADS = dict(use_pooler=True, use_decoder=True, use_classifier=True)


def pretrain(args):
    """Pre-train (or, without --data, only evaluate) by the parsed flags; returns the report in
    results.json, None in all workers but worker 0. Raises `UserError`."""
    workers = open_workers(args.comm_backend)
    args.output_dir = args.ckpt_dir     # the name of this option in all other jobs
    if args.start_step:
        check_start_step(args)
        args.resume = True
    folder = run_folder.reopen_run_folder(args, TASK_NAME, SCRIPT) if args.resume else None
    devices = pick_devices(args, workers)
    check_pretraining_flags(args, len(devices) * workers.size)
    optimizer.check_optimizer_copies(args.optimizer, len(devices), workers.size)
    if not folder:
        output_files = [LOG_FILE % 1, LOG_FILE % 2]
        output_files += [RAW_FOLDER, RAW_EVAL_FOLDER] if args.raw else []
        training.open_shared_folder(args, TASK_NAME, SCRIPT, output_files, workers)
    seed_everything(args.seed)
    log_name = LOG_FILE % (2 if args.phase2 else 1)
    training.open_run_log(os.path.join(args.ckpt_dir, log_name), workers)
    return PretrainingTrainer(args, devices, args.ckpt_dir, workers).run()


def pick_devices(args, workers):
    """[`mx.Context`] of --gpus. Each Horovod worker takes the GPU of its local rank, or the CPU if
    MXNet has no GPU. Raises `UserError`."""
    if not isinstance(workers, Horovod):
        return [pick_device(gpu, args.dtype, '--gpus') for gpu in args.gpus or [None]]
    if args.gpus:
        raise UserError('--gpus: it is for one process; each worker of Horovod takes the GPU of '
                        'its place on the machine')
    return [pick_device(workers.local_rank if mx.context.num_gpus() else None, args.dtype, 'GPU')]


# Model


def build_model(args, devices):
    """(`BERTModel` with both heads, vocabulary) from the flags."""
    options = dict(HEADS, ctx=devices, dropout=args.dropout)
    if args.bert_checkpoint:
        path = find_phase1_checkpoint(args) if args.phase2 else args.bert_checkpoint
        return zoo.load_checkpoint(path, args.model, args.dataset_name, **options)
    if args.bert_config:
        network, vocab = new_model(args)
    else:
        network, vocab = zoo.get_model(args.model, args.dataset_name, pretrained=args.pretrained,
                                       **options)
    if not args.pretrained:
        network.initialize(mx.init.Normal(args.init_std), ctx=devices)
        logging.info('the model starts from random weights; --pretrained takes released ones')
    return network, vocab


def new_model(args):
    """(`BERTModel`, vocabulary): the sizes are those in --bert_config, --dataset_name names the
    vocabulary. Raises `UserError`."""
    if not args.dataset_name:
        raise UserError('--bert_config: name the vocabulary with --dataset_name, a corpus or a '
                        'vocab.txt')
    tokens, cased = vocabularies.fetch_vocabulary(args.dataset_name)
    values = dict({'vocab_size': len(tokens), 'cased': cased}, **files.read_json(args.bert_config))
    config = BertConfig.from_dict(values, args.bert_config)
    if config.vocab_size != len(tokens):
        raise UserError('%s: vocab_size %d, and the vocabulary has %d tokens: leave it out'
                        % (args.bert_config, config.vocab_size, len(tokens)))
    return (BERTModel(config, dropout=args.dropout, **HEADS),
            vocabulary.make_vocabulary(tokens, args.dataset_name))


class PretrainingModel(Pipeline):
    """A `BERTModel` with both heads. Its checkpoint folders hold no task."""

    def write_description(self, folder):
        write_description(folder, self.config, self.tokenizer.vocab)

    def sums(self, batch, device, compute):
        """The sums of a `PretrainingBatch`. compute: a `PretrainingSums` block."""
        arrays = {name: mx.nd.array(array, ctx=device, dtype=array.dtype)
                  for name, array in batch._asdict().items()}
        dtype = self.network.word_embed[0].weight.dtype
        _, _, next_sentence, tokens = self.network(
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


class PretrainingTrainer(training.Trainer):
    """Pre-trains and evaluates a model."""
    log_line = staticmethod(pretraining_line)
    stepper = PretrainingStepper

    def __init__(self, args, devices, folder, workers):
        super().__init__(args, TASK_NAME, devices[0], folder, workers)
        self._devices = devices
        self._sums = PretrainingSums(not args.no_compute_acc)
        self._sums.hybridize()

    def run(self):
        args = self.args
        network, vocab = build_model(args, self._devices)
        model_from_flags.apply_dtype(network, args.dtype)
        network.hybridize(**NO_BULKING_OPTIONS if args.profile else {})
        tokenizer = BertTokenizer(vocab, lower=not network.config.cased)
        self.model = PretrainingModel(network, tokenizer, network.config, {},
                                      network.config.max_length)
        if args.synthetic_data:
            self._data = self._check_length('--synthetic_data', SyntheticExamples(
                args.dummy_data_len or args.max_seq_length, args.batch_size * self.num_shares,
                args, vocab.idx_to_token))
        else:
            self._data = self._open(args.data, '--data', args.raw, RAW_FOLDER, args.seed)
        # seed 0: the examples to evaluate on do not depend on --seed, as in the original
        self._data_eval = self._open(args.data_eval, '--data_eval',
                                     args.raw and not args.eval_use_npz, RAW_EVAL_FOLDER, seed=0)
        state = self._train() if self._data else TrainerState()
        return self._conclude(state)

    def _open(self, patterns, flag, is_raw, folder, seed):
        """The source of the examples that a flag names, None without the flag."""
        if not patterns:
            return None
        tokens = self.model.tokenizer.vocab.idx_to_token
        if is_raw:
            return self._check_length(flag, RawTextExamples(
                flag, patterns, self.args, tokens, self.model.config.cased,
                os.path.join(self.folder, folder), self.workers, seed))
        paths = files.find_files(patterns, 'for %s what create_pretraining_data.py writes' % flag)
        return self._check_length(flag, ShardExamples(paths, tokens, self.args.allow_pickle))

    def _check_length(self, flag, source):
        """The source itself. Raises `UserError` if its examples are too long for the model."""
        logging.info('%s: %s', flag, source.describe())
        if source.longest > self.model.max_len:
            raise UserError('%s: an example of %d tokens, and the model has %d positions: make '
                            'the data with --max_seq_length %d, or choose another model'
                            % (flag, source.longest, self.model.max_len, self.model.max_len))
        return source

    def _make_stepper(self):
        super()._make_stepper()
        if self.args.phase2:
            self._load_phase1_optimizer()
        if self.args.profile:
            self._stepper = ProfiledStepper(self._stepper,
                                            None if self.workers.rank else self.args.profile)

    def _load_phase1_optimizer(self):
        """Load the state of phase 1's optimizer; `build_model` has loaded its parameters."""
        folder = find_phase1_checkpoint(self.args)
        content, arrays = checkpoint.load_resume_state(folder)
        optimizer.restore_optimizer_state(self._trainer, arrays, content['optimizer'])
        logging.info('phase 2 goes on from %s', folder)

    def _train(self):
        args = self.args
        buckets = Buckets(args.num_buckets, self._data.longest,
                          args.batch_size * self.num_shares, args.use_avg_len)
        if args.use_avg_len and args.batch_size < self._data.longest:
            raise UserError('--batch_size %d: tokens, with --use_avg_len, and the longest example '
                            'has %d: give as many or more' % (args.batch_size,
                                                              self._data.longest))
        plan = TrainingPlan(math.inf, args.num_steps, args.accumulate,
                            args.log_interval * args.accumulate, args.ckpt_interval,
                            evaluation_interval=args.eval_interval)

        def batches_of(epoch):
            self._epoch = self._data.epoch(epoch, buckets, args.seed)
            return self._epoch
        return self.fit(plan, batches_of, self._data.digest(), self._make_metric())

    def _make_metric(self):
        return PretrainingMetric(self.workers, not self.args.no_compute_acc)

    @property
    def num_shares(self):
        return len(self._devices) * self.workers.size

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

    def evaluate(self, interrupt=None):
        """{'eval': [(metric, value)]} for --data_eval, {} without it; None when interrupted."""
        if self._data_eval is None:
            return {}
        logging.info('Running evaluation ... ')
        start_time, source = time.time(), self._data_eval
        metric = self._make_metric()
        epoch = source.epoch(0, Buckets(source.longest, source.longest, self.args.batch_size_eval),
                             seed=0)
        with progress_bar(len(epoch), unit='batch', description='evaluating') as bar:
            for pool, indices in epoch[self.workers.rank::self.workers.size]:
                if interrupt is not None and interrupt.is_requested:
                    return None
                batch = collate_examples(epoch.load(pool), indices, self.model.padding_id)
                metric.update([batch.num_masked, batch.size, batch.num_tokens],
                              self.forward(DeviceBatch(batch, self.device)).asnumpy())
                bar.update(1)
        values = metric.get()[:-1]
        logging.info('Eval %s', '\t'.join('%s=%.*f' % (name, 3 if 'loss' in name else 1, value)
                                          for name, value in values))
        logging.info('Eval cost=%.1fs', time.time() - start_time)
        return {'eval': values}

    # The end

    def _conclude(self, state):
        """Evaluate if training did not, remove working files, write results.json and curves.png."""
        metrics = state.history[-1]['metrics'] if state.history else {
            name: dict(values) for name, values in (self.evaluate() or {}).items()}
        if self.workers.rank:
            return None
        if self.args.profile:
            logging.warning('--profile: the run ended before step %d of this session: there is '
                            'no profile', LAST_PROFILED_STEP)
        for source in (self._data, self._data_eval):
            if isinstance(source, RawTextExamples):    # a resume can make them again
                source.remove()
        report = self.report(state, metrics)
        if state.curve:
            logging.info('Train cost=%.1fs', state.seconds)
        logging.info('results: %s', os.path.join(self.folder, file_names.RESULTS_FILE))
        return report
