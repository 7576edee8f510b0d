"""Pre-training BERT by masked tokens and next sentences: the whole recipe."""
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
from bert.jobs.pretraining.example_sources import RawText, Shards, Synthetic
from bert.jobs.pretraining.flag_rules import (
    NAME,
    SCRIPT,
    check_flags,
    check_start_step,
    find_phase1,
)
from bert.jobs.runs import model_from_flags, run_folder, training
from bert.model import zoo
from bert.model.bert import BERTModel
from bert.model.config import BertConfig
from bert.model.pretraining import PretrainingSums
from bert.model.weights import vocabularies
from bert.pipelines.base import Model, write_description
from bert.train import checkpoint, optimizer
from bert.train.devices import pick_device, seed_everything
from bert.train.log import progress
from bert.train.loop import Plan, State
from bert.train.metrics import PretrainingMetric
from bert.train.profiling import LAST_PROFILED, ONE_BY_ONE, ProfiledStepper
from bert.train.step import Parts, PretrainingStepper
from bert.train.workers import Horovod, open_workers, share

LOG = 'phase%d_log.0'
RAW, RAW_EVAL = '.raw', '.raw_eval'     # what --raw texts are made, until the run is done
HEADS = dict(use_pooler=True, use_decoder=True, use_classifier=True)


def run(args):
    """Pre-train (or, without --data, only evaluate) as the parsed flags say; returns the report in
    results.json, None in other workers than 0. Raises `UserError`."""
    workers = open_workers(args.comm_backend)
    args.output_dir = args.ckpt_dir     # as the folder of a run is called elsewhere
    if args.start_step:
        check_start_step(args)
        args.resume = True
    folder = run_folder.reopen_folder(args, NAME, SCRIPT) if args.resume else None
    devices = pick_devices(args, workers)
    check_flags(args, len(devices) * workers.size)
    optimizer.check_copies(args.optimizer, len(devices), workers.size)
    if not folder:
        written = [LOG % 1, LOG % 2] + ([RAW, RAW_EVAL] if args.raw else [])
        training.open_folder(args, NAME, SCRIPT, written, workers)
    seed_everything(args.seed)
    training.open_run_log(os.path.join(args.ckpt_dir, LOG % (2 if args.phase2 else 1)), workers)
    return Pretraining(args, devices, args.ckpt_dir, workers).run()


def pick_devices(args, workers):
    """[`mx.Context`] of --gpus; each of Horovod's workers takes the GPU of its place on the machine
    where MXNet has any, else the CPU. Raises `UserError`."""
    if not isinstance(workers, Horovod):
        return [pick_device(gpu, args.dtype, '--gpus') for gpu in args.gpus or [None]]
    if args.gpus:
        raise UserError('--gpus: it is for one process; each worker of Horovod takes the GPU of '
                        'its place on the machine')
    return [pick_device(workers.local_rank if mx.context.num_gpus() else None, args.dtype, 'GPU')]


# Model


def build_model(args, devices):
    """(`BERTModel` with both heads, vocabulary) of the flags."""
    parts = dict(HEADS, ctx=devices, dropout=args.dropout)
    if args.bert_checkpoint:
        path = find_phase1(args) if args.phase2 else args.bert_checkpoint
        return zoo.load_checkpoint(path, args.model, args.dataset_name, **parts)
    if args.bert_config:
        network, vocab = new_model(args)
    else:
        network, vocab = zoo.get_model(args.model, args.dataset_name, pretrained=args.pretrained,
                                       **parts)
    if not args.pretrained:
        network.initialize(mx.init.Normal(args.init_std), ctx=devices)
        logging.info('the model starts from random weights; --pretrained takes released ones')
    return network, vocab


