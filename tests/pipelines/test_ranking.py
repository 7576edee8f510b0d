"""Cross-encoders: their scores against the reference, the activation that their files name, and the
order of documents."""
import dataclasses
import json
import logging

import numpy as np
import pytest
from support import fuzzing, tiny
from support.cross_encoders import (
    HEAD,
    IDENTITY,
    SIGMOID,
    logit,
    sigmoid,
    write_cross_encoder,
)

import bert
from bert.data.text.readers import Example
from bert.errors import UserError
from bert.model.bert import is_fused
from bert.model.classification import make_loss
from bert.pipelines.classification import Classifier
from bert.pipelines.ranking import CrossEncoder
from bert.pipelines.ranking_files import names_cross_encoder, read_ranking
from bert.pipelines.records import RankedDocument, Score, TextCounts

QUERY = 'the film was good'
DOCUMENTS = ['so very good', 'the plot was awful and poor', 'good', 'the ' * 50 + 'film',
             'it was a fine film'.replace('a ', ''), 'scene', 'good']
# the fused operators support it
WIDE_CONFIG = dataclasses.replace(tiny.CONFIG, units=32, hidden_size=64, num_heads=1)
NO_OUTPUT = {'hidden_dropout_prob': 0.1}        # config.json of a model that says nothing


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_cross_encoder(tmp_path_factory.mktemp('models') / 'reranker')


@pytest.fixture(scope='module')
def model(folder):
    return bert.open(folder)


def scores_of(model, documents=DOCUMENTS):
    return [record.score for record in model([(QUERY, text) for text in documents])]


def expected_scores(folder, function=sigmoid):
    return [function(logit(folder, QUERY, text)) for text in DOCUMENTS]


# ---- scores

def test_scores_are_those_of_the_reference_after_the_activation(model, folder):
    assert type(model) is CrossEncoder
    assert model.task == {
        'name': 'reranker', 'labels': None, 'pair': True, 'metrics': ['pearsonr', 'spearmanr'],
        'kind': 'ranking', 'activation': 'sigmoid', 'truncation': 'transformers'}
    expected = expected_scores(folder)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(scores_of(model), expected, atol=1e-5)
    single = model((QUERY, DOCUMENTS[0]))
    assert isinstance(single, Score) and single.score == pytest.approx(expected[0], abs=1e-5)
    with pytest.raises(UserError, match='text 0: 1 text found, expected a pair of texts'):
        model('good')


@pytest.mark.parametrize('dtype,atol', [('float32', 1e-5), ('bfloat16', 0.03), ('int8', 0.1)])
def test_the_dtypes_of_the_fused_operators(kernels, tmp_path, dtype, atol):
    path = write_cross_encoder(tmp_path / 'wide', sizes=WIDE_CONFIG)
    model = bert.open(path, dtype=dtype)
    assert is_fused(model.network.bert, dtype)
    expected = np.array([sigmoid(logit(path, QUERY, text, sizes=WIDE_CONFIG))
                         for text in DOCUMENTS])
    difference = np.abs(np.array(scores_of(model)) - expected).max()
    assert difference < atol < np.ptp(expected) / 2
    assert (difference > 1e-5) == (dtype != 'float32')
    order = [expected[entry.document] for entry in model.rank(QUERY, DOCUMENTS)]
    assert (np.diff(order) < 2 * atol).all()


def test_both_sides_of_a_pair_are_read(model):
    assert model(('good', 'plot')).score != pytest.approx(model(('plot', 'good')).score, abs=1e-4)


def test_long_pairs_are_cut_by_the_rule_of_transformers(model, folder):
    for pair in (('good ' * 30, 'bad ' * 30), ('good ' * 31, 'bad ' * 30), ('so', 'bad ' * 90)):
        assert model(pair).score == pytest.approx(sigmoid(logit(folder, *pair)), abs=1e-5)
    assert model.featurize([Example(('good ' * 30, 'bad ' * 30), None, '', 0)])[
        0].segment_ids.tolist() == [0] * 20 + [1] * 20


# ---- the activation

NEW_KEY = {'sentence_transformers': {'activation_fn': SIGMOID, 'version': '4.0.0'}}
OLD_KEY = {'sbert_ce_default_activation_function': IDENTITY}


