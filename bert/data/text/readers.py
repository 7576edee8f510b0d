"""Readers of labelled texts: TSV, CSV and JSON lines. Every error names the file and line."""
import csv
import itertools
import json
import logging
import math
import os
import re
import sys
from typing import NamedTuple

from bert.data.text.label_sets import LabelSetColumns
from bert.errors import NOT_UNICODE, UserError, did_you_mean, is_unicode

LOG = logging.getLogger(__name__)

FORMATS = {'.tsv': 'tsv', '.txt': 'tsv', '.csv': 'csv', '.jsonl': 'jsonl', '.json': 'jsonl'}


class Example(NamedTuple):
    """One raw example and its place in a file."""
    texts: tuple[str, ...]
    label: str | tuple[str, ...] | None     # a tuple: a set of labels
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
    label: the column of the label, `LabelSetColumns` for a set of labels, or None.
    header: column names for a file without a header; () means that the columns are positions, None
        that the first row is the header.
    """
    text: tuple[str, ...]
    label: str | LabelSetColumns | None = None
    header: tuple[str, ...] | None = None

    @property
    def label_columns(self):
        """The columns of the label, a tuple."""
        if isinstance(self.label, LabelSetColumns):
            return self.label.columns
        return () if self.label is None else (self.label,)


def read_lines(path):
    """Yield (line number, text) of a UTF-8 file, without a byte-order mark and line ends."""
    try:
        with open(path, 'rb') as lines:
            yield from decode_lines(lines, path)
    except OSError as error:
        raise UserError('%s: can\'t be read: %s' % (path, error.strerror)) from None


def decode_lines(lines, source):
    """The same for lines of bytes. A file of one line with carriage returns in it is one of old
    Macintosh line ends. source: the name of the lines in errors."""
    return ((line_number, _raise_error(line))
            for line_number, line in _lines_and_errors(lines, source))


def _raise_error(item):
    if isinstance(item, UserError):
        raise item
    return item


def _lines_and_errors(lines, source):
    """The same, with a `UserError` in place of a line that is not UTF-8."""
    for line_number, line in enumerate(_split_at_returns(lines), 1):
        try:
            text = line.decode('utf-8')
        except UnicodeDecodeError as error:
            yield line_number, UserError(
                '%s:%d: not UTF-8 at byte %d of the line: save the file as UTF-8'
                % (source, line_number, error.start + 1))
            continue
        if line_number == 1 and text.startswith('\ufeff'):
            text = text[1:]
        yield line_number, text.rstrip('\r\n')


def _split_at_returns(lines):
    lines = iter(lines)
    first_lines = list(itertools.islice(lines, 2))
    if len(first_lines) == 1 and b'\r' in first_lines[0].rstrip(b'\r\n'):
        first_lines = first_lines[0].rstrip(b'\n').removesuffix(b'\r').split(b'\r')
    yield from first_lines
    yield from lines


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


def read_rows(path, file_format=None):
    """Yield (line number, row): a list of fields (tsv, csv) or a dict (jsonl). Blank lines are no
    rows.

    TSV has no quoting: '"' is an ordinary character, as in GLUE. CSV has quoting (RFC 4180).
    """
    return ((line_number, _raise_error(row)) for line_number, row in
            _all_rows(path, file_format) if not _is_blank(row))


def _all_rows(path, file_format=None):
    """The same with blank lines, as lists of one field, and a `UserError` in place of a row that
    can't be read."""
    file_format = file_format or format_of(path)
    try:
        with open(path, 'rb') as file:
            lines = _lines_and_errors(file, path)
            yield from _csv_rows(path, lines) if file_format == 'csv' else (
                (line_number, _parse_line(path, line_number, line, file_format))
                for line_number, line in lines)
    except OSError as error:
        raise UserError('%s: can\'t be read: %s' % (path, error.strerror)) from None


def _parse_line(path, line_number, line, file_format):
    if isinstance(line, UserError):
        return line
    if file_format == 'tsv' or not line.strip(' '):
        return line.split('\t')
    try:
        return parse_json_row(path, line_number, line)
    except UserError as error:
        return error


def _is_blank(row):
    """Whether a row stands for a blank line. A line of tabs is a row of empty fields."""
    return isinstance(row, list) and len(row) == 1 and not row[0].strip(' ')


