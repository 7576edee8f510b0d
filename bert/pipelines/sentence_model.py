"""How a text becomes a vector: prompt, length, pooling of its tokens' vectors, further layers.

A folder of sentence-transformers says all of this (`bert.pipelines.sentence_files` reads it); for
any other BERT the defaults hold.
"""
import dataclasses
import json
import numbers
from typing import NamedTuple

import numpy as np

from bert.errors import UserError
from bert.flags.embedding import POOLER, POOLINGS
from bert.pipelines.pooling import check_choice, normalize_rows, pool_tokens
from bert.probabilities import sigmoid

DOCUMENT_PROMPTS = ('document', 'passage', 'corpus')    # the first that a model has is taken
QUERY_PROMPT = 'query'


def _gelu(rows):
    from scipy import special  # few models need it
    return rows * (1 + special.erf(rows / np.sqrt(2).astype('float32'))) / 2


# {last word of PyTorch's name: function of an array}
ACTIVATIONS = {'Tanh': np.tanh, 'Identity': lambda rows: rows,
               'ReLU': lambda rows: np.maximum(rows, 0), 'GELU': _gelu, 'Sigmoid': sigmoid,
               'SiLU': lambda rows: rows * sigmoid(rows)}


class DenseModule(NamedTuple):
    """A linear layer with an activation, after the pooling.

    name: for messages. weight: (out, in) float32; bias: (out,) or None; activation: a key of
    `ACTIVATIONS`. use_residual: add the input, which `residual` (out, in) projects first; with
    None it is added unchanged.
    """
    name: str
    weight: np.ndarray
    bias: np.ndarray | None
    activation: str = 'Tanh'
    use_residual: bool = False
    residual: np.ndarray | None = None

    def apply(self, rows):
        """(texts, in) float32 → (texts, out) float32"""
        outputs = rows @ self.weight.T
        if self.bias is not None:
            outputs = outputs + self.bias
        outputs = ACTIVATIONS[self.activation](outputs)
        if not self.use_residual:
            return outputs
        return outputs + (rows if self.residual is None else rows @ self.residual.T)

    def output_width(self, width):
        """The width after this layer. Raises `UserError` if it takes another one than `width`."""
        num_outputs, num_inputs = self.weight.shape
        if num_inputs != width:
            raise UserError('%s reads vectors of %d numbers, but its input has vectors of %d'
                            % (self.name, num_inputs, width))
        return num_outputs

    @property
    def arrays(self):
        """{name in its file: array}"""
        arrays = {'linear.weight': self.weight, 'linear.bias': self.bias,
                  'residual.weight': self.residual}
        return {name: array for name, array in arrays.items() if array is not None}

    def describe(self):
        return '%s %d → %d %s' % ((self.name,) + self.weight.shape[::-1] + (self.activation,))


class NormalizeModule(NamedTuple):
    """Scales vectors to length 1, before further layers."""
    name: str

    def apply(self, rows):
        return normalize_rows(rows)

    def output_width(self, width):
        return width

    def describe(self):
        return 'normalised'


