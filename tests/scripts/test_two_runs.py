"""Two runs that are started on one folder, at random distances: one has it, the other says so."""
import json
import os
import pathlib
import random
import time

import pytest
from support import tiny
from support.processes import start

IN_USE = r'in use by another run (process '


@pytest.fixture(scope='module')
def words(tmp_path_factory):
    """{script: words of a small run}"""
    folder = tmp_path_factory.mktemp('inputs')
    bert = tiny.write_checkpoint(folder / 'bert')
    ner = tiny.write_ner(folder / 'ner', train=200)
    squad = [word for kind, seed in (('train', 1), ('dev', 2)) for word in (
        '--%s_file' % kind, tiny.write_squad(folder / (kind + '.json'), 60, seed))]
    return {
        'finetune_classifier.py': [
            '--task_name', 'SST', '--data_dir', tiny.write_sst(folder / 'SST', train=200),
            '--bert_checkpoint', bert, '--max_len', 12, '--epochs', 3, '--batch_size', 2],
        'finetune_ner.py': [
            '--train_file', os.path.join(ner, 'train.conll'), '--dev_file',
            os.path.join(ner, 'dev.conll'), '--bert_checkpoint', bert, '--max_len', 12,
            '--epochs', 3, '--batch_size', 2],
        'finetune_squad.py': [
            *squad, '--bert_checkpoint', bert, '--max_seq_length', 20, '--doc_stride', 5,
            '--max_query_length', 6, '--epochs', 2, '--batch_size', 2]}


def start_twice(script, words, folder, distance, flags=()):
    """[(exit code, standard error)] of two processes with the seeds 1 and 2."""
    processes = []
    for seed in (1, 2):
        processes.append(start(script, *words, '--output_dir', folder, '--threads', 1, '--seed',
                               seed, *flags))
        time.sleep(0 if seed == 2 else distance)
    return [(process.wait(), err) for process in processes for _, err in [process.communicate()]]


def check_outcomes(folder, outcomes, may_follow=False):
    """At least one process succeeded, and the folder is of the last that did. may_follow: the
    second run may replace the first one when that is finished."""
    winners = [seed for seed, (code, _) in enumerate(outcomes, 1) if code == 0]
    assert winners and (may_follow or len(winners) == 1), outcomes
    for code, err in outcomes:
        assert 'Traceback' not in err
        if code:
            assert code == 2 and (IN_USE in err.splitlines()[-1] or ' holds a run: ' in
                                  err.splitlines()[-1]), err
    report = json.loads((folder / 'results.json').read_text())
    assert report['seed'] in winners
    names = {path.name for path in folder.iterdir()}
    assert not [name for name in names if name.endswith('.tmp') or name == '.lock']
    best, = {json.loads((folder / name).read_text())['best'] for name in ('checkpoints.json',)}
    state = json.loads((folder / best / 'trainer.json').read_text())
    assert state['seed'] == report['seed'] and state['step'] == report['best_step']


@pytest.mark.process
@pytest.mark.parametrize('number', range(10))
def test_two_starts(number, words, tmp_path):
    rng = random.Random(number)
    script = rng.choice(sorted(words))
    check_two_starts(rng, script, words[script], tmp_path)


def check_two_starts(rng, script, words, folder):
    """One of three: both make the folder, both replace a run, or both resume it."""
    run, distance = pathlib.Path(folder) / 'run', rng.choice((0, 0, rng.uniform(0, 4)))
    kind = rng.choice(('new', 'overwrite', 'resume'))
    if kind == 'new':
        check_outcomes(run, start_twice(script, words, run, distance))
        return
    first = start(script, *words, '--output_dir', run, '--threads', 1, '--seed', 1,
                  *(['--ckpt_interval', 20] if kind == 'resume' else []))
    if kind == 'resume':        # a killed run
        while not list(run.glob('step-*')):
            assert first.poll() is None, first.communicate()
            time.sleep(0.01)
        first.kill()
    first.communicate()
    if kind == 'overwrite':
        outcomes = start_twice(script, words, run, distance, ['--overwrite_output_dir'])
        check_outcomes(run, outcomes, may_follow=True)
        return
    processes = [start(script, '--resume', '--output_dir', run, '--threads', 1) for _ in range(2)]
    outcomes = [(process.wait(), err) for process in processes
                for _, err in [process.communicate()]]
    check_outcomes(run, [outcomes[0], outcomes[1]] if outcomes[0][0] == 0 else outcomes[::-1],
                   may_follow=True)
