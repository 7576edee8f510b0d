"""Checkpoints of BERT's relatives: what doesn't fit together is one clear error."""
import os
import shutil

import mxnet as mx
import numpy as np
import pytest
from reference import numpy_bert
from safetensors.numpy import load_file, save_file
from support import tiny, tiny_relatives
from support.tiny_relatives import ROBERTA_TOKENS, write_config, write_tokenizer

import bert
from bert.errors import UserError
from bert.families import UNSUPPORTED
from bert.model import zoo
from bert.model.weights import checkpoint_reader


@pytest.fixture
def roberta(tmp_path):
    return tiny_relatives.write_roberta(tmp_path / 'roberta')


def test_positions_begin_behind_the_padding_token(roberta):
    checkpoint = checkpoint_reader.read_checkpoint(str(roberta))
    assert (checkpoint.config.position_offset, checkpoint.config.max_length) == (2, 40)
    assert checkpoint.arrays['encoder.position_weight'].shape == (40, tiny.CONFIG.units)
    embedder = bert.open(str(roberta))
    states = numpy_bert.sequence(
        {'bert.' + name.removeprefix('bert.'): tensor for name, tensor in load_positions(roberta)},
        checkpoint.config, [[0, 5, 6, 2]], [[0, 0, 0, 0]])
    (_, vectors), = embedder.words(['good fine'], pieces=True)
    np.testing.assert_allclose(vectors, states[0, 1:-1], atol=1e-5)


def load_positions(folder):
    """(name, tensor) of the weights, without the first two positions."""
    for name, tensor in load_file(str(folder / 'model.safetensors')).items():
        yield name, tensor[2:] if 'position_embeddings' in name else tensor


def test_a_text_may_fill_all_positions_and_no_more(roberta):
    network, _ = zoo.load_checkpoint(str(roberta), use_pooler=False)
    ids = mx.nd.full((1, 40), 5)
    assert network(ids, ids * 0).shape == (1, 40, tiny.CONFIG.units)
    assert bert.open(str(roberta)).config.max_length == 40
    write_config(roberta, max_position_embeddings=2)
    with pytest.raises(UserError, match='max_position_embeddings is 2: expected more, because the '
                                        'positions of roberta begin at 2'):
        checkpoint_reader.read_checkpoint(str(roberta))


@pytest.mark.parametrize('value', [-1, '1', True, 1.0])
def test_a_padding_id_that_is_none(roberta, value):
    write_config(roberta, pad_token_id=value)
    with pytest.raises(UserError, match='"pad_token_id" is .*: expected a whole number from 0 on'):
        checkpoint_reader.read_checkpoint(str(roberta))


def test_a_tokenizer_of_another_model(roberta):
    tokens = list(ROBERTA_TOKENS)
    tokens[1], tokens[3] = tokens[3], tokens[1]
    write_tokenizer(roberta, tuple(tokens))
    with pytest.raises(UserError, match='the padding token <pad> has the id 3 in the vocabulary; '
                                        'the positions of the model begin at 2, which expects the '
                                        'id 1: they don.t belong together'):
        checkpoint_reader.read_checkpoint(str(roberta))


def test_a_configuration_of_another_family(roberta):
    path = str(roberta / 'model.safetensors')
    save_file({'roberta.' + name: tensor for name, tensor in load_file(path).items()}, path)
    checkpoint_reader.read_checkpoint(str(roberta))
    write_config(roberta, model_type='bert')
    with pytest.raises(UserError, match='the tensor roberta.* does not fit the model_type "bert" '
                                        'in config.json, whose tensors begin with "bert.":'):
        checkpoint_reader.read_checkpoint(str(roberta))


def test_the_architecture_of_another_family(roberta):
    write_config(roberta, architectures=['BertModel'])
    with pytest.raises(UserError, match='architecture BertModel; supported: RobertaFor'):
        bert.open(str(roberta))
    write_config(roberta, architectures=['RobertaForPreTraining'])
    with pytest.raises(UserError, match='architecture RobertaForPreTraining; supported'):
        bert.open(str(roberta))


@pytest.mark.parametrize('name', [*UNSUPPORTED, 'gpt2', '', None])
def test_other_models_are_refused_by_name(roberta, name):
    write_config(roberta, model_type=name)
    with pytest.raises(UserError) as info:
        bert.open(str(roberta))
    assert str(info.value).startswith('%s: the model_type is "%s"'
                                      % (os.path.join(roberta, 'config.json'), name))
    assert 'this zoo runs BERT and its relatives (model_type bert, roberta, ' in str(info.value)
    assert UNSUPPORTED.get(name, '') in str(info.value)


def test_parameters_of_another_family(roberta, tmp_path):
    network, vocabulary = zoo.load_checkpoint(str(roberta), use_pooler=False)
    folder = tmp_path / 'other'
    shutil.copytree(roberta, folder)
    arrays = {name: parameter.data() for name, parameter in
              network._collect_params_with_prefix().items() if 'token_type' not in name}
    mx.nd.save(str(folder / 'model.params'), arrays)
    with pytest.raises(UserError, match='missing tensors: token_type_embed.0.weight'):
        zoo.load_checkpoint(str(folder / 'model.params'), use_pooler=False)


def test_unused_pooler_beside_a_classifier(roberta, caplog):
    """Early releases of transformers saved both: only the classifier's first layer is used."""
    tensors = tiny_relatives.add_classifier(roberta)
    arrays = checkpoint_reader.read_checkpoint(str(roberta)).arrays
    assert arrays['pooler.weight'] is not None
    np.testing.assert_array_equal(arrays['pooler.weight'], tensors['classifier.dense.weight'])
    assert len(bert.open(str(roberta))('good').probabilities) == 2
