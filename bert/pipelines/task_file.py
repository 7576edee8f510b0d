"""Checks the values of task.json, which says what the model beside it was trained for."""
import math
import numbers

from bert import file_names
from bert.data.glue.tasks import TRUNCATION, describe_ranking
from bert.errors import UserError


def _is_size(value):
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_list_of_texts(value):
    """Whether it is a list of different texts, none of them empty."""
    return isinstance(value, list) and value and len(set(map(str, value))) == len(value) and all(
        isinstance(text, str) and text.strip() for text in value)


# {key: (function: value → whether it can be used, what is expected)}
EXPECTED_VALUES = {
    'name': (lambda value: isinstance(value, str), 'a text'),
    'labels': (lambda value: value is None or _is_list_of_texts(value), 'a list of texts'),
    'pair': (lambda value: value is None or isinstance(value, bool), 'true or false'),
    'metrics': (_is_list_of_texts, 'a list of texts'),
    'activation': (lambda value: value in file_names.SCORE_ACTIVATIONS,
                   'one of ' + ', '.join(file_names.SCORE_ACTIVATIONS)),
    'kind': (lambda value: value in file_names.MODEL_KINDS,
             'one of ' + ', '.join(file_names.MODEL_KINDS)),
    'threshold': (lambda value: isinstance(value, numbers.Real) and 0 < value < 1,
                  'a number above 0 and below 1'),
    'clean_up': (lambda value: isinstance(value, bool), 'true or false'),
    'truncation': (lambda value: value == TRUNCATION, '"%s"' % TRUNCATION),
    'version_2': (lambda value: isinstance(value, bool), 'true or false'),
    'doc_stride': (_is_size, 'a whole number from 1 on'),
    'max_query_length': (_is_size, 'a whole number from 1 on'),
    'n_best_size': (_is_size, 'a whole number from 1 on'),
    'max_answer_length': (_is_size, 'a whole number from 1 on'),
    'null_score_diff_threshold': (
        lambda value: isinstance(value, numbers.Real) and math.isfinite(value), 'a number')}


def kind_of(task):
    """The kind of model, of `bert.file_names.MODEL_KINDS`, that a task belongs to. The first three
    kinds have no key 'kind': their other keys tell."""
    if 'kind' in task:
        return task['kind']
    if 'labels' not in task:
        return file_names.QUESTION_ANSWERING
    return file_names.REGRESSION if task['labels'] is None else file_names.CLASSIFICATION


def describe_as_ranking(task):
    """The task of a cross-encoder with the default activation, for one of a regression that reads
    pairs, or may; any other task as it is."""
    if kind_of(task) != file_names.REGRESSION or task['pair'] is False:
        return task
    return describe_ranking(task)


def check_kind(kind, task, source):
    """Raises `UserError`, with the name of `source`, for a task of another kind. None is any."""
    if kind == file_names.RANKING and kind_of(task) == file_names.REGRESSION:
        raise UserError('task %s: %s reads single texts, but a reranker reads pairs'
                        % (kind, source))
    if kind not in (None, kind_of(task)):
        raise UserError('task %s: %s holds a model for %s' % (kind, source,
                                                              kind_of(task).replace('_', ' ')))


def check_task(path, task, num_positions):
    """Returns the values of the file `path`. Raises `UserError` for one that can't be used.

    num_positions: of the model, which bounds `max_len`.
    """
    for key, (is_usable, expected) in EXPECTED_VALUES.items():
        if key in task and not is_usable(task[key]):
            raise UserError('%s: %s %s %r, expected %s' % (
                path, key, 'are' if key.endswith('s') else 'is', task[key], expected))
    kind = kind_of(task)
    if kind in (file_names.MULTI_LABEL, file_names.TOKEN_CLASSIFICATION) and \
            not task.get('labels'):
        raise UserError('%s: kind is %s, but there are no labels' % (path, kind))
    if kind == file_names.RANKING and \
            (task.get('labels') is not None or 'activation' not in task):
        raise UserError('%s: kind is %s: expected labels that are null, and an activation'
                        % (path, file_names.RANKING))
    max_len = task['max_len']
    if not _is_size(max_len) or not 2 < max_len <= num_positions:
        raise UserError('%s: max_len is %r, expected a number of tokens up to the %d positions of '
                        'the model' % (path, max_len, num_positions))
    return task
