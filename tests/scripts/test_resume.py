"""A run that ends early resumes bit for bit: kill -9, Ctrl-C, a second run in the same folder."""
import json
import os
import pathlib
import random
import re
import shutil
import signal

import pytest
from support import tiny
from support.processes import spawn, start, wait_for_step

from bert import finetune_classifier, finetune_ner

FINAL = 'step-0000012'      # 60 examples in 4 batches, 3 epochs
STEPS = random.Random(0).sample(range(1, 12), 3)     # at which a run is killed


@pytest.fixture(scope='module')
def task(tmp_path_factory):
    return tiny.write_sst(tmp_path_factory.mktemp('resume') / 'SST-2')


def flags(task, tiny_bert, folder):
    return ['--task_name', 'SST', '--data_dir', task, '--bert_checkpoint', tiny_bert, '--max_len',
            24, '--epochs', 3, '--batch_size', 16, '--lr', 1e-3, '--threads', 1,
            '--ckpt_interval', 1, '--log_interval', 3, '--output_dir', folder]


@pytest.fixture(scope='module')
def uninterrupted_run(task, tiny_bert, tmp_path_factory):
    """Folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp('whole') / 'run'
    assert spawn('finetune_classifier.py', *flags(task, tiny_bert, folder)).code == 0
    return folder


@pytest.fixture(scope='module')
def expected(uninterrupted_run):
    """{file: bytes} of the final checkpoint of that run."""
    return final_bytes(uninterrupted_run)


def final_bytes(folder):
    return {name: (pathlib.Path(folder) / FINAL / name).read_bytes()
            for name in ('model.params', 'optimizer.params')}


def losses(folder):
    """Of the log lines, which count several steps each."""
    return json.loads((pathlib.Path(folder) / 'results.json').read_text())['training_loss']


@pytest.mark.process
@pytest.mark.parametrize('step', STEPS)
def test_killed_run_resumes_bit_for_bit(step, task, tiny_bert, uninterrupted_run, expected,
                                        tmp_path):
    folder = tmp_path / 'run'
    process = start('finetune_classifier.py', *flags(task, tiny_bert, folder))
    wait_for_step(folder, step)
    process.kill()
    process.communicate()
    assert not (folder / 'results.json').exists(), 'killed too late to test anything'
    outcome = spawn('finetune_classifier.py', *flags(task, tiny_bert, folder), '--resume')
    assert outcome.code == 0, outcome.err
    assert 'resumed from' in outcome.err
    assert final_bytes(folder) == expected
    assert losses(folder) == losses(uninterrupted_run)
    assert not [name for name in os.listdir(folder) if name.endswith('.tmp')]


@pytest.mark.parametrize('signal_number', [
    signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.process)])
def test_interrupt_saves_and_resumes(signal_number, task, tiny_bert, expected, tmp_path):
    folder = tmp_path / 'run'
    process = start('finetune_classifier.py', *flags(task, tiny_bert, folder)[:-4],
                    '--log_interval', 1, '--output_dir', folder)
    while 'Batch 2/4' not in process.stderr.readline():
        pass
    process.send_signal(signal_number)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(r'interrupted after step \d+, and saved: the same command with --resume goes '
                     r'on from there\n', log)
    state = json.loads(next(folder.glob('step-*/trainer.json')).read_text())
    assert 2 <= state['step'] < 12
    assert spawn('finetune_classifier.py', '--resume', '--output_dir', folder).code == 0
    assert final_bytes(folder) == expected


def test_resume_needs_no_other_flag_and_refuses_other_values(task, tiny_bert, call, tmp_path):
    folder = tmp_path / 'run'
    assert call(finetune_classifier, *flags(task, tiny_bert, folder)).code == 0
    before = final_bytes(folder)
    outcome = call(finetune_classifier, '--resume', '--output_dir', folder)
    assert outcome.code == 0, outcome.err
    assert final_bytes(folder) == before
    outcome = call(finetune_classifier, '--resume', '--output_dir', folder, '--lr', 1)
    assert outcome.code == 2
    assert outcome.error == ('error: --lr 1.0: the run in %s was started with 0.001; leave the '
                             'flag out, or start another run' % folder)


def test_resume_without_a_run(call, in_tmp):
    outcome = call(finetune_classifier, '--resume', '--task_name', 'SST')
    assert outcome.error == ('error: --resume: no run of SST in ./output_dir; name its folder '
                             'with --output_dir')
    outcome = call(finetune_classifier, '--resume', '--output_dir', 'nowhere')
    assert outcome.error == 'error: --resume: nowhere holds no run (no readable options.json)'


@pytest.mark.parametrize('folder', [None, 'run'])
def test_a_run_that_has_not_begun_leaves_no_folder(task, call, in_tmp, folder):
    where = ['--output_dir', folder] if folder else []
    outcome = call(finetune_classifier, '--task_name', 'SST', '--data_dir', task, '--bert_model',
                   'bert_6_384_21', *where)
    assert 'Did you mean "bert_6_384_12"' in outcome.error
    assert list(in_tmp.iterdir()) == ([] if folder else [in_tmp / 'output_dir'])
    assert folder or os.listdir('output_dir') == []


def test_a_run_that_has_begun_keeps_its_log(task, tiny_bert, call, in_tmp):
    outcome = call(finetune_classifier, *flags(task, tiny_bert, 'run'), '--lr', 1e30)
    assert outcome.code == 2 and {'audit.json', 'log_SST.txt'} <= set(os.listdir('run'))


def test_resume_takes_the_newest_numbered_run(task, tiny_bert, call, in_tmp):
    for _ in range(2):
        assert call(finetune_classifier, *flags(task, tiny_bert, 'x')[:-2]).code == 0
    outcome = call(finetune_classifier, '--resume', '--task_name', 'SST')
    assert 'resumed from output_dir/SST-002/' in outcome.err.replace(os.sep, '/')


def test_another_run_is_not_overwritten(task, tiny_bert, call, in_tmp):
    assert call(finetune_classifier, *flags(task, tiny_bert, 'run')).code == 0
    before = final_bytes('run')
    (in_tmp / 'run' / 'mine.txt').write_text('kept')
    outcome = call(finetune_classifier, *flags(task, tiny_bert, 'run'))
    assert outcome.code == 2
    assert outcome.error == ('error: run holds a run: choose another --output_dir, continue it '
                             'with --resume, or replace it with --overwrite_output_dir')
    assert final_bytes('run') == before
    assert call(finetune_classifier, *flags(task, tiny_bert, 'run'), '--overwrite_output_dir',
                '--epochs', 1).code == 0
    assert not (in_tmp / 'run' / FINAL).exists()
    assert (in_tmp / 'run' / 'mine.txt').read_text() == 'kept'


def test_other_training_data_is_refused(tiny_bert, call, in_tmp):
    data = tiny.write_sst(in_tmp / 'SST-2')
    assert call(finetune_classifier, *flags(data, tiny_bert, 'run')).code == 0
    tiny.write_sst(in_tmp / 'SST-2', train=61)
    assert call(finetune_classifier, '--resume', '--output_dir', 'run').error == (
        'error: --resume: the training examples differ from those of the run in run: restore '
        'them, or start a new run')


def test_own_task_keeps_its_name(tiny_bert, call, in_tmp):
    tiny.write_tsv(in_tmp / 'a.tsv', ('t', 'c'), tiny.sentences(20, 1))
    assert call(finetune_classifier, '--train_file', 'a.tsv', '--dev_file', 'a.tsv',
                '--text_columns', 't', '--label_column', 'c', '--task_name', 'mine',
                '--bert_checkpoint', tiny_bert, '--max_len', 20, '--epochs', 1).code == 0
    assert call(finetune_classifier, '--resume', '--task_name', 'mine').code == 0
    assert {path.name for path in (in_tmp / 'output_dir').glob('*/log_*')} == {'log_mine.txt'}


def test_resume_knows_the_task_in_every_spelling(task, tiny_bert, call, in_tmp):
    assert call(finetune_classifier, *flags(task, tiny_bert, 'run')).code == 0
    outcome = call(finetune_classifier, '--resume', '--output_dir', 'run', '--task_name', 'sst-2')
    assert outcome.code == 0, outcome.err


def test_default_task_may_be_named_on_a_resume(tiny_bert, call, in_tmp):
    tiny.write_pairs(in_tmp / 'MRPC', ('#1 String', '#2 String', 'Quality'),
                     lambda similarity: int(similarity > 0.5))
    assert call(finetune_classifier, '--bert_checkpoint', tiny_bert, '--max_len', 24, '--epochs',
                1).code == 0
    outcome = call(finetune_classifier, '--resume', '--task_name', 'MRPC')
    assert outcome.code == 0, outcome.err
    outcome = call(finetune_classifier, '--resume', '--output_dir', 'output_dir/MRPC-001',
                   '--task_name', 'RTE')
    assert outcome.error == ('error: --task_name RTE: the run in output_dir/MRPC-001 was started '
                             'with MRPC; leave the flag out, or start another run')


def test_lines_of_a_resumed_run_come_once(uninterrupted_run, tmp_path):
    """Also if a warning comes before the log is open."""
    folder = tmp_path / 'run'
    shutil.copytree(uninterrupted_run, folder)
    outcome = spawn('finetune_classifier.py', '--resume', '--output_dir', folder, '--threads', 2)
    assert 'was started with --threads 1' in outcome.err
    assert outcome.err.count('Finish training step: 12') == 1


def test_another_number_of_threads_gives_a_warning(task, tiny_bert, call, in_tmp, monkeypatch,
                                                   caplog):
    assert call(finetune_classifier, *flags(task, tiny_bert, 'run')).code == 0
    # MXNet takes the number once in a process; the script would start in a new one
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    assert call(finetune_classifier, '--resume', '--output_dir', 'run', '--threads', 3).code == 0
    assert 'the run was started with --threads 1: with 3 its numbers may differ' in caplog.text


def test_killed_series_of_seeds_resumes(task, tiny_bert, call, in_tmp):
    assert call(finetune_classifier, *flags(task, tiny_bert, 'whole'), '--seeds', '1,2').code == 0
    assert call(finetune_classifier, *flags(task, tiny_bert, 'run'), '--seeds', '1,2').code == 0
    (in_tmp / 'run' / 'results.json').unlink()
    (in_tmp / 'run' / 'seed-2' / 'results.json').unlink()
    outcome = call(finetune_classifier, '--resume', '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    expected, actual = (json.loads((in_tmp / name / 'results.json').read_text())['metrics']
                        for name in ('whole', 'run'))
    assert expected == actual


# ---- Token classification


def ner_flags(data, tiny_bert, folder):
    return ['--train_file', data / 'train.conll', '--dev_file', data / 'dev.conll', '--test_file',
            data / 'test.conll', '--bert_checkpoint', tiny_bert, '--max_len', 24, '--epochs', 3,
            '--batch_size', 16, '--lr', 1e-3, '--threads', 1, '--ckpt_interval', 1,
            '--log_interval', 1, '--output_dir', folder]


@pytest.mark.process
def test_killed_entity_run_resumes_bit_for_bit(tiny_bert, in_tmp):
    tiny.write_ner(in_tmp / 'data')
    flags = ner_flags(in_tmp / 'data', tiny_bert, 'whole')
    assert spawn('finetune_ner.py', *flags).code == 0
    process = start('finetune_ner.py', *flags[:-1], 'run')
    wait_for_step('run', 5)
    process.kill()
    process.communicate()
    assert not (in_tmp / 'run' / 'results.json').exists(), 'killed too late to test anything'
    outcome = spawn('finetune_ner.py', '--resume', '--output_dir', 'run')
    assert outcome.code == 0 and 'resumed from' in outcome.err, outcome.err
    assert final_bytes('run') == final_bytes('whole')
    assert (in_tmp / 'run' / 'test_predictions.conll').read_text() == (
        in_tmp / 'whole' / 'test_predictions.conll').read_text()


def test_an_entity_run_goes_on_only_as_it_was_started(tiny_bert, call, in_tmp):
    tiny.write_ner(in_tmp / 'data')
    assert call(finetune_ner, *ner_flags(in_tmp / 'data', tiny_bert, 'run')).code == 0
    before = final_bytes('run')
    assert call(finetune_ner, '--resume', '--output_dir', 'run').code == 0
    assert final_bytes('run') == before
    assert call(finetune_ner, '--resume', '--output_dir', 'run', '--scheme', 'BIOES').error == (
        'error: --scheme BIOES: the run in run was started with IOB2; leave the flag out, or start '
        'another run')
    assert call(finetune_classifier, '--resume', '--output_dir', 'run').error == (
        'error: --resume: the run in run was made by finetune_ner.py: continue with that script')
    tiny.write_ner(in_tmp / 'data', train=61)
    assert call(finetune_ner, '--resume', '--output_dir', 'run').error == (
        'error: --resume: the training examples differ from those of the run in run: restore '
        'them, or start a new run')
