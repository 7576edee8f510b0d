"""Reads local checkpoints: transformers folders, bare weight files, our own folders."""
import collections
import logging
import os

import mxnet as mx

from bert import files
from bert.errors import UserError
from bert.families import BERT
from bert.file_names import (
    ALL_WEIGHTS_FILES,
    CONFIG_FILE,
    INDEX_FILE,
    MODEL_FILE,
    TORCH_WEIGHTS_FILE,
    VOCABULARY_FILE,
    WEIGHTS_FILE,
)
from bert.hub_files import foreign_folder
from bert.model.config import BertConfig
from bert.model.weights import (
    catalogue,
    config_files,
    file_formats,
    loading,
    mapping,
    released_weights,
    tokenizer_files,
)
from bert.model.weights.model_names import locate_model
from bert.vocabulary import holds_tokenizer, make_vocabulary

LOG = logging.getLogger(__name__)

MAX_PADDING_MULTIPLE = 128     # some models pad their vocabulary to a multiple of this or of less

# config: BertConfig; vocabulary: BERTVocab; arrays: {Gluon name: array}, rows in the order of the
# vocabulary's ids; source: path of the weight file.
Checkpoint = collections.namedtuple('Checkpoint', 'config vocabulary arrays source')


def load_checkpoint(path, like_model=None, like_dataset=None, ctx=None, root=None,
                    use_pooler=True, use_decoder=False, use_classifier=False, dropout=0.1,
                    compute_dtype='float32'):
    """The encoder of any checkpoint, and its vocabulary.

    path: a folder in Hugging Face layout (config.json, vocab.txt, and model.safetensors, which may
    be several files with an index, or PyTorch's .bin), one of its files, a Gluon .params file, one
    of our checkpoint folders, one of our run folders (its best checkpoint, else its newest), or the
    name of a model on the hub, owner/name or owner/name@revision. Or a `Checkpoint` that was read.
    like_model, like_dataset: the released model of the same sizes, for a file without a
    configuration or a vocabulary beside it. compute_dtype: see `BERTModel`.
    Returns (`BERTModel` with `.config` on `ctx`, `BERTVocab`). Task heads are left out. Requested
    parts that the file lacks are initialised at random, with one warning.
    Raises `UserError`.
    """
    checkpoint = path if isinstance(path, Checkpoint) else \
        read_checkpoint(path, like_model, like_dataset, root)
    network = loading.build_bert(checkpoint.config, checkpoint.arrays, checkpoint.source,
                                 ctx or mx.cpu(), dropout, use_pooler=use_pooler,
                                 use_decoder=use_decoder, use_classifier=use_classifier,
                                 compute_dtype=compute_dtype)
    return network, checkpoint.vocabulary


def read_checkpoint(path, like_model=None, like_dataset=None, root=None):
    """The `Checkpoint` at `path`. Arguments and errors are those of `load_checkpoint`."""
    weights = find_weights(path)
    folder = os.path.dirname(os.path.abspath(weights))
    check_folder_family(folder)     # first: models of another kind have another tokenizer
    vocabulary, cased = tokenizer_files.read_folder_tokenizer(folder)
    has_vocabulary = vocabulary is not None
    has_config = os.path.isfile(os.path.join(folder, CONFIG_FILE))
    if not (has_vocabulary and has_config):
        config, released_vocabulary = describe_release(
            *fallback_names(weights, has_config, like_model, like_dataset), root)
        if not has_vocabulary:
            vocabulary, cased = released_vocabulary, config.cased
    if has_config:
        config = read_folder_config(folder, vocabulary, cased)
    check_vocabulary_size(config, vocabulary, weights)
    check_padding(config, vocabulary, weights)
    arrays = read_arrays(weights, config) if has_vocabulary else \
        read_parameters(weights, vocabulary, config)
    return Checkpoint(config, vocabulary, arrays, weights)


def load_encoder(network, path, vocabulary, ctx=None):
    """Set a `BERTModel` from a weight file of any kind (`--pretrained_bert_parameters`). One log
    line lists what else the file holds. vocabulary: the network's."""
    loading.load_encoder_arrays(network, read_parameters(path, vocabulary, network.config),
                                path, ctx)


