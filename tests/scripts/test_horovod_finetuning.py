"""The fine-tuning scripts under the real Horovod, where it is installed."""
import os
import re
import shlex

import mxnet as mx
import numpy as np
import pytest
from support import tiny, tiny_relatives
from support.pages import horovod_command
from support.processes import PACKAGE, spawn
from support.small_squad import QUICK, SIZES, read_json, write_files

pytestmark = pytest.mark.horovod


@pytest.mark.parametrize('page', ['docs/classification.rst', 'docs/question_answering.rst'])
def test_the_commands_of_the_pages(page, run_command, tiny_bert, in_tmp):
    """The commands run as printed, with tiny weights and the sizes that suit them."""
    line = horovod_command(page)
    if page == 'docs/classification.rst':
        tiny.write_pairs(in_tmp / 'glue_data' / 'MRPC', ('#1 String', '#2 String', 'Quality'),
                         lambda similarity: int(similarity > 0.5))
        more_flags = ['--max_len', '24']
    else:
        for name, seed in (('train', 1), ('dev', 2)):
            tiny.write_squad(in_tmp / 'squad' / (name + '-v1.1.json'), 8, seed)
        more_flags = [str(size) for size in SIZES]
    words = shlex.split(line.replace('bert/', str(PACKAGE) + '/'))
    outcome = run_command(words + ['--bert_checkpoint', tiny_bert, '--epochs', '1'] + more_flags)
    assert outcome.code == 0, outcome.err
    assert read_json(in_tmp / 'by-two' / 'results.json')['workers'] == 2


def parameters(run):
    """The arrays of the newest checkpoint."""
    checkpoint = read_json(run / 'checkpoints.json')['newest']
    return mx.nd.load(str(run / checkpoint / 'model.params'))


def assert_same_parameters(reference, run):
    expected, actual = parameters(reference), parameters(run)
    assert set(expected) == set(actual)
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name].asnumpy(), array.asnumpy(), atol=1e-4, err_msg=name)


def curve(run):
    checkpoint = read_json(run / 'checkpoints.json')['newest']
    return read_json(run / checkpoint / 'trainer.json')['curve']


def assert_same_curves(reference, run):
    for key in ('step', 'examples'):
        assert [point[key] for point in curve(reference)] == [point[key] for point in curve(run)]
    np.testing.assert_allclose([point['loss'] for point in curve(run)],
                               [point['loss'] for point in curve(reference)], rtol=1e-3)


@pytest.fixture(scope='module')
def task(tmp_path_factory):
    """33 examples: the last batch of an epoch has one, so that one of two workers gets none."""
    return tiny.write_sst(tmp_path_factory.mktemp('hvd') / 'SST-2', train=33, dev=21)


def classifier_flags(task, tiny_bert, *more_flags):
    return ('--task_name', 'SST', '--data_dir', task, '--bert_checkpoint', tiny_bert, '--max_len',
            24, '--epochs', 2, '--lr', 1e-3, '--dropout', 0, '--threads', 1, '--ckpt_interval', 1,
            '--log_interval', 1, '--dev_batch_size', 4) + more_flags


def test_two_workers_train_a_classifier_like_one_with_a_larger_batch(run_workers, task, tiny_bert,
                                                                     in_tmp):
    # with seed 0 the batch of one example comes first: one of the workers gets none of it
    flags = classifier_flags(task, tiny_bert, '--seeds', '0,1')
    assert spawn('finetune_classifier.py', *flags, '--batch_size', 16, '--output_dir',
                 'one').code == 0
    outcome = run_workers('finetune_classifier.py', 2, *flags, '--batch_size', 8)
    assert outcome.code == 0, outcome.err
    reference, run = in_tmp / 'one', in_tmp / 'output_dir' / 'SST-001'
    assert os.listdir('output_dir') == ['SST-001']      # worker 0 chose it for both
    for seed in ('seed-0', 'seed-1'):
        assert_same_parameters(reference / seed, run / seed)
        assert_same_curves(reference / seed, run / seed)
        assert set(os.listdir(reference / seed)) == set(os.listdir(run / seed))
        assert (run / seed / 'SST-2.tsv').read_text() == \
            (reference / seed / 'SST-2.tsv').read_text()
        expected, actual = (read_json(folder / seed / 'results.json')
                            for folder in (reference, run))
        assert (expected['metrics'], expected['best_step']) == (actual['metrics'],
                                                                actual['best_step'])
        assert (expected['workers'], actual['workers']) == (1, 2)
        # worker 0 logs, and its metrics cover all examples
        assert metrics_of(run / seed) == metrics_of(reference / seed)
    assert read_json(run / 'results.json')['metrics'] == \
        read_json(reference / 'results.json')['metrics']
    assert outcome.err.count('Some predictions on dev') == 2


