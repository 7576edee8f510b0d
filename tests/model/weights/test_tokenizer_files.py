"""tokenizer_files.py: settings of transformers' tokenizer apply or are refused."""
import json

import pytest

from bert.errors import UserError
from bert.model.weights import tokenizer_files
from bert.vocabulary import SPECIAL_TOKENS, make_vocabulary

VOCABULARY = make_vocabulary(SPECIAL_TOKENS + ('word', 'Word'))
NORMALIZER = {'type': 'BertNormalizer', 'clean_text': True, 'handle_chinese_chars': True,
              'strip_accents': None, 'lowercase': True}


def write(folder, **contents):
    """Write a JSON file for each name. Returns the folder."""
    for name, content in contents.items():
        (folder / (name + '.json')).write_text(json.dumps(content))
    return str(folder)


def test_a_contradiction_between_the_files_of_a_vocabulary(tmp_path, caplog):
    tokens = list(SPECIAL_TOKENS) + ['word', '', 'Word']
    (tmp_path / 'vocab.txt').write_text('\n'.join(tokens) + '\n')
    ids = {token: i for i, token in enumerate(tokens) if token}
    for changes, expected in (
            ({}, None), ({'word': 7, 'Word': 5}, 'first at id 5 (word, Word)'),
            ({'more': 8}, 'first at id 8 (None, more)'), ({'[UNK]': 99}, 'id 0 ([UNK], None)')):
        caplog.clear()
        write(tmp_path, tokenizer={'model': {'type': 'WordPiece', 'vocab': dict(ids, **changes)}})
        vocabulary = tokenizer_files.read_folder_vocabulary(str(tmp_path))
        assert vocabulary['word'] == 5 and vocabulary['Word'] == 7 and len(vocabulary) == 8
        assert bool(caplog.messages) == bool(expected)
        if expected:
            message, = caplog.messages
            assert message.startswith('%s: vocab.txt and tokenizer.json contradict each other, '
                                      % tmp_path)
            assert expected in message and message.endswith(': vocab.txt is taken')
    for content in ({}, {'model': None}, {'model': {'vocab': [1]}}):
        caplog.clear()
        write(tmp_path, tokenizer=content)
        tokenizer_files.read_folder_vocabulary(str(tmp_path))
        assert not caplog.messages


@pytest.mark.parametrize('contents', [
    {}, {'tokenizer_config': {}},
    {'tokenizer_config': {'do_lower_case': True, 'tokenizer_class': 'BertTokenizer',
                          'strip_accents': None, 'tokenize_chinese_chars': True,
                          'do_basic_tokenize': True, 'model_max_length': 512}},
    {'tokenizer_config': {'do_lower_case': True, 'tokenizer_class': 'DistilBertTokenizerFast',
                          'strip_accents': True}},
    {'tokenizer_config': {'do_lower_case': False, 'strip_accents': False,
                          'tokenizer_class': 'TokenizersBackend'},
     'tokenizer': {'normalizer': dict(NORMALIZER, lowercase=False)}},
    {'tokenizer': {'normalizer': NORMALIZER, 'added_tokens': [{'id': 2, 'content': '[CLS]'}]},
     'added_tokens': {'[MASK]': 4}},
    {'tokenizer_config': {'added_tokens_decoder': {'0': {'content': '[UNK]'}}}},
])
def test_supported_tokenizers(tmp_path, contents):
    tokenizer_files.check_tokenizer(write(tmp_path, **contents), len(VOCABULARY))


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
    ({'tokenizer': {'normalizer': dict(NORMALIZER, handle_chinese_chars=False)}},
     'tokenizer.json: handle_chinese_chars is False; supported: True'),
    ({'tokenizer': {'normalizer': dict(NORMALIZER, strip_accents=False)}},
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
def test_unsupported_tokenizers(tmp_path, contents, message):
    with pytest.raises(UserError, match=message):
        tokenizer_files.check_tokenizer(write(tmp_path, **contents), len(VOCABULARY))


def test_case_from_the_tokenizer_files_or_the_vocabulary(tmp_path, caplog):
    uncased_vocabulary = make_vocabulary(SPECIAL_TOKENS + ('word',))
    assert tokenizer_files.is_cased(str(tmp_path), VOCABULARY)
    assert 'no tokenizer file says whether case is kept; the vocabulary looks cased' in caplog.text
    assert not tokenizer_files.is_cased(str(tmp_path), uncased_vocabulary)
    assert 'the vocabulary looks uncased' in caplog.text
    caplog.clear()
    folder = write(tmp_path, tokenizer={'normalizer': NORMALIZER})
    assert not tokenizer_files.is_cased(folder, VOCABULARY)
    folder = write(tmp_path, tokenizer_config={'do_lower_case': False})
    assert tokenizer_files.is_cased(folder, uncased_vocabulary)
    assert not caplog.text
