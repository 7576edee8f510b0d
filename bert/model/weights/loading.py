"""Arrays into networks: every tensor that is missing, unknown or of another shape is named."""
import logging
import re

import mxnet as mx
import numpy as np

from bert.errors import UserError
from bert.model.bert import BERTModel

LOG = logging.getLogger(__name__)

NAMED = 5           # so many names in an error; then their number

# Parts of a BERTModel that a file may lack as a whole, and what people call them
PARTS = {'pooler.': 'the pooler', 'decoder.': 'the masked-language-model decoder',
         'classifier.': 'the next-sentence classifier'}
# The decoder's weight, in nearly all models the word embedding once more
TIED, EMBEDDING = 'decoder.3.weight', 'word_embed.0.weight'

# Parameters of task heads stand beside `bert.`, not inside it
HEAD = re.compile(r'(classifier\.\d+|span_classifier)\.')


def build(config, arrays, source, ctx=None, dropout=0.1, **parts):
    """A `BERTModel` of `config` with the values of `arrays` on `ctx`.

    arrays: {Gluon name: array}; tensors of parts and heads that aren't asked for are
    left out. Parts asked for that the arrays lack as a whole are initialised, and one
    warning names them. parts: use_pooler, use_decoder, use_classifier, compute_dtype.
    """
    network = BERTModel(config, dropout=dropout, **parts)
    encoder, heads = split_heads(arrays)
    load_parameters(network, encoder, source, ctx, parts_optional=True)
    if heads:
        LOG.info('%s: not used here: %s', source, name_some(heads))
    return network


def split_heads(arrays):
    """(tensors of the BERTModel without `bert.` in front, names of all others)"""
    if any(name.startswith('bert.') for name in arrays):
        inside = {name[5:]: array for name, array in arrays.items()
                  if name.startswith('bert.')}
        heads = [name for name in arrays if not name.startswith('bert.')]
    else:
        inside = {name: array for name, array in arrays.items() if not HEAD.match(name)}
        heads = [name for name in arrays if HEAD.match(name)]
    return inside, heads


def load_encoder(network, arrays, source, ctx=None):
    """Set a `BERTModel` from a file that may hold more: heads of tasks, parts that this
    network doesn't have, unknown names. Those are listed in one log line."""
    inside, extra = split_heads(arrays)
    extra += load_parameters(network, inside, source, ctx, parts_optional=True,
                             extra_allowed=True)
    if extra:
        LOG.info('%s: not used for the encoder: %s', source, ', '.join(sorted(extra)))


def load_parameters(network, arrays, source, ctx=None, parts_optional=False,
                    extra_allowed=False):
    """Set all parameters of `network` from `arrays` ({Gluon name: array}).

    network: a `BERTModel` or a block that holds one as `bert`; the names in `arrays` may
    have `bert.` in front or not. source: the file's name, for errors. ctx: one context
    or a list, for parameters that have no place yet. parts_optional: parts of PARTS that
    the arrays lack as a whole are initialised instead, and a surplus one is no error.
    extra_allowed: names unknown to the network are returned instead of being an error.
    Raises one `UserError` that names what is missing, unknown or wrongly shaped.
    """
    arrays, fresh, extra = match(network, arrays, source, parts_optional, extra_allowed)
    parameters = network._collect_params_with_prefix()
    initialise(parameters, fresh, source, ctx)
    network.random_parts = [PARTS[part] for part in fresh]
    for name, array in arrays.items():
        set_array(parameters[name], array, ctx)
    return extra


def match(network, arrays, source, parts_optional=False, extra_allowed=False):
    """Check that `arrays` fit `network`, which needs no values yet; arguments and errors of
    `load_parameters`.

    Returns ({the network's name: array}, parts that the arrays lack as a whole, names that
    the network doesn't have).
    """
    parameters = network._collect_params_with_prefix()
    arrays = align_names(arrays, parameters)
    untie(parameters, arrays, source)
    missing = missing_names(parameters, arrays)
    extra = sorted(set(arrays) - set(parameters))
    fresh = []
    if parts_optional:
        fresh = absent_parts(missing, arrays)
        missing = [name for name in missing if not name.startswith(tuple(fresh))]
        extra = [name for name in extra if not name.startswith(tuple(PARTS))]
    refuse(source, parameters, arrays, missing, [] if extra_allowed else extra)
    return {name: arrays[name] for name in arrays if name in parameters}, fresh, extra


