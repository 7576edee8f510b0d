"""Examples with known answers: what a model is scored on, example by example."""
import hashlib
import logging

import numpy as np

from bert.data.batches import collate, subsample
from bert.data.glue.labels import LabelEncoder
from bert.data.glue.tasks import find_task, is_task
from bert.data.squad import metric as squad_metric
from bert.data.squad.files import read_squad
from bert.data.squad.windows import load_windows
from bert.data.text.readers import read_examples
from bert.data.transform import featurize
from bert.errors import UserError
from bert.train.metrics import Metric

LOG = logging.getLogger(__name__)

# The score that counts, the first of them that a task has: the order of lpot's BERT example, and
# F1 for question answering.
PRIORITY = ('f1', 'mcc', 'spearmanr', 'accuracy')


class Labelled:
    """A set of examples. `outputs` is what a model gives for them, (examples, …) NumPy, and
    `scores` what that is worth, {metric: value}; `metric` is the one that counts."""

    def __init__(self, name, source, metrics):
        self.name, self.source = name, source
        self.metric = next(metric for metric in PRIORITY if metric in metrics)

    def score(self, outputs, rows=None):
        """The score that counts, over all examples or some rows."""
        return self.scores(outputs, rows)[self.metric]


class LabelledTexts(Labelled):
    """For a `Classifier`. features: with labels. columns: of the model's outputs, in the order of
    the labels' indices; None where that is the model's own."""

    def __init__(self, name, source, features, metrics, columns=None):
        super().__init__(name, source, metrics)
        self.features, self._metrics, self._columns = features, metrics, columns
        self._labels = np.array([feature.label for feature in features])

    def __len__(self):
        return len(self.features)

    def part(self, name, rows):
        """The set of some rows."""
        return LabelledTexts(name, self.source, [self.features[i] for i in rows], self._metrics,
                             self._columns)

    def keys(self):
        """A text for each example that tells it from others."""
        return [feature.token_ids.tobytes() for feature in self.features]

    def outputs(self, model, batch_size, device):
        """Logits or scores (examples, classes)."""
        found = model.compute(self.features, batch_size, device)
        return found if self._columns is None else found[:, self._columns]

    def scores(self, outputs, rows=None):
        rows = slice(None) if rows is None else rows
        metric = Metric(self._metrics)
        metric.update(self._labels[rows], outputs[rows])
        return dict(metric.get())

    def batches(self, size, number, padding_id):
        """At most `number` batches of `size` examples, drawn from all over, of like length."""
        return collate_batches(self.features, size, number, padding_id)


class LabelledQuestions(Labelled):
    """For a `QAModel`. make_windows: function(`Squad`) → `bert.data.squad.windows.Windows`."""

    def __init__(self, name, squad, make_windows):
        super().__init__(name, squad.path, ('exact_match', 'f1'))
        self.squad, self.windows = squad, make_windows(squad)
        self._make_windows = make_windows

    def part(self, name, rows):
        return LabelledQuestions(name, self.squad.select(rows), self._make_windows)

    def __len__(self):
        return len(self.squad.questions)

    def keys(self):
        return [self.squad.contexts[question.context].encode('utf-8')
                for question in self.squad.questions]

    def outputs(self, model, batch_size, device):
        """(questions, 2): exact match and F1 of each, in percent."""
        task = model.task
        answers = model.find_answers(self.squad, self.windows, batch_size, device)
        texts = {question.id: answer.text(task['version_2'], task['null_score_diff_threshold'])
                 for question, answer in zip(self.squad.questions, answers)}
        found = squad_metric.score(self.squad.answers(), texts, task['version_2'])
        return 100 * np.array([[scores[question.id] for scores in found]
                               for question in self.squad.questions])

    def scores(self, outputs, rows=None):
        exact, f1 = outputs[slice(None) if rows is None else rows].mean(axis=0)
        return {'f1': float(f1), 'exact_match': float(exact)}

    def batches(self, size, number, padding_id):
        return collate_batches(self.windows, size, number, padding_id)


def collate_batches(features, size, number, padding_id):
    """At most `number` batches of `size` examples, drawn from all over `features`, sorted by
    length: the same for every seed."""
    chosen = subsample(list(range(len(features))), size * number)
    chosen = sorted(chosen, key=lambda i: features[i].valid_length)
    return [collate([features[i] for i in chosen[start:start + size]], padding_id)
            for start in range(0, len(chosen), size)]


