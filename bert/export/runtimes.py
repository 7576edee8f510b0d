"""Runtimes for exported models: MXNet, ONNX Runtime and OpenVINO.

Each runtime is called with token_ids and segment_ids, both (batch, length) int32, and valid_length
(batch,). It returns float32 NumPy: logits (batch, classes), or scores (batch, length, 2), or logits
of tokens (batch, length, classes).
"""
import collections
import contextlib
import ctypes
import importlib

import mxnet as mx
import numpy as np

from bert.errors import UserError
from bert.export import symbol
from bert.file_names import SYMBOL_ENDING, symbol_names
from bert.graph_names import SYMBOL_INPUTS

# The names in transformers' ONNX files
ONNX_INPUTS = ('input_ids', 'attention_mask', 'token_type_ids')
# Lengths are rounded up to a multiple of this. MXNet plans its memory and reorders its weights for
# each new shape, which takes longer than to compute the padding (25 ms against 5 ms for a text of
# MiniLM).
LENGTH_MULTIPLE = 16
POSITIONS_PARAMETER = 'position_weight'     # how the name of the table of positions ends
# Limit for the tokens, including padding, of all shapes in the cache of plans. The newest plan
# always stays.
MAX_PLAN_TOKENS = 16384


class RuntimeNotInstalledError(UserError):
    """The library of a runtime is missing."""


def open_symbol(path, device):
    """The `SymbolRuntime` of <prefix>-symbol.json and the parameters beside it. Raises `UserError`
    for a file that is missing or can't be read."""
    parameters_path = symbol_names(path[:-len(SYMBOL_ENDING)])[1]
    return SymbolRuntime(*symbol.read_symbol(path, parameters_path), device)


class SymbolRuntime:
    """A symbol and its parameters on MXNet, which plans its memory once per batch shape.

    graph: `mx.sym.Symbol` with the inputs `graph_names.SYMBOL_INPUTS`; parameters: {name: NDArray}.
    """
    name = 'mxnet'

    def __init__(self, graph, parameters, device):
        self._graph, self._device = _optimize(graph, device), device
        self.is_quantized = symbol.is_quantized(graph)
        names = self._graph.list_inputs()
        self._parameters = [(i, parameters[name].as_in_context(device))
                            for i, name in enumerate(names) if name not in SYMBOL_INPUTS]
        self._inputs = [names.index(name) for name in SYMBOL_INPUTS]
        # padding must not go beyond the positions of the model
        self._max_length = next((parameters[name].shape[0] for name in names
                                 if name.endswith(POSITIONS_PARAMETER)), None)
        self._plans = collections.OrderedDict()     # {shape: CachedOp}, the newest last

    def __call__(self, token_ids, segment_ids, valid_length):
        length = token_ids.shape[1]
        padded_length = length + -length % LENGTH_MULTIPLE
        if self._max_length:
            padded_length = max(length, min(padded_length, self._max_length))
        padding = ((0, 0), (0, padded_length - length))
        arrays = [np.pad(token_ids, padding), np.pad(segment_ids, padding), valid_length]
        outputs = self._plan(arrays[0].shape)(*self._arguments(arrays)).asnumpy()
        return outputs[:, :length] if outputs.ndim == 3 else outputs

    def _arguments(self, arrays):
        arguments = [None] * (len(self._parameters) + len(self._inputs))
        for i, value in self._parameters:
            arguments[i] = value
        for i, array in zip(self._inputs, arrays):
            arguments[i] = mx.nd.array(array, ctx=self._device, dtype='float32')
        return arguments

    def _plan(self, shape):
        if shape not in self._plans:
            self._plans[shape] = mx.nd.CachedOp(self._graph, [
                ('data_indices', self._inputs), ('param_indices', [i for i, _ in self._parameters]),
                ('static_alloc', True), ('static_shape', True)])
        self._plans.move_to_end(shape)
        while len(self._plans) > 1 and sum(map(np.prod, self._plans)) > MAX_PLAN_TOKENS:
            self._plans.popitem(last=False)
        return self._plans[shape]


