"""Reads the data sets that the flags name, for scoring or calibrating a model."""
import logging
import os

from bert.data.glue.download import locate_task
from bert.data.glue.tasks import custom_task, find_task, is_task
from bert.data.ner.sentences import TagColumns
from bert.data.ner.tasks import find_tag_task, is_tag_task, locate_tag_task
from bert.data.squad.download import locate_squad
from bert.data.text.label_sets import LabelSetColumns
from bert.data.text.readers import Example, Table, read_examples, read_lines
from bert.errors import UserError
from bert.file_names import FILL_MASK, MULTI_LABEL, QUESTION_ANSWERING, TOKEN_CLASSIFICATION
from bert.flags.options import refuse
from bert.pipelines.evaluation_sets import (
    class_columns,
    has_placeholders,
    read_question_set,
    read_tagged_set,
    read_text_set,
)
from bert.pipelines.masked_texts import make_masked_text_set
from bert.pipelines.task_file import kind_of

LOG = logging.getLogger(__name__)

LABEL_SET_OPTIONS = 'label_columns', 'label_separator'
OWN_FILES_HAVE_COLUMNS = 'it is not for files of your own: name their columns instead'


def choose_label_column(options, has_label_sets):
    """The `label_column` of `custom_task`. has_label_sets: a text may have several labels. Raises
    `UserError`."""
    names = options.label_columns if has_label_sets else None
    if not options.label_column and not names:
        raise UserError('--label_column%s is needed with files of your own: name the column%s'
                        % ((' or --label_columns', 's') if has_label_sets else ('', '')))
    if not has_label_sets:
        return options.label_column
    if not names:
        return LabelSetColumns((options.label_column,), options.label_separator)
    if len(set(names)) < len(names) or not all(names):
        raise UserError('--label_columns %s: expected different names, none of them empty'
                        % ','.join(names))
    if all(name.isdecimal() for name in names + options.text_columns):
        raise UserError('--label_columns %s: the names of the columns are the labels: use files '
                        'with a header, and name the columns' % ','.join(names))
    return LabelSetColumns(names)


def find_model_task(options, explicit, model):
    """The `Task` of a `Classifier`, with the user's own files if the options name any. Raises
    `UserError`."""
    own_files = {'train': options.train_file, 'dev': options.dev_file}
    has_label_sets = kind_of(model.task) == MULTI_LABEL
    if any(own_files.values()):
        refuse(explicit, ('task_name',), OWN_FILES_HAVE_COLUMNS)
        if not options.text_columns:
            raise UserError('--text_columns is needed with files of your own: name the columns')
        label_column = choose_label_column(options, has_label_sets)
        labels = model.task['labels']
        if options.label_columns and sorted(options.label_columns) != sorted(labels):
            raise UserError('--label_columns %s: the labels of the model are %s: name a column for '
                            'each' % (','.join(options.label_columns), ','.join(labels)))
        return custom_task(model.task['name'], own_files, options.text_columns, label_column,
                           tuple(labels) if labels else None,
                           threshold=model.threshold if has_label_sets else None)
    refuse(explicit, ('text_columns', 'label_column', *LABEL_SET_OPTIONS),
           'it is for files of your own')
    if has_label_sets:
        raise UserError('the model gives a text several labels, but no known task has several: '
                        'name files of your own with --dev_file')
    name = options.task_name or model.task['name']
    if not is_task(name):
        raise UserError('the model was trained on "%s", which is not a known task: name a task '
                        'with --task_name, or files of your own with --dev_file' % name)
    task = find_task(name)
    class_columns(task, model.task)
    return task


