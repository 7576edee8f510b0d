"""What computes an exported model: MXNet, ONNX Runtime or OpenVINO.

Each engine is called with token_ids (batch, length) int32, segment_ids the same and valid_length
(batch,), and returns float32 NumPy: logits (batch, classes), or scores (batch, length, 2).
"""
import collections
import importlib

import mxnet as mx
import numpy as np

from bert.errors import UserError
from bert.export import symbol
from bert.file_names import SYMBOL_ENDING, SYMBOL_INPUTS, symbol_names

# As transformers calls them in the ONNX files that it writes
ONNX_INPUTS = ('input_ids', 'attention_mask', 'token_type_ids')
# Lengths are rounded up to a multiple of this: MXNet plans its memory and orders its weights for
# each new shape, which takes longer than the padding (25 ms and 5 ms for a text of MiniLM).
ROUND_TO = 16
# Tokens, padding included, of the shapes whose plans are kept; the newest plan always is
KEPT_TOKENS = 16384


class NotInstalled(UserError):
    """An engine's library is missing."""


def open_symbol(path, device):
    """The `SymbolEngine` of <prefix>-symbol.json and the parameters beside it. Raises `UserError`
    for what is missing or can't be read."""
    parameters_path = symbol_names(path[:-len(SYMBOL_ENDING)])[1]
    return SymbolEngine(*symbol.read_symbol(path, parameters_path), device)


class SymbolEngine:
    """A symbol and its parameters on MXNet, planned once for each shape of a batch.

    graph: `mx.sym.Symbol` with the inputs `layout.SYMBOL_INPUTS`; parameters: {name: NDArray}.
    """
    name = 'mxnet'

    def __init__(self, graph, parameters, device):
        self._graph, self._device = _optimized(graph, device), device
        self.is_quantized = symbol.is_quantized(graph)
        names = self._graph.list_inputs()
        self._parameters = [(i, parameters[name].as_in_context(device))
                            for i, name in enumerate(names) if name not in SYMBOL_INPUTS]
        self._inputs = [names.index(name) for name in SYMBOL_INPUTS]
        self._plans = collections.OrderedDict()     # {shape: CachedOp}, the newest last

    def __call__(self, token_ids, segment_ids, valid_length):
        size, length = token_ids.shape
        missing = ((0, 0), (0, -length % ROUND_TO))
        arrays = [np.pad(token_ids, missing), np.pad(segment_ids, missing), valid_length]
        outputs = self._plan(arrays[0].shape)(*self._arguments(arrays)).asnumpy()
        return outputs[:, :length] if outputs.ndim == 3 else outputs

    def _arguments(self, arrays):
        found = [None] * (len(self._parameters) + len(self._inputs))
        for i, value in self._parameters:
            found[i] = value
        for i, array in zip(self._inputs, arrays):
            found[i] = mx.nd.array(array, ctx=self._device, dtype='float32')
        return found

    def _plan(self, shape):
        if shape not in self._plans:
            self._plans[shape] = mx.nd.CachedOp(self._graph, [
                ('data_indices', self._inputs), ('param_indices', [i for i, _ in self._parameters]),
                ('static_alloc', True), ('static_shape', True)])
        self._plans.move_to_end(shape)
        while len(self._plans) > 1 and sum(map(np.prod, self._plans)) > KEPT_TOKENS:
            self._plans.popitem(last=False)
        return self._plans[shape]


def _optimized(graph, device):
    """On a CPU with oneDNN's operators for prediction, where the graph doesn't have them yet."""
    has_onednn = mx.runtime.Features().is_enabled('MKLDNN')
    if device.device_type != 'cpu' or not has_onednn or symbol.is_quantized(graph):
        return graph
    return graph.optimize_for('MKLDNN')


def _onnx_inputs(token_ids, segment_ids, valid_length):
    mask = np.arange(token_ids.shape[1]) < valid_length[:, None]
    return {name: array.astype('int64')
            for name, array in zip(ONNX_INPUTS, (token_ids, mask, segment_ids))}


def _joined(outputs):
    """Logits as they are; the scores of start and end side by side."""
    return outputs[0] if len(outputs) == 1 else np.stack(outputs, axis=-1)


class OnnxRuntimeEngine:
    """An ONNX file on ONNX Runtime. Raises `UserError` without it, or for an unreadable file."""
    name = 'onnxruntime'

    def __init__(self, path, threads):
        runtime = _library('onnxruntime')
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = runtime.InferenceSession(path, options,
                                                     providers=['CPUExecutionProvider'])
        except Exception as error:      # its classes of errors are private
            raise _unreadable(path, error) from None

    def __call__(self, token_ids, segment_ids, valid_length):
        return _joined(self._session.run(None, _onnx_inputs(token_ids, segment_ids,
                                                            valid_length)))


class OpenvinoEngine:
    """The same on OpenVINO, in float32: where the CPU has bfloat16, it would take that unasked."""
    name = 'openvino'

    def __init__(self, path, threads):
        openvino = _library('openvino')
        try:
            self._model = openvino.Core().compile_model(path, 'CPU', {
                'INFERENCE_NUM_THREADS': threads, 'INFERENCE_PRECISION_HINT': 'f32',
                'PERFORMANCE_HINT': 'LATENCY'})
        except Exception as error:
            raise _unreadable(path, error) from None

    def __call__(self, token_ids, segment_ids, valid_length):
        found = self._model(_onnx_inputs(token_ids, segment_ids, valid_length))
        return _joined([found[output] for output in self._model.outputs])


ONNX_ENGINES = {engine.name: engine for engine in (OnnxRuntimeEngine, OpenvinoEngine)}


def _library(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise NotInstalled('--engine %s: it is not installed: pip install %s, or "./run pip '
                           'install %s" in the repository' % (name, name, name)) from None


def _unreadable(path, error):
    return UserError('%s: not a readable ONNX model: %s'
                     % (path, ' '.join(str(error).split())[:300]))
