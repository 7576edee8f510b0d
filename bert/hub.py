"""Models of the Hugging Face hub by their names: owner/name, or owner/name@revision.

The files lie in the hub's own cache ($HF_HUB_CACHE, else $HF_HOME/hub), which other programs share.
A model is fetched once: afterwards its name means the commit in the cache, and the hub isn't asked.
Our own cache keeps a record of each commit that was fetched whole and verified.
"""
import logging
import os
import re
import shutil
from typing import NamedTuple

from bert import files
from bert.errors import UserError
from bert.families import FAMILIES
from bert.file_names import CONFIG_FILE
from bert.hub_errors import (
    HubUnreachableError,
    explain_hub_error,
    is_length_error,
    offline_error,
)
from bert.hub_files import WEIGHT_NAMES, HubFile, choose_files

LOG = logging.getLogger(__name__)

LISTING_TIMEOUT = 10        # seconds; short, so that a machine without a network fails soon
MAX_ATTEMPTS = 2            # of a file whose content is wrong
MEGABYTE = 1e6
DEFAULT_REVISION = 'main'
MAX_NAME_LENGTH = 96        # of the hub

PART = r'[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?'
MODEL_NAME = re.compile(r'((?:%s/)?%s)(?:@(%s(?:/%s)*))?' % (PART, PART, PART, PART))
COMMIT = re.compile('[0-9a-f]{40}')
FILE_ENDINGS = ('.params', '.safetensors', '.bin', '.json', '.onnx', '.txt', '.git')


# Names


def split_model_name(name):
    """(repository, revision or None) of a text that has the form of a model's name on the hub:
    owner/name or name, each with or without @revision. None for any other text, such as a path."""
    match = MODEL_NAME.fullmatch(name)
    if not match:
        return None
    repository, revision = match.groups()
    is_refused = '--' in repository or '..' in match.group() or repository.endswith(FILE_ENDINGS)
    return None if is_refused or len(repository) > MAX_NAME_LENGTH else (repository, revision)


def _require_model_name(name):
    """`split_model_name`, or a `UserError`, also for the name of a file or folder here."""
    parts = split_model_name(name)
    if os.path.exists(name):
        raise UserError('%s: a local file or folder; expected the name of a model on the hub%s'
                        % (name, ', such as %s@main' % name if parts and not parts[1] else ''))
    if not parts:
        raise UserError('%s: no such file or folder, and not the name of a model on the hub: '
                        'expected owner/name or owner/name@revision, of letters, digits, ".", "-" '
                        'and "_"'
                        % name)
    return parts


def pin_model(name):
    """Fetch the files of a model unless they are in the cache, and return `name` with its commit:
    owner/name@<40 hex digits>.

    A branch or tag (main without @revision) means the commit that the cache has of it; this asks
    the hub only if there is none, or if files are missing. Raises `UserError`, or
    `HubUnreachableError` if the model is not in the cache and the hub is out of reach.
    """
    repository, revision = _require_model_name(name)
    commit = cached_commit(repository, revision)
    if commit and holds_commit(repository, commit):
        if revision != commit:
            LOG.info('%s: using commit %s from the cache; models.py --fetch %s gets the newest '
                     'commit', name, commit, name)
        return '%s@%s' % (repository, commit)
    try:
        listing = HubListing(repository, commit or revision, name)
        fetch_files(listing, revision)
    except HubUnreachableError:
        if not commit or not has_all_files(repository, commit):
            raise
        LOG.warning('%s: the hub is out of reach: using commit %s from the cache, which '
                    'another program fetched, without verifying it', name, commit)
    else:
        commit = listing.commit
    return '%s@%s' % (repository, commit)


def model_folder(name):
    """The local folder with the files of a model of the hub, which are fetched if they are not in
    the cache. Errors of `pin_model`."""
    return snapshot_folder(*split_model_name(pin_model(name)))


def fetch_model(name):
    """Fetch the newest commit of a model, or of its @revision, into the cache. Returns `name` with
    this commit. Errors of `pin_model`."""
    repository, revision = _require_model_name(name)
    listing = HubListing(repository, revision, name)
    fetch_files(listing, revision)
    return '%s@%s' % (repository, listing.commit)


def holds_model(name):
    """Whether all files of a model of the hub are in the cache."""
    repository, revision = _require_model_name(name)
    commit = cached_commit(repository, revision)
    return bool(commit) and has_all_files(repository, commit)