def load_model(network, path, vocabulary, ctx=None):
    """Set a whole network, heads included, from a file (`--model_parameters`). Raises `UserError`
    for a missing or a surplus parameter. vocabulary: the network's."""
    config = getattr(network, 'bert', network).config
    loading.load_parameters(network, read_parameters(path, vocabulary, config), path, ctx)


# Finding


def find_weights(path):
    """The weight file at `path`, which is a file, a folder, or the name of a model on the hub.
    Raises `UserError` when there is none."""
    path = locate_model(path)
    if os.path.isfile(path):
        file_formats.check_name(path, (*file_formats.READERS, file_formats.INDEX_ENDING))
        return path
    if os.path.isfile(os.path.join(path, INDEX_FILE)):
        return find_weights(checkpoint_of_run(path))
    for name in (MODEL_FILE,) + ALL_WEIGHTS_FILES:
        if os.path.isfile(os.path.join(path, name)):
            return os.path.join(path, name)
    names = os.listdir(path)
    raise UserError('%s: no %s (this package) and no %s or %s (Hugging Face layout) in this '
                    'folder%s; it holds: %s' % (
                        path, MODEL_FILE, WEIGHTS_FILE, TORCH_WEIGHTS_FILE, foreign_folder(path),
                        loading.format_names(names) or 'nothing'))


def checkpoint_of_run(folder):
    """The sub-folder of a run's best checkpoint, else of its newest."""
    path = os.path.join(folder, INDEX_FILE)
    pointers = files.read_json(path)
    name = pointers.get('best') or pointers.get('newest')
    if not name or not os.path.isdir(os.path.join(folder, name)):
        raise UserError('%s: names no checkpoint that exists (best: %s, newest: %s)'
                        % (path, pointers.get('best'), pointers.get('newest')))
    return os.path.join(folder, name)


def check_folder_family(folder):
    """Raises `UserError` if a folder's config.json is of a model that can't be opened here."""
    if has_transformers_config(folder):
        path = os.path.join(folder, CONFIG_FILE)
        config_files.family_of_transformers(files.read_json(path), path)


def read_folder_config(folder, vocabulary, cased):
    """The `BertConfig` in a folder's config.json, ours or transformers'. cased: whether text keeps
    its case, None if the folder's tokenizer files don't say."""
    path = os.path.join(folder, CONFIG_FILE)
    values = files.read_json(path)
    if 'units' in values:
        return BertConfig.from_dict(values, path)
    return config_files.config_from_transformers(
        values, path, tokenizer_files.is_cased(folder, vocabulary, cased))


def has_transformers_config(folder):
    """Whether there is a config.json in the folder, and of transformers."""
    path = os.path.join(folder, CONFIG_FILE)
    return os.path.isfile(path) and 'units' not in files.read_json(path)


def describe_release(model, corpus=None, root=None):
    """(`BertConfig`, vocabulary) of a released model. Arguments: as in `zoo.get_model`. Raises
    `UserError`."""
    repository = catalogue.find_relative(model, corpus)
    if repository:
        return _describe_folder(locate_model(repository))
    release = released_weights.Release(model, corpus, root)
    return catalogue.config_of(release.model, release.corpus), make_vocabulary(
        released_weights.fetch_tokens(release), release.corpus)


def released_config(model, corpus=None):
    """The `BertConfig` of a released model, without its vocabulary. Raises `UserError`."""
    repository = catalogue.find_relative(model, corpus)
    if repository:
        return _describe_folder(locate_model(repository))[0]
    return catalogue.config_of(*catalogue.resolve_names(model, corpus))


def _describe_folder(folder):
    """(`BertConfig`, vocabulary) of a folder with both."""
    vocabulary, cased = tokenizer_files.read_folder_tokenizer(folder)
    return read_folder_config(folder, vocabulary, cased), vocabulary


def fallback_names(weights, has_config, like_model, like_dataset):
    """(model, corpus or None) of the released model that provides the files missing beside
    `weights`."""
    if has_config and like_dataset:
        like_model = like_model or catalogue.models_of(like_dataset)[0]
    if not like_model:
        raise UserError('%s: no %s beside it: put that file there'
                        % (weights, VOCABULARY_FILE if has_config else CONFIG_FILE),
                        fix='in finetune_classifier.py and convert_checkpoint.py, --bert_model and '
                            '--bert_dataset can name a released model that has it')
    return like_model, like_dataset


