"""run_pretraining.py on raw text, without data, in two phases, under the profiler."""
import functools
import json
import os
import pathlib
import random
import shutil

import mxnet as mx
import numpy as np
import pytest
from support import tiny
from support.pretraining import (
    evaluation,
    flags,
    parameters,
    pretrain,
    results,
)
from support.processes import spawn, start, wait_for_step

from bert import create_pretraining_data, finetune_classifier, run_pretraining
from bert.data.pretraining.shards import read_shard
from bert.jobs.pretraining import training

SAMPLING = ('--max_seq_length', 24, '--max_predictions_per_seq', 4, '--short_seq_prob', 0.3)


@pytest.fixture
def text(in_tmp):
    tiny.write_corpus(in_tmp / 'text.txt', 30)
    return in_tmp / 'text.txt'


def raw_flags(dataset, text, *more_flags, steps=12):
    return flags(dataset, '--raw', '--data', text, *SAMPLING, *more_flags, steps=steps)


def make_shards(dataset, text, *more_flags):
    """The shards that create_pretraining_data.py makes from the text."""
    arguments = ('--input_file', text, '--vocab', dataset / 'vocab.txt', '--output_dir', 'made',
                 '--num_workers', 1) + SAMPLING + more_flags
    create_pretraining_data.main(list(map(str, arguments)))
    return [read_shard(str(path)) for path in sorted(pathlib.Path('made').glob('*.npz'))]


def rows(examples):
    """The examples as tuples that can be counted."""
    for i in range(examples.size):
        tokens = slice(*examples.token_offsets[i:i + 2])
        predictions = slice(*examples.masked_offsets[i:i + 2])
        yield (tuple(examples.input_ids[tokens]), tuple(examples.segment_ids[tokens]),
               tuple(examples.masked_lm_positions[predictions]),
               tuple(examples.masked_lm_ids[predictions]), examples.next_sentence_labels[i])


def batch_rows(batch):
    """The same for a `PretrainingBatch`."""
    for i in range(batch.size):
        length, mask = int(batch.valid_length[i]), batch.masked_weights[i] > 0
        yield (tuple(batch.token_ids[i, :length]), tuple(batch.segment_ids[i, :length]),
               tuple(batch.masked_positions[i, mask]), tuple(batch.masked_ids[i, mask]),
               batch.next_sentence_labels[i])


def test_every_epoch_is_another_copy(call, dataset, text, monkeypatch):
    """The epochs are the copies that create_pretraining_data.py makes, with every example once."""
    epochs = []

    def epoch(self, index, *arguments):
        epochs.append([])
        return original_epoch(self, index, *arguments)

    def load_batch(self, item):
        batch = original_load(self, item)
        epochs[-1] += [row for part in batch.parts for row in batch_rows(part.batch)]
        return batch
    original_epoch = training.RawTextExamples.epoch
    original_load = training.PretrainingTask.load_batch
    monkeypatch.setattr(training.RawTextExamples, 'epoch', epoch)
    monkeypatch.setattr(training.PretrainingTask, 'load_batch', load_batch)
    pretrain(call, *raw_flags(dataset, text, '--seed', 7, steps=60), '--ckpt_dir', 'ckpt')
    assert len(epochs) > 3
    expected = [row for shard in make_shards(dataset, text, '--dupe_factor', 3, '--seed', 7)
                for row in rows(shard)]
    assert sorted(sum(epochs[:3], [])) == sorted(expected)
    # the same text each time, other masks
    assert sorted(epochs[0]) != sorted(epochs[1])
    assert len(set(epochs[0]) & set(epochs[1])) < 0.2 * len(epochs[0])


def test_raw_folders_last_as_long_as_the_run(call, dataset, text, monkeypatch):
    listings = []

    def load_batch(self, item):
        listings.append(sorted(os.listdir('ckpt/.raw')))
        return original(self, item)
    original = training.PretrainingTask.load_batch
    monkeypatch.setattr(training.PretrainingTask, 'load_batch', load_batch)
    pretrain(call, *raw_flags(dataset, text, '--data_eval', text, steps=40), '--ckpt_dir', 'ckpt')
    assert listings[0] == ['.work', 'epoch-000000', 'vocab.txt']
    assert len(listings[-1]) == 3 and listings[-1] != listings[0]       # one epoch at a time
    assert sorted(os.listdir('ckpt')) == [
        'checkpoints.json', 'curves.png', 'options.json', 'phase1_log.0', 'results.json',
        'step-0000040']


