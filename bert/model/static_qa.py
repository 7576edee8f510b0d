"""Question answering with fixed shapes, for memory planned once and symbols that are exported."""
import os

import mxnet as mx

from bert.errors import UserError
from bert.model.qa import BertForQA

# The environment variables of the original's tutorial: tokens of a window, width of a token
SEQUENCE_VARIABLE, WIDTH_VARIABLE = 'SEQLENGTH', 'INPUTSIZE'


class StaticBertForQA(BertForQA):
    """`BertForQA` for windows of one length, with the same parameters and the same scores.

    bert: a `BERTModel`.
    seq_length: tokens of every window, padding included; default the variable SEQLENGTH, else
        the positions of the model.
    input_size: width of a token's vector, which the model has anyhow; default the variable
        INPUTSIZE, else the model's.
    Raises `UserError` for a value that contradicts the model. The length is part of the graph:
    another one is refused by the network, and by the symbol that it exports. Meant for
    `hybridize(static_alloc=True, static_shape=True)` and batches of one size.
    """

    def __init__(self, bert, seq_length=None, input_size=None, prefix=None, params=None):
        super().__init__(bert, prefix=prefix, params=params)
        self.seq_length = resolve_length(seq_length, bert.config.max_length)
        self.input_size = resolve_width(input_size, bert.config.units)

    def forward(self, token_ids, *others):
        if isinstance(token_ids, mx.nd.NDArray) and token_ids.shape[1:] != (self.seq_length,):
            raise UserError('token_ids of shape %s: this network is built for windows of %d '
                            'tokens' % (token_ids.shape, self.seq_length))
        return super().forward(token_ids, *others)

    def hybrid_forward(self, F, token_ids, segment_ids, valid_length):
        shape = (0, self.seq_length)    # 0: as it is, so that any other length doesn't fit
        return super().hybrid_forward(F, F.reshape(token_ids, shape=shape),
                                      F.reshape(segment_ids, shape=shape), valid_length)


def resolve_length(given, num_positions):
    """The window's length: as given, or of the environment, or all positions."""
    value, source = _pick(given, '--seq_length', SEQUENCE_VARIABLE, num_positions)
    if not 0 < value <= num_positions:
        raise UserError('%s %d: this model reads 1 to %d tokens: choose another '
                        '--seq_length'
                        % (source, value, num_positions))
    return value


def resolve_width(given, units):
    """The width of a token's vector; only the model's own is right."""
    value, source = _pick(given, '--input_size', WIDTH_VARIABLE, units)
    if value != units:
        raise UserError('%s %d: this model is %d wide: leave it out' % (source, value, units))
    return value


def length_from_environment():
    """What the variable SEQLENGTH says, None when it isn't set."""
    return _pick(None, '', SEQUENCE_VARIABLE, None)[0]


def _pick(given, flag, variable, default):
    """(value, where it is from)"""
    if given is not None:
        return given, flag
    text = os.environ.get(variable)
    if not text:
        return default, flag
    if not text.isdecimal() or int(text) < 1:
        raise UserError('%s=%s in the environment: expected a whole number from 1 on'
                        % (variable, text))
    return int(text), 'the environment\'s ' + variable
