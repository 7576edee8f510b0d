"""Files to examples: the files that are read, and the error for every broken file."""
import pytest

from bert.data.glue.labels import LabelEncoder
from bert.data.glue.tasks import TASKS
from bert.data.text.readers import (
    Table,
    format_of,
    read_column,
    read_examples,
    read_labels,
    read_lines,
    read_rows,
)
from bert.errors import UserError

TEXT_LABEL = Table(('text',), 'label')
BINARY = LabelEncoder(('0', '1'))


@pytest.fixture
def write(tmp_path, monkeypatch):
    """write(name, content) → name. It encodes str as UTF-8. Names are relative, as in messages."""
    monkeypatch.chdir(tmp_path)

    def write(name, content):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return name
    return write


def read(path, table=TEXT_LABEL, check_label=None, **options):
    """[(texts, label, line)] of the examples."""
    examples, rejected = read_examples(path, table, check_label, **options)
    assert rejected == []
    return [(example.texts, example.label, example.line) for example in examples]


def error_of(path, table=TEXT_LABEL, check_label=None):
    with pytest.raises(UserError) as error:
        read_examples(path, table, check_label)
    return str(error.value)


# ---- files that are read

def test_tsv_has_no_quotes(write):
    path = write('a.tsv', 'text\tlabel\n"He said ""no""\t1\n"\t0\n')
    assert read(path) == [(('"He said ""no""',), '1', 2), (('"',), '0', 3)]


def test_csv_has_quotes_and_newlines_in_them(write):
    path = write('a.csv', 'text,label\n"a, ""b""",1\n"two\nlines",0\n\nlast,1\n')
    assert read(path) == [(('a, "b"',), '1', 2), (('two\nlines',), '0', 3), (('last',), '1', 6)]


def test_json_lines(write):
    path = write('a.jsonl', '{"text": "a", "label": 1}\n\n{"label": 2.5, "text": "é\\n"}\n'
                            '{"text": 7, "label": true}\n')
    assert read(path) == [(('a',), '1', 1), (('é\n',), '2.5', 3), (('7',), 'true', 4)]


@pytest.mark.parametrize('name,content', [
    ('a.tsv', 'text\tlabel\na\t1\nb\t0'), ('a.csv', 'text,label\na,1\nb,0'),
    ('a.jsonl', '{"text": "a", "label": "1"}\n{"text": "b", "label": "0"}')])
@pytest.mark.parametrize('start', ['', '\ufeff'], ids=['plain', 'BOM'])
@pytest.mark.parametrize('end', ['\n', '\r\n'], ids=['LF', 'CRLF'])
def test_byte_order_mark_and_line_ends_are_no_content(name, content, start, end, write):
    for last_end in ('', end):      # the last line may lack its end
        path = write(name, start + content.replace('\n', end) + last_end)
        assert [row[:2] for row in read(path)] == [(('a',), '1'), (('b',), '0')]


def test_columns_in_any_order_and_among_others(write):
    path = write('a.tsv', 'id\tlabel\tb\ta\n7\tx\tsecond\tfirst\n')
    assert read(path, Table(('a', 'b'), 'label')) == [(('first', 'second'), 'x', 2)]


def test_columns_by_position_in_a_file_without_header(write):
    path = write('a.tsv', 'gj04\t1\t\tThe sailors rode.\textra\ncj99\t0\t*\tYou eat.\n')
    assert read(path, Table(('3',), '1', ())) == [(('The sailors rode.',), '1', 1),
                                                  (('You eat.',), '0', 2)]


def test_header_given_for_a_file_without_one(write):
    path = write('a.tsv', 'gj04\t1\t\tThe sailors rode.\n')
    table = Table(('sentence',), 'acceptable', ('source', 'acceptable', 'mark', 'sentence'))
    assert read(path, table) == [(('The sailors rode.',), '1', 1)]


def test_without_label_column(write):
    assert read(write('a.csv', 'text\na\n'), Table(('text',))) == [(('a',), None, 2)]