def test_dev_is_one_copy_with_seed_0(call, dataset, text):
    make_shards(dataset, text, '--dupe_factor', 1, '--seed', 0)
    outcome = pretrain(call, *raw_flags(dataset, text, '--data_eval', text, '--seed', 5),
                       '--ckpt_dir', 'raw')
    raw_evaluation = evaluation(outcome)
    outcome = pretrain(call, *raw_flags(dataset, text, '--data_eval', 'made/*.npz',
                                        '--eval_use_npz', '--seed', 5), '--ckpt_dir', 'npz')
    assert raw_evaluation == evaluation(outcome) and len(raw_evaluation) == 1
    raw_parameters, npz_parameters = parameters('raw'), parameters('npz')
    assert all(np.array_equal(raw_parameters[key], npz_parameters[key]) for key in raw_parameters)


@pytest.mark.process
@pytest.mark.parametrize('step', random.Random(5).sample(range(2, 50), 2))
def test_a_killed_run_resumes_bit_for_bit(step, dataset, text, in_tmp):
    """Killed within an epoch or after one. The resumed run draws the epoch's examples again."""
    options = raw_flags(dataset, text, '--ckpt_interval', 1, '--data_eval', text, steps=60)
    assert spawn('run_pretraining.py', *options, '--ckpt_dir', 'whole').code == 0
    process = start('run_pretraining.py', *options, '--ckpt_dir', 'broken')
    wait_for_step('broken', step)
    process.kill()
    process.communicate()
    assert not (in_tmp / 'broken' / 'results.json').exists(), 'killed too late to test anything'
    outcome = spawn('run_pretraining.py', '--resume', '--ckpt_dir', 'broken')
    assert outcome.code == 0, outcome.err
    expected, actual = parameters('whole'), parameters('broken')
    assert all(np.array_equal(expected[key], actual[key]) for key in expected)
    assert results('whole')['metrics'] == results('broken')['metrics']


def test_another_text_is_not_taken_for_the_first(call, dataset, text, in_tmp):
    """A run does not read the files of one that was killed before its first checkpoint."""
    pretrain(call, *raw_flags(dataset, text, '--data_eval', text), '--ckpt_dir', 'expected')
    for name in ('.raw', '.raw_eval'):
        (in_tmp / 'ckpt' / name / '.work').mkdir(parents=True)
        (in_tmp / 'ckpt' / name / '.work' / 'plan.json').write_text('{"key": "of another"}')
        (in_tmp / 'ckpt' / name / 'epoch-000000').mkdir()
        (in_tmp / 'ckpt' / name / 'epoch-000000' / 'part-000.npz').write_bytes(b'stale')
    pretrain(call, *raw_flags(dataset, text, '--data_eval', text), '--ckpt_dir', 'ckpt')
    expected, actual = parameters('expected'), parameters('ckpt')
    assert all(np.array_equal(expected[key], actual[key]) for key in expected)
    tiny.write_corpus(in_tmp / 'other.txt', 9)
    outcome = call(run_pretraining, '--resume', '--ckpt_dir', 'ckpt', '--data', 'other.txt')
    assert outcome.error.startswith('error: --resume: the training examples differ from those')


def test_files_of_the_user_stay(call, dataset, text, in_tmp):
    (in_tmp / 'ckpt' / '.raw').mkdir(parents=True)
    (in_tmp / 'ckpt' / '.raw' / 'mine.txt').write_text('kept')
    assert call(run_pretraining, *raw_flags(dataset, text), '--ckpt_dir', 'ckpt').error == (
        'error: ckpt/.raw: it exists, but --raw needs this name for a folder: choose another '
        '--ckpt_dir')
    pretrain(call, *flags(dataset), '--ckpt_dir', 'ckpt')
    assert (in_tmp / 'ckpt' / '.raw' / 'mine.txt').read_text() == 'kept'


@pytest.mark.horovod
def test_two_workers_read_the_epochs_that_one_makes(run_workers, dataset, text, in_tmp):
    options = raw_flags(dataset, text, '--dropout', 0, '--data_eval', text, steps=30)
    options = options[2:]     # without --batch_size
    assert spawn('run_pretraining.py', *options, '--batch_size', 8, '--ckpt_dir', 'one').code == 0
    outcome = run_workers('run_pretraining_hvd.py', 2, *options, '--batch_size', 4, '--ckpt_dir',
                          'two')
    assert outcome.code == 0, outcome.err
    expected, actual = parameters('one'), parameters('two')
    for key, array in expected.items():
        np.testing.assert_allclose(actual[key], array, atol=1e-4, err_msg=key)


# ---- without data


@pytest.mark.parametrize('more_flags, length', [
    (['--synthetic_data', '--max_seq_length', 20], 20), (['--dummy_data_len', 30], 30)])
