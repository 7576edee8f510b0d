"""What fine-tuning prints at its end for a reader at the terminal: some predictions, the score
beside that of the most frequent class, and the commands that come next."""
import bisect
import collections
import itertools
import os
import shlex
import shutil
import sys
import unicodedata

import numpy as np

import bert
from bert import file_names
from bert.data.batches import collate
from bert.data.glue.labels import one_line
from bert.flags.int8 import QuantizeOptions
from bert.flags.options import command_line
from bert.pipelines.records import LabelSet, Score
from bert.train.terminal import BOLD, GREEN, RED, is_terminal, style

SAMPLES_SHOWN = 5       # predictions on dev
MAX_WIDTH = 100         # columns of a sample where standard output is no terminal
MIN_WIDTH = 20          # of a sample in a narrower terminal
# options of the user's own files, which quantize.py has too
DATA_OPTIONS = ('train_file', 'dev_file', 'text_columns', 'label_column', 'label_columns',
                'label_separator')


def print_run_summary(classifier_task, metrics):
    """Print the summary of a finished run. metrics: {segment: {metric: value}}."""
    name = next((name for name in classifier_task.data if name.startswith('dev')), None)
    if name is None:
        return
    print('\n%s' % style('Some predictions on %s:' % name, BOLD))
    for line in _sample_lines(classifier_task.model, classifier_task.data[name]):
        print('  ' + line)
    score = _describe_score(classifier_task, name, metrics)
    if score:
        print('\n' + score)
    if not classifier_task.options.trains:      # it has left no model
        return
    print('\n%s' % style('What next:', BOLD))
    for line in _next_commands(classifier_task.folder, classifier_task.task,
                               classifier_task.options):
        print('  ' + line)


def _sample_lines(model, segment):
    """Predictions on a few examples, the same in every run."""
    rows = np.random.RandomState(0).permutation(len(segment.examples))[:SAMPLES_SHOWN]
    sample = segment.subset(rows)
    outputs = model.outputs(collate(sample.features, model.padding_id)).asnumpy()
    width = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else MAX_WIDTH
    for example, feature, record, output in zip(
            sample.examples, sample.features, model.records(outputs), outputs):
        verdict, prediction = _compare(record, output, example.label, feature.label)
        texts = ' | '.join(map(one_line, example.texts))
        yield _style_verdict(verdict) + _shorten('%s: %s' % (prediction, texts),
                                               width - len(verdict) - 4)


def _compare(record, output, text, label):
    """('right', 'wrong' or '', a prediction beside the label of the file). text, label: that of
    `Example`, of `Features`."""
    if isinstance(record, Score):       # a reranker learns shares of the file's scores
        is_share = np.float32(text) != label
        return '', '%.2f (label %s)' % (record.score,
                                        '%.2f' % label if is_share else one_line(text))
    if isinstance(record, LabelSet):
        predicted = ['%s %.0f %%' % (name, 100 * record.probabilities[name])
                     for name in record.labels]
        return ('right' if set(record.labels) == set(text) else 'wrong'), '%s (labels %s)' % tuple(
            one_line(', '.join(names)) or 'none' for names in (predicted, text))
    return ('right' if output.argmax() == label else 'wrong'), '%s %.0f %% (label %s)' % (
        one_line(record.label), 100 * record.probability, one_line(text))


def _style_verdict(verdict):
    return style(verdict, GREEN if verdict == 'right' else RED) + '  ' * bool(verdict)


def _shorten(text, width):
    """The text in at most `width` columns, and what stands for the rest of it."""
    width = max(MIN_WIDTH, width)
    if _count_columns(text) <= width:
        return text
    ellipsis = ' \u2026' if _can_print('\u2026') else ' ...'
    columns = list(itertools.accumulate(map(_count_columns, text)))
    end = bisect.bisect_right(columns, width - len(ellipsis))
    space = text.rfind(' ', end // 2, end + 1)      # there may be none, as in Chinese
    return text[:space if space > 0 else end].rstrip() + ellipsis


def _count_columns(text):
    """The columns of a text at a terminal: a wide character takes two."""
    return sum(1 + (unicodedata.east_asian_width(character) in 'WF') for character in text)


def _can_print(text):
    try:
        text.encode(getattr(sys.stdout, 'encoding', None) or 'ascii')
    except UnicodeEncodeError:
        return False
    return True


def _describe_score(classifier_task, name, metrics):
    """A sentence with the accuracy on a dev segment and that of always answering the most frequent
    class; '' for a task that has no accuracy."""
    accuracy = metrics.get(name, {}).get('accuracy')
    if accuracy is None or classifier_task.task.kind != file_names.CLASSIFICATION:
        return ''
    labels = [feature.label for feature in classifier_task.data[name].features]
    (index, count), = collections.Counter(labels).most_common(1)
    label = classifier_task.task.labels[int(index)]
    return 'Accuracy on %s: %s. Always answering "%s", the most frequent class, gives %.1f %%.' % (
        name, style('%.1f %%' % (100 * accuracy), BOLD), one_line(label),
        100 * count / len(labels))


def _next_commands(folder, task, options):
    """Commands for the run in a folder, as this installation has them. options: of the run."""
    texts = '"The first text." "The second text."' if task.pair else '"A text of your own."'
    weights = '--bert_checkpoint %s' % shlex.quote(options.bert_checkpoint) \
        if options.bert_checkpoint else '--bert_model %s' % options.bert_model
    run = shlex.quote(folder)
    commands = ['%s --model_dir %s %s' % (_script_command('predict.py'), run, texts),
                '%s --model_dir %s' % (_script_command('serve.py'), run)]
    if options.dev_file:
        line = command_line(QuantizeOptions(model_dir=folder, calib_mode=file_names.FUSED_MODE, **{
            name: getattr(options, name) for name in DATA_OPTIONS}))
        if options.dev_file != options.train_file:      # calibration needs examples of its own
            commands.append(line.replace('quantize.py', _script_command('quantize.py'), 1))
    elif task.kind == file_names.CLASSIFICATION:    # other kinds take more flags
        commands.append(
            '%s --train_file train.csv --dev_file dev.csv --text_columns %s --label_column label %s'
            % (_script_command('finetune_classifier.py'), 'text,text_2' if task.pair else 'text',
               weights))
    return commands


def _script_command(script):
    """What starts a script: ./run where the repository is, else the installed module."""
    package = os.path.dirname(os.path.abspath(bert.__file__))
    path = os.path.join(os.path.dirname(package), 'run')
    if not os.path.isfile(path):
        return 'python -m bert.' + script[:-len('.py')]
    path = os.path.relpath(path)
    return shlex.quote(path if os.sep in path else os.path.join('.', path)) + ' ' + script
