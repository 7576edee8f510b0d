"""One optimizer step: forward, backward, clip, update."""
from typing import NamedTuple

import mxnet as mx
import numpy as np

from bert.train import optimizer
from bert.train.workers import SingleWorker

# Dynamic loss scale of float16: first value and growth interval as in the original scripts.
INITIAL_LOSS_SCALE = 2.0 ** 10
GROWTH_INTERVAL = 2000
MAX_SEED = 2 ** 31
# MXNet's multi_all_finite has room for 200 arrays (src/operator/contrib/all_finite-inl.h) and
# writes past the end of its buffer for more; BERT-base with a head has 201
MAX_ARRAYS_PER_CHECK = 100


class StepResult(NamedTuple):
    """The results of a step; its arrays may still be pending."""
    loss: mx.nd.NDArray         # (1,) mean over the examples of the step
    gradient_norm: mx.nd.NDArray    # (1,) before clipping
    outputs: list               # (labels, network outputs) NDArrays per micro-batch
    num_examples: int           # of this worker
    all_examples: int           # of all workers; `loss` is this worker's part of their mean


class SplitBatch(NamedTuple):
    """A batch split over the devices of this worker: one part per device, without empty parts."""
    parts: list


class LossScale:
    """The factor for a float16 loss that keeps small gradients from vanishing; 1 for float32."""

    def __init__(self, enabled):
        self.enabled = enabled
        self.value = INITIAL_LOSS_SCALE if enabled else 1.0
        self.good_steps = 0

    def accept(self, gradient_norm):
        """Whether to apply the step; adapts the scale. Waits for the norm."""
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
    """Trains a network one optimizer step at a time, on all devices that hold its parameters.

    forward: function(batch) → (losses (size,) NDArray, labels, outputs), called while recording.
        If a batch is a `SplitBatch`, `forward` is called with each part.
    trainer: from `optimizer.make_trainer`.
    seed: the random numbers of step n depend only on (seed, n) and the worker. MXNet's generator
        can't be read back, so a resumed run gets the same dropout only by reseeding at each step.
    workers: a step's gradient is the mean over the examples of all workers.
    fused: parameter of `optimizer.clip_and_update`.
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
        self._workers = workers or SingleWorker()
        self._fused = fused

    def step(self, step, batches, learning_rate):
        """Apply the mean gradient over all examples of `batches` (micro-batches). All examples have
        the same weight, also when the last batch is smaller. step: counted from 1. Returns a
        `StepResult`."""
        mx.random.seed(step_seed(self._seed, step, self._workers.rank))
        parts = [part for batch in batches for part in getattr(batch, 'parts', [batch])]
        divisors = self._workers.sum(self._divisors(parts))
        self._accumulate_gradients(len(batches) > 1)
        step_loss, outputs = mx.nd.zeros(1, ctx=self._devices[0]), []
        for part in parts:
            with mx.autograd.record():
                loss, labels, output = self._part_loss(part, divisors)
                scaled_loss = loss * self.loss_scale.value
            scaled_loss.backward()
            step_loss = step_loss + loss.detach().as_in_context(self._devices[0])
            outputs.append((labels, output.detach()))
        norm = self._update(learning_rate)
        return StepResult(step_loss, norm, outputs, sum(part.size for part in parts),
                          int(divisors[-1]))

    def _divisors(self, parts):
        """The divisors of a step's losses; the last one is the number of examples."""
        return [sum(part.size for part in parts)]

    def _part_loss(self, part, divisors):
        """(this part's share of the step's loss, labels, outputs)"""
        losses, labels, output = self._forward(part)
        return losses.astype('float32').sum() / divisors[0], labels, output

    def is_finite(self):
        """Whether all parameters are finite; waits for the device."""
        arrays = [parameter.list_data()[0] for parameter in self._parameters]
        groups = [arrays[i:i + MAX_ARRAYS_PER_CHECK]
                  for i in range(0, len(arrays), MAX_ARRAYS_PER_CHECK)]
        return all([mx.nd.multi_all_finite(*group, num_arrays=len(group)).asscalar()
                    for group in groups])

    def _accumulate_gradients(self, accumulate):
        """Let backward overwrite the gradients of the last step, or (accumulate) add to zeros. With
        several devices or workers it always adds, because some may get no examples."""
        accumulate = accumulate or len(self._devices) > 1 or self._workers.size > 1
        request = 'add' if accumulate else 'write'
        for parameter in self._parameters:
            if parameter.grad_req != request:
                parameter.grad_req = request
            if accumulate:
                parameter.zero_grad()

    def _update(self, learning_rate):
        """Apply the gradients; returns their norm. Skips a float16 step whose gradients overflowed,
        and halves the loss scale."""
        optimizer.sum_gradients(self.trainer, self._workers)
        gradients = [parameter.list_grad()[0] for parameter in self._parameters]
        self.trainer.set_learning_rate(learning_rate)
        if not self.loss_scale.enabled:
            return optimizer.clip_and_update(self.trainer, gradients, self._max_norm,
                                             fused=self._fused)
        scale = self.loss_scale.value
        norm = optimizer.global_norm(gradients) / scale
        if self.loss_scale.accept(norm):
            optimizer.clip_and_update(self.trainer, gradients, self._max_norm, scale)
        return norm


class PretrainingStepper(Stepper):
    """A `Stepper` for the sum of two losses: the mean over all masked tokens of a step, whatever
    their number in each batch, and the mean over its sentence pairs.

    forward: function(part of a batch) → (4,) NDArray, the sums of
        `bert.model.pretraining.PretrainingSums`, on the part's device.
    In its results the labels are counts (3,) of masked tokens, pairs and tokens, and the outputs
    are those sums.
    """

    def _divisors(self, parts):
        return [sum(part.num_masked for part in parts), sum(part.size for part in parts)]

    def _part_loss(self, part, divisors):
        sums = self._forward(part)
        counts = mx.nd.array([part.num_masked, part.size, part.num_tokens])
        return sums[0:1] / max(divisors[0], 1) + sums[2:3] / divisors[1], counts, sums


def step_seed(seed, step, worker=0):
    """A seed for a step that differs from those of its neighbours, of other seeds and workers."""
    words = [seed % 2 ** 32, step] + [worker] * bool(worker)
    return int(np.random.RandomState(words).randint(MAX_SEED))
