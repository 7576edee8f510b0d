"""What holds for BERT and each of its relatives, with small random weights."""
import json

import mxnet as mx
import numpy as np
import pytest
from reference.hub_server import HubServer, Repository
from safetensors.numpy import load_file
from support import tiny, tiny_relatives
from support.hub_settings import use_hub

import bert
from bert import files, models
from bert.errors import UserError
from bert.families import FAMILIES
from bert.model import zoo
from bert.model.bert import BERTModel
from bert.model.config import BertConfig
from bert.model.weights import catalogue, checkpoint_reader, descriptions, loading

all_families = pytest.mark.parametrize('family', FAMILIES)


# The decoder


@all_families
def test_get_model_with_all_parts(tmp_path, family, caplog):
    """As GluonNLP's default asks for; only ELECTRA can have no decoder."""
    path = tiny_relatives.write_relative(tmp_path / 'model', family)
    ids, positions = mx.nd.array([[2, 5, 6, 3]]), mx.nd.array([[1, 2]])
    for pretrained in (True, False):
        network, _ = zoo.get_model(path, pretrained=pretrained)
        if not pretrained:
            network.initialize()
        outputs = network(ids, ids * 0, None, positions)
        shapes = [(1, 4, 8), (1, 8), (1, 2), (1, 2, network.config.vocab_size)]
        assert [output.shape for output in outputs] == shapes[:3 + (family != 'electra')]
    message = '%s: a model of the family electra has no decoder: left out' % path
    assert caplog.messages.count(message) == 2 * (family == 'electra')
    caplog.clear()
    zoo.get_model(path, use_decoder=False)
    assert 'decoder' not in caplog.text


@pytest.mark.parametrize('fields', [dict(family='electra'), dict(family='bert'),
                                    dict(family='electra', embedding_size=None)])
def test_a_decoder_that_does_not_fit(fields):
    config = tiny_relatives.make_config(**dict(dict(embedding_size=4), **fields))
    assert not config.has_decoder
    with pytest.raises(UserError) as error:
        BERTModel(config, use_decoder=True)
    assert str(error.value) == (
        'use_decoder: the family %s with embeddings of width %d and layers of width 8 found, '
        'expected a model that can predict masked words, with both of one width: leave out the '
        'decoder, or change embedding_size' % (config.family, config.embedding_size or 8))
    BERTModel(config)


# What doesn't fit together


@pytest.mark.parametrize('family', ['bert', 'distilbert', 'electra', 'ernie'])
def test_the_tokenizer_of_roberta(tmp_path, family):
    """Its padding token has the id 1; a BERT may have it, such as multilingual-e5."""
    path = tiny_relatives.write_relative(tmp_path / 'model', family)
    (tmp_path / 'model' / 'vocab.txt').unlink()
    tiny_relatives.write_tokenizer(tmp_path / 'model', tiny_relatives.ROBERTA_TOKENS)
    if family == 'bert':
        assert bert.open(path)(['good']).shape == (1, 8)
        return
    with pytest.raises(UserError, match='the padding token <pad> has the id 1 in the vocabulary; '
                                        '"pad_token_id" in config.json expects the id 0: they '
                                        "don't belong together"):
        bert.open(path)
    values = files.read_json(path + '/config.json')
    for change in ({'pad_token_id': 1}, {'pad_token_id': None}):
        files.write_json(path + '/config.json', {**values, **change})
        assert bert.open(path)(['good']).shape == (1, 8)


@pytest.mark.parametrize('family', [name for name in FAMILIES if FAMILIES[name].counts_padding])
def test_a_word_piece_beside_roberta(tmp_path, family):
    path = tiny_relatives.write_relative(tmp_path / 'model', family, vocab_size=len(tiny.TOKENS))
    for name in ('tokenizer.json', 'tokenizer_config.json'):
        (tmp_path / 'model' / name).unlink()
    (tmp_path / 'model' / 'vocab.txt').write_text('\n'.join(tiny.TOKENS), encoding='utf-8')
    with pytest.raises(UserError, match=r'the padding token \[PAD\] has the id 0 in the vocabulary;'
                                        ' the positions of the model begin at 2, which expects the '
                                        "id 1: they don't belong together"):
        bert.open(path)


