"""An evaluation set for models that fill masks: texts of one's own, some of their tokens masked."""
import logging
import zlib

import numpy as np

from bert.data.batches import subsample
from bert.data.transform import Features, frame_texts
from bert.errors import UserError
from bert.pipelines.evaluation_sets import EvaluationSet, collate_batches
from bert.vocabulary import special_tokens_of

LOG = logging.getLogger(__name__)

MASKED_SHARE = 0.15     # of the tokens, as in the BERT paper, 3.1; here all of them become masks
MASKING_SEED = 0


class MaskedTextSet(EvaluationSet):
    """An evaluation set for a `MaskFiller`. features: with masks; labels: for each text the ids of
    the tokens that they hide."""

    def __init__(self, name, source, features, labels):
        super().__init__(name, source, ('accuracy',))
        self.features, self.labels = features, labels

    def __len__(self):
        return len(self.features)

    def subset(self, name, rows):
        """The evaluation set of some rows."""
        return MaskedTextSet(name, self.source, [self.features[i] for i in rows],
                             [self.labels[i] for i in rows])

    def keys(self):
        """Bytes for each text. Equal texts have equal masks, and so equal bytes."""
        return [feature.token_ids.tobytes() + labels.tobytes()
                for feature, labels in zip(self.features, self.labels)]

    def outputs(self, model, batch_size):
        """(texts, 2): how many masks of each text are filled with the right token, how many there
        are."""
        counts = np.zeros((len(self), 2))
        for i, logits in model.mask_logits(self.features, batch_size):
            counts[i] = (logits.argmax(axis=1) == self.labels[i]).sum(), len(logits)
        return counts

    def scores(self, outputs, rows=None):
        num_right, num_masks = outputs[slice(None) if rows is None else rows].sum(axis=0)
        return {'accuracy': float(num_right / num_masks)}

    def batches(self, size, count, padding_id):
        """At most `count` batches of `size` texts from the whole set, of like lengths."""
        return collate_batches(self.features, size, count, padding_id)


def make_masked_text_set(model, name, source, examples, limit=None):
    """The `MaskedTextSet` of `Example`s for a `MaskFiller`. Texts without a token to mask are left
    out, with a warning. Raises `UserError` for a text with a mask, and if no text is left."""
    examples = subsample(examples, limit)
    frame, features, labels = model.tokenizer.frame(False), [], []
    for example, ids in zip(examples, model.tokenizer.encode(
            [example.texts[0] for example in examples])):
        if (ids == model.mask_id).any():
            raise UserError('%s:%d: %s found: a score draws its own masks, and needs the right '
                            'words in their places' % (example.path, example.line,
                                                       model.tokenizer.vocab.mask_token))
        token_ids, segment_ids, num_tokens = frame_texts([ids], model.max_len, frame)
        positions = draw_masks(token_ids, special_ids(model.tokenizer.vocab))
        if len(positions):
            labels.append(token_ids[positions])
            token_ids[positions] = model.mask_id
            features.append(Features(token_ids, segment_ids, len(token_ids), None, num_tokens))
    num_cut = sum(feature.num_tokens > model.max_len for feature in features)
    for count, action in ((len(examples) - len(features), 'have no known token, and are left out'),
                          (num_cut, 'were cut at %d tokens' % model.max_len)):
        if count:
            LOG.warning('%s: %d of %d texts %s', source, count, len(examples), action)
    if not features:
        raise UserError('%s: no text in it' % source)
    return MaskedTextSet(name, source, features, labels)


def special_ids(vocabulary):
    """The ids of the special tokens that a vocabulary has."""
    return [vocabulary[token] for token in special_tokens_of(vocabulary) if token is not None]


def draw_masks(token_ids, excluded_ids):
    """Positions of `MASKED_SHARE` of the tokens, at least one, (masks,) int in order. They depend
    on the tokens alone, not on other texts."""
    positions = np.flatnonzero(~np.isin(token_ids, excluded_ids))
    count = max(1, round(MASKED_SHARE * len(positions))) if len(positions) else 0
    rng = np.random.RandomState([MASKING_SEED, zlib.crc32(token_ids.tobytes())])
    return np.sort(rng.permutation(positions)[:count])