def refuse_model_name(path, name):
    """Raises `UserError` if the checkpoint at `path` says itself which model it is. name: of a
    released model."""
    folder = os.path.dirname(os.path.abspath(find_weights(path)))
    names = os.listdir(folder)
    if CONFIG_FILE in names and holds_tokenizer(names):
        raise UserError('model %s: %s has its own %s and vocabulary: give either the model '
                        'or the checkpoint' % (name, path, CONFIG_FILE))


def check_vocabulary_size(config, vocabulary, source):
    """Raises `UserError` unless every token has a row of the word embedding and fewer than
    `MAX_PADDING_MULTIPLE` rows have no token."""
    spare_rows = config.vocab_size - len(vocabulary)
    if not 0 <= spare_rows < MAX_PADDING_MULTIPLE:
        raise UserError('%s: the vocabulary has %d tokens and the model %d: they don\'t belong '
                        'together' % (source, len(vocabulary), config.vocab_size))
    if spare_rows:
        LOG.warning('%s: the last %d rows of the word embedding have no token: treated as padding',
                    source, spare_rows)


def check_padding(config, vocabulary, source):
    """Raises `UserError` unless the vocabulary's padding token has the id behind which positions
    begin, or in other relatives of BERT the one in config.json, where it is there. A BERT may have
    another: multilingual-e5's configuration says 0, and XLM-R's tokenizer 1."""
    token, expected, reason = vocabulary.padding_token, None, ''
    if config.family_traits.counts_padding:
        expected = config.position_offset - 1
        reason = 'the positions of the model begin at %d, which expects' % config.position_offset
    elif config.family != BERT:
        path = os.path.join(os.path.dirname(os.path.abspath(source)), CONFIG_FILE)
        expected = files.read_json(path).get('pad_token_id') if os.path.isfile(path) else None
        reason = '"pad_token_id" in %s expects' % CONFIG_FILE
    if expected is not None and vocabulary[token] != expected:
        raise UserError('%s: the padding token %s has the id %d in the vocabulary; %s the id %s: '
                        'they don\'t belong together'
                        % (source, token, vocabulary[token], reason, expected))


# Reading


def read_parameters(path, vocabulary, config=None):
    """{Gluon name: array} of a weight file, its rows in the order of `vocabulary`. config: as in
    `read_arrays`.

    A .params file without a vocabulary beside it is assumed to come from gluonnlp. Its vocabularies
    of BERT have the five special tokens at other ids, and the rows are reordered. Its other
    families have the published ids, and `mapping.complete_relative` adds what they lack. Our own
    files always have their vocabulary beside them.
    """
    arrays = read_arrays(path, config)
    tokens = vocabulary.idx_to_token
    folder = os.path.dirname(os.path.abspath(path))
    file_vocabulary, _ = tokenizer_files.read_folder_tokenizer(folder)
    if file_vocabulary is not None:
        file_tokens = file_vocabulary.idx_to_token
        if sorted(file_tokens) != sorted(tokens):
            raise UserError('%s: the vocabulary beside this file (%d tokens) differs from that of '
                            'the model (%d tokens)' % (path, len(file_tokens), len(tokens)))
        if file_tokens == tokens:
            return arrays
        return mapping.reorder_ids(arrays, file_tokens, tokens)
    if path.endswith('.params') and config is not None and config.family != BERT:
        return mapping.complete_relative(arrays, len(tokens), config)
    if path.endswith('.params') and mapping.has_published_order(tokens):
        LOG.warning('%s: no %s beside it: assuming the ids of gluonnlp\'s vocabulary; if '
                    'the file has the ids of vocab.txt, put vocab.txt beside it',
                    path, VOCABULARY_FILE)
        return mapping.reorder_ids(arrays, mapping.gluonnlp_order(tokens), tokens)
    return arrays


def read_arrays(path, config=None):
    """{Gluon name: array} of a weight file, rows in the order of the file. config: `BertConfig` of
    the network; without it, a BERT with a tied decoder. Raises `UserError`, also for numbers that
    are not finite."""
    if not os.path.isfile(path):
        raise UserError('%s: no such file' % path)
    if path.endswith('.params'):
        return mapping.from_roberta_classifier(
            file_formats.check_finite(file_formats.read_file(path), path))
    arrays = file_formats.check_finite(file_formats.read_transformers(path), path)
    return mapping.from_transformers(arrays, path, config)