def test_synthetic_examples(call, dataset, in_tmp, more_flags, length, monkeypatch):
    batches = []

    def load_batch(self, item):
        batches.append(original(self, item).parts[0].batch)
        return original(self, item)
    original = training.PretrainingTask.load_batch
    monkeypatch.setattr(training.PretrainingTask, 'load_batch', load_batch)
    outcome = pretrain(call, '--bert_config', dataset / 'sizes.json', '--dataset_name',
                       dataset / 'vocab.txt', '--num_steps', 6, '--threads', 1, '--log_interval', 2,
                       '--no_compute_acc', '--ckpt_dir', 'ckpt', *more_flags)
    assert len(batches) == 6
    for batch in batches:
        assert batch.token_ids.shape == (8, length) and batch.num_tokens == 8 * length
        assert batch.num_masked == 8 * round(0.15 * length)
        assert len(set(batch.masked_positions[0])) == round(0.15 * length)
        assert set(batch.next_sentence_labels) <= {0, 1}
    lines = [line for line in outcome.err.splitlines() if '[step ' in line]
    assert len(lines) == 3 and not any('acc' in line for line in lines)
    assert all('\tmlm_loss=' in line and '\tnsp_loss=' in line for line in lines)


def test_a_resume_has_a_profile_only_with_the_flag(call, dataset, in_tmp):
    pretrain(call, *flags(dataset, steps=20), '--ckpt_dir', 'ckpt')
    outcome = pretrain(call, '--resume', '--ckpt_dir', 'ckpt', '--profile', 'profile.json')
    assert 'the run ended before step 14 of this session: there is no profile' in outcome.err
    assert not os.path.exists('profile.json')
    assert 'profile' not in pretrain(call, '--resume', '--ckpt_dir', 'ckpt').err


def test_profile_ends_the_run(dataset, in_tmp):
    outcome = spawn('run_pretraining.py', *flags(dataset, steps=20), '--profile', 'profile.json',
                    '--ckpt_dir', 'ckpt')
    assert outcome.code == 0, outcome.err
    assert 'profile of steps 10 to 14: profile.json' in outcome.err
    assert not os.path.exists('ckpt/results.json')
    names = {event.get('name') for event in
             json.loads((in_tmp / 'profile.json').read_text())['traceEvents']}
    assert any('FullyConnected' in str(name) for name in names)


# ---- two phases


def states(folder):
    path, = pathlib.Path(folder).glob('step-*/optimizer.params')
    return {name: array.asnumpy() for name, array in mx.nd.load(str(path)).items()}


def test_phase_2_continues_the_optimizer(call, dataset, in_tmp):
    """After one step its state exceeds that of a fresh optimizer by 0.9 (mean) or 0.999 (variance)
    times the state of phase 1."""
    pretrain(call, *flags(dataset), '--ckpt_dir', 'one')
    options = flags(dataset, '--lr', 1e-12, '--bert_checkpoint', 'one', steps=1)
    index = options.index('--bert_config')
    options = options[:index] + options[index + 4:]      # without sizes and vocabulary
    pretrain(call, *options, '--ckpt_dir', 'fresh')
    outcome = pretrain(call, *options, '--phase2', '--phase1_num_steps', 12, '--ckpt_dir', 'two')
    assert 'phase 2 continues from one/step-0000012' in outcome.err
    assert (in_tmp / 'two' / 'phase2_log.0').exists()
    phase_1, baseline, phase_2 = states('one'), states('fresh'), states('two')
    for name, array in phase_1.items():
        decay = 0.9 if name.endswith('.0') else 0.999
        np.testing.assert_allclose(phase_2[name] - baseline[name], decay * array, atol=1e-6,
                                   err_msg=name)
    assert any(np.abs(array).max() > 1e-4 for array in phase_1.values())


def test_start_step_is_a_checked_resume(call, dataset, in_tmp):
    pretrain(call, *flags(dataset), '--ckpt_dir', 'ckpt')
    assert 'resumed from' in pretrain(call, '--start_step', 12, '--ckpt_dir', 'ckpt').err
    assert call(run_pretraining, '--start_step', 7, '--ckpt_dir', 'ckpt').error == (
        'error: --start_step 7: the newest checkpoint in ckpt is step-0000012: give --resume to '
        'continue from that one')
    assert call(run_pretraining, '--start_step', 7, '--ckpt_dir', 'none').error == (
        'error: --start_step 7: no checkpoint in none')


# ---- mistakes