class _BlankLines:
    """Counts the blank lines of a file that are not rows."""

    def __init__(self, path):
        self._path, self._lines = path, []

    def leave_out(self, rows, num_columns):
        """Yield the rows. In a table of one column a blank line is a row: its text is empty."""
        for line_number, row in rows:
            if num_columns != 1 and _is_blank(row):
                self._lines.append(line_number)
            else:
                yield line_number, row

    def warn(self):
        if self._lines:
            LOG.warning('%s: %d blank lines skipped, the first is line %d', self._path,
                        len(self._lines), self._lines[0])


def read_json_rows(source, lines):
    """Yield (line number, dictionary) of lines of JSON. A warning at the end counts blank lines.

    lines: (line number, text) of each. source: their name in messages."""
    blank_lines = _BlankLines(source)
    rows = ((line_number, _parse_line(source, line_number, line, 'jsonl'))
            for line_number, line in lines)
    for line_number, row in blank_lines.leave_out(rows, None):
        yield line_number, _raise_error(row)
    blank_lines.warn()


def format_of(path):
    """'tsv', 'csv' or 'jsonl' by the ending of `path`; `UserError` for any other ending."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in FORMATS:
        raise UserError('%s: %s: expected .csv, .tsv or .jsonl' % (
            path, 'a folder' if os.path.isdir(path) else 'unknown file ending "%s"' % ending))
    return FORMATS[ending]


def _csv_rows(path, lines):
    csv.field_size_limit(sys.maxsize)       # a field may be a whole document
    bad_lines = []

    def texts():
        for _, line in lines:
            if isinstance(line, UserError):
                bad_lines.append(line)
                line = ''
            yield line + '\n'
    reader = csv.reader(texts(), strict=True)
    start, row = 1, []
    while row is not None:
        try:
            row = next(reader, None)
            item = row or ['']
        except csv.Error as error:
            item = UserError('%s:%d: not CSV: %s' % (path, start, error))
        if bad_lines:       # one of the lines of this row
            item = bad_lines[0]
            bad_lines.clear()
        if row is not None:
            yield start, item
        start = reader.line_num + 1


def parse_json_row(path, line_number, line):
    """The dictionary in a line of JSON; `UserError` with path and line for anything else."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UserError('%s:%d: not JSON: %s' % (path, line_number, error)) from None
    except RecursionError:
        raise UserError('%s:%d: JSON that is nested too deeply' % (path, line_number)) from None
    if not isinstance(row, dict):
        raise UserError('%s:%d: %s found, expected one JSON object per line'
                        % (path, line_number, type(row).__name__))
    return row


def read_examples(path, table, check_label=None, skip_bad_rows=False):
    """Read `path` into (list of Example, list of RejectedRow).

    check_label: function(label text) that raises KeyError or ValueError for a bad label.
    skip_bad_rows: leave bad rows out and return them, instead of raising a `UserError`.
    """
    examples, rejected, blank_lines = [], [], _BlankLines(path)
    fields, rows = _locate_columns(path, _all_rows(path), table, blank_lines)
    for line_number, row in blank_lines.leave_out(rows, fields.num_columns):
        try:
            examples.append(_example(path, line_number, row, fields, table, check_label))
        except UserError as error:
            if not skip_bad_rows:
                raise
            rejected.append(RejectedRow(path, line_number, str(error)))
    blank_lines.warn()
    if not examples:
        raise UserError('%s: no examples in it (%d rows rejected)' % (path, len(rejected))
                        if rejected else '%s: no examples in it' % path)
    return examples, rejected


def read_column(path, column):
    """Yield the texts of one column, row by row; `UserError` for a bad row.

    column: its name, or its position (from 0) in a file without a header.
    """
    table = Table((column,), None, () if re.fullmatch('[0-9]+', column) else None)
    blank_lines = _BlankLines(path)
    fields, rows = _locate_columns(path, _all_rows(path), table, blank_lines)
    for line_number, row in blank_lines.leave_out(rows, fields.num_columns):
        text, = _example(path, line_number, row, fields, table, None).texts
        yield text
    blank_lines.warn()


def read_labels(path, table):
    """The labels of a file that may have none: a text for each row, '' for a row without one."""
    if format_of(path) == 'jsonl':
        values = [row.get(table.label) for _, row in read_rows(path)]
        return ['' if value is None else value if isinstance(value, str) else json.dumps(value)
                for value in values]
    rows, header = read_rows(path), table.header
    header = next(rows, (0, []))[1] if header is None else header
    if not header:
        column = int(table.label) if table.label.isdecimal() else None
    else:
        column = header.index(table.label) if table.label in header else None
    return ['' if column is None or column >= len(row) else row[column] for _, row in rows]


