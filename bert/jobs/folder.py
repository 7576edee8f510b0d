"""A model as a folder: opened by every command, written with every checkpoint."""
import dataclasses
import os

import mxnet as mx
import numpy as np

from bert import files, layout
from bert.data.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.model import zoo
from bert.model.bert import BertConfig, BERTModel
from bert.model.classification import make_network
from bert.train import checkpoint
from bert.vocabulary import read_vocabulary, write_vocabulary


@dataclasses.dataclass
class Model:
    """A network with all that is needed to use it on text.

    task: {'name', 'labels' (None for regression), 'pair', 'metrics'}.
    """
    network: mx.gluon.HybridBlock
    tokenizer: BertTokenizer
    config: BertConfig
    task: dict
    max_len: int

    @property
    def padding_id(self):
        return self.tokenizer.vocab[self.tokenizer.vocab.padding_token]

    def outputs(self, batch, device):
        """Logits or scores (size, number of outputs) of a `Batch`, a float32 NDArray."""
        token_ids, segment_ids, valid_length = (
            mx.nd.array(array, ctx=device, dtype=array.dtype)
            for array in (batch.token_ids, batch.segment_ids, batch.valid_length))
        compute_dtype = self.network.bert.word_embed[0].weight.dtype
        outputs = self.network(token_ids, segment_ids, valid_length.astype(compute_dtype))
        return outputs.astype('float32')

    def predictions(self, outputs):
        """Labels as text, scores with three digits, as GLUE submissions have them."""
        labels = self.task['labels']
        if labels is None:
            return ['%.3f' % score for score in outputs[:, 0]]
        return [labels[i] for i in outputs.argmax(axis=1)]

    def describe(self, outputs):
        """outputs (size, number) NumPy → for each example {'score'} or {'label',
        'probability', 'probabilities': {label: probability}}."""
        labels = self.task['labels']
        if labels is None:
            return [{'score': float(score)} for score in outputs[:, 0]]
        exponents = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        probabilities = exponents / exponents.sum(axis=1, keepdims=True)
        return [{'label': labels[row.argmax()], 'probability': float(row.max()),
                 'probabilities': {label: float(p) for label, p in zip(labels, row)}}
                for row in probabilities]


def write_description(folder, model):
    """Beside the parameters: configuration, vocabulary, task and labels."""
    with open(os.path.join(folder, layout.CONFIG), 'w', encoding='utf-8') as out:
        out.write(model.config.to_json())
    write_vocabulary(model.tokenizer.vocab, os.path.join(folder, layout.VOCABULARY))
    files.write_json(os.path.join(folder, layout.TASK), dict(model.task, max_len=model.max_len))


def open_model(folder, device):
    """The `Model` in a checkpoint folder or the best one of a run folder.

    Raises UserError naming what is missing.
    """
    path = folder if os.path.exists(os.path.join(folder, layout.MODEL)) \
        else checkpoint.best(folder)
    if path is None:
        raise UserError('--model_dir %s: no checkpoint in it: name the folder of a run of '
                        'finetune_classifier.py' % folder)
    task = _read_task(os.path.join(path, layout.TASK))
    max_len = task.pop('max_len')
    source = os.path.join(path, layout.CONFIG)
    config = BertConfig.from_dict(files.read_json(source), source)
    vocabulary = read_vocabulary(os.path.join(path, layout.VOCABULARY))
    bert = BERTModel(config, dropout=0.0)
    network = make_network(bert, task['labels'], dropout=0.1)
    network.initialize(ctx=device)
    zoo.load_model(network, os.path.join(path, layout.MODEL), vocabulary, device)
    network.hybridize()
    return Model(network, BertTokenizer(vocabulary, lower=not config.cased), config, task,
                 max_len)


def _read_task(path):
    task = files.read_json(path)
    missing = [key for key in ('name', 'labels', 'pair', 'max_len') if key not in task]
    if missing:
        raise UserError('%s: no "%s" in it: not the task of a classifier of ours'
                        % (path, missing[0]))
    return task
