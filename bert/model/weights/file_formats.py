"""Reads and writes weight files as {name: array}. Never runs code that is in a file.

All arrays are NumPy's, with floating values as float32.
"""
import collections
import contextlib
import os
import re
import warnings

import numpy as np
import safetensors
import safetensors.numpy

from bert import files
from bert.errors import UserError
from bert.torch_library import import_torch


def is_finite(array):
    """Whether a NumPy array holds no NaN and no infinity."""
    if not np.issubdtype(array.dtype, np.floating):
        return True
    flat = array.ravel()
    # the product is faster than a test of each number, and overflows seldom
    return bool(np.isfinite(np.dot(flat, flat)) or np.isfinite(flat).all())


def check_finite(arrays, path):
    """Returns the arrays. Raises `UserError`, which names the first array that is not finite."""
    for name, array in arrays.items():
        if not is_finite(array):
            raise UserError('%s: %s holds numbers that are not finite (nan or inf): the training '
                            'diverged, or the file is damaged; take an earlier checkpoint'
                            % (path, name))
    return arrays


def to_float32(array):
    """Floating arrays as float32, other arrays unchanged."""
    is_floating = np.issubdtype(array.dtype, np.floating)
    return array.astype(np.float32, copy=False) if is_floating else array


def bfloat16_to_float32(bits):
    """uint16 bit patterns of bfloat16 → float32, whose upper half is bfloat16."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


# {type in safetensors: NumPy type}; NumPy has no BF16, so the value is the type of its bits
SAFETENSORS_TYPES = {'F64': '<f8', 'F32': '<f4', 'F16': '<f2', 'BF16': '<u2', 'I64': '<i8',
                     'I32': '<i4', 'I16': '<i2', 'I8': 'i1', 'U8': 'u1', 'BOOL': '?'}


def read_safetensors(path):
    """{name: array} of a .safetensors file, floating values as float32.

    Raises `UserError` when the file is damaged or holds a type not in `SAFETENSORS_TYPES`.
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
    """The array of one tensor. entry: what the library returns for it, with dtype, shape, data."""
    type_name = entry['dtype']
    if type_name not in SAFETENSORS_TYPES:
        raise UserError('%s has the type %s; supported: %s'
                        % (source, type_name, ', '.join(SAFETENSORS_TYPES)))
    array = np.frombuffer(entry['data'], SAFETENSORS_TYPES[type_name])
    array = array.reshape(entry['shape'])
    return bfloat16_to_float32(array) if type_name == 'BF16' else to_float32(array)


def write_safetensors(path, arrays):
    """Write {name: array} as transformers reads it. Raises `UserError` when writing fails."""
    try:
        # transformers requires this format name
        safetensors.numpy.save_file(arrays, path, {'format': 'pt'})
    except safetensors.SafetensorError as error:
        raise UserError('%s: can\'t write: %s' % (path, error)) from None


def read_torch(path):
    """{name: array} of a state dict saved by torch.save, floating values as float32.

    Raises `UserError` when PyTorch is missing or too old, and when the file is damaged, is no
    state dict, or names code to run.
    """
    torch = import_torch(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')     # about old pickles, which it reads nevertheless
            state = torch.load(path, map_location='cpu', weights_only=True)
    except OSError as error:
        raise UserError('%s: can\'t read: %s' % (path, error.strerror)) from None
    except Exception as error:      # the library's releases raise from several families
        code = re.search(r'GLOBAL (\S+)', str(error))
        if code:
            raise UserError('%s: refused: the file would run %s, which may do anything; expected '
                            'a state dict alone: get the weights as safetensors'
                            % (path, code.group(1))) from None
        raise UserError('%s: not a file of torch.save, or damaged (%s); fetch it again'
                        % (path, str(error).split('\n')[0])) from None
    return {name: torch_array(torch, tensor) for name, tensor in state_dict(torch, state, path)}


def state_dict(torch, state, path):
    """The (name, tensor) pairs of the object in a file of torch.save. Raises `UserError` for an
    object that is no state dict of dense tensors."""
    if not isinstance(state, dict):
        raise UserError('%s: holds a %s, expected a state dict: tensors by name'
                        % (path, type(state).__name__))
    for name, tensor in state.items():
        if not (isinstance(name, str) and isinstance(tensor, torch.Tensor)):
            raise UserError('%s: %r is a %s, expected a state dict, tensors by name: save only '
                            'model.state_dict()' % (path, name, type(tensor).__name__))
        if tensor.layout != torch.strided or tensor.device.type != 'cpu':
            raise UserError('%s: "%s" has the layout %s on %s; supported: dense tensors with values'
                            % (path, name, tensor.layout, tensor.device))
        # a tiny file may claim terabytes, by repeating one value
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise UserError('%s: "%s" has %d values, but the file stores fewer: save '
                            'tensor.contiguous()' % (path, name, tensor.numel()))
    return state.items()


def torch_array(torch, tensor):
    """The NumPy array of a tensor, floating values as float32."""
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float32)
    return np.ascontiguousarray(tensor.detach().numpy())


# Weights in several files, with an index: {"weight_map": {tensor name: file name}}


def read_shards(index):
    """{name: array} of the files that an index (*.index.json of transformers) lists.

    Raises `UserError` for a missing file or tensor, and for a file in another folder.
    """
    weight_map = files.read_json(index).get('weight_map')
    if not isinstance(weight_map, dict) or not weight_map \
            or not all(isinstance(name, str) for name in weight_map.values()):
        raise UserError('%s: no "weight_map" of names and files in it: not the index of a '
                        'sharded model' % index)
    arrays = {}
    for name in sorted(set(weight_map.values())):
        if os.path.basename(name) != name:
            raise UserError('%s: lists the file %s: expected only files in the folder of the index'
                            % (index, name))
        arrays.update(read_file(os.path.join(os.path.dirname(index), name)))
    missing = sorted(set(weight_map) - set(arrays))
    if missing:
        raise UserError('%s: %s is not in %s, where the index places it'
                        % (index, missing[0], weight_map[missing[0]]))
    return arrays