class _Fields(NamedTuple):
    """The places of a table's columns in the rows of a file."""
    text: tuple
    label: tuple
    width: int | None       # fields in each row; None: at least those that the columns need
    num_columns: int | None     # of the file; None for JSON

    @property
    def num_needed(self):
        """Fields that the columns by number need."""
        return 1 + max(self.text + self.label)


def _hint_at_column(name, header):
    """What may help where a column is missing: the separator, or a similar name."""
    for separator in ';,':
        if len(header) == 1 and separator in header[0]:
            return (' The separator seems to be "%s": columns are separated by commas in .csv, by '
                    'tabs in .tsv and .txt' % separator)
    return did_you_mean(name, header)


def _locate_columns(path, rows, table, blank_lines):
    """(`_Fields`, the rows after the header)"""
    if format_of(path) == 'jsonl':
        return _Fields(table.text, table.label_columns, None, None), rows
    header = table.header
    if header is None:
        header = _raise_error(next(blank_lines.leave_out(rows, None), (0, None))[1])
        if header is None:
            raise UserError('%s: empty file, expected a header and examples' % path)
    columns = table.text + table.label_columns
    if not header:
        first_rows = []
        for item in rows:       # to the first that shows how many columns the file has
            first_rows.append(item)
            if isinstance(item[1], list) and not _is_blank(item[1]):
                break
        num_columns = max([len(row) for _, row in first_rows if isinstance(row, list)], default=1)
        return _Fields(tuple(map(int, table.text)), tuple(map(int, table.label_columns)), None,
                       num_columns), itertools.chain(first_rows, rows)
    for name in columns:
        if name not in header:
            raise UserError('%s: no column "%s"; its columns are %s.%s' % (
                path, name, ', '.join(header), _hint_at_column(name, header)))
        if header.count(name) > 1:
            raise UserError('%s: %d columns are called "%s": rename all but one'
                            % (path, header.count(name), name))
    return _Fields(tuple(header.index(name) for name in table.text),
                   tuple(header.index(name) for name in table.label_columns), len(header),
                   len(header)), rows


def _example(path, line_number, row, fields, table, check_label):
    if isinstance(_raise_error(row), list):
        expected = fields.width or fields.num_needed
        if len(row) != expected if fields.width else len(row) < expected:
            raise UserError('%s:%d: %d column%s found, expected %d' % (
                path, line_number, len(row), '' if len(row) == 1 else 's', expected))
    texts = tuple(_field(path, line_number, row, field) for field in fields.text)
    label = None
    if table.label is not None:
        label = _label(path, line_number, row, fields, table)
        if check_label is not None:
            _check(path, line_number, label, check_label)
        elif isinstance(label, str) and not label.strip():
            # it would become a class of its own
            raise UserError('%s:%d: the label is empty' % (path, line_number))
    return Example(texts, label, path, line_number)


def _label(path, line_number, row, fields, table):
    if not isinstance(table.label, LabelSetColumns):
        return _field(path, line_number, row, *fields.label)
    return table.label.read('%s:%d' % (path, line_number),
                            [_value(path, line_number, row, field) for field in fields.label],
                            isinstance(row, dict))


def _value(path, line_number, row, field):
    if isinstance(row, dict) and field not in row:
        raise UserError('%s:%d: no key "%s", found %s'
                        % (path, line_number, field, ', '.join(row) or 'an empty object'))
    return row[field]


def _field(path, line_number, row, field):
    value = _value(path, line_number, row, field)
    if isinstance(row, list):
        return value
    if isinstance(value, (dict, list)) or value is None:
        raise UserError('%s:%d: "%s" is %s, expected text or a number'
                        % (path, line_number, field, json.dumps(value)[:40]))
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError('%s:%d: "%s" is %s, which is not a number'
                        % (path, line_number, field, value))
    if isinstance(value, str) and not is_unicode(value):
        raise UserError('%s:%d: %s, in a text' % (path, line_number, NOT_UNICODE))
    return value if isinstance(value, str) else json.dumps(value)


def _check(path, line_number, label, check_label):
    try:
        check_label(label)
    except (KeyError, ValueError) as error:
        if isinstance(error, KeyError):     # of a set, the label that is unknown
            label, = error.args
        raise UserError('%s:%d: label "%s": expected %s'
                        % (path, line_number, label, check_label.expected)) from None
