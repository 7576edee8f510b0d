"""Pipelines: text in, answers out, in memory. Importing this module imports no mxnet."""
import importlib

from bert.flags.pipelines import OpeningOptions
from bert.flags.threads import claim_threads


def open(path, *, task=None, activation=None, dtype='float32', threads=None, batch_size=None,
         batch_tokens=None, gpu=None, runtime=None, model_prefix=None, **keywords):
    """Open the model at `path`: a `Classifier`, a `CrossEncoder`, a `TokenClassifier`, a
    `QuestionAnswerer`, an `Embedder` or a `MaskFiller`.

    path
        The folder of a run, one of its checkpoints, a model saved by transformers, or a file of
        weights. A folder that export/export.py, export/to_onnx.py or quantize.py wrote, or its
        .onnx or -symbol.json. The name of a released model, or a name on the Hugging Face hub:
        `owner/name` or `owner/name@revision`.
    task
        What to do with a model that has several uses: 'classification', 'regression',
        'multi_label', 'ranking', 'token_classification', 'question_answering', 'embedding' or
        'fill_mask'. The default is what its head was trained for. A model without a head, and a
        masked language model, open as an `Embedder` unless the task is 'fill_mask'. 'ranking' makes
        a `CrossEncoder` of any model with one output that reads pairs.
    activation
        Of the score of a `CrossEncoder`: 'sigmoid' or 'identity'. The default is what its files
        say.
    dtype
        What products are computed in: 'float32', 'bfloat16' or 'int8'; on a GPU 'float16'. An
        exported model has its own.
    threads
        CPU threads. The default is OMP_NUM_THREADS, else all cores. MXNet takes their number once
        in a process.
    batch_size, batch_tokens
        Texts or windows of a batch at most; tokens of a batch at most, padding included.
    gpu
        Number of a GPU; the default is the CPU.
    runtime, model_prefix
        Of an exported model: 'mxnet', 'onnxruntime' or 'openvino'; which of several in a folder.

    Further keywords are those of `Embedder`. Raises `bert.errors.UserError`.
    """
    options = OpeningOptions(
        path=path, task=task, activation=activation, dtype=dtype, threads=threads,
        batch_size=batch_size, batch_tokens=batch_tokens, gpu=gpu, runtime=runtime,
        model_prefix=model_prefix)
    options = options.replace(threads=claim_threads(options.threads))
    return importlib.import_module('bert.pipelines.opening').open_any_pipeline(options, keywords)
