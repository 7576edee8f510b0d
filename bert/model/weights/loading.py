"""Loads arrays into networks. Errors name every missing, unknown or wrongly shaped tensor."""
import logging
import re

import mxnet as mx
import numpy as np

from bert.errors import UserError
from bert.model.bert import BERTModel
from bert.model.weights.mapping import SEGMENTS

LOG = logging.getLogger(__name__)

# {number of segments: the families that have it}
FAMILIES_BY_SEGMENTS = {0: 'DistilBERT, and RoBERTa in GluonNLP\'s files',
                        1: 'RoBERTa, XLM-RoBERTa and CamemBERT', 2: 'BERT, ERNIE and ELECTRA'}

MAX_NAMES = 5           # names that a message lists before it counts the others

# {name prefix: description} of the parts of a BERTModel that a file may lack as a whole
PARTS = {'pooler.': 'the pooler', 'decoder.': 'the masked-language-model decoder',
         'classifier.': 'the next-sentence classifier'}
# The decoder's weight, which is the word embedding in nearly all models
DECODER_WEIGHT, EMBEDDING_WEIGHT = 'decoder.3.weight', 'word_embed.0.weight'

# Parameters of task heads are beside `bert.`, not inside it
HEAD_PATTERN = re.compile(r'(classifier\.\d+|span_classifier|tag_classifier|discriminator\.\d+)\.')


def build_bert(config, arrays, source, ctx=None, dropout=0.1, **parts):
    """A `BERTModel` of `config` with the values of `arrays` on `ctx`.

    arrays: {Gluon name: array}; tensors of other parts and of task heads are left out.
    parts: use_pooler, use_decoder, use_classifier, compute_dtype. Requested parts that the arrays
    lack as a whole are initialised at random, and one warning names them.
    """
    network = BERTModel(config, dropout=dropout, **parts)
    bert_arrays, head_names = split_heads(arrays)
    load_parameters(network, bert_arrays, source, ctx, parts_optional=True)
    if head_names:
        LOG.info('%s: not used here: %s', source, format_names(head_names))
    return network


def split_heads(arrays):
    """({name without `bert.`: array} of the BERTModel, names of all other arrays)"""
    if any(name.startswith('bert.') for name in arrays):
        bert_arrays = {name[5:]: array for name, array in arrays.items()
                       if name.startswith('bert.')}
        head_names = [name for name in arrays if not name.startswith('bert.')]
    else:
        bert_arrays = {name: array for name, array in arrays.items()
                       if not HEAD_PATTERN.match(name)}
        head_names = [name for name in arrays if HEAD_PATTERN.match(name)]
    return bert_arrays, head_names


def load_encoder_arrays(network, arrays, source, ctx=None):
    """Set a `BERTModel` from arrays that may include others: task heads, parts that this
    network doesn't have, unknown names. One log line lists those."""
    bert_arrays, extra_names = split_heads(arrays)
    extra_names += load_parameters(network, bert_arrays, source, ctx, parts_optional=True,
                                   extra_allowed=True)
    if extra_names:
        LOG.info('%s: not used for the encoder: %s', source, ', '.join(sorted(extra_names)))


def load_parameters(network, arrays, source, ctx=None, parts_optional=False,
                    extra_allowed=False):
    """Set all parameters of `network` from `arrays` ({Gluon name: array}).

    network: a `BERTModel`, or a block with one as `bert`; the names in `arrays` may have the
    prefix `bert.` or not. source: the file's name, for errors. ctx: one context or a list, for
    parameters without a context. parts_optional: parts in PARTS that the arrays lack as a
    whole are initialised at random, and a surplus part is no error.
    extra_allowed: return the names that the network doesn't have, instead of raising an error.
    Raises one `UserError` that names all missing, unknown and wrongly shaped tensors.
    """
    arrays, random_parts, extra_names = match_arrays(network, arrays, source, parts_optional,
                                                     extra_allowed)
    parameters = network._collect_params_with_prefix()
    initialise_parts(parameters, random_parts, source, ctx)
    network.random_parts = [PARTS[part] for part in random_parts]
    for name, array in arrays.items():
        set_array(parameters[name], array, ctx)
    return extra_names


def match_arrays(network, arrays, source, parts_optional=False, extra_allowed=False):
    """Check that `arrays` fit `network`, which may be uninitialised. Arguments and errors are
    those of `load_parameters`.

    Returns ({name in the network: array}, parts that the arrays lack as a whole, names that the
    network doesn't have).
    """
    parameters = network._collect_params_with_prefix()
    config = getattr(getattr(network, 'bert', network), 'config', None)     # None: another block
    arrays = align_names(arrays, parameters)
    remove_tied_copy(parameters, arrays, source)
    missing = missing_names(parameters, arrays)
    extra_names = sorted(set(arrays) - set(parameters))
    random_parts = []
    if parts_optional:
        random_parts = absent_parts(missing, arrays)
        missing = [name for name in missing if not name.startswith(tuple(random_parts))]
        extra_names = [name for name in extra_names if not name.startswith(tuple(PARTS))]
    try:
        check_fit(source, parameters, arrays, missing, [] if extra_allowed else extra_names)
    except UserError as error:
        raise UserError('%s%s' % (error, describe_mismatch(arrays, config))) from None
    return {name: arrays[name] for name in arrays if name in parameters}, random_parts, extra_names


