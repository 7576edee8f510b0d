"""run_pretraining.py: losses, log, resume, checkpoints that others read, mistakes."""
import json
import os
import pathlib
import random
import re

import mxnet as mx
import numpy as np
import pytest
from reference.original_shard import write_original
from support import tiny
from support.pretraining import SIZES, evaluation, flags, parameters, pretrain, results
from support.processes import spawn, start, wait_for_step

from bert import finetune_classifier, run_pretraining
from bert.data.pretraining.shards import read_shard, write_shard
from bert.errors import UserError
from bert.flags.options import parse
from bert.jobs.pretraining import training
from bert.train.log import open_log
from bert.train.optimizer import check_optimizer
from bert.train.trainer import Trainer
from bert.train.workers import SingleWorker

LINE = re.compile(r'\[step (\d+)\]\tmlm_loss=(\d\.\d{5})\tmlm_acc=(\d+\.\d\d)\t'
                  r'nsp_loss= ?(\d+\.\d\d)\tnsp_acc= ?(\d+\.\d\d)\t'
                  r'throughput=\d+\.\dK tks/s\tlr=(0\.\d{7}) time=\d+\.\d\d, '
                  r'latency=\d+\.\d ms/step')


# ---- a run


def test_files_log_and_scores(call, dataset, in_tmp, is_picture):
    outcome = pretrain(call, *flags(dataset, '--data_eval', dataset / 'out' / 'part-000.npz',
                                    '--eval_interval', 5, '--ckpt_dir', 'ckpt'))
    assert sorted(os.listdir('ckpt')) == [
        'checkpoints.json', 'curves.png', 'options.json', 'phase1_log.0', 'results.json',
        'step-0000012']
    assert is_picture(in_tmp / 'ckpt' / 'curves.png')
    lines = [LINE.search(line) for line in outcome.err.splitlines() if '[step ' in line]
    assert [int(match.group(1)) for match in lines] == [3, 6, 9, 12]
    assert '[step 12]' in (in_tmp / 'ckpt' / 'phase1_log.0').read_text()
    assert len(evaluation(outcome)) == 3        # steps 5, 10 and 12
    report = results('ckpt')
    assert [entry['step'] for entry in report['history']] == [5, 10, 12]
    assert report['metrics']['eval'] == report['history'][-1]['metrics']['eval']
    assert set(report['metrics']['eval']) == {'mlm_loss', 'mlm_acc', 'nsp_loss', 'nsp_acc'}
    assert report['history'][-1]['metrics']['eval']['mlm_loss'] < np.log(len(tiny.TOKENS))
    rates = [float(match.group(6)) for match in lines]
    assert rates == [0.01, 0.007, 0.004, 0.001]     # two steps of warm-up, then down to 0


def test_it_learns(call, dataset, in_tmp):
    """The words of the corpus are drawn evenly: the loss falls to their entropy, not below."""
    outcome = pretrain(call, *flags(dataset, '--data_eval', dataset / 'out' / '*.npz', steps=150),
                       '--ckpt_dir', 'ckpt')
    (loss, _, _, _), = evaluation(outcome)
    shards = [read_shard(str(path)) for path in sorted((dataset / 'out').glob('*.npz'))]
    counts = np.bincount(np.concatenate([shard.masked_lm_ids for shard in shards]))
    frequencies = counts[counts > 0] / counts.sum()
    entropy = -(frequencies * np.log(frequencies)).sum()
    assert abs(loss - entropy) < 0.15 < np.log(len(tiny.TOKENS)) - entropy


def test_evaluation_alone(call, dataset, in_tmp):
    pretrain(call, *flags(dataset), '--ckpt_dir', 'ckpt')
    outcome = pretrain(call, '--data_eval', dataset / 'out' / '*.npz', '--bert_checkpoint', 'ckpt',
                       '--ckpt_dir', 'evaluated', '--batch_size_eval', 7)
    second_outcome = pretrain(call, '--data_eval', dataset / 'out' / '*.npz', '--bert_checkpoint',
                              'ckpt', '--ckpt_dir', 'again', '--batch_size_eval', 64)
    assert sorted(os.listdir('evaluated')) == ['options.json', 'phase1_log.0', 'results.json']
    actual, expected = (list(results(name)['metrics']['eval'].values())
                        for name in ('evaluated', 'again'))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)      # for any batch size
    assert len(evaluation(outcome)) == len(evaluation(second_outcome)) == 1


