"""Reads the tokenizer in a folder of transformers: its vocabulary and its rules.

transformers 5 has two kinds. The classes of BERT_CLASSES take only the tokens from tokenizer.json
or vocab.txt; their rules are those of tokenizer_config.json. All other classes are defined by
tokenizer.json alone; where it is missing, RoBERTa's by two files with byte pairs.
"""
import logging
import os

from tokenizers import AddedToken, normalizers

from bert import files
from bert.errors import UserError
from bert.file_names import (
    ADDED_TOKENS_FILE,
    BYTE_PAIR_FILES,
    CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    VOCABULARY_FILE,
)
from bert.model.weights.tokenizer_backends import make_byte_pairs, make_word_piece
from bert.tokenizer_definitions import add_tokens, added_token, load_definition
from bert.vocabulary import (
    BLANK_TOKEN,
    CLEAN_UP_KEY,
    SPECIAL_KEYS,
    SPECIAL_TOKENS,
    holds_tokenizer,
    looks_cased,
    make_vocabulary,
    read_tokens,
)

LOG = logging.getLogger(__name__)

# Classes with BERT's rules, without the ending Fast. The generic ones have these rules only where
# there is no tokenizer.json.
BERT_CLASSES = (None, 'BertTokenizer', 'DistilBertTokenizer', 'ConvBertTokenizer',
                'ElectraTokenizer', 'MobileBertTokenizer', 'SqueezeBertTokenizer')
GENERIC_CLASSES = ('PreTrainedTokenizer', 'TokenizersBackend')
BYTE_PAIR_CLASSES = (None, 'RobertaTokenizer')
JAPANESE_CLASSES = ('BertJapaneseTokenizer',)
# A character for private use, which some normalizers remove, and a word of letters of old scripts:
# no vocabulary has them
RARE_TEXT = 'a \U0010fffd \ua66e\ua840\U00010400'
MAX_GAPS = 1 << 16      # ids without a token; bounds the memory
# {option in tokenizer_config.json: its value where the file does not say}
OPTIONS = {'do_lower_case': True, 'strip_accents': None, 'tokenize_chinese_chars': True,
           'add_prefix_space': False, 'trim_offsets': True}


