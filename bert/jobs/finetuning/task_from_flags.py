"""Makes the classification task of the flags: a known task, or the user's own files."""
import os

from bert.data.glue.tasks import custom_task, find_task, is_task
from bert.data.text.readers import read_examples
from bert.errors import UserError
from bert.jobs.runs import training

MANY_CLASSES = 20       # more different numbers than these are scores rather than classes
DEFAULT_TASK = 'MRPC'   # of the original script's first version


def check_classifier_flags(args):
    """Raises `UserError` for flags of a classifier that contradict each other or do nothing."""
    training.check_training_flags(args)
    if args.only_calibration and not args.model_parameters:
        raise UserError('--only_calibration: of which parameters? Give --model_parameters, or take '
                        'quantize.py --model_dir')
    if args.regression and args.classes:
        raise UserError('--regression and --classes: give one of the two')
    if not (args.train_file or args.dev_file or args.test_file):
        for name in ('text_columns', 'label_column', 'classes', 'regression'):
            if getattr(args, name):
                raise UserError('--%s is for files of your own: give --train_file and --dev_file'
                                % name)


def make_task(args):
    """The `Task` of the flags: a known one, or one made of the user's files. Raises `UserError`."""
    if not (args.train_file or args.dev_file or args.test_file):
        return find_task(args.task_name or DEFAULT_TASK)
    own_files = {'train': args.train_file, 'dev': args.dev_file, 'test': args.test_file}
    for flag in ('text_columns', 'label_column'):
        if not getattr(args, flag):
            raise UserError('--%s is needed with files of your own: name the column%s'
                            % (flag, 's' if flag == 'text_columns' else ''))
    if not args.only_inference and not (args.train_file and args.dev_file):
        raise UserError('training on files of your own needs --train_file and --dev_file')
    name = run_name(args)
    task = custom_task(name, own_files, args.text_columns, args.label_column, None)
    if args.regression:
        return task
    classes = args.classes or _find_classes(task, args.skip_bad_rows)
    if args.classes and not len(classes) == len(set(classes)) > 1:
        raise UserError('--classes %s: give two or more, each once' % ','.join(classes))
    if len(classes) < 2:
        raise UserError('column "%s" holds one class only (%s); --regression is for numbers'
                        % (args.label_column, ', '.join(classes)))
    if not args.classes and len(classes) > MANY_CLASSES and all(map(_is_number, classes)):
        raise UserError('column "%s" holds %d different numbers: --regression learns them as '
                        'numbers, --classes as classes' % (args.label_column, len(classes)))
    return custom_task(name, own_files, args.text_columns, args.label_column, tuple(classes))


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def run_name(args):
    """Name of the run: the task's in its usual spelling. For the user's own files it is
    --task_name, else the name of the first file. Raises `UserError`."""
    own_file = args.train_file or args.dev_file or args.test_file
    if own_file:
        name = args.task_name or os.path.splitext(os.path.basename(own_file))[0]
        if os.sep in name:
            raise UserError('--task_name %s: files get this name: give one without "%s"'
                            % (name, os.sep))
        return name
    name = args.task_name or DEFAULT_TASK
    if args.resume and not is_task(name):
        return name     # the run is on the user's own files, which its saved options name
    return find_task(name).name


def _find_classes(task, skip_bad_rows):
    """The labels in the files with labels, in alphabetical order."""
    labels = set()
    for segment in task.segments.values():
        if segment.has_labels:
            examples, _ = read_examples(segment.file, segment.table, None, skip_bad_rows)
            labels.update(example.label for example in examples)
    return tuple(sorted(labels))
