"""Which checkpoint of a folder is opened, and what its weights make up."""
import os

from bert import file_names, files
from bert.errors import UserError
from bert.model.weights import heads
from bert.train import checkpoint


def find_model(folder, script):
    """What `local.read_checkpoint` reads for --model_dir: the folder itself, or the best
    checkpoint in it. script: whose runs are wanted, for the error."""
    path = folder if _is_model(folder) else checkpoint.best(folder)
    if path is None:
        raise UserError('--model_dir %s: no checkpoint in it: name the folder of a run of %s, or '
                        'of such a model of transformers' % (folder, script))
    return path


def find_head(found):
    """`heads.find_head` of a `local.Checkpoint`, whose configuration may name another head."""
    path = os.path.join(folder_of(found), file_names.CONFIG)
    if os.path.isfile(path):
        heads.check_architecture(files.read_json(path), path)
    return heads.find_head(found.arrays, found.source)


def folder_of(found):
    """Where the weights of a `local.Checkpoint` lie."""
    return os.path.dirname(os.path.abspath(found.source))


def _is_model(folder):
    """Whether `local.read_checkpoint` finds weights by itself: there, or by a run's index."""
    return any(os.path.isfile(os.path.join(folder, name))
               for name in (file_names.INDEX, file_names.MODEL) + file_names.ALL_WEIGHTS)