def test_blank_lines_are_no_rows_but_empty_fields_are(write):
    path = write('a.tsv', '\ntext\tlabel\n\na\t1\n  \n\t0\n')
    assert read(path) == [(('a',), '1', 4), (('',), '0', 6)]


@pytest.mark.parametrize('name, content', [
    ('a.tsv', 'text\nfirst\n\n \nlast\n'), ('a.csv', 'text\nfirst\n\n \nlast\n'),
    ('a.csv', 'text\nfirst\n""\n" "\nlast\n'),
    ('a.tsv', 'first\n\n \nlast\n'), ('a.csv', 'first\n\n \nlast'),
    ('a.jsonl', '{"text": "first"}\n{"text": ""}\n{"text": " "}\n{"text": "last"}\n')])
def test_an_empty_text_is_a_row_in_a_table_of_one_column(write, name, content):
    path = write(name, content)
    table = Table(('text',)) if 'text' in content else Table(('0',), None, ())
    assert [texts for texts, _, _ in read(path, table)] == [('first',), ('',), (' ',), ('last',)]
    column = 'text' if 'text' in content else '0'
    assert list(read_column(path, column)) == ['first', '', ' ', 'last']


@pytest.mark.parametrize('name, content', [
    ('a.tsv', 'text\tlabel\na\t1\n\n  \nb\t0\n\n'), ('a.csv', 'text,label\na,1\n\n  \nb,0\n\n'),
    ('a.jsonl', '{"text": "a", "label": 1}\n\n  \n{"text": "b", "label": 0}\n\n')])
def test_blank_lines_of_other_tables_are_counted(write, caplog, name, content):
    assert [label for _, label, _ in read(write(name, content))] == ['1', '0']
    first = 2 if name == 'a.jsonl' else 3
    assert caplog.messages == [
        '%s: 3 blank lines skipped, the first is line %d' % (name, first)]


@pytest.mark.parametrize('name, content', [
    ('a.tsv', b'text\tlabel\ra\t1\rb\t0\r'), ('a.csv', b'text,label\ra,1\rb,0'),
    ('a.csv', b'\xef\xbb\xbftext,label\ra,1\rb,0\r'),
    ('a.jsonl', b'\r{"text": "a", "label": 1}\r{"text": "b", "label": 0}\r')])
def test_old_macintosh_line_ends(write, name, content):
    assert read(write(name, content)) == [(('a',), '1', 2), (('b',), '0', 3)]


def test_old_macintosh_line_ends_and_one_line_feed_at_the_end(write):
    path = write('a.tsv', b'text\tlabel\ra\t1\rb\t0\n')
    assert read(path) == [(('a',), '1', 2), (('b',), '0', 3)]


@pytest.mark.parametrize('name, content, line, reason', [
    ('a.tsv', b'text\tlabel\na\t1\ncaf\xe9\t1\nb\t0\n', 3, 'not UTF-8 at byte 4'),
    ('a.csv', b'text,label\na,1\ncaf\xe9,1\nb,0\n', 3, 'not UTF-8 at byte 4'),
    ('a.csv', b'text,label\na,1\n"a"b,1\nb,0\n', 3, 'not CSV'),
    ('a.csv', b'text,label\na,1\nb,0\n"a,1\n', 4, 'not CSV'),
    ('a.jsonl', b'{"text": "a", "label": 1}\n{"text": "b", \n{"text": "b", "label": 0}\n', 2,
     'not JSON'),
    ('a.jsonl', b'{"text": "a", "label": 1}\n[1]\n{"text": "b", "label": 0}\n', 2, 'list found'),
    ('a.jsonl', b'{"text": "a", "label": 1}\n{"text": NaN, "label": 1}\n'
                b'{"text": "b", "label": 0}\n', 2, '"text" is nan, which is not a number')])
def test_every_kind_of_bad_row_may_be_skipped(write, name, content, line, reason):
    path = write(name, content)
    examples, rejected = read_examples(path, TEXT_LABEL, BINARY, skip_bad_rows=True)
    assert [example.texts for example in examples] == [('a',), ('b',)]
    (row,) = rejected
    assert row.line == line and row.reason.startswith('%s:%d: %s' % (path, line, reason))
    assert error_of(path) == row.reason


