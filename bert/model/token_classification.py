"""Token classification: a class for every token, such as the tag of an entity."""
import mxnet as mx
from mxnet.gluon import HybridBlock, nn
from mxnet.gluon.loss import Loss


class BertForTokenClassification(HybridBlock):
    """The encoder with dropout and a dense layer on the vector of every token.

    bert: a `BERTModel`; only its sequence output is used. num_classes: of a token.
    Calling it with token_ids (batch, length), segment_ids (batch, length) and valid_length
    (batch,) or None returns logits (batch, length, num_classes).
    """

    def __init__(self, bert, num_classes, dropout=0.0, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)
        self.bert = bert
        with self.name_scope():
            self.dropout_layer = nn.Dropout(dropout)
            self.tag_classifier = nn.Dense(num_classes, in_units=bert.config.units, flatten=False,
                                           weight_initializer=mx.init.Normal(0.02))

    def hybrid_forward(self, F, token_ids, segment_ids, valid_length=None):
        outputs = self.bert(token_ids, segment_ids, valid_length)
        sequence = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
        return self.tag_classifier(self.dropout_layer(sequence))


class TokenClassificationLoss(Loss):
    """The softmax cross-entropy of the labelled tokens of each text.

    Calling it with logits (batch, length, num_classes) of `BertForTokenClassification` and labels
    (batch, length), negative for a token that is not trained, returns losses (batch,): the sum over
    the labelled tokens of a text.
    """

    def __init__(self, weight=None, batch_axis=0, **kwargs):
        super().__init__(weight, batch_axis, **kwargs)

    def hybrid_forward(self, F, logits, labels):
        is_labelled = labels >= 0
        losses = -F.pick(F.log_softmax(logits, axis=-1), labels * is_labelled, axis=-1)
        return F.sum(losses * is_labelled, axis=1)
