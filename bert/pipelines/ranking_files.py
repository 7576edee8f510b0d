"""Reads and writes what the files of a cross-encoder say, as sentence-transformers has them: the
activation of the score, and the length of a pair. Nothing that they name is imported."""
import os

from bert import files
from bert.errors import UserError
from bert.file_names import (
    CONFIG_FILE,
    IDENTITY,
    MODULES_FILE,
    SENTENCE_CONFIG_FILE,
    SENTENCE_LENGTH_FILE,
    SIGMOID,
)

# {activation: class of PyTorch, as the files of sentence-transformers name it}
ACTIVATION_CLASSES = {SIGMOID: 'torch.nn.modules.activation.Sigmoid',
                      IDENTITY: 'torch.nn.modules.linear.Identity'}
DEFAULT_ACTIVATION = SIGMOID        # sentence-transformers' for one output
ACTIVATION_KEY, LIBRARY_KEY = 'activation_fn', 'sentence_transformers'
OLD_ACTIVATION_KEY = 'sbert_ce_default_activation_function'     # before release 4
MODEL_TYPE = 'CrossEncoder'
ONE_OUTPUT = {'id2label': {0: 'LABEL_0'}, 'label2id': {'LABEL_0': 0}}
FORMAT_VERSION = '4.0.0'            # the first release that has `LIBRARY_KEY`


def names_cross_encoder(folder):
    """Whether the files in a folder of transformers say that it holds a cross-encoder."""
    settings, values = _read(folder, SENTENCE_CONFIG_FILE), _read(folder, CONFIG_FILE)
    return settings.get('model_type') == MODEL_TYPE or ACTIVATION_KEY in settings or \
        LIBRARY_KEY in values or OLD_ACTIVATION_KEY in values


def read_ranking(folder, max_len):
    """(activation, max_len) of the cross-encoder in a folder of transformers.

    max_len: tokens of a pair, as the tokenizer's files say. Raises `UserError`, with file and key,
    for a value that means anything else than what is done here.
    """
    settings = _read(folder, SENTENCE_CONFIG_FILE)
    prompts, name = settings.get('prompts') or {}, settings.get('default_prompt_name')
    if name is not None and not (isinstance(prompts, dict) and isinstance(name, str)
                                 and not prompts.get(name)):
        raise UserError('%s: "default_prompt_name" is %r: the prompt of a cross-encoder is not '
                        'supported' % (os.path.join(folder, SENTENCE_CONFIG_FILE), name))
    _check_modules(folder)
    lengths = _read(folder, SENTENCE_LENGTH_FILE)
    path = os.path.join(folder, SENTENCE_LENGTH_FILE)
    if lengths.get('do_lower_case'):
        raise UserError('%s: "do_lower_case" is %r: a cross-encoder supports only false'
                        % (path, lengths['do_lower_case']))
    limit = lengths.get('max_seq_length')
    if limit is not None and (type(limit) is not int or limit < 1):
        raise UserError('%s: "max_seq_length" is %r, expected a whole number from 1 on'
                        % (path, limit))
    return _read_activation(folder, settings), min(max_len, limit or max_len)


def _check_modules(folder):
    """Raises `UserError` if there are more modules than the BERT."""
    path = os.path.join(folder, MODULES_FILE)
    modules = files.read_json(path, list) if os.path.isfile(path) else []
    if len(modules) > 1:
        raise UserError('%s: %d modules found, expected one: a cross-encoder with only a '
                        'Transformer is supported' % (path, len(modules)))


def _read_activation(folder, settings):
    """The first activation that is named, in the order of sentence-transformers."""
    values = _read(folder, CONFIG_FILE)
    library_values = values.get(LIBRARY_KEY)
    if not isinstance(library_values, (dict, type(None))):
        raise UserError('%s: "%s" is %r, expected a dictionary'
                        % (os.path.join(folder, CONFIG_FILE), LIBRARY_KEY, library_values))
    for file_name, key, name in (
            (SENTENCE_CONFIG_FILE, ACTIVATION_KEY, settings.get(ACTIVATION_KEY)),
            (CONFIG_FILE, ACTIVATION_KEY, (library_values or {}).get(ACTIVATION_KEY)),
            (CONFIG_FILE, OLD_ACTIVATION_KEY, values.get(OLD_ACTIVATION_KEY))):
        if name is not None:
            return _parse_activation(name, os.path.join(folder, file_name), key)
    return DEFAULT_ACTIVATION


def _parse_activation(name, path, key):
    """The activation whose class has the last word of a dotted path."""
    activations = {class_name.rpartition('.')[2]: activation
                   for activation, class_name in ACTIVATION_CLASSES.items()}
    activation = activations.get(name.rpartition('.')[2]) if isinstance(name, str) else None
    if activation is None:
        raise UserError('%s: "%s" is %s; supported: %s'
                        % (path, key, name, ', '.join(activations)))
    return activation


def _read(folder, name):
    path = os.path.join(folder, name)
    return files.read_json(path) if os.path.isfile(path) else {}


# Writing


def ranking_values(activation):
    """The values of transformers' config.json that only a cross-encoder has."""
    return {LIBRARY_KEY: {ACTIVATION_KEY: ACTIVATION_CLASSES[activation],
                          'version': FORMAT_VERSION}, **ONE_OUTPUT}


def write_ranking_settings(folder, activation):
    """Write the settings' file of sentence-transformers for a cross-encoder into a folder."""
    files.write_json(os.path.join(folder, SENTENCE_CONFIG_FILE), {
        'model_type': MODEL_TYPE, ACTIVATION_KEY: ACTIVATION_CLASSES[activation],
        'prompts': {}, 'default_prompt_name': None})
