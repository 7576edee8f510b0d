"""The operators of a network that INT8 can take over, under names that people know."""
import json
import os.path

FUSED_PRODUCT = '_sg_mkldnn_fully_connected'
PRODUCTS = (FUSED_PRODUCT, 'FullyConnected')
# Products inside attention, which have no parameters, by the name that they get
ATTENTION = {'_sg_mkldnn_selfatt_qk': 'scores', '_sg_mkldnn_selfatt_valatt': 'context'}
SEVERAL = 'query_key_value'     # one product for three layers, as graphs for prediction have it


def readable_names(graph, parameters):
    """{name for people: name of the node} of the products in `graph`, in its order.

    graph: a symbol, after MXNet's pass MKLDNN_QUANTIZE or before. parameters: {name in the graph:
    name in the network}, as in bert.encoder.transformer_cells.0.ffn.ffn_1.weight. A name is that of
    the layer whose weight the product reads; where it can't be found, the node's own.
    """
    nodes = json.loads(graph.tojson())['nodes']
    found = {}
    for number, node in enumerate(nodes):
        if node['op'] in PRODUCTS:
            name = _name_of_product(nodes, number, parameters)
        elif node['op'] in ATTENTION:
            source = _name_of_product(nodes, node['inputs'][0][0], parameters)
            name = source.rpartition('.')[0] + '.' + ATTENTION[node['op']]
        else:
            continue
        found[node['name'] if name in found or not name.strip('.') else name] = node['name']
    return found


def _name_of_product(nodes, number, parameters):
    """The layer's name: of its weight, without the end; '' where it has none."""
    if len(nodes[number]['inputs']) < 2:
        return ''
    weights = [parameters.get(name, name) for name in _variables(nodes, nodes[number]['inputs'][1])]
    layers = [name.rpartition('.')[0] or name for name in weights]
    if len(layers) < 2:
        return ''.join(layers)
    return os.path.commonprefix(layers).rpartition('.')[0] + '.' + SEVERAL


def _variables(nodes, entry):
    """Names of the variables that an input is made of, from left to right."""
    node = nodes[entry[0]]
    if node['op'] == 'null':
        return [node['name']]
    return [name for below in node['inputs'] for name in _variables(nodes, below)]


def activated_products(graph):
    """Names of the nodes that compute a product and the activation after it."""
    return [node['name'] for node in json.loads(graph.tojson())['nodes']
            if node['op'] == FUSED_PRODUCT
            and node.get('attrs', {}).get('with_eltwise') in ('True', 'true', '1')]
