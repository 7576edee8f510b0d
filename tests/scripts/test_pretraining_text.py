"""run_pretraining.py on raw text, on nothing, in two phases, under the profiler."""
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


def raw_flags(made, text, *more, steps=12):
    return flags(made, '--raw', '--data', text, *SAMPLING, *more, steps=steps)


def make_shards(made, text, *more):
    """The examples that create_pretraining_data.py makes of the text."""
    arguments = ('--input_file', text, '--vocab', made / 'vocab.txt', '--output_dir', 'made',
                 '--num_workers', 1) + SAMPLING + more
    create_pretraining_data.main(list(map(str, arguments)))
    return [read_shard(str(path)) for path in sorted(pathlib.Path('made').glob('*.npz'))]


def rows(examples):
    """The examples as tuples that can be counted."""
    for i in range(examples.size):
        tokens = slice(*examples.token_offsets[i:i + 2])
        masked = slice(*examples.masked_offsets[i:i + 2])
        yield (tuple(examples.input_ids[tokens]), tuple(examples.segment_ids[tokens]),
               tuple(examples.masked_lm_positions[masked]),
               tuple(examples.masked_lm_ids[masked]), examples.next_sentence_labels[i])


def batch_rows(batch):
    """The same of a `PretrainingBatch`."""
    for i in range(batch.size):
        length, masked = int(batch.valid_length[i]), batch.masked_weights[i] > 0
        yield (tuple(batch.token_ids[i, :length]), tuple(batch.segment_ids[i, :length]),
               tuple(batch.masked_positions[i, masked]), tuple(batch.masked_ids[i, masked]),
               batch.next_sentence_labels[i])


def test_every_epoch_is_a_copy_of_its_own(call, made, text, monkeypatch):
    """Epoch by epoch the copies that create_pretraining_data.py makes, each example once."""
    epochs = []

    def epoch(self, number, *rest):
        epochs.append([])
        return original_epoch(self, number, *rest)

    def load_batch(self, place):
        batch = original_load(self, place)
        epochs[-1] += [row for part in batch.parts for row in batch_rows(part.batch)]
        return batch
    original_epoch = training.RawTextExamples.epoch
    original_load = training.PretrainingTrainer.load_batch
    monkeypatch.setattr(training.RawTextExamples, 'epoch', epoch)
    monkeypatch.setattr(training.PretrainingTrainer, 'load_batch', load_batch)
    pretrain(call, *raw_flags(made, text, '--seed', 7, steps=60), '--ckpt_dir', 'ckpt')
    assert len(epochs) > 3
    expected = [row for shard in make_shards(made, text, '--dupe_factor', 3, '--seed', 7)
                for row in rows(shard)]
    assert sorted(sum(epochs[:3], [])) == sorted(expected)
    # the same text each time, other masks
    assert sorted(epochs[0]) != sorted(epochs[1])
    assert len(set(epochs[0]) & set(epochs[1])) < 0.2 * len(epochs[0])


def test_its_folders_last_as_long_as_the_run(call, made, text, monkeypatch):
    seen = []

    def load_batch(self, place):
        seen.append(sorted(os.listdir('ckpt/.raw')))
        return original(self, place)
    original = training.PretrainingTrainer.load_batch
    monkeypatch.setattr(training.PretrainingTrainer, 'load_batch', load_batch)
    pretrain(call, *raw_flags(made, text, '--data_eval', text, steps=40), '--ckpt_dir', 'ckpt')
    assert seen[0] == ['.work', 'epoch-000000', 'vocab.txt']
    assert len(seen[-1]) == 3 and seen[-1] != seen[0]       # one epoch at a time
    assert sorted(os.listdir('ckpt')) == [
        'checkpoints.json', 'curves.png', 'options.json', 'phase1_log.0', 'results.json',
        'step-0000040']


def test_dev_is_one_copy_with_seed_0(call, made, text):
    make_shards(made, text, '--dupe_factor', 1, '--seed', 0)
    outcome = pretrain(call, *raw_flags(made, text, '--data_eval', text, '--seed', 5),
                       '--ckpt_dir', 'raw')
    found = evaluation(outcome)
    outcome = pretrain(call, *raw_flags(made, text, '--data_eval', 'made/*.npz', '--eval_use_npz',
                                        '--seed', 5), '--ckpt_dir', 'npz')
    assert found == evaluation(outcome) and len(found) == 1
    one, two = parameters('raw'), parameters('npz')
    assert all(np.array_equal(one[key], two[key]) for key in one)


