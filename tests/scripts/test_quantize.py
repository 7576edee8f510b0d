"""quantize.py and --only_calibration: files, honest comparisons, tuning, resume, refusals."""
import json
import os
import pathlib
import re
import shutil

import mxnet as mx
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support import tiny
from support.processes import spawn
from support.small_squad import QUICK, read_json, write_files

from bert import convert_checkpoint, finetune_classifier, finetune_squad, quantize
from bert.data.glue import download
from bert.data.glue.tasks import find_task
from bert.pipelines import evaluation_sets
from bert.pipelines.exported import open_exported_pipeline
from bert.pipelines.opening import open_pipeline

INT8_FILES = {'model_bert_%s_quantized_%s-symbol.json', 'model_bert_%s_quantized_%s-0000.params',
              'config.json', 'vocab.txt', 'task.json'}
CALIBRATION_FILES = INT8_FILES | {'options.json', 'results.json', 'quantize.log'}
TUNING_FILES = CALIBRATION_FILES | {'trials.jsonl', 'trials.txt', 'trials.png'}
BATCHES = ('--calib_batch_size', 4, '--num_calib_batches', 3)


def file_names(files, task, mode='customize'):
    return {name % (task, mode) if '%' in name else name for name in files}


@pytest.fixture(scope='module')
def work(tmp_path_factory, tiny_bert):
    """A folder with runs on MRPC (with labelled test set), SST-2 and SQuAD, and their data."""
    folder = tmp_path_factory.mktemp('quantize')
    columns = ('#1 String', '#2 String', 'Quality')
    tiny.write_pairs(folder / 'MRPC', columns, lambda similarity: int(similarity > 0.3), files={
        'train': ['train.tsv'], 'dev': ['dev.tsv'], 'test': ['msr_paraphrase_test.txt']})
    tiny.write_sst(folder / 'SST-2', dev=60)
    write_files(folder, dev=40)
    options = ['--bert_checkpoint', tiny_bert, '--threads', '1', '--lr', '1e-2', '--epochs', '2']
    for task, name in (('MRPC', 'MRPC'), ('SST', 'SST-2')):
        finetune_classifier.main(options + ['--task_name', task, '--data_dir', str(folder / name),
                                            '--max_len', '24', '--output_dir',
                                            str(folder / ('run-' + task))])
    finetune_squad.main([str(word) for word in write_files(folder, dev=40) + QUICK] + [
        '--bert_checkpoint', tiny_bert, '--output_dir', str(folder / 'run-squad')])
    return folder


@pytest.mark.parametrize('mode', [
    'customize', 'naive', pytest.param('entropy', marks=pytest.mark.exhaustive), 'none'])
def test_calibration(call, work, in_tmp, mode):
    shutil.copytree(work / 'run-SST', 'run')
    outcome = call(quantize, '--model_dir', 'run', '--data_dir', work / 'SST-2', '--calib_mode',
                   mode, *BATCHES)
    assert outcome.code == 0, outcome.err
    assert set(os.listdir('run/quantized')) == file_names(CALIBRATION_FILES, 'SST', mode)
    assert ('calibration on 12 examples of %s with cpu(0)' % (work / 'SST-2' / 'train.tsv') in
            outcome.err) == (mode != 'none')
    assert '../src/' not in outcome.err         # no notices of MXNet's library
    report = read_json(in_tmp / 'run' / 'quantized' / 'results.json')
    assert report['calibrated_on'] == (0 if mode == 'none' else 12)
    scores = report['scores']['dev']
    assert scores['source'] == str(work / 'SST-2' / 'dev.tsv') and scores['examples'] == 60
    # both scores, computed again from the files
    evaluation_set = evaluation_sets.read_text_set(*_text_set_arguments('SST', 'run'))
    for name, model in (('float', open_pipeline('run', mx.cpu())),
                        ('int8', open_exported_pipeline('run/quantized', None, None, mx.cpu(), 1))):
        assert scores[name] == evaluation_set.scores(evaluation_set.outputs(model, 7))
    assert scores['loss']['low'] <= scores['loss']['value'] <= scores['loss']['high']
    assert scores['loss']['value'] == pytest.approx(
        1 - scores['int8']['accuracy'] / scores['float']['accuracy'])
    assert [(row['batch_size'], row['length']) for row in report['speed']] == [(1, 24), (32, 24)]
    assert report['bytes'] == {name: os.path.getsize(os.path.join('run/quantized', name))
                               for name in report['bytes']} and len(report['bytes']) == 2


