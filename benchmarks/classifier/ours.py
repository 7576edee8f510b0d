"""Our side of the classifier comparisons: data, network and optimizer step from `bert`."""
import argparse
import pathlib
import shutil
import time

import mxnet as mx
import numpy as np
from safetensors.numpy import load_file, save_file

from benchmarks import harness
from bert.data.batches import collate, training_batches
from bert.data.glue.download import locate_task
from bert.data.glue.labels import LabelEncoder
from bert.data.glue.tasks import find_task
from bert.data.text.readers import read_examples
from bert.data.text.tokenizer import BertTokenizer
from bert.data.transform import Features, featurize
from bert.file_names import CONFIG_FILE, TOKENIZER_CONFIG_FILE, WEIGHTS_FILE
from bert.flags import allocator
from bert.model import classification, zoo
from bert.model.bert import is_fused, set_compute_dtype
from bert.model.kernels.optimizer import fused_update
from bert.model.weights.released_weights import Release, fetch_tokens
from bert.train import optimizer
from bert.train.step import Stepper
from bert.vocabulary import make_vocabulary

PADDING_ID = 0      # of the vocabulary of the weights


def weights_folder():
    """Folder of the weights in Hugging Face layout, fetched by our zoo. Both sides read it."""
    zoo.get_model(*harness.WEIGHTS, use_decoder=False, use_classifier=False)
    return Release(*harness.WEIGHTS).folder


def write_with_head(folder, architecture, shapes, **config):
    """Write the weights with a random head, in Hugging Face layout. Returns the folder.

    architecture: transformers' name of the network; shapes: {tensor of the head: its shape};
    config: more keys of config.json.
    """
    weights, random = pathlib.Path(weights_folder()), np.random.RandomState(0)
    shutil.copytree(weights, folder)
    tensors = {name if name.startswith('bert.') else 'bert.' + name: array
               for name, array in load_file(str(weights / WEIGHTS_FILE)).items()}
    tensors.update({name: random.normal(0, 0.1, shape).astype('float32')
                    for name, shape in shapes.items()})
    save_file(tensors, str(folder / WEIGHTS_FILE), {'format': 'pt'})
    path = folder / CONFIG_FILE
    harness.write_json(path, dict(harness.read_json(path), architectures=[architecture], **config))
    harness.write_json(folder / TOKENIZER_CONFIG_FILE, {
        'tokenizer_class': 'BertTokenizer', 'do_lower_case': True, 'model_max_length': 512})
    return folder


def read_features(task, segment, data_dir, max_len):
    """The `Features` of one segment of a `Task`, in the order of the file."""
    check = LabelEncoder(task.labels, task.aliases)
    path = locate_task(task, data_dir)[segment]
    examples, _ = read_examples(path, task.segments[segment].table, check, task.skip_bad_rows)
    vocabulary = make_vocabulary(fetch_tokens(Release(*harness.WEIGHTS)))
    return featurize(examples, BertTokenizer(vocabulary, lower=True), max_len, check)


def save_features(path, features):
    """Write `Features` as an .npz that the peer reads: examples end to end, and their lengths."""
    np.savez(path, token_ids=np.concatenate([example.token_ids for example in features]),
             segment_ids=np.concatenate([example.segment_ids for example in features]),
             lengths=np.array([example.valid_length for example in features], dtype='int32'),
             labels=np.array([example.label for example in features]))


def load_features(path):
    """The `Features` that `save_features` wrote."""
    with np.load(path) as archive:
        arrays = dict(archive)
    ends = np.cumsum(arrays['lengths'])[:-1]
    rows = zip(np.split(arrays['token_ids'], ends), np.split(arrays['segment_ids'], ends),
               arrays['lengths'], arrays['labels'])
    return [Features(tokens, segments, int(length), label, int(length))
            for tokens, segments, length, label in rows]


def make_network(task, dropout):
    """The pre-trained encoder with a new head."""
    bert, _ = zoo.get_model(*harness.WEIGHTS, use_decoder=False, use_classifier=False,
                            dropout=dropout)
    network = classification.make_classifier_network(bert, task.labels, dropout)
    network.classifier.initialize(mx.init.Normal(0.02))
    network.hybridize()
    return network


def make_stepper(task, network, learning_rate, seed):
    """The `Stepper` of jobs/finetuning/classification.py with the script's defaults."""
    loss = classification.make_loss(task.kind)

    def forward(batch):
        outputs = network(*(mx.nd.array(array, dtype=array.dtype) for array in
                            (batch.token_ids, batch.segment_ids, batch.valid_length)))
        labels = mx.nd.array(batch.labels)
        return loss(outputs, labels), labels, outputs

    trainer = optimizer.make_trainer(network.collect_params(), 'bertadam', learning_rate,
                                     epsilon=1e-6, weight_decay=0.01)
    return Stepper(forward, trainer, seed, max_norm=1.0, fused=fused_update)


class TrainingTimer:
    """Times training on chosen examples, in the batches of our training."""

    def __init__(self, args):
        task = find_task(args.task)
        self._features = load_features(args.examples)
        self._batch_size = args.batch_size
        network = make_network(task, dropout=0.1)
        set_compute_dtype(network, args.dtype)
        if args.dtype != 'float32' and not is_fused(network, args.dtype):
            raise SystemExit('no fused kernels with %s here' % args.dtype)
        self._stepper = make_stepper(task, network, 2e-5, seed=1)
        self._step = 0

    def train(self, question):
        """Train on {'indices': of the examples}, one step a batch → {'seconds', 'loss'}."""
        features = [self._features[i] for i in question['indices']]
        batches = training_batches([example.valid_length for example in features],
                                   self._batch_size, seed=1, epoch=self._step)
        started, previous = time.time(), None
        for indices in batches:
            self._step += 1
            batch = collate([features[i] for i in indices], PADDING_ID)
            result = self._stepper.step(self._step, [batch], 2e-5)
            if previous is not None:    # as in the training loop: at most one step ahead
                previous.loss.wait_to_read()
            previous = result
        mx.nd.waitall()
        return {'seconds': time.time() - started, 'loss': float(previous.loss.asscalar())}


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.classifier.speed')
    parser.add_argument('--task', required=True)
    parser.add_argument('--examples', required=True, help='.npz of save_features')
    parser.add_argument('--batch_size', type=int, required=True)
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), default='float32')
    args = parser.parse_args()
    # as in the script, though after the import of mxnet
    allocator.keep_freed_memory(training=True)
    mx.random.seed(1)
    harness.answer_questions(TrainingTimer(args).train)


if __name__ == '__main__':
    main()
