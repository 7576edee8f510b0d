"""Faster prediction on a CPU than by calling the network itself."""
import contextlib
import math

import mxnet as mx
from mxnet.gluon.parameter import DeferredInitializationError

from bert.model.bert import Encoder, SelfAttention, is_fused

# Smallest number of tokens in a batch, padding included, for which the graph is faster than the
# network. With fewer tokens, oneDNN's dense layers lose more time than the attention gains, because
# they reorder their weights at every call. With 1 here every batch uses the graph, and
# benchmarks/inference/predictor.py measures it: at 256 tokens it has about 0.93 of the network's
# speed, at 512 about 1.1 (MiniLM).
MIN_GRAPH_TOKENS = 384

# Number of tokens from which on it pays to end a batch where the length of the texts changes, so
# that it has no padding and needs no mask. Each batch has fixed costs, such as copying weights,
# and with fewer tokens the savings don't cover them. Found by experiment; benchmarks/squad/speed.py
# measures the total effect.
MIN_UNIFORM_TOKENS = 1536

# Largest useful number of tokens in a batch, padding included. Larger batches are slower: a layer's
# output no longer stays in the cache until the next layer reads it. Found by trying 768 to 4096
# with MiniLM on 2 cores, on sentences and on paragraphs; benchmarks/embedding/speed_and_quality.py
# measures the total effect.
MAX_BATCH_TOKENS = 3072


def min_uniform_tokens(device):
    """`MIN_UNIFORM_TOKENS` on a device that has the graph, else infinity: batches may be full."""
    return MIN_UNIFORM_TOKENS if _has_graph(device) else math.inf


def max_batch_tokens(device):
    """`MAX_BATCH_TOKENS` on a CPU, infinity on other devices."""
    return MAX_BATCH_TOKENS if device.device_type == 'cpu' else math.inf


def _has_graph(device):
    return device.device_type == 'cpu' and has_onednn()


class Predictor:
    """Computes the output of a network outside of training, up to rounding, in the fastest way.

    network: an initialised HybridBlock with one output and the inputs token_ids (batch, length),
    segment_ids (batch, length), valid_length (batch,), and perhaps others. Large batches on a CPU
    go through its `prediction_graph`, which is built at its first use. Every call reads the current
    parameters, so training may continue between calls.
    """

    def __init__(self, network):
        self._network = network
        self._graphs = {}       # {is_padded: result of `prediction_graph`}

    def __call__(self, token_ids, segment_ids, valid_length, is_padded=True, *others):
        """is_padded: False when every text is as long as the batch; the graph then needs no
        mask. others: further inputs of the network, as many at every call."""
        arrays = token_ids, segment_ids, valid_length, *others
        device = token_ids.context
        if token_ids.size < MIN_GRAPH_TOKENS or not _has_graph(device) or is_fused(self._network):
            return self._network(*arrays)
        if is_padded not in self._graphs:
            self._graphs[is_padded] = prediction_graph(self._network, is_padded, len(arrays))
        graph, sources = self._graphs[is_padded]
        try:
            values = [arrays[source] if isinstance(source, int) else source.data(device)
                      for source in sources]
        except DeferredInitializationError:     # the network's first call sets the values
            return self._network(*arrays)
        return graph(*values)


def has_onednn():
    """Whether this MXNet was built with oneDNN, which it calls MKLDNN."""
    return mx.runtime.Features().is_enabled('MKLDNN')


def prediction_graph(network, is_padded=True, num_inputs=3):
    """The graph of a network with oneDNN's operators that MXNet has only for prediction on a CPU:
    attention, and dense layers that include their activation.

    Returns (`CachedOp`, sources). sources has an item for each input of the `CachedOp`: the index
    of an input of the network, or a `Parameter`.
    """
    inputs = [mx.sym.var('input_%d' % i) for i in range(num_inputs)]
    arguments = inputs if is_padded else inputs[:2] + [None] + inputs[3:]
    with _interleaved_attention(network):
        graph = network(*arguments).optimize_for('MKLDNN')
    sources = {parameter.name: parameter for parameter in network.collect_params().values()}
    sources.update({symbol.name: i for i, symbol in enumerate(inputs)})
    # No static_alloc: with it, oneDNN's operators miss changes of the weights.
    return mx.nd.CachedOp(graph), [sources[name] for name in graph.list_inputs()]


class InterleavedNetwork:
    """Wrapper that builds a network's symbol with interleaved attention: three input symbols → one
    output symbol."""

    def __init__(self, network):
        self._network = network
        self.collect_params = network.collect_params
        self._collect_params_with_prefix = network._collect_params_with_prefix

    def __call__(self, *inputs):
        with _interleaved_attention(self._network):
            return self._network(*inputs)


@contextlib.contextmanager
def _interleaved_attention(network):
    """Context in which MXNet traces the network with interleaved attention."""
    def setter(value):
        def visit(block):
            if isinstance(block, (Encoder, SelfAttention)):
                block.interleaved = value
        return visit
    network.apply(setter(True))
    try:
        yield
    finally:
        network.apply(setter(False))
