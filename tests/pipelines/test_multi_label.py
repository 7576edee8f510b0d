"""Models whose texts may have none, one or several labels: their values beside NumPy's and
transformers', and their exports."""
import dataclasses
import json
import logging

import mxnet as mx
import numpy as np
import pytest
from reference import numpy_bert
from safetensors.numpy import load_file
from support import tiny

import bert
from bert import file_names
from bert.errors import UserError
from bert.jobs import convert_checkpoint, export_onnx, export_symbol
from bert.model.bert import is_fused
from bert.model.classification import make_loss
from bert.pipelines.classification import Classifier, MultiLabelClassifier
from bert.pipelines.exported import ExportedMultiLabelClassifier
from bert.pipelines.records import LabelSet
from bert.pipelines.task_file import kind_of

TEXTS = [text for text, _ in tiny.label_sets(12, 4)] + ['']
LABELS = ['bad', 'fine', 'good']
# the fused operators support it
WIDE_CONFIG = dataclasses.replace(tiny.CONFIG, units=32, hidden_size=64, num_heads=1)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tiny.write_multi_label(tmp_path_factory.mktemp('models') / 'multi')


def reference_logits(folder, model, texts, config=tiny.CONFIG):
    """By NumPy, text by text."""
    tensors, rows = load_file(folder + '/model.safetensors'), []
    for ids in model.tokenizer.encode(texts):
        token_ids = np.array([[2, *ids, 3]])
        states = numpy_bert.sequence(tensors, config, token_ids, np.zeros_like(token_ids))
        rows.append(numpy_bert.dense(numpy_bert.pooled(tensors, states), tensors, 'classifier')[0])
    return np.array(rows)


def test_probabilities_and_labels(folder):
    model = bert.open(folder)
    assert type(model) is MultiLabelClassifier and isinstance(model, Classifier)
    assert kind_of(model.task) == file_names.MULTI_LABEL and model.threshold == 0.5
    expected = 1 / (1 + np.exp(-reference_logits(folder, model, TEXTS)))
    records = model(TEXTS)
    np.testing.assert_allclose([list(record.probabilities.values()) for record in records],
                               expected, atol=1e-5)
    assert [list(record.probabilities) for record in records] == [LABELS] * len(TEXTS)
    assert [record.labels for record in records] == [
        [label for label, p in zip(LABELS, row) if p >= 0.5] for row in expected]
    model.task['threshold'] = np.sort(expected.ravel())[19:21].mean()
    sizes = [len(record.labels) for record in model(TEXTS)]
    assert sum(sizes) == (expected >= model.threshold).sum() and len(set(sizes)) > 1
    record = model(TEXTS[0])        # alone, so with another padding
    assert isinstance(record, LabelSet) and record.labels == next(model.stream(TEXTS)).labels


@pytest.mark.parametrize('dtype,atol', [('float32', 1e-5), ('bfloat16', 0.03), ('int8', 0.1)])
def test_the_dtypes_of_the_fused_operators(kernels, tmp_path, dtype, atol):
    path = tiny.write_multi_label(tmp_path / 'wide', WIDE_CONFIG)
    model = bert.open(path, dtype=dtype)
    assert is_fused(model.network.bert, dtype)
    expected = 1 / (1 + np.exp(-reference_logits(path, model, TEXTS, WIDE_CONFIG)))
    records = model(TEXTS)
    probabilities = np.array([list(record.probabilities.values()) for record in records])
    difference = np.abs(probabilities - expected).max()
    assert difference < atol < np.ptp(expected, axis=0).max() / 2
    assert (difference > 1e-5) == (dtype != 'float32')
    for record, row in zip(records, expected):
        assert all((label in record.labels) == (p >= 0.5) for label, p in zip(LABELS, row)
                   if abs(p - 0.5) > atol)


def test_the_threshold_decides(folder):
    model = bert.open(folder)
    probabilities = sorted(model(TEXTS[0]).probabilities.values())
    model.task['threshold'] = probabilities[1]      # a label of just this probability is given
    record = model(TEXTS[0])
    assert len(record.labels) == 2 and all(
        (p >= model.threshold) == (label in record.labels)
        for label, p in record.probabilities.items())
    assert model.predictions(np.array([[9., -9, 9], [-9, -9, -9]])) == ['bad,good', '']


