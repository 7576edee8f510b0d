"""bert/model/convert.py: names both ways, ids, configurations, and files in any state."""
import json
import struct

import mxnet as mx
import numpy as np
import pytest
from reference import numpy_bert
from reference.tiny_release import TOKENS, swapped

from bert.errors import UserError
from bert.model import convert
from bert.model.bert import BertConfig, BERTModel

CONFIG = BertConfig(num_layers=2, units=8, hidden_size=16, num_heads=2, vocab_size=30,
                    max_length=12)


@pytest.fixture
def tensors():
    return numpy_bert.random_tensors(CONFIG)


# Names


def test_the_table_covers_a_whole_network_both_ways(tensors):
    network = BERTModel(CONFIG, use_decoder=True, use_classifier=True)
    wanted = set(network._collect_params_with_prefix())
    assert set(convert.from_transformers(tensors, 'x')) == wanted - {'decoder.3.weight'}
    for name in wanted:
        there = convert.translate(name, convert.TO_TRANSFORMERS)
        assert convert.translate(there, convert.TO_GLUON) == name
    assert len(convert.TO_GLUON) == len(convert.TO_TRANSFORMERS) == len(convert.NAMES)


def test_layer_numbers_are_kept():
    assert convert.translate('bert.encoder.layer.11.output.dense.bias', convert.TO_GLUON) == \
        'encoder.transformer_cells.11.ffn.ffn_2.bias'
    assert convert.translate('no.such.name', convert.TO_GLUON) is None


OLD_SPELLINGS = {
    'without bert.': lambda name: name.replace('bert.', '', 1),
    'gamma and beta': lambda name: name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace(
        'LayerNorm.bias', 'LayerNorm.beta'),
    'bias of the decoder': lambda name: name.replace('cls.predictions.bias',
                                                     'cls.predictions.decoder.bias'),
}


@pytest.mark.parametrize('spelling', OLD_SPELLINGS)
def test_old_spellings(tensors, spelling):
    old = {OLD_SPELLINGS[spelling](name): array for name, array in tensors.items()}
    assert set(old) != set(tensors)
    expected = convert.from_transformers(tensors, 'x')
    found = convert.from_transformers(old, 'x')
    assert set(found) == set(expected)
    assert all(found[name] is expected[name] for name in found)


def test_buffers_are_left_out_and_unknown_names_stay(tensors):
    tensors['bert.embeddings.position_ids'] = np.arange(12)
    tensors['crf.transitions'] = np.zeros(3)
    found = convert.from_transformers(tensors, 'x')
    assert 'crf.transitions' in found
    assert not any('position_ids' in name for name in found)


def test_a_task_head_is_not_the_next_sentence_classifier(tensors):
    tensors['classifier.weight'] = np.zeros((3, 8))
    found = convert.from_transformers(tensors, 'x')
    assert found['classifier.1.weight'].shape == (3, 8)
    assert found['classifier.weight'].shape == (2, 8)


def test_two_candidates_for_one_name(tensors):
    name = 'bert.embeddings.LayerNorm.'
    tensors[name + 'gamma'] = tensors[name + 'weight'].copy()
    convert.from_transformers(tensors, 'x')     # equal ones are no problem
    tensors[name + 'gamma'] += 1
    with pytest.raises(UserError, match='file: %sweight and %sgamma are the same' % (name, name)):
        convert.from_transformers(tensors, 'file')


# Configurations

HF_CONFIG = dict(model_type='bert', num_hidden_layers=2, hidden_size=8, intermediate_size=16,
                 num_attention_heads=2, vocab_size=30, max_position_embeddings=12,
                 type_vocab_size=3, layer_norm_eps=1e-5, hidden_act='gelu_new')


def test_config_from_transformers():
    config = convert.config_from_transformers(HF_CONFIG, 'x', cased=True)
    assert config == BertConfig(2, 8, 16, 2, 30, max_length=12, token_type_vocab_size=3,
                                layer_norm_eps=1e-5, activation='gelu_new', cased=True)


def test_a_config_of_an_early_release():
    old = {key: value for key, value in HF_CONFIG.items()
           if key not in ('model_type', 'layer_norm_eps', 'hidden_act')}
    config = convert.config_from_transformers(old, 'x', cased=False)
    assert (config.layer_norm_eps, config.activation) == (1e-12, 'gelu')


