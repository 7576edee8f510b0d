"""Atomic writes, JSON and digests of files."""
import contextlib
import errno
import glob
import hashlib
import json
import math
import os
import re
import shutil
import stat
import uuid
import zipfile
import zlib

from bert.errors import NOT_UNICODE, UserError, is_unicode

CHUNK_BYTES = 1 << 20             # bytes per read from the disk
# NumPy's exceptions, besides OSError, for a file that is damaged or not an .npz. RuntimeError and
# NotImplementedError come from zipfile, for flags that it doesn't support.
NPZ_ERRORS = (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError,
              RuntimeError, TypeError, AttributeError)

# {errno of a failed write: what the user can do about it}
WRITE_FIXES = {
    errno.ENOSPC: 'free some space, or choose another folder',
    errno.EDQUOT: 'free some of your quota, or choose another folder',
    errno.EFBIG: 'choose a folder on a file system that allows larger files',
    errno.EACCES: 'choose a folder that you may write to',
    errno.ENOENT: 'the folder can\'t be created: choose another path',
    errno.EPERM: 'choose a folder that you may write to',
    errno.EROFS: 'choose a folder that is not read-only',
    errno.EIO: 'the disk reports a fault: choose another one',
    errno.ENOTDIR: 'a part of the path is a file: choose another path',
    errno.EEXIST: 'a part of the path is a file: choose another path',
    errno.EISDIR: 'the path is a folder: choose another name',
    errno.ENAMETOOLONG: 'choose a shorter name',
    errno.EBUSY: 'the path is a mount point: choose another name',
    errno.ELOOP: 'the links form a loop: choose another path',
    errno.EBADF: 'that descriptor is not open: choose a file',
    errno.ENXIO: 'nothing is connected there: choose a file',
    errno.ETXTBSY: 'the file is a running program: choose another name',
    errno.ENOTEMPTY: 'another program created the path meanwhile: choose another path',
}


# Paths of descriptors that are open in this process
DESCRIPTOR = re.compile('/(?:dev|proc/self)/fd/([0-9]{1,9})|/dev/(stdout|stderr)')
STANDARD_DESCRIPTORS = {'stdout': 1, 'stderr': 2}
ANY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def cache_dir():
    """The folder for downloads: `MXNET_HOME`, or ~/.mxnet as in MXNet itself."""
    return os.path.expanduser(os.environ.get('MXNET_HOME') or os.path.join('~', '.mxnet'))


@contextlib.contextmanager
def explain_write_errors(path):
    """Turn an OSError that means "can't write there" into a `UserError` that names `path`."""
    try:
        yield
    except OSError as error:
        fix = WRITE_FIXES.get(error.errno)
        if fix is None:         # not about the path, for example a network error
            raise
        raise UserError('%s: can\'t write: %s; %s' % (path, error.strerror, fix)) from None


@contextlib.contextmanager
def atomic_write(path, mode='w'):
    """Open a new file that replaces `path` when the block ends without an exception.

    mode: 'w' (UTF-8 text, newlines unchanged) or 'wb'. The old file stays unchanged until the end
    of the block, and also if the block raises. A link stays, and its target is replaced; a pipe or
    device is written to as it is (see `is_stream`). Creates missing folders. Raises `UserError`,
    with path, reason and fix, when the file can't be written.
    """
    text_options = {} if 'b' in mode else {'encoding': 'utf-8', 'newline': '\n'}
    if is_stream(path):
        with explain_write_errors(path), open(_open_stream(path), mode, **text_options) as out:
            yield out       # errors at the end, when the rest is written, are explained too
        return
    with new_file(path) as temporary, open(temporary, mode, **text_options) as out:
        yield out
        out.flush()
        os.fsync(out.fileno())


@contextlib.contextmanager
def new_file(path):
    """Yield a temporary path, for libraries that write to a path. That file replaces `path`, or the
    target of the link there, when the block ends without an exception. Creates missing folders;
    errors of `atomic_write`, also for a pipe or device."""
    target = output_target(path)
    temporary = '%s.%s.tmp' % (target, uuid.uuid4().hex[:8])
    try:
        with explain_write_errors(os.path.abspath(path)):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            yield temporary
            replace_file(temporary, target)
    finally:
        remove(temporary)


