"""bert/model/weights/mapping.py and tensor_names.py: names both ways, order of ids."""
import dataclasses

import numpy as np
import pytest
from reference import numpy_bert
from reference.tiny_release import TOKENS, swap_special_tokens

from bert.errors import UserError
from bert.model.bert import BertConfig, BERTModel
from bert.model.weights import mapping, tensor_names

CONFIG = BertConfig(num_layers=2, units=8, hidden_size=16, num_heads=2, vocab_size=30,
                    max_length=12)
UNTIED = dataclasses.replace(CONFIG, tied_decoder=False)


@pytest.fixture
def tensors():
    return numpy_bert.random_tensors(CONFIG)


# Names


def test_the_table_covers_a_whole_network_both_ways(tensors):
    network = BERTModel(CONFIG, use_decoder=True, use_classifier=True)
    gluon_names = set(network._collect_params_with_prefix())
    assert set(mapping.from_transformers(tensors, 'x')) == gluon_names - {'decoder.3.weight'}
    table = tensor_names.names_in_transformers('bert')
    for name in gluon_names:
        transformers_name = tensor_names.translate_name(name, table)
        assert tensor_names.translate_name(transformers_name, tensor_names.TO_GLUON) == name
    # two layers of ours have one name there: the classifier of tokens and that of texts
    assert tensor_names.TO_GLUON['classifier.bias'] == 'classifier.1.bias'
    assert mapping.with_tag_classifier({'classifier.1.bias': 0, 'x': 1}) == \
        {'tag_classifier.bias': 0, 'x': 1}


def test_layer_numbers_are_kept():
    for name in ('bert.encoder.layer.11.output.dense.bias',
                 'distilbert.transformer.layer.11.ffn.lin2.bias'):
        assert tensor_names.translate_name(name, tensor_names.TO_GLUON) == \
            'encoder.transformer_cells.11.ffn.ffn_2.bias'
    assert tensor_names.translate_name('no.such.name', tensor_names.TO_GLUON) is None


OLD_SPELLINGS = {
    'without bert.': lambda name: name.replace('bert.', '', 1),
    'gamma and beta': lambda name: name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace(
        'LayerNorm.bias', 'LayerNorm.beta'),
    'bias of the decoder': lambda name: name.replace('cls.predictions.bias',
                                                     'cls.predictions.decoder.bias'),
}


@pytest.mark.parametrize('spelling', OLD_SPELLINGS)
def test_old_spellings(tensors, spelling):
    old_tensors = {OLD_SPELLINGS[spelling](name): array for name, array in tensors.items()}
    assert set(old_tensors) != set(tensors)
    expected = mapping.from_transformers(tensors, 'x')
    arrays = mapping.from_transformers(old_tensors, 'x')
    assert set(arrays) == set(expected)
    assert all(arrays[name] is expected[name] for name in arrays)


def test_buffers_are_left_out_and_unknown_names_stay(tensors):
    tensors['bert.embeddings.position_ids'] = np.arange(12)
    tensors['crf.transitions'] = np.zeros(3)
    arrays = mapping.from_transformers(tensors, 'x')
    assert 'crf.transitions' in arrays
    assert not any('position_ids' in name for name in arrays)


def test_a_task_head_is_not_the_next_sentence_classifier(tensors):
    tensors['classifier.weight'] = np.zeros((3, 8))
    arrays = mapping.from_transformers(tensors, 'x')
    assert arrays['classifier.1.weight'].shape == (3, 8)
    assert arrays['classifier.weight'].shape == (2, 8)


def test_two_candidates_for_one_name(tensors):
    name = 'bert.embeddings.LayerNorm.'
    tensors[name + 'gamma'] = tensors[name + 'weight'].copy()
    mapping.from_transformers(tensors, 'x')     # equal ones are no problem
    tensors[name + 'gamma'] += 1
    with pytest.raises(UserError, match='file: %sweight and %sgamma are the same' % (name, name)):
        mapping.from_transformers(tensors, 'file')


