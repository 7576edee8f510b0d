"""A question-answering model: opened from a folder, asked for answers."""
import dataclasses
import logging
import os

import mxnet as mx
import numpy as np

from bert import file_names, files
from bert.data.batches import collate, evaluation_batches
from bert.data.squad.spans import AnswerFinder
from bert.data.squad.windows import Options
from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.model.bert import BERTModel
from bert.model.qa import BertForQA
from bert.model.static_qa import StaticBertForQA, resolve_width
from bert.model.weights import checkpoint_reader, heads, loading
from bert.pipelines.base import Model
from bert.pipelines.model_folder import find_head, find_model
from bert.train.log import progress
from bert.train.workers import Alone, share

LOG = logging.getLogger(__name__)     # also before a run's log is open

# What task.json holds of a run, and what it is for a model of transformers, which doesn't tell
TASK = {'name': 'SQuAD', 'version_2': False, 'doc_stride': 128, 'max_query_length': 64,
        'n_best_size': 20, 'max_answer_length': 30, 'null_score_diff_threshold': 0.0}


class QAModel(Model):
    """Its outputs are scores (size, length, 2). task: the keys of `TASK`."""

    @property
    def options(self):
        """How contexts are cut into windows."""
        return Options(self.max_len, self.task['doc_stride'], self.task['max_query_length'])

    def find_answers(self, squad, windows, batch_size, device, interrupt=None, workers=None):
        """[`bert.data.squad.spans.Answer`], one a question of `squad`; None when interrupted.

        Windows are batched by length, so that little is padded. workers: each computes its share
        of the batches, and all get all answers.
        """
        workers = workers or Alone()
        finder = AnswerFinder(squad, windows, self.task['n_best_size'],
                              self.task['max_answer_length'])
        batches = share(self.batches(windows.lengths, batch_size, device), workers.rank,
                        workers.size)
        with progress(sum(map(len, batches)), unit='window', description='predicting') as bar:
            for indices in batches:
                if interrupt is not None and interrupt.requested:
                    return None
                batch = collate([windows[i] for i in indices], self.padding_id)
                for i, logits in zip(indices, self.outputs(batch, device).asnumpy()):
                    finder.add(i, logits)
                bar.update(len(indices))
        for rank, found in enumerate(workers.gather(finder.found())):
            if rank != workers.rank:
                finder.merge(found)
        return finder.answers()


@dataclasses.dataclass
class StaticQAModel(QAModel):
    """The same with a `StaticBertForQA`: every batch is filled up to one shape, and computed by
    the network as it is hybridized, in prediction too.

    batch_sizes: of training and of prediction.
    """
    batch_sizes: tuple = (1, 1)

    def __post_init__(self):
        self._predict = lambda *arrays: self.network(*arrays[:3])

    def batches(self, lengths, batch_size, device):
        return evaluation_batches(lengths, batch_size)

    def outputs(self, batch, device):
        size, length = batch.token_ids.shape
        full = fill(batch, self.batch_sizes[0 if mx.autograd.is_training() else 1],
                    self.network.seq_length, self.padding_id)
        outputs = super().outputs(full, device)
        return mx.nd.slice(outputs, begin=(0, 0, 0), end=(size, length, 2))


def fill(batch, size, length, padding_id):
    """`batch` with padded rows and columns up to (size, length); a row of padding counts as one
    token long."""
    missing = ((0, size - len(batch.token_ids)), (0, length - batch.token_ids.shape[1]))
    return batch._replace(
        token_ids=np.pad(batch.token_ids, missing, constant_values=padding_id),
        segment_ids=np.pad(batch.segment_ids, missing),
        valid_length=np.pad(batch.valid_length, missing[0], constant_values=1))




def static_maker(seq_length, input_size):
    """Function that makes a `StaticBertForQA` of an encoder."""
    return lambda bert: StaticBertForQA(bert, seq_length, resolve_width(input_size,
                                                                        bert.config.units))


def hybridize(network):
    static = isinstance(network, StaticBertForQA)
    network.hybridize(static_alloc=static, static_shape=static)


# From a folder


def load_network(path, device, make=BertForQA):
    """(network, `local.Checkpoint`) of a whole model at `path`, ours or transformers'."""
    found = checkpoint_reader.read_checkpoint(path)
    return build_network(found, device, make), found


def build_network(found, device, make=BertForQA):
    """The network of a `local.Checkpoint` that is a question-answering model, else `UserError`."""
    head, arrays, _ = find_head(found)
    if head.name != heads.QUESTION_ANSWERING:
        raise UserError('%s holds no question-answering model but: %s; finetune_squad.py '
                        '--bert_checkpoint trains one on it' % (found.source, head.name))
    network = make(BERTModel(found.config, dropout=0.1, use_pooler=False))
    loading.load_parameters(network, arrays, found.source, device)
    return network


def open_qa_model(folder, device, script='finetune_squad.py'):
    """The `QAModel` in a checkpoint folder, the best one of a run folder, or one that
    transformers saved. Raises `UserError` naming what is missing."""
    return make_qa_model(*load_network(find_model(folder, script), device))


def make_qa_model(network, found):
    """The `QAModel` of a network and its `local.Checkpoint`."""
    hybridize(network)
    tokenizer = BertTokenizer(found.vocabulary, lower=not found.config.cased)
    task, max_len = read_qa_task(found.source, found.config.max_length)
    return QAModel(network, tokenizer, found.config, task, max_len)


def read_qa_task(source, num_positions):
    """(task, max_len) from the task.json beside the weights in the file `source`; the usual
    values without one, within the model's positions."""
    values = saved_task(source)
    if values:
        return {key: values[key] for key in TASK}, values['max_len']
    max_len = min(Options().max_seq_length, num_positions)
    return dict(TASK, **shorter_windows(TASK, max_len)), max_len


def shorter_windows(task, max_len):
    """max_query_length and doc_stride of a task for windows of `max_len` tokens: at most half for
    the question, a third from one window to the next."""
    return {'max_query_length': min(task['max_query_length'], max_len // 2),
            'doc_stride': min(task['doc_stride'], max(max_len // 3, 1))}


def saved_task(source):
    """What the task.json beside a file of weights says; {} without one of ours."""
    path = os.path.join(os.path.dirname(os.path.abspath(source)), file_names.TASK)
    values = files.read_json(path) if os.path.isfile(path) else {}
    missing = [key for key in list(TASK) + ['max_len'] if key not in values]
    if 'doc_stride' in missing and 'max_query_length' in missing:
        if values:
            LOG.warning('%s is none of a question-answering model of ours: the usual sizes of '
                            'windows are taken', path)
        return {}
    if missing:
        raise UserError('%s: no "%s" in it: not the task of a question-answering model of ours'
                        % (path, missing[0]))
    return values


