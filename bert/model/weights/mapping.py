"""transformers' BERT ↔ Gluon's: names of tensors, configurations, the order of ids."""
import collections
import logging
import re

import numpy as np

from bert.errors import UserError, nearest
from bert.model.config import BertConfig

LOG = logging.getLogger(__name__)

# One table for both directions: (Gluon name, transformers name). '#' is a layer's number.
# Gluon names are those inside a `BERTModel`; a classifier holds it as `bert.`.
NAMES = (
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
    # masked language model; decoder.3.weight is the word embedding once more
    ('decoder.0.weight', 'cls.predictions.transform.dense.weight'),
    ('decoder.0.bias', 'cls.predictions.transform.dense.bias'),
    ('decoder.2.gamma', 'cls.predictions.transform.LayerNorm.weight'),
    ('decoder.2.beta', 'cls.predictions.transform.LayerNorm.bias'),
    ('decoder.3.weight', 'cls.predictions.decoder.weight'),
    ('decoder.3.bias', 'cls.predictions.bias'),
    # next sentence
    ('classifier.weight', 'cls.seq_relationship.weight'),
    ('classifier.bias', 'cls.seq_relationship.bias'),
    # task heads; the classifier's Dense comes after a Dropout, hence .1.
    ('classifier.1.weight', 'classifier.weight'),
    ('classifier.1.bias', 'classifier.bias'),
    ('span_classifier.weight', 'qa_outputs.weight'),
    ('span_classifier.bias', 'qa_outputs.bias'),
)
TO_GLUON = {transformers: gluon for gluon, transformers in NAMES}
TO_TRANSFORMERS = {gluon: transformers for gluon, transformers in NAMES}

# The same parameter twice where the decoder is tied, one of them unused where it isn't
DECODER_BIAS, OLD_DECODER_BIAS = 'cls.predictions.decoder.bias', 'cls.predictions.bias'

# Buffers that transformers saved in some years: they hold 0, 1, 2, … and no weights.
BUFFERS = ('position_ids', 'token_type_ids')

# transformers' hidden_act → BertConfig.activation. The tanh forms are one function.
ACTIVATIONS = {'gelu': 'gelu', 'gelu_python': 'gelu', 'relu': 'relu', 'gelu_new': 'gelu_new',
               'gelu_fast': 'gelu_new', 'gelu_pytorch_tanh': 'gelu_new'}

# {transformers' key in config.json: field of BertConfig}, where the values are the same
SIZES = {'num_hidden_layers': 'num_layers', 'hidden_size': 'units',
         'intermediate_size': 'hidden_size', 'num_attention_heads': 'num_heads',
         'vocab_size': 'vocab_size'}
MORE_FIELDS = {'max_position_embeddings': 'max_length', 'type_vocab_size': 'token_type_vocab_size',
               'layer_norm_eps': 'layer_norm_eps', 'tie_word_embeddings': 'tied_decoder'}

# Where gluonnlp's conversion tool moved the special tokens; it swapped them with the
# tokens that had stood there, in this order, and permuted the embeddings alike.
GLUONNLP_FIRST = ('[UNK]', '[PAD]', '[CLS]', '[SEP]', '[MASK]')


# Names


def translate(name, table):
    """`name` by `table` (TO_GLUON or TO_TRANSFORMERS), or None when it isn't there."""
    number = re.search(r'\.(?:layer|transformer_cells)\.(\d+)\.', name)
    if number is None:
        return table.get(name)
    start, end = number.span(1)
    found = table.get(name[:start] + '#' + name[end:])
    return found and found.replace('#', number.group(1))


def modern_name(name):
    """A tensor name of any transformers release → as of today, prefix `bert.` included."""
    name = re.sub(r'\.gamma$', '.weight', re.sub(r'\.beta$', '.bias', name))
    if name == DECODER_BIAS:
        return OLD_DECODER_BIAS
    if name.startswith(('embeddings.', 'encoder.', 'pooler.')):
        return 'bert.' + name       # saved from the bare BertModel
    return name


