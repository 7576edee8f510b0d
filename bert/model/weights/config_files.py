"""The config.json of transformers: read as a `BertConfig`, and written."""
import collections
import logging

import numpy as np

from bert.errors import UserError, did_you_mean
from bert.families import FAMILIES, read_family
from bert.file_names import CLASSIFICATION, MULTI_LABEL, REGRESSION
from bert.model.config import BertConfig

LOG = logging.getLogger(__name__)

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
# The names that DistilBERT has for some of these keys
DISTILBERT_KEYS = {'num_hidden_layers': 'n_layers', 'hidden_size': 'dim',
                   'intermediate_size': 'hidden_dim', 'num_attention_heads': 'n_heads',
                   'hidden_act': 'activation'}
PADDING_ID = 1          # of RoBERTa and its relatives, where config.json does not say
ELECTRA_EMBEDDING_SIZE = 128    # where config.json does not say, in transformers


def config_from_transformers(values, source, cased):
    """`BertConfig` from the dictionary of a transformers config.json.

    cased: whether the vocabulary keeps case. Raises `UserError`, with the name of `source`, for
    a value that our encoder doesn't support.
    """
    family = family_of_transformers(values, source)
    constants = {'position_embedding_type': 'absolute', 'is_decoder': False,
                 'add_cross_attention': False, 'use_task_id': False}
    for key, constant in constants.items():
        if values.get(key, constant) != constant:
            raise UserError('%s: %s is "%s"; supported: %s'
                            % (source, key, values[key], constant))
    if values.get('auto_map'):
        raise UserError('%s: auto_map: the model needs Python code of its own, which is never run: '
                        'use a model that transformers opens without trust_remote_code' % source)
    key = file_key('hidden_act', family)
    activation = values.get(key, 'gelu')
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise UserError('%s: %s is "%s"; supported: %s.%s' % (
            source, key, activation, ', '.join(sorted(ACTIVATIONS)),
            did_you_mean(str(activation), ACTIVATIONS)))
    check_config_sizes(values, source, family)
    fields = {field: values[file_key(key, family)]
              for key, field in dict(SIZE_FIELDS, **OPTIONAL_FIELDS).items()
              if file_key(key, family) in values}
    fields.update(_own_fields(values, family, fields, source))
    return BertConfig(activation=ACTIVATIONS[activation], cased=cased, family=family, **fields)


def family_of_transformers(values, source):
    """The name of the family of a transformers config.json. Raises the errors of `read_family`, and
    one for a file of something else."""
    if not {'model_type', 'num_hidden_layers'} & set(values):
        raise UserError('%s: found neither "model_type" nor "num_hidden_layers": expected the '
                        'config.json of a transformers model' % source)
    return read_family(values, source)


def file_key(key, family):
    """The name of a key of config.json in the files of a family."""
    return DISTILBERT_KEYS.get(key, key) if family == 'distilbert' else key


def _own_fields(values, family, fields, source):
    """{field of `BertConfig`: value} of what only some families have. fields: those of all."""
    traits = FAMILIES[family]
    if traits.counts_padding:
        offset = values.get('pad_token_id', PADDING_ID) + 1
        rows = fields.get('max_length', BertConfig.max_length)
        if rows <= offset:
            raise UserError('%s: max_position_embeddings is %d: expected more, because the '
                            'positions of %s begin at %d' % (source, rows, family, offset))
        return {'position_offset': offset, 'max_length': rows - offset}
    if not traits.has_types:    # such a model has one layer_norm_eps, whatever the file says
        return {'token_type_vocab_size': 0, 'layer_norm_eps': BertConfig.layer_norm_eps}
    if family == 'electra':
        size = values.get('embedding_size', ELECTRA_EMBEDDING_SIZE)
        return {'embedding_size': None if size == fields['units'] else size}
    return {}


def check_config_sizes(values, source, family):
    """Raises `UserError`, with the name of `source`, for an invalid size in a config.json."""
    for key in SIZE_FIELDS:
        name = file_key(key, family)
        if not isinstance(values.get(name), int) or values[name] <= 0:
            raise UserError('%s: "%s" is %r: expected a positive number, as in every '
                            'transformers BERT' % (source, name, values.get(name)))
    for key, types in (('max_position_embeddings', int), ('type_vocab_size', int),
                       ('embedding_size', int), ('layer_norm_eps', (int, float))):
        value = values.get(key, 1)
        if not isinstance(value, types) or not 0 < value < np.inf:
            raise UserError('%s: "%s" is %r: expected a positive number'
                            % (source, key, values[key]))
    padding_id = values.get('pad_token_id', PADDING_ID)
    if FAMILIES[family].counts_padding and not (type(padding_id) is int and padding_id >= 0):
        raise UserError('%s: "pad_token_id" is %r: expected a whole number from 0 on, the id '
                        'after which positions begin' % (source, padding_id))
    if not isinstance(values.get('tie_word_embeddings', True), bool):
        raise UserError('%s: "tie_word_embeddings" is %r: expected true or false'
                        % (source, values['tie_word_embeddings']))
    units, heads = (file_key(key, family) for key in ('hidden_size', 'num_attention_heads'))
    if values[units] % values[heads]:
        raise UserError('%s: %s %d is not a multiple of %s %d'
                        % (source, units, values[units], heads, values[heads]))


def config_to_transformers(config, architecture, padding_id, labels=None, kind=None):
    """The dictionary of a transformers config.json, the reverse of `config_from_transformers`.

    architecture: transformers' name of the network, such as `BertForSequenceClassification`.
    labels: the classes in order, for a classifier. kind: of `bert.file_names.MODEL_KINDS`.
    """
    traits = config.family_traits
    values = {file_key(key, config.family): getattr(config, field)
              for key, field in dict(SIZE_FIELDS, **OPTIONAL_FIELDS).items()}
    values['max_position_embeddings'] += config.position_offset
    if not traits.has_types:
        del values['type_vocab_size'], values['layer_norm_eps']     # it is fixed
    if config.family == 'electra':
        values['embedding_size'] = config.embedding_size or config.units
    values.update({'architectures': [architecture], 'model_type': config.family,
                   file_key('hidden_act', config.family): config.activation,
                   'pad_token_id': padding_id})
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
        raise UserError('%s: problem_type is "%s" with %d outputs: supported are regressions with '
                        '1 output; for classes or labels, set another problem_type'
                        % (source, problem, num_outputs))
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
        LOG.warning('%s: id2label names %d classes, the weights have %d: using the names LABEL_0 '
                    'to LABEL_%d', source, len(names), num_outputs, num_outputs - 1)
        names = {}
    elif names and set(names) != set(map(str, range(num_outputs))):
        raise UserError('%s: id2label has the ids %s: expected 0 to %d, one for each output'
                        % (source, ', '.join(sorted(names, key=int)), num_outputs - 1))
    return tuple(str(names.get(str(i), 'LABEL_%d' % i)) for i in range(num_outputs))
