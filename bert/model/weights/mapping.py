"""Maps transformers' BERT to Gluon's and back: tensor names, configurations, order of ids."""
import collections
import logging
import re

import numpy as np

from bert.errors import UserError, did_you_mean
from bert.file_names import CLASSIFICATION, MULTI_LABEL, REGRESSION
from bert.model.config import BertConfig

LOG = logging.getLogger(__name__)

# One table for both directions: (Gluon name, transformers name). '#' is the index of a layer.
# Gluon names are those inside a `BERTModel`; task networks add the prefix `bert.`.
NAME_PAIRS = (
    ('word_embed.0.weight', 'bert.embeddings.word_embeddings.weight'),
    ('token_type_embed.0.weight', 'bert.embeddings.token_type_embeddings.weight'),
    ('encoder.position_weight', 'bert.embeddings.position_embeddings.weight'),
    ('encoder.layer_norm.gamma', 'bert.embeddings.LayerNorm.weight'),
    ('encoder.layer_norm.beta', 'bert.embeddings.LayerNorm.bias'),
) + tuple(
    ('encoder.transformer_cells.#.' + gluon, 'bert.encoder.layer.#.' + transformers)
    for gluon, transformers in (
        ('attention_cell.proj_query.weight', 'attention.self.query.weight'),
        ('attention_cell.proj_query.bias', 'attention.self.query.bias'),
        ('attention_cell.proj_key.weight', 'attention.self.key.weight'),
        ('attention_cell.proj_key.bias', 'attention.self.key.bias'),
        ('attention_cell.proj_value.weight', 'attention.self.value.weight'),
        ('attention_cell.proj_value.bias', 'attention.self.value.bias'),
        ('proj.weight', 'attention.output.dense.weight'),
        ('proj.bias', 'attention.output.dense.bias'),
        ('layer_norm.gamma', 'attention.output.LayerNorm.weight'),
        ('layer_norm.beta', 'attention.output.LayerNorm.bias'),
        ('ffn.ffn_1.weight', 'intermediate.dense.weight'),
        ('ffn.ffn_1.bias', 'intermediate.dense.bias'),
        ('ffn.ffn_2.weight', 'output.dense.weight'),
        ('ffn.ffn_2.bias', 'output.dense.bias'),
        ('ffn.layer_norm.gamma', 'output.LayerNorm.weight'),
        ('ffn.layer_norm.beta', 'output.LayerNorm.bias'),
    )
) + (
    ('pooler.weight', 'bert.pooler.dense.weight'),
    ('pooler.bias', 'bert.pooler.dense.bias'),
    # masked language model; decoder.3.weight is usually the word embedding
    ('decoder.0.weight', 'cls.predictions.transform.dense.weight'),
    ('decoder.0.bias', 'cls.predictions.transform.dense.bias'),
    ('decoder.2.gamma', 'cls.predictions.transform.LayerNorm.weight'),
    ('decoder.2.beta', 'cls.predictions.transform.LayerNorm.bias'),
    ('decoder.3.weight', 'cls.predictions.decoder.weight'),
    ('decoder.3.bias', 'cls.predictions.bias'),
    # next sentence
    ('classifier.weight', 'cls.seq_relationship.weight'),
    ('classifier.bias', 'cls.seq_relationship.bias'),
    # task heads; transformers has one name for the classifier of tokens and that of texts:
    # `with_tag_classifier` makes the first of the second. The Dense of texts comes after a Dropout,
    # hence .1.
    ('tag_classifier.weight', 'classifier.weight'),
    ('tag_classifier.bias', 'classifier.bias'),
    ('classifier.1.weight', 'classifier.weight'),
    ('classifier.1.bias', 'classifier.bias'),
    ('span_classifier.weight', 'qa_outputs.weight'),
    ('span_classifier.bias', 'qa_outputs.bias'),
)
TO_GLUON = {transformers: gluon for gluon, transformers in NAME_PAIRS}
TO_TRANSFORMERS = {gluon: transformers for gluon, transformers in NAME_PAIRS}

# The same parameter when the decoder is tied; when it isn't, transformers uses only the first
DECODER_BIAS, OLD_DECODER_BIAS = 'cls.predictions.decoder.bias', 'cls.predictions.bias'

# Buffers that some releases of transformers save: they hold 0, 1, 2, … and no weights.
BUFFERS = ('position_ids', 'token_type_ids')

# {kind of a classifier of texts: transformers' problem_type}
PROBLEM_TYPES = {CLASSIFICATION: 'single_label_classification', REGRESSION: 'regression',
                 MULTI_LABEL: 'multi_label_classification'}

# transformers' hidden_act → BertConfig.activation. The tanh forms are one function.
ACTIVATIONS = {'gelu': 'gelu', 'gelu_python': 'gelu', 'relu': 'relu', 'gelu_new': 'gelu_new',
               'gelu_fast': 'gelu_new', 'gelu_pytorch_tanh': 'gelu_new'}

