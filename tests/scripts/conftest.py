"""Fixtures that run the entry scripts with a command line, in this process or in a new one."""
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import mxnet as mx
import pytest
from support import pretraining, tiny
from support.processes import PACKAGE, Outcome

from bert import create_pretraining_data
from bert.errors import run_script
from bert.export import runtimes
from bert.jobs.exporting import serving_folder
from bert.jobs.runs import training
from bert.quantization import loss, report


@pytest.fixture(scope='module', autouse=True)
def drawing_functions():
    """Drawing takes longer than a tiny training, so runs in this process write empty pictures.
    Yields the drawing functions: tests that look at pictures restore them."""
    functions = {(training, 'draw_curves'): training.draw_curves,
                 (report, 'draw_trials'): report.draw_trials}
    with pytest.MonkeyPatch.context() as patch:
        for module, name in functions:
            patch.setattr(module, name, lambda path, *values: open(path, 'wb').close())
        yield functions


@pytest.fixture
def is_picture(drawing_functions, monkeypatch):
    """Function: path → whether the file is a picture. In this test runs draw their pictures."""
    for (module, name), function in drawing_functions.items():
        monkeypatch.setattr(module, name, function)
    return lambda path: path.read_bytes().startswith(b'\x89PNG')


@pytest.fixture(scope='module', autouse=True)
def few_bootstrap_samples():
    """Confidence intervals use fewer bootstrap samples: a thousand F1 scores take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss, 'NUM_BOOTSTRAP_SAMPLES', 50)
        yield


@pytest.fixture(scope='module', autouse=True)
def compute_in_new_process():
    """A new Python that imports MXNet takes longer than a tiny export, so export/export.py
    recomputes its outputs in this process. Yields the function that starts a new process."""
    def recompute(path, batch):
        return runtimes.open_symbol(path, mx.cpu())(*batch[:3])
    original = serving_folder.compute_in_new_process
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving_folder, 'compute_in_new_process', recompute)
        yield original


@pytest.fixture
def new_process(compute_in_new_process, monkeypatch):
    """In this test export/export.py recomputes its outputs in a new process."""
    monkeypatch.setattr(serving_folder, 'compute_in_new_process', compute_in_new_process)


@pytest.fixture
def call(capsys):
    """Function: script module, arguments → Outcome. The script runs in this process."""
    def call(module, *arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as exc_info:
            run_script(lambda: module.main([str(argument) for argument in arguments]))
        return Outcome(exc_info.value.code or 0, *capsys.readouterr())
    return call


@pytest.fixture(scope='session')
def tiny_bert(tmp_path_factory):
    """Path of a tiny checkpoint in Hugging Face layout."""
    return tiny.write_checkpoint(tmp_path_factory.mktemp('tiny') / 'bert')


@pytest.fixture(scope='session')
def roomy_bert(tmp_path_factory):
    """A tiny checkpoint with the 512 positions that the commands need, and wide enough for the
    fused operators."""
    return tiny.write_checkpoint(tmp_path_factory.mktemp('roomy') / 'bert', dataclasses.replace(
        tiny.CONFIG, units=32, hidden_size=32, num_heads=1, max_length=512), seed=2)


@pytest.fixture(scope='session')
def sst(tmp_path_factory):
    """Path of a tiny SST-2 folder."""
    return tiny.write_sst(tmp_path_factory.mktemp('data') / 'SST-2')


@pytest.fixture(scope='session')
def dataset(tmp_path_factory):
    """A folder with pre-training shards in out/, a vocabulary and the sizes of a tiny model."""
    folder = tmp_path_factory.mktemp('pretraining')
    (folder / 'vocab.txt').write_text(''.join(token + '\n' for token in tiny.TOKENS))
    (folder / 'sizes.json').write_text(json.dumps(pretraining.SIZES))
    tiny.write_corpus(folder / 'text.txt', 40)
    create_pretraining_data.main([
        '--input_file', str(folder / 'text.txt'), '--vocab', str(folder / 'vocab.txt'),
        '--output_dir', str(folder / 'out'), '--num_workers', '1', '--num_outputs', '3',
        '--max_seq_length', '32', '--max_predictions_per_seq', '5'])
    return folder


@pytest.fixture
def start_workers(horovodrun):
    """Function: script, number of workers, arguments → `Popen` of horovodrun with the script."""
    def start(script, num_workers, *arguments):
        return _start([horovodrun, '-np', num_workers, '-H', 'localhost:%d' % num_workers,
                       sys.executable, PACKAGE / script] + list(arguments))
    return start


@pytest.fixture
def run_workers(start_workers):
    """Like `start_workers`, but waits → Outcome. Its `err` is the whole output of the workers."""
    return lambda *arguments: _finish(start_workers(*arguments))


@pytest.fixture
def kill_worker():
    """Function: `Popen` of `start_workers`, folder of its run. Waits for a checkpoint, then kills
    (kill -9) one of the workers, which must end the job."""
    def kill(process, folder):
        while not list(folder.glob('step-???????')):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        workers = subprocess.check_output(['pgrep', '-f', '^%s .*%s' % (
            sys.executable, ' --[a-z_]*_dir %s' % folder.name)], text=True).split()
        # a test that runs at the same time may use the same folder name
        workers = [pid for pid in workers if os.readlink('/proc/%s/cwd' % pid) == os.getcwd()]
        os.kill(int(workers[-1]), signal.SIGKILL)
        process.communicate(timeout=120)
        assert process.returncode != 0
    return kill


@pytest.fixture
def run_command(horovodrun):
    """Function: words of a documented `horovodrun … python …` command → its Outcome."""
    programs = {'horovodrun': horovodrun, 'python': sys.executable}
    return lambda words: _finish(_start([programs.get(word, word) for word in words]))


def _start(command):
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)


def _finish(process):
    out, err = process.communicate(timeout=200)
    return Outcome(process.returncode, out, out + err)


@pytest.fixture
def only_float_is_good(monkeypatch):
    """A classifier loses 0.1 if its outputs differ from the first one's, the float network."""
    from bert.pipelines import evaluation_sets
    score, all_outputs = evaluation_sets.TextSet.score, []

    def lower_score(self, outputs, rows=None):
        all_outputs.append(outputs.tobytes())
        return score(self, outputs, rows) - 0.1 * (all_outputs[-1] != all_outputs[0])
    monkeypatch.setattr(evaluation_sets.TextSet, 'score', lower_score)
