"""The classification pipeline: texts → labels or scores, by our models or transformers'."""
import logging
import os

import numpy as np

from bert import file_names, files
from bert.data.glue.tasks import describe_task
from bert.data.text.readers import Example
from bert.data.text.tokenizer import BertTokenizer
from bert.data.transform import featurize
from bert.errors import UserError
from bert.model.bert import BERTModel
from bert.model.classification import make_classifier_network
from bert.model.weights import checkpoint_reader, heads, loading, mapping
from bert.pipelines.base import Pipeline, iterate_chunks
from bert.pipelines.model_folder import (
    find_checkpoint_folder,
    find_head,
    folder_of,
    max_folder_tokens,
)
from bert.pipelines.records import Label, Score, counts_or_new
from bert.pipelines.task_file import check_task
from bert.pipelines.text_pieces import check_text

LOG = logging.getLogger(__name__)

TRUNCATION = 'transformers'     # the only value of a task's 'truncation'
CHUNK = 4096    # texts tokenized and sorted by length together; bounds the memory


class Classifier(Pipeline):
    """A pipeline whose outputs are logits (size, classes), or scores (size, 1).

    task: {'name', 'labels' (None for regression), 'pair', 'metrics'}; a model of transformers also
    has 'truncation', which says that long pairs are cut by its rule.
    """

    def __call__(self, texts):
        """The `Label` or `Score` of each text, a list in their order; a single record for a str.

        texts: for a model of pairs, tuples of two; a single tuple is one pair. A model of
        transformers, which does not say whether it reads pairs, takes either.
        """
        is_single = isinstance(texts, str) or (
            isinstance(texts, tuple) and self.task['pair'] is not False)
        records = list(self.stream([texts] if is_single else texts))
        return records[0] if is_single else records

    def stream(self, texts, counts=None):
        """Yield the `Label` or `Score` of each text, in order. The texts may come from any
        iterator, and are not kept; the first record comes after `CHUNK` texts or the last one.

        counts: `TextCounts` to count in; without it, a warning says at the end how many texts were
        cut at the length of the model. Raises `UserError` for an item that is no text or pair.
        """
        own_counts, sizes = counts_or_new(counts), {True: (2,), False: (1,)}.get(
            self.task['pair'], (1, 2))
        try:
            for chunk in iterate_chunks(texts, CHUNK):
                examples = []
                for i, item in enumerate(chunk, own_counts.num_texts):
                    examples.append(_make_example(item, i, sizes))
                    sizes = (len(examples[0].texts),)
                features = self.featurize(examples)
                first = own_counts.num_texts
                own_counts.add(len(features), sum(feature.num_tokens > self.max_len
                                                  for feature in features))
                yield from self.records(self.compute_outputs(features, self.batch_size, first))
        finally:        # also where the caller stops early
            if own_counts.num_cut and counts is None:
                LOG.warning('%d of %d texts were cut at %d tokens, the length the model was '
                            'trained with', own_counts.num_cut, own_counts.num_texts,
                            self.max_len)

    def featurize(self, examples, encode_label=None):
        """`bert.data.transform.featurize` by the tokenizer, the length and the rule of the model.
        """
        return featurize(examples, self.tokenizer, self.max_len, encode_label,
                         favors_longer=self.task.get('truncation') == TRUNCATION)

    def predictions(self, outputs):
        """Labels as text, or scores with three decimals, as GLUE submissions have them."""
        labels = self.task['labels']
        if labels is None:
            return ['%.3f' % score for score in outputs[:, 0]]
        return [labels[i] for i in outputs.argmax(axis=1)]

    @property
    def num_outputs(self):
        return len(self.task['labels'] or ['score'])

    def compute_outputs(self, features, batch_size, first=0):
        """Outputs (examples, classes), float32 NumPy, for `Features`, in their order. first: the
        number of the first one, for errors."""
        outputs = np.empty((len(features), self.num_outputs), dtype='float32')
        lengths = [feature.valid_length for feature in features]
        for indices, _, batch_outputs in self.predict_batches(
                features, self.batches(lengths, batch_size),
                numbers=range(first, first + len(features))):
            outputs[indices] = batch_outputs
        return outputs

    def records(self, outputs):
        """outputs (size, classes) NumPy → a `Label` or `Score` per example."""
        labels = self.task['labels']
        if labels is None:
            return [Score(float(score)) for score in outputs[:, 0]]
        exponents = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        probabilities = exponents / exponents.sum(axis=1, keepdims=True)
        return [Label(labels[row.argmax()], float(row.max()),
                      {label: float(p) for label, p in zip(labels, row)})
                for row in probabilities]


