"""Vocabularies without a model. Nothing here imports mxnet where the vocabulary is kept already."""
import os

from bert.model.weights import catalogue, released_weights
from bert.vocabulary import looks_cased, read_tokens


def fetch(name):
    """(tokens, whether the vocabulary keeps case and accents)

    name: a corpus of `bert.model.weights.catalogue`, or the path of a vocab.txt. Raises
    `UserError`.
    """
    if os.path.isfile(name) or os.path.basename(name) != name or name.endswith('.txt'):
        tokens = read_tokens(name)
        return tokens, looks_cased(tokens)
    corpus = catalogue.find_corpus(name)
    released = released_weights.Released(catalogue.models_of(corpus)[0], corpus)
    return released_weights.fetch_tokens(released), catalogue.CORPORA[corpus].cased
