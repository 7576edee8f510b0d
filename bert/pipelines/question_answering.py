"""The question-answering pipeline: questions and contexts → answers."""
import dataclasses
import itertools
import logging
import numbers
import os

import mxnet as mx
import numpy as np

from bert import file_names, files
from bert.data.batches import evaluation_batches
from bert.data.squad.files import Question, Squad
from bert.data.squad.spans import Answer, AnswerFinder, n_best_entries
from bert.data.squad.windows import WindowOptions, make_windows
from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.model.bert import BERTModel
from bert.model.qa import BertForQA
from bert.model.static_qa import StaticBertForQA, resolve_width
from bert.model.weights import checkpoint_reader, heads, loading
from bert.pipelines.base import Pipeline, is_ordered, iterate_chunks
from bert.pipelines.inference import Inference
from bert.pipelines.model_folder import find_checkpoint_folder, find_head
from bert.pipelines.records import ExtractedAnswer, QuestionResult, counts_or_new
from bert.pipelines.task_file import check_task
from bert.pipelines.text_pieces import check_text
from bert.train.workers import SingleWorker

LOG = logging.getLogger(__name__)     # also logs before a run's log is open

CHUNK = 256         # questions whose windows are sorted by length together; bounds the memory

# The keys of a run's task.json, with the values for a model of transformers, which has no such file
TASK_DEFAULTS = {'name': 'SQuAD', 'version_2': False, 'doc_stride': 128, 'max_query_length': 64,
                 'n_best_size': 20, 'max_answer_length': 30, 'null_score_diff_threshold': 0.0}


class QuestionAnswerer(Pipeline):
    """Finds the answers to questions in documents of any length. The network's outputs are scores
    (size, length, 2) of the first and the last token.

    task
        A dict with 'name', and the flags of finetune_squad.py with these names: 'version_2',
        'doc_stride', 'max_query_length', 'n_best_size', 'max_answer_length' and
        'null_score_diff_threshold'.
    """
    task_keys = tuple(TASK_DEFAULTS)

    @staticmethod
    def output_shape(config, task, length):
        return length, 2

    def __call__(self, question, documents, top_k=3):
        """The `QuestionResult` of a question.

        documents
            The document, a str, or a list of several.
        top_k
            The number of answers at most.

        Raises `UserError` for an item that is no text, and for an empty one.
        """
        result, = self.stream([(question, documents)], top_k)
        return result

    def stream(self, questions, top_k=3, counts=None):
        """Yield the `QuestionResult` of each question, in order.

        questions
            Any iterable of (question, document or list of documents). It is not kept: the first
            result comes after 256 questions, or after the last question.
        top_k
            The number of answers to a question at most.
        counts
            The `TextCounts` to count the questions in. Without it, a warning at the end says how
            many questions were cut at max_query_length.

        Raises `UserError` for an item that is no text, and for an empty one.
        """
        _check_top_k(top_k)
        own_counts = counts_or_new(counts)
        try:
            for chunk in iterate_chunks(questions, CHUNK):
                first = own_counts.num_texts
                inference = self.plan(chunk, top_k, first)
                own_counts.add(len(chunk), inference.num_cut)
                yield from inference.run(first)
        finally:        # also where the caller stops early
            if own_counts.num_cut and counts is None:
                LOG.warning('%d of %d questions were cut at %d tokens', own_counts.num_cut,
                            own_counts.num_texts, self.options.max_query_length)

    def plan(self, questions, top_k=3, first=0):
        """The `Inference` whose result is the `QuestionResult` of each of a list of (question,
        document or list of documents). Its texts are the questions, without special tokens. first:
        number of the first question, for errors."""
        _check_top_k(top_k)
        queries = [_check_item(item, i) for i, item in enumerate(questions, first)]
        contexts = {}       # text → index: a document is tokenized only once
        questions = [
            Question('', question, contexts.setdefault(text, len(contexts)), (), False)
            for question, documents in queries for text in documents]
        squad = Squad('', list(contexts), questions, [])
        windows = make_windows(squad, self.tokenizer, self.options)
        finder = self._make_finder(squad, windows, max(self.task['n_best_size'], top_k))
        bounds = np.cumsum([0] + [len(documents) for _, documents in queries])
        lengths = np.diff(windows.question_bounds) + windows.question_cut
        return Inference(
            self.runner, windows, finder.add, finder.answers, lengths[bounds[:-1]].tolist(),
            self.task['max_query_length'],
            np.searchsorted(bounds, windows.windows[:, 0], 'right') - 1, 'question'
        ).then(lambda answers: [self._make_result(answers[start:stop], top_k)
                                for start, stop in itertools.pairwise(bounds)])

    def _make_result(self, answers, top_k):
        """The `QuestionResult` of a question's answers in each document, as if the documents were
        windows of one. A probability is a softmax over the n best spans and, for a model of SQuAD
        2.0, "no answer"."""
        version_2 = self.task['version_2']
        spans = [(span, i) for i, answer in enumerate(answers) for span in answer.spans]
        spans.sort(key=lambda span_and_document: -span_and_document[0].score)
        null_answer = min(answers, key=lambda answer: answer.null_start + answer.null_end)
        merged = Answer([span for span, _ in spans], null_answer.null_start, null_answer.null_end)
        entries = n_best_entries(merged, version_2)
        null_probability = next((entry['probability'] for entry in entries if not entry['text']),
                                0.0)
        probabilities = [entry['probability'] for entry in entries if entry['text']]
        no_answer = not merged.text(version_2, self.task['null_score_diff_threshold'])
        return QuestionResult(
            [ExtractedAnswer(span.text, span.start, span.end, document, probability)
             for (span, document), probability in zip(spans[:top_k], probabilities)],
            no_answer, null_probability if version_2 else None)

    @property
    def options(self):
        """The sizes of the windows that contexts are cut into."""
        return WindowOptions(self.max_len, self.task['doc_stride'], self.task['max_query_length'])

    def _make_finder(self, squad, windows, n_best_size):
        return AnswerFinder(squad, windows, n_best_size, self.task['max_answer_length'])

    def find_answers(self, squad, windows, batch_size, interrupt=None, workers=None,
                     unit='window'):
        """[`bert.data.squad.spans.Answer`], one per question of `squad`.

        Windows are batched by length, so that there is little padding. workers: each computes its
        share of the batches, and all of them get all answers. unit: of the progress bar; None for
        none. Raises `EvaluationInterrupted`.
        """
        workers = workers or SingleWorker()
        finder = self._make_finder(squad, windows, self.task['n_best_size'])
        for indices, _, outputs in self.predict_batches(
                windows, self.batches(windows.lengths, batch_size), interrupt, workers, unit,
                'predicting', numbers=windows.windows[:, 0]):
            for i, logits in zip(indices, outputs):
                finder.add(i, logits)
        for rank, candidates in enumerate(workers.gather(finder.candidates())):
            if rank != workers.rank:
                finder.merge(candidates)
        return finder.answers()