class FolderTokenizer:
    """The tokenizer files of a folder.

    settings: tokenizer_config.json; special_tokens: special_tokens_map.json; definition:
    tokenizer.json, as dictionaries, empty where there is no such file.
    """

    def __init__(self, folder):
        self.folder = folder
        self.settings = read_json_file(folder, TOKENIZER_CONFIG_FILE)
        self.special_tokens = read_json_file(folder, SPECIAL_TOKENS_FILE)
        self.definition = read_json_file(folder, TOKENIZER_FILE)
        name = self.settings.get('tokenizer_class') or \
            read_json_file(folder, CONFIG_FILE).get('tokenizer_class')
        self.class_name = name and str(name).removesuffix('Fast')
        self._check()

    def path(self, name):
        return os.path.join(self.folder, name)

    def _check(self):
        """Raises `UserError` for a tokenizer that no file describes."""
        if self.class_name in JAPANESE_CLASSES:
            raise UserError('%s: tokenizer_class is "%s": this tokenizer first splits Japanese '
                            'text into words with MeCab, which is not supported' % (
                                self.path(TOKENIZER_CONFIG_FILE), self.class_name))
        if self.settings.get('auto_map'):
            raise UserError('%s: auto_map: the tokenizer needs Python code of its own, which is '
                            'never run; supported: tokenizer.json, or BertTokenizer\'s vocab.txt'
                            % self.path(TOKENIZER_CONFIG_FILE))
        if self.settings.get('split_special_tokens'):
            raise UserError('%s: split_special_tokens: reading special tokens in a text as '
                            'ordinary words is not supported: set it to false'
                            % self.path(TOKENIZER_CONFIG_FILE))
        is_known = self.class_name in BERT_CLASSES + GENERIC_CLASSES and \
            os.path.isfile(self.path(VOCABULARY_FILE))
        if not (self.definition or self.has_byte_pairs or is_known):
            raise UserError('%s: tokenizer_class is "%s", and there is no %s beside it: create '
                            'that file with transformers: AutoTokenizer.from_pretrained(FOLDER)'
                            '.save_pretrained(FOLDER)' % (
                                self.path(TOKENIZER_CONFIG_FILE), self.class_name, TOKENIZER_FILE))

    @property
    def has_bert_rules(self):
        return not (self.definition or self.has_byte_pairs) or (
            self.class_name in BERT_CLASSES and self._model_type() == 'WordPiece')

    @property
    def has_byte_pairs(self):
        """Whether the two files with byte pairs count."""
        if self.definition or self.class_name not in BYTE_PAIR_CLASSES or (
                self.class_name is None and os.path.isfile(self.path(VOCABULARY_FILE))):
            return False
        return all(os.path.isfile(self.path(name)) for name in BYTE_PAIR_FILES)

    def _model_type(self):
        model = self.definition.get('model')
        if not isinstance(model, dict) or not model.get('vocab'):
            raise UserError('%s: no "model" with a "vocab" in it: save it again with transformers'
                            % self.path(TOKENIZER_FILE))
        # early files don't name the type
        return model.get('type') or ('WordPiece' if 'continuing_subword_prefix' in model and
                                     'merges' not in model else None)

    @property
    def cleans_up(self):
        """Whether spaces are taken out of decoded texts. transformers never does it for byte pairs.
        """
        model = self.definition.get('model')
        is_byte_pair = self.has_byte_pairs or \
            isinstance(model, dict) and model.get('type') == 'BPE'
        return self.settings.get(CLEAN_UP_KEY) is True and not is_byte_pair

    def option(self, name):
        """The value of one of OPTIONS."""
        value = self.settings.get(name)
        if value is not None and not isinstance(value, bool):
            raise UserError('%s: %s is %r: expected true or false'
                            % (self.path(TOKENIZER_CONFIG_FILE), name, value))
        return OPTIONS[name] if value is None else value

    def special_token(self, key):
        """The special token under one of SPECIAL_KEYS; None where the files don't say."""
        entry = self._special_entry(key)
        return entry and _content(entry, self.folder)

    def _special_entry(self, key):
        return next((values[key] for values in self._sources if values.get(key)), None)

    def with_flags(self, tokens):
        """[`AddedToken`] with the flags that the files give the special tokens among them."""
        entries = [self._special_entry(key) for key in SPECIAL_KEYS]
        described = {entry['content']: added_token({'special': True, 'normalized': False, **entry})
                     for entry in entries if isinstance(entry, dict)}
        return [described.get(token.content, token) for token in tokens]

    @property
    def _sources(self):
        """The files that name special tokens. An earlier file takes precedence."""
        if 'added_tokens_decoder' in self.settings:
            return (self.settings,)
        return self.special_tokens, self.settings

    def added_tokens(self, special_tokens=()):
        """[`AddedToken`] that the files declare, by their ids, then those of `special_tokens` and
        others that are only named."""
        by_id = {}
        for token_id, token in self._declared_tokens():
            if by_id.setdefault(token_id, token).content != token.content:
                raise UserError('%s: the tokens "%s" and "%s" both have the id %d' % (
                    self.folder, by_id[token_id].content, token.content, token_id))
        tokens = [by_id[token_id] for token_id in sorted(by_id)]
        contents = {token.content for token in tokens}
        names = [self.special_token(key) for key in SPECIAL_KEYS] + self._extra_tokens() + \
            list(special_tokens)
        return tokens + [AddedToken(name, special=True, normalized=False)
                         for name in dict.fromkeys(names) if name and name not in contents]

    def _declared_tokens(self):
        """Yield (id, `AddedToken`)."""
        try:
            decoder = self.settings.get('added_tokens_decoder')
            if decoder is not None:
                yield from ((_as_id(token_id), added_token(entry))
                            for token_id, entry in decoder.items())
                return
            for entry in self.definition.get('added_tokens') or []:
                yield _as_id(entry['id']), added_token(entry)
            special_tokens = [self.special_token(key) for key in SPECIAL_KEYS] + \
                self._extra_tokens()
            for content, token_id in read_json_file(self.folder, ADDED_TOKENS_FILE).items():
                is_special = content in special_tokens
                yield _as_id(token_id), AddedToken(content, special=is_special,
                                                   normalized=not is_special)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UserError('%s: the added tokens in %s, %s or %s do not have the format of '
                            'transformers' % (self.folder, ADDED_TOKENS_FILE, TOKENIZER_CONFIG_FILE,
                                      TOKENIZER_FILE)) from None

    def _extra_tokens(self):
        for key in ('extra_special_tokens', 'additional_special_tokens'):
            for values in self._sources:
                if values.get(key):
                    return [_content(token, self.folder) for token in values[key]]
        return []


