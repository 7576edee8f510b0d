"""Checkpoints on this machine: transformers folders, bare files, folders of ours."""
import collections
import logging
import os

import mxnet as mx

from bert import files
from bert.errors import UserError
from bert.layout import (
    ALL_WEIGHTS,
    CONFIG,
    INDEX,
    MODEL,
    TOKENIZER,
    TOKENIZER_CONFIG,
    TORCH_WEIGHTS,
    VOCABULARY,
    WEIGHTS,
)
from bert.model import catalogue, convert, loading, sources, weight_files
from bert.model.bert import BertConfig
from bert.vocabulary import looks_cased, make_vocabulary, read_vocabulary

LOG = logging.getLogger(__name__)

PADDED_TO = 128     # some train with a vocabulary padded to a multiple of up to this

# What was found at a path. config: BertConfig; vocabulary: BERTVocab; arrays: {Gluon
# name: array} with the vocabulary's ids; source: the weight file's path.
Checkpoint = collections.namedtuple('Checkpoint', 'config vocabulary arrays source')


def load_checkpoint(path, like_model=None, like_dataset=None, ctx=None, root=None,
                    use_pooler=True, use_decoder=False, use_classifier=False, dropout=0.1):
    """The encoder of any checkpoint on this machine, and its vocabulary.

    path: a folder in Hugging Face layout (config.json, vocab.txt, model.safetensors, in
    several files with an index or not, or PyTorch's .bin), one of its files, a Gluon
    .params file, a checkpoint folder of ours, or a run folder of ours (its best
    checkpoint, else its newest). like_model, like_dataset: for a file
    with no configuration or vocabulary beside it, the released model of the same sizes.
    Returns (`BERTModel` with `.config` on `ctx`, `BERTVocab`). Heads of tasks are left
    out; parts asked for that the file lacks are initialised, with one warning.
    Raises `UserError`.
    """
    found = read_checkpoint(path, like_model, like_dataset, root)
    network = loading.build(found.config, found.arrays, found.source, ctx or mx.cpu(), dropout,
                            use_pooler=use_pooler, use_decoder=use_decoder,
                            use_classifier=use_classifier)
    return network, found.vocabulary


def read_checkpoint(path, like_model=None, like_dataset=None, root=None):
    """The `Checkpoint` at `path`; arguments as for `load_checkpoint`."""
    weights = find_weights(path)
    folder = os.path.dirname(os.path.abspath(weights))
    vocabulary = vocabulary_beside(folder)
    config = config_beside(folder, vocabulary)
    if config is None or vocabulary is None:
        like = released_like(weights, config, like_model, like_dataset, root)
        config = config or catalogue.config_of(like.model, like.corpus)
        vocabulary = vocabulary or make_vocabulary(sources.fetch_tokens(like), like.corpus)
    check_sizes(config, vocabulary, weights)
    arrays = read_parameters(weights, vocabulary, config.tied_decoder)
    return Checkpoint(config, vocabulary, arrays, weights)


def load_encoder(network, path, vocabulary, ctx=None):
    """Set a `BERTModel` from a file of any kind (`--pretrained_bert_parameters`); what
    else the file holds is listed in one log line. vocabulary: the network's."""
    loading.load_encoder(network, read_parameters(path, vocabulary), path, ctx)


def load_model(network, path, vocabulary, ctx=None):
    """Set a whole network, heads included, from a file (`--model_parameters`); nothing
    may be missing or left over. vocabulary: the network's."""
    loading.load_parameters(network, read_parameters(path, vocabulary), path, ctx)


# Finding


def find_weights(path):
    """The weight file that `path` means; `UserError` when there is none."""
    if os.path.isfile(path):
        return path
    if not os.path.isdir(path):
        raise UserError('%s: no such file or folder' % path)
    if os.path.isfile(os.path.join(path, INDEX)):
        return find_weights(checkpoint_of_run(path))
    for name in (MODEL,) + ALL_WEIGHTS:
        if os.path.isfile(os.path.join(path, name)):
            return os.path.join(path, name)
    raise UserError('%s: no %s (ours) and no %s or %s (Hugging Face layout) in it; it holds: %s'
                    % (path, MODEL, WEIGHTS, TORCH_WEIGHTS,
                       loading.name_some(os.listdir(path)) or 'nothing'))


def checkpoint_of_run(folder):
    """The sub-folder of a run's best checkpoint, or of its newest."""
    path = os.path.join(folder, INDEX)
    pointers = files.read_json(path)
    name = pointers.get('best') or pointers.get('newest')
    if not name or not os.path.isdir(os.path.join(folder, name)):
        raise UserError('%s: points to no checkpoint (best: %s, newest: %s)'
                        % (path, pointers.get('best'), pointers.get('newest')))
    return os.path.join(folder, name)