def metrics_of(run):
    """The logged metrics of training and of all of dev, whose batches the workers share."""
    return re.findall(r'(?:Epoch|validation|test) .*metrics:(.*)',
                      next(run.glob('log_*')).read_text())


def test_a_killed_classifier_resumes_bit_for_bit(start_workers, run_workers, kill_worker, task,
                                                 tiny_bert, in_tmp):
    flags = classifier_flags(task, tiny_bert, '--batch_size', 4, '--epochs', 40)
    assert run_workers('finetune_classifier.py', 2, *flags, '--output_dir', 'whole').code == 0
    process = start_workers('finetune_classifier.py', 2, *flags, '--output_dir', 'broken')
    kill_worker(process, in_tmp / 'broken')
    assert not (in_tmp / 'broken' / 'results.json').exists(), 'killed too late to test anything'
    outcome = run_workers('finetune_classifier.py', 1, '--resume', '--output_dir', 'broken')
    assert ('the run in broken was started with 2 workers or GPUs, but now there are 1: use the '
            'same number' in outcome.err)
    outcome = run_workers('finetune_classifier.py', 2, '--resume', '--output_dir', 'broken')
    assert outcome.code == 0, outcome.err
    expected, actual = parameters(in_tmp / 'whole'), parameters(in_tmp / 'broken')
    assert all(np.array_equal(expected[key].asnumpy(), actual[key].asnumpy()) for key in expected)


