"""Evaluation sets: examples with their right answers, on which a model is scored."""
import hashlib
import logging

import numpy as np

from bert.data.batches import collate, subsample
from bert.data.glue.tasks import find_task, is_task
from bert.data.ner.metric import EntityScore, entity_ratios
from bert.data.ner.schemes import examine_scheme, warn_of_unknown_types
from bert.data.ner.sentences import read_tagged_file
from bert.data.ner.tagged_data import tokenize_tagged
from bert.data.squad import metric as squad_metric
from bert.data.squad.files import read_squad
from bert.data.squad.windows import load_windows
from bert.data.text.readers import read_examples
from bert.errors import UserError
from bert.pipelines.token_classification import model_types
from bert.train.metrics import Metric

LOG = logging.getLogger(__name__)

# The first of these metrics that a task has is its main metric: the order of lpot's BERT example,
# and F1 for question answering.
METRIC_PRIORITY = ('f1', 'micro_f1', 'mcc', 'spearmanr', 'accuracy')


class EvaluationSet:
    """A set of examples. `outputs` gives a model's outputs for them, (examples, …) NumPy, and
    `scores` the scores of such outputs, {metric: value}; `metric` is the name of the main one."""

    def __init__(self, name, source, metrics):
        self.name, self.source = name, source
        self.metric = next(metric for metric in METRIC_PRIORITY if metric in metrics)

    def score(self, outputs, rows=None):
        """The main score, over all examples or over some rows."""
        return self.scores(outputs, rows)[self.metric]


class TextSet(EvaluationSet):
    """An evaluation set for a `Classifier`. features: with labels. columns: columns of the model's
    outputs in the order of the labels' indices; None if the model has the same order.
    threshold: of `Metric`."""

    def __init__(self, name, source, features, metrics, columns=None, threshold=None):
        super().__init__(name, source, metrics)
        self.features, self._metrics, self._columns = features, metrics, columns
        self._threshold = threshold
        self._labels = np.array([feature.label for feature in features])

    def __len__(self):
        return len(self.features)

    def subset(self, name, rows):
        """The evaluation set of some rows."""
        return TextSet(name, self.source, [self.features[i] for i in rows], self._metrics,
                       self._columns, self._threshold)

    def keys(self):
        """Bytes for each example. Equal texts have equal bytes."""
        return [feature.token_ids.tobytes() for feature in self.features]

    def outputs(self, model, batch_size):
        """Logits or scores (examples, classes)."""
        outputs = model.activate(model.compute_outputs(self.features, batch_size))
        return outputs if self._columns is None else outputs[:, self._columns]

    def score(self, outputs, rows=None):
        # a bootstrap calls this a thousand times: the other metrics are not computed
        return self._measure((self.metric,), outputs, rows)[self.metric]

    def scores(self, outputs, rows=None):
        return self._measure(self._metrics, outputs, rows)

    def _measure(self, metrics, outputs, rows):
        rows = slice(None) if rows is None else rows
        metric = Metric(metrics, threshold=self._threshold)
        metric.update(self._labels[rows], outputs[rows])
        return dict(metric.get())

    def batches(self, size, count, padding_id):
        """At most `count` batches of `size` examples from the whole set, of like lengths."""
        return collate_batches(self.features, size, count, padding_id)


class TaggedSet(EvaluationSet):
    """An evaluation set for a `TokenClassifier`, the model. data:
    `bert.data.ner.tagged_data.TaggedData`. Raises `UserError` for one whose classes are no tags."""

    def __init__(self, name, data, model):
        model.check_tags()
        super().__init__(name, data.path, ('f1',))
        self._data, self._model = data, model

    def __len__(self):
        return len(self._data)

    def subset(self, name, rows):
        return TaggedSet(name, self._data.select(rows), self._model)

    def keys(self):
        return [sequence.ids.tobytes() for sequence in self._data.sequences]

    def outputs(self, model, batch_size):
        """(sentences, 3): numbers of gold, predicted and right entities."""
        logits = model.compute_logits(self._data.sequences, batch_size)
        score, tags = EntityScore(), model.word_tags(self._data.sequences, logits)
        return np.array([score.add(*both) for both in zip(self._data.tags, tags)])

    def scores(self, outputs, rows=None):
        return entity_ratios(*outputs[slice(None) if rows is None else rows].sum(axis=0))

    def batches(self, size, count, padding_id):
        windows = self._data.make_windows(self._model.tokenizer, self._model.max_len)
        return collate_batches([window.features for window in windows], size, count, padding_id)


