"""conll.py: sentences of words and tags, and what is wrong with a file."""
import pytest

from bert.data.ner.conll import TaggedSentence, read_sentences
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
    ('#hash\tO\nwith space\tB-X\r\n', [(('#hash', 'with space'), ('O', 'B-X'), 1)])])
def test_sentences(tmp_path, text, sentences):
    assert read(tmp_path, text) == sentences


def test_chosen_columns(tmp_path):
    text = '0 EU NNP I-NP I-ORG\n'
    assert read(tmp_path, text, 1, 3) == [(('EU',), ('I-NP',), 1)]
    assert read(tmp_path, text, 1) == [(('EU',), ('I-ORG',), 1)]


@pytest.mark.parametrize('text, columns, message', [
    ('a O\nb\n', (), r':2: 1 column found \("b"\), expected a word and its tag$'),
    ('a O\n', (0, 2), r':1: 2 columns found \("a O"\), expected a word and its tag in column 2'),
    ('a O\n', (3,), r':1: 2 columns found \("a O"\), expected a word and its tag in column 3'),
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
