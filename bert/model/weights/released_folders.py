"""Folders with the files of released models, made from sources other than the hub."""
import os

from bert import files
from bert.errors import UserError
from bert.file_names import (
    CONFIG_FILE,
    TOKENIZER_CONFIG_FILE,
    VOCABULARY_FILE,
    WEIGHTS_FILE,
)
from bert.model.weights import (
    catalogue,
    config_files,
    file_formats,
    mapping,
    released_weights,
)
from bert.vocabulary import write_tokens


def folder_of_release(release):
    """The folder, beside the cache of the release's original files."""
    return release.folder + '-files'


def has_folder(release):
    return os.path.isdir(folder_of_release(release))      # it is made whole


def fetch_folder(release):
    """The folder of a release in Hugging Face layout, made if it is not there. Raises a `UserError`
    that lists every source."""
    folder = folder_of_release(release)
    if has_folder(release):
        return folder
    arrays = released_weights.fetch_arrays(release)
    tokens = released_weights.fetch_tokens(release)
    try:
        with files.new_folder(folder) as temporary:
            _write_folder(temporary, release, arrays, tokens)
    except UserError:
        if not has_folder(release):    # by another process
            raise
    return folder


def _write_folder(folder, release, arrays, tokens):
    config = catalogue.config_of(release.model, release.corpus)
    state = mapping.to_transformers(arrays, release.name, config)
    architecture = 'BertForPreTraining' if any(
        name.startswith('cls.') for name in state) else 'BertModel'
    file_formats.write_safetensors(os.path.join(folder, WEIGHTS_FILE), state)
    files.write_json(os.path.join(folder, CONFIG_FILE), config_files.config_to_transformers(
        config, architecture, tokens.index('[PAD]')))
    files.write_json(os.path.join(folder, TOKENIZER_CONFIG_FILE), {
        'tokenizer_class': 'BertTokenizer', 'do_lower_case': not config.cased,
        'model_max_length': config.max_length})
    write_tokens(tokens, os.path.join(folder, VOCABULARY_FILE))
    for name, content in catalogue.SENTENCE_FILES.get(release.hub.repository, {}).items():
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        files.write_json(os.path.join(folder, name), content)
