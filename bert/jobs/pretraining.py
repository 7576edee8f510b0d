"""Pre-training BERT by masked tokens and next sentences: the whole recipe."""
import hashlib
import logging
import math
import os
import time
from typing import NamedTuple

import mxnet as mx

from bert import files, layout, vocabulary
from bert.data.pretraining_batches import (
    Buckets,
    PretrainingBatch,
    Stream,
    collate_examples,
)
from bert.data.shards import MANIFEST, read_lengths, read_shard
from bert.data.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.jobs import run_folder, training
from bert.jobs.folder import Model, write_description
from bert.model import vocabularies, zoo
from bert.model.bert import BERTModel
from bert.model.config import BertConfig
from bert.model.pretraining import PretrainingSums
from bert.train import optimizer
from bert.train.devices import pick_device, seed_everything
from bert.train.log import progress
from bert.train.loop import Plan, State
from bert.train.metrics import PretrainingMetric
from bert.train.step import Parts, PretrainingStepper
from bert.train.workers import Horovod, open_workers, share

SCRIPT, LOG, NAME = 'run_pretraining.py', 'phase1_log.0', 'pretraining'
HEADS = dict(use_pooler=True, use_decoder=True, use_classifier=True)


def run(args):
    """Pre-train (or, without --data, only evaluate) as the parsed flags say; returns the report in
    results.json, None in other workers than 0. Raises `UserError`."""
    workers = open_workers(args.comm_backend)
    args.output_dir = args.ckpt_dir     # as the folder of a run is called elsewhere
    folder = run_folder.reopen_folder(args, NAME, SCRIPT) if args.resume else None
    devices = pick_devices(args, workers)
    check_flags(args, len(devices) * workers.size)
    optimizer.check_copies(args.optimizer, len(devices), workers.size)
    if not folder:
        training.open_folder(args, NAME, SCRIPT, [LOG], workers)
    seed_everything(args.seed)
    training.open_run_log(os.path.join(args.ckpt_dir, LOG), workers)
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


def check_flags(args, num_devices=1):
    """Raises `UserError` for flags that contradict each other."""
    if not (args.data or args.data_eval):
        raise UserError('nothing to do: give --data to train on, --data_eval to evaluate on, or '
                        'both')
    if args.bert_checkpoint and (args.pretrained or args.bert_config):
        raise UserError('--bert_checkpoint brings its own weights and sizes: leave --pretrained '
                        'and --bert_config out')
    if args.pretrained and args.bert_config:
        raise UserError('--pretrained and --bert_config: released weights have their own sizes; '
                        'give one of the two')
    if args.total_batch_size and 'batch_size' in args.given:
        raise UserError('--total_batch_size and --batch_size: give one of the two')
    if args.total_batch_size:
        parts = args.accumulate * num_devices
        if args.total_batch_size % parts:
            raise UserError('--total_batch_size %d: not a multiple of %d: --accumulate %d on %d '
                            'devices' % (args.total_batch_size, parts, args.accumulate,
                                         num_devices))
        args.batch_size = args.total_batch_size // parts


# Data


def check_vocabulary(paths, tokens):
    """Raises `UserError` when a manifest beside the shards tells of another vocabulary."""
    digest = vocabulary.digest(tokens)
    for folder in sorted({os.path.dirname(path) for path in paths}):
        path = os.path.join(folder, MANIFEST)
        if not os.path.isfile(path):
            continue
        told = files.read_json(path).get('vocabulary', {})
        if told.get('sha256') not in (None, digest):
            raise UserError('%s: made with another vocabulary, of %s tokens; the model\'s has %d: '
                            'make the data with the model\'s, or choose another model'
                            % (path, told.get('size'), len(tokens)))


class Data:
    """The shards of one flag."""

    def __init__(self, paths, args, vocab):
        self.paths, self._pickle = paths, args.allow_pickle
        self._vocab_size = len(vocab)
        check_vocabulary(paths, vocab.idx_to_token)
        self.lengths = [read_lengths(path) for path in paths]
        self.size = sum(map(len, self.lengths))
        if not self.size:
            raise UserError('%s: no example in it' % ', '.join(paths))
        self.longest = int(max(lengths.max() for lengths in self.lengths if len(lengths)))

    def read(self, path):
        return read_shard(path, self._pickle, self._vocab_size)

    def stream(self, buckets, seed):
        return Stream(self.paths, self.lengths, self.read, buckets, seed)

    def digest(self):
        """sha256 of the lengths of all examples: a run is not resumed on other data."""
        total = hashlib.sha256()
        for path, lengths in sorted(zip(self.paths, self.lengths), key=lambda item: item[0]):
            total.update(os.path.basename(path).encode() + b'|' + lengths.tobytes())
        return total.hexdigest()


# Model


