"""checkpoint_reader.py and loading.py: checkpoints of every kind, and weights that don't fit."""
import json
import logging
import os

import mxnet as mx
import numpy as np
import pytest
from reference import numpy_bert
from reference.tiny_release import CORPUS, MODEL, SIZES, TOKENS, tokens_text
from safetensors.numpy import save_file

from bert.errors import UserError
from bert.model import zoo
from bert.model.bert import BertConfig, BERTModel
from bert.model.classification import BERTClassifier
from bert.model.weights import catalogue, checkpoint_reader, loading, mapping
from bert.vocabulary import make_vocabulary

TOKEN_IDS = np.array([[101, 104, 105, 102, 0], [101, 108, 103, 109, 102]])
SEGMENT_IDS = np.array([[0, 0, 0, 0, 0], [0, 0, 1, 1, 1]])
VALID_LENGTH = np.array([4, 5])
CONFIG = BertConfig(vocab_size=len(TOKENS), **SIZES)
HF_CONFIG = dict(model_type='bert', num_hidden_layers=2, hidden_size=8, intermediate_size=16,
                 num_attention_heads=2, vocab_size=len(TOKENS))
VOCABULARY = make_vocabulary(TOKENS)


@pytest.fixture
def tensors():
    return numpy_bert.random_tensors(CONFIG)


@pytest.fixture
def arrays(tensors):
    return mapping.from_transformers(tensors, 'test')


@pytest.fixture
def folder(tmp_path, tensors):
    """A folder in Hugging Face layout."""
    return write_folder(tmp_path / 'hf', tensors, **{'tokenizer_config.json':
                                                     '{"do_lower_case": true}'})


def write_folder(folder, tensors, **texts):
    folder.mkdir()
    save_file(tensors, str(folder / 'model.safetensors'))
    for name, text in dict({'config.json': json.dumps(HF_CONFIG), 'vocab.txt': tokens_text()},
                           **texts).items():
        if text is not None:
            (folder / name).write_text(text, encoding='utf-8')
    return folder


@pytest.mark.parametrize('rename', [
    lambda name: 'module.' + name, lambda name: '_orig_mod.' + name,
    lambda name: 'module._orig_mod.' + name, lambda name: '_orig_mod.module.' + name,
    lambda name: name.replace('bert.', 'bert._orig_mod.', 1)])
def test_prefixes_of_parallel_and_compiled_models(rename, tensors, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    plain = write_folder(tmp_path / 'plain', tensors)
    changed = write_folder(tmp_path / 'changed', {rename(name): tensor
                                                  for name, tensor in tensors.items()})
    expected, arrays = (checkpoint_reader.read_checkpoint(str(folder)).arrays
                        for folder in (plain, changed))
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name])
    number = sum(rename(name) != name for name in tensors)
    assert '%s: removed the prefixes "module." and "_orig_mod." of %d tensors' % (
        changed / 'model.safetensors', number) in caplog.messages


def test_a_tensor_with_and_without_a_prefix(tensors, tmp_path):
    name = 'bert.pooler.dense.bias'
    folder = write_folder(tmp_path / 'x', dict(tensors, **{'module.' + name: tensors[name]}))
    with pytest.raises(UserError, match='a tensor occurs twice, with and without the prefix'):
        checkpoint_reader.read_checkpoint(str(folder))


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(value, tensors, tmp_path):
    name = 'bert.encoder.layer.1.output.dense.bias'
    tensors[name] = tensors[name].copy()
    tensors[name][3] = value
    path = write_folder(tmp_path / 'hf', tensors) / 'model.safetensors'
    with pytest.raises(UserError) as error:
        checkpoint_reader.read_checkpoint(str(path))
    assert str(error.value) == (
        '%s: %s holds numbers that are not finite (nan or inf): the training diverged, or the file '
        'is damaged; take an earlier checkpoint' % (path, name))
    params = save_params(tmp_path / 'x.params', {'a': np.ones(3), 'b': [1, value]})
    with pytest.raises(UserError, match='x.params: b holds numbers that are not finite'):
        checkpoint_reader.read_arrays(params)