# {transformers' key in config.json: field of BertConfig}, where the values are the same
SIZE_FIELDS = {'num_hidden_layers': 'num_layers', 'hidden_size': 'units',
               'intermediate_size': 'hidden_size', 'num_attention_heads': 'num_heads',
               'vocab_size': 'vocab_size'}
OPTIONAL_FIELDS = {
    'max_position_embeddings': 'max_length', 'type_vocab_size': 'token_type_vocab_size',
    'layer_norm_eps': 'layer_norm_eps', 'tie_word_embeddings': 'tied_decoder'}

# gluonnlp's conversion tool moved these tokens to the ids 0 to 4. In this order, it swapped each
# with the token that had the id before, and permuted the embeddings in the same way.
GLUONNLP_SPECIAL_TOKENS = ('[UNK]', '[PAD]', '[CLS]', '[SEP]', '[MASK]')


# Names


def translate_name(name, table):
    """The name for `name` in `table` (TO_GLUON or TO_TRANSFORMERS), or None."""
    layer = re.search(r'\.(?:layer|transformer_cells)\.(\d+)\.', name)
    if layer is None:
        return table.get(name)
    start, end = layer.span(1)
    pattern = table.get(name[:start] + '#' + name[end:])
    return pattern and pattern.replace('#', layer.group(1))


def modern_name(name):
    """A tensor name of any transformers release → today's name, with the prefix `bert.`."""
    name = re.sub(r'\.gamma$', '.weight', re.sub(r'\.beta$', '.bias', name))
    if name == DECODER_BIAS:
        return OLD_DECODER_BIAS
    if name.startswith(('embeddings.', 'encoder.', 'pooler.')):
        return 'bert.' + name       # saved from the bare BertModel
    return name


def from_transformers(state, source, tied_decoder=True):
    """Tensors of a transformers BERT under their Gluon names.

    state: {transformers name: array}. tied_decoder: as in the model's configuration.
    Returns {Gluon name: array} without `BUFFERS`. A name that isn't in the table stays unchanged,
    for the caller to check. Raises `UserError`, with the name of `source`, when two different
    tensors map to one name.
    """
    state = _without_prefixes(state, source)
    if not tied_decoder and DECODER_BIAS in state:      # the one that transformers uses
        state = {name: array for name, array in state.items() if name != OLD_DECODER_BIAS}
    arrays, original_names = {}, {}
    for name, array in state.items():
        if name.rsplit('.', 1)[-1] in BUFFERS:
            continue
        gluon = translate_name(modern_name(name), TO_GLUON) or name
        if gluon in arrays and not np.array_equal(arrays[gluon], array):
            raise UserError('%s: %s and %s are the same parameter and hold different values: '
                            'remove one' % (source, original_names[gluon], name))
        arrays[gluon], original_names[gluon] = array, name
    return arrays


def _without_prefixes(state, source):
    """The tensors without the prefixes that PyTorch's DataParallel and torch.compile add."""
    names = {name: re.sub(r'^(module\.)+', '', re.sub(r'(^|(?<=\.))_orig_mod\.', '', name))
             for name in state}
    changed = sum(name != plain_name for name, plain_name in names.items())
    if not changed:
        return state
    if len(set(names.values())) < len(names):
        raise UserError('%s: a tensor is in it twice, with and without the prefix module. or '
                        '_orig_mod.: remove one' % source)
    LOG.info('%s: the prefixes module. and _orig_mod. of %d tensors are left out', source, changed)
    return {names[name]: array for name, array in state.items()}


def plain_names(arrays):
    """Gluon arrays under the names in NAME_PAIRS: without the prefix `bert.` of task networks, and
    with the classifier's Dense at index 1, which otherwise depends on dropout."""
    return {re.sub(r'^classifier\.\d+\.', 'classifier.1.', re.sub(r'^bert\.', '', name)): array
            for name, array in arrays.items()}


def with_tag_classifier(arrays):
    """The arrays of `plain_names` with the classifier as that of tokens."""
    return {re.sub(r'^classifier\.1\.', 'tag_classifier.', name): array
            for name, array in arrays.items()}


def to_transformers(arrays, source, tied_decoder=True):
    """Gluon arrays under the names of today's transformers, the reverse of `from_transformers`.
    Raises `UserError`, with the name of `source`, for an unknown name."""
    state = {}
    for name, array in plain_names(arrays).items():
        transformers_name = translate_name(name, TO_TRANSFORMERS)
        if transformers_name is None:
            raise UserError('%s: transformers\' BERT has no place for %s' % (source, name))
        state[transformers_name] = array
    weight = TO_TRANSFORMERS['decoder.3.weight']
    if tied_decoder:
        state.pop(weight, None)
    elif weight in state:
        state[DECODER_BIAS] = state[OLD_DECODER_BIAS]
    return state


# The configuration


