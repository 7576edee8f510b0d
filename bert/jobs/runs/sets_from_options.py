"""Reads the data sets that the flags name, for scoring or calibrating a model."""
import logging
import os

from bert.data.glue.download import locate_task
from bert.data.glue.tasks import custom_task, find_task, is_task
from bert.data.squad.download import locate_squad
from bert.errors import UserError
from bert.flags.options import refuse
from bert.pipelines.evaluation_sets import (
    class_columns,
    has_placeholders,
    read_question_set,
    read_text_set,
)

LOG = logging.getLogger(__name__)


def find_model_task(options, explicit, model):
    """The `Task` of a `Classifier`, with the user's own files if the options name any. Raises
    `UserError`."""
    own_files = {'train': options.train_file, 'dev': options.dev_file}
    if any(own_files.values()):
        refuse(explicit, ('task_name',), 'with files of your own their columns tell')
        for flag in ('text_columns', 'label_column'):
            if not getattr(options, flag):
                raise UserError('--%s is needed with files of your own' % flag)
        labels = model.task['labels']
        return custom_task(model.task['name'], own_files, options.text_columns,
                           options.label_column, tuple(labels) if labels else None)
    refuse(explicit, ('text_columns', 'label_column'), 'it is for files of your own')
    name = options.task_name or model.task['name']
    if not is_task(name):
        raise UserError('the model was trained on "%s", which is no task of the table: name one '
                        'with --task_name, or files of your own with --dev_file' % name)
    task = find_task(name)
    class_columns(task, model.task)
    return task


def read_evaluation_sets(options, explicit, model, kinds):
    """{name: `EvaluationSet`} for a classifier or a question-answering model. Raises `UserError`.

    kinds: 'train', 'dev' or both; 'dev' means all dev sets of the task.
    """
    own_files = {'train': options.train_file, 'dev': options.dev_file}
    if all(own_files.values()) and 'train' in kinds and \
            os.path.realpath(options.train_file) == os.path.realpath(options.dev_file):
        raise UserError('--train_file and --dev_file are one file: what is calibrated on is not '
                        'what is reported')
    limits = {'train': options.max_train_samples, 'dev': options.max_eval_samples}
    if 'labels' not in model.task:
        return {kind: read_question_set(
            model, kind,
            own_files[kind] or locate_squad(kind, model.task['version_2'], options.data_dir),
            limits[kind], trainable=kind == 'train') for kind in kinds}
    task = find_model_task(options, explicit, model)
    if has_placeholders(task, model.task):
        LOG.warning('the classes of the model are called %s: they are taken for %s, in this order',
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