def build_model(args, devices):
    """(`BERTModel` with both heads, vocabulary) of the flags."""
    parts = dict(HEADS, ctx=devices, dropout=args.dropout)
    if args.bert_checkpoint:
        return zoo.load_checkpoint(args.bert_checkpoint, args.model, args.dataset_name, **parts)
    if args.bert_config:
        network, vocab = new_model(args)
    else:
        network, vocab = zoo.get_model(args.model, args.dataset_name, pretrained=args.pretrained,
                                       **parts)
    if not args.pretrained:
        network.initialize(mx.init.Normal(0.02), ctx=devices)  # Devlin et al. 2018, A.2
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
    return ('[step %d]\tmlm_loss=%7.5f\tmlm_acc=%4.2f\tnsp_loss=%5.2f\tnsp_acc=%5.2f\t'
            'throughput=%.1fK tks/s\tlr=%.7f time=%.2f, latency=%.1f ms/step' % (
                entry.step, values['mlm_loss'], values['mlm_acc'], values['nsp_loss'],
                values['nsp_acc'], values['tokens'] / 1000 / entry.seconds, entry.rate,
                entry.seconds, 1000 * entry.seconds / max(entry.steps, 1)))


class Pretraining(training.Training):
    """One run."""
    log_line = staticmethod(log_line)
    stepper = PretrainingStepper

    def __init__(self, args, devices, folder, workers):
        super().__init__(args, NAME, devices[0], folder, workers)
        self._devices = devices
        self._sums = PretrainingSums()
        self._sums.hybridize()

    def run(self):
        args = self.args
        network, vocab = build_model(args, self._devices)
        network.hybridize()
        tokenizer = BertTokenizer(vocab, lower=not network.config.cased)
        self.model = PretrainingModel(network, tokenizer, network.config, {},
                                      network.config.max_length)
        self._data = self._open(args.data, '--data')
        self._data_eval = self._open(args.data_eval, '--data_eval')
        state = self._train() if self._data else State()
        return self._conclude(state)

    def _open(self, patterns, flag):
        """`Data` of a flag, None where it isn't given."""
        if not patterns:
            return None
        paths = files.find(patterns, 'for %s what create_pretraining_data.py writes' % flag)
        data = Data(paths, self.args, self.model.tokenizer.vocab)
        logging.info('%s: %d examples in %d files, up to %d tokens', flag, data.size,
                     len(data.paths), data.longest)
        if data.longest > self.model.max_len:
            raise UserError('%s: an example of %d tokens, and the model has %d positions: make '
                            'the data with --max_seq_length %d, or choose another model'
                            % (flag, data.longest, self.model.max_len, self.model.max_len))
        return data

    def _train(self):
        args = self.args
        buckets = Buckets(args.num_buckets, self._data.longest,
                          args.batch_size * self.num_shares, args.use_avg_len)
        if args.use_avg_len and args.batch_size < self._data.longest:
            raise UserError('--batch_size %d: tokens, with --use_avg_len, and the longest example '
                            'has %d: give as many or more' % (args.batch_size,
                                                              self._data.longest))
        stream = self._data.stream(buckets, args.seed)
        plan = Plan(math.inf, args.num_steps, args.accumulate,
                    args.log_interval * args.accumulate, args.ckpt_interval,
                    evaluation_interval=args.eval_interval)

        def batches_of(epoch):
            self._epoch = stream.epoch(epoch)
            return self._epoch
        return self.follow(plan, batches_of, self._data.digest(), PretrainingMetric(self.workers))

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
        metric = PretrainingMetric(self.workers)
        epoch = data.stream(Buckets(data.longest, data.longest, self.args.batch_size_eval),
                            seed=0).epoch(0)
        with progress(len(epoch), unit='batch', description='evaluating') as bar:
            for pool, indices in epoch[self.workers.rank::self.workers.size]:
                if interrupt is not None and interrupt.requested:
                    return None
                batch = collate_examples(epoch.load(pool), indices, self.model.padding_id)
                metric.update([batch.num_masked, batch.size, batch.num_tokens],
                              self.forward(Part(batch, self.device)).asnumpy())
                bar.update(1)
        values = metric.get()[:-1]
        logging.info('Eval mlm_loss=%.3f\tmlm_acc=%.1f\tnsp_loss=%.3f\tnsp_acc=%.1f',
                     *[value for _, value in values])
        logging.info('Eval cost=%.1fs', time.time() - started)
        return {'eval': values}

    # The end

    def _conclude(self, state):
        last = state.history[-1]['metrics'] if state.history else {
            name: dict(values) for name, values in (self.evaluate() or {}).items()}
        if self.workers.rank:
            return None
        report = self.report(state, last)
        if state.curve:
            logging.info('Train cost=%.1fs', state.seconds)
        logging.info('results: %s', os.path.join(self.folder, layout.RESULTS))
        return report
