"""The losses of pre-training (Devlin et al. 2018, A.2)."""
from mxnet.gluon import HybridBlock


class PretrainingSums(HybridBlock):
    """Losses and right answers of both tasks, summed: means over several batches, devices or
    workers are their sums over all that was counted.

    Calling it with
        token_scores (size, number, vocab_size) and next_sentence_scores (size, 2) of `BERTModel`,
        masked_ids (size, number), masked_weights (size, number): 0 leaves a token out,
        next_sentence_labels (size,)
    returns (4,) float32: cross-entropy of the masked tokens, how many of them are right,
    cross-entropy of the next sentences, how many of these are right.

    with_accuracy: without it the right ones are not counted, and 0.
    """

    def __init__(self, with_accuracy=True, **kwargs):
        super().__init__(**kwargs)
        self._with_accuracy = with_accuracy

    def hybrid_forward(self, F, token_scores, next_sentence_scores, masked_ids, masked_weights,
                       next_sentence_labels):
        tokens = self._sums(F, token_scores, masked_ids, masked_weights)
        sentences = self._sums(F, next_sentence_scores, next_sentence_labels,
                               F.ones_like(F.cast(next_sentence_labels, 'float32')))
        return F.concat(*tokens + sentences, dim=0)

    def _sums(self, F, scores, labels, weights):
        """[sum of the cross-entropies, number of right answers], each (1,)."""
        scores = F.cast(scores, 'float32')
        losses = -F.pick(F.log_softmax(scores, axis=-1), labels, axis=-1)
        if self._with_accuracy:
            right = F.broadcast_equal(F.argmax(scores, axis=-1), F.cast(labels, 'float32'))
        else:
            right = F.zeros_like(losses)
        return [F.reshape(F.sum(values * weights), shape=(1,))
                for values in (losses, F.BlockGrad(right))]
