"""finetune_squad.py and static_finetune_squad.py on tiny models: files, log, numbers, resume."""
import json
import os
import re
import shutil

import mxnet as mx
import numpy as np
import pytest
from support import tiny
from support.processes import spawn, start
from support.small_squad import QUICK, SIZES, read_json, write_files

from bert import convert_checkpoint, finetune_classifier, finetune_squad, static_finetune_squad
from bert.data.squad import metric as squad_metric
from bert.data.squad.files import read_squad
from bert.export.symbol import import_network
from bert.pipelines.question_answering import open_question_answerer

RUN_FILES = {'options.json', 'audit.json', 'results.json', 'curves.png', 'checkpoints.json',
             'predictions.json', 'nbest_predictions.json', 'net.params'}
CHECKPOINT_FILES = {'model.params', 'optimizer.params', 'trainer.json', 'config.json', 'vocab.txt',
                    'task.json', 'results.json'}


@pytest.fixture
def train(call, tiny_bert, in_tmp):
    """train(*flags) → Outcome of finetune_squad.py with the tiny model and tiny files."""
    def train(*flags, script=finetune_squad, version_2=False):
        return call(script, *write_files(in_tmp, version_2), '--bert_checkpoint', tiny_bert,
                    *QUICK, *flags)
    return train


@pytest.fixture(scope='module')
def trained_folder(tmp_path_factory, tiny_bert):
    """A folder with the tiny files and a run on them, `run`."""
    folder = tmp_path_factory.mktemp('finished')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv('MXNET_HOME', str(folder / 'mxnet'))
        finetune_squad.main([str(word) for word in write_files(folder) + (
            '--bert_checkpoint', tiny_bert) + QUICK + ('--output_dir', 'run')])
    return folder


@pytest.fixture
def run(trained_folder, in_tmp):
    """Path of a copy of that run, in the folder where `train('--output_dir', 'run')` leaves it."""
    shutil.copytree(trained_folder, in_tmp, dirs_exist_ok=True)
    return in_tmp / 'run'


def checkpoints(run):
    return {name for name in os.listdir(run) if name.startswith('step-')}


def test_files_of_a_run(train, in_tmp, is_picture):
    outcome = train()
    assert outcome.code == 0, outcome.err
    run = in_tmp / 'output_dir' / 'SQuAD1.1-001'
    index = read_json(run / 'checkpoints.json')
    assert checkpoints(run) == {index['newest'], index['best']}
    assert index['newest'] == index['best']     # the last epoch counts
    assert set(os.listdir(run)) - checkpoints(run) == RUN_FILES | {'finetune_squad.log'}
    assert set(os.listdir(run / index['newest'])) == CHECKPOINT_FILES
    assert is_picture(run / 'curves.png')


def test_log_keeps_the_original_lines(run):
    log = (run / 'finetune_squad.log').read_text()
    for pattern in (
            r' Loading train data\.\.\.\n', r'Number of records in Train data:24\n',
            r'The number of examples after preprocessing:\d\d\n',
            r'Done! Transform dataset costs \d+\.\d\d seconds\.\n',
            r'Batch: 1/\d, Loss=\d\.\d{4}, lr=0\.000\d{4} Throughput=\d+\.\d\d samples/s\n',
            r'Finish training step: \d+\n',
            r'Time cost=\d+\.\d\d s, Throughput=\d+\.\d\d samples/s\n',
            r"\{'exact_match': \d+\.\d+, 'f1': \d+\.\d+\}\n"):
        assert re.search(pattern, log), pattern


def test_prediction_files_have_the_official_format(run):
    predictions = read_json(run / 'predictions.json')
    squad = read_squad('dev.json')
    assert list(predictions) == [question.id for question in squad.questions]
    for question in squad.questions:
        assert predictions[question.id] in squad.contexts[question.context]
    metrics = read_json(run / 'results.json')['metrics']
    assert metrics == {'dev': squad_metric.evaluate_v1(squad.answers(), predictions)}
    n_best = read_json(run / 'nbest_predictions.json')
    assert list(n_best) == list(predictions)
    for name, entries in n_best.items():
        assert entries[0]['text'] == predictions[name]
        assert 1 <= len(entries) <= 20
        assert set(entries[0]) == {'text', 'probability', 'start_logit', 'end_logit',
                                   'answer_start'}
        assert sum(entry['probability'] for entry in entries) == pytest.approx(1)