@pytest.mark.parametrize('optimizer', ['bertadam', 'lamb'])
def test_accumulation_equals_a_larger_batch(call, dataset, in_tmp, optimizer):
    """An epoch is a step of 16 examples with unequal numbers of masks, in one batch or several."""
    shard = read_shard(str(dataset / 'out' / 'part-000.npz'))
    indices = np.argsort(np.diff(shard.masked_offsets), kind='stable')[::shard.size // 15][:16]
    write_shard('sixteen.npz', shard.select(indices))
    assert len(set(np.diff(shard.masked_offsets)[indices])) > 3
    runs = {}
    for name, more_flags in (('one', ['--batch_size', 16]),
                             ('two', ['--batch_size', 8, '--accumulate', 2]),
                             ('total', ['--total_batch_size', 16, '--accumulate', 4])):
        pretrain(call, *flags(dataset, '--data', 'sixteen.npz', '--num_buckets', 1, '--dropout', 0,
                              '--optimizer', optimizer, *more_flags, steps=5), '--ckpt_dir', name)
        runs[name] = parameters(name)
        assert results(name)['steps'] == 5
    for name in ('two', 'total'):
        for key, array in runs['one'].items():
            np.testing.assert_allclose(runs[name][key], array, atol=1e-4, err_msg=key)


@pytest.mark.parametrize('optimizer', ['bertadam', 'lamb', 'adamw'])
def test_two_devices_equal_one_with_a_larger_batch(dataset, in_tmp, optimizer):
    """[cpu(0), cpu(1)] with 8 examples each equal one device with 16. The last batch of an epoch
    has one example, so that one device gets none."""
    shard = read_shard(str(dataset / 'out' / 'part-000.npz'))
    write_shard('few.npz', shard.select(np.arange(17)))
    runs = {}
    for name, devices, more_flags in (('one', [mx.cpu()], ['--batch_size', 16]),
                                      ('two', [mx.cpu(0), mx.cpu(1)],
                                       ['--batch_size', 8])):
        report = train_on(devices, in_tmp / name, dataset, '--data', 'few.npz', '--num_buckets', 1,
                          '--dropout', 0, '--optimizer', optimizer, *more_flags)
        assert report['steps'] == 8
        runs[name] = parameters(name), report['seconds']
    for key, array in runs['one'][0].items():
        np.testing.assert_allclose(runs['two'][0][key], array, atol=1e-4, err_msg=key)


def test_two_devices_resume_bit_for_bit(dataset, in_tmp, monkeypatch):
    devices = [mx.cpu(0), mx.cpu(1)]
    train_on(devices, in_tmp / 'whole', dataset)
    save = Trainer.save

    def save_and_fail(self, state):
        save(self, state)
        if state.step == 4:
            raise ZeroDivisionError
    with monkeypatch.context() as context, pytest.raises(ZeroDivisionError):
        context.setattr(Trainer, 'save', save_and_fail)
        train_on(devices, in_tmp / 'broken', dataset)
    train_on(devices, in_tmp / 'broken', dataset, '--resume')
    expected, actual = parameters('whole'), parameters('broken')
    assert all(np.array_equal(expected[key], actual[key]) for key in expected)


def train_on(devices, folder, dataset, *more_flags):
    """Train for 8 steps on these devices. Returns the report."""
    options, _ = parse(run_pretraining.OPTIONS, '', list(map(str, flags(
        dataset, '--ckpt_dir', folder, '--ckpt_interval', 4, *more_flags, steps=8))))
    folder.mkdir(exist_ok=True)
    training.seed_everything(options.seed)
    open_log()
    return training.pretrain_on_devices(options, devices, str(folder), SingleWorker())


@pytest.mark.parametrize('name, devices, workers, problem', [
    ('sgld', 1, 2, 'each device and worker would draw its own noise'),
    ('sgld', 2, 1, 'each device and worker would draw its own noise'),
    ('nadam', 2, 1, 'keeps one schedule for all devices')])
def test_optimizers_whose_copies_drift_apart(name, devices, workers, problem):
    check_optimizer(name, 1, 1)
    with pytest.raises(UserError, match=problem):
        check_optimizer(name, devices, workers)


def test_total_batch_size_resumes_with_the_same_command(call, dataset, in_tmp):
    more_flags = ['--total_batch_size', 16, '--accumulate', 2, '--ckpt_dir', 'ckpt']
    pretrain(call, *flags(dataset, *more_flags))
    assert results('ckpt')['options']['batch_size'] == 8
    pretrain(call, *flags(dataset, *more_flags), '--resume')


def test_the_same_command_gives_the_same_numbers(call, dataset, in_tmp):
    for name in ('one', 'two'):
        pretrain(call, *flags(dataset), '--ckpt_dir', name)
    pretrain(call, *flags(dataset, '--seed', 1), '--ckpt_dir', 'other')
    expected, actual, other_seed = (parameters(name) for name in ('one', 'two', 'other'))
    assert all(np.array_equal(expected[key], actual[key]) for key in expected)
    assert not all(np.array_equal(expected[key], other_seed[key]) for key in expected)


@pytest.mark.parametrize('more_flags, expected', [
    ([], (3, 32, 8, False)), (['--use_avg_len', '--batch_size', 128], (3, 32, 128, True))])
def test_arguments_of_the_buckets(call, dataset, in_tmp, monkeypatch, more_flags, expected):
    arguments = []

    class RecordingBuckets(training.Buckets):
        def __init__(self, *values):
            arguments.append(values)
            super().__init__(*values)
    monkeypatch.setattr(training, 'Buckets', RecordingBuckets)
    pretrain(call, *flags(dataset, *more_flags), '--ckpt_dir', 'ckpt')
    assert arguments == [expected]


# ---- resume


@pytest.fixture(scope='module')
def expected(dataset, tmp_path_factory):
    """{file: bytes} of the final checkpoint of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp('whole') / 'ckpt'
    assert spawn('run_pretraining.py', *long_run_flags(dataset, folder)).code == 0
    return final_bytes(folder)


def long_run_flags(dataset, folder):
    return flags(dataset, '--ckpt_interval', 1, '--eval_interval', 20, '--data_eval',
                 dataset / 'out' / 'part-001.npz', steps=60) + ['--ckpt_dir', folder]


def final_bytes(folder):
    return {name: (pathlib.Path(folder) / 'step-0000060' / name).read_bytes()
            for name in ('model.params', 'optimizer.params')}


@pytest.mark.process
@pytest.mark.parametrize('step', random.Random(3).sample(range(1, 50), 3))
def test_a_killed_run_resumes_bit_for_bit(step, dataset, expected, tmp_path):
    """Also across the end of an epoch, which has about 55 batches."""
    folder = tmp_path / 'ckpt'
    process = start('run_pretraining.py', *long_run_flags(dataset, folder))
    wait_for_step(folder, step)
    process.kill()
    process.communicate()
    assert not (folder / 'results.json').exists(), 'killed too late to test anything'
    outcome = spawn('run_pretraining.py', '--resume', '--ckpt_dir', folder)
    assert outcome.code == 0, outcome.err
    assert 'resumed from' in outcome.err
    assert final_bytes(folder) == expected


def test_other_data_is_refused(call, dataset, in_tmp):
    pretrain(call, *flags(dataset), '--ckpt_dir', 'ckpt')
    assert call(run_pretraining, *flags(dataset), '--ckpt_dir', 'ckpt').error.startswith(
        'error: ckpt holds a run')
    outcome = call(run_pretraining, '--resume', '--ckpt_dir', 'ckpt', '--num_steps', 20)
    assert 'was started with 12; leave the flag out' in outcome.error
    (in_tmp / 'data').mkdir()
    shard = read_shard(str(dataset / 'out' / 'part-000.npz'))
    write_shard('data/part-000.npz', shard)
    pretrain(call, *flags(dataset, '--data', 'data/*.npz'), '--ckpt_dir', 'second')
    write_shard('data/part-000.npz', shard.select(np.arange(5)))
    outcome = call(run_pretraining, '--resume', '--ckpt_dir', 'second')
    assert outcome.error.startswith('error: --resume: the training examples differ from those')


def test_a_checkpoint_of_another_model_is_refused(call, dataset, tiny_bert, sst, in_tmp):
    """On a resume with other sizes, or of another script's run; and weights of another type."""
    sizes, vocab = in_tmp / 'sizes.json', in_tmp / 'vocab.txt'
    sizes.write_bytes((dataset / 'sizes.json').read_bytes())
    vocab.write_bytes((dataset / 'vocab.txt').read_bytes())
    pretrain(call, *flags(dataset, '--bert_config', sizes, '--dataset_name', vocab), '--ckpt_dir',
             'ckpt')
    sizes.write_text(json.dumps(dict(SIZES, units=16)))
    assert call(run_pretraining, '--resume', '--ckpt_dir', 'ckpt').error.startswith(
        'error: ckpt/step-0000012/model.params: wrong shape: classifier.weight: (2, 8) in the '
        'file, (2, 16) in the model')
    sizes.write_bytes((dataset / 'sizes.json').read_bytes())
    vocab.write_text(vocab.read_text().replace('good', 'gut'))
    assert 'manifest.json: the data was made with another vocabulary' in call(
        run_pretraining, '--resume', '--ckpt_dir', 'ckpt').error
    assert call(finetune_classifier, '--task_name', 'SST', '--data_dir', sst, '--bert_checkpoint',
                tiny_bert, '--epochs', 1, '--max_len', 24, '--output_dir', 'tuned').code == 0
    assert call(run_pretraining, '--resume', '--ckpt_dir', 'tuned').error == (
        'error: --resume: the run in tuned was made by finetune_classifier.py: continue with that '
        'script')
    (in_tmp / 'other').mkdir()
    (in_tmp / 'other' / 'config.json').write_text('{"model_type": "gpt2"}')
    (in_tmp / 'other' / 'model.safetensors').write_bytes(b'')
    assert 'model_type is "gpt2": this zoo runs BERT and its relatives' in call(
        run_pretraining, '--data', dataset / 'out' / '*.npz', '--bert_checkpoint', 'other',
        '--ckpt_dir', 'none').error


# ---- fine-tuning afterwards, and shards of the original


def test_a_checkpoint_goes_into_fine_tuning(call, dataset, sst, in_tmp):
    pretrain(call, *flags(dataset), '--ckpt_dir', 'ckpt')
    outcome = call(finetune_classifier, '--task_name', 'SST', '--data_dir', sst,
                   '--bert_checkpoint', 'ckpt', '--epochs', 1, '--max_len', 24, '--threads', 1,
                   '--output_dir', 'tuned', '--lr', 1e-12)
    assert outcome.code == 0, outcome.err
    before, after = parameters('ckpt'), parameters('tuned')
    for name in ('encoder.position_weight', 'word_embed.0.weight', 'pooler.weight'):
        np.testing.assert_allclose(after['bert.' + name], before[name], atol=1e-6)


def test_the_original_format(call, dataset, in_tmp):
    write_original('old.npz')
    problem = 'error: old.npz: a shard of the original format, whose arrays are pickled'
    assert call(run_pretraining, *flags(dataset, '--data', 'old.npz'), '--ckpt_dir',
                'a').error.startswith(problem)
    pretrain(call, *flags(dataset, '--data', 'old.npz', '--allow_pickle'), '--ckpt_dir', 'b')


# ---- mistakes


@pytest.mark.parametrize('more_flags, problem', [
    (['--data', 'none/*.npz'], 'none/*.npz: no such file: expected for --data the files of '
                               'create_pretraining_data.py'),
    (['--data_eval', 'none.npz'], 'none.npz: no such file: expected for --data_eval the files'),
    (['--data', 'broken.npz'], 'broken.npz: damaged, or not a shard of '
                               'create_pretraining_data.py: '),
    (['--data', 'empty.npz'], 'empty.npz: no example in it'),
    (['--dataset_name', 'other.txt', '--data', 'beside/*.npz'],
     'beside/manifest.json: the data was made with another vocabulary of 25 tokens'),
    (['--dataset_name', 'other.txt', '--data', 'alone.npz'],
     'alone.npz: an id is 24, but the vocabulary has 24 tokens'),
    (['--bert_config', 'short.json'], '--data: an example has 32 tokens, but the model has 20 '
                                      'positions: make the data with --max_seq_length 20'),
    (['--bert_config', 'large.json'], 'large.json: vocab_size is 99, but the vocabulary has 25'),
    (['--bert_config', 'narrow.json'],
     'narrow.json: the family bert with embeddings of width 4 and layers of width 8 found'),
    (['--pretrained'], '--pretrained and --bert_config: released weights have their own sizes'),
    (['--bert_checkpoint', 'x'], '--bert_checkpoint has its own weights and sizes'),
    (['--total_batch_size', 10, '--accumulate', 4],
     '--total_batch_size 10: expected a multiple of 4: --accumulate 4 on 1 devices'),
    (['--total_batch_size', 8, '--batch_size', 4],
     '--total_batch_size and --batch_size: give one of the two'),
    (['--data', 'array.npy'], 'array.npy: damaged, or not a shard of'),
    (['--use_avg_len', '--batch_size', 31],
     '--batch_size 31: with --use_avg_len it counts tokens, and the longest example has 32: give '
     'at'),
    (['--dtype', 'float16'], '--dtype float16 needs a GPU'),
    (['--gpus', 0], '--gpus 0: no GPU for this MXNet: it is the CPU build'),
    (['--gpus', '3,0'], '--gpus 3: no GPU for this MXNet: it is the CPU build'),
    (['--gpus', 'all'], 'argument --gpus: all found, expected different whole numbers from 0'),
    (['--optimizer', 'bertadm'], '--optimizer bertadm: no such optimizer. Did you mean'),
    (['--lr', 1e9], 'the loss of step 3 is nan: training stopped; there was no checkpoint yet')])
def test_mistakes_are_reported_in_one_line(call, dataset, in_tmp, more_flags, problem):
    shard = read_shard(str(dataset / 'out' / 'part-000.npz'))
    for folder in ('beside', '.'):
        os.makedirs(folder, exist_ok=True)
    write_shard('beside/part-000.npz', shard)
    (in_tmp / 'beside' / 'manifest.json').write_bytes(
        (dataset / 'out' / 'manifest.json').read_bytes())
    ids = shard.input_ids.copy()
    ids[5] = len(tiny.TOKENS) - 1
    write_shard('alone.npz', shard._replace(input_ids=ids))
    np.save('array.npy', ids)
    write_shard('empty.npz', shard.select(np.zeros(0, dtype='int64')))
    (in_tmp / 'broken.npz').write_bytes((dataset / 'out' / 'part-000.npz').read_bytes()[:500])
    (in_tmp / 'other.txt').write_text(''.join(token + '\n' for token in tiny.TOKENS[:-1]))
    (in_tmp / 'short.json').write_text(json.dumps(dict(SIZES, max_length=20)))
    (in_tmp / 'large.json').write_text(json.dumps(dict(SIZES, vocab_size=99)))
    (in_tmp / 'narrow.json').write_text(json.dumps(dict(SIZES, embedding_size=4)))
    outcome = call(run_pretraining, *flags(dataset, '--ckpt_dir', 'ckpt', *more_flags))
    assert outcome.code == 2
    assert outcome.error.startswith('error: ' + problem), outcome.error


def test_data_must_be_named(call, in_tmp):
    assert call(run_pretraining).error.startswith(
        'error: nothing to do: give --data to train on, --data_eval to evaluate on, or both')