@dataclasses.dataclass(repr=False)
class StaticQuestionAnswerer(QuestionAnswerer):
    """A question answerer with a `StaticBertForQA`: every batch is padded to one shape. The
    hybridized network itself computes it, in prediction too.

    batch_sizes: of training and of prediction.
    """
    batch_sizes: tuple = (1, 1)

    def __post_init__(self):
        self._predict = self._compute

    def _compute(self, token_ids, segment_ids, valid_length, is_padded):
        """As `bert.model.inference.Predictor`, by the network itself."""
        return self.network(token_ids, segment_ids, valid_length)

    def batches(self, lengths, batch_size):
        return evaluation_batches(lengths, batch_size, max_tokens=self.batch_tokens)

    def outputs(self, batch):
        size, length = batch.token_ids.shape
        padded = pad_batch(batch, self.batch_sizes[0 if mx.autograd.is_training() else 1],
                           self.network.seq_length, self.padding_id)
        outputs = super().outputs(padded)
        return mx.nd.slice(outputs, begin=(0, 0, 0), end=(size, length, 2))


def _check_top_k(top_k):
    if not (isinstance(top_k, numbers.Integral) and top_k > 0):
        raise UserError('top_k %s: expected a whole number of answers from 1 on' % (top_k,))


def _check_item(item, index):
    """(question, documents as a list) of an item. Raises `UserError`. index: for errors."""
    if not isinstance(item, (tuple, list)) or len(item) != 2 or not (
            isinstance(item[1], str) or is_ordered(item[1])):
        raise UserError('question %d: expected (question, document) or (question, list of '
                        'documents)' % index)
    question, documents = item[0], [item[1]] if isinstance(item[1], str) else list(item[1])
    if not documents:
        raise UserError('question %d: no document' % index)
    for text in [question] + documents:
        check_text(text, index, 'question' if text is question else 'a document of question')
        if not text.strip():
            raise UserError('question %d: %s is empty' % (
                index, 'the question' if text is question else 'a document'))
    return question, documents


