"""Reads and writes the files of sentence-transformers beside a BERT: modules.json, its modules'
folders, the length, the prompts. Both generations of their keys are read."""
import dataclasses
import os
import types

import numpy as np

from bert import files
from bert.errors import UserError
from bert.file_names import (
    CONFIG_FILE,
    MODULES_FILE,
    OLD_SENTENCE_LENGTH_FILES,
    SENTENCE_CONFIG_FILE,
    SENTENCE_LENGTH_FILE,
    TORCH_WEIGHTS_FILE,
    WEIGHTS_FILE,
)
from bert.flags.embedding import SIMILARITIES
from bert.model.weights import checkpoint_reader, file_formats
from bert.pipelines.model_folder import max_folder_tokens
from bert.pipelines.sentence_model import (
    ACTIVATIONS,
    DenseModule,
    NormalizeModule,
    SentenceModel,
)

WITHOUT = 'remove %s to read only the BERT of the folder' % MODULES_FILE     # for messages
NAMESPACE = 'sentence_transformers.'
SUPPORTED = 'Transformer, then Pooling, then any of Dense and Normalize'
# {old key: pooling}, in the order in which several are concatenated
OLD_POOLING_KEYS = {
    'pooling_mode_cls_token': 'cls', 'pooling_mode_max_tokens': 'max',
    'pooling_mode_mean_tokens': 'mean',
    'pooling_mode_mean_sqrt_len_tokens': 'mean_sqrt_len_tokens',
    'pooling_mode_weightedmean_tokens': 'weightedmean', 'pooling_mode_lasttoken': 'lasttoken'}
SIZE_KEYS = 'embedding_dimension', 'word_embedding_dimension'       # the new key and the old one
# {key of the length's file: the values that mean what is done here}
NEUTRAL_VALUES = {
    'transformer_task': ('feature-extraction',), 'module_output_name': ('token_embeddings',),
    'modality_config': ({'text': {'method': 'forward',
                                  'method_output_name': 'last_hidden_state'}},),
    'unpad_inputs': (None, False, True), 'processing_kwargs': (None, {}),
    'query_length': (None,), 'document_length': (None,), 'query_expansion': (None,)}
# {last part of a module's type: its full name, old and readable by all versions}
TYPES = {name: NAMESPACE + 'models.' + name
         for name in ('Transformer', 'Pooling', 'Dense', 'Normalize')}
# {key of a Dense layer or a Normalize: the value that means what is done here}
DATA_KEYS = {'module_input_name': ('sentence_embedding',),
             'module_output_name': ('sentence_embedding', None)}


def read_checkpoint_sentence_model(path, config):
    """`read_sentence_model` of the checkpoint at `path`, a folder or a file of weights."""
    return read_sentence_model(
        os.path.dirname(os.path.abspath(checkpoint_reader.find_weights(path))), config)


def read_sentence_model(folder, config):
    """The `SentenceModel` that the files in `folder` describe; None without a modules.json, and for
    a cross-encoder, which makes no vectors of texts.

    config: `BertConfig` of the BERT in the folder. Raises `UserError`, with file and key, for a
    module or a value that means anything else than what is done here.
    """
    path = os.path.join(folder, MODULES_FILE)
    if not os.path.isfile(path):
        return None
    settings_path = os.path.join(folder, SENTENCE_CONFIG_FILE)
    settings = files.read_json(settings_path) if os.path.isfile(settings_path) else {}
    if settings.get('model_type') == 'CrossEncoder':
        return None
    (_, pooling_folder), *later = _read_module_list(path)
    pooling, include_prompt = _read_pooling(os.path.join(folder, pooling_folder, CONFIG_FILE),
                                            config.units)
    modules = [_read_dense(folder, name) if kind == 'Dense' else _read_normalize(folder, name)
               for kind, name in later]
    is_normalized = bool(modules) and isinstance(modules[-1], NormalizeModule)
    while modules and isinstance(modules[-1], NormalizeModule):
        modules.pop()
    length, lower = _read_length(folder, config)
    model = SentenceModel(pooling=pooling, include_prompt=include_prompt, modules=tuple(modules),
                          normalize=is_normalized, max_seq_length=length, do_lower_case=lower,
                          source=path, **_read_settings(settings, settings_path))
    _check_widths(model, config.units, path, settings_path)
    return model


