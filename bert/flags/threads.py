"""CPU threads: how many there are, and how many MXNet takes. Nothing here imports mxnet, so that
MXNet reads the number when it is imported."""
import math
import os
import pathlib
import resource
import sys

from bert.errors import UserError
from bert.flags import allocator

# Files with the quota of a container and its period, both in microseconds: of version 2 of Linux's
# control groups, and of version 1
QUOTA_FILES = (('/sys/fs/cgroup/cpu.max',),
               ('/sys/fs/cgroup/cpu/cpu.cfs_quota_us', '/sys/fs/cgroup/cpu/cpu.cfs_period_us'))

# Bytes. With 2 threads the smallest model is trained within 1,400,000 kB; within 1,160,000 kB the
# libraries end the process.
MIN_ADDRESS_SPACE = 1400000 << 10


def usable_cores():
    """Number of cores that this process may use, by its affinity and its container's quota.
    (joblib knows it too, and takes a sixth of a second to import.)"""
    cores = len(os.sched_getaffinity(0))
    for paths in QUOTA_FILES:
        try:
            quota, period = map(int, ' '.join(pathlib.Path(path).read_text(encoding='ascii')
                                              for path in paths).split())
        except (OSError, ValueError):       # no such file; no quota ("max")
            continue
        if quota > 0 and period > 0:        # -1: no quota
            cores = min(cores, math.ceil(quota / period))
    return cores


def cores_per_worker():
    """Number of usable cores for each Horovod worker on this machine, at least 1."""
    return max(1, usable_cores() // int(os.environ.get('HOROVOD_LOCAL_SIZE') or 1))


def default_threads():
    """Number of threads that a command takes by default: one for each core, or as many as MXNet
    already computes with in this process."""
    return _mxnet_threads() or cores_per_worker()


def _mxnet_threads():
    """The number that MXNet has read when it was imported; None before, or if it read none."""
    number = os.environ.get('OMP_NUM_THREADS', '') if 'mxnet' in sys.modules else ''
    return int(number) if number.isdecimal() else None


def check_threads(threads):
    """Raises `UserError` if MXNet computes with another number of threads in this process."""
    if 'mxnet' in sys.modules and _mxnet_threads() != threads:
        raise UserError('--threads %d: MXNet already computes with %s threads in this process: '
                        'give the number at the first use of bert, or set OMP_NUM_THREADS'
                        % (threads, _mxnet_threads() or 'half the'))


def check_address_space():
    """Raises `UserError` if the process may not have the memory that MXNet's libraries take alone:
    where they get none, they end the process without a word."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if 0 <= limit < MIN_ADDRESS_SPACE:
        raise UserError('a process may use %d kB of address space, and MXNet alone needs %d kB: '
                        'raise the limit, for example with ulimit -v unlimited'
                        % (limit // 1024, MIN_ADDRESS_SPACE // 1024))


def claim_threads(threads=None):
    """Prepare MXNet for prediction with a number of threads; by default OMP_NUM_THREADS, else all
    cores. Returns the number. Raises the error of `check_threads`."""
    if threads is not None:
        check_threads(threads)
    number = os.environ.get('OMP_NUM_THREADS', '')
    threads = threads or (int(number) if number.isdecimal() else cores_per_worker())
    prepare_mxnet(threads)
    return threads


def prepare_mxnet(threads, training=False, low_latency=False):
    """Make MXNet compute with `threads` threads and keep its memory. Call this before mxnet is
    imported. By default MXNet uses half the cores, because it takes the others for hyper-threads.

    training: whether gradients are computed (see `bert.flags.allocator`).
    low_latency: threads spin while they wait for work. That halves the time of a small batch, but
    takes the cores away from other programs.
    """
    if 'mxnet' not in sys.modules:      # which reads the number when it is imported
        check_address_space()
        os.environ['OMP_NUM_THREADS'] = str(threads)
    os.environ.setdefault('MXNET_SUBGRAPH_VERBOSE', '0')    # no lines of MXNet on subgraphs
    if low_latency and threads <= usable_cores():
        os.environ.setdefault('OMP_WAIT_POLICY', 'active')
    allocator.keep_freed_memory(training)