@dataclasses.dataclass(frozen=True, eq=False)
class SentenceModel:
    """How a text is read, and how the vectors of its tokens become its vector.

    pooling: of `POOLINGS`; several are concatenated in this order. include_prompt: whether the
    pooling includes the tokens of the prompt. modules: `DenseModule` and `NormalizeModule`, applied
    in this order. dimensions: how many numbers of the vector are kept, from the first on; None:
    all. normalize: the vector is scaled to length 1 at the end.
    max_seq_length: tokens of a text at most, special tokens included; None: the positions of the
    network. do_lower_case: texts are lower-cased, even if the vocabulary is cased.
    prompts: {name: text}; prompt: the text before each text. similarity: of `SIMILARITIES`.
    source: path of the modules.json; None: the defaults. given: names of the values that
    `select` changed.
    """
    pooling: tuple = ('mean',)
    include_prompt: bool = True
    modules: tuple = ()
    dimensions: int | None = None
    normalize: bool = True
    max_seq_length: int | None = None
    do_lower_case: bool = False
    prompts: dict = dataclasses.field(default_factory=dict)
    default_prompt_name: str | None = None
    prompt: str = ''
    similarity: str = 'cosine'
    source: str | None = None
    given: tuple = ()

    # Selecting

    def select(self, *, pooling=None, normalize=None, max_seq_length=None, dimensions=None,
               prompt_name=None, prompt=None):
        """A copy with other values; None leaves a value as it is. pooling: a name or several.
        prompt_name: of `prompts`. Raises `UserError` for a value that makes no sense."""
        values = dict(normalize=normalize, max_seq_length=max_seq_length, dimensions=dimensions,
                      prompt=self._find_prompt(prompt_name, prompt))
        if pooling is not None:
            values['pooling'] = as_poolings(pooling)
        values = {name: value for name, value in values.items() if value is not None}
        if not isinstance(values.get('normalize', True), bool):
            raise UserError("normalize %r: expected True, False, or None for the model's setting"
                            % (normalize,))
        return dataclasses.replace(self, given=self.given + tuple(values), **values)

    def _find_prompt(self, name, text):
        if name is not None and text is not None:
            raise UserError('prompt_name and prompt: give one of the two')
        if name is None:
            if text is not None and not isinstance(text, str):
                raise UserError('prompt %r: expected a str' % (text,))
            return text
        if name not in tuple(self.prompts):     # also a name that can't be hashed
            raise UserError('prompt_name %s: %s' % (
                name, 'the prompts of this model are ' + ', '.join(self.prompts)
                if self.prompts else 'this model has no prompts'),
                fix='give the text of a prompt with --prompt (in Python prompt=)')
        return self.prompts[name]

    def for_queries(self, prompt_name=None, prompt=None):
        """A copy with the prompt for queries: the one given, else "query" of the model, else none.
        """
        return self._for_kind((QUERY_PROMPT,), prompt_name, prompt)

    def for_documents(self, prompt_name=None, prompt=None):
        """The same for documents: the first of `DOCUMENT_PROMPTS` that the model has."""
        return self._for_kind(DOCUMENT_PROMPTS, prompt_name, prompt)

    def _for_kind(self, names, prompt_name, prompt):
        if prompt_name is not None or prompt is not None:
            return self.select(prompt_name=prompt_name, prompt=prompt)
        return dataclasses.replace(self, prompt=next(
            (self.prompts[name] for name in names if name in self.prompts), ''))

    # Applying

    def prepare_texts(self, texts):
        """The texts as the tokenizer reads them: lower-cased and with the prompt. texts: str."""
        if self.prompt:
            texts = [self.prompt + text for text in texts]
        # each character by itself, as tokenizers do: "Σ" is "σ" also at the end of a word
        return [''.join(map(str.lower, text)) for text in texts] if self.do_lower_case else texts

    def pool(self, rows, first=0):
        """The vectors of the tokens of one text (tokens, width) float32, special tokens included →
        its vector (pooled width,) float32, before `finish`. first: index of the first token that
        counts."""
        return pool_tokens(rows, self.pooling, first)

    def finish(self, vectors):
        """(texts, pooled width) float32 → the vectors of the texts (texts, `output_width`)."""
        for module in self.modules:
            vectors = module.apply(vectors)
        vectors = vectors[:, :self.dimensions]
        return normalize_rows(vectors) if self.normalize else vectors

    def output_width(self, width):
        """The width of the vectors of texts, for `width` numbers in a token's. Raises `UserError`
        if a layer takes another width, and if `dimensions` are more than there are."""
        width *= len(self.pooling)
        for module in self.modules:
            width = module.output_width(width)
        if self.dimensions is None:
            return width
        if isinstance(self.dimensions, bool) or not isinstance(self.dimensions, numbers.Integral) \
                or not 0 < self.dimensions <= width:
            raise UserError('dimensions %s: expected from 1 to %d, the numbers in a vector of this '
                            'model' % (self.dimensions, width))
        return int(self.dimensions)

    @property
    def uses_pooler(self):
        """Whether it takes the model's pooled vectors instead of those of tokens."""
        return self.pooling == (POOLER,)

    def describe(self):
        """What is applied, as one text for a log."""
        parts = ['pooling ' + ' + '.join(self.pooling)]
        parts += [module.describe() for module in self.modules]
        parts += ['the first %d numbers' % self.dimensions] if self.dimensions else []
        parts += ['normalised' if self.normalize else 'not normalised',
                  '%d tokens' % self.max_seq_length]
        parts += ['prompt ' + json.dumps(self.prompt, ensure_ascii=False)] if self.prompt else []
        return ', '.join(parts)

    def update_digest(self, digest):
        """Add to a digest of `hashlib` what the model itself brings to the vectors."""
        if self.do_lower_case:
            digest.update(b'do_lower_case')
        for module in self.modules:
            digest.update(repr((type(module).__name__,) + tuple(
                value for value in module if not isinstance(value, np.ndarray))).encode())
            for array in getattr(module, 'arrays', {}).values():
                digest.update(array.tobytes())


def as_poolings(pooling):
    """A name or several as a tuple of `POOLINGS`. Raises `UserError`."""
    poolings = tuple(pooling) if isinstance(pooling, (list, tuple)) else (pooling,)
    for name in poolings:
        check_choice('pooling', name, POOLINGS)
    if not poolings:
        raise UserError('pooling: empty, expected one or more of %s' % ', '.join(POOLINGS))
    if POOLER in poolings and len(poolings) > 1:
        raise UserError('pooling %s: "%s" can\'t be combined with others, because another network '
                        'computes it' % (' '.join(poolings), POOLER))
    return poolings