class QuestionSet(EvaluationSet):
    """An evaluation set for a `QuestionAnswerer`. make_windows: function, `Squad` →
    `bert.data.squad.windows.Windows`."""

    def __init__(self, name, squad, make_windows):
        super().__init__(name, squad.path, ('exact_match', 'f1'))
        self.squad, self.windows = squad, make_windows(squad)
        self._make_windows = make_windows

    def subset(self, name, rows):
        return QuestionSet(name, self.squad.select(rows), self._make_windows)

    def __len__(self):
        return len(self.squad.questions)

    def keys(self):
        return [self.squad.contexts[question.context].encode('utf-8')
                for question in self.squad.questions]

    def outputs(self, model, batch_size):
        """(questions, 2): exact match and F1 of each question, in percent."""
        task = model.task
        answers = model.find_answers(self.squad, self.windows, batch_size)
        texts = {question.id: answer.text(task['version_2'], task['null_score_diff_threshold'])
                 for question, answer in zip(self.squad.questions, answers)}
        exact_and_f1 = squad_metric.score_answers(self.squad.answers(), texts, task['version_2'])
        return 100 * np.array([[scores[question.id] for scores in exact_and_f1]
                               for question in self.squad.questions])

    def scores(self, outputs, rows=None):
        exact, f1 = outputs[slice(None) if rows is None else rows].mean(axis=0)
        return {'f1': float(f1), 'exact_match': float(exact)}

    def batches(self, size, count, padding_id):
        return collate_batches(self.windows, size, count, padding_id)


def collate_batches(features, size, count, padding_id):
    """At most `count` batches of `size` examples, drawn from all of `features` and sorted by
    length. They are the same for every seed."""
    indices = subsample(list(range(len(features))), size * count)
    indices = sorted(indices, key=lambda i: features[i].valid_length)
    return [collate([features[i] for i in indices[start:start + size]], padding_id)
            for start in range(0, len(indices), size)]


def split_in_halves(evaluation_set):
    """Split the examples by a hash of their texts; returns two disjoint index arrays. Equal texts,
    and questions on one context, come into the same half."""
    is_odd = np.array([hashlib.sha256(key).digest()[0] % 2 for key in evaluation_set.keys()],
                      dtype=bool)
    return np.flatnonzero(~is_odd), np.flatnonzero(is_odd)


def remove_overlap(evaluation_set, other_sets):
    """The evaluation set without examples that are also in `other_sets`: with equal texts, or
    questions on the same context. Raises `UserError` if nothing is left."""
    used_keys = {key for other_set in other_sets for key in other_set.keys()}
    rows = [row for row, key in enumerate(evaluation_set.keys()) if key not in used_keys]
    sources = ', '.join(other_set.source for other_set in other_sets)
    if not rows:
        raise UserError('%s: all %d examples are also in %s, and examples that were used must not '
                        'be scored: name other files'
                        % (evaluation_set.source, len(evaluation_set), sources))
    if len(rows) == len(evaluation_set):
        return evaluation_set
    LOG.warning('%s: %d of %d examples are left out, because they are also in %s',
                evaluation_set.source, len(evaluation_set) - len(rows), len(evaluation_set),
                sources)
    return evaluation_set.subset(evaluation_set.name, rows)


# Reading