def _text_set_arguments(name, run):
    """Arguments of `evaluation_sets.read_text_set` for dev."""
    task = evaluation_sets.find_task(name)
    folder = os.path.dirname(read_options(run)['data_dir'] + '/')
    path = os.path.join(folder, 'dev.tsv')
    return task, open_pipeline(run, mx.cpu()), 'dev', path, task.segments['dev'].table


def read_options(run):
    from bert import files
    return files.read_json(os.path.join(run, 'options.json'))


def test_only_calibration_of_a_classifier(call, work, tiny_bert, in_tmp):
    run = work / 'run-SST'
    outcome = call(finetune_classifier, '--task_name', 'SST', '--data_dir', work / 'SST-2',
                   '--bert_checkpoint', run, '--only_calibration', '--max_len', 24, *BATCHES,
                   '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    assert set(os.listdir('out')) == file_names(INT8_FILES, 'SST') | {
        'options.json', 'results.json', 'audit.json', 'log_SST.txt'}
    outcome = call(quantize, '--model_dir', run, '--data_dir', work / 'SST-2', *BATCHES,
                   '--output_dir', 'other')
    assert outcome.code == 0
    scores = [read_json(in_tmp / name / 'results.json')['scores'] for name in ('out', 'other')]
    assert scores[0] == scores[1]
    outcome = call(finetune_classifier, '--task_name', 'SST', '--output_dir', 'out')
    assert outcome.code == 2 and 'out holds a run' in outcome.error


def test_only_calibration_of_questions(call, work, in_tmp):
    data = ('--train_file', work / 'train.json', '--dev_file', work / 'dev.json')
    outcome = call(finetune_squad, *data, '--bert_checkpoint', work / 'run-squad',
                   '--only_calibration', *BATCHES, '--calib_mode', 'naive', '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    assert set(os.listdir('out')) == file_names(INT8_FILES, 'squad', 'naive') | {
        'options.json', 'results.json', 'audit.json', 'finetune_squad.log'}
    scores = read_json(in_tmp / 'out' / 'results.json')['scores']['dev']
    expected = read_json(work / 'run-squad' / 'results.json')['metrics']['dev']
    assert scores['float'] == pytest.approx({key: expected[key] for key in ('f1', 'exact_match')})
    assert scores['metric'] == 'f1' and scores['examples'] == 40
    outcome = call(quantize, '--model_dir', work / 'run-squad', *data, *BATCHES, '--calib_mode',
                   'naive', '--output_dir', 'other')
    assert outcome.code == 0, outcome.err
    reference = read_json(in_tmp / 'other' / 'results.json')['scores']['dev']
    assert reference['int8'] == pytest.approx(scores['int8'])


def test_fewer_examples_than_requested(call, work, in_tmp):
    outcome = call(quantize, '--model_dir', work / 'run-MRPC', '--data_dir', work / 'MRPC',
                   '--output_dir', 'out')
    assert outcome.code == 0
    assert 'WARNING:root:' in outcome.err and (
        'calibrated on 40 examples: %s has no more, but 5 batches of 32 were requested'
        % (work / 'MRPC' / 'train.tsv')) in outcome.err
    assert read_json(in_tmp / 'out' / 'results.json')['calibrated_on'] == 40


@pytest.mark.process
def test_a_cpu_without_vnni(work, in_tmp):
    """Limited to AVX2, oneDNN works, and the script says that INT8 may be no faster."""
    outcome = spawn('quantize.py', '--model_dir', work / 'run-SST', '--data_dir', work / 'SST-2',
                    *BATCHES, '--output_dir', 'out', env={'DNNL_MAX_CPU_ISA': 'AVX2'})
    assert outcome.code == 0, outcome.err
    assert 'this CPU has no VNNI (DNNL_MAX_CPU_ISA disables it): INT8 works, but may be ' \
        'no faster than float32' in outcome.err
    assert set(os.listdir('out')) == file_names(CALIBRATION_FILES, 'SST')


def write_config(folder, criterion, **policy):
    (folder / 'conf.yaml').write_text('model: {name: bert, framework: pytorch}\ntuning:\n'
                                      '  accuracy_criterion: {%s}\n  exit_policy: %s\n'
                                      % (criterion, dict(policy) or '{}'))


