"""Labels: as class indices or scores; their spellings."""
import math
import unicodedata

import numpy as np


class LabelEncoder:
    """Label text → class index (int32) or score (float32).

    labels: the classes in the order of their indices, None for regression.
    aliases: other spellings, such as {'contradictory': 'contradiction'}.
    """

    def __init__(self, labels=None, aliases=None):
        self._index = None
        self.expected = 'a number'      # for error messages
        if labels is not None:
            self.expected = 'one of ' + ', '.join(one_line(str(label)) for label in labels)
            self._index = {label: i for i, label in enumerate(labels)}
            for alias, label in (aliases or {}).items():
                self._index[alias] = self._index[label]

    def __call__(self, label):
        """Raises KeyError for an unknown class, ValueError for a score that is not a number."""
        if self._index is not None:
            return np.int32(self._index[label])
        score = float(label)
        if not abs(score) <= np.finfo('float32').max:
            raise ValueError(label)
        return np.float32(score)


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
