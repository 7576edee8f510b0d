"""predict.py: texts from arguments, files and standard input; answers in the same order."""
import json

import mxnet as mx
import numpy as np
import pytest
from support import tiny
from support.processes import spawn

from bert import finetune_classifier, predict
from bert.pipelines.opening import open_pipeline


@pytest.fixture(scope='module')
def model(tmp_path_factory, tiny_bert, sst):
    folder = tmp_path_factory.mktemp('predict') / 'run'
    finetune_classifier.main(['--bert_checkpoint', tiny_bert, '--task_name', 'SST', '--data_dir',
                              sst, '--max_len', '12', '--lr', '1e-2', '--output_dir',
                              str(folder)])
    return folder


@pytest.fixture(scope='module')
def pair_model(tmp_path_factory, tiny_bert):
    folder = tmp_path_factory.mktemp('pairs')
    data = tiny.write_pairs(folder / 'STS-B', ('sentence1', 'sentence2', 'score'),
                            lambda similarity: 5 * similarity)
    finetune_classifier.main(['--bert_checkpoint', tiny_bert, '--task_name', 'STS-B',
                              '--data_dir', data, '--max_len', '24', '--output_dir',
                              str(folder / 'run'), '--epochs', '1'])
    return folder / 'run'


def expected_probabilities(folder, texts):
    """Probabilities (texts, classes). The network gets each text alone and unpadded."""
    model = open_pipeline(str(folder), mx.cpu())
    rows = []
    for text in texts:
        token_ids = [2] + list(model.tokenizer.encode([text])[0][:10]) + [3]
        logits = model.network(mx.nd.array([token_ids], dtype='int32'),
                               mx.nd.zeros((1, len(token_ids)), dtype='int32'),
                               mx.nd.array([len(token_ids)])).asnumpy()[0]
        rows.append(np.exp(logits) / np.exp(logits).sum())
    return np.array(rows)


def test_arguments(model, call):
    texts = ['the film was good', 'awful']
    outcome = call(predict, '--model_dir', model, *texts)
    assert outcome.code == 0, outcome.err
    header, *rows = [line.split('\t') for line in outcome.out.splitlines()]
    assert header == ['label', 'probability', 'text']
    for row, text, expected in zip(rows, texts, expected_probabilities(model, texts)):
        assert row[2] == text and row[0] == str(expected.argmax())
        assert float(row[1]) == pytest.approx(expected.max(), abs=1e-4)


def test_batches_keep_the_order_of_the_file(model, call, tmp_path):
    texts = [text for text, _ in tiny.sentences(50, 9)]
    (tmp_path / 'texts.txt').write_text('\n'.join(texts) + '\n')
    outcome = call(predict, '--model_dir', model, '--file', tmp_path / 'texts.txt', '--format',
                   'jsonl', '--batch_size', 7)
    answers = [json.loads(line) for line in outcome.out.splitlines()]
    assert [answer['text'] for answer in answers] == texts
    np.testing.assert_allclose([[answer['probabilities'][label] for label in '01']
                                for answer in answers], expected_probabilities(model, texts),
                               atol=1e-5)


def test_regression_on_pairs_from_columns(pair_model, call, tmp_path):
    rows = [('good film', 'great film'), ('it was poor', 'the plot')]
    tiny.write_tsv(tmp_path / 'pairs.tsv', ('id', 'left', 'right'),
                   [(i,) + row for i, row in enumerate(rows)])
    outcome = call(predict, '--model_dir', pair_model, '--file', tmp_path / 'pairs.tsv',
                   '--text_columns', 'left,right')
    header, *lines = [line.split('\t') for line in outcome.out.splitlines()]
    assert header == ['score', 'text_a', 'text_b']
    assert [tuple(line[1:]) for line in lines] == rows
    assert all(np.isfinite(float(line[0])) for line in lines)


def test_output_file_is_not_overwritten(model, call, tmp_path):
    (tmp_path / 'out.tsv').write_text('mine')
    flags = ('--model_dir', model, '--output', tmp_path / 'out.tsv', 'good')
    outcome = call(predict, *flags)
    assert outcome.error == ('error: --output %s: it exists: choose another name, or give '
                             '--overwrite' % (tmp_path / 'out.tsv'))
    assert (tmp_path / 'out.tsv').read_text() == 'mine'
    assert call(predict, '--overwrite', *flags).code == 0
    assert (tmp_path / 'out.tsv').read_text().startswith('label\tprobability\ttext\n')


def test_cut_texts_are_counted(model, call):
    outcome = call(predict, '--model_dir', model, 'good ' * 11, 'good')
    assert outcome.err == ('warning: 1 of 2 texts were cut at 12 tokens, the length the model '
                           'was trained with\n')


@pytest.mark.parametrize('arguments,message', [
    (('a', '--file', 'b.txt'), 'give texts as arguments or with --file, not both'),
    (('--file', 'none.txt'), 'none.txt: can\'t be read: No such file or directory'),
    (('--file', 'x.csv'), '--file x.csv: this model reads one text: name the column with '
                          '--text_columns'),
    (('--file', 'empty.txt'), 'empty.txt: no text in it'),
])
def test_errors(arguments, message, model, call, in_tmp):
    (in_tmp / 'empty.txt').write_text('')
    outcome = call(predict, '--model_dir', model, *arguments)
    assert outcome.code == 2 and outcome.error == 'error: ' + message


def test_pairs_need_two_texts(pair_model, call, in_tmp):
    assert call(predict, '--model_dir', pair_model, 'alone').error == \
        'error: 1 texts given, but this model reads pairs: give two texts for each pair'
    (in_tmp / 'pairs.txt').write_text('one\ttwo\nthree\n')
    assert call(predict, '--model_dir', pair_model, '--file', 'pairs.txt').error == \
        'error: pairs.txt:2: 1 texts found, expected 2 with a tab between them'


def test_standard_input_in_a_process_of_its_own(model, tmp_path):
    with open(tmp_path / 'in', 'w') as out:
        out.write('good film\nbad film\n')
    with open(tmp_path / 'in') as texts:
        outcome = spawn('predict.py', '--model_dir', model, '--format', 'jsonl', stdin=texts)
    assert outcome.code == 0, outcome.err
    assert [json.loads(line)['text'] for line in outcome.out.splitlines()] == \
        ['good film', 'bad film']


def test_task_file_of_another_program(model, call, tmp_path):
    import shutil
    folder = shutil.copytree(str(next(model.glob('step-*'))), str(tmp_path / 'copy'))
    (tmp_path / 'copy' / 'task.json').write_text('{"name": "x", "labels": ["a", "b"]}')
    assert call(predict, '--model_dir', folder, 'good').error == (
        'error: %s/task.json: no key "pair": expected the task file of a classifier of this package'
        % folder)
