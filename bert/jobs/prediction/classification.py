"""Labels for texts without any: from arguments, a file or standard input."""
import contextlib
import json
import os
import sys

from bert import files
from bert.data.text.readers import Example, Table, read_examples, read_lines
from bert.data.transform import featurize
from bert.errors import UserError
from bert.model.bert import compute_in
from bert.pipelines.classification import open_model
from bert.train.devices import pick_device
from bert.train.log import progress

CHUNK = 4096    # texts tokenized and sorted by length together; bounds the memory


def run(args):
    """Write one line a text: as the parsed flags of predict.py say. Returns their number."""
    device = pick_device(args.gpu, args.dtype)
    check_output(args)
    model = open_model(args.model_dir, device)
    compute_in(model.network, args.dtype)
    return label_texts(model, args, device)


def label_texts(model, args, device):
    """The same with a `Classifier` that is open. Returns the number of texts."""
    pair = _reads_pairs(model.task, args)
    examples = read_texts(args, pair)
    truncated = 0
    with open_output(args.output) as out, progress(len(examples), unit='text') as bar:
        if args.format == 'tsv':
            out.write(_header(model.task, pair) + '\n')
        for start in range(0, len(examples), CHUNK):
            chunk = examples[start:start + CHUNK]
            features = featurize(chunk, model.tokenizer, model.max_len)
            truncated += sum(f.num_tokens > model.max_len for f in features)
            for example, answer in zip(chunk, answer_features(model, features, args.batch_size,
                                                              device)):
                out.write(format_answer(example, answer, args.format) + '\n')
            bar.update(len(chunk))
    if truncated:
        print('warning: %d of %d texts were cut at %d tokens, the length the model was trained '
              'with' % (truncated, len(examples), model.max_len), file=sys.stderr)
    return len(examples)


def check_output(args):
    """Raises `UserError` when --output would replace a file without --overwrite."""
    if args.output and os.path.exists(args.output) and not args.overwrite:
        raise UserError('--output %s: it exists: choose another name, or give --overwrite'
                        % args.output)


def _reads_pairs(task, args):
    """Whether texts come in pairs: the task knows, or --pair says for a model of transformers."""
    if args.pair and task['pair'] is False:
        raise UserError('--pair: the model in %s was trained on single texts' % args.model_dir)
    return bool(args.pair or task['pair'])


def answer_features(model, features, batch_size, device):
    """Answers (`Model.describe`) for `Features`, in their order."""
    return model.describe(model.compute(features, batch_size, device))


def read_texts(args, pair):
    """The texts as `Example`s without label. UserError when there are none, too few for a
    pair, or when they come from two places."""
    number = 2 if pair else 1
    if args.texts and args.file:
        raise UserError('give texts as arguments or --file, not both')
    if args.texts:
        return _from_arguments(args.texts, number)
    if args.file in (None, '-'):
        if args.file is None and sys.stdin.isatty():
            raise UserError('no text: give it as an argument, by --file, or to standard input')
        return _from_lines('standard input', standard_input(), number)
    if args.text_columns is None and args.file.endswith('.txt'):
        return _from_lines(args.file, read_lines(args.file), number)
    if args.text_columns is None or len(args.text_columns) != number:
        raise UserError('--file %s: this model reads %s: name the column%s with --text_columns'
                        % (args.file, 'pairs' if pair else 'one text', 's' if pair else ''))
    header = () if all(column.isdigit() for column in args.text_columns) else None
    return read_examples(args.file, Table(args.text_columns, None, header))[0]


def _from_arguments(texts, number):
    if len(texts) % number:
        raise UserError('%d texts given, and this model reads pairs: give two each' % len(texts))
    return [Example(tuple(texts[i:i + number]), None, 'arguments', i // number + 1)
            for i in range(0, len(texts), number)]


def standard_input():
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield number, line.decode('utf-8').rstrip('\r\n')
        except UnicodeDecodeError:
            raise UserError('standard input:%d: not UTF-8' % number) from None


def _from_lines(source, lines, number):
    examples = []
    for line_number, line in lines:
        texts = tuple(line.split('\t')) if number == 2 else (line,)
        if len(texts) != number:
            raise UserError('%s:%d: %d texts found, 2 expected with a tab between them'
                            % (source, line_number, len(texts)))
        examples.append(Example(texts, None, source, line_number))
    if not examples:
        raise UserError('%s: no text in it' % source)
    return examples


def open_output(path):
    return files.atomic_write(path) if path else contextlib.nullcontext(sys.stdout)


def _header(task, pair):
    names = ['score'] if task['labels'] is None else ['label', 'probability']
    return '\t'.join(names + (['text_a', 'text_b'] if pair else ['text']))


def format_answer(example, answer, form):
    """One line: JSON, or tab-separated with tabs and line ends in the text made spaces."""
    if form == 'jsonl':
        texts = dict(zip(('text_a', 'text_b'), example.texts)) if len(example.texts) == 2 \
            else {'text': example.texts[0]}
        return json.dumps(dict(answer, **texts), ensure_ascii=False)
    values = (['%.4f' % answer['score']] if 'score' in answer
              else [answer['label'], '%.4f' % answer['probability']])
    return '\t'.join(values + [' '.join(text.split()) for text in example.texts])
