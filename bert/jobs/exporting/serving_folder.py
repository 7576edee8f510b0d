"""A fine-tuned BERT as a folder that serves alone: a symbol of MXNet, or an ONNX file."""
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
from bert.data.squad.windows import Options
from bert.data.text.readers import Example, read_lines
from bert.data.text.tokenizer import BertTokenizer
from bert.data.transform import check_max_length, featurize
from bert.errors import UserError
from bert.export import onnx_graph, runtimes
from bert.export.symbol import export_network
from bert.flags.common import refuse
from bert.jobs.exporting import conversion
from bert.jobs.runs import results, run_folder
from bert.model import zoo
from bert.model.classification import make_network
from bert.model.inference import ForPrediction
from bert.model.qa import BertForQA
from bert.model.weights import catalogue, heads
from bert.pipelines.classification import Classifier, check_classes
from bert.pipelines.model_folder import find_model
from bert.pipelines.opening import TRAINERS, kind_of, open_trained, refuse_source
from bert.pipelines.question_answering import TASK, QAModel, shorter_windows
from bert.quantization import speed
from bert.train.checkpoint import parameters_of
from bert.train.devices import pick_device, seed_everything
from bert.train.log import open_log

LOG = logging.getLogger(__name__)

SAMPLE = pathlib.Path(bert.__file__).with_name('sample_text.txt')   # real text to compare on
NUM_TEXTS = 16          # of it
RECOMPUTE = pathlib.Path(runtimes.__file__).with_name('symbol_worker.py')
SAME, SAME_ONNX = 1e-5, 1e-4    # largest difference of outputs from the network's
BATCHES_TIMED = 10
MIN_WINDOW = 16         # tokens, of a shorter one nothing is left beside the question
SEQ_LENGTH = 128        # tokens a text at most, for a random classifier: as for fine-tuning


def run_symbol(args):
    """Export as the parsed flags of export/export.py say; returns the report."""
    return _run(args, 'export/export.py', 'export', write_symbol)


def run_onnx(args):
    """The same for export/to_onnx.py."""
    if args.gpu is not None:
        raise UserError('--gpu: ONNX is written and checked on the CPU; leave it out')
    return _run(args, 'export/to_onnx.py', 'onnx', write_onnx)


def _run(args, script, name, write):
    """Write, read back, compare, describe. name: of the folder, by default. Raises `UserError`."""
    if args.model_dir and args.model_parameters:
        raise UserError('--model_dir and --model_parameters: give one of the two')
    if not (args.task or args.model_dir or args.model_parameters):
        raise UserError('--task is needed for a random network: %s' % ', '.join(file_names.KINDS))
    device = pick_device(args.gpu)
    seed_everything(args.seed)
    model = open_source(args, device)
    kind = kind_of(model.task)
    _set_length(model, kind, args.seq_length)
    if args.model_dir and not args.output_dir:
        args.output_dir = os.path.join(args.model_dir, name)
    folder = run_folder.open_folder_of_its_own(args, name, script, _written(kind))
    open_log(os.path.join(folder, file_names.EXPORT_LOG))
    with files.writing(folder), tempfile.TemporaryDirectory(dir=folder) as part:
        values = write(part, kind, model, device)
        for written in os.listdir(part):    # the answers are the network's: now it may be served
            os.replace(os.path.join(part, written), os.path.join(folder, written))
    values['files'] = [os.path.join(folder, written) for written in values['files']]
    report = results.write_results(folder, args, task=kind, max_len=model.max_len, **values)
    logging.info('results: %s', os.path.join(folder, file_names.RESULTS))
    return report


def _written(kind):
    return [file_names.EXPORT_LOG, file_names.CONFIG, file_names.VOCABULARY, file_names.TASK,
            file_names.TOKENIZER_CONFIG, kind + file_names.ONNX_ENDING] + \
        file_names.symbol_names(kind)


# What is exported


