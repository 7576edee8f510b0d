"""quantize.py --calib_mode fused, and deploy.py of what it writes: INT8 by the fused kernels."""
import dataclasses
import json
import os

import numpy as np
import pytest
from support import tiny
from support.processes import spawn
from support.small_squad import QUICK, read_json, write_files

from bert import answer, deploy, finetune_classifier, finetune_squad, predict, quantize

WIDE_CONFIG = dataclasses.replace(tiny.CONFIG, units=64, hidden_size=96)   # the kernels support it
FILES = {'model_bert_%s_quantized_fused-symbol.json', 'model_bert_%s_quantized_fused-0000.params',
         'config.json', 'vocab.txt', 'task.json', 'options.json', 'results.json', 'quantize.log'}
OPERATORS = ['bert.encoder.transformer_cells.%d.%s' % (layer, name) for layer in (0, 1) for name in
             ('attention_cell.query_key_value', 'proj', 'ffn.ffn_1', 'ffn.ffn_2')]
REFUSAL = ('%s: a model that --calib_mode fused made needs the fused CPU kernels, which are not '
           'available here (docs/kernels.rst): quantize the model with another --calib_mode')


def file_names(task):
    return {name % task if '%' in name else name for name in FILES}


@pytest.fixture(scope='module')
def work(tmp_path_factory):
    """A folder with runs of a small model on SST-2 and SQuAD, and their data."""
    folder = tmp_path_factory.mktemp('fused')
    bert = tiny.write_checkpoint(folder / 'bert', WIDE_CONFIG)
    tiny.write_sst(folder / 'SST-2', dev=60)
    finetune_classifier.main(['--bert_checkpoint', bert, '--threads', '1', '--lr', '1e-3',
                              '--epochs', '2', '--task_name', 'SST', '--max_len', '24',
                              '--data_dir', str(folder / 'SST-2'), '--output_dir',
                              str(folder / 'run-SST')])
    finetune_squad.main([str(word) for word in write_files(folder, dev=40) + QUICK] + [
        '--bert_checkpoint', bert, '--output_dir', str(folder / 'run-squad')])
    return folder


