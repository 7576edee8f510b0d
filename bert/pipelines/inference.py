"""The loop that predicts in batches, and inferences: what pipelines hand to it.

A pipeline turns texts into an `Inference`: inputs of a network, and functions for its outputs. It
can be run at once, or share batches with others, as the server does.
"""
import contextlib
import math
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bert.data.batches import collate
from bert.errors import UserError
from bert.model.arrays import to_numpy
from bert.model.weights.file_formats import is_finite
from bert.train.log import progress_bar
from bert.train.loop import EvaluationInterrupted

# MXNet hybridizes a network, and plans its memory, in the thread that calls it first: no two
# threads may predict with networks of the process at once. Training has the process for itself.
NETWORK_LOCK = threading.RLock()
NOT_FINITE = ('the outputs of the network are not finite (nan or inf): its training diverged, or '
              'its weights are damaged')


class NetworkRunner:
    """Runs `Features` through a network in batches.

    compute: function, `Batch` → outputs NDArray. make_batches: function, list of `Features` → lists
    of indices, so that `compute` is fast. padding_id: of the vocabulary.
    """

    def __init__(self, compute, make_batches, padding_id):
        self.compute, self.make_batches, self.padding_id = compute, make_batches, padding_id

    def compute_batch(self, features, **padding):
        """(`Batch`, outputs NumPy) of `Features`. padding: arguments of `collate`."""
        batch = collate(features, self.padding_id, **padding)
        with NETWORK_LOCK:
            return batch, to_numpy(self.compute(batch))

    def run(self, features, batches, interrupt=None, unit=None, description=None, numbers=None,
            **padding):
        """Yields (indices, `Batch`, outputs NumPy) for each of `batches`.

        features: sequence of `Features`. batches: lists of indices. unit: of the progress bar,
        'batch' or what each index stands for; None: there is no bar. numbers: the number of each
        text, for errors; default: its index. Raises `EvaluationInterrupted` when
        `interrupt.is_requested`, and `UserError` for outputs that are not finite.
        """
        sizes = [1 if unit == 'batch' else len(indices) for indices in batches]
        bar = progress_bar(sum(sizes), unit=unit, description=description) if unit else None
        with contextlib.nullcontext() if bar is None else bar:
            for size, indices in zip(sizes, batches):
                if interrupt is not None and interrupt.is_requested:
                    raise EvaluationInterrupted
                batch, outputs = self.compute_batch([features[i] for i in indices], **padding)
                if not is_finite(outputs):
                    index = indices[int(np.argmin(finite_rows(outputs)[:len(indices)]))]
                    raise UserError('text %d: %s' % (index if numbers is None else numbers[index],
                                                     NOT_FINITE))
                yield indices, batch, outputs
                if bar is not None:
                    bar.update(size)


def finite_rows(outputs):
    """(size,) bool: whether all numbers of a row are finite."""
    return np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)


class Inference(NamedTuple):
    """What a network computes for some texts, and what becomes of its outputs.

    runner: `NetworkRunner`. features: what it computes; a text may have several, in windows.
    collect: function(index, outputs NumPy of these features), called once for each, in any order.
    result: function, called after that; gives the results. num_tokens: of each text before it is
    cut, special tokens included. max_tokens: the length at which texts are cut. texts: for each
    of the features the index of its text; None: they have one each. unit: what a text is called in
    messages; a 'question' is counted and cut without special tokens. result_tokens: how many tokens
    `result` handles; None: as many as the network reads.
    """
    runner: NetworkRunner
    features: Sequence
    collect: Callable
    result: Callable
    num_tokens: Sequence
    max_tokens: float = math.inf
    texts: Sequence | None = None
    unit: str = 'text'
    result_tokens: int | None = None

    @property
    def num_cut(self):
        """How many texts are cut."""
        return sum(count > self.max_tokens for count in self.num_tokens)

    @property
    def num_read(self):
        """How many tokens the network reads."""
        return sum(item.valid_length for item in self.features)

    def then(self, function):
        """The inference whose result is `function` of this one's."""
        return self._replace(result=lambda: function(self.result()))

    def run(self, first=0):
        """Compute it and return its result. first: number of the first text, for errors. Raises
        `UserError` for outputs that are not finite."""
        features = self.features
        numbers = range(len(features)) if self.texts is None else self.texts
        for indices, _, outputs in self.runner.run(
                features, self.runner.make_batches(features),
                numbers=[first + number for number in numbers]):
            for i, row in zip(indices, outputs):
                self.collect(i, row)
        return self.result()