def test_large_weights_are_finite(tmp_path):
    """Their squares are not."""
    path = save_params(tmp_path / 'x.params', {'a': [3e38, -3e38]})
    np.testing.assert_array_equal(checkpoint_reader.read_arrays(path)['a'],
                                  np.array([3e38, -3e38], 'float32'))


def save_params(path, arrays):
    mx.nd.save(str(path), {name: mx.nd.array(array) for name, array in arrays.items()})
    return str(path)


def check_values(network, tensors):
    states, pooled = network(mx.nd.array(TOKEN_IDS), mx.nd.array(SEGMENT_IDS),
                             mx.nd.array(VALID_LENGTH))
    expected = numpy_bert.sequence(tensors, CONFIG, TOKEN_IDS, SEGMENT_IDS, VALID_LENGTH)
    np.testing.assert_allclose(states.asnumpy(), expected, atol=1e-5)
    np.testing.assert_allclose(pooled.asnumpy(), numpy_bert.pooled(tensors, expected), atol=1e-5)


# --bert_checkpoint


def test_a_hugging_face_folder(folder, tensors, caplog):
    with caplog.at_level(logging.INFO):
        network, vocabulary = zoo.load_checkpoint(str(folder))
    check_values(network, tensors)
    assert vocabulary.idx_to_token == TOKENS
    assert network.config == CONFIG
    assert not caplog.records


def test_all_parts_of_a_folder(folder, tensors):
    network, _ = zoo.load_checkpoint(str(folder), use_decoder=True, use_classifier=True)
    np.testing.assert_array_equal(network.decoder[3].bias.data().asnumpy(),
                                  tensors['cls.predictions.bias'])
    np.testing.assert_array_equal(network.classifier.weight.data().asnumpy(),
                                  tensors['cls.seq_relationship.weight'])


def test_a_safetensors_file_uses_the_files_beside_it(folder, tensors):
    check_values(zoo.load_checkpoint(str(folder / 'model.safetensors'))[0], tensors)


def test_the_encoder_of_a_fine_tuned_folder(tmp_path, tensors, caplog):
    tensors['classifier.weight'], tensors['classifier.bias'] = np.zeros((3, 8)), np.zeros(3)
    with caplog.at_level(logging.INFO):
        network, _ = zoo.load_checkpoint(str(write_folder(tmp_path / 'hf', tensors)))
    check_values(network, tensors)
    assert 'not used here: classifier.1.bias, classifier.1.weight' in caplog.text


def test_a_folder_without_pooler(tmp_path, tensors, caplog):
    remaining_tensors = {name: array for name, array in tensors.items() if 'pooler' not in name}
    network, _ = zoo.load_checkpoint(str(write_folder(tmp_path / 'hf', remaining_tensors)))
    assert 'no weights for the pooler: initialised at random' in caplog.text
    assert 0.005 < network.pooler.weight.data().asnumpy().std() < 0.04


@pytest.mark.parametrize('texts, cased', [
    ({'tokenizer_config.json': '{"do_lower_case": false}'}, True),
    ({'tokenizer_config.json': '{"do_lower_case": true}'}, False),
    ({'vocab.txt': tokens_text(TOKENS[:-1] + ['Cat'])}, False),
    ({}, False)])
def test_whether_case_is_kept(tmp_path, tensors, caplog, texts, cased):
    with caplog.at_level(logging.INFO):
        network, _ = zoo.load_checkpoint(str(write_folder(tmp_path / 'hf', tensors, **texts)))
    assert network.config.cased is cased
    assert ('text is lower-cased, as transformers does' in caplog.text) == (
        not any('token' in name for name in texts))


def test_the_vocabulary_in_tokenizer_json(tmp_path, tensors):
    vocab = {token: i for i, token in reversed(list(enumerate(TOKENS)))}
    tokenizer = {'model': {'type': 'WordPiece', 'vocab': vocab}, 'normalizer': None}
    path = write_folder(tmp_path / 'hf', tensors,
                        **{'vocab.txt': None, 'tokenizer.json': json.dumps(tokenizer)})
    assert zoo.load_checkpoint(str(path))[1].idx_to_token == TOKENS
    tokenizer['model']['type'] = 'BPE'
    (path / 'tokenizer.json').write_text(json.dumps(tokenizer))
    with pytest.raises(UserError, match='tokenizer.json: the library tokenizers can\'t read it'):
        zoo.load_checkpoint(str(path))


