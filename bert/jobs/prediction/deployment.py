"""Running an exported model: labels, answers, scores and latency."""
import logging
import os

import mxnet as mx
import numpy as np

from bert import file_names, files
from bert.data.batches import evaluation_batches
from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.export import runtimes, symbol
from bert.flags.common import refuse
from bert.jobs.prediction import classification, question_answering
from bert.jobs.runs import results
from bert.model.kernels import library
from bert.model.weights import checkpoint_reader, tokenizer_files
from bert.pipelines import evaluation_sets
from bert.pipelines.classification import Classifier
from bert.pipelines.opening import kind_of
from bert.pipelines.question_answering import TASK, QAModel
from bert.quantization import speed
from bert.train.devices import pick_device
from bert.train.metrics import format_metrics

MXNET = runtimes.SymbolEngine.name
VNNI = {'avx512_vnni', 'avx_vnni', 'amx_int8'}
# Values of DNNL_MAX_CPU_ISA that leave INT8 products to slower instructions
WITHOUT_VNNI = ('SSE41', 'AVX', 'AVX2', 'AVX512_MIC', 'AVX512_MIC_4OPS', 'AVX512_CORE')
# Options that say something only to a part of the work
OF_ANSWERS = ('top_k', 'version_2', 'null_score_diff_threshold', 'max_answer_length')
OF_TEXTS = ('pair', 'text_columns', 'label_column', 'task_name')
OF_SCORES = ('task_name', 'data_dir', 'dev_file', 'label_column', 'max_eval_samples')
OF_SPEED = ('batch_sizes', 'lengths', 'rounds')


class Exported:
    """Makes a `Model` of one whose `network` is an engine of `bert.export.runtimes`."""

    def __post_init__(self):
        pass

    def outputs(self, batch, device):
        """What the engine gives for a `Batch`."""
        return mx.nd.array(self.network(*batch[:3]))

    def batches(self, lengths, batch_size, device):
        return evaluation_batches(lengths, batch_size)


class ExportedClassifier(Exported, Classifier):
    """A `Classifier` out of an exported folder."""


class ExportedQAModel(Exported, QAModel):
    """A `QAModel` out of an exported folder."""


def run(args):
    """Do what the parsed flags of deploy.py say; returns the report, or the number of texts."""
    check_flags(args)
    device = pick_device(args.gpu)
    classification.check_output(args)
    model = open_exported(args.model_dir, args.model_prefix, args.engine, device, args.threads)
    is_classifier = isinstance(model, Classifier)
    refuse(args, OF_ANSWERS if is_classifier else OF_TEXTS, 'the model in %s %s' % (
        args.model_dir, 'labels texts' if is_classifier else 'answers questions'))
    if args.measure:
        return measure(model, args)
    if args.evaluate:
        return evaluate(model, args, device)
    if is_classifier:
        return classification.label_texts(model, args, device)
    return question_answering.answer_questions(model, _as_questions(args), device)


def check_flags(args):
    """Raises `UserError` for flags that contradict each other, or would do nothing."""
    if args.evaluate and args.measure:
        raise UserError('--evaluate and --measure: give one of the two')
    if (args.evaluate or args.measure) and (args.texts or args.file):
        raise UserError('--evaluate and --measure take no texts: leave them and --file out')
    if not args.evaluate:
        refuse(args, OF_SCORES, 'it is for --evaluate')
        if not args.file:
            refuse(args, ('text_columns',), 'it is for --file and --dev_file')
    else:
        refuse(args, ('top_k', 'pair'), 'it is not for --evaluate')
    if not args.measure:
        refuse(args, OF_SPEED, 'it is for --measure')
    else:
        refuse(args, OF_ANSWERS + ('pair', 'text_columns', 'batch_size'),
               'it is not for --measure')
    if args.evaluate or args.measure:
        refuse(args, ('format',), '--evaluate and --measure write JSON')


