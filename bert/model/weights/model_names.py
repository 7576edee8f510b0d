"""Finds the folder of a model by its name: a path, or a name on the Hugging Face hub. The released
models of the catalogue have other sources where the hub is out of reach."""
import logging
import os

from bert import hub
from bert.errors import UserError, did_you_mean
from bert.file_names import INDEX_FILE, MODEL_FILE, OPTIONS_FILE
from bert.hub_errors import HubUnreachableError
from bert.model.weights import catalogue, released_folders
from bert.model.weights.released_weights import Release

LOG = logging.getLogger(__name__)


def locate_model(name):
    """The path of the model `name`: an existing path as it is; for a name on the hub the folder in
    a cache, into which this fetches the files if need be. Raises `UserError`."""
    name = _as_text(name)
    if not is_hub_name(name):
        return name
    name, release = _find_release(name)
    if release is None or hub.holds_model(name):
        return hub.model_folder(name)
    if released_folders.has_folder(release):
        return released_folders.folder_of_release(release)
    try:
        return hub.model_folder(name)
    except HubUnreachableError as failure:
        LOG.info('%s; trying its other sources', failure)
        return released_folders.fetch_folder(release)


def pin_name(name):
    """`name` with the commit of the hub's files, for records; fetches the model like
    `locate_model`. A path stays as it is, and so does the name of a released model that came from
    another source, whose files never change. Raises `UserError`."""
    name = _as_text(name)
    if not is_hub_name(name):
        if '/' in name and hub.split_model_name(name) and not _is_own_folder(name):
            LOG.info('%s: using the local file or folder, not the model of this name on the hub',
                     name)
        return name
    folder = locate_model(name)
    name, _ = _find_release(name)
    repository, _ = hub.split_model_name(name)
    return '%s@%s' % (repository, os.path.basename(folder)) if hub.holds_model(name) else name


def is_hub_name(name):
    """True for the name of a model on the hub, False for a file or folder here. Raises `UserError`
    for anything else."""
    if os.path.exists(name):
        return False
    if name in catalogue.NAMES:
        raise UserError('%s: no such file or folder' % name,
                        fix='the released model of this name is for --bert_model and --model: give '
                            'its name on the hub here, %s' % catalogue.repository_of(name))
    parts = hub.split_model_name(name)
    if parts is None:
        raise UserError('%s: no such file or folder%s' % (
            name, '; for a model on the hub, give owner/name, without an address'
            if '://' in name else ''))
    if '/' not in name and '_' in name:         # no name on the hub without an owner has a "_"
        hint = did_you_mean(name, catalogue.MODELS)
        if hint:
            raise UserError('%s: no such file or folder.%s' % (name, hint))
    owner, _, _ = parts[0].partition('/')
    if parts[1] is None and owner != parts[0] and os.path.isdir(owner):
        raise UserError('%s: no such file or folder in the local folder %s; for the model of '
                        'this name on the hub, write %s@main' % (name, owner, name))
    return True


def _as_text(name):
    """A path or name as a str. Raises `UserError`."""
    try:
        return os.fsdecode(name)
    except TypeError:
        raise UserError('model %r: expected a path or a name on the hub' % (name,)) from None


def _is_own_folder(path):
    """Whether a run or a checkpoint of ours lies there, which nobody takes for a model of the
    hub."""
    return any(os.path.isfile(os.path.join(path, name))
               for name in (OPTIONS_FILE, INDEX_FILE, MODEL_FILE))


def _find_release(name):
    """(the name with its owner, `Release`) for the name of a released model on the hub, with or
    without its owner; (name, None) for any other model, and for a name with a revision."""
    found = catalogue.find_hub_release(name)
    if found is None:
        return name, None
    release = Release(*found)
    return release.hub.repository, release
