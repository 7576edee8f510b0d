"""Pipelines: text in, answers out, in memory. Importing this module imports no mxnet."""
import importlib

from bert.flags.pipelines import OpeningOptions
from bert.flags.threads import claim_threads


def open(path, *, task=None, activation=None, dtype='float32', threads=None, batch_size=None,
         batch_tokens=None, gpu=None, runtime=None, model_prefix=None, **keywords):
    """Open the model at `path`: a `Classifier`, a `CrossEncoder`, a `TokenClassifier`, a
    `QuestionAnswerer`, an `Embedder` or a `MaskFiller`.

    path: the folder of a run, one of its checkpoints, a model saved by transformers, a file of
    weights, or a folder that export/export.py, export/to_onnx.py or quantize.py wrote, or its .onnx
    or -symbol.json; the name of a released model, or a name on the Hugging Face hub: owner/name
    or owner/name@revision. A model without a head for a task is opened as an `Embedder`, which
    takes further `keywords`; so is a masked language model, unless task is 'fill_mask'.
    task: what to do with a model that can be used in more ways than one, of
    `bert.file_names.MODEL_KINDS`; default: what its head was trained for. 'ranking' makes a
    `CrossEncoder` of any model with one output that reads pairs. activation: of its score,
    'sigmoid' or 'identity'; default: what its files say.
    dtype: to compute in: 'float32', 'bfloat16' or 'int8', on a GPU 'float16' (an exported model has
    its own). threads: CPU threads; default: OMP_NUM_THREADS, else all cores. MXNet takes their
    number once in a process. batch_size: texts or windows a batch; batch_tokens: tokens a batch at
    most, padding included. gpu: number of a GPU; default: the CPU. runtime: of an exported model:
    'mxnet', 'onnxruntime' or 'openvino'; model_prefix: which model, where a folder holds several.

    Raises `bert.errors.UserError`, which says what is missing, or does not fit.
    """
    options = OpeningOptions(
        path=path, task=task, activation=activation, dtype=dtype, threads=threads,
        batch_size=batch_size, batch_tokens=batch_tokens, gpu=gpu, runtime=runtime,
        model_prefix=model_prefix)
    options = options.replace(threads=claim_threads(options.threads))
    return importlib.import_module('bert.pipelines.opening').open_any_pipeline(options, keywords)
