"""The token-classification pipeline: texts or words → entities or tags."""
import itertools
import logging
import os

import numpy as np

from bert import file_names, files
from bert.data.ner.aggregation import aggregate_tokens, split_label
from bert.data.ner.entities import OUTSIDE, split_tag
from bert.data.ner.windows import TokenSequence, make_tag_windows, tokenize_words
from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.flags.token_classification import AGGREGATIONS, FIRST, NONE
from bert.model.bert import BERTModel
from bert.model.discriminator import ReplacedTokenDetector
from bert.model.token_classification import BertForTokenClassification
from bert.model.weights import config_files, heads, loading
from bert.pipelines.base import Pipeline, is_ordered, iterate_chunks
from bert.pipelines.inference import Inference
from bert.pipelines.model_folder import folder_of, max_folder_tokens
from bert.pipelines.records import EntitySpan, TokenTag, counts_or_new
from bert.pipelines.task_file import check_task
from bert.pipelines.text_pieces import check_text
from bert.probabilities import softmax
from bert.train.workers import SingleWorker

LOG = logging.getLogger(__name__)

METRICS = 'f1', 'precision', 'recall'
REPLACED = 'B-REPLACED'   # the class of a token that is not of the original text
CHUNK = 1024    # texts or sentences whose windows are sorted by length together


class TokenClassifier(Pipeline):
    """Finds the entities in texts of any length. The network's outputs are logits (size, length,
    classes) of tokens.

    task
        A dict with 'name', 'kind': 'token_classification', 'labels': the classes in order, 'pair':
        False, and 'metrics'.

    A long text is read in overlapping windows of `max_len` tokens. Each word is decided in one
    window.
    """
    task_keys = 'name', 'labels', 'pair', 'metrics'

    @staticmethod
    def output_shape(config, task, length):
        return length, len(task['labels'])

    def __call__(self, texts, aggregation=FIRST):
        """The entities of each text: a list of `EntitySpan` in their order. A single str gives a
        single list.

        texts
            A str, or an iterable of str.
        aggregation
            How tokens become entities: 'none', 'simple', 'first', 'average' or 'max', as
            transformers defines them. 'none' gives the `TokenTag` of every token that is not
            outside of entities.

        Raises `UserError` for an item that is no text.
        """
        results = list(self.stream([texts] if isinstance(texts, str) else texts, aggregation))
        return results[0] if isinstance(texts, str) else results

    def stream(self, texts, aggregation=FIRST, counts=None):
        """Yield the list of each text, in order.

        texts
            An iterable of str. It is not kept.
        aggregation
            As for a call.
        counts
            The `TextCounts` to count in. No text is ever cut.

        Raises `UserError` for an item that is no text.
        """
        counts = counts_or_new(counts)
        for chunk in iterate_chunks(texts, CHUNK):
            first = counts.num_texts
            inference = self.plan(chunk, aggregation, first)
            counts.add(len(chunk), 0)
            yield from inference.run(first)

    def plan(self, texts, aggregation=FIRST, first=0):
        """The `Inference` whose result is the list of records of each of a list of texts. first:
        number of the first text, for errors."""
        if aggregation not in AGGREGATIONS:
            raise UserError('aggregation %r: expected one of %s'
                            % (aggregation, ', '.join(AGGREGATIONS)))
        for i, text in enumerate(texts, first):
            check_text(text, i)
        encodings = list(self.tokenizer.encode_with_words(texts))
        sequences = [TokenSequence(ids, words, 1 + int(words[-1]) if len(words) else 0)
                     for ids, words, _ in encodings]
        return self._plan_logits(sequences).then(lambda logits: [
            self._records(text, softmax(values, axis=1), *encoding, aggregation)
            for text, values, encoding in zip(texts, logits, encodings)])

    def tag_words(self, sentences):
        """Yield the tags of the words of each sentence, a tuple of str. A word without a token has
        the tag O.

        sentences
            Any iterable of sequences of words, such as lists of str. It is not kept.

        Raises `UserError` for an item that is no sequence of words.
        """
        number = 0
        for chunk in iterate_chunks(sentences, CHUNK):
            for i, words in enumerate(chunk, number):
                if not is_ordered(words):
                    raise UserError('sentence %d: %r found, expected a sequence of words'
                                    % (i, words))
            chunk = [list(words) for words in chunk]
            for i, word in ((i, word) for i, words in enumerate(chunk, number) for word in words):
                check_text(word, i)
            sequences = tokenize_words(self.tokenizer, chunk)
            yield from self.word_tags(sequences, self._plan_logits(sequences).run(number))
            number += len(chunk)

    def word_tags(self, sequences, logits):
        """[tuple of tags] of `TokenSequence`s. logits: of `compute_logits`."""
        result = []
        for sequence, values in zip(sequences, logits):
            tags, is_first = [OUTSIDE] * sequence.num_words, sequence.first_pieces
            for word, index in zip(sequence.words[is_first],
                                   values[is_first].argmax(axis=1) if len(values) else ()):
                tags[word] = self.task['labels'][index]
            result.append(tuple(tags))
        return result

    def check_tags(self):
        """Raises `UserError` unless the classes are tags of entities: others have no scores, and no
        scheme."""
        for label in self.task['labels']:
            try:
                split_tag(label)
            except ValueError:
                raise UserError('the model has the class "%s", which is not the tag of an entity: '
                                'expected %s, and classes such as B-PER' % (label, OUTSIDE)
                                ) from None

    def compute_logits(self, sequences, batch_size, interrupt=None, workers=None, unit=None):
        """[(tokens, classes) float32] of `TokenSequence`s, each token by the window that decides
        it.

        workers: each computes its share of the batches, and all of them get all logits. unit: of
        the progress bar; None for none. Raises `EvaluationInterrupted`.
        """
        workers, inference, parts = workers or SingleWorker(), self._plan_logits(sequences), []
        for indices, _, outputs in self.predict_batches(
                inference.features, self.make_batches(inference.features, batch_size), interrupt,
                workers, unit, 'predicting', numbers=inference.texts):
            parts += zip(indices, outputs)
        for i, outputs in itertools.chain.from_iterable(workers.gather(parts)):
            inference.collect(i, outputs)
        return inference.result()

    def _plan_logits(self, sequences):
        """The `Inference` of `compute_logits`."""
        frame = self.tokenizer.frame(pair=False)
        windows = make_tag_windows(sequences, frame, self.max_len)
        logits = [np.zeros((len(sequence.ids), len(self.task['labels'])), 'float32')
                  for sequence in sequences]

        def collect(i, outputs):
            window = windows[i]
            start = frame.offset(0, [len(window.is_decided)])
            rows = window.first + np.flatnonzero(window.is_decided)
            logits[window.sequence][rows] = \
                outputs[start:start + len(window.is_decided)][window.is_decided]
        return Inference(self.runner, [window.features for window in windows], collect,
                         lambda: logits,
                         [len(sequence.ids) + frame.num_specials for sequence in sequences],
                         texts=[window.sequence for window in windows])

    def _records(self, text, probabilities, ids, words, spans, aggregation):
        labels = self.task['labels']
        if aggregation == NONE:
            tokens, classes = self.tokenizer.vocab.to_tokens(ids.tolist()), \
                probabilities.argmax(axis=1)
            return [TokenTag(labels[index], float(row[index]), token, i, int(start), int(end))
                    for i, (index, row, token, (start, end)) in enumerate(
                        zip(classes, probabilities, tokens, spans)) if labels[index] != OUTSIDE]
        return [EntitySpan(span.tag, span.score, text[span.start:span.end], span.start, span.end)
                for span in aggregate_tokens(probabilities, words, spans, labels, aggregation)]


