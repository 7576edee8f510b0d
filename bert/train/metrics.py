"""Metrics of classification and regression, from scikit-learn and scipy."""
import warnings

import numpy as np
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef

from bert.errors import UserError
from bert.train.workers import Alone


def accuracy(labels, predictions):
    return float(np.mean(labels == predictions))


def f1(labels, predictions):
    """F1 of class 1, as GLUE scores MRPC and QQP; 0 when the class never occurs."""
    return float(f1_score(labels, predictions, labels=[1], average='macro', zero_division=0))


def mcc(labels, predictions):
    """Matthews correlation, as GLUE scores CoLA; 0 when all predictions agree."""
    return float(matthews_corrcoef(labels, predictions))


def pearsonr(labels, predictions):
    return _correlation(stats.pearsonr, labels, predictions)


def spearmanr(labels, predictions):
    return _correlation(stats.spearmanr, labels, predictions)


def _correlation(function, labels, predictions):
    """Not a number when one side is constant or not finite: then there is none to tell."""
    if len(labels) < 2 or not np.isfinite(predictions).all():
        return float('nan')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')     # scipy warns of constant input; the result says it
        return float(function(labels, predictions)[0])


METRICS = {'accuracy': accuracy, 'f1': f1, 'mcc': mcc, 'pearsonr': pearsonr,
           'spearmanr': spearmanr}


class Metric:
    """Several metrics over all that `update` was given.

    names: keys of `METRICS`. Correlations take the one output of a regression as it is,
    the others the class with the highest score. workers: over what all of them were given.
    """

    def __init__(self, names, workers=None):
        unknown = [name for name in names if name not in METRICS]
        if unknown:
            raise UserError('no metric "%s"; known are %s' % (unknown[0], ', '.join(METRICS)))
        self.names = tuple(names)
        self._workers = workers or Alone()
        self.reset()

    def reset(self):
        self._new, self._all = [], []   # of (labels, predictions)

    def update(self, labels, outputs):
        """labels (batch,), outputs (batch, number of outputs), NumPy arrays."""
        one_output = outputs.shape[1] == 1
        self._new.append((labels, outputs[:, 0] if one_output else outputs.argmax(axis=1)))

    def get(self):
        """[(name, value)] in the order of the names; [] before the first update."""
        self._all += [batch for part in self._workers.gather(self._new) for batch in part]
        self._new = []
        if not self._all:
            return []
        labels, predictions = map(np.concatenate, zip(*self._all))
        return [(name, METRICS[name](labels, predictions)) for name in self.names]


class PretrainingMetric:
    """Losses and, unless not wanted, accuracies of pre-training over all that was counted since the
    last `get`."""
    NAMES = ('mlm_loss', 'mlm_acc', 'nsp_loss', 'nsp_acc')

    def __init__(self, workers, with_accuracy=True):
        self._workers, self._with_accuracy = workers, with_accuracy
        self._clear()

    def _clear(self):
        self._counted, self._sums = np.zeros(3), np.zeros(4)

    def reset(self):
        """Nothing: a log line may go over the end of an epoch."""

    def update(self, counted, sums):
        """counted (3,): masked tokens, pairs and tokens; sums (4,): see
        `bert.model.pretraining.PretrainingSums`."""
        self._counted += counted
        self._sums += sums

    def get(self):
        """[(name, value)] of NAMES, accuracies in percent, and 'tokens', over all workers; starts
        anew. Not a number where nothing was counted."""
        found = self._workers.sum(np.concatenate([self._counted, self._sums]))
        (masked, pairs, tokens), sums = found[:3], found[3:]
        with np.errstate(invalid='ignore', divide='ignore'):
            values = sums / [masked, masked, pairs, pairs] * [1, 100, 1, 100]
        self._clear()
        return [(name, float(value)) for name, value in zip(self.NAMES, values)
                if self._with_accuracy or 'acc' not in name] + [('tokens', int(tokens))]


def format_metrics(values):
    """[(name, value)] as the original log prints them: accuracy:0.8873,f1:0.9196"""
    return ','.join('%s:%.4f' % item for item in values)