def test_best_checkpoint_is_shared(run_workers, task, tiny_bert, in_tmp):
    """Every worker predicts the test file with the best checkpoint, not with the last one."""
    flags = classifier_flags(task, tiny_bert, '--batch_size', 8, '--lr', 0.3, '--epochs', 5)
    outcome = run_workers('finetune_classifier.py', 2, *flags, '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    report = read_json(in_tmp / 'run' / 'results.json')
    assert report['best_step'] != report['steps'], 'nothing to tell apart'
    flags = flags[:-4] + ('--only_inference', '--output_dir', 'again', '--model_parameters',
                          in_tmp / 'run' / ('step-%07d' % report['best_step']) / 'model.params')
    assert spawn('finetune_classifier.py', *flags).code == 0
    actual, expected = ((in_tmp / name / 'SST-2.tsv').read_text() for name in ('again', 'run'))
    assert actual == expected


def write_entities(folder):
    """Files of 33 examples, 20 and 10 → (script, their ending, flags for them)."""
    tiny.write_ner(folder, train=33)
    return 'finetune_ner.py', 'conll', ()


def write_scores(folder):
    tiny.write_pairs(folder, ('query', 'text', 'score'), lambda similarity: 5 * similarity,
                     train=33, dev=20, test=10)
    return 'finetune_classifier.py', 'tsv', ('--ranking', '--max_score', 5, '--text_columns',
                                             'query,text', '--label_column', 'score')


def write_label_sets(folder):
    """As `write_scores`; the model is a RoBERTa."""
    for name, count, seed in (('train', 33, 1), ('dev', 20, 2), ('test', 10, 3)):
        tiny.write_tsv(folder / (name + '.tsv'), ('text', 'labels'), [
            (text, ','.join(labels)) for text, labels in tiny.label_sets(count, seed)])
    return 'finetune_classifier.py', 'tsv', (
        '--multi_label', '--text_columns', 'text', '--label_column', 'labels',
        '--bert_checkpoint', tiny_relatives.write_roberta(folder / 'roberta'))


def read_predictions(path):
    """The columns of the lines; scores as numbers."""
    return [[float(word) if re.fullmatch(r'\d\.\d+', word) else word for word in line.split('\t')]
            for line in path.read_text().splitlines()]


@pytest.mark.parametrize('write', [write_entities, write_scores, write_label_sets])
def test_two_workers_train_other_heads_like_one_with_a_larger_batch(write, run_workers, tiny_bert,
                                                                    in_tmp):
    """The last batch of an epoch has one example: one of two workers gets none."""
    script, ending, flags = write(in_tmp / 'data')
    flags += sum((('--%s_file' % name, 'data/%s.%s' % (name, ending))
                  for name in ('train', 'dev', 'test')), ())
    flags += () if '--bert_checkpoint' in flags else ('--bert_checkpoint', tiny_bert)
    flags += ('--max_len', 24, '--epochs', 2, '--lr', 1e-3,
              '--dropout', 0, '--threads', 1, '--ckpt_interval', 1, '--log_interval', 1,
              '--dev_batch_size', 4, '--seed', 0)
    assert spawn(script, *flags, '--batch_size', 16, '--output_dir', 'one').code == 0
    outcome = run_workers(script, 2, *flags, '--batch_size', 8, '--output_dir', 'two')
    assert outcome.code == 0, outcome.err
    reference, run = in_tmp / 'one', in_tmp / 'two'
    assert_same_parameters(reference, run)
    assert_same_curves(reference, run)
    assert set(os.listdir(reference)) == set(os.listdir(run))
    assert_close(*(read_predictions(folder / ('test_predictions.' + ending))
                   for folder in (reference, run)))
    expected, actual = (read_json(folder / 'results.json') for folder in (reference, run))
    assert set(expected['metrics']) == {'dev', 'test'}
    assert_close(*({key: report.get(key) for key in ('metrics', 'types', 'best_step')}
                   for report in (expected, actual)))
    assert metrics_of(run) == metrics_of(reference)
    assert (expected['workers'], actual['workers']) == (1, 2)


@pytest.mark.parametrize('script, version_2', [('finetune_squad.py', True),
                                               ('static_finetune_squad.py', False)])
def test_two_workers_train_on_squad_like_one_with_a_larger_batch(script, version_2, run_workers,
                                                                 tiny_bert, in_tmp):
    flags = write_files(in_tmp, version_2) + ('--bert_checkpoint', tiny_bert) + QUICK + (
        '--dropout', 0, '--evaluate_epochs', '--test_batch_size', 4)
    if version_2:
        tiny.write_squad(in_tmp / 'more.json', 9, 3, True)
        flags += ('--threshold_file', 'more.json')
    assert spawn(script, *flags, '--batch_size', 8, '--output_dir', 'one').code == 0
    outcome = run_workers(script, 2, *flags, '--batch_size', 4, '--comm_backend', 'horovod',
                          '--output_dir', 'two')
    assert outcome.code == 0, outcome.err
    reference, run = in_tmp / 'one', in_tmp / 'two'
    assert_same_parameters(reference, run)
    assert_same_curves(reference, run)
    assert set(os.listdir(reference)) == set(os.listdir(run))
    assert read_json(reference / 'predictions.json') == read_json(run / 'predictions.json')
    assert_close(*(read_json(folder / 'nbest_predictions.json') for folder in (reference, run)))
    assert_close(*(read_json(folder / 'results.json')['metrics'] for folder in (reference, run)))


def assert_close(expected, actual):
    """The same JSON except for the last digits of numbers."""
    if isinstance(expected, dict):
        assert set(expected) == set(actual)
        for key, value in expected.items():
            assert_close(value, actual[key])
    elif isinstance(expected, list):
        assert len(expected) == len(actual)
        for pair in zip(expected, actual):
            assert_close(*pair)
    else:
        assert expected == (
            pytest.approx(actual, abs=1e-3) if isinstance(actual, float) else actual)


def test_an_error_ends_all_workers_with_one_line(run_workers, task, tiny_bert, in_tmp):
    flags = classifier_flags(task, tiny_bert, '--batch_size', 8, '--epochs', 1, '--output_dir',
                             'run')
    assert run_workers('finetune_classifier.py', 2, *flags).code == 0
    outcome = run_workers('finetune_classifier.py', 2, *flags)
    assert outcome.code != 0
    assert 'error: run holds a run: choose another --output_dir' in outcome.err
    # no worker prints a traceback; horovodrun itself does
    assert not re.search(r'^\[[01]\]<stderr>:.*Traceback', outcome.err, re.MULTILINE)


@pytest.mark.parametrize('more_flags, message', [
    (['--optimizer', 'sgld'], 'each device and worker would draw its own noise')])
def test_flags_that_workers_refuse(run_workers, task, tiny_bert, in_tmp, more_flags, message):
    flags = classifier_flags(task, tiny_bert, *more_flags, '--output_dir', 'run')
    outcome = run_workers('finetune_classifier.py', 2, *flags)
    assert outcome.code != 0 and message in outcome.err
    assert not (in_tmp / 'run').exists()
