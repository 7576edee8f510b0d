"""A fine-tuned model of either kind, from wherever it lies."""
import logging
import os

from bert import file_names, files
from bert.errors import UserError
from bert.model.weights import checkpoint_reader, heads
from bert.pipelines.classification import make_classifier, read_task
from bert.pipelines.model_folder import find_head, folder_of
from bert.pipelines.question_answering import build_network, make_qa_model

LOG = logging.getLogger(__name__)

TRAINERS = 'finetune_classifier.py or finetune_squad.py'


def open_trained(path, device, like_model=None, like_dataset=None, classes=None, pair=False):
    """The `Classifier` or `QAModel` of a file of parameters or a folder.

    like_model, like_dataset: as for `local.read_checkpoint`. classes, pair: what a classifier's
    parameters alone don't tell. Raises `UserError`, also for parameters of anything else.
    """
    found = checkpoint_reader.read_checkpoint(path, like_model, like_dataset)
    head, arrays, _ = find_head(found)
    if head.name == heads.QUESTION_ANSWERING:
        if classes or pair:
            raise UserError('%s: %s holds a model that answers questions'
                            % ('--classes' if classes else '--pair', found.source))
        return make_qa_model(build_network(found, device), found)
    if head.name != heads.CLASSIFICATION:
        raise UserError('%s holds no classifier and no question-answering model but: %s; %s trains '
                        'one on it' % (found.source, head.name, TRAINERS))
    number = heads.num_classes(arrays)
    task = read_task(found, number, classes or _numbers(found, number))
    if classes and _has_task(found):
        labels = read_task(found, number)['labels']
        if labels != list(classes):
            raise UserError('--classes %s: %s beside the parameters names %s: leave it out'
                            % (','.join(classes), file_names.TASK, ','.join(labels)))
    model = make_classifier(found, arrays, task, device)
    if pair and model.task['pair'] is False:
        raise UserError('--pair: %s was trained on single texts' % found.source)
    model.task['pair'] = pair or model.task['pair']
    return model


def refuse_source(output_dir, source):
    """Raises `UserError` when the folder that is to be written is the one of the model: files of
    the same names would be replaced. source: a folder or a file of weights."""
    weights = checkpoint_reader.find_weights(source)
    for path in (source, os.path.dirname(os.path.abspath(weights))):
        if output_dir and os.path.realpath(output_dir) == os.path.realpath(path):
            raise UserError('--output_dir %s: the model lies there, and its files would be '
                            'replaced: choose another folder' % output_dir)


def _numbers(found, number):
    """Names for classes that have none: their numbers. None where the folder knows better."""
    config = os.path.join(folder_of(found), file_names.CONFIG)
    if number == 1 or _has_task(found) or (
            os.path.isfile(config) and 'units' not in files.read_json(config)):
        return None
    LOG.warning('%s: no %s beside it: the %d classes are called by their numbers; --classes names '
                'them', found.source, file_names.TASK, number)
    return tuple(map(str, range(number)))


def _has_task(found):
    return os.path.isfile(os.path.join(folder_of(found), file_names.TASK))


def kind_of(task):
    """One of `layout.KINDS`, for the task of a `Model`."""
    if 'labels' not in task:
        return file_names.QUESTION_ANSWERING
    return file_names.REGRESSION if task['labels'] is None else file_names.CLASSIFICATION
