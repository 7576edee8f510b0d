"""Labels texts with a classifier: texts from arguments, a file or standard input."""
import contextlib
import json
import os
import sys

from bert import files
from bert.data.text.readers import Example, Table, read_examples, read_lines
from bert.data.transform import featurize
from bert.errors import UserError
from bert.model.bert import set_compute_dtype
from bert.pipelines.classification import open_classifier
from bert.train.devices import pick_device
from bert.train.log import progress_bar

CHUNK = 4096    # texts tokenized and sorted by length together; bounds the memory


def predict_labels(args):
    """Do what the parsed flags of predict.py say: write one line per text. Returns the number of
    texts."""
    device = pick_device(args.gpu, args.dtype)
    check_output_file(args)
    model = open_classifier(args.model_dir, device)
    set_compute_dtype(model.network, args.dtype)
    return write_labels(model, args, device)


def write_labels(model, args, device):
    """Write one line per text with an open `Classifier`. Returns the number of texts."""
    pair = _reads_pairs(model.task, args)
    examples = read_input_examples(args, pair)
    num_truncated = 0
    with open_output(args.output) as out, progress_bar(len(examples), unit='text') as bar:
        if args.format == 'tsv':
            out.write(_header(model.task, pair) + '\n')
        for start in range(0, len(examples), CHUNK):
            chunk = examples[start:start + CHUNK]
            features = featurize(chunk, model.tokenizer, model.max_len)
            num_truncated += sum(feature.num_tokens > model.max_len for feature in features)
            for example, answer in zip(chunk, describe_features(model, features, args.batch_size,
                                                                device)):
                out.write(format_prediction(example, answer, args.format) + '\n')
            bar.update(len(chunk))
    if num_truncated:
        print('warning: %d of %d texts were cut at %d tokens, the length the model was trained '
              'with' % (num_truncated, len(examples), model.max_len), file=sys.stderr)
    return len(examples)


def check_output_file(args):
    """Raises `UserError` if --output would replace a file without --overwrite."""
    if args.output and os.path.exists(args.output) and not args.overwrite:
        raise UserError('--output %s: it exists: choose another name, or give --overwrite'
                        % args.output)


def _reads_pairs(task, args):
    """Whether the model reads pairs: by its task, or by --pair for a model of transformers."""
    if args.pair and task['pair'] is False:
        raise UserError('--pair: the model in %s was trained on single texts' % args.model_dir)
    return bool(args.pair or task['pair'])


def describe_features(model, features, batch_size, device):
    """The results of `Classifier.describe` for `Features`, in their order."""
    return model.describe(model.compute_outputs(features, batch_size, device))


def read_input_examples(args, pair):
    """The texts as `Example`s without labels. Raises `UserError` if there are none, too few for
    pairs, or if they come from two places."""
    texts_per_example = 2 if pair else 1
    if args.texts and args.file:
        raise UserError('give texts as arguments or --file, not both')
    if args.texts:
        return _examples_from_arguments(args.texts, texts_per_example)
    if args.file in (None, '-'):
        if args.file is None and sys.stdin.isatty():
            raise UserError('no text: give it as an argument, by --file, or to standard input')
        return _examples_from_lines('standard input', read_standard_input(), texts_per_example)
    if args.text_columns is None and args.file.endswith('.txt'):
        return _examples_from_lines(args.file, read_lines(args.file), texts_per_example)
    if args.text_columns is None or len(args.text_columns) != texts_per_example:
        raise UserError('--file %s: this model reads %s: name the column%s with --text_columns'
                        % (args.file, 'pairs' if pair else 'one text', 's' if pair else ''))
    header = () if all(column.isdigit() for column in args.text_columns) else None
    return read_examples(args.file, Table(args.text_columns, None, header))[0]


def _examples_from_arguments(texts, texts_per_example):
    if len(texts) % texts_per_example:
        raise UserError('%d texts given, and this model reads pairs: give two each' % len(texts))
    return [Example(tuple(texts[i:i + texts_per_example]), None, 'arguments',
                    i // texts_per_example + 1)
            for i in range(0, len(texts), texts_per_example)]


def read_standard_input():
    """Yield (line number, line) of standard input."""
    for line_number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line_number, line.decode('utf-8').rstrip('\r\n')
        except UnicodeDecodeError:
            raise UserError('standard input:%d: not UTF-8' % line_number) from None


def _examples_from_lines(source, lines, texts_per_example):
    examples = []
    for line_number, line in lines:
        texts = tuple(line.split('\t')) if texts_per_example == 2 else (line,)
        if len(texts) != texts_per_example:
            raise UserError('%s:%d: %d texts found, 2 expected with a tab between them'
                            % (source, line_number, len(texts)))
        examples.append(Example(texts, None, source, line_number))
    if not examples:
        raise UserError('%s: no text in it' % source)
    return examples


def open_output(path):
    """Context manager: the file `path`, whole or absent, or standard output without a path."""
    return files.atomic_write(path) if path else contextlib.nullcontext(sys.stdout)


def _header(task, pair):
    names = ['score'] if task['labels'] is None else ['label', 'probability']
    return '\t'.join(names + (['text_a', 'text_b'] if pair else ['text']))


def format_prediction(example, answer, output_format):
    """One line: JSON, or tab-separated with tabs and line ends in the text replaced by spaces."""
    if output_format == 'jsonl':
        texts = dict(zip(('text_a', 'text_b'), example.texts)) if len(example.texts) == 2 \
            else {'text': example.texts[0]}
        return json.dumps(dict(answer, **texts), ensure_ascii=False)
    values = (['%.4f' % answer['score']] if 'score' in answer
              else [answer['label'], '%.4f' % answer['probability']])
    return '\t'.join(values + [' '.join(text.split()) for text in example.texts])
