"""The base of all pipelines: a network, its tokenizer, and the task it was trained on."""
import dataclasses
import os

import mxnet as mx

from bert import file_names, files
from bert.data.batches import evaluation_batches
from bert.data.text.tokenizer import BertTokenizer
from bert.model.config import BertConfig
from bert.model.inference import Predictor, min_uniform_tokens
from bert.vocabulary import write_vocabulary


@dataclasses.dataclass
class Pipeline:
    """A network with everything that it needs to read text.

    task: the values of task.json except max_len, which is the length of the longest input in
    tokens.
    """
    network: mx.gluon.HybridBlock
    tokenizer: BertTokenizer
    config: BertConfig
    task: dict
    max_len: int

    def __post_init__(self):
        self._predict = Predictor(self.network)

    @property
    def padding_id(self):
        return self.tokenizer.vocab[self.tokenizer.vocab.padding_token]

    def outputs(self, batch, device):
        """The network's outputs for a `Batch`, a float32 NDArray."""
        token_ids, segment_ids, valid_length = (
            mx.nd.array(array, ctx=device, dtype=array.dtype)
            for array in (batch.token_ids, batch.segment_ids, batch.valid_length))
        compute_dtype = self.network.bert.word_embed[0].weight.dtype
        arrays = token_ids, segment_ids, valid_length.astype(compute_dtype)
        if mx.autograd.is_training():
            return self.network(*arrays).astype('float32')
        is_padded = bool((batch.valid_length < batch.token_ids.shape[1]).any())
        return self._predict(*arrays, is_padded).astype('float32')

    def batches(self, lengths, batch_size, device):
        """`evaluation_batches` of texts with these lengths in tokens, so that `outputs` is
        fastest."""
        return evaluation_batches(lengths, batch_size, min_uniform_tokens(device))

    def write_description(self, folder):
        """Write the files by which a checkpoint folder describes its parameters."""
        write_description(folder, self.config, self.tokenizer.vocab,
                          dict(self.task, max_len=self.max_len))


def write_description(folder, config, vocabulary, task=None):
    """Write the files that stand beside the parameters: configuration, vocabulary, and the task
    with its labels (see `read_classifier_task`) if there is one."""
    with open(os.path.join(folder, file_names.CONFIG_FILE), 'w', encoding='utf-8') as out:
        out.write(config.to_json())
    write_vocabulary(vocabulary, os.path.join(folder, file_names.VOCABULARY_FILE))
    if task is not None:
        files.write_json(os.path.join(folder, file_names.TASK_FILE), task)
