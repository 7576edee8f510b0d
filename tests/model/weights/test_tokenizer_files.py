"""tokenizer_files.py: the rules of transformers' tokenizers, from their files."""
import json

import pytest
from support.unigram import unigram
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.model.weights import tokenizer_files
from bert.vocabulary import SPECIAL_TOKENS

TOKENS = (*SPECIAL_TOKENS, 'cafe', 'café', 'Café', '##s', '电影', '电', '影', '!', 'E', 'F', '[',
          ']')
IDS = {token: i for i, token in enumerate(TOKENS)}
TEXT = 'Cafés 电影!'


def write(folder, vocab=TOKENS, **contents):
    """Write vocab.txt and a JSON file for each name. Returns the folder."""
    if vocab:
        (folder / 'vocab.txt').write_text(''.join(token + '\n' for token in vocab),
                                          encoding='utf-8')
    for name, content in contents.items():
        (folder / (name + '.json')).write_text(json.dumps(content))
    return str(folder)


def tokens_of(folder, text=TEXT):
    """The tokens of a text by the tokenizer of a folder, by their ids."""
    vocabulary, cased = tokenizer_files.read_folder_tokenizer(folder)
    tokenizer = BertTokenizer(vocabulary, lower=not cased)
    ids, = tokenizer.encode([text])
    return [vocabulary.idx_to_token[i] for i in ids]


def word_piece_json(ids=IDS, **settings):
    return dict({'version': '1.0', 'truncation': None, 'padding': None, 'added_tokens': [],
                 'normalizer': None, 'pre_tokenizer': {'type': 'BertPreTokenizer'},
                 'post_processor': None, 'decoder': None,
                 'model': {'type': 'WordPiece', 'vocab': ids, 'unk_token': '[UNK]',
                           'continuing_subword_prefix': '##',
                           'max_input_chars_per_word': 100}}, **settings)


# BERT's rules


@pytest.mark.parametrize('settings, tokens, cased', [
    ({}, 'cafe ##s 电 影 !', None),
    ({'do_lower_case': None}, 'cafe ##s 电 影 !', None),
    ({'do_lower_case': True, 'strip_accents': True}, 'cafe ##s 电 影 !', False),
    ({'do_lower_case': True, 'strip_accents': False}, 'café ##s 电 影 !', False),
    ({'strip_accents': False}, 'café ##s 电 影 !', None),
    ({'do_lower_case': False}, 'Café ##s 电 影 !', True),
    ({'do_lower_case': False, 'strip_accents': True}, '[UNK] 电 影 !', True),
    ({'tokenize_chinese_chars': False}, 'cafe ##s 电影 !', None),
    ({'tokenizer_class': 'DistilBertTokenizerFast', 'do_lower_case': False,
      'model_max_length': 512, 'do_basic_tokenize': False}, 'Café ##s 电 影 !', True),
])
def test_the_options_of_bert(tmp_path, settings, tokens, cased):
    """Also where tokenizer.json has other rules: these classes don't read them."""
    folder = write(tmp_path, tokenizer_config=settings)
    assert tokens_of(folder) == tokens.split()
    assert tokenizer_files.read_folder_tokenizer(folder)[1] is cased
    write(tmp_path, tokenizer=word_piece_json(
        normalizer={'type': 'NFC'}, truncation={'max_length': 2, 'strategy': 'LongestFirst',
                                                'stride': 0, 'direction': 'Right'}))
    assert tokens_of(folder) == tokens.split()


def test_the_usual_options_need_no_definition(tmp_path):
    """Such vocabularies stay plain, so that a checkpoint of ours holds no more than vocab.txt."""
    folder = write(tmp_path, tokenizer_config={'do_lower_case': False, 'strip_accents': False},
                   special_tokens_map={'cls_token': '[CLS]', 'mask_token': '[MASK]'},
                   added_tokens={'[MASK]': 4},
                   tokenizer=word_piece_json())
    assert tokenizer_files.read_folder_tokenizer(folder)[0].tokenizer_json is None