def check_not_input(path, input_path, flag='--output'):
    """Raises `UserError` if the output `path` would replace an input. input_path: may be None."""
    if input_path and os.path.isfile(input_path) and \
            os.path.realpath(path) == os.path.realpath(input_path):
        raise UserError('%s %s: the output would replace the input file: choose another name'
                        % (flag, path))


def replace_file(new_path, target):
    """Move a new file to `target`, a path of `output_target`. It gets the mode of an old one."""
    if os.path.exists(target):
        os.chmod(new_path, stat.S_IMODE(os.stat(target).st_mode))
    os.replace(new_path, target)


def is_stream(path):
    """Whether `path` takes data as it comes, and nothing there is replaced: a named pipe, a
    character device such as a terminal or /dev/null, or an open descriptor (/dev/stdout)."""
    if DESCRIPTOR.fullmatch(os.fspath(path)):
        return True
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _open_stream(path):
    """A descriptor or path to open for writing. A descriptor is doubled, not opened anew, so that a
    file behind it is not cut."""
    match = DESCRIPTOR.fullmatch(os.fspath(path))
    if not match:
        return path
    return os.dup(STANDARD_DESCRIPTORS.get(match[2]) or int(match[1]))


def output_target(path):
    """The absolute path, without links, of the regular file that `path` stands for. Raises
    `UserError` if there is something that must not be replaced."""
    path = os.path.abspath(path)
    with explain_write_errors(path):
        target = os.path.realpath(path)
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            mode = stat.S_IFREG | stat.S_IWUSR      # a new file
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    for is_wrong, problem in (
            (not stat.S_ISREG(mode), 'it is a pipe, a device or a socket: name a file'),
            (not mode & ANY_WRITE, 'the file is read-only: choose another name, or chmod u+w'),
            (os.path.dirname(target) == '/dev', 'no file is made in /dev: choose another folder')):
        if is_wrong:
            raise UserError('%s: can\'t write: %s' % (path, problem))
    return target


def check_output(path, replace, flag='--output', streams=True):
    """Raises `UserError`, before anything is computed, if a result can't be written to `path`.

    replace: whether a file there may be replaced. streams: whether the output may be a stream.
    """
    if streams and is_stream(path):
        return
    output_target(path)
    if os.path.exists(path) and not replace:
        raise UserError('%s %s: it exists: choose another name, or give --overwrite' % (flag, path))


@contextlib.contextmanager
def new_folder(path, replace=False):
    """Yield the path of a temporary folder, which becomes `path` when the block ends without an
    exception.

    replace: replace a folder that exists at `path` by then; it stays if anything fails. Raises
    `UserError` when the folder can't be written, or `path` exists and must not be replaced.
    """
    path = os.path.realpath(path)
    temporary = '%s.%s.tmp' % (path, uuid.uuid4().hex[:8])
    try:
        with explain_write_errors(path):
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


def move_into(source, target):
    """Move all files of the folder `source` and below to the same places in the folder `target`,
    each atomically."""
    for parent, _, names in os.walk(source):
        place = os.path.join(target, os.path.relpath(parent, source))
        os.makedirs(place, exist_ok=True)
        for name in sorted(names):
            os.replace(os.path.join(parent, name), os.path.join(place, name))


def exchange_folder(new_path, path):
    """Move the folder `new_path` to `path` and remove the folder that was there. If a move fails,
    the old folder stays at `path`."""
    old_path = '%s.%s.tmp' % (path, uuid.uuid4().hex[:8])
    try:
        os.rename(path, old_path)
        os.rename(new_path, path)
    except BaseException:
        if os.path.isdir(old_path) and not os.path.lexists(path):
            os.rename(old_path, path)
        raise
    shutil.rmtree(old_path, ignore_errors=True)


