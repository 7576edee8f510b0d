"""gluonnlp's names of BERT's relatives, whose files come from the hub, and its own files."""
import dataclasses
import json
import pathlib
import shutil

import gluonnlp
import mxnet as mx
import numpy as np
import pytest
from reference.hub_server import HubServer, Repository
from safetensors.numpy import load_file, save_file
from support import tiny, tiny_relatives
from support.hub_settings import use_hub

import bert
from bert import models
from bert.errors import UserError
from bert.jobs import embed, export_symbol, finetune_classifier, pretrain
from bert.model import zoo
from bert.model.classification import BERTClassifier
from bert.model.weights import catalogue, config_files, mapping
from bert.model.weights.checkpoint_reader import read_checkpoint
from bert.pipelines.embedder import Embedder

ROBERTA, DISTILBERT, ERNIE = 'roberta_12_768_12', 'distilbert_6_768_12', 'ernie_12_768_12'
# Sizes with which the vocabulary has rows without tokens, as ERNIE's has
CONFIGS = {
    DISTILBERT: dataclasses.replace(tiny.CONFIG, family='distilbert', token_type_vocab_size=0),
    ERNIE: dataclasses.replace(tiny.CONFIG, family='ernie', activation='relu', max_length=41,
                               layer_norm_eps=1e-5, vocab_size=len(tiny.TOKENS) + 6)}
TEXTS = ['the film was good', 'awful']


def write_relative(name, folder):
    """Write a checkpoint of a relative with a vocabulary of WordPiece. Returns its path."""
    config = CONFIGS[name]
    network = zoo.BERTModel(config, use_pooler=name == ERNIE, use_decoder=False,
                            use_classifier=False)
    network.initialize(mx.init.Normal(0.5))
    arrays = {key: parameter.data().asnumpy() for key, parameter in
              network._collect_params_with_prefix().items()}
    values = config_files.config_to_transformers(
        config, config.family_traits.class_prefix + 'Model', padding_id=0)
    path = tiny.write_transformers(folder, mapping.to_transformers(arrays, 'test', config), config)
    (folder / 'config.json').write_text(json.dumps(values))
    return path


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp('relatives')
    mx.random.seed(0)
    folders = {name: write_relative(name, root / name) for name in CONFIGS}
    roberta = tiny_relatives.write_roberta(root / ROBERTA)
    tiny_relatives.write_config(roberta, type_vocab_size=1)
    tensors = load_file(str(roberta / 'model.safetensors'))
    types = 'embeddings.token_type_embeddings.weight'
    tensors[types] = np.zeros((1, tiny.CONFIG.units), 'float32')
    save_file(tensors, str(roberta / 'model.safetensors'), {'format': 'pt'})
    return {**folders, ROBERTA: str(roberta)}


@pytest.fixture
def hub(folders, in_tmp, monkeypatch):
    repositories = {
        catalogue.RELATIVES[name].repository: Repository({
            file.name: file.read_bytes() for file in pathlib.Path(folder).iterdir()})
        for name, folder in folders.items()}
    with HubServer(repositories) as server:
        use_hub(server, in_tmp / 'hf', monkeypatch)
        yield server


@pytest.mark.parametrize('name', [ROBERTA, DISTILBERT, ERNIE])
def test_networks_and_vocabularies(hub, folders, name):
    corpus = catalogue.RELATIVES[name].corpus
    expected, vocabulary = zoo.load_checkpoint(folders[name])
    for network, vocab in (zoo.get_model(name), zoo.get_model(name, corpus)):
        assert vocab.idx_to_token == vocabulary.idx_to_token
        assert (vocab.tokenizer_json is None) == (name != ROBERTA)
        ids = mx.nd.array([[2, 5, 6, 3]])
        np.testing.assert_array_equal(network(ids, ids * 0)[0].asnumpy(),
                                      expected(ids, ids * 0)[0].asnumpy())
    network, _ = zoo.get_model(name, pretrained=False)
    assert network.config == expected.config
    with pytest.raises(UserError, match='root: %s comes from the hub' % name):
        zoo.get_model(name, root='x')
    with pytest.raises(UserError, match='there is no %s trained on wiki_cn_cased: it was trained '
                                        'on %s' % (name, corpus)):
        zoo.get_model(name, 'wiki_cn_cased')