def test_it_learns(train, in_tmp):
    """The model learns the tiny task: its answers are far better than random words."""
    outcome = train('--output_dir', 'run', '--epochs', 30, '--lr', 1e-2, '--dropout', 0,
                    '--max_answer_length', 1)
    assert outcome.code == 0, outcome.err
    results = read_json(in_tmp / 'run' / 'results.json')
    checkpoint = checkpoints(in_tmp / 'run').pop()
    losses = [entry['loss'] for entry in
              read_json(in_tmp / 'run' / checkpoint / 'trainer.json')['curve']]
    assert losses[-1] < 0.5 * losses[0]
    assert results['metrics']['dev']['exact_match'] > 50


def test_version_2(train, in_tmp):
    outcome = train('--output_dir', 'run', version_2=True)
    assert outcome.code == 0, outcome.err
    run = in_tmp / 'run'
    assert set(os.listdir(run)) - checkpoints(run) == \
        RUN_FILES | {'finetune_squad.log', 'null_odds.json'}
    squad = read_squad('dev.json', version_2=True)
    predictions, odds = (read_json(run / name) for name in ('predictions.json', 'null_odds.json'))
    assert list(odds) == list(predictions)
    metrics = read_json(run / 'results.json')['metrics']['dev']
    assert set(metrics) == {
        'exact', 'f1', 'total', 'HasAns_exact', 'HasAns_f1', 'HasAns_total', 'NoAns_exact',
        'NoAns_f1', 'NoAns_total', 'best_exact', 'best_exact_thresh', 'best_f1', 'best_f1_thresh'}
    expected = squad_metric.evaluate_v2(squad.answers(), predictions)
    assert {key: metrics[key] for key in expected} == expected
    for name, entries in read_json(run / 'nbest_predictions.json').items():
        texts = [entry['text'] for entry in entries]
        assert texts.count('') == 1     # "no answer" is among them
        answer = next(text for text in texts if text)
        assert predictions[name] == ('' if odds[name] > 0 else answer)
    assert 'they are upper bounds, not scores' in outcome.err


@pytest.mark.parametrize('threshold,expected', [(-1e6, 0), (1e6, 11)])
def test_null_score_diff_threshold(train, in_tmp, threshold, expected):
    train('--output_dir', 'run', '--null_score_diff_threshold', threshold, version_2=True)
    predictions = read_json(in_tmp / 'run' / 'predictions.json')
    assert sum(bool(text) for text in predictions.values()) == expected


def test_threshold_from_another_file(train, in_tmp, call):
    """It is the threshold that the official search finds on that file; dev has no part in it."""
    threshold_file = tiny.write_squad(in_tmp / 'third.json', 15, 3, version_2=True)
    outcome = train('--output_dir', 'run', '--threshold_file', threshold_file, '--lr', 1e-2,
                    '--epochs', 6, version_2=True)
    assert outcome.code == 0, outcome.err
    run = in_tmp / 'run'
    threshold = read_json(run / 'results.json')['null_score_diff_threshold']
    assert abs(threshold) > 1e-3    # 0 is the default
    checkpoint = run / read_json(run / 'checkpoints.json')['best']
    assert read_json(checkpoint / 'task.json')['null_score_diff_threshold'] == threshold
    call(finetune_squad, *SIZES, '--only_predict', '--bert_checkpoint', run, '--dev_file',
         threshold_file, '--version_2', '--output_dir', 'on-third', '--null_score_diff_threshold',
         threshold)
    metrics = read_json(in_tmp / 'on-third' / 'results.json')['metrics']['dev']
    assert metrics['best_f1_thresh'] == pytest.approx(threshold)
    assert metrics['f1'] == pytest.approx(metrics['best_f1'])
    odds = read_json(run / 'null_odds.json')
    predictions = read_json(run / 'predictions.json')
    assert {name for name, text in predictions.items() if not text} == {
        name for name, value in odds.items() if value > threshold}


