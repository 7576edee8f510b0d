"""RoBERTa's tokenizer in vocab.json and merges.txt: the ids of transformers, and bad files."""
import json

import pytest
from support import hub_models, tiny_relatives
from tokenizers import ByteLevelBPETokenizer

from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.model.weights.checkpoint_reader import read_checkpoint
from bert.model.weights.tokenizer_files import read_folder_tokenizer

SPECIAL_TOKENS = ['<s>', '<pad>', '</s>', '<unk>', '<mask>']
NUM_TOKENS = 400
MASK = {'content': '<mask>', 'single_word': False, 'lstrip': True, 'rstrip': False,
        'normalized': False}
# {what the other files of the tokenizer say: {name: content}}
OTHER_FILES = {
    'nothing': {},
    'flags': {'special_tokens_map.json': {'cls_token': '<s>', 'mask_token': MASK},
              'tokenizer_config.json': {'model_max_length': 512}},
    'class': {'tokenizer_config.json': {'tokenizer_class': 'RobertaTokenizerFast',
                                        'add_prefix_space': True}},
    'added': {'tokenizer_config.json': {'tokenizer_class': 'RobertaTokenizer'},
              'added_tokens.json': {'<user>': NUM_TOKENS}},
    'names': {'special_tokens_map.json': {'cls_token': '</s>', 'sep_token': '<s>'}}}
TEXTS = [text for text in hub_models.TEXTS if len(text) < 100] + [
    'The <mask> was <mask>.', ' two  spaces ', '<user> said\nso']


@pytest.fixture
def make_folder(tmp_path):
    """Function (other files) → a folder with the two files of byte pairs."""
    def make(other_files):
        trained = ByteLevelBPETokenizer()
        trained.train_from_iterator(hub_models.TEXTS, NUM_TOKENS, 1,
                                    special_tokens=SPECIAL_TOKENS)
        trained.save_model(str(tmp_path))
        for name, content in {**other_files, 'config.json': {'model_type': 'roberta'}}.items():
            (tmp_path / name).write_text(json.dumps(content))
        return tmp_path
    return make


def encode(vocabulary, *texts):
    """The token ids of a text or a pair, special tokens included."""
    tokenizer = BertTokenizer(vocabulary, lower=False)
    frame = tokenizer.frame(pair=len(texts) == 2)
    return list(frame.join(tokenizer.encode(list(texts)))[0])


@pytest.mark.torch
@pytest.mark.parametrize('says', OTHER_FILES)
def test_token_ids_of_transformers(make_folder, transformers, says):
    folder = make_folder(OTHER_FILES[says])
    theirs = transformers.AutoTokenizer.from_pretrained(str(folder))
    vocabulary, cased = read_folder_tokenizer(str(folder))
    assert cased and vocabulary.idx_to_token == theirs.convert_ids_to_tokens(range(len(theirs)))
    for texts in [*zip(TEXTS), *zip(TEXTS, TEXTS[1:])]:
        assert encode(vocabulary, *texts) == theirs(*texts).input_ids


def test_a_tokenizer_json_of_byte_pairs(make_folder):
    """A run of ours has it instead, with the same token ids."""
    folder = make_folder({})
    vocabulary, _ = read_folder_tokenizer(str(folder))
    assert vocabulary.idx_to_token[:5] == SPECIAL_TOKENS and len(vocabulary) == NUM_TOKENS
    (folder / 'tokenizer.json').write_text(vocabulary.tokenizer_json)
    again, _ = read_folder_tokenizer(str(folder))
    assert again.idx_to_token == vocabulary.idx_to_token
    assert encode(again, *TEXTS[:2]) == encode(vocabulary, *TEXTS[:2])


@pytest.mark.parametrize('name, content, message', [
    ('vocab.json', '[]', 'vocab.json: holds a list'),
    ('vocab.json', '{"<s>": 0, "a": 0}', 'vocab.json: two tokens of its vocabulary have the same'),
    ('vocab.json', '{"<s>": "0"}', 'vocab.json: the id of "<s>" is \'0\': expected a whole number'),
    ('merges.txt', '#version: 0.2\na b c\n', 'merges.txt: the library tokenizers can\'t read them'),
    ('merges.txt', 'Ġzz q\n', 'merges.txt: the library tokenizers can\'t read them'),
    ('merges.txt', None, 'tokenizer_class is "RobertaTokenizer", and there is no tokenizer.json')])
def test_bad_files(make_folder, name, content, message):
    folder = make_folder(OTHER_FILES['added'])
    if content is None:
        (folder / name).unlink()
        (folder / 'vocab.txt').write_text('a\n')        # a vocabulary that this class has not
    else:
        (folder / name).write_text(content)
    with pytest.raises(UserError) as info:
        read_folder_tokenizer(str(folder))
    assert message in str(info.value)


def test_half_of_the_files_is_no_vocabulary(tmp_path):
    roberta = tiny_relatives.write_roberta(tmp_path / 'roberta')
    (roberta / 'tokenizer.json').unlink()
    (roberta / 'vocab.json').write_text('{}')
    with pytest.raises(UserError, match='no vocab.txt beside it'):
        read_checkpoint(str(roberta))


@pytest.mark.parametrize('name', ['BertTokenizer', 'PreTrainedTokenizerFast'])
def test_byte_pairs_of_another_class(make_folder, name):
    folder = make_folder({'tokenizer_config.json': {'tokenizer_class': name}})
    with pytest.raises(UserError, match='and there is no tokenizer.json beside it'):
        read_folder_tokenizer(str(folder))