def align_names(arrays, parameters):
    """The arrays under the names that the network uses: with or without `bert.` in front,
    and the classifier's Dense at its own index, which depends on the dropout before it."""
    dense = [re.match(r'classifier\.\d+\.', name) for name in parameters]
    dense = next((found.group() for found in dense if found), None)
    wanted = any(name.startswith('bert.') for name in parameters)
    given = any(name.startswith('bert.') for name in arrays)
    aligned = {}
    for name, array in arrays.items():
        if dense:
            name = re.sub(r'^classifier\.\d+\.', dense, name)
        if wanted and not given and not HEAD.match(name):
            name = 'bert.' + name
        elif given and not wanted and name.startswith('bert.'):
            name = name[5:]
        aligned[name] = array
    return aligned


def untie(parameters, arrays, source):
    """Take out the decoder's copy of the word embedding, where the network has it once;
    `UserError` when it is no copy."""
    for prefix in ('', 'bert.'):
        copy, embedding = prefix + TIED, prefix + EMBEDDING
        if not (copy in arrays and embedding in arrays and is_tied(parameters, copy)):
            continue
        if not np.array_equal(arrays.pop(copy), arrays[embedding]):
            raise UserError('%s: %s differs from %s: if it should, say so in config.json: '
                            '"tie_word_embeddings" (ours: "tied_decoder") false'
                            % (source, copy, embedding))


def is_tied(parameters, name):
    """Whether `name` is the decoder's weight, and the network's word embedding as well."""
    if not name.endswith(TIED) or name not in parameters:
        return False
    return parameters[name] is parameters[name[:-len(TIED)] + EMBEDDING]


def missing_names(parameters, arrays):
    """Names of parameters without an array, those shared with one that has it excepted."""
    given = {id(parameters[name]) for name in arrays if name in parameters}
    return [name for name, parameter in parameters.items() if id(parameter) not in given]


def absent_parts(missing, arrays):
    """The keys of PARTS of which something is missing and nothing is given."""
    return [part for part in PARTS if any(name.startswith(part) for name in missing)
            and not any(name.startswith(part) for name in arrays)]


def refuse(source, parameters, arrays, missing, extra):
    """Raise the one `UserError` for what doesn't fit; nothing when all does."""
    problems = []
    shapes = ['%s: %s in the file, %s in the model' % (name, array.shape, parameters[name].shape)
              for name, array in sorted(arrays.items())
              if name in parameters and not fits(parameters[name].shape, array.shape)]
    if shapes:
        problems.append('wrong shape: %s: is --bert_model, or the config.json beside it, right?'
                        % name_some(shapes))
    if missing:
        problems.append('missing: %s' % name_some(missing))
    if extra:
        problems.append('unknown: %s' % name_some(extra))
    if problems:
        raise UserError('%s: %s' % (source, '; '.join(problems)))


def fits(wanted, given):
    """Whether a shape agrees; 0 in the wanted one is a size that is still open."""
    return len(wanted) == len(given) and all(w in (0, g) for w, g in zip(wanted, given))


def name_some(names):
    """The first NAMED names, and how many more there are."""
    text = ', '.join(sorted(names)[:NAMED])
    return text if len(names) <= NAMED else '%s and %d more' % (text, len(names) - NAMED)


def initialise(parameters, parts, source, ctx):
    """Give the parameters of `parts` their initial values, and say so once."""
    for name, parameter in parameters.items():
        if name.startswith(tuple(parts)) and not (is_tied(parameters, name)
                                                  or initialised(parameter)):
            parameter.initialize(ctx=ctx)
    if parts:
        LOG.warning('%s has no weights for %s: initialised at random', source,
                    ' and '.join(PARTS[part] for part in parts))


def initialised(parameter):
    """Whether the parameter has a place, be it that its shape is still open."""
    return bool(places(parameter))


def places(parameter):
    """The contexts of a parameter, none when it isn't initialised."""
    try:
        return parameter.list_ctx()
    except RuntimeError:
        return []


def set_array(parameter, array, ctx):
    """Put `array` into a parameter, wherever it lives."""
    settled = places(parameter)
    if not settled or parameter.shape != array.shape:
        parameter.shape = array.shape       # an open size becomes known here
        parameter.initialize(init=mx.init.Zero(), ctx=settled or ctx)
    parameter.set_data(mx.nd.array(array, dtype=array.dtype))
