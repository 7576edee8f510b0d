"""What lies beside the weights of transformers about their tokenizer: tokens, case, options."""
import logging
import os

from bert import files
from bert.errors import UserError
from bert.file_names import TOKENIZER, TOKENIZER_CONFIG, VOCABULARY
from bert.vocabulary import looks_cased, make_vocabulary, read_vocabulary

LOG = logging.getLogger(__name__)

# Classes that split as BERT's; the last two are what tokenizer.json is loaded with
CLASSES = ('BertTokenizer', 'DistilBertTokenizer', 'PreTrainedTokenizer', 'TokenizersBackend')
ADDED = 'added_tokens.json'
# Options that our tokenizer has one value of: {name in tokenizer_config.json: (name in the
# normalizer of tokenizer.json, value)}
OPTIONS = {'tokenize_chinese_chars': ('handle_chinese_chars', True),
           'do_basic_tokenize': (None, True)}


def vocabulary_beside(folder):
    """The vocabulary in vocab.txt or tokenizer.json, or None when there is neither."""
    path = os.path.join(folder, VOCABULARY)
    if os.path.isfile(path):
        return read_vocabulary(path)
    path = os.path.join(folder, TOKENIZER)
    if not os.path.isfile(path):
        return None
    model = files.read_json(path).get('model') or {}
    if model.get('type') != 'WordPiece' or not isinstance(model.get('vocab'), dict):
        raise UserError('%s: its model is "%s": BERT needs WordPiece' % (path, model.get('type')))
    ids = model['vocab']
    tokens = sorted(ids, key=ids.get)
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        raise UserError('%s: the ids of its vocabulary have gaps' % path)
    return make_vocabulary(tokens, path)


def is_cased(folder, vocabulary):
    """Whether a transformers folder keeps case: its tokenizer files say, or it is found
    from the vocabulary and said aloud."""
    lower = lowers(folder)
    if lower is not None:
        return not lower
    cased = looks_cased(vocabulary.idx_to_token)
    LOG.warning('%s: no tokenizer file says whether case is kept; the vocabulary looks %s',
                folder, 'cased' if cased else 'uncased')
    return cased


def lowers(folder):
    """Whether the tokenizer files say that text is lower-cased; None when they don't say."""
    lower = read(folder, TOKENIZER_CONFIG).get('do_lower_case')
    if not isinstance(lower, bool):
        lower = normalizer(folder).get('lowercase')
    return lower if isinstance(lower, bool) else None


def read(folder, name):
    """The dictionary in a JSON file of the folder, {} when it isn't there."""
    path = os.path.join(folder, name)
    return files.read_json(path) if os.path.isfile(path) else {}


def normalizer(folder):
    """The part of tokenizer.json that changes the text, {} without one."""
    found = read(folder, TOKENIZER).get('normalizer')
    return found if isinstance(found, dict) else {}


def check(folder, size):
    """Raises `UserError` for a tokenizer that ours doesn't equal.

    size: of the vocabulary; added tokens would stand beyond it.
    """
    check_class(folder)
    check_options(folder)
    for file, added in added_tokens(folder).items():
        beyond = sorted(token for token, number in added.items() if number >= size)
        if beyond:
            raise UserError('%s: tokens were added to the vocabulary: %s; supported are those '
                            'of %s' % (os.path.join(folder, file), ', '.join(beyond[:5]),
                                       VOCABULARY))


def check_class(folder):
    name = read(folder, TOKENIZER_CONFIG).get('tokenizer_class')
    plain = name[:-len('Fast')] if str(name).endswith('Fast') else name
    if plain is not None and plain not in CLASSES:
        raise UserError('%s: tokenizer_class is "%s"; supported: %s' % (
            os.path.join(folder, TOKENIZER_CONFIG), name, CLASSES[0]))
    kind = normalizer(folder).get('type', 'BertNormalizer')
    if kind != 'BertNormalizer':
        raise UserError('%s: its normalizer is "%s"; supported: BertNormalizer'
                        % (os.path.join(folder, TOKENIZER), kind))


def check_options(folder):
    """Stripping accents goes with lower-casing; the others have one value."""
    told, normal = read(folder, TOKENIZER_CONFIG), normalizer(folder)
    lower = lowers(folder)
    wanted = dict(OPTIONS, strip_accents=('strip_accents', lower))
    for name, (inner, value) in wanted.items():
        for file, found in ((TOKENIZER_CONFIG, told.get(name)), (TOKENIZER, normal.get(inner))):
            if found is not None and value is not None and found != value:
                raise UserError('%s: %s is %s; supported: %s%s' % (
                    os.path.join(folder, file), name if file == TOKENIZER_CONFIG else inner,
                    found, value, ', as case is' if name == 'strip_accents' else ''))


def added_tokens(folder):
    """{file: {token: id}} of the tokens that were added to a vocabulary."""
    listed = read(folder, TOKENIZER).get('added_tokens') or []
    decoder = read(folder, TOKENIZER_CONFIG).get('added_tokens_decoder') or {}
    try:
        return {ADDED: {token: int(number) for token, number in read(folder, ADDED).items()},
                TOKENIZER_CONFIG: {entry['content']: int(number)
                                   for number, entry in decoder.items()},
                TOKENIZER: {entry['content']: int(entry['id']) for entry in listed}}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError('%s: the added tokens in %s, %s or %s are not as transformers writes them'
                        % (folder, ADDED, TOKENIZER_CONFIG, TOKENIZER)) from None