def test_the_generator_of_electra(tmp_path):
    path = tiny_relatives.write_relative(tmp_path / 'model', 'electra')
    values = files.read_json(path + '/config.json')
    files.write_json(path + '/config.json', {**values, 'architectures': ['ElectraForMaskedLM']})
    for function in (bert.open, zoo.load_checkpoint):
        with pytest.raises(UserError) as error:
            function(path)
        assert str(error.value) == (
            '%s/config.json: architectures: ElectraForMaskedLM found, and it is the generator of '
            'ELECTRA: use the discriminator: this zoo runs BERT and its relatives' % path)


# Sizes


def test_published_numbers_of_parameters():
    base = dict(num_layers=12, units=768, hidden_size=3072, num_heads=12)
    for fields, count in (
            (dict(base, family='roberta', vocab_size=50265, token_type_vocab_size=1,
                  position_offset=2), 124_645_632),
            (dict(base, family='xlm-roberta', vocab_size=250002, token_type_vocab_size=1,
                  position_offset=2), 278_043_648),
            (dict(base, family='distilbert', vocab_size=30522, num_layers=6,
                  token_type_vocab_size=0), 66_362_880),
            (dict(family='electra', vocab_size=30522, num_layers=12, units=256, hidden_size=1024,
                  num_heads=4, embedding_size=128), 13_483_008)):
        assert catalogue.parameter_count(BertConfig(**fields)) == count


def test_descriptions_where_the_hub_counts_no_parameters(in_tmp, monkeypatch, capsys):
    repositories = {}
    for family in FAMILIES:
        folder = in_tmp / family
        tiny_relatives.write_relative(folder, family)
        repositories['zoo/' + family] = Repository({
            file.name: file.read_bytes() for file in folder.iterdir()})
    with HubServer(repositories) as server:
        use_hub(server, in_tmp / 'hf', monkeypatch)
        for family in FAMILIES:
            models.main(['zoo/' + family, '--json'])
            description = json.loads(capsys.readouterr().out)
            tensors = load_file(str(in_tmp / family / 'model.safetensors'))
            assert description['num_parameters'] == sum(map(np.size, tensors.values()))
            config = tiny_relatives.make_config(family)
            assert {name: description[name] for name in descriptions.SIZES} == {
                name: getattr(config, name) for name in descriptions.SIZES}
            assert description['problem'] is None
        models.main(['zoo/roberta'])
        assert '  positions       40\n' in capsys.readouterr().out


# Files of another kind


@pytest.mark.parametrize('found, expected, segments, widths, families', [
    ('bert', 'roberta', (2, 1), (8, 8), 'BERT, ERNIE and ELECTRA'),
    ('bert', 'distilbert', (2, 0), (8, 8), 'BERT, ERNIE and ELECTRA'),
    ('bert', 'electra', (2, 2), (8, 4), 'BERT, ERNIE and ELECTRA'),
    ('roberta', 'distilbert', (1, 0), (8, 8), 'RoBERTa, XLM-RoBERTa and CamemBERT'),
    ('xlm-roberta', 'bert', (1, 2), (8, 8), 'RoBERTa, XLM-RoBERTa and CamemBERT'),
    ('distilbert', 'bert', (0, 2), (8, 8), "DistilBERT, and RoBERTa in GluonNLP's files"),
    ('electra', 'bert', (2, 2), (4, 8), 'small ELECTRA')])
@pytest.mark.parametrize('prefix', ['', 'bert.'])
def test_parameters_of_another_family(tmp_path, found, expected, segments, widths, families,
                                      prefix):
    """The message names the kind of the file, where the arrays tell it."""
    size = len(tiny.TOKENS)
    path = tiny_relatives.write_relative(tmp_path / 'found', found, vocab_size=size)
    arrays = checkpoint_reader.read_arrays(
        path + '/model.safetensors', tiny_relatives.make_config(found, vocab_size=size))
    network = BERTModel(tiny_relatives.make_config(expected, vocab_size=size), use_pooler=False)
    with pytest.raises(UserError, match='^x: (wrong shape|missing|unknown)') as error:
        loading.load_parameters(network, {prefix + name: array for name, array in arrays.items()},
                                'x', parts_optional=True)
    assert str(error.value).endswith(
        '; the file is of another kind: %d segments and embeddings of width %d found, as in %s; '
        'expected %d and %d, as in the configuration of the model_type %s: give the one that '
        'belongs to the file' % (segments[0], widths[0], families, segments[1], widths[1],
                                 expected))
