"""INT8 symbols by the operator `bert_encoder`, some of its products kept in floating point."""
import hashlib
import json

import mxnet as mx

from bert.errors import UserError
from bert.file_names import FUSED_NODE, FUSED_OPERATOR, SYMBOL_INPUTS
from bert.model.kernels import gluon_hooks, library

# Products of a layer, in the order of `Product` in encoder.h: the place of a weight of theirs
# among the parameters of a layer (`LayerParameter`), and their name beside that weight's layer.
PRODUCTS = ((0, 'query_key_value'), (6, None), (10, None), (12, None))
BEFORE_LAYERS, LAYER_PARAMETERS = 5, 16     # parameters


class FusedQuantizer:
    """Makes INT8 networks of one float network, as `bert.quantization.calibrate.Quantizer` does:
    its weights have a scale for each output channel, and each token of an input has its own, found
    when it is computed. Nothing is calibrated.

    network: called with symbols of token_ids, segment_ids and valid_length it gives one; a
    `BERTModel` is in it. Its values are read when they are needed. Raises `UserError` where there
    are no kernels for it.
    """

    def __init__(self, network):
        found = library.load()
        with gluon_hooks.fusing():
            self._graph = network(*[mx.sym.var(name) for name in SYMBOL_INPUTS])
        if not found or FUSED_NODE not in self._graph.tojson():
            raise UserError('no fused kernels for this CPU and network: see '
                            'docs/kernels.rst, or take another --calib_mode')
        self._parameters = {name: value.data().as_in_context(mx.cpu())
                            for name, value in network.collect_params().items()}
        self.operators = self._find_operators(network)
        self._digest = _digest(found.name, self._parameters)

    def unquantized(self):
        """(symbol, {name: NDArray}) of the float network."""
        return with_attributes(self._graph, dtype='float32'), self._parameters

    def calibrate(self, batches):
        """Nothing has to be."""
        return {}

    def quantize(self, kept=()):
        """(symbol, {name: NDArray}) of the INT8 network. kept: keys of `operators` that stay
        float."""
        numbers = sorted(self.operators[name] for name in kept)
        return with_attributes(self._graph, dtype='int8', kept=' '.join(map(str, numbers)),
                               model=self._digest), self._parameters

    def digest(self):
        """sha256 over the parameters and the kind of kernels: some keep products in bfloat16,
        others in float32."""
        return self._digest

    def _find_operators(self, network):
        """{readable name: number of the product}, in the order in which they are computed."""
        names = {value.name: name for name, value in network._collect_params_with_prefix().items()}
        nodes = json.loads(self._graph.tojson())['nodes']
        node = next(node for node in nodes if node['op'] == FUSED_OPERATOR)
        layers = int(node['attrs']['num_layers'])
        inputs = [nodes[number]['name'] for number, *_ in node['inputs']]
        parameters = inputs[-BEFORE_LAYERS - LAYER_PARAMETERS * layers:][BEFORE_LAYERS:]
        found = {}
        for layer in range(layers):
            for place, last in PRODUCTS:
                name = names[parameters[LAYER_PARAMETERS * layer + place]].rpartition('.')[0]
                found[name.rpartition('.')[0] + '.' + last if last else name] = len(found)
        return found


def _digest(name, parameters):
    total = hashlib.sha256(('fused ' + name).encode('utf-8'))
    for value in parameters.values():
        total.update(value.asnumpy().tobytes())
    return total.hexdigest()


def with_attributes(graph, **attributes):
    """A symbol whose `bert_encoder` has other attributes."""
    content = json.loads(graph.tojson())
    for node in content['nodes']:
        if node['op'] == FUSED_OPERATOR:
            node['attrs'].update(attributes)
    return mx.sym.load_json(json.dumps(content))
