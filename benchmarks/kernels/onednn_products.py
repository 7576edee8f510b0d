"""The products of the kernels beside oneDNN's 3.2, on every CPU that this one can stand for.

A CPU with AVX-512 runs the libraries of older ones too, and oneDNN can be told which instructions
to leave alone. So this shows which of the two would be faster there, clock and caches aside. Ours
leaves the sums in registers, as the kernels use them at once; oneDNN stores them.
"""
import contextlib
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile

from benchmarks import harness
from benchmarks.kernels.product_limit import TIMES, Limit

# What oneDNN calls the CPUs of our libraries
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
        """{type: thousand million operations a second} with the instructions of a CPU."""
        printed = subprocess.check_output(
            [self._program, str(self._threads), str(TIMES), *dtypes], text=True,
            env=dict(os.environ, ONEDNN_MAX_CPU_ISA=cpu))
        return dict(zip(dtypes, map(float, printed.split())))


def compare(threads, rounds):
    """{library: {type: [{'ours', 'onednn'} of each round]}}, 0 for what one lacks"""
    from bert.model.kernels import library, targets
    builds = [one for one in targets.BUILDS if not library.missing_flags(one)]
    dtypes = builds[0].dtypes
    found = {build.name: {dtype: [] for dtype in dtypes} for build in builds}
    with contextlib.ExitStack() as stack:
        other = OneDNN(threads, stack.enter_context(tempfile.TemporaryDirectory()))
        limits = [stack.enter_context(Limit(threads, build)) for build in builds]
        for _ in range(rounds):
            for build, limit in zip(builds, limits):
                ours, theirs = limit.measure(), other.measure(CPUS[build.name], dtypes)
                for dtype in dtypes:
                    found[build.name][dtype].append(
                        {'ours': ours.get(dtype, 0), 'onednn': theirs[dtype]})
    return found


def make_parser():
    parser = harness.make_parser(__doc__, 'onednn_products.json')
    parser.add_argument('--rounds', type=int, default=5)
    return parser


def main():
    args = make_parser().parse_args()
    found = compare(args.threads, args.rounds)
    result = harness.report(args, rounds=found)
    result['peer'] = list(harness.PINS[ENVIRONMENT])
    harness.write_json(args.output, result)
    harness.describe(result)
    for name, types in found.items():
        for dtype, rounds in types.items():
            print('%-12s %-9s %s' % (name, dtype, summary(rounds)))


def summary(rounds):
    """Medians, and the ratio of each round, of rounds of `compare`."""
    medians = {side: statistics.median(one[side] for one in rounds) for side in rounds[0]}
    line = ', '.join('%s %s' % (side, '%.0f Gop/s' % median if median else 'none')
                     for side, median in medians.items())
    if not all(medians.values()):
        return line
    ratios = sorted(one['ours'] / one['onednn'] for one in rounds)
    return '%s: %.2f times (%.2f to %.2f)' % (
        line, statistics.median(ratios), ratios[0], ratios[-1])


if __name__ == '__main__':
    main()