def test_only_predict_repeats_the_predictions(run, call, in_tmp, tiny_bert):
    flags = ('--only_predict', '--dev_file', 'dev.json') + SIZES
    file_outcome = call(finetune_squad, *flags, '--model_parameters', 'run/net.params',
                        '--bert_checkpoint', tiny_bert, '--output_dir', 'a')
    assert file_outcome.code == 0, file_outcome.err
    folder_outcome = call(finetune_squad, *flags, '--bert_checkpoint', 'run', '--output_dir', 'b')
    assert folder_outcome.code == 0, folder_outcome.err
    for name in ('predictions.json', 'nbest_predictions.json'):
        expected = (run / name).read_bytes()
        assert (in_tmp / 'a' / name).read_bytes() == expected
        assert (in_tmp / 'b' / name).read_bytes() == expected
    assert set(os.listdir(in_tmp / 'a')) == {
        'options.json', 'audit.json', 'results.json', 'predictions.json',
        'nbest_predictions.json', 'finetune_squad.log'}


def test_only_predict_opens_one_set_of_weights(run, call):
    outcome = call(finetune_squad, '--only_predict', '--bert_checkpoint', 'run', '--dev_file',
                   'dev.json', '--pretrained_bert_parameters', 'other.params')
    assert (outcome.code, outcome.error) == (2, (
        'error: --pretrained_bert_parameters: the model in --bert_checkpoint already has an '
        'encoder; give one of the two'))


def test_an_early_warning_does_not_double_log_lines(run, call, in_tmp):
    """Python's logging adds its own handler if something is logged before the log is open."""
    assert call(convert_checkpoint, 'run', 'hf').code == 0
    (in_tmp / 'hf' / 'task.json').write_text('{"name": "of somebody else"}')
    outcome = spawn('finetune_squad.py', '--only_predict',
                    '--bert_checkpoint', 'hf', '--dev_file', 'dev.json', *SIZES, '--threads', 1)
    assert outcome.code == 0, outcome.err
    assert outcome.err.count('task.json is not the task file of a question-answering model of this '
                             'package') >= 1
    assert outcome.err.count('Number of records in Dev data:11') == 1


def test_only_predict_takes_the_sizes_of_the_run(train, call, in_tmp):
    """Flags missing from the command line have their values of training."""
    train('--output_dir', 'run', '--n_best_size', 4, '--max_answer_length', 2)
    flags = ('--only_predict', '--bert_checkpoint', 'run', '--dev_file', 'dev.json')
    outcome = call(finetune_squad, *flags, '--output_dir', 'a')
    assert outcome.code == 0, outcome.err
    for name in ('predictions.json', 'nbest_predictions.json'):
        assert (in_tmp / 'a' / name).read_bytes() == (in_tmp / 'run' / name).read_bytes()
    call(finetune_squad, *flags, '--output_dir', 'b', '--n_best_size', 2)
    assert max(map(len, read_json(in_tmp / 'b' / 'nbest_predictions.json').values())) == 2
    options = read_json(in_tmp / 'b' / 'options.json')
    assert [options[name] for name in ('n_best_size', 'max_answer_length', 'doc_stride')] == [
        2, 2, 5]


def test_only_predict_needs_question_answering_weights(call, in_tmp, tiny_bert):
    write_files(in_tmp)
    outcome = call(finetune_squad, *SIZES, '--only_predict', '--dev_file', 'dev.json',
                   '--bert_checkpoint', tiny_bert)
    assert outcome.code == 2
    assert outcome.error.startswith('error: %s/model.safetensors holds no question-answering '
                                    'model; found: encoder. ' % tiny_bert)


def test_questions_without_answers_are_predicted(run, call, in_tmp):
    content = read_json(in_tmp / 'dev.json')
    for paragraph in content['data'][0]['paragraphs']:
        for question in paragraph['qas']:
            del question['answers']
    (in_tmp / 'blind.json').write_text(json.dumps(content))
    outcome = call(finetune_squad, *SIZES, '--only_predict', '--bert_checkpoint', 'run',
                   '--dev_file', 'blind.json', '--output_dir', 'blind')
    assert outcome.code == 0, outcome.err
    assert read_json(in_tmp / 'blind' / 'results.json')['metrics'] == {}
    assert read_json(in_tmp / 'blind' / 'predictions.json') == \
        read_json(run / 'predictions.json')


def test_evaluate_epochs_keeps_the_best(train, in_tmp):
    outcome = train('--output_dir', 'run', '--evaluate_epochs', '--epochs', 4, '--lr', 4e-2)
    assert outcome.code == 0, outcome.err
    results = read_json(in_tmp / 'run' / 'results.json')
    scores = [entry['metrics']['dev']['f1'] for entry in results['history']]
    best = int(np.argmax(scores))       # of equal ones the first
    assert len(scores) == 4 and best < 3
    assert results['best_step'] == results['history'][best]['step']
    assert results['metrics']['dev']['f1'] == pytest.approx(max(scores))


