"""Our side of the classifier comparisons: data, network and optimizer step from `bert`."""
import argparse
import time

import mxnet as mx
import numpy as np

from benchmarks import harness
from bert.data.batches import collate, training_batches
from bert.data.glue.download import locate
from bert.data.glue.labels import LabelEncoder
from bert.data.glue.tasks import find_task
from bert.data.text.readers import read_examples
from bert.data.text.tokenizer import BertTokenizer
from bert.data.transform import Features, featurize
from bert.flags import allocator
from bert.model import classification, zoo
from bert.model.bert import compute_in, is_fused
from bert.model.kernels.optimizer import fused_update
from bert.model.weights.released_weights import Released, fetch_tokens
from bert.train import optimizer
from bert.train.step import Stepper
from bert.vocabulary import make_vocabulary

PADDING_ID = 0      # of the vocabulary of the weights


def weights_folder():
    """The weights in Hugging Face layout, fetched by our zoo: transformers reads them too."""
    zoo.get_model(*harness.WEIGHTS, use_decoder=False, use_classifier=False)
    return Released(*harness.WEIGHTS).folder


def read_features(task, segment, data_dir, max_len):
    """The `Features` of one segment of a `Task`, in the order of the file."""
    check = LabelEncoder(task.labels, task.aliases)
    path = locate(task, data_dir)[segment]
    examples, _ = read_examples(path, task.segments[segment].table, check, task.skip_bad_rows)
    vocabulary = make_vocabulary(fetch_tokens(Released(*harness.WEIGHTS)))
    return featurize(examples, BertTokenizer(vocabulary, lower=True), max_len, check)


def save_features(path, features):
    """`Features` to an .npz that the peer reads: examples end to end, and their lengths."""
    np.savez(path, token_ids=np.concatenate([one.token_ids for one in features]),
             segment_ids=np.concatenate([one.segment_ids for one in features]),
             lengths=np.array([one.valid_length for one in features], dtype='int32'),
             labels=np.array([one.label for one in features]))


def load_features(path):
    """What `save_features` wrote."""
    with np.load(path) as saved:
        arrays = dict(saved)
    ends = np.cumsum(arrays['lengths'])[:-1]
    rows = zip(np.split(arrays['token_ids'], ends), np.split(arrays['segment_ids'], ends),
               arrays['lengths'], arrays['labels'])
    return [Features(tokens, segments, int(length), label, int(length))
            for tokens, segments, length, label in rows]


def make_network(task, dropout):
    """The pre-trained encoder with a new head."""
    bert, _ = zoo.get_model(*harness.WEIGHTS, use_decoder=False, use_classifier=False,
                            dropout=dropout)
    network = classification.make_network(bert, task.labels, dropout)
    network.classifier.initialize(mx.init.Normal(0.02))
    network.hybridize()
    return network


def make_stepper(task, network, learning_rate, seed):
    """The `Stepper` of jobs/classification.py with the script's defaults."""
    loss = classification.make_loss(task.is_regression)

    def forward(batch):
        outputs = network(*(mx.nd.array(array, dtype=array.dtype) for array in
                            (batch.token_ids, batch.segment_ids, batch.valid_length)))
        labels = mx.nd.array(batch.labels)
        return loss(outputs, labels), labels, outputs

    trainer = optimizer.make_trainer(network.collect_params(), 'bertadam', learning_rate,
                                     epsilon=1e-6, weight_decay=0.01)
    return Stepper(forward, trainer, seed, max_norm=1.0, fused=fused_update)


class Speed:
    """Times training on chosen examples, batched as our training batches them."""

    def __init__(self, args):
        task = find_task(args.task)
        self._features = load_features(args.examples)
        self._batch_size = args.batch_size
        network = make_network(task, dropout=0.1)
        compute_in(network, args.dtype)
        if args.dtype != 'float32' and not is_fused(network, args.dtype):
            raise SystemExit('no fused kernels with %s here' % args.dtype)
        self._stepper = make_stepper(task, network, 2e-5, seed=1)
        self._step = 0

    def train(self, question):
        """question: {'indices': of the examples} → {'seconds'} for one step a batch."""
        features = [self._features[i] for i in question['indices']]
        batches = training_batches([one.valid_length for one in features], self._batch_size,
                                   seed=1, epoch=self._step)
        started, before = time.time(), None
        for indices in batches:
            self._step += 1
            batch = collate([features[i] for i in indices], PADDING_ID)
            result = self._stepper.step(self._step, [batch], 2e-5)
            if before is not None:      # as the training loop: one step ahead at most
                before.loss.wait_to_read()
            before = result
        mx.nd.waitall()
        return {'seconds': time.time() - started, 'loss': float(before.loss.asscalar())}


def main():
    parser = argparse.ArgumentParser(description='worker of speed.py')
    parser.add_argument('--task', required=True)
    parser.add_argument('--examples', required=True, help='.npz of save_features')
    parser.add_argument('--batch_size', type=int, required=True)
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), default='float32')
    args = parser.parse_args()
    allocator.keep_freed(training=True)    # as the script does, if later
    mx.random.seed(1)
    harness.answer_questions(Speed(args).train)


if __name__ == '__main__':
    main()