@pytest.mark.parametrize('config, settings, expected', [
    (NEW_KEY, None, 'sigmoid'),
    ({'sentence_transformers': {'activation_fn': IDENTITY}}, None, 'identity'),
    (OLD_KEY, None, 'identity'),
    ({'sbert_ce_default_activation_function': 'torch.nn.Sigmoid'}, None, 'sigmoid'),
    (dict(NEW_KEY, **OLD_KEY), None, 'sigmoid'),
    (NEW_KEY, {'activation_fn': IDENTITY}, 'identity'),
    (dict(OLD_KEY, problem_type='regression'), {'activation_fn': SIGMOID}, 'sigmoid'),
    (NO_OUTPUT, {'model_type': 'CrossEncoder', 'activation_fn': IDENTITY}, 'identity'),
    (NO_OUTPUT, {'model_type': 'CrossEncoder'}, 'sigmoid'),
    ({'sbert_ce_default_activation_function': None}, None, 'sigmoid'),
    (OLD_KEY, {'activation_fn': None, 'prompts': {}, 'default_prompt_name': None}, 'identity')])
def test_the_activation_is_looked_up_in_order(tmp_path, config, settings, expected):
    path = write_cross_encoder(tmp_path / 'm', config, settings)
    model = bert.open(path)
    assert type(model) is CrossEncoder and model.task['activation'] == expected
    for activation in ('sigmoid', 'identity'):      # the argument comes first
        assert bert.open(path, activation=activation).task['activation'] == activation
    function = {'sigmoid': sigmoid, 'identity': float}[expected]
    assert model((QUERY, 'bad')).score == pytest.approx(function(logit(path, QUERY, 'bad')),
                                                        abs=1e-5)


SENTENCE_CONFIG = 'config_sentence_transformers.json'


@pytest.mark.parametrize('config, files, message', [
    ({'sentence_transformers': {'activation_fn': 'torch.nn.modules.activation.Tanh'}}, {},
     'config.json: "activation_fn" is torch.nn.modules.activation.Tanh; supported: Sigmoid, '
     'Identity'),
    ({'sbert_ce_default_activation_function': 'os.system'}, {},
     'config.json: "sbert_ce_default_activation_function" is os.system; supported: Sigmoid, '),
    (NO_OUTPUT, {'settings': {'activation_fn': 3}}, SENTENCE_CONFIG + ': "activation_fn" is 3; '),
    ({'sentence_transformers': 'x'}, {},
     'config.json: "sentence_transformers" is \'x\', expected a dictionary'),
    (None, {'settings': {'default_prompt_name': 'q', 'prompts': {'q': 'query: '}}},
     SENTENCE_CONFIG + ': "default_prompt_name" is \'q\': the prompt of a cross-encoder is not'),
    (None, {'settings': {'default_prompt_name': ['q'], 'prompts': {}}},
     SENTENCE_CONFIG + ': "default_prompt_name" is [\'q\']: the prompt of a cross-encoder'),
    (None, {'modules': [{'type': 'x'}, {'type': 'y'}]},
     'modules.json: 2 modules found, expected one: a cross-encoder with only a Transformer is '
     'supported'),
    (None, {'sentence_bert_config': {'do_lower_case': True}},
     'sentence_bert_config.json: "do_lower_case" is True: a cross-encoder supports only false'),
    (None, {'sentence_bert_config': {'max_seq_length': 'all'}},
     'sentence_bert_config.json: "max_seq_length" is \'all\', expected a whole number from 1 on')])
def test_files_that_say_something_else(tmp_path, config, files, message):
    path = write_cross_encoder(tmp_path / 'm', config, **files)
    with pytest.raises(UserError) as error:
        bert.open(path)
    assert message in str(error.value) and str(error.value).startswith(path)


