"""Pipelines whose networks are exported models, opened from a folder."""
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
from bert.pipelines.classification import Classifier, MultiLabelClassifier
from bert.pipelines.mask_filling import MaskFiller, find_masks
from bert.pipelines.question_answering import QuestionAnswerer
from bert.pipelines.ranking import CrossEncoder
from bert.pipelines.task_file import check_kind, check_task, describe_as_ranking, kind_of
from bert.pipelines.token_classification import TokenClassifier
from bert.pipelines.token_vectors import TokenVectorizer

MXNET = runtimes.SymbolRuntime.name
VNNI_FLAGS = {'avx512_vnni', 'avx_vnni', 'amx_int8'}
# Values of DNNL_MAX_CPU_ISA that restrict INT8 products to slower instructions
ISA_LIMITS_WITHOUT_VNNI = ('SSE41', 'AVX', 'AVX2', 'AVX512_MIC', 'AVX512_MIC_4OPS', 'AVX512_CORE')


class ExportedPipeline:
    """A mixin for a `Pipeline` whose `network` is a runtime of `bert.export.runtimes`."""

    def __post_init__(self):
        pass

    def outputs(self, batch):
        """The outputs of the runtime for a `Batch`."""
        return mx.nd.array(self.network(*batch[:3]))

    def batches(self, lengths, batch_size):
        return evaluation_batches(lengths, batch_size, max_tokens=self.batch_tokens)


class ExportedClassifier(ExportedPipeline, Classifier):
    """A `Classifier` from an exported folder."""


class ExportedMultiLabelClassifier(ExportedPipeline, MultiLabelClassifier):
    """A `MultiLabelClassifier` from an exported folder."""


class ExportedCrossEncoder(ExportedPipeline, CrossEncoder):
    """A `CrossEncoder` from an exported folder."""


class ExportedQuestionAnswerer(ExportedPipeline, QuestionAnswerer):
    """A `QuestionAnswerer` from an exported folder."""


class ExportedTokenClassifier(ExportedPipeline, TokenClassifier):
    """A `TokenClassifier` from an exported folder."""


class ExportedMaskFiller(ExportedPipeline, MaskFiller):
    """A `MaskFiller` from an exported folder. Its network gives the logits of all tokens."""

    def outputs(self, batch):
        positions = find_masks(batch.token_ids, self.mask_id).astype(int)
        return mx.nd.array(np.take_along_axis(self.network(*batch[:3]), positions[:, :, None],
                                              axis=1))

    def logits_per_text(self, features):
        return [feature.valid_length for feature in features]


# {kind of `file_names.MODEL_KINDS`: class}
EXPORTED_PIPELINES = {file_names.CLASSIFICATION: ExportedClassifier,
                      file_names.REGRESSION: ExportedClassifier,
                      file_names.MULTI_LABEL: ExportedMultiLabelClassifier,
                      file_names.RANKING: ExportedCrossEncoder,
                      file_names.QUESTION_ANSWERING: ExportedQuestionAnswerer,
                      file_names.TOKEN_CLASSIFICATION: ExportedTokenClassifier,
                      file_names.FILL_MASK: ExportedMaskFiller}


def open_exported_pipeline(folder, prefix, runtime_name, device, threads, kind=None):
    """Open the `Pipeline` in an exported folder, of the class in `EXPORTED_PIPELINES`.

    prefix: the name of the file without -symbol.json or .onnx, for a folder with several exports.
    runtime_name: the `name` of a class in `bert.export.runtimes`: 'mxnet', 'onnxruntime' or
    'openvino'; None: MXNet for a symbol, ONNX Runtime for ONNX. kind: 'ranking' makes a
    `CrossEncoder` of any model with one output that reads pairs.
    Raises `UserError` that names what is missing or doesn't fit.
    """
    runtime, vocabulary, config, task = open_exported_network(folder, prefix, runtime_name, device,
                                                              threads)
    if kind_of(task) == file_names.EMBEDDING:
        raise UserError('--model_dir %s holds an embedding model, and deploy.py writes no vectors: '
                        'open the folder in Python with bert.open' % folder)
    if kind == file_names.RANKING:
        task = describe_as_ranking(task)
    check_kind(kind, task, folder)
    max_len = task.pop('max_len')
    tokenizer = BertTokenizer(vocabulary, lower=not config.cased)
    return EXPORTED_PIPELINES[kind_of(task)](runtime, tokenizer, config, task, max_len, device)


def open_exported_network(folder, prefix, runtime_name, device, threads):
    """(runtime, vocabulary, `BertConfig`, task) of an exported folder; the arguments and errors of
    `open_exported_pipeline`."""
    path = find_export(folder, prefix, runtime_name)
    vocabulary, config, task = read_description(folder)
    runtime = _open_runtime(path, runtime_name, device, threads)
    _check_outputs(runtime, vocabulary, config, task, path)
    return runtime, vocabulary, config, task