def _as_questions(args):
    """The flags under the names that answer.py has for them."""
    args.question, args.documents = (args.texts or [None])[0], args.texts[1:]
    args.jsonl = None
    if args.file is not None and args.file.endswith('.jsonl'):
        args.jsonl, args.file = args.file, None
    args.file = args.file and [args.file]
    question_answering.check_flags(args)
    return args


# Opening


def open_exported(folder, prefix, engine, device, threads):
    """The `Classifier` or `QAModel` in an exported folder.

    prefix: of its files, where it holds several exports. engine: a name of `engines`, None for the
    one that the file asks for. Raises `UserError` naming what is missing or doesn't fit.
    """
    path = find_export(folder, prefix, engine)
    vocabulary, config, task = read_description(folder)
    compute = _open_engine(path, engine, device, threads)
    make = ExportedClassifier if 'labels' in task else ExportedQAModel
    max_len = task.pop('max_len')
    model = make(compute, BertTokenizer(vocabulary, lower=not config.cased), config, task, max_len)
    _check_outputs(model, path)
    return model


def read_description(folder):
    """(vocabulary, `BertConfig`, task) of an exported folder. Raises `UserError`."""
    vocabulary = tokenizer_files.vocabulary_beside(folder)
    missing = [name for name, there in (
        (file_names.VOCABULARY, vocabulary is not None),
        (file_names.CONFIG, os.path.isfile(os.path.join(folder, file_names.CONFIG))),
        (file_names.TASK, os.path.isfile(os.path.join(folder, file_names.TASK)))) if not there]
    if missing:
        raise UserError('--model_dir %s: no %s in it: expected a folder that export/export.py, '
                        'export/to_onnx.py or quantize.py wrote' % (folder, missing[0]))
    config = checkpoint_reader.config_beside(folder, vocabulary)
    return vocabulary, config, _read_task(os.path.join(folder, file_names.TASK), config.max_length)


def _read_task(path, positions):
    """The task of a `Model`, and its 'max_len'. positions: of the model."""
    task = files.read_json(path)
    needed = ('name', 'labels', 'pair', 'metrics') if 'labels' in task else tuple(TASK)
    missing = [key for key in needed + ('max_len',) if key not in task]
    if missing:
        raise UserError('%s: no "%s" in it' % (path, missing[0]))
    labels, max_len = task.get('labels'), task['max_len']
    if not isinstance(max_len, int) or not 2 < max_len <= positions:
        raise UserError('%s: max_len is %r, a number of tokens up to the %d positions of the model '
                        'expected' % (path, max_len, positions))
    if labels is not None and not (isinstance(labels, list)
                                   and all(isinstance(label, str) for label in labels)):
        raise UserError('%s: labels are %r, a list of texts expected' % (path, labels))
    return task


def find_export(folder, prefix, engine):
    """The file to open: -symbol.json or .onnx."""
    if not os.path.isdir(folder):
        raise UserError('--model_dir %s: no such folder' % folder)
    endings = {None: (file_names.SYMBOL_ENDING, file_names.ONNX_ENDING),
               MXNET: (file_names.SYMBOL_ENDING,)}
    wanted = endings.get(engine, (file_names.ONNX_ENDING,))
    found = sorted(name for name in os.listdir(folder) if name.endswith(wanted))
    chosen = found if prefix is None else [name for name in found
                                           if name in [prefix + ending for ending in wanted]]
    if len(chosen) == 1:
        return os.path.join(folder, chosen[0])
    there = ', '.join(found) or 'none'
    if not chosen:
        raise UserError('--model_dir %s%s: no exported model in it (%s): found: %s' % (
            folder, '' if prefix is None else ' --model_prefix ' + prefix,
            ' or '.join('*' + ending for ending in wanted), there))
    raise UserError('--model_dir %s holds several models: %s; choose one with --model_prefix'
                    % (folder, there))