def write_own_folder(folder, arrays, config=CONFIG):
    folder.mkdir(parents=True)
    save_params(folder / 'model.params', arrays)
    (folder / 'config.json').write_text(config.to_json())
    (folder / 'vocab.txt').write_text(tokens_text(), encoding='utf-8')
    return folder


def test_an_own_folder_and_a_file_in_it(tmp_path, tensors, arrays):
    classifier_arrays = {'bert.' + name: array for name, array in arrays.items()}
    classifier_arrays['classifier.1.weight'] = np.zeros((2, 8))
    folder = write_own_folder(tmp_path / 'step-0000001', classifier_arrays)
    for path in (folder, folder / 'model.params'):
        network, vocabulary = zoo.load_checkpoint(str(path))
        check_values(network, tensors)
        assert vocabulary.idx_to_token == TOKENS


@pytest.mark.parametrize('pointers, name', [
    ({'newest': 'b', 'best': 'a'}, 'a'), ({'newest': 'b'}, 'b')])
def test_a_run_folder(tmp_path, arrays, pointers, name):
    for index, folder in enumerate('ab'):
        changed_arrays = dict(arrays, **{'pooler.bias': np.full(8, index, np.float32)})
        write_own_folder(tmp_path / 'run' / folder, changed_arrays)
    (tmp_path / 'run' / 'checkpoints.json').write_text(json.dumps(pointers))
    network, _ = zoo.load_checkpoint(str(tmp_path / 'run'))
    assert network.pooler.bias.data().asnumpy()[0] == 'ab'.index(name)


def test_a_bare_params_file_has_the_ids_of_gluonnlp(tmp_path, release):
    """It needs the names of the model and the corpus, and uses their vocabulary."""
    root = tmp_path / 'models'
    root.mkdir()
    (root / (release.vocab_name + '.vocab')).write_bytes(release.vocab)
    (tmp_path / 'bare').mkdir()
    path = tmp_path / 'bare' / 'net.params'
    path.write_bytes(release.params)
    network, vocabulary = zoo.load_checkpoint(str(path), MODEL, CORPUS, root=str(root))
    check_values(network, release.tensors)
    assert vocabulary.idx_to_token == TOKENS


@pytest.mark.parametrize('cased', [False, True])
def test_a_fetched_vocabulary_says_whether_case_is_kept(tmp_path, release, monkeypatch, cased):
    corpus = catalogue.CORPORA[CORPUS]._replace(cased=cased)
    monkeypatch.setitem(catalogue.CORPORA, CORPUS, corpus)
    root = tmp_path / 'models'
    root.mkdir()
    (root / (release.vocab_name + '.vocab')).write_bytes(release.vocab)
    path = write_folder(tmp_path / 'hf', release.tensors,
                        **{'vocab.txt': None, 'tokenizer_config.json': None})
    network, _ = zoo.load_checkpoint(str(path), MODEL, CORPUS, root=str(root))
    assert network.config.cased == cased


def test_a_bare_safetensors_file(tmp_path, release):
    root = tmp_path / 'models'
    root.mkdir()
    (root / (release.vocab_name + '.vocab')).write_bytes(release.vocab)
    (tmp_path / 'bare').mkdir()
    save_file(release.tensors, str(tmp_path / 'bare' / 'x.safetensors'))
    network, _ = zoo.load_checkpoint(str(tmp_path / 'bare' / 'x.safetensors'), MODEL,
                                     root=str(root))
    check_values(network, release.tensors)


def remove_weights(folder):
    os.remove(folder / 'model.safetensors')


def truncate_weights(folder):
    path = folder / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:-100])


def change_config(**values):
    return lambda folder: (folder / 'config.json').write_text(
        json.dumps(dict(HF_CONFIG, **values)))


