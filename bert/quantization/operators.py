"""Readable names for the operators of a network that can be INT8."""
import json
import os.path

FUSED_PRODUCT_OPERATOR = '_sg_mkldnn_fully_connected'
PRODUCT_OPERATORS = (FUSED_PRODUCT_OPERATOR, 'FullyConnected')
# Products inside attention, which have no parameters: {operator: last part of the readable name}
ATTENTION_OPERATORS = {'_sg_mkldnn_selfatt_qk': 'scores', '_sg_mkldnn_selfatt_valatt': 'context'}
QUERY_KEY_VALUE = 'query_key_value'     # one product for three layers, in graphs for prediction


def readable_names(graph, parameters):
    """{readable name: node name} of the products in `graph`, in its order.

    graph: a symbol, before or after MXNet's pass MKLDNN_QUANTIZE. parameters: {name in the graph:
    name in the network}, for example bert.encoder.transformer_cells.0.ffn.ffn_1.weight. The
    readable name is that of the layer whose weight the product reads, or else the node's name.
    """
    nodes = json.loads(graph.tojson())['nodes']
    names = {}
    for index, node in enumerate(nodes):
        if node['op'] in PRODUCT_OPERATORS:
            name = _layer_name(nodes, index, parameters)
        elif node['op'] in ATTENTION_OPERATORS:
            source = _layer_name(nodes, node['inputs'][0][0], parameters)
            name = source.rpartition('.')[0] + '.' + ATTENTION_OPERATORS[node['op']]
        else:
            continue
        names[node['name'] if name in names or not name.strip('.') else name] = node['name']
    return names


def _layer_name(nodes, index, parameters):
    """Name of a product's layer: its weight's name without the last part; '' without a weight."""
    if len(nodes[index]['inputs']) < 2:
        return ''
    weights = [parameters.get(name, name) for name in _variables(nodes, nodes[index]['inputs'][1])]
    layers = [name.rpartition('.')[0] or name for name in weights]
    if len(layers) < 2:
        return ''.join(layers)
    return os.path.commonprefix(layers).rpartition('.')[0] + '.' + QUERY_KEY_VALUE


def _variables(nodes, entry):
    """Names of the variables that an input is computed from, from left to right."""
    node = nodes[entry[0]]
    if node['op'] == 'null':
        return [node['name']]
    return [name for input_entry in node['inputs'] for name in _variables(nodes, input_entry)]


def activated_products(graph):
    """Names of the nodes that compute a product together with the activation after it."""
    return [node['name'] for node in json.loads(graph.tojson())['nodes']
            if node['op'] == FUSED_PRODUCT_OPERATOR
            and node.get('attrs', {}).get('with_eltwise') in ('True', 'true', '1')]
