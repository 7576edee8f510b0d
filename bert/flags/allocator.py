"""How the C library hands out memory. Nothing here imports mxnet."""
import ctypes
import os

# Parameters of mallopt(3), from glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_freed(training):
    """Have freed memory kept for the next array; call it before mxnet is imported.

    MXNet allocates the arrays of a computation anew each time, and glibc gives large ones back to
    the system at once, which clears every page of the next one: training on long texts takes up
    to 1.3 times as long then (benchmarks/inference/predictor.py). Does nothing with another C
    library.

    training: whether gradients are computed, on threads of MXNet's whose memory is kept only when
    all threads share one area: others hold up to 64 MiB. The tokenizer's threads would then wait
    for one another, so it works with one; in prediction they have an area of their own.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:
        return
    # M_MMAP_THRESHOLD would say it plainer; before glibc 2.35 or so it takes 32 MiB at most
    mallopt(M_MMAP_MAX, 0)              # from an area, however large …
    mallopt(M_TRIM_THRESHOLD, -1)       # … which never shrinks
    mallopt(M_ARENA_MAX, 1 if training else 2)
    if training:
        os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')
