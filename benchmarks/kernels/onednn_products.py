"""The kernels' matrix products beside oneDNN 3.2, for every CPU that this one can stand in for.

A CPU with AVX-512 also runs our libraries for older CPUs, and oneDNN takes a limit on the
instructions that it uses. So this shows which of the two would be faster on an older CPU, clock
and caches aside. Ours leaves the sums in registers, because the kernels use them at once; oneDNN
stores them.
"""
import contextlib
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile

from benchmarks import harness
from benchmarks.kernels.product_limit import REPEATS, ProductLimit

# {our library: oneDNN's name of its instructions}
CPUS = {'avx2': 'AVX2', 'avx512': 'AVX512_CORE', 'avx512_vnni': 'AVX512_CORE_VNNI',
        'avx512_bf16': 'AVX512_CORE_BF16'}
ENVIRONMENT = 'peer-onednn'
PROGRAM = pathlib.Path(__file__).with_suffix('.cc')


class OneDNN:
    """The program of onednn_products.cc, compiled into `folder`."""

    def __init__(self, threads, folder):
        self._threads, self._program = threads, os.path.join(folder, 'onednn_products')
        root = pathlib.Path(harness.python_of(ENVIRONMENT)).parent.parent
        subprocess.run([shutil.which('g++'), '-std=c++17', '-O2', '-fopenmp',
                        str(PROGRAM), '-I', str(root / 'include'),
                        '-L', str(root / 'lib'), '-Wl,-rpath,%s' % (root / 'lib'), '-ldnnl',
                        '-o', self._program], check=True)

    def measure(self, cpu, dtypes):
        """{dtype: Gop/s} with the instructions of a CPU, by oneDNN's name."""
        output = subprocess.check_output(
            [self._program, str(self._threads), str(REPEATS), *dtypes], text=True,
            env=dict(os.environ, ONEDNN_MAX_CPU_ISA=cpu))
        return dict(zip(dtypes, map(float, output.split())))


def compare(threads, rounds):
    """{library: {dtype: [{'ours': Gop/s, 'onednn': Gop/s} of each round]}}; 0: not supported."""
    from bert.model.kernels import library, targets
    builds = [build for build in targets.BUILDS if not library.missing_flags(build)]
    dtypes = builds[0].dtypes
    rates = {build.name: {dtype: [] for dtype in dtypes} for build in builds}
    with contextlib.ExitStack() as stack:
        onednn = OneDNN(threads, stack.enter_context(tempfile.TemporaryDirectory()))
        limits = [stack.enter_context(ProductLimit(threads, build)) for build in builds]
        for _ in range(rounds):
            for build, limit in zip(builds, limits):
                ours, theirs = limit.measure(), onednn.measure(CPUS[build.name], dtypes)
                for dtype in dtypes:
                    rates[build.name][dtype].append(
                        {'ours': ours.get(dtype, 0), 'onednn': theirs[dtype]})
    return rates


def make_parser():
    parser = harness.make_parser(__doc__, 'onednn_products.json')
    parser.add_argument('--rounds', type=int, default=5)
    return parser


def main():
    args = make_parser().parse_args()
    libraries = compare(args.threads, args.rounds)
    result = harness.make_result(args, peer=ENVIRONMENT, rounds=libraries)
    harness.write_result(args.output, result)
    for name, dtypes in libraries.items():
        for dtype, rounds in dtypes.items():
            print('%-12s %-9s %s' % (name, dtype, format_rounds(rounds)))


def format_rounds(rounds):
    """The medians of [{'ours', 'onednn'}], and the median and range of the ratios."""
    medians = {side: statistics.median(rates[side] for rates in rounds) for side in rounds[0]}
    line = ', '.join('%s %s' % (side, '%.0f Gop/s' % median if median else 'none')
                     for side, median in medians.items())
    if not all(medians.values()):
        return line
    ratios = sorted(rates['ours'] / rates['onednn'] for rates in rounds)
    return '%s: %.2f times (%.2f to %.2f)' % (
        line, statistics.median(ratios), ratios[0], ratios[-1])


if __name__ == '__main__':
    main()
