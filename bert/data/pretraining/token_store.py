"""A store of tokenized documents on disk, read in parts: a corpus may be larger than memory.

A store has three files: all tokens; the index of the first token of each sentence; the index of the
first sentence of each document. The last two files have one more entry for the end.
"""
import os

import numpy as np

from bert import files
from bert.data.arrays.ragged import offsets_of

FILE_ENDINGS = ('tokens', 'sentences', 'documents')
POSITION_DTYPE = np.dtype('<i8')


def token_dtype(vocab_size):
    """The smaller of two dtypes that can hold the ids."""
    return np.dtype('<u2' if vocab_size <= 1 << 16 else '<i4')


def write_store(path, documents, vocab_size):
    """Write a store, the files `path`.tokens and so on, whole or not at all. documents: lists of
    arrays of ids, one array per sentence, none of them empty."""
    sentences = [ids for document in documents for ids in document]
    arrays = {'tokens': np.concatenate(sentences or [[]]).astype(token_dtype(vocab_size)),
              'sentences': offsets_of(list(map(len, sentences))).astype(POSITION_DTYPE),
              'documents': offsets_of(list(map(len, documents))).astype(POSITION_DTYPE)}
    for name in FILE_ENDINGS:      # the file that `is_complete` checks comes last
        with files.atomic_write(_file_path(path, name), 'wb') as out:
            out.write(arrays[name].tobytes())


def is_complete(path):
    """Whether `write_store` or `join_stores` has finished this store."""
    return os.path.exists(_file_path(path, FILE_ENDINGS[-1]))


def _file_path(path, name):
    return '%s.%s' % (path, name)


def join_stores(paths, path):
    """Concatenate stores into a new store, then remove them. Memory holds one store at a time."""
    for name in FILE_ENDINGS:
        with files.atomic_write(_file_path(path, name), 'wb') as out:
            shift = 0
            for part_path in paths:
                content = np.fromfile(_file_path(part_path, name),
                                      dtype='u1' if name == 'tokens' else POSITION_DTYPE)
                if name != 'tokens':        # the end of a store is the start of the next store
                    content, shift = content[:-1] + shift, shift + content[-1]
                out.write(content.tobytes())
            if name != 'tokens':
                out.write(np.array([shift], dtype=POSITION_DTYPE).tobytes())
    for part_path in paths:
        remove_store(part_path)


def remove_store(path):
    for name in reversed(FILE_ENDINGS):
        files.remove(_file_path(path, name))


class TokenStore:
    """A store open for reading. Indices of sentences and tokens count through all documents."""

    def __init__(self, path, vocab_size):
        self._dtype = token_dtype(vocab_size)
        self._files = {name: os.open(_file_path(path, name), os.O_RDONLY) for name in FILE_ENDINGS}
        size = os.fstat(self._files['documents']).st_size
        self.num_documents = size // POSITION_DTYPE.itemsize - 1

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for descriptor in self._files.values():
            os.close(descriptor)

    def document(self, i):
        """(first sentence of document i, the sentence after its last)."""
        first, stop = self.documents(i, i + 1)
        return int(first), int(stop)

    def documents(self, first, stop):
        """(stop - first + 1,) int64: the first sentence of each of these documents, and the end."""
        return self._read('documents', POSITION_DTYPE, first, stop + 1)

    def sentences(self, first, stop):
        """(stop - first + 1,) int64: the first token of each of these sentences, and the end."""
        return self._read('sentences', POSITION_DTYPE, first, stop + 1)

    def tokens(self, start, stop):
        """(stop - start,) ids of these tokens."""
        return self._read('tokens', self._dtype, start, stop)

    def _read(self, name, dtype, first, stop):
        # no memory map: its pages would count as memory of this process
        content = os.pread(self._files[name], (stop - first) * dtype.itemsize,
                           first * dtype.itemsize)
        return np.frombuffer(content, dtype=dtype)