def read_folder_tokenizer(folder):
    """(`BERTVocab` as `make_vocabulary` gives it, whether case is kept) of a folder. The second is
    None where no file says so: transformers then lower-cases. (None, None) for a folder without a
    vocabulary. Raises `UserError`."""
    if not (os.path.isdir(folder) and holds_tokenizer(os.listdir(folder))):
        return None, None
    tokenizer = FolderTokenizer(folder)
    read = _read_byte_pairs if tokenizer.has_byte_pairs else \
        _read_bert_tokenizer if tokenizer.has_bert_rules else _read_definition
    vocabulary, cased = read(tokenizer)
    vocabulary.clean_up = tokenizer.cleans_up
    return vocabulary, cased


def is_cased(folder, vocabulary, cased):
    """Whether a folder of transformers keeps case. cased: from `read_folder_tokenizer`."""
    if cased is None:
        LOG.warning('%s: no %s says whether to keep case: text is lower-cased, as transformers '
                    'does%s', folder, TOKENIZER_CONFIG_FILE, '; the vocabulary looks cased: to '
                    'keep case, set "do_lower_case" to false in that file'
                    if looks_cased(vocabulary.idx_to_token) else '')
    return bool(cased)


def read_json_file(folder, name):
    """The dictionary in a JSON file of the folder, {} when there is no such file."""
    path = os.path.join(folder, name)
    return files.read_json(path) if os.path.isfile(path) else {}


def _as_id(value):
    """An id, which is a number, or in tokenizer_config.json its digits."""
    if type(value) is int or isinstance(value, str) and value.isdecimal():
        return int(value)
    raise ValueError(value)


def _content(token, folder):
    """The text of a token, which is a str or a dictionary."""
    content = token.get('content') if isinstance(token, dict) else token
    if not isinstance(content, str):
        raise UserError('%s: the special token %r is not a text' % (folder, token))
    return content


# BERT's rules


def _read_bert_tokenizer(tokenizer):
    special_tokens = tuple(tokenizer.special_token(key) or default
                           for key, default in zip(SPECIAL_KEYS, SPECIAL_TOKENS))
    tokens = _bert_tokens(tokenizer, special_tokens)
    lower = tokenizer.option('do_lower_case')
    cased = None if tokenizer.settings.get('do_lower_case') is None else not lower
    added_tokens = tokenizer.added_tokens(special_tokens)
    strip_accents = tokenizer.option('strip_accents')
    is_usual = (special_tokens == SPECIAL_TOKENS and strip_accents in (None, lower)
                and tokenizer.option('tokenize_chinese_chars')
                and all(_is_usual(token) for token in added_tokens))
    source = tokenizer.path(TOKENIZER_FILE if tokenizer.definition else VOCABULARY_FILE)
    if is_usual:
        return make_vocabulary(tokens, source), cased
    backend = make_word_piece(tokens, special_tokens, normalizers.BertNormalizer(
        handle_chinese_chars=tokenizer.option('tokenize_chinese_chars'),
        strip_accents=strip_accents, lowercase=lower), source)
    add_tokens(backend, added_tokens)
    return make_vocabulary(_tokens_of(backend), source, special_tokens, backend.to_str()), cased


def _is_usual(token):
    """Whether an `AddedToken` is one of BERT's special tokens, as its vocabularies have them."""
    return token.content in SPECIAL_TOKENS and not (
        token.lstrip or token.rstrip or token.single_word or token.normalized)


def _bert_tokens(tokenizer, special_tokens):
    """The tokens in tokenizer.json, else in vocab.txt, in the order of their ids."""
    path = tokenizer.path(VOCABULARY_FILE)
    file_tokens = read_tokens(path, special_tokens) if os.path.isfile(path) else None
    if not tokenizer.definition:
        return file_tokens
    tokens = _order_by_id(tokenizer.definition['model']['vocab'], tokenizer.path(TOKENIZER_FILE))
    if file_tokens is not None and file_tokens != tokens:
        i = next((i for i, pair in enumerate(zip(file_tokens, tokens)) if pair[0] != pair[1]),
                 min(len(file_tokens), len(tokens)))
        LOG.warning('%s: %s and %s differ, first at id %d: using %s, as transformers '
                    'does', tokenizer.folder, VOCABULARY_FILE, TOKENIZER_FILE, i,
                    TOKENIZER_FILE)
    return tokens


