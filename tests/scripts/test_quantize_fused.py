"""quantize.py --calib_mode fused, and deploy.py of what it writes: INT8 by the fused kernels."""
import dataclasses
import json
import os

import mxnet as mx
import numpy as np
import pytest
import tiny
from commands import spawn
from small_squad import QUICK, read_json, write_files

from bert import answer, deploy, finetune_classifier, finetune_squad, predict, quantize
from bert.jobs import labelled
from bert.jobs.trained import open_trained
from bert.model.bert import compute_in
from bert.model.kernels.quantizer import FusedQuantizer
from bert.quantization.tune import symbol_block

WIDE = dataclasses.replace(tiny.CONFIG, units=64, hidden_size=96)     # the kernels serve it
FILES = {'model_bert_%s_quantized_fused-symbol.json', 'model_bert_%s_quantized_fused-0000.params',
         'config.json', 'vocab.txt', 'task.json', 'options.json', 'results.json', 'quantize.log'}
OPERATORS = ['bert.encoder.transformer_cells.%d.%s' % (layer, name) for layer in (0, 1) for name in
             ('attention_cell.query_key_value', 'proj', 'ffn.ffn_1', 'ffn.ffn_2')]
REFUSED = ('%s: --calib_mode fused made it, and it takes the fused CPU kernels with int8, which '
           'are not here (docs/kernels.rst): quantize the model by another --calib_mode')


def names(task):
    return {name % task if '%' in name else name for name in FILES}


@pytest.fixture(scope='module')
def work(tmp_path_factory):
    """A folder with runs of a small model on SST-2 and SQuAD, and their data."""
    folder = tmp_path_factory.mktemp('fused')
    bert = tiny.write_checkpoint(folder / 'bert', WIDE)
    tiny.write_sst(folder / 'SST-2', dev=60)
    finetune_classifier.main(['--bert_checkpoint', bert, '--threads', '1', '--lr', '1e-3',
                              '--epochs', '2', '--task_name', 'SST', '--max_len', '24',
                              '--data_dir', str(folder / 'SST-2'), '--output_dir',
                              str(folder / 'run-SST')])
    finetune_squad.main([str(word) for word in write_files(folder, dev=40) + QUICK] + [
        '--bert_checkpoint', bert, '--output_dir', str(folder / 'run-squad')])
    return folder


@pytest.fixture
def int8(kernels):
    if 'int8' not in kernels.dtypes:
        pytest.skip('there are no kernels for this CPU')


