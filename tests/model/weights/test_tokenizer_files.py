"""tokenizer_files.py: what transformers says of its tokenizer is obeyed or refused."""
import json

import pytest

from bert.errors import UserError
from bert.model.weights import tokenizer_files
from bert.vocabulary import SPECIAL_TOKENS, make_vocabulary

WORDS = make_vocabulary(SPECIAL_TOKENS + ('word', 'Word'))
PLAIN = {'type': 'BertNormalizer', 'clean_text': True, 'handle_chinese_chars': True,
         'strip_accents': None, 'lowercase': True}


def write(folder, **contents):
    """JSON files of these names."""
    for name, content in contents.items():
        (folder / (name + '.json')).write_text(json.dumps(content))
    return str(folder)


@pytest.mark.parametrize('contents', [
    {}, {'tokenizer_config': {}},
    {'tokenizer_config': {'do_lower_case': True, 'tokenizer_class': 'BertTokenizer',
                          'strip_accents': None, 'tokenize_chinese_chars': True,
                          'do_basic_tokenize': True, 'model_max_length': 512}},
    {'tokenizer_config': {'do_lower_case': True, 'tokenizer_class': 'DistilBertTokenizerFast',
                          'strip_accents': True}},
    {'tokenizer_config': {'do_lower_case': False, 'strip_accents': False,
                          'tokenizer_class': 'TokenizersBackend'},
     'tokenizer': {'normalizer': dict(PLAIN, lowercase=False)}},
    {'tokenizer': {'normalizer': PLAIN, 'added_tokens': [{'id': 2, 'content': '[CLS]'}]},
     'added_tokens': {'[MASK]': 4}},
    {'tokenizer_config': {'added_tokens_decoder': {'0': {'content': '[UNK]'}}}},
])
def test_tokenizers_that_ours_equals(tmp_path, contents):
    tokenizer_files.check_tokenizer(write(tmp_path, **contents), len(WORDS))


@pytest.mark.parametrize('contents,message', [
    ({'tokenizer_config': {'tokenizer_class': 'BertJapaneseTokenizer'}},
     'tokenizer_config.json: tokenizer_class is "BertJapaneseTokenizer"; supported: BertTokenizer'),
    ({'tokenizer_config': {'tokenize_chinese_chars': False}},
     'tokenizer_config.json: tokenize_chinese_chars is False; supported: True$'),
    ({'tokenizer_config': {'do_basic_tokenize': False}}, 'do_basic_tokenize is False'),
    ({'tokenizer_config': {'do_lower_case': True, 'strip_accents': False}},
     'tokenizer_config.json: strip_accents is False; supported: True, as case is'),
    ({'tokenizer_config': {'do_lower_case': False, 'strip_accents': True}},
     'strip_accents is True; supported: False, as case is'),
    ({'tokenizer': {'normalizer': dict(PLAIN, handle_chinese_chars=False)}},
     'tokenizer.json: handle_chinese_chars is False; supported: True'),
    ({'tokenizer': {'normalizer': dict(PLAIN, strip_accents=False)}},
     'tokenizer.json: strip_accents is False'),
    ({'tokenizer': {'normalizer': {'type': 'NFKC'}}},
     'tokenizer.json: its normalizer is "NFKC"; supported: BertNormalizer'),
    ({'added_tokens': {'[E1]': 7, '[E2]': 8}},
     r'added_tokens.json: tokens were added to the vocabulary: \[E1\], \[E2\]; supported are '
     'those of vocab.txt'),
    ({'tokenizer_config': {'added_tokens_decoder': {'7': {'content': '[E1]'}}}},
     r'tokenizer_config.json: tokens were added to the vocabulary: \[E1\]'),
    ({'tokenizer': {'added_tokens': [{'id': 7, 'content': '[E1]'}]}},
     r'tokenizer.json: tokens were added to the vocabulary: \[E1\]'),
    ({'tokenizer': {'added_tokens': ['[E1]']}}, 'are not as transformers writes them'),
    ({'tokenizer_config': {'added_tokens_decoder': []}, 'added_tokens': {'a': None}},
     'are not as transformers writes them'),
])
def test_tokenizers_that_ours_is_not(tmp_path, contents, message):
    with pytest.raises(UserError, match=message):
        tokenizer_files.check_tokenizer(write(tmp_path, **contents), len(WORDS))


def test_case_is_told_or_found_and_said(tmp_path, caplog):
    uncased = make_vocabulary(SPECIAL_TOKENS + ('word',))
    assert tokenizer_files.is_cased(str(tmp_path), WORDS)
    assert 'no tokenizer file says whether case is kept; the vocabulary looks cased' in caplog.text
    assert not tokenizer_files.is_cased(str(tmp_path), uncased)
    assert 'the vocabulary looks uncased' in caplog.text
    caplog.clear()
    folder = write(tmp_path, tokenizer={'normalizer': PLAIN})
    assert not tokenizer_files.is_cased(folder, WORDS)
    folder = write(tmp_path, tokenizer_config={'do_lower_case': False})
    assert tokenizer_files.is_cased(folder, uncased)
    assert not caplog.text
