"""INT8 symbols with the operator `bert_encoder`; chosen products stay in floating point."""
import hashlib
import json

import mxnet as mx

from bert.errors import UserError
from bert.graph_names import FUSED_NODE, FUSED_OPERATOR, SYMBOL_INPUTS
from bert.model.kernels import gluon_hooks, library

# Matrix products of a layer, in the order of `Product` in encoder.h: (index of one of its weights
# among the parameters of a layer (`LayerParameter`), last part of its name if not the weight's)
LAYER_PRODUCTS = ((0, 'query_key_value'), (6, None), (10, None), (12, None))
LAYER_PARAMETERS = 16       # number of parameters of a layer
NARROW_PARAMETERS = 2       # of the dense layer after narrow embeddings; they follow the layers'


class FusedQuantizer:
    """Makes INT8 networks from one float network, with the interface of
    `bert.quantization.calibrate.Quantizer`. Weights have one scale per output channel. Inputs have
    one scale per token, computed at run time, so nothing is calibrated.

    network: contains a `BERTModel`; called with symbols of token_ids, segment_ids and valid_length,
    it returns one symbol. Raises `UserError` when there are no kernels for it.
    """

    def __init__(self, network):
        kernels = library.load()
        with gluon_hooks.allow_fusion():
            self._graph = network(*[mx.sym.var(name) for name in SYMBOL_INPUTS])
        if not kernels or FUSED_NODE not in self._graph.tojson():
            raise UserError('no fused kernels for this CPU and network: see '
                            'docs/kernels.rst, or use another --calib_mode')
        self._parameters = {name: value.data().as_in_context(mx.cpu())
                            for name, value in network.collect_params().items()}
        self.operators = self._find_operators(network)
        self._digest = _digest(kernels.name, self._parameters)

    def float_symbol(self):
        """(symbol, {name: NDArray}) of the float network."""
        return with_attributes(self._graph, dtype='float32'), self._parameters

    def calibrate(self, batches):
        """{}: there is nothing to calibrate."""
        return {}

    def quantize(self, float_operators=()):
        """(symbol, {name: NDArray}) of the INT8 network. float_operators: keys of `operators` that
        stay float."""
        indices = sorted(self.operators[name] for name in float_operators)
        return with_attributes(self._graph, dtype='int8', kept=' '.join(map(str, indices)),
                               model=self._digest), self._parameters

    def digest(self):
        """sha256 over the parameters and the build of the kernels: float products are in bfloat16
        with some builds, in float32 with others."""
        return self._digest

    def _find_operators(self, network):
        """{readable name: index of the product}, in the order of computation."""
        names = {value.name: name for name, value in network._collect_params_with_prefix().items()}
        nodes = json.loads(self._graph.tojson())['nodes']
        node = next(node for node in nodes if node['op'] == FUSED_OPERATOR)
        sizes = {name: int(node['attrs'][name]) for name in ('num_layers', 'units',
                                                             'embedding_size')}
        num_layers = sizes['num_layers']
        inputs = [nodes[index]['name'] for index, *_ in node['inputs']]
        if sizes['embedding_size'] != sizes['units']:
            inputs = inputs[:-NARROW_PARAMETERS]
        parameters = inputs[-LAYER_PARAMETERS * num_layers:]
        products = {}
        for layer in range(num_layers):
            for position, last_part in LAYER_PRODUCTS:
                name = names[parameters[LAYER_PARAMETERS * layer + position]].rpartition('.')[0]
                if last_part:
                    name = name.rpartition('.')[0] + '.' + last_part
                products[name] = len(products)
        return products


def _digest(name, parameters):
    """sha256 over the name of a build and the values of the parameters."""
    digest = hashlib.sha256(('fused ' + name).encode('utf-8'))
    for value in parameters.values():
        digest.update(value.asnumpy().tobytes())
    return digest.hexdigest()


def with_attributes(graph, **attributes):
    """A copy of a symbol with these attributes of its `bert_encoder` changed."""
    content = json.loads(graph.tojson())
    for node in content['nodes']:
        if node['op'] == FUSED_OPERATOR:
            node['attrs'].update(attributes)
    return mx.sym.load_json(json.dumps(content))
