"""How fast this CPU multiplies matrices: what the kernels could reach if they did nothing else.

Compiles product_limit.cc with the tiles of the kernels and times them on the feed-forward product
of BERT base, of operands that are packed already. The comparisons tell shares of what it finds in
the same round: the clock of a CPU drifts.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

from benchmarks import harness

TIMES = 5       # the median counts
PROGRAM = pathlib.Path(__file__).with_suffix('.cc')


def build_of_this_cpu():
    """The `targets.Build` of the library that computes here."""
    from bert.model.kernels import library, targets
    found = library.load()
    if not found:
        sys.exit('no fused kernels here: there is nothing to measure')
    return next(one for one in targets.BUILDS if one.name == found.name)


class Limit:
    """Measures with `threads` threads the products of a build, or of this CPU's; a context, which
    removes the program."""

    def __init__(self, threads, build=None):
        from bert.model.kernels import targets
        build = build or build_of_this_cpu()
        self.dtypes, self._threads = build.dtypes, threads
        self._folder = tempfile.TemporaryDirectory()
        self._program = str(pathlib.Path(self._folder.name) / 'product_limit')
        subprocess.run([shutil.which('g++'), *targets.COMPILER_FLAGS, *build.compiler_flags, '-w',
                        '-I', targets.FOLDER, str(PROGRAM), '-o',
                        self._program], check=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._folder.cleanup()

    def measure(self):
        """{type: thousand million operations a second}, a product and a sum being two."""
        printed = subprocess.check_output(
            [self._program, str(self._threads), str(TIMES), *self.dtypes], text=True)
        return dict(zip(self.dtypes, map(float, printed.split())))


def operations(config, lengths):
    """Of the products of a classifier's forward pass over texts of these lengths; backward has
    twice as many. Behind its keys and values the last layer computes first tokens alone."""
    keys_and_values = 2 * 2 * config.units ** 2
    others = 2 * (2 * config.units ** 2 + 2 * config.units * config.hidden_size)

    def layer(length, rows):
        return length * keys_and_values + rows * (others + 4 * length * config.units)
    return sum((config.num_layers - 1) * layer(length, length) + layer(length, 1)
               for length in lengths)


def make_parser():
    parser = harness.make_parser(__doc__, 'product_limit.json')
    parser.add_argument('--rounds', type=int, default=5)
    return parser


def main():
    args = make_parser().parse_args()
    with Limit(args.threads) as limit:
        rounds = [limit.measure() for _ in range(args.rounds)]
    result = harness.report(args, rounds=rounds)
    harness.write_json(args.output, result)
    harness.describe(result)
    for dtype in rounds[0]:
        print('%-10s %s Gop/s' % (dtype, ' '.join('%.0f' % one[dtype] for one in rounds)))


if __name__ == '__main__':
    main()
