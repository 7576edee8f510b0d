"""bert/model/weights/file_formats.py: files of weights of every kind, intact or damaged."""
import json
import pickle
import struct
import sys
import types

import mxnet as mx
import numpy as np
import pytest

from bert.errors import UserError
from bert.model.weights import file_formats


@pytest.fixture
def tensors():
    rng = np.random.RandomState(0)
    return {'a.weight': rng.randn(20, 30).astype('float32'), 'b': np.arange(3, dtype='float32')}


# .safetensors


def write_safetensors(path, entries):
    """Write [(name, dtype, shape, bytes)] by hand, as the format's specification says."""
    header, offset = {'__metadata__': {'format': 'pt'}}, 0
    for name, dtype, shape, data in entries:
        header[name] = {'dtype': dtype, 'shape': shape,
                        'data_offsets': [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack('<Q', len(text)) + text + b''.join(entry[-1] for entry in entries))


def test_read_safetensors_of_every_type(tmp_path):
    values = np.array([[1.5, -2, 0.25]], np.float32)
    write_safetensors(tmp_path / 'x', [
        ('f32', 'F32', [1, 3], values.tobytes()),
        ('f16', 'F16', [3, 1], values.astype(np.float16).tobytes()),
        ('bf16', 'BF16', [3], (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()),
        ('f64', 'F64', [1, 3], values.astype(np.float64).tobytes()),
        ('i64', 'I64', [2], np.array([3, -4]).tobytes()),
        ('scalar', 'F32', [], np.float32(7).tobytes())])
    arrays = file_formats.read_safetensors(tmp_path / 'x')
    assert {name: array.dtype for name, array in arrays.items()} == {
        'f32': np.float32, 'f16': np.float32, 'bf16': np.float32, 'f64': np.float32,
        'i64': np.int64, 'scalar': np.float32}
    for name, shape in (('f32', (1, 3)), ('f16', (3, 1)), ('bf16', (3,)), ('f64', (1, 3))):
        np.testing.assert_array_equal(arrays[name], values.reshape(shape))
    assert arrays['i64'].tolist() == [3, -4]
    assert arrays['scalar'] == 7


def test_the_safetensors_package_agrees(tmp_path, tensors):
    from safetensors.numpy import save_file
    save_file(tensors, str(tmp_path / 'x.safetensors'))
    arrays = file_formats.read_safetensors(tmp_path / 'x.safetensors')
    assert set(arrays) == set(tensors)
    assert all((arrays[name] == tensors[name]).all() for name in tensors)


def test_safetensors_cut_anywhere(tmp_path, tensors):
    from safetensors.numpy import save_file
    path = tmp_path / 'x.safetensors'
    save_file(tensors, str(path))
    content = path.read_bytes()
    for cut in cuts(len(content)):
        path.write_bytes(content[:cut])
        with pytest.raises(UserError, match='x.safetensors: .*') as error:
            file_formats.read_safetensors(path)
        assert '\n' not in str(error.value)


@pytest.mark.parametrize('content', [
    b'\xff' * 100, struct.pack('<Q', 2) + b'[]', struct.pack('<Q', 4) + b'nope',
    struct.pack('<Q', 10) + b'{"a": {} }',
    struct.pack('<Q', 64) + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}'.ljust(64),
    struct.pack('<Q', 64) + b'{"a":{"dtype":"Q9","shape":[1],"data_offsets":[0,4]}}'.ljust(64)])
def test_invalid_safetensors(tmp_path, content):
    (tmp_path / 'x').write_bytes(content + b'1234')
    with pytest.raises(UserError, match='x: '):
        file_formats.read_safetensors(tmp_path / 'x')


def cuts(size):
    """About thirty places to cut a file of `size` bytes, its head and end among them."""
    return sorted(set(list(range(0, 24, 3)) + [size * i // 20 for i in range(1, 20)]
                      + [size - 1, size - 2, size - 9]))


# .params


def test_read_params_of_every_type(tmp_path):
    path = str(tmp_path / 'x.params')
    values = np.array([[1.5, -2, 0.25]], np.float32)
    types = ('float32', 'float64', 'float16', 'uint8', 'int32', 'int8', 'int64')
    mx.nd.save(path, dict({'arg:' + name: mx.nd.array(np.abs(values), dtype=name)
                           for name in types}, **{'aux:x.y': mx.nd.array([1, 2])}))
    arrays = file_formats.read_params(path)
    assert set(arrays) == set(types) | {'x.y'}
    for name in types:
        is_float = name.startswith('float')
        assert arrays[name].dtype == (np.float32 if is_float else name)
        np.testing.assert_array_equal(
            arrays[name], np.abs(values) if is_float else np.abs(values).astype(name))


def test_read_params_in_bfloat16(tmp_path):
    path = str(tmp_path / 'x.params')
    values = np.array([1.5, -2, 0.25], np.float32)
    bfloat16 = np.dtype([('bfloat16', np.uint16)])      # as MXNet calls it
    mx.nd.save(path, {'x': mx.nd.amp_cast(mx.nd.array(values), dtype=bfloat16)})
    np.testing.assert_array_equal(file_formats.read_params(path)['x'], values)


def test_read_params_equals_mxnet(tmp_path, tensors):
    path = str(tmp_path / 'x.params')
    mx.nd.save(path, {name: mx.nd.array(array) for name, array in tensors.items()})
    arrays = file_formats.read_params(path)
    assert list(arrays) == list(tensors)
    assert all((arrays[name] == tensors[name]).all() for name in tensors)


def test_params_cut_anywhere(tmp_path):
    path = tmp_path / 'x.params'
    mx.nd.save(str(path), {'encoder.weight': mx.nd.ones((20, 30)), 'b': mx.nd.ones((3,))})
    content = path.read_bytes()
    for cut in cuts(len(content)):
        path.write_bytes(content[:cut])
        with pytest.raises(UserError, match='x.params: not a Gluon parameter file, or damaged'):
            file_formats.read_params(path)


def test_params_with_any_damaged_byte_never_crash(tmp_path):
    path = tmp_path / 'x.params'
    mx.nd.save(str(path), {'a': mx.nd.ones((2, 3)), 'b': mx.nd.ones((2,))})
    content = bytearray(path.read_bytes())
    num_refused = 0
    for index in range(len(content)):
        data = bytes(content[:index]) + bytes([content[index] ^ 0xFF]) + content[index + 1:]
        path.write_bytes(data)
        try:
            file_formats.read_params(path)
        except UserError:
            num_refused += 1
    assert num_refused > len(content) // 4      # the other bytes are values, and any value is valid


def test_params_without_names_or_saved_as_a_list(tmp_path):
    path = str(tmp_path / 'x.params')
    mx.nd.save(path, [mx.nd.ones((2,))])
    with pytest.raises(UserError, match='1 arrays and 0 names'):
        file_formats.read_params(path)


def test_sparse_params_are_refused(tmp_path):
    path = str(tmp_path / 'x.params')
    mx.nd.save(path, {'x': mx.nd.ones((2, 3)).tostype('row_sparse')})
    with pytest.raises(UserError, match='a sparse array'):
        file_formats.read_params(path)


@pytest.mark.parametrize('read', [file_formats.read_params, file_formats.read_safetensors])
def test_no_such_file(tmp_path, read):
    with pytest.raises(UserError, match='absent: can\'t read: No such file'):
        read(tmp_path / 'absent')


# The extension decides


def test_unknown_extension(tmp_path):
    path = tmp_path / 'net.h5'
    path.write_bytes(b'x')
    with pytest.raises(UserError, match='net.h5: not a weight file: expected a name that '
                                        'ends in .safetensors, .bin, .pt, .pth, .params$'):
        file_formats.read_transformers(str(path))


# Several files with an index


def write_shards(folder, tensors, places, **index):
    """Write the files of `places` ({name: file}) and the index. Returns the path of the index."""
    for file in sorted(set(places.values())):
        file_formats.write_safetensors(str(folder / file), {
            name: tensors[name] for name in places if places[name] == file})
    path = folder / 'model.safetensors.index.json'
    path.write_text(json.dumps(dict({'metadata': {}, 'weight_map': places}, **index)))
    return str(path)


PLACES = {'a.weight': 'model-00001-of-00002.safetensors',
          'b': 'model-00002-of-00002.safetensors'}


def test_shards_are_joined(tmp_path, tensors):
    arrays = file_formats.read_transformers(write_shards(tmp_path, tensors, PLACES))
    assert set(arrays) == set(tensors)
    assert all((arrays[name] == tensors[name]).all() for name in tensors)


def test_incomplete_shards(tmp_path, tensors):
    index = write_shards(tmp_path, tensors, PLACES)
    file_formats.write_safetensors(str(tmp_path / PLACES['b']), {'c': tensors['b']})
    with pytest.raises(UserError, match='index.json: b is not in model-00002-of-00002.safetensors, '
                                        'where the index places it'):
        file_formats.read_transformers(index)
    (tmp_path / PLACES['b']).unlink()
    with pytest.raises(UserError, match='00002.safetensors: can.t read: No such file'):
        file_formats.read_transformers(index)


@pytest.mark.parametrize('place', ['../model.safetensors', '/etc/model.safetensors',
                                   'x/model.safetensors'])
def test_shards_in_other_folders_are_refused(tmp_path, tensors, place):
    index = write_shards(tmp_path, tensors, PLACES, weight_map={'b': place})
    with pytest.raises(UserError, match='lists the file %s: expected only files in the folder'
                                        % place):
        file_formats.read_transformers(index)


@pytest.mark.parametrize('content', [
    '{}', '{"weight_map": []}', '{"weight_map": {}}', '{"weight_map": {"a": null}}',
    '{"weight_map": {"a": "x.bin", "b": 3}}'])
def test_invalid_index(tmp_path, content):
    path = tmp_path / 'model.safetensors.index.json'
    path.write_text(content)
    with pytest.raises(UserError, match='index.json: no "weight_map" of names and files'):
        file_formats.read_transformers(str(path))


def test_an_index_of_an_index_is_refused(tmp_path, tensors):
    index = write_shards(tmp_path, tensors, PLACES,
                         weight_map={'b': 'model.safetensors.index.json'})
    with pytest.raises(UserError, match='not a weight file'):
        file_formats.read_transformers(index)


# PyTorch's files


def test_without_pytorch_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch', None)     # import raises ImportError
    with pytest.raises(UserError, match='x.bin: reading it takes PyTorch: pip install torch; or '
                                        'let transformers write the model as safetensors'):
        file_formats.read_torch(str(tmp_path / 'x.bin'))


def test_an_unsafe_pytorch_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch', types.SimpleNamespace(__version__='2.5.1+cpu'))
    with pytest.raises(UserError, match='x.bin: PyTorch 2.5.1.cpu could be tricked into running '
                                        'code that is in the file; install 2.6 or later'):
        file_formats.read_torch(str(tmp_path / 'x.bin'))


@pytest.mark.torch
@pytest.mark.parametrize('legacy', [False, True])
def test_state_dicts_of_every_type(torch, tmp_path, legacy):
    values = torch.tensor([[1.5, -2.0, 0.25]])
    state = {'f32': values, 'f16': values.half(), 'bf16': values.bfloat16(),
             'f64': values.double(), 'i64': torch.tensor([3, -4]), 'turned': values.t(),
             'learnt': torch.nn.Parameter(values)}
    path = str(tmp_path / 'x.bin')
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    arrays = file_formats.read_torch(path)
    assert {name: array.dtype for name, array in arrays.items()} == dict(
        {name: np.dtype('float32') for name in state}, i64=np.dtype('int64'))
    for name in ('f32', 'f16', 'bf16', 'f64', 'learnt'):
        np.testing.assert_array_equal(arrays[name], values.numpy())
    np.testing.assert_array_equal(arrays['turned'], values.numpy().T)
    assert arrays['i64'].tolist() == [3, -4]


@pytest.mark.torch
def test_torch_files_cut_anywhere(torch, tmp_path, tensors):
    path = tmp_path / 'x.bin'
    for legacy in (False, True):
        torch.save({name: torch.tensor(array) for name, array in tensors.items()}, str(path),
                   _use_new_zipfile_serialization=not legacy)
        content = path.read_bytes()
        for cut in cuts(len(content)):
            path.write_bytes(content[:cut])
            with pytest.raises(UserError, match='x.bin: not a file of torch.save, or damaged') as e:
                file_formats.read_torch(str(path))
            assert '\n' not in str(e.value)


class Malice:
    """Creates a file when it is unpickled without checks."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.mark.torch
@pytest.mark.parametrize('legacy', [False, True])
def test_code_in_a_file_does_not_run(torch, tmp_path, legacy):
    path, marker = tmp_path / 'x.bin', tmp_path / 'ran'
    torch.save({'a': Malice(marker)}, str(path), _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UserError, match='x.bin: refused: the file would run %s.open, which may do '
                                        'anything; expected a state dict alone' % open.__module__):
        file_formats.read_torch(str(path))
    assert not marker.exists()
    torch.load(str(path), weights_only=False)
    assert marker.exists()        # the code runs without the check


@pytest.mark.torch
def test_code_in_a_bare_pickle_does_not_run(torch, tmp_path):
    path, marker = tmp_path / 'x.bin', tmp_path / 'ran'
    path.write_bytes(pickle.dumps(Malice(marker)))
    with pytest.raises(UserError, match='x.bin: '):
        file_formats.read_torch(str(path))
    assert not marker.exists()


@pytest.mark.torch
@pytest.mark.parametrize('make, message', [
    (lambda torch: [torch.ones(2)], 'holds a list, expected a state dict'),
    (lambda torch: torch.ones(2), 'holds a Tensor, expected a state dict'),
    (lambda torch: {'model': {'a': torch.ones(2)}, 'epoch': 3},
     "'model' is a dict, expected a state dict, tensors by name: save only model.state_dict"),
    (lambda torch: {0: torch.ones(2)}, '0 is a Tensor, expected a state dict, tensors by name'),
    (lambda torch: {'a': torch.ones(2, 2).to_sparse()},
     '"a" has the layout torch.sparse_coo on cpu'),
    (lambda torch: {'a': torch.ones(2, device='meta')}, '"a" has the layout torch.strided on meta'),
    (lambda torch: {'a': torch.zeros(1).expand(10 ** 13)},
     '"a" has 10000000000000 values, but the file stores fewer'),
])
def test_a_pickle_that_is_no_state_dict(torch, tmp_path, make, message):
    torch.save(make(torch), str(tmp_path / 'x.bin'))
    with pytest.raises(UserError, match='x.bin: ' + message):
        file_formats.read_torch(str(tmp_path / 'x.bin'))


@pytest.mark.torch
def test_no_such_torch_file(torch, tmp_path):
    with pytest.raises(UserError, match='absent.bin: can.t read: No such file'):
        file_formats.read_torch(str(tmp_path / 'absent.bin'))
