"""Our side of speed.py: the network and the optimizer step of run_pretraining.py."""
import argparse
import time

import mxnet as mx
import numpy as np

from benchmarks import harness
from bert.data.pretraining.batches import Buckets, ExampleStream, collate_examples
from bert.data.pretraining.shards import read_lengths, read_shard
from bert.flags import allocator
from bert.model.bert import BERTModel
from bert.model.config import BertConfig
from bert.model.kernels.optimizer import fused_update
from bert.model.pretraining import BertForPretraining, PretrainingSums
from bert.train import optimizer
from bert.train.step import PretrainingStepper

PADDING_ID = 0      # of the vocabulary of the examples
LEARNING_RATE = 1e-4


class TrainingTimer:
    """Times training on the batches of one epoch after the other."""

    def __init__(self, args):
        sizes = harness.read_json(args.sizes)
        network = BERTModel(
            BertConfig.from_dict(sizes, args.sizes), dropout=0.1, use_pooler=True,
            use_decoder=True, use_classifier=True, compute_dtype=args.dtype)
        network.initialize(mx.init.Normal(0.02))
        self._heads, self._sums = BertForPretraining(network), PretrainingSums()
        for block in (self._heads, self._sums):
            block.hybridize()
        trainer = optimizer.make_trainer(network.collect_params(), args.optimizer,
                                         LEARNING_RATE, epsilon=1e-6)
        self._stepper = PretrainingStepper(self._forward, trainer, seed=1,
                                           fused=fused_update)
        lengths = read_lengths(args.examples)
        self._stream = ExampleStream([args.examples], [lengths], read_shard, Buckets(
            args.num_buckets, int(lengths.max()), args.batch_size), seed=1)
        self._batches, self._step = self._all_batches(), 0

    def _all_batches(self):
        index = 0
        while True:
            epoch = self._stream.epoch(index)
            for pool, indices in epoch[:]:
                yield collate_examples(epoch.load(pool), indices, PADDING_ID)
            index += 1

    def _forward(self, batch):
        arrays = {name: mx.nd.array(array, dtype=array.dtype)
                  for name, array in batch._asdict().items()}
        next_sentence, tokens = self._heads(
            arrays['token_ids'], arrays['segment_ids'], arrays['valid_length'],
            arrays['masked_positions'])
        return self._sums(tokens, next_sentence, arrays['masked_ids'], arrays['masked_weights'],
                          arrays['next_sentence_labels'])

    def train(self, question):
        """Train {'steps'} → {'seconds', 'tokens', 'padded': tokens with padding, 'loss', 'memory':
        peak in bytes}."""
        started, tokens, padded, previous = time.time(), 0, 0, None
        for _ in range(question['steps']):
            batch = next(self._batches)
            self._step += 1
            result = self._stepper.step(self._step, [batch], LEARNING_RATE)
            tokens, padded = tokens + batch.num_tokens, padded + batch.token_ids.size
            if previous is not None:    # as in the training loop: at most one step ahead
                previous.loss.wait_to_read()
            previous = result
        mx.nd.waitall()
        return {'seconds': time.time() - started, 'tokens': tokens, 'padded': int(padded),
                'loss': float(previous.loss.asscalar()), 'memory': harness.peak_memory()}


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.pretraining.speed')
    harness.add_pretraining_flags(parser)
    parser.add_argument('--num_buckets', type=int, required=True)
    parser.add_argument('--optimizer', required=True)
    args = parser.parse_args()
    # as in the script, though after the import of mxnet
    allocator.keep_freed_memory(training=True)
    mx.random.seed(1)
    np.random.seed(1)
    harness.answer_questions(TrainingTimer(args).train)


if __name__ == '__main__':
    main()