def read_description(folder):
    """(vocabulary, `BertConfig`, task) of an exported folder. Raises `UserError`."""
    vocabulary, cased = tokenizer_files.read_folder_tokenizer(folder)
    task_path = os.path.join(folder, file_names.TASK_FILE)
    missing = [name for name, exists in (
        (file_names.VOCABULARY_FILE, vocabulary is not None),
        (file_names.CONFIG_FILE, os.path.isfile(os.path.join(folder, file_names.CONFIG_FILE))),
        (file_names.TASK_FILE, os.path.isfile(task_path))) if not exists]
    if missing:
        raise UserError('--model_dir %s: no %s in it: expected a folder that export/export.py, '
                        'export/to_onnx.py or quantize.py wrote' % (folder, missing[0]))
    config = checkpoint_reader.read_folder_config(folder, vocabulary, cased)
    return vocabulary, config, _read_task(task_path, config.max_length)


def _read_task(path, num_positions):
    """The task of a `Pipeline`, with 'max_len'. num_positions: of the model."""
    task = files.read_json(path)
    check_task(path, dict(task, max_len=task.get('max_len', num_positions)), num_positions)
    missing = [key for key in _pipeline_class(task).task_keys + ('max_len',) if key not in task]
    if missing:
        raise UserError('%s: no "%s" in it' % (path, missing[0]))
    return task


def _pipeline_class(task):
    return EXPORTED_PIPELINES.get(kind_of(task), TokenVectorizer)


def find_export(folder, prefix, runtime_name):
    """Path of the file to open: -symbol.json or .onnx."""
    if not os.path.isdir(folder):
        raise UserError('--model_dir %s: no such folder' % folder)
    endings_of_runtimes = {None: (file_names.SYMBOL_ENDING, file_names.ONNX_ENDING),
                           MXNET: (file_names.SYMBOL_ENDING,)}
    endings = endings_of_runtimes.get(runtime_name, (file_names.ONNX_ENDING,))
    exports = sorted(name for name in os.listdir(folder) if name.endswith(endings))
    matches = exports if prefix is None else [name for name in exports
                                              if name in [prefix + ending for ending in endings]]
    if len(matches) == 1:
        return os.path.join(folder, matches[0])
    listing = ', '.join(exports) or 'none'
    if not matches:
        raise UserError('--model_dir %s%s: expected an exported model (%s), found %s%s' % (
            folder, '' if prefix is None else ' --model_prefix ' + prefix,
            ' or '.join('*' + ending for ending in endings), listing,
            '' if exports else _export_elsewhere(folder)))
    raise UserError('--model_dir %s holds several models: %s' % (folder, listing),
                    fix='choose one with --model_prefix')


def _export_elsewhere(folder):
    """What helps where a folder holds no export of a kind, for a message: one of another kind, one
    in a folder in it, or the scripts that make one."""
    endings = (file_names.SYMBOL_ENDING, file_names.ONNX_ENDING)
    others = sorted(name for name in os.listdir(folder) if name.endswith(endings))
    if others:
        return '; %s is for another --engine' % ', '.join(others)
    folders = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir()
                     and any(name.endswith(endings) for name in os.listdir(entry.path)))
    if folders:
        return '; there is one in ' + ', '.join(folders)
    return ': export/export.py and export/to_onnx.py make one'


def _open_runtime(path, name, device, threads):
    if path.endswith(file_names.SYMBOL_ENDING):
        is_fused = symbol.needs_kernels(path)
        if is_fused:
            if not library.load():
                raise symbol.missing_kernels_error(path)
        runtime = runtimes.open_symbol(path, device)
        if runtime.is_quantized and not is_fused:
            warn_without_vnni()
        return runtime
    if device.device_type != 'cpu':
        raise UserError('--gpu: ONNX files run only on the CPU here; leave the flag out')
    return runtimes.ONNX_RUNTIMES[name or runtimes.OnnxRuntime.name](path, threads)


def warn_without_vnni():
    """Log a warning if INT8 may be slow on this CPU, and rounds differently."""
    is_capped = os.environ.get('DNNL_MAX_CPU_ISA', '').upper() in ISA_LIMITS_WITHOUT_VNNI
    if is_capped or not VNNI_FLAGS.intersection(cpu.vector_flags()):
        logging.warning('this CPU has no VNNI%s: INT8 works, but may be no faster than float32. It '
                        'rounds differently than with VNNI, so scores can differ from those on '
                        'other CPUs (found: %s)',
                        ' (DNNL_MAX_CPU_ISA disables it)' if is_capped else '',
                        ' '.join(cpu.vector_flags()) or 'no vector instructions')


def _check_outputs(runtime, vocabulary, config, task, path):
    """Raises `UserError` unless the shape of the outputs fits the task beside the model."""
    token_ids = np.full((1, 2), vocabulary[vocabulary.padding_token], dtype='int32')
    try:
        shape = runtime(token_ids, np.zeros_like(token_ids), np.array([2.], 'float32')).shape
    except mx.MXNetError as error:
        raise UserError('%s: the parameters have other sizes than the network: %s'
                        % (path, str(error).strip().splitlines()[-1])) from None
    expected = (1, *_pipeline_class(task).output_shape(config, task, 2))
    if shape != expected:
        raise UserError('%s gives outputs of shape %s, but %s beside it needs %s: the two files '
                        "don't belong together" % (path, shape, file_names.TASK_FILE, expected))