def test_damaged_settings(tmp_path, num_cases):
    """Read, or refused in one line."""
    path = write_cross_encoder(
        tmp_path / 'm', dict(NEW_KEY, **OLD_KEY), modules=[{'path': '', 'type': 'x.Transformer'}],
        settings={'activation_fn': SIGMOID, 'prompts': {'q': ''}, 'default_prompt_name': 'q'},
        sentence_bert_config={'max_seq_length': 20, 'do_lower_case': False})
    assert read_ranking(path, 40) == ('sigmoid', 20)
    num_refused = 0
    for name in ('config', 'config_sentence_transformers', 'modules', 'sentence_bert_config'):
        file = tmp_path / 'm' / (name + '.json')
        content = file.read_bytes()
        for mutant in fuzzing.mutants(content, num_cases(60, 2000), seed=4):
            file.write_bytes(mutant)
            try:
                if names_cross_encoder(path):
                    read_ranking(path, 40)
            except UserError as error:
                assert len(str(error).splitlines()) == 1
                num_refused += 1
        file.write_bytes(content)
    assert num_refused > 50


@pytest.mark.parametrize('files, expected', [
    ({'sentence_bert_config': {'max_seq_length': 12}}, 12),
    ({'sentence_bert_config': {'max_seq_length': 500}}, 40),
    ({'tokenizer_config': {'model_max_length': 20}}, 20),
    ({'tokenizer_config': {'model_max_length': 20},
      'sentence_bert_config': {'transformer_task': 'sequence-classification'}}, 20)])
def test_the_length_of_a_pair(tmp_path, files, expected):
    path = write_cross_encoder(tmp_path / 'm', **files)
    model, pair = bert.open(path), ('good ' * 30, 'bad ' * 9)
    assert model.max_len == expected
    assert model(pair).score == pytest.approx(sigmoid(logit(path, *pair, expected)), abs=1e-5)


# ---- a model with one output that says nothing

def test_a_regression_stays_one_unless_it_is_asked_for_a_ranking(tmp_path, caplog):
    for name, config in (('plain', NO_OUTPUT), ('score', {'problem_type': 'regression'})):
        path = write_cross_encoder(tmp_path / name, config)
        caplog.clear()
        plain = bert.open(path)
        assert type(plain) is Classifier and 'kind' not in plain.task
        np.testing.assert_allclose(scores_of(plain), expected_scores(path, float), atol=1e-5)
        assert ('config.json does not describe the only output' in caplog.text) == (
            name == 'plain')
        caplog.clear()
        model = bert.open(path, task='ranking')
        assert type(model) is CrossEncoder and caplog.text == ''
        np.testing.assert_allclose(scores_of(model), expected_scores(path), atol=1e-5)
        raw = bert.open(path, task='ranking', activation='identity')
        np.testing.assert_allclose(scores_of(raw), expected_scores(path, float), atol=1e-5)


def test_what_cannot_rank(tmp_path, folder):
    classifier = tiny.write_classifier(tmp_path / 'c')
    encoder = tiny.write_checkpoint(tmp_path / 'e')
    for path, keywords, message in (
            (classifier, {'task': 'ranking'}, 'task ranking: .*holds a model for classification'),
            (classifier, {'activation': 'sigmoid'},
             'activation: it is for a CrossEncoder, but .* is opened as Classifier; task "ranking'),
            (encoder, {'activation': 'sigmoid'}, 'opened as Embedder'),
            (encoder, {'task': 'ranking'}, 'no model for a task; found'),
            (folder, {'activation': 'tanh'}, 'argument --activation: invalid choice: \'tanh\''),
            (folder, {'task': 'classification'}, 'task classification: .* a model for ranking')):
        with pytest.raises(UserError, match=message):
            bert.open(path, **keywords)


@pytest.mark.parametrize('change, message', [
    ({'activation': 'tanh'}, "activation is 'tanh', expected one of sigmoid, identity"),
    ({'activation': None}, 'activation is None, expected one of'),
    ({'activation': ['sigmoid']}, r"activation is \['sigmoid'\], expected one of"),
    ({'labels': ['x']}, 'kind is ranking: expected labels that are null, and an activation')])
def test_a_task_file_that_cannot_be_used(tmp_path, change, message):
    path = write_cross_encoder(tmp_path / 'm')
    task = {'name': 'm', 'labels': None, 'pair': True, 'metrics': ['spearmanr'], 'max_len': 40,
            'kind': 'ranking', 'activation': 'identity'}
    (tmp_path / 'm' / 'task.json').write_text(json.dumps(task))
    assert bert.open(path).task['activation'] == 'identity'
    (tmp_path / 'm' / 'task.json').write_text(json.dumps(dict(task, **change)))
    with pytest.raises(UserError, match=message):
        bert.open(path)


