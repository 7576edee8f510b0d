"""Metrics against hand-made formulas, scikit-learn and scipy."""
import math
import pickle

import numpy as np
import pytest

from bert.errors import UserError
from bert.train.metrics import METRICS, Metric, TokenAccuracy, format_metrics
from bert.train.workers import SingleWorker

RNG = np.random.RandomState(4)
# 40 true positives, 10 false positives, 20 false negatives, 30 true negatives
LABELS = np.array([1] * 40 + [0] * 10 + [1] * 20 + [0] * 30, dtype='int32')
PREDICTIONS = np.array([1] * 50 + [0] * 50)


def value(name, labels, predictions):
    return METRICS[name](np.asarray(labels), np.asarray(predictions))


def test_by_hand():
    assert value('accuracy', LABELS, PREDICTIONS) == pytest.approx(0.70)
    assert value('f1', LABELS, PREDICTIONS) == pytest.approx(80 / 110)
    assert value('mcc', LABELS, PREDICTIONS) == pytest.approx(
        (40 * 30 - 10 * 20) / math.sqrt(50 * 60 * 40 * 50))
    # deviations -1, 0, 1 and -2, 1, 1
    assert value('pearsonr', [1., 2., 3.], [1., 4., 4.]) == pytest.approx(3 / math.sqrt(2 * 6))
    # ranks 1, 2, 3 and 1, 2.5, 2.5
    assert value('spearmanr', [10., 20., 90.], [1., 4., 4.]) == pytest.approx(
        1.5 / math.sqrt(2 * 1.5))


def test_f1_is_of_the_positive_class():
    # the original took the micro average, which is the accuracy
    assert value('f1', [1, 0, 0, 0], [0, 0, 0, 0]) == 0
    assert value('f1', [0, 1, 1, 1], [1, 1, 1, 1]) == pytest.approx(6 / 7)


def test_against_scikit_learn_and_scipy():
    from scipy import stats
    from sklearn import metrics
    for size in [2, 3, 5, 17, 200] * 10:
        labels = RNG.randint(0, 2, size).astype('int32')
        predictions = RNG.randint(0, 2, size)
        assert value('accuracy', labels, predictions) == pytest.approx(
            metrics.accuracy_score(labels, predictions))
        assert value('f1', labels, predictions) == pytest.approx(
            metrics.f1_score(labels, predictions, zero_division=0))
        if len(set(labels)) > 1:
            assert value('mcc', labels, predictions) == pytest.approx(
                metrics.matthews_corrcoef(labels, predictions))
        scores = np.append(RNG.randint(0, 6, size), [1, 2]).astype('float32')   # with ties
        guesses = np.append((RNG.randn(size) + scores[:-2]).round(1), [2, 1]).astype('float32')
        assert value('pearsonr', scores, guesses) == pytest.approx(
            stats.pearsonr(scores.astype('float64'), guesses.astype('float64'))[0])
        assert value('spearmanr', scores, guesses) == pytest.approx(
            stats.spearmanr(scores, guesses)[0])


def test_several_labels_against_scikit_learn():
    from sklearn import metrics
    for size, num_labels in [(2, 2), (7, 3), (40, 6), (1, 4)]:
        labels = RNG.randint(0, 2, (size, num_labels)).astype('float32')
        labels[:, -1] = 0       # a label that never occurs
        logits = RNG.randn(size, num_labels).astype('float32')
        for threshold in (0.3, 0.5, 0.9):
            metric = Metric(('micro_f1', 'macro_f1'), threshold=threshold)
            metric.update(labels[:1], logits[:1])
            metric.update(labels[1:], logits[1:])
            predictions = 1 / (1 + np.exp(-logits)) >= threshold
            assert dict(metric.get()) == {'%s_f1' % name: pytest.approx(metrics.f1_score(
                labels, predictions, average=name, zero_division=0)) for name in ('micro', 'macro')}


def test_several_labels_by_hand():
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]])
    metric = Metric(('micro_f1', 'macro_f1'), threshold=0.5)
    # right: 2 of the first label; missed: the second; too many: the third, and the first once
    metric.update(labels, np.array([[1., -1, 2], [0, -1, -1], [3, -1, -1]]))
    assert dict(metric.get()) == {'micro_f1': pytest.approx(4 / 7),
                                  'macro_f1': pytest.approx(0.8 / 3)}
    nothing = Metric(('micro_f1', 'macro_f1'), threshold=0.5)
    nothing.update(np.zeros((2, 3)), np.full((2, 3), -1.))
    assert dict(nothing.get()) == {'micro_f1': 0, 'macro_f1': 0}