def _open_engine(path, engine, device, threads):
    if path.endswith(file_names.SYMBOL_ENDING):
        is_fused = symbol.needs_kernels(path)
        if is_fused:
            if not library.load():
                raise symbol.lack_of_kernels(path)
        made = runtimes.open_symbol(path, device)
        if made.is_quantized and not is_fused:
            warn_without_vnni()
        return made
    if device.device_type != 'cpu':
        raise UserError('--gpu: ONNX files are run on the CPU here; leave it out')
    return runtimes.ONNX_ENGINES[engine or runtimes.OnnxRuntimeEngine.name](path, threads)


def warn_without_vnni():
    """Say where INT8 will be slow, and rounds otherwise."""
    capped = os.environ.get('DNNL_MAX_CPU_ISA', '').upper() in WITHOUT_VNNI
    if capped or not VNNI.intersection(results.cpu_flags()):
        logging.warning('this CPU has no VNNI%s: INT8 works, may be no faster than float32, and '
                        'rounds otherwise than with VNNI: a score taken there need not hold here '
                        '(found: %s)', ' (DNNL_MAX_CPU_ISA takes it away)' if capped else '',
                        ' '.join(results.cpu_flags()) or 'no vector instructions')


def _check_outputs(model, path):
    """`UserError` unless what comes out fits the task beside it."""
    vocab = model.tokenizer.vocab
    token_ids = np.array([[vocab[vocab.cls_token], vocab[vocab.sep_token]]], dtype='int32')
    try:
        shape = model.network(token_ids, np.zeros_like(token_ids), np.array([2.], 'float32')).shape
    except mx.MXNetError as error:
        raise UserError('%s: its parameters are of other sizes: %s'
                        % (path, str(error).strip().splitlines()[-1])) from None
    labels = model.task.get('labels')
    expected = (1, 2, 2) if 'labels' not in model.task else (1, len(labels or ['score']))
    if shape != expected:
        raise UserError('%s gives outputs of shape %s, and %s beside it asks for %s: they don\'t '
                        'belong together' % (path, shape, file_names.TASK, expected))


# Scores and speed


def evaluate(model, args, device):
    """Score the dev sets of the model's task; print and write the scores."""
    if not isinstance(model, Classifier):
        question_answering.adapt(model, args)
    scores = {}
    for name, one in evaluation_sets.read_segments(args, model, ['dev']).items():
        scores[name] = one.scores(one.outputs(model, args.batch_size, device))
        print('%s (%s, %d examples): %s' % (name, one.source, len(one),
                                            format_metrics(scores[name].items())))
    return _report(args, model, metrics=scores)


def measure(model, args):
    """Latency and throughput for each batch size and length; print and write them."""
    if max(args.lengths) > model.config.max_length:
        raise UserError('--lengths %d: this model has %d positions'
                        % (max(args.lengths), model.config.max_length))
    found = []
    print(' '.join(results.cpu_flags()) or 'no vector instructions known', '·', model.network.name,
          '·', '%d threads' % args.threads)
    print('%5s %6s %10s %10s %10s %12s' % ('batch', 'tokens', 'p50 ms', 'p90 ms', 'p99 ms',
                                           'examples/s'))
    for size in args.batch_sizes:
        for length in args.lengths:
            batch = speed.random_batch(size, length, model.config.vocab_size)
            one = speed.summarize(speed.time_batch(model.network, batch, args.rounds), size)
            found.append(dict(one, batch_size=size, length=length))
            print('%5d %6d %10.2f %10.2f %10.2f %12.1f' % (
                size, length, one['p50_ms'], one['p90_ms'], one['p99_ms'],
                one['examples_per_second']), flush=True)
    return _report(args, model, latency=found)


def _report(args, model, **values):
    values = dict(values, task=kind_of(model.task), engine=model.network.name)
    if args.output:
        return results.write_report(args.output, args, **values)
    return values
