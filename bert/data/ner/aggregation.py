"""From the probabilities of tokens to entities with their places in the text."""
from typing import NamedTuple

import numpy as np

from bert.data.ner.entities import OUTSIDE, PREFIXES
from bert.flags.token_classification import AVERAGE, FIRST, SIMPLE


class TaggedSpan(NamedTuple):
    """A tag or type of the characters `start` to before `end`, with its probability."""
    tag: str
    score: float
    start: int
    end: int


def aggregate_tokens(probabilities, words, spans, labels, aggregation):
    """The `TaggedSpan`s of a text's entities, as transformers' pipeline defines them.

    probabilities: (tokens, classes). words: (tokens,) index of each token's word. spans: (tokens,
    2) characters of each token. labels: the classes. aggregation: simple: tokens of one type side
    by side are an entity, and B- begins a new one; first, average, max: the same with one tag for
    each word: that of its first token, of the mean of its tokens' probabilities, or of the token
    with the highest probability. (none leaves the tokens as they are: there is nothing to do.)
    """
    if not len(words):
        return []
    if aggregation != SIMPLE:
        starts = np.flatnonzero(np.diff(words, prepend=-1))
        probabilities = _word_probabilities(probabilities, starts, aggregation)
        stops = np.append(starts[1:], len(words)) - 1
        spans = np.stack([spans[starts, 0], spans[stops, 1]], axis=1)
    classes = probabilities.argmax(axis=1)
    units = [TaggedSpan(labels[i], float(row[i]), int(start), int(end))
             for i, row, (start, end) in zip(classes, probabilities, spans)]
    return [span for span in _group_units(units) if span.tag != OUTSIDE]


def _word_probabilities(probabilities, starts, aggregation):
    """(words, classes). starts: the first token of each word."""
    if aggregation == FIRST:
        return probabilities[starts]
    parts = np.split(probabilities, starts[1:])
    if aggregation == AVERAGE:
        return np.array([part.mean(axis=0) for part in parts])
    return np.array([part[part.max(axis=1).argmax()] for part in parts])


def _group_units(units):
    """The units side by side that have one type, joined: their score is the mean."""
    groups, previous = [], None
    for unit in units:
        prefix, kind = split_label(unit.tag)
        continues = previous is not None and previous[1] == kind and \
            prefix in 'IE' and previous[0] in 'BI'
        if continues:
            groups[-1].append(unit)
        else:
            groups.append([unit])
        previous = prefix, kind
    return [TaggedSpan(split_label(group[0].tag)[1],
                       float(np.mean([unit.score for unit in group])), group[0].start,
                       group[-1].end) for group in groups]


def split_label(label):
    """(prefix, type) of a class of any model: without a prefix, as if with I."""
    prefix, separator, kind = label.partition('-')
    return (prefix, kind) if separator and kind and prefix in PREFIXES else ('I', label)
