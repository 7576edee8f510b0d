"""Names and tensors: transformers' BERT ↔ Gluon's, and the files they are kept in.

Everything here is NumPy; nothing is unpickled.
"""
import collections
import os
import re

import numpy as np
import safetensors

from bert.errors import UserError, nearest
from bert.model.bert import BertConfig

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
)
TO_GLUON = {transformers: gluon for gluon, transformers in NAMES}
TO_TRANSFORMERS = {gluon: transformers for gluon, transformers in NAMES}

# Buffers that transformers saved in some years: they hold 0, 1, 2, … and no weights.
BUFFERS = ('position_ids', 'token_type_ids')

# transformers' hidden_act → BertConfig.activation. The tanh forms are one function.
ACTIVATIONS = {'gelu': 'gelu', 'gelu_python': 'gelu', 'relu': 'relu', 'gelu_new': 'gelu_new',
               'gelu_fast': 'gelu_new', 'gelu_pytorch_tanh': 'gelu_new'}

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
    if name == 'cls.predictions.decoder.bias':
        return 'cls.predictions.bias'
    if name.startswith(('embeddings.', 'encoder.', 'pooler.')):
        return 'bert.' + name       # saved from the bare BertModel
    return name


def from_transformers(state, source):
    """Tensors of a transformers BERT under their Gluon names.

    state: {transformers name: array}. Returns {Gluon name: array}; a name that isn't in
    the table stays as it is, for the caller to judge; position_ids are left out. Raises
    `UserError` naming `source` when two tensors that differ claim one name.
    """
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
    if activation not in ACTIVATIONS:
        refuse('hidden_act', sorted(ACTIVATIONS))
    needed = ('num_hidden_layers', 'hidden_size', 'intermediate_size', 'num_attention_heads',
              'vocab_size')
    for key in needed:
        if not isinstance(values.get(key), int) or values[key] <= 0:
            raise UserError('%s: "%s" is %r: expected a positive number, as in every '
                            'transformers BERT' % (source, key, values.get(key)))
    if values['hidden_size'] % values['num_attention_heads']:
        raise UserError('%s: hidden_size %d is no multiple of num_attention_heads %d'
                        % (source, values['hidden_size'], values['num_attention_heads']))
    sizes = [values[key] for key in needed]
    return BertConfig(*sizes, max_length=values.get('max_position_embeddings', 512),
                      token_type_vocab_size=values.get('type_vocab_size', 2),
                      layer_norm_eps=values.get('layer_norm_eps', 1e-12),
                      activation=ACTIVATIONS[activation], cased=cased)


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


# Files


def to_float32(array):
    """Floating arrays as float32, others untouched."""
    floating = np.issubdtype(array.dtype, np.floating)
    return array.astype(np.float32, copy=False) if floating else array


