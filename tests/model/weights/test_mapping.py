"""bert/model/weights/mapping.py: names both ways, ids, configurations."""

import json

import numpy as np
import pytest
from reference import numpy_bert
from reference.tiny_release import TOKENS, swap_special_tokens

from bert.errors import UserError
from bert.file_names import CLASSIFICATION, MULTI_LABEL, REGRESSION
from bert.model.bert import BertConfig, BERTModel
from bert.model.weights import mapping

CONFIG = BertConfig(num_layers=2, units=8, hidden_size=16, num_heads=2, vocab_size=30,
                    max_length=12)


@pytest.fixture
def tensors():
    return numpy_bert.random_tensors(CONFIG)


# Names


def test_the_table_covers_a_whole_network_both_ways(tensors):
    network = BERTModel(CONFIG, use_decoder=True, use_classifier=True)
    gluon_names = set(network._collect_params_with_prefix())
    assert set(mapping.from_transformers(tensors, 'x')) == gluon_names - {'decoder.3.weight'}
    for name in gluon_names:
        transformers_name = mapping.translate_name(name, mapping.TO_TRANSFORMERS)
        assert mapping.translate_name(transformers_name, mapping.TO_GLUON) == name
    # two layers of ours have one name there: the classifier of tokens and that of texts
    assert len(mapping.TO_TRANSFORMERS) == len(mapping.NAME_PAIRS) == len(mapping.TO_GLUON) + 2
    assert mapping.TO_GLUON['classifier.bias'] == 'classifier.1.bias'
    assert mapping.with_tag_classifier({'classifier.1.bias': 0, 'x': 1}) == \
        {'tag_classifier.bias': 0, 'x': 1}


def test_layer_numbers_are_kept():
    assert mapping.translate_name('bert.encoder.layer.11.output.dense.bias', mapping.TO_GLUON) == \
        'encoder.transformer_cells.11.ffn.ffn_2.bias'
    assert mapping.translate_name('no.such.name', mapping.TO_GLUON) is None


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
    state = mapping.to_transformers(arrays, 'x')
    assert set(state) == set(tensors)
    assert all(state[name] is tensors[name] for name in tensors)
    untied_state = mapping.to_transformers(arrays, 'x', tied_decoder=False)
    assert set(untied_state) == set(tensors) | {'cls.predictions.decoder.weight',
                                                'cls.predictions.decoder.bias'}
    assert untied_state['cls.predictions.decoder.bias'] is tensors['cls.predictions.bias']


def test_the_bias_that_an_untied_decoder_uses(tensors):
    bias = tensors['cls.predictions.bias'] + 1
    state = dict(tensors, **{'cls.predictions.decoder.bias': bias})
    assert mapping.from_transformers(state, 'x', tied_decoder=False)['decoder.3.bias'] is bias
    with pytest.raises(UserError, match='cls.predictions.bias and cls.predictions.decoder.bias'):
        mapping.from_transformers(state, 'x')


def test_round_trip_of_task_head_names():
    arrays = {'bert.pooler.weight': 1, 'classifier.0.weight': 2, 'span_classifier.bias': 3,
              'bert.encoder.transformer_cells.3.ffn.layer_norm.beta': 4}
    assert mapping.to_transformers(arrays, 'x') == {
        'bert.pooler.dense.weight': 1, 'classifier.weight': 2, 'qa_outputs.bias': 3,
        'bert.encoder.layer.3.output.LayerNorm.bias': 4}
    with pytest.raises(UserError, match='^x: transformers. BERT has no place for crf$'):
        mapping.to_transformers({'crf': 1}, 'x')


# Configurations

HF_CONFIG = dict(model_type='bert', num_hidden_layers=2, hidden_size=8, intermediate_size=16,
                 num_attention_heads=2, vocab_size=30, max_position_embeddings=12,
                 type_vocab_size=3, layer_norm_eps=1e-5, hidden_act='gelu_new')


def test_config_from_transformers():
    config = mapping.config_from_transformers(HF_CONFIG, 'x', cased=True)
    assert config == BertConfig(2, 8, 16, 2, 30, max_length=12, token_type_vocab_size=3,
                                layer_norm_eps=1e-5, activation='gelu_new', cased=True)


def test_a_config_of_an_early_release():
    values = {key: value for key, value in HF_CONFIG.items()
              if key not in ('model_type', 'layer_norm_eps', 'hidden_act')}
    config = mapping.config_from_transformers(values, 'x', cased=False)
    assert (config.layer_norm_eps, config.activation) == (1e-12, 'gelu')


