"""Question answering heads: scores for the start and the end of the answer in the text."""
import mxnet as mx
from mxnet.gluon import HybridBlock, nn
from mxnet.gluon.loss import Loss, SoftmaxCELoss

from bert.model.bert import MASKED_SCORE


class BertForQA(HybridBlock):
    """The encoder with a layer that scores every token as start and as end of the answer.

    bert: a `BERTModel`; only its sequence output is used.
    Calling it with token_ids (batch, length), segment_ids (batch, length) and valid_length
    (batch,) or None returns scores (batch, length, 2): first for the start, then for the end.
    """

    def __init__(self, bert, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)
        self.bert = bert
        with self.name_scope():
            self.span_classifier = nn.Dense(2, in_units=bert.config.units, flatten=False,
                                            weight_initializer=mx.init.Normal(0.02))

    def hybrid_forward(self, F, token_ids, segment_ids, valid_length=None):
        outputs = self.bert(token_ids, segment_ids, valid_length)
        sequence = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
        return self.span_classifier(sequence)


class BertForQALoss(Loss):
    """Mean of the softmax cross-entropies of start and end (Devlin et al. 2018, 4.2).

    Calling it with
        scores (batch, length, 2) of `BertForQA`,
        positions, a list of start and end, each (batch,),
        valid_length (batch,) or None
    returns the loss of each example (batch,). With valid_length the softmax is only over the tokens
    of each window, so the loss doesn't depend on the padding of the batch. Without it, as in BERT's
    own code, padded positions take part in the softmax; their scores differ between the fused
    operators and MXNet's own.
    """

    def __init__(self, weight=None, batch_axis=0, **kwargs):
        super().__init__(weight, batch_axis, **kwargs)
        self.loss = SoftmaxCELoss(weight=weight, batch_axis=batch_axis)

    def hybrid_forward(self, F, scores, positions, valid_length=None):
        if valid_length is not None:
            scores = F.SequenceMask(scores, valid_length, use_sequence_length=True, axis=1,
                                    value=MASKED_SCORE)
        start, end = F.split(scores, axis=2, num_outputs=2, squeeze_axis=True)
        return (self.loss(start, positions[0]) + self.loss(end, positions[1])) / 2
