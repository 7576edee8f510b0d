"""The heads and the losses of pre-training (Devlin et al. 2018, A.2)."""
from mxnet.gluon import HybridBlock


class BertForPretraining(HybridBlock):
    """Gives the logits of both heads of a `BERTModel`.

    Calling it with token_ids (batch, length), segment_ids (batch, length), valid_length (batch,) or
    None, and masked_positions (batch, num_positions) returns the next-sentence logits (batch, 2)
    and the token logits (batch, num_positions, vocab_size).
    """

    def __init__(self, bert, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)
        self.bert = bert

    def hybrid_forward(self, F, token_ids, segment_ids, valid_length, masked_positions):
        return self.bert.pretraining_logits(F, token_ids, segment_ids, valid_length,
                                            masked_positions)


class PretrainingSums(HybridBlock):
    """Sums of the losses and of the correct predictions of both tasks. For the means over several
    batches, devices or workers, add the sums and divide by the total counts.

    Calling it with
        token_scores (batch, num_positions, vocab_size), next_sentence_scores (batch, 2) of
            `BERTModel`,
        masked_ids (batch, num_positions), masked_weights (batch, num_positions), where weight 0
            excludes a token,
        next_sentence_labels (batch,)
    returns (4,) float32: cross-entropy of the masked tokens, number of correct ones among them,
    cross-entropy of the next sentences, number of correct ones among them.

    with_accuracy: if False, both numbers of correct predictions are 0.
    """

    def __init__(self, with_accuracy=True, **kwargs):
        super().__init__(**kwargs)
        self._with_accuracy = with_accuracy

    def hybrid_forward(self, F, token_scores, next_sentence_scores, masked_ids, masked_weights,
                       next_sentence_labels):
        token_sums = self._sums(F, token_scores, masked_ids, masked_weights)
        sentence_sums = self._sums(F, next_sentence_scores, next_sentence_labels,
                                   F.ones_like(F.cast(next_sentence_labels, 'float32')))
        return F.concat(*token_sums + sentence_sums, dim=0)

    def _sums(self, F, scores, labels, weights):
        """[sum of the cross-entropies, number of correct predictions], each (1,)."""
        scores = F.cast(scores, 'float32')
        losses = -F.pick(F.log_softmax(scores, axis=-1), labels, axis=-1)
        if self._with_accuracy:
            is_correct = F.broadcast_equal(F.argmax(scores, axis=-1), F.cast(labels, 'float32'))
        else:
            is_correct = F.zeros_like(losses)
        return [F.reshape(F.sum(values * weights), shape=(1,))
                for values in (losses, F.BlockGrad(is_correct))]
