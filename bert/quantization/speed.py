"""The speed of networks, measured side by side."""
import time

import numpy as np

from bert.percentiles import percentiles_of

NUM_WARM_UP_CALLS = 2     # untimed calls, in which MXNet plans its memory


def random_batch(size, length, vocab_size, seed=0):
    """token_ids, segment_ids (size, length) int32 and valid_length (size,) float32: random tokens
    without padding."""
    rng = np.random.RandomState(seed)
    token_ids = rng.randint(vocab_size, size=(size, length)).astype('int32')
    return token_ids, np.zeros_like(token_ids), np.full(size, length, dtype='float32')


def time_batch(compute, batch, rounds):
    """Seconds of each of `rounds` calls."""
    return time_interleaved({'': compute}, batch, rounds)['']


def time_interleaved(computes, batch, rounds):
    """{name: seconds of each of `rounds` calls}. Each round calls all functions in turn, so that
    other work on the machine slows all of them alike.

    computes: {name: function of the batch's arrays that returns NumPy}.
    """
    for compute in computes.values():
        for _ in range(NUM_WARM_UP_CALLS):
            compute(*batch)
    seconds = {name: [] for name in computes}
    for _ in range(rounds):
        for name, compute in computes.items():
            started = time.perf_counter()
            compute(*batch)
            seconds[name].append(time.perf_counter() - started)
    return seconds


def summarize_latency(seconds, size):
    """{'p50_ms', 'p90_ms', 'p99_ms', 'examples_per_second'} of calls with `size` examples each. The
    outer percentiles are None for too few calls (see `percentiles_of`).

    seconds: of each call."""
    latencies = {'p%d_ms' % p: value and 1e3 * value
                 for p, value in percentiles_of(seconds).items()}
    return dict(latencies, examples_per_second=size / float(np.median(seconds)))