def point_to_lfs(name):
    """As in a clone without git-lfs."""
    return lambda folder: (folder / name).write_text(
        'version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 90868376\n' % ('a' * 64))


def leave_t5(folder):
    """Its tokenizer has other files."""
    change_config(model_type='t5')(folder)
    os.remove(folder / 'vocab.txt')
    (folder / 'spiece.model').write_bytes(b'')


def leave_onnx(folder):
    remove_weights(folder)
    (folder / 'onnx').mkdir()
    (folder / 'onnx' / 'model.onnx').write_bytes(b'')


def leave_an_adapter(folder):
    remove_weights(folder)
    (folder / 'adapter_config.json').write_text('{}')


IS_POINTER = ': a git-lfs pointer, not the file itself: run "git lfs pull" in its folder'
BROKEN_FOLDERS = [
    (point_to_lfs('model.safetensors'), 'model.safetensors' + IS_POINTER),
    (point_to_lfs('model.params'), 'model.params' + IS_POINTER),
    (point_to_lfs('vocab.txt'), 'vocab.txt' + IS_POINTER),
    (point_to_lfs('tokenizer.json'), 'tokenizer.json' + IS_POINTER),
    (leave_onnx, 'in this folder: ONNX files can\'t be trained or converted: .*; it holds: '),
    (leave_an_adapter,
     r'in this folder: it is an adapter \(LoRA\), not a model: merge it .* it holds: '),
    (remove_weights, 'hf: no model.params .* and no model.safetensors .* it holds: config.json, '),
    (truncate_weights, 'model.safetensors: not a safetensors file, or damaged: .*; fetch it again'),
    (lambda folder: os.remove(folder / 'config.json'),
     'model.safetensors: no config.json beside it: .*--bert_model'),
    (lambda folder: os.remove(folder / 'vocab.txt'),
     'model.safetensors: no vocab.txt beside it: .*--bert_dataset'),
    (lambda folder: (folder / 'config.json').write_text('{"a": '), 'config.json: not JSON'),
    (leave_t5, 'config.json: the model_type is "t5": this zoo runs BERT and its relatives'),
    (change_config(model_type='albert'), 'config.json: the model_type is "albert"'),
    (change_config(vocab_size=300), 'the vocabulary has 110 tokens and the model 300'),
    (change_config(vocab_size=109), 'the vocabulary has 110 tokens and the model 109'),
    (change_config(hidden_size=16),
     r'wrong shape: encoder.layer_norm.beta: \(8,\) in the file, \(16,\) .* and \d+ more'),
    (change_config(num_hidden_layers=1),
     'unknown tensors: encoder.transformer_cells.1.*and 11 more'),
    (change_config(num_hidden_layers=3),
     'missing tensors: encoder.transformer_cells.2.*and 11 more'),
    (lambda folder: (folder / 'vocab.txt').write_text('a\nb\n'), 'vocab.txt: no .UNK., .PAD.'),
]


@pytest.mark.parametrize('damage, message', BROKEN_FOLDERS)
def test_broken_folders(folder, damage, message):
    damage(folder)
    with pytest.raises(UserError, match=message) as error:
        zoo.load_checkpoint(str(folder))
    assert '\n' not in str(error.value)


def test_paths_without_a_checkpoint(tmp_path):
    with pytest.raises(UserError, match='absent: no such file or folder'):
        zoo.load_checkpoint(str(tmp_path / 'absent'))
    with pytest.raises(UserError, match='it holds: nothing'):
        zoo.load_checkpoint(str(tmp_path))
    (tmp_path / 'checkpoints.json').write_text('{"newest": "step-1"}')
    with pytest.raises(UserError, match='checkpoints.json: names no checkpoint that exists'):
        zoo.load_checkpoint(str(tmp_path))


def test_a_padded_vocabulary_is_accepted_and_logged(tmp_path, tensors, caplog):
    name = 'bert.embeddings.word_embeddings.weight'
    tensors[name] = np.concatenate([tensors[name], np.zeros((18, 8), np.float32)])
    tensors['cls.predictions.bias'] = np.zeros(128, np.float32)
    path = write_folder(tmp_path / 'hf', tensors,
                        **{'config.json': json.dumps(dict(HF_CONFIG, vocab_size=128))})
    network, _ = zoo.load_checkpoint(str(path))
    check_values(network, tensors)
    assert 'the last 18 rows of the word embedding have no token' in caplog.text