def test_the_loss():
    rng = np.random.RandomState(2)
    logits, labels = 3 * rng.randn(5, 4).astype('float32'), rng.randint(0, 2, (5, 4))
    p = 1 / (1 + np.exp(-logits.astype('float64')))
    expected = -(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    losses = make_loss(file_names.MULTI_LABEL)(mx.nd.array(logits), mx.nd.array(labels))
    np.testing.assert_allclose(losses.asnumpy(), expected.mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize('export,ending', [
    pytest.param(export_symbol, '-symbol.json', marks=pytest.mark.exhaustive),
    (export_onnx, '.onnx')])
def test_exports(folder, tmp_path, export, ending):
    result = export(model_dir=folder, output_dir=tmp_path / 'out')
    assert result.report['task'] == 'multi_label' and (tmp_path / 'out' / (
        'multi_label' + ending)).exists()
    exported, model = bert.open(tmp_path / 'out'), bert.open(folder)
    assert type(exported) is ExportedMultiLabelClassifier and exported.threshold == 0.5
    for ours, expected in zip(exported(TEXTS), model(TEXTS), strict=True):
        assert ours.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
        assert ours.labels == expected.labels


@pytest.mark.parametrize('change,message', [
    ({'threshold': 0}, 'threshold is 0, expected a number above 0 and below 1'),
    ({'threshold': 1}, 'threshold is 1, expected a number above 0 and below 1'),
    ({'threshold': 'half'}, "threshold is 'half', expected a number above 0 and below 1"),
    ({'labels': None}, 'kind is multi_label, but there are no labels')])
def test_a_damaged_task(folder, tmp_path, change, message):
    convert_checkpoint(input=folder, output=tmp_path / 'model')
    path = tmp_path / 'model' / 'task.json'
    task = json.loads(path.read_text())
    path.write_text(json.dumps(dict(task, **change)))
    with pytest.raises(UserError, match='task.json: ' + message):
        bert.open(tmp_path / 'model')
    del task['threshold']
    path.write_text(json.dumps(task))
    assert bert.open(tmp_path / 'model').threshold == 0.5


def test_a_conversion_keeps_kind_and_threshold(folder, tmp_path):
    convert_checkpoint(input=folder, output=tmp_path / 'gluon')
    path = tmp_path / 'gluon' / 'task.json'
    path.write_text(json.dumps(dict(json.loads(path.read_text()), threshold=0.3)))
    convert_checkpoint(input=tmp_path / 'gluon', output=tmp_path / 'back')
    config = json.loads((tmp_path / 'back' / 'config.json').read_text())
    assert config['problem_type'] == 'multi_label_classification'
    assert config['id2label'] == {'0': 'bad', '1': 'fine', '2': 'good'}
    expected = bert.open(folder)(TEXTS)
    for name in ('gluon', 'back'):
        model = bert.open(tmp_path / name)
        assert type(model) is MultiLabelClassifier and model.threshold == 0.3
        assert [record.probabilities for record in model(TEXTS)] == [
            record.probabilities for record in expected]


def test_texts_that_are_cut_are_counted(folder, caplog):
    with caplog.at_level(logging.WARNING):
        bert.open(folder)(['so ' * 100, 'so'])
    assert '1 of 2 texts were cut at 40 tokens' in caplog.text


@pytest.mark.torch
@pytest.mark.filterwarnings('ignore')
def test_transformers_gives_the_same_probabilities(folder, tmp_path, torch, transformers):
    """Both directions: a model of transformers opened here, and ours opened there."""
    tokens = transformers.AutoTokenizer.from_pretrained(folder)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    convert_checkpoint(input=folder, output=tmp_path / 'gluon')
    convert_checkpoint(input=tmp_path / 'gluon', output=tmp_path / 'back')
    back = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / 'back').eval()
    assert back.config.problem_type == 'multi_label_classification'
    assert back.config.id2label == theirs.config.id2label
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / 'back')(TEXTS[0])['input_ids'] == \
        tokens(TEXTS[0])['input_ids']
    ours = bert.open(tmp_path / 'gluon')
    labels = torch.tensor([[1., 0, 1]])
    for text, record in zip(TEXTS, ours(TEXTS), strict=True):
        inputs = tokens(text, return_tensors='pt')
        with torch.no_grad():
            output, outputs_back = theirs(**inputs, labels=labels), back(**inputs)
        np.testing.assert_allclose(outputs_back.logits, output.logits, atol=1e-6)
        probabilities = list(record.probabilities.values())
        np.testing.assert_allclose(probabilities, output.logits.sigmoid()[0], atol=1e-4)
        np.testing.assert_allclose(np.log(probabilities) - np.log1p(-np.array(probabilities)),
                                   output.logits[0], atol=1e-4)
        loss = make_loss(file_names.MULTI_LABEL)(mx.nd.array(output.logits.numpy()),
                                                 mx.nd.array(labels.numpy()))
        assert float(loss.mean().asscalar()) == pytest.approx(float(output.loss), rel=1e-5)