def new_model(args):
    """A model of the sizes in --bert_config, for the vocabulary that --dataset_name names."""
    if not args.dataset_name:
        raise UserError('--bert_config: name the vocabulary with --dataset_name, a corpus or a '
                        'vocab.txt')
    tokens, cased = vocabularies.fetch(args.dataset_name)
    values = dict({'vocab_size': len(tokens), 'cased': cased}, **files.read_json(args.bert_config))
    config = BertConfig.from_dict(values, args.bert_config)
    if config.vocab_size != len(tokens):
        raise UserError('%s: vocab_size %d, and the vocabulary has %d tokens: leave it out'
                        % (args.bert_config, config.vocab_size, len(tokens)))
    return (BERTModel(config, dropout=args.dropout, **HEADS),
            vocabulary.make_vocabulary(tokens, args.dataset_name))


class PretrainingModel(Model):
    """A `BERTModel` with both heads, of which a checkpoint folder needs no task."""

    def write_description(self, folder):
        write_description(folder, self.config, self.tokenizer.vocab)

    def sums(self, batch, device, compute):
        """`PretrainingSums` of a batch, by the block `compute`."""
        arrays = {name: mx.nd.array(array, ctx=device, dtype=array.dtype)
                  for name, array in batch._asdict().items()}
        dtype = self.network.word_embed[0].weight.dtype
        _, _, next_sentence, tokens = self.network(
            arrays['token_ids'], arrays['segment_ids'], arrays['valid_length'].astype(dtype),
            arrays['masked_positions'])
        return compute(tokens, next_sentence, arrays['masked_ids'], arrays['masked_weights'],
                       arrays['next_sentence_labels'])


# Training


class Part(NamedTuple):
    """What one device computes of a batch."""
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


def log_line(entry):
    """The line of the original run_pretraining.py."""
    values = dict(entry.metrics)
    shown = '\t'.join(name + '=' + form % values[name] for name, form in (
        ('mlm_loss', '%7.5f'), ('mlm_acc', '%4.2f'), ('nsp_loss', '%5.2f'), ('nsp_acc', '%5.2f'))
        if name in values)
    return '[step %d]\t%s\tthroughput=%.1fK tks/s\tlr=%.7f time=%.2f, latency=%.1f ms/step' % (
        entry.step, shown, values['tokens'] / 1000 / entry.seconds, entry.rate,
        entry.seconds, 1000 * entry.seconds / max(entry.steps, 1))