@pytest.mark.process
@pytest.mark.parametrize('step', random.Random(5).sample(range(2, 50), 2))
def test_a_killed_run_goes_on_bit_for_bit(step, made, text, in_tmp):
    """Within an epoch and after it, whose examples are drawn again."""
    common = raw_flags(made, text, '--ckpt_interval', 1, '--data_eval', text, steps=60)
    assert spawn('run_pretraining.py', *common, '--ckpt_dir', 'whole').code == 0
    process = start('run_pretraining.py', *common, '--ckpt_dir', 'broken')
    wait_for_step('broken', step)
    process.kill()
    process.communicate()
    assert not (in_tmp / 'broken' / 'results.json').exists(), 'killed too late to test anything'
    outcome = spawn('run_pretraining.py', '--resume', '--ckpt_dir', 'broken')
    assert outcome.code == 0, outcome.err
    whole, again = parameters('whole'), parameters('broken')
    assert all(np.array_equal(whole[key], again[key]) for key in whole)
    assert results('whole')['metrics'] == results('broken')['metrics']


def test_another_text_is_not_taken_for_the_first(call, made, text, in_tmp):
    """What a run left that was killed before its first checkpoint is not read by the next."""
    pretrain(call, *raw_flags(made, text, '--data_eval', text), '--ckpt_dir', 'expected')
    for name in ('.raw', '.raw_eval'):
        (in_tmp / 'ckpt' / name / '.work').mkdir(parents=True)
        (in_tmp / 'ckpt' / name / '.work' / 'plan.json').write_text('{"key": "of another"}')
        (in_tmp / 'ckpt' / name / 'epoch-000000').mkdir()
        (in_tmp / 'ckpt' / name / 'epoch-000000' / 'part-000.npz').write_bytes(b'stale')
    pretrain(call, *raw_flags(made, text, '--data_eval', text), '--ckpt_dir', 'ckpt')
    expected, found = parameters('expected'), parameters('ckpt')
    assert all(np.array_equal(expected[key], found[key]) for key in expected)
    tiny.write_corpus(in_tmp / 'other.txt', 9)
    outcome = call(run_pretraining, '--resume', '--ckpt_dir', 'ckpt', '--data', 'other.txt')
    assert outcome.error.startswith('error: --resume: the training examples are not those')


def test_files_of_the_user_stay(call, made, text, in_tmp):
    (in_tmp / 'ckpt' / '.raw').mkdir(parents=True)
    (in_tmp / 'ckpt' / '.raw' / 'mine.txt').write_text('kept')
    assert call(run_pretraining, *raw_flags(made, text), '--ckpt_dir', 'ckpt').error == (
        'error: ckpt/.raw: something of yours has the name of a folder that --raw makes: choose '
        'another --ckpt_dir')
    pretrain(call, *flags(made), '--ckpt_dir', 'ckpt')
    assert (in_tmp / 'ckpt' / '.raw' / 'mine.txt').read_text() == 'kept'


@pytest.mark.horovod
def test_two_workers_read_what_one_makes(run_workers, made, text, in_tmp):
    common = raw_flags(made, text, '--dropout', 0, '--data_eval', text, steps=30)
    common = common[2:]     # without --batch_size
    assert spawn('run_pretraining.py', *common, '--batch_size', 8, '--ckpt_dir', 'one').code == 0
    outcome = run_workers('run_pretraining_hvd.py', 2, *common, '--batch_size', 4, '--ckpt_dir',
                          'two')
    assert outcome.code == 0, outcome.err
    one, two = parameters('one'), parameters('two')
    for key, array in one.items():
        np.testing.assert_allclose(two[key], array, atol=1e-4, err_msg=key)


# ---- without data


@pytest.mark.parametrize('more, length', [(['--synthetic_data', '--max_seq_length', 20], 20),
                                          (['--dummy_data_len', 30], 30)])