def from_transformers(state, source, tied_decoder=True):
    """Tensors of a transformers BERT under their Gluon names.

    state: {transformers name: array}. tied_decoder: as its configuration says.
    Returns {Gluon name: array}; a name that isn't in the table stays as it is, for the
    caller to judge; position_ids are left out. Raises `UserError` naming `source` when two
    tensors that differ claim one name.
    """
    if not tied_decoder and DECODER_BIAS in state:      # transformers computes with this one
        state = {name: array for name, array in state.items() if name != OLD_DECODER_BIAS}
    arrays, origin = {}, {}
    for name, array in state.items():
        if name.rsplit('.', 1)[-1] in BUFFERS:
            continue
        gluon = translate(modern_name(name), TO_GLUON) or name
        if gluon in arrays and not np.array_equal(arrays[gluon], array):
            raise UserError('%s: %s and %s are the same parameter and hold different values: '
                            'remove one' % (source, origin[gluon], name))
        arrays[gluon], origin[gluon] = array, name
    return arrays


def plain_names(arrays):
    """Gluon arrays under the names that NAMES has: without the `bert.` that a task's network
    puts in front, and with the classifier's Dense at 1, which dropout decides."""
    return {re.sub(r'^classifier\.\d+\.', 'classifier.1.', re.sub(r'^bert\.', '', name)): array
            for name, array in arrays.items()}


def to_transformers(arrays, source, tied_decoder=True):
    """Gluon arrays under the names of today's transformers, the reverse of
    `from_transformers`. Raises `UserError` naming `source` for a name it doesn't know."""
    state = {}
    for name, array in plain_names(arrays).items():
        new = translate(name, TO_TRANSFORMERS)
        if new is None:
            raise UserError('%s: transformers\' BERT has no place for %s' % (source, name))
        state[new] = array
    weight = TO_TRANSFORMERS['decoder.3.weight']
    if tied_decoder:
        state.pop(weight, None)
    elif weight in state:
        state[DECODER_BIAS] = state[OLD_DECODER_BIAS]
    return state


# The configuration


def config_from_transformers(values, source, cased):
    """`BertConfig` from the dictionary of a transformers config.json.

    cased: whether the vocabulary keeps case. Raises `UserError` naming `source` for what
    our encoder can't express.
    """
    def refuse(key, allowed):
        raise UserError('%s: %s is "%s"; supported: %s.%s' % (
            source, key, values[key], ', '.join(allowed), nearest(str(values[key]), allowed)))

    fixed = {'model_type': 'bert', 'position_embedding_type': 'absolute',
             'is_decoder': False, 'add_cross_attention': False}
    for key, allowed in fixed.items():
        if values.get(key, allowed) != allowed:
            refuse(key, [str(allowed)])
    activation = values.get('hidden_act', 'gelu')
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        refuse('hidden_act', sorted(ACTIVATIONS))
    check_sizes(values, source)
    fields = {field: values[key] for key, field in dict(SIZES, **MORE_FIELDS).items()
              if key in values}
    return BertConfig(activation=ACTIVATIONS[activation], cased=cased, **fields)


def check_sizes(values, source):
    """Raises `UserError` naming `source` unless the sizes in a config.json can be."""
    for key in SIZES:
        if not isinstance(values.get(key), int) or values[key] <= 0:
            raise UserError('%s: "%s" is %r: expected a positive number, as in every '
                            'transformers BERT' % (source, key, values.get(key)))
    for key, kinds in (('max_position_embeddings', int), ('type_vocab_size', int),
                       ('layer_norm_eps', (int, float))):
        if not isinstance(values.get(key, 1), kinds) or values.get(key, 1) <= 0:
            raise UserError('%s: "%s" is %r: expected a positive number'
                            % (source, key, values[key]))
    if not isinstance(values.get('tie_word_embeddings', True), bool):
        raise UserError('%s: "tie_word_embeddings" is %r: expected true or false'
                        % (source, values['tie_word_embeddings']))
    if values['hidden_size'] % values['num_attention_heads']:
        raise UserError('%s: hidden_size %d is no multiple of num_attention_heads %d'
                        % (source, values['hidden_size'], values['num_attention_heads']))


