"""Classifiers and question answerers out of exported folders."""
import logging
import os

import mxnet as mx
import numpy as np

from bert import file_names, files
from bert.data.batches import evaluation_batches
from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.export import runtimes, symbol
from bert.model.kernels import cpu, library
from bert.model.weights import checkpoint_reader, tokenizer_files
from bert.pipelines.classification import Classifier
from bert.pipelines.question_answering import TASK, QAModel

MXNET = runtimes.SymbolEngine.name
VNNI = {'avx512_vnni', 'avx_vnni', 'amx_int8'}
# Values of DNNL_MAX_CPU_ISA that leave INT8 products to slower instructions
WITHOUT_VNNI = ('SSE41', 'AVX', 'AVX2', 'AVX512_MIC', 'AVX512_MIC_4OPS', 'AVX512_CORE')


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
    if capped or not VNNI.intersection(cpu.vector_flags()):
        logging.warning('this CPU has no VNNI%s: INT8 works, may be no faster than float32, and '
                        'rounds otherwise than with VNNI: a score taken there need not hold here '
                        '(found: %s)', ' (DNNL_MAX_CPU_ISA takes it away)' if capped else '',
                        ' '.join(cpu.vector_flags()) or 'no vector instructions')


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