def test_without_evaluate_epochs_only_the_last_epoch_is_scored(train, in_tmp):
    train('--output_dir', 'run', '--epochs', 3)
    history = read_json(in_tmp / 'run' / 'results.json')['history']
    assert [bool(entry['metrics']) for entry in history] == [False, False, True]


def test_seeds(train, in_tmp):
    outcome = train('--output_dir', 'run', '--seeds', '1,2', '--epochs', 1)
    assert outcome.code == 0, outcome.err
    run = in_tmp / 'run'
    spread, *values = [read_json(folder / 'results.json')['metrics']['dev']['f1']
                       for folder in (run, run / 'seed-1', run / 'seed-2')]
    assert spread['values'] == values and spread['mean'] == pytest.approx(np.mean(values))


def test_the_same_seed_gives_the_same_run(train, in_tmp):
    for name in ('a', 'b'):
        assert train('--output_dir', name).code == 0
    assert (in_tmp / 'a' / 'net.params').read_bytes() == (in_tmp / 'b' / 'net.params').read_bytes()
    train('--output_dir', 'c', '--seed', 7)
    assert (in_tmp / 'a' / 'net.params').read_bytes() != (in_tmp / 'c' / 'net.params').read_bytes()


def test_net_params_are_the_best_checkpoint(run):
    arrays = mx.nd.load(str(run / 'net.params'))
    checkpoint = mx.nd.load(str(run / read_json(run / 'checkpoints.json')['best'] / 'model.params'))
    assert set(arrays) == set(checkpoint) and 'span_classifier.weight' in arrays
    assert all((arrays[name].asnumpy() == checkpoint[name].asnumpy()).all() for name in arrays)


# --uncased

@pytest.fixture
def cased_bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cased') / 'bert'
    tiny.write_checkpoint(folder)
    (folder / 'tokenizer_config.json').write_text('{"do_lower_case": false}')
    return str(folder)


@pytest.mark.parametrize('flags,lower_case', [((), False), (('--uncased',), True)])
def test_uncased_lower_cases(call, in_tmp, cased_bert, flags, lower_case):
    """In the original the flag switched lower-casing off."""
    outcome = call(finetune_squad, *write_files(in_tmp), '--bert_checkpoint', cased_bert, *QUICK,
                   '--output_dir', 'run', *flags)
    assert outcome.code == 0, outcome.err
    assert ('--uncased: the vocabulary of this model is cased' in outcome.err) == lower_case
    assert open_question_answerer('run', mx.cpu()).tokenizer.lower == lower_case
    assert open_question_answerer('run', mx.cpu()).config.cased != lower_case


def test_an_uncased_model_needs_no_flag(run):
    assert open_question_answerer('run', mx.cpu()).tokenizer.lower


# Limits and bad questions are reported

def test_debug(train, in_tmp, monkeypatch):
    monkeypatch.setattr('bert.jobs.finetuning.question_answering.DEBUG_TRAIN', 8)
    monkeypatch.setattr('bert.jobs.finetuning.question_answering.DEBUG_DEV', 3)
    outcome = train('--output_dir', 'run', '--debug')
    assert 'Number of records in Train data:8\n' in outcome.err
    assert len(read_json(in_tmp / 'run' / 'predictions.json')) == 3


