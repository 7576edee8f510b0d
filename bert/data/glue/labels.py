"""Encodes the text of a label as a class index or a score."""
import math

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
            self.expected = 'one of ' + ', '.join(map(str, labels))
            self._index = {label: i for i, label in enumerate(labels)}
            for alias, label in (aliases or {}).items():
                self._index[alias] = self._index[label]

    def __call__(self, label):
        """Raises KeyError for an unknown class, ValueError for a score that is not a number."""
        if self._index is not None:
            return np.int32(self._index[label])
        score = float(label)
        if not math.isfinite(score):
            raise ValueError(label)
        return np.float32(score)