@pytest.mark.parametrize('more_flags, problem', [
    (['--tokenized'], '--tokenized: it is for --raw: the examples of --data are already made'),
    (['--max_seq_length', 20], '--max_seq_length: it is for --raw'),
    (['--raw', '--data', 'none.txt'], 'none.txt: no such file: expected text files'),
    (['--raw', '--data', 'single.txt'], 'single.txt: one document in 2 lines'),
    (['--raw', '--data', 'bytes.txt'], 'bytes.txt: not UTF-8 at byte 2'),
    (['--raw', '--data', 'text.txt', '--max_seq_length', 20], '--max_predictions_per_seq 80: only '
                                                              '17 tokens'),
    (['--raw', '--data', 'text.txt', '--max_seq_length', 100, '--max_predictions_per_seq', 9],
     '--data: an example has 100 tokens, but the model has 40 positions'),
    (['--phase2'], '--phase2: name the --ckpt_dir of phase 1 with --bert_checkpoint'),
    (['--phase1_num_steps', 5], '--phase1_num_steps needs --phase2'),
    (['--profile', 'x', '--num_steps', 13], '--profile: it records steps 10 to 14 of training'),
    (['--profile', 'text.txt', '--num_steps', 20], '--profile text.txt: it exists: choose'),
    (['--profile', 'no/x', '--num_steps', 20], '--profile no/x: '),
    (['--synthetic_data'], '--synthetic_data replaces --data: give one of the two'),
    (['--sp_alpha', 1], '--sp_alpha: SentencePiece models are not supported')])
def test_mistakes_are_reported_in_one_line(call, dataset, text, in_tmp, more_flags, problem):
    (in_tmp / 'single.txt').write_text('the film\nwas good\n')
    (in_tmp / 'bytes.txt').write_bytes(b'ab\xff')
    outcome = call(run_pretraining, *flags(dataset, '--ckpt_dir', 'ckpt', *more_flags))
    assert outcome.code == 2
    assert outcome.error.startswith('error: ' + problem), outcome.error


def test_synthetic_examples_must_fit(call, dataset, in_tmp):
    outcome = call(run_pretraining, '--dummy_data_len', 41, '--bert_config', dataset / 'sizes.json',
                   '--dataset_name', dataset / 'vocab.txt', '--ckpt_dir', 'ckpt')
    assert outcome.error.startswith(
        'error: --synthetic_data: an example has 41 tokens, but the model has 40')


@pytest.mark.parametrize('phase_1_flags, more_flags, problem', [
    ([], ['--phase1_num_steps', 5], '--phase1_num_steps 5: the newest checkpoint in one is of step '
                                    '12'),
    (['--optimizer', 'lamb'], [], '--phase2: one/step-0000012 was trained with --optimizer lamb')])
def test_a_phase_1_that_does_not_fit(call, dataset, in_tmp, phase_1_flags, more_flags, problem):
    pretrain(call, *flags(dataset, *phase_1_flags), '--ckpt_dir', 'one')
    phase_2 = functools.partial(call, run_pretraining, '--data', dataset / 'out' / '*.npz',
                                '--phase2', '--ckpt_dir', 'two')
    assert phase_2('--bert_checkpoint', 'one', *more_flags).error.startswith('error: ' + problem)
    assert phase_2('--bert_checkpoint', next(in_tmp.glob('one/step-*'))).error.startswith(
        'error: --phase2: %s/one/step-0000012 holds no run' % in_tmp)


def test_a_classifier_is_no_phase_1(call, dataset, tiny_bert, sst, in_tmp):
    assert call(finetune_classifier, '--task_name', 'SST', '--data_dir', sst, '--bert_checkpoint',
                tiny_bert, '--epochs', 1, '--max_len', 24, '--output_dir', 'tuned').code == 0
    assert call(run_pretraining, *flags(dataset)[:4], '--phase2', '--bert_checkpoint', 'tuned',
                '--ckpt_dir', 'two').error == (
        'error: --phase2: the run in tuned was not made by run_pretraining.py')


def test_weights_and_optimizer_of_phase_1_are_of_one_step(call, dataset, in_tmp):
    """Killed after a checkpoint, before the index lists it: the newest checkpoint has both."""
    pretrain(call, *flags(dataset, '--ckpt_interval', 2, steps=4), '--ckpt_dir', 'one')
    shutil.copytree('one/step-0000004', 'newer')
    pretrain(call, *flags(dataset, '--ckpt_interval', 2, steps=2), '--ckpt_dir', 'older')
    shutil.copytree('newer', 'older/step-0000004')
    options = ['--data', dataset / 'out' / '*.npz', '--num_steps', 1, '--lr', 1e-12, '--phase2',
               '--phase1_num_steps', 4]
    for name in ('one', 'older'):
        pretrain(call, *options, '--bert_checkpoint', name, '--ckpt_dir', 'after-' + name)
    expected, actual = parameters('after-one'), parameters('after-older')
    assert all(np.array_equal(expected[key], actual[key]) for key in expected)
