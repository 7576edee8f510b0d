"""Describes models: of the hub by their network, tokenizer and files, and the released ones."""
from typing import NamedTuple

from bert import files, hub
from bert.errors import UserError
from bert.file_names import (
    BYTE_PAIR_FILES,
    CONFIG_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    VOCABULARY_FILE,
)
from bert.hub_files import choose_files, read_modules
from bert.model.config import BertConfig
from bert.model.weights import catalogue, config_files, released_weights

# Fields of `BertConfig` in a description
SIZES = ('num_layers', 'units', 'hidden_size', 'num_heads', 'vocab_size', 'max_length',
         'token_type_vocab_size')


class ModelDescription(NamedTuple):
    """What a model is. The sizes of the network are None if its config.json can't be used here.

    max_length: the tokens that a text may have. num_parameters: as the hub counts them, heads
    included; else those of the encoder and its pooler, None if the model can't be opened. modules:
    the kinds of a sentence-transformers model's modules, in order. files: {name: bytes} of what
    opening it takes. is_cached: whether they are here. problem: why it can't be opened here, or
    None.
    """
    repository: str
    commit: str
    architecture: str | None
    num_layers: int | None
    units: int | None
    hidden_size: int | None
    num_heads: int | None
    vocab_size: int | None
    max_length: int | None
    token_type_vocab_size: int | None
    num_parameters: int | None
    tokenizer: str
    modules: list
    files: dict
    is_cached: bool
    problem: str | None


def describe_model(name):
    """The `ModelDescription` of a model of the hub, from the names of its files and the small ones
    among them: no weights are fetched. Errors of `hub.pin_model`, except for a model that can't be
    opened here: the description then holds the reason."""
    listing, is_cached = hub.open_listing(name)
    problem, names, values, modules, config = None, [], {}, [], None
    try:
        if CONFIG_FILE in listing.files:
            values = files.read_json(listing.path(CONFIG_FILE))
        modules = [str(module.get('type')).rpartition('.')[2] for module in read_modules(listing)]
        names = choose_files(listing)
    except UserError as error:
        problem = str(error)
    try:
        config = _read_config(values, '%s: %s' % (listing.label, CONFIG_FILE))
    except UserError as error:
        problem = problem or str(error)
    count = listing.num_parameters
    architectures = values.get('architectures')
    return ModelDescription(
        listing.repository, listing.commit,
        str(architectures[0]) if isinstance(architectures, list) and architectures else None,
        **{field: getattr(config, field, None) for field in SIZES},
        num_parameters=catalogue.parameter_count(config)
        if count is None and not problem else count,
        tokenizer=describe_tokenizer(listing), modules=modules,
        files={name: listing.files[name].size for name in names}, is_cached=is_cached,
        problem=problem)


def _read_config(values, source):
    """The `BertConfig` in a config.json, ours or transformers'. Raises `UserError`."""
    if 'units' in values:
        return BertConfig.from_dict(values, source)
    return config_files.config_from_transformers(values, source, cased=False)


def describe_tokenizer(listing):
    """The class of the tokenizer, whether it keeps case, and its files, in words."""
    names = [name for name in (VOCABULARY_FILE, TOKENIZER_FILE, *BYTE_PAIR_FILES)
             if name in listing.files]
    values = {}
    if TOKENIZER_CONFIG_FILE in listing.files:
        try:
            values = files.read_json(listing.path(TOKENIZER_CONFIG_FILE))
        except UserError:       # the reason is in the description already
            names.append(TOKENIZER_CONFIG_FILE + ' unreadable')
    case = {True: ', lower case', False: ', keeps case'}.get(values.get('do_lower_case'), '')
    return '%s%s (%s)' % (values.get('tokenizer_class') or 'no class named', case,
                          ', '.join(names) or 'no vocabulary')


# Released models


class ReleaseDescription(NamedTuple):
    """A released model with its corpus. num_parameters: of the encoder and its pooler. is_cached:
    whether it is here. sources: names of the places that have it."""
    model: str
    corpus: str
    num_parameters: int
    is_cached: bool
    sources: list


def describe_releases(root=None):
    """Yield the `ReleaseDescription` of each model and corpus. root: of the cache, or None."""
    for model, entry in catalogue.MODELS.items():
        for corpus in entry.corpora:
            release = released_weights.Release(model, corpus, root)
            yield ReleaseDescription(
                model, corpus, catalogue.parameter_count(catalogue.config_of(model, corpus)),
                released_weights.is_cached(release),
                [source.name for source in released_weights.weight_sources(release)[1:]])


def fetch_release(model, corpus=None, root=None):
    """Download a released model into the cache, and read it once as a check. Returns its name, the
    number of its values and that of its tokens. Raises `UserError`."""
    release = released_weights.Release(model, corpus, root)
    num_values = sum(array.size for array in released_weights.fetch_arrays(release).values())
    return release.name, num_values, len(released_weights.fetch_tokens(release))