def test_synthetic_examples(call, made, in_tmp, more, length, monkeypatch):
    batches = []

    def load_batch(self, place):
        batches.append(original(self, place).parts[0].batch)
        return original(self, place)
    original = training.PretrainingTrainer.load_batch
    monkeypatch.setattr(training.PretrainingTrainer, 'load_batch', load_batch)
    outcome = pretrain(call, '--bert_config', made / 'sizes.json', '--dataset_name',
                       made / 'vocab.txt', '--num_steps', 6, '--threads', 1, '--log_interval', 2,
                       '--no_compute_acc', '--ckpt_dir', 'ckpt', *more)
    assert len(batches) == 6
    for batch in batches:
        assert batch.token_ids.shape == (8, length) and batch.num_tokens == 8 * length
        assert batch.num_masked == 8 * round(0.15 * length)
        assert len(set(batch.masked_positions[0])) == round(0.15 * length)
        assert set(batch.next_sentence_labels) <= {0, 1}
    lines = [line for line in outcome.err.splitlines() if '[step ' in line]
    assert len(lines) == 3 and not any('acc' in line for line in lines)
    assert all('\tmlm_loss=' in line and '\tnsp_loss=' in line for line in lines)


def test_a_resume_has_no_profile_unless_asked(call, made, in_tmp):
    pretrain(call, *flags(made, steps=20), '--ckpt_dir', 'ckpt')
    outcome = pretrain(call, '--resume', '--ckpt_dir', 'ckpt', '--profile', 'profile.json')
    assert 'the run ended before step 14 of this session: there is no profile' in outcome.err
    assert not os.path.exists('profile.json')
    assert 'profile' not in pretrain(call, '--resume', '--ckpt_dir', 'ckpt').err


