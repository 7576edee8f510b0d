"""Exports a fine-tuned BERT as a folder for serving: a symbol of MXNet, or an ONNX file."""
import logging
import os
import pathlib
import subprocess
import sys
import tempfile

import mxnet as mx
import numpy as np
import onnx

import bert
from bert import file_names, files
from bert.data.batches import collate
from bert.data.glue.tasks import describe_task
from bert.data.squad.windows import WindowOptions
from bert.data.text.readers import Example, read_lines
from bert.data.text.tokenizer import BertTokenizer
from bert.data.transform import check_max_length, featurize
from bert.errors import UserError
from bert.export import onnx_graph, runtimes
from bert.export.symbol import export_network
from bert.flags.exporting import RANDOM_KINDS
from bert.flags.options import refuse
from bert.jobs.exporting import conversion
from bert.jobs.runs import results, run_folder
from bert.model import zoo
from bert.model.classification import make_classifier_network
from bert.model.inference import InterleavedNetwork
from bert.model.qa import BertForQA
from bert.model.weights import checkpoint_reader, heads
from bert.pipelines.classification import Classifier
from bert.pipelines.classifier_folder import check_classes
from bert.pipelines.model_folder import find_checkpoint_folder, find_head, folder_of
from bert.pipelines.opening import (
    TRAINING_SCRIPTS,
    default_kind,
    make_pipeline,
    refuse_overwriting_model,
)
from bert.pipelines.question_answering import TASK_DEFAULTS, QuestionAnswerer, window_sizes
from bert.pipelines.sentence_files import sentence_file_names
from bert.pipelines.task_file import kind_of
from bert.pipelines.token_vectors import make_token_vectorizer
from bert.quantization import speed
from bert.train.checkpoint import collect_parameters
from bert.train.devices import pick_device, seed_everything
from bert.train.log import open_log

LOG = logging.getLogger(__name__)

SAMPLE_TEXT = pathlib.Path(bert.__file__).with_name('sample_text.txt')   # real text for comparisons
NUM_TEXTS = 16          # sentences or pairs of it
SYMBOL_WORKER = pathlib.Path(runtimes.__file__).with_name('symbol_worker.py')
# Largest allowed differences from the network's outputs; where those are greater than 1, relative
# to the greatest: logits of words are 15 and more
MAX_SYMBOL_DIFFERENCE, MAX_ONNX_DIFFERENCE = 1e-5, 1e-4
NUM_TIMED_BATCHES = 10
# {flag that names a released model: fields of `BertConfig` that it tells}
FIELDS_OF_FLAGS = {'bert_model': ('family', 'num_layers', 'units', 'hidden_size', 'num_heads'),
                   'bert_dataset': ('vocab_size', 'cased')}
MIN_WINDOW = 16         # tokens; a shorter window has no room beside the question
SEQ_LENGTH = 128        # tokens of the longest text, for a random classifier: as for fine-tuning


def export_symbol(options, explicit):
    """Export an MXNet symbol. Returns a `JobResult`. Raises `UserError`."""
    return _export(options, explicit, 'export/export.py', 'export', write_symbol_folder)


def export_onnx(options, explicit):
    """Export an ONNX file. Returns a `JobResult`. Raises `UserError`."""
    if options.gpu is not None:
        raise UserError('--gpu: ONNX is written and checked on the CPU; leave the flag out')
    return _export(options, explicit, 'export/to_onnx.py', 'onnx', write_onnx_folder)


def _export(options, explicit, script, name, write):
    """Write, read back, compare, describe. name: the default name of the folder. Raises
    `UserError`."""
    device = pick_device(options.gpu)
    seed_everything(options.seed)
    model = open_model_to_export(options, explicit, device)
    kind = kind_of(model.task)
    _set_length(model, kind, options.seq_length)
    options = run_folder.output_beside_model(options, name)
    output_files = _output_files(kind) + sentence_file_names(
        getattr(model, 'sentence_model', None))
    with run_folder.open_model_folder(options, name, script, output_files,
                                      can_resume=False) as folder:
        open_log(os.path.join(folder, file_names.EXPORT_LOG_FILE))
        with files.explain_write_errors(folder), \
                tempfile.TemporaryDirectory(dir=folder) as temporary:
            values = write(temporary, kind, model)
            files.move_into(temporary, folder)      # its outputs are right: serve it
        values['files'] = [os.path.join(folder, file_name) for file_name in values['files']]
        report = results.write_results(folder, options, task=kind, max_len=model.max_len, **values)
    logging.info('results: %s', os.path.join(folder, file_names.RESULTS_FILE))
    return results.JobResult(report, folder)


def _output_files(kind):
    """Names of all files that an export may write."""
    return [file_names.EXPORT_LOG_FILE, file_names.CONFIG_FILE, file_names.VOCABULARY_FILE,
            file_names.TASK_FILE, file_names.TOKENIZER_FILE, file_names.TOKENIZER_CONFIG_FILE,
            kind + file_names.ONNX_ENDING] + \
        file_names.symbol_names(kind) + \
        [file_names.SENTENCE_CONFIG_FILE] * (kind == file_names.RANKING)


