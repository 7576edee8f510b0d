"""Labelled texts from files: TSV, CSV and JSON lines, with the line in every complaint."""
import csv
import json
import logging
import os
import re
import sys
from typing import NamedTuple

from bert.errors import UserError, nearest

LOG = logging.getLogger(__name__)

FORMATS = {'.tsv': 'tsv', '.txt': 'tsv', '.csv': 'csv', '.jsonl': 'jsonl', '.json': 'jsonl'}


class Example(NamedTuple):
    """One raw example and where it stood."""
    texts: tuple[str, ...]
    label: str | None
    path: str
    line: int           # counted from 1


class Rejected(NamedTuple):
    """A row that was left out, and why."""
    path: str
    line: int
    reason: str


class Table(NamedTuple):
    """The columns to read from a file.

    text: one or two columns, by name, or by position (from 0) in a file without header.
    label: the column of the label, or None.
    header: column names for a file that has none of its own; () takes positions as they are,
        None reads the first row as the header.
    """
    text: tuple[str, ...]
    label: str | None = None
    header: tuple[str, ...] | None = None


def read_lines(path):
    """Yield (line number, text) of a UTF-8 file, a byte-order mark and line ends removed."""
    try:
        with open(path, 'rb') as lines:
            for number, line in enumerate(lines, 1):
                try:
                    text = line.decode('utf-8')
                except UnicodeDecodeError as error:
                    raise UserError('%s:%d: not UTF-8 at byte %d of the line: save the file as '
                                    'UTF-8' % (path, number, error.start + 1)) from None
                if number == 1 and text.startswith('\ufeff'):
                    text = text[1:]
                yield number, text.rstrip('\r\n')
    except OSError as error:
        raise UserError('%s: can\'t be read: %s' % (path, error.strerror)) from None


def read_text(path):
    """All of a UTF-8 file but a byte-order mark, line ends as they are."""
    try:
        with open(path, 'rb') as file:
            return decode(file.read(), path)
    except OSError as error:
        raise UserError('%s: can\'t be read: %s' % (path, error.strerror)) from None


def decode(content, source):
    """UTF-8 bytes as text, without a byte-order mark; `source` names them in the error."""
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise UserError('%s: not UTF-8 at byte %d: save it as UTF-8'
                        % (source, error.start + 1)) from None


def read_rows(path, file_format=None, blanks=None):
    """Yield (line number, row): a list of fields (tsv, csv) or a dict (jsonl).

    TSV has no quoting: '"' is an ordinary character, as in GLUE. CSV has (RFC 4180).
    blanks: a list that takes the numbers of blank lines, which are no rows.
    """
    file_format = file_format or format_of(path)
    blanks = [] if blanks is None else blanks
    if file_format == 'csv':
        yield from _csv_rows(path, blanks)
        return
    for number, line in read_lines(path):
        if not line.strip(' '):     # one of tabs has empty fields
            blanks.append(number)
        elif file_format == 'tsv':
            yield number, line.split('\t')
        else:
            yield number, json_row(path, number, line)


def format_of(path):
    """'tsv', 'csv' or 'jsonl' by the ending of `path`; UserError for another."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in FORMATS:
        raise UserError('%s: the ending "%s" doesn\'t tell the format: name it .csv, .tsv or '
                        '.jsonl' % (path, ending))
    return FORMATS[ending]


def _csv_rows(path, blanks):
    csv.field_size_limit(sys.maxsize)       # a field may be a whole document
    reader = csv.reader((line + '\n' for _, line in read_lines(path)), strict=True)
    start = 1
    try:
        for row in reader:
            if row:
                yield start, row
            else:
                blanks.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise UserError('%s:%d: not CSV: %s' % (path, start, error)) from None


def json_row(path, number, line):
    """The dictionary in a line of JSON; `UserError` naming path and line for anything else."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UserError('%s:%d: not JSON: %s' % (path, number, error)) from None
    except RecursionError:
        raise UserError('%s:%d: JSON that is nested too deeply' % (path, number)) from None
    if not isinstance(row, dict):
        raise UserError('%s:%d: %s found, expected one JSON object a line'
                        % (path, number, type(row).__name__))
    return row


