"""The classification pipeline: texts → labels or scores, by our models or transformers'."""
import logging

import numpy as np

from bert.data.glue.tasks import TRUNCATION
from bert.data.text.readers import Example
from bert.data.transform import featurize
from bert.errors import UserError
from bert.pipelines.base import Pipeline, iterate_chunks
from bert.pipelines.inference import Inference
from bert.pipelines.records import Label, LabelSet, Score, counts_or_new
from bert.pipelines.text_pieces import check_text
from bert.probabilities import softmax
from bert.train.metrics import label_probabilities

LOG = logging.getLogger(__name__)

DEFAULT_THRESHOLD = 0.5     # of the probability of a label, where a text may have several
CHUNK = 4096    # texts tokenized and sorted by length together; bounds the memory


class Classifier(Pipeline):
    """Gives each text, or each pair of texts, a label or a score.

    task
        A dict with 'name', 'labels', 'pair' and 'metrics'. 'labels' is None for a regression.
        'pair' says whether the model reads pairs, and is None where nothing says it. A model of
        transformers also has 'truncation': long pairs are cut by its rule.

    The network's outputs are logits (size, classes) float32, or scores (size, 1).
    """
    task_keys = 'name', 'labels', 'pair', 'metrics'

    @staticmethod
    def output_shape(config, task, length):
        return len(task['labels'] or ['score']),

    def __call__(self, texts):
        """The `Label` or `Score` of each text, a list in the order of the texts. A single str gives
        a single record.

        texts
            An iterable of str, or of tuples of two str for a model of pairs. A single tuple is one
            pair. A model of transformers does not say whether it reads pairs, and takes either.

        Raises `UserError` for an item that is no text or pair.
        """
        is_single = isinstance(texts, str) or (
            isinstance(texts, tuple) and self.task['pair'] is not False)
        records = list(self.stream([texts] if is_single else texts))
        return records[0] if is_single else records

    def stream(self, texts, counts=None):
        """Yield the `Label` or `Score` of each text, in order.

        texts
            As for a call, from any iterator. They are not kept: the first record comes after
            4,096 texts, or after the last text.
        counts
            The `TextCounts` to count in. Without it, a warning at the end says how many texts were
            cut at the length of the model.

        Raises `UserError` for an item that is no text or pair.
        """
        own_counts, sizes = counts_or_new(counts), self._sizes
        try:
            for chunk in iterate_chunks(texts, CHUNK):
                first = own_counts.num_texts
                examples = _make_examples(chunk, first, sizes)
                sizes = (len(examples[0].texts),)
                inference = self._plan_examples(examples)
                own_counts.add(len(examples), inference.num_cut)
                yield from inference.run(first)
        finally:        # also where the caller stops early
            if own_counts.num_cut and counts is None:
                LOG.warning('%d of %d texts were cut at %d tokens, the length the model was '
                            'trained with', own_counts.num_cut, own_counts.num_texts,
                            self.max_len)

    def plan(self, texts):
        """The `Inference` whose result is the list of records of a list of texts or pairs."""
        return self._plan_examples(_make_examples(texts, 0, self._sizes))

    @property
    def _sizes(self):
        """How many texts an item may have."""
        return {True: (2,), False: (1,)}.get(self.task['pair'], (1, 2))

    def plan_outputs(self, texts, from_end=True):
        """The `Inference` whose result is the outputs (texts, classes) float32. Texts and pairs may
        be mixed for a model that takes either. from_end: where texts are cut that are too long."""
        return self._plan_example_outputs(
            [_make_example(item, i, self._sizes) for i, item in enumerate(texts)], from_end)

    def _plan_examples(self, examples):
        return self._plan_example_outputs(examples).then(self.records)

    def _plan_example_outputs(self, examples, from_end=True):
        features = self._featurize_mixed(examples, from_end)
        outputs = np.empty((len(features), self.num_outputs), dtype='float32')
        return Inference(self.runner, features, outputs.__setitem__, lambda: outputs,
                         [feature.num_tokens for feature in features], self.max_len)

    def _featurize_mixed(self, examples, from_end):
        """`featurize` of texts and pairs, which have different special tokens."""
        features = [None] * len(examples)
        for size in sorted({len(example.texts) for example in examples}):
            indices = [i for i, example in enumerate(examples) if len(example.texts) == size]
            for i, item in zip(indices, self.featurize([examples[i] for i in indices],
                                                       from_end=from_end)):
                features[i] = item
        return features

    def featurize(self, examples, encode_label=None, from_end=True):
        """`bert.data.transform.featurize` by the tokenizer, the length and the rule of the model.
        """
        return featurize(examples, self.tokenizer, self.max_len, encode_label,
                         self.task.get('truncation') == TRUNCATION, from_end)

    def activate(self, outputs):
        """The values that are reported and scored, of the network's outputs (size, classes): here
        these themselves."""
        return outputs

    def predictions(self, outputs):
        """Labels as text, or scores with three decimals, as GLUE submissions have them."""
        labels = self.task['labels']
        if labels is None:
            return ['%.3f' % score for score in outputs[:, 0]]
        return [labels[i] for i in outputs.argmax(axis=1)]

    @property
    def num_outputs(self):
        return len(self.task['labels'] or ['score'])

    def compute_outputs(self, features, batch_size):
        """Outputs (examples, classes), float32 NumPy, for `Features`, in their order."""
        outputs = np.empty((len(features), self.num_outputs), dtype='float32')
        for indices, _, batch_outputs in self.predict_batches(
                features, self.make_batches(features, batch_size)):
            outputs[indices] = batch_outputs
        return outputs

    def records(self, outputs):
        """outputs (size, classes) NumPy → a `Label` or `Score` per example."""
        labels = self.task['labels']
        if labels is None:
            return [Score(float(score)) for score in self.activate(outputs)[:, 0]]
        return [Label(labels[row.argmax()], float(row.max()),
                      {label: float(p) for label, p in zip(labels, row)})
                for row in softmax(outputs, axis=1)]