@pytest.mark.parametrize('key, value, message', [
    ('model_type', 'roberta', 'model_type is "roberta"; supported: bert'),
    ('position_embedding_type', 'relative_key', 'position_embedding_type is "relative_key"; '
                                                'supported: absolute'),
    ('hidden_act', 'silu', 'hidden_act is "silu"; supported: gelu, '),
    ('hidden_act', ['gelu'], "hidden_act is .*gelu"),
    ('tie_word_embeddings', None, '"tie_word_embeddings" is None: expected true or false'),
    ('tie_word_embeddings', 'false', '"tie_word_embeddings" is \'false\''),
    ('hidden_act', 'gelu_nw', 'Did you mean "gelu_new"'),
    ('auto_map', {'AutoModel': 'code.Model'}, 'auto_map: the model needs Python code of its own'),
    ('is_decoder', True, 'is_decoder is "True"; supported: False'),
    ('hidden_size', None, '"hidden_size" is None'),
    ('num_hidden_layers', '2', '"num_hidden_layers" is \'2\''),
    ('layer_norm_eps', 'small', '"layer_norm_eps" is \'small\''),
    ('max_position_embeddings', 0, '"max_position_embeddings" is 0'),
    ('num_attention_heads', 3, 'hidden_size 8 is no multiple of num_attention_heads 3'),
])
def test_unsupported_configurations(key, value, message):
    with pytest.raises(UserError, match='config.json: .*' + message):
        mapping.config_from_transformers(dict(HF_CONFIG, **{key: value}), 'config.json', False)


@pytest.mark.parametrize('change', [{}, {'tied_decoder': False}, {'activation': 'relu'},
                                    {'activation': 'gelu'}])
def test_config_round_trip(change):
    config = BertConfig(2, 8, 16, 2, 30, **dict({
        'max_length': 12, 'token_type_vocab_size': 3, 'layer_norm_eps': 1e-5,
        'activation': 'gelu_new', 'cased': True}, **change))
    values = mapping.config_to_transformers(config, 'BertForMaskedLM', 7)
    assert values['architectures'] == ['BertForMaskedLM'] and values['pad_token_id'] == 7
    assert mapping.config_from_transformers(values, 'x', cased=True) == config


def test_labels_round_trip():
    values = mapping.config_to_transformers(
        CONFIG, 'x', 0, ['sad', 'glad', 'so so'], CLASSIFICATION)
    assert values['label2id'] == {'sad': 0, 'glad': 1, 'so so': 2}
    values = json.loads(json.dumps(values))
    assert mapping.labels_from_transformers(values, 3, 'x') == ('sad', 'glad', 'so so')
    values = mapping.config_to_transformers(CONFIG, 'x', 0, kind=REGRESSION)
    assert mapping.labels_from_transformers(json.loads(json.dumps(values)), 1, 'x') is None


def test_labels_in_any_order_of_the_file_and_of_any_type():
    values = {'id2label': {'2': 'c', '0': 'a', '10': 'k', '1': 7},}
    values['id2label'].update({str(i): 'x%d' % i for i in range(3, 10)})
    assert mapping.labels_from_transformers(values, 11, 'x')[:3] == ('a', '7', 'c')
    assert mapping.labels_from_transformers(values, 11, 'x')[10] == 'k'


def test_labels_that_differ_in_number_from_the_outputs(caplog):
    values = {'id2label': {'0': 'a', '1': 'b'}}
    assert mapping.labels_from_transformers(values, 3, 'config.json') == \
        ('LABEL_0', 'LABEL_1', 'LABEL_2')
    assert 'config.json: id2label names 2 classes, the weights have 3' in caplog.text
    assert mapping.labels_from_transformers({}, 1, 'x') is None     # one output is a score


def test_labels_that_are_the_default_of_transformers_and_unsaid(caplog):
    assert mapping.labels_from_transformers({}, 2, 'x') == ('LABEL_0', 'LABEL_1')
    assert caplog.text == ''


@pytest.mark.parametrize('names,message', [
    (['a', 'b'], 'x: id2label is .*: expected {"0": a label'),
    ({'a': 0, 'b': 1}, 'x: id2label is .*: expected {"0": a label'),
    ({'0': 'a', '1': 'a'}, 'x: id2label has "a" more than once'),
    ({'1': 'a', '2': 'b'}, 'x: id2label has the ids 1, 2: 0 to 1 expected, the outputs in order'),
    ({'0': 'a', '10': 'b'}, 'x: id2label has the ids 0, 10: 0 to 1 expected'),
    ({'00': 'a', '1': 'b'}, 'x: id2label has the ids 00, 1: '),
])
def test_invalid_labels(names, message):
    with pytest.raises(UserError, match=message):
        mapping.labels_from_transformers({'id2label': names}, 2, 'x')


def test_a_regression_has_one_output():
    with pytest.raises(UserError, match='x: problem_type is "regression" with 2 outputs'):
        mapping.labels_from_transformers({'problem_type': 'regression'}, 2, 'x')


def test_several_labels_a_text():
    values = mapping.config_to_transformers(CONFIG, 'x', 0, ['a', 'b'], MULTI_LABEL)
    assert values['problem_type'] == 'multi_label_classification'
    assert mapping.is_multi_label(values) and not mapping.is_multi_label({})
    assert mapping.labels_from_transformers(json.loads(json.dumps(values)), 2, 'x') == ('a', 'b')
    # a single label is no score
    assert mapping.labels_from_transformers(
        {'problem_type': 'multi_label_classification', 'id2label': {'0': 'a'}}, 1, 'x') == ('a',)


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
