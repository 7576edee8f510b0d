"""A fine-tuned BERT as an ONNX graph, built node by node.

Inputs and outputs have the names of transformers' exporter, so programs for its models also run
these: input_ids, attention_mask and, for models that know segments, token_type_ids (batch, length)
int64 → logits (batch, classes), of tokens (batch, length, classes), of words (batch, length,
vocabulary), or start_logits and end_logits (batch, length), or last_hidden_state (batch, length,
units), float32. Batch size and length are dynamic.
"""
import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bert.errors import UserError
from bert.export.runtimes import ONNX_INPUTS as INPUTS

OPSET = 17          # the first with LayerNormalization
IR_VERSION = 8      # of the first ONNX release with opset 17, so that older runtimes load it
MASKED_SCORE = np.float32(-10000.0)     # as in bert/model/bert.py
BATCH_DIM, LENGTH_DIM = 'batch', 'length'       # the dynamic dimensions


def build_onnx_model(arrays, config, producer_version=''):
    """An `onnx.ModelProto`, checked by `onnx.checker`.

    arrays: {Gluon name: float32 array} of a network for classification, regression, question
    answering, token classification or filling masks, or of an encoder alone; the encoder's names
    start with `bert.`. config: its `BertConfig`. Raises `UserError` for another head.
    """
    graph = GraphBuilder(arrays)
    sequence = add_encoder(graph, config)
    if 'span_classifier.weight' in arrays:
        outputs = add_span_head(graph, sequence)
    elif 'tag_classifier.weight' in arrays:
        outputs = add_token_classifier(graph, sequence)
    elif 'discriminator.0.weight' in arrays:
        outputs = add_discriminator(graph, sequence, config)
    elif 'bert.pooler.weight' in arrays and _classifier_layer(arrays):
        outputs = add_classifier(graph, sequence, _classifier_layer(arrays), config)
    elif 'bert.decoder.0.weight' in arrays:
        outputs = add_decoder(graph, sequence, config)
    elif _classifier_layer(arrays) or any('decoder.' in name for name in arrays):
        raise UserError('to ONNX: the head of this network is not supported: expected a classifier '
                        'of texts or tokens, a regression, question answering, a masked language '
                        'model or an encoder')
    else:
        outputs = add_token_vectors(graph, sequence, config)
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, [BATCH_DIM, LENGTH_DIM])
              for name in INPUTS if name in graph.used_inputs]
    proto = helper.make_model(
        helper.make_graph(graph.nodes, 'bert', inputs, outputs, graph.tensors),
        opset_imports=[helper.make_opsetid('', OPSET)], ir_version=IR_VERSION,
        producer_name='bert for Apache MXNet', producer_version=producer_version)
    if proto.ByteSize() < onnx.checker.MAXIMUM_PROTOBUF:    # it can't check larger models
        onnx.checker.check_model(proto, full_check=True)
    return proto


class GraphBuilder:
    """A graph under construction: its nodes and constants. arrays: {Gluon name: parameter}."""

    def __init__(self, arrays):
        self.arrays = arrays
        self.nodes, self.tensors, self._names = [], [], set()

    def parameter(self, name):
        """Add a parameter as a constant; returns its name."""
        return self.constant(name, self.arrays[name])

    def constant(self, name, value):
        """Add a constant unless there is one with this name; returns the name."""
        if name not in self._names:
            self._names.add(name)
            self.tensors.append(numpy_helper.from_array(np.asarray(value, order='C'), name))
        return name

    def add(self, operator, name, *inputs, **attributes):
        """Add a node whose only output has the node's name; returns the name."""
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name,
                                           **attributes))
        return name

    def dense(self, x, layer):
        """Add a fully connected layer. layer: the parameters' name without .weight and .bias."""
        weight = self.constant(layer + '.weight.T', self.arrays[layer + '.weight'].T)
        product = self.add('MatMul', layer + '.product', x, weight)
        return self.add('Add', layer, product, self.parameter(layer + '.bias'))

    def layer_norm(self, x, layer, epsilon):
        return self.add('LayerNormalization', layer, x, self.parameter(layer + '.gamma'),
                        self.parameter(layer + '.beta'), axis=-1, epsilon=epsilon)

    @property
    def used_inputs(self):
        """Names of the inputs of all nodes."""
        return {name for node in self.nodes for name in node.input}

    def integers(self, name, *values):
        """Add an int64 vector, as Reshape, Slice and others need it."""
        return self.constant(name, np.array(values, dtype='int64'))