def test_unsaid_case_is_lower_case_with_a_warning(tmp_path, caplog):
    vocabulary, cased = tokenizer_files.read_folder_tokenizer(write(tmp_path))
    assert not tokenizer_files.is_cased('folder', vocabulary, cased)
    assert caplog.messages == [
        'folder: no tokenizer_config.json says whether to keep case: text is lower-cased, as '
        'transformers does; the vocabulary looks cased: to keep case, set "do_lower_case" to false '
        'in that file']
    caplog.clear()
    vocabulary, _ = tokenizer_files.read_folder_tokenizer(write(tmp_path, SPECIAL_TOKENS + ('a',)))
    assert not tokenizer_files.is_cased('folder', vocabulary, None)
    assert caplog.messages[0].endswith('text is lower-cased, as transformers does')
    assert tokenizer_files.is_cased('folder', vocabulary, True)
    assert len(caplog.messages) == 1


def test_the_tokens_of_tokenizer_json_count(tmp_path, caplog):
    tokens = list(SPECIAL_TOKENS) + ['word', '', 'Word']
    ids = {token: i for i, token in enumerate(tokens) if token}
    for changes, first in (({}, None), ({'word': 7, 'Word': 5}, 5), ({'more': 8}, 8),
                           ({'[UNK]': 9}, 0)):
        caplog.clear()
        folder = write(tmp_path, tokens, tokenizer=word_piece_json(dict(ids, **changes)))
        vocabulary, _ = tokenizer_files.read_folder_tokenizer(folder)
        assert vocabulary['word'] == changes.get('word', 5)
        assert len(vocabulary) == 8 + ('more' in changes) + 2 * ('[UNK]' in changes)
        assert caplog.messages == [] if first is None else [
            '%s: vocab.txt and tokenizer.json differ, first at id %d: using tokenizer.json, as '
            'transformers does' % (folder, first)]


@pytest.mark.parametrize('contents, tokens', [
    ({'added_tokens': {'[E]': 17}}, '[E] cafe ##s'),
    ({'added_tokens': {'[E]': 17}, 'special_tokens_map': {'additional_special_tokens': ['[E]']}},
     '[E] cafe ##s'),
    ({'tokenizer_config': {'added_tokens_decoder': {'17': {
        'content': '[E]', 'special': True, 'lstrip': False, 'rstrip': True,
        'single_word': False, 'normalized': False}}}}, '[E] cafe ##s'),
    ({'tokenizer_config': {'added_tokens_decoder': {}}, 'added_tokens': {'[E]': 17}},
     '[ e ] cafe ##s'),      # the newer file counts, and says that there are none
    ({'tokenizer_config': {'extra_special_tokens': ['[E]']}}, '[E] cafe ##s'),
    ({'tokenizer': word_piece_json(added_tokens=[{
        'id': 17, 'content': '[E]', 'special': False, 'lstrip': False, 'rstrip': False,
        'single_word': False, 'normalized': True}])}, '[E] cafe ##s')])
def test_added_tokens(tmp_path, contents, tokens):
    """A token that is added with `normalized` is found in the lower-cased text."""
    folder = write(tmp_path, TOKENS[:13] + ('e', 'f', '[', ']'), **contents)
    vocabulary, _ = tokenizer_files.read_folder_tokenizer(folder)
    expected = tokens.split()
    assert tokens_of(folder, '[E] Cafés') == expected
    assert len(vocabulary) == 17 + ('[E]' in expected)
    if '[E]' in expected:
        assert vocabulary['[E]'] == 17
        written = Tokenizer.from_str(vocabulary.tokenizer_json)
        assert written.encode('Cafés').tokens == ['[CLS]', 'cafe', '##s', '[SEP]']


def test_other_special_tokens(tmp_path):
    tokens = ('<pad>', '<unk>', '<s>', '</s>', '<mask>', 'a', 'b')
    folder = write(tmp_path, tokens, tokenizer_config={
        'cls_token': '<s>', 'sep_token': {'content': '</s>', '__type': 'AddedToken'},
        'pad_token': '<pad>', 'unk_token': '<unk>', 'mask_token': '<mask>'})
    vocabulary, _ = tokenizer_files.read_folder_tokenizer(folder)
    assert (vocabulary.cls_token, vocabulary.padding_token) == ('<s>', '<pad>')
    frame = BertTokenizer(vocabulary, True).frame(pair=True)
    assert frame.join([[5], [6]])[0].tolist() == [2, 5, 3, 6, 3]


