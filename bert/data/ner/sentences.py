"""Sentences of words and tags, and the readers of their files: CoNLL columns and JSON lines."""
import json
import logging
import re
from typing import NamedTuple

from bert.data.ner.entities import OUTSIDE, PREFIXES, split_tag
from bert.data.text.readers import format_of, read_lines, read_rows
from bert.errors import NOT_UNICODE, UserError, is_unicode

LOG = logging.getLogger(__name__)

DOCUMENT_START = '-DOCSTART-'       # CoNLL-2003: a line for each new document, and no word
JSON_ENDINGS = '.jsonl', '.json'
WORD_KEY, TAG_KEYS = 'tokens', ('ner_tags', 'tags')     # names in the data sets of the hub


class TaggedSentence(NamedTuple):
    """The words of a sentence and their tags; None where the file has none. line: of the first
    word, from 1. has_line_per_word: whether each word has a line of its own."""
    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    path: str
    line: int
    has_line_per_word: bool = True

    def line_of(self, word):
        """The line of a word, by its index."""
        return self.line + word * self.has_line_per_word


class TagColumns(NamedTuple):
    """Where words and tags stand. In CoNLL columns from 0, -1 for the last one, as text; in JSON
    lines keys. None: the usual places. has_tags: whether to read tags."""
    word: str | None = None
    tag: str | None = None
    has_tags: bool = True


def read_tagged_file(path, columns=None):
    """A list of the `TaggedSentence`s of a file: JSON lines if its name ends so, else CoNLL
    columns. columns: `TagColumns`. Raises `UserError`, with path and line, also for a tag that is
    none."""
    columns = columns or TagColumns()
    is_json = path.lower().endswith(JSON_ENDINGS)
    sentences = list(_read_json_lines(path, columns) if is_json else _read_columns(path, columns))
    for sentence in sentences if columns.has_tags else ():
        check_tags(sentence)
    return sentences


def check_tags(sentence):
    """Raises `UserError`, with path and line, for the first of a sentence's tags that is none."""
    for i, tag in enumerate(sentence.tags):
        try:
            split_tag(tag)
        except ValueError:
            raise UserError('%s:%d: the tag "%s" of "%s": expected %s, or a prefix (%s) and a '
                            'type, such as B-PER'
                            % (sentence.path, sentence.line_of(i), tag, sentence.words[i], OUTSIDE,
                               ', '.join(name + '-' for name in PREFIXES))) from None


# CoNLL columns


def _read_columns(path, columns):
    for name, column in (('word', columns.word), ('tag', columns.tag)):
        if column not in (None, '-1') and not column.isdecimal():
            raise UserError('column of the %s "%s": expected the number of a column of %s, from 0'
                            % (name, column, path))
    return read_sentences(path, int(columns.word or 0), None if not columns.has_tags
                          else int(columns.tag or -1))


def read_sentences(path, word_column=0, tag_column=-1):
    """Yield the `TaggedSentence`s of a file in CoNLL columns.

    Tabs separate the columns, or where a line has none spaces. A blank line ends a sentence.
    word_column, tag_column: from 0; -1 is the last one; no tags are read for a tag_column of None.
    Lines that begin with `DOCUMENT_START` are no words. Raises `UserError`, with path and line, for
    a line without one of the columns, and for a file without words.
    """
    words, tags, first_line, has_words, widths = [], [], 0, False, set()

    def sentence():
        return TaggedSentence(tuple(words), None if tag_column is None else tuple(tags), path,
                              first_line)
    for line_number, line in read_lines(path):
        # other spaces, such as the no-break space, are characters of a word
        fields = line.split('\t') if '\t' in line else [*filter(None, line.split(' '))]
        if line.strip() and not line.startswith(DOCUMENT_START):
            first_line = first_line or line_number
            widths.add(len(fields))
            words.append(_column(fields, word_column, path, line_number, 'a word'))
            if tag_column is not None:
                tags.append(_column(fields, tag_column, path, line_number, 'a word and its tag'))
        elif words:
            yield sentence()
            words, tags, first_line, has_words = [], [], 0, True
    if words:
        yield sentence()
    elif not has_words:
        raise UserError('%s: no words in it' % path)
    if tag_column is None and len(widths) > 1:
        LOG.warning('%s: the lines have %d to %d columns, and column %d is read as the word of a '
                    'line: leave out --words if the lines are sentences', path, min(widths),
                    max(widths), word_column)


def _column(fields, column, path, line_number, description):
    """A field. The last column must not be the only one, for that is the word."""
    if len(fields) < (2 if column < 0 else column + 1):
        raise UserError('%s:%d: %d column%s found ("%s"), expected %s%s' % (
            path, line_number, len(fields), '' if len(fields) == 1 else 's',
            ' '.join(fields)[:40], description,
            '' if column <= 0 else ' in column %d, from 0' % column))
    return fields[column].strip()


# JSON lines


def _read_json_lines(path, columns):
    """Yield the `TaggedSentence`s of lines {"tokens": […], "ner_tags": […]}."""
    has_sentences, empty_lines = False, []
    for line_number, row in read_rows(path, format_of(path)):
        words = _list_of_texts(path, line_number, row, columns.word or WORD_KEY)
        tags = None
        if columns.has_tags:
            key = columns.tag or next((key for key in TAG_KEYS if key in row), TAG_KEYS[0])
            tags = _list_of_texts(path, line_number, row, key)
            if len(tags) != len(words):
                raise UserError('%s:%d: %d words and %d tags found, expected a tag for each word'
                                % (path, line_number, len(words), len(tags)))
        if words:
            has_sentences = True
            yield TaggedSentence(words, tags, path, line_number, has_line_per_word=False)
        else:
            empty_lines.append(line_number)
    if not has_sentences:
        raise UserError('%s: no words in it' % path)
    if empty_lines:
        LOG.warning('%s: %d lines without words are left out; the first is line %d', path,
                    len(empty_lines), empty_lines[0])


def _list_of_texts(path, line_number, row, key):
    if key not in row:
        raise UserError('%s:%d: no key "%s", found %s'
                        % (path, line_number, key, ', '.join(row) or 'an empty object'))
    values = row[key]
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        hint = ': write the tags as names, not as numbers' \
            if isinstance(values, list) and values and isinstance(values[0], int) else ''
        raise UserError('%s:%d: "%s" is not a list of texts%s' % (path, line_number, key, hint))
    if not all(map(is_unicode, values)):
        raise UserError('%s:%d: %s, in "%s"' % (path, line_number, NOT_UNICODE, key))
    return tuple(values)


# Writing


def write_sentence(out, words, tags, output_format='tsv'):
    """Write a sentence: word TAB tag lines and a blank line, or (jsonl) a line of JSON. Tabs and
    line ends in a word of JSON would be columns and lines: they become spaces."""
    if output_format == 'jsonl':
        out.write(json.dumps({WORD_KEY: list(words), TAG_KEYS[0]: list(tags)}, ensure_ascii=False)
                  + '\n')
    else:
        out.write(''.join('%s\t%s\n' % (re.sub(r'[\t\r\n]', ' ', word), tag)
                          for word, tag in zip(words, tags)) + '\n')
