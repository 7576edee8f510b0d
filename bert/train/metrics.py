"""Metrics of classification and regression, over NumPy arrays of labels and predictions."""
import numpy as np

from bert.errors import UserError


def accuracy(labels, predictions):
    return float(np.mean(labels == predictions))


def f1(labels, predictions):
    """F1 of class 1, as GLUE scores MRPC and QQP; 0 when the class never occurs."""
    found = np.sum((labels == 1) & (predictions == 1))
    total = np.sum(labels == 1) + np.sum(predictions == 1)
    return float(2 * found / total) if total else 0.0


def mcc(labels, predictions):
    """Matthews correlation, as GLUE scores CoLA; 0 when all predictions agree. Of two classes
    it is the correlation of their zeros and ones."""
    correlation = pearsonr(labels, predictions)
    return 0.0 if np.isnan(correlation) else correlation


def pearsonr(labels, predictions):
    """Not a number when one side is constant: then there is no correlation to tell."""
    with np.errstate(invalid='ignore'):     # infinite values: the result says it
        labels, predictions = _centred(labels), _centred(predictions)
        scale = np.linalg.norm(labels) * np.linalg.norm(predictions)
        return float(labels @ predictions / scale) if scale else float('nan')


def spearmanr(labels, predictions):
    """Pearson's correlation of the ranks."""
    return pearsonr(_ranks(labels), _ranks(predictions))


def _centred(values):
    values = values.astype('float64')
    if (values == values[0]).all():     # their mean need not be equal to them to the last bit
        return np.zeros_like(values)
    return values - values.mean()


def _ranks(values):
    """Ranks from 1 on; equal values share the mean of theirs."""
    _, positions, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return np.where(np.isfinite(values), ranks[positions], np.nan)


METRICS = {'accuracy': accuracy, 'f1': f1, 'mcc': mcc, 'pearsonr': pearsonr,
           'spearmanr': spearmanr}


class Metric:
    """Several metrics over all that `update` was given.

    names: keys of `METRICS`. Correlations take the one output of a regression as it is,
    the others the class with the highest score.
    """

    def __init__(self, names):
        unknown = [name for name in names if name not in METRICS]
        if unknown:
            raise UserError('no metric "%s"; known are %s' % (unknown[0], ', '.join(METRICS)))
        self.names = tuple(names)
        self.reset()

    def reset(self):
        self._labels, self._predictions = [], []

    def update(self, labels, outputs):
        """labels (batch,), outputs (batch, number of outputs), NumPy arrays."""
        one_output = outputs.shape[1] == 1
        self._labels.append(labels)
        self._predictions.append(outputs[:, 0] if one_output else outputs.argmax(axis=1))

    def get(self):
        """[(name, value)] in the order of the names; [] before the first update."""
        if not self._labels:
            return []
        labels, predictions = np.concatenate(self._labels), np.concatenate(self._predictions)
        return [(name, METRICS[name](labels, predictions)) for name in self.names]


def format_metrics(values):
    """[(name, value)] as the original log prints them: accuracy:0.8873,f1:0.9196"""
    return ','.join('%s:%.4f' % item for item in values)