def test_a_single_label_that_texts_may_have():
    # the F1 of the label, not that of two classes
    metric = Metric(('micro_f1', 'macro_f1'), threshold=0.5)
    metric.update(np.array([[1], [0], [0], [1]]), np.array([[2.], [1], [-1], [-1]]))
    assert dict(metric.get()) == {'micro_f1': 0.5, 'macro_f1': 0.5}


def test_one_prediction_for_all():
    for constant in (0, 1):
        assert value('mcc', [0, 1, 1, 0], [constant] * 4) == 0
    assert value('f1', [0, 1], [0, 0]) == value('f1', [0, 0], [0, 0]) == 0
    assert value('f1', [1, 1], [1, 1]) == 1


@pytest.mark.parametrize('name, labels, predictions, reason', [
    ('mcc', [1, 1], [0, 1], 'all labels are of one class'),
    ('pearsonr', [1.], [2.], 'there are fewer than two scores'),
    ('pearsonr', [1., 2.], [2., math.inf], 'a prediction is not finite'),
    ('spearmanr', [1., 1.], [2., 3.], 'all scores of the file are equal'),
    ('spearmanr', [1., 2.], [3., 3.], 'all predictions are equal')])
def test_why_a_score_has_no_value(name, labels, predictions, reason):
    score = value(name, labels, predictions)
    assert math.isnan(score) and score.reason == reason
    copy = pickle.loads(pickle.dumps(score))        # from another worker
    assert math.isnan(copy) and copy.reason == reason


@pytest.mark.parametrize('name', ['pearsonr', 'spearmanr'])
def test_undefined_correlation(name):
    constant = np.full(7, 0.1)      # its computed mean is another number
    assert constant.mean() != 0.1
    scores = np.arange(7, dtype='float32')
    for labels, predictions in ((constant, scores), (scores, constant), (constant, constant),
                                (scores[:1], scores[:1]), (scores, scores * np.nan),
                                (scores, np.append(scores[1:], np.inf))):
        assert math.isnan(value(name, labels, predictions))


def test_correlations_are_exact_for_large_numbers_close_together():
    scores = (1e6 + np.arange(5)).astype('float32')
    assert value('pearsonr', scores, scores) == pytest.approx(1)
    assert value('pearsonr', scores, -scores) == pytest.approx(-1)
    assert value('spearmanr', scores, np.exp(np.arange(5.))) == pytest.approx(1)


def test_updates_add_up():
    metric = Metric(('f1', 'accuracy'))
    assert metric.get() == []
    outputs = np.stack([1 - PREDICTIONS, PREDICTIONS], axis=1).astype('float32')
    for start in range(0, 100, 30):
        metric.update(LABELS[start:start + 30], outputs[start:start + 30])
    assert dict(metric.get()) == pytest.approx({'f1': 80 / 110, 'accuracy': 0.7})
    assert [name for name, _ in metric.get()] == ['f1', 'accuracy']
    metric.reset()
    assert metric.get() == []


def test_a_single_output_is_the_prediction():
    metric = Metric(('pearsonr',))
    metric.update(np.array([1., 2., 3.]), np.array([[1.], [4.], [4.]]))
    assert metric.get()[0][1] == pytest.approx(3 / math.sqrt(12))


def test_unknown_metric():
    with pytest.raises(UserError) as error:
        Metric(('accuracy', 'bleu'))
    assert str(error.value) == \
        'no metric "bleu"; known are accuracy, f1, mcc, pearsonr, spearmanr, micro_f1, macro_f1'


def test_format_of_the_log():
    assert format_metrics([('accuracy', 0.88727), ('f1', 0.91963)]) == 'accuracy:0.8873,f1:0.9196'
    assert format_metrics([('pearsonr', float('nan'))]) == 'pearsonr:nan'


class TwoWorkers(SingleWorker):
    """This worker, and another one with 3 tokens of 4 right."""

    def sum(self, values):
        return np.asarray(values) + [3, 4]


def test_token_accuracy():
    """By hand: 4 of 6 labelled tokens, over batches of different lengths."""
    metric = TokenAccuracy(SingleWorker())
    assert metric.get() == []
    metric.update(np.array([[0, 1, -100], [2, -100, -1]]),
                  np.eye(3)[[[0, 1, 2], [1, 0, 0]]])
    metric.update(np.array([[0, 1, 2]]), np.eye(3)[[[0, 1, 1]]])
    assert metric.get() == [('token_accuracy', 4 / 6)] == metric.get()
    metric.reset()
    metric.update(np.full((1, 2), -100), np.zeros((1, 2, 3)))
    assert metric.get() == []
    metric = TokenAccuracy(TwoWorkers())
    metric.update(np.array([[0, 0]]), np.eye(3)[[[0, 1]]])
    assert metric.get() == [('token_accuracy', 4 / 6)]
