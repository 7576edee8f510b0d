"""Models by their names on the hub, through the jobs and the functions that take one."""
import json
import logging
import os
import pathlib

import numpy as np
import pytest
from huggingface_hub import constants
from reference.hub_server import HubServer, Repository
from support import tiny
from support.hub_settings import use_hub

import bert
from bert.errors import UserError
from bert.jobs import (
    convert_checkpoint,
    deploy,
    embed,
    export_onnx,
    finetune_classifier,
    predict_answers,
    predict_labels,
    pretrain,
    quantize,
    run_glue,
)
from bert.model import zoo
from bert.model.weights import catalogue, model_names, released_weights
from bert.model.weights.checkpoint_reader import read_checkpoint
from bert.pipelines.embedder import Embedder
from bert.pipelines.embedding import BertEmbedding

MINILM = 'sentence-transformers/all-MiniLM-L6-v2'


def read_folder(path):
    """{name: bytes} of the files in a folder."""
    root = pathlib.Path(path)
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob('*')
            if file.is_file()}


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp('models')
    return {'zoo/encoder': tiny.write_checkpoint(root / 'encoder'),
            'zoo/classifier': tiny.write_classifier(root / 'classifier'),
            'zoo/answers': tiny.write_question_answerer(root / 'qa')}


@pytest.fixture
def hub(folders, in_tmp, monkeypatch):
    repositories = {name: Repository(read_folder(path)) for name, path in folders.items()}
    with HubServer(repositories) as server:
        use_hub(server, in_tmp / 'hf', monkeypatch)
        yield server


def pinned(hub, name):
    return '%s@%s' % (name, hub.repositories[name].refs['main'])


def test_labels_and_answers(hub, folders, capsys):
    for job, name, arguments in (
            (predict_labels, 'zoo/classifier', {'texts': ('the film was good',)}),
            (predict_answers, 'zoo/answers', {'question': 'the film was',
                                              'documents': ('so the film was good',)})):
        job(model_dir=folders[name], **arguments)
        expected = capsys.readouterr().out
        job(model_dir=name, **arguments)
        assert capsys.readouterr().out == expected
        requests = len(hub.requests)
        job(model_dir=pinned(hub, name), **arguments)
        assert len(hub.requests) == requests
        assert capsys.readouterr().out == expected


def test_python(hub, folders):
    texts = ['the film was good', 'so it was']
    for name in ('zoo/encoder', 'zoo/encoder@main'):
        model = bert.open(name)
        assert type(model) is Embedder
        np.testing.assert_array_equal(model(texts), bert.open(folders['zoo/encoder'])(texts))
    np.testing.assert_array_equal(
        BertEmbedding(bert_checkpoint='zoo/encoder', max_seq_length=None).sentence(texts),
        model(texts))
    network, vocabulary = zoo.get_model('zoo/encoder', use_decoder=False, use_classifier=False)
    assert network.config.units == 8 and vocabulary.idx_to_token == list(tiny.TOKENS)
    uninitialised, _ = zoo.get_model(pathlib.Path('zoo/encoder'), pretrained=False)
    assert uninitialised.config == network.config
    with pytest.raises(UserError, match='zoo/encoder: this model has its own vocabulary: leave out '
                                        'the corpus wiki_cn'):
        zoo.get_model('zoo/encoder', 'wiki_cn')


def test_a_run_records_the_commit_and_resumes_with_it(hub, in_tmp, caplog):
    options = dict(bert_checkpoint='zoo/encoder', task_name='SST', max_len=12, epochs=1,
                   data_dir=tiny.write_sst(in_tmp / 'SST', train=20), output_dir='run')
    result = finetune_classifier(**options)
    name = pinned(hub, 'zoo/encoder')
    report = json.loads(pathlib.Path('run/results.json').read_text())
    assert report['options']['bert_checkpoint'] == name == result.report['options'][
        'bert_checkpoint']
    files_then = dict(hub.repositories['zoo/encoder'].commits[name[-40:]])
    hub.repositories['zoo/encoder'].commit(dict(files_then, **{'config.json': b'{}'}))
    requests = len(hub.requests)
    finetune_classifier(**dict(options, resume=True))
    assert len(hub.requests) == requests
    assert json.loads(pathlib.Path('run/results.json').read_text())['options'][
        'bert_checkpoint'] == name


