"""Labels: as class indices or scores; their spellings."""
import math
import unicodedata

import numpy as np


class LabelEncoder:
    """Label text → class index (int32) or score (float32).

    labels: the classes in the order of their indices, None for regression.
    aliases: other spellings, such as {'contradictory': 'contradiction'}.
    max_score: the highest score; each score is divided by it, so that it lies between 0 and 1.
    None: scores stay as they are.
    """

    def __init__(self, labels=None, aliases=None, max_score=None):
        self._index, self._max_score = None, max_score
        self.expected = 'a number' if max_score is None else \
            'a number from 0 to %g' % max_score     # for error messages
        if labels is not None:
            self.expected = 'one of ' + ', '.join(one_line(str(label)) for label in labels)
            self._index = {label: i for i, label in enumerate(labels)}
            for alias, label in (aliases or {}).items():
                self._index[alias] = self._index[label]

    def __call__(self, label):
        """Raises KeyError for an unknown class, ValueError for a score that is not a number or out
        of range."""
        if self._index is not None:
            return np.int32(self._index[label])
        score = float(label)
        if not abs(score) <= np.finfo('float32').max:
            raise ValueError(label)
        if self._max_score is None:
            return np.float32(score)
        if not 0 <= score <= self._max_score:
            raise ValueError(label)
        return np.float32(score / self._max_score)


class LabelSetEncoder:
    """Texts of labels → a vector with 1 for each of them and 0 for the others, (labels,) float32.

    labels: all labels in the order of their indices.
    """

    def __init__(self, labels):
        self._index = {label: i for i, label in enumerate(labels)}
        self.expected = 'one of ' + ', '.join(map(one_line, labels))

    def __call__(self, labels):
        """Raises KeyError for an unknown label."""
        vector = np.zeros(len(self._index), 'float32')
        for label in labels:
            vector[self._index[label]] = 1
        return vector


def find_similar_spellings(labels):
    """Lists of the labels that differ only in spelling: in case, outer spaces, Unicode form, or as
    numbers (1 and 1.0). They are different classes, and most often were meant as one."""
    groups = {}
    for label in sorted(labels):
        groups.setdefault(_spelling_key(label), []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def _spelling_key(label):
    text = unicodedata.normalize('NFKC', label).casefold()
    # characters that are not seen, and the various hyphens and dashes
    categories = [unicodedata.category(character) for character in text]
    text = ' '.join(''.join('-' if category == 'Pd' else character
                            for character, category in zip(text, categories)
                            if category != 'Cf').split())
    try:
        number = float(text)
        return number if math.isfinite(number) else text
    except ValueError:
        return text


def one_line(label):
    """A label for a line of a table: without tabs and line ends."""
    return ' '.join(label.split())
