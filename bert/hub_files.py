"""The files of a repository that make a BERT model, and the reasons why it can't be opened.

All of it is decided from the names of the files and the small JSON files among them. A listing has
the attributes `label` (for messages), `files` ({name: `HubFile`}) and the method `path` (name →
path of the file here).
"""
import collections
import os
import posixpath

from bert import files
from bert.errors import UserError
from bert.families import read_family
from bert.file_names import (
    ADDED_TOKENS_FILE,
    BYTE_PAIR_FILES,
    CONFIG_FILE,
    MODEL_FILE,
    MODULES_FILE,
    OLD_SENTENCE_LENGTH_FILES,
    SENTENCE_CONFIG_FILE,
    SENTENCE_LENGTH_FILE,
    SPECIAL_TOKENS_FILE,
    TASK_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    TORCH_WEIGHTS_FILE,
    VOCABULARY_FILE,
    WEIGHTS_FILE,
)
from bert.torch_library import import_torch
from bert.vocabulary import holds_tokenizer

# sha256: as the hub declares it for large files, else None. size: in bytes, None where unknown
HubFile = collections.namedtuple('HubFile', 'size sha256')

INDEX_SUFFIX = '.index.json'
SMALL_FILES = (CONFIG_FILE, TOKENIZER_FILE, TOKENIZER_CONFIG_FILE, VOCABULARY_FILE, TASK_FILE,
               SPECIAL_TOKENS_FILE, ADDED_TOKENS_FILE, MODULES_FILE, SENTENCE_CONFIG_FILE,
               SENTENCE_LENGTH_FILE, *OLD_SENTENCE_LENGTH_FILES)
# The weights that a model may have, the first that is there counts
WEIGHT_NAMES = (WEIGHTS_FILE, WEIGHTS_FILE + INDEX_SUFFIX, MODEL_FILE, TORCH_WEIGHTS_FILE,
                TORCH_WEIGHTS_FILE + INDEX_SUFFIX)
MAX_NAMES = 8       # of files in a message

# (what a repository without our files holds: end of a file name, what to do)
FOREIGN_FORMATS = (
    ('adapter_config.json', 'it is an adapter (LoRA), not a model: merge it into its base model '
                            'with peft (merge_and_unload, save_pretrained), and give the new '
                            'folder'),
    ('model_index.json', 'it is a diffusers pipeline, not a text encoder'),
    ('.gguf', 'GGUF is the format of llama.cpp: use the repository that it was made from'),
    ('.onnx', 'ONNX files can\'t be trained or converted: use the repository that they were '
              'exported from'),
    ('.h5', 'TensorFlow weights are not supported: convert them with transformers 4 (from_tf=True, '
            'save_pretrained), and give the new folder'),
    ('.ckpt.index', 'TensorFlow weights are not supported: convert them with transformers 4 '
                    '(convert_bert_original_tf_checkpoint_to_pytorch), and give the new folder'),
    ('.msgpack', 'Flax weights are not supported: convert them with transformers 4 '
                 '(from_flax=True, save_pretrained), and give the new folder'))


def choose_files(listing):
    """Names of the files that opening the model takes. Raises `UserError` if it can't be opened
    here; nothing large is fetched before that is known."""
    names = listing.files
    check_configuration(listing)
    modules = [name for folder in module_folders(listing)
               for name in module_files(listing, folder)]
    if not holds_tokenizer(names):
        raise UserError('%s: no tokenizer: expected %s, or %s, or both %s and %s; files there: %s'
                        % (listing.label, VOCABULARY_FILE, TOKENIZER_FILE, *BYTE_PAIR_FILES,
                           list_names(names)))
    small_files = SMALL_FILES if TOKENIZER_FILE in names else SMALL_FILES + BYTE_PAIR_FILES
    return [name for name in names if name in small_files] + modules + weight_files(listing)


