"""Ownership of files and folders: a lock of the kernel, in a file that names its holder.

The kernel frees the lock when its holder ends, however it ends: nothing has to be cleaned up after
a kill.
"""
import contextlib
import datetime
import errno
import fcntl
import logging
import os
import socket
import time

from bert import files
from bert.errors import UserError

LOG = logging.getLogger(__name__)

ATTEMPTS, SECONDS_BETWEEN_ATTEMPTS = 20, 0.01       # to read who holds a lock
MAX_DESCRIPTION_LENGTH = 200        # characters
LOCK_FILE = '.lock'         # in a folder that a run owns
# errno of a file system without locks, for example of some network file systems
NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


@contextlib.contextmanager
def own_folder(folder, flag='--output_dir'):
    """Context in which the folder belongs to this process. A missing folder is made, and removed if
    it is empty at the end.

    flag: what named the folder, for messages. Raises `UserError`, which names the holder, if
    another process owns it.
    """
    path, is_new = os.path.join(folder, LOCK_FILE), not os.path.isdir(folder)
    with files.explain_write_errors(folder):
        os.makedirs(os.path.realpath(folder), exist_ok=True)
        lock = open_locked(path)
    if lock is None:
        raise UserError('%s %s: in use by another run%s: wait for its end, or choose another '
                        'folder' % (flag, folder, describe_holder(path)))
    with lock:
        with contextlib.suppress(OSError):      # a full disk: the lock counts, not its text
            os.ftruncate(lock.fileno(), 0)
            os.write(lock.fileno(), _describe_process().encode())
        try:
            yield
        finally:        # while the lock is held: a file of the next holder is not removed
            files.remove(path)
            if is_new:
                with contextlib.suppress(OSError):      # it is not empty
                    os.rmdir(folder)


def open_locked(path):
    """The file `path`, opened for reading and appending under an exclusive lock; None if another
    process holds the lock. Without locks, one warning says so."""
    while True:
        file = open(path, 'a+b')
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                file.close()
                return None
            LOG.warning('%s: no locks in this file system: nothing keeps two runs apart that write '
                        'there', os.path.dirname(path))
            return file
        # the holder before us may have removed or renamed the file between our open and our lock
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()


def describe_holder(path):
    """' (process 123 on HOST, since DATE TIME)' from a lock file; '' if it does not say. A holder
    that has just taken the lock gets the time to write."""
    for _ in range(ATTEMPTS):
        with contextlib.suppress(OSError, ValueError), open(path, encoding='utf-8') as file:
            text = file.read(MAX_DESCRIPTION_LENGTH).strip()
            if text:
                return ' (%s)' % text
        time.sleep(SECONDS_BETWEEN_ATTEMPTS)
    return ''


def _describe_process():
    return 'process %d on %s, since %s\n' % (
        os.getpid(), socket.gethostname(), datetime.datetime.now().strftime('%Y-%m-%d %H:%M:%S'))