def _check_widths(model, units, path, settings_path):
    """Raises `UserError` if a layer doesn't take what comes to it, and if the vectors are cut to
    more numbers than they have."""
    try:
        width = dataclasses.replace(model, dimensions=None).output_width(units)
    except UserError as error:
        raise UserError('%s: %s' % (path, error)) from None
    if model.dimensions is not None and model.dimensions > width:
        raise UserError('%s: "truncate_dim" is %d, but the vectors have %d numbers'
                        % (settings_path, model.dimensions, width))


def _read_module_list(path):
    """[(kind, folder)] of all modules but the first, which is the BERT itself; a Pooling comes
    first."""
    entries = files.read_json(path, list)
    kinds = []
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get('type'), str) \
                or not isinstance(entry.get('path'), str):
            raise UserError('%s: module %d: expected the keys "type" and "path" with texts'
                            % (path, i))
        kind = entry['type'].rpartition('.')[2]
        if kind not in TYPES or not entry['type'].startswith(NAMESPACE):
            raise UserError('%s: module %d, %s, is a %s; supported: %s; %s'
                            % (path, i, entry['path'] or '""', entry['type'], SUPPORTED, WITHOUT))
        if entry.get('kwargs'):
            raise UserError('%s: module %d has "kwargs" %r, which are not supported; %s'
                            % (path, i, entry['kwargs'], WITHOUT))
        kinds.append((kind, entry['path']))
    names = [kind for kind, _ in kinds]
    if names[:2] != ['Transformer', 'Pooling'] or {'Transformer', 'Pooling'} & set(names[2:]):
        raise UserError('%s: the modules are %s; supported: %s; %s'
                        % (path, ', '.join(names) or 'none', SUPPORTED, WITHOUT))
    for i, (kind, name) in enumerate(kinds):
        if (kind == 'Transformer') != (name == '') or os.path.basename(name) != name \
                or name in ('.', '..'):
            raise UserError('%s: module %d, %s, has the path "%s"; supported: "" for Transformer, '
                            'the name of a folder for others' % (path, i, kind, name))
    return kinds[1:]


# Modules


def _check_keys(values, known, path):
    for key in values:
        if key not in known:
            raise UserError('%s: unknown key "%s"; known: %s; %s'
                            % (path, key, ', '.join(known), WITHOUT))


def _check_neutral(values, neutral, path):
    """Raises `UserError` for a key of `neutral` with another value than it allows."""
    for key in values.keys() & neutral.keys():
        if not any(values[key] == value and type(values[key]) is type(value)
                   for value in neutral[key]):
            raise UserError('%s: "%s" is %r; supported: %s; %s' % (
                path, key, values[key], ' or '.join(map(repr, neutral[key])), WITHOUT))


def _typed(values, key, kind, default, path):
    """The value of a key, which must have the type `kind`; int: one from 1 on."""
    value = values.get(key, default)
    if type(value) is not kind or kind is int and value < 1:
        raise UserError('%s: "%s" is %r, expected %s' % (path, key, value, {
            int: 'a whole number from 1 on', bool: 'true or false', str: 'a text',
            dict: 'a dictionary'}[kind]))
    return value


def _read_pooling(path, units):
    """(poolings, include_prompt)"""
    values = files.read_json(path)
    _check_keys(values, (*SIZE_KEYS, 'pooling_mode', *OLD_POOLING_KEYS, 'include_prompt'), path)
    key = next((key for key in SIZE_KEYS if key in values), SIZE_KEYS[0])
    size = _typed(values, key, int, None, path)
    if size != units:
        raise UserError('%s: "%s" is %d, but the BERT beside it has %d units'
                        % (path, key, size, units))
    old_poolings = tuple(pooling for key, pooling in OLD_POOLING_KEYS.items()
                         if _typed(values, key, bool, False, path))
    poolings = values.get('pooling_mode', old_poolings)
    poolings = (poolings,) if isinstance(poolings, str) else poolings
    if 'pooling_mode' not in values and not poolings:
        if values.keys() & OLD_POOLING_KEYS.keys():
            raise UserError('%s: no pooling_mode_… key is true' % path)
        poolings = ('mean',)
    known = tuple(OLD_POOLING_KEYS.values())
    if not isinstance(poolings, (list, tuple)) or not poolings or not all(
            isinstance(name, str) and name in known for name in poolings):
        raise UserError('%s: "pooling_mode" is %r, expected one or a list of %s; %s'
                        % (path, values['pooling_mode'], ', '.join(known), WITHOUT))
    if old_poolings and set(old_poolings) != set(poolings):
        raise UserError('%s: "pooling_mode" is %r, but these keys are true: %s: remove one of the '
                        'two' % (path, values['pooling_mode'], ', '.join(
                            key for key in OLD_POOLING_KEYS if values.get(key))))
    return tuple(poolings), _typed(values, 'include_prompt', bool, True, path)


