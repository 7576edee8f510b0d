"""Finds the checkpoint to open in a folder, and the head that its weights belong to."""
import os

from bert import file_names, files
from bert.errors import UserError
from bert.hub_files import foreign_folder
from bert.model.weights import heads
from bert.model.weights.checkpoint_reader import check_folder_family
from bert.model.weights.model_names import locate_model
from bert.train.checkpoint import best_checkpoint


def find_checkpoint_folder(folder, script):
    """The folder that `checkpoint_reader.read_checkpoint` reads for --model_dir: the folder itself,
    or the best checkpoint in it. folder: may be the name of a model on the hub. script: the one
    whose runs are expected, for the error."""
    folder = locate_model(folder)
    path = folder if has_weights(folder) else best_checkpoint(folder)
    if path is None:
        check_folder_family(folder)
        raise UserError('--model_dir %s: no checkpoint in this folder%s: name the folder of a run '
                        'of %s, or of a transformers model of this kind'
                        % (folder, foreign_folder(folder), script))
    return path


def find_head(checkpoint):
    """`heads.identify_head` for a `checkpoint_reader.Checkpoint`. Raises `UserError` if its
    configuration names a network with an unknown head."""
    path, architectures = os.path.join(folder_of(checkpoint), file_names.CONFIG_FILE), ()
    if os.path.isfile(path):
        architectures = heads.check_architecture(files.read_json(path), path)
    return heads.identify_head(checkpoint.arrays, checkpoint.source, architectures)


def folder_of(checkpoint):
    """The folder with the weights of a `checkpoint_reader.Checkpoint`."""
    return os.path.dirname(os.path.abspath(checkpoint.source))


def has_weights(folder):
    """Whether `checkpoint_reader.read_checkpoint` finds weights by itself: in the folder, or
    through a run's index."""
    names = (file_names.INDEX_FILE, file_names.MODEL_FILE) + file_names.ALL_WEIGHTS_FILES
    return any(os.path.isfile(os.path.join(folder, name)) for name in names)


def max_folder_tokens(folder, config):
    """Tokens of the longest text: the limit in the tokenizer's file, within the model's
    positions."""
    path = os.path.join(folder, file_names.TOKENIZER_CONFIG_FILE)
    limit = files.read_json(path).get('model_max_length') if os.path.isfile(path) else None
    if limit is None:
        return config.max_length
    if not isinstance(limit, (int, float)) or not limit > 2:      # nor NaN
        raise UserError('%s: model_max_length is %r, expected a number of tokens' % (path, limit))
    return int(min(limit, config.max_length))