class MultiLabelClassifier(Classifier):
    """A `Classifier` that gives a text none, one or several labels: a `LabelSet`. The probability
    of a label is the sigmoid of its output.

    task
        As of a `Classifier`, with 'kind', and with 'threshold': the least probability of a label
        that is given.
    """
    label_separator = ','       # in `predictions`

    @property
    def threshold(self):
        """The least probability of a label that is given, from 0 to 1."""
        return self.task.get('threshold', DEFAULT_THRESHOLD)

    def predictions(self, outputs):
        """The labels of each text, joined by the separator; '' for none."""
        return [self.label_separator.join(record.labels) for record in self.records(outputs)]

    def records(self, outputs):
        """outputs (size, labels) NumPy → a `LabelSet` per example."""
        labels, threshold = self.task['labels'], self.threshold
        return [LabelSet([label for label, p in zip(labels, row) if p >= threshold],
                         dict(zip(labels, row)))
                for row in label_probabilities(outputs).tolist()]


def _make_examples(items, first, sizes):
    """[`Example`] of texts or pairs, all of one size. first: number of the first one, for errors.
    """
    examples = []
    for i, item in enumerate(items, first):
        examples.append(_make_example(item, i, sizes))
        sizes = (len(examples[0].texts),)
    return examples


def _make_example(item, index, sizes):
    """The `Example` of a text or pair. sizes: how many texts it may have; index: for errors."""
    texts = tuple(item) if isinstance(item, (tuple, list)) else (item,)
    if len(texts) not in sizes:
        raise UserError('text %d: %d text%s found, expected %s' % (
            index, len(texts), '' if len(texts) == 1 else 's',
            'a pair of texts' if sizes == (2,) else 'a single text'))
    for text in texts:
        check_text(text, index)
    return Example(texts, None, 'texts', index)