def test_a_table_by_number_is_as_wide_as_its_rows(write, caplog):
    path = write('a.tsv', 'a\t1\n\nb\t2\n')
    for column in ('0', '1'):
        texts = [texts for texts, _, _ in read(path, Table((column,), None, ()))]
        assert texts == ([('a',), ('b',)] if column == '0' else [('1',), ('2',)])
    assert caplog.messages == ['a.tsv: 1 blank lines skipped, the first is line 2'] * 2


def test_a_carriage_return_in_a_line_is_text(write):
    assert read(write('a.tsv', b'text\tlabel\na\rb\t1\n')) == [(('a\rb',), '1', 2)]


@pytest.mark.parametrize('row', ['{"text": "a\\ud800", "label": "1"}',
                                 '{"text": "a", "label": "\\udfff"}'])
def test_half_a_surrogate_pair(write, row):
    path = write('a.jsonl', '{"text": "\\ud83d\\ude00", "label": "1"}\n%s\n' % row)
    assert error_of(path) == \
        'a.jsonl:2: half a surrogate pair, or bytes that are not UTF-8, in a text'
    examples, rejected = read_examples(path, TEXT_LABEL, None, skip_bad_rows=True)
    assert [example.texts for example in examples] == [('😀',)]
    assert [(row.line, row.reason) for row in rejected] == [(2, error_of(path))]


@pytest.mark.parametrize('name, content, expected', [
    ('a.tsv', 'text\tlabel\na\t1\n\nb\t\n', ['1', '']), ('a.tsv', 'text\na\nb\n', ['', '']),
    ('a.csv', 'label,text\n1.5,a\n', ['1.5']), ('a.csv', 'text,other\na,1\n', ['']),
    ('a.jsonl', '{"text": "a", "label": 0}\n{"text": "b"}\n{"text": "c", "label": null}\n'
                '{"label": "x"}\n', ['0', '', '', 'x'])])
def test_labels_that_may_be_absent(write, name, content, expected):
    assert read_labels(write(name, content), TEXT_LABEL) == expected


def test_labels_by_number_that_may_be_absent(write):
    path = write('a.tsv', 'a\t1\nb\n')
    assert read_labels(path, Table(('0',), '1', ())) == ['1', '']
    assert read_labels(path, Table(('0',), '7', ())) == ['', '']


def test_empty_label(write):
    path = write('a.tsv', 'text\tlabel\na\t1\nb\t\n')
    with pytest.raises(UserError) as error:
        read(path)
    assert str(error.value) == '%s:3: the label is empty' % path


def test_lines_break_at_line_feeds_only(write):
    path = write('a.tsv', 'text\tlabel\na\u2028b\x85c\x0bd\t1\n')
    assert read(path) == [(('a\u2028b\x85c\x0bd',), '1', 2)]
    assert list(read_lines(path))[0] == (1, 'text\tlabel')


def test_file_endings_give_the_format():
    assert [format_of('x/a' + ending) for ending in ('.tsv', '.TXT', '.csv', '.jsonl', '.json')] \
        == ['tsv', 'tsv', 'csv', 'jsonl', 'jsonl']
    with pytest.raises(UserError) as error:
        format_of('train.xlsx')
    assert str(error.value) == ('train.xlsx: unknown file ending ".xlsx": expected .csv, .tsv or '
                                '.jsonl')


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UserError) as error:
        format_of(str(tmp_path))
    assert str(error.value) == '%s: a folder: expected .csv, .tsv or .jsonl' % tmp_path


# ---- files that are refused

def test_missing_file(write):
    assert error_of('absent.tsv') == 'absent.tsv: can\'t be read: No such file or directory'


def test_unreadable_file(write, tmp_path):
    (tmp_path / 'folder.csv').mkdir()
    assert error_of('folder.csv') == 'folder.csv: can\'t be read: Is a directory'


@pytest.mark.parametrize('name', ['a.tsv', 'a.csv'])
def test_empty_file(name, write):
    assert error_of(write(name, '')) == name + ': empty file, expected a header and examples'
    assert error_of(write(name, '\n\n')) == name + ': empty file, expected a header and examples'