# tokenizer.json as it is


def test_a_unigram_model(tmp_path):
    folder = write(tmp_path, None, tokenizer=unigram(), tokenizer_config={
        'tokenizer_class': 'XLMRobertaTokenizer'})
    vocabulary, cased = tokenizer_files.read_folder_tokenizer(folder)
    tokenizer = BertTokenizer(vocabulary, lower=not cased)
    assert cased and len(vocabulary) == 9
    assert (vocabulary.cls_token, vocabulary.sep_token, vocabulary.padding_token,
            vocabulary.unknown_token, vocabulary.mask_token) == (
                '<s>', '</s>', '<pad>', '<unk>', '<mask>')
    (ids, words, spans), = tokenizer.encode_with_words(['a  bc ｂ z <mask> a'])
    assert ids.tolist() == [4, 5, 6, 5, 7, 3, 8, 4]     # nothing is cut or padded
    assert words.tolist() == [0, 1, 1, 2, 3, 3, 4, 5]
    assert spans.tolist() == [[0, 1], [3, 4], [4, 5], [6, 7], [8, 9], [8, 9], [10, 16], [17, 18]]
    frame = tokenizer.frame(pair=True)
    assert [array.tolist() for array in frame.join([[4], [5, 6]])] == [
        [0, 4, 2, 2, 5, 6, 2], [0] * 7]
    assert (frame.num_specials, frame.offset(1, [1])) == (4, 4)
    assert [array.tolist() for array in tokenizer.frame(pair=False).join([[4]])] == [
        [0, 4, 2], [0] * 3]


