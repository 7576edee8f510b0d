"""Classification and regression heads on BERT."""
import mxnet as mx
from mxnet.gluon import HybridBlock, nn

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


def make_loss(is_regression):
    """The loss block; it returns squared errors or softmax cross-entropies, (batch,)."""
    # MXNet's L2Loss halves its weight; with 2 it is the squared error that transformers reports
    loss = (mx.gluon.loss.L2Loss(weight=2) if is_regression else mx.gluon.loss.SoftmaxCELoss())
    loss.hybridize()
    return loss
