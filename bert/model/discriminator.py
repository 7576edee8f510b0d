"""ELECTRA's discriminator: which tokens of a text were replaced (Clark et al. 2020,
arXiv:2003.10555)."""
import mxnet as mx
from mxnet.gluon import HybridBlock, nn

from bert.model.activations import Activation


class ReplacedTokenDetector(HybridBlock):
    """The encoder with two dense layers on the vector of every token.

    bert: a `BERTModel`; only its sequence output is used.
    Calling it with token_ids (batch, length), segment_ids (batch, length) and valid_length
    (batch,) or None returns logits (batch, length, 2) of the classes "original", always 0, and
    "replaced": transformers returns the latter, and takes its sigmoid where softmax is taken here.
    """

    def __init__(self, bert, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)
        self.bert = bert
        dense = dict(in_units=bert.config.units, flatten=False,
                     weight_initializer=mx.init.Normal(0.02))
        with self.name_scope():
            self.discriminator = nn.HybridSequential(prefix='discriminator_')
            with self.discriminator.name_scope():
                self.discriminator.add(nn.Dense(bert.config.units, **dense))
                self.discriminator.add(Activation(bert.config.activation))
                self.discriminator.add(nn.Dense(1, **dense))

    def hybrid_forward(self, F, token_ids, segment_ids, valid_length=None):
        outputs = self.bert(token_ids, segment_ids, valid_length)
        sequence = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
        logits = self.discriminator(sequence)
        return F.concat(F.zeros_like(logits), logits, dim=2)
