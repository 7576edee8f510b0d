"""Freed memory is kept for the next array."""
import subprocess
import sys

CODE = """
import resource
import sys
from bert import memory
if sys.argv[1] != 'leave':
    memory.keep_freed(training=sys.argv[1] == 'training')
import numpy as np

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def use():
    return np.ones(2 ** 25, dtype='float32')    # 128 MiB, 32768 pages of 4 KiB

use()
before = faults()
for _ in range(3):
    use()
assert 'mxnet' not in sys.modules
print(faults() - before)
"""


def page_faults(argument):
    return int(subprocess.check_output([sys.executable, '-c', CODE, argument]))


def test_pages_are_not_asked_for_again():
    kept = [page_faults('training'), page_faults('prediction')]
    assert max(kept) < 1000
    # what it is for: with huge pages there are fewer than 3 × 32768
    assert page_faults('leave') > max(kept)
