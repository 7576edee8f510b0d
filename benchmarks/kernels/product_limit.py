"""How fast this CPU multiplies matrices: the limit for the kernels, if they did nothing else.

Compiles product_limit.cc with the micro-kernels and times them on the feed-forward product of BERT
base, on operands that are packed already. Other comparisons report the speed of the kernels as a
share of this limit. They measure it in each round, because the clock of a CPU drifts.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

from benchmarks import harness

REPEATS = 5     # of each product; the median counts
PROGRAM = pathlib.Path(__file__).with_suffix('.cc')


def build_of_this_cpu():
    """The `targets.Build` whose library this CPU loads."""
    from bert.model.kernels import library, targets
    kernels = library.load()
    if not kernels:
        sys.exit('no fused kernels here: there is nothing to measure')
    return next(build for build in targets.BUILDS if build.name == kernels.name)


class ProductLimit:
    """Measures the products of a `targets.Build`, by default this CPU's, with `threads` threads.

    A context manager: it removes the compiled program at its end."""

    def __init__(self, threads, build=None):
        from bert.model.kernels import targets
        build = build or build_of_this_cpu()
        self.dtypes, self._threads = build.dtypes, threads
        self._folder = tempfile.TemporaryDirectory()
        self._program = str(pathlib.Path(self._folder.name) / 'product_limit')
        subprocess.run([shutil.which('g++'), *targets.COMPILER_FLAGS, *build.compiler_flags, '-w',
                        '-I', targets.SOURCE_FOLDER, str(PROGRAM), '-o',
                        self._program], check=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._folder.cleanup()

    def measure(self):
        """{dtype: Gop/s}; a multiplication and an addition count as two operations."""
        output = subprocess.check_output(
            [self._program, str(self._threads), str(REPEATS), *self.dtypes], text=True)
        return dict(zip(self.dtypes, map(float, output.split())))


def count_operations(config, lengths):
    """Operations of the products in a classifier's forward pass over texts of these lengths.

    The backward pass has twice as many. The last layer computes keys and values of all tokens, and
    the rest of [CLS] only."""
    keys_and_values = 2 * 2 * config.units ** 2     # per token
    dense = 2 * (2 * config.units ** 2 + 2 * config.units * config.hidden_size)

    def layer(length, rows):
        return length * keys_and_values + rows * (dense + 4 * length * config.units)
    return sum((config.num_layers - 1) * layer(length, length) + layer(length, 1)
               for length in lengths)


def share_of_limit(num_operations, seconds, limits, dtype):
    """Share of the limit that products reach, as `median_and_range` over the rounds; None without
    limits for dtype. seconds, limits: of each round, the latter by `ProductLimit.measure`."""
    if not limits or not all(dtype in limit for limit in limits):
        return None
    return harness.median_and_range([num_operations / 1e9 / value / limit[dtype]
                                     for value, limit in zip(seconds, limits)])


def make_parser():
    parser = harness.make_parser(__doc__, 'product_limit.json')
    parser.add_argument('--rounds', type=int, default=5)
    return parser


def main():
    args = make_parser().parse_args()
    with ProductLimit(args.threads) as limit:
        rounds = [limit.measure() for _ in range(args.rounds)]
    harness.write_result(args.output, harness.make_result(args, rounds=rounds))
    for dtype in rounds[0]:
        print('%-10s %s Gop/s' % (dtype, ' '.join('%.0f' % rates[dtype] for rates in rounds)))


if __name__ == '__main__':
    main()
