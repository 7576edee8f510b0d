"""Text files → documents of sentences, for the examples that BERT is pre-trained on.

A document is what stands between two empty lines, a sentence is a line of it (Devlin et al. 2018,
google-research/bert); or the lines are prose, which `bert.data.pretraining.sentences` splits.
"""
import hashlib
from typing import NamedTuple

from bert.errors import UserError


class Block(NamedTuple):
    """Consecutive documents of one file that are read together."""
    path: str
    start: int          # first byte
    stop: int           # and the one after the last
    documents: int


class Scan(NamedTuple):
    """What one pass over a file finds."""
    path: str
    size: int           # bytes
    sha256: str
    lines: int          # that are not empty
    blocks: tuple


def scan(path, block_size):
    """`Scan` of a file. A block ends with the first document that brings it to `block_size` bytes.

    Raises `UserError` for a file that can't be read or isn't UTF-8, naming the byte.
    """
    total, position, lines = hashlib.sha256(), 0, 0
    blocks, start, documents, is_inside = [], 0, 0, False
    try:
        with open(path, 'rb') as file:
            for line in file:
                total.update(line)
                is_empty = not _decode(path, line, position).strip()
                lines += not is_empty
                if is_empty and is_inside and position - start >= block_size:
                    blocks.append(Block(path, start, position, documents))
                    start, documents = position, 0
                documents += not is_empty and not is_inside
                is_inside = not is_empty
                position += len(line)
    except OSError as error:
        raise UserError('%s: can\'t be read: %s' % (path, error.strerror)) from None
    if documents:
        blocks.append(Block(path, start, position, documents))
    return Scan(path, position, total.hexdigest(), lines, tuple(blocks))


def _decode(path, line, position):
    """The text of a line that starts at byte `position`; a byte-order mark left out."""
    try:
        return line.decode('utf-8' if position else 'utf-8-sig')
    except UnicodeDecodeError as error:
        raise UserError('%s: not UTF-8 at byte %d: save the file as UTF-8'
                        % (path, position + error.start)) from None


def read_documents(block):
    """The documents of a `Block`: lists of their lines without the spaces around them."""
    try:
        with open(block.path, 'rb') as file:
            file.seek(block.start)
            content = file.read(block.stop - block.start)
    except OSError as error:
        raise UserError('%s: can\'t be read: %s' % (block.path, error.strerror)) from None
    documents, is_inside = [], False
    # split at b'\n' as `scan` does: str.splitlines knows more ends of a line
    for line in _decode(block.path, content, block.start).split('\n'):
        line = line.strip()
        if line and not is_inside:
            documents.append([])
        if line:
            documents[-1].append(line)
        is_inside = bool(line)
    return documents


def check_documents(scans):
    """Raises `UserError` unless there are two documents to take sentences from."""
    names = ', '.join(scan.path for scan in scans)
    documents = sum(block.documents for scan in scans for block in scan.blocks)
    if not documents:
        raise UserError('%s: no text in it' % names)
    if documents == 1:
        raise UserError('%s: one document in %d lines: put an empty line between documents; the '
                        'random next sentence of a pair comes from another one'
                        % (names, sum(scan.lines for scan in scans)))
