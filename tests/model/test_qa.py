"""Question answering networks against NumPy, and the static one against the dynamic one."""
import json
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest
from reference import numpy_bert
from support import tiny

from bert.data.batches import Batch
from bert.errors import UserError
from bert.export.symbol import export_network, import_network
from bert.model.bert import BERTModel
from bert.model.qa import BertForQA, BertForQALoss
from bert.model.static_qa import (
    StaticBertForQA,
    length_from_environment,
    resolve_length,
    resolve_width,
)
from bert.model.weights import catalogue, loading, mapping
from bert.pipelines.question_answering import StaticQuestionAnswerer, pad_batch

LENGTH = 12


@pytest.fixture(autouse=True)
def unset_variables(monkeypatch):
    for name in ('SEQLENGTH', 'INPUTSIZE'):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope='module')
def tensors():
    random = np.random.RandomState(1)
    tensors = {name: tensor for name, tensor in numpy_bert.random_tensors(tiny.CONFIG).items()
               if not name.startswith(('cls.', 'bert.pooler'))}
    return dict(tensors, **{
        'qa_outputs.weight': random.normal(0, 0.3, (2, tiny.CONFIG.units)).astype('float32'),
        'qa_outputs.bias': random.normal(0, 0.3, 2).astype('float32')})


def network_of(tensors, make=BertForQA, **options):
    network = make(BERTModel(tiny.CONFIG, dropout=0.0, use_pooler=False), **options)
    arrays = mapping.from_transformers(tensors, 'here')
    loading.load_parameters(network, arrays, 'here', mx.cpu())
    return network


def inputs(size=3, length=LENGTH, seed=0):
    random = np.random.RandomState(seed)
    return (random.randint(len(tiny.TOKENS), size=(size, length)).astype('int32'),
            random.randint(2, size=(size, length)).astype('int32'),
            random.randint(1, length + 1, size=size).astype('float32'))


def to_mxnet(arrays):
    return [mx.nd.array(array, dtype=array.dtype) for array in arrays]


@pytest.mark.parametrize('make,options', [
    (BertForQA, {}), (StaticBertForQA, {'seq_length': LENGTH})])
def test_scores_equal_numpy(tensors, make, options):
    arrays = inputs()
    states = numpy_bert.sequence(tensors, tiny.CONFIG, *arrays)
    expected = numpy_bert.dense(states, tensors, 'qa_outputs')
    network = network_of(tensors, make, **options)
    network.hybridize(static_alloc=bool(options), static_shape=bool(options))
    actual = network(*to_mxnet(arrays)).asnumpy()
    assert actual.shape == (3, LENGTH, 2)
    for row, length in enumerate(arrays[2].astype(int)):
        np.testing.assert_allclose(actual[row, :length], expected[row, :length], atol=1e-5)


def test_loss_equals_numpy():
    random = np.random.RandomState(3)
    scores = random.normal(size=(4, 7, 2)).astype('float32')
    start, end = np.array([0, 2, 6, 3]), np.array([0, 4, 6, 3])
    rows = np.arange(4)
    expected = -(np.log(numpy_bert.softmax(scores[:, :, 0].astype('float64')))[rows, start]
                 + np.log(numpy_bert.softmax(scores[:, :, 1].astype('float64')))[rows, end]) / 2
    for hybrid in (False, True):
        loss = BertForQALoss()
        loss.hybridize(hybrid)
        actual = loss(mx.nd.array(scores), [mx.nd.array(start), mx.nd.array(end)])
        np.testing.assert_allclose(actual.asnumpy(), expected, rtol=1e-5)


@pytest.mark.parametrize('hybrid', [False, True])
def test_loss_is_over_the_tokens_of_each_window(hybrid):
    random = np.random.RandomState(3)
    scores = random.normal(size=(3, 7, 2)).astype('float32')
    positions, lengths = np.array([[0, 1], [2, 2], [3, 6]]), np.array([2, 4, 7])
    loss, logits = BertForQALoss(), mx.nd.array(scores)
    loss.hybridize(hybrid)
    logits.attach_grad()
    with mx.autograd.record():
        actual = loss(logits, [mx.nd.array(positions[:, 0]), mx.nd.array(positions[:, 1])],
                      mx.nd.array(lengths))
    actual.backward()
    for row, length in enumerate(lengths):
        probabilities = numpy_bert.softmax(scores[row, :length].T.astype('float64')).T
        start, end = positions[row]
        expected = -(np.log(probabilities[start, 0]) + np.log(probabilities[end, 1])) / 2
        np.testing.assert_allclose(actual[row].asscalar(), expected, rtol=1e-5)
        probabilities[start, 0] -= 1
        probabilities[end, 1] -= 1
        gradient = logits.grad[row].asnumpy()
        np.testing.assert_allclose(gradient[:length], probabilities / 2, atol=1e-6)
        assert not gradient[length:].any()