def read_text_set(task, model, name, path, table, limit=None):
    """The `TextSet` of a file with labels."""
    encode_label = task.label_encoder()
    examples, rejected = read_examples(path, table, encode_label, task.skip_bad_rows)
    if rejected:
        LOG.warning('%s: %d rows left out, the first of them: %s', path, len(rejected),
                    rejected[0].reason)
    features = model.featurize(subsample(examples, limit), encode_label)
    num_cut = sum(feature.num_tokens > model.max_len for feature in features)
    if num_cut:
        LOG.warning('%s: %d of %d texts were cut at %d tokens', path, num_cut, len(features),
                    model.max_len)
    num_empty = sum(example.label == () for example in examples)
    if num_empty:
        LOG.warning('%s: %d of %d texts have no label', path, num_empty, len(examples))
    return TextSet(name, path, features, task.metrics, class_columns(task, model.task),
                   task.threshold)


def read_question_set(model, name, path, limit=None, trainable=False):
    """The `QuestionSet` of a SQuAD file. trainable: leave out questions that can't be trained
    on."""
    squad = read_squad(path, version_2=None)
    num_unanswered = sum(question.is_impossible or question.answers == ()
                         for question in squad.questions)
    if squad.has_labels and num_unanswered and not model.task['version_2']:
        raise UserError('%s: %d of its %d questions have no answer, as in SQuAD 2.0, but the model '
                        'was trained on SQuAD 1.1: name a file of SQuAD 1.1'
                        % (path, num_unanswered, len(squad.questions)))
    if not squad.has_labels:
        raise UserError('%s: its questions have no "answers": there is nothing to compare with'
                        % path)
    squad = squad.select_trainable() if trainable else squad
    squad = squad.select(subsample(list(range(len(squad.questions))), limit))
    return QuestionSet(name, squad, lambda squad: load_windows(
        squad, model.tokenizer, model.options)[0])


def read_tagged_set(model, name, path, columns, limit=None):
    """The `TaggedSet` of a file of words and tags. columns: `TagColumns`."""
    sentences = subsample(read_tagged_file(path, columns), limit)
    scheme = examine_scheme(sentences)
    warn_of_unknown_types(sentences, model_types(model.task['labels']))
    return TaggedSet(name, tokenize_tagged(path, sentences, scheme, model.tokenizer), model)


def class_columns(task, model_task):
    """The columns of a model's outputs in the order of the `Task`'s labels, None for scores.

    model_task: the task of the model. Its labels may have another order. Or they are placeholders,
    as in bare parameters and many models of transformers, and are taken in the `Task`'s order; the
    result is then None. Raises `UserError` for the labels of another task.
    """
    labels = model_task['labels']
    if (task.labels is None) != (labels is None) or len(task.labels or ()) != len(labels or ()):
        raise UserError('--task_name %s: the task has %s, but the model has %s'
                        % (task.name, _describe_labels(task.labels), _describe_labels(labels)))
    if labels is None or has_placeholders(task, model_task):
        return None
    task_labels = [label.lower() for label in task.labels]
    model_labels = [task.aliases.get(label.lower(), label.lower()) for label in labels]
    if sorted(model_labels) != sorted(task_labels):
        raise UserError('--task_name %s: the task has the classes %s, but the model has %s. If the '
                        'model is for this task, rename its classes with convert_checkpoint.py '
                        '--classes' % (task.name, ', '.join(task.labels), ', '.join(labels)))
    return [model_labels.index(label) for label in task_labels]


def has_placeholders(task, model_task):
    """Whether the model's labels are mere numbers and the `Task`'s are not. model_task: the task of
    the model; if it is another task of the table, its labels are taken as they are."""
    labels = model_task['labels'] or []
    placeholders = [[form % i for i in range(len(labels))] for form in ('%d', 'LABEL_%d')]
    has_another_task = is_task(model_task['name']) and find_task(model_task['name']) is not task
    return labels in placeholders and labels != list(task.labels or ()) and not has_another_task


def _describe_labels(labels):
    return '%d classes' % len(labels) if labels else 'scores'


def find_set(sets, kind):
    """The first of `sets`, {name: `EvaluationSet`}, whose name starts with `kind`, 'train' or
    'dev'."""
    return next(evaluation_set for name, evaluation_set in sets.items() if name.startswith(kind))
