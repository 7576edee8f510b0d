"""The report on the data of a task, made before training."""
import json

import numpy as np
import pytest

from bert.data.glue.audit import audit, describe_audit
from bert.data.glue.tasks import custom_task
from bert.data.text.label_sets import LabelSetColumns
from bert.data.text.readers import Example, RejectedRow
from bert.data.transform import Features

FILES = {'train': 'train.tsv', 'dev': 'dev.tsv', 'test': 'test.tsv'}
MOOD_TASK = custom_task('mood', FILES, ('text',), 'mood', ('sad', 'glad', 'angry'))
TOPIC_TASK = custom_task('topic', FILES, ('text',), LabelSetColumns(('topic',), ','),
                         ('film', 'food', 'art'), threshold=0.5)
STARS_TASK = custom_task('stars', FILES, ('text',), 'stars', None)


def segment(path, lengths, labels=None, max_length=128):
    """(path, examples, features) of texts with these `lengths` in tokens."""
    labels = [None] * len(lengths) if labels is None else labels
    examples = [Example(('text',), None if label is None else str(label), path, i + 2)
                for i, label in enumerate(labels)]
    features = [Features(None, None, min(length, max_length), label, length)
                for length, label in zip(lengths, labels)]
    return path, examples, features


def class_ids(*ids):
    return [np.int32(i) for i in ids]


@pytest.fixture
def report():
    return audit(MOOD_TASK, {
        'train': segment('train.tsv', range(1, 101), class_ids(*[0, 1, 1, 1] * 25)),
        'dev': segment('dev.tsv', [5, 7, 200], class_ids(0, 2, 2)),
        'test': segment('test.tsv', [4, 4]),
    }, [RejectedRow('train.tsv', 9, 'train.tsv:9: 1 column found, expected 2')], 90)


def test_rows_and_label_counts(report):
    assert report['task'] == 'mood' and report['max_len'] == 90
    assert {name: row['rows'] for name, row in report['segments'].items()} == {
        'train': 100, 'dev': 3, 'test': 2}
    assert report['segments']['train']['labels'] == {'sad': 25, 'glad': 75, 'angry': 0}
    assert report['segments']['dev']['labels'] == {'sad': 1, 'glad': 0, 'angry': 2}
    assert 'labels' not in report['segments']['test']
    assert report['segments']['dev']['file'] == 'dev.tsv'


def test_token_lengths_are_those_before_truncation(report):
    assert report['segments']['train']['token_length'] == {'p50': 50, 'p90': 90, 'p99': 99,
                                                           'max': 100}
    assert report['segments']['dev']['token_length']['max'] == 200


def test_truncated_examples_are_those_longer_than_the_limit(report):
    assert [row['truncated'] for row in report['segments'].values()] == [10, 1, 0]


def test_rejected_rows_are_under_their_file(report):
    assert report['segments']['train']['rejected'] == [
        {'line': 9, 'reason': 'train.tsv:9: 1 column found, expected 2'}]
    assert report['segments']['dev']['rejected'] == []


def test_labels_that_train_lacks(report):
    assert report['labels_missing_in_train'] == ['angry']


def test_the_report_can_be_saved(report):
    assert json.loads(json.dumps(report)) == report


def test_lines(report):
    assert describe_audit(report) == [
        'train: 100 rows of train.tsv',
        '  labels: sad: 25, glad: 75, angry: 0',
        '  tokens: p50 50, p90 90, p99 99, max 100; --max_len 90 truncates 10 examples (10.0 %)',
        '  rejected rows: 1',
        '    train.tsv:9: 1 column found, expected 2',
        'dev: 3 rows of dev.tsv',
        '  labels: sad: 1, glad: 0, angry: 2',
        '  tokens: max 200; --max_len 90 truncates 1 examples (33.3 %)',
        'test: 2 rows of test.tsv',
        '  tokens: max 4; --max_len 90 truncates 0 examples (0.0 %)',
        'warning: train has no examples of these labels: angry']


def test_a_segment_of_one_class():
    report = audit(MOOD_TASK, {'train': segment('train.tsv', [3] * 3, class_ids(0, 1, 2)),
                               'dev': segment('dev.tsv', [3] * 3, class_ids(1, 1, 1))}, [], 90)
    assert describe_audit(report)[-1] == \
        'warning: dev has one class only (glad): its scores say little'


def test_many_rejected_rows_are_counted_and_some_shown():
    rejected_rows = [RejectedRow('train.tsv', i, 'train.tsv:%d: bad' % i) for i in range(2, 10)]
    report = audit(MOOD_TASK, {'train': segment('train.tsv', [3], class_ids(0))}, rejected_rows, 90)
    assert len(report['segments']['train']['rejected']) == 8
    assert describe_audit(report)[-7:] == ['  rejected rows: 8'] + \
        ['    train.tsv:%d: bad' % i for i in range(2, 7)] + ['    … and 3 more in audit.json']


def test_five_rejected_rows_are_all_shown():
    rejected_rows = [RejectedRow('train.tsv', i, 'train.tsv:%d: bad' % i) for i in range(2, 7)]
    report = audit(MOOD_TASK, {'train': segment('train.tsv', [3], class_ids(0))}, rejected_rows, 90)
    assert describe_audit(report)[-6:] == ['  rejected rows: 5'] + \
        ['    train.tsv:%d: bad' % i for i in range(2, 7)]


def test_regression():
    scores = [np.float32(score) for score in (0.5, 1, 4.5)]
    report = audit(STARS_TASK, {'train': segment('train.tsv', [3, 4, 5], scores)}, [], 90)
    assert report['segments']['train']['labels'] == {'min': 0.5, 'mean': 2, 'max': 4.5}
    assert report['labels_missing_in_train'] == []
    assert describe_audit(report)[1] == '  labels: min 0.5, mean 2, max 4.5'
    assert json.loads(json.dumps(report)) == report


def test_without_train():
    report = audit(MOOD_TASK, {'dev': segment('dev.tsv', [3], class_ids(2))}, [], 90)
    assert report['labels_missing_in_train'] == []


def test_several_labels_a_text():
    vectors = [np.array(row, 'float32') for row in ([1, 1, 0], [0, 0, 0], [1, 0, 0])]
    report = audit(TOPIC_TASK, {'train': segment('train.tsv', [5, 6, 7], vectors),
                                'dev': segment('dev.tsv', [5, 6], [vectors[0], vectors[0] * 0 + 1])
                                }, [], 128)
    assert report['segments']['train']['labels'] == {'film': 2, 'food': 1, 'art': 0}
    assert report['segments']['train']['without_labels'] == 1
    assert report['segments']['dev']['without_labels'] == 0
    json.dumps(report)
    lines = describe_audit(report)
    assert '  labels: film: 2, food: 1, art: 0' in lines
    assert [line for line in lines if 'warning' in line] == [
        'warning: train: 1 of 3 texts have no label',
        'warning: train has no examples of these labels: art']
