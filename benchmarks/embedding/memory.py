"""The cost of embedding a file that should not fit into memory: peak memory, time, bytes.

Writes a file of short sentences, all of them different, embeds it with embedding.py to an .npy and
reads the peak memory of the process from Linux. Exit status 1 when that is over the limit.
"""
import itertools
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import harness

WORDS = (('a', 'the', 'this', 'that', 'one', 'some', 'each', 'my', 'your', 'our'),
         ('man', 'dog', 'city', 'film', 'ship', 'law', 'song', 'child', 'river', 'king'),
         ('sees', 'likes', 'finds', 'has', 'hears', 'takes', 'makes', 'keeps', 'wants', 'leaves'),
         ('no', 'two', 'ten', 'red', 'old', 'new', 'good', 'bad', 'big', 'small'),
         ('books', 'trees', 'roads', 'words', 'games', 'cars', 'birds', 'hats', 'ideas', 'walls'),
         ('today', 'here', 'again', 'now', 'there', 'alone', 'twice', 'soon', 'often', 'first'))
INTERVAL = 0.5      # seconds between two readings of the memory
MEBIBYTE = 1 << 20


def make_parser():
    parser = harness.make_parser(__doc__, 'embedding_memory.json')
    parser.add_argument('--number', type=int, default=1000000,
                        help='sentences, up to 1,000,000')
    parser.add_argument('--limit', type=int, default=1500, metavar='MB', help='of memory')
    return parser


def embed(path, output, threads):
    """(peak memory in bytes, seconds) of embedding.py."""
    started, peak = time.time(), 0
    process = subprocess.Popen(
        [sys.executable, str(harness.REPOSITORY / 'bert' / 'embedding.py'), '--file', str(path),
         '--model', harness.WEIGHTS[0], '--granularity', 'sentence', '--output', str(output),
         '--threads', str(threads)])
    while process.poll() is None:
        peak = max(peak, harness.peak_memory(process.pid))
        time.sleep(INTERVAL)
    if process.returncode:
        sys.exit('embedding.py failed')
    return peak, time.time() - started


def main():
    args = make_parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, output = pathlib.Path(folder) / 'texts.txt', pathlib.Path(folder) / 'vectors.npy'
        with open(path, 'w', encoding='utf-8') as out:
            for words in itertools.islice(itertools.product(*WORDS), args.number):
                out.write(' '.join(words) + '\n')
        peak, seconds = embed(path, output, args.threads)
        shape, size = np.load(output, mmap_mode='r').shape, os.path.getsize(output)
    harness.write_result(args.output, harness.make_result(
        args, peak_bytes=peak, seconds=seconds, rows=shape[0], bytes=size))
    print('%d sentences, %.0f a second; %.0f MB written; %.0f MB of memory at most' % (
        shape[0], shape[0] / seconds, size / MEBIBYTE, peak / MEBIBYTE))
    return int(peak > args.limit * MEBIBYTE)


if __name__ == '__main__':
    sys.exit(main())
