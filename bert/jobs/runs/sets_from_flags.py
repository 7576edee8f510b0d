"""The evaluation sets that the flags name."""
import logging
import os

from bert.data.glue.download import locate
from bert.data.glue.tasks import find_task, is_task, own_task
from bert.data.squad.download import locate_squad
from bert.errors import UserError
from bert.flags.common import refuse
from bert.pipelines.evaluation_sets import (
    class_columns,
    has_placeholders,
    read_questions,
    read_texts,
)

LOG = logging.getLogger(__name__)


def find_model_task(args, model):
    """The `Task` of a `Classifier`, with files of the user's own where the flags name them."""
    own = {'train': args.train_file, 'dev': args.dev_file}
    if any(own.values()):
        refuse(args, ('task_name',), 'with files of your own their columns tell')
        for flag in ('text_columns', 'label_column'):
            if not getattr(args, flag):
                raise UserError('--%s is needed with files of your own' % flag)
        labels = model.task['labels']
        return own_task(model.task['name'], own, args.text_columns, args.label_column,
                        tuple(labels) if labels else None)
    refuse(args, ('text_columns', 'label_column'), 'it is for files of your own')
    name = args.task_name or model.task['name']
    if not is_task(name):
        raise UserError('the model was trained on "%s", which is no task of the table: name one '
                        'with --task_name, or files of your own with --dev_file' % name)
    task = find_task(name)
    class_columns(task, model.task)
    return task


def read_segments(args, model, kinds):
    """{name: `Labelled`} of a classifier's or a question-answering model's data; kinds: 'train' and
    'dev'. With 'dev' come all dev sets of the task."""
    own = (args.train_file, args.dev_file)
    if all(own) and 'train' in kinds and os.path.realpath(own[0]) == os.path.realpath(own[1]):
        raise UserError('--train_file and --dev_file are one file: what is calibrated on is not '
                        'what is reported')
    limits = {'train': getattr(args, 'max_train_samples', None), 'dev': args.max_eval_samples}
    if 'labels' not in model.task:
        own = {'train': args.train_file, 'dev': args.dev_file}
        return {kind: read_questions(
            model, kind, own[kind] or locate_squad(kind, model.task['version_2'], args.data_dir),
            limits[kind], trainable=kind == 'train') for kind in kinds}
    task = find_model_task(args, model)
    if has_placeholders(task, model.task):
        LOG.warning('the classes of the model are called %s: they are taken for %s, in this order',
                    ', '.join(model.task['labels']), ', '.join(task.labels))
    own = args.train_file or args.dev_file
    paths = ({name: segment.file for name, segment in task.segments.items()} if own
             else locate(task, args.data_dir))
    missing = [kind for kind in kinds if not any(name.startswith(kind) for name in paths)]
    if missing:
        raise UserError('%s: no %s file%s' % (task.name, missing[0],
                                              ': give --%s_file' % missing[0] if own else ''))
    return {name: read_texts(task, model, name, paths[name], task.segments[name].table,
                             limits[kind])
            for kind in kinds for name in task.names(kind) if name in paths}