# The model to export


def open_model_to_export(options, explicit, device):
    """The `Pipeline` that the options name; without parameters, a random one."""
    if options.model_dir:
        refuse(explicit, ('bert_model', 'bert_dataset', 'seed'),
               'the model in --model_dir decides this: leave the flag out')
    elif options.model_parameters:
        refuse(explicit, ('seed',), 'it is for a random network')
    if not (options.model_dir or options.model_parameters):
        LOG.warning('no --model_parameters and no --model_dir: the network has random weights, so '
                    'its answers are random')
        return make_random_pipeline(options, explicit, device)
    path = options.model_parameters or find_checkpoint_folder(options.model_dir, TRAINING_SCRIPTS)
    refuse_overwriting_model(options.output_dir, path)
    checkpoint = checkpoint_reader.read_checkpoint(path, options.bert_model, options.bert_dataset)
    if _is_embedding_model(options, checkpoint):
        refuse(explicit, ('classes', 'pair'), 'it is for a classifier')
        model = make_token_vectorizer(checkpoint, device)
    else:
        model = make_pipeline(checkpoint, device, options.classes, options.pair, options.task)
    if not options.model_dir:
        _check_released(options, explicit, model.config, path)
    return model


def _is_embedding_model(options, checkpoint):
    """Whether to export an encoder alone: if --task says so, or if the files of
    sentence-transformers do and there is no head."""
    if options.task:
        return options.task == file_names.EMBEDDING
    head, _, _ = find_head(checkpoint)
    return default_kind(head) == file_names.EMBEDDING and os.path.isfile(
        os.path.join(folder_of(checkpoint), file_names.MODULES_FILE))


def _check_released(options, explicit, config, path):
    """Raises `UserError` if the released model that the options name has other sizes than `config`,
    the configuration beside the parameters."""
    released = checkpoint_reader.released_config(options.bert_model, options.bert_dataset)
    for flag, keys in FIELDS_OF_FLAGS.items():
        for key in keys if flag in explicit else ():
            expected, actual = getattr(released, key), getattr(config, key)
            if expected != actual:
                raise UserError('%s %s: its %s is %s, but %s beside %s says %s: leave the flag out'
                                % (explicit[flag], getattr(options, flag), key, expected,
                                   file_names.CONFIG_FILE, path, actual))


def make_random_pipeline(options, explicit, device):
    """A `Pipeline` for --task with random weights."""
    if options.task != file_names.CLASSIFICATION:
        refuse(explicit, ('classes',), 'it is for --task ' + file_names.CLASSIFICATION)
    if options.task == file_names.QUESTION_ANSWERING:
        refuse(explicit, ('pair',), 'questions and passages are always pairs: leave the flag out')
    if options.task not in RANDOM_KINDS:
        raise UserError('--task %s: name the model with --model_dir: random models are made only '
                        'for %s' % (options.task, ', '.join(RANDOM_KINDS)))
    network, vocabulary = zoo.get_released_model(
        options.bert_model, options.bert_dataset, pretrained=False,
        use_pooler=options.task != file_names.QUESTION_ANSWERING, use_decoder=False,
        use_classifier=False)
    config = network.config
    tokenizer = BertTokenizer(vocabulary, lower=not config.cased)
    if options.task == file_names.QUESTION_ANSWERING:
        network, task = BertForQA(network), dict(TASK_DEFAULTS)
        model = QuestionAnswerer(network, tokenizer, config, task,
                                 min(config.max_length, WindowOptions().max_seq_length), device)
    else:
        labels = None if options.task == file_names.REGRESSION else options.classes or ('0', '1')
        if labels:
            check_classes(labels)
        network = make_classifier_network(network, labels, dropout=0.0)
        model = Classifier(network, tokenizer, config,
                           describe_task('random', labels, bool(options.pair)),
                           min(config.max_length, SEQ_LENGTH), device)
    network.initialize(mx.init.Normal(0.02), ctx=device)
    network.hybridize()
    batch = sample_text_batch(model)       # the first batch fixes the input width of the head
    network(*[mx.nd.array(array, ctx=device) for array in batch[:3]])
    return model


def _set_length(model, kind, seq_length):
    """Set --seq_length as the longest input. Raises `UserError` if it doesn't fit."""
    if seq_length is None:
        return
    positions = model.config.max_length
    if kind == file_names.QUESTION_ANSWERING:
        if not MIN_WINDOW <= seq_length <= positions:
            raise UserError('--seq_length %d: expected from %d to %d, the positions of this model'
                            % (seq_length, MIN_WINDOW, positions))
        model.task.update(window_sizes(model.task, seq_length))
    elif seq_length > positions:
        raise UserError('--seq_length %d: this model has %d positions' % (seq_length, positions))
    else:
        check_max_length(seq_length, model.task['pair'], flag='--seq_length')
    model.max_len = seq_length


# Symbol


