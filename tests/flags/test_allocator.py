"""Freed memory is kept for the next array."""
import importlib
import os
import subprocess
import sys

import pytest

from bert.flags import allocator

CODE = """
import os
import resource
import sys
import threading
from bert.flags import allocator
if sys.argv[1] != 'leave':
    allocator.keep_freed_memory(training=sys.argv[1] == 'training')
import numpy as np

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def use():
    np.ones(2 ** 25, dtype='float32')   # 128 MiB, 32768 pages of 4 KiB

def use_often():
    use()
    before = faults()
    for _ in range(3):
        use()
    found.append(faults() - before)

found = []
if sys.argv[2] == 'thread':
    thread = threading.Thread(target=use_often)
    thread.start()
    thread.join()
else:
    use_often()
assert 'mxnet' not in sys.modules
assert os.environ.get('TOKENIZERS_PARALLELISM') == ('false' if sys.argv[1] == 'training' else None)
print(*found)
"""


def page_faults(mode, where):
    environment = {key: value for key, value in os.environ.items()
                   if key != 'TOKENIZERS_PARALLELISM'}
    return int(subprocess.check_output([sys.executable, '-c', CODE, mode, where],
                                       env=environment))


def test_pages_are_not_asked_for_again():
    kept = [page_faults('training', 'main'), page_faults('prediction', 'main'),
            page_faults('training', 'thread')]
    assert max(kept) < 1000
    # what it is for: with huge pages there are fewer than 3 × 32768
    assert page_faults('leave', 'main') > max(kept)
    assert page_faults('prediction', 'thread') > max(kept)      # why training has one area


@pytest.mark.parametrize('script,arguments,training', [
    ('finetune_squad', [], True), ('finetune_squad', ['--only_predict'], False),
    ('finetune_squad', ['--gpu'], False), ('static_finetune_squad', [], True),
    ('finetune_classifier', [], True), ('finetune_classifier', ['--only_inference'], False),
    ('predict', ['--model_dir', 'x', 'text'], False), ('static_export_squad', [], False),
    ('answer', ['--model_dir', 'x', 'Who ?', 'text'], False)])
def test_every_script_keeps_memory(monkeypatch, script, arguments, training):
    class Told(Exception):
        pass

    def tell(training):
        raise Told(training)
    monkeypatch.setattr(allocator, 'keep_freed_memory', tell)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')      # to be put back
    with pytest.raises(Told) as told:
        importlib.import_module('bert.' + script).main(arguments)
    assert told.value.args == (training,)