class Pretraining(training.Training):
    """One run."""
    log_line = staticmethod(log_line)
    stepper = PretrainingStepper

    def __init__(self, args, devices, folder, workers):
        super().__init__(args, NAME, devices[0], folder, workers)
        self._devices = devices
        self._sums = PretrainingSums(not args.no_compute_acc)
        self._sums.hybridize()

    def run(self):
        args = self.args
        network, vocab = build_model(args, self._devices)
        model_from_flags.choose_dtype(network, args.dtype)
        network.hybridize(**ONE_BY_ONE if args.profile else {})
        tokenizer = BertTokenizer(vocab, lower=not network.config.cased)
        self.model = PretrainingModel(network, tokenizer, network.config, {},
                                      network.config.max_length)
        if args.synthetic_data:
            self._data = self._check_length('--synthetic_data', Synthetic(
                args.dummy_data_len or args.max_seq_length, args.batch_size * self.num_shares,
                args, vocab.idx_to_token))
        else:
            self._data = self._open(args.data, '--data', args.raw, RAW, args.seed)
        # of dev the same examples are drawn whatever the seed, as in the original
        self._data_eval = self._open(args.data_eval, '--data_eval',
                                     args.raw and not args.eval_use_npz, RAW_EVAL, seed=0)
        state = self._train() if self._data else State()
        return self._conclude(state)

    def _open(self, patterns, flag, raw, folder, seed):
        """The examples that a flag names, None where it isn't given."""
        if not patterns:
            return None
        tokens = self.model.tokenizer.vocab.idx_to_token
        if raw:
            return self._check_length(flag, RawText(
                flag, patterns, self.args, tokens, self.model.config.cased,
                os.path.join(self.folder, folder), self.workers, seed))
        paths = files.find(patterns, 'for %s what create_pretraining_data.py writes' % flag)
        return self._check_length(flag, Shards(paths, tokens, self.args.allow_pickle))

    def _check_length(self, flag, data):
        """The data, if the model can read it."""
        logging.info('%s: %s', flag, data.describe())
        if data.longest > self.model.max_len:
            raise UserError('%s: an example of %d tokens, and the model has %d positions: make '
                            'the data with --max_seq_length %d, or choose another model'
                            % (flag, data.longest, self.model.max_len, self.model.max_len))
        return data

    def _make_stepper(self):
        super()._make_stepper()
        if self.args.phase2:
            self._take_optimizer()
        if self.args.profile:
            self._stepper = ProfiledStepper(self._stepper,
                                            None if self.workers.rank else self.args.profile)

    def _take_optimizer(self):
        """Go on with what phase 1's optimizer remembers, beside its parameters."""
        folder = find_phase1(self.args)
        content, arrays = checkpoint.load_state(folder)
        optimizer.load_state(self._trainer, arrays, content['optimizer'])
        logging.info('phase 2 goes on from %s', folder)

    def _train(self):
        args = self.args
        buckets = Buckets(args.num_buckets, self._data.longest,
                          args.batch_size * self.num_shares, args.use_avg_len)
        if args.use_avg_len and args.batch_size < self._data.longest:
            raise UserError('--batch_size %d: tokens, with --use_avg_len, and the longest example '
                            'has %d: give as many or more' % (args.batch_size,
                                                              self._data.longest))
        plan = Plan(math.inf, args.num_steps, args.accumulate,
                    args.log_interval * args.accumulate, args.ckpt_interval,
                    evaluation_interval=args.eval_interval)

        def batches_of(epoch):
            self._epoch = self._data.epoch(epoch, buckets, args.seed)
            return self._epoch
        return self.follow(plan, batches_of, self._data.digest(), self._make_metric())

    def _make_metric(self):
        return PretrainingMetric(self.workers, not self.args.no_compute_acc)

    @property
    def num_shares(self):
        return len(self._devices) * self.workers.size

    def load_batch(self, place):
        pool, indices = place
        examples = self._epoch.load(pool)
        first = self.workers.rank * len(self._devices)
        shares = [share(indices, first + i, self.num_shares) for i in range(len(self._devices))]
        return Parts([Part(collate_examples(examples, part, self.model.padding_id), device)
                      for part, device in zip(shares, self._devices) if len(part)])

    def forward(self, part):
        return self.model.sums(part.batch, part.device, self._sums)

    # Evaluation

    def evaluate(self, interrupt=None):
        """{'eval': scores} of --data_eval, {} without it; None when interrupted."""
        if self._data_eval is None:
            return {}
        logging.info('Running evaluation ... ')
        started, data = time.time(), self._data_eval
        metric = self._make_metric()
        epoch = data.epoch(0, Buckets(data.longest, data.longest, self.args.batch_size_eval),
                           seed=0)
        with progress(len(epoch), unit='batch', description='evaluating') as bar:
            for pool, indices in epoch[self.workers.rank::self.workers.size]:
                if interrupt is not None and interrupt.requested:
                    return None
                batch = collate_examples(epoch.load(pool), indices, self.model.padding_id)
                metric.update([batch.num_masked, batch.size, batch.num_tokens],
                              self.forward(Part(batch, self.device)).asnumpy())
                bar.update(1)
        values = metric.get()[:-1]
        logging.info('Eval %s', '\t'.join('%s=%.*f' % (name, 3 if 'loss' in name else 1, value)
                                          for name, value in values))
        logging.info('Eval cost=%.1fs', time.time() - started)
        return {'eval': values}

    # The end

    def _conclude(self, state):
        last = state.history[-1]['metrics'] if state.history else {
            name: dict(values) for name, values in (self.evaluate() or {}).items()}
        if self.workers.rank:
            return None
        if self.args.profile:
            logging.warning('--profile: the run ended before step %d of this session: there is '
                            'no profile', LAST_PROFILED)
        for data in (self._data, self._data_eval):
            if isinstance(data, RawText):   # resuming a finished run makes them again
                data.remove()
        report = self.report(state, last)
        if state.curve:
            logging.info('Train cost=%.1fs', state.seconds)
        logging.info('results: %s', os.path.join(self.folder, file_names.RESULTS))
        return report
