"""The configuration of a BERT model. Nothing here imports mxnet."""
import dataclasses
import json

from bert.errors import UserError


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """Configuration of one BERT model, saved as JSON beside every checkpoint."""
    num_layers: int
    units: int                      # width of a token's vector
    hidden_size: int                # width inside the feed-forward block
    num_heads: int
    vocab_size: int
    max_length: int = 512           # positions, special tokens included
    token_type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    activation: str = 'gelu'        # gelu | gelu_new | relu
    cased: bool = False             # whether the vocabulary keeps case and accents
    tied_decoder: bool = True       # whether the decoder uses the word embeddings

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
            raise UserError('%s: no "%s": not a BERT configuration of ours' % (source, name))
        for name in sorted(set(values) - names):
            raise UserError('%s: unknown key "%s"; known are %s'
                            % (source, name, ', '.join(sorted(names))))
        return cls(**values)
