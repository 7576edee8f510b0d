"""The operator library: chosen for this CPU and loaded into MXNet once."""
import ctypes
import functools
import logging
import os
import struct
import threading

import mxnet as mx

from bert.model.kernels import cpu, gluon_hooks, targets

LOG = logging.getLogger(__name__)

# environment variable: 0 disables the kernels, the name of a build selects it
KERNELS_VARIABLE = 'BERT_KERNELS'
REBUILD_ADVICE = 'reinstall this package from its sources (with ./run: delete .venv first)'
# Header of a 64-bit ELF file (man 5 elf): the magic number, then e_shoff, e_shentsize and e_shnum.
# They are the offset of the table that the linker puts at the end of the file, the size of an entry
# in bytes, and the number of entries.
ELF_HEADER, ELF_MAGIC = struct.Struct('<4s36xQ10xHH2x'), b'\x7fELF'
_LOCK = threading.Lock()


class KernelsUnavailable(Exception):
    """There are no kernels. The message says why and what to do, in one line."""


def load():
    """The `Library`, or None when MXNet's own operators have to be used."""
    if os.environ.get(KERNELS_VARIABLE) == '0':
        return None
    with _LOCK:
        return _open()


@functools.cache
def _open():
    """The `Library`, loaded once, or None, with one log line about the reason."""
    try:
        return Library(*find_library())
    except KernelsUnavailable as error:
        LOG.warning('no fused CPU kernels: %s; MXNet\'s own operators compute, which is slower',
                    error)
        return None


def find_library():
    """(`targets.Build`, path) of the library for this CPU, or of the one that BERT_KERNELS names.
    Raises `KernelsUnavailable`."""
    build = _choose(os.environ.get(KERNELS_VARIABLE, ''))
    path = path_of(build)
    if not os.path.isfile(path):
        raise KernelsUnavailable('they were not built, because GCC 11 or later was missing: '
                                 '%s' % REBUILD_ADVICE)
    return build, path


def path_of(build):
    """The path of the library of a `targets.Build`, whether it was built or not."""
    return os.path.join(os.path.dirname(targets.SOURCE_FOLDER), targets.file_of(build))


def _choose(name):
    """The `targets.Build` with this name; for '' and '1', the fastest that this CPU can run and
    that was built. Raises `KernelsUnavailable` for an unknown name and when the CPU lacks flags."""
    builds = {build.name: build for build in targets.BUILDS}
    if name in builds:
        choice = builds[name]
    elif name in ('', '1'):
        candidates = [build for build in targets.BUILDS if not missing_flags(build)] \
            or [targets.BUILDS[-1]]
        choice = next((build for build in candidates if os.path.isfile(path_of(build))),
                      candidates[0])
    else:
        raise KernelsUnavailable('%s="%s": expected 0, 1 or one of %s'
                                 % (KERNELS_VARIABLE, name, ', '.join(builds)))
    missing = missing_flags(choice)
    if missing:
        raise KernelsUnavailable('this CPU lacks %s' % ', '.join(missing))
    return choice


def missing_flags(build):
    """The members of `build.cpu_flags` that this CPU lacks."""
    flags = cpu.flags()
    return [flag for flag in build.cpu_flags if flag not in flags]


class Library:
    """The operators of a file, registered with MXNet. dtypes: types that its matrix products can
    multiply. Raises `KernelsUnavailable` for a file that can't be used."""

    def __init__(self, build, path):
        self.name, self.dtypes = build.name, build.dtypes
        try:
            if _is_truncated(path):
                raise OSError('the file is truncated')
            self._functions = ctypes.CDLL(path)
            self._functions.bert_kernels_built_from.restype = ctypes.c_char_p
            built_from = self._functions.bert_kernels_built_from().decode()
        except (OSError, AttributeError) as error:
            raise KernelsUnavailable('%s cannot be loaded (%s): %s'
                                     % (path, error, REBUILD_ADVICE)) from None
        if built_from != _fingerprint():
            raise KernelsUnavailable('%s was built from other sources or for another MXNet: %s'
                                     % (path, REBUILD_ADVICE))
        try:
            mx.library.load(path, verbose=False)
        except mx.MXNetError as error:
            raise KernelsUnavailable('MXNet %s refuses %s (%s): %s' % (
                mx.__version__, path, str(error).strip().splitlines()[-1],
                REBUILD_ADVICE)) from None
        self.use_threads(number_of_threads())
        set_accumulation = self._functions.bert_kernels_add_to_gradient
        set_accumulation.argtypes = ctypes.c_void_p, ctypes.c_int
        gluon_hooks.watch_gradients(set_accumulation)
        gluon_hooks.watch_tracing()

    def use_threads(self, num_threads):
        """Use `num_threads` threads in later calls."""
        self._functions.bert_kernels_set_threads(num_threads)

    def forget(self, model_id):
        """Free the memory of a model's packed weights."""
        self._functions.bert_kernels_forget(model_id.encode())


def _is_truncated(path):
    """Whether the end of a library file is missing. Loading it would kill the process."""
    with open(path, 'rb') as file:
        header = file.read(ELF_HEADER.size)
    if len(header) < ELF_HEADER.size:
        return False        # the loader reports an error
    magic, offset, entry_size, num_entries = ELF_HEADER.unpack(header)
    return magic == ELF_MAGIC and os.path.getsize(path) < offset + entry_size * num_entries


def _fingerprint():
    """The fingerprint of the sources. Raises `KernelsUnavailable` if a source can't be read."""
    try:
        return targets.fingerprint(mx.__version__)
    except OSError as error:
        raise KernelsUnavailable('their sources cannot be read (%s): %s'
                                 % (error, REBUILD_ADVICE)) from None


def number_of_threads():
    """OMP_NUM_THREADS, which the scripts set, or the number of CPUs that this process may use."""
    text = os.environ.get('OMP_NUM_THREADS', '')
    return int(text) if text.isdigit() and int(text) else len(os.sched_getaffinity(0))