def test_file_without_examples(write):
    assert error_of(write('a.tsv', 'text\tlabel\n')) == 'a.tsv: no examples in it'
    assert error_of(write('a.jsonl', '')) == 'a.jsonl: no examples in it'
    assert error_of(write('a.tsv', ''), Table(('0',), '1', ())) == 'a.tsv: no examples in it'


def test_unknown_column(write):
    path = write('a.csv', 'text,labels\na,1\n')
    assert error_of(path) == ('a.csv: no column "label"; its columns are text, labels. Did you '
                              'mean "labels"?')
    for name, separator in (('a.csv', ';'), ('a.txt', ',')):
        header = 'text%slabel' % separator
        assert error_of(write(name, header + '\nb%s1\n' % separator)) == (
            '%s: no column "text"; its columns are %s. The separator seems to be "%s": columns are '
            'separated by commas in .csv, by tabs in .tsv and .txt' % (name, header, separator))


def test_repeated_column(write):
    assert error_of(write('a.csv', 'text,label,text\na,1,b\n')) == \
        'a.csv: 2 columns are called "text": rename all but one'


def test_wrong_number_of_columns(write):
    path = write('a.tsv', 'id\ttext\tlabel\n1\ta\t0\n2\tb\n')
    assert error_of(path) == 'a.tsv:3: 2 columns found, expected 3'
    path = write('a.tsv', 'id\ttext\tlabel\n1\ta\tb\t0\n')
    assert error_of(path) == 'a.tsv:2: 4 columns found, expected 3'
    path = write('a.csv', 'text,label\n"quoted\nnewline",1\nunquoted, comma,1\n')
    assert error_of(path) == 'a.csv:4: 3 columns found, expected 2'
    path = write('a.csv', 'a,1\nb\n')
    assert error_of(path, Table(('0',), '1', ())) == 'a.csv:2: 1 column found, expected 2'


def test_bad_label(write):
    path = write('a.tsv', 'text\tlabel\na\t1\nb\tmaybe\n')
    assert error_of(path, check_label=BINARY) == 'a.tsv:3: label "maybe": expected one of 0, 1'
    path = write('a.csv', 'text,label\n"a\nb",1\nc,\n')
    assert error_of(path, check_label=BINARY) == 'a.csv:4: label "": expected one of 0, 1'


@pytest.mark.parametrize('score', ['high', 'NaN', 'inf', ''])
def test_bad_score(score, write):
    path = write('a.tsv', 'text\tlabel\na\t%s\n' % score)
    assert error_of(path, check_label=LabelEncoder()) == \
        'a.tsv:2: label "%s": expected a number' % score


def test_score_that_json_calls_nan(write):
    path = write('a.jsonl', '{"text": "a", "label": NaN}\n')
    assert error_of(path, check_label=LabelEncoder()) == \
        'a.jsonl:1: "label" is nan, which is not a number'


def test_not_utf8(write):
    path = write('a.tsv', b'text\tlabel\na\t1\ncaf\xe9\t1\n')
    assert error_of(path) == 'a.tsv:3: not UTF-8 at byte 4 of the line: save the file as UTF-8'
    path = write('a.csv', b'text,label\n\xff,1\n')
    assert error_of(path) == 'a.csv:2: not UTF-8 at byte 1 of the line: save the file as UTF-8'


def test_broken_csv(write):
    path = write('a.csv', 'text,label\na,1\n"never closed,1\nb,0\n')
    assert error_of(path) == 'a.csv:3: not CSV: unexpected end of data'
    assert error_of(write('a.csv', '"text"s,label\n')).startswith('a.csv:1: not CSV: ')
    path = write('a.csv', 'text,label\n"two\nlines",1\n"a"b,1\n')
    assert error_of(path).startswith('a.csv:4: not CSV: ')


