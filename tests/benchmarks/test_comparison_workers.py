"""Workers of a comparison: how they are asked, how they rest, and how they end."""
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks import harness


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for worker scripts of a test."""
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
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
        'harness.answer_texts(\n'
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
        harness.run('ours', 'broken', threads=1)