def test_tuning(call, work, in_tmp, fast_int8, is_picture):
    """MRPC: the search uses dev, the report the labelled test set."""
    write_config(in_tmp, 'relative: 0.9')
    outcome = call(quantize, '--tune', '--model_dir', work / 'run-MRPC', '--data_dir',
                   work / 'MRPC', *BATCHES, '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    assert 'configuration: %s' % (in_tmp / 'conf.yaml') in outcome.err
    assert 'framework: pytorch: ignored, because the networks here are MXNet\'s' in outcome.err
    assert set(os.listdir('out')) == file_names(TUNING_FILES, 'MRPC')
    assert is_picture(in_tmp / 'out' / 'trials.png')
    report = read_json(in_tmp / 'out' / 'results.json')
    assert report['searched_on'] == {'name': 'dev', 'examples': 16,
                                     'source': str(work / 'MRPC' / 'dev.tsv')}
    assert report['scores']['test']['source'] == str(work / 'MRPC' / 'msr_paraphrase_test.txt')
    assert report['scores']['test']['metric'] == 'f1'
    assert (report['reached'], report['trial'], report['kept_in_float']) == (True, 1, [])
    assert report['config']['goal'] == [0.9, True]
    assert len(report['trials']) == 1


def test_an_impossible_goal(call, work, in_tmp, fast_int8, only_float_is_good):
    """The best trial is kept and named; the exit status is not 0."""
    write_config(in_tmp, 'absolute: 0', max_trials=4)
    outcome = call(quantize, '--tune', '--model_dir', work / 'run-SST', '--data_dir',
                   work / 'SST-2', *BATCHES, '--output_dir', 'out')
    assert outcome.code == 1, outcome.err
    assert 'the goal was not reached: found no network that is faster than float with a loss of ' \
        'at most 0 of the score. Trial ' in outcome.err
    assert set(os.listdir('out')) == file_names(TUNING_FILES, 'SST')
    report = read_json(in_tmp / 'out' / 'results.json')
    assert not report['reached'] and len(report['trials']) == 4
    assert [len(trial['kept']) for trial in report['trials']] == [0, 1, 2, 3]


def test_halves_of_dev(call, work, in_tmp, fast_int8):
    """SST-2 has no labelled test set: dev has two disjoint halves, the same every time."""
    write_config(in_tmp, 'relative: 0.9')
    outcome = call(quantize, '--tune', '--model_dir', work / 'run-SST', '--data_dir',
                   work / 'SST-2', *BATCHES, '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    report = read_json(in_tmp / 'out' / 'results.json')
    scores = report['scores']['dev, second half']
    assert report['searched_on']['name'] == 'dev, first half'
    assert report['searched_on']['examples'] + scores['examples'] == 60
    assert min(report['searched_on']['examples'], scores['examples']) > 10


def test_equal_texts_are_in_the_same_half():
    class Texts:
        def keys(self):
            return [b'a', b'b', b'a', b'c', b'b'] + [b'%d' % i for i in range(200)]
    first_half, second_half = evaluation_sets.split_in_halves(Texts())
    assert sorted([*first_half, *second_half]) == list(range(205))
    assert {0, 2} <= set(first_half) or {0, 2} <= set(second_half)
    assert {1, 4} <= set(first_half) or {1, 4} <= set(second_half)
    assert 60 < len(first_half) < 145


def test_resume_and_rebuild(call, work, in_tmp, fast_int8):
    write_config(in_tmp, 'relative: 0.9')
    command = ('--tune', '--data_dir', work / 'MRPC', '--model_dir', work / 'run-MRPC')
    outcome = call(quantize, *command, *BATCHES, '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    before = read_json(in_tmp / 'out' / 'results.json')
    os.remove('out/results.json')
    outcome = call(quantize, *command, '--resume', '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    after = read_json(in_tmp / 'out' / 'results.json')
    for key in ('trials', 'scores', 'kept_in_float'):
        assert after[key] == before[key]
    outcome = call(quantize, *command, '--resume', '--output_dir', 'out', '--rebuild', 1)
    assert outcome.code == 0, outcome.err
    assert set(os.listdir('out/trial-1')) == file_names(INT8_FILES, 'MRPC') | {'results.json'}
    report = read_json(in_tmp / 'out' / 'trial-1' / 'results.json')
    assert report['scores'] == before['scores'] and report['trial'] == 1
    batch = np.arange(5, 17, dtype='int32').reshape(2, 6), np.zeros((2, 6), 'int32'), np.full(2, 6.)
    np.testing.assert_array_equal(*(
        open_exported_pipeline(folder, None, None, mx.cpu(), 1).network(*batch)
        for folder in ('out', 'out/trial-1')))
    assert call(quantize, *command, '--resume', '--output_dir', 'out', '--rebuild', 2).error == \
        'error: --rebuild 2: no such trial: out/trials.jsonl has 1 trials'


def test_locate_labelled_test(work, data_dir):
    """Some tasks have public test labels; GLUE withholds the others."""
    locate = download.locate_labelled_test
    path, table = locate(evaluation_sets.find_task('MRPC'), str(work / 'MRPC'))
    assert path == str(work / 'MRPC' / 'msr_paraphrase_test.txt') and table.label == 'Quality'
    assert locate(evaluation_sets.find_task('SST'), str(work / 'SST-2')) is None
    path, table = locate(evaluation_sets.find_task('XNLI'), str(data_dir / 'ernie' / 'xnli'))
    assert path == str(data_dir / 'ernie' / 'xnli' / 'test.tsv') and table.label == 'label'


def test_refusals(call, work, tiny_bert, in_tmp):
    run = work / 'run-SST'

    def refusal(*arguments):
        outcome = call(quantize, '--data_dir', work / 'SST-2', *arguments)
        assert outcome.code == 2 and not (run / 'quantized').exists()
        return outcome.error
    for flag, value in (('--config', 'x.yaml'), ('--rebuild', 1)):
        assert refusal('--model_dir', run, flag, value) == 'error: %s needs --tune' % flag
    assert refusal('--model_dir', run, '--resume') == 'error: --resume needs --tune'
    assert refusal('--model_dir', run, '--tune', '--rebuild', 1) == \
        'error: --rebuild 1: no run found: give --resume too'
    assert 'nowhere.yaml: can\'t be read: ' in refusal('--model_dir', run, '--tune', '--config',
                                                      'nowhere.yaml', '--output_dir', 'a')
    assert 'holds no model for a task; found: encoder' in refusal(
        '--model_dir', tiny_bert)
    assert refusal('--model_dir', run, '--task_name', 'STS-B') == \
        'error: --task_name STS-B: the task has scores, but the model has 2 classes'
    assert 'no checkpoint in this folder' in refusal('--model_dir', in_tmp)
    path = work / 'SST-2' / 'train.tsv'
    assert refusal('--model_dir', run, '--train_file', path, '--dev_file', path, '--text_columns',
                   'sentence', '--label_column', 'label', '--output_dir', 'b') == (
        'error: --train_file and --dev_file are the same file: the examples for calibration must '
        'not be scored')
    assert '--output_dir %s: this is the folder of the model' % run in refusal('--model_dir', run,
                                                                   '--output_dir', run)
    squad = work / 'run-squad'
    assert refusal('--model_dir', squad, '--label_column', 'a', '--output_dir', 'c') == (
        'error: --label_column: the model in %s is for question answering' % squad)
    assert '-1 found, expected a whole number from 0' in refusal('--model_dir', run, '--seed', -1)
    assert refusal('--model_dir', run, '--task_name', 'MRPC') == \
        'error: --task_name MRPC: the task has pairs, but the model was trained on single texts'
    for flags in ((), ('--task_name', 'SST', '--data_dir', work / 'SST-2', '--bert_checkpoint',
                       tiny_bert, '--output_dir', 'd')):
        assert call(finetune_classifier, '--only_calibration', *flags).error == (
            'error: --only_calibration: no trained model found: give a run of '
            'finetune_classifier.py as --bert_checkpoint, or use quantize.py --model_dir')


def test_a_killed_run_is_not_mixed_with_a_new_one(call, work, in_tmp, fast_int8):
    """The script refuses, or starts anew and removes the rebuilt trials of the old run too."""
    write_config(in_tmp, 'relative: 0.9')
    command = ('--tune', '--model_dir', work / 'run-MRPC', '--data_dir', work / 'MRPC', *BATCHES,
               '--output_dir', 'out')
    assert call(quantize, *command).code == 0
    os.remove('out/results.json')
    os.mkdir('out/trial-1')
    message = ('error: out holds the trials of a tuning run: continue it with --resume, or replace '
               'it with --overwrite_output_dir')
    assert call(quantize, *command).error == message
    assert call(quantize, *command, '--calib_mode', 'naive', '--overwrite_output_dir').code == 0
    assert len((in_tmp / 'out' / 'trials.jsonl').read_text().splitlines()) == 2
    assert not os.path.exists('out/trial-1')
    os.remove('out/results.json')
    assert call(quantize, *command).error == message        # and nothing of the run is lost
    resume = command[:5] + ('--resume', '--output_dir', 'out')
    assert call(quantize, *resume).code == 0
    write_config(in_tmp, 'relative: 0.8')
    outcome = call(quantize, *resume, '--config', 'conf.yaml')
    assert outcome.code == 0 and 'at most 80 % of the float score' in outcome.err
    write_config(in_tmp, 'absolute: 0.2')
    error = call(quantize, *resume, '--config', 'conf.yaml').error
    assert 'these trials belong to other parameters, calibration batches, options, random_seed, ' \
        'kind of goal (relative, absolute) or scored examples' in error


def test_only_trials_of_this_model_are_rebuilt(call, work, in_tmp, fast_int8):
    write_config(in_tmp, 'relative: 0.9')
    shutil.copytree(work / 'run-MRPC', 'run')
    command = ('--tune', '--model_dir', 'run', '--data_dir', work / 'MRPC', '--output_dir', 'out')
    assert call(quantize, *command, *BATCHES).code == 0
    for path in pathlib.Path('run').glob('step-*/model.params'):
        arrays = mx.nd.load(str(path))
        mx.nd.save(str(path), {name: array / 2 if name.endswith('ffn_1.weight') else array
                               for name, array in arrays.items()})
    error = call(quantize, *command, '--resume', '--rebuild', 1).error
    assert error.startswith('error: out/trials.jsonl: these trials belong to other parameters, ')


def test_a_resume_keeps_the_defaults(call, work, in_tmp, fast_int8):
    command = ('--tune', '--model_dir', work / 'run-MRPC', '--data_dir', work / 'MRPC',
               '--output_dir', 'out')
    first_outcome = call(quantize, *command, *BATCHES)
    write_config(in_tmp, 'relative: 0.9')
    resume_outcome = call(quantize, *command, '--resume')
    for outcome in (first_outcome, resume_outcome):
        assert 'configuration: the defaults: a loss of at most 1 % of the float score' in \
            outcome.err
    assert resume_outcome.code == first_outcome.code


def test_labels_in_another_order(call, work, in_tmp):
    """A model of transformers may order its labels so; the scores follow labels, not columns."""
    convert_checkpoint.main([str(work / 'run-MRPC'), 'straight', '--to', 'transformers'])
    shutil.copytree('straight', 'turned')
    tensors = load_file('turned/model.safetensors')
    for name in ('classifier.weight', 'classifier.bias'):
        tensors[name] = np.ascontiguousarray(tensors[name][::-1])
    save_file(tensors, 'turned/model.safetensors', metadata={'format': 'pt'})
    for name, key in (('config.json', 'id2label'), ('task.json', 'labels')):
        values = read_json(in_tmp / 'turned' / name)
        values[key] = {'0': '1', '1': '0'} if key == 'id2label' else ['1', '0']
        (in_tmp / 'turned' / name).write_text(json.dumps(values))
    scores = []
    for folder in ('straight', 'turned'):
        assert call(quantize, '--model_dir', folder, '--data_dir', work / 'MRPC', '--task_name',
                    'MRPC', *BATCHES, '--output_dir', folder + '-int8').code == 0
        scores.append(read_json(in_tmp / (folder + '-int8') / 'results.json')['scores']['dev'])
    assert scores[0]['float'] == scores[1]['float'] and scores[0]['int8'] == scores[1]['int8']


def test_labels_of_another_task(call, work, in_tmp):
    assert call(quantize, '--model_dir', work / 'run-MRPC', '--task_name', 'RTE', '--output_dir',
                'out').error == (
        'error: --task_name RTE: the task has the classes not_entailment, entailment, but the '
        'model has 0, 1. If the model is for this task, rename its classes with '
        'convert_checkpoint.py --classes')


@pytest.mark.parametrize('labels,name,columns,are_placeholders', [
    (['0', '1'], 'mine', None, True), (['LABEL_0', 'LABEL_1'], 'mine', None, True),
    (['entailment', 'not_entailment'], 'mine', [1, 0], False),
    (['NOT_ENTAILMENT', 'Entailment'], 'x', [0, 1], False)])
def test_columns_of_labels(labels, name, columns, are_placeholders):
    task = {'labels': labels, 'name': name}
    assert evaluation_sets.class_columns(find_task('RTE'), task) == columns
    assert evaluation_sets.has_placeholders(find_task('RTE'), task) == are_placeholders


def test_calibration_does_not_resume(call, work, in_tmp):
    """The error about a folder that holds a run doesn't suggest --resume, which is refused."""
    command = ('--model_dir', work / 'run-SST', '--data_dir', work / 'SST-2', *BATCHES,
               '--output_dir', 'out')
    assert call(quantize, *command).code == 0
    assert call(quantize, *command).error == (
        'error: out holds a run: choose another --output_dir, or replace it with '
        '--overwrite_output_dir')


def test_a_resume_finds_its_configuration(call, work, in_tmp, fast_int8, monkeypatch):
    """Also from a folder with another file of that name, and after its own file was deleted."""
    write_config(in_tmp, 'relative: 0.9')
    command = ('--tune', '--model_dir', work / 'run-MRPC', '--data_dir', work / 'MRPC')
    assert call(quantize, *command, *BATCHES, '--output_dir', 'out', '--config',
                'conf.yaml').code == 0
    (in_tmp / 'conf.yaml').unlink()
    os.mkdir('elsewhere')
    monkeypatch.chdir('elsewhere')
    write_config(in_tmp / 'elsewhere', 'relative: 0.01')
    outcome = call(quantize, *command, '--resume', '--output_dir', '../out')
    assert outcome.code == 0, outcome.err
    assert 'configuration: %s' % (in_tmp / 'conf.yaml') in outcome.err
    assert 'at most 90 % of the float score' in outcome.err


def test_an_absolute_goal_that_allows_anything(call, work, in_tmp, fast_int8):
    write_config(in_tmp, 'absolute: 1')
    outcome = call(quantize, '--tune', '--model_dir', work / 'run-MRPC', '--data_dir',
                   work / 'MRPC', *BATCHES, '--output_dir', 'out')
    assert outcome.code == 2
    assert outcome.error.startswith('error: accuracy_criterion.absolute: 1 found, but the score '
                                    'of the float network is only 0.')


def test_examples_of_dev_are_not_calibrated_on(call, work, in_tmp):
    """The script leaves out training rows that dev has too, and counts them."""
    lines = (work / 'SST-2' / 'dev.tsv').read_text().splitlines(True)
    dev_rows = {tuple(line.split()) for line in lines}
    new_lines = [line for line in (work / 'SST-2' / 'train.tsv').read_text().splitlines(True)[1:]
                 if tuple(line.split()) not in dev_rows][:20]
    (in_tmp / 'train.tsv').write_text(''.join(lines[:6] + new_lines))
    command = ('--model_dir', work / 'run-SST', '--dev_file', work / 'SST-2' / 'dev.tsv',
               '--text_columns', 'sentence', '--label_column', 'label', '--output_dir', 'out')
    outcome = call(quantize, *command, '--train_file', 'train.tsv')
    assert outcome.code == 0, outcome.err
    num_left_out = int(re.search(r'train\.tsv: (\d+) of %d examples are left out, because they '
                                 r'are also in \S+dev.tsv'
                                 % (5 + len(new_lines)), outcome.err).group(1))
    assert num_left_out >= 5
    assert read_json(in_tmp / 'out' / 'results.json')['calibrated_on'] == \
        5 + len(new_lines) - num_left_out
    (in_tmp / 'train.tsv').write_text(''.join(lines[:6]))
    outcome = call(quantize, *command, '--train_file', 'train.tsv', '--overwrite_output_dir')
    assert outcome.error == (
        'error: train.tsv: all 5 examples are also in %s, and examples that were used must not be '
        'scored: name other files' % (work / 'SST-2' / 'dev.tsv'))


def test_scores_of_some_rows():
    """A part of the rows is scored with the labels of these rows."""
    outputs = np.array([[0., 1], [1, 0], [0, 1], [1, 0]])
    features = [type('F', (), {'label': np.int32(label), 'valid_length': 1, 'token_ids': None})()
                for label in (1, 0, 0, 0)]
    texts = evaluation_sets.TextSet('x', 'x', features, ('accuracy', 'f1'))
    assert texts.metric == 'f1'
    assert texts.scores(outputs) == {'accuracy': 0.75, 'f1': pytest.approx(2 / 3)}
    assert texts.scores(outputs, np.array([0, 1])) == {'accuracy': 1, 'f1': 1}
    assert texts.score(outputs, np.array([2, 2])) == 0
