"""What all pipelines are: a network, its tokenizer, and the task it was trained on."""
import dataclasses
import os

import mxnet as mx

from bert import file_names, files
from bert.data.batches import evaluation_batches
from bert.data.text.tokenizer import BertTokenizer
from bert.model.config import BertConfig
from bert.model.inference import Predictor, enough_tokens
from bert.vocabulary import write_vocabulary


@dataclasses.dataclass
class Model:
    """A network with all that is needed to use it on text.

    task: what task.json says beside max_len, which is the longest input in tokens.
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
        """What the network gives for a `Batch`, a float32 NDArray."""
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
        """`evaluation_batches` of texts of so many tokens, as `outputs` is fastest."""
        return evaluation_batches(lengths, batch_size, enough_tokens(device))

    def write_description(self, folder):
        """What makes a checkpoint folder describe itself, beside the parameters."""
        write_description(folder, self.config, self.tokenizer.vocab,
                          dict(self.task, max_len=self.max_len))


def write_description(folder, config, vocabulary, task=None):
    """Beside the parameters: configuration, vocabulary, and the task with its labels
    (`read_task`) where there is one."""
    with open(os.path.join(folder, file_names.CONFIG), 'w', encoding='utf-8') as out:
        out.write(config.to_json())
    write_vocabulary(vocabulary, os.path.join(folder, file_names.VOCABULARY))
    if task is not None:
        files.write_json(os.path.join(folder, file_names.TASK), task)
