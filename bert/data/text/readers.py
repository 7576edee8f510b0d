"""Readers of labelled texts: TSV, CSV and JSON lines. Every error names the file and line."""
import csv
import json
import logging
import os
import re
import sys
from typing import NamedTuple

from bert.errors import UserError, did_you_mean

LOG = logging.getLogger(__name__)

FORMATS = {'.tsv': 'tsv', '.txt': 'tsv', '.csv': 'csv', '.jsonl': 'jsonl', '.json': 'jsonl'}


class Example(NamedTuple):
    """One raw example and its place in a file."""
    texts: tuple[str, ...]
    label: str | None
    path: str
    line: int           # from 1


class RejectedRow(NamedTuple):
    """A row that a reader left out, and the reason."""
    path: str
    line: int
    reason: str


class Table(NamedTuple):
    """The columns to read from a file.

    text: one or two columns, by name, or by position (from 0) in a file without a header.
    label: the column of the label, or None.
    header: column names for a file without a header; () means that the columns are positions, None
        that the first row is the header.
    """
    text: tuple[str, ...]
    label: str | None = None
    header: tuple[str, ...] | None = None


def read_lines(path):
    """Yield (line number, text) of a UTF-8 file, without a byte-order mark and line ends."""
    try:
        with open(path, 'rb') as lines:
            for line_number, line in enumerate(lines, 1):
                try:
                    text = line.decode('utf-8')
                except UnicodeDecodeError as error:
                    raise UserError('%s:%d: not UTF-8 at byte %d of the line: save the file as '
                                    'UTF-8' % (path, line_number, error.start + 1)) from None
                if line_number == 1 and text.startswith('\ufeff'):
                    text = text[1:]
                yield line_number, text.rstrip('\r\n')
    except OSError as error:
        raise UserError('%s: can\'t be read: %s' % (path, error.strerror)) from None


def read_text(path):
    """The text of a UTF-8 file without a byte-order mark; line ends stay as they are."""
    try:
        with open(path, 'rb') as file:
            return decode_utf8(file.read(), path)
    except OSError as error:
        raise UserError('%s: can\'t be read: %s' % (path, error.strerror)) from None


def decode_utf8(content, source):
    """UTF-8 bytes → text without a byte-order mark. `source` names the bytes in the error."""
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise UserError('%s: not UTF-8 at byte %d: save it as UTF-8'
                        % (source, error.start + 1)) from None


def read_rows(path, file_format=None, blank_lines=None):
    """Yield (line number, row): a list of fields (tsv, csv) or a dict (jsonl).

    TSV has no quoting: '"' is an ordinary character, as in GLUE. CSV has quoting (RFC 4180).
    blank_lines: a list to which the numbers of blank lines are appended; these are not rows.
    """
    file_format = file_format or format_of(path)
    blank_lines = [] if blank_lines is None else blank_lines
    if file_format == 'csv':
        yield from _csv_rows(path, blank_lines)
        return
    for line_number, line in read_lines(path):
        if not line.strip(' '):     # a line of tabs is a row of empty fields
            blank_lines.append(line_number)
        elif file_format == 'tsv':
            yield line_number, line.split('\t')
        else:
            yield line_number, parse_json_row(path, line_number, line)


def format_of(path):
    """'tsv', 'csv' or 'jsonl' by the ending of `path`; `UserError` for any other ending."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in FORMATS:
        raise UserError('%s: the ending "%s" doesn\'t tell the format: name it .csv, .tsv or '
                        '.jsonl' % (path, ending))
    return FORMATS[ending]


def _csv_rows(path, blank_lines):
    csv.field_size_limit(sys.maxsize)       # a field may be a whole document
    reader = csv.reader((line + '\n' for _, line in read_lines(path)), strict=True)
    start = 1
    try:
        for row in reader:
            if row:
                yield start, row
            else:
                blank_lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise UserError('%s:%d: not CSV: %s' % (path, start, error)) from None


def parse_json_row(path, line_number, line):
    """The dictionary in a line of JSON; `UserError` with path and line for anything else."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UserError('%s:%d: not JSON: %s' % (path, line_number, error)) from None
    except RecursionError:
        raise UserError('%s:%d: JSON that is nested too deeply' % (path, line_number)) from None
    if not isinstance(row, dict):
        raise UserError('%s:%d: %s found, expected one JSON object a line'
                        % (path, line_number, type(row).__name__))
    return row


