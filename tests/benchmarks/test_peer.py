"""What the comparisons share, and what can be tested of them without the peer."""
import importlib
import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / 'benchmarks'
SCRIPTS = ('parity_classifier.py', 'finetune_classifier.py', 'scores_classifier.py',
           'tokenizer.py', 'kill_and_resume.py', 'chinese_path.py', 'conversion.py')


@pytest.fixture
def module(monkeypatch):
    """Function: name → module of the folder of comparisons."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module
    for path in BENCHMARKS.glob('*.py'):
        if path.stem not in before:
            sys.modules.pop(path.stem, None)


@pytest.fixture
def folder(tmp_path, module, monkeypatch):
    """A folder for worker scripts of a test."""
    monkeypatch.setattr(module('peer'), 'HERE', tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(BENCHMARKS))
    return tmp_path


@pytest.mark.parametrize('script', SCRIPTS)
def test_every_comparison_explains_itself(script):
    printed = subprocess.check_output([sys.executable, str(BENCHMARKS / script), '--help'])
    assert b'--output' in printed


def test_a_worker_answers_until_it_is_left(folder, module):
    (folder / 'twice.py').write_text(
        'import os, peer\n'
        'peer.answer_questions(lambda question: [2 * question["value"],\n'
        '                                        os.environ["OMP_NUM_THREADS"]])\n')
    with module('peer').Worker('ours', 'twice.py', threads=1) as worker:
        assert worker.ask(value=3) == [6, '1']
        assert worker.ask(value='a') == ['aa', '1']


def test_a_worker_that_dies_ends_the_comparison(folder, module):
    (folder / 'broken.py').write_text('raise SystemExit(7)\n')
    with pytest.raises(SystemExit, match='broken.py.* 7'):
        with module('peer').Worker('ours', 'broken.py', threads=1) as worker:
            worker.ask(value=3)
    with pytest.raises(SystemExit, match='broken.py failed'):
        module('peer').run('ours', 'broken.py', threads=1)


def test_an_environment_is_made_once_and_again_for_other_pins(tmp_path, module, monkeypatch):
    peer, made = module('peer'), []
    monkeypatch.setattr(peer, 'REPOSITORY', tmp_path)
    monkeypatch.setattr(peer.venv, 'create', lambda folder, with_pip: (made.append(folder),
                                                                       os.makedirs(folder)))
    monkeypatch.setattr(peer.subprocess, 'run', lambda command, check: made.append(command[-1]))
    for pin in ('a==1', 'a==1', 'a==2'):
        monkeypatch.setitem(peer.PINS, 'peer', (pin,))
        assert peer.python_of('peer') == str(tmp_path / '.venv-peer' / 'bin' / 'python')
    assert made == [str(tmp_path / '.venv-peer'), 'a==1', str(tmp_path / '.venv-peer'), 'a==2']


def test_examples_go_through_a_file(tmp_path, module):
    ours = module('ours_classifier')
    examples = [ours.Features(np.arange(n, dtype='int32'), np.zeros(n, dtype='int32'), n,
                              np.float32(n / 2), n) for n in (3, 1, 5)]
    ours.save_features(tmp_path / 'examples.npz', examples)
    found = ours.load_features(tmp_path / 'examples.npz')
    assert [one.valid_length for one in found] == [3, 1, 5]
    assert [one.label for one in found] == [1.5, 0.5, 2.5]
    for one, other in zip(examples, found):
        np.testing.assert_array_equal(one.token_ids, other.token_ids)
        np.testing.assert_array_equal(one.segment_ids, other.segment_ids)


def test_the_interval_of_paired_differences_is_scipys(tmp_path, module):
    from scipy import stats
    scores, peer = module('scores_classifier'), module('peer')
    mine, theirs = [0.75, 0.71, 0.78], [0.74, 0.73, 0.72]
    for seed, value in enumerate(mine, 1):
        peer.write_json(tmp_path / ('seed-%d' % seed) / 'results.json', {'history': [
            {'metrics': {'dev': {'f1': 0.9}}}, {'metrics': {'dev': {'f1': value}}}]})
    ours = scores.our_history(tmp_path / 'results.json', [1, 2, 3])
    theirs = {seed: [{'f1': value}] for seed, value in enumerate(theirs, 1)}
    found = scores.compare(ours, theirs, 'f1', scores.last)
    low, high = stats.t.interval(0.95, 2, loc=0.05 / 3, scale=stats.sem(found['differences']))
    assert found['ours'] == mine
    assert found['mean'] == pytest.approx(0.05 / 3)
    assert found['interval'] == pytest.approx([low, high])
    assert scores.compare(ours, theirs, 'f1', max)['ours'] == [0.9] * 3
    with pytest.raises(SystemExit, match='seed-4'):
        scores.our_history(tmp_path / 'results.json', [4])


def test_a_round_draws_the_same_examples_for_all(module):
    speed = module('finetune_classifier')
    first = speed.draw(100, 32, seed=1, round_number=1)
    assert first == speed.draw(100, 32, seed=1, round_number=1)
    assert first != speed.draw(100, 32, seed=1, round_number=2)
    assert len(set(first)) == 32


def test_speed_is_summarized_round_by_round(module):
    speed = module('finetune_classifier')
    rates = dict(zip(speed.CONTENDERS, ([20.0, 40.0, 30.0], [10.0, 10.0, 10.0], [40.0] * 3)))
    found = speed.summarize(rates)[speed.CONTENDERS[1]]
    assert found['ours_over_it'] == {'median': 3.0, 'min': 2.0, 'max': 4.0}
    assert found['examples_per_second']['median'] == 10.0


def test_texts_and_digests_of_the_tokenizer_comparison(tmp_path, module):
    tokenizer = module('tokenizer')
    for name in ('glue/X', 'squad', 'corpus'):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / 'glue/X/train.tsv').write_bytes(b'b\t1\r\na\t1\r\n\r\n')
    (tmp_path / 'squad/dev.json').write_text('{"data": [{"question": "c", "id": 4}]}')
    (tmp_path / 'corpus/lines.txt').write_text('a\n\nd\n')
    assert tokenizer.texts_of(tmp_path) == ['1', 'a', 'b', 'c', 'd']
    joined = tokenizer.digest_of([np.array([1, 2]), np.array([3])])
    assert joined != tokenizer.digest_of([np.array([1]), np.array([2, 3])])


def test_the_cause_of_a_difference_is_found_by_undoing_it(tmp_path, module):
    tokenizer = module('tokenizer')
    path = tmp_path / 'cased.txt'
    path.write_text('[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncafe\ncafé\nx\n', encoding='utf-8')
    texts = ['x', 'café', 'cafe\u0301', 'café']
    ids = tokenizer.our_ids(path, texts)
    assert [one.tolist() for one in ids] == [[7], [6], [1], [6]]
    found = tokenizer.differences(path, texts, ids, [np.array([i]) for i in (7, 5, 6, 7)])
    assert {cause: group['number'] for cause, group in found.items()} == {
        'accents stripped': 1, 'composed characters (NFC)': 1, 'other': 1}


def test_every_command_of_the_page_is_understood(module):
    page = (BENCHMARKS.parent / 'docs' / 'benchmarks.rst').read_text(encoding='utf-8')
    commands = re.findall(r'^ +\./run python benchmarks/(\w+)\.py(.*)$', page, re.MULTILINE)
    assert {name + '.py' for name, _ in commands} == set(SCRIPTS)
    for name, arguments in commands:
        module(name).make_parser().parse_args(shlex.split(arguments))