def test_names_where_a_model_is_named(hub, folders, in_tmp, capsys):
    expected = bert.open(folders[ROBERTA])(TEXTS)
    np.testing.assert_array_equal(bert.open(ROBERTA)(TEXTS), expected)
    np.testing.assert_array_equal(Embedder(model=ROBERTA)(TEXTS), expected)
    embed(sentences=('the film was good',), granularity='sentence', model=ROBERTA)
    by_name = capsys.readouterr().out
    embed(sentences=('the film was good',), granularity='sentence',
          bert_checkpoint=folders[ROBERTA])
    assert by_name == capsys.readouterr().out

    for path, count in (('train.tsv', 20), ('dev.tsv', 8)):
        tiny.write_tsv(in_tmp / path, ('text', 'label'), tiny.sentences(count, count))
    settings = dict(train_file='train.tsv', dev_file='dev.tsv', text_columns=('text',),
                    label_column='label', epochs=1, max_len=16)
    losses = [finetune_classifier(output_dir=folder, **model, **settings).report['metrics']
              for folder, model in (('a', {'bert_model': ROBERTA}),
                                    ('b', {'bert_checkpoint': folders[ROBERTA]}))]
    assert losses[0] == losses[1]
    recorded = json.loads((in_tmp / 'a' / 'options.json').read_text())
    commit = hub.repositories['FacebookAI/roberta-base'].refs['main']
    assert recorded['bert_checkpoint'] == 'FacebookAI/roberta-base@' + commit
    # a folder of that name is taken for itself
    shutil.copytree(folders[DISTILBERT], ROBERTA)
    assert bert.open(ROBERTA).config.family == 'distilbert'


def test_models_py(hub, capsys):
    models.main([])
    assert 'roberta_12_768_12     openwebtext_ccnews_stories_books_cased    FacebookAI/rob' in \
        capsys.readouterr().out
    models.main(['--fetch', ROBERTA])
    assert capsys.readouterr().out.startswith('FacebookAI/roberta-base@')
    models.main([ERNIE])
    assert 'ErnieModel' in capsys.readouterr().out
    with pytest.raises(UserError, match='--root is only for released models'):
        models.main(['--fetch', ROBERTA, '--root', 'x'])
    with pytest.raises(UserError, match='unknown model "roberta_12_768".*Did you mean "roberta_12'):
        models.main(['roberta_12_768'])


def test_what_is_refused(hub, folders, in_tmp):
    with pytest.raises(UserError, match='roberta_12_768_12: a model of the family roberta: only '
                                        'BERT can be pre-trained'):
        pretrain(data='x', model=ROBERTA, ckpt_dir='p')
    with pytest.raises(UserError, match='no such file or folder; the released model of this name '):
        read_checkpoint(ROBERTA)
    with pytest.raises(UserError, match='its family is roberta, but config.json beside .* says '
                                        'distilbert: leave the flag out'):
        export_symbol(model_parameters=folders[DISTILBERT] + '/model.safetensors',
                      bert_model=ROBERTA, task='embedding')


# gluonnlp's own files: its networks write them, and compute the outputs that are expected