def open_listing(name):
    """(the `CachedListing` or `HubListing` of a model of the hub, whether its files are in the
    cache). Errors of `pin_model`, except for a model that can't be opened here."""
    repository, revision = _require_model_name(name)
    commit = cached_commit(repository, revision)
    if commit and holds_commit(repository, commit):
        return CachedListing(repository, commit, name), True
    return HubListing(repository, commit or revision, name), False


# The cache


class CachedModel(NamedTuple):
    """A BERT model in the hub's cache. num_bytes: on the disk. is_complete: whether it can be
    opened without a network."""
    repository: str
    commit: str
    num_bytes: int
    is_complete: bool


def cached_models():
    """The `CachedModel` rows of all commits in the cache with a BERT's config.json and at least a
    part of its weights, sorted by name."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound
    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except (CacheNotFound, OSError, ValueError):
        return []
    rows = []
    for repository in repositories:
        for snapshot in repository.revisions if repository.repo_type == 'model' else ():
            if _is_bert(snapshot):
                rows.append(CachedModel(
                    repository.repo_id, snapshot.commit_hash, snapshot.size_on_disk,
                    has_all_files(repository.repo_id, snapshot.commit_hash)))
    return sorted(rows)


def _is_bert(snapshot):
    """Whether a revision of the cache holds weights, and a config.json that names a BERT."""
    names = {file.file_name for file in snapshot.files}
    if CONFIG_FILE not in names or not any(
            name.startswith(prefix.partition('.')[0]) for name in names for prefix in WEIGHT_NAMES):
        return False
    try:
        config = files.read_json(os.path.join(snapshot.snapshot_path, CONFIG_FILE))
    except UserError:
        return False
    return config.get('model_type') in FAMILIES or 'units' in config


def snapshot_folder(repository, revision):
    """The folder of a revision in the cache, None if it is not there. revision: None for main."""
    from huggingface_hub import try_to_load_from_cache
    path = try_to_load_from_cache(repository, CONFIG_FILE, revision=revision or DEFAULT_REVISION)
    return os.path.dirname(path) if isinstance(path, str) else None


def cached_commit(repository, revision):
    """The commit that the cache has of a revision, or None."""
    folder = snapshot_folder(repository, revision)
    return os.path.basename(folder) if folder else None


def record_path(repository, commit):
    """Path of our record of a complete commit: the names, sizes and digests of its files."""
    return os.path.join(files.cache_dir(), 'models', 'hub', repository.replace('/', '--'),
                        commit + '.json')


def read_record(repository, commit):
    """The record of a complete commit, {} if there is none."""
    try:
        record = files.read_json(record_path(repository, commit))
        return record if isinstance(record.get('files'), dict) else {}
    except UserError:
        return {}


def holds_commit(repository, commit):
    """Whether the cache holds all files of a commit that was fetched and verified."""
    folder, record = snapshot_folder(repository, commit), read_record(repository, commit)
    try:
        return bool(folder and record) and all(
            os.path.getsize(os.path.join(folder, name)) == size
            for name, size in record['files'].items())
    except (OSError, TypeError):
        return False


def has_all_files(repository, commit):
    """Whether the cache holds all files that opening a commit takes: by our record of it, else, if
    another program fetched it, by its JSON files."""
    if read_record(repository, commit):
        return holds_commit(repository, commit)
    try:
        return bool(choose_files(CachedListing(repository, commit, repository)))
    except UserError:
        return False


class CachedListing:
    """The files of a commit in the cache; see `bert.hub_files`."""

    def __init__(self, repository, commit, label):
        self.repository, self.commit, self.label = repository, commit, label
        self._folder = snapshot_folder(repository, commit)
        self.num_parameters = read_record(repository, commit).get('parameters')
        self.files = {}
        for folder, _, names in os.walk(self._folder):
            for path in [os.path.join(folder, name) for name in sorted(names)]:
                if os.path.isfile(path):        # no link to a file that is gone
                    self.files[os.path.relpath(path, self._folder)] = HubFile(
                        os.path.getsize(path), None)

    def path(self, name):
        return os.path.join(self._folder, name)


# Fetching


class HubListing:
    """The files of a revision on the hub; see `bert.hub_files`. `path` fetches a file into the
    cache and verifies it. num_parameters: as the hub counts them, or None. Raises `UserError`."""

    def __init__(self, repository, revision, label):
        from huggingface_hub import HfApi, constants
        self.repository, self.label, self._revision = repository, label, revision
        if constants.HF_HUB_OFFLINE:
            raise offline_error(label)
        try:
            info = HfApi().model_info(repository, revision=revision, timeout=LISTING_TIMEOUT,
                                      files_metadata=True)
            self.commit, siblings = info.sha, info.siblings or []
            if not COMMIT.fullmatch(self.commit or ''):
                raise ValueError('no commit')
        except Exception as error:      # the library's releases raise from several families
            raise explain_hub_error(error, label, repository, revision) from None
        self.num_parameters = info.safetensors.total if info.safetensors else None
        self.files = {file.rfilename: HubFile(file.size, file.lfs.sha256 if file.lfs else None)
                      for file in siblings}
        self._paths = {}

    def path(self, name):
        if name not in self._paths:
            self._paths[name] = self._fetch(name)
        return self._paths[name]

    def _fetch(self, name):
        """The path of a file in the cache, verified. A wrong one is fetched once more."""
        label = '%s: %s' % (self.label, name)
        for attempt in range(MAX_ATTEMPTS):
            path, problem = self._download(name, label, attempt > 0)
            problem = problem or content_problem(path, self.files[name])
            if not problem:
                return path
            LOG.debug('%s: %s', label, problem)
            remove_cached_file(path)
        raise UserError('%s: the file is not as the hub declares it, after %d attempts: %s; try '
                        'again later, or use another mirror (HF_ENDPOINT)'
                        % (label, MAX_ATTEMPTS, problem))

    def _download(self, name, label, from_start):
        """(path, None), or (None, problem) for a file of another length than declared. from_start:
        whether to discard a partial download."""
        from huggingface_hub import hf_hub_download
        try:
            return hf_hub_download(self.repository, name, revision=self.commit,
                                   force_download=from_start), None
        except Exception as error:
            if is_length_error(error):
                return None, 'the size is not the expected %s bytes' % self.files[name].size
            raise explain_hub_error(error, label, self.repository, self._revision) from None


def content_problem(path, expected):
    """The error message for a file with another size or digest than `expected`, a `HubFile`, or
    ''."""
    try:
        size = os.path.getsize(path)
        if expected.size is not None and size != expected.size:
            return '%d bytes, expected %d' % (size, expected.size)
        return files.digest_mismatch(path, sha256=expected.sha256)
    except OSError as error:        # another process removes it, as we do below
        return error.strerror


def remove_cached_file(path):
    """Remove a file of the cache: the link in the snapshot, and what it leads to."""
    while path and os.path.lexists(path):
        target = os.path.join(os.path.dirname(path), os.readlink(path)) \
            if os.path.islink(path) else None
        files.remove(path)
        path = target


def fetch_files(listing, revision):
    """Fetch and verify the files of a model, then note in the caches that `revision` names this
    commit and that it is complete. listing: a `HubListing`. Raises `UserError`; if the model can't
    be opened, before it fetches weights."""
    names = choose_files(listing)
    folder = os.path.dirname(listing.path(CONFIG_FILE))
    sizes = {name: listing.files[name].size for name in names}
    missing = {name: size or 0 for name, size in sizes.items()
               if not os.path.exists(os.path.join(folder, name))}
    check_space(listing.label, folder, sum(missing.values()))
    LOG.info('%s: commit %s: %d files to fetch, %.1f MB', listing.label, listing.commit,
             len(missing), sum(missing.values()) / MEGABYTE)
    for name in names:
        sizes[name] = os.path.getsize(listing.path(name))
    try:
        if cached_commit(listing.repository, revision) != listing.commit:
            refs = os.path.join(os.path.dirname(os.path.dirname(folder)), 'refs')
            with files.atomic_write(os.path.join(refs, revision or DEFAULT_REVISION)) as out:
                out.write(listing.commit)
        files.write_json(record_path(listing.repository, listing.commit), {
            'repository': listing.repository, 'commit': listing.commit,
            'parameters': listing.num_parameters, 'files': sizes})
    except UserError as error:      # the files are there: the next call asks the hub again
        LOG.warning('%s', error)


def check_space(label, folder, num_bytes):
    """Raise `UserError` if the disk of the cache has less free space than `num_bytes`."""
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise UserError('%s: the model needs %.1f MB, but the hub\'s cache %s has %.1f MB left: '
                        'free some space there, or set HF_HUB_CACHE to another folder' % (
                            label, num_bytes / MEGABYTE, os.path.dirname(folder), free / MEGABYTE))
