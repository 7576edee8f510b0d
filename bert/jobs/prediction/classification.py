"""Labels texts with a classifier: texts from arguments, a file or standard input."""
import contextlib
import json
import sys

from bert import files
from bert.data.glue.labels import one_line
from bert.data.text.readers import Example, Table, decode_lines, read_examples, read_lines
from bert.errors import UserError
from bert.file_names import MULTI_LABEL, RANKING, REGRESSION
from bert.pipelines.records import LabelSet, Score, TextCounts
from bert.pipelines.task_file import kind_of
from bert.streams import binary_input
from bert.train.log import progress_bar

STANDARD_INPUT = 'standard input'       # its name in messages


def write_labels(model, options, explicit):
    """Write one line per text with an open `Classifier`. Returns the number of texts."""
    pair = _reads_pairs(model.task, options)
    examples = read_input_examples(options, pair)
    model.task['pair'], model.batch_size, counts = pair, options.batch_size, TextCounts()
    with open_output(options.output) as out, progress_bar(len(examples), unit='text') as bar:
        if options.format == 'tsv':
            out.write(_header(kind_of(model.task), pair) + '\n')
            _warn_of_commas(model.task)
        records = model.stream((example.texts for example in examples), counts)
        for example, record in zip(examples, records):
            out.write(format_prediction(example, record, options.format) + '\n')
            bar.update(1)
    warn_of_cut_inputs(counts, model)
    return len(examples)


def warn_of_cut_inputs(counts, model):
    """Print one warning that says how many of the inputs of a `Classifier` were cut. counts:
    `TextCounts`."""
    if counts.num_cut:
        print('warning: %d of %d texts were cut at %d tokens, the length the model was trained '
              'with' % (counts.num_cut, counts.num_texts, model.max_len), file=sys.stderr)


def apply_threshold(model, options):
    """Set --threshold in an open `Pipeline` whose texts may have several labels."""
    if options.threshold:
        model.task['threshold'] = options.threshold


def _warn_of_commas(task):
    """Warn of labels that can't be told apart in a line of several labels."""
    labels = [label for label in task['labels'] or () if ',' in label]
    if kind_of(task) == MULTI_LABEL and labels:
        print('warning: the label "%s" contains a comma, but commas separate labels here: give '
              '--format jsonl to tell them apart' % labels[0], file=sys.stderr)


def check_output_file(options):
    """Raises `UserError` if --output can't be written, or would replace a file without
    --overwrite."""
    if not options.output:
        return
    files.check_output(options.output, options.overwrite)
    inputs = options.file if isinstance(options.file, tuple) else (options.file,)
    for path in (*inputs, getattr(options, 'jsonl', None)):
        files.check_not_input(options.output, path)


def _reads_pairs(task, options):
    """Whether the model reads pairs: by its task, or by --pair for a model of transformers."""
    if options.pair and task['pair'] is False:
        raise UserError('--pair: the model in %s was trained on single texts' % options.model_dir)
    return bool(options.pair or task['pair'])


def read_input_examples(options, pair):
    """The texts as `Example`s without labels. Raises `UserError` if there are none, too few for
    pairs, or if they come from two places."""
    texts_per_example = 2 if pair else 1
    reader = 'this model' if options.query is None else '--query'
    if options.texts and options.file:
        raise UserError('give texts as arguments or with --file, not both')
    if options.texts:
        return _examples_from_arguments(options.texts, texts_per_example)
    if options.file in (None, '-'):
        if options.file is None and sys.stdin and sys.stdin.isatty():
            raise UserError('no text: give it as an argument, with --file, or on standard input')
        return _examples_from_lines(
            STANDARD_INPUT, decode_lines(binary_input(), STANDARD_INPUT), texts_per_example)
    if options.text_columns is None and options.file.endswith('.txt'):
        return _examples_from_lines(options.file, read_lines(options.file), texts_per_example)
    if options.text_columns is None or len(options.text_columns) != texts_per_example:
        raise UserError('--file %s: %s reads %s: name the column%s with --text_columns'
                        % (options.file, reader, 'pairs' if pair else 'one text',
                           's' if pair else ''))
    header = () if all(column.isdecimal() for column in options.text_columns) else None
    return read_examples(options.file, Table(options.text_columns, None, header))[0]


def _examples_from_arguments(texts, texts_per_example):
    if len(texts) % texts_per_example:
        raise UserError('%d texts given, but this model reads pairs: give two texts for each pair'
                        % len(texts))
    return [Example(tuple(texts[i:i + texts_per_example]), None, 'arguments',
                    i // texts_per_example + 1)
            for i in range(0, len(texts), texts_per_example)]


def _examples_from_lines(source, lines, texts_per_example):
    examples = []
    for line_number, line in lines:
        texts = tuple(line.split('\t')) if texts_per_example == 2 else (line,)
        if len(texts) != texts_per_example:
            raise UserError('%s:%d: %d texts found, expected 2 with a tab between them'
                            % (source, line_number, len(texts)))
        examples.append(Example(texts, None, source, line_number))
    if not examples:
        raise UserError('%s: no text in it' % source)
    return examples


def open_output(path):
    """Context manager: the file `path`, whole or absent, or standard output without a path."""
    return files.atomic_write(path) if path else contextlib.nullcontext(sys.stdout)


def _header(kind, pair):
    names = {REGRESSION: ['score'], RANKING: ['score'], MULTI_LABEL: ['labels', 'probabilities']}
    names = names.get(kind, ['label', 'probability'])
    return '\t'.join(names + (['text_a', 'text_b'] if pair else ['text']))


def format_prediction(example, record, output_format):
    """One line: JSON, or tab-separated with tabs and line ends in the text replaced by spaces."""
    if output_format == 'jsonl':
        texts = dict(zip(('text_a', 'text_b'), example.texts)) if len(example.texts) == 2 \
            else {'text': example.texts[0]}
        return json.dumps(dict(record._asdict(), **texts), ensure_ascii=False, allow_nan=False)
    return '\t'.join(_columns(record) + [one_line(text) for text in example.texts])


def _columns(record):
    if isinstance(record, Score):
        return ['%.4f' % record.score]
    if isinstance(record, LabelSet):
        return [','.join(map(one_line, record.labels)),
                ','.join('%.4f' % record.probabilities[label] for label in record.labels)]
    return [one_line(record.label), '%.4f' % record.probability]
