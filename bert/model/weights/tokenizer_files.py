"""Reads transformers' tokenizer files beside the weights: tokens, case, options."""
import logging
import os

from bert import files
from bert.errors import UserError
from bert.file_names import TOKENIZER_CONFIG_FILE, TOKENIZER_FILE, VOCABULARY_FILE
from bert.vocabulary import BLANK_TOKEN, looks_cased, make_vocabulary, read_vocabulary

LOG = logging.getLogger(__name__)

# Classes that tokenize like BERT; the last two load tokenizer.json
TOKENIZER_CLASSES = (
    'BertTokenizer', 'DistilBertTokenizer', 'PreTrainedTokenizer', 'TokenizersBackend')
ADDED_TOKENS = 'added_tokens.json'
# Options for which our tokenizer has one fixed value: {name in tokenizer_config.json: (name in the
# normalizer of tokenizer.json, value)}
TOKENIZER_OPTIONS = {'tokenize_chinese_chars': ('handle_chinese_chars', True),
                     'do_basic_tokenize': (None, True)}


def read_folder_vocabulary(folder):
    """The vocabulary in vocab.txt or tokenizer.json, or None when there is neither."""
    path = os.path.join(folder, VOCABULARY_FILE)
    if os.path.isfile(path):
        vocabulary = read_vocabulary(path)
        _compare_vocabularies(folder, vocabulary)
        return vocabulary
    path = os.path.join(folder, TOKENIZER_FILE)
    if not os.path.isfile(path):
        return None
    model = files.read_json(path).get('model')
    if not isinstance(model, dict) or model.get('type') != 'WordPiece' or \
            not isinstance(model.get('vocab'), dict):
        raise UserError('%s: its model is "%s": BERT needs WordPiece'
                        % (path, model.get('type') if isinstance(model, dict) else model))
    ids = model['vocab']
    wrong = [token for token, i in ids.items() if type(i) is not int]
    if wrong:
        raise UserError('%s: the id of "%s" is %r: expected a whole number'
                        % (path, wrong[0], ids[wrong[0]]))
    tokens = sorted(ids, key=ids.get)
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        raise UserError('%s: the ids of its vocabulary have gaps' % path)
    return make_vocabulary(tokens, path)


def _compare_vocabularies(folder, vocabulary):
    """Warn if tokenizer.json beside vocab.txt has other ids."""
    model = read_json_file(folder, TOKENIZER_FILE).get('model')
    ids = model.get('vocab') if isinstance(model, dict) else None
    if not isinstance(ids, dict):
        return
    tokens = vocabulary.idx_to_token
    other = {i: token for token, i in ids.items() if isinstance(i, int)}
    for i in sorted(other.keys() | set(range(len(tokens)))):
        token = tokens[i] if i < len(tokens) and tokens[i] != BLANK_TOKEN % i else None
        if token != (other.get(i) or None):     # '' is the blank line of a vocab.txt
            LOG.warning('%s: %s and %s contradict each other, first at id %d (%s, %s): %s is taken',
                        folder, VOCABULARY_FILE, TOKENIZER_FILE, i, token, other.get(i),
                        VOCABULARY_FILE)
            return


def is_cased(folder, vocabulary):
    """Whether the tokenizer of a transformers folder keeps case: from its tokenizer files, else
    from the vocabulary, with a warning."""
    lower_case = find_lower_casing(folder)
    if lower_case is not None:
        return not lower_case
    cased = looks_cased(vocabulary.idx_to_token)
    LOG.warning('%s: no tokenizer file says whether case is kept; the vocabulary looks %s',
                folder, 'cased' if cased else 'uncased')
    return cased


def find_lower_casing(folder):
    """Whether text is lower-cased, by the tokenizer files; None when they don't say."""
    lower_case = read_json_file(folder, TOKENIZER_CONFIG_FILE).get('do_lower_case')
    if not isinstance(lower_case, bool):
        lower_case = read_normalizer(folder).get('lowercase')
    return lower_case if isinstance(lower_case, bool) else None


