"""sentences.py: words and tags in CoNLL columns and JSON lines, and what is wrong with a file."""
import io
import json

import pytest

from bert.data.ner.sentences import (
    TagColumns,
    TaggedSentence,
    read_sentences,
    read_tagged_file,
    write_sentence,
)
from bert.errors import UserError


def read(tmp_path, text, *columns):
    path = tmp_path / 'a.conll'
    path.write_text(text, encoding='utf-8')
    return [(sentence.words, sentence.tags, sentence.line)
            for sentence in read_sentences(str(path), *columns)]


@pytest.mark.parametrize('text, sentences', [
    ('a\tO\nb\tB-X\n\nc\tO\n', [(('a', 'b'), ('O', 'B-X'), 1), (('c',), ('O',), 4)]),
    ('a O\n \n\t\nc O', [(('a',), ('O',), 1), (('c',), ('O',), 4)]),
    ('-DOCSTART- -X- -X- O\n\nEU NNP I-NP I-ORG\n-DOCSTART- -X- O O\nhe PRP I-NP O\n',
     [(('EU',), ('I-ORG',), 3), (('he',), ('O',), 5)]),
    ('#hash\tO\nwith space\tB-X\r\n', [(('#hash', 'with space'), ('O', 'B-X'), 1)]),
    ('a  NN   O\nb\xa0c\u3000 B-X', [(('a', 'b\xa0c'), ('O', 'B-X'), 1)]),
    ('\tO\n\u200b\tO\n', [(('', '\u200b'), ('O', 'O'), 1)]),
    ('a\tO\r\n\r\nb\tO\r\n', [(('a',), ('O',), 1), (('b',), ('O',), 3)]),
    ('\ufeffa\tO\n\n\n\n-DOCSTART- O\n\nb\tO', [(('a',), ('O',), 1), (('b',), ('O',), 7)])])
def test_sentences(tmp_path, text, sentences):
    assert read(tmp_path, text) == sentences


def test_chosen_columns(tmp_path):
    text = '0 EU NNP I-NP I-ORG\n'
    assert read(tmp_path, text, 1, 3) == [(('EU',), ('I-NP',), 1)]
    assert read(tmp_path, text, 1) == [(('EU',), ('I-ORG',), 1)]


@pytest.mark.parametrize('text, columns, message', [
    ('a O\nb\n', (), r':2: 1 column found \("b"\), expected a word and its tag$'),
    ('a O\n', (0, 2), r':1: 2 columns found \("a O"\), expected a word and its tag in column 2'),
    ('a O\n', (3,), r':1: 2 columns found \("a O"\), expected a word in column 3, from 0$'),
    ('\n-DOCSTART- O\n', (), ': no words in it$'), ('', (), ': no words in it$')])
def test_errors(tmp_path, text, columns, message):
    with pytest.raises(UserError, match='a.conll' + message):
        read(tmp_path, text, *columns)


def test_the_shared_data(data_dir):
    """Its README says how many sentences there are."""
    for name, count in (('train', 3394), ('dev', 1009), ('test', 1287)):
        sentences = list(read_sentences(str(data_dir / 'ner' / 'wnut17' / (name + '.conll'))))
        assert len(sentences) == count
        assert all(type(sentence) is TaggedSentence and len(sentence.words) == len(sentence.tags)
                   for sentence in sentences)


# ---- Files by their names, and columns


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding='utf-8')
    return str(path)


def test_columns_of_a_conll_file(tmp_path):
    path = write(tmp_path, 'a.txt', '1 EU NNP I-NP B-ORG\n')
    for columns, words, tags in (
            (TagColumns('1'), ('EU',), ('B-ORG',)), (TagColumns('1', '3'), ('EU',), ('I-NP',)),
            (TagColumns('1', '-1'), ('EU',), ('B-ORG',)),
            (TagColumns('1', '0', has_tags=False), ('EU',), None),
            (TagColumns('-1', has_tags=False), ('B-ORG',), None)):
        assert read_tagged_file(path, columns) == [TaggedSentence(words, tags, path, 1)]


def test_words_without_tags(tmp_path):
    path = write(tmp_path, 'a.conll', 'EU\nrejects\n\nPeter\n')
    assert [sentence[:2] for sentence in read_tagged_file(path, TagColumns(has_tags=False))] == [
        (('EU', 'rejects'), None), (('Peter',), None)]
    path = write(tmp_path, 'a.jsonl', '{"tokens": ["EU"]}\n')
    assert read_tagged_file(path, TagColumns(has_tags=False)) == [
        TaggedSentence(('EU',), None, path, 1, False)]


@pytest.mark.parametrize('columns, message', [
    (TagColumns('x'), 'column of the word "x": expected the number of a column of %s, from 0'),
    (TagColumns('0', '-2'),
     'column of the tag "-2": expected the number of a column of %s, from 0'),
    (TagColumns('0', 'ner'),
     'column of the tag "ner": expected the number of a column of %s, from 0'),
    (TagColumns('2'), '%s:1: 2 columns found ("a O"), expected a word in column 2, from 0'),
    (TagColumns(None, '2'),
     '%s:1: 2 columns found ("a O"), expected a word and its tag in column 2, from 0'),
    (TagColumns(None, '0'), '%s:1: the tag "a" of "a": expected O, or a prefix (B-, I-, E-, '
                            'S-) and a type, such as B-PER')])
