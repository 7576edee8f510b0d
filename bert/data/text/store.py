"""Many texts on the disk, read in parts: one file of UTF-8, one of where each text starts."""
import hashlib
import os

import numpy as np

from bert import files
from bert.errors import UserError

BYTES, OFFSETS = 'texts.utf8', 'texts.offsets'
OFFSET = np.dtype('<i8')


class Digest:
    """sha256 of texts, in their order."""

    def __init__(self):
        self.count = 0
        self._total = hashlib.sha256()

    def add(self, content):
        """content: UTF-8 of the next text."""
        self.count += 1
        self._total.update(b'%d:' % len(content) + content)

    def hexdigest(self):
        return self._total.hexdigest()


def write_texts(folder, texts):
    """Write an iterator of texts into `folder`; returns their `Digest`."""
    digest, position = Digest(), 0
    with files.atomic_write(os.path.join(folder, BYTES), 'wb') as out, \
            files.atomic_write(os.path.join(folder, OFFSETS), 'wb') as offsets:
        offsets.write(np.array([0], OFFSET).tobytes())
        for text in texts:
            content = text.encode('utf-8')
            position += len(content)
            out.write(content)
            offsets.write(np.array([position], OFFSET).tobytes())
            digest.add(content)
    return digest


def read_texts(folder, first, stop):
    """The texts `first` to before `stop`."""
    try:
        with open(os.path.join(folder, OFFSETS), 'rb') as file:
            file.seek(first * OFFSET.itemsize)
            bounds = np.frombuffer(file.read((stop - first + 1) * OFFSET.itemsize), OFFSET)
        with open(os.path.join(folder, BYTES), 'rb') as file:
            file.seek(int(bounds[0]))
            content = file.read(int(bounds[-1] - bounds[0]))
    except OSError as error:
        raise UserError('%s: can\'t be read: %s' % (folder, error.strerror)) from None
    places = (bounds - bounds[0]).tolist()
    return [content[a:b].decode('utf-8') for a, b in zip(places, places[1:])]