@pytest.mark.parametrize('key, value, message', [
    ('model_type', 'roberta', 'model_type is "roberta"; supported: bert'),
    ('position_embedding_type', 'relative_key', 'position_embedding_type is "relative_key"; '
                                                'supported: absolute'),
    ('hidden_act', 'silu', 'hidden_act is "silu"; supported: gelu, '),
    ('hidden_act', 'gelu_nw', 'Did you mean "gelu_new"'),
    ('is_decoder', True, 'is_decoder is "True"; supported: False'),
    ('hidden_size', None, '"hidden_size" is None'),
    ('num_hidden_layers', '2', '"num_hidden_layers" is \'2\''),
    ('num_attention_heads', 3, 'hidden_size 8 is no multiple of num_attention_heads 3'),
])
def test_what_the_encoder_cannot_express(key, value, message):
    with pytest.raises(UserError, match='config.json: .*' + message):
        convert.config_from_transformers(dict(HF_CONFIG, **{key: value}), 'config.json', False)


# Ids


def test_gluonnlp_order_there_and_back():
    order = convert.gluonnlp_order(TOKENS)
    assert order == swapped(TOKENS)
    assert order[:5] == ['[UNK]', '[PAD]', '[CLS]', '[SEP]', '[MASK]']
    assert order[100:104] == ['[unused0]', '[unused1]', '[unused2]', '[unused3]']
    assert convert.published_order(order) == TOKENS
    assert convert.is_published(TOKENS)
    assert not convert.is_published(order)


@pytest.mark.parametrize('name', ['uncased', 'cased', 'multilingual-uncased',
                                  'multilingual-cased', 'chinese'])
def test_the_five_vocabularies_survive_gluonnlps_order(data_dir, name):
    path = data_dir / 'vocab' / ('bert-base-%s.txt' % name)
    tokens = path.read_text(encoding='utf-8').split('\n')[:-1]
    assert convert.is_published(tokens)
    assert convert.published_order(swapped(tokens)) == tokens != swapped(tokens)


@pytest.mark.parametrize('prefix', ['', 'bert.'])
def test_reorder_ids(prefix):
    arrays = {prefix + 'word_embed.0.weight': np.array([[0], [1], [2], [9]]),
              prefix + 'decoder.3.bias': np.array([0, 1, 2, 9]),
              prefix + 'pooler.bias': np.array([0, 1, 2, 9])}
    found = convert.reorder_ids(arrays, ['a', 'b', 'c'], ['c', 'a', 'b'])
    assert found[prefix + 'word_embed.0.weight'].ravel().tolist() == [2, 0, 1, 9]
    assert found[prefix + 'decoder.3.bias'].tolist() == [2, 0, 1, 9]
    assert found[prefix + 'pooler.bias'].tolist() == [0, 1, 2, 9]
    assert arrays[prefix + 'decoder.3.bias'].tolist() == [0, 1, 2, 9]


# .safetensors


