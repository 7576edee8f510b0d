"""The ranking pipeline: documents in the order of their scores for a query, by a cross-encoder."""
import numbers

from bert.errors import UserError
from bert.file_names import IDENTITY, SIGMOID
from bert.pipelines.base import is_ordered
from bert.pipelines.classification import Classifier
from bert.pipelines.records import RankedDocument
from bert.pipelines.task_file import describe_as_ranking
from bert.pipelines.text_pieces import check_text
from bert.probabilities import sigmoid

# {activation: function of the network's outputs}
ACTIVATION_FUNCTIONS = {SIGMOID: sigmoid, IDENTITY: lambda outputs: outputs}


class CrossEncoder(Classifier):
    """Reads a query and a document together, and gives the pair one `Score`. The network's output
    is (size, 1); the score is its activation.

    task
        As of a `Classifier` for scores, with 'kind', and with 'activation': 'sigmoid' or
        'identity'.
    """
    task_keys = (*Classifier.task_keys, 'kind', 'activation')

    def activate(self, outputs):
        return ACTIVATION_FUNCTIONS[self.task['activation']](outputs)

    def predictions(self, outputs):
        """Scores as text. They are mostly from 0 to 1, hence with more decimals."""
        return ['%.6f' % score for score in self.activate(outputs)[:, 0]]

    def rank(self, query, documents, top_k=None, counts=None):
        """The `RankedDocument` of each document for a query, a list with the best document first.
        Of equal scores, the document that was given first comes first.

        documents
            An iterable of str. Equal texts are scored once.
        top_k
            The number of documents in the list at most. The default is all.
        counts
            As for `stream`.

        Raises `UserError` for an item that is no text.
        """
        documents, texts = _check_ranking(query, documents, top_k)
        records = self.stream(((query, text) for text in texts), counts)
        return _rank(documents, texts, records, top_k)

    def plan_ranking(self, query, documents, top_k=None):
        """The `Inference` whose result is that of `rank`; its texts are the documents."""
        documents, texts = _check_ranking(query, documents, top_k)
        inference = self.plan([(query, text) for text in texts])
        num_tokens = dict(zip(texts, inference.num_tokens))
        return inference._replace(num_tokens=[num_tokens[text] for text in documents]).then(
            lambda records: _rank(documents, texts, records, top_k))


def _check_ranking(query, documents, top_k):
    """(list of documents, list of these texts, each once). Raises `UserError`."""
    if top_k is not None and (isinstance(top_k, bool)
                              or not isinstance(top_k, numbers.Integral) or top_k < 1):
        raise UserError('top_k: %r found, expected a whole number from 1 on' % (top_k,))
    if not isinstance(query, str):
        raise UserError('query: %s found, expected a str' % type(query).__name__)
    if not is_ordered(documents):
        raise UserError('documents: %s found, expected an iterable of texts'
                        % type(documents).__name__)
    documents = list(documents)
    for i, text in enumerate(documents):
        check_text(text, i)
    return documents, list(dict.fromkeys(documents))


def _rank(documents, texts, records, top_k):
    scores = {text: record.score for text, record in zip(texts, records, strict=True)}
    ranking = sorted((RankedDocument(i, scores[text], text) for i, text in enumerate(documents)),
                     key=lambda document: -document.score)      # sorted is stable
    return ranking[:top_k]


def as_cross_encoder(model, cross_encoder_class=CrossEncoder):
    """A `Classifier` with one output as a `CrossEncoder`: itself, or one with the default
    activation."""
    if isinstance(model, CrossEncoder):
        return model
    return cross_encoder_class(model.network, model.tokenizer, model.config,
                               describe_as_ranking(model.task), model.max_len, model.device,
                               batch_size=model.batch_size, batch_tokens=model.batch_tokens)
