"""What harness.py does for all comparisons, their help pages, and the commands of the docs."""
import argparse
import importlib
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

import numpy as np
import pytest
from support.help_pages import help_pages
from support.pages import DOCS, commands

from benchmarks import harness
from benchmarks.peer_pins import PINS

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / 'benchmarks'
SCRIPTS = ('classifier/losses.py', 'classifier/speed.py', 'classifier/scores.py',
           'classifier/scores_by_dtype.py', 'weights/tokenizer.py', 'weights/relative_tokens.py',
           'classifier/kill_and_resume.py', 'classifier/chinese.py', 'weights/conversion.py',
           'weights/heads.py',
           'squad/losses_and_answers.py', 'squad/speed.py', 'squad/scores.py', 'squad/split.py',
           'squad/static_shapes.py', 'inference/exported_models.py', 'inference/predictor.py',
           'inference/first_answer.py', 'inference/single_text.py', 'inference/tuning.py',
           'pretraining/data_creation.py', 'pretraining/rxnfp.py',
           'pretraining/from_scratch.py', 'pretraining/speed.py', 'pretraining/workers.py',
           'embedding/speed_and_quality.py',
           'embedding/memory.py', 'ranking/speed.py', 'ranking/scores.py', 'ner/speed.py',
           'ner/scores.py', 'serving/throughput.py', 'serving/latency.py', 'serving/classifier.py',
           'serving/memory.py',
           'kernels/training_step.py', 'kernels/product_limit.py', 'kernels/memory_limit.py',
           'kernels/onednn_products.py', 'kernels/where_time_goes.py')


@pytest.fixture(scope='module')
def pages():
    return help_pages([BENCHMARKS / script for script in SCRIPTS])


@pytest.mark.parametrize('script', SCRIPTS)
def test_every_comparison_explains_itself(script, pages):
    page = pages[BENCHMARKS / script]
    assert page.startswith('usage: ') and '--output' in page


def test_every_command_of_the_pages_is_understood():
    lines = [line for page in (DOCS / 'benchmarks').glob('*.rst') for line in commands(page)]
    calls = [match.groups() for line in lines
             if (match := re.match(r'\./run python -m benchmarks\.([\w.]+)(.*)', line))]
    assert {name.replace('.', '/') + '.py' for name, _ in calls} == set(SCRIPTS)
    for name, arguments in calls:
        script = importlib.import_module('benchmarks.' + name)
        script.make_parser().parse_args(shlex.split(arguments))