def halves(labelled):
    """Two disjoint index arrays over the examples, parted by a hash of their texts: equal texts,
    and questions on one context, fall on one side."""
    odd = np.array([hashlib.sha256(key).digest()[0] % 2 for key in labelled.keys()], dtype=bool)
    return np.flatnonzero(~odd), np.flatnonzero(odd)


def without(one, others):
    """The set without what `others` have too: equal texts, or questions on one context. Raises
    `UserError` when nothing is left."""
    theirs = {key for other in others for key in other.keys()}
    rows = [row for row, key in enumerate(one.keys()) if key not in theirs]
    if not rows:
        raise UserError('%s: all its %d examples are in %s too, and would be scored after they '
                        'were used: name other files' % (
                            one.source, len(one), ', '.join(other.source for other in others)))
    if len(rows) == len(one):
        return one
    LOG.warning('%s: %d of %d examples are left out: %s has them too', one.source,
                len(one) - len(rows), len(one), ', '.join(other.source for other in others))
    return one.part(one.name, rows)


# Reading


def read_texts(task, model, name, path, table, limit=None):
    """The `LabelledTexts` of a file with labels."""
    check = LabelEncoder(task.labels, task.aliases)
    examples, rejected = read_examples(path, table, check, task.skip_bad_rows)
    if rejected:
        LOG.warning('%s: %d rows left out, the first of them: %s', path, len(rejected),
                    rejected[0].reason)
    features = featurize(subsample(examples, limit), model.tokenizer, model.max_len, check)
    cut = sum(feature.num_tokens > model.max_len for feature in features)
    if cut:
        LOG.warning('%s: %d of %d texts were cut at %d tokens', path, cut, len(features),
                    model.max_len)
    return LabelledTexts(name, path, features, task.metrics, class_columns(task, model.task))


def read_questions(model, name, path, limit=None, trainable=False):
    """The `LabelledQuestions` of a SQuAD file. trainable: of training data."""
    squad = read_squad(path, version_2=None)
    unanswered = sum(question.is_impossible or question.answers == ()
                     for question in squad.questions)
    if squad.labelled and unanswered and not model.task['version_2']:
        raise UserError('%s: %d of its %d questions have no answer, as in SQuAD 2.0, and the model '
                        'was trained on SQuAD 1.1: take a file of that'
                        % (path, unanswered, len(squad.questions)))
    if not squad.labelled:
        raise UserError('%s: its questions have no "answers": there is nothing to compare with'
                        % path)
    squad = squad.trainable() if trainable else squad
    squad = squad.select(subsample(list(range(len(squad.questions))), limit))
    return LabelledQuestions(name, squad, lambda squad: load_windows(
        squad, model.tokenizer, model.options)[0])


def class_columns(task, known):
    """The columns of a model's outputs in the order of the `Task`'s labels, None for scores.

    known: the model's own task. Its labels may stand in another order, or be placeholders, as in
    bare parameters and many models of transformers: those are taken in the task's order. Raises
    `UserError` for the labels of another task.
    """
    labels = known['labels']
    if (task.labels is None) != (labels is None) or len(task.labels or ()) != len(labels or ()):
        raise UserError('--task_name %s: it has %s, the model %s'
                        % (task.name, _count(task.labels), _count(labels)))
    if labels is None or has_placeholders(task, known):
        return None
    wanted = [label.lower() for label in task.labels]
    found = [task.aliases.get(label.lower(), label.lower()) for label in labels]
    if sorted(found) != sorted(wanted):
        raise UserError('--task_name %s: its classes are %s, and the model\'s %s: is it of another '
                        'task? If not, name them as the task does with convert_checkpoint.py '
                        '--classes' % (task.name, ', '.join(task.labels), ', '.join(labels)))
    return [found.index(label) for label in wanted]


def has_placeholders(task, known):
    """Whether the model's labels are mere numbers, which the task's are not. known: as above; one
    that was trained on another task of the table means what it says."""
    labels = known['labels'] or []
    numbers = [[form % i for i in range(len(labels))] for form in ('%d', 'LABEL_%d')]
    is_of_another = is_task(known['name']) and find_task(known['name']) is not task
    return labels in numbers and labels != list(task.labels or ()) and not is_of_another


def _count(labels):
    return '%d classes' % len(labels) if labels else 'scores'


def pick(sets, kind):
    """The first of `sets`, {name: `Labelled`}, whose name starts with 'train' or 'dev'."""
    return next(one for name, one in sets.items() if name.startswith(kind))


