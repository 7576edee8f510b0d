"""WordPiece vocabularies: vocab.txt files, lists of tokens and gluonnlp's BERTVocab."""
import collections
import hashlib
import os

from bert import files
from bert.errors import UserError
from bert.file_names import (
    BYTE_PAIR_FILES,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    VOCABULARY_FILE,
)

BLANK_TOKEN = '[blank%d]'     # no text becomes this token: '[' is a word of its own
SPECIAL_TOKENS = ('[UNK]', '[PAD]', '[CLS]', '[SEP]', '[MASK]')
# transformers' names of them, in the same order
SPECIAL_KEYS = ('unk_token', 'pad_token', 'cls_token', 'sep_token', 'mask_token')
CLEAN_UP_KEY = 'clean_up_tokenization_spaces'      # in tokenizer_config.json


def read_vocabulary(path):
    """Read a vocabulary file: UTF-8, one token per line, in the order of the ids from 0 on.

    Returns a `gluonnlp.vocab.BERTVocab` with the ids of the file.
    Raises `UserError` when the file can't be read, repeats a token or lacks a special token.
    """
    return make_vocabulary(read_tokens(path), path)


def read_tokens(path, special_tokens=SPECIAL_TOKENS):
    """List of the tokens in a vocabulary file; errors of `read_vocabulary`. special_tokens: those
    that it has to hold.

    The ids are those of the library `tokenizers`: a blank line has an id that no text gets (its
    token is a `BLANK_TOKEN`), and blank lines at the end have none.
    """
    try:
        # newline='\n': some vocabularies contain tokens that str.splitlines would split
        with open(path, encoding='utf-8-sig', newline='\n') as lines:
            tokens = [line.rstrip('\r\n') for line in lines]
        files.refuse_pointer(path, tokens[0] if tokens else '')
        if len(tokens) == 1:    # of old Macintosh line ends
            tokens = tokens[0].split('\r')
    except OSError as error:
        raise UserError('%s: can\'t read the vocabulary: %s' % (path, error.strerror)) from None
    except UnicodeDecodeError as error:
        raise UserError('%s: not UTF-8 at byte %d: a vocabulary is a UTF-8 text file with '
                        'one token per line' % (path, error.start)) from None
    while tokens and not tokens[-1]:
        tokens.pop()
    tokens = [token or BLANK_TOKEN % i for i, token in enumerate(tokens)]
    check_tokens(tokens, path, special_tokens)
    return tokens


def check_tokens(tokens, source, special_tokens=SPECIAL_TOKENS):
    """Raises `UserError`, which names `source`, for a repeated token or a missing special token."""
    unique_tokens = set(tokens)
    if len(unique_tokens) != len(tokens):
        repeated = collections.Counter(tokens).most_common(1)[0][0]
        lines = [str(i + 1) for i, token in enumerate(tokens) if token == repeated]
        raise UserError('%s: token %r is on lines %s: each token may occur only once'
                        % (source, repeated, ', '.join(lines)))
    missing = [token for token in special_tokens if token not in unique_tokens]
    if missing:
        raise UserError('%s: no %s among its %d tokens: not a BERT vocabulary'
                        % (source, ', '.join(missing), len(tokens)))


def digest_tokens(tokens):
    """sha256 of a vocab.txt with these tokens."""
    return hashlib.sha256(''.join(_lines(tokens)).encode()).hexdigest()


def make_vocabulary(tokens, source='vocabulary', special_tokens=SPECIAL_TOKENS,
                    tokenizer_json=None):
    """The `BERTVocab` in which `tokens[i]` has id i. source: where the tokens come from, for the
    errors, which are those of `check_tokens`.

    special_tokens: the model's names of `SPECIAL_TOKENS`, None for one that it lacks.
    tokenizer_json: the text of the tokenizer.json by which texts become these tokens; None for
    BERT's WordPiece with its usual rules. It becomes an attribute of the vocabulary. Another one is
    clean_up: whether spaces are taken out of decoded texts, as some folders of transformers ask.
    """
    from gluonnlp.vocab import BERTVocab  # imports mxnet, which `read_tokens` doesn't need
    check_tokens(tokens, source, [token for token in special_tokens if token is not None])
    unknown, padding, cls, sep, mask = special_tokens
    vocabulary = BERTVocab(
        collections.Counter(tokens), unknown_token=unknown, padding_token=padding, cls_token=cls,
        sep_token=sep, mask_token=mask,
        token_to_idx={token: index for index, token in enumerate(tokens)})
    vocabulary.tokenizer_json, vocabulary.clean_up = tokenizer_json, False
    return vocabulary


def special_tokens_of(vocabulary):
    """A vocabulary's names of `SPECIAL_TOKENS`, None for those that it lacks."""
    return (vocabulary.unknown_token, vocabulary.padding_token, vocabulary.cls_token,
            vocabulary.sep_token, vocabulary.mask_token)


def write_tokenizer(vocabulary, folder, **settings):
    """Write the files that describe a vocabulary and its tokenizer: vocab.txt, one token per line
    in the order of the ids; or, with a `tokenizer_json`, tokenizer.json and a tokenizer_config.json
    by which transformers, too, takes it as it is. settings: more keys of tokenizer_config.json."""
    path = os.path.join(folder, TOKENIZER_CONFIG_FILE)
    if vocabulary.tokenizer_json is None:
        write_tokens(vocabulary.idx_to_token, os.path.join(folder, VOCABULARY_FILE))
        if vocabulary.clean_up:
            files.write_json(path, decoding_settings(vocabulary))
        return
    with open(os.path.join(folder, TOKENIZER_FILE), 'w', encoding='utf-8') as out:
        out.write(vocabulary.tokenizer_json)
    tokens = special_tokens_of(vocabulary)
    files.write_json(path, dict(
        tokenizer_class='PreTrainedTokenizerFast', **settings, **decoding_settings(vocabulary),
        **{key: token for key, token in zip(SPECIAL_KEYS, tokens) if token is not None}))


def decoding_settings(vocabulary):
    """The keys of tokenizer_config.json on how ids become texts."""
    return {CLEAN_UP_KEY: True} if vocabulary.clean_up else {}


def holds_tokenizer(names):
    """Whether files of these names say how a model cuts texts into tokens."""
    return any(set(group) <= set(names) for group in (
        (VOCABULARY_FILE,), (TOKENIZER_FILE,), BYTE_PAIR_FILES))


def write_tokens(tokens, path):
    with open(path, 'w', encoding='utf-8', newline='\n') as out:
        out.writelines(_lines(tokens))


def _lines(tokens):
    """The lines of a vocab.txt with these tokens."""
    return (('' if token == BLANK_TOKEN % i else token) + '\n' for i, token in enumerate(tokens))


def looks_cased(tokens):
    """Whether any token has an upper-case letter, apart from special tokens ([unused1], and <S> in
    the multilingual vocabularies). The Chinese vocabulary has none: its authors lower-cased."""
    return any(token != token.lower() for token in tokens
               if not token.startswith(('[', '<')))