def read_json_file(folder, name):
    """The dictionary in a JSON file of the folder, {} when there is no such file."""
    path = os.path.join(folder, name)
    return files.read_json(path) if os.path.isfile(path) else {}


def read_normalizer(folder):
    """The options of the normalizer in tokenizer.json, {} when there is none."""
    options = read_json_file(folder, TOKENIZER_FILE).get('normalizer')
    return options if isinstance(options, dict) else {}


def check_tokenizer(folder, size):
    """Raises `UserError` for a tokenizer that differs from ours.

    size: number of tokens in the vocabulary; added tokens have higher ids.
    """
    check_tokenizer_class(folder)
    check_tokenizer_options(folder)
    for file, token_ids in added_tokens(folder).items():
        extra_tokens = sorted(token for token, token_id in token_ids.items() if token_id >= size)
        if extra_tokens:
            raise UserError('%s: tokens were added to the vocabulary: %s; supported are those '
                            'of %s' % (os.path.join(folder, file), ', '.join(extra_tokens[:5]),
                                       VOCABULARY_FILE))


def check_tokenizer_class(folder):
    """Raises `UserError` for a tokenizer class or a normalizer that isn't BERT's."""
    name = read_json_file(folder, TOKENIZER_CONFIG_FILE).get('tokenizer_class')
    base_name = name[:-len('Fast')] if str(name).endswith('Fast') else name
    if base_name is not None and base_name not in TOKENIZER_CLASSES:
        raise UserError('%s: tokenizer_class is "%s"; supported: %s' % (
            os.path.join(folder, TOKENIZER_CONFIG_FILE), name, TOKENIZER_CLASSES[0]))
    normalizer_type = read_normalizer(folder).get('type', 'BertNormalizer')
    if normalizer_type != 'BertNormalizer':
        raise UserError('%s: its normalizer is "%s"; supported: BertNormalizer'
                        % (os.path.join(folder, TOKENIZER_FILE), normalizer_type))


def check_tokenizer_options(folder):
    """Raises `UserError` unless accents are stripped exactly when text is lower-cased, and
    `TOKENIZER_OPTIONS` have their values."""
    configuration = read_json_file(folder, TOKENIZER_CONFIG_FILE)
    normalizer_options = read_normalizer(folder)
    options = dict(TOKENIZER_OPTIONS, strip_accents=('strip_accents', find_lower_casing(folder)))
    for name, (normalizer_name, supported_value) in options.items():
        for file, key, value in ((TOKENIZER_CONFIG_FILE, name, configuration.get(name)),
                                 (TOKENIZER_FILE, normalizer_name,
                                  normalizer_options.get(normalizer_name))):
            if None not in (value, supported_value) and value != supported_value:
                raise UserError('%s: %s is %s; supported: %s%s' % (
                    os.path.join(folder, file), key, value, supported_value,
                    ', as case is' if name == 'strip_accents' else ''))


def added_tokens(folder):
    """{file: {token: id}} of the tokens that were added to a vocabulary."""
    entries = read_json_file(folder, TOKENIZER_FILE).get('added_tokens') or []
    decoder = read_json_file(folder, TOKENIZER_CONFIG_FILE).get('added_tokens_decoder') or {}
    try:
        return {ADDED_TOKENS: {token: int(token_id)
                               for token, token_id in read_json_file(folder, ADDED_TOKENS).items()},
                TOKENIZER_CONFIG_FILE: {entry['content']: int(token_id)
                                        for token_id, entry in decoder.items()},
                TOKENIZER_FILE: {entry['content']: int(entry['id']) for entry in entries}}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError('%s: the added tokens in %s, %s or %s are not as transformers writes them'
                        % (folder, ADDED_TOKENS, TOKENIZER_CONFIG_FILE, TOKENIZER_FILE)) from None
