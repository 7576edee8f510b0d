"""One optimizer step: forward, backward, clip, update."""
from typing import NamedTuple

import mxnet as mx
import numpy as np

from bert.train import optimizer
from bert.train.workers import Alone

# Dynamic loss scale of float16: start and growth interval of the original scripts.
INITIAL_LOSS_SCALE = 2.0 ** 10
GROWTH_INTERVAL = 2000
MAX_SEED = 2 ** 31
# MXNet's multi_all_finite has room for 200 arrays (src/operator/contrib/all_finite-inl.h), and
# writes on beyond them: BERT-base with a head has 201
MAX_ARRAYS = 100


class StepResult(NamedTuple):
    """What a step leaves; arrays are not waited for."""
    loss: mx.nd.NDArray         # (1,) mean over the examples of the step
    gradient_norm: mx.nd.NDArray    # (1,) before clipping
    outputs: list               # of (labels, network outputs) NDArrays, one a micro-batch
    num_examples: int           # of this worker
    all_examples: int           # of all workers: of these the loss is this one's part of the mean


class Parts(NamedTuple):
    """A batch shared out: one part for each device of this worker that gets something of it."""
    parts: list


class LossScale:
    """Multiplies a float16 loss so that small gradients survive; 1 for float32."""

    def __init__(self, enabled):
        self.enabled = enabled
        self.value = INITIAL_LOSS_SCALE if enabled else 1.0
        self.good_steps = 0

    def accept(self, gradient_norm):
        """Whether the step may be applied; adapts the scale. Waits for the norm."""
        if not self.enabled:
            return True
        if not np.isfinite(gradient_norm.asscalar()):
            self.value = max(self.value / 2, 1.0)
            self.good_steps = 0
            return False
        self.good_steps += 1
        if self.good_steps == GROWTH_INTERVAL:
            self.value *= 2
            self.good_steps = 0
        return True


class Stepper:
    """Trains a network one optimizer step at a time, on as many devices as its parameters are on.

    forward: function(batch) → (losses (size,) NDArray, labels, outputs), run while recording.
        Of a batch that is `Parts` it is called with each.
    trainer: from `optimizer.make_trainer`.
    seed: the random numbers of step n depend on (seed, n) and the worker alone. MXNet's generator
        can't be read back, so reseeding is what lets a resumed run draw the same dropout.
    workers: a step's gradient is the mean over the examples of all.
    fused: of `optimizer.clipped_update`.
    """

    def __init__(self, forward, trainer, seed, max_norm=1.0, float16=False, workers=None,
                 fused=None):
        self.trainer = trainer
        self.loss_scale = LossScale(float16)
        self._forward = forward
        self._seed = seed
        self._max_norm = max_norm
        self._parameters = [p for p in trainer._params if p.grad_req != 'null']
        self._devices = self._parameters[0].list_ctx()
        self._workers = workers or Alone()
        self._fused = fused

    def step(self, number, batches, learning_rate):
        """Apply the mean gradient over all examples of `batches` (micro-batches); each
        example weighs the same, also when the last batch is smaller."""
        mx.random.seed(step_seed(self._seed, number, self._workers.rank))
        parts = [part for batch in batches for part in getattr(batch, 'parts', [batch])]
        totals = self._workers.sum(self._count(parts))
        self._accumulate_gradients(len(batches) > 1)
        total, outputs = mx.nd.zeros(1, ctx=self._devices[0]), []
        for part in parts:
            with mx.autograd.record():
                loss, labels, output = self._part(part, totals)
                scaled = loss * self.loss_scale.value
            scaled.backward()
            total = total + loss.detach().as_in_context(self._devices[0])
            outputs.append((labels, output.detach()))
        norm = self._update(learning_rate)
        return StepResult(total, norm, outputs, sum(part.size for part in parts),
                          int(totals[-1]))

    def _count(self, parts):
        """What the losses of a step are divided by; the last is the number of examples."""
        return [sum(part.size for part in parts)]

    def _part(self, batch, totals):
        """(this batch's part of the step's loss, labels, outputs)"""
        losses, labels, output = self._forward(batch)
        return losses.astype('float32').sum() / totals[0], labels, output

    def is_finite(self):
        """Whether every parameter is; waits for the device."""
        arrays = [parameter.list_data()[0] for parameter in self._parameters]
        parts = [arrays[i:i + MAX_ARRAYS] for i in range(0, len(arrays), MAX_ARRAYS)]
        return all([mx.nd.multi_all_finite(*part, num_arrays=len(part)).asscalar()
                    for part in parts])

    def _accumulate_gradients(self, accumulate):
        """Make backward write over the last gradients, or add to zeros; always the latter with
        several devices or workers, of which one may get nothing."""
        accumulate = accumulate or len(self._devices) > 1 or self._workers.size > 1
        request = 'add' if accumulate else 'write'
        for parameter in self._parameters:
            if parameter.grad_req != request:
                parameter.grad_req = request
            if accumulate:
                parameter.zero_grad()

    def _update(self, learning_rate):
        """Apply the gradients; returns their norm. A float16 step that overflowed is left
        out, and the loss scale halved."""
        optimizer.sum_gradients(self.trainer, self._workers)
        gradients = [parameter.list_grad()[0] for parameter in self._parameters]
        self.trainer.set_learning_rate(learning_rate)
        if not self.loss_scale.enabled:
            return optimizer.clipped_update(self.trainer, gradients, self._max_norm,
                                            fused=self._fused)
        scale = self.loss_scale.value
        norm = optimizer.global_norm(gradients) / scale
        if self.loss_scale.accept(norm):
            optimizer.clipped_update(self.trainer, gradients, self._max_norm, scale)
        return norm


class PretrainingStepper(Stepper):
    """The same for two losses: the mean over all masked tokens of a step, however many each of its
    batches holds, and the mean over its pairs of sentences.

    forward: function(part of a batch) → (4,) NDArray, the sums of
        `bert.model.pretraining.PretrainingSums`, on the part's device.
    The labels and outputs of its results are what was counted, (3,): masked tokens, pairs and
    tokens, and those sums.
    """

    def _count(self, parts):
        return [sum(part.num_masked for part in parts), sum(part.size for part in parts)]

    def _part(self, batch, totals):
        sums = self._forward(batch)
        counted = mx.nd.array([batch.num_masked, batch.size, batch.num_tokens])
        return sums[0:1] / max(totals[0], 1) + sums[2:3] / totals[1], counted, sums


def step_seed(seed, number, worker=0):
    """A seed for step `number`, unlike that of its neighbours, of other seeds and workers."""
    words = [seed % 2 ** 32, number] + [worker] * bool(worker)
    return int(np.random.RandomState(words).randint(MAX_SEED))
