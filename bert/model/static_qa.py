"""Question answering with fixed shapes, for static memory allocation and symbol export."""
import os

import mxnet as mx

from bert.errors import UserError
from bert.model.qa import BertForQA

# Environment variables of the original's tutorial: tokens per window, width of a token's vector
SEQUENCE_VARIABLE, WIDTH_VARIABLE = 'SEQLENGTH', 'INPUTSIZE'


class StaticBertForQA(BertForQA):
    """`BertForQA` for windows of one length, with the same parameters and the same scores.

    bert: a `BERTModel`.
    seq_length: tokens per window, padding included; default: the environment variable SEQLENGTH,
        else the number of positions of the model.
    input_size: width of a token's vector, which must be the model's; default: the environment
        variable INPUTSIZE, else the model's.
    Raises `UserError` for a value that contradicts the model. The length is part of the graph: the
    network, and the symbol that it exports, refuse any other length. Use it with
    `hybridize(static_alloc=True, static_shape=True)` and batches of one size.
    """

    def __init__(self, bert, seq_length=None, input_size=None, prefix=None, params=None):
        super().__init__(bert, prefix=prefix, params=params)
        self.seq_length = resolve_length(seq_length, bert.config.max_length)
        self.input_size = resolve_width(input_size, bert.config.units)

    def forward(self, token_ids, *inputs):
        if isinstance(token_ids, mx.nd.NDArray) and token_ids.shape[1:] != (self.seq_length,):
            raise UserError('token_ids of shape %s: this network is built for windows of %d '
                            'tokens' % (token_ids.shape, self.seq_length))
        return super().forward(token_ids, *inputs)

    def hybrid_forward(self, F, token_ids, segment_ids, valid_length):
        shape = (0, self.seq_length)    # 0: unchanged, so any other length is an error
        return super().hybrid_forward(F, F.reshape(token_ids, shape=shape),
                                      F.reshape(segment_ids, shape=shape), valid_length)


def resolve_length(seq_length, num_positions):
    """The length of a window: `seq_length`, else from the environment, else all positions.
    Raises `UserError` for a length that the model can't read."""
    value, source = _choose(seq_length, '--seq_length', SEQUENCE_VARIABLE, num_positions)
    if not 0 < value <= num_positions:
        raise UserError('%s %d: this model reads 1 to %d tokens: choose another '
                        '--seq_length' % (source, value, num_positions))
    return value


def resolve_width(input_size, units):
    """The width of a token's vector. Raises `UserError` unless it is the model's `units`."""
    value, source = _choose(input_size, '--input_size', WIDTH_VARIABLE, units)
    if value != units:
        raise UserError('%s %d: the width of this model is %d: leave the setting out'
                        % (source, value, units))
    return value


def length_from_environment():
    """The value of the environment variable SEQLENGTH, or None when it isn't set."""
    return _choose(None, '', SEQUENCE_VARIABLE, None)[0]


def _choose(argument, flag, variable, default):
    """(value, name of its source): the argument, else the environment's, else the default."""
    if argument is not None:
        return argument, flag
    text = os.environ.get(variable)
    if not text:
        return default, flag
    if not text.isdecimal() or int(text) < 1:
        raise UserError('%s=%s in the environment: expected a whole number from 1 on'
                        % (variable, text))
    return int(text), 'the environment variable ' + variable
