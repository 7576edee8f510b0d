"""Families of models with BERT's layers, and what sets them apart. Nothing here imports mxnet."""
from typing import NamedTuple

from bert.errors import UserError


class Family(NamedTuple):
    """A family of models, `model_type` in transformers.

    prefix: of its tensors in transformers; class_prefix: of its classes there. pooler_activation:
    of the dense layer on the first token that its classifiers have; drops_first: whether they have
    a dropout before that layer. has_types: whether its configuration has a number of segments.
    decoder_activation: None for that of the layers. counts_padding: whether positions begin behind
    the id of the padding token, not at 0. has_decoder: whether it can predict masked words.
    """
    prefix: str
    class_prefix: str
    pooler_activation: str = 'tanh'
    drops_first: bool = False
    has_types: bool = True
    decoder_activation: str | None = None
    counts_padding: bool = False
    has_decoder: bool = True


# {model_type in transformers: Family}
FAMILIES = {
    'bert': Family('bert', 'Bert'),
    **{name: Family('roberta', class_prefix, drops_first=True, decoder_activation='gelu',
                    counts_padding=True)
       for name, class_prefix in (('roberta', 'Roberta'), ('xlm-roberta', 'XLMRoberta'),
                                  ('camembert', 'Camembert'))},
    'ernie': Family('ernie', 'Ernie'),
    'distilbert': Family('distilbert', 'DistilBert', pooler_activation='relu', has_types=False),
    'electra': Family('electra', 'Electra', pooler_activation='gelu', drops_first=True,
                      has_decoder=False)}
BERT = 'bert'
PREFIXES = tuple(dict.fromkeys(family.prefix for family in FAMILIES.values()))

# What is not supported of other models that users ask for: {model_type: why}
UNSUPPORTED = {
    'albert': 'all its layers share their weights',
    'deberta': 'its attention has relative positions',
    'deberta-v2': 'its attention has relative positions',
    'mpnet': 'its attention has relative positions',
    'modernbert': 'its layers are normalized first, and have rotary positions',
    'nomic_bert': 'it has rotary positions',
    'new': 'GTE v1.5 has rotary positions',
    'gte': 'GTE v1.5 has rotary positions'}
# The same for models with a supported model_type: {(key of config.json, its value): why}. The value
# of architectures stands for a list with it.
UNSUPPORTED_VALUES = {
    ('position_embedding_type', 'alibi'): 'Jina v2 has ALiBi positions',
    ('architectures', 'ElectraForMaskedLM'):
        'it is the generator of ELECTRA: use the discriminator'}


def read_family(values, source):
    """The name of the family in FAMILIES that a config.json names. Raises `UserError`, with the
    name of `source`, for any other, and for a model that differs in UNSUPPORTED_VALUES."""
    name = values.get('model_type', BERT)
    if not isinstance(name, str) or name not in FAMILIES:
        reason = UNSUPPORTED.get(name) if isinstance(name, str) else None
        raise UserError('%s: the model_type is "%s"%s: this zoo runs BERT and its relatives '
                        '(model_type %s)' % (source, name, reason and ', and ' + reason or '',
                                             ', '.join(FAMILIES)))
    for (key, value), reason in UNSUPPORTED_VALUES.items():
        found = values.get(key)
        if found == value or isinstance(found, list) and value in found:
            raise UserError('%s: %s: %s found, and %s: this zoo runs BERT and its relatives'
                            % (source, key, value, reason))
    return name