def test_outputs_do_not_go_into_the_cache(hub, in_tmp):
    result = export_onnx(model_dir='zoo/classifier')
    assert result.folder == os.path.join('output_dir', 'onnx-001')
    assert result.report['options']['model_dir'] == pinned(hub, 'zoo/classifier')
    with pytest.raises(UserError, match='--model_dir zoo/classifier@[0-9a-f]{40}: this is not a '
                                        'local folder, and the results need one: give'):
        quantize(model_dir='zoo/classifier', train_file='x.tsv', dev_file='y.tsv')
    convert_checkpoint(input='zoo/classifier', output='gluon')
    assert json.loads(pathlib.Path('gluon/conversion.json').read_text())['options'][
        'input'] == pinned(hub, 'zoo/classifier')


def test_deployment_exports_into_the_cache(hub, folders, in_tmp, capfd, caplog):
    texts = ('the film was good', 'so it was')
    predict_labels(model_dir=folders['zoo/classifier'], texts=texts)
    expected = [line.split('\t')[0] for line in capfd.readouterr().out.splitlines()]
    for engine, form in ((None, 'symbol'), ('onnxruntime', 'onnx')):
        folder = in_tmp / 'mxnet' / 'exports-2' / pinned(hub, 'zoo/classifier').replace(
            '/', '--') / form
        for is_exported in (False, True):
            assert folder.exists() is is_exported
            deploy(model_dir='zoo/classifier', texts=texts, engine=engine)
            assert [line.split('\t')[0]
                    for line in capfd.readouterr().out.splitlines()] == expected
            assert ('the model is exported first, into %s'
                    % folder in caplog.text) is not is_exported
            caplog.clear()
    with pytest.raises(UserError, match='holds no model for a task'):
        deploy(model_dir='zoo/encoder', texts=texts)


def test_a_file_of_vectors(hub, in_tmp, capsys):
    (in_tmp / 'texts.txt').write_text('the film\nit was good\n')
    embed(bert_checkpoint='zoo/encoder', granularity='sentence', file='texts.txt',
          output='out.npy')
    report = json.loads(pathlib.Path('out.npy.json').read_text())
    assert report['options']['bert_checkpoint'] == pinned(hub, 'zoo/encoder')
    requests = len(hub.requests)
    embed(query=('the film',), index='out.npy')
    assert len(hub.requests) == requests
    assert capsys.readouterr().out.splitlines()[1].endswith('1\tthe film')


def test_the_example_of_lpot(hub, in_tmp):
    result = run_glue(model_name_or_path='zoo/encoder', task_name='SST-2', do_train=True,
                      data_dir=tiny.write_sst(in_tmp / 'SST', train=20), max_seq_length=12,
                      num_train_epochs=1, output_dir='out')
    assert result.report['options']['bert_checkpoint'] == pinned(hub, 'zoo/encoder')


def test_a_folder_of_that_name_wins(hub, folders, in_tmp, capfd):
    os.makedirs('zoo')
    os.symlink(folders['zoo/classifier'], 'zoo/classifier')
    predict_labels(model_dir='zoo/classifier', texts=('good',))
    assert hub.requests == []
    assert 'zoo/classifier: using the local file or folder, not the model of this name on the ' \
        'hub' in capfd.readouterr().err
    convert_checkpoint(input='zoo/classifier', output='zoo/gluon')
    capfd.readouterr()
    predict_labels(model_dir='zoo/gluon', texts=('good',))      # a folder of ours is none
    assert capfd.readouterr().err == ''
    with pytest.raises(UserError, match='zoo/encoder: no such file or folder in the local folder '
                                        'zoo; for the model of this name on the hub, write '
                                        'zoo/encoder@main'):
        bert.open('zoo/encoder')
    assert type(bert.open('zoo/encoder@main')) is Embedder


