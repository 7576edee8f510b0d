"""WordPiece vocabularies: vocab.txt in, gluonnlp's BERTVocab out."""
import collections
import hashlib

from bert.errors import UserError

SPECIAL_TOKENS = ('[UNK]', '[PAD]', '[CLS]', '[SEP]', '[MASK]')


def read_vocabulary(path):
    """Read a vocabulary file: UTF-8, one token a line, the line number is the id.

    Returns a `gluonnlp.vocab.BERTVocab` whose ids are those of the file.
    Raises `UserError` when the file can't be read, repeats a token or lacks a special one.
    """
    return make_vocabulary(read_tokens(path), path)


def read_tokens(path):
    """The tokens of a vocabulary file as a list, checked; errors of `read_vocabulary`."""
    try:
        # newline='\n': some vocabularies hold tokens that str.splitlines would break
        with open(path, encoding='utf-8', newline='\n') as lines:
            tokens = [line.rstrip('\r\n') for line in lines]
    except OSError as error:
        raise UserError('%s: can\'t read the vocabulary: %s' % (path, error.strerror)) from None
    except UnicodeDecodeError as error:
        raise UserError('%s: not UTF-8 at byte %d: a vocabulary is a UTF-8 text file with '
                        'one token a line' % (path, error.start)) from None
    check_tokens(tokens, path)
    return tokens


def check_tokens(tokens, source):
    """Raises `UserError`, naming `source`, unless each token stands once and the special ones are
    there."""
    known = set(tokens)
    if len(known) != len(tokens):
        repeated = collections.Counter(tokens).most_common(1)[0][0]
        lines = [str(i + 1) for i, token in enumerate(tokens) if token == repeated]
        raise UserError('%s: token %r stands on lines %s: each token may stand once'
                        % (source, repeated, ', '.join(lines)))
    missing = [token for token in SPECIAL_TOKENS if token not in known]
    if missing:
        raise UserError('%s: no %s among its %d tokens: not a BERT vocabulary'
                        % (source, ', '.join(missing), len(tokens)))


def digest(tokens):
    """sha256 of the vocab.txt with these tokens."""
    return hashlib.sha256(''.join(token + '\n' for token in tokens).encode()).hexdigest()


def make_vocabulary(tokens, source='vocabulary'):
    """The `BERTVocab` in which `tokens[i]` has id i; `source` names it in errors."""
    from gluonnlp.vocab import BERTVocab  # imports mxnet, which not all that read tokens need
    check_tokens(tokens, source)
    return BERTVocab(collections.Counter(tokens),
                     token_to_idx={token: index for index, token in enumerate(tokens)})


def write_vocabulary(vocabulary, path):
    """Write `vocabulary` as a vocab.txt, one token a line in the order of the ids."""
    write_tokens(vocabulary.idx_to_token, path)


def write_tokens(tokens, path):
    with open(path, 'w', encoding='utf-8', newline='\n') as out:
        out.writelines(token + '\n' for token in tokens)


def looks_cased(tokens):
    """Whether the vocabulary keeps upper case: True when any token has some, special ones
    ([unused1], and <S> in the multilingual vocabularies) left aside. The Chinese vocabulary
    has none: its makers lower-cased."""
    return any(token != token.lower() for token in tokens
               if not token.startswith(('[', '<')))
