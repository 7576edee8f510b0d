"""A store of many texts on disk, read in parts: a file of UTF-8 and a file of offsets."""
import hashlib
import os

import numpy as np

from bert import files
from bert.errors import UserError

TEXTS_FILE, OFFSETS_FILE = 'texts.utf8', 'texts.offsets'
OFFSET_DTYPE = np.dtype('<i8')


class TextDigest:
    """sha256 of a sequence of texts."""

    def __init__(self):
        self.count = 0
        self._hash = hashlib.sha256()

    def add(self, content):
        """content: the next text as UTF-8 bytes."""
        self.count += 1
        self._hash.update(b'%d:' % len(content) + content)

    def hexdigest(self):
        return self._hash.hexdigest()


def write_texts(folder, texts):
    """Write the texts of an iterator into `folder`; returns their `TextDigest`."""
    digest, position = TextDigest(), 0
    with files.atomic_write(os.path.join(folder, TEXTS_FILE), 'wb') as out, \
            files.atomic_write(os.path.join(folder, OFFSETS_FILE), 'wb') as offsets:
        offsets.write(np.array([0], OFFSET_DTYPE).tobytes())
        for text in texts:
            content = text.encode('utf-8')
            position += len(content)
            out.write(content)
            offsets.write(np.array([position], OFFSET_DTYPE).tobytes())
            digest.add(content)
    return digest


def read_stored_texts(folder, first, stop):
    """The texts from index `first` to before `stop`."""
    try:
        with open(os.path.join(folder, OFFSETS_FILE), 'rb') as file:
            file.seek(first * OFFSET_DTYPE.itemsize)
            offsets = file.read((stop - first + 1) * OFFSET_DTYPE.itemsize)
        bounds = np.frombuffer(offsets, OFFSET_DTYPE)
        with open(os.path.join(folder, TEXTS_FILE), 'rb') as file:
            file.seek(int(bounds[0]))
            content = file.read(int(bounds[-1] - bounds[0]))
    except OSError as error:
        raise UserError('%s: can\'t be read: %s' % (folder, error.strerror)) from None
    positions = (bounds - bounds[0]).tolist()
    return [content[a:b].decode('utf-8') for a, b in zip(positions, positions[1:])]