def check_configuration(listing):
    """Raise `UserError` if the JSON files say that this zoo can't run the model."""
    if CONFIG_FILE not in listing.files:
        raise UserError('%s: no %s%s; files there: %s' % (
            listing.label, CONFIG_FILE, foreign_format(listing.files), list_names(listing.files)))
    for name in (CONFIG_FILE, TOKENIZER_CONFIG_FILE):
        values = files.read_json(listing.path(name)) if name in listing.files else {}
        if name == CONFIG_FILE:
            read_family(values, '%s: %s' % (listing.label, name))
        if values.get('auto_map'):
            raise UserError('%s: %s: the model needs its own Python code (auto_map), which is '
                            'never run here: use a model that transformers opens without '
                            'trust_remote_code'
                            % (listing.label, name))


def weight_files(listing, folder=''):
    """Names of the files with the weights in a folder of the repository. Raises `UserError` if
    there are none, an index lists others, or PyTorch is needed and missing."""
    for name in WEIGHT_NAMES:
        path = posixpath.join(folder, name)
        if path not in listing.files:
            continue
        if TORCH_WEIGHTS_FILE in name:
            import_torch('%s: %s' % (listing.label, path))
        return [path] + (shards(listing, path) if name.endswith(INDEX_SUFFIX) else [])
    raise UserError('%s: no weights in a supported format (%s)%s; files there: %s' % (
        listing.label, ', '.join((WEIGHTS_FILE, TORCH_WEIGHTS_FILE, MODEL_FILE)),
        foreign_format(listing.files), list_names(listing.files)))


def shards(listing, index):
    """Names of the files that the index of a model in several files lists."""
    weight_map = files.read_json(listing.path(index)).get('weight_map')
    names = sorted(set(map(str, weight_map.values()))) if isinstance(weight_map, dict) else []
    paths = [posixpath.join(posixpath.dirname(index), name) for name in names]
    missing = [path for path in paths if path not in listing.files]
    if missing or not paths:
        raise UserError('%s: %s: %s' % (
            listing.label, index, 'lists %s, which is missing' % missing[0] if missing else
            'no "weight_map" of names and files in it'))
    return paths


# Folders of sentence-transformers: modules.json lists the modules, most have a folder


def read_modules(listing):
    """The entries of modules.json, [] without it. Raises `UserError` if they have no paths."""
    if MODULES_FILE not in listing.files:
        return []
    modules = files.read_json(listing.path(MODULES_FILE), list)
    for module in modules:
        if not isinstance(module, dict) or not isinstance(module.get('path'), str):
            raise UserError('%s: %s: %r: expected a module with a "path"'
                            % (listing.label, MODULES_FILE, module))
    return modules


def module_folders(listing):
    """The folders of the modules, without the root. Raises `UserError` for one that leads out of
    the repository."""
    folders = [module['path'] for module in read_modules(listing) if module['path']]
    for folder in folders:
        if '\\' in folder or {'', '.', '..'} & set(folder.split('/')):
            raise UserError('%s: %s: the path "%s" is not a folder of the repository: refused'
                            % (listing.label, MODULES_FILE, folder))
    return folders


def module_files(listing, folder):
    """Names of the files of one module: its settings, and its weights if it has any."""
    names = [name for name in listing.files if posixpath.dirname(name) == folder
             and posixpath.basename(name) in SMALL_FILES]
    has_weights = any(posixpath.join(folder, name) in listing.files for name in WEIGHT_NAMES)
    return names + (weight_files(listing, folder) if has_weights else [])


# Messages


def foreign_format(names):
    """': ' and what a repository without our files is, or ''."""
    return next((': ' + advice for ending, advice in FOREIGN_FORMATS
                 if any(name.endswith(ending) for name in names)), '')


def foreign_folder(folder):
    """`foreign_format` of the files in a folder here, and in the folders in it."""
    names = []
    for parent, folders, file_names in os.walk(folder):
        names += file_names
        if parent != folder:
            folders.clear()     # no deeper
    return foreign_format(names)


def list_names(names):
    """The first names, for a message."""
    names = [name for name in names if not name.startswith('.')]
    return ', '.join(names[:MAX_NAMES] + ['…'] * (len(names) > MAX_NAMES)) or 'none'
