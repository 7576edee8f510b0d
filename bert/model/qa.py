"""Question answering: where in the text the answer starts and ends."""
from mxnet.gluon import HybridBlock, nn


class BertForQA(HybridBlock):
    """The encoder with a layer that scores every token as start and as end of the answer.

    bert: a `BERTModel`; of its outputs only the sequence is used.
    Calling it with token_ids (batch, length), segment_ids (batch, length) and valid_length
    (batch,) or None returns scores (batch, length, 2): of the start, of the end.
    """

    def __init__(self, bert, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)
        self.bert = bert
        with self.name_scope():
            self.span_classifier = nn.Dense(2, in_units=bert.config.units, flatten=False)

    def hybrid_forward(self, F, token_ids, segment_ids, valid_length=None):
        outputs = self.bert(token_ids, segment_ids, valid_length)
        sequence = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
        return self.span_classifier(sequence)
