"""A float network to an INT8 one, by MXNet's quantization with oneDNN's operators."""
import contextlib
import hashlib
import json
import os
import sys

import mxnet as mx
from gluonnlp.calibration import BertLayerCollector
from mxnet.contrib import quantization

from bert.file_names import CALIBRATION_MODES
from bert.file_names import SYMBOL_INPUTS as INPUTS
from bert.quantization.operators import activated_products, readable_names

# What `BertLayerCollector` cuts the outputs of layer normalisation and of GELU to, which have a few
# values far out: the original's numbers.
CLIP_MIN, CLIP_MAX = -50, 10
QUANTIZED = 'quantized_'    # what MXNet puts before an operator's name


class Quantizer:
    """Makes INT8 networks of one float network, calibrated once.

    network: called with symbols it gives one, of token_ids, segment_ids (batch, length) and
    valid_length (batch,); `collect_params` gives its values. They are read now.
    mode: how the range of each activation is found. customize: least and greatest value seen, those
    of layer normalisation and GELU cut (`BertLayerCollector`); naive: not cut; entropy: where the
    distribution changes least (Kullback-Leibler); none: anew for each batch that is computed.
    dtype: of activations; auto is uint8 where nothing negative was seen.
    Weights are int8, with a scale for each output channel, and kept in float32; for "none" with one
    scale, and kept in int8. Raises `ValueError` for an unknown mode.
    """

    def __init__(self, network, mode='customize', dtype='auto'):
        if mode not in CALIBRATION_MODES:
            raise ValueError('mode %r: one of %s expected' % (mode, ', '.join(CALIBRATION_MODES)))
        self._mode, self._dtype = mode, dtype
        graph = network(*[mx.sym.var(name) for name in INPUTS])
        self._float_graph = graph
        # without calibration MXNet 1.9.1 can't run what this pass makes: it ends by signal 11
        self._graph = graph if mode == 'none' else graph.get_backend_symbol('MKLDNN_QUANTIZE')
        self._parameters = {name: value.data().as_in_context(mx.cpu())
                            for name, value in network.collect_params().items()}
        self._thresholds = None
        self.operators = self._find_operators(network)

    def unquantized(self):
        """(symbol, {name: NDArray}) of the float network."""
        return self._float_graph, self._parameters

    def calibrate(self, batches):
        """Watch the float network compute `batches`, each three arrays as `network` takes them;
        returns the thresholds, {output of an operator: (least, greatest)}."""
        if self._mode == 'none':
            return {}
        collector = self._make_collector()
        for batch in batches:
            self._watch([mx.nd.array(array, dtype='float32') for array in batch], collector)
        if self._mode == 'entropy':
            # MXNet's own, called here so that it is done once and not for every network
            self._thresholds = quantization._get_optimal_thresholds(collector.hist_dict,
                                                                    self._dtype)
        else:
            self._thresholds = dict(collector.min_max_dict)
        if self._mode == 'customize':
            self._clip_activations()
        return self._thresholds

    def quantize(self, kept=()):
        """(symbol, {name: NDArray}) of the INT8 network. kept: keys of `operators` that stay
        float."""
        graph, parameters, _ = self._quantize([self.operators[name] for name in kept])
        if self._mode == 'none':
            return graph, parameters
        graph, parameters, _ = quantization.calib_graph(
            graph, self._parameters, {}, _Found(self._thresholds), 'customize', self._dtype,
            logger=None)
        return graph.get_backend_symbol('MKLDNN_QUANTIZE'), parameters

    def digest(self):
        """sha256 over the parameters and the options."""
        total = hashlib.sha256(('%s %s' % (self._mode, self._dtype)).encode('utf-8'))
        for value in self._parameters.values():     # their names count up from network to network
            total.update(value.asnumpy().tobytes())
        return total.hexdigest()

    def _quantize(self, excluded, mode='none'):
        with _without_stderr():     # of MXNet's library, about the tanh of BERT's pooler
            graph, parameters, _, collector = quantization.quantize_graph(
                self._graph, self._parameters, {}, ctx=mx.cpu(), excluded_sym_names=list(excluded),
                excluded_op_names=[], calib_mode=mode, quantized_dtype=self._dtype,
                quantize_mode='smart', logger=None, quantize_granularity=(
                    'tensor-wise' if self._mode == 'none' else 'channel-wise'))
        return graph, parameters, collector

    def _make_collector(self):
        """MXNet's or gluonnlp's, told to look only at what a threshold is needed for."""
        own = self._quantize([], 'entropy' if self._mode == 'entropy' else 'naive')[2]
        if self._mode != 'customize':
            return own
        collector = BertLayerCollector(clip_min=CLIP_MIN, clip_max=CLIP_MAX)
        needed = set(own.include_layer)
        collector.include_layer = needed.__contains__
        return collector

    def _watch(self, batch, collector):
        arguments = dict(self._parameters, **dict(zip(INPUTS, batch)))
        executor = self._graph.bind(mx.cpu(), arguments, grad_req='null')
        executor.set_monitor_callback(collector.collect, monitor_all=True)
        for output in executor.forward(is_train=False):
            output.wait_to_read()

    def _clip_activations(self):
        """What `BertLayerCollector` does to GELU, which it doesn't see: with oneDNN's operators it
        is a part of the product before it."""
        for node in activated_products(self._graph):
            least, greatest = self._thresholds[node + '_output']
            self._thresholds[node + '_output'] = least, min(greatest, CLIP_MAX)

    def _find_operators(self, network):
        """{readable name: node of the graph} of all that can be INT8, in the order of the graph."""
        quantized = {node['name'][len(QUANTIZED):]
                     for node in json.loads(self._quantize([])[0].tojson())['nodes']
                     if node['name'].startswith(QUANTIZED)}
        parameters = {value.name: name for name, value
                      in network._collect_params_with_prefix().items()}
        names = readable_names(self._graph, parameters)
        return {label: name for label, name in names.items() if name in quantized}


@contextlib.contextmanager
def _without_stderr():
    """Context in which nothing reaches standard error, of C++ neither; exceptions do."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class _Found:
    """Thresholds in the form in which MXNet takes them from a collector."""

    def __init__(self, thresholds):
        self.min_max_dict = thresholds