# From a folder


def make_token_classifier(checkpoint, arrays, device):
    """The `TokenClassifier` of a `checkpoint_reader.Checkpoint`. arrays: of its head. Raises
    `UserError`."""
    task = read_token_task(checkpoint, heads.num_classes(arrays))
    max_len = task.pop('max_len')
    bert = BERTModel(checkpoint.config, dropout=0.0, use_pooler=False)
    network = BertForTokenClassification(bert, len(task['labels']))
    return _make_tagger(network, checkpoint, arrays, task, max_len, device)


def make_replacement_tagger(checkpoint, arrays, device):
    """A `TokenClassifier` of ELECTRA's discriminator, which finds tokens that were replaced.
    Arguments of `make_token_classifier`."""
    folder = folder_of(checkpoint)
    task = describe_token_task(os.path.basename(folder), (OUTSIDE, REPLACED))
    network = ReplacedTokenDetector(BERTModel(checkpoint.config, dropout=0.0, use_pooler=False))
    return _make_tagger(network, checkpoint, arrays, task,
                        max_folder_tokens(folder, checkpoint.config), device)


def _make_tagger(network, checkpoint, arrays, task, max_len, device):
    loading.load_parameters(network, arrays, checkpoint.source, device)
    network.hybridize()
    tokenizer = BertTokenizer(checkpoint.vocabulary, lower=not checkpoint.config.cased)
    return TokenClassifier(network, tokenizer, checkpoint.config, task, max_len, device)


def describe_token_task(name, labels):
    """The task of a `TokenClassifier`, as a checkpoint stores it."""
    return {'name': name, 'kind': file_names.TOKEN_CLASSIFICATION, 'labels': list(labels),
            'pair': False, 'metrics': list(METRICS)}


def read_token_task(checkpoint, num_outputs):
    """The task, with 'max_len', of the file beside the weights: our task.json or, without one,
    transformers' config.json. Raises `UserError`."""
    folder = folder_of(checkpoint)
    path = os.path.join(folder, file_names.TASK_FILE)
    if os.path.isfile(path):
        task = files.read_json(path)
        if task.get('kind') != file_names.TOKEN_CLASSIFICATION or 'max_len' not in task:
            raise UserError('%s: expected the task file of a token-classification model of this '
                            'package' % path)
        check_task(path, task, checkpoint.config.max_length)
        if len(task['labels']) != num_outputs:
            raise UserError('%s: %d labels, but the weights beside it have %d outputs'
                            % (path, len(task['labels']), num_outputs))
        return task
    path = os.path.join(folder, file_names.CONFIG_FILE)
    values = files.read_json(path) if os.path.isfile(path) else {}
    if not values or 'units' in values:
        raise UserError('%s: no %s in it, and no config.json of transformers: the names of the %d '
                        'classes are missing' % (folder, file_names.TASK_FILE, num_outputs))
    labels = config_files.class_names(values, num_outputs, path)
    name = values.get('finetuning_task') or os.path.basename(os.path.abspath(folder))
    return dict(describe_token_task(name, labels),
                max_len=max_folder_tokens(folder, checkpoint.config))


def model_types(labels):
    """The types of the classes of a model."""
    return {split_label(label)[1] for label in labels} - {OUTSIDE}
