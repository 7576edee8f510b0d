"""INT8 rerankers by quantize.py: calibrated, by the fused kernels, and tuned to a goal."""
import json

import numpy as np
import pytest
from scipy import stats
from support.cross_encoders import (
    QUERY,
    expected_metrics,
    read_rows,
    write_cross_encoder,
    write_sts,
)

import bert
from bert import convert_checkpoint, quantize
from bert.jobs import finetune_classifier
from bert.pipelines.exported import ExportedCrossEncoder

DOCUMENTS = ['so very good', 'the plot was awful and poor', 'good', 'scene']


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_sts(tmp_path_factory.mktemp('data'))


@pytest.fixture
def wide(in_tmp, call):
    """A folder of ours with outputs of all sizes, where a sigmoid makes a difference."""
    path = write_cross_encoder(in_tmp / 'wide-hf')
    assert call(convert_checkpoint, path, 'wide').code == 0
    return in_tmp / 'wide'


def test_int8(wide, data, in_tmp, call):
    """The goal's metric is Spearman's; scores are taken after the activation."""
    assert call(quantize, '--model_dir', wide, '--task_name', 'STS-B', '--data_dir', data,
                '--output_dir', 'int8').code == 0
    report = json.loads((in_tmp / 'int8' / 'results.json').read_text())
    scores = report['scores']['dev']
    assert scores['metric'] == 'spearmanr'
    assert scores['float'] == expected_metrics(data, 'wide-hf')
    model = bert.open('int8')
    assert type(model) is ExportedCrossEncoder
    rows = read_rows(data + '/dev.tsv')
    records = model([row[:2] for row in rows])
    assert scores['int8']['pearsonr'] == pytest.approx(stats.pearsonr(
        [row[2] for row in rows], [record.score for record in records])[0], abs=1e-6)
    pairs = [row[:2] for row in rows + read_rows(data + '/train.tsv')]      # 16 are too few
    assert stats.spearmanr([record.score for record in model(pairs)],
                           [record.score for record in bert.open(str(wide))(pairs)])[0] > 0.9


def test_fused_int8(kernels, roomy_bert, data, in_tmp, call):
    run = finetune_classifier(bert_checkpoint=roomy_bert, ranking=True, max_len=24, lr=1e-2,
                              task_name='STS-B', data_dir=data, epochs=1, output_dir='run').folder
    assert call(quantize, '--model_dir', run, '--data_dir', data, '--output_dir', 'fused',
                '--calib_mode', 'fused').code == 0
    np.testing.assert_allclose(
        [record.score for record in bert.open('fused')([(QUERY, text) for text in DOCUMENTS])],
        [record.score for record in bert.open('run')([(QUERY, text) for text in DOCUMENTS])],
        atol=0.05)


def test_tuned(wide, data, in_tmp, call, fast_int8):
    """The goal is for Spearman's correlation; the report is on the test set, which has scores."""
    (in_tmp / 'conf.yaml').write_text('tuning: {accuracy_criterion: {relative: 0.9}}')
    outcome = call(quantize, '--tune', '--model_dir', wide, '--task_name', 'STS-B', '--data_dir',
                   data, '--calib_batch_size', 4, '--num_calib_batches', 2, '--output_dir', 'int8')
    assert outcome.code == 0, outcome.err
    report = json.loads((in_tmp / 'int8' / 'results.json').read_text())
    assert (report['reached'], report['trial'], report['kept_in_float']) == (True, 1, [])
    assert report['searched_on']['examples'] == 16 and report['scores']['test']['examples'] == 8
    assert report['scores']['test']['metric'] == 'spearmanr'
    rows = read_rows(data + '/test.tsv')
    for name, folder in (('float', wide), ('int8', 'int8')):
        scores = [record.score for record in bert.open(str(folder))([row[:2] for row in rows])]
        labels = [row[2] for row in rows]
        assert report['scores']['test'][name] == pytest.approx({
            'pearsonr': stats.pearsonr(scores, labels)[0],
            'spearmanr': stats.spearmanr(scores, labels)[0]}, abs=1e-6)
