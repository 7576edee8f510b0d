"""Reading vocab.txt into gluonnlp's BERTVocab, and writing it."""
import pytest
from tokenizers.models import WordPiece

from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.vocabulary import looks_cased, make_vocabulary, read_vocabulary, write_tokens

SPECIAL_TOKENS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']


def write(path, tokens, end='\n'):
    path.write_bytes(''.join(token + end for token in tokens).encode())
    return str(path)


def error_of(path):
    with pytest.raises(UserError) as error:
        read_vocabulary(str(path))
    return str(error.value)


def test_the_line_number_is_the_id(tmp_path):
    tokens = ['the'] + SPECIAL_TOKENS + ['##s', 'é', '电']
    vocabulary = read_vocabulary(write(tmp_path / 'vocab.txt', tokens))
    assert vocabulary.idx_to_token == tokens
    assert [vocabulary[token] for token in tokens] == list(range(9))
    assert len(vocabulary) == 9
    assert (vocabulary.padding_token, vocabulary.unknown_token, vocabulary.cls_token,
            vocabulary.sep_token, vocabulary.mask_token) == tuple(SPECIAL_TOKENS)
    assert vocabulary['absent'] == 2        # [UNK]


def test_line_ends(tmp_path):
    for end in ('\n', '\r\n'):
        vocabulary = read_vocabulary(write(tmp_path / 'vocab.txt', SPECIAL_TOKENS + ['a'], end))
        assert vocabulary.idx_to_token == SPECIAL_TOKENS + ['a']
    (tmp_path / 'vocab.txt').write_text('\n'.join(SPECIAL_TOKENS))     # no newline at the end
    assert read_vocabulary(str(tmp_path / 'vocab.txt')).idx_to_token == SPECIAL_TOKENS


def test_odd_tokens_stay_whole(tmp_path):
    # str.splitlines would split some of these, which the multilingual vocabularies contain
    tokens = SPECIAL_TOKENS + ['\u2028', 'a\x85b', '\x0b', ' ', '\u3000', '"']
    assert read_vocabulary(write(tmp_path / 'vocab.txt', tokens)).idx_to_token == tokens


def test_round_trip(tmp_path):
    path = write(tmp_path / 'vocab.txt', SPECIAL_TOKENS + ['\u2028', '', 'é'])
    write_tokens(read_vocabulary(path).idx_to_token, str(tmp_path / 'again.txt'))
    assert (tmp_path / 'again.txt').read_bytes() == (tmp_path / 'vocab.txt').read_bytes()


@pytest.mark.parametrize('blank_lines, end, mark', [
    ({}, '\n', b''), ({3: 1}, '\n', b''), ({3: 1, 5: 2}, '\n', b''), ({8: 1}, '\n', b''),
    ({3: 1, 8: 3}, '\r\n', b'\xef\xbb\xbf'), ({}, '\n', b'\xef\xbb\xbf')])
def test_blank_lines_and_marks_as_the_library_tokenizers_reads_them(
        tmp_path, blank_lines, end, mark):
    """A blank line has an id that no text gets; at the end it has none. (The library itself does
    not know byte-order marks.)"""
    tokens = []
    for i, token in enumerate(SPECIAL_TOKENS + ['a', 'b', 'c', None]):
        tokens += [''] * blank_lines.get(i, 0) + ([] if token is None else [token])
    path = write(tmp_path / 'vocab.txt', tokens, end)
    library = WordPiece.read_file(path)
    (tmp_path / 'vocab.txt').write_bytes(mark + (tmp_path / 'vocab.txt').read_bytes())
    vocabulary = read_vocabulary(path)
    assert {token: vocabulary[token] for token in library if token} == {
        token: i for token, i in library.items() if token}
    assert len(vocabulary) == len(''.join(token or ' ' for token in tokens).rstrip()) - sum(
        len(token) - 1 for token in tokens if token)
    tokenizer = BertTokenizer(vocabulary, lower=True)
    dead = {i for i, token in enumerate(tokens) if not token}
    for text in ('a b c', '[blank3] [ ] blank 3', ''):
        assert not dead & set(tokenizer.encode([text])[0].tolist())
    write_tokens(vocabulary.idx_to_token, str(tmp_path / 'again.txt'))
    assert read_vocabulary(str(tmp_path / 'again.txt')).idx_to_token == vocabulary.idx_to_token


def test_repeated_token(tmp_path):
    path = write(tmp_path / 'vocab.txt', SPECIAL_TOKENS + ['a', 'b', 'a'])
    assert error_of(path) == \
        "%s: token 'a' is on lines 6, 8: each token may occur only once" % path


def test_special_tokens_that_are_missing(tmp_path):
    path = write(tmp_path / 'vocab.txt', ['[PAD]', '[UNK]', '[CLS]', 'a'])
    assert error_of(path) == '%s: no [SEP], [MASK] among its 4 tokens: not a BERT vocabulary' % path
    assert 'no [UNK], [PAD], [CLS], [SEP], [MASK] among its 0 tokens' in error_of(
        write(tmp_path / 'empty.txt', []))


def test_not_utf8(tmp_path):
    path = tmp_path / 'vocab.txt'
    path.write_bytes(b'[PAD]\ncaf\xe9\n')
    assert error_of(path) == ('%s: not UTF-8 at byte 9: a vocabulary is a UTF-8 text file with '
                              'one token per line' % path)


def test_missing_and_unreadable_file(tmp_path):
    path = tmp_path / 'vocab.txt'
    assert error_of(path) == '%s: can\'t read the vocabulary: No such file or directory' % path
    path.mkdir()
    assert error_of(path) == '%s: can\'t read the vocabulary: Is a directory' % path


def test_tokens_in_memory_are_named_in_errors():
    with pytest.raises(UserError, match='^wiki_cn_cased: no '):
        make_vocabulary(['a'], 'wiki_cn_cased')


# ---- Google's five vocabularies

# (name, is cased). The Chinese one has no upper case: its authors lower-cased it too
VOCABULARIES = [('bert-base-uncased', False), ('bert-base-cased', True),
                ('bert-base-multilingual-uncased', False), ('bert-base-multilingual-cased', True),
                ('bert-base-chinese', False)]


@pytest.mark.parametrize('name,is_cased', VOCABULARIES, ids=[name for name, _ in VOCABULARIES])
def test_published_vocabulary(name, is_cased, data_dir, tmp_path):
    path = data_dir / 'vocab' / ('%s.txt' % name)
    vocabulary = read_vocabulary(str(path))
    assert looks_cased(vocabulary.idx_to_token) == is_cased
    write_tokens(vocabulary.idx_to_token, str(tmp_path / 'vocab.txt'))
    assert (tmp_path / 'vocab.txt').read_bytes() == path.read_bytes()


@pytest.mark.parametrize('tokens,is_cased', [
    (['the', '##s'], False), (['The'], True), (['##S'], True), (['[Unused1]', '<S>'], False),
    (['É'], True), (['é', '电', '1'], False)])
def test_looks_cased(tokens, is_cased):
    assert looks_cased(SPECIAL_TOKENS + tokens) == is_cased