def test_json_errors(write):
    path = write('a.jsonl', '{"text": "a", "label": 1}\n{"text": "a", "label"\n')
    assert error_of(path).startswith('a.jsonl:2: not JSON: ')
    path = write('a.jsonl', '["a", 1]\n')
    assert error_of(path) == 'a.jsonl:1: list found, expected one JSON object per line'
    path = write('a.jsonl', '{"text": "a"}\n')
    assert error_of(path) == 'a.jsonl:1: no key "label", found text'
    path = write('a.jsonl', '{}\n')
    assert error_of(path) == 'a.jsonl:1: no key "text", found an empty object'
    path = write('a.jsonl', '{"text": ["a", "b"], "label": 1}\n')
    assert error_of(path) == 'a.jsonl:1: "text" is ["a", "b"], expected text or a number'
    path = write('a.jsonl', '{"text": null, "label": 1}\n')
    assert error_of(path) == 'a.jsonl:1: "text" is null, expected text or a number'
    path = write('a.jsonl', '{"text": ["%s"], "label": 1}\n' % ('a' * 1000))
    assert len(error_of(path)) < 100


def test_a_json_array_over_several_lines_is_not_json_lines(write):
    path = write('a.json', '[\n  {"text": "a", "label": 1}\n]\n')
    assert error_of(path).startswith('a.json:1: not JSON: ')


# ---- rows left out on request

def test_bad_rows_are_reported_not_dropped(write):
    path = write('a.tsv', 'text\tlabel\na\t1\nb\nc\t2\nd\t0\n')
    examples, rejected = read_examples(path, TEXT_LABEL, BINARY, skip_bad_rows=True)
    assert [example.texts[0] for example in examples] == ['a', 'd']
    assert [tuple(row) for row in rejected] == [
        ('a.tsv', 3, 'a.tsv:3: 1 column found, expected 2'),
        ('a.tsv', 4, 'a.tsv:4: label "2": expected one of 0, 1')]


def test_only_bad_rows(write):
    path = write('a.tsv', 'text\tlabel\na\t7\nb\t8\n')
    with pytest.raises(UserError) as error:
        read_examples(path, TEXT_LABEL, BINARY, skip_bad_rows=True)
    assert str(error.value) == 'a.tsv: no examples in it (2 rows rejected)'


# ---- the real files, with the row counts that their publishers state

ROW_COUNTS = [
    ('MRPC', 'glue/MRPC', dict(train=3668, dev=408, test=1725)),
    ('RTE', 'glue/RTE', dict(train=2490, dev=277, test=3000)),
    ('CoLA', 'glue/CoLA', dict(train=8551, dev=1043, test=1063)),
    ('SST', 'glue/SST-2', dict(train=67349, dev=872, test=1821)),
    ('STS-B', 'glue/STS-B', dict(train=5749, dev=1500, test=1379)),
    ('WNLI', 'glue/WNLI', dict(train=635, dev=71, test=146)),
    ('ChnSentiCorp', 'ernie/chnsenticorp', dict(train=9600, dev=1200, test=1200)),
    ('XNLI', 'ernie/xnli', dict(dev=2490, test=5010)),
]


@pytest.mark.parametrize('name,folder,row_counts', ROW_COUNTS, ids=[row[0] for row in ROW_COUNTS])
def test_real_task(name, folder, row_counts, data_dir):
    task = TASKS[name]
    check_label = LabelEncoder(task.labels, task.aliases)
    for kind, num_rows in row_counts.items():
        segment = task.segments[kind]
        examples, rejected = read_examples(str(data_dir / folder / segment.file), segment.table,
                                           check_label if segment.has_labels else None)
        assert (len(examples), rejected) == (num_rows, [])
        assert all(text for example in examples for text in example.texts)
        assert {len(example.texts) for example in examples} == {2 if task.pair else 1}
        if segment.has_labels and task.labels:
            assert {example.label for example in examples} == set(task.labels)


def test_quotes_in_a_real_file_are_text(data_dir):
    path = str(data_dir / 'glue' / 'MRPC' / 'dev.tsv')
    rows = [row for _, row in read_rows(path)]
    assert rows[0] == ['Quality', '#1 ID', '#2 ID', '#1 String', '#2 String']
    assert rows[1][4].startswith('" The foodservice')