def read_examples(path, table, check_label=None, skip_bad_rows=False):
    """Read `path` into (list of Example, list of Rejected).

    check_label: called with the label's text; raises KeyError or ValueError for a bad one.
    skip_bad_rows: leave bad rows out and report them, instead of a `UserError`.
    """
    examples, rejected = [], []
    rows = read_rows(path)
    fields = _locate_columns(path, rows, table)
    for number, row in rows:
        try:
            examples.append(_example(path, number, row, fields, table, check_label))
        except UserError as error:
            if not skip_bad_rows:
                raise
            rejected.append(Rejected(path, number, str(error)))
    if not examples:
        raise UserError('%s: no examples in it (%d rows rejected)' % (path, len(rejected))
                        if rejected else '%s: no examples in it' % path)
    return examples, rejected


def read_column(path, column):
    """Yield the texts of one column, one row at a time; `UserError` for a bad row. Blank lines are
    no rows: one warning at the end counts them.

    column: its name, or its position (from 0) in a file without header.
    """
    table = Table((column,), None, () if re.fullmatch('[0-9]+', column) else None)
    blanks = []
    rows = read_rows(path, blanks=blanks)
    fields = _locate_columns(path, rows, table)
    for number, row in rows:
        text, = _example(path, number, row, fields, table, None).texts
        if not is_text(text):
            raise UserError('%s:%d: half a surrogate pair in the text: it can\'t be written as '
                            'UTF-8' % (path, number))
        yield text
    if blanks:
        LOG.warning('%s: %d blank lines are no rows, the first of them line %d', path, len(blanks),
                    blanks[0])


class _Fields(NamedTuple):
    """Where the columns of a table stand in the rows of a file."""
    text: tuple
    label: object
    width: int | None        # fields a row must have; None for JSON lines


def _locate_columns(path, rows, table):
    if format_of(path) == 'jsonl':
        return _Fields(table.text, table.label, None)
    header = table.header
    if header is None:
        header = next(rows, (0, None))[1]
        if header is None:
            raise UserError('%s: empty file, expected a header and examples' % path)
    wanted = list(table.text) + ([table.label] if table.label is not None else [])
    if not header:
        return _Fields(tuple(int(name) for name in table.text),
                       None if table.label is None else int(table.label), None)
    for name in wanted:
        if name not in header:
            raise UserError('%s: no column "%s"; its columns are %s.%s'
                            % (path, name, ', '.join(header), nearest(name, header)))
        if header.count(name) > 1:
            raise UserError('%s: %d columns are called "%s": rename all but one'
                            % (path, header.count(name), name))
    return _Fields(tuple(header.index(name) for name in table.text),
                   header.index(table.label) if table.label is not None else None, len(header))


def _example(path, number, row, fields, table, check_label):
    if isinstance(row, list):
        needed = 1 + max(list(fields.text) + ([fields.label] if fields.label is not None else []))
        expected = fields.width or needed
        if len(row) != expected if fields.width else len(row) < expected:
            raise UserError('%s:%d: %d columns found, %d expected' % (path, number, len(row),
                                                                      expected))
    texts = tuple(_field(path, number, row, field) for field in fields.text)
    label = None
    if table.label is not None:
        label = _field(path, number, row, fields.label)
        if check_label is not None:
            _check(path, number, label, check_label)
        elif not label.strip():     # it would become a class of its own
            raise UserError('%s:%d: the label is empty' % (path, number))
    return Example(texts, label, path, number)


def _field(path, number, row, field):
    if isinstance(row, list):
        return row[field]
    if field not in row:
        raise UserError('%s:%d: no "%s" in it, found %s'
                        % (path, number, field, ', '.join(row) or 'an empty object'))
    value = row[field]
    if isinstance(value, (dict, list)) or value is None:
        raise UserError('%s:%d: "%s" is %s, expected text or a number'
                        % (path, number, field, json.dumps(value)[:40]))
    return value if isinstance(value, str) else json.dumps(value)


def is_text(value):
    """Whether a str can be written as UTF-8: half a surrogate pair can't."""
    try:
        value.encode('utf-8')
        return True
    except UnicodeEncodeError:
        return False


def _check(path, number, label, check_label):
    try:
        check_label(label)
    except (KeyError, ValueError):
        raise UserError('%s:%d: label "%s": expected %s'
                        % (path, number, label, check_label.expected)) from None
