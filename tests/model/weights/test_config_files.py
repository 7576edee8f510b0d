"""bert/model/weights/config_files.py: transformers' config.json both ways."""
import json

import pytest

from bert.errors import UserError
from bert.file_names import CLASSIFICATION, MULTI_LABEL, REGRESSION
from bert.model.bert import BertConfig
from bert.model.weights import config_files

CONFIG = BertConfig(num_layers=2, units=8, hidden_size=16, num_heads=2, vocab_size=30,
                    max_length=12)
HF_CONFIG = dict(model_type='bert', num_hidden_layers=2, hidden_size=8, intermediate_size=16,
                 num_attention_heads=2, vocab_size=30, max_position_embeddings=12,
                 type_vocab_size=3, layer_norm_eps=1e-5, hidden_act='gelu_new')


def test_config_from_transformers():
    config = config_files.config_from_transformers(HF_CONFIG, 'x', cased=True)
    assert config == BertConfig(2, 8, 16, 2, 30, max_length=12, token_type_vocab_size=3,
                                layer_norm_eps=1e-5, activation='gelu_new', cased=True)


def test_a_config_of_an_early_release():
    values = {key: value for key, value in HF_CONFIG.items()
              if key not in ('model_type', 'layer_norm_eps', 'hidden_act')}
    config = config_files.config_from_transformers(values, 'x', cased=False)
    assert (config.layer_norm_eps, config.activation) == (1e-12, 'gelu')


@pytest.mark.parametrize('key, value, message', [
    ('model_type', 'gpt2', 'the model_type is "gpt2": this zoo runs BERT and its relatives '),
    ('model_type', 'albert', 'the model_type is "albert", and all its layers share their weights'),
    ('model_type', ['bert'], 'the model_type is .*: this zoo runs'),
    ('position_embedding_type', 'relative_key', 'position_embedding_type is "relative_key"; '
                                                'supported: absolute'),
    ('position_embedding_type', 'alibi', 'position_embedding_type: alibi found, and Jina v2 has '
                                         'ALiBi positions: this zoo runs BERT and its relatives'),
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
    ('num_attention_heads', 3, 'hidden_size 8 is not a multiple of num_attention_heads 3'),
])
def test_unsupported_configurations(key, value, message):
    with pytest.raises(UserError, match='config.json: .*' + message):
        config_files.config_from_transformers(dict(HF_CONFIG, **{key: value}), 'config.json', False)


def test_a_configuration_of_something_else():
    with pytest.raises(UserError, match='^a/config.json: found neither "model_type" nor '
                                        '"num_hidden_layers": expected the config.json of a '
                                        'transformers model$'):
        config_files.config_from_transformers({'d_model': 512}, 'a/config.json', False)


@pytest.mark.parametrize('change', [{}, {'tied_decoder': False}, {'activation': 'relu'},
                                    {'activation': 'gelu'}])
def test_config_round_trip(change):
    config = BertConfig(2, 8, 16, 2, 30, **dict({
        'max_length': 12, 'token_type_vocab_size': 3, 'layer_norm_eps': 1e-5,
        'activation': 'gelu_new', 'cased': True}, **change))
    values = config_files.config_to_transformers(config, 'BertForMaskedLM', 7)
    assert values['architectures'] == ['BertForMaskedLM'] and values['pad_token_id'] == 7
    assert config_files.config_from_transformers(values, 'x', cased=True) == config


def test_distilbert_has_one_layer_norm_eps():
    """transformers ignores the key too."""
    values = dict(model_type='distilbert', n_layers=2, dim=8, hidden_dim=16, n_heads=2,
                  vocab_size=30, max_position_embeddings=12, layer_norm_eps=1e-5)
    config = config_files.config_from_transformers(values, 'x', cased=False)
    assert (config.layer_norm_eps, config.token_type_vocab_size) == (1e-12, 0)
    written = config_files.config_to_transformers(config, 'DistilBertModel', 0)
    assert 'layer_norm_eps' not in written
    assert config_files.config_from_transformers(written, 'x', cased=False) == config


def test_labels_round_trip():
    values = config_files.config_to_transformers(
        CONFIG, 'x', 0, ['sad', 'glad', 'so so'], CLASSIFICATION)
    assert values['label2id'] == {'sad': 0, 'glad': 1, 'so so': 2}
    values = json.loads(json.dumps(values))
    assert config_files.labels_from_transformers(values, 3, 'x') == ('sad', 'glad', 'so so')
    values = config_files.config_to_transformers(CONFIG, 'x', 0, kind=REGRESSION)
    assert config_files.labels_from_transformers(json.loads(json.dumps(values)), 1, 'x') is None


def test_labels_in_any_order_of_the_file_and_of_any_type():
    values = {'id2label': {'2': 'c', '0': 'a', '10': 'k', '1': 7},}
    values['id2label'].update({str(i): 'x%d' % i for i in range(3, 10)})
    assert config_files.labels_from_transformers(values, 11, 'x')[:3] == ('a', '7', 'c')
    assert config_files.labels_from_transformers(values, 11, 'x')[10] == 'k'


def test_labels_that_differ_in_number_from_the_outputs(caplog):
    values = {'id2label': {'0': 'a', '1': 'b'}}
    assert config_files.labels_from_transformers(values, 3, 'config.json') == \
        ('LABEL_0', 'LABEL_1', 'LABEL_2')
    assert 'config.json: id2label names 2 classes, the weights have 3' in caplog.text
    assert config_files.labels_from_transformers({}, 1, 'x') is None     # one output is a score


def test_labels_that_are_the_default_of_transformers_and_unsaid(caplog):
    assert config_files.labels_from_transformers({}, 2, 'x') == ('LABEL_0', 'LABEL_1')
    assert caplog.text == ''


@pytest.mark.parametrize('names,message', [
    (['a', 'b'], 'x: id2label is .*: expected {"0": a label'),
    ({'a': 0, 'b': 1}, 'x: id2label is .*: expected {"0": a label'),
    ({'0': 'a', '1': 'a'}, 'x: id2label has "a" more than once'),
    ({'1': 'a', '2': 'b'}, 'x: id2label has the ids 1, 2: expected 0 to 1, one for each output'),
    ({'0': 'a', '10': 'b'}, 'x: id2label has the ids 0, 10: expected 0 to 1'),
    ({'00': 'a', '1': 'b'}, 'x: id2label has the ids 00, 1: '),
])
def test_invalid_labels(names, message):
    with pytest.raises(UserError, match=message):
        config_files.labels_from_transformers({'id2label': names}, 2, 'x')


def test_a_regression_has_one_output():
    with pytest.raises(UserError, match='x: problem_type is "regression" with 2 outputs'):
        config_files.labels_from_transformers({'problem_type': 'regression'}, 2, 'x')


def test_several_labels_a_text():
    values = config_files.config_to_transformers(CONFIG, 'x', 0, ['a', 'b'], MULTI_LABEL)
    assert values['problem_type'] == 'multi_label_classification'
    assert config_files.is_multi_label(values) and not config_files.is_multi_label({})
    values = json.loads(json.dumps(values))
    assert config_files.labels_from_transformers(values, 2, 'x') == ('a', 'b')
    # a single label is no score
    assert config_files.labels_from_transformers(
        {'problem_type': 'multi_label_classification', 'id2label': {'0': 'a'}}, 1, 'x') == ('a',)
