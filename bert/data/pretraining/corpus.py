"""The text corpus for pre-training: reads text files as documents of sentences.

Empty lines separate documents, and each line of a document is a sentence (Devlin et al. 2018,
google-research/bert). If the lines are prose, `bert.data.pretraining.sentences` splits them.
"""
import hashlib
from typing import NamedTuple

from bert.errors import UserError


class Block(NamedTuple):
    """Consecutive documents of one file, to be read together."""
    path: str
    start: int          # first byte
    stop: int           # the byte after the last
    documents: int      # number of documents


class Scan(NamedTuple):
    """The result of one pass over a file."""
    path: str
    size: int           # bytes
    sha256: str
    lines: int          # number of lines that are not empty
    blocks: tuple       # of `Block`


def scan(path, block_size):
    """`Scan` a file. A block ends with the first document that brings it to `block_size` bytes.

    Raises `UserError` for a file that can't be read, or that isn't UTF-8, with the byte.
    """
    digest, position, lines = hashlib.sha256(), 0, 0
    blocks, start, documents, is_inside, has_returns = [], 0, 0, False, False
    try:
        with open(path, 'rb') as file:
            for line in file:
                has_returns = has_returns or b'\r' in line.strip()
                digest.update(line)
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
    if lines == 1 and has_returns:
        raise UserError('%s: the lines end with carriage returns, as on old Macs: convert them, '
                        'for example with tr "\\r" "\\n"' % path)
    if documents:
        blocks.append(Block(path, start, position, documents))
    return Scan(path, position, digest.hexdigest(), lines, tuple(blocks))


def _decode(path, line, position):
    """The text of a line that starts at byte `position`, without a byte-order mark."""
    try:
        return line.decode('utf-8' if position else 'utf-8-sig')
    except UnicodeDecodeError as error:
        raise UserError('%s: not UTF-8 at byte %d: save the file as UTF-8'
                        % (path, position + error.start)) from None


def read_documents(block):
    """The documents of a `Block`: lists of lines without surrounding spaces."""
    try:
        with open(block.path, 'rb') as file:
            file.seek(block.start)
            content = file.read(block.stop - block.start)
    except OSError as error:
        raise UserError('%s: can\'t be read: %s' % (block.path, error.strerror)) from None
    documents, is_inside = [], False
    # split at '\n' as `scan` does: str.splitlines splits at more characters
    for line in _decode(block.path, content, block.start).split('\n'):
        line = line.strip()
        if line and not is_inside:
            documents.append([])
        if line:
            documents[-1].append(line)
        is_inside = bool(line)
    return documents


def check_documents(scans):
    """Raises `UserError` unless there are at least two documents to take sentences from."""
    names = ', '.join(scan.path for scan in scans)
    documents = sum(block.documents for scan in scans for block in scan.blocks)
    if not documents:
        raise UserError('%s: no text in it' % names)
    if documents == 1:
        raise UserError('%s: one document in %d lines, expected two or more: put an empty line '
                        'between documents. Random next sentences come from another document'
                        % (names, sum(scan.lines for scan in scans)))
