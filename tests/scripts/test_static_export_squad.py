"""static_export_squad.py on a tiny model: files, the symbol's scores, honest timing."""
import os
import re

import mxnet as mx
import numpy as np
import pytest
from support.small_squad import QUICK, read_json, write_files

from bert import finetune_squad, static_export_squad
from bert.export.symbol import import_network
from bert.jobs.exporting import static_shapes
from bert.pipelines.question_answering import open_question_answerer

SYMBOL_FILES = {'static_net-symbol.json', 'static_net-0000.params'}
EXPORT_FILES = {'options.json', 'results.json', 'static_export_squad.log'}
DESCRIPTION_FILES = {'config.json', 'vocab.txt', 'task.json'}
SIZES = ('--seq_length', 24, '--max_query_length', 6, '--doc_stride', 5)


@pytest.fixture
def run(call, tiny_bert, in_tmp):
    """Path of a small run of finetune_squad.py."""
    outcome = call(finetune_squad, *write_files(in_tmp), '--bert_checkpoint', tiny_bert, *QUICK,
                   '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    return 'run'


def test_export_of_a_run(call, run, in_tmp):
    outcome = call(static_export_squad, '--bert_checkpoint', run, *SIZES, '--export')
    assert outcome.code == 0, outcome.err
    folder = in_tmp / 'output_dir' / 'static-export-001'
    assert set(os.listdir(folder)) == SYMBOL_FILES | EXPORT_FILES | DESCRIPTION_FILES
    report = read_json(folder / 'results.json')
    assert report['largest_difference'] <= 1e-5
    assert (report['seq_length'], report['input_size']) == (24, 8)
    symbol = import_network(str(folder), 'static_net', mx.cpu())
    token_ids = mx.nd.array(np.random.RandomState(0).randint(5, 20, size=(3, 24)), dtype='int32')
    valid_length = mx.nd.array([24, 10, 3])
    network = open_question_answerer(run, mx.cpu()).network
    np.testing.assert_allclose(symbol(token_ids, token_ids * 0, valid_length).asnumpy(),
                               network(token_ids, token_ids * 0, valid_length).asnumpy(), atol=1e-5)


def test_sizes_of_the_run(call, run, in_tmp, monkeypatch):
    """Without flags the export has the window size of training, and the task beside the symbol."""
    assert call(static_export_squad, '--bert_checkpoint', run, '--export', '--output_dir',
                'a').code == 0
    assert read_json(in_tmp / 'a' / 'results.json')['seq_length'] == 20
    checkpoint = in_tmp / 'run' / read_json(in_tmp / 'run' / 'checkpoints.json')['best']
    assert read_json(in_tmp / 'a' / 'task.json') == read_json(checkpoint / 'task.json')
    assert call(static_export_squad, '--bert_checkpoint', run, '--export', '--seq_length', 16,
                '--output_dir', 'b').code == 0
    assert read_json(in_tmp / 'b' / 'task.json')['max_len'] == 16


def test_export_by_parameters(call, run, tiny_bert, in_tmp):
    """With the model's name (here its checkpoint) and net.params, as in the original."""
    outcome = call(static_export_squad, '--bert_checkpoint', tiny_bert, '--model_parameters',
                   'run/net.params', *SIZES, '--export', '--output_dir', 'a')
    assert outcome.code == 0, outcome.err
    call(static_export_squad, '--bert_checkpoint', run, *SIZES, '--export', '--output_dir', 'b')
    actual, expected = (mx.nd.load('%s/static_net-0000.params' % name) for name in 'ab')
    assert [array.asnumpy().tolist() for array in actual.values()] == \
        [array.asnumpy().tolist() for array in expected.values()]


def test_evaluate_counts_windows_and_waits_for_them(call, run, in_tmp, monkeypatch):
    """Throughput is windows a second, not batches (the original printed batches)."""
    clock = iter(range(100))
    monkeypatch.setattr(static_shapes.time, 'perf_counter', lambda: next(clock))
    outcome = call(static_export_squad, '--bert_checkpoint', run, *SIZES, '--evaluate',
                   '--test_batch_size', 7, '--num_batches', 3, '--output_dir', 'timed')
    assert outcome.code == 0, outcome.err
    report = read_json(in_tmp / 'timed' / 'results.json')
    assert report['seconds_a_batch'] == [1, 1, 1]
    assert report['samples_per_second'] == 7
    assert set(os.listdir(in_tmp / 'timed')) == EXPORT_FILES
    assert re.search(r'Time cost=1\.000 s a batch \(median of 3, 1\.000 to 1\.000\), '
                     r'Throughput=7\.00 samples/s \(batch 7, 24 tokens\)\n', outcome.err)


def test_a_network_that_differs_is_an_error(call, run, monkeypatch):
    monkeypatch.setattr(static_shapes, 'MAX_DIFFERENCE', -1.0)
    outcome = call(static_export_squad, '--bert_checkpoint', run, *SIZES, '--export',
                   '--output_dir', 'a')
    assert outcome.code == 2
    assert 'the exported symbol differs by ' in outcome.error


def test_nothing_to_do(call, in_tmp):
    assert call(static_export_squad).error == (
        'error: nothing to do: give --export, --evaluate or both')


def test_sizes_that_dont_fit(call, run, monkeypatch):
    outcome = call(static_export_squad, '--bert_checkpoint', run, '--export', '--seq_length', 24,
                   '--max_seq_length', 30, '--max_query_length', 6)
    assert outcome.error == ('error: --max_seq_length 30: windows of that size don\'t fit into '
                             '--seq_length 24')
    outcome = call(static_export_squad, '--bert_checkpoint', run, '--export', *SIZES,
                   '--input_size', 768)
    assert outcome.error == ('error: --input_size 768: the width of this model is 8: leave the '
                             'setting out')
    monkeypatch.setenv('INPUTSIZE', '1024')
    outcome = call(static_export_squad, '--bert_checkpoint', run, '--export', *SIZES)
    assert outcome.error == ('error: the environment variable INPUTSIZE 1024: the width of this '
                             'model is 8: leave the setting out')


def test_an_export_is_not_overwritten(call, run, in_tmp):
    flags = ('--bert_checkpoint', run, *SIZES, '--export', '--output_dir', 'a')
    assert call(static_export_squad, *flags).code == 0
    assert call(static_export_squad, *flags).error.startswith('error: a holds a run: ')
    assert call(static_export_squad, *flags, '--overwrite_output_dir').code == 0