def test_an_environment_is_made_once_and_again_for_other_pins(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(harness, 'REPOSITORY', tmp_path)
    monkeypatch.setattr(harness.venv, 'create', lambda folder, with_pip: (calls.append(folder),
                                                                          os.makedirs(folder)))
    monkeypatch.setattr(harness.subprocess, 'run', lambda command, check: calls.append(command[-1]))
    for pin in ('a==1', 'a==1', 'a==2'):
        monkeypatch.setitem(PINS, 'peer', (pin,))
        assert harness.python_of('peer') == str(tmp_path / '.venv-peer' / 'bin' / 'python')
    assert calls == [str(tmp_path / '.venv-peer'), 'a==1', str(tmp_path / '.venv-peer'), 'a==2']


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for worker scripts of a test."""
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(tmp_path), str(harness.REPOSITORY)]))
    return tmp_path


def test_a_worker_answers_until_it_is_left(folder):
    (folder / 'twice.py').write_text(
        'import os\nfrom benchmarks import harness\n'
        'harness.answer_questions(lambda question: [2 * question["value"],\n'
        '                                        os.environ["OMP_NUM_THREADS"]])\n')
    with harness.Worker('ours', 'twice', threads=1) as worker:
        assert worker.ask(value=3) == [6, '1']
        assert worker.ask(value='a') == ['aa', '1']


def test_a_worker_rests_out_of_its_turn(folder):
    """A thread that waits awake doesn't, until the next question; a kill takes the worker along."""
    (folder / 'busy.py').write_text(
        'import os, threading\nfrom benchmarks import harness\n'
        'def spin():\n'
        '    while True: pass\n'
        'threading.Thread(target=spin, daemon=True).start()\n'
        'harness.answer_questions(lambda question: os.getpid())\n')
    with harness.Worker('ours', 'busy', threads=1) as worker:
        for _ in range(2):
            pid = worker.ask()
            path = pathlib.Path('/proc/%d/stat' % pid)
            deadline = time.time() + 10
            while path.read_text().split()[2] != 'T' and time.time() < deadline:
                time.sleep(0.01)
            before = path.read_text().split()[13]   # processor time
            time.sleep(0.1)
            assert path.read_text().split()[2] == 'T' and path.read_text().split()[13] == before
    assert not path.exists()


def test_workers_end_with_a_comparison_that_is_killed(folder):
    (folder / 'idle.py').write_text(
        'import os\nfrom benchmarks import harness\n'
        'harness.answer_questions(lambda question: os.getpid())\n')
    (folder / 'comparison.py').write_text(
        'import time\nfrom benchmarks import harness\n'
        'worker = harness.Worker("ours", "idle", threads=1)\n'
        'print(worker.ask(), flush=True)\n'
        'time.sleep(100)\n')
    with subprocess.Popen([sys.executable, str(folder / 'comparison.py')], text=True,
                          stdout=subprocess.PIPE) as comparison:
        pid = int(comparison.stdout.readline())
        comparison.kill()
    deadline = time.time() + 10
    while is_running(pid) and time.time() < deadline:
        time.sleep(0.01)
    assert not is_running(pid)


def is_running(pid):
    """Whether a process is there and no zombie that nobody waits for."""
    try:
        return pathlib.Path('/proc/%d/stat' % pid).read_text().split()[2] != 'Z'
    except FileNotFoundError:
        return False


def test_texts_and_vectors_go_through_files(folder):
    (folder / 'lengths.py').write_text(
        'import numpy as np\nfrom benchmarks import harness\n'
        'harness.answer_with_vectors(\n'
        '    lambda texts, size: np.array([[len(text), size] for text in texts]))\n')
    (folder / 'texts.json').write_text('["ä", "bcd"]', encoding='utf-8')
    with harness.Worker('ours', 'lengths', threads=1) as worker:
        answer = worker.ask(texts=str(folder / 'texts.json'), batch_size=7,
                            output=str(folder / 'x.npy'))
    assert answer['seconds'] > 0
    assert np.load(str(folder / 'x.npy')).tolist() == [[1, 7], [3, 7]]


def test_a_worker_that_dies_ends_the_comparison(folder):
    (folder / 'broken.py').write_text('raise SystemExit(7)\n')
    with pytest.raises(SystemExit, match='broken.* 7'):
        with harness.Worker('ours', 'broken', threads=1) as worker:
            worker.ask(value=3)
    with pytest.raises(SystemExit, match='broken failed'):
        harness.run_worker('ours', 'broken', threads=1)


def test_a_result_names_the_module_of_its_command(monkeypatch):
    monkeypatch.setattr(sys, 'argv', [str(BENCHMARKS / 'squad' / 'speed.py'), '--threads', '1'])
    result = harness.make_result(argparse.Namespace(threads=1))
    assert result['command'] == 'benchmarks.squad.speed --threads 1'


def test_memory_is_that_of_this_process():
    assert 1e7 < harness.peak_memory() < 1e12


def test_batches_go_through_a_file(tmp_path):
    batches = [harness.random_batch(size, 3, size) for size in (4, 4, 2)]
    harness.write_batches(tmp_path / 'x.npz', batches, [1] * 10)
    loaded, labels = harness.read_batches(tmp_path / 'x.npz')
    for before, after in zip(batches, loaded):
        for expected, array in zip(before, after):
            np.testing.assert_array_equal(expected, array)
    assert [len(batch[2]) for batch in loaded] == [4, 4, 2] and labels.tolist() == [1] * 10
    # class 1 where the first token is even
    is_even = np.concatenate([batch[0][:, 0] % 2 == 0 for batch in batches])
    assert 0 < is_even.mean() < 1
    assert harness.accuracy(lambda token_ids, *_: np.eye(2)[1 - token_ids[:, 0] % 2], loaded,
                            labels) == is_even.mean()


def test_questions_are_selected_in_the_order_of_the_file():
    def article(title, *numbers_of_questions):
        return {'title': title, 'paragraphs': [
            {'qas': [{'id': '%s-%d-%d' % (title, i, j)} for j in range(count)]}
            for i, count in enumerate(numbers_of_questions)]}
    content = {'version': '1.1', 'data': [article('a', 2, 1), article('b', 1), article('c', 3)]}
    selection = harness.select_questions(content, {'c-0-2', 'a-1-0', 'c-0-0'})
    assert [[qa['id'] for paragraph in article['paragraphs'] for qa in paragraph['qas']]
            for article in selection['data']] == [['a-1-0'], ['c-0-0', 'c-0-2']]
    assert [article['title'] for article in selection['data']] == ['a', 'c']
    assert content['data'] == [article('a', 2, 1), article('b', 1), article('c', 3)]


def test_ranges_are_of_the_ratios_of_each_round():
    ratios = harness.ratio_range([4, 6, 20], [2, 2, 5])
    assert ratios == {'median': 3, 'min': 2, 'max': 4}
    assert harness.format_range(ratios) == '3.00 (2.00–4.00)'
    assert harness.format_range(ratios, 0) == '3 (2–4)'
    assert harness.format_range(harness.ratio_range([4], [2])) == '2.00 (one value)'


def test_rounds_and_losses_are_printed(capsys):
    harness.print_round('MRPC round 1', {'ours': 1.25, 'theirs': 2}, '%.1f s')
    harness.print_round('round 2', {'ours': 1, 'theirs': 2}, '%d', '; ')
    harness.print_losses([(0.5, 0.75), (0.25, 0.25)])
    assert capsys.readouterr().out.splitlines() == [
        'MRPC round 1: ours 1.2 s, theirs 2.0 s', 'round 2: ours 1; theirs 2',
        'step         ours  transformers  difference',
        '   1    0.5000000     0.7500000     2.5e-01',
        '   2    0.2500000     0.2500000     0.0e+00']