# --pretrained_bert_parameters and --model_parameters


def make_bert():
    bert = BERTModel(CONFIG, dropout=0.0)
    bert.initialize()
    return bert


def make_classifier(dropout=0.1):
    return BERTClassifier(make_bert(), num_classes=3, dropout=dropout)


@pytest.mark.parametrize('prefix', ['', 'bert.'])
def test_encoder_parameters_with_and_without_prefix(tmp_path, tensors, arrays, prefix, caplog):
    saved_arrays = {prefix + name: array for name, array in arrays.items()}
    saved_arrays['classifier.1.weight'] = np.zeros((2, 8))
    (tmp_path / 'vocab.txt').write_text(tokens_text(), encoding='utf-8')
    path = save_params(tmp_path / 'net.params', saved_arrays)
    bert = make_bert()
    with caplog.at_level(logging.INFO):
        zoo.load_encoder(bert, path, VOCABULARY)
    check_values(bert, tensors)
    assert caplog.messages == ['%s: not used for the encoder: classifier.1.weight' % path]


def test_encoder_parameters_with_unknown_names(tmp_path, arrays, caplog):
    saved_arrays = dict(arrays, **{'crf.transitions': np.zeros(2)})
    with caplog.at_level(logging.INFO):
        loading.load_encoder_arrays(make_bert(), saved_arrays, 'net.params')
    assert 'not used for the encoder: crf.transitions' in caplog.text


@pytest.mark.parametrize('saved_dropout, dropout', [(0.1, 0.0), (0.0, 0.1), (0.1, 0.1)])
def test_a_whole_classifier(tmp_path, saved_dropout, dropout):
    """gluonnlp's names depend on the dropout before the dense layer."""
    saved_network = make_classifier(saved_dropout)
    saved_network.classifier.initialize()
    saved_network(mx.nd.array(TOKEN_IDS), mx.nd.array(SEGMENT_IDS), mx.nd.array(VALID_LENGTH))
    path = str(tmp_path / 'net.params')
    saved_network.save_parameters(path)
    (tmp_path / 'vocab.txt').write_text(tokens_text(), encoding='utf-8')
    network = make_classifier(dropout)      # its dense layer doesn't know its width yet
    zoo.load_model(network, path, VOCABULARY, mx.cpu())
    arguments = [mx.nd.array(TOKEN_IDS), mx.nd.array(SEGMENT_IDS), mx.nd.array(VALID_LENGTH)]
    np.testing.assert_array_equal(network(*arguments).asnumpy(),
                                  saved_network(*arguments).asnumpy())


@pytest.mark.parametrize('is_initialised', [False, True])
def test_a_classifier_before_and_after_initialisation(tmp_path, arrays, is_initialised):
    network = make_classifier()
    if is_initialised:
        network.classifier.initialize()     # its width is still unknown
    weight = np.random.RandomState(0).normal(size=(3, 8)).astype(np.float32)
    saved_arrays = {'bert.' + name: array for name, array in arrays.items()
                    if not name.startswith(('decoder', 'classifier'))}
    saved_arrays.update({'classifier.0.weight': weight, 'classifier.0.bias': np.zeros(3)})
    loading.load_parameters(network, saved_arrays, 'net.params', mx.cpu())
    np.testing.assert_array_equal(network.classifier[1].weight.data().asnumpy(), weight)


def test_bare_params_of_gluonnlp_for_an_encoder(tmp_path, release, caplog):
    (tmp_path / 'bare').mkdir()
    path = tmp_path / 'bare' / 'net.params'
    path.write_bytes(release.params)
    bert = make_bert()
    with caplog.at_level(logging.INFO):
        zoo.load_encoder(bert, str(path), VOCABULARY)
    check_values(bert, release.tensors)
    assert 'assuming the ids of gluonnlp\'s vocabulary' in caplog.text