def gluonnlp_network(name, config):
    """(network of gluonnlp with random weights, function: ids, lengths → states of the tokens)"""
    encoder = gluonnlp.model.BERTEncoder(
        num_layers=config.num_layers, units=config.units, hidden_size=config.hidden_size,
        max_length=config.max_length, num_heads=config.num_heads, dropout=0.0,
        activation=config.activation, layer_norm_eps=config.layer_norm_eps)
    sizes = dict(units=config.units, embed_size=config.units)
    rows = len(tiny_relatives.ROBERTA_TOKENS if name == ROBERTA else tiny.TOKENS)
    if name == ERNIE:
        network = gluonnlp.model.BERTModel(
            encoder, rows, token_type_vocab_size=2, use_pooler=True, use_decoder=False,
            use_classifier=False, **sizes)
    else:
        make = {ROBERTA: gluonnlp.model.RoBERTaModel, DISTILBERT: gluonnlp.model.DistilBERTModel}
        network = make[name](encoder, rows, **sizes)
    network.initialize(mx.init.Normal(0.5))

    def states(ids, lengths):
        if name == ROBERTA:     # with a decoder, which reads one word of each text
            return network(ids, lengths, mx.nd.ones((len(ids), 1)))[0]
        return network(ids, ids * 0, lengths)[0] if name == ERNIE else network(ids, lengths)
    states(mx.nd.array([[2, 3]]), mx.nd.array([2]))     # it makes the parameters
    return network, states


@pytest.mark.parametrize('name', [ROBERTA, DISTILBERT, ERNIE])
def test_gluonnlps_files(hub, folders, in_tmp, name):
    config = read_checkpoint(folders[name]).config
    mx.random.seed(1)
    network, states = gluonnlp_network(name, config)
    ids = mx.nd.array([[2, 5, 6, 3], [2, 7, 3, 0]])
    lengths = mx.nd.array([4, 3])
    expected = states(ids, lengths).asnumpy()
    network.save_parameters('own.params')
    ours, _ = zoo.load_checkpoint('own.params', like_model=name, use_pooler=False)
    actual = ours(ids, ids * 0, lengths).asnumpy()
    for row, length in enumerate((4, 3)):
        np.testing.assert_allclose(actual[row, :length], expected[row, :length], atol=1e-5)
    # over the weights of the hub
    embedder = Embedder(model=name, params_path='own.params')
    np.testing.assert_array_equal(embedder(TEXTS),
                                  Embedder('own.params', model=name)(TEXTS))


@pytest.mark.parametrize('dropout', [0.0, 0.1])
def test_gluonnlps_classifier_of_roberta(hub, folders, in_tmp, dropout):
    bert_network, vocabulary = zoo.load_checkpoint(folders[ROBERTA], use_pooler=True)
    config = bert_network.config
    encoder = gluonnlp.model.BERTEncoder(
        num_layers=config.num_layers, units=config.units, hidden_size=config.hidden_size,
        max_length=config.max_length, num_heads=config.num_heads, dropout=0.0,
        activation='gelu', layer_norm_eps=config.layer_norm_eps)
    theirs = gluonnlp.model.RoBERTaClassifier(gluonnlp.model.RoBERTaModel(
        encoder, len(tiny_relatives.ROBERTA_TOKENS), units=config.units, embed_size=config.units,
        use_decoder=False), 3, dropout)
    theirs.initialize(mx.init.Normal(0.5))
    ids, lengths = mx.nd.array([[2, 5, 6, 3], [2, 7, 3, 0]]), mx.nd.array([4, 3])
    expected = theirs(ids, lengths).asnumpy()
    theirs.save_parameters('own.params')
    ours = BERTClassifier(bert_network, 3, dropout)
    zoo.load_model(ours, 'own.params', vocabulary)
    np.testing.assert_allclose(ours(ids, ids * 0, lengths).asnumpy(), expected, atol=1e-5)
    with pytest.raises(UserError, match='own.params: wrong shape: classifier'):
        zoo.load_model(BERTClassifier(bert_network, 2), 'own.params', vocabulary)


def test_a_file_of_another_family(hub, folders, in_tmp):
    network, _ = gluonnlp_network(DISTILBERT, CONFIGS[DISTILBERT])
    network.save_parameters('own.params')
    with pytest.raises(UserError, match='own.params: wrong shape: .*; missing tensors: '
                                        'token_type_embed.*of another kind: 0 segments .* found, '
                                        'as in DistilBERT, .*expected 2 .* model_type ernie'):
        zoo.load_checkpoint('own.params', like_model=ERNIE)
