"""Settings of the C library's memory allocator. Nothing here imports mxnet."""
import ctypes
import os

# Parameters of mallopt(3), from glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_freed_memory(training):
    """Make glibc keep freed memory for the next array. Call this before mxnet is imported.

    MXNet allocates the arrays of each computation anew. glibc returns large arrays to the system
    as soon as they are freed, and the system clears every page of the next array. That makes
    training on long texts up to 1.3 times as slow (benchmarks/inference/predictor.py). With
    another C library this function does nothing.

    training: whether gradients are computed. MXNet computes them on its own threads, whose memory
    is kept only if all threads share one arena, because the other arenas hold at most 64 MiB. The
    tokenizer's threads would wait for one another in a shared arena, so the tokenizer then uses
    one thread. In prediction these threads have an arena of their own.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:
        return
    # M_MMAP_THRESHOLD would be plainer, but before about glibc 2.35 it accepts at most 32 MiB
    mallopt(M_MMAP_MAX, 0)              # allocate arrays of any size from an arena …
    mallopt(M_TRIM_THRESHOLD, -1)       # … that never shrinks
    mallopt(M_ARENA_MAX, 1 if training else 2)
    if training:
        os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')