def add_encoder(graph, config):
    """Add embeddings and layers; returns the sequence (batch, length, units)."""
    x = add_embeddings(graph, config)
    mask = add_mask(graph)
    for i in range(config.num_layers):
        x = add_layer(graph, x, mask, 'bert.encoder.transformer_cells.%d' % i, config)
    return x


def add_embeddings(graph, config):
    x = graph.add('Gather', 'words', graph.parameter('bert.word_embed.0.weight'), INPUTS[0])
    if config.token_type_vocab_size:
        x = graph.add('Add', 'words_and_types', x, add_types(graph, config))
    shape = graph.add('Shape', 'input_shape', INPUTS[0])
    length = graph.add('Slice', 'length', shape, graph.integers('one', 1), graph.integers('two', 2),
                       graph.integers('axis_0', 0))
    positions = graph.add('Slice', 'positions',
                          graph.parameter('bert.encoder.position_weight'),
                          graph.integers('zero', 0), length, graph.integers('axis_0', 0))
    x = graph.add('Add', 'embeddings', x, positions)
    x = graph.layer_norm(x, 'bert.encoder.layer_norm', config.layer_norm_eps)
    return graph.dense(x, 'bert.encoder.projection') if config.embedding_size else x


def add_types(graph, config):
    """The embeddings of segments; of the only one, if there are no others."""
    types = graph.parameter('bert.token_type_embed.0.weight')
    return types if config.token_type_vocab_size == 1 else \
        graph.add('Gather', 'types', types, INPUTS[2])


def add_mask(graph):
    """The mask that is added to attention scores, (batch, 1, 1, length)."""
    mask = graph.add('Cast', 'mask_float', INPUTS[1], to=TensorProto.FLOAT)
    mask = graph.add('Unsqueeze', 'mask_4d', mask, graph.integers('axes_1_2', 1, 2))
    padded = graph.add('Sub', 'padded', graph.constant('1.0', np.float32(1)), mask)
    return graph.add('Mul', 'mask', padded, graph.constant('masked_score', MASKED_SCORE))


def add_layer(graph, x, mask, cell, config):
    """Add one transformer layer. cell: the prefix of its parameters."""
    context = add_attention(graph, x, mask, cell + '.attention_cell', config)
    projection = graph.dense(context, cell + '.proj')
    x = graph.layer_norm(graph.add('Add', cell + '.residual', projection, x),
                         cell + '.layer_norm', config.layer_norm_eps)
    hidden = add_activation(graph, graph.dense(x, cell + '.ffn.ffn_1'), cell + '.ffn.activation',
                            config.activation)
    hidden = graph.dense(hidden, cell + '.ffn.ffn_2')
    return graph.layer_norm(graph.add('Add', cell + '.ffn.residual', hidden, x),
                            cell + '.ffn.layer_norm', config.layer_norm_eps)


def add_attention(graph, x, mask, cell, config):
    """Add self-attention without the output projection: (batch, length, units) → the same."""
    head_size = config.units // config.num_heads
    head_shape = graph.integers('by_head', 0, 0, config.num_heads, head_size)

    def project(name, order):
        projection = graph.dense(x, '%s.proj_%s' % (cell, name))
        projection = graph.add('Reshape', '%s.%s_parted' % (cell, name), projection, head_shape)
        return graph.add('Transpose', '%s.%s' % (cell, name), projection, perm=order)
    query, value = project('query', (0, 2, 1, 3)), project('value', (0, 2, 1, 3))
    key = project('key', (0, 2, 3, 1))
    scores = graph.add('MatMul', cell + '.scores', query, key)
    scores = graph.add('Div', cell + '.scaled', scores,
                       graph.constant('scale', np.float32(math.sqrt(head_size))))
    weights = graph.add('Softmax', cell + '.weights',
                        graph.add('Add', cell + '.masked', scores, mask), axis=-1)
    context = graph.add('MatMul', cell + '.context', weights, value)
    context = graph.add('Transpose', cell + '.context_parted', context, perm=(0, 2, 1, 3))
    return graph.add('Reshape', cell, context, graph.integers('together', 0, 0, config.units))