def vocabulary_beside(folder):
    """The vocabulary in vocab.txt or tokenizer.json, or None when there is neither."""
    path = os.path.join(folder, VOCABULARY)
    if os.path.isfile(path):
        return read_vocabulary(path)
    path = os.path.join(folder, TOKENIZER)
    if not os.path.isfile(path):
        return None
    model = files.read_json(path).get('model') or {}
    if model.get('type') != 'WordPiece' or not isinstance(model.get('vocab'), dict):
        raise UserError('%s: its model is "%s": BERT needs WordPiece' % (path, model.get('type')))
    ids = model['vocab']
    tokens = sorted(ids, key=ids.get)
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        raise UserError('%s: the ids of its vocabulary have gaps' % path)
    return make_vocabulary(tokens, path)


def config_beside(folder, vocabulary):
    """The `BertConfig` in config.json, ours or transformers', or None when there is none."""
    path = os.path.join(folder, CONFIG)
    if not os.path.isfile(path):
        return None
    values = files.read_json(path)
    if 'units' in values:
        return BertConfig.from_dict(values, path)
    return convert.config_from_transformers(values, path, is_cased(folder, vocabulary))


def is_cased(folder, vocabulary):
    """Whether a transformers folder keeps case: its tokenizer files say, or it is found
    from the vocabulary and said aloud."""
    path = os.path.join(folder, TOKENIZER_CONFIG)
    if os.path.isfile(path):
        lower = files.read_json(path).get('do_lower_case')
        if isinstance(lower, bool):
            return not lower
    path = os.path.join(folder, TOKENIZER)
    if os.path.isfile(path):
        normalizer = files.read_json(path).get('normalizer') or {}
        if isinstance(normalizer.get('lowercase'), bool):
            return not normalizer['lowercase']
    cased = vocabulary is not None and looks_cased(vocabulary)
    LOG.info('%s: no tokenizer file says whether case is kept; the vocabulary looks %s',
             folder, 'cased' if cased else 'uncased')
    return cased


def released_like(weights, config, like_model, like_dataset, root):
    """The `Released` to take what doesn't lie beside `weights` from."""
    lacks = VOCABULARY if config is not None else CONFIG
    if config is not None and like_dataset:
        like_model = like_model or catalogue.models_of(like_dataset)[0]
    if not like_model:
        raise UserError('%s: no %s beside it: put it there, or name the released model of the '
                        'same sizes and vocabulary with --bert_model and --bert_dataset'
                        % (weights, lacks))
    return sources.Released(like_model, like_dataset, root)


def check_sizes(config, vocabulary, source):
    """`UserError` unless every token has a row of the embedding, and nearly no row is left."""
    spare = config.vocab_size - len(vocabulary)
    if not 0 <= spare < PADDED_TO:
        raise UserError('%s: the vocabulary has %d tokens and the model %d: they don\'t belong '
                        'together' % (source, len(vocabulary), config.vocab_size))
    if spare:
        LOG.warning('%s: the last %d rows of the word embedding have no token: taken for padding',
                    source, spare)


# Reading


def read_parameters(path, vocabulary, tied_decoder=True):
    """{Gluon name: array} of a weight file, its rows in the order of `vocabulary`.

    A .params file without a vocab.txt beside it is taken to come from gluonnlp, whose
    vocabularies hold the five special tokens at other ids, and is put in order; ours
    always have theirs beside them.
    """
    arrays = read_arrays(path, tied_decoder)
    beside = os.path.join(os.path.dirname(os.path.abspath(path)), VOCABULARY)
    tokens = vocabulary.idx_to_token
    if os.path.isfile(beside):
        own = read_vocabulary(beside).idx_to_token
        if sorted(own) != sorted(tokens):
            raise UserError('%s: made with another vocabulary (%s, %d tokens) than the model '
                            'has (%d tokens)' % (path, beside, len(own), len(tokens)))
        return arrays if own == tokens else convert.reorder_ids(arrays, own, tokens)
    if path.endswith('.params') and convert.is_published(tokens):
        LOG.warning('%s: no %s beside it: taken to have the ids of gluonnlp\'s vocabulary; if it '
                    'was saved with the ids of vocab.txt, put that file beside it',
                    path, VOCABULARY)
        return convert.reorder_ids(arrays, convert.gluonnlp_order(tokens), tokens)
    return arrays


def read_arrays(path, tied_decoder=True):
    """{Gluon name: array} of a file of weights, ids as they are there."""
    if not os.path.isfile(path):
        raise UserError('%s: no such file' % path)
    if path.endswith('.params'):
        return weight_files.read_params(path)
    return convert.from_transformers(weight_files.read_transformers(path), path, tied_decoder)