def test_the_vocabulary_beside_the_file_applies(tmp_path, tensors, arrays):
    order = TOKENS[::-1]
    (tmp_path / 'vocab.txt').write_text(tokens_text(order), encoding='utf-8')
    path = save_params(tmp_path / 'net.params', mapping.reorder_ids(arrays, TOKENS, order))
    bert = make_bert()
    zoo.load_encoder(bert, path, VOCABULARY)
    check_values(bert, tensors)
    (tmp_path / 'vocab.txt').write_text(tokens_text(TOKENS[:-1] + ['!']), encoding='utf-8')
    with pytest.raises(UserError, match='net.params: the vocabulary beside this file .* differs'):
        zoo.load_encoder(bert, path, VOCABULARY)


def without(arrays, *names):
    return {name: array for name, array in arrays.items() if name not in names}


BAD_ARRAYS = [
    (lambda a: without(a, 'pooler.bias'), 'net.params: missing tensors: pooler.bias$'),
    (lambda a: without(a, 'word_embed.0.weight'), 'missing tensors: word_embed.0.weight'),
    (lambda a: dict(a, **{'word_embed.0.weight': np.zeros((110, 6))}),
     r'wrong shape: word_embed.0.weight: \(110, 6\) in the file, \(110, 8\) in the model: '
     'check --bert_model, or the config.json beside the file'),
    (lambda a: dict(a, **{'pooler.bias': np.zeros((8, 1))}), r'pooler.bias: \(8, 1\) in the file'),
    (lambda a: dict(a, extra=np.zeros(2)), 'net.params: unknown tensors: extra$'),
    (lambda a: dict(without(a, 'pooler.bias'), extra=np.zeros(2)),
     'missing tensors: pooler.bias; unknown tensors: extra$'),
    (lambda a: {}, r'missing tensors: encoder.* and \d+ more$'),
]


@pytest.mark.parametrize('change, message', BAD_ARRAYS)
def test_errors_name_the_arrays_that_do_not_fit(arrays, change, message):
    network = BERTModel(CONFIG)
    encoder_arrays = {name: array for name, array in arrays.items()
                      if not name.startswith(('decoder', 'classifier'))}
    loading.load_parameters(BERTModel(CONFIG), encoder_arrays, 'net.params')
    with pytest.raises(UserError, match=message) as error:
        loading.load_parameters(network, change(encoder_arrays), 'net.params')
    assert str(error.value).count(', ') < 25
    with pytest.raises(RuntimeError):       # nothing was set before the error
        network.pooler.weight.data()


def test_an_untied_decoder_is_refused(arrays):
    copy = {'decoder.3.weight': arrays['word_embed.0.weight'].copy()}
    network = BERTModel(CONFIG, use_decoder=True, use_classifier=True)
    loading.load_parameters(network, dict(arrays, **copy), 'x')
    copy['decoder.3.weight'][3, 3] += 1
    with pytest.raises(UserError, match='decoder.3.weight differs from word_embed.0.weight'):
        loading.load_parameters(network, dict(arrays, **copy), 'x')


def test_an_incomplete_part_is_an_error(arrays):
    with pytest.raises(UserError, match='missing tensors: decoder.2.gamma$'):
        loading.build_bert(CONFIG, without(arrays, 'decoder.2.gamma'), 'x', use_decoder=True)


def test_find_weights_needs_no_network(tmp_path, arrays):
    path = write_own_folder(tmp_path / 'x', arrays)
    assert checkpoint_reader.find_weights(str(path)) == str(path / 'model.params')


@pytest.mark.parametrize('dtype', ['float32', 'float64', 'int8'])
def test_the_callers_arrays_stay_its_own(dtype):
    """The network has a copy, which is made when the call ends."""
    block = mx.gluon.nn.Dense(3, in_units=2, use_bias=False)
    array = np.arange(6, dtype=dtype).reshape(2, 3).T       # not contiguous
    loading.load_parameters(block, {'weight': array}, 'test', mx.cpu())
    expected = array.copy()
    array[:] = 9
    np.testing.assert_array_equal(block.weight.data().asnumpy(), expected)
