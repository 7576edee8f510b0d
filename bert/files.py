"""Files that must be whole or absent: atomic writes, digests, locks."""
import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import math
import os
import shutil
import uuid
import zipfile
import zlib

from bert.errors import UserError

CHUNK = 1 << 20             # bytes read at once from the disk
# What NumPy raises for an .npz that is damaged or something else, beside OSError; RuntimeError and
# NotImplementedError are for flags that zipfile can't read
NPZ_ERRORS = (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError,
              RuntimeError, TypeError, AttributeError)

# What a write runs into, and what the user can do about it.
WRITE_FIXES = {
    errno.ENOSPC: 'free some space, or choose another folder',
    errno.EDQUOT: 'free some of your quota, or choose another folder',
    errno.EFBIG: 'choose a folder on a file system that takes larger files',
    errno.EACCES: 'choose a folder that you may write to',
    errno.ENOENT: 'no folder can be made there: choose another path',
    errno.EPERM: 'choose a folder that you may write to',
    errno.EROFS: 'choose a folder that is not read-only',
    errno.EIO: 'the disk reports a fault: choose another one',
    errno.ENOTDIR: 'a part of the path is a file: choose another path',
    errno.EEXIST: 'a part of the path is a file: choose another path',
    errno.EISDIR: 'the path is a folder: choose another name',
    errno.ENAMETOOLONG: 'choose a shorter name',
    errno.ENOTEMPTY: 'something was put there meanwhile: choose another path',
}


def cache_dir():
    """Where downloads are kept: `MXNET_HOME`, or ~/.mxnet as for MXNet itself."""
    return os.path.expanduser(os.environ.get('MXNET_HOME') or os.path.join('~', '.mxnet'))


@contextlib.contextmanager
def writing(path):
    """Turn an OSError that means "can't write there" into a `UserError` that names `path`."""
    try:
        yield
    except OSError as error:
        fix = WRITE_FIXES.get(error.errno)
        if fix is None:         # a fault of the network, say: not ours to explain
            raise
        raise UserError('%s: can\'t write: %s; %s' % (path, error.strerror, fix)) from None


@contextlib.contextmanager
def atomic_write(path, mode='w'):
    """Open a new file that takes the place of `path` when the block ends well.

    mode: 'w' (UTF-8 text, newlines kept) or 'wb'. Until the end, and for good when the
    block raises, the old file stays as it was. Missing folders are made.
    Raises `UserError` naming path, reason and fix when the disk refuses.
    """
    path = os.path.abspath(path)
    temporary = '%s.%s.tmp' % (path, uuid.uuid4().hex[:8])
    text = {} if 'b' in mode else {'encoding': 'utf-8', 'newline': '\n'}
    try:
        with writing(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(temporary, mode, **text) as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            os.replace(temporary, path)
    finally:
        remove(temporary)


@contextlib.contextmanager
def new_file(path):
    """Yield another name for the file `path`, which takes its place when the block ends well;
    for what is written by a library that wants a name. Missing folders are made."""
    path = os.path.abspath(path)
    temporary = '%s.%s.tmp' % (path, uuid.uuid4().hex[:8])
    try:
        with writing(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            yield temporary
            os.replace(temporary, path)
    finally:
        remove(temporary)


@contextlib.contextmanager
def new_folder(path, replace=False):
    """A folder, under another name at first, that is called `path` when the block ends well.

    replace: take the place of what is there by then, which stays when anything fails.
    Raises `UserError` when the disk refuses, or something is there and isn't to be replaced.
    """
    path = os.path.realpath(path)
    temporary = '%s.%s.tmp' % (path, uuid.uuid4().hex[:8])
    try:
        with writing(path):
            os.makedirs(temporary)
            yield temporary
            sync_folder(temporary)
            if replace and os.path.isdir(path):
                exchange_folder(temporary, path)
            elif os.path.lexists(path):
                raise FileExistsError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
            else:
                os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def exchange_folder(new, path):
    """Put the folder `new` where the folder `path` is, and remove that one: one of the two is
    there whatever happens."""
    old = '%s.%s.tmp' % (path, uuid.uuid4().hex[:8])
    try:
        os.rename(path, old)
        os.rename(new, path)
    except BaseException:
        if os.path.isdir(old) and not os.path.lexists(path):
            os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def sync_folder(folder):
    """Have every file of `folder` on the disk."""
    for name in os.listdir(folder) + ['.']:
        descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove(path):
    """Remove a file that may be absent."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.remove(path)


def find(patterns, expected):
    """Paths of a comma list of files and wildcards, each once, in the order of the list; those of
    a wildcard in that of their names.

    Raises `UserError`, saying what is `expected`, for one that matches nothing.
    """
    found = {}
    for pattern in [part.strip() for part in patterns.split(',')]:
        paths = sorted(path for path in glob.glob(pattern) if os.path.isfile(path))
        if os.path.isfile(pattern):     # a name that only looks like a wildcard
            paths = [pattern]
        if not paths:
            raise UserError('%s: no such file: expected %s, as a comma list of names and wildcards'
                            % (pattern or repr(patterns), expected))
        found.update(dict.fromkeys(paths))
    return list(found)


# JSON


def read_json(path):
    """The dictionary in a JSON file. Raises `UserError` when there is none."""
    try:
        with open(path, encoding='utf-8') as file:
            values = json.load(file)
    except OSError as error:
        raise UserError('%s: can\'t read: %s' % (path, error.strerror)) from None
    except ValueError as error:
        raise UserError('%s: not JSON: %s' % (path, error)) from None
    if not isinstance(values, dict):
        raise UserError('%s: holds a %s, expected a dictionary' % (path, type(values).__name__))
    return values


def write_json(path, value):
    """Write `value` as JSON, with null for the numbers that JSON can't hold (nan, inf)."""
    with atomic_write(path) as out:
        json.dump(finite(value), out, indent=1, ensure_ascii=False, allow_nan=False)
        out.write('\n')


def finite(value):
    """`value` with None for every number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# Digests


def digest(path, algorithm):
    """Hexadecimal digest of a file's bytes; algorithm: 'sha256' or 'sha1'."""
    state = hashlib.new(algorithm)
    with open(path, 'rb') as data:
        for chunk in iter(lambda: data.read(CHUNK), b''):
            state.update(chunk)
    return state.hexdigest()


def digest_mismatch(path, sha256=None, sha1=None):
    """What is wrong with the digest of `path`, in words, or '' when all given ones fit."""
    for algorithm, expected in (('sha256', sha256), ('sha1', sha1)):
        if expected:
            found = digest(path, algorithm)
            if found != expected.lower():
                return '%s is %s, expected %s' % (algorithm, found, expected)
    return ''


def check_digest(path, sha256=None, sha1=None):
    """Raises `UserError` when the file has another digest than the one given."""
    problem = digest_mismatch(path, sha256, sha1)
    if problem:
        raise UserError('%s: %s: remove the file, it is damaged or another version'
                        % (path, problem))


# Locks


def open_locked(path):
    """Open `path` for reading and appending under an exclusive lock, or None when another
    process holds it."""
    file = open(path, 'a+b')
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # the holder before us may have renamed the file between our open and our lock
        if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return file
    except OSError:
        pass
    file.close()
    return None