def bfloat16_to_float32(bits):
    """uint16 bit patterns of bfloat16 → float32: bfloat16 is the upper half of it."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


# Types of safetensors as NumPy's; the bits of BF16, which NumPy has not
SAFETENSORS_TYPES = {'F64': '<f8', 'F32': '<f4', 'F16': '<f2', 'BF16': '<u2', 'I64': '<i8',
                     'I32': '<i4', 'I16': '<i2', 'I8': 'i1', 'U8': 'u1', 'BOOL': '?'}


def read_safetensors(path):
    """{name: array} of a .safetensors file, floating values as float32.

    Raises `UserError` when the file is damaged, or holds a type that is not in the table.
    """
    try:
        with open(path, 'rb') as file:
            entries = safetensors.deserialize(file.read())
    except OSError as error:
        raise UserError('%s: can\'t read: %s' % (path, error.strerror)) from None
    except safetensors.SafetensorError as error:
        raise UserError('%s: not a safetensors file, or damaged: %s; fetch it again'
                        % (path, ' '.join(str(error).split()))) from None
    return {name: safetensors_array(entry, '%s: %s' % (path, name)) for name, entry in entries}


def safetensors_array(entry, source):
    """The array of one tensor as the library hands it over: its dtype, shape and bytes."""
    kind = entry['dtype']
    if kind not in SAFETENSORS_TYPES:
        raise UserError('%s has the type %s; supported: %s'
                        % (source, kind, ', '.join(SAFETENSORS_TYPES)))
    array = np.frombuffer(entry['data'], SAFETENSORS_TYPES[kind]).reshape(entry['shape'])
    return bfloat16_to_float32(array) if kind == 'BF16' else to_float32(array)


# MXNet's own file of arrays (src/ndarray/ndarray.cc): read by hand too, because
# mx.nd.load may take the whole process down when the file is damaged.
PARAMS_MAGIC = 0x112
ARRAY_MAGICS = (0xF993FAC9, 0xF993FACA)     # MXNet 1.0 and later; the same with np_shape
PARAMS_TYPES = {0: '<f4', 1: '<f8', 2: '<f2', 3: 'u1', 4: '<i4', 5: 'i1', 6: '<i8', 7: '?',
                8: '<i2', 12: '<u2'}
BFLOAT16 = 12


class ParamsReader:
    """Walks through a .params file; every step checks that the bytes are there."""

    def __init__(self, file, path):
        self._file = file
        self._path = path
        self._left = os.fstat(file.fileno()).st_size

    def damaged(self, reason):
        raise UserError('%s: not a Gluon parameter file, or damaged: %s; fetch or save it '
                        'again' % (self._path, reason))

    def values(self, dtype, count):
        """`count` values of `dtype` as an array."""
        dtype = np.dtype(dtype)
        self._left -= count * dtype.itemsize
        if count < 0 or self._left < 0:
            self.damaged('it ends too early')
        return np.fromfile(self._file, dtype, count)

    def number(self, dtype):
        return int(self.values(dtype, 1)[0])

    def array(self):
        """One dense array, floating values as float32."""
        if self.number('<u4') not in ARRAY_MAGICS:
            self.damaged('an array without its mark (saved before MXNet 1.0?)')
        if self.number('<i4') != 0:
            self.damaged('a sparse array; save it as dense')
        shape = self.values('<i8', self.number('<i4'))
        self.values('<i4', 2)       # device type and number: no matter where it was
        kind = self.number('<i4')
        if kind not in PARAMS_TYPES:
            self.damaged('unknown type number %d' % kind)
        if (shape < 0).any() or np.prod(shape, dtype=np.float64) > self._left:
            self.damaged('an array of shape %s' % (tuple(shape),))
        array = self.values(PARAMS_TYPES[kind], int(np.prod(shape))).reshape(shape)
        return bfloat16_to_float32(array) if kind == BFLOAT16 else to_float32(array)

    def arrays(self):
        """{name: array} of the whole file."""
        if self.number('<u8') != PARAMS_MAGIC:
            self.damaged('its first bytes are not those of MXNet\'s format')
        self.number('<u8')          # reserved
        count = self.number('<u8')
        arrays = []
        while len(arrays) < count:  # no list of `count` made ahead: it may be nonsense
            arrays.append(self.array())
        names = [self.name() for _ in range(self.number('<u8'))]
        if len(names) != len(arrays):
            self.damaged('%d arrays and %d names' % (len(arrays), len(names)))
        return dict(zip(names, arrays))

    def name(self):
        raw = self.values('u1', self.number('<u8')).tobytes()
        try:
            return raw.decode('utf-8')
        except UnicodeDecodeError:
            self.damaged('a name that is not text')


def read_params(path):
    """{name: array} of a Gluon .params file, floating values as float32, the prefixes
    `arg:` and `aux:` of exported models taken off. Raises `UserError` when damaged."""
    try:
        with open(path, 'rb') as file:
            arrays = ParamsReader(file, path).arrays()
    except OSError as error:
        raise UserError('%s: can\'t read: %s' % (path, error.strerror)) from None
    names = [re.sub(r'^(arg|aux):', '', name) for name in arrays]
    for name, times in collections.Counter(names).items():
        if times > 1:
            raise UserError('%s: %s is in it twice' % (path, name))
    return dict(zip(names, arrays.values()))