def test_wrong_columns(tmp_path, columns, message):
    path = write(tmp_path, 'a.conll', 'a O\n')
    with pytest.raises(UserError) as error:
        read_tagged_file(path, columns)
    assert str(error.value) == message % path


# ---- JSON lines


@pytest.mark.parametrize('ending', ['jsonl', 'json', 'JSONL'])
def test_json_lines(tmp_path, ending, caplog):
    """Either key of the tags; blank lines and lines without words are none."""
    path = write(tmp_path, 'a.' + ending, '{"tokens": ["EU", "a b", ""], "ner_tags": ["B-X", "O", '
                 '"O"], "id": 3}\n\n{"tokens": [], "tags": []}\n{"tokens": ["é"], "tags": ["O"]}')
    assert read_tagged_file(path) == [
        TaggedSentence(('EU', 'a b', ''), ('B-X', 'O', 'O'), path, 1, False),
        TaggedSentence(('é',), ('O',), path, 4, False)]
    assert caplog.messages == [
        path + ': 1 lines without words are left out; the first is line 3']
    assert read_tagged_file(path)[1].line_of(0) == 4 == read_tagged_file(path)[1].line_of(7)


def test_keys_of_json_lines(tmp_path):
    path = write(tmp_path, 'a.jsonl', '{"w": ["EU"], "t": ["O"], "ner_tags": ["B-X"]}')
    assert read_tagged_file(path, TagColumns('w', 't'))[0].tags == ('O',)
    assert read_tagged_file(path, TagColumns('w'))[0].tags == ('B-X',)


@pytest.mark.parametrize('text, message', [
    ('{"words": ["a"], "tags": ["O"]}', ':1: no key "tokens", found words, tags'),
    ('{}', ':1: no key "tokens", found an empty object'),
    ('{"tokens": ["a"]}', ':1: no key "ner_tags", found tokens'),
    ('{"tokens": ["a"], "ner_tags": [0]}',
     ':1: "ner_tags" is not a list of texts: write the tags as names, not as numbers'),
    ('{"tokens": ["a"], "ner_tags": "O"}', ':1: "ner_tags" is not a list of texts'),
    ('{"tokens": null, "ner_tags": []}', ':1: "tokens" is not a list of texts'),
    ('\n{"tokens": ["a", "b"], "tags": ["O"]}',
     ':2: 2 words and 1 tags found, expected a tag for each word'),
    ('{"tokens": ["a"], "tags": ["PER"]}', ':1: the tag "PER" of "a": expected O, or a '
                                           'prefix (B-, I-, E-, S-) and a type, such as B-PER'),
    ('{"tokens": ["\\ud83d"], "tags": ["O"]}',
     ':1: half a surrogate pair, or bytes that are not UTF-8, in "tokens"'),
    ('{"tokens": ["a"], "tags": ["B-\\udc00"]}',
     ':1: half a surrogate pair, or bytes that are not UTF-8, in "tags"'),
    ('{"tokens": [], "tags": []}\n', ': no words in it'), ('', ': no words in it')])
def test_json_lines_that_do_not_fit(tmp_path, text, message):
    path = write(tmp_path, 'a.jsonl', text)
    with pytest.raises(UserError) as error:
        read_tagged_file(path)
    assert str(error.value) == path + message


def test_lines_that_are_no_objects(tmp_path):
    for text in ('[1]', '{"tokens": ["a"]', 'EU B-ORG'):
        path = write(tmp_path, 'a.jsonl', text)
        with pytest.raises(UserError, match='a.jsonl:1: '):
            read_tagged_file(path)


# ---- Writing


@pytest.mark.parametrize('name, output_format', [('a.conll', 'tsv'), ('a.jsonl', 'jsonl')])
def test_what_is_written_is_read_again(tmp_path, name, output_format):
    sentences = [(('EU', 'b\xa0c', 'two words', 'é', ''), ('B-X', 'O', 'O', 'S-Y', 'O')),
                 (('电',), ('O',))]
    out = io.StringIO()
    for words, tags in sentences:
        write_sentence(out, words, tags, output_format)
    path = write(tmp_path, name, out.getvalue())
    assert [sentence[:2] for sentence in read_tagged_file(path)] == sentences


def test_words_that_would_be_columns_or_lines(tmp_path):
    words, tags = ('a\tb', 'c\nd', 'e\r\nf'), ('O', 'B-X', 'I-X')
    out = io.StringIO()
    write_sentence(out, words, tags)
    assert out.getvalue() == 'a b\tO\nc d\tB-X\ne  f\tI-X\n\n'
    out = io.StringIO()
    write_sentence(out, words, tags, 'jsonl')
    assert json.loads(out.getvalue()) == {'tokens': list(words), 'ner_tags': list(tags)}
