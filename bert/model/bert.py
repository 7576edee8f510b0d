"""The BERT encoder as a Gluon HybridBlock (Devlin et al. 2018, arXiv:1810.04805).

The parameters have the names of gluonnlp 0.10, so its published files and ours are
interchangeable. `collect_params` and `save_parameters` see no other parameters.
"""
import math

import mxnet as mx
from mxnet.gluon import HybridBlock, nn

from bert.model.activations import Activation, apply_activation
from bert.model.config import BertConfig
from bert.model.kernels.dense import fused_dense
from bert.model.kernels.encoder import FusedEncoder

__all__ = ['BERTModel', 'BertConfig']

# The attention adds this number to the score of a padded position; question answering uses it as
# the score of a padded position. google-research/bert has the same number in its attention.
# It is far below any real score and still finite in float16.
MASKED_SCORE = -10000.0


class SelfAttention(HybridBlock):
    """Multi-head self-attention without its output projection.

    It has two equivalent implementations. `interleaved` selects MXNet's operators of that name.
    They are faster in a graph for prediction (`bert.model.inference`) and slower where gradients
    are taken. Their first axis is the length, so `Encoder` has the same attribute.
    """
    interleaved = False

    def __init__(self, config, dropout, **kwargs):
        super().__init__(**kwargs)
        self._num_heads = config.num_heads
        self._units = config.units
        self._scale = 1.0 / math.sqrt(config.units // config.num_heads)
        with self.name_scope():
            dense = dict(in_units=config.units, flatten=False)
            self.proj_query = nn.Dense(config.units, prefix='query_', **dense)
            self.proj_key = nn.Dense(config.units, prefix='key_', **dense)
            self.proj_value = nn.Dense(config.units, prefix='value_', **dense)
            self.dropout_layer = nn.Dropout(dropout)

    def hybrid_forward(self, F, x, mask):
        """x (batch, length, units), mask (batch × heads, length, length) to add to the scores, or
        None → (batch, length, units). Interleaved: (length, batch, units) → the same shape."""
        if self.interleaved:
            return self._attend_interleaved(F, mask, self._project_interleaved(F, x))
        return self._attend(F, mask, self.proj_query(x), self.proj_key(x), self.proj_value(x))

    def _attend(self, F, mask, query, key, value):
        query, key, value = (self._heads_first(F, x) for x in (query * self._scale, key, value))
        scores = F.batch_dot(query, key, transpose_b=True)
        context = F.batch_dot(self._attention_weights(F, scores, mask), value)
        context = F.reshape(context, shape=(-4, -1, self._num_heads, 0, 0))
        return F.reshape(F.transpose(context, axes=(0, 2, 1, 3)), shape=(0, 0, -3))

    def _project_interleaved(self, F, x):
        """Query, key and value of each head side by side, one head after the other, from one matrix
        product: one large product is faster, and nothing is rearranged. x: a symbol."""
        layers = self.proj_query, self.proj_key, self.proj_value
        weights = [F.reshape(layer.weight.var(), shape=(self._num_heads, -1, self._units))
                   for layer in layers]
        biases = [F.reshape(layer.bias.var(), shape=(self._num_heads, -1)) for layer in layers]
        return F.FullyConnected(
            x, F.reshape(F.concat(*weights, dim=1), shape=(-3, 0)),
            F.reshape(F.concat(*biases, dim=1), shape=(-1,)),
            num_hidden=3 * self._units, flatten=False)

    def _attend_interleaved(self, F, mask, projections):
        """Attention over the output of `_project_interleaved`; the operators scale the scores."""
        scores = F.contrib.interleaved_matmul_selfatt_qk(projections, heads=self._num_heads)
        return F.contrib.interleaved_matmul_selfatt_valatt(
            projections, self._attention_weights(F, scores, mask), heads=self._num_heads)

    def _attention_weights(self, F, scores, mask):
        return self.dropout_layer(F.softmax(scores if mask is None else scores + mask, axis=-1))

    def _split_heads(self, F, x):
        """(…, …, units) → (…, …, heads, units / heads)"""
        return F.reshape(x, shape=(0, 0, -4, self._num_heads, -1))

    def _heads_first(self, F, x):
        """(batch, length, units) → (batch × heads, length, units / heads)"""
        return F.reshape(F.transpose(self._split_heads(F, x), axes=(0, 2, 1, 3)), shape=(-3, 0, 0))


class FeedForward(HybridBlock):
    """Two dense layers with the activation between them, the residual sum, layer normalisation."""

    def __init__(self, config, dropout, **kwargs):
        super().__init__(**kwargs)
        self._activation = config.activation
        with self.name_scope():
            self.ffn_1 = nn.Dense(config.hidden_size, in_units=config.units,
                                  flatten=False, prefix='ffn_1_')
            self.ffn_2 = nn.Dense(config.units, in_units=config.hidden_size,
                                  flatten=False, prefix='ffn_2_')
            self.dropout_layer = nn.Dropout(dropout)
            self.layer_norm = nn.LayerNorm(epsilon=config.layer_norm_eps,
                                           in_channels=config.units)

    def hybrid_forward(self, F, x):
        hidden = apply_activation(F, self.ffn_1(x), self._activation)
        return self.layer_norm(self.dropout_layer(self.ffn_2(hidden)) + x)


class EncoderCell(HybridBlock):
    """One transformer layer."""

    def __init__(self, config, dropout, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.attention_cell = SelfAttention(config, dropout, prefix='attention_')
            self.proj = nn.Dense(config.units, in_units=config.units, flatten=False,
                                 prefix='proj_')
            self.dropout_layer = nn.Dropout(dropout)
            self.layer_norm = nn.LayerNorm(epsilon=config.layer_norm_eps,
                                           in_channels=config.units)
            self.ffn = FeedForward(config, dropout, prefix='ffn_')

    def hybrid_forward(self, F, x, mask):
        attention_output = self.proj(self.attention_cell(x, mask))
        return self.ffn(self.layer_norm(self.dropout_layer(attention_output) + x))


class Encoder(HybridBlock):
    """Position embeddings, layer normalisation and the stack of layers: (batch, length, units)
    → the same shape. `interleaved`: the length is the first axis inside, for `SelfAttention`.

    layers: None to return the last hidden states, or (indices, combination) to combine several
    by 'sum', 'mean' or 'concat' of their units. Index 0 is the input of the first layer, 1 its
    output, -1 the output of the last layer. With `BertConfig.embedding_size` the input has that
    width, and a dense layer follows the normalisation.
    """
    interleaved, layers = False, None

    def __init__(self, config, dropout, **kwargs):
        super().__init__(**kwargs)
        self._max_length = config.max_length
        self._width = config.embedding_size or config.units
        with self.name_scope():
            self.position_weight = self.params.get(
                'position_weight', shape=(config.max_length, self._width),
                init=mx.init.Normal(0.02))
            self.layer_norm = nn.LayerNorm(epsilon=config.layer_norm_eps,
                                           in_channels=self._width)
            self.dropout_layer = nn.Dropout(dropout)
            self.projection = nn.Dense(
                config.units, in_units=self._width, flatten=False, prefix='projection_',
                weight_initializer=mx.init.Normal(0.02)) if config.embedding_size else None
            self.transformer_cells = nn.HybridSequential()
            for i in range(config.num_layers):
                self.transformer_cells.add(
                    EncoderCell(config, dropout, prefix='transformer%d_' % i))

    def hybrid_forward(self, F, x, mask, position_weight):
        x = self.embed(F, x, position_weight)
        if self.interleaved:
            x = F.swapaxes(x, 0, 1)
        states = [x]
        for cell in self.transformer_cells:
            states.append(cell(states[-1], mask))
        x = states[-1] if self.layers is None else self._combine(F, states)
        return F.swapaxes(x, 0, 1) if self.interleaved else x

    def embed(self, F, x, position_weight):
        """The input of the first layer: (batch, length, units). x: embeddings of words and
        segments."""
        positions = F.Embedding(F.contrib.arange_like(x, axis=1), position_weight,
                                input_dim=self._max_length, output_dim=self._width)
        x = F.broadcast_add(x, F.expand_dims(positions, axis=0))
        x = self.dropout_layer(self.layer_norm(x))
        return x if self.projection is None else self.projection(x)

    def _combine(self, F, states):
        indices, combination = self.layers
        states = [states[i] for i in indices]
        if combination == 'concat':
            return F.concat(*states, dim=2)
        return F.add_n(*states) / (len(states) if combination == 'mean' else 1)


class BERTModel(HybridBlock):
    """BERT with its optional parts: pooler, masked-language-model decoder (tied to the word
    embeddings unless the configuration says otherwise) and next-sentence classifier.

    Calling it with
        token_ids (batch, length), segment_ids (batch, length), both int32 or float32,
        valid_length (batch,) float32, or None when nothing is padded,
        masked_positions (batch, num_positions) or None
    returns, in this order, or as a single array when there is only one,
        sequence (batch, length, units), pooled (batch, units),
        next-sentence logits (batch, 2), token logits (batch, num_positions, vocab_size).

    `BertConfig.family` makes it one of BERT's relatives. Where the configuration has fewer than two
    segments, segment_ids are ignored.

    On a CPU that has kernels for it (bert.model.kernels), one fused operator computes the encoder.
    It skips padding: the sequence is zero beyond valid_length. compute_dtype is the type that its
    matrix products multiply: 'float32', 'bfloat16' or, for prediction only, 'int8' (weights with
    one scale per output, inputs with one scale per token). With 'bfloat16' the decoder's product
    over the vocabulary uses it too. Parameters, gradients and outputs are always float32.
    On other devices, and in symbols, MXNet's own operators compute in the parameters' type.
    """

    def __init__(self, config, dropout=0.1, use_pooler=True, use_decoder=False,
                 use_classifier=False, compute_dtype='float32', prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)
        self.config = config
        self.random_parts = []      # descriptions of the parts that the loaded weights lacked
        self._fused = FusedEncoder(config, dropout, compute_dtype)
        self._use_pooler = use_pooler
        self._use_decoder = use_decoder
        self._use_classifier = use_classifier and use_pooler
        init = mx.init.Normal(0.02)     # the initialiser of the BERT paper, A.2
        dense = dict(in_units=config.units, flatten=False, weight_initializer=init)
        with self.name_scope():
            self.encoder = Encoder(config, dropout, prefix='encoder_')
            self.word_embed = self._make_embedding(config.vocab_size, 'word_embed_', init)
            self.token_type_embed = self._make_embedding(
                config.token_type_vocab_size, 'token_type_embed_', init) \
                if config.token_type_vocab_size else None
            if use_pooler:
                self._make_pooler(config.family_traits, dropout, dense)
            if self._use_classifier:
                self.classifier = nn.Dense(2, prefix='cls_', **dense)
            if use_decoder:
                config.require_decoder('use_decoder')
                self.decoder = self._make_decoder(dense)

    def _make_embedding(self, size, prefix, init):
        block = nn.HybridSequential(prefix=prefix)
        with block.name_scope():
            block.add(nn.Embedding(size, self.config.embedding_size or self.config.units,
                                   weight_initializer=init))
        return block

    def _make_pooler(self, family, dropout, dense):
        """The layer on the first token, with what the family has before and after it."""
        is_tanh = family.pooler_activation == 'tanh'
        self.pooler_dropout = nn.Dropout(dropout) if family.drops_first else None
        self.pooler = nn.Dense(self.config.units, activation='tanh' if is_tanh else None,
                               prefix='pooler_', **dense)
        self.pooler_activation = None if is_tanh else Activation(family.pooler_activation)

    def _make_decoder(self, dense):
        block = nn.HybridSequential(prefix='decoder_')
        with block.name_scope():
            block.add(nn.Dense(self.config.units, **dense))
            block.add(Activation(self.config.family_traits.decoder_activation
                                 or self.config.activation))
            block.add(nn.LayerNorm(epsilon=self.config.layer_norm_eps,
                                   in_channels=self.config.units))
            tied = self.word_embed[0].params if self.config.tied_decoder else None
            block.add(nn.Dense(self.config.vocab_size, params=tied, **dense))
        return block

    def hybrid_forward(self, F, token_ids, segment_ids, valid_length=None,
                       masked_positions=None):
        sequence = self._encode(F, token_ids, segment_ids, valid_length)
        outputs = [sequence]
        if self._use_pooler:
            outputs.append(self._pool(F, sequence))
        if self._use_classifier:
            outputs.append(self.classifier(outputs[1]))
        if self._use_decoder and masked_positions is not None:
            outputs.append(self._decode(F, gather_positions(F, sequence, masked_positions)))
        return tuple(outputs) if len(outputs) > 1 else outputs[0]

    def pooled(self, F, token_ids, segment_ids, valid_length=None):
        """Only the pooled output (batch, units) of a call, for the `hybrid_forward` of a block that
        needs nothing else: the fused operator then computes the last layer only for the first
        token of each text."""
        with self.name_scope():
            return self._pool(F, self._encode(F, token_ids, segment_ids, valid_length,
                                              cls_only=True))

    def token_logits(self, F, token_ids, segment_ids, valid_length=None, masked_positions=None):
        """Only the token logits of a call, for the `hybrid_forward` of a block that needs nothing
        else: as in `pretraining_logits`, the last layer computes only the masked tokens. Those of
        all tokens (batch, length, vocab_size) if `masked_positions` is None."""
        with self.name_scope():
            return self._decode(F, self._encode(F, token_ids, segment_ids, valid_length,
                                                positions=masked_positions))

    def pretraining_logits(self, F, token_ids, segment_ids, valid_length, masked_positions):
        """Only the next-sentence logits and the token logits of a call, for the `hybrid_forward` of
        a block that needs nothing else: the fused operator then computes the last layer only for
        the masked tokens and the first token of each text."""
        with self.name_scope():
            first = F.zeros_like(F.slice_axis(masked_positions, axis=1, begin=0, end=1))
            states = self._encode(F, token_ids, segment_ids, valid_length,
                                  positions=F.concat(first, masked_positions, dim=1))
            return (self.classifier(self._pool(F, states)),
                    self._decode(F, F.slice_axis(states, axis=1, begin=1, end=None)))

    def _pool(self, F, sequence):
        first = F.reshape(F.slice_axis(sequence, axis=1, begin=0, end=1), shape=(0, -1))
        if self.pooler_dropout is not None:
            first = self.pooler_dropout(first)
        pooled = self.pooler(first)
        return pooled if self.pooler_activation is None else self.pooler_activation(pooled)

    def _decode(self, F, x):
        """Logits of all words. In float32 MXNet's own product is as fast as the fused one."""
        dtype = self._fused.product_dtype
        if dtype != 'bfloat16' or not self._fused.can_compute(F, self):
            return self.decoder(x)
        *blocks, output_layer = self.decoder
        for block in blocks:
            x = block(x)
        return fused_dense(F, output_layer, x, dtype)

    def is_fused(self, dtype='float32'):
        """Whether a call with arrays would now use the fused operator for the encoder, and whether
        the operator has matrix products in `dtype`."""
        return self._fused.can_compute(mx.nd, self) and self._fused.supports_dtype(dtype)

    def _encode(self, F, token_ids, segment_ids, valid_length, cls_only=False, positions=None):
        """The hidden states (batch, length, units), or with positions (batch, num_positions) those
        at the positions. cls_only: those of the first tokens are enough."""
        if self.config.token_type_vocab_size < 2:       # such a network knows one segment
            segment_ids = F.zeros_like(segment_ids)
        if not self._fused.can_compute(F, self):
            x = self.embed(F, token_ids, segment_ids)
            sequence = self.encoder(x, attention_mask(F, x, valid_length, self.config.num_heads))
        elif self.encoder.layers is None:
            return self._fused(F, self, token_ids, segment_ids, valid_length, cls_only, positions)
        else:       # hidden states that the operator has for all tokens alone
            sequence = self._fused(F, self, token_ids, segment_ids, valid_length)
        return sequence if positions is None else gather_positions(F, sequence, positions)

    def embed(self, F, token_ids, segment_ids):
        """The embeddings of words and segments, (batch, length, their width)."""
        if self.token_type_embed is None:   # zeros are added so that all symbols have one input
            return self.word_embed(token_ids + segment_ids)
        return self.word_embed(token_ids) + self.token_type_embed(segment_ids)

    def set_compute_dtype(self, dtype):
        """Set `compute_dtype`. Existing graphs keep the old one: where a block is hybridized, call
        the function `set_compute_dtype` below on the outermost such block."""
        self._fused.set_compute_dtype(dtype)


def set_compute_dtype(network, dtype):
    """Set the `compute_dtype` of every `BERTModel` in a network, and clear the network's graphs.
    network: the outermost hybridized block."""
    def visit(block):
        if isinstance(block, BERTModel):
            block.set_compute_dtype(dtype)
        if isinstance(block, HybridBlock):
            block._clear_cached_op()
    network.apply(visit)


def is_fused(network, dtype='float32'):
    """Whether `BERTModel.is_fused` is true for any `BERTModel` in a network."""
    answers = []
    network.apply(lambda block: answers.append(isinstance(block, BERTModel)
                                               and block.is_fused(dtype)))
    return any(answers)


def attention_mask(F, x, valid_length, num_heads):
    """x (batch, length, units), valid_length (batch,) or None
    → (batch × heads, length, length): 0 at real tokens, MASKED_SCORE at padding; None for None.

    The mask has the full shape of the scores, because MXNet's broadcasting addition takes 5 times
    as long in backward as the plain one. All layers share one mask.
    """
    if valid_length is None:
        return None
    positions = F.contrib.arange_like(x, axis=1)
    padding = F.broadcast_greater_equal(F.expand_dims(positions, axis=0),
                                        F.expand_dims(valid_length, axis=1))
    scores = F.expand_dims(padding * MASKED_SCORE, axis=1)              # (batch, 1, length)
    rows = F.ones_like(F.slice_axis(x, axis=2, begin=0, end=1))         # (batch, length, 1)
    mask = F.expand_dims(F.broadcast_mul(rows, scores), axis=1)
    return F.reshape(F.broadcast_axis(mask, axis=1, size=num_heads), shape=(-3, 0, 0))


def gather_positions(F, sequence, positions):
    """sequence (batch, length, units), positions (batch, num_positions)
    → (batch, num_positions, units), the vectors at those positions."""
    rows = F.broadcast_like(F.expand_dims(F.contrib.arange_like(positions, axis=0), axis=1),
                            positions)
    index = F.stack(F.reshape(rows, shape=(-1,)), F.reshape(positions, shape=(-1,)), axis=0)
    return F.reshape_like(F.gather_nd(sequence, index), positions,
                          lhs_begin=0, lhs_end=1, rhs_begin=0, rhs_end=2)
