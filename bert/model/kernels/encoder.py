"""BERT's embeddings and transformer layers, computed by the operator `bert_encoder`."""
import itertools
import logging
import weakref

import numpy as np

from bert.errors import UserError
from bert.model.kernels import gluon_hooks, library
from bert.model.kernels.gluon_hooks import context_arguments, value_of

LOG = logging.getLogger(__name__)

COMPUTE_DTYPES = ('float32', 'bfloat16', 'int8')
SIZE_MULTIPLE = 32      # the widths of layers, heads and embeddings must be multiples of this
MODEL_IDS = itertools.count()     # ids of models; the operator stores packed weights by them
SEED_BITS = 64


def check_dtype(dtype):
    """Raises `UserError` unless `dtype` is one of `COMPUTE_DTYPES`."""
    if dtype not in COMPUTE_DTYPES:
        raise UserError('compute_dtype "%s": expected one of %s'
                        % (dtype, ', '.join(COMPUTE_DTYPES)))


class FusedEncoder:
    """Computes the embeddings and the encoder of a `BERTModel` with one operator.

    It has no parameters: every call reads the current ones of the network.
    """

    def __init__(self, config, dropout, dtype):
        self._config, self._dropout = config, dropout
        self._register()
        self.set_compute_dtype(dtype)

    def _register(self):
        """Get a new model id, and load the library: its hooks on gradients must be in place before
        the parameters have gradients."""
        self._model_id = str(next(MODEL_IDS))
        kernels = library.load() if _supports_config(self._config) else None
        if kernels:
            weakref.finalize(self, kernels.forget, self._model_id).atexit = False

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != '_model_id'}

    def __setstate__(self, state):      # in a copy, or in another process
        vars(self).update(state)
        self._register()

    def set_compute_dtype(self, dtype):
        """Set the type of matrix products. Raises `UserError` unless it is in `COMPUTE_DTYPES`."""
        check_dtype(dtype)
        self._dtype = dtype
        if not self.supports_dtype(dtype):
            LOG.warning('no fused kernels in %s for this CPU and network: computing in float32 '
                        'instead', dtype)

    def supports_dtype(self, dtype):
        """Whether matrix products in `dtype` are possible on this CPU and with these sizes."""
        kernels = library.load() if _supports_config(self._config) else None
        return dtype in (kernels.dtypes if kernels else ('float32',))

    @property
    def product_dtype(self):
        """The type that matrix products multiply on this CPU, one of `COMPUTE_DTYPES`."""
        return self._dtype if self.supports_dtype(self._dtype) else 'float32'

    def can_compute(self, F, network):
        """Whether the operator can compute the network in its current state: on CPUs, in float32,
        with supported sizes."""
        return gluon_hooks.may_fuse(F) and _supports_config(self._config) and bool(library.load()) \
            and _is_float32_on_cpu(network)

    def __call__(self, F, network, token_ids, segment_ids, valid_length, cls_only=False,
                 positions=None):
        """token_ids (batch, length), segment_ids (batch, length), valid_length (batch,) or None
        → (batch, length, units), or as `Encoder.layers` specifies; zero beyond valid_length. All
        inputs may be of any integer type, float32 or float64.

        cls_only: return only the last state of the first token, [CLS], (batch, 1, units), so that
        the last layer computes no others after its keys and values. Ignored when `Encoder.layers`
        is set. positions (batch, num_positions): the same for the tokens at these positions,
        (batch, num_positions, units). A position may occur twice.

        Reading the output raises `MXNetError` for a valid_length that is 0 or above the length, for
        ids without a row in the model, for positions of no token or with `Encoder.layers`, and for
        fractional numbers. Ids beyond valid_length are ignored.
        """
        arguments = context_arguments(F, token_ids)
        mode = F.Dropout(F.ones((SEED_BITS,), **arguments), p=0.5)
        lengths = [] if valid_length is None else [valid_length]
        selected = [] if positions is None else [positions]
        values = [value_of(parameter, arguments) for parameter in encoder_parameters(network)]
        if not self._config.token_type_vocab_size:      # the operator adds a row for the segment
            values.insert(1, F.zeros((1, embedding_size(self._config)), **arguments))
        return F.bert_encoder(token_ids, segment_ids, mode, *lengths, *selected, *values,
                              has_valid_length=len(lengths), has_positions=len(selected),
                              **self._attributes(network, cls_only))

    def _attributes(self, network, cls_only):
        config = self._config
        outputs, width = output_layout(network.encoder.layers, config)
        # The C++ calls 'first_only' cls_only, and 'kept' float_products. The attributes keep these
        # names, because saved symbols have them.
        return {'num_layers': config.num_layers, 'units': config.units,
                'embedding_size': embedding_size(config), 'activation': config.activation,
                'hidden_size': config.hidden_size, 'num_heads': config.num_heads,
                'vocab_size': config.vocab_size, 'token_types': config.token_type_vocab_size or 1,
                'max_length': config.max_length, 'epsilon': repr(config.layer_norm_eps),
                'dropout': repr(self._dropout), 'dtype': self.product_dtype,
                'model': self._model_id,
                'outputs': ' '.join('%d:%d:%r' % output for output in outputs),
                'output_width': width,
                'first_only': int(cls_only and network.encoder.layers is None), 'kept': ''}