# ---- ranking

def test_rank_equals_scoring_each_pair(model, folder):
    scores = expected_scores(folder)
    order = sorted(range(len(DOCUMENTS)), key=lambda i: -scores[i])
    ranking = model.rank(QUERY, iter(DOCUMENTS))
    assert all(isinstance(entry, RankedDocument) for entry in ranking)
    assert [entry.document for entry in ranking] == order
    assert [entry.text for entry in ranking] == [DOCUMENTS[i] for i in order]
    np.testing.assert_allclose([entry.score for entry in ranking], [scores[i] for i in order],
                               atol=1e-5)
    for top_k in (1, 3, 99, np.int64(2)):
        assert model.rank(QUERY, DOCUMENTS, top_k=top_k) == ranking[:top_k]
    assert model.rank(QUERY, []) == []


def test_equal_documents_keep_their_order(model):
    """Whatever batch each would come into: its score is one number."""
    documents = [word for word in tiny.WORDS for _ in range(7)] + ['so very fine'] * 3
    random = np.random.RandomState(0)
    documents = [documents[i] for i in random.permutation(len(documents))]
    model.batch_size = 4
    ranking = model.rank(QUERY, documents)
    model.batch_size = 32
    assert sorted(entry.document for entry in ranking) == list(range(len(documents)))
    for first, second in zip(ranking, ranking[1:]):
        assert first.score > second.score or (
            first.text == second.text and first.document < second.document)


def test_texts_that_were_cut_are_counted(model, caplog):
    counts = TextCounts()
    model.rank(QUERY, DOCUMENTS, counts=counts)
    assert (counts.num_texts, counts.num_cut) == (6, 1) and caplog.text == ''
    with caplog.at_level(logging.WARNING):
        model.rank(QUERY, DOCUMENTS)
    assert '1 of 6 texts were cut at 40 tokens' in caplog.text


@pytest.mark.parametrize('arguments, message', [
    ((3, ['a']), 'query: int found, expected a str'),
    ((QUERY, 'abc'), 'documents: str found, expected an iterable of texts'),
    ((QUERY, 3), 'documents: int found, expected an iterable of texts'),
    ((QUERY, ['a', ('b', 'c')]), 'text 1: tuple found, expected a str'),
    ((QUERY, ['a'], 0), 'top_k: 0 found, expected a whole number from 1 on'),
    ((QUERY, ['a'], 'x'), "top_k: 'x' found, expected a whole number"),
    ((QUERY, ['a'], True), 'top_k: True found'),
    ((QUERY, ['a'], 1.5), 'top_k: 1.5 found')])
def test_arguments_that_cannot_be_ranked(model, arguments, message):
    with pytest.raises(UserError, match=message):
        model.rank(*arguments)


# ---- the loss

def test_the_loss_is_the_binary_cross_entropy_of_the_sigmoid():
    import mxnet as mx
    outputs = np.array([[-30.], [-1.5], [0.], [0.4], [7.]], 'float32')
    labels = np.array([0.2, 0., 0.5, 1., 0.75], 'float32')
    loss = make_loss('ranking')
    values = mx.nd.array(outputs)
    values.attach_grad()
    with mx.autograd.record():
        result = loss(values, mx.nd.array(labels))
    result.backward()
    p = sigmoid(outputs[:, 0].astype('float64'))
    expected = -(labels * np.log(p) + (1 - labels) * np.log1p(-p))
    assert result.shape == (5,)
    np.testing.assert_allclose(result.asnumpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(values.grad.asnumpy()[:, 0], p - labels, atol=1e-6)


def test_two_outputs_stay_classes(tmp_path):
    head = {name: (2,) + shape[1:] for name, shape in HEAD.items()}
    path = tiny.write_with_head(tmp_path / 'm', 'BertForSequenceClassification', head,
                                sentence_transformers={'activation_fn': IDENTITY})
    assert type(bert.open(path)) is Classifier
