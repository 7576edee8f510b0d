"""Entry scripts through their command lines, in this process or in one of their own."""
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
from bert.jobs.runs import results
from bert.quantization import loss, report


@pytest.fixture(scope='module', autouse=True)
def undrawn():
    """Drawing takes longer than a tiny training: runs in this process write empty pictures.
    The drawing functions, to be put back where a test looks at pictures."""
    functions = {(results, 'draw_curves'): results.draw_curves,
                 (report, 'draw_trials'): report.draw_trials}
    with pytest.MonkeyPatch.context() as patch:
        for module, name in functions:
            patch.setattr(module, name, lambda path, *values: open(path, 'wb').close())
        yield functions


@pytest.fixture
def is_picture(undrawn, monkeypatch):
    """Function: path → whether a picture lies there. Pictures are drawn in this test."""
    for (module, name), function in undrawn.items():
        monkeypatch.setattr(module, name, function)
    return lambda path: path.read_bytes().startswith(b'\x89PNG')


@pytest.fixture(scope='module', autouse=True)
def few_draws():
    """The intervals of losses come of fewer draws: a thousand F1 scores take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss, 'NUM_BOOTSTRAP_SAMPLES', 50)
        yield


@pytest.fixture(scope='module', autouse=True)
def recomputed_here():
    """A Python that imports MXNet takes longer than a tiny export: what export/export.py computes
    again in a new process is computed here. The function that starts one, to be put back."""
    def recompute(path, batch):
        return runtimes.open_symbol(path, mx.cpu())(*batch[:3])
    started = serving_folder.compute_in_new_process
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving_folder, 'compute_in_new_process', recompute)
        yield started


@pytest.fixture
def new_process(recomputed_here, monkeypatch):
    """Exports are computed again in a new process in this test."""
    monkeypatch.setattr(serving_folder, 'compute_in_new_process', recomputed_here)


@pytest.fixture
def call(capsys):
    """call(script module, *arguments) → Outcome; the script runs in this process."""
    def call(module, *arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_script(lambda: module.main([str(argument) for argument in arguments]))
        return Outcome(ended.value.code or 0, *capsys.readouterr())
    return call


@pytest.fixture(scope='session')
def tiny_bert(tmp_path_factory):
    """Path of a tiny checkpoint in Hugging Face layout."""
    return tiny.write_checkpoint(tmp_path_factory.mktemp('tiny') / 'bert')


@pytest.fixture(scope='session')
def roomy_bert(tmp_path_factory):
    """The same with the 512 positions that the commands count on, and as wide as the fused
    operators want it."""
    return tiny.write_checkpoint(tmp_path_factory.mktemp('roomy') / 'bert', dataclasses.replace(
        tiny.CONFIG, units=32, hidden_size=32, num_heads=1, max_length=512), seed=2)


@pytest.fixture(scope='session')
def sst(tmp_path_factory):
    """Path of a tiny SST-2 folder."""
    return tiny.write_sst(tmp_path_factory.mktemp('data') / 'SST-2')


@pytest.fixture(scope='session')
def made(tmp_path_factory):
    """A folder with shards in out/, a vocabulary and the sizes of a tiny model."""
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
def in_tmp(tmp_path, monkeypatch):
    """Work in an empty folder with an empty cache and no data folders of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('MXNET_HOME', str(tmp_path / 'mxnet'))
    for name in ('GLUE_DIR', 'BAIDU_ERNIE_DATA_DIR', 'SQUAD_DIR', 'SEQLENGTH', 'INPUTSIZE'):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def start_workers(horovodrun):
    """Function: script, number of workers, arguments → `Popen` of it under horovodrun."""
    def start(script, number, *arguments):
        return _start([horovodrun, '-np', number, '-H', 'localhost:%d' % number, sys.executable,
                       PACKAGE / script] + list(arguments))
    return start


@pytest.fixture
def run_workers(start_workers):
    """The same to its end → Outcome, whose `err` is all that the workers said."""
    return lambda *arguments: _finish(start_workers(*arguments))


@pytest.fixture
def kill_worker():
    """Function: `Popen` of `start_workers`, folder of its run → when that has a checkpoint, kill -9
    of one of the workers, which must end the job."""
    def kill(process, folder):
        while not list(folder.glob('step-???????')):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        workers = subprocess.check_output(['pgrep', '-f', '^%s .*%s' % (
            sys.executable, ' --[a-z_]*_dir %s' % folder.name)], text=True).split()
        # another test that runs now may have a folder of the same name
        workers = [pid for pid in workers if os.readlink('/proc/%s/cwd' % pid) == os.getcwd()]
        os.kill(int(workers[-1]), signal.SIGKILL)
        process.communicate(timeout=120)
        assert process.returncode != 0
    return kill


@pytest.fixture
def start_words(horovodrun):
    """Function: the words of a printed `horovodrun … python …` → Outcome of it."""
    programs = {'horovodrun': horovodrun, 'python': sys.executable}
    return lambda words: _finish(_start([programs.get(word, word) for word in words]))


def _start(words):
    return subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)


def _finish(process):
    out, err = process.communicate(timeout=200)
    return Outcome(process.returncode, out, out + err)


@pytest.fixture
def only_float_is_good(monkeypatch):
    """Classifiers that don't compute what the first one did, the float network, lose 0.1."""
    from bert.pipelines import evaluation_sets
    real, seen = evaluation_sets.TextSet.score, []

    def worse(self, outputs, rows=None):
        seen.append(outputs.tobytes())
        return real(self, outputs, rows) - 0.1 * (seen[-1] != seen[0])
    monkeypatch.setattr(evaluation_sets.TextSet, 'score', worse)
