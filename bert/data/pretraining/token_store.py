"""Tokenized documents on the disk, read in parts: a corpus may be larger than the memory.

Three files in a folder: all tokens one after the other; for each sentence, where it starts among
the tokens; for each document, where it starts among the sentences. The two latter have one entry
more, where the last one ends.
"""
import os

import numpy as np

from bert import files
from bert.data.arrays.ragged import offsets_of

NAMES = ('tokens', 'sentences', 'documents')
POSITION = np.dtype('<i8')


def token_dtype(vocab_size):
    """The smaller of two types that hold the ids."""
    return np.dtype('<u2' if vocab_size <= 1 << 16 else '<i4')


def write_store(path, documents, vocab_size):
    """Write documents (lists of arrays of ids, one a sentence, none empty) as `path`.tokens and so
    on, whole or not at all."""
    sentences = [ids for document in documents for ids in document]
    arrays = {'tokens': np.concatenate(sentences or [[]]).astype(token_dtype(vocab_size)),
              'sentences': offsets_of(list(map(len, sentences))).astype(POSITION),
              'documents': offsets_of(list(map(len, documents))).astype(POSITION)}
    for name in NAMES:      # the one that `is_complete` looks for comes last
        with files.atomic_write(_part(path, name), 'wb') as out:
            out.write(arrays[name].tobytes())


def is_complete(path):
    """Whether `write_store` or `join_stores` came to its end here."""
    return os.path.exists(_part(path, NAMES[-1]))


def _part(path, name):
    return '%s.%s' % (path, name)


def join_stores(paths, path):
    """Put stores together, in order, as a new one, and remove them. Memory is that of one."""
    for name in NAMES:
        with files.atomic_write(_part(path, name), 'wb') as out:
            shift = 0
            for one in paths:
                content = np.fromfile(_part(one, name),
                                      dtype='u1' if name == 'tokens' else POSITION)
                if name != 'tokens':        # the end of one is the start of the next
                    content, shift = content[:-1] + shift, shift + content[-1]
                out.write(content.tobytes())
            if name != 'tokens':
                out.write(np.array([shift], dtype=POSITION).tobytes())
    for one in paths:
        remove_store(one)


def remove_store(path):
    for name in reversed(NAMES):
        files.remove(_part(path, name))


class TokenStore:
    """A store that is open for reading. Sentences and tokens are numbered through."""

    def __init__(self, path, vocab_size):
        self._dtype = token_dtype(vocab_size)
        self._files = {name: os.open(_part(path, name), os.O_RDONLY) for name in NAMES}
        size = os.fstat(self._files['documents']).st_size
        self.num_documents = size // POSITION.itemsize - 1

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for descriptor in self._files.values():
            os.close(descriptor)

    def document(self, i):
        """(first sentence, the one after the last) of document i."""
        first, stop = self.documents(i, i + 1)
        return int(first), int(stop)

    def documents(self, first, stop):
        """(stop - first + 1,) where these documents start among the sentences, and the end."""
        return self._read('documents', POSITION, first, stop + 1)

    def sentences(self, first, stop):
        """(stop - first + 1,) where these sentences start among the tokens, and the end."""
        return self._read('sentences', POSITION, first, stop + 1)

    def tokens(self, start, stop):
        """(stop - start,) ids."""
        return self._read('tokens', self._dtype, start, stop)

    def _read(self, name, dtype, first, stop):
        # not mapped into memory: the pages would count as memory of this process
        content = os.pread(self._files[name], (stop - first) * dtype.itemsize,
                           first * dtype.itemsize)
        return np.frombuffer(content, dtype=dtype)
