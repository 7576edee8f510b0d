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
    fault_counts.append(faults() - before)

fault_counts = []
if sys.argv[2] == 'thread':
    thread = threading.Thread(target=use_often)
    thread.start()
    thread.join()
else:
    use_often()
assert 'mxnet' not in sys.modules
assert os.environ.get('TOKENIZERS_PARALLELISM') == ('false' if sys.argv[1] == 'training' else None)
print(*fault_counts)
"""


def page_faults(mode, thread):
    environment = {key: value for key, value in os.environ.items()
                   if key != 'TOKENIZERS_PARALLELISM'}
    return int(subprocess.check_output([sys.executable, '-c', CODE, mode, thread],
                                       env=environment))


def test_freed_pages_are_used_again():
    fault_counts = [page_faults('training', 'main'), page_faults('prediction', 'main'),
                    page_faults('training', 'thread')]
    assert max(fault_counts) < 1000
    # without the setting: 3 × 32768, or fewer with huge pages
    assert page_faults('leave', 'main') > max(fault_counts)
    assert page_faults('prediction', 'thread') > max(fault_counts)  # hence one arena in training


@pytest.mark.parametrize('script,arguments,training', [
    ('finetune_squad', [], True), ('finetune_squad', ['--only_predict'], False),
    ('finetune_squad', ['--gpu'], False), ('static_finetune_squad', [], True),
    ('finetune_classifier', [], True), ('finetune_classifier', ['--only_inference'], False),
    ('finetune_ner', ['--task_name', 'WNUT17'], True),
    ('finetune_ner', ['--dev_file', 'x', '--only_inference', '--bert_checkpoint', 'x'], False),
    ('predict', ['--model_dir', 'x', 'text'], False), ('static_export_squad', ['--export'], False),
    ('answer', ['--model_dir', 'x', 'Who ?', 'text'], False)])
def test_every_script_keeps_memory(monkeypatch, script, arguments, training):
    class StopScript(Exception):
        pass

    def stop(training):
        raise StopScript(training)
    monkeypatch.setattr(allocator, 'keep_freed_memory', stop)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')      # monkeypatch puts it back
    with pytest.raises(StopScript) as error:
        importlib.import_module('bert.' + script).main(arguments)
    assert error.value.args == (training,)
