"""Training and evaluation of a question answerer: what the trainer calls."""
import logging
import time

import mxnet as mx
import numpy as np

from bert.data.batches import collate
from bert.data.squad import metric as squad_metric
from bert.jobs.runs.training import NetworkTask
from bert.model.qa import BertForQALoss


class SquadTask(NetworkTask):
    """A `bert.train.trainer.TrainingTask` of a question answerer.

    model: `QuestionAnswerer`. data: {kind: `SquadData`}. log_line: function, `LogEntry` → text.
    answers: to the dev questions, by the parameters of the last evaluation; None before.
    """

    def __init__(self, options, name, model, data, folder, workers, log_line):
        super().__init__(options, name, model, folder, workers)
        self.data, self.log_line, self.answers = data, log_line, None
        self._loss = BertForQALoss()
        self._loss.hybridize()
        if 'train' in data:
            self.digest = data['train'].digest

    # Training

    def batches_of(self, epoch):
        return self.draw_batches(self.data['train'].windows.lengths, epoch)

    def collate(self, indices):
        windows = self.data['train'].windows
        return collate([windows[i] for i in indices], self.model.padding_id,
                       self.options.round_to or 1)

    def forward(self, batch):
        outputs = self.model.outputs(batch)
        labels, lengths = (mx.nd.array(array, ctx=self.model.device, dtype='float32')
                           for array in (batch.labels, batch.valid_length))
        return self._loss(outputs, [labels[:, 0], labels[:, 1]], lengths), labels, outputs

    # Evaluation

    def evaluate(self, interrupt=None, is_last_epoch=True):
        """{'dev': scores} after the last epoch, or with --evaluate_epochs after each; else {}."""
        self.answers = None
        if not (self.options.evaluate_epochs or is_last_epoch):
            return {}
        self.answers = self.predict('dev', interrupt)
        if not self.data['dev'].squad.has_labels:
            return {}
        values = self.score(self.answers)
        logging.info(str(values))
        # F1 picks the best checkpoint
        return {'dev': [('f1', values.pop('f1'))] + list(values.items())}

    def predict(self, kind, interrupt=None):
        """[`Answer`], one per question. Raises `EvaluationInterrupted`."""
        data, start_time = self.data[kind], time.time()
        answers = self.model.find_answers(data.squad, data.windows, self.options.test_batch_size,
                                          interrupt, self.workers)
        seconds = time.time() - start_time
        logging.info('Time cost=%.2f s, Throughput=%.2f samples/s', seconds,
                     len(data.windows) / seconds)
        return answers

    def score(self, answers):
        """The official metrics on dev, under their official keys."""
        squad, threshold = self.data['dev'].squad, self.model.task['null_score_diff_threshold']
        if not self.options.version_2:
            return squad_metric.evaluate_v1(squad.answers(), predicted_texts(squad, answers))
        return squad_metric.evaluate_v2(
            squad.answers(), predicted_texts(squad, answers, True, np.inf),
            {q.id: answer.null_odds for q, answer in zip(squad.questions, answers)}, threshold)


def predicted_texts(squad, answers, version_2=False, threshold=0.0):
    """{question id: text}, the content of predictions.json."""
    return {question.id: answer.text(version_2, threshold)
            for question, answer in zip(squad.questions, answers)}
