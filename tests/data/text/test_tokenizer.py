"""WordPiece on the examples of google-research/bert, and on odd texts."""
import numpy as np
import pytest

from bert.data.text import tokenizer as module
from bert.data.text.tokenizer import BertTokenizer, encode_texts
from bert.vocabulary import make_vocabulary, read_vocabulary

# the vocabulary of google-research/bert's tokenization_test.py, and words for the texts below
TOKENS = ['[UNK]', '[CLS]', '[SEP]', '[PAD]', '[MASK]', 'want', '##want', '##ed', 'wa', 'un',
          'runn', '##ing', ',', 'cafe', 'café', 'Café', 'hello', '!', 'how', 'are', 'you', '?',
          '电', '影', 'ab', '##a', 'a', '##b', '##c', '😀']


@pytest.fixture
def uncased():
    return BertTokenizer(make_vocabulary(TOKENS), lower=True)


@pytest.fixture
def cased():
    return BertTokenizer(make_vocabulary(TOKENS), lower=False)


def test_google_examples(uncased):
    assert uncased('unwanted running') == ['un', '##want', '##ed', 'runn', '##ing']
    assert uncased('UNwantéd,running') == ['un', '##want', '##ed', ',', 'runn', '##ing']
    assert uncased('unwantedX running') == ['[UNK]', 'runn', '##ing']
    assert uncased(' \tHeLLo!how  \n Are yoU?  ') == ['hello', '!', 'how', 'are', 'you', '?']
    assert uncased('H\u00E9llo') == ['hello']


def test_longest_piece_first(uncased):
    assert uncased('aba') == ['ab', '##a']
    assert uncased('abc') == ['ab', '##c']


def test_chinese_characters_stand_alone(uncased, cased):
    for tokenizer in (uncased, cased):
        assert tokenizer('a电影ab') == ['a', '电', '影', 'ab']


def test_accents_and_case_are_kept_in_cased_vocabularies_only(uncased, cased):
    assert uncased('Café') == ['cafe']
    assert cased('Café') == ['Café']
    assert cased('café cafe') == ['café', 'cafe']
    assert cased('CAFE') == ['[UNK]']


def test_control_characters_vanish_and_odd_spaces_split(uncased):
    assert uncased('a\u200bb') == ['ab']
    assert uncased('a\x00b\ufffdc') == ['ab', '##c']
    assert uncased('a\u00a0ab\u3000a\u2028ab') == ['a', 'ab', 'a', 'ab']


def test_emoji(uncased):
    assert uncased('a 😀') == ['a', '😀']
    assert uncased('a 🦄') == ['a', '[UNK]']


def test_empty_texts_have_no_pieces(uncased):
    assert uncased('') == []
    assert uncased(' \n\t ') == []
    assert [ids.tolist() for ids in uncased.encode(['', 'a', ' '])] == [[], [26], []]


def test_a_word_of_more_than_100_characters_is_unknown(uncased):
    assert uncased('a' * 100) == ['a'] + ['##a'] * 99
    assert uncased('a' * 101) == ['[UNK]']


def test_encode_returns_the_ids_of_the_pieces_of_each_text(uncased, monkeypatch):
    monkeypatch.setattr(module, 'TEXTS_PER_CALL', 3)     # the texts need several calls
    texts = ['unwanted running', 'a', '', '电影', 'zzz', 'ab!', 'hello']
    ids = uncased.encode(texts)
    assert [row.tolist() for row in ids] == [uncased.convert_tokens_to_ids(uncased(text))
                                             for text in texts]
    assert ids[0].tolist() == [9, 6, 7, 10, 11] and ids[4].tolist() == [0]
    assert {row.dtype for row in ids} == {np.dtype('int32')}


def test_encode_adds_nothing_and_truncates_nothing(uncased):
    assert uncased.encode(['a ' * 3000])[0].tolist() == [26] * 3000


def test_encode_texts_accepts_gluonnlp_tokenizers():
    from gluonnlp.data import BERTTokenizer
    ids = encode_texts(BERTTokenizer(make_vocabulary(TOKENS), lower=True), ['unwanted running', ''])
    assert [row.tolist() for row in ids] == [[9, 6, 7, 10, 11], []]
    assert ids[0].dtype == np.int32


# Google's published vocabularies, each with a text in its language
PUBLISHED_VOCABULARIES = [
    ('bert-base-uncased', 30522, True, 'Embeddings, naïvely', 'em ##bed ##ding ##s , naive ##ly'),
    ('bert-base-cased', 28996, False, 'Embeddings café', 'Em ##bed ##ding ##s café'),
    ('bert-base-multilingual-uncased', 105879, True, 'Größe', 'große'),
    ('bert-base-multilingual-cased', 119547, False, 'Größe 电', 'Größe 电'),
    ('bert-base-chinese', 21128, False, '这间酒店 wifi', '这 间 酒 店 wifi'),
]


@pytest.mark.parametrize('name,size,lower,text,pieces', PUBLISHED_VOCABULARIES,
                         ids=[row[0] for row in PUBLISHED_VOCABULARIES])
def test_published_vocabulary(name, size, lower, text, pieces, data_dir):
    vocabulary = read_vocabulary(data_dir / 'vocab' / ('%s.txt' % name))
    assert len(vocabulary) == size
    tokenizer = BertTokenizer(vocabulary, lower)
    assert tokenizer(text) == pieces.split()
    lines = (data_dir / 'vocab' / ('%s.txt' % name)).read_bytes().split(b'\n')
    for piece, i in zip(tokenizer(text), tokenizer.encode([text])[0]):
        assert lines[i] == piece.encode()      # the id is the index of the line
