"""Files of weights → {name: array}, and back. No file's code is run.

Everything is NumPy in between, floating values as float32.
"""
import collections
import os
import re
import warnings

import numpy as np
import safetensors
import safetensors.numpy

from bert import files
from bert.errors import UserError


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


def write_safetensors(path, arrays):
    """Write {name: array} as transformers reads it. Raises `UserError` when the disk refuses."""
    try:
        # transformers insists on the format's name
        safetensors.numpy.save_file(arrays, path, {'format': 'pt'})
    except safetensors.SafetensorError as error:
        raise UserError('%s: can\'t write: %s' % (path, error)) from None


# PyTorch's files: pickles, which the library reads without running what they ask for. Before
# 2.6 it could be tricked into that (CVE-2025-32434).
TORCH_SAFE_SINCE = (2, 6)
TORCH_INSTEAD = 'let transformers write the model as safetensors, with save_pretrained(FOLDER)'


def read_torch(path):
    """{name: array} of a state dict saved by torch.save, floating values as float32.

    Raises `UserError` when PyTorch is missing or too old, when the file is damaged, is no
    state dict, or asks for code to be run.
    """
    torch = import_torch(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')     # about old pickles, which it reads
            state = torch.load(path, map_location='cpu', weights_only=True)
    except OSError as error:
        raise UserError('%s: can\'t read: %s' % (path, error.strerror)) from None
    except Exception as error:      # the library's releases raise from several families
        wanted = re.search(r'GLOBAL (\S+)', str(error))
        if wanted:
            raise UserError('%s: refused: it is more than a state dict and would run %s, which '
                            'may do anything; get the weights as safetensors'
                            % (path, wanted.group(1))) from None
        raise UserError('%s: not a file of torch.save, or damaged (%s); fetch it again'
                        % (path, str(error).split('\n')[0])) from None
    return {name: torch_array(torch, tensor) for name, tensor in state_dict(torch, state, path)}


def import_torch(path):
    try:
        import torch
    except ImportError:
        raise UserError('%s: reading it takes PyTorch: pip install torch; or %s'
                        % (path, TORCH_INSTEAD)) from None
    if tuple(int(part) for part in torch.__version__.split('.')[:2]) < TORCH_SAFE_SINCE:
        raise UserError('%s: PyTorch %s could be tricked into running code that is in the file; '
                        'install %d.%d or later; or %s'
                        % ((path, torch.__version__) + TORCH_SAFE_SINCE + (TORCH_INSTEAD,)))
    return torch


def state_dict(torch, state, path):
    """The (name, tensor) pairs of what a file of torch.save held."""
    if not isinstance(state, dict):
        raise UserError('%s: holds a %s, expected a state dict: tensors by name'
                        % (path, type(state).__name__))
    for name, tensor in state.items():
        if not (isinstance(name, str) and isinstance(tensor, torch.Tensor)):
            raise UserError('%s: %r is a %s, expected tensors by name: not a state dict; save '
                            'model.state_dict() by itself' % (path, name, type(tensor).__name__))
        if tensor.layout != torch.strided or tensor.device.type != 'cpu':
            raise UserError('%s: "%s" has the layout %s on %s; supported: dense tensors with values'
                            % (path, name, tensor.layout, tensor.device))
        # a few bytes of file may claim to be terabytes: one value many times
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise UserError('%s: "%s" has %d values and the file fewer for it: save '
                            'tensor.contiguous()' % (path, name, tensor.numel()))
    return state.items()


def torch_array(torch, tensor):
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float32)
    return np.ascontiguousarray(tensor.detach().numpy())


# Weights in several files, with an index: {"weight_map": {name: file}}


def read_shards(index):
    """{name: array} of the files that an index (*.index.json of transformers) lists.

    Raises `UserError` for a file or a tensor that is missing, and for a file elsewhere.
    """
    places = files.read_json(index).get('weight_map')
    if not isinstance(places, dict) or not places \
            or not all(isinstance(name, str) for name in places.values()):
        raise UserError('%s: no "weight_map" of names and files in it: not the index of a model '
                        'in several files' % index)
    arrays = {}
    for name in sorted(set(places.values())):
        if os.path.basename(name) != name:
            raise UserError('%s: lists the file %s: expected names in its own folder'
                            % (index, name))
        arrays.update(read_file(os.path.join(os.path.dirname(index), name)))
    missing = sorted(set(places) - set(arrays))
    if missing:
        raise UserError('%s: %s is not in %s, where the index places it'
                        % (index, missing[0], places[missing[0]]))
    return arrays


def read_transformers(path):
    """{transformers name: array} of a file of any kind that transformers writes.

    Raises `UserError`, also for a kind that it doesn't.
    """
    return read_shards(path) if path.endswith(INDEX_ENDING) else read_file(path)


def read_file(path):
    """{name: array} of one file of weights, by the ending of its name."""
    for ending, read in READERS.items():
        if path.endswith(ending):
            return read(path)
    raise UserError('%s: expected a file of weights: %s' % (path, ', '.join(READERS)))


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


READERS = {'.safetensors': read_safetensors, '.bin': read_torch, '.pt': read_torch,
           '.pth': read_torch, '.params': read_params}
INDEX_ENDING = '.index.json'    # of a list of files that hold one model together