def test_static_equals_dynamic_on_the_same_window(tensors):
    """A window has the same scores with and without padding to the static length."""
    dynamic, static = network_of(tensors), network_of(tensors, StaticBertForQA, seq_length=30)
    static.hybridize(static_alloc=True, static_shape=True)
    token_ids, segment_ids, valid_length = inputs()
    expected = dynamic(*to_mxnet((token_ids, segment_ids, valid_length))).asnumpy()
    padded_inputs = np.pad(token_ids, ((0, 0), (0, 18))), np.pad(segment_ids, ((0, 0), (0, 18)))
    actual = static(*to_mxnet(padded_inputs + (valid_length,))).asnumpy()
    for row, length in enumerate(valid_length.astype(int)):
        np.testing.assert_allclose(actual[row, :length], expected[row, :length], atol=1e-5)


def test_static_and_dynamic_have_the_same_parameters(tensors):
    names = [set(network_of(tensors, make)._collect_params_with_prefix())
             for make in (BertForQA, StaticBertForQA)]
    assert names[0] == names[1]
    assert {'span_classifier.weight', 'bert.word_embed.0.weight'} < names[0]


def test_sizes_from_the_environment(tensors, monkeypatch):
    """The tutorial sets the sizes in the environment."""
    monkeypatch.setenv('SEQLENGTH', '16')
    monkeypatch.setenv('INPUTSIZE', '8')
    bert = BERTModel(tiny.CONFIG, use_pooler=False)
    net = StaticBertForQA(bert=bert)
    net.hybridize(static_alloc=True, static_shape=True)
    assert (net.seq_length, net.input_size) == (16, 8)


def test_sizes_default_to_those_of_the_model():
    net = StaticBertForQA(bert=BERTModel(tiny.CONFIG, use_pooler=False))
    assert (net.seq_length, net.input_size) == (tiny.CONFIG.max_length, tiny.CONFIG.units)


def test_arguments_override_the_environment(monkeypatch):
    monkeypatch.setenv('SEQLENGTH', '16')
    monkeypatch.setenv('INPUTSIZE', '768')
    assert resolve_length(20, 512) == 20
    assert resolve_width(1024, 1024) == 1024
    assert length_from_environment() == 16


@pytest.mark.parametrize('name,text,message', [
    ('SEQLENGTH', '600', 'the environment variable SEQLENGTH 600: this model reads 1 to 512 '
                         'tokens: choose another --seq_length'),
    ('SEQLENGTH', '0', 'SEQLENGTH=0 in the environment: expected a whole number from 1 on'),
    ('SEQLENGTH', 'long',
     'SEQLENGTH=long in the environment: expected a whole number from 1 on'),
    ('INPUTSIZE', '768', 'the environment variable INPUTSIZE 768: the width of this model is '
                         '1024: leave the setting out')])
def test_variables_that_contradict_the_model(monkeypatch, name, text, message):
    monkeypatch.setenv(name, text)
    with pytest.raises(UserError) as error:
        resolve_length(None, 512)
        resolve_width(None, 1024)
    assert str(error.value) == message


def test_arguments_that_contradict_the_model():
    with pytest.raises(UserError, match='^--seq_length 41: this model reads 1 to 40 tokens: '):
        StaticBertForQA(BERTModel(tiny.CONFIG), seq_length=41)
    with pytest.raises(UserError, match='^--input_size 768: the width of this model is 8: leave '
                                        'the setting out$'):
        StaticBertForQA(BERTModel(tiny.CONFIG), input_size=768)


def test_another_length_is_refused(tensors):
    net = network_of(tensors, StaticBertForQA, seq_length=LENGTH)
    with pytest.raises(UserError, match=r'token_ids of shape \(3, 6\): this network is built for '
                                        'windows of 12 tokens'):
        net(*to_mxnet(inputs(length=6)))


def test_pad_batch():
    batch = Batch(*inputs(2, 5), labels=None)
    full_batch = pad_batch(batch, 3, 7, padding_id=9)
    assert full_batch.token_ids.shape == full_batch.segment_ids.shape == (3, 7)
    assert (full_batch.token_ids[:2, :5] == batch.token_ids).all()
    assert (full_batch.token_ids[2:] == 9).all() and (full_batch.token_ids[:, 5:] == 9).all()
    assert full_batch.valid_length.tolist() == batch.valid_length.tolist() + [1.0]
    assert full_batch.token_ids.dtype == np.int32 and full_batch.valid_length.dtype == np.float32


