"""Training and evaluation of a token classifier: what the trainer calls."""
import logging
import time

import mxnet as mx
import numpy as np

from bert.data.batches import collate
from bert.data.ner.metric import EntityScore
from bert.data.ner.tagged_data import digest_windows
from bert.data.ner.windows import pad_labels
from bert.jobs.runs.training import NetworkTask
from bert.model.token_classification import TokenClassificationLoss
from bert.pipelines.token_classification import METRICS
from bert.train.metrics import TokenAccuracy, format_metrics


class TokenTask(NetworkTask):
    """A `bert.train.trainer.TrainingTask` of a `TokenClassifier`. data: {segment: `TaggedData`}.
    """

    def __init__(self, options, name, model, data, folder, workers):
        super().__init__(options, name, model, folder, workers)
        self.data, self._loss = data, TokenClassificationLoss()
        self._loss.hybridize()
        if 'train' in data:
            self.windows = data['train'].make_windows(
                model.tokenizer, model.max_len, model.task['labels'], options.scheme)
            self.digest, self.metric = digest_windows(self.windows), TokenAccuracy(workers)
            self._labels_per_window = np.mean([(window.features.label >= 0).sum()
                                               for window in self.windows])

    # Training

    def batches_of(self, epoch):
        return self.draw_batches([window.features.valid_length for window in self.windows], epoch)

    def collate(self, indices):
        features = [self.windows[i].features for i in indices]
        batch = collate([item._replace(label=None) for item in features], self.model.padding_id,
                        self.options.round_to or 1)
        return batch._replace(labels=pad_labels([item.label for item in features],
                                                batch.token_ids.shape[1]))

    def forward(self, batch):
        """Each label weighs the same: losses are sums over the labels of a window, divided by the
        mean number of labels. If they were divided by the number in the batch, labels in batches of
        short sentences would weigh more."""
        outputs = self.model.outputs(batch)
        labels = mx.nd.array(batch.labels, ctx=self.model.device, dtype='float32')
        return self._loss(outputs, labels) / self._labels_per_window, labels, outputs

    # Evaluation

    def evaluate(self, interrupt=None, is_last_epoch=True):
        logging.info('Now we are doing evaluation on dev with %s.', self.model.device)
        scores = self.score(self.data['dev'], self.predict(self.data['dev'], interrupt))
        values = [(name, scores.scores()[name]) for name in METRICS]
        logging.info('validation metrics:%s', format_metrics(values))
        return {'dev': values}

    def predict(self, data, interrupt=None):
        """The tags of the words of each sentence. Raises `EvaluationInterrupted`."""
        start_time = time.time()
        logits = self.model.compute_logits(
            data.sequences, self.options.dev_batch_size, interrupt=interrupt,
            workers=self.workers, unit='batch')
        seconds = time.time() - start_time
        logging.info('Time cost=%.2fs, throughput=%.2f sentences/s', seconds, len(data) / seconds)
        return self.model.word_tags(data.sequences, logits)

    def score(self, data, predictions):
        """The `EntityScore` of predicted tags."""
        score = EntityScore()
        for gold_tags, tags in zip(data.tags, predictions):
            score.add(gold_tags, tags)
        return score