@pytest.mark.parametrize('name, message', [
    ('zoo/nothing', 'zoo/nothing: no such file or folder here, and .* has no public model of '
                    'that name'),
    ('https://host/zoo/encoder', 'zoo/encoder: no such file or folder; for a model on the hub, '
                                 'give owner/name, without an address$'),
    ('zoo/nothing/more', 'zoo/nothing/more: no such file or folder$'),
    ('bert_6_384_12', '^bert_6_384_12: no such file or folder; the released model of this name '
                      'is for --bert_model and --model: give its name on the hub here, '
                      'sentence-transformers/all-MiniLM-L6-v2$'),
    ('ernie_12_768_12', 'here, nghuyong/ernie-1.0-base-zh$')])
def test_names_of_nothing(hub, name, message):
    with pytest.raises(UserError, match=message):
        predict_labels(model_dir=name, texts=('a',))


@pytest.mark.parametrize('use', [
    lambda: Embedder(model='zoo/encoder'), lambda: BertEmbedding(model='zoo/encoder'),
    lambda: finetune_classifier(bert_model='zoo/encoder', task_name='SST', output_dir='run',
                                data_dir='SST'),
    lambda: pretrain(model='zoo/encoder', synthetic_data=True, ckpt_dir='run')])
def test_it_is_no_released_model(hub, in_tmp, use):
    """A run would not record the commit, and an embedder not read how texts become vectors."""
    tiny.write_sst(in_tmp / 'SST', train=20)
    with pytest.raises(UserError, match='unknown model "zoo/encoder".* Models: bert_12_768_12, .*; '
                                        'for a path or a name on the hub, use --bert_checkpoint'):
        use()
    assert hub.requests == []


@pytest.mark.parametrize('name', [None, 5, ['zoo/encoder']])
def test_what_is_no_text(hub, name):
    for function in (zoo.get_model, zoo.load_checkpoint):
        with pytest.raises(UserError) as excinfo:
            function(name)
        assert str(excinfo.value) == 'model %r: expected a path or a name on the hub' % (name,)


# The released models


def test_a_released_model_has_other_sources(hub, in_tmp, monkeypatch, caplog):
    """Its name on the hub is enough where the hub is out of reach."""
    caplog.set_level(logging.INFO)
    release = released_weights.Release(*catalogue.find_hub_release(MINILM))
    monkeypatch.setattr(constants, 'ENDPOINT', 'http://127.0.0.1:9')
    calls = []
    arrays = read_checkpoint(tiny.write_checkpoint(in_tmp / 'released')).arrays
    monkeypatch.setattr(released_weights, 'fetch_arrays',
                        lambda found: calls.append(found.name) or arrays)
    monkeypatch.setattr(released_weights, 'fetch_tokens', lambda found: list(tiny.TOKENS))
    monkeypatch.setattr(catalogue, 'config_of', lambda model, corpus: tiny.CONFIG)
    monkeypatch.setitem(catalogue.SENTENCE_FILES[MINILM]['1_Pooling/config.json'],
                        'word_embedding_dimension', tiny.CONFIG.units)
    monkeypatch.setitem(catalogue.SENTENCE_FILES[MINILM]['sentence_bert_config.json'],
                        'max_seq_length', 20)
    model = bert.open(MINILM)
    assert calls == [release.name]
    assert caplog.messages[0].startswith('%s: no such file or folder here' % MINILM)
    assert model.sentence_model.describe() == 'pooling mean, normalised, 20 tokens'
    assert model_names.pin_name(MINILM) == MINILM
    assert model_names.pin_name(MINILM.partition('/')[2]) == MINILM
    bert.open(MINILM)
    assert calls == [release.name]      # from the folder that the first call made
    with pytest.raises(UserError, match='can\'t be reached'):
        bert.open(MINILM + '@main')     # a revision is the hub's