def open_source(args, device):
    """The `Model` of the flags; a random one where they name no parameters."""
    if args.model_dir:
        refuse(args, ('bert_model', 'bert_dataset', 'seed'), 'the model in --model_dir has its own')
    elif args.model_parameters:
        refuse(args, ('seed',), 'it is for a random network')
    if not (args.model_dir or args.model_parameters):
        LOG.warning('no --model_parameters and no --model_dir: the network is random, its answers '
                    'are chance')
        return random_model(args, device)
    path = args.model_parameters or find_model(args.model_dir, TRAINERS)
    refuse_source(args.output_dir, path)
    model = open_trained(path, device, args.bert_model, args.bert_dataset, args.classes, args.pair)
    kind = kind_of(model.task)
    if args.task and args.task != kind:
        raise UserError('--task %s: the parameters in %s are for %s' % (args.task, path, kind))
    if not args.model_dir:
        _check_released(args, model.config, path)
    return model


def _check_released(args, config, path):
    """Raises `UserError` when the released model that was named has other sizes than `config`,
    which lay beside the parameters."""
    name, corpus = catalogue.resolve(args.bert_model, args.bert_dataset)
    named = catalogue.config_of(name, corpus)
    for flag, value, keys in (('bert_model', name, catalogue.MODELS[name].sizes),
                              ('bert_dataset', corpus, ('vocab_size', 'cased'))):
        for key in keys if flag in args.given else ():
            expected, found = getattr(named, key), getattr(config, key)
            if expected != found:
                raise UserError('%s %s: its %s is %s, and %s beside %s says %s: leave the flag out'
                                % (args.given[flag], value, key, expected, file_names.CONFIG, path,
                                   found))


def random_model(args, device):
    """The `Model` of --task with random weights."""
    if args.task != file_names.CLASSIFICATION:
        refuse(args, ('classes',), 'it is for --task ' + file_names.CLASSIFICATION)
    if args.task == file_names.QUESTION_ANSWERING:
        refuse(args, ('pair',), 'questions and passages are pairs anyway')
    network, vocabulary = zoo.get_model(args.bert_model, args.bert_dataset, pretrained=False,
                                        use_pooler=args.task != file_names.QUESTION_ANSWERING,
                                        use_decoder=False, use_classifier=False)
    config = network.config
    tokenizer = BertTokenizer(vocabulary, lower=not config.cased)
    if args.task == file_names.QUESTION_ANSWERING:
        network, task = BertForQA(network), dict(TASK)
        model = QAModel(network, tokenizer, config, task,
                        min(config.max_length, Options().max_seq_length))
    else:
        labels = None if args.task == file_names.REGRESSION else args.classes or ('0', '1')
        if labels:
            check_classes(labels)
        network = make_network(network, labels, dropout=0.0)
        model = Classifier(network, tokenizer, config,
                           describe_task('random', labels, bool(args.pair)),
                           min(config.max_length, SEQ_LENGTH))
    network.initialize(mx.init.Normal(0.02), ctx=device)
    network.hybridize()
    batch = real_batch(model)       # the head's width is open until it has seen a batch
    network(*[mx.nd.array(array, ctx=device) for array in batch[:3]])
    return model


def _set_length(model, kind, seq_length):
    """Take --seq_length as the longest input, where it fits."""
    if seq_length is None:
        return
    positions = model.config.max_length
    if kind == file_names.QUESTION_ANSWERING:
        if not MIN_WINDOW <= seq_length <= positions:
            raise UserError('--seq_length %d: %d to the %d positions of this model expected'
                            % (seq_length, MIN_WINDOW, positions))
        model.task.update(shorter_windows(model.task, seq_length))
    elif seq_length > positions:
        raise UserError('--seq_length %d: this model has %d positions' % (seq_length, positions))
    else:
        check_max_length(seq_length, model.task['pair'], flag='--seq_length')
    model.max_len = seq_length


# Symbol