def sync_folder(folder):
    """Flush every file of `folder` and below, and the folders themselves, to the disk."""
    for parent, _, names in os.walk(folder):
        for name in names + ['.']:
            descriptor = os.open(os.path.join(parent, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def remove(path):
    """Remove a file that may be absent, also from a read-only file system."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if os.path.lexists(path):
            os.remove(path)


def find_files(patterns, expected):
    """List of the paths that match a comma list of files and wildcards, without repetitions, in the
    order of the list; the matches of a wildcard are sorted by name.

    Raises `UserError`, which names the `expected` files, for an entry without a match.
    """
    all_paths = {}
    for pattern in [part.strip() for part in patterns.split(',')]:
        paths = sorted(path for path in glob.glob(pattern) if os.path.isfile(path))
        if os.path.isfile(pattern):     # a file name that contains wildcard characters
            paths = [pattern]
        if not paths:
            raise UserError('%s: no such file: expected %s: names or wildcards, separated by '
                            'commas'
                            % (pattern or repr(patterns), expected))
        for path in paths:
            if not is_unicode(path):
                raise UserError('%a: %s: rename the file' % (path, NOT_UNICODE))
        all_paths.update(dict.fromkeys(paths))
    return list(all_paths)


# What stands in the place of a large file where a repository was cloned without git-lfs
LFS_POINTER = 'version https://git-lfs.github.com/spec/'


def refuse_pointer(path, text):
    """Raises `UserError` if the file that begins with `text` only points to the one in git-lfs."""
    if text.startswith(LFS_POINTER):
        raise UserError('%s: a git-lfs pointer, not the file itself: run "git lfs pull" in its '
                        'folder' % path)


# JSON


def read_json(path, kind=dict):
    """The dictionary, or what else `kind` says, in a JSON file. Raises `UserError` if it can't be
    read or holds none."""
    try:
        with open(path, encoding='utf-8-sig') as file:
            text = file.read()
        refuse_pointer(path, text)
        values = json.loads(text)
    except OSError as error:
        raise UserError('%s: can\'t read: %s' % (path, error.strerror)) from None
    except ValueError as error:
        raise UserError('%s: not JSON: %s' % (path, error)) from None
    except RecursionError:
        raise UserError('%s: JSON that is nested too deeply' % path) from None
    if not isinstance(values, kind):
        raise UserError('%s: holds a %s, expected a %s' % (
            path, type(values).__name__, 'dictionary' if kind is dict else kind.__name__))
    # the second test takes as long as reading, and few files have such an escape
    if '\\ud' in text.lower() and not is_unicode(json.dumps(values, ensure_ascii=False)):
        raise UserError('%s: %s, in a text' % (path, NOT_UNICODE))
    return values


def write_json(path, value):
    """Write `value` as JSON, with null for numbers that JSON lacks (nan, inf)."""
    with atomic_write(path) as out:
        json.dump(replace_nonfinite(value), out, indent=1, ensure_ascii=False, allow_nan=False)
        out.write('\n')


def replace_nonfinite(value):
    """A copy of `value` with None in place of every number that is not finite."""
    if isinstance(value, dict):
        return {key: replace_nonfinite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [replace_nonfinite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# Digests


def digest_file(path, algorithm):
    """Hexadecimal digest of a file's bytes; algorithm: 'sha256' or 'sha1'."""
    state = hashlib.new(algorithm)
    with open(path, 'rb') as file:
        for chunk in iter(lambda: file.read(CHUNK_BYTES), b''):
            state.update(chunk)
    return state.hexdigest()


def digest_mismatch(path, sha256=None, sha1=None):
    """The error message for a wrong digest of `path`, or '' if all expected digests match."""
    for algorithm, expected in (('sha256', sha256), ('sha1', sha1)):
        if expected:
            actual = digest_file(path, algorithm)
            if actual != expected.lower():
                return '%s is %s, expected %s' % (algorithm, actual, expected)
    return ''


def check_digest(path, sha256=None, sha1=None):
    """Raises `UserError` when a digest of the file is not the expected one."""
    problem = digest_mismatch(path, sha256, sha1)
    if problem:
        raise UserError('%s: %s: the file is damaged or of another version: remove it'
                        % (path, problem))
