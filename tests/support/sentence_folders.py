"""Tiny folders of sentence-transformers, in the keys of both of its generations."""
import json

import numpy as np
from safetensors.numpy import save_file
from support import tiny

OLD_TYPE, NEW_TYPE = 'sentence_transformers.models.%s', 'sentence_transformers.base.modules.x.%s'
OLD_KEYS = {'cls': 'pooling_mode_cls_token', 'max': 'pooling_mode_max_tokens',
            'mean': 'pooling_mode_mean_tokens',
            'mean_sqrt_len_tokens': 'pooling_mode_mean_sqrt_len_tokens',
            'weightedmean': 'pooling_mode_weightedmean_tokens',
            'lasttoken': 'pooling_mode_lasttoken'}
MODES = tuple(OLD_KEYS)


def old_pooling(*modes, **values):
    return {'word_embedding_dimension': 8,
            **{key: mode in modes for mode, key in OLD_KEYS.items()}, **values}


def new_pooling(*modes, **values):
    return {'embedding_dimension': 8,
            'pooling_mode': modes[0] if len(modes) == 1 else list(modes), **values}


def dense_arrays(num_inputs, num_outputs, bias=True, residual=False, seed=3):
    rng = np.random.RandomState(seed)
    arrays = {'linear.weight': rng.randn(num_outputs, num_inputs).astype('float32')}
    if bias:
        arrays['linear.bias'] = rng.randn(num_outputs).astype('float32')
    if residual:
        arrays['residual.weight'] = rng.randn(num_outputs, num_inputs).astype('float32')
    return arrays


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_folder(folder, modules=('Pooling',), pooling=None, length=None, settings=None,
                 dense=(), type_name=OLD_TYPE, files=None):
    """Write a tiny BERT with the files of sentence-transformers around it. Returns its path.

    modules: last words of types, after Transformer. pooling: of 1_Pooling/config.json. length,
    settings: contents of sentence_bert_config.json and config_sentence_transformers.json. dense:
    [(config, arrays)] of the Dense modules. files: {path: content} of further JSON files.
    """
    tiny.write_checkpoint(folder)
    paths = [''] + ['%d_%s' % item for item in enumerate(modules, 1)]
    write_json(folder / 'modules.json', [
        {'idx': i, 'name': str(i), 'path': path, 'type': type_name % kind}
        for i, (kind, path) in enumerate(zip(('Transformer',) + tuple(modules), paths))])
    if 'Pooling' in modules:
        write_json(folder / '1_Pooling' / 'config.json', pooling or old_pooling('cls'))
    dense_paths = [path for path in paths if path.endswith('Dense')]
    for path, (config, arrays) in zip(dense_paths, dense):
        write_json(folder / path / 'config.json', config)
        save_file(arrays, str(folder / path / 'model.safetensors'))
    for name, content in dict(files or {}, **{
            'sentence_bert_config.json': length,
            'config_sentence_transformers.json': settings}).items():
        if content is not None:
            write_json(folder / name, content)
    return str(folder)