def _optimize(graph, device):
    """The graph; on a CPU with oneDNN's operators for prediction, unless it has them already."""
    has_onednn = mx.runtime.Features().is_enabled('MKLDNN')
    if device.device_type != 'cpu' or not has_onednn or symbol.is_quantized(graph):
        return graph
    return graph.optimize_for('MKLDNN')


def _onnx_inputs(names, token_ids, segment_ids, valid_length):
    """{name: array} of the inputs in `names`. Models without segments have no token_type_ids."""
    mask = np.arange(token_ids.shape[1]) < valid_length[:, None]
    arrays = dict(zip(ONNX_INPUTS, (token_ids, mask, segment_ids)))
    return {name: arrays[name].astype('int64') for name in names}


def _join_outputs(outputs):
    """The logits, or the stacked start and end logits."""
    return outputs[0] if len(outputs) == 1 else np.stack(outputs, axis=-1)


class OnnxRuntime:
    """An ONNX file on ONNX Runtime. Raises `RuntimeNotInstalledError` without the library,
    `UserError` for an unreadable file."""
    name = 'onnxruntime'

    def __init__(self, path, threads):
        onnxruntime = _import_library('onnxruntime')
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(path, options,
                                                         providers=['CPUExecutionProvider'])
        except Exception as error:      # its exception classes are private
            raise _unreadable_model(path, error) from None
        self._input_names = [item.name for item in self._session.get_inputs()]

    def __call__(self, token_ids, segment_ids, valid_length):
        inputs = _onnx_inputs(self._input_names, token_ids, segment_ids, valid_length)
        return _join_outputs(self._session.run(None, inputs))


class SignalStack(ctypes.Structure):
    """stack_t of <signal.h>: the memory on which a thread's signal handlers run."""
    _fields_ = [('address', ctypes.c_void_p), ('flags', ctypes.c_int), ('size', ctypes.c_size_t)]


def signal_stack():
    """The `SignalStack` of this thread."""
    stack = SignalStack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    return stack


@contextlib.contextmanager
def keep_signal_stack():
    """Context after which this thread has its signal stack of before. OpenVINO 2026.4's plugin for
    CPUs sets its own, and later frees that memory: then the next signal, such as Ctrl-C, ended the
    process by a segmentation fault."""
    stack = signal_stack()
    try:
        yield
    finally:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None)


class OpenvinoRuntime:
    """An ONNX file on OpenVINO, with the same errors. Always computes in float32; OpenVINO's
    default on a CPU with bfloat16 is bfloat16."""
    name = 'openvino'

    def __init__(self, path, threads):
        openvino = _import_library('openvino')
        try:
            with keep_signal_stack():
                self._model = openvino.Core().compile_model(path, 'CPU', {
                    'INFERENCE_NUM_THREADS': threads, 'INFERENCE_PRECISION_HINT': 'f32',
                    'PERFORMANCE_HINT': 'LATENCY'})
        except Exception as error:
            raise _unreadable_model(path, error) from None
        self._input_names = [item.any_name for item in self._model.inputs]

    def __call__(self, token_ids, segment_ids, valid_length):
        outputs = self._model(_onnx_inputs(self._input_names, token_ids, segment_ids,
                                           valid_length))
        return _join_outputs([outputs[output] for output in self._model.outputs])


ONNX_RUNTIMES = {runtime.name: runtime for runtime in (OnnxRuntime, OpenvinoRuntime)}


def _import_library(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise RuntimeNotInstalledError(
            '--engine %s: the library is not installed: %s' % (name, install_hint(name))) from None


def install_hint(name):
    """What installs a library, for messages."""
    return 'run "pip install %s", or in the repository "./run pip install %s"' % (name, name)


def _unreadable_model(path, error):
    return UserError('%s: not a readable ONNX model: %s'
                     % (path, ' '.join(str(error).split())[:300]))
