"""Classification and regression heads on BERT."""
import mxnet as mx
from mxnet.gluon import HybridBlock, nn

from bert import file_names
from bert.model.bert import BERTModel


class BERTClassifier(HybridBlock):
    """Dropout and a dense layer on the pooled vector of one text or a pair.

    bert: a `BERTModel` (or gluonnlp's) with a pooler, without decoder and classifier.
    Calling it with token_ids, segment_ids (batch, length) and valid_length (batch,)
    returns logits (batch, num_classes).
    """

    def __init__(self, bert, num_classes=2, dropout=0.0, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)
        self.bert = bert
        with self.name_scope():
            self.classifier = nn.HybridSequential(prefix=prefix)
            if dropout:
                self.classifier.add(nn.Dropout(rate=dropout))
            # no in_units: gluonnlp's own BERTModel has no attribute for its width
            self.classifier.add(nn.Dense(num_classes, weight_initializer=mx.init.Normal(0.02)))

    def hybrid_forward(self, F, token_ids, segment_ids, valid_length=None):
        if isinstance(self.bert, BERTModel):
            pooled = self.bert.pooled(F, token_ids, segment_ids, valid_length)
        else:
            _, pooled = self.bert(token_ids, segment_ids, valid_length)
        return self.classifier(pooled)


class BERTRegression(BERTClassifier):
    """Predicts one real number for a text or a pair: a `BERTClassifier` with one output."""

    def __init__(self, bert, dropout=0.0, prefix=None, params=None):
        super().__init__(bert, num_classes=1, dropout=dropout, prefix=prefix, params=params)


def make_classifier_network(bert, labels, dropout):
    """A `BERTClassifier` for the classes in `labels`, or a `BERTRegression` when it is None."""
    if labels is None:
        return BERTRegression(bert, dropout=dropout)
    return BERTClassifier(bert, num_classes=len(labels), dropout=dropout)


class SigmoidCrossEntropy(HybridBlock):
    """For each text the mean of the binary cross-entropies (batch,) of its outputs' sigmoids.
    outputs: (batch, labels); labels: the same from 0 to 1, or (batch,) for one output. The gradient
    of MXNet's SigmoidBCELoss is wrong where an output is 0."""

    def hybrid_forward(self, F, outputs, labels):
        losses = F.Activation(outputs, act_type='softrelu') - \
            outputs * F.reshape_like(labels, outputs)
        return F.mean(losses, axis=1)


# MXNet's L2Loss halves its weight; with 2 it is the squared error that transformers reports
LOSSES = {file_names.REGRESSION: lambda: mx.gluon.loss.L2Loss(weight=2),
          file_names.CLASSIFICATION: mx.gluon.loss.SoftmaxCELoss,
          file_names.MULTI_LABEL: SigmoidCrossEntropy, file_names.RANKING: SigmoidCrossEntropy}


def make_loss(kind):
    """The loss block of a kind of model in `LOSSES`. It returns squared errors, softmax
    cross-entropies or `SigmoidCrossEntropy`: (batch,)."""
    loss = LOSSES[kind]()
    loss.hybridize()
    return loss