def config_from_transformers(values, source, cased):
    """`BertConfig` from the dictionary of a transformers config.json.

    cased: whether the vocabulary keeps case. Raises `UserError`, with the name of `source`, for
    a value that our encoder doesn't support.
    """
    constants = {'model_type': 'bert', 'position_embedding_type': 'absolute',
                 'is_decoder': False, 'add_cross_attention': False}
    for key, constant in constants.items():
        if values.get(key, constant) != constant:
            raise UserError('%s: %s is "%s"; supported: %s'
                            % (source, key, values[key], constant))
    if values.get('auto_map'):
        raise UserError('%s: auto_map: the model needs Python code of its own, which is never run: '
                        'take one that transformers opens without trust_remote_code' % source)
    activation = values.get('hidden_act', 'gelu')
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise UserError('%s: hidden_act is "%s"; supported: %s.%s' % (
            source, activation, ', '.join(sorted(ACTIVATIONS)),
            did_you_mean(str(activation), ACTIVATIONS)))
    check_config_sizes(values, source)
    fields = {field: values[key] for key, field in dict(SIZE_FIELDS, **OPTIONAL_FIELDS).items()
              if key in values}
    return BertConfig(activation=ACTIVATIONS[activation], cased=cased, **fields)


def check_config_sizes(values, source):
    """Raises `UserError`, with the name of `source`, for an invalid size in a config.json."""
    for key in SIZE_FIELDS:
        if not isinstance(values.get(key), int) or values[key] <= 0:
            raise UserError('%s: "%s" is %r: expected a positive number, as in every '
                            'transformers BERT' % (source, key, values.get(key)))
    for key, types in (('max_position_embeddings', int), ('type_vocab_size', int),
                       ('layer_norm_eps', (int, float))):
        value = values.get(key, 1)
        if not isinstance(value, types) or not 0 < value < np.inf:
            raise UserError('%s: "%s" is %r: expected a positive number'
                            % (source, key, values[key]))
    if not isinstance(values.get('tie_word_embeddings', True), bool):
        raise UserError('%s: "tie_word_embeddings" is %r: expected true or false'
                        % (source, values['tie_word_embeddings']))
    if values['hidden_size'] % values['num_attention_heads']:
        raise UserError('%s: hidden_size %d is no multiple of num_attention_heads %d'
                        % (source, values['hidden_size'], values['num_attention_heads']))


def config_to_transformers(config, architecture, padding_id, labels=None, kind=None):
    """The dictionary of a transformers config.json, the reverse of `config_from_transformers`.

    architecture: transformers' name of the network, such as `BertForSequenceClassification`.
    labels: the classes in order, for a classifier. kind: of `bert.file_names.MODEL_KINDS`.
    """
    values = {key: getattr(config, field)
              for key, field in dict(SIZE_FIELDS, **OPTIONAL_FIELDS).items()}
    values.update(architectures=[architecture], model_type='bert', hidden_act=config.activation,
                  pad_token_id=padding_id)
    if kind in PROBLEM_TYPES:
        values['problem_type'] = PROBLEM_TYPES[kind]
        labels = labels or ('LABEL_0',)     # of a regression
    if labels:
        values.update(id2label=dict(enumerate(labels)),
                      label2id={label: i for i, label in enumerate(labels)})
    return values


def is_multi_label(values):
    """Whether the dictionary of a transformers config.json says that a text may have several of
    the labels."""
    return values.get('problem_type') == PROBLEM_TYPES[MULTI_LABEL]


def labels_from_transformers(values, num_outputs, source):
    """The classes, in order, of a transformers classifier with `num_outputs` outputs; None for a
    regression. Raises `UserError` for any other kind of output."""
    problem = values.get('problem_type')
    if problem == 'regression' and num_outputs > 1:
        raise UserError('%s: problem_type is "%s" with %d outputs: supported are one class or '
                        'several labels, and one score' % (source, problem, num_outputs))
    if problem == 'regression' or num_outputs == 1 and not is_multi_label(values):
        return None
    return class_names(values, num_outputs, source)


def class_names(values, num_outputs, source):
    """The names of `num_outputs` classes, in order, in a transformers config.json. Raises
    `UserError` for a list that can't be used."""
    names = values.get('id2label') or {}
    if not isinstance(names, dict) or not all(str(key).isdecimal() for key in names):
        raise UserError('%s: id2label is %r: expected {"0": a label, "1": another, …}'
                        % (source, names))
    label_counts = collections.Counter(map(str, names.values()))
    duplicates = [label for label, count in label_counts.items() if count > 1]
    if duplicates:
        raise UserError('%s: id2label has "%s" more than once: name the classes differently'
                        % (source, duplicates[0]))
    if names and len(names) != num_outputs:
        LOG.warning('%s: id2label names %d classes, the weights have %d: they are called LABEL_0 '
                    'to LABEL_%d', source, len(names), num_outputs, num_outputs - 1)
        names = {}
    elif names and set(names) != set(map(str, range(num_outputs))):
        raise UserError('%s: id2label has the ids %s: 0 to %d expected, the outputs in order'
                        % (source, ', '.join(sorted(names, key=int)), num_outputs - 1))
    return tuple(str(names.get(str(i), 'LABEL_%d' % i)) for i in range(num_outputs))


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
        if len(array) >= len(rows) and re.match(
                r'(bert\.)?(word_embed\.0\.weight|decoder\.3\.(weight|bias))$', name):
            result[name] = np.concatenate([array[rows], array[len(rows):]])
    return result
