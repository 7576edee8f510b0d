"""Prediction on a CPU, faster than by the network itself."""
import contextlib
import math

import mxnet as mx
from mxnet.gluon.parameter import DeferredInitializationError

from bert.model.bert import Encoder, SelfAttention, is_fused

# Tokens of a batch, padding included, from which on the graph is faster than the network: for
# few, oneDNN's dense layers lose more by bringing their weights into its own order at every
# call than attention gains. With 1 here the graph is used throughout, and
# benchmarks/inference/predictor.py shows it: at 256 tokens about 0.93 of the network's speed, at
# 512 about 1.1 (MiniLM).
MANY_TOKENS = 384


# Tokens of a batch from which on it pays to end it where the length of the texts changes, so that
# nothing is padded and no mask is needed. A batch has fixed costs, such as weights that are copied:
# so few tokens don't repay what is saved. Found by trying; benchmarks/squad/speed.py measures
# the whole.
ENOUGH_TOKENS = 1536


# Tokens of a batch, padding included, of which more would only slow: what a layer writes no longer
# stays in the cache until the next one reads it. Found by trying 768 to 4096 with MiniLM on 2
# cores, on sentences and on paragraphs; benchmarks/embedding/speed_and_quality.py
# measures the whole.
MOST_TOKENS = 3072


def enough_tokens(device):
    """`ENOUGH_TOKENS` where it holds, infinite elsewhere: there all batches may be full."""
    return ENOUGH_TOKENS if _has_graph(device) else math.inf


def most_tokens(device):
    """`MOST_TOKENS` where it holds, infinite elsewhere."""
    return MOST_TOKENS if device.device_type == 'cpu' else math.inf


def _has_graph(device):
    return device.device_type == 'cpu' and has_onednn()


class Predictor:
    """Gives what a network gives outside of training, to rounding, by the fastest way.

    network: an initialised HybridBlock with one output, of token_ids (batch, length), segment_ids
    (batch, length) and valid_length (batch,). Large batches on a CPU go through its
    `prediction_graph`, made when it is first needed. The parameters are read at every call:
    training may go on meanwhile.
    """

    def __init__(self, network):
        self._network = network
        self._graphs = {}       # by whether there is padding

    def __call__(self, token_ids, segment_ids, valid_length, is_padded=True):
        """is_padded: False when every text is as long as the batch, which saves the graph its
        mask."""
        arrays = token_ids, segment_ids, valid_length
        device = token_ids.context
        if token_ids.size < MANY_TOKENS or not _has_graph(device) or is_fused(self._network):
            return self._network(*arrays)
        if is_padded not in self._graphs:
            self._graphs[is_padded] = prediction_graph(self._network, is_padded)
        graph, sources = self._graphs[is_padded]
        try:
            values = [arrays[source] if isinstance(source, int) else source.data(device)
                      for source in sources]
        except DeferredInitializationError:     # that network's first call makes the values
            return self._network(*arrays)
        return graph(*values)


def has_onednn():
    """Whether this MXNet was built with oneDNN (MKLDNN, as it was called)."""
    return mx.runtime.Features().is_enabled('MKLDNN')


def prediction_graph(network, is_padded=True):
    """The network's graph with the operators of oneDNN that MXNet has for prediction on a CPU
    only: attention, and dense layers that compute their activation too.

    Returns (`CachedOp`, for each of its inputs the number of the network's, or the `Parameter`).
    """
    inputs = [mx.sym.var('input_%d' % i) for i in range(3 if is_padded else 2)]
    with _interleaved(network):
        graph = network(*inputs + [None] * (3 - len(inputs))).optimize_for('MKLDNN')
    sources = {one.name: one for one in network.collect_params().values()}
    sources.update({symbol.name: i for i, symbol in enumerate(inputs)})
    # Without static_alloc, with which oneDNN's operators miss changes of the weights.
    return mx.nd.CachedOp(graph), [sources[name] for name in graph.list_inputs()]


class ForPrediction:
    """A network that gives its graph with interleaved attention: called with three symbols it gives
    one."""

    def __init__(self, network):
        self._network = network
        self.collect_params = network.collect_params
        self._collect_params_with_prefix = network._collect_params_with_prefix

    def __call__(self, *inputs):
        with _interleaved(self._network):
            return self._network(*inputs)


@contextlib.contextmanager
def _interleaved(network):
    """Context in which the network is traced with interleaved attention."""
    def choose(value):
        def visit(block):
            if isinstance(block, (Encoder, SelfAttention)):
                block.interleaved = value
        return visit
    network.apply(choose(True))
    try:
        yield
    finally:
        network.apply(choose(False))
