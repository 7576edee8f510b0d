"""Classifiers of texts in folders: their task, by our files or transformers', their network."""
import os

from bert import file_names, files
from bert.data.glue.tasks import TRUNCATION, describe_ranking, describe_task
from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.model.bert import BERTModel
from bert.model.classification import make_classifier_network
from bert.model.weights import checkpoint_reader, config_files, loading
from bert.pipelines.classification import DEFAULT_THRESHOLD, Classifier, MultiLabelClassifier
from bert.pipelines.model_folder import folder_of, max_folder_tokens
from bert.pipelines.ranking import CrossEncoder
from bert.pipelines.ranking_files import names_cross_encoder, read_ranking
from bert.pipelines.task_file import check_task, describe_as_ranking, kind_of

TEXT_KINDS = (file_names.CLASSIFICATION, file_names.REGRESSION, file_names.MULTI_LABEL,
              file_names.RANKING)


def classifier_class(task):
    """The subclass of `Classifier` for a task, from its kind."""
    return {file_names.MULTI_LABEL: MultiLabelClassifier,
            file_names.RANKING: CrossEncoder}.get(kind_of(task), Classifier)


def make_classifier(checkpoint, arrays, task, device):
    """The `Classifier` of a `checkpoint_reader.Checkpoint`. arrays: of its head;
    task: from `read_classifier_task`."""
    task = dict(task)
    max_len = task.pop('max_len')
    bert = BERTModel(checkpoint.config, dropout=0.0)
    network = make_classifier_network(bert, task['labels'], dropout=0.1)
    loading.load_parameters(network, arrays, checkpoint.source, device)
    network.hybridize()
    tokenizer = BertTokenizer(checkpoint.vocabulary, lower=not checkpoint.config.cased)
    return classifier_class(task)(network, tokenizer, checkpoint.config, task, max_len, device)


def read_classifier_task(checkpoint, num_outputs, classes=None, kind=None):
    """The task of a classifier with `num_outputs` outputs: {'name', 'labels', 'pair', 'metrics',
    'max_len'}, from our task.json or, without one, from transformers' config.json.

    checkpoint: a `checkpoint_reader.Checkpoint`; classes: the labels in order, instead of those
    in the file. A cross-encoder has also 'kind' and 'activation': by its files, or by `kind`, which
    makes one of any model with one output that reads pairs. Raises `UserError`.
    """
    if classes and len(classes) != num_outputs:
        raise UserError('--classes %s: %d given, the classifier has %d outputs'
                        % (','.join(classes), len(classes), num_outputs))
    folder = folder_of(checkpoint)
    path = os.path.join(folder, file_names.TASK_FILE)
    task = _read_own_task(path, num_outputs, checkpoint.config) if os.path.isfile(path) else \
        _read_transformers_task(folder, checkpoint.config, num_outputs, classes)
    if not os.path.isfile(path) and \
            checkpoint_reader.has_transformers_config(folder):
        task['truncation'] = TRUNCATION
        if num_outputs == 1 and kind != file_names.REGRESSION and names_cross_encoder(folder):
            activation, max_len = read_ranking(folder, task['max_len'])
            task = dict(describe_ranking(task, activation), max_len=max_len, pair=True)
    if kind == file_names.RANKING:
        task = describe_as_ranking(task)
    if not classes:
        return task
    check_classes(classes, is_classifier=task['labels'] is not None)
    return dict(task, labels=list(classes))


def names_no_output(checkpoint, task):
    """Whether a model of transformers with one output says nothing of it: it may be the score of a
    regression, or that of a cross-encoder before its sigmoid."""
    folder = folder_of(checkpoint)
    return kind_of(task) == file_names.REGRESSION and \
        checkpoint_reader.has_transformers_config(folder) and \
        not os.path.isfile(os.path.join(folder, file_names.TASK_FILE)) and \
        not files.read_json(os.path.join(folder, file_names.CONFIG_FILE)).get('problem_type')


def check_classes(classes, is_classifier=True):
    """Raises `UserError` if the model is no classifier, or if the labels are not two or more
    different, non-empty texts."""
    if not is_classifier or not len(set(classes)) == len(classes) > 1 or not all(classes):
        raise UserError('--classes %s: expected two or more different names, for a classifier'
                        % ','.join(classes))


def _read_own_task(path, num_outputs, config):
    task = files.read_json(path)
    missing = [key for key in ('name', 'labels', 'pair', 'max_len') if key not in task]
    if missing:
        raise UserError('%s: no key "%s": expected the task file of a classifier of this package'
                        % (path, missing[0]))
    check_task(path, task, config.max_length)
    if kind_of(task) not in TEXT_KINDS:
        raise UserError('%s: kind is %s, but the weights beside it are of a text classifier'
                        % (path, kind_of(task)))
    if len(task['labels'] or ['score']) != num_outputs:
        raise UserError('%s: %d labels, but the weights beside it have %d outputs'
                        % (path, len(task['labels'] or ['score']), num_outputs))
    return task


def _read_transformers_task(folder, config, num_outputs, classes):
    path = os.path.join(folder, file_names.CONFIG_FILE)
    values = files.read_json(path) if os.path.isfile(path) else {}
    if not classes and num_outputs > 1 and (not values or 'units' in values):
        raise UserError('%s: no %s in it, and no config.json of transformers: the names of the %d '
                        'classes are missing' % (folder, file_names.TASK_FILE, num_outputs))
    labels = (num_outputs > 1 and classes) or \
        config_files.labels_from_transformers(values, num_outputs, path)
    name = values.get('finetuning_task') or os.path.basename(os.path.abspath(folder))
    threshold = DEFAULT_THRESHOLD if config_files.is_multi_label(values) else None
    return dict(describe_task(name, labels, None, threshold=threshold),
                max_len=max_folder_tokens(folder, config))
