"""Tokenizing word by word gives what tokenizing whole texts gives."""
import json

import numpy as np
import pytest
from support import tiny

from bert.data.text import word_cache
from bert.data.text.tokenizer import BertTokenizer
from bert.data.text.word_cache import CachingTokenizer
from bert.vocabulary import make_vocabulary, read_vocabulary

VOCABULARY = make_vocabulary(tiny.TOKENS)
ODD = ['', ' ', '  two  spaces ', 'tab\tand\nline', 'a\x1cb\x85c\u2028d\u3000e', 'nul\x00l',
       'ΣΊΣΥΦΟΣ ΤΟΣ Σ', 'İstanbul ǅ ß', 'e\u0301te\u0301 \u0301x', '北京 is far',
       '😀 👨‍👩‍👧 flags 🇦🇹',
       'soft\u00adhyphen zero\u200bwidth', 'ａ ｂ', '[MASK] and [CLS][SEP] x[MASK]y', 'a' * 250,
       'right-to-left שלום עליכם', '\ufeffmark', 'half\ud7ff', "don't stop-now!... (ok)"]


def same(found, expected):
    return len(found) == len(expected) and all(
        a.dtype == np.int32 and np.array_equal(a, b) for a, b in zip(found, expected))


@pytest.mark.parametrize('lower', [True, False])
def test_odd_texts(lower):
    tokenizer = BertTokenizer(VOCABULARY, lower)
    by_word = CachingTokenizer(tokenizer)
    expected = tokenizer.encode(ODD)
    assert same(by_word.encode(ODD), expected)
    assert same(by_word.encode(ODD[::-1]), expected[::-1])
    assert by_word.encode([]) == []


def test_a_collection_that_is_full_starts_anew(monkeypatch):
    monkeypatch.setattr(word_cache, 'MAX_WORDS', 3)
    tokenizer = BertTokenizer(VOCABULARY, True)
    by_word = CachingTokenizer(tokenizer)
    for texts in (['a b', 'c d e'], ['a', 'f'], ['b g']):
        assert same(by_word.encode(texts), tokenizer.encode(texts))
    assert len(by_word._rows) == 4        # a, f, b, g: the five before were too many


@pytest.mark.parametrize('name, lower', [
    ('bert-base-uncased', True), ('bert-base-cased', False), ('bert-base-chinese', False),
    ('bert-base-multilingual-cased', False), ('bert-base-multilingual-uncased', True)])
def test_real_texts(data_dir, name, lower):
    tokenizer = BertTokenizer(read_vocabulary(str(data_dir / 'vocab' / (name + '.txt'))), lower)
    with open(data_dir / 'squad' / 'dev-v1.1.json', encoding='utf-8') as file:
        texts = [paragraph['context'] for article in json.load(file)['data'][::6]
                 for paragraph in article['paragraphs']]
    for path in ('ernie/chnsenticorp/dev.tsv', 'corpus/sample_text.txt'):
        texts += (data_dir / path).read_text(encoding='utf-8').split('\n')
    assert len(texts) > 1500
    assert same(CachingTokenizer(tokenizer).encode(texts), tokenizer.encode(texts))
