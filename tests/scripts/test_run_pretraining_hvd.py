"""run_pretraining_hvd.py with the real Horovod, where it is installed."""
import functools
import json
import pathlib
import re
import shlex
import shutil

import numpy as np
import pytest
from support.pages import horovod_command
from support.pretraining import flags, parameters, results
from support.processes import PACKAGE, spawn

from bert.data.pretraining.shards import read_shard, write_shard


@pytest.fixture
def start(start_workers):
    return functools.partial(start_workers, 'run_pretraining_hvd.py')


@pytest.fixture
def run(run_workers):
    return functools.partial(run_workers, 'run_pretraining_hvd.py')


def test_without_horovod_the_error_is_one_line(in_tmp):
    (in_tmp / 'horovod.py').write_text('raise ImportError("not here")')
    outcome = spawn('run_pretraining_hvd.py', '--data', 'x.npz', env={'PYTHONPATH': str(in_tmp)})
    assert outcome.code == 2
    assert "start the script with './run horovodrun -np 2 python …'" in outcome.error


@pytest.mark.horovod
@pytest.mark.parametrize('optimizer', ['bertadam', 'lamb'])
def test_two_workers_equal_one_with_a_larger_batch(run, dataset, in_tmp, optimizer):
    """Unequal numbers of masks; the last batch of an epoch has one example, so that one worker
    gets none."""
    shard = read_shard(str(dataset / 'out' / 'part-000.npz'))
    write_shard('few.npz', shard.select(np.arange(17)))
    options = flags(dataset, '--data', 'few.npz', '--num_buckets', 1, '--dropout', 0, '--optimizer',
                    optimizer, '--data_eval', dataset / 'out' / 'part-001.npz', steps=8)
    assert spawn('run_pretraining.py', *options, '--batch_size', 16, '--ckpt_dir', 'one').code == 0
    outcome = run(2, *options, '--batch_size', 8, '--ckpt_dir', 'two')
    assert outcome.code == 0, outcome.err
    expected, actual = parameters('one'), parameters('two')
    for key, array in expected.items():
        np.testing.assert_allclose(actual[key], array, atol=1e-4, err_msg=key)
    actual, expected = (results(name)['metrics']['eval'] for name in ('two', 'one'))
    np.testing.assert_allclose(list(actual.values()), list(expected.values()), rtol=1e-3)
    assert results('two')['workers'] == 2
    losses = [[point['loss'] for point in curve_of(name)] for name in ('two', 'one')]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    assert [point['examples'] for point in curve_of('two')] == [
        point['examples'] for point in curve_of('one')]
    # one worker writes, and its log covers the examples of all
    assert len(re.findall(r'\[step 3\]', outcome.err)) == 1
    lines = [re.search(r'step 3\].*mlm_loss=([\d.]+).*nsp_acc=([\d. ]+)\t', text).groups()
             for text in (outcome.err, (in_tmp / 'one' / 'phase1_log.0').read_text())]
    assert abs(float(lines[0][0]) - float(lines[1][0])) < 1e-3 and lines[0][1] == lines[1][1]


def curve_of(folder):
    path, = pathlib.Path(folder).glob('step-*/trainer.json')
    return json.loads(path.read_text())['curve']


@pytest.mark.horovod
def test_a_killed_worker_ends_the_job(start, run, kill_worker, dataset, in_tmp):
    """A resume equals an uninterrupted run; three workers, as their sums depend on the order."""
    options = flags(dataset, '--ckpt_interval', 2, steps=150)
    outcome = run(3, *options, '--ckpt_dir', 'whole')
    assert outcome.code == 0, outcome.err
    process = start(3, *options, '--ckpt_dir', 'broken')
    kill_worker(process, in_tmp / 'broken')
    assert not (in_tmp / 'broken' / 'results.json').exists(), 'killed too late to test anything'
    shutil.copytree('broken', 'other')
    outcome = run(1, '--resume', '--ckpt_dir', 'other')
    assert ('was started with 3 workers or GPUs, but now there are 1: use the same '
            'number') in outcome.err
    outcome = run(3, '--resume', '--ckpt_dir', 'broken')
    assert outcome.code == 0, outcome.err
    expected, actual = parameters('whole'), parameters('broken')
    assert all(np.array_equal(expected[key], actual[key]) for key in expected)


@pytest.mark.horovod
def test_the_command_of_the_page(run_command, dataset, in_tmp):
    words = shlex.split(horovod_command('docs/pretraining.rst'))
    shutil.copytree(dataset / 'out', 'corpus')
    for name in ('vocab.txt', 'sizes.json'):
        shutil.copy(dataset / name, name)
    outcome = run_command([word.replace('bert/run_', str(PACKAGE / 'run_')) for word in words])
    assert outcome.code == 0, outcome.err
    assert results('hvd')['workers'] == 2 and results('hvd')['steps'] == 40