def write_symbol(folder, kind, model, device):
    """Write the symbol and all that serving needs; returns what the report says of it."""
    path = export_network(ForPrediction(model.network), folder, kind)[0]
    model.write_description(folder)
    batch = real_batch(model)
    values = compare(os.path.basename(path), model, batch, recompute(path, batch), device, SAME)
    engine = runtimes.open_symbol(path, device)
    return dict(values, files=file_names.symbol_names(kind),
                batches_per_second=measure(engine, model))


def recompute(path, batch):
    """Outputs of an exported symbol in a new process. Raises `UserError` when that fails."""
    with tempfile.TemporaryDirectory() as temporary:
        inputs, outputs = (os.path.join(temporary, name) for name in ('in.npz', 'out.npy'))
        np.savez(inputs, **batch._asdict())
        status = subprocess.run([sys.executable, str(RECOMPUTE), path, inputs, outputs]).returncode
        if status:
            raise UserError('%s: read back in a new process, it could not be computed (exit status '
                            '%d): is there enough memory for a second network?'
                            % (os.path.basename(path), status))
        return np.load(outputs)


def real_batch(model):
    """`NUM_TEXTS` sentences of the sample text, or pairs of them, as a `Batch`."""
    lines = [line for _, line in read_lines(str(SAMPLE)) if line.strip()]
    pairs = model.task.get('pair', True)    # questions are read like pairs
    examples = [Example(tuple(lines[i:i + 2]) if pairs else (lines[i],), None, '', 0)
                for i in range(NUM_TEXTS)]
    return collate(featurize(examples, model.tokenizer, model.max_len),
                   model.padding_id)._replace(labels=np.zeros(0))


def compare(name, model, batch, found, device, same):
    """{'largest_difference': …} of outputs from the network's; `UserError` above `same`."""
    expected = model.network(*[mx.nd.array(array, ctx=device) for array in batch[:3]]).asnumpy()
    used = np.arange(batch.token_ids.shape[1]) < batch.valid_length[:, None]
    if found.shape == expected.shape and found.ndim == 3:   # what padding gives means nothing
        found, expected = found[used], expected[used]
    difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else np.inf
    logging.info('%s: largest difference of its outputs from the network\'s on %d texts: %.1e',
                 name, len(batch.token_ids), difference)
    if not difference <= same:
        raise UserError('%s: read back, it differs by %g from the network, more than %g: please '
                        'report this' % (name, difference, same))
    return {'largest_difference': difference, 'texts': len(batch.token_ids)}


def measure(engine, model):
    """Batches of one text of the full length a second."""
    batch = speed.random_batch(1, model.max_len, model.config.vocab_size)
    found = speed.summarize(speed.time_batch(engine, batch, BATCHES_TIMED), 1)
    logging.info('Batch size=1, Throughput=%.2f batches/s (%d tokens)',
                 found['examples_per_second'], model.max_len)
    return found['examples_per_second']


# ONNX


def write_onnx(folder, kind, model, device):
    """Write the ONNX file and all that serving needs; returns what the report says of it."""
    arrays = {name: value.asnumpy() for name, value in parameters_of(model.network).items()}
    proto = onnx_graph.build(arrays, model.config, bert.__version__)
    name = kind + file_names.ONNX_ENDING
    path = os.path.join(folder, name)
    onnx.save(proto, path)
    head, _, _ = heads.find_head(arrays, path)
    conversion.describe_for_transformers(folder, model.config, model.tokenizer.vocab, head,
                                         dict(model.task, max_len=model.max_len))
    values = {'files': [name], 'opset': onnx_graph.OPSET}
    engine = _open_any(path, 1)
    if engine is None:
        logging.warning('%s was checked by onnx, and not run: install onnxruntime or openvino to '
                        'have its outputs compared', name)
        return values
    batch = real_batch(model)
    values.update(compare(name, model, batch, engine(*batch[:3]), device, SAME_ONNX),
                  engine=engine.name)
    return values


def _open_any(path, threads):
    for make in runtimes.ONNX_ENGINES.values():
        try:
            return make(path, threads)
        except runtimes.NotInstalled:
            pass
    return None
