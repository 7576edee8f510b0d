"""Tokens of many texts, each distinct word tokenized once."""
import itertools

import numpy as np

from bert.data.arrays.ragged import gather

LIMIT = 1 << 18     # distinct words kept, about 50 MB; then the collection starts anew


class WordTokenizer:
    """What a `BertTokenizer` gives, for large texts in a fraction of its time.

    BERT's tokenizer knows nothing beyond a space: the tokens of a text are those of the parts
    between its spaces, one after the other. In a corpus nearly all of these come again.
    """

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        self._forget()

    def _forget(self):
        self._number = {}                           # word → its row
        self._ids = np.zeros(0, dtype='int32')      # of all words, one after the other
        self._starts = np.zeros(1, dtype='int64')   # of the words in them, and the end

    def encode(self, texts):
        """List of ids (tokens,) int32, one array a text."""
        if not texts:
            return []
        parts = [text.split(' ') for text in texts]
        words = list(itertools.chain.from_iterable(parts))
        self._learn(words)
        rows = np.fromiter(map(self._number.__getitem__, words), dtype='int64', count=len(words))
        tokens, ends = gather(self._starts, rows)
        bounds = ends[np.cumsum([len(part) for part in parts])]
        return np.split(self._ids[tokens], bounds[:-1])

    def _learn(self, words):
        """Tokenize the words that are new."""
        if len(self._number) > LIMIT:
            self._forget()
        new = [word for word in dict.fromkeys(words) if word not in self._number]
        if not new:
            return
        encoded = self._tokenizer.encode(new)
        self._number.update(zip(new, range(len(self._number), len(self._number) + len(new))))
        self._ids = np.concatenate([self._ids] + encoded)
        self._starts = np.concatenate([
            self._starts, self._starts[-1] + np.cumsum([len(ids) for ids in encoded])])