def _order_by_id(ids, source):
    """The tokens of {token: id} in the order of their ids; an id without one gets BLANK_TOKEN."""
    if not isinstance(ids, dict):
        raise UserError('%s: the vocabulary is not a dictionary of tokens and ids' % source)
    for token, i in ids.items():
        if type(i) is not int or not 0 <= i < len(ids) + MAX_GAPS:
            raise UserError('%s: the id of "%s" is %r: expected a whole number from 0 to about '
                            'the number of tokens, %d' % (source, token, i, len(ids)))
    by_id = {i: token for token, i in ids.items() if token}
    if len(by_id) < len(ids) - ('' in ids):
        raise UserError('%s: two tokens of its vocabulary have the same id' % source)
    return [by_id.get(i, BLANK_TOKEN % i) for i in range(max(by_id, default=-1) + 1)]


# tokenizer.json as it is


def _read_definition(tokenizer):
    path = tokenizer.path(TOKENIZER_FILE)
    try:
        with open(path, encoding='utf-8') as file:
            backend = load_definition(file.read())
        backend.encode(RARE_TEXT)       # raises for an unknown token that is in no vocabulary
    except Exception as error:      # the library raises nothing more specific
        raise UserError('%s: the library tokenizers can\'t read it: %s' % (path, error)) from None
    backend.no_truncation()
    backend.no_padding()
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    add_tokens(backend, [token for token in tokenizer.added_tokens()
                          if token.content not in known])
    return _read_backend(tokenizer, backend, TOKENIZER_FILE)


def _read_backend(tokenizer, backend, name):
    """(vocabulary, whether case is kept) of a `tokenizers.Tokenizer`. name: of its file."""
    tokens = _tokens_of(backend)
    special_tokens = _find_special_tokens(tokenizer, tokens)
    return (make_vocabulary(tokens, tokenizer.path(name), special_tokens, backend.to_str()),
            not _lowers_case(backend))


def _read_byte_pairs(tokenizer):
    paths = [tokenizer.path(name) for name in BYTE_PAIR_FILES]
    _order_by_id(files.read_json(paths[0]), paths[0])    # a check
    special_tokens = tuple(tokenizer.special_token(key) or default
                           for key, default in zip(SPECIAL_KEYS, ROBERTA_TOKENS))
    backend = make_byte_pairs(
        paths, tokenizer.with_flags(tokenizer.added_tokens(special_tokens)), special_tokens,
        tokenizer.option('add_prefix_space'), tokenizer.option('trim_offsets'))
    return _read_backend(tokenizer, backend, BYTE_PAIR_FILES[0])


def _tokens_of(backend):
    return _order_by_id(backend.get_vocab(with_added_tokens=True), TOKENIZER_FILE)


# Special tokens of files that don't name theirs: BERT's, and those of RoBERTa
ROBERTA_TOKENS = ('<unk>', '<pad>', '<s>', '</s>', '<mask>')
USUAL_TOKENS = tuple(zip(SPECIAL_TOKENS, ROBERTA_TOKENS))


def _find_special_tokens(tokenizer, tokens):
    """The special tokens in the order of SPECIAL_TOKENS; None for one that the tokenizer lacks."""
    tokens = set(tokens)
    names = [tokenizer.special_token(key) or next((name for name in usual if name in tokens), None)
             for key, usual in zip(SPECIAL_KEYS, USUAL_TOKENS)]
    padding = names[SPECIAL_KEYS.index('pad_token')]
    if padding not in tokens:
        raise UserError('%s: no padding token: name it as "pad_token" in %s'
                        % (tokenizer.path(TOKENIZER_FILE), TOKENIZER_CONFIG_FILE))
    return tuple(name if name in tokens else None for name in names)


def _lowers_case(backend):
    return backend.normalizer is not None and \
        backend.normalizer.normalize_str('B').strip('▁ ') == 'b'
