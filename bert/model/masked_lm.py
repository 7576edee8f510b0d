"""Masked language model: the logits of words at masked positions."""
from mxnet.gluon import HybridBlock


class BertForMaskedLM(HybridBlock):
    """Gives the logits of words of a `BERTModel` with a decoder.

    Calling it with token_ids (batch, length), segment_ids (batch, length), valid_length (batch,) or
    None, and masked_positions (batch, num_positions) returns (batch, num_positions, vocab_size);
    without masked_positions (batch, length, vocab_size), for every token.
    """

    def __init__(self, bert, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)
        self.bert = bert

    def hybrid_forward(self, F, token_ids, segment_ids, valid_length=None, masked_positions=None):
        return self.bert.token_logits(F, token_ids, segment_ids, valid_length, masked_positions)