def test_a_static_pipeline_pads_batches_and_has_the_dynamic_gradient(tensors):
    """The padding of a batch changes neither outputs nor gradients."""
    class Tokenizer:
        vocab = type('Vocab', (dict,), {'padding_token': '[PAD]'})({'[PAD]': 0})
    dynamic, static = network_of(tensors), network_of(tensors, StaticBertForQA, seq_length=20)
    pipeline = StaticQuestionAnswerer(static, Tokenizer, tiny.CONFIG, {}, 20, batch_sizes=(4, 6))
    shapes = []
    static.register_forward_pre_hook(lambda block, args: shapes.append(args[0].shape))
    batch = Batch(*inputs(), labels=None)
    with mx.autograd.record():
        static_outputs = pipeline.outputs(batch)
        dynamic_outputs = dynamic(*to_mxnet(batch[:3]))
        total = (static_outputs ** 2).sum() + (dynamic_outputs ** 2).sum()
    total.backward()
    np.testing.assert_allclose(static_outputs.asnumpy(), dynamic_outputs.asnumpy(), atol=1e-5)
    pipeline.outputs(batch)
    assert shapes == [(4, 20), (6, 20)]
    for name, parameter in static._collect_params_with_prefix().items():
        np.testing.assert_allclose(
            parameter.grad().asnumpy(),
            dynamic._collect_params_with_prefix()[name].grad().asnumpy(), atol=1e-4, rtol=1e-4)


SYMBOL_SCRIPT = '''
import sys
import numpy as np
import mxnet as mx
folder, = sys.argv[1:]
symbol = mx.gluon.SymbolBlock.imports(folder + '/static_net-symbol.json',
                                      ['data0', 'data1', 'data2'],
                                      folder + '/static_net-0003.params')
with np.load(folder + '/inputs.npz') as archive:
    arrays = [mx.nd.array(archive[name], dtype=archive[name].dtype)
              for name in sorted(archive.files)]
np.save(folder + '/found.npy', symbol(*arrays).asnumpy())
'''


def test_the_exported_symbol_in_a_new_process(tensors, tmp_path):
    net = network_of(tensors, StaticBertForQA, seq_length=LENGTH)
    net.hybridize(static_alloc=True, static_shape=True)
    paths = export_network(net, str(tmp_path), 'static_net', 3)
    assert paths == [str(tmp_path / 'static_net-symbol.json'),
                     str(tmp_path / 'static_net-0003.params')]
    arrays = inputs(5)      # any batch size works
    np.savez(str(tmp_path / 'inputs.npz'), **dict(zip('abc', arrays)))
    subprocess.run([sys.executable, '-c', SYMBOL_SCRIPT, str(tmp_path)], check=True)
    np.testing.assert_allclose(np.load(str(tmp_path / 'found.npy')),
                               net(*to_mxnet(arrays)).asnumpy(), atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'found.npy', 'inputs.npz', 'static_net-0003.params', 'static_net-symbol.json']


def test_a_symbol_refuses_another_length(tensors, tmp_path):
    net = network_of(tensors, StaticBertForQA, seq_length=LENGTH)
    net.hybridize(static_alloc=True, static_shape=True)
    export_network(net, str(tmp_path), 'net')
    symbol = import_network(str(tmp_path), 'net', mx.cpu())
    with pytest.raises(mx.MXNetError):
        symbol(*to_mxnet(inputs(length=LENGTH + 1))).asnumpy()


def test_unreadable_symbols(tmp_path):
    with pytest.raises(UserError, match='net-symbol.json: no such file: an exported network'):
        import_network(str(tmp_path), 'net', mx.cpu())
    (tmp_path / 'net-symbol.json').write_text(json.dumps({'nodes': 3}))
    (tmp_path / 'net-0000.params').write_text('')
    with pytest.raises(UserError, match='net-symbol.json: not an exported network: '):
        import_network(str(tmp_path), 'net', mx.cpu())


def test_the_large_model_is_1024_wide_without_input_size():
    """The original's printed commands left --input_size at 768 for the large model."""
    config = catalogue.config_of(*catalogue.resolve_names('bert_24_1024_16'))
    assert resolve_width(None, config.units) == 1024
    assert resolve_length(None, config.max_length) == 512
