"""How fast this CPU reads weights from memory: the limit for a single text.

Compiles memory_limit.cc and times the sum of an array that is larger than the caches.
"""
import pathlib
import shutil
import subprocess
import tempfile

from benchmarks import harness

PROGRAM = pathlib.Path(__file__).with_suffix('.cc')
REPEATS = 9     # the median counts
MEGABYTES = 400     # more than the caches of a server's CPU hold


def measure_bandwidth(threads):
    """GB/s, read by so many threads."""
    from bert.model.kernels import targets
    with tempfile.TemporaryDirectory() as folder:
        program = str(pathlib.Path(folder) / 'memory_limit')
        subprocess.run([shutil.which('g++'), *targets.COMPILER_FLAGS, *targets.SHARED_FLAGS,
                        str(PROGRAM), '-o', program], check=True)
        return float(subprocess.check_output(
            [program, str(threads), str(REPEATS), str(MEGABYTES)], text=True))


def make_parser():
    parser = harness.make_parser(__doc__, 'memory_limit.json')
    parser.add_argument('--rounds', type=int, default=5)
    return parser


def main():
    args = make_parser().parse_args()
    rounds = [measure_bandwidth(args.threads) for _ in range(args.rounds)]
    harness.write_result(args.output, harness.make_result(args, rounds=rounds))
    print('%s GB/s' % ' '.join('%.1f' % rate for rate in rounds))


if __name__ == '__main__':
    main()
