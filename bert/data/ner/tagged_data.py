"""The sentences of one file as the input of a model, with what is unusual in them."""
import hashlib

import numpy as np

from bert.data.ner.schemes import convert_tags, count_types
from bert.data.ner.windows import make_tag_windows, tokenize_words
from bert.errors import UserError
from bert.percentiles import MIN_VALUES, percentiles_of


class TaggedData:
    """The `TaggedSentence`s of a file, as `TokenSequence`s. scheme: a `SchemeReport`."""

    def __init__(self, path, sentences, scheme, sequences):
        self.path, self.sentences, self.scheme = path, sentences, scheme
        self.sequences = sequences

    def __len__(self):
        return len(self.sentences)

    def select(self, rows):
        """The data of some sentences."""
        return TaggedData(self.path, [self.sentences[i] for i in rows], self.scheme,
                          [self.sequences[i] for i in rows])

    @property
    def tags(self):
        """The tags of each sentence."""
        return [sentence.tags for sentence in self.sentences]

    def make_windows(self, tokenizer, max_length, labels=None, scheme=None):
        """The `TagWindow`s that a model learns, or is calibrated on. labels: its classes, in
        `scheme`; default: the windows have none. Raises `UserError` if no word has a token."""
        indices = {label: i for i, label in enumerate(labels or ())}
        windows = make_tag_windows(
            self.sequences, tokenizer.frame(pair=False), max_length, None if labels is None else
            [[indices[tag] for tag in convert_tags(tags, scheme)] for tags in self.tags])
        if not windows:
            raise UserError('%s: this vocabulary has no token for any word of the file' % self.path)
        return windows

    def audit(self, frame, max_length):
        """{key: value} for the audit of a run."""
        lengths = np.array([len(sequence.ids) + frame.num_specials
                            for sequence in self.sequences])
        percentiles = percentiles_of(lengths) if len(lengths) >= MIN_VALUES else {}
        num_words = sum(len(sentence.words) for sentence in self.sentences)
        return {
            'file': self.path, 'sentences': len(self), 'words': num_words,
            'scheme': self.scheme.scheme, 'tags_that_do_not_fit': self.scheme.num_misfits,
            'entities': dict(sorted(count_types(self.sentences).items())),
            'words_without_tokens': num_words - sum(
                len(np.unique(sequence.words)) for sequence in self.sequences),
            'sentences_in_several_windows': int((lengths > max_length).sum()),
            'token_length': dict({'p%d' % p: int(value) for p, value in percentiles.items()},
                                 max=int(lengths.max()))}


def tokenize_tagged(path, sentences, scheme, tokenizer):
    """The `TaggedData` of the sentences of a file."""
    return TaggedData(path, sentences, scheme, tokenize_words(
        tokenizer, [sentence.words for sentence in sentences]))


def digest_windows(windows):
    """sha256 of the tokens and labels of `TagWindow`s."""
    total = hashlib.sha256()
    for window in windows:
        total.update(window.features.token_ids.tobytes() + b'|' + window.features.label.tobytes())
    return total.hexdigest()
