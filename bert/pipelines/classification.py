"""Labels or scores of texts, by a classifier that ours or transformers trained."""
import os

import numpy as np

from bert import file_names, files
from bert.data.batches import collate
from bert.data.glue.tasks import describe_task
from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.model.bert import BERTModel
from bert.model.classification import make_network
from bert.model.weights import checkpoint_reader, heads, loading, mapping
from bert.pipelines.base import Model
from bert.pipelines.model_folder import find_head, find_model, folder_of


class Classifier(Model):
    """Its outputs are logits (size, classes), or scores (size, 1).

    task: {'name', 'labels' (None for regression), 'pair', 'metrics'}.
    """

    def predictions(self, outputs):
        """Labels as text, scores with three digits, as GLUE submissions have them."""
        labels = self.task['labels']
        if labels is None:
            return ['%.3f' % score for score in outputs[:, 0]]
        return [labels[i] for i in outputs.argmax(axis=1)]

    def compute(self, features, batch_size, device):
        """Outputs (number, classes) float32 NumPy for `Features`, in their order."""
        outputs = None
        lengths = [feature.valid_length for feature in features]
        for indices in self.batches(lengths, batch_size, device):
            batch = collate([features[i] for i in indices], self.padding_id)
            found = self.outputs(batch, device).asnumpy()
            if outputs is None:
                outputs = np.empty((len(features), found.shape[1]), dtype='float32')
            outputs[indices] = found
        return outputs

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


def open_model(folder, device):
    """The `Classifier` in a checkpoint folder, the best one of a run folder, or a classifier that
    transformers saved.

    Of the last its task's 'pair' is None: nothing says whether it reads pairs. Raises
    UserError naming what is missing.
    """
    found = checkpoint_reader.read_checkpoint(find_model(folder, 'finetune_classifier.py'))
    head, arrays, _ = find_head(found)
    if head.name != heads.CLASSIFICATION:
        raise UserError('--model_dir %s: %s holds no classifier but: %s; finetune_classifier.py '
                        '--bert_checkpoint trains one on it' % (folder, found.source, head.name))
    return make_classifier(found, arrays, read_task(found, heads.num_classes(arrays)), device)


def make_classifier(found, arrays, task, device):
    """The `Classifier` of a `local.Checkpoint`. arrays: of `find_head`; task: of `read_task`."""
    task = dict(task)
    max_len = task.pop('max_len')
    network = make_network(BERTModel(found.config, dropout=0.0), task['labels'], dropout=0.1)
    loading.load_parameters(network, arrays, found.source, device)
    network.hybridize()
    tokenizer = BertTokenizer(found.vocabulary, lower=not found.config.cased)
    return Classifier(network, tokenizer, found.config, task, max_len)


def read_task(found, number, classes=None):
    """The task of a classifier with `number` outputs: {'name', 'labels', 'pair', 'metrics',
    'max_len'}, from our task.json or, without one, from transformers' config.json.

    found: `local.Checkpoint`; classes: the labels in order, instead of those found. Raises
    `UserError`.
    """
    if classes and len(classes) != number:
        raise UserError('--classes %s: %d given, the classifier has %d outputs'
                        % (','.join(classes), len(classes), number))
    folder = folder_of(found)
    path = os.path.join(folder, file_names.TASK)
    task = _task_of_ours(path, number) if os.path.isfile(path) else \
        _task_of_transformers(folder, found.config, number, classes)
    if not classes:
        return task
    check_classes(classes, is_classifier=task['labels'] is not None)
    return dict(task, labels=list(classes))


def check_classes(classes, is_classifier=True):
    """Raises `UserError` for labels of no classifier, or not two or more different ones."""
    if not is_classifier or not len(set(classes)) == len(classes) > 1 or not all(classes):
        raise UserError('--classes %s: give two or more, each once, to a classifier'
                        % ','.join(classes))


def _task_of_ours(path, number):
    task = files.read_json(path)
    missing = [key for key in ('name', 'labels', 'pair', 'max_len') if key not in task]
    if missing:
        raise UserError('%s: no "%s" in it: not the task of a classifier of ours'
                        % (path, missing[0]))
    if len(task['labels'] or ['score']) != number:
        raise UserError('%s: %d labels, and the weights beside it have %d outputs'
                        % (path, len(task['labels'] or ['score']), number))
    return task


def _task_of_transformers(folder, config, number, classes):
    path = os.path.join(folder, file_names.CONFIG)
    values = files.read_json(path) if os.path.isfile(path) else {}
    if not classes and number > 1 and (not values or 'units' in values):
        raise UserError('%s: no %s in it, and no config.json of transformers: the names of the %d '
                        'classes are missing' % (folder, file_names.TASK, number))
    labels = (number > 1 and classes) or mapping.labels_from_transformers(values, number, path)
    name = values.get('finetuning_task') or os.path.basename(os.path.abspath(folder))
    return dict(describe_task(name, labels, None), max_len=_longest(folder, config))


def _longest(folder, config):
    """Tokens a text at most: what the tokenizer was told, within the model's positions."""
    path = os.path.join(folder, file_names.TOKENIZER_CONFIG)
    told = files.read_json(path).get('model_max_length') if os.path.isfile(path) else None
    if told is None:
        return config.max_length
    if not isinstance(told, (int, float)) or told <= 2:
        raise UserError('%s: model_max_length is %r, expected a number of tokens' % (path, told))
    return int(min(told, config.max_length))