def write_safetensors(path, entries):
    """entries: [(name, dtype, shape, bytes)], written by hand as the format says."""
    header, offset = {'__metadata__': {'format': 'pt'}}, 0
    for name, dtype, shape, data in entries:
        header[name] = {'dtype': dtype, 'shape': shape,
                        'data_offsets': [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack('<Q', len(text)) + text + b''.join(e[3] for e in entries))


def test_read_safetensors_of_every_type(tmp_path):
    values = np.array([[1.5, -2, 0.25]], np.float32)
    write_safetensors(tmp_path / 'x', [
        ('f32', 'F32', [1, 3], values.tobytes()),
        ('f16', 'F16', [3, 1], values.astype(np.float16).tobytes()),
        ('bf16', 'BF16', [3], (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()),
        ('f64', 'F64', [1, 3], values.astype(np.float64).tobytes()),
        ('i64', 'I64', [2], np.array([3, -4]).tobytes()),
        ('scalar', 'F32', [], np.float32(7).tobytes())])
    found = convert.read_safetensors(tmp_path / 'x')
    assert {name: array.dtype for name, array in found.items()} == {
        'f32': np.float32, 'f16': np.float32, 'bf16': np.float32, 'f64': np.float32,
        'i64': np.int64, 'scalar': np.float32}
    for name, shape in (('f32', (1, 3)), ('f16', (3, 1)), ('bf16', (3,)), ('f64', (1, 3))):
        np.testing.assert_array_equal(found[name], values.reshape(shape))
    assert found['i64'].tolist() == [3, -4]
    assert found['scalar'] == 7


def test_the_safetensors_package_agrees(tmp_path, tensors):
    from safetensors.numpy import save_file
    save_file(tensors, str(tmp_path / 'x.safetensors'))
    found = convert.read_safetensors(tmp_path / 'x.safetensors')
    assert set(found) == set(tensors)
    assert all((found[name] == tensors[name]).all() for name in tensors)


def test_safetensors_cut_anywhere(tmp_path, tensors):
    from safetensors.numpy import save_file
    path = tmp_path / 'x.safetensors'
    save_file(tensors, str(path))
    content = path.read_bytes()
    for cut in cuts(len(content)):
        path.write_bytes(content[:cut])
        with pytest.raises(UserError, match='x.safetensors: .*') as caught:
            convert.read_safetensors(path)
        assert '\n' not in str(caught.value)


@pytest.mark.parametrize('content', [
    b'\xff' * 100, struct.pack('<Q', 2) + b'[]', struct.pack('<Q', 4) + b'nope',
    struct.pack('<Q', 10) + b'{"a": {} }',
    struct.pack('<Q', 64) + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}'.ljust(64),
    struct.pack('<Q', 64) + b'{"a":{"dtype":"Q9","shape":[1],"data_offsets":[0,4]}}'.ljust(64)])
def test_safetensors_that_are_none(tmp_path, content):
    (tmp_path / 'x').write_bytes(content + b'1234')
    with pytest.raises(UserError, match='x: '):
        convert.read_safetensors(tmp_path / 'x')


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
    found = convert.read_params(path)
    assert set(found) == set(types) | {'x.y'}
    for name in types:
        floating = name.startswith('float')
        assert found[name].dtype == (np.float32 if floating else name)
        np.testing.assert_array_equal(
            found[name], np.abs(values) if floating else np.abs(values).astype(name))


def test_read_params_in_bfloat16(tmp_path):
    path = str(tmp_path / 'x.params')
    values = np.array([1.5, -2, 0.25], np.float32)
    bfloat16 = np.dtype([('bfloat16', np.uint16)])      # as MXNet calls it
    mx.nd.save(path, {'x': mx.nd.amp_cast(mx.nd.array(values), dtype=bfloat16)})
    np.testing.assert_array_equal(convert.read_params(path)['x'], values)


def test_read_params_equals_mxnet(tmp_path, tensors):
    path = str(tmp_path / 'x.params')
    mx.nd.save(path, {name: mx.nd.array(array) for name, array in tensors.items()})
    found = convert.read_params(path)
    assert list(found) == list(tensors)
    assert all((found[name] == tensors[name]).all() for name in tensors)


def test_params_cut_anywhere(tmp_path):
    path = tmp_path / 'x.params'
    mx.nd.save(str(path), {'encoder.weight': mx.nd.ones((20, 30)), 'b': mx.nd.ones((3,))})
    content = path.read_bytes()
    for cut in cuts(len(content)):
        path.write_bytes(content[:cut])
        with pytest.raises(UserError, match='x.params: not a Gluon parameter file, or damaged'):
            convert.read_params(path)


def test_params_with_any_damaged_byte_never_crash(tmp_path):
    path = tmp_path / 'x.params'
    mx.nd.save(str(path), {'a': mx.nd.ones((2, 3)), 'b': mx.nd.ones((2,))})
    content = bytearray(path.read_bytes())
    refused = 0
    for place in range(len(content)):
        damaged = bytes(content[:place]) + bytes([content[place] ^ 0xFF]) + content[place + 1:]
        path.write_bytes(damaged)
        try:
            convert.read_params(path)
        except UserError:
            refused += 1
    assert refused > len(content) // 4      # the rest are values, which may be anything


def test_params_without_names_or_saved_as_a_list(tmp_path):
    path = str(tmp_path / 'x.params')
    mx.nd.save(path, [mx.nd.ones((2,))])
    with pytest.raises(UserError, match='1 arrays and 0 names'):
        convert.read_params(path)


def test_sparse_params_are_refused(tmp_path):
    path = str(tmp_path / 'x.params')
    mx.nd.save(path, {'x': mx.nd.ones((2, 3)).tostype('row_sparse')})
    with pytest.raises(UserError, match='a sparse array'):
        convert.read_params(path)


@pytest.mark.parametrize('read', [convert.read_params, convert.read_safetensors])
def test_no_such_file(tmp_path, read):
    with pytest.raises(UserError, match='absent: can\'t read: No such file'):
        read(tmp_path / 'absent')


def test_embedding_of_another_size_is_left_for_the_check_of_shapes():
    small = {'word_embed.0.weight': np.zeros((2, 3), 'float32')}
    reordered = convert.reorder_ids(small, ['a', 'b', 'c'], ['c', 'b', 'a'])
    assert reordered['word_embed.0.weight'].shape == (2, 3)
