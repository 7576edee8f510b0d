"""Reads CoNLL files: a word and its tags in columns, a line each; a blank line after a sentence."""
from typing import NamedTuple

from bert.data.text.readers import read_lines
from bert.errors import UserError

DOCUMENT_START = '-DOCSTART-'       # CoNLL-2003: a line for each new document, and no word


class TaggedSentence(NamedTuple):
    """The words of a sentence and their tags. line: of the first word, from 1."""
    words: tuple[str, ...]
    tags: tuple[str, ...]
    path: str
    line: int


def read_sentences(path, word_column=0, tag_column=-1):
    """Yield the `TaggedSentence`s of a file.

    Columns are separated by tabs, or where a line has none by spaces. word_column, tag_column:
    from 0; -1 is the last one. Lines that begin with `DOCUMENT_START` are no words. Raises
    `UserError`, with path and line, for a line without one of the columns, and for a file without
    words.
    """
    words, tags, first_line, has_words = [], [], 0, False
    for line_number, line in read_lines(path):
        fields = line.split('\t') if '\t' in line else line.split()
        if line.strip() and not line.startswith(DOCUMENT_START):
            first_line = first_line or line_number
            words.append(_column(fields, word_column, path, line_number))
            tags.append(_column(fields, tag_column, path, line_number))
        elif words:
            yield TaggedSentence(tuple(words), tuple(tags), path, first_line)
            words, tags, first_line, has_words = [], [], 0, True
    if words:
        yield TaggedSentence(tuple(words), tuple(tags), path, first_line)
    elif not has_words:
        raise UserError('%s: no words in it' % path)


def _column(fields, column, path, line_number):
    """A field. The last column must not be the only one, for that is the word."""
    if len(fields) < (2 if column < 0 else column + 1):
        raise UserError('%s:%d: %d column%s found ("%s"), expected a word and its tag%s' % (
            path, line_number, len(fields), '' if len(fields) == 1 else 's',
            ' '.join(fields)[:40],
            '' if column <= 0 else ' in column %d, from 0' % column))
    return fields[column].strip()