def test_a_byte_level_bpe(tmp_path):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {token: i for i, token in enumerate(['<s>', '<pad>', '</s>', '<unk>', *alphabet, 'Ġa'])}
    backend = Tokenizer(models.BPE(ids, [('Ġ', 'a')]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.RobertaProcessing(('</s>', 2), ('<s>', 0))
    folder = write(tmp_path, None, tokenizer=json.loads(backend.to_str()),
                   tokenizer_config={'tokenizer_class': 'RobertaTokenizer', 'pad_token': '<pad>'})
    vocabulary, cased = tokenizer_files.read_folder_tokenizer(folder)
    tokenizer = BertTokenizer(vocabulary, lower=not cased)
    (ids, _, spans), = tokenizer.encode_with_words(['b a é'])
    assert [vocabulary.idx_to_token[i] for i in ids] == ['b', 'Ġa', 'Ġ', 'Ã', '©']
    assert spans.tolist() == [[0, 1], [2, 3], [4, 4], [4, 5], [4, 5]]
    assert tokenizer.frame(True).join([[9], [8]])[0].tolist() == [0, 9, 2, 2, 8, 2]
    assert vocabulary.mask_token is None


def test_word_piece_of_a_generic_class_is_taken_as_it_is(tmp_path):
    folder = write(tmp_path, None, tokenizer=word_piece_json(
        normalizer={'type': 'Lowercase'},
        post_processor={'type': 'BertProcessing', 'sep': ['[SEP]', 3], 'cls': ['[CLS]', 2]}),
        tokenizer_config={'tokenizer_class': 'PreTrainedTokenizerFast', 'do_lower_case': False})
    assert tokens_of(folder, 'CAFÉ') == ['café']
    assert tokenizer_files.read_folder_tokenizer(folder)[1] is False


@pytest.mark.parametrize('contents, message', [
    ({'tokenizer_config': {'tokenizer_class': 'BertJapaneseTokenizer'}},
     'tokenizer_config.json: tokenizer_class is "BertJapaneseTokenizer": this tokenizer '
     'first splits Japanese text into words with MeCab, which is not supported'),
    ({'config': {'tokenizer_class': 'BertJapaneseTokenizer'}}, 'MeCab'),
    ({'tokenizer_config': {'auto_map': {'AutoTokenizer': ['code.Tokenizer', None]}}},
     'tokenizer_config.json: auto_map: the tokenizer needs Python code of its own, which is never '
     'run'),
    ({'tokenizer_config': {'split_special_tokens': True}},
     'split_special_tokens: reading special tokens in a text as ordinary words is not'),
    ({'tokenizer_config': {'tokenizer_class': 'XLMRobertaTokenizer'}},
     'tokenizer_class is "XLMRobertaTokenizer", and there is no tokenizer.json beside it: create '
     'that file with transformers'),
    ({'tokenizer_config': {'do_lower_case': 'yes'}},
     "do_lower_case is 'yes': expected true or false"),
    ({'tokenizer': {'model': None}}, 'tokenizer.json: no "model" with a "vocab" in it'),
    ({'tokenizer': word_piece_json({'a': '1'})}, 'the id of "a" is \'1\': expected a whole number'),
    ({'tokenizer': word_piece_json({'a': 99999})}, 'from 0 to about the number of tokens, 1'),
    ({'tokenizer': word_piece_json({'a': 1, 'b': 1})},
     'tokenizer.json: two tokens of its vocabulary have the same id'),
    ({'tokenizer': word_piece_json({'a': 0})}, r'no \[UNK\], \[PAD\], .* among its 1 tokens'),
    ({'tokenizer': word_piece_json({'a': 0}), 'tokenizer_config': {'strip_accents': False}},
     r'no \[UNK\], \[CLS\], \[SEP\] among its 1 tokens'),
    ({'tokenizer': dict(unigram(), model={'type': 'Unigram', 'vocab': [['a']]})},
     'tokenizer.json: the library tokenizers can\'t read it: '),
    ({'tokenizer': word_piece_json(normalizer=None, model=dict(
        word_piece_json()['model'], unk_token='[X]')), 'tokenizer_config': {
            'tokenizer_class': 'PreTrainedTokenizerFast'}},
     'the library tokenizers can\'t read it: WordPiece error: Missing .UNK. token from the'),
    ({'tokenizer': word_piece_json(model={'type': 'WordLevel', 'vocab': {'a': 0},
                                          'unk_token': '[X]'})},
     'the library tokenizers can\'t read it: WordLevel error: Missing .UNK. token from the'),
    ({'tokenizer': dict(unigram(), added_tokens=[], post_processor=None, model={
        'type': 'Unigram', 'vocab': [['a', 0.0]], 'unk_id': 0})},
     'tokenizer.json: no padding token: name it as "pad_token" in tokenizer_config.json'),
    ({'tokenizer': word_piece_json(added_tokens=['[E]'])},
     'do not have the format of transformers'),
    ({'tokenizer_config': {'added_tokens_decoder': []}}, 'do not have the format of transformers'),
    ({'tokenizer_config': {'added_tokens_decoder': {'17': {'special': True}}}},
     'do not have the format of transformers'),
    ({'added_tokens': {'[E]': None}}, 'do not have the format of transformers'),
    ({'added_tokens': {'[E]': 17.5}}, 'do not have the format of transformers'),
    ({'added_tokens': {'[E]': float('inf')}}, 'do not have the format of transformers'),
    ({'added_tokens': {'[E]': 17, '[E2]': 17}}, r'"\[E\]" and "\[E2\]" both have the id 17'),
    ({'special_tokens_map': {'cls_token': ['[CLS]']}}, r"the special token \['\[CLS\]'\] is no"),
])
def test_errors(tmp_path, contents, message):
    with pytest.raises(UserError, match=message):
        tokenizer_files.read_folder_tokenizer(write(tmp_path, **contents))


def test_a_folder_without_a_vocabulary(tmp_path):
    assert tokenizer_files.read_folder_tokenizer(str(tmp_path)) == (None, None)


def test_a_post_processor_that_is_no_frame(tmp_path):
    definition = dict(unigram(), post_processor={
        'type': 'TemplateProcessing', 'single': [{'Sequence': {'id': 'A', 'type_id': 0}}],
        'pair': [{'Sequence': {'id': 'B', 'type_id': 0}}, {'Sequence': {'id': 'A', 'type_id': 0}}],
        'special_tokens': {}})
    vocabulary, _ = tokenizer_files.read_folder_tokenizer(
        write(tmp_path, None, tokenizer=definition))
    tokenizer = BertTokenizer(vocabulary, False)
    assert tokenizer.frame(pair=False).join([[4]])[0].tolist() == [4]
    with pytest.raises(UserError, match='expected a post_processor that keeps a pair whole and'):
        tokenizer.frame(pair=True)
