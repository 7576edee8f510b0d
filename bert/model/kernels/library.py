"""The operator library: loaded into MXNet once, where it can be."""
import ctypes
import functools
import logging
import os
import struct
import threading

import mxnet as mx

from bert.model.kernels import cpu, gluon_hooks, targets

LOG = logging.getLogger(__name__)

SWITCH = 'BERT_KERNELS'     # environment variable: 0 turns the kernels off, a name takes that one
BUILD = 'install this package again from its sources, for ./run after deleting .venv'
# Of the header of an ELF file of 64 bits (man 5 elf) how it begins, and e_shoff, e_shentsize and
# e_shnum: where the table begins with which the linker ends the file, the bytes of an entry, how
# many there are.
ELF_HEADER, ELF = struct.Struct('<4s36xQ10xHH2x'), b'\x7fELF'
_LOCK = threading.Lock()


class Unavailable(Exception):
    """Why there are no kernels, and what to do, in one line."""


def load():
    """The `Library`, or None where MXNet's own operators have to do."""
    if os.environ.get(SWITCH) == '0':
        return None
    with _LOCK:
        return _open()


@functools.cache
def _open():
    """The `Library`, loaded once; None after one line of the log that says why there is none."""
    try:
        return Library(*find())
    except Unavailable as reason:
        LOG.warning('no fused CPU kernels: %s; MXNet\'s own operators compute, which is slower',
                    reason)
        return None


def find():
    """(`targets.Build`, path) of the library for this CPU, or of the one that BERT_KERNELS names;
    raises `Unavailable`."""
    build = _choose(os.environ.get(SWITCH, ''))
    path = path_of(build)
    if not os.path.isfile(path):
        raise Unavailable('they were not built, for want of GCC 11 or later: %s' % BUILD)
    return build, path


def path_of(build):
    """Where the library of a `targets.Build` is, if it was built."""
    return os.path.join(os.path.dirname(targets.FOLDER), targets.file_of(build))


def _choose(name):
    builds = {build.name: build for build in targets.BUILDS}
    if name in builds:
        chosen = builds[name]
    elif name in ('', '1'):
        fit = [one for one in targets.BUILDS if not missing_flags(one)] or [targets.BUILDS[-1]]
        chosen = next((one for one in fit if os.path.isfile(path_of(one))), fit[0])
    else:
        raise Unavailable('%s="%s": 0, 1 or one of %s expected' % (SWITCH, name, ', '.join(builds)))
    missing = missing_flags(chosen)
    if missing:
        raise Unavailable('this CPU lacks %s' % ', '.join(missing))
    return chosen


def missing_flags(build):
    """What the CPU lacks of `build.cpu_flags`."""
    flags = cpu.flags()
    return [flag for flag in build.cpu_flags if flag not in flags]


class Library:
    """The operators of a file, registered with MXNet. dtypes: what its products can multiply."""

    def __init__(self, build, path):
        self.name, self.dtypes = build.name, build.dtypes
        try:
            if _is_cut(path):
                raise OSError('its end is missing')
            self._functions = ctypes.CDLL(path)
            self._functions.bert_kernels_built_from.restype = ctypes.c_char_p
            built_from = self._functions.bert_kernels_built_from().decode()
        except (OSError, AttributeError) as error:
            raise Unavailable('%s cannot be loaded (%s): %s' % (path, error, BUILD)) from None
        if built_from != _fingerprint():
            raise Unavailable('%s was built from other sources or for another MXNet: %s'
                              % (path, BUILD))
        try:
            mx.library.load(path, verbose=False)
        except mx.MXNetError as error:
            raise Unavailable('MXNet %s refuses %s (%s): %s' % (
                mx.__version__, path, str(error).strip().splitlines()[-1], BUILD)) from None
        self.use_threads(number_of_threads())
        tell = self._functions.bert_kernels_add_to_gradient
        tell.argtypes = ctypes.c_void_p, ctypes.c_int
        gluon_hooks.watch_gradients(tell)
        gluon_hooks.watch_tracing()

    def use_threads(self, number):
        """Have later calls compute with `number` threads."""
        self._functions.bert_kernels_set_threads(number)

    def forget(self, model):
        """Give back the memory of the packed weights of a model."""
        self._functions.bert_kernels_forget(model.encode())


def _is_cut(path):
    """Whether the end of a library is missing: the loader would have the process killed."""
    with open(path, 'rb') as file:
        header = file.read(ELF_HEADER.size)
    if len(header) < ELF_HEADER.size:
        return False        # the loader refuses it
    begin, start, size, number = ELF_HEADER.unpack(header)
    return begin == ELF and os.path.getsize(path) < start + size * number


def _fingerprint():
    try:
        return targets.fingerprint(mx.__version__)
    except OSError as error:
        raise Unavailable('their sources cannot be read (%s): %s' % (error, BUILD)) from None


def number_of_threads():
    """OMP_NUM_THREADS, which the scripts set, or the CPUs this process may use."""
    given = os.environ.get('OMP_NUM_THREADS', '')
    return int(given) if given.isdigit() and int(given) else len(os.sched_getaffinity(0))