def config_to_transformers(config, architecture, padding_id, labels=None, is_regression=False):
    """The dictionary of a transformers config.json, the reverse of `config_from_transformers`.

    architecture: transformers' name of the network, `BertForSequenceClassification`, say.
    labels: classes in order, for that one; is_regression: it has one output, a score.
    """
    values = {key: getattr(config, field) for key, field in dict(SIZES, **MORE_FIELDS).items()}
    values.update(architectures=[architecture], model_type='bert', hidden_act=config.activation,
                  pad_token_id=padding_id)
    if is_regression:
        values.update(problem_type='regression', id2label={0: 'LABEL_0'}, label2id={'LABEL_0': 0})
    elif labels:
        values.update(problem_type='single_label_classification',
                      id2label=dict(enumerate(labels)),
                      label2id={label: i for i, label in enumerate(labels)})
    return values


def labels_from_transformers(values, number, source):
    """The classes in order of a transformers classifier with `number` outputs; None for a
    regression. Raises `UserError` for an answer that is neither."""
    kind = values.get('problem_type')
    if kind == 'multi_label_classification' or kind == 'regression' and number > 1:
        raise UserError('%s: problem_type is "%s" with %d outputs: supported are one class of '
                        'several, and one score' % (source, kind, number))
    if kind == 'regression' or number == 1:
        return None
    names = values.get('id2label') or {}
    if not isinstance(names, dict) or not all(str(key).isdigit() for key in names):
        raise UserError('%s: id2label is %r: expected {"0": a label, "1": another, …}'
                        % (source, names))
    repeated = [label for label, times in collections.Counter(map(str, names.values())).items()
                if times > 1]
    if repeated:
        raise UserError('%s: id2label has "%s" more than once: name the classes differently'
                        % (source, repeated[0]))
    if len(names) != number:
        LOG.warning('%s: id2label names %d classes, the weights have %d: they are called LABEL_0 '
                    'to LABEL_%d', source, len(names), number, number - 1)
        names = {}
    return tuple(str(names.get(str(i), 'LABEL_%d' % i)) for i in range(number))


# The order of ids


def is_published(tokens):
    """Whether the special tokens stand where every published vocab.txt has them; there
    gluonnlp's conversion moved them, elsewhere it left nothing to put back."""
    return tokens[0] == '[PAD]' and tokens[100:104] == ['[UNK]', '[CLS]', '[SEP]', '[MASK]']


def gluonnlp_order(tokens):
    """The tokens of a published vocab.txt in the order of gluonnlp's vocabularies."""
    tokens = list(tokens)
    for target, special in enumerate(GLUONNLP_FIRST):
        origin = tokens.index(special)
        tokens[target], tokens[origin] = tokens[origin], tokens[target]
    return tokens


def published_order(tokens):
    """The tokens of a gluonnlp vocabulary in the order of the vocab.txt it was made from:
    all published ones have [PAD] at 0 and [UNK], [CLS], [SEP], [MASK] at 100 to 103."""
    tokens = list(tokens)
    # the swaps of `gluonnlp_order`, backwards; [UNK] had sent [PAD] to 100
    for target, origin in ((4, 103), (3, 102), (2, 101), (1, 100), (0, 100)):
        tokens[target], tokens[origin] = tokens[origin], tokens[target]
    return tokens


def reorder_ids(arrays, old_tokens, new_tokens):
    """Move every row that belongs to a token from its old id to its new one.

    arrays: {Gluon name: array}, `bert.` in front or not. The two lists hold the same
    tokens. Rows beyond them (padding of the vocabulary) stay. Returns a new dictionary.
    """
    old_id = {token: index for index, token in enumerate(old_tokens)}
    rows = np.array([old_id[token] for token in new_tokens])
    result = dict(arrays)
    for name, array in arrays.items():
        # one of another size is left as it is, for the check of shapes to name
        if len(array) >= len(rows) and re.match(
                r'(bert\.)?(word_embed\.0\.weight|decoder\.3\.(weight|bias))$', name):
            result[name] = np.concatenate([array[rows], array[len(rows):]])
    return result
