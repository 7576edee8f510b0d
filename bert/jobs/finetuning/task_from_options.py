"""Makes the classification task of the options: a known task, or the user's own files."""
import collections
import logging
import os

from bert.data.glue.labels import LabelEncoder, find_similar_spellings, one_line
from bert.data.glue.tasks import custom_task, find_task, is_task
from bert.data.text.readers import read_examples, read_labels
from bert.errors import UserError

LOG = logging.getLogger(__name__)     # also logs before a run's log is open
MANY_CLASSES = 20       # more different numbers than these are scores rather than classes
DEFAULT_TASK = 'MRPC'   # of the original script's first version


def make_task(options):
    """The `Task` of the options: a known one, or one made of the user's files. Raises
    `UserError`."""
    if not (options.train_file or options.dev_file or options.test_file):
        return find_task(options.task_name or DEFAULT_TASK)
    own_files = {'train': options.train_file, 'dev': options.dev_file, 'test': options.test_file}
    for kind, path in own_files.items():
        if path and os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
            raise UserError('--%s_file %s: a pipe or device, which can be read once only: write it '
                            'to a file' % (kind, path))
    for flag in ('text_columns', 'label_column'):
        if not getattr(options, flag):
            raise UserError('--%s is needed with files of your own: name the column%s'
                            % (flag, 's' if flag == 'text_columns' else ''))
    if options.trains and not (options.train_file and options.dev_file):
        raise UserError('training on files of your own needs --train_file and --dev_file')
    name = run_name(options)

    def make(labels):
        columns = options.text_columns, options.label_column
        task = custom_task(name, own_files, *columns, labels)
        return custom_task(name, own_files, *columns, labels, _is_test_labelled(task))
    if options.regression:
        return make(None)
    task = custom_task(name, own_files, options.text_columns, options.label_column, None)
    found_classes = _find_classes(options, task)
    classes = options.classes or found_classes
    if options.classes and not len(classes) == len(set(classes)) > 1:
        raise UserError('--classes %s: give two or more, each once' % ','.join(classes))
    if len(classes) < 2:
        raise UserError('column "%s" holds one class only (%s); --regression is for numbers'
                        % (options.label_column, ', '.join(classes)))
    if not options.classes and len(classes) > MANY_CLASSES and all(map(_is_number, classes)):
        raise UserError('column "%s" holds %d different numbers: --regression learns them as '
                        'numbers, --classes as classes' % (options.label_column, len(classes)))
    return make(tuple(classes))


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def run_name(options):
    """Name of the run: the task's in its usual spelling. For the user's own files it is
    --task_name, else the name of the first file. Raises `UserError`."""
    own_file = options.train_file or options.dev_file or options.test_file
    if own_file:
        name = options.task_name or os.path.splitext(os.path.basename(own_file))[0]
        if os.sep in name:
            raise UserError('--task_name %s: files get this name: give one without "%s"'
                            % (name, os.sep))
        return name
    name = options.task_name or DEFAULT_TASK
    if options.resume and not is_task(name):
        return name     # the run is on the user's own files, which its saved options name
    return find_task(name).name


def _find_classes(options, task):
    """The labels in the files with labels, in alphabetical order. Warns of those that differ only
    in spelling, and of a first row that looks like a header."""
    counts, first_examples = collections.Counter(), []
    for segment in [segment for segment in task.segments.values() if segment.has_labels]:
        examples, _ = read_examples(segment.file, segment.table, None, options.skip_bad_rows)
        counts.update(example.label for example in examples)
        if segment.table.header is not None and len(examples) > 1:      # columns by number
            first_examples.append(examples[0])
    for spellings in find_similar_spellings(counts):
        LOG.warning('column "%s": the classes %s differ only in spelling: write them alike if they '
                    'are one', options.label_column, ' and '.join(
                        '%r (rows: %d)' % (label, counts[label]) for label in spellings))
    for example in first_examples:
        if counts[example.label] == sum(first.label == example.label for first in first_examples):
            LOG.warning('%s:%d: this row looks like a header: no other row has its label "%s"; '
                        'name the columns instead of numbering them, or remove the row',
                        example.path, example.line, one_line(example.label))
    return tuple(sorted(counts))


def _is_test_labelled(task):
    """Whether the test file of the user's own has a label of the task in every row."""
    test, labelled = task.segments.get('test'), next(
        (segment for segment in task.segments.values() if segment.has_labels), None)
    labels = read_labels(test.file, labelled.table) if test and labelled else []
    if not any(labels):
        return False
    encode_label = LabelEncoder(task.labels, task.aliases)
    for label in labels:
        try:
            encode_label(label)
        except (KeyError, ValueError):
            LOG.warning('%s: it is not scored: a label in it is "%s", %s expected in each row',
                        test.file, one_line(label), encode_label.expected)
            return False
    return True