def _make_example(item, index, sizes):
    """The `Example` of a text or pair. sizes: how many texts it may have; index: for errors."""
    texts = tuple(item) if isinstance(item, (tuple, list)) else (item,)
    if len(texts) not in sizes:
        raise UserError('text %d: %s expected, %d text%s found' % (
            index, 'a pair of texts' if sizes == (2,) else 'a single text', len(texts),
            '' if len(texts) == 1 else 's'))
    for text in texts:
        check_text(text, index)
    return Example(texts, None, 'texts', index)


def open_classifier(folder, device):
    """Open the `Classifier` in a checkpoint folder, in the best checkpoint of a run folder, or in a
    folder that transformers saved.

    A classifier of transformers has None as its task's 'pair', because nothing says whether it
    reads pairs. Raises `UserError` that names what is missing.
    """
    path = find_checkpoint_folder(folder, 'finetune_classifier.py')
    checkpoint = checkpoint_reader.read_checkpoint(path)
    head, arrays, _ = find_head(checkpoint)
    if head.name != heads.CLASSIFICATION:
        raise UserError('--model_dir %s: %s holds no classifier but: %s; finetune_classifier.py '
                        '--bert_checkpoint trains one on it'
                        % (folder, checkpoint.source, head.name))
    task = read_classifier_task(checkpoint, heads.num_classes(arrays))
    return make_classifier(checkpoint, arrays, task, device)


def make_classifier(checkpoint, arrays, task, device):
    """The `Classifier` of a `checkpoint_reader.Checkpoint`. arrays: of its head;
    task: from `read_classifier_task`."""
    task = dict(task)
    max_len = task.pop('max_len')
    bert = BERTModel(checkpoint.config, dropout=0.0)
    network = make_classifier_network(bert, task['labels'], dropout=0.1)
    loading.load_parameters(network, arrays, checkpoint.source, device)
    network.hybridize()
    tokenizer = BertTokenizer(checkpoint.vocabulary, lower=not checkpoint.config.cased)
    return Classifier(network, tokenizer, checkpoint.config, task, max_len, device)


def read_classifier_task(checkpoint, num_outputs, classes=None):
    """The task of a classifier with `num_outputs` outputs: {'name', 'labels', 'pair', 'metrics',
    'max_len'}, from our task.json or, without one, from transformers' config.json.

    checkpoint: a `checkpoint_reader.Checkpoint`; classes: the labels in order, instead of those
    in the file. Raises `UserError`.
    """
    if classes and len(classes) != num_outputs:
        raise UserError('--classes %s: %d given, the classifier has %d outputs'
                        % (','.join(classes), len(classes), num_outputs))
    folder = folder_of(checkpoint)
    path = os.path.join(folder, file_names.TASK_FILE)
    task = _read_own_task(path, num_outputs, checkpoint.config) if os.path.isfile(path) else \
        _read_transformers_task(folder, checkpoint.config, num_outputs, classes)
    if not os.path.isfile(path) and \
            checkpoint_reader.has_transformers_config(folder):
        task['truncation'] = TRUNCATION
    if not classes:
        return task
    check_classes(classes, is_classifier=task['labels'] is not None)
    return dict(task, labels=list(classes))


def check_classes(classes, is_classifier=True):
    """Raises `UserError` if the model is no classifier, or if the labels are not two or more
    different, non-empty texts."""
    if not is_classifier or not len(set(classes)) == len(classes) > 1 or not all(classes):
        raise UserError('--classes %s: give two or more, each once, to a classifier'
                        % ','.join(classes))


def _read_own_task(path, num_outputs, config):
    task = files.read_json(path)
    missing = [key for key in ('name', 'labels', 'pair', 'max_len') if key not in task]
    if missing:
        raise UserError('%s: no "%s" in it: not the task of a classifier of ours'
                        % (path, missing[0]))
    check_task(path, task, config.max_length)
    if len(task['labels'] or ['score']) != num_outputs:
        raise UserError('%s: %d labels, and the weights beside it have %d outputs'
                        % (path, len(task['labels'] or ['score']), num_outputs))
    return task


def _read_transformers_task(folder, config, num_outputs, classes):
    path = os.path.join(folder, file_names.CONFIG_FILE)
    values = files.read_json(path) if os.path.isfile(path) else {}
    if not classes and num_outputs > 1 and (not values or 'units' in values):
        raise UserError('%s: no %s in it, and no config.json of transformers: the names of the %d '
                        'classes are missing' % (folder, file_names.TASK_FILE, num_outputs))
    labels = (num_outputs > 1 and classes) or \
        mapping.labels_from_transformers(values, num_outputs, path)
    name = values.get('finetuning_task') or os.path.basename(os.path.abspath(folder))
    return dict(describe_task(name, labels, None), max_len=max_folder_tokens(folder, config))