def _read_normalize(folder, name):
    path = os.path.join(folder, name, CONFIG_FILE)
    if os.path.isfile(path):
        values = files.read_json(path)
        _check_keys(values, tuple(DATA_KEYS), path)
        _check_neutral(values, DATA_KEYS, path)
    return NormalizeModule(name)


def _read_dense(folder, name):
    path = os.path.join(folder, name, CONFIG_FILE)
    values = files.read_json(path)
    _check_keys(values, ('in_features', 'out_features', 'bias', 'activation_function',
                         'use_residual', *DATA_KEYS), path)
    _check_neutral(values, DATA_KEYS, path)
    num_inputs, num_outputs = (_typed(values, key, int, None, path)
                               for key in ('in_features', 'out_features'))
    has_bias = _typed(values, 'bias', bool, True, path)
    use_residual = _typed(values, 'use_residual', bool, False, path)
    function = _typed(values, 'activation_function', str, 'torch.nn.Tanh', path)
    activation = function.rpartition('.')[2]
    if not function.startswith('torch.nn.') or activation not in ACTIVATIONS:
        raise UserError('%s: "activation_function" is %s; supported: %s of torch.nn; %s'
                        % (path, function, ', '.join(ACTIVATIONS), WITHOUT))
    shapes = {'linear.weight': (num_outputs, num_inputs)}
    if has_bias:
        shapes['linear.bias'] = (num_outputs,)
    if use_residual and num_inputs != num_outputs:
        shapes['residual.weight'] = (num_outputs, num_inputs)
    arrays = _read_dense_arrays(os.path.join(folder, name), shapes)
    return DenseModule(name, arrays['linear.weight'], arrays.get('linear.bias'), activation,
                       use_residual, arrays.get('residual.weight'))


def _read_dense_arrays(folder, shapes):
    """{name: array} of the weights in `folder`, which must have the names and shapes in `shapes`.
    """
    path = next((path for path in (os.path.join(folder, name)
                                   for name in (WEIGHTS_FILE, TORCH_WEIGHTS_FILE))
                 if os.path.isfile(path)), None)
    if path is None:
        raise UserError('%s: no %s and no %s in it' % (folder, WEIGHTS_FILE, TORCH_WEIGHTS_FILE))
    arrays = file_formats.check_finite(file_formats.read_file(path), path)
    if arrays.keys() != shapes.keys():
        raise UserError('%s: found %s, but %s beside it needs %s'
                        % (path, ', '.join(sorted(arrays)) or 'nothing', CONFIG_FILE,
                           ', '.join(shapes)))
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise UserError('%s: "%s" has the shape %s, but %s beside it says %s'
                            % (path, name, arrays[name].shape, CONFIG_FILE, shape))
    return {name: array.astype('float32', copy=False) for name, array in arrays.items()}


# Length, prompts


def _read_length(folder, config):
    """(tokens of a text, whether texts are lower-cased)"""
    path, values = os.path.join(folder, SENTENCE_LENGTH_FILE), {}
    for name in (SENTENCE_LENGTH_FILE,) + OLD_SENTENCE_LENGTH_FILES:
        if not values and os.path.isfile(os.path.join(folder, name)):
            path = os.path.join(folder, name)
            values = files.read_json(path)
    _check_keys(values, ('max_seq_length', 'do_lower_case', *NEUTRAL_VALUES), path)
    _check_neutral(values, NEUTRAL_VALUES, path)
    lower = _typed(values, 'do_lower_case', bool, False, path)
    if values.get('max_seq_length') is None:
        return max_folder_tokens(folder, config), lower
    # no text can be longer than the positions
    return min(_typed(values, 'max_seq_length', int, None, path), config.max_length), lower