def read_evaluation_sets(options, explicit, model, kinds):
    """{name: `EvaluationSet`} for any model that can be scored. Raises `UserError`.

    kinds: 'train', 'dev' or both; 'dev' means all dev sets of the task.
    """
    own_files = {'train': options.train_file, 'dev': options.dev_file}
    if all(own_files.values()) and 'train' in kinds and \
            os.path.realpath(options.train_file) == os.path.realpath(options.dev_file):
        raise UserError('--train_file and --dev_file are the same file: the examples for '
                        'calibration must not be scored')
    limits = {'train': options.max_train_samples, 'dev': options.max_eval_samples}
    kind_of_model = kind_of(model.task)
    if kind_of_model == TOKEN_CLASSIFICATION:
        return _read_tagged_sets(options, explicit, model, kinds, own_files, limits)
    if kind_of_model == FILL_MASK:
        return {kind: read_masked_texts(options, model, kind, own_files[kind], limits[kind])
                for kind in kinds}
    if kind_of_model == QUESTION_ANSWERING:
        return {kind: read_question_set(
            model, kind,
            own_files[kind] or locate_squad(kind, model.task['version_2'], options.data_dir),
            limits[kind], trainable=kind == 'train') for kind in kinds}
    task = find_model_task(options, explicit, model)
    if has_placeholders(task, model.task):
        LOG.warning('the classes of the model are named %s: they are read as %s, in this order',
                    ', '.join(model.task['labels']), ', '.join(task.labels))
    has_own_files = any(own_files.values())
    paths = ({name: segment.file for name, segment in task.segments.items()} if has_own_files
             else locate_task(task, options.data_dir))
    missing_kinds = [kind for kind in kinds if not any(name.startswith(kind) for name in paths)]
    if missing_kinds:
        remedy = ': give --%s_file' % missing_kinds[0] if has_own_files else ''
        raise UserError('%s: no %s file%s' % (task.name, missing_kinds[0], remedy))
    return {name: read_text_set(task, model, name, paths[name], task.segments[name].table,
                                limits[kind])
            for kind in kinds for name in task.names(kind) if name in paths}


def _read_tagged_sets(options, explicit, model, kinds, own_files, limits):
    """{kind: `TaggedSet`} for a `TokenClassifier`. --text_columns names the column of the word."""
    columns, paths, name = TagColumns(), own_files, options.task_name or model.task['name']
    if any(own_files.values()):
        refuse(explicit, ('task_name',), OWN_FILES_HAVE_COLUMNS)
        if len(options.text_columns or ()) > 1:
            raise UserError('--text_columns %s: name only the column of the words'
                            % ','.join(options.text_columns))
        columns = TagColumns(*(options.text_columns or (None,)), options.label_column)
    else:
        refuse(explicit, ('text_columns', 'label_column'), 'it is for files of your own')
        if not (options.task_name or is_tag_task(name)):
            raise UserError('the model was trained on "%s", which is not a known task: name a task '
                            'with --task_name, or files of your own with --dev_file' % name)
        paths = locate_tag_task(find_tag_task(name), options.data_dir)
    for kind in kinds:
        if not paths.get(kind):
            raise UserError('%s: no %s file%s' % (name, kind, ': give --%s_file' % kind
                                                  if any(own_files.values()) else ''))
    return {kind: read_tagged_set(model, kind, paths[kind], columns, limits[kind])
            for kind in kinds}


def read_masked_texts(options, model, kind, path, limit):
    """The `MaskedTextSet` of a file of one's own: one text a line, or a column of a table."""
    if path is None:
        raise UserError('--%s_file is needed: a text file with one text per line. The model "%s" '
                        'fills masks, and some tokens of the file are masked'
                        % (kind, model.task['name']))
    columns = options.text_columns
    if columns:
        if len(columns) > 1:
            raise UserError('--text_columns %s: the model reads one text: name one column'
                            % ','.join(columns))
        header = () if columns[0].isdecimal() else None
        examples = read_examples(path, Table(columns, None, header))[0]
    else:
        examples = [Example((line,), None, path, number) for number, line in read_lines(path)]
    return make_masked_text_set(model, kind, path, examples, limit)
