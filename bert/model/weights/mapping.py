"""Maps the tensors of transformers to Gluon's and back: their names, and the order of ids."""
import logging
import re

import numpy as np

from bert.errors import UserError
from bert.families import FAMILIES, PREFIXES
from bert.model.weights.tensor_names import (
    BARE_POOLERS,
    SAME_BIASES,
    TO_GLUON,
    modern_name,
    names_in_transformers,
    translate_name,
)

LOG = logging.getLogger(__name__)

POSITIONS, SEGMENTS = 'encoder.position_weight', 'token_type_embed.0.weight'

# Buffers that some releases of transformers save: they hold 0, 1, 2, … and no weights.
BUFFERS = ('position_ids', 'token_type_ids')

# gluonnlp's conversion tool moved these tokens to the ids 0 to 4. In this order, it swapped each
# with the token that had the id before, and permuted the embeddings in the same way.
GLUONNLP_SPECIAL_TOKENS = ('[UNK]', '[PAD]', '[CLS]', '[SEP]', '[MASK]')

# Arrays with a row for each id
_VOCABULARY_ROWS = re.compile(
    r'(bert\.)?(word_embed\.0\.weight|decoder\.3\.(weight|bias))$')


# Names


def from_transformers(state, source, config=None):
    """Tensors of a transformers network under their Gluon names.

    state: {transformers name: array}. config: `BertConfig` of the network; without it, a BERT with
    a tied decoder is expected.
    Returns {Gluon name: array} without `BUFFERS` and the unused rows of the position table. A name
    that isn't in the table stays unchanged, for the caller to check. Raises `UserError`, with the
    name of `source`, when two different tensors map to one name, and for tensors of another family.
    """
    state = _without_prefixes(state, source)
    if config is not None:
        _check_family(state, config.family, source)
    state = _without_unused(state, config is None or config.tied_decoder)
    arrays, original_names = {}, {}
    for name, array in state.items():
        if name.rsplit('.', 1)[-1] in BUFFERS:
            continue
        gluon = translate_name(modern_name(name), TO_GLUON) or name
        if gluon in arrays and not np.array_equal(arrays[gluon], array):
            raise UserError('%s: %s and %s are the same parameter and hold different values: '
                            'remove one' % (source, original_names[gluon], name))
        arrays[gluon], original_names[gluon] = array, name
    if config is not None and config.position_offset and POSITIONS in arrays:
        arrays[POSITIONS] = arrays[POSITIONS][config.position_offset:]
    return arrays


def _check_family(state, family, source):
    """Raises `UserError` if tensors have the prefix of another family."""
    expected = FAMILIES[family].prefix
    for name in state:
        prefix = name.partition('.')[0]
        if prefix in PREFIXES and prefix != expected:
            raise UserError('%s: the tensor %s does not fit the model_type "%s" in config.json, '
                            'whose tensors begin with "%s.": they don\'t belong together'
                            % (source, name, family, expected))


def _without_unused(state, tied_decoder):
    """The tensors without those that transformers has no use for beside others."""
    unused = set()
    if not tied_decoder:
        unused |= {old for new, old in SAME_BIASES.items() if new in state}
    if 'classifier.dense.weight' in state:      # RoBERTa's classifier has its own first layer
        unused |= set(BARE_POOLERS['roberta'].values())
    return {name: array for name, array in state.items() if name not in unused}


def _without_prefixes(state, source):
    """The tensors without the prefixes that PyTorch's DataParallel and torch.compile add."""
    names = {name: re.sub(r'^(module\.)+', '', re.sub(r'(^|(?<=\.))_orig_mod\.', '', name))
             for name in state}
    changed = sum(name != plain_name for name, plain_name in names.items())
    if not changed:
        return state
    if len(set(names.values())) < len(names):
        raise UserError('%s: a tensor occurs twice, with and without the prefix "module." or '
                        '"_orig_mod.": remove one of the two' % source)
    LOG.info('%s: removed the prefixes "module." and "_orig_mod." of %d tensors', source, changed)
    return {names[name]: array for name, array in state.items()}


def plain_names(arrays):
    """Gluon arrays under the names in `tensor_names`: without the prefix `bert.` of task networks,
    and with the classifier's Dense at index 1, which otherwise depends on dropout."""
    return {re.sub(r'^classifier\.\d+\.', 'classifier.1.', re.sub(r'^bert\.', '', name)): array
            for name, array in arrays.items()}


def with_tag_classifier(arrays):
    """The arrays of `plain_names` with the classifier as that of tokens."""
    return {re.sub(r'^classifier\.1\.', 'tag_classifier.', name): array
            for name, array in arrays.items()}