def add_activation(graph, x, name, activation):
    """Add gelu (exact, in the form that runtimes fuse), gelu_new (tanh form) or relu."""
    def scalar(value):
        return graph.constant(repr(value), np.float32(value))
    if activation == 'relu':
        return graph.add('Relu', name, x)
    if activation == 'gelu':
        inner = graph.add('Div', name + '.scaled', x, scalar(math.sqrt(2)))
        inner = graph.add('Erf', name + '.inner', inner)
    elif activation == 'gelu_new':
        cube = graph.add('Mul', name + '.cube', x, graph.add('Mul', name + '.square', x, x))
        inner = graph.add('Add', name + '.sum', x,
                          graph.add('Mul', name + '.small', cube, scalar(0.044715)))
        inner = graph.add('Tanh', name + '.inner', graph.add(
            'Mul', name + '.scaled', inner, scalar(math.sqrt(2 / math.pi))))
    else:
        raise UserError('activation "%s": expected gelu, gelu_new or relu' % activation)
    gate = graph.add('Add', name + '.gate', inner, scalar(1.0))
    return graph.add('Mul', name, graph.add('Mul', name + '.gated', x, gate), scalar(0.5))


def add_classifier(graph, sequence, layer, config):
    cls_states = graph.add('Gather', 'first', sequence, graph.constant('index_0', np.int64(0)),
                           axis=1)
    pooled, activation = graph.dense(cls_states, 'bert.pooler'), \
        config.family_traits.pooler_activation
    pooled = graph.add('Tanh', 'pooled', pooled) if activation == 'tanh' else \
        add_activation(graph, pooled, 'pooled', activation)
    logits = graph.add('Identity', 'logits', graph.dense(pooled, layer))
    num_classes = len(graph.arrays[layer + '.weight'])
    return [helper.make_tensor_value_info(logits, TensorProto.FLOAT, [BATCH_DIM, num_classes])]


def add_token_classifier(graph, sequence):
    logits = graph.add('Identity', 'logits', graph.dense(sequence, 'tag_classifier'))
    num_classes = len(graph.arrays['tag_classifier.weight'])
    return [helper.make_tensor_value_info(logits, TensorProto.FLOAT,
                                          [BATCH_DIM, LENGTH_DIM, num_classes])]


def add_discriminator(graph, sequence, config):
    """Add ELECTRA's discriminator: logits of the classes "original", always 0, and "replaced"."""
    x = add_activation(graph, graph.dense(sequence, 'discriminator.0'), 'discriminator.1',
                       config.activation)
    x = graph.dense(x, 'discriminator.2')
    zeros = graph.add('Sub', 'zeros', x, x)
    logits = graph.add('Concat', 'logits', zeros, x, axis=2)
    return [helper.make_tensor_value_info(logits, TensorProto.FLOAT, [BATCH_DIM, LENGTH_DIM, 2])]


def add_span_head(graph, sequence):
    scores = graph.dense(sequence, 'span_classifier')
    names = ('start_logits', 'end_logits')
    graph.nodes.append(helper.make_node(
        'Split', [scores, graph.integers('one_each', 1, 1)], [name + '_2d' for name in names],
        name='split', axis=2))
    return [helper.make_tensor_value_info(
        graph.add('Squeeze', name, name + '_2d', graph.integers('axis_2', 2)),
        TensorProto.FLOAT, [BATCH_DIM, LENGTH_DIM]) for name in names]


def add_token_vectors(graph, sequence, config):
    return [helper.make_tensor_value_info(graph.add('Identity', 'last_hidden_state', sequence),
                                          TensorProto.FLOAT,
                                          [BATCH_DIM, LENGTH_DIM, config.units])]


def add_decoder(graph, sequence, config):
    """Add the masked-language-model decoder on every token."""
    layers = 'bert.decoder.%d'
    activation = config.family_traits.decoder_activation or config.activation
    x = add_activation(graph, graph.dense(sequence, layers % 0), layers % 1, activation)
    x = graph.layer_norm(x, layers % 2, config.layer_norm_eps)
    # not a transposed constant: the word embedding is in the file already
    name = 'bert.word_embed.0.weight' if config.tied_decoder else layers % 3 + '.weight'
    weight = graph.add('Transpose', layers % 3 + '.weight.T', graph.parameter(name), perm=(1, 0))
    logits = graph.add('Add', 'logits', graph.add('MatMul', layers % 3, x, weight),
                       graph.parameter(layers % 3 + '.bias'))
    return [helper.make_tensor_value_info(logits, TensorProto.FLOAT,
                                          [BATCH_DIM, LENGTH_DIM, config.vocab_size])]


def _classifier_layer(arrays):
    """Prefix of the classifier's dense layer. Its index depends on the dropout before it."""
    return next((name[:-len('.weight')] for name in arrays
                 if name.startswith('classifier.') and name.endswith('.weight')), None)