def test_a_classifier(call, int8, work, in_tmp):
    outcome = call(quantize, '--model_dir', work / 'run-SST', '--data_dir', work / 'SST-2',
                   '--calib_mode', 'fused', '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    assert set(os.listdir('out')) == names('SST') and 'calibration' not in outcome.err
    report = read_json(in_tmp / 'out' / 'results.json')
    assert (report['calibrated_on'], report['operators']) == (0, OPERATORS)
    assert report['scores']['dev']['loss']['value'] == pytest.approx(0, abs=0.05)

    def outputs(script, *flags):
        done = call(script, '--format', 'jsonl', '--file', work / 'SST-2' / 'dev.tsv',
                    '--text_columns', 'sentence', '--output', in_tmp / 'x.jsonl', '--overwrite',
                    *flags)
        assert done.code == 0, done.err
        return [list(read['probabilities'].values()) for read in
                map(json.loads, (in_tmp / 'x.jsonl').read_text().splitlines())]
    served = outputs(deploy, '--model_dir', 'out')
    assert served == outputs(predict, '--model_dir', work / 'run-SST', '--dtype', 'int8')
    exact = outputs(predict, '--model_dir', work / 'run-SST')
    assert served != exact
    np.testing.assert_allclose(served, exact, atol=0.03)


def test_question_answering(call, int8, work, in_tmp):
    outcome = call(quantize, '--model_dir', work / 'run-squad', '--train_file',
                   work / 'train.json', '--dev_file', work / 'dev.json', '--calib_mode', 'fused',
                   '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    assert set(os.listdir('out')) == names('squad')
    (in_tmp / 'text.txt').write_text('The film was good and the place was small.')
    given = 'what was good', 'text.txt'
    served = call(deploy, '--model_dir', 'out', *given)
    expected = call(answer, '--model_dir', work / 'run-squad', '--dtype', 'int8', *given)
    assert served.code == 0 and served.out == expected.out


def test_tuning(call, int8, work, in_tmp):
    """A goal that only float reaches: products return to float one after another."""
    (in_tmp / 'conf.yaml').write_text('tuning: {accuracy_criterion: {absolute: 0.0}, '
                                      'exit_policy: {max_trials: 4}}')
    arguments = ('--tune', '--model_dir', work / 'run-SST', '--data_dir', work / 'SST-2',
                 '--calib_mode', 'fused', '--calib_batch_size', 4, '--output_dir', 'out')
    real, seen = labelled.LabelledTexts.score, []

    def worse(self, outputs, rows=None):        # of anything but the float network, the first one
        seen.append(outputs.tobytes())
        return real(self, outputs, rows) - 0.1 * (seen[-1] != seen[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labelled.LabelledTexts, 'score', worse)
        outcome = call(quantize, *arguments)
    assert outcome.code == 1, outcome.err
    report = read_json(in_tmp / 'out' / 'results.json')
    kept = [trial['kept'] for trial in report['trials']]
    assert list(map(len, kept)) == [0, 1, 2, 3]
    assert set(report['harms']) == set(OPERATORS) >= set(kept[-1])
    assert kept[-1] == sorted(report['harms'], key=report['harms'].get, reverse=True)[:3]


@pytest.mark.parametrize('flags,message', [
    (('--num_calib_batches', 3), '--num_calib_batches: --calib_mode fused: its products are int8, '
                                 'and nothing is calibrated'),
    (('--quantized_dtype', 'uint8'), '--quantized_dtype: --calib_mode fused: its products are '
                                     'int8, and nothing is calibrated')])
def test_flags_that_would_do_nothing(call, work, in_tmp, flags, message):
    outcome = call(quantize, '--model_dir', work / 'run-SST', '--data_dir', work / 'SST-2',
                   '--calib_mode', 'fused', '--output_dir', 'out', *flags)
    assert (outcome.code, outcome.error) == (2, 'error: ' + message)


def test_without_the_kernels(call, int8, work, in_tmp, monkeypatch):
    arguments = ('--model_dir', str(work / 'run-SST'), '--data_dir', str(work / 'SST-2'),
                 '--calib_mode', 'fused', '--output_dir', 'out')
    assert call(quantize, *arguments).code == 0
    path = os.path.join('out', 'model_bert_SST_quantized_fused-symbol.json')
    for kernels in ('0', 'avx2'):
        env = {'BERT_KERNELS': kernels}
        refused = spawn('deploy.py', '--model_dir', 'out', 'good', env=env)
        assert (refused.code, refused.error) == (2, 'error: ' + REFUSED % path)
        refused = spawn('quantize.py', *arguments, '--overwrite_output_dir', env=env)
        assert (refused.code, refused.error) == (
            2, 'error: no fused kernels with int8 for this CPU and network: see docs/kernels.rst, '
               'or take another --calib_mode')


def test_products_that_are_kept(int8, work):
    """All: the network in bfloat16, or float32, bit by bit. One after another: nearer to it."""
    network = open_trained(str(work / 'run-SST'), mx.cpu()).network
    random = np.random.RandomState(0)
    batch = (random.randint(10, size=(6, 20)), random.randint(2, size=(6, 20)),
             np.array([20, 3, 7, 20, 1, 12]))
    quantizer = FusedQuantizer(network)
    assert list(quantizer.operators) == OPERATORS and quantizer.calibrate([]) == {}

    def outputs(kept):
        return symbol_block(*quantizer.quantize(kept))(*batch).asnumpy()
    compute_in(network, 'bfloat16')
    expected = network(*[mx.nd.array(one, dtype='float32') for one in batch]).asnumpy()
    assert np.array_equal(outputs(OPERATORS), expected) == network.bert.is_fused('bfloat16')
    errors = [np.abs(outputs(OPERATORS[:n]) - expected).max() for n in (0, 4, 8)]
    assert errors[0] > errors[2] and errors[1] > errors[2]
    assert len({outputs([name]).tobytes() for name in OPERATORS} | {outputs([]).tobytes()}) == 9