def read_examples(path, table, check_label=None, skip_bad_rows=False):
    """Read `path` into (list of Example, list of RejectedRow).

    check_label: function(label text) that raises KeyError or ValueError for a bad label.
    skip_bad_rows: leave bad rows out and return them, instead of raising a `UserError`.
    """
    examples, rejected = [], []
    rows = read_rows(path)
    fields = _locate_columns(path, rows, table)
    for line_number, row in rows:
        try:
            examples.append(_example(path, line_number, row, fields, table, check_label))
        except UserError as error:
            if not skip_bad_rows:
                raise
            rejected.append(RejectedRow(path, line_number, str(error)))
    if not examples:
        raise UserError('%s: no examples in it (%d rows rejected)' % (path, len(rejected))
                        if rejected else '%s: no examples in it' % path)
    return examples, rejected


def read_column(path, column):
    """Yield the texts of one column, row by row; `UserError` for a bad row. Blank lines are not
    rows: one warning at the end counts them.

    column: its name, or its position (from 0) in a file without a header.
    """
    table = Table((column,), None, () if re.fullmatch('[0-9]+', column) else None)
    blank_lines = []
    rows = read_rows(path, blank_lines=blank_lines)
    fields = _locate_columns(path, rows, table)
    for line_number, row in rows:
        text, = _example(path, line_number, row, fields, table, None).texts
        if not is_encodable(text):
            raise UserError('%s:%d: half a surrogate pair in the text: it can\'t be written as '
                            'UTF-8' % (path, line_number))
        yield text
    if blank_lines:
        LOG.warning('%s: %d blank lines are no rows, the first of them line %d', path,
                    len(blank_lines), blank_lines[0])


class _Fields(NamedTuple):
    """The places of a table's columns in the rows of a file."""
    text: tuple
    label: object
    width: int | None       # fields in each row; None: at least those that the columns need


def _locate_columns(path, rows, table):
    if format_of(path) == 'jsonl':
        return _Fields(table.text, table.label, None)
    header = table.header
    if header is None:
        header = next(rows, (0, None))[1]
        if header is None:
            raise UserError('%s: empty file, expected a header and examples' % path)
    columns = list(table.text) + ([table.label] if table.label is not None else [])
    if not header:
        return _Fields(tuple(int(name) for name in table.text),
                       None if table.label is None else int(table.label), None)
    for name in columns:
        if name not in header:
            raise UserError('%s: no column "%s"; its columns are %s.%s'
                            % (path, name, ', '.join(header), did_you_mean(name, header)))
        if header.count(name) > 1:
            raise UserError('%s: %d columns are called "%s": rename all but one'
                            % (path, header.count(name), name))
    return _Fields(tuple(header.index(name) for name in table.text),
                   header.index(table.label) if table.label is not None else None, len(header))


def _example(path, line_number, row, fields, table, check_label):
    if isinstance(row, list):
        columns = list(fields.text) + ([fields.label] if fields.label is not None else [])
        expected = fields.width or 1 + max(columns)
        if len(row) != expected if fields.width else len(row) < expected:
            raise UserError('%s:%d: %d columns found, %d expected' % (path, line_number, len(row),
                                                                      expected))
    texts = tuple(_field(path, line_number, row, field) for field in fields.text)
    label = None
    if table.label is not None:
        label = _field(path, line_number, row, fields.label)
        if check_label is not None:
            _check(path, line_number, label, check_label)
        elif not label.strip():     # an empty label would become a class of its own
            raise UserError('%s:%d: the label is empty' % (path, line_number))
    return Example(texts, label, path, line_number)


def _field(path, line_number, row, field):
    if isinstance(row, list):
        return row[field]
    if field not in row:
        raise UserError('%s:%d: no "%s" in it, found %s'
                        % (path, line_number, field, ', '.join(row) or 'an empty object'))
    value = row[field]
    if isinstance(value, (dict, list)) or value is None:
        raise UserError('%s:%d: "%s" is %s, expected text or a number'
                        % (path, line_number, field, json.dumps(value)[:40]))
    return value if isinstance(value, str) else json.dumps(value)


def is_encodable(value):
    """Whether a str can be written as UTF-8; half a surrogate pair can't."""
    try:
        value.encode('utf-8')
        return True
    except UnicodeEncodeError:
        return False


def _check(path, line_number, label, check_label):
    try:
        check_label(label)
    except (KeyError, ValueError):
        raise UserError('%s:%d: label "%s": expected %s'
                        % (path, line_number, label, check_label.expected)) from None