def write_symbol_folder(folder, kind, model):
    """Write the symbol and the files that serving needs; returns values for the report."""
    path = export_network(InterleavedNetwork(model.network), folder, kind)[0]
    model.write_description(folder)
    batch = sample_text_batch(model)
    outputs = compute_in_new_process(path, batch)
    file_name = os.path.basename(path)
    values = compare_outputs(file_name, model, batch, outputs, MAX_SYMBOL_DIFFERENCE)
    runtime = runtimes.open_symbol(path, model.device)
    return dict(values, files=file_names.symbol_names(kind),
                batches_per_second=measure_throughput(runtime, model))


def compute_in_new_process(path, batch):
    """Compute the outputs of an exported symbol in a new process. Raises `UserError` if that
    fails."""
    with tempfile.TemporaryDirectory() as temporary:
        inputs, outputs = (os.path.join(temporary, name) for name in ('in.npz', 'out.npy'))
        np.savez(inputs, **batch._asdict())
        command = [sys.executable, str(SYMBOL_WORKER), path, inputs, outputs]
        status = subprocess.run(command).returncode
        if status:
            raise UserError('%s: a new process could not compute the exported network (exit status '
                            '%d): is there enough memory for a second network?'
                            % (os.path.basename(path), status))
        return np.load(outputs)


def sample_text_batch(model):
    """A `Batch` of `NUM_TEXTS` sentences of the sample text, or of pairs of sentences."""
    lines = [line for _, line in read_lines(str(SAMPLE_TEXT)) if line.strip()]
    reads_pairs = model.task.get('pair', True)      # questions are read like pairs
    examples = [Example(tuple(lines[i:i + 2]) if reads_pairs else (lines[i],), None, '', 0)
                for i in range(NUM_TEXTS)]
    return collate(featurize(examples, model.tokenizer, model.max_len),
                   model.padding_id)._replace(labels=np.zeros(0))


def compare_outputs(name, model, batch, outputs, tolerance):
    """Compare `outputs` with the network's; returns {'largest_difference', 'texts'}. Raises
    `UserError` if they differ by more than `tolerance`."""
    expected = model.network(*[mx.nd.array(array, ctx=model.device)
                               for array in batch[:3]]).asnumpy()
    is_token = np.arange(batch.token_ids.shape[1]) < batch.valid_length[:, None]
    if outputs.shape == expected.shape and outputs.ndim == 3:   # outputs at padding don't matter
        outputs, expected = outputs[is_token], expected[is_token]
    difference = \
        float(np.abs(outputs - expected).max()) if outputs.shape == expected.shape else np.inf
    logging.info('%s: largest difference from the outputs of the network on %d texts: %.1e',
                 name, len(batch.token_ids), difference)
    limit = tolerance * max(1.0, float(np.abs(expected).max()))     # of float32: it is relative
    if not difference <= limit:
        raise UserError('%s: the exported network differs by %g from the network, more than %g: '
                        'please report this' % (name, difference, limit))
    return {'largest_difference': difference, 'texts': len(batch.token_ids)}


def measure_throughput(runtime, model):
    """Batches per second, each of one text of the full length."""
    batch = speed.random_batch(1, model.max_len, model.config.vocab_size)
    summary = speed.summarize_latency(speed.time_batch(runtime, batch, NUM_TIMED_BATCHES), 1)
    logging.info('Batch size=1, Throughput=%.2f batches/s (%d tokens)',
                 summary['examples_per_second'], model.max_len)
    return summary['examples_per_second']


# ONNX


def write_onnx_folder(folder, kind, model):
    """Write the ONNX file and the files that serving needs; returns values for the report."""
    arrays = {name: value.asnumpy() for name, value in collect_parameters(model.network).items()}
    proto = onnx_graph.build_onnx_model(arrays, model.config, bert.__version__)
    name = kind + file_names.ONNX_ENDING
    path = os.path.join(folder, name)
    onnx.save(proto, path)
    head, _, _ = heads.identify_head(arrays, path)
    conversion.write_transformers_description(folder, model.config, model.tokenizer.vocab, head,
                                              dict(model.task, max_len=model.max_len))
    if kind == file_names.EMBEDDING:
        model.write_sentence_files(folder)
    values = {'files': [name], 'opset': onnx_graph.OPSET}
    runtime = _open_onnx(path, 1)
    if runtime is None:
        logging.warning('%s was checked by onnx, but not run: install onnxruntime or openvino to '
                        'compare its outputs: %s', name, runtimes.install_hint('onnxruntime'))
        return values
    batch = sample_text_batch(model)
    outputs = runtime(*batch[:3])
    comparison = compare_outputs(name, model, batch, outputs, MAX_ONNX_DIFFERENCE)
    values.update(comparison, engine=runtime.name)
    return values


def _open_onnx(path, threads):
    """The first runtime that is installed, with an ONNX file; None without one."""
    for runtime_class in runtimes.ONNX_RUNTIMES.values():
        try:
            return runtime_class(path, threads)
        except runtimes.RuntimeNotInstalledError:
            pass
    return None