def align_names(arrays, parameters):
    """The arrays under the names that the network uses: with or without the prefix `bert.`, and
    the classifier's Dense at the network's index, which depends on the dropout before it."""
    dense_matches = [re.match(r'classifier\.\d+\.', name) for name in parameters]
    dense_prefix = next((item.group() for item in dense_matches if item), None)
    if 'tag_classifier.weight' in parameters:       # transformers' name of both classifiers
        dense_prefix = 'tag_classifier.'
    network_has_prefix = any(name.startswith('bert.') for name in parameters)
    arrays_have_prefix = any(name.startswith('bert.') for name in arrays)
    result = {}
    for name, array in arrays.items():
        if dense_prefix:
            name = re.sub(r'^classifier\.\d+\.', dense_prefix, name)
        if network_has_prefix and not arrays_have_prefix and not HEAD_PATTERN.match(name):
            name = 'bert.' + name
        elif arrays_have_prefix and not network_has_prefix and name.startswith('bert.'):
            name = name[5:]
        result[name] = array
    return result


def remove_tied_copy(parameters, arrays, source):
    """Remove the decoder's copy of the word embedding from `arrays` where the network ties both.
    Raises `UserError` when the two differ."""
    for prefix in ('', 'bert.'):
        decoder, embedding = prefix + DECODER_WEIGHT, prefix + EMBEDDING_WEIGHT
        if not (decoder in arrays and embedding in arrays and is_tied(parameters, decoder)):
            continue
        if not np.array_equal(arrays.pop(decoder), arrays[embedding]):
            raise UserError('%s: %s differs from %s: to keep both, set "tie_word_embeddings" to '
                            'false in config.json ("tied_decoder" in a config.json of this package)'
                            % (source, decoder, embedding))


def is_tied(parameters, name):
    """Whether `name` is the decoder's weight and the same parameter as the word embedding."""
    if not name.endswith(DECODER_WEIGHT) or name not in parameters:
        return False
    return parameters[name] is parameters[name[:-len(DECODER_WEIGHT)] + EMBEDDING_WEIGHT]


def missing_names(parameters, arrays):
    """Names of parameters without an array, unless another name of the same parameter has one."""
    ids = {id(parameters[name]) for name in arrays if name in parameters}
    return [name for name, parameter in parameters.items() if id(parameter) not in ids]


def absent_parts(missing, arrays):
    """The keys of PARTS with missing names and without any array."""
    return [part for part in PARTS if any(name.startswith(part) for name in missing)
            and not any(name.startswith(part) for name in arrays)]


def check_fit(source, parameters, arrays, missing, extra):
    """Raises one `UserError` for all that doesn't fit; does nothing when everything fits."""
    problems = []
    shapes = ['%s: %s in the file, %s in the model' % (name, array.shape, parameters[name].shape)
              for name, array in sorted(arrays.items())
              if name in parameters and not shape_fits(parameters[name].shape, array.shape)]
    if shapes:
        problems.append('wrong shape: %s: check --bert_model, or the config.json beside the file'
                        % format_names(shapes))
    if missing:
        problems.append('missing tensors: %s' % format_names(missing))
    if extra:
        problems.append('unknown tensors: %s' % format_names(extra))
    if problems:
        raise UserError('%s: %s' % (source, '; '.join(problems)))


def describe_mismatch(arrays, config):
    """The end of an error message if the arrays seem to be of another family than `config`: what
    was found and expected. Else ''."""
    prefix = next((prefix for prefix in ('', 'bert.') if prefix + EMBEDDING_WEIGHT in arrays), None)
    if prefix is None or config is None:
        return ''
    segments = len(arrays.get(prefix + SEGMENTS, ()))
    is_narrow = prefix + 'encoder.projection.weight' in arrays
    if (segments, is_narrow) == (config.token_type_vocab_size, bool(config.embedding_size)):
        return ''
    families = 'small ELECTRA' if is_narrow else FAMILIES_BY_SEGMENTS[min(segments, 2)]
    return '; the file is of another kind: %d segments and embeddings of width %d found, as in ' \
           '%s; expected %d and %d, as in the configuration of the model_type %s: give the one ' \
           'that belongs to the file' % (
               segments, arrays[prefix + EMBEDDING_WEIGHT].shape[1], families,
               config.token_type_vocab_size, config.embedding_size or config.units, config.family)


def shape_fits(expected_shape, shape):
    """Whether a shape is as expected; 0 in `expected_shape` is a size that isn't known yet."""
    return len(expected_shape) == len(shape) and all(
        expected in (0, size) for expected, size in zip(expected_shape, shape))


def format_names(names):
    """The first `MAX_NAMES` names, and the number of others."""
    text = ', '.join(sorted(names)[:MAX_NAMES])
    return text if len(names) <= MAX_NAMES else '%s and %d more' % (text, len(names) - MAX_NAMES)


def initialise_parts(parameters, parts, source, ctx):
    """Initialise the parameters of `parts`, and log one warning about them."""
    for name, parameter in parameters.items():
        if name.startswith(tuple(parts)) and not (is_tied(parameters, name)
                                                  or is_initialised(parameter)):
            parameter.initialize(ctx=ctx)
    if parts:
        LOG.warning('%s has no weights for %s: initialised at random', source,
                    ' and '.join(PARTS[part] for part in parts))


def is_initialised(parameter):
    """Whether the parameter has a context; its shape may still be unknown."""
    return bool(contexts_of(parameter))


def contexts_of(parameter):
    """The contexts of a parameter, [] when it isn't initialised."""
    try:
        return parameter.list_ctx()
    except RuntimeError:
        return []


def set_array(parameter, array, ctx):
    """Set a parameter to `array` on all its contexts, or on `ctx` when it has none."""
    contexts = contexts_of(parameter)
    if not contexts or parameter.shape != array.shape:
        parameter.shape = array.shape       # sets a size that was unknown
        parameter.initialize(init=mx.init.Zero(), ctx=contexts or ctx)
    parameter.set_data(array)