def pad_batch(batch, size, length, padding_id):
    """`batch` padded with rows and columns to (size, length); a row of padding has a valid length
    of 1."""
    padding = ((0, size - len(batch.token_ids)), (0, length - batch.token_ids.shape[1]))
    return batch._replace(
        token_ids=np.pad(batch.token_ids, padding, constant_values=padding_id),
        segment_ids=np.pad(batch.segment_ids, padding),
        valid_length=np.pad(batch.valid_length, padding[0], constant_values=1))


def static_network_maker(seq_length, input_size):
    """A function that makes a `StaticBertForQA` from an encoder."""
    return lambda bert: StaticBertForQA(bert, seq_length, resolve_width(input_size,
                                                                        bert.config.units))


def hybridize_network(network):
    is_static = isinstance(network, StaticBertForQA)
    network.hybridize(static_alloc=is_static, static_shape=is_static)


# From a folder


def load_qa_network(path, device, make=BertForQA):
    """(network, `checkpoint_reader.Checkpoint`) of a model at `path`, ours or transformers', that
    has its head."""
    checkpoint = checkpoint_reader.read_checkpoint(path)
    return build_qa_network(checkpoint, device, make), checkpoint


def build_qa_network(checkpoint, device, make=BertForQA):
    """The network of a `checkpoint_reader.Checkpoint`. Raises `UserError` unless the checkpoint
    holds a question-answering model."""
    head, arrays, _ = find_head(checkpoint)
    if head.name != heads.QUESTION_ANSWERING:
        raise UserError('%s holds no question-answering model; found: %s. Train a model on it with '
                        'finetune_squad.py --bert_checkpoint' % (checkpoint.source, head.name))
    network = make(BERTModel(checkpoint.config, dropout=0.1, use_pooler=False))
    loading.load_parameters(network, arrays, checkpoint.source, device)
    return network


def open_question_answerer(folder, device, script='finetune_squad.py'):
    """Open the `QuestionAnswerer` in a checkpoint folder, in the best checkpoint of a run folder,
    or in a folder that transformers saved. Raises `UserError` that names what is missing."""
    return make_question_answerer(*load_qa_network(find_checkpoint_folder(folder, script), device),
                                  device)


def make_question_answerer(network, checkpoint, device):
    """The `QuestionAnswerer` of a network and its `checkpoint_reader.Checkpoint`."""
    hybridize_network(network)
    tokenizer = BertTokenizer(checkpoint.vocabulary, lower=not checkpoint.config.cased)
    task, max_len = read_qa_task(checkpoint.source, checkpoint.config.max_length)
    return QuestionAnswerer(network, tokenizer, checkpoint.config, task, max_len, device)


def read_qa_task(source, num_positions):
    """(task, max_len) from the task.json beside the file of weights `source`. Without one: the
    default values, within the model's positions."""
    values = read_saved_task(source)
    if values:
        check_task(source, values, num_positions)
        return {key: values[key] for key in TASK_DEFAULTS}, values['max_len']
    max_len = min(WindowOptions().max_seq_length, num_positions)
    return dict(TASK_DEFAULTS, **window_sizes(TASK_DEFAULTS, max_len)), max_len


def window_sizes(task, max_len):
    """{'max_query_length', 'doc_stride'} of a task for windows of `max_len` tokens: the question
    takes at most half of a window, and the stride is at most a third of it."""
    return {'max_query_length': min(task['max_query_length'], max_len // 2),
            'doc_stride': min(task['doc_stride'], max(max_len // 3, 1))}


def read_saved_task(source):
    """The values of the task.json beside a file of weights; {} if there is none of ours."""
    path = os.path.join(os.path.dirname(os.path.abspath(source)), file_names.TASK_FILE)
    values = files.read_json(path) if os.path.isfile(path) else {}
    missing = [key for key in list(TASK_DEFAULTS) + ['max_len'] if key not in values]
    if 'doc_stride' in missing and 'max_query_length' in missing:
        if values:
            LOG.warning('%s is not the task file of a question-answering model of this package: '
                        'the default window sizes are used', path)
        return {}
    if missing:
        raise UserError('%s: no key "%s": expected the task file of a question-answering model of '
                        'this package' % (path, missing[0]))
    return values