def read_transformers(path):
    """{transformers name: array} of a weight file of any kind that transformers writes.

    Raises `UserError`, also for any other kind of file.
    """
    return read_shards(path) if path.endswith(INDEX_ENDING) else read_file(path)


def read_file(path):
    """{name: array} of one weight file, read by the `READERS` entry for its ending."""
    with contextlib.suppress(OSError), open(path, 'rb') as file:    # the reader explains it
        files.refuse_pointer(path, file.read(len(files.LFS_POINTER)).decode('latin-1'))
    check_name(path, tuple(READERS))
    return next(read for ending, read in READERS.items() if path.endswith(ending))(path)


def check_name(path, endings):
    """Raises `UserError` unless a name has one of the endings of weight files."""
    if not path.endswith(endings):
        raise UserError('%s: not a weight file: expected a name that ends in %s'
                        % (path, ', '.join(READERS)))


# MXNet's own file format (src/ndarray/ndarray.cc). We parse it ourselves because mx.nd.load may end
# the whole process when the file is damaged.
PARAMS_MAGIC = 0x112
ARRAY_MAGICS = (0xF993FAC9, 0xF993FACA)     # since MXNet 1.0; the same with np_shape
PARAMS_TYPES = {0: '<f4', 1: '<f8', 2: '<f2', 3: 'u1', 4: '<i4', 5: 'i1', 6: '<i8', 7: '?',
                8: '<i2', 12: '<u2'}
BFLOAT16 = 12


class ParamsReader:
    """Reads a .params file from start to end; every read checks that enough bytes are left."""

    def __init__(self, file, path):
        self._file = file
        self._path = path
        self._bytes_left = os.fstat(file.fileno()).st_size

    def fail(self, reason):
        """Raise the `UserError` for a damaged file."""
        raise UserError('%s: not a Gluon parameter file, or damaged: %s; fetch or save it '
                        'again' % (self._path, reason))

    def values(self, dtype, count):
        """The next `count` values of `dtype`, as an array."""
        dtype = np.dtype(dtype)
        self._bytes_left -= count * dtype.itemsize
        if count < 0 or self._bytes_left < 0:
            self.fail('it ends too early')
        return np.fromfile(self._file, dtype, count)

    def number(self, dtype):
        """The next number, of `dtype`."""
        return int(self.values(dtype, 1)[0])

    def array(self):
        """The next dense array, floating values as float32."""
        if self.number('<u4') not in ARRAY_MAGICS:
            self.fail('an array without its magic number (saved before MXNet 1.0?)')
        if self.number('<i4') != 0:
            self.fail('a sparse array; save it as dense')
        shape = self.values('<i8', self.number('<i4'))
        self.values('<i4', 2)       # device type and index, which don't matter here
        type_number = self.number('<i4')
        if type_number not in PARAMS_TYPES:
            self.fail('unknown type number %d' % type_number)
        if (shape < 0).any() or np.prod(shape, dtype=np.float64) > self._bytes_left:
            self.fail('an array has the impossible shape %s' % (tuple(shape),))
        array = self.values(PARAMS_TYPES[type_number], int(np.prod(shape))).reshape(shape)
        return bfloat16_to_float32(array) if type_number == BFLOAT16 else to_float32(array)

    def arrays(self):
        """{name: array} of the whole file."""
        if self.number('<u8') != PARAMS_MAGIC:
            self.fail('its first bytes are not those of MXNet\'s format')
        self.number('<u8')          # reserved
        count = self.number('<u8')
        arrays = []
        while len(arrays) < count:  # allocates nothing ahead: `count` may be nonsense
            arrays.append(self.array())
        names = [self.name() for _ in range(self.number('<u8'))]
        if len(names) != len(arrays):
            self.fail('%d arrays and %d names' % (len(arrays), len(names)))
        if len(set(names)) < len(names):
            self.fail('the name %s occurs twice' % collections.Counter(names).most_common(1)[0][0])
        if self._bytes_left:
            self.fail('%d bytes after its end' % self._bytes_left)
        return dict(zip(names, arrays))

    def name(self):
        """The next name, as text."""
        raw = self.values('u1', self.number('<u8')).tobytes()
        try:
            return raw.decode('utf-8')
        except UnicodeDecodeError:
            self.fail('a name that is not text')


def read_params(path):
    """{name: array} of a Gluon .params file, floating values as float32, without the prefixes
    `arg:` and `aux:` of exported models. Raises `UserError` when the file is damaged."""
    try:
        with open(path, 'rb') as file:
            arrays = ParamsReader(file, path).arrays()
    except OSError as error:
        raise UserError('%s: can\'t read: %s' % (path, error.strerror)) from None
    names = [re.sub(r'^(arg|aux):', '', name) for name in arrays]
    for name, count in collections.Counter(names).items():
        if count > 1:
            raise UserError('%s: the name %s occurs twice' % (path, name))
    return dict(zip(names, arrays.values()))


READERS = {'.safetensors': read_safetensors, '.bin': read_torch, '.pt': read_torch,
           '.pth': read_torch, '.params': read_params}
INDEX_ENDING = '.index.json'    # of the index of a model in several files