def test_bad_questions_are_left_out_of_training_and_reported(call, in_tmp, tiny_bert):
    content = tiny.squad_content(24, 1)
    content['data'][0]['paragraphs'][0]['qas'][0]['answers'][0]['answer_start'] = 1000
    (in_tmp / 'odd.json').write_text(json.dumps(content))
    dev = tiny.write_squad(in_tmp / 'dev.json', 5, 2)
    outcome = call(finetune_squad, '--train_file', 'odd.json', '--dev_file', dev,
                   '--bert_checkpoint', tiny_bert, *QUICK, '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    assert ' odd.json: 1 problems, 1 questions can\'t be used for training\n' in outcome.err
    assert 'is not at its answer_start 1000' in outcome.err
    assert 'Number of records in Train data:23\n' in outcome.err
    problems = read_json(in_tmp / 'run' / 'audit.json')['segments']['train']['problems']
    assert [problem['id'] for problem in problems] == ['1-0-0']


def test_audit(run):
    segments = read_json(run / 'audit.json')['segments']
    assert segments['train']['questions'] == 24 and segments['train']['contexts'] == 12
    assert segments['train']['windows'] > 24        # some contexts need several windows
    assert segments['train']['questions_in_several_windows'] > 0
    assert segments['train']['token_length']['max'] == 20
    assert segments['dev']['without_answer'] == 0 and segments['dev']['problems'] == []


def test_features_are_computed_once(train, in_tmp):
    first_run, second_run = train('--output_dir', 'a'), train('--output_dir', 'b')
    assert first_run.err.count(': kept in ') == 2 and first_run.err.count(': read from ') == 0
    assert second_run.err.count(': kept in ') == 0 and second_run.err.count(': read from ') == 2
    assert (in_tmp / 'a' / 'net.params').read_bytes() == (in_tmp / 'b' / 'net.params').read_bytes()


# Resume and overwrite

def process_flags(folder, tiny_bert, run):
    return write_files(folder, train=40) + ('--bert_checkpoint', tiny_bert) + QUICK + (
        '--epochs', 3, '--ckpt_interval', 1, '--output_dir', run)


@pytest.mark.process
@pytest.mark.parametrize('script', ['finetune_squad.py', 'static_finetune_squad.py'])
def test_a_killed_run_resumes_bit_for_bit(tiny_bert, tmp_path, script):
    outcome = spawn(script, *process_flags(tmp_path, tiny_bert, tmp_path / 'whole'))
    assert outcome.code == 0, outcome.err
    run = tmp_path / 'killed'
    process = start(script, *process_flags(tmp_path, tiny_bert, run))
    for line in process.stderr:
        if 'step-0000007' in line:
            process.kill()
            break
    process.communicate()
    assert not (run / 'results.json').exists(), 'killed too late to test anything'
    outcome = spawn(script, '--resume', '--threads', 1, '--output_dir', run)
    assert outcome.code == 0, outcome.err
    assert 'resumed from' in outcome.err
    for name in ('net.params', 'predictions.json', 'nbest_predictions.json'):
        assert (run / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()


def test_a_finished_run_is_resumed_to_the_same_files(run, call):
    before = {name: (run / name).read_bytes()
              for name in ('predictions.json', 'net.params')}
    (run / 'predictions.json').unlink()
    outcome = call(finetune_squad, '--resume', '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    assert {name: (run / name).read_bytes() for name in before} == before


def test_another_run_is_not_overwritten(run, train):
    before = (run / 'net.params').read_bytes()
    outcome = train('--output_dir', 'run', '--seed', 9)
    assert outcome.error == (
        'error: run holds a run: choose another --output_dir, continue it with --resume, or '
        'replace it with --overwrite_output_dir')
    assert (run / 'net.params').read_bytes() == before
    (run / 'mine.txt').write_text('kept')
    assert train('--output_dir', 'run', '--seed', 9, '--overwrite_output_dir').code == 0
    assert (run / 'net.params').read_bytes() != before
    assert (run / 'mine.txt').read_text() == 'kept'


def test_overwriting_does_not_remove_input_files(run, call):
    for flags in (('--bert_checkpoint', 'run'), ('--model_parameters', 'run/net.params')):
        outcome = call(finetune_squad, '--only_predict', *flags, '--dev_file', 'dev.json',
                       '--output_dir', 'run', '--overwrite_output_dir')
        assert outcome.error == (
            'error: --overwrite_output_dir: %s %s is inside the run that would be replaced: choose '
            'another --output_dir' % flags)
    assert (run / 'net.params').exists()


def test_overwriting_removes_files_of_the_other_script(train, call, in_tmp, sst, tiny_bert):
    train('--output_dir', 'run', version_2=True)
    outcome = call(finetune_classifier, '--task_name', 'SST', '--data_dir', sst,
                   '--bert_checkpoint', tiny_bert, '--max_len', 24, '--epochs', 1,
                   '--output_dir', 'run', '--overwrite_output_dir')
    assert outcome.code == 0, outcome.err
    names = set(os.listdir(in_tmp / 'run'))
    assert not names & {'predictions.json', 'null_odds.json', 'net.params', 'finetune_squad.log'}
    assert 'log_SST.txt' in names


def test_resume_is_for_the_same_script(run, call):
    outcome = call(static_finetune_squad, '--resume', '--output_dir', 'run')
    assert outcome.error == ('error: --resume: the run in run was made by finetune_squad.py: '
                             'continue with that script')


# Static shapes

def test_files_of_a_static_run(train, in_tmp):
    outcome = train('--export', '--seq_length', 24, script=static_finetune_squad)
    assert outcome.code == 0, outcome.err
    run = in_tmp / 'output_dir' / 'static-SQuAD1.1-001'
    assert set(os.listdir(run)) - checkpoints(run) == RUN_FILES | {
        'static_finetune_squad.log', 'static_net-symbol.json', 'static_net-0002.params'}
    log = (run / 'static_finetune_squad.log').read_text()
    assert re.search(r'Epoch: 1, Batch: 1/\d, Loss=\d\.\d{4}, lr=0\.000\d{4} Time cost=\d+\.\d '
                     r'Throughput=\d+\.\d\d samples/s\n', log)


def test_static_and_dynamic_predict_the_same(train, call, in_tmp):
    train('--output_dir', 'static', '--seq_length', 24, script=static_finetune_squad)
    outcome = call(finetune_squad, '--only_predict', '--bert_checkpoint', 'static', *SIZES,
                   '--dev_file', 'dev.json', '--output_dir', 'dynamic')
    assert outcome.code == 0, outcome.err
    assert (in_tmp / 'static' / 'predictions.json').read_bytes() == \
        (in_tmp / 'dynamic' / 'predictions.json').read_bytes()
    actual, expected = (read_json(in_tmp / name / 'nbest_predictions.json')
                        for name in ('static', 'dynamic'))
    for name in actual:
        np.testing.assert_allclose(
            [(entry['start_logit'], entry['end_logit']) for entry in actual[name]],
            [(entry['start_logit'], entry['end_logit']) for entry in expected[name]], atol=1e-5)


def test_static_and_dynamic_train_the_same(train, in_tmp):
    train('--output_dir', 'dynamic', '--dropout', 0)
    train('--output_dir', 'static', '--dropout', 0, script=static_finetune_squad)
    actual, expected = (mx.nd.load(str(in_tmp / folder / 'net.params'))
                        for folder in ('dynamic', 'static'))
    for name in actual:
        np.testing.assert_allclose(actual[name].asnumpy(), expected[name].asnumpy(), atol=1e-4)


def test_the_static_length_is_part_of_the_run(train, call, in_tmp, monkeypatch):
    """A resume needs it when the environment variable is gone."""
    monkeypatch.setenv('SEQLENGTH', '28')
    train('--output_dir', 'run', script=static_finetune_squad)
    monkeypatch.delenv('SEQLENGTH')
    assert read_json(in_tmp / 'run' / 'options.json')['seq_length'] == 28


def test_export_without_training(run, call, in_tmp):
    outcome = call(static_finetune_squad, '--only_predict', '--export', '--bert_checkpoint', 'run',
                   '--dev_file', 'dev.json', '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    assert (in_tmp / 'out' / 'static_net-symbol.json').exists()
    assert (in_tmp / 'out' / 'predictions.json').read_bytes() == \
        (run / 'predictions.json').read_bytes()


def test_static_length_from_the_environment(train, in_tmp, monkeypatch):
    monkeypatch.setenv('SEQLENGTH', '28')
    assert train('--export', '--output_dir', 'run', script=static_finetune_squad).code == 0
    symbol = import_network('run', 'static_net', mx.cpu(), epoch=2)
    ids = mx.nd.zeros((2, 28), dtype='int32')
    assert symbol(ids, ids, mx.nd.ones(2)).shape == (2, 28, 2)


def test_max_seq_length_follows_seq_length(call, in_tmp, tiny_bert):
    outcome = call(static_finetune_squad, *write_files(in_tmp), '--bert_checkpoint', tiny_bert,
                   '--max_query_length', 6, '--seq_length', 30, '--epochs', 1, '--output_dir',
                   'run')
    assert outcome.code == 0, outcome.err
    assert read_json(in_tmp / 'run' / 'audit.json')['max_seq_length'] == 30


# Other scripts read a run

def test_a_run_is_a_checkpoint(run, call, in_tmp, sst):
    outcome = call(finetune_classifier, '--task_name', 'SST', '--data_dir', sst,
                   '--bert_checkpoint', 'run', '--max_len', 24, '--epochs', 1)
    assert outcome.code == 0, outcome.err
    shutil.rmtree(str(in_tmp / 'output_dir'))