def test_a_tied_decoder_is_written_once_and_an_untied_one_twice(tensors):
    arrays = mapping.from_transformers(tensors, 'x')
    arrays['decoder.3.weight'] = arrays['word_embed.0.weight']
    state = mapping.to_transformers(arrays, 'x', CONFIG)
    assert set(state) == set(tensors)
    assert all(state[name] is tensors[name] for name in tensors)
    untied_state = mapping.to_transformers(arrays, 'x', UNTIED)
    assert set(untied_state) == set(tensors) | {'cls.predictions.decoder.weight',
                                                'cls.predictions.decoder.bias'}
    assert untied_state['cls.predictions.decoder.bias'] is tensors['cls.predictions.bias']


def test_the_bias_that_an_untied_decoder_uses(tensors):
    bias = tensors['cls.predictions.bias'] + 1
    state = dict(tensors, **{'cls.predictions.decoder.bias': bias})
    assert mapping.from_transformers(state, 'x', UNTIED)['decoder.3.bias'] is bias
    with pytest.raises(UserError, match='cls.predictions.bias and cls.predictions.decoder.bias'):
        mapping.from_transformers(state, 'x')


def test_round_trip_of_task_head_names():
    arrays = {'bert.pooler.weight': 1, 'classifier.0.weight': 2, 'span_classifier.bias': 3,
              'bert.encoder.transformer_cells.3.ffn.layer_norm.beta': 4}
    assert mapping.to_transformers(arrays, 'x', CONFIG) == {
        'bert.pooler.dense.weight': 1, 'classifier.weight': 2, 'qa_outputs.bias': 3,
        'bert.encoder.layer.3.output.LayerNorm.bias': 4}
    with pytest.raises(UserError, match='^x: transformers. bert has no place for crf$'):
        mapping.to_transformers({'crf': 1}, 'x', CONFIG)


# Ids


def test_gluonnlp_order_round_trip():
    order = mapping.gluonnlp_order(TOKENS)
    assert order == swap_special_tokens(TOKENS)
    assert order[:5] == ['[UNK]', '[PAD]', '[CLS]', '[SEP]', '[MASK]']
    assert order[100:104] == ['[unused0]', '[unused1]', '[unused2]', '[unused3]']
    assert mapping.published_order(order) == TOKENS
    assert mapping.has_published_order(TOKENS)
    assert not mapping.has_published_order(order)


@pytest.mark.parametrize('name', ['uncased', 'cased', 'multilingual-uncased',
                                  'multilingual-cased', 'chinese'])
def test_the_five_vocabularies_survive_gluonnlps_order(data_dir, name):
    path = data_dir / 'vocab' / ('bert-base-%s.txt' % name)
    tokens = path.read_text(encoding='utf-8').split('\n')[:-1]
    assert mapping.has_published_order(tokens)
    gluonnlp_tokens = swap_special_tokens(tokens)
    assert mapping.published_order(gluonnlp_tokens) == tokens != gluonnlp_tokens


@pytest.mark.parametrize('prefix', ['', 'bert.'])
def test_reorder_ids(prefix):
    arrays = {prefix + 'word_embed.0.weight': np.array([[0], [1], [2], [9]]),
              prefix + 'decoder.3.bias': np.array([0, 1, 2, 9]),
              prefix + 'pooler.bias': np.array([0, 1, 2, 9])}
    new_arrays = mapping.reorder_ids(arrays, ['a', 'b', 'c'], ['c', 'a', 'b'])
    assert new_arrays[prefix + 'word_embed.0.weight'].ravel().tolist() == [2, 0, 1, 9]
    assert new_arrays[prefix + 'decoder.3.bias'].tolist() == [2, 0, 1, 9]
    assert new_arrays[prefix + 'pooler.bias'].tolist() == [0, 1, 2, 9]
    assert arrays[prefix + 'decoder.3.bias'].tolist() == [0, 1, 2, 9]


def test_reorder_ids_leaves_an_embedding_of_another_size():
    # the check of shapes reports it
    arrays = {'word_embed.0.weight': np.zeros((2, 3), 'float32')}
    new_arrays = mapping.reorder_ids(arrays, ['a', 'b', 'c'], ['c', 'b', 'a'])
    assert new_arrays['word_embed.0.weight'].shape == (2, 3)
