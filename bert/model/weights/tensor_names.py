"""The names of tensors: Gluon's, which are the same for all families, and transformers'."""
import re

from bert.families import FAMILIES

# One table for both directions: (Gluon name, transformers name). '#' is the index of a layer.
# Gluon names are those inside a `BERTModel`; task networks add the prefix `bert.`.
_EMBEDDINGS = (
    ('word_embed.0.weight', 'embeddings.word_embeddings.weight'),
    ('token_type_embed.0.weight', 'embeddings.token_type_embeddings.weight'),
    ('encoder.position_weight', 'embeddings.position_embeddings.weight'),
    ('encoder.layer_norm.gamma', 'embeddings.LayerNorm.weight'),
    ('encoder.layer_norm.beta', 'embeddings.LayerNorm.bias'),
    ('encoder.projection.weight', 'embeddings_project.weight'),
    ('encoder.projection.bias', 'embeddings_project.bias'),
)
# Of a layer: (Gluon, BERT, DistilBERT), each with a weight and a bias
_DENSE_LAYERS = (
    ('attention_cell.proj_query', 'attention.self.query', 'attention.q_lin'),
    ('attention_cell.proj_key', 'attention.self.key', 'attention.k_lin'),
    ('attention_cell.proj_value', 'attention.self.value', 'attention.v_lin'),
    ('proj', 'attention.output.dense', 'attention.out_lin'),
    ('ffn.ffn_1', 'intermediate.dense', 'ffn.lin1'),
    ('ffn.ffn_2', 'output.dense', 'ffn.lin2'),
)
_NORMS = (
    ('layer_norm', 'attention.output.LayerNorm', 'sa_layer_norm'),
    ('ffn.layer_norm', 'output.LayerNorm', 'output_layer_norm'),
)


def _dense(gluon, transformers):
    return tuple(('%s.%s' % (gluon, part), '%s.%s' % (transformers, part))
                 for part in ('weight', 'bias'))


def _norm(gluon, transformers):
    return ((gluon + '.gamma', transformers + '.weight'),
            (gluon + '.beta', transformers + '.bias'))


def _encoder(prefix, layer, column):
    """The pairs of the embeddings and the layers. layer: transformers' path of a layer; column: of
    the tables above."""
    pairs = [(gluon, '%s.%s' % (prefix, name)) for gluon, name in _EMBEDDINGS]
    for make, rows in ((_dense, _DENSE_LAYERS), (_norm, _NORMS)):
        for row in rows:
            pairs += make('encoder.transformer_cells.#.' + row[0],
                          '%s.%s.#.%s' % (prefix, layer, row[column]))
    return tuple(pairs)


# transformers has one name for the classifier of tokens and that of texts: `mapping.
# with_tag_classifier` makes the first of the second. The Dense of texts comes after a Dropout,
# hence .1.
_TASK_HEADS = (_dense('tag_classifier', 'classifier') + _dense('classifier.1', 'classifier') +
               _dense('span_classifier', 'qa_outputs'))
# The classifier of texts of RoBERTa and ELECTRA: its first layer is the pooler here
_TWO_LAYER_HEADS = (_dense('tag_classifier', 'classifier') +
                    _dense('pooler', 'classifier.dense') +
                    _dense('classifier.1', 'classifier.out_proj') +
                    _dense('span_classifier', 'qa_outputs'))

# BERT's heads of pre-training; decoder.3.weight is usually the word embedding
_PRETRAINING_HEADS = (
    _dense('decoder.0', 'cls.predictions.transform.dense') +
    _norm('decoder.2', 'cls.predictions.transform.LayerNorm') + (
        ('decoder.3.weight', 'cls.predictions.decoder.weight'),
        ('decoder.3.bias', 'cls.predictions.bias')) +
    _dense('classifier', 'cls.seq_relationship'))

# {prefix in transformers: pairs}
PAIRS = {
    **{prefix: _encoder(prefix, 'encoder.layer', 1) + _dense('pooler', prefix + '.pooler.dense') +
       _PRETRAINING_HEADS + _TASK_HEADS for prefix in ('bert', 'ernie')},
    'roberta': _encoder('roberta', 'encoder.layer', 1) +
    _dense('pooler', 'roberta.pooler.dense') + _dense('decoder.0', 'lm_head.dense') +
    _norm('decoder.2', 'lm_head.layer_norm') + (
        ('decoder.3.weight', 'lm_head.decoder.weight'),
        ('decoder.3.bias', 'lm_head.bias')) + _TWO_LAYER_HEADS,
    'distilbert': _encoder('distilbert', 'transformer.layer', 2) +
    _dense('pooler', 'pre_classifier') + _dense('decoder.0', 'vocab_transform') +
    _norm('decoder.2', 'vocab_layer_norm') + _dense('decoder.3', 'vocab_projector') +
    _TASK_HEADS,
    'electra': _encoder('electra', 'encoder.layer', 1) + _TWO_LAYER_HEADS +
    _dense('discriminator.0', 'discriminator_predictions.dense') +
    _dense('discriminator.2', 'discriminator_predictions.dense_prediction'),
}
TO_GLUON = {name: gluon for pairs in (*PAIRS.values(), _TASK_HEADS) for gluon, name in pairs}
# The pooler of a network without a classifier: RoBERTa's is another than in its classifier, and
# DistilBERT and ELECTRA have none
BARE_POOLERS = {prefix: dict(_dense('pooler', prefix + '.pooler.dense'))
                for prefix in ('bert', 'ernie', 'roberta')}

# {a bias: the same parameter when the decoder is tied}; when it isn't, transformers uses the first
SAME_BIASES = {'cls.predictions.decoder.bias': 'cls.predictions.bias',
               'lm_head.decoder.bias': 'lm_head.bias'}
# Beginnings of the names that a bare network saves, without their prefix
_BARE_NAMES = (('transformer.', 'distilbert.'), ('embeddings_project.', 'electra.'),
               ('embeddings.', 'bert.'), ('encoder.', 'bert.'), ('pooler.', 'bert.'))


def names_in_transformers(family, is_classifier=False):
    """{Gluon name: name in a family of transformers}. is_classifier: of texts."""
    prefix = FAMILIES[family].prefix
    table = dict(PAIRS[prefix])
    if not is_classifier:
        for name, _ in _dense('pooler', ''):
            del table[name]
        table.update(BARE_POOLERS.get(prefix, {}))
    return table


def translate_name(name, table):
    """The name for `name` in `table`, or None. table: TO_GLUON, for a name of `modern_name`, or
    `names_in_transformers`."""
    layer = re.search(r'\.(?:layer|transformer_cells)\.(\d+)\.', name)
    if layer is None:
        return table.get(name)
    start, end = layer.span(1)
    pattern = table.get(name[:start] + '#' + name[end:])
    return pattern and pattern.replace('#', layer.group(1))


def modern_name(name):
    """A tensor name of any transformers release → today's name, with the prefix of its family."""
    name = re.sub(r'\.gamma$', '.weight', re.sub(r'\.beta$', '.bias', name))
    if name in SAME_BIASES:
        return SAME_BIASES[name]
    for start, prefix in _BARE_NAMES:
        if name.startswith(start):
            return prefix + name       # saved from the bare network
    return name
