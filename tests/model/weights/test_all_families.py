"""What holds for BERT and each of its relatives, with small random weights."""
import mxnet as mx
import pytest
from support import tiny, tiny_relatives

import bert
from bert import files
from bert.errors import UserError
from bert.families import FAMILIES
from bert.model import zoo
from bert.model.bert import BERTModel

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
