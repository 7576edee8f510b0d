"""Rows with none, one or several labels: the forms in which files have them, and bad rows."""
import json

import pytest

from bert.data.glue.labels import LabelSetEncoder
from bert.data.text.label_sets import LabelSetColumns
from bert.data.text.readers import Table, read_examples
from bert.errors import UserError

SETS = [('film', 'art'), (), ('food',)]
ONE_COLUMN = LabelSetColumns(('topics',), ',')
INDICATORS = LabelSetColumns(('film', 'food', 'art'))


def read(path, columns, content=None, header=None, **arguments):
    if content is not None:
        path.write_text(content, encoding='utf-8')
    table = Table(('text',) if header is None else ('0',), columns, header)
    return read_examples(str(path), table, **arguments)


def labels_of(*arguments, **keywords):
    return [example.label for example in read(*arguments, **keywords)[0]]


def write_json(path, values):
    path.write_text(''.join(json.dumps({'text': 'a', 'topics': value}) + '\n' for value in values))
    return path


def test_forms(tmp_path):
    assert labels_of(tmp_path / 'a.csv', ONE_COLUMN,
                     'text,topics\na,"film,art"\nb,\nc, food \n') == SETS
    assert labels_of(tmp_path / 'a.tsv', LabelSetColumns(('topics',), ' / '),
                     'text\ttopics\na\tfilm / art\nb\t\nc\tfood\n') == SETS
    assert labels_of(tmp_path / 'b.tsv', LabelSetColumns(('1',), '|'),
                     'a\tfilm|art\nb\t\nc\tfood\n', header=()) == SETS
    assert labels_of(write_json(tmp_path / 'a.jsonl', map(list, SETS)), ONE_COLUMN) == SETS
    assert labels_of(tmp_path / 'c.tsv', INDICATORS,
                     'film\ttext\tfood\tart\n1\ta\t0\t1\n0\tb\t 0\t0\n0\tc\t1\t0\n') == SETS
    assert labels_of(tmp_path / 'b.jsonl', INDICATORS,
                     '{"text": "a", "film": 1, "food": 0, "art": "1"}\n'
                     '{"text": "b", "film": 0, "food": 0, "art": 0}\n') == SETS[:2]


@pytest.mark.parametrize('cell,message', [
    ('film,film', 'the label "film" occurs 2 times, expected once'),
    ('film,,art', 'a label is empty'), ('film,', 'a label is empty'), (',', 'a label is empty'),
    ('film,fodo', 'label "fodo": expected one of film, food, art')])
def test_bad_texts(tmp_path, cell, message):
    path = tmp_path / 'a.tsv'
    encode = LabelSetEncoder(('film', 'food', 'art'))
    with pytest.raises(UserError) as info:
        read(path, ONE_COLUMN, 'text\ttopics\na\tfilm\nb\t%s\n' % cell, check_label=encode)
    assert str(info.value) == '%s:3: %s' % (path, message)
    examples, rejected = read(path, ONE_COLUMN, check_label=encode, skip_bad_rows=True)
    assert len(examples) == len(rejected) == 1
    assert rejected[0].reason == '%s:3: %s' % (path, message)


@pytest.mark.parametrize('value,message', [
    ('film', '"topics" is "film", expected a list of texts'),
    (None, '"topics" is null, expected a list of texts'),
    ([1], '"topics" is [1], expected a list of texts'),
    ([['film']], '"topics" is [["film"]], expected a list of texts'),
    ({'film': 1}, '"topics" is {"film": 1}, expected a list of texts'),
    ([' '], 'a label is empty'), (['film', 'film'], 'the label "film" occurs 2 times'),
    (['\ud800'], 'half a surrogate pair'),
    (['film,art'], 'the label "film,art" contains the separator ",": rename the label, or '
                   'choose another --label_separator')])
def test_bad_lists(tmp_path, value, message):
    path = write_json(tmp_path / 'a.jsonl', [['film'], value])
    with pytest.raises(UserError) as info:
        read(path, ONE_COLUMN)
    assert str(info.value).startswith('%s:2: ' % path) and message in str(info.value)


def test_a_row_without_the_key(tmp_path):
    with pytest.raises(UserError, match='a.jsonl:1: no key "topics", found text'):
        read(tmp_path / 'a.jsonl', ONE_COLUMN, '{"text": "a"}\n')


@pytest.mark.parametrize('value', ['2', '', 'yes', '1.0', '-1', 'true'])
def test_what_is_neither_0_nor_1(tmp_path, value):
    with pytest.raises(UserError, match='a.csv:2: "food" is "%s", expected 0 or 1' % value):
        read(tmp_path / 'a.csv', INDICATORS, 'text,film,food,art\na,1,%s,0\n' % value)


def test_a_column_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match='no column "art"; its columns are text, film, food'):
        read(tmp_path / 'a.csv', INDICATORS, 'text,film,food\na,1,0\n')
