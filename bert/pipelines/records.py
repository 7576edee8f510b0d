"""What pipelines give back: typed records."""
import dataclasses
from typing import NamedTuple

from bert.errors import UserError


class Label(NamedTuple):
    """The class of a text or pair.

    probabilities
        {class: probability} of all classes.
    """
    label: str
    probability: float
    probabilities: dict


class LabelSet(NamedTuple):
    """The labels of a text or pair that may have none, one or several, in the order of the model.

    probabilities
        {label: probability} of all labels, each from 0 to 1.
    """
    labels: list
    probabilities: dict


class Score(NamedTuple):
    """The output of a regression for a text or pair. The score of a `CrossEncoder` is the output
    after its activation."""
    score: float


class RankedDocument(NamedTuple):
    """A document with its score for a query.

    document
        Its index among the given documents.
    """
    document: int
    score: float
    text: str


class TokenTag(NamedTuple):
    """The class of a token, which is the text's [start:end].

    score
        The probability of the class.
    token
        The token as the vocabulary has it.
    index
        Of the token in its text, from 0.
    """
    tag: str
    score: float
    token: str
    index: int
    start: int
    end: int


class EntitySpan(NamedTuple):
    """An entity in a text, which is the text's [start:end].

    score
        The mean of the probabilities of its parts.
    """
    type: str
    score: float
    text: str
    start: int
    end: int


class ExtractedAnswer(NamedTuple):
    """An answer in a document: `documents[document][start:end] == answer`.

    probability
        Among the n-best answers and, for a model of SQuAD 2.0, no answer.
    """
    answer: str
    start: int
    end: int
    document: int
    probability: float


class QuestionResult(NamedTuple):
    """The answers to a question, the best first.

    no_answer
        Whether the model finds no answer, whatever `answers` holds.
    no_answer_probability
        None for a model of SQuAD 1.1, which always answers.
    """
    answers: list
    no_answer: bool
    no_answer_probability: float | None

    @property
    def answer(self):
        """The text of the best answer; '' for no answer."""
        return '' if self.no_answer or not self.answers else self.answers[0].answer


class FilledMask(NamedTuple):
    """A word in the place of a mask.

    score
        The probability of the word among all words of the vocabulary.
    token
        The id of the word.
    sequence
        The text with the word, as the tokenizer writes it.
    """
    score: float
    token: int
    word: str
    sequence: str


class Mask(NamedTuple):
    """A mask of a text: text[start:end]. words: [`FilledMask`], likeliest first."""
    start: int
    end: int
    words: list

    def as_dict(self):
        """{name of a field: value}, of the words too."""
        return dict(self._asdict(), words=[word._asdict() for word in self.words])


@dataclasses.dataclass
class TextCounts:
    """How many texts a pipeline has read, and how many of them it cut at its length."""
    num_texts: int = 0
    num_cut: int = 0

    def add(self, num_texts, num_cut):
        self.num_texts += num_texts
        self.num_cut += num_cut


def counts_or_new(counts):
    """The `TextCounts` of a caller, or new ones for None. Raises `UserError` for anything else."""
    if counts is not None and not isinstance(counts, TextCounts):
        raise UserError('counts: %r found, expected a TextCounts of bert.pipelines.records'
                        % (counts,))
    return TextCounts() if counts is None else counts