def embedding_size(config):
    """The width of the embeddings of a `BertConfig`."""
    return config.embedding_size or config.units


def _supports_config(config):
    """Whether the operator supports the sizes of a `BertConfig`."""
    sizes = (config.units, config.hidden_size, config.units // config.num_heads,
             embedding_size(config))
    # A dense layer follows embeddings with a size of their own, even if it is `units`. The operator
    # has that layer for narrower embeddings alone.
    return config.num_layers > 0 and not any(size % SIZE_MULTIPLE for size in sizes) and (
        config.embedding_size is None or config.embedding_size < config.units)


def _is_float32_on_cpu(network):
    """Whether the network is initialised, in float32, and on CPUs only."""
    parameter = network.encoder.position_weight
    if parameter._data is None and not parameter._deferred_init:
        return False        # not initialised
    return np.dtype(parameter.dtype) == np.float32 and all(
        device.device_type == 'cpu' for device in parameter.list_ctx())


def output_layout(layers, config):
    """([(hidden state, first column, factor)], width) for a value of `Encoder.layers`: which states
    the operator adds to which columns of its output, sorted by state, and the output's columns."""
    if layers is None:
        return [(config.num_layers, 0, 1.0)], config.units
    indices, combination = layers
    states = [range(config.num_layers + 1)[index] for index in indices]
    factor = 1.0 / len(states) if combination == 'mean' else 1.0
    columns = [i * config.units if combination == 'concat' else 0 for i in range(len(states))]
    return (sorted((state, column, factor) for state, column in zip(states, columns)),
            config.units * (len(states) if combination == 'concat' else 1))


def encoder_parameters(network):
    """The parameters of a `BERTModel` in the order of the operator's inputs (encoder.h), without
    embeddings of segments where it has none."""
    encoder = network.encoder
    inputs = [block[0].weight for block in (network.word_embed, network.token_type_embed)
              if block is not None]
    inputs += [encoder.position_weight, encoder.layer_norm.gamma, encoder.layer_norm.beta]
    for cell in encoder.transformer_cells:
        attention, feed_forward = cell.attention_cell, cell.ffn
        for dense in (attention.proj_query, attention.proj_key, attention.proj_value, cell.proj):
            inputs += [dense.weight, dense.bias]
        inputs += [cell.layer_norm.gamma, cell.layer_norm.beta]
        for dense in (feed_forward.ffn_1, feed_forward.ffn_2):
            inputs += [dense.weight, dense.bias]
        inputs += [feed_forward.layer_norm.gamma, feed_forward.layer_norm.beta]
    if encoder.projection is not None:
        inputs += [encoder.projection.weight, encoder.projection.bias]
    return inputs
