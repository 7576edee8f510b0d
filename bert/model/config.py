"""The configuration of a BERT model. Nothing here imports mxnet."""
import dataclasses
import json

from bert.errors import UserError
from bert.families import BERT, FAMILIES

ACTIVATIONS = 'gelu', 'gelu_new', 'relu'


def _is_count(value):
    return type(value) is int and value > 0


def _is_count_or_zero(value):
    return type(value) is int and value >= 0


COUNT = _is_count, 'a whole number from 1 on'
COUNT_OR_ZERO = _is_count_or_zero, 'a whole number from 0 on'
# {type of a field: (function: value → whether it can be used, what is expected)}
EXPECTED_VALUES = {
    int: COUNT,
    float: (lambda value: type(value) in (int, float) and 0 < value < 1, 'a number from 0 to 1'),
    bool: (lambda value: type(value) is bool, 'true or false')}
# The same for fields that differ from their type
EXPECTED_FIELDS = {
    'activation': (lambda value: value in ACTIVATIONS, 'one of ' + ', '.join(ACTIVATIONS)),
    'token_type_vocab_size': COUNT_OR_ZERO, 'position_offset': COUNT_OR_ZERO,
    'embedding_size': (lambda value: value is None or _is_count(value),
                       'a whole number from 1 on, or null'),
    'family': (lambda value: type(value) is str and value in FAMILIES,
               'one of ' + ', '.join(FAMILIES))}


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """Configuration of one BERT model, saved as JSON beside every checkpoint."""
    num_layers: int
    units: int                      # width of a token's vector
    hidden_size: int                # width inside the feed-forward block
    num_heads: int
    vocab_size: int
    max_length: int = 512           # positions, special tokens included
    token_type_vocab_size: int = 2  # segments; 0: they have no embeddings
    layer_norm_eps: float = 1e-12
    activation: str = 'gelu'        # gelu | gelu_new | relu
    cased: bool = False             # whether the vocabulary keeps case and accents
    tied_decoder: bool = True       # whether the decoder uses the word embeddings
    family: str = BERT              # of `bert.families.FAMILIES`
    position_offset: int = 0        # rows of transformers' position table before the first token's
    # width of the embeddings, which a dense layer brings to `units`; None: `units`, without it
    embedding_size: int | None = None

    @property
    def family_traits(self):
        """The `bert.families.Family`."""
        return FAMILIES[self.family]

    @property
    def has_decoder(self):
        """Whether a decoder fits: it multiplies by the word embeddings, so they must have the
        width of the layers."""
        return self.family_traits.has_decoder and self.embedding_size in (None, self.units)

    def require_decoder(self, source):
        """Raises `UserError`, with the name of `source`, unless the model can have a decoder."""
        if not self.has_decoder:
            raise UserError('%s: the family %s with embeddings of width %d and layers of width %d '
                            'found, expected a model that can predict masked words, with both of '
                            'one width: leave out the decoder, or change embedding_size'
                            % (source, self.family, self.embedding_size or self.units, self.units))

    def to_json(self):
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + '\n'

    @classmethod
    def from_dict(cls, values, source='config'):
        """The configuration with these values. Raises `UserError`, with the name of `source`, for
        a missing or unknown key."""
        names = {field.name for field in dataclasses.fields(cls)}
        required_names = {field.name for field in dataclasses.fields(cls)
                          if field.default is dataclasses.MISSING}
        for name in sorted(required_names - set(values)):
            raise UserError('%s: no key "%s": not a BERT configuration of this package'
                            % (source, name))
        for name in sorted(set(values) - names):
            raise UserError('%s: unknown key "%s"; known keys: %s'
                            % (source, name, ', '.join(sorted(names))))
        for field in dataclasses.fields(cls):
            is_usable, expected = EXPECTED_FIELDS.get(field.name) or EXPECTED_VALUES[field.type]
            if field.name in values and not is_usable(values[field.name]):
                raise UserError('%s: "%s" is %r: expected %s'
                                % (source, field.name, values[field.name], expected))
        if values['units'] % values['num_heads']:
            raise UserError('%s: units %d is not a multiple of num_heads %d'
                            % (source, values['units'], values['num_heads']))
        return cls(**values)