def to_transformers(arrays, source, config):
    """Gluon arrays under the names of today's transformers, the reverse of `from_transformers`.
    Raises `UserError`, with the name of `source`, for an unknown name."""
    arrays = plain_names(arrays)
    table = names_in_transformers(config.family, 'classifier.1.weight' in arrays)
    state = {}
    for name, array in arrays.items():
        transformers_name = translate_name(name, table)
        if transformers_name is None:
            raise UserError('%s: transformers\' %s has no place for %s' % (
                source, config.family, name))
        if name == POSITIONS and config.position_offset:
            array = np.concatenate([np.zeros_like(array, shape=(
                config.position_offset, array.shape[1])), array])
        state[transformers_name] = array
    weight = table.get('decoder.3.weight')
    if config.tied_decoder:
        state.pop(weight, None)
    elif weight in state:
        state.update({new: state[old] for new, old in SAME_BIASES.items() if old in state})
    return state


# The order of ids


def has_published_order(tokens):
    """Whether the special tokens have the ids of every published vocab.txt. Only from there did
    gluonnlp's conversion move them."""
    return tokens[0] == '[PAD]' and tokens[100:104] == ['[UNK]', '[CLS]', '[SEP]', '[MASK]']


def gluonnlp_order(tokens):
    """The tokens of a published vocab.txt in the order of gluonnlp's vocabularies."""
    tokens = list(tokens)
    for target, special_token in enumerate(GLUONNLP_SPECIAL_TOKENS):
        origin = tokens.index(special_token)
        tokens[target], tokens[origin] = tokens[origin], tokens[target]
    return tokens


def published_order(tokens):
    """The tokens of a gluonnlp vocabulary in the order of its original vocab.txt: all published
    ones have [PAD] at 0 and [UNK], [CLS], [SEP], [MASK] at 100 to 103."""
    tokens = list(tokens)
    # the swaps of `gluonnlp_order` in reverse; the swap of [UNK] had moved [PAD] to 100
    for target, origin in ((4, 103), (3, 102), (2, 101), (1, 100), (0, 100)):
        tokens[target], tokens[origin] = tokens[origin], tokens[target]
    return tokens


def from_roberta_classifier(arrays):
    """The arrays of gluonnlp's `RoBERTaClassifier` under the names of ours: the first layer of its
    head is the pooler here. All other arrays stay as they are."""
    if not any(name.startswith('roberta.') for name in arrays):
        return arrays
    # with dropout, the layers have the indices 1 and 3
    layers = sorted({name.rpartition('.')[0] for name in arrays if name.startswith('classifier.')})
    new_names = dict(zip(layers, ('bert.pooler', 'classifier.1')))

    def rename(name):
        block, _, parameter = name.rpartition('.')
        block = new_names.get(block, re.sub(r'^roberta\b', 'bert', block))
        return '%s.%s' % (block, parameter)
    return {rename(name): array for name, array in arrays.items()}


def complete_relative(arrays, num_tokens, config):
    """The arrays of a gluonnlp file of BERT's relatives, with zeros for what it lacks: the rows of
    the vocabulary that have no token, and the only segment of RoBERTa, which is 0 there too."""
    def fill(array):
        return np.concatenate([array, np.zeros_like(array, shape=(
            config.vocab_size - num_tokens, *array.shape[1:]))])
    result = {name: fill(array) if _VOCABULARY_ROWS.match(name) and len(array) == num_tokens
              else array for name, array in arrays.items()}
    prefix = 'bert.' * any(name.startswith('bert.') for name in arrays)
    if config.token_type_vocab_size == 1:
        result.setdefault(prefix + SEGMENTS, np.zeros((1, config.units), 'float32'))
    return result


def reorder_ids(arrays, old_tokens, new_tokens):
    """The arrays with every token's row moved from its old id to its new id, as a new dictionary.

    arrays: {Gluon name: array}, with or without the prefix `bert.`. The two lists hold the same
    tokens. Rows beyond them (padding of the vocabulary) stay in place.
    """
    old_ids = {token: index for index, token in enumerate(old_tokens)}
    rows = np.array([old_ids[token] for token in new_tokens])
    result = dict(arrays)
    for name, array in arrays.items():
        # an array that is too small stays unchanged; the check of shapes reports it
        if len(array) >= len(rows) and _VOCABULARY_ROWS.match(name):
            result[name] = np.concatenate([array[rows], array[len(rows):]])
    return result
