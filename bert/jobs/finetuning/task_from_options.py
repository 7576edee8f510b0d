"""Makes the classification task of the options: a known task, or the user's own files."""
import collections
import functools
import logging
import os

from bert import files
from bert.data.glue.labels import find_similar_spellings, one_line
from bert.data.glue.tasks import custom_task, find_task, is_task
from bert.data.text.readers import read_examples, read_labels
from bert.errors import UserError
from bert.file_names import INDEX_FILE, MULTI_LABEL, TASK_FILE
from bert.jobs.runs.sets_from_options import choose_label_column
from bert.model.weights.checkpoint_reader import find_weights

LOG = logging.getLogger(__name__)     # also logs before a run's log is open
MANY_CLASSES = 20       # more different numbers than these are scores rather than classes
DEFAULT_TASK = 'MRPC'   # of the original script's first version


def make_task(options):
    """The `Task` of the options: a known one, or one made of the user's files. Raises
    `UserError`."""
    if not has_own_files(options):
        return _for_ranking(options, find_task(options.task_name or DEFAULT_TASK))
    own_files = {'train': options.train_file, 'dev': options.dev_file, 'test': options.test_file}
    for kind, path in own_files.items():
        if path and os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
            raise UserError('--%s_file %s: a pipe or device can be read only once: write its '
                            'content to a file' % (kind, path))
    if not options.text_columns:
        raise UserError('--text_columns is needed with files of your own: name the columns')
    label_column = choose_label_column(options, options.multi_label)
    if options.trains and not (options.train_file and options.dev_file):
        raise UserError('training on files of your own needs --train_file and --dev_file')
    make = functools.partial(custom_task, run_name(options), own_files, options.text_columns,
                             label_column,
                             threshold=options.threshold if options.multi_label else None)
    has_scores = options.regression or options.ranking
    labels = None if has_scores else _choose_labels(options, make(None))
    is_test_labelled = _is_test_labelled(_for_ranking(options, make(labels)))
    return _for_ranking(options, make(labels, is_test_labelled))


def _choose_labels(options, task):
    """The classes or labels in their order. task: without any."""
    model_classes = _model_classes(options)
    if options.label_columns:
        return options.label_columns
    found_classes = _find_classes(options, task)
    classes = options.classes or model_classes or found_classes
    if options.multi_label:
        return _check_labels(options, classes)
    if options.classes and not len(classes) == len(set(classes)) > 1:
        raise UserError('--classes %s: expected two or more different names' % ','.join(classes))
    if len(classes) < 2:
        raise UserError('column "%s" holds only one class (%s); for numbers, give --regression'
                        % (options.label_column, ', '.join(classes)))
    if classes is found_classes and len(classes) > MANY_CLASSES and all(map(_is_number, classes)):
        raise UserError('column "%s" holds %d different numbers: --regression learns them as '
                        'numbers, --classes as classes' % (options.label_column, len(classes)))
    return tuple(classes)


def _model_classes(options):
    """The classes of the trained model that a run evaluates, in their order; None where nothing
    says them. Raises `UserError` if the options name others, or another order."""
    parameters = None if options.trains else trained_parameters(options)
    if not parameters:
        return None
    path = os.path.join(os.path.dirname(os.path.abspath(parameters)), TASK_FILE)
    classes = tuple(files.read_json(path).get('labels') or ()) if os.path.isfile(path) else None
    for name in ('classes', 'label_columns'):
        named = getattr(options, name)
        if classes and named and tuple(named) != classes:
            raise UserError('--%s %s: the trained model has %s: expected these, in this order'
                            % (name, ','.join(named), ','.join(classes)))
    return classes


def trained_parameters(options):
    """The file of the trained network that the options name: --model_parameters, a file or the
    folder of a run, or where nothing is trained the run in --bert_checkpoint; None for a new head.
    """
    path = options.model_parameters
    if not path and not options.trains and _is_run(options.bert_checkpoint):
        path = options.bert_checkpoint
    return find_weights(path) if path and os.path.isdir(path) else path


def _is_run(path):
    """Whether a path is a folder of a run, or of one of its checkpoints."""
    return bool(path) and any(os.path.isfile(os.path.join(path, name))
                              for name in (INDEX_FILE, TASK_FILE))


def _check_labels(options, labels):
    """Returns the labels where a text may have several. One label is enough."""
    if len(set(labels)) < len(labels) or not all(labels):
        raise UserError('--classes %s: expected different names, none of them empty'
                        % ','.join(labels))
    if not labels:
        raise UserError('column "%s" holds no label in any row' % options.label_column)
    return labels


def _for_ranking(options, task):
    """The task as a cross-encoder learns it, with --ranking."""
    return task.as_ranking(options.max_score) if options.ranking else task


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def has_own_files(options):
    """Whether the options name files of the user's own."""
    return bool(options.train_file or options.dev_file or options.test_file)


def own_run_name(options):
    """Name of a run on the user's own files: --task_name, else the name of the first file. Raises
    `UserError`."""
    file = options.train_file or options.dev_file or options.test_file
    name = options.task_name or os.path.splitext(os.path.basename(file))[0]
    if os.sep in name:
        raise UserError('--task_name %s: this becomes the name of files: give a name without "%s"'
                        % (name, os.sep))
    return name


def run_name(options):
    """Name of the run: the task's in its usual spelling. For the user's own files it is
    --task_name, else the name of the first file. Raises `UserError`."""
    if has_own_files(options):
        return own_run_name(options)
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
        for example in examples:
            counts.update(_labels_of(example))
        if segment.table.header is not None and len(examples) > 1:      # columns by number
            first_examples.append(examples[0])
    for spellings in find_similar_spellings(counts):
        LOG.warning('column "%s": the classes %s differ only in spelling: spell them the same way '
                    'if they are one class', options.label_column, ' and '.join(
                        '%r (rows: %d)' % (label, counts[label]) for label in spellings))
    for example in first_examples:
        labels = _labels_of(example)
        if labels and all(counts[label] == sum(label in _labels_of(first) for first in
                                               first_examples) for label in labels):
            LOG.warning('%s:%d: this row looks like a header: no other row has its label "%s"; '
                        'name the columns instead of numbering them, or remove the row',
                        example.path, example.line, one_line(', '.join(labels)))
    return tuple(sorted(counts))


def _labels_of(example):
    """The labels of an `Example`: one or several."""
    return (example.label,) if isinstance(example.label, str) else example.label


def _is_test_labelled(task):
    """Whether the test file of the user's own has a label of the task in every row, or, where a
    text may have none, in any row."""
    test, labelled = task.segments.get('test'), next(
        (segment for segment in task.segments.values() if segment.has_labels), None)
    if not (test and labelled):
        return False
    encode_label = task.label_encoder()
    if task.kind == MULTI_LABEL:
        try:
            examples, _ = read_examples(test.file, labelled.table, encode_label)
            return any(example.label for example in examples)
        except UserError as error:
            LOG.warning('the test file is not scored: %s', error)
            return False
    labels = read_labels(test.file, labelled.table)
    if not any(labels):
        return False
    for label in labels:
        try:
            encode_label(label)
        except (KeyError, ValueError):
            LOG.warning('%s: the file is not scored: found the label "%s", expected %s in each row',
                        test.file, one_line(label), encode_label.expected)
            return False
    return True
