"""Checkpoints on this machine: transformers folders, bare files, folders of ours."""
import collections
import logging
import os

import mxnet as mx

from bert import files
from bert.errors import UserError
from bert.file_names import (
    ALL_WEIGHTS,
    CONFIG,
    INDEX,
    MODEL,
    TORCH_WEIGHTS,
    VOCABULARY,
    WEIGHTS,
)
from bert.model.config import BertConfig
from bert.model.weights import (
    catalogue,
    file_formats,
    loading,
    mapping,
    released_weights,
    tokenizer_files,
)
from bert.vocabulary import make_vocabulary, read_vocabulary

LOG = logging.getLogger(__name__)

PADDED_TO = 128     # some train with a vocabulary padded to a multiple of up to this

# What was found at a path. config: BertConfig; vocabulary: BERTVocab; arrays: {Gluon
# name: array} with the vocabulary's ids; source: the weight file's path.
Checkpoint = collections.namedtuple('Checkpoint', 'config vocabulary arrays source')


def load_checkpoint(path, like_model=None, like_dataset=None, ctx=None, root=None,
                    use_pooler=True, use_decoder=False, use_classifier=False, dropout=0.1,
                    compute_dtype='float32'):
    """The encoder of any checkpoint on this machine, and its vocabulary.

    path: a folder in Hugging Face layout (config.json, vocab.txt, model.safetensors, in
    several files with an index or not, or PyTorch's .bin), one of its files, a Gluon
    .params file, a checkpoint folder of ours, or a run folder of ours (its best
    checkpoint, else its newest). like_model, like_dataset: for a file
    with no configuration or vocabulary beside it, the released model of the same sizes.
    compute_dtype: of a `BERTModel`.
    Returns (`BERTModel` with `.config` on `ctx`, `BERTVocab`). Heads of tasks are left
    out; parts asked for that the file lacks are initialised, with one warning.
    Raises `UserError`.
    """
    found = read_checkpoint(path, like_model, like_dataset, root)
    network = loading.build(found.config, found.arrays, found.source, ctx or mx.cpu(), dropout,
                            use_pooler=use_pooler, use_decoder=use_decoder,
                            use_classifier=use_classifier, compute_dtype=compute_dtype)
    return network, found.vocabulary


def read_checkpoint(path, like_model=None, like_dataset=None, root=None):
    """The `Checkpoint` at `path`; arguments as for `load_checkpoint`."""
    weights = find_weights(path)
    folder = os.path.dirname(os.path.abspath(weights))
    vocabulary = tokenizer_files.vocabulary_beside(folder)
    has_config = os.path.isfile(os.path.join(folder, CONFIG))
    cased = None
    if vocabulary is None or not has_config:
        like = released_like(weights, has_config, like_model, like_dataset, root)
        config = catalogue.config_of(like.model, like.corpus)
        if vocabulary is None:
            vocabulary = make_vocabulary(released_weights.fetch_tokens(like), like.corpus)
            cased = config.cased
    if has_config:
        config = config_beside(folder, vocabulary, cased)
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


def config_beside(folder, vocabulary, cased=None):
    """The `BertConfig` in config.json, ours or transformers'. cased: whether the vocabulary
    keeps case, where it is known."""
    path = os.path.join(folder, CONFIG)
    values = files.read_json(path)
    if 'units' in values:
        return BertConfig.from_dict(values, path)
    tokenizer_files.check(folder, len(vocabulary))
    if cased is None:
        cased = tokenizer_files.is_cased(folder, vocabulary)
    return mapping.config_from_transformers(values, path, cased)


def released_like(weights, has_config, like_model, like_dataset, root):
    """The `Released` to take what doesn't lie beside `weights` from."""
    if has_config and like_dataset:
        like_model = like_model or catalogue.models_of(like_dataset)[0]
    if not like_model:
        raise UserError('%s: no %s beside it: put it there; finetune_classifier.py and '
                        'convert_checkpoint.py also take it from the released model that '
                        '--bert_model and --bert_dataset name'
                        % (weights, VOCABULARY if has_config else CONFIG))
    return released_weights.Released(like_model, like_dataset, root)


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
        return arrays if own == tokens else mapping.reorder_ids(arrays, own, tokens)
    if path.endswith('.params') and mapping.is_published(tokens):
        LOG.warning('%s: no %s beside it: taken to have the ids of gluonnlp\'s vocabulary; if it '
                    'was saved with the ids of vocab.txt, put that file beside it',
                    path, VOCABULARY)
        return mapping.reorder_ids(arrays, mapping.gluonnlp_order(tokens), tokens)
    return arrays


def read_arrays(path, tied_decoder=True):
    """{Gluon name: array} of a file of weights, ids as they are there."""
    if not os.path.isfile(path):
        raise UserError('%s: no such file' % path)
    if path.endswith('.params'):
        return file_formats.read_params(path)
    return mapping.from_transformers(file_formats.read_transformers(path), path, tied_decoder)
