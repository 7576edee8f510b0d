"""aggregation.py: probabilities of tokens → entities, against transformers' definitions."""
import numpy as np
import pytest
from reference import slow_entities

from bert.data.ner.aggregation import TaggedSpan, aggregate_tokens, split_label
from bert.data.ner.schemes import make_labels
from bert.flags.token_classification import AGGREGATIONS, BIOES, IOB2

LABELS = {'IOB2': make_labels(('LOC', 'PER'), IOB2), 'BIOES': make_labels(('LOC', 'PER'), BIOES),
          'plain': ('O', 'NOUN', 'VERB', 'X-Y'), 'no O': ('B-a', 'I-a', 'I-b')}


def random_text(random, num_classes):
    """(probabilities, words, spans) of a text; some words have several tokens or none."""
    lengths = random.randint(0, 4, size=random.randint(1, 20))
    words = np.repeat(np.arange(len(lengths)), lengths)
    bounds = np.sort(random.permutation(100)[:2 * len(words)]).reshape(-1, 2)
    return random.dirichlet(np.full(num_classes, 0.3), len(words)), words, bounds


@pytest.mark.parametrize('aggregation', AGGREGATIONS[1:])
@pytest.mark.parametrize('labels', LABELS.values(), ids=LABELS)
def test_random_probabilities(labels, aggregation):
    random, num_entities = np.random.RandomState(5), 0
    for _ in range(200):
        arguments = *random_text(random, len(labels)), labels, aggregation
        entities, expected = aggregate_tokens(*arguments), slow_entities.aggregate(*arguments)
        assert [(span.tag, span.start, span.end) for span in entities] == [
            (kind, start, end) for kind, _, start, end in expected]
        np.testing.assert_allclose([span.score for span in entities],
                                   [score for _, score, _, _ in expected], atol=1e-12)
        num_entities += len(entities)
    assert num_entities > 500


PROBABILITIES = np.array([[0.2, 0.5, 0.3], [0.1, 0.0, 0.9], [0.4, 0.3, 0.3], [0.35, 0.35, 0.3]])


@pytest.mark.parametrize('aggregation, entities', [
    ('simple', [('A', 0.7, 0, 5)]), ('first', [('A', 0.5, 0, 5)]),
    ('average', [('A', 0.6, 0, 5)]), ('max', [('A', 0.9, 0, 5)])])
def test_by_hand(aggregation, entities):
    """A word of two tokens, and two words of one that are outside."""
    result = aggregate_tokens(PROBABILITIES, np.array([0, 0, 1, 2]),
                              np.array([[0, 2], [2, 5], [6, 8], [9, 10]]), ('O', 'B-A', 'I-A'),
                              aggregation)
    assert result == [TaggedSpan(kind, pytest.approx(score), start, end)
                      for kind, score, start, end in entities]
    assert [type(value) for value in result[0]] == [str, float, int, int]


def test_nothing():
    for aggregation in AGGREGATIONS[1:]:
        assert aggregate_tokens(np.zeros((0, 2)), np.zeros(0, int), np.zeros((0, 2), int),
                                ('O', 'B-A'), aggregation) == []


@pytest.mark.parametrize('label, parts', [
    ('B-PER', ('B', 'PER')), ('S-a-b', ('S', 'a-b')), ('O', ('I', 'O')), ('B-', ('I', 'B-')),
    ('NOUN', ('I', 'NOUN')), ('X-Y', ('I', 'X-Y')), ('-', ('I', '-')), ('L-PER', ('I', 'L-PER'))])
def test_prefixes(label, parts):
    assert split_label(label) == parts
