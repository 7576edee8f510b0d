"""A disk that is soon full."""
import contextlib
import os
import resource


class Disk:
    """A folder on a disk that `fill` makes full and `free` empties."""

    def __init__(self, path, is_mounted):
        self.path, self._is_mounted = path, is_mounted
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self, num_bytes):
        """Leave room for `num_bytes` more bytes."""
        if not self._is_mounted:       # limit the length of files: nearly the same
            resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, self._limits[1]))
            return
        state = os.statvfs(str(self.path))
        (self.path / 'filling').write_bytes(bytes(state.f_bavail * state.f_frsize - num_bytes))

    def free(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
        with contextlib.suppress(FileNotFoundError):
            os.remove(str(self.path / 'filling'))
