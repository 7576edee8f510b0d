"""The base of all pipelines: a network, its tokenizer, the task it was trained on."""
import dataclasses
import functools
import itertools
import math
import os
from collections.abc import Iterable

import mxnet as mx

from bert import file_names, files
from bert.data.batches import evaluation_batches
from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.model.arrays import to_device
from bert.model.config import BertConfig
from bert.model.inference import Predictor, min_uniform_tokens
from bert.pipelines.inference import NetworkRunner
from bert.train.workers import SingleWorker, take_share
from bert.vocabulary import write_tokenizer


def is_ordered(items):
    """Whether `items` is an iterable in an order. A str and bytes are none, for their items are
    characters; a dict and a set have no order; the items of a table of pandas are the names of its
    columns."""
    return isinstance(items, Iterable) and not hasattr(items, 'columns') and not isinstance(
        items, (str, bytes, bytearray, dict, set, frozenset))


def iterate_chunks(items, size):
    """Yield lists of `size` items of an iterable in an order; the last one may be shorter. Raises
    `UserError` for anything else."""
    if not is_ordered(items):
        raise UserError('texts: %s found, expected a str or an iterable of str'
                        % type(items).__name__)
    try:
        items = iter(items)
    except TypeError:       # an array without dimensions
        raise UserError('texts: %r found, expected a str or an iterable of str'
                        % (items,)) from None
    while chunk := list(itertools.islice(items, size)):
        yield chunk


class NotCopyable:
    """An object with a network of MXNet, which can't be copied or sent to another process."""

    def __reduce_ex__(self, protocol):
        raise TypeError("%s: a network of MXNet can't be copied or pickled: open the model again, "
                        'in each process' % type(self).__name__)


@dataclasses.dataclass(repr=False)
class Pipeline(NotCopyable):
    """A network with everything that it needs to read text.

    task: the values of task.json except max_len, which is the length of the longest input in
    tokens. device: `mx.Context` of the network. batch_size: texts or windows a batch; batch_tokens:
    tokens a batch at most, padding included. Several threads may use one object.

    Each subclass has `task_keys`, the keys that its task must have, and
    `output_shape(config, task, length)`, the shape of the outputs for a text of `length` tokens.
    """
    network: mx.gluon.HybridBlock
    tokenizer: BertTokenizer
    config: BertConfig
    task: dict
    max_len: int
    device: mx.Context = dataclasses.field(default_factory=mx.cpu)
    batch_size: int = dataclasses.field(default=32, kw_only=True)
    batch_tokens: float = dataclasses.field(default=math.inf, kw_only=True)
    task_keys = 'name', 'pair'

    def __post_init__(self):
        self._predict = Predictor(self.network)

    def __repr__(self):
        return '<%s %s: %d layers of width %d, up to %d tokens, on %s>' % (
            type(self).__name__, self.task['name'], self.config.num_layers, self.config.units,
            self.max_len, self.device)

    @property
    def padding_id(self):
        return self.tokenizer.vocab[self.tokenizer.vocab.padding_token]

    def outputs(self, batch, *others):
        """The network's outputs for a `Batch`, a float32 NDArray. others: NumPy arrays, further
        inputs of the network."""
        compute_dtype = self.network.bert.word_embed[0].weight.dtype
        arrays = [to_device(array, self.device) for array in (
            batch.token_ids, batch.segment_ids, batch.valid_length.astype(compute_dtype))]
        others = [to_device(array, self.device) for array in others]
        if mx.autograd.is_training():
            outputs = self.network(*arrays, *others)
        else:
            is_padded = bool((batch.valid_length < batch.token_ids.shape[1]).any())
            outputs = self._predict(*arrays, is_padded, *others)
        return outputs.astype('float32', copy=False)

    def batches(self, lengths, batch_size):
        """`evaluation_batches` of texts with these lengths in tokens, so that `outputs` is
        fastest."""
        return evaluation_batches(lengths, batch_size, min_uniform_tokens(self.device),
                                  self.batch_tokens)

    @functools.cached_property
    def runner(self):
        """The `NetworkRunner` of the network."""
        return NetworkRunner(lambda batch: self.outputs(batch), self.make_batches, self.padding_id)

    def make_batches(self, features, batch_size=None):
        """`batches` of a list of `Features`. batch_size: default: the pipeline's."""
        return self.batches([feature.valid_length for feature in features],
                            batch_size or self.batch_size)

    def predict_batches(self, features, batches, interrupt=None, workers=None, unit=None,
                        description=None, **padding):
        """`NetworkRunner.run` on this worker's share of the batches. workers: of
        `bert.train.workers`."""
        workers = workers or SingleWorker()
        return self.runner.run(features, take_share(batches, workers.rank, workers.size),
                               interrupt, unit, description, **padding)

    def write_description(self, folder):
        """Write the files by which a checkpoint folder describes its parameters."""
        write_description(folder, self.config, self.tokenizer.vocab,
                          dict(self.task, max_len=self.max_len))


def write_description(folder, config, vocabulary, task=None):
    """Write the files that stand beside the parameters: configuration, vocabulary, and the task
    with its labels (see `read_classifier_task`) if there is one."""
    with open(os.path.join(folder, file_names.CONFIG_FILE), 'w', encoding='utf-8') as out:
        out.write(config.to_json())
    write_tokenizer(vocabulary, folder)
    if task is not None:
        files.write_json(os.path.join(folder, file_names.TASK_FILE), task)
