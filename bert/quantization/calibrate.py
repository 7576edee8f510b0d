"""INT8 networks from a float network, by MXNet's quantization with oneDNN's operators."""
import contextlib
import hashlib
import json
import os
import sys

import mxnet as mx
from gluonnlp.calibration import BertLayerCollector
from mxnet.contrib import quantization

from bert.file_names import CALIBRATION_MODES
from bert.graph_names import SYMBOL_INPUTS as INPUTS
from bert.quantization.operators import activated_products, readable_names

# `BertLayerCollector` clips the outputs of layer normalisation and of GELU to this range, because
# they have a few outliers. The original's numbers.
CLIP_MIN, CLIP_MAX = -50, 10
QUANTIZED_PREFIX = 'quantized_'    # MXNet's prefix of an INT8 operator's name


class Quantizer:
    """Makes INT8 networks from one float network, which is calibrated once.

    network: called with symbols of token_ids, segment_ids (batch, length) and valid_length
    (batch,), it returns one symbol; `collect_params` has its values, which are read now.
    mode: how to choose the range of each activation. customize: its minimum and maximum, clipped
    for layer normalisation and GELU (`BertLayerCollector`); naive: minimum and maximum; entropy:
    the range that changes the distribution least (Kullback-Leibler); none: no calibration, the
    range is computed for each batch.
    dtype: of activations; auto means uint8 if no value was negative.
    Weights are int8 with one scale per output channel, and are stored in float32; in mode "none"
    they have a single scale and are stored in int8. Raises `ValueError` for an unknown mode.
    """

    def __init__(self, network, mode='customize', dtype='auto'):
        if mode not in CALIBRATION_MODES:
            raise ValueError('mode %r: expected one of %s' % (mode, ', '.join(CALIBRATION_MODES)))
        self._mode, self._dtype = mode, dtype
        graph = network(*[mx.sym.var(name) for name in INPUTS])
        self._float_graph = graph
        # without calibration MXNet 1.9.1 crashes (signal 11) when it runs the result of this pass
        self._graph = graph if mode == 'none' else graph.get_backend_symbol('MKLDNN_QUANTIZE')
        self._parameters = {name: value.data().as_in_context(mx.cpu())
                            for name, value in network.collect_params().items()}
        self._thresholds = None
        self.operators = self._find_operators(network)

    def float_symbol(self):
        """(symbol, {name: NDArray}) of the float network."""
        return self._float_graph, self._parameters

    def calibrate(self, batches):
        """Run the float network on `batches`, each the three input arrays of `network`; returns the
        thresholds, {output of an operator: (minimum, maximum)}."""
        if self._mode == 'none':
            return {}
        collector = self._make_collector()
        for batch in batches:
            self._collect([mx.nd.array(array, dtype='float32') for array in batch], collector)
        if self._mode == 'entropy':
            # MXNet would compute these for every network; here they are computed once
            self._thresholds = quantization._get_optimal_thresholds(collector.hist_dict,
                                                                    self._dtype)
        else:
            self._thresholds = dict(collector.min_max_dict)
        if self._mode == 'customize':
            self._clip_activations()
        return self._thresholds

    def quantize(self, float_operators=()):
        """(symbol, {name: NDArray}) of the INT8 network. float_operators: keys of `operators` that
        stay float."""
        graph, parameters, _ = self._quantize([self.operators[name] for name in float_operators])
        if self._mode == 'none':
            return graph, parameters
        graph, parameters, _ = quantization.calib_graph(
            graph, self._parameters, {}, _ThresholdCollector(self._thresholds), 'customize',
            self._dtype, logger=None)
        return graph.get_backend_symbol('MKLDNN_QUANTIZE'), parameters

    def digest(self):
        """sha256 over the parameters and the options."""
        state = hashlib.sha256(('%s %s' % (self._mode, self._dtype)).encode('utf-8'))
        for value in self._parameters.values():     # not their names, which Gluon counts up
            state.update(value.asnumpy().tobytes())
        return state.hexdigest()

    def _quantize(self, excluded, mode='none'):
        with _silence_stderr():     # MXNet's library warns about the tanh of BERT's pooler
            graph, parameters, _, collector = quantization.quantize_graph(
                self._graph, self._parameters, {}, ctx=mx.cpu(), excluded_sym_names=list(excluded),
                excluded_op_names=[], calib_mode=mode, quantized_dtype=self._dtype,
                quantize_mode='smart', logger=None, quantize_granularity=(
                    'tensor-wise' if self._mode == 'none' else 'channel-wise'))
        return graph, parameters, collector

    def _make_collector(self):
        """MXNet's or gluonnlp's collector, limited to the outputs that need a threshold."""
        collector = self._quantize([], 'entropy' if self._mode == 'entropy' else 'naive')[2]
        if self._mode != 'customize':
            return collector
        needed = set(collector.include_layer)
        collector = BertLayerCollector(clip_min=CLIP_MIN, clip_max=CLIP_MAX)
        collector.include_layer = needed.__contains__
        return collector

    def _collect(self, batch, collector):
        arguments = dict(self._parameters, **dict(zip(INPUTS, batch)))
        executor = self._graph.bind(mx.cpu(), arguments, grad_req='null')
        executor.set_monitor_callback(collector.collect, monitor_all=True)
        for output in executor.forward(is_train=False):
            output.wait_to_read()

    def _clip_activations(self):
        """Clip the outputs of GELU as `BertLayerCollector` would. It doesn't see them, because with
        oneDNN's operators GELU is a part of the product before it."""
        for node in activated_products(self._graph):
            low, high = self._thresholds[node + '_output']
            self._thresholds[node + '_output'] = low, min(high, CLIP_MAX)

    def _find_operators(self, network):
        """{readable name: node name} of the operators that can be INT8, in graph order."""
        quantized = {node['name'][len(QUANTIZED_PREFIX):]
                     for node in json.loads(self._quantize([])[0].tojson())['nodes']
                     if node['name'].startswith(QUANTIZED_PREFIX)}
        parameters = {value.name: name for name, value
                      in network._collect_params_with_prefix().items()}
        names = readable_names(self._graph, parameters)
        return {name: node for name, node in names.items() if node in quantized}


@contextlib.contextmanager
def _silence_stderr():
    """Context without output on standard error, including that of C++; exceptions pass."""
    sys.stderr.flush()
    stderr, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)


class _ThresholdCollector:
    """Finished thresholds behind the interface of MXNet's collectors."""

    def __init__(self, thresholds):
        self.min_max_dict = thresholds
