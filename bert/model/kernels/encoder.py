"""BERT's embeddings and transformer layers by the operator `bert_encoder`."""
import itertools
import logging
import weakref

import numpy as np

from bert.errors import UserError
from bert.model.kernels import gluon_hooks, library
from bert.model.kernels.gluon_hooks import device_of, value_of

LOG = logging.getLogger(__name__)

DTYPES = ('float32', 'bfloat16', 'int8')
WIDTH = 32      # units, hidden_size and the size of a head are multiples of it
NUMBERS = itertools.count()     # of models, which the operator knows their packed weights by
SEED_BITS = 64


def check_dtype(dtype):
    """Raises `UserError` for a type that nothing here computes with."""
    if dtype not in DTYPES:
        raise UserError('compute_dtype "%s": %s expected' % (dtype, ', '.join(DTYPES)))


class FusedEncoder:
    """Computes what the embeddings and the encoder of a `BERTModel` compute, by one operator.

    It holds no parameters: it reads those of the network, of whatever values they are by then.
    """

    def __init__(self, config, dropout, dtype):
        self._config, self._dropout = config, dropout
        self._register()
        self.compute_in(dtype)

    def _register(self):
        """Take a number of its own. That loads the library, which has to know of gradients before
        the parameters get them."""
        self._model = str(next(NUMBERS))
        found = library.load() if _has_sizes(self._config) else None
        if found:
            weakref.finalize(self, found.forget, self._model).atexit = False

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != '_model'}

    def __setstate__(self, state):      # of a copy, or of another process
        vars(self).update(state)
        self._register()

    def compute_in(self, dtype):
        """Have products multiply one of `DTYPES` from now on; `UserError` for others."""
        check_dtype(dtype)
        self._dtype = dtype
        if not self.has(dtype):
            LOG.warning('no fused kernels with %s for this CPU and network: float32 computes',
                        dtype)

    def has(self, dtype):
        """Whether its products can multiply a type here."""
        found = library.load() if _has_sizes(self._config) else None
        return dtype in (found.dtypes if found else ('float32',))

    @property
    def product_dtype(self):
        """What its products multiply here, of `DTYPES`."""
        return self._dtype if self.has(self._dtype) else 'float32'

    def serves(self, F, network):
        """Whether it can compute the network as it is now: on CPUs, in float32, of sizes that the
        operator knows."""
        return gluon_hooks.may_fuse(F) and _has_sizes(self._config) and bool(library.load()) \
            and _is_float_on_cpu(network)

    def __call__(self, F, network, token_ids, segment_ids, valid_length, first_only=False):
        """token_ids (batch, length), segment_ids (batch, length), valid_length (batch,) or None
        → (batch, length, units), or what `Encoder.layers` asks for; zero behind valid_length.

        first_only: (batch, 1, units), the last state of first tokens alone, so that the last layer
        computes no others behind its attention. It has no meaning beside `Encoder.layers`.

        Raises `MXNetError`, when the output is read, for a valid_length that is 0 or above the
        length, for ids that the model has no row for, and for numbers that are not whole; behind
        valid_length anything may stand. All three: any type of whole numbers, float32 or float64.
        """
        device = device_of(F, token_ids)
        mode = F.Dropout(F.ones((SEED_BITS,), **device), p=0.5)
        lengths = [] if valid_length is None else [valid_length]
        values = [value_of(parameter, device) for parameter in parameters(network)]
        return F.bert_encoder(token_ids, segment_ids, mode, *lengths, *values,
                              has_valid_length=len(lengths),
                              **self._attributes(network, first_only))

    def _attributes(self, network, first_only):
        config = self._config
        outputs, width = outputs_of(network.encoder.layers, config)
        return {'num_layers': config.num_layers, 'units': config.units,
                'hidden_size': config.hidden_size, 'num_heads': config.num_heads,
                'vocab_size': config.vocab_size, 'token_types': config.token_type_vocab_size,
                'max_length': config.max_length, 'epsilon': repr(config.layer_norm_eps),
                'dropout': repr(self._dropout), 'dtype': self.product_dtype, 'model': self._model,
                'outputs': ' '.join('%d:%d:%r' % one for one in outputs), 'output_width': width,
                'first_only': int(first_only and network.encoder.layers is None), 'kept': ''}


def _has_sizes(config):
    return config.activation == 'gelu' and config.num_layers > 0 and not (
        config.units % WIDTH or config.hidden_size % WIDTH
        or config.units // config.num_heads % WIDTH)


def _is_float_on_cpu(network):
    parameter = network.encoder.position_weight
    if parameter._data is None and not parameter._deferred_init:
        return False        # not initialised
    return np.dtype(parameter.dtype) == np.float32 and all(
        device.device_type == 'cpu' for device in parameter.list_ctx())


def outputs_of(layers, config):
    """([(hidden state, first column, factor)] in the order of the states, columns) that
    `Encoder.layers` means."""
    if layers is None:
        return [(config.num_layers, 0, 1.0)], config.units
    numbers, how = layers
    states = [range(config.num_layers + 1)[number] for number in numbers]
    factor = 1.0 / len(states) if how == 'mean' else 1.0
    columns = [i * config.units if how == 'concat' else 0 for i in range(len(states))]
    return (sorted((state, column, factor) for state, column in zip(states, columns)),
            config.units * (len(states) if how == 'concat' else 1))


def parameters(network):
    """The parameters of a `BERTModel` in the order of the operator's inputs (encoder.h)."""
    encoder = network.encoder
    found = [network.word_embed[0].weight, network.token_type_embed[0].weight,
             encoder.position_weight, encoder.layer_norm.gamma, encoder.layer_norm.beta]
    for cell in encoder.transformer_cells:
        attention, feed_forward = cell.attention_cell, cell.ffn
        for dense in (attention.proj_query, attention.proj_key, attention.proj_value, cell.proj):
            found += [dense.weight, dense.bias]
        found += [cell.layer_norm.gamma, cell.layer_norm.beta]
        for dense in (feed_forward.ffn_1, feed_forward.ffn_2):
            found += [dense.weight, dense.bias]
        found += [feed_forward.layer_norm.gamma, feed_forward.layer_norm.beta]
    return found