def test_profile_ends_the_run(made, in_tmp):
    outcome = spawn('run_pretraining.py', *flags(made, steps=20), '--profile', 'profile.json',
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


def test_phase_2_goes_on_with_the_optimizer(call, made, in_tmp):
    """Its state after a step is 0.9 (mean) and 0.999 (variance) of phase 1's more than that of a
    fresh one."""
    pretrain(call, *flags(made), '--ckpt_dir', 'one')
    common = flags(made, '--lr', 1e-12, '--bert_checkpoint', 'one', steps=1)
    at = common.index('--bert_config')
    common = common[:at] + common[at + 4:]      # without sizes and vocabulary
    pretrain(call, *common, '--ckpt_dir', 'fresh')
    outcome = pretrain(call, *common, '--phase2', '--phase1_num_steps', 12, '--ckpt_dir', 'two')
    assert 'phase 2 goes on from one/step-0000012' in outcome.err
    assert (in_tmp / 'two' / 'phase2_log.0').exists()
    before, fresh, after = states('one'), states('fresh'), states('two')
    for name, array in before.items():
        kept = 0.9 if name.endswith('.0') else 0.999
        np.testing.assert_allclose(after[name] - fresh[name], kept * array, atol=1e-6,
                                   err_msg=name)
    assert any(np.abs(array).max() > 1e-4 for array in before.values())


def test_start_step_is_a_checked_resume(call, made, in_tmp):
    pretrain(call, *flags(made), '--ckpt_dir', 'ckpt')
    assert 'resumed from' in pretrain(call, '--start_step', 12, '--ckpt_dir', 'ckpt').err
    assert call(run_pretraining, '--start_step', 7, '--ckpt_dir', 'ckpt').error == (
        'error: --start_step 7: the newest checkpoint in ckpt is step-0000012: --resume goes on '
        'from that one')
    assert call(run_pretraining, '--start_step', 7, '--ckpt_dir', 'none').error == (
        'error: --start_step 7: no checkpoint in none')


# ---- mistakes


@pytest.mark.parametrize('more, problem', [
    (['--tokenized'], '--tokenized: it is for --raw: what is in the files of --data was decided'),
    (['--max_seq_length', 20], '--max_seq_length: it is for --raw'),
    (['--raw', '--data', 'none.txt'], 'none.txt: no such file: expected text files'),
    (['--raw', '--data', 'single.txt'], 'single.txt: one document in 2 lines'),
    (['--raw', '--data', 'bytes.txt'], 'bytes.txt: not UTF-8 at byte 2'),
    (['--raw', '--data', 'text.txt', '--max_seq_length', 20], '--max_predictions_per_seq 80: only '
                                                              '17 tokens'),
    (['--raw', '--data', 'text.txt', '--max_seq_length', 100, '--max_predictions_per_seq', 9],
     '--data: an example of 100 tokens, and the model has 40 positions'),
    (['--phase2'], '--phase2: name the --ckpt_dir of phase 1 with --bert_checkpoint'),
    (['--phase1_num_steps', 5], '--phase1_num_steps is for --phase2'),
    (['--profile', 'x', '--num_steps', 13], '--profile: it looks at steps 10 to 14 of training'),
    (['--profile', 'text.txt', '--num_steps', 20], '--profile text.txt: it exists: choose'),
    (['--profile', 'no/x', '--num_steps', 20], '--profile no/x: '),
    (['--synthetic_data'], '--synthetic_data takes the place of --data: give one of the two'),
    (['--sp_alpha', 1], '--sp_alpha: SentencePiece models are not supported')])
def test_mistakes_are_told_in_one_line(call, made, text, in_tmp, more, problem):
    (in_tmp / 'single.txt').write_text('the film\nwas good\n')
    (in_tmp / 'bytes.txt').write_bytes(b'ab\xff')
    outcome = call(run_pretraining, *flags(made, '--ckpt_dir', 'ckpt', *more))
    assert outcome.code == 2
    assert outcome.error.startswith('error: ' + problem), outcome.error


def test_synthetic_examples_must_fit(call, made, in_tmp):
    outcome = call(run_pretraining, '--dummy_data_len', 41, '--bert_config', made / 'sizes.json',
                   '--dataset_name', made / 'vocab.txt', '--ckpt_dir', 'ckpt')
    assert outcome.error.startswith(
        'error: --synthetic_data: an example of 41 tokens, and the model has 40')


@pytest.mark.parametrize('phase_1, more, problem', [
    ([], ['--phase1_num_steps', 5], '--phase1_num_steps 5: the newest checkpoint in one is of step '
                                    '12'),
    (['--optimizer', 'lamb'], [], '--phase2: one/step-0000012 was trained by --optimizer lamb')])
def test_a_phase_1_that_does_not_fit(call, made, in_tmp, phase_1, more, problem):
    pretrain(call, *flags(made, *phase_1), '--ckpt_dir', 'one')
    second = functools.partial(call, run_pretraining, '--data', made / 'out' / '*.npz', '--phase2',
                               '--ckpt_dir', 'two')
    assert second('--bert_checkpoint', 'one', *more).error.startswith('error: ' + problem)
    assert second('--bert_checkpoint', next(in_tmp.glob('one/step-*'))).error.startswith(
        'error: --phase2: %s/one/step-0000012 holds no run' % in_tmp)


def test_a_classifier_is_no_phase_1(call, made, tiny_bert, sst, in_tmp):
    assert call(finetune_classifier, '--task_name', 'SST', '--data_dir', sst, '--bert_checkpoint',
                tiny_bert, '--epochs', 1, '--max_len', 24, '--output_dir', 'tuned').code == 0
    assert call(run_pretraining, *flags(made)[:4], '--phase2', '--bert_checkpoint', 'tuned',
                '--ckpt_dir', 'two').error == (
        'error: --phase2: the run in tuned is none of run_pretraining.py')


def test_weights_and_optimizer_of_phase_1_are_of_one_step(call, made, in_tmp):
    """Killed after a checkpoint, before it stands in the index: the newest one has both."""
    pretrain(call, *flags(made, '--ckpt_interval', 2, steps=4), '--ckpt_dir', 'one')
    shutil.copytree('one/step-0000004', 'newer')
    pretrain(call, *flags(made, '--ckpt_interval', 2, steps=2), '--ckpt_dir', 'older')
    shutil.copytree('newer', 'older/step-0000004')
    common = ['--data', made / 'out' / '*.npz', '--num_steps', 1, '--lr', 1e-12, '--phase2',
              '--phase1_num_steps', 4]
    for name in ('one', 'older'):
        pretrain(call, *common, '--bert_checkpoint', name, '--ckpt_dir', 'after-' + name)
    one, two = parameters('after-one'), parameters('after-older')
    assert all(np.array_equal(one[key], two[key]) for key in one)