def _read_settings(values, path):
    """{field of `SentenceModel`: value} in config_sentence_transformers.json."""
    prompts = _typed(values, 'prompts', dict, {}, path)
    for name, text in prompts.items():
        if not isinstance(text, (str, types.NoneType)):
            raise UserError('%s: the prompt "%s" is %r, expected a text' % (path, name, text))
    prompts = {name: text or '' for name, text in prompts.items()}
    name = values.get('default_prompt_name')
    if name is not None and not (isinstance(name, str) and name in prompts):
        raise UserError('%s: "default_prompt_name" is %r, expected one of the prompts: %s'
                        % (path, name, ', '.join(prompts) or 'there are none'))
    similarity = values.get('similarity_fn_name') or 'cosine'
    if similarity not in SIMILARITIES:
        raise UserError('%s: "similarity_fn_name" is %r, expected one of %s'
                        % (path, similarity, ', '.join(SIMILARITIES)))
    dimensions = values.get('truncate_dim')
    if dimensions is not None:
        dimensions = _typed(values, 'truncate_dim', int, None, path)
    return dict(prompts=types.MappingProxyType(prompts), default_prompt_name=name,
                prompt=prompts.get(name, ''), similarity=similarity, dimensions=dimensions)


# Writing


def write_sentence_model(folder, model, config):
    """Write the files that `read_sentence_model` reads into `folder`, with the keys that all
    versions of sentence-transformers read. model: a `SentenceModel` that was read; None: nothing is
    written. config: `BertConfig` of the BERT in the folder."""
    if not model:
        return
    _write_pooling(os.path.join(folder, '1_Pooling', CONFIG_FILE), model, config.units)
    modules = _list_modules(model)
    for (kind, name), module in zip(modules[2:], model.modules):
        if kind == 'Dense':
            _write_dense(os.path.join(folder, name), module)
    files.write_json(os.path.join(folder, MODULES_FILE), [
        {'idx': i, 'name': str(i), 'path': name, 'type': TYPES[kind]}
        for i, (kind, name) in enumerate(modules)])
    files.write_json(os.path.join(folder, SENTENCE_LENGTH_FILE), {
        'max_seq_length': model.max_seq_length, 'do_lower_case': model.do_lower_case})
    settings = {'prompts': dict(model.prompts), 'default_prompt_name': model.default_prompt_name,
                'similarity_fn_name': model.similarity}
    if model.dimensions is not None:
        settings['truncate_dim'] = model.dimensions
    files.write_json(os.path.join(folder, SENTENCE_CONFIG_FILE), settings)


def _list_modules(model):
    """[(kind, folder)] of all modules, as in modules.json."""
    later = ['Dense' if isinstance(module, DenseModule) else 'Normalize'
             for module in model.modules] + ['Normalize'] * model.normalize
    return [('Transformer', '')] + [(kind, '%d_%s' % (i, kind))
                                    for i, kind in enumerate(['Pooling', *later], 1)]


def sentence_file_names(model):
    """Names of the files and folders that `write_sentence_model` writes into a folder."""
    if not model:
        return []
    return [MODULES_FILE, SENTENCE_LENGTH_FILE, SENTENCE_CONFIG_FILE] + [
        name for kind, name in _list_modules(model) if kind in ('Pooling', 'Dense')]


def _write_pooling(path, model, units):
    in_order = tuple(pooling for pooling in OLD_POOLING_KEYS.values() if pooling in model.pooling)
    values = {'word_embedding_dimension': units}
    if in_order == model.pooling:
        values.update((key, pooling in model.pooling) for key, pooling in OLD_POOLING_KEYS.items())
    else:       # an order that only the new key can say
        values = {'embedding_dimension': units, 'pooling_mode': list(model.pooling)}
    files.write_json(path, dict(values, include_prompt=model.include_prompt))


def _write_dense(folder, module):
    num_outputs, num_inputs = module.weight.shape
    place = 'linear' if module.activation == 'Identity' else 'activation'
    values = {'in_features': num_inputs, 'out_features': num_outputs,
              'bias': module.bias is not None,
              'activation_function': 'torch.nn.modules.%s.%s' % (place, module.activation)}
    if module.use_residual:
        values['use_residual'] = True
    files.write_json(os.path.join(folder, CONFIG_FILE), values)
    file_formats.write_safetensors(os.path.join(folder, WEIGHTS_FILE), {
        name: np.ascontiguousarray(array) for name, array in module.arrays.items()})


def is_sentence_file(name):
    """Whether `write_sentence_model` may write a file or folder of this name into a folder."""
    number, _, kind = name.partition('_')
    return name in (MODULES_FILE, SENTENCE_LENGTH_FILE, SENTENCE_CONFIG_FILE) or (
        number.isdecimal() and kind in TYPES)
