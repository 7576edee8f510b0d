"""Metrics of classification and regression, from scikit-learn and scipy, which are imported where
they are called: that takes a second, and prediction needs no metric."""
import warnings

import numpy as np

from bert.errors import UserError
from bert.probabilities import sigmoid
from bert.train.workers import SingleWorker


class NoValue(float):
    """NaN as a score that has no value. reason: why."""

    def __new__(cls, reason):
        value = super().__new__(cls, 'nan')
        value.reason = reason
        return value

    def __reduce__(self):
        return NoValue, (self.reason,)


def accuracy(labels, predictions):
    return float(np.mean(labels == predictions))


def f1(labels, predictions):
    """F1 of class 1, as GLUE scores MRPC and QQP; 0 when the class never occurs."""
    from sklearn.metrics import f1_score
    return float(f1_score(labels, predictions, labels=[1], average='macro', zero_division=0))


def micro_f1(labels, predictions):
    """F1 of all labels together: texts with several labels as (size, labels) arrays of 0 and 1."""
    return f1(labels.ravel(), predictions.ravel())


def macro_f1(labels, predictions):
    """The mean of the F1 of each label, on the same arrays; 0 for a label that never occurs."""
    from sklearn.metrics import f1_score
    if labels.shape[1] == 1:        # scikit-learn takes a single column for classes 0 and 1
        return f1(labels[:, 0], predictions[:, 0])
    return float(f1_score(labels, predictions, average='macro', zero_division=0))


def mcc(labels, predictions):
    """Matthews correlation, as GLUE scores CoLA; 0 when all predictions agree. It has no value for
    labels of one class."""
    if (labels == labels[0]).all():
        return NoValue('all labels are of one class')
    from sklearn.metrics import matthews_corrcoef
    return float(matthews_corrcoef(labels, predictions))


def pearsonr(labels, predictions):
    from scipy import stats
    return _correlation(stats.pearsonr, labels, predictions)


def spearmanr(labels, predictions):
    from scipy import stats
    return _correlation(stats.spearmanr, labels, predictions)


def _correlation(function, labels, predictions):
    """A correlation. It has no value when one side is constant or not finite."""
    for is_wrong, reason in ((len(labels) < 2, 'there are fewer than two scores'),
                             (not np.isfinite(predictions).all(), 'a prediction is not finite'),
                             ((labels == labels[0]).all(), 'all scores of the file are equal'),
                             ((predictions == predictions[0]).all(), 'all predictions are equal')):
        if is_wrong:
            return NoValue(reason)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')     # scipy warns of input that is nearly constant
        return float(function(labels, predictions)[0])


METRICS = {'accuracy': accuracy, 'f1': f1, 'mcc': mcc, 'pearsonr': pearsonr,
           'spearmanr': spearmanr, 'micro_f1': micro_f1, 'macro_f1': macro_f1}


def label_probabilities(outputs):
    """The probability of each label where a text may have several: the sigmoid of its output,
    float64."""
    return sigmoid(np.asarray(outputs, 'float64'))


class Metric:
    """Several metrics over the arrays of all calls of `update`.

    names: keys of `METRICS`. The single output of a regression is used as it is; with several
    outputs the prediction is the class with the highest score. threshold: a text may have several
    labels, and the predictions are those with at least this `label_probabilities`. workers: count
    the arrays of all of them. Raises `UserError` for an unknown name.
    """

    def __init__(self, names, workers=None, threshold=None):
        unknown = [name for name in names if name not in METRICS]
        if unknown:
            raise UserError('no metric "%s"; known are %s' % (unknown[0], ', '.join(METRICS)))
        self.names = tuple(names)
        self._workers, self._threshold = workers or SingleWorker(), threshold
        self.reset()

    def reset(self):
        # lists of (labels, predictions): of this worker since the last `get`, of all workers
        self._local_batches, self._all_batches = [], []

    def update(self, labels, outputs):
        """labels (batch,), or (batch, number of outputs) with a threshold, and outputs (batch,
        number of outputs), NumPy arrays."""
        if self._threshold is not None:
            predictions = (label_probabilities(outputs) >= self._threshold).astype('int32')
        else:
            is_regression = outputs.shape[1] == 1
            predictions = outputs[:, 0] if is_regression else outputs.argmax(axis=1)
        self._local_batches.append((labels, predictions))

    def get(self):
        """[(name, value)] in the order of the names; [] before the first update."""
        for batches in self._workers.gather(self._local_batches):
            self._all_batches += batches
        self._local_batches = []
        if not self._all_batches:
            return []
        labels, predictions = map(np.concatenate, zip(*self._all_batches))
        return [(name, METRICS[name](labels, predictions)) for name in self.names]


class TokenAccuracy:
    """The share of labelled tokens whose class has the highest score, over all calls of `update`.
    """

    def __init__(self, workers):
        self._workers = workers
        self.reset()

    def reset(self):
        self._counts = np.zeros(2)

    def update(self, labels, outputs):
        """labels (batch, length), negative for a token without a label; outputs (batch, length,
        classes). NumPy arrays."""
        is_labelled = labels >= 0
        is_right = (outputs.argmax(axis=-1) == labels) & is_labelled
        self._counts += is_right.sum(), is_labelled.sum()

    def get(self):
        """[('token_accuracy', value)], over all workers."""
        num_right, num_labelled = self._workers.sum(self._counts)
        return [('token_accuracy', float(num_right / num_labelled))] if num_labelled else []


class PretrainingMetric:
    """Losses and accuracies of pre-training over all calls of `update` since the last `get`.

    with_accuracy: whether `get` includes the accuracies.
    """
    NAMES = ('mlm_loss', 'mlm_acc', 'nsp_loss', 'nsp_acc')

    def __init__(self, workers, with_accuracy=True):
        self._workers, self._with_accuracy = workers, with_accuracy
        self._clear()

    def _clear(self):
        self._counts, self._sums = np.zeros(3), np.zeros(4)

    def reset(self):
        """Does nothing: the steps of a log line may belong to two epochs."""

    def update(self, counts, sums):
        """counts (3,): numbers of masked tokens, pairs and tokens; sums (4,): see
        `bert.model.pretraining.PretrainingSums`."""
        self._counts += counts
        self._sums += sums

    def get(self):
        """[(name, value)] of NAMES and of 'tokens', over all workers; resets the sums. Accuracies
        are in percent; a value is nan where its count is 0."""
        totals = self._workers.sum(np.concatenate([self._counts, self._sums]))
        (num_masked, num_pairs, num_tokens), sums = totals[:3], totals[3:]
        with np.errstate(invalid='ignore', divide='ignore'):
            values = sums / [num_masked, num_masked, num_pairs, num_pairs] * [1, 100, 1, 100]
        self._clear()
        return [(name, float(value)) for name, value in zip(self.NAMES, values)
                if self._with_accuracy or 'acc' not in name] + [('tokens', int(num_tokens))]


def format_metrics(values):
    """[(name, value)] as the original log prints them: accuracy:0.8873,f1:0.9196"""
    return ','.join('%s:%.4f' % item for item in values)
