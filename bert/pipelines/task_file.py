"""Checks the values of task.json, which says what the model beside it was trained for."""
import math
import numbers

from bert.errors import UserError
from bert.file_names import EMBEDDING


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
    'kind': (lambda value: value == EMBEDDING, '"%s"' % EMBEDDING),
    'truncation': (lambda value: value == 'transformers', '"transformers"'),
    'version_2': (lambda value: isinstance(value, bool), 'true or false'),
    'doc_stride': (_is_size, 'a whole number from 1 on'),
    'max_query_length': (_is_size, 'a whole number from 1 on'),
    'n_best_size': (_is_size, 'a whole number from 1 on'),
    'max_answer_length': (_is_size, 'a whole number from 1 on'),
    'null_score_diff_threshold': (
        lambda value: isinstance(value, numbers.Real) and math.isfinite(value), 'a number')}


def check_task(path, task, num_positions):
    """Returns the values of the file `path`. Raises `UserError` for one that can't be used.

    num_positions: of the model, which bounds `max_len`.
    """
    for key, (is_usable, expected) in EXPECTED_VALUES.items():
        if key in task and not is_usable(task[key]):
            raise UserError('%s: %s %s %r, %s expected' % (
                path, key, 'are' if key.endswith('s') else 'is', task[key], expected))
    max_len = task['max_len']
    if not _is_size(max_len) or not 2 < max_len <= num_positions:
        raise UserError('%s: max_len is %r, a number of tokens up to the %d positions of the model '
                        'expected' % (path, max_len, num_positions))
    return task
