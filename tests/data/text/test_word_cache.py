"""Tokenizing word by word gives the same ids as tokenizing whole texts."""
import json

import numpy as np
import pytest
from support import tiny

from bert.data.text import word_cache
from bert.data.text.tokenizer import BertTokenizer
from bert.data.text.word_cache import CachingTokenizer
from bert.vocabulary import make_vocabulary, read_vocabulary

VOCABULARY = make_vocabulary(tiny.TOKENS)
ODD_TEXTS = ['', ' ', '  two  spaces ', 'tab\tand\nline', 'a\x1cb\x85c\u2028d\u3000e', 'nul\x00l',
             'ΣΊΣΥΦΟΣ ΤΟΣ Σ', 'İstanbul ǅ ß', 'e\u0301te\u0301 \u0301x', '北京 is far',
             '😀 👨‍👩‍👧 flags 🇦🇹',
             'soft\u00adhyphen zero\u200bwidth', 'ａ ｂ', '[MASK] and [CLS][SEP] x[MASK]y',
             'a' * 250, 'right-to-left שלום עליכם', '\ufeffmark', 'half\ud7ff',
             "don't stop-now!... (ok)"]


def equal_ids(actual, expected):
    return len(actual) == len(expected) and all(
        a.dtype == np.int32 and np.array_equal(a, b) for a, b in zip(actual, expected))


@pytest.mark.parametrize('lower', [True, False])
def test_odd_texts(lower):
    tokenizer = BertTokenizer(VOCABULARY, lower)
    caching_tokenizer = CachingTokenizer(tokenizer)
    expected = tokenizer.encode(ODD_TEXTS)
    assert equal_ids(caching_tokenizer.encode(ODD_TEXTS), expected)
    assert equal_ids(caching_tokenizer.encode(ODD_TEXTS[::-1]), expected[::-1])
    assert caching_tokenizer.encode([]) == []


def test_a_full_cache_starts_anew(monkeypatch):
    monkeypatch.setattr(word_cache, 'MAX_WORDS', 3)
    tokenizer = BertTokenizer(VOCABULARY, True)
    caching_tokenizer = CachingTokenizer(tokenizer)
    for texts in (['a b', 'c d e'], ['a', 'f'], ['b g']):
        assert equal_ids(caching_tokenizer.encode(texts), tokenizer.encode(texts))
    assert len(caching_tokenizer._rows) == 4        # a, f, b, g: the cache was full before


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
    assert equal_ids(CachingTokenizer(tokenizer).encode(texts), tokenizer.encode(texts))