def test_a_classifier(call, kernels, work, in_tmp):
    outcome = call(quantize, '--model_dir', work / 'run-SST', '--data_dir', work / 'SST-2',
                   '--calib_mode', 'fused', '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    assert set(os.listdir('out')) == file_names('SST') and 'calibration' not in outcome.err
    report = read_json(in_tmp / 'out' / 'results.json')
    assert (report['calibrated_on'], report['operators']) == (0, OPERATORS)
    assert report['scores']['dev']['loss']['value'] == pytest.approx(0, abs=0.05)

    def outputs(script, *flags):
        outcome = call(script, '--format', 'jsonl', '--file', work / 'SST-2' / 'dev.tsv',
                       '--text_columns', 'sentence', '--output', in_tmp / 'x.jsonl', '--overwrite',
                       *flags)
        assert outcome.code == 0, outcome.err
        return [list(row['probabilities'].values()) for row in
                map(json.loads, (in_tmp / 'x.jsonl').read_text().splitlines())]
    int8_outputs = outputs(deploy, '--model_dir', 'out')
    assert int8_outputs == outputs(predict, '--model_dir', work / 'run-SST', '--dtype', 'int8')
    float_outputs = outputs(predict, '--model_dir', work / 'run-SST')
    assert int8_outputs != float_outputs
    np.testing.assert_allclose(int8_outputs, float_outputs, atol=0.03)


def test_question_answering(call, kernels, work, in_tmp):
    outcome = call(quantize, '--model_dir', work / 'run-squad', '--train_file',
                   work / 'train.json', '--dev_file', work / 'dev.json', '--calib_mode', 'fused',
                   '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    assert set(os.listdir('out')) == file_names('squad')
    (in_tmp / 'text.txt').write_text('The film was good and the place was small.')
    arguments = 'what was good', 'text.txt'
    outcome = call(deploy, '--model_dir', 'out', *arguments)
    expected = call(answer, '--model_dir', work / 'run-squad', '--dtype', 'int8', *arguments)
    assert outcome.code == 0 and outcome.out == expected.out


def test_tuning(call, kernels, work, in_tmp, only_float_is_good):
    """A goal that only float reaches: products return to float one after another."""
    (in_tmp / 'conf.yaml').write_text('tuning: {accuracy_criterion: {absolute: 0.0}, '
                                      'exit_policy: {max_trials: 4}}')
    arguments = ('--tune', '--model_dir', work / 'run-SST', '--data_dir', work / 'SST-2',
                 '--calib_mode', 'fused', '--calib_batch_size', 4, '--output_dir', 'out')
    outcome = call(quantize, *arguments)
    assert outcome.code == 1, outcome.err
    report = read_json(in_tmp / 'out' / 'results.json')
    kept_products = [trial['kept'] for trial in report['trials']]
    assert list(map(len, kept_products)) == [0, 1, 2, 3]
    assert set(report['harms']) == set(OPERATORS) >= set(kept_products[-1])
    assert kept_products[-1] == sorted(report['harms'], key=report['harms'].get, reverse=True)[:3]


@pytest.mark.parametrize('script', [quantize, finetune_classifier])
@pytest.mark.parametrize('flag,value', [('--num_calib_batches', 3), ('--calib_batch_size', 3),
                                        ('--max_train_samples', 3), ('--quantized_dtype', 'uint8')])
def test_flags_that_would_do_nothing(call, work, in_tmp, script, flag, value):
    model_flags = {quantize: ('--model_dir', work / 'run-SST'), finetune_classifier: (
        '--only_calibration', '--task_name', 'SST', '--bert_checkpoint', work / 'bert',
        '--model_parameters', work / 'none.params')}
    outcome = call(script, *model_flags[script], '--data_dir', work / 'SST-2', '--calib_mode',
                   'fused', '--output_dir', 'out', flag, value)
    assert (outcome.code, outcome.error) == (2, 'error: %s: --calib_mode fused always computes in '
                                                'int8, and calibrates nothing: leave the flag out'
                                                % flag)
    assert not os.path.exists('out')


def test_only_calibration(call, kernels, work, in_tmp):
    checkpoint = work / 'run-SST' / read_json(work / 'run-SST' / 'checkpoints.json')['best']
    outcome = call(finetune_classifier, '--task_name', 'SST', '--data_dir', work / 'SST-2',
                   '--bert_checkpoint', work / 'bert', '--model_parameters',
                   checkpoint / 'model.params', '--only_calibration', '--max_len', 24,
                   '--calib_mode', 'fused', '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    assert call(quantize, '--model_dir', work / 'run-SST', '--data_dir', work / 'SST-2',
                '--calib_mode', 'fused', '--output_dir', 'other').code == 0
    scores = [read_json(in_tmp / name / 'results.json')['scores'] for name in ('out', 'other')]
    assert scores[0] == scores[1]


@pytest.mark.process
def test_without_the_kernels(call, kernels, work, in_tmp, monkeypatch):
    arguments = ('--model_dir', str(work / 'run-SST'), '--data_dir', str(work / 'SST-2'),
                 '--calib_mode', 'fused', '--output_dir', 'out')
    assert call(quantize, *arguments).code == 0
    path = os.path.join('out', 'model_bert_SST_quantized_fused-symbol.json')
    environment = {'BERT_KERNELS': '0'}
    outcome = spawn('deploy.py', '--model_dir', 'out', 'good', env=environment)
    assert (outcome.code, outcome.error) == (2, 'error: ' + REFUSAL % path)
    outcome = spawn('quantize.py', *arguments, '--overwrite_output_dir', env=environment)
    assert (outcome.code, outcome.error) == (
        2, 'error: no fused kernels for this CPU and network: see docs/kernels.rst, '
           'or use another --calib_mode')


@pytest.mark.process
def test_on_another_cpu(call, kernels, work, in_tmp):
    """The kernels of one library run a file made by another's, with nearly the same scores."""
    arguments = ('--model_dir', str(work / 'run-SST'), '--data_dir', str(work / 'SST-2'),
                 '--calib_mode', 'fused')
    assert call(quantize, *arguments, '--output_dir', 'here').code == 0
    avx2_env = {'BERT_KERNELS': 'avx2'}
    assert spawn('quantize.py', *arguments, '--output_dir', 'there', env=avx2_env).code == 0

    def probabilities(folder, env):
        outcome = spawn('deploy.py', '--model_dir', folder, '--format', 'jsonl', 'good',
                        'bad', env=env)
        assert outcome.code == 0, outcome.error
        return [list(json.loads(line)['probabilities'].values())
                for line in outcome.out.splitlines()]
    expected = probabilities('here', {})
    actual = [probabilities(folder, env) for folder, env in
              (('here', avx2_env), ('there', avx2_env), ('there', {}))]
    np.testing.assert_allclose(actual, [expected] * 3, atol=0.01)
    # attention has other types, or at least adds up in another order
    assert kernels.name == 'avx2' or actual[0] != expected
