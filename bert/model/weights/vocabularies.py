"""Vocabularies without a model. Imports mxnet only if the vocabulary is not in the cache yet."""
import os

from bert.model.weights import catalogue, released_weights
from bert.vocabulary import looks_cased, read_tokens


def fetch_vocabulary(name):
    """(tokens, cased): the tokens of a vocabulary, and whether it keeps case and accents.

    name: a corpus of `bert.model.weights.catalogue`, or the path of a vocab.txt. Raises
    `UserError`.
    """
    if os.path.isfile(name) or os.path.basename(name) != name or name.endswith('.txt'):
        tokens = read_tokens(name)
        return tokens, looks_cased(tokens)
    corpus = catalogue.find_corpus(name)
    release = released_weights.Release(catalogue.models_of(corpus)[0], corpus)
    return released_weights.fetch_tokens(release), catalogue.CORPORA[corpus].cased
