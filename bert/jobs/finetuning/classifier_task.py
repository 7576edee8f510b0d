"""Training and evaluation of a classifier or regressor: what the trainer calls."""
import logging
import time

import mxnet as mx
import numpy as np

from bert.data.batches import collate, evaluation_batches
from bert.jobs.runs.training import NetworkTask
from bert.model.classification import make_loss
from bert.train.metrics import Metric, format_metrics
from bert.train.step import step_seed


class ClassifierTask(NetworkTask):
    """A `bert.train.trainer.TrainingTask` of a classifier.

    task: `bert.data.glue.tasks.Task`. model: `Classifier`. data: {segment: `SegmentData`}.
    """

    def __init__(self, options, task, model, data, folder, workers):
        super().__init__(options, task.name, model, folder, workers)
        self.task, self.data = task, data
        self.loss = make_loss(task.kind)
        self._padding = dict(round_to=options.round_to or 1,
                             pad_to=options.max_len if options.pad else None)
        if 'train' in data:
            self.metric = self._new_metric(workers)
            self.digest = data['train'].digest

    def _new_metric(self, workers=None):
        return Metric(self.task.metrics, workers, self.task.threshold)

    # Training

    def batches_of(self, epoch):
        return self.draw_batches(self.data['train'].lengths, epoch)

    def collate(self, indices):
        features = self.data['train'].features
        return collate([features[i] for i in indices], self.model.padding_id, **self._padding)

    def forward(self, batch):
        outputs = self.model.outputs(batch)
        labels = mx.nd.array(batch.labels, ctx=self.model.device)
        return self.loss(outputs, labels), labels, \
            outputs.sigmoid() if self.task.is_ranking else outputs

    def materialize(self):
        # the seed with which a single process draws these values
        mx.random.seed(step_seed(self.options.seed, 1))
        self.forward(self.collate([0]))

    # Evaluation

    def evaluate(self, interrupt=None, is_last_epoch=True):
        scores = {}
        for name in [name for name in self.data if name.startswith('dev')]:
            logging.info('Now we are doing evaluation on %s with %s.', name, self.model.device)
            outputs = self.predict(self.data[name], interrupt, log=True)
            scores[name] = self.score(self.data[name], outputs)
            logging.info('validation metrics:%s', format_metrics(scores[name]))
        return scores

    def score(self, data, outputs):
        """[(metric, value)] of a segment."""
        metric = self._new_metric()
        metric.update(np.array([feature.label for feature in data.features]),
                      self.model.activate(outputs))
        return metric.get()

    def predict(self, data, interrupt=None, log=False):
        """Outputs (examples, number of outputs) float32, in the order of the file. Raises
        `EvaluationInterrupted`."""
        options, lengths = self.options, data.lengths
        if options.pad or options.round_to:   # the flags ask for padding in any case
            batches = evaluation_batches(lengths, options.dev_batch_size)
        else:
            batches = self.model.batches(lengths, options.dev_batch_size)
        outputs = np.zeros((len(lengths), self.task.num_outputs), dtype='float32')
        start_time = time.time()
        num_batches = len(range(self.workers.rank, len(batches), self.workers.size))
        for i, (indices, batch, values) in enumerate(self.model.predict_batches(
                data.features, batches, interrupt, self.workers, 'batch', 'evaluating',
                **self._padding), 1):
            outputs[indices] = values
            if log and i % options.log_interval == 0:
                self._log_batch(i, num_batches, values, batch)
        seconds = time.time() - start_time
        logging.info('Time cost=%.2fs, throughput=%.2f samples/s', seconds,
                     len(lengths) / seconds)
        # the rows of other workers are zero here: the sum fills them in
        return outputs if self.workers.size == 1 else self.workers.sum(outputs).astype('float32')

    def _log_batch(self, index, num_batches, outputs, batch):
        metric = self._new_metric()
        metric.update(batch.labels, self.model.activate(outputs))
        loss = self.loss(mx.nd.array(outputs), mx.nd.array(batch.labels)).mean().asscalar()
        logging.info('[Batch %d/%d] loss=%.4f, metrics:%s', index, num_batches, loss,
                     format_metrics(metric.get()))
