"""finetune_classifier.py on tiny models: files, log, numbers, every kind of task."""
import json
import os
import re

import numpy as np
import pytest
from support import tiny
from support.processes import PACKAGE

from bert import finetune_classifier, predict
from bert.data.text import readers
from bert.train.metrics import METRICS


def read_json(path):
    return json.loads(path.read_text(encoding='utf-8'))


@pytest.fixture
def train(call, tiny_bert, in_tmp):
    """train(*flags) → Outcome, with the tiny model and few batches."""
    def train(*flags):
        return call(finetune_classifier, '--bert_checkpoint', tiny_bert, '--max_len', 24,
                    '--lr', 1e-3, '--epochs', 2, '--batch_size', 16, '--log_interval', 2, *flags)
    return train


def test_run_writes_these_files_and_no_others(train, sst, in_tmp, is_picture):
    outcome = train('--task_name', 'SST', '--data_dir', sst)
    assert outcome.code == 0, outcome.err
    run = in_tmp / 'output_dir' / 'SST-001'
    assert set(os.listdir(run)) >= {'options.json', 'log_SST.txt', 'audit.json', 'results.json',
                                    'curves.png', 'SST-2.tsv', 'checkpoints.json'}
    index = read_json(run / 'checkpoints.json')
    assert index['newest'] == 'step-0000008'
    checkpoints = {name for name in os.listdir(run) if name.startswith('step-')}
    assert checkpoints == {index['newest'], index['best']}
    assert set(os.listdir(run)) - checkpoints == {
        'options.json', 'log_SST.txt', 'audit.json', 'results.json', 'curves.png', 'SST-2.tsv',
        'checkpoints.json'}
    assert set(os.listdir(run / index['best'])) == {
        'model.params', 'optimizer.params', 'trainer.json', 'config.json', 'vocab.txt',
        'task.json', 'results.json'}
    assert is_picture(run / 'curves.png')


def test_log_keeps_the_original_lines(train, sst, in_tmp):
    train('--task_name', 'SST', '--data_dir', sst)
    log = (in_tmp / 'output_dir' / 'SST-001' / 'log_SST.txt').read_text()
    for pattern in (
            r'INFO:root:\d\d:\d\d:\d\d Now we are doing BERT classification training on cpu\(0\)!',
            r'training steps=8\n',
            r'\[Epoch 1 Batch 2/4\] loss=\d\.\d{4}, lr=0\.000\d{4}, metrics:accuracy:0\.\d{4}\n',
            r'\[Epoch 2 Batch 4/4\] loss=',
            r'Now we are doing evaluation on dev with cpu\(0\)\.\n',
            r'validation metrics:accuracy:\d\.\d{4}\n',
            r'Time cost=\d+\.\d\ds, throughput=\d+\.\d\d samples/s\n',
            r'params saved in: \S+model\.params\n',
            r'Best model at epoch \d\. Validation metrics:accuracy:',
            r'Finish training step: 8\n'):
        assert re.search(pattern, log), pattern
    assert len(re.findall('validation metrics:', log)) == 2


def test_results_hold_the_scores_of_the_checkpoint(train, call, sst, in_tmp):
    train('--task_name', 'SST', '--data_dir', sst)
    run = in_tmp / 'output_dir' / 'SST-001'
    report = read_json(run / 'results.json')
    outcome = call(predict, '--model_dir', run, '--file', os.path.join(sst, 'dev.tsv'),
                   '--text_columns', 'sentence', '--format', 'jsonl')
    predictions = [json.loads(line)['label'] for line in outcome.out.splitlines()]
    labels = [row[1] for _, row in list(readers.read_rows(os.path.join(sst, 'dev.tsv')))[1:]]
    assert report['metrics']['dev']['accuracy'] == pytest.approx(
        np.mean(np.array(predictions) == np.array(labels)))
    assert report['seed'] == 2 and report['steps'] == 8
    assert report['versions']['mxnet'] == '1.9.1'
    assert report['hardware']['threads'] >= 1
    assert report['examples_per_second'] > 0
    assert len(report['history']) == 2


def test_it_learns(train, sst, in_tmp):
    train('--task_name', 'SST', '--data_dir', sst, '--epochs', 30, '--lr', 5e-3,
          '--dropout', 0, '--output_dir', 'run')
    report = read_json(in_tmp / 'run' / 'results.json')
    assert report['metrics']['dev']['accuracy'] >= 0.9


def test_parameters_depend_on_the_seed_only(train, sst, in_tmp):
    for name, seed in (('a', 1), ('b', 1), ('c', 2)):
        train('--task_name', 'SST', '--data_dir', sst, '--seed', seed, '--output_dir', name,
              '--epochs', 1)
    a, b, c = ((in_tmp / name / 'step-0000004' / 'model.params').read_bytes() for name in 'abc')
    assert a == b
    assert a != c


def test_predictions_are_shown_with_their_sentences(train, sst, tiny_bert):
    outcome = train('--task_name', 'SST', '--data_dir', sst, '--epochs', 1)
    samples, score, commands = outcome.out.split('Some predictions on dev:\n')[1].split('\n\n')
    assert len(samples.splitlines()) == 5
    sentences = {text for text, _ in tiny.sentences(20, 2)}
    for line in samples.splitlines():
        match = re.fullmatch(r'  (right|wrong)  ([01]) (\d+) % \(label ([01])\): (.+)', line)
        assert match and match.group(5) in sentences
        assert (match.group(2) == match.group(4)) == (match.group(1) == 'right')
    labels = [label for _, label in tiny.sentences(20, 2)]
    most_frequent = max(set(labels), key=labels.count)
    match = re.fullmatch(r'Accuracy on dev: ([\d.]+) %\. Always answering "([01])", '
                         r'the most frequent class, gives ([\d.]+) %\.', score)
    assert match.group(2) == str(most_frequent)
    assert float(match.group(3)) == 100 * labels.count(most_frequent) / len(labels)
    run = os.path.relpath(PACKAGE.parent / 'run')
    assert commands.splitlines() == [
        'What next:',
        '  %s predict.py --model_dir output_dir/SST-001 "A text of your own."' % run,
        '  %s serve.py --model_dir output_dir/SST-001' % run,
        '  %s finetune_classifier.py --train_file train.csv --dev_file dev.csv '
        '--text_columns text --label_column label --bert_checkpoint %s' % (run, tiny_bert)]


@pytest.mark.parametrize('dev_file', ['train.csv', 'dev.csv'])
def test_quantize_is_proposed_only_with_examples_to_calibrate_on(train, in_tmp, dev_file):
    for name in ('train.csv', 'dev.csv'):
        (in_tmp / name).write_text('text,label\ngood film,1\nbad film,0\n')
    outcome = train('--train_file', 'train.csv', '--dev_file', dev_file, '--text_columns', 'text',
                    '--label_column', 'label', '--training_steps', 1)
    commands = outcome.out.split('What next:')[1]
    assert ('quantize.py --calib_mode fused' in commands) == (dev_file == 'dev.csv')


def test_submission_has_one_row_per_example(train, sst, in_tmp):
    train('--task_name', 'SST-2', '--data_dir', sst, '--output_dir', 'run')
    lines = (in_tmp / 'run' / 'SST-2.tsv').read_text().splitlines()
    assert lines[0] == 'index\tprediction'
    assert [line.split('\t')[0] for line in lines[1:]] == [str(i) for i in range(10)]
    assert {line.split('\t')[1] for line in lines[1:]} <= {'0', '1'}


def entailment(similarity):
    return 'entailment' if similarity > 0.5 else 'not_entailment'


def inference(similarity):
    return ('contradiction', 'neutral', 'entailment')[int(similarity * 2.99)]


def binary(similarity):
    return int(similarity > 0.5)


PAIR_TASKS = [
    ('MRPC', ('#1 String', '#2 String', 'Quality'), binary, ['MRPC.tsv'], ['accuracy', 'f1']),
    ('QQP', ('question1', 'question2', 'is_duplicate'), binary, ['QQP.tsv'], ['accuracy', 'f1']),
    ('QNLI', ('question', 'sentence', 'label'), entailment, ['QNLI.tsv'], ['accuracy']),
    ('RTE', ('sentence1', 'sentence2', 'label'), entailment, ['RTE.tsv'], ['accuracy']),
    ('WNLI', ('sentence1', 'sentence2', 'label'), binary, ['WNLI.tsv'], ['accuracy']),
    ('STS-B', ('sentence1', 'sentence2', 'score'), lambda s: round(5 * s, 2), ['STS-B.tsv'],
     ['pearsonr', 'spearmanr']),
    ('XNLI', ('text_a', 'text_b', 'label'), inference, ['XNLI.tsv'], ['accuracy']),
    ('LCQMC', ('text_a', 'text_b', 'label'), binary, ['LCQMC.tsv'], ['accuracy']),
]


@pytest.mark.parametrize('task,header,make_label,submissions,metrics', PAIR_TASKS,
                         ids=[row[0] for row in PAIR_TASKS])
def test_pair_task(task, header, make_label, submissions, metrics, train, in_tmp):
    folder = tiny.write_pairs(in_tmp / 'data', header, make_label)
    outcome = train('--task_name', task, '--data_dir', folder, '--output_dir', 'run',
                    '--epochs', 1)
    assert outcome.code == 0, outcome.err
    report = read_json(in_tmp / 'run' / 'results.json')
    assert list(report['metrics']['dev']) == metrics
    for name in submissions:
        rows = [line.split('\t') for line in
                (in_tmp / 'run' / name).read_text().splitlines()[1:]]
        assert len(rows) == 8
        if task == 'STS-B':
            assert all(re.fullmatch(r'-?\d\.\d{3}', value) for _, value in rows)
        else:
            assert {value for _, value in rows} <= {str(make_label(s / 6)) for s in range(7)}
    if task in ('XNLI', 'LCQMC'):       # public test labels: test has scores too
        assert 'accuracy' in report['metrics']['test']


def test_mnli_has_two_dev_sets_and_two_submissions(train, in_tmp):
    folder = tiny.write_pairs(
        in_tmp / 'MNLI', ('sentence1', 'sentence2', 'gold_label'), inference,
        files={'dev': ['dev_matched.tsv', 'dev_mismatched.tsv'],
               'test': ['test_matched.tsv', 'test_mismatched.tsv']})
    train('--task_name', 'MNLI', '--data_dir', folder, '--output_dir', 'run', '--early_stop', 1,
          '--lr', '1e-9', '--epochs', 3)
    report = read_json(in_tmp / 'run' / 'results.json')
    assert set(report['metrics']) == {'dev_matched', 'dev_mismatched'}
    # patience counts epochs, not dev sets: stops after the second epoch, not in the first
    assert [entry['epoch'] for entry in report['history']] == [1, 2]
    assert (in_tmp / 'run' / 'MNLI-m.tsv').exists() and (in_tmp / 'run' / 'MNLI-mm.tsv').exists()


def test_cola_has_no_header_in_train_and_dev(train, in_tmp):
    for kind, num_rows in (('train', 30), ('dev', 12)):
        tiny.write_tsv(in_tmp / 'CoLA' / (kind + '.tsv'), None,
                       [('gj04', label, '*', text) for text, label in tiny.sentences(num_rows, 4)])
    tiny.write_tsv(in_tmp / 'CoLA' / 'test.tsv', ('index', 'sentence'),
                   [(i, text) for i, (text, _) in enumerate(tiny.sentences(5, 6))])
    assert train('--task_name', 'CoLA', '--output_dir', 'run').code == 0    # finds ./CoLA
    report = read_json(in_tmp / 'run' / 'results.json')
    assert list(report['metrics']['dev']) == ['mcc', 'accuracy']
    assert read_json(in_tmp / 'run' / 'audit.json')['segments']['train']['rows'] == 30


def test_chinese_task(train, in_tmp):
    for kind in ('train', 'dev', 'test'):
        tiny.write_tsv(in_tmp / 'chnsenticorp' / (kind + '.tsv'), ('label', 'text_a'),
                       [(i % 2, '电影 good' if i % 2 else '电影bad') for i in range(20)])
    assert train('--task_name', 'ChnSentiCorp', '--output_dir', 'run').code == 0
    assert read_json(in_tmp / 'run' / 'audit.json')['segments']['dev']['labels'] == \
        {'0': 10, '1': 10}


# A user's own files

def make_rows(kind):
    return tiny.sentences({'train': 40, 'dev': 16, 'test': 6}[kind],
                          {'train': 1, 'dev': 2, 'test': 3}[kind])


def write_files(folder, ending):
    """Write train, dev and test with the columns review and mood. Returns the flags for them."""
    paths = {}
    for kind in ('train', 'dev', 'test'):
        rows = [(text, ('sad', 'glad')[label]) for text, label in make_rows(kind)]
        path = folder / ('%s.%s' % (kind, ending))
        if ending == 'jsonl':
            path.write_text(''.join(json.dumps({'review': text, 'mood': mood}) + '\n'
                                    for text, mood in rows))
        else:
            row_format = '"%s, ""indeed""",%s\n' if ending == 'csv' else '%s\t%s\n'
            path.write_text(row_format.replace('"%s, ""indeed"""', 'review') % 'mood'
                            if ending == 'csv' else 'review\tmood\n')
            with open(path, 'a') as out:
                out.writelines(row_format % row for row in rows)
        paths[kind] = path
    return ['--train_file', paths['train'], '--dev_file', paths['dev'],
            '--test_file', paths['test']]


@pytest.mark.parametrize('ending', ['csv', 'tsv', 'jsonl'])
def test_classes_come_from_the_label_column(ending, train, in_tmp):
    outcome = train('--output_dir', 'run', '--text_columns', 'review', '--label_column', 'mood',
                    *write_files(in_tmp, ending))
    assert outcome.code == 0, outcome.err
    checkpoint = read_json(in_tmp / 'run' / 'checkpoints.json')['best']
    task = read_json(in_tmp / 'run' / checkpoint / 'task.json')
    assert task == {'name': 'train', 'labels': ['glad', 'sad'], 'pair': False,
                    'metrics': ['accuracy', 'f1'], 'max_len': 24}
    lines = (in_tmp / 'run' / 'test_predictions.tsv').read_text().splitlines()
    assert len(lines) == 7 and {line.split('\t')[1] for line in lines[1:]} <= {'glad', 'sad'}


def test_own_files_that_lie_in_the_run_folder_are_kept(train, in_tmp):
    files = write_files(in_tmp, 'tsv')
    before = {path: path.read_bytes() for path in files[1::2]}
    flags = ['--output_dir', '.', '--text_columns', 'review', '--label_column', 'mood', *files]
    assert train(*flags).code == 0
    assert train(*flags, '--overwrite_output_dir', '--epochs', 1).code == 0
    assert {path: path.read_bytes() for path in before} == before
    assert (in_tmp / 'test_predictions.tsv').exists()


def test_classes_keep_the_order_of_the_flag(train, in_tmp):
    train('--output_dir', 'run', '--text_columns', 'review', '--label_column', 'mood',
          '--classes', 'sad,glad', *write_files(in_tmp, 'tsv'))
    checkpoint = read_json(in_tmp / 'run' / 'checkpoints.json')['best']
    assert read_json(in_tmp / 'run' / checkpoint / 'task.json')['labels'] == ['sad', 'glad']


def test_own_regression_without_header(train, in_tmp):
    for kind in ('train', 'dev'):
        tiny.write_tsv(in_tmp / ('%s.tsv' % kind), None,
                       [(label + 0.5, text) for text, label in make_rows(kind)])
    outcome = train('--train_file', 'train.tsv', '--dev_file', 'dev.tsv', '--regression',
                    '--text_columns', 1, '--label_column', 0, '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    report = read_json(in_tmp / 'run' / 'results.json')
    assert list(report['metrics']['dev']) == ['pearsonr', 'spearmanr']
    assert re.search(r'  -?\d+\.\d\d \(label [01]\.5\): ', outcome.out)


@pytest.mark.parametrize('ending', ['csv', 'tsv', 'jsonl'])
def test_a_labelled_test_file_is_scored(ending, train, in_tmp):
    flags = write_files(in_tmp, ending)
    outcome = train('--output_dir', 'run', '--text_columns', 'review', '--label_column', 'mood',
                    *flags)
    metrics = read_json(in_tmp / 'run' / 'results.json')['metrics']
    assert set(metrics['test']) == {'accuracy', 'f1'} and 'test metrics:accuracy:' in outcome.err
    rows = (in_tmp / 'run' / 'test_predictions.tsv').read_text().splitlines()[1:]
    labels = [('sad', 'glad')[label] for _, label in make_rows('test')]
    right = [row.split('\t')[1] == label for row, label in zip(rows, labels)]
    assert metrics['test']['accuracy'] == pytest.approx(sum(right) / len(labels))


@pytest.mark.parametrize('label, shown', [('', ''), ('-1', '-1'), ('furious', 'furious')])
def test_a_test_file_with_other_labels_is_predicted_only(label, shown, train, in_tmp, caplog):
    flags = write_files(in_tmp, 'tsv')
    with open(flags[-1], 'a') as out:
        out.write('the plot was bad\t%s\n' % label)
    train('--output_dir', 'run', '--text_columns', 'review', '--label_column', 'mood',
          '--epochs', 1, *flags)
    assert ('%s: the file is not scored: found the label "%s", expected one of glad, sad in each '
            'row'
            % (flags[-1], shown)) in caplog.messages
    assert set(read_json(in_tmp / 'run' / 'results.json')['metrics']) == {'dev'}
    assert len((in_tmp / 'run' / 'test_predictions.tsv').read_text().splitlines()) == 8


def test_labels_that_differ_in_spelling_are_warned_of_and_not_joined(train, in_tmp, caplog):
    spellings = ['pos', 'pos ', 'Pos', '1', '1.0', '\ufb01ne', 'fine', 'other']
    tiny.write_tsv(in_tmp / 'a.tsv', ('t', 'c'), [('good', label) for label in spellings * 2])
    outcome = train('--train_file', 'a.tsv', '--dev_file', 'a.tsv', '--text_columns', 't',
                    '--label_column', 'c', '--epochs', 1, '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    for group in (('Pos', 'pos', 'pos '), ('1', '1.0'), ('fine', '\ufb01ne')):
        assert ('column "c": the classes %s differ only in spelling: spell them the same way if '
                'they are one class'
                % ' and '.join('%r (rows: 4)' % label for label in group)) in caplog.messages
    assert caplog.text.count('differ only in spelling') == 3
    labels = read_json(in_tmp / 'run' / 'audit.json')['segments']['train']['labels']
    assert labels == dict.fromkeys(spellings, 2)


def test_a_header_where_columns_are_numbers(train, in_tmp, caplog):
    rows = [('good film', 'glad'), ('bad film', 'sad')] * 5
    flags = ['--text_columns', 0, '--label_column', 1, '--epochs', 1, '--train_file', 'a.tsv',
             '--dev_file', 'b.tsv']
    tiny.write_tsv(in_tmp / 'a.tsv', ('text', 'label'), rows)
    tiny.write_tsv(in_tmp / 'b.tsv', ('text', 'label'), rows)
    train('--output_dir', 'run', *flags)
    for name in 'ab':
        assert ('%s.tsv:1: this row looks like a header: no other row has its label "label"; name '
                'the columns instead of numbering them, or remove the row' % name
                ) in caplog.messages
    for name in 'ab':
        tiny.write_tsv(in_tmp / (name + '.tsv'), None, rows)
    caplog.clear()
    train('--output_dir', 'run2', *flags)
    assert 'looks like a header' not in caplog.text


def test_labels_with_tabs_and_line_ends_cannot_break_a_table(train, in_tmp):
    rows = [('good film', 'very\tglad'), ('bad film', 'rather\nsad')] * 4
    with open(in_tmp / 'a.jsonl', 'w') as out:
        out.writelines(json.dumps({'t': text, 'c': label}) + '\n' for text, label in rows)
    outcome = train('--train_file', 'a.jsonl', '--dev_file', 'a.jsonl', '--test_file', 'a.jsonl',
                    '--text_columns', 't', '--label_column', 'c', '--epochs', 1, '--output_dir',
                    'run')
    assert outcome.code == 0, outcome.err
    lines = (in_tmp / 'run' / 'test_predictions.tsv').read_text().splitlines()
    assert len(lines) == 9 and {len(line.split('\t')) for line in lines} == {2}
    assert {line.split('\t')[1] for line in lines[1:]} <= {'very glad', 'rather sad'}


def test_training_data_may_move_before_a_resume(train, in_tmp):
    tiny.write_tsv(in_tmp / 'a.tsv', ('t', 'c'), [('good film', 'x'), ('bad film', 'y')] * 5)
    flags = ['--text_columns', 't', '--label_column', 'c', '--dev_file', 'a.tsv', '--output_dir',
             'run', '--train_file']
    assert train(*flags, 'a.tsv').code == 0
    (in_tmp / 'moved.tsv').write_text((in_tmp / 'a.tsv').read_text())
    outcome = train('--output_dir', 'run', '--resume', '--train_file', 'moved.tsv')
    assert outcome.code == 0, outcome.err
    (in_tmp / 'moved.tsv').write_text('t\tc\ngood\tx\nbad\ty\n')
    assert 'the training examples differ from those of the run in run' in train(
        '--output_dir', 'run', '--resume', '--train_file', 'moved.tsv').error


def test_label_missing_from_train_gives_a_warning(train, in_tmp):
    tiny.write_tsv(in_tmp / 'a.tsv', ('t', 'c'), [('good film', 'x'), ('bad film', 'y')] * 5)
    tiny.write_tsv(in_tmp / 'b.tsv', ('t', 'c'), [('good film', 'x'), ('bad film', 'z')])
    outcome = train('--train_file', 'a.tsv', '--dev_file', 'b.tsv', '--text_columns', 't',
                    '--label_column', 'c', '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    assert 'warning: train has no examples of these labels: z' in outcome.err


# Before training

def test_bad_rows_of_own_files_may_be_skipped_too(train, in_tmp):
    flags = write_files(in_tmp, 'tsv')
    with open(flags[1], 'a') as out:
        out.write('a row without a mood\n')
    outcome = train('--output_dir', 'run', '--text_columns', 'review', '--label_column', 'mood',
                    '--skip_bad_rows', *flags)
    assert outcome.code == 0, outcome.err
    rejected = read_json(in_tmp / 'run' / 'audit.json')['segments']['train']['rejected']
    assert [row['line'] for row in rejected] == [42]


def test_audit_counts_truncated_examples(train, sst, in_tmp):
    outcome = train('--task_name', 'SST', '--data_dir', sst, '--max_len', 8, '--epochs', 1,
                    '--output_dir', 'run')
    num_truncated = sum(len(text.split()) + 2 > 8 for text, _ in tiny.sentences(60, 1))
    audit = read_json(in_tmp / 'run' / 'audit.json')
    assert audit['segments']['train']['truncated'] == num_truncated > 0
    assert '--max_len 8 truncates %d examples' % num_truncated in outcome.err
    labels = [label for _, label in tiny.sentences(60, 1)]
    assert audit['segments']['train']['labels'] == {'0': labels.count(0), '1': labels.count(1)}


def test_bad_rows_are_reported_when_skipped(train, in_tmp):
    folder = in_tmp / 'SST-2'
    tiny.write_sst(folder)
    with open(folder / 'train.tsv', 'a') as out:
        out.write('a film\t7\nno label\n')
    outcome = train('--task_name', 'SST', '--output_dir', 'stopped')
    assert outcome.code == 2
    assert outcome.error == 'error: ./SST-2/train.tsv:62: label "7": expected one of 0, 1'
    outcome = train('--task_name', 'SST', '--skip_bad_rows', '--output_dir', 'run')
    assert outcome.code == 0
    rejected = read_json(in_tmp / 'run' / 'audit.json')['segments']['train']['rejected']
    assert rejected == [
        {'line': 62, 'reason': './SST-2/train.tsv:62: label "7": expected one of 0, 1'},
        {'line': 63, 'reason': './SST-2/train.tsv:63: 1 column found, expected 2'}]
    assert 'rejected rows: 2' in outcome.err


# Options of training

def test_training_steps_end_the_run(train, sst, in_tmp):
    train('--task_name', 'SST', '--data_dir', sst, '--training_steps', 6, '--output_dir', 'run')
    report = read_json(in_tmp / 'run' / 'results.json')
    assert report['steps'] == 6
    assert [entry['step'] for entry in report['history']] == [4, 6]


def test_early_stop(train, sst, in_tmp):
    outcome = train('--task_name', 'SST', '--data_dir', sst, '--early_stop', 2, '--lr', 1e-9,
                    '--epochs', 9, '--output_dir', 'run')
    assert 'Early stopping at epoch 3' in outcome.err
    report = read_json(in_tmp / 'run' / 'results.json')
    assert report['stopped_early'] and len(report['history']) == 3


def test_accumulation_loses_nothing_at_the_end_of_an_epoch(train, sst, in_tmp):
    # 60 examples make 8 batches of 8; a step takes 3 batches, the third step of an epoch 2
    train('--task_name', 'SST', '--data_dir', sst, '--batch_size', 8, '--accumulate', 3,
          '--output_dir', 'run')
    assert read_json(in_tmp / 'run' / 'results.json')['steps'] == 6


@pytest.mark.parametrize('optimizer', ['adam', 'lamb', 'sgd'])
def test_other_optimizers(optimizer, train, sst, in_tmp):
    outcome = train('--task_name', 'SST', '--data_dir', sst, '--optimizer', optimizer,
                    '--epochs', 1, '--output_dir', 'run')
    assert outcome.code == 0, outcome.err


def test_seeds_give_mean_and_deviation(train, sst, in_tmp):
    outcome = train('--task_name', 'SST', '--data_dir', sst, '--seeds', '1,2,3',
                    '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    report = read_json(in_tmp / 'run' / 'results.json')
    values = [read_json(in_tmp / 'run' / ('seed-%d' % seed) / 'results.json')
              ['metrics']['dev']['accuracy'] for seed in (1, 2, 3)]
    spread = report['metrics']['dev']['accuracy']
    assert spread['values'] == values and report['seeds'] == [1, 2, 3]
    assert spread['mean'] == pytest.approx(np.mean(values))
    assert spread['sd'] == pytest.approx(np.std(values, ddof=1))
    assert 'dev accuracy over 3 seeds: %.4f ± %.4f' % (spread['mean'], spread['sd']) \
        in outcome.err
    outcome = train('--task_name', 'SST', '--data_dir', sst, '--seeds', '1', '--epochs', 1,
                    '--output_dir', 'one')
    spread = read_json(in_tmp / 'one' / 'results.json')['metrics']['dev']['accuracy']
    assert spread['sd'] is None and len(spread['values']) == 1
    assert 'dev accuracy over 1 seeds: %.4f (one seed has no spread)' % spread['mean'] in \
        outcome.err


def test_only_inference_evaluates_once(train, call, sst, tiny_bert, in_tmp):
    train('--task_name', 'SST', '--data_dir', sst, '--output_dir', 'run')
    checkpoint = read_json(in_tmp / 'run' / 'checkpoints.json')['best']
    outcome = train('--task_name', 'SST', '--data_dir', sst, '--only_inference', '--output_dir',
                    'again', '--model_parameters', in_tmp / 'run' / checkpoint / 'model.params')
    assert outcome.code == 0, outcome.err
    assert outcome.err.count('validation metrics:') == 1
    expected, actual = (read_json(in_tmp / name / 'results.json')['metrics']
                        for name in ('run', 'again'))
    assert expected == actual
    assert (in_tmp / 'run' / 'SST-2.tsv').read_text() == \
        (in_tmp / 'again' / 'SST-2.tsv').read_text()
    assert not [name for name in os.listdir(in_tmp / 'again') if name.startswith('step-')]


def test_untrained_head_gives_a_warning(train, sst):
    outcome = train('--task_name', 'SST', '--data_dir', sst, '--only_inference')
    assert 'the head is untrained' in outcome.err


def test_encoder_parameters_alone(train, call, sst, tiny_bert, in_tmp):
    """--pretrained_bert_parameters takes the encoder of a whole classifier."""
    train('--task_name', 'SST', '--data_dir', sst, '--output_dir', 'run')
    checkpoint = read_json(in_tmp / 'run' / 'checkpoints.json')['best']
    outcome = train('--task_name', 'SST', '--data_dir', sst, '--output_dir', 'more', '--epochs',
                    1, '--pretrained_bert_parameters', in_tmp / 'run' / checkpoint / 'model.params')
    assert outcome.code == 0, outcome.err
    assert 'classifier.1.weight' in outcome.err     # the log names it as unused


def test_run_folder_is_a_checkpoint(train, call, sst, in_tmp):
    train('--task_name', 'SST', '--data_dir', sst, '--output_dir', 'run')
    outcome = call(finetune_classifier, '--bert_checkpoint', 'run', '--task_name', 'SST',
                   '--data_dir', sst, '--max_len', 24, '--epochs', 1, '--output_dir', 'more')
    assert outcome.code == 0, outcome.err


def test_max_samples_come_from_the_whole_file(train, in_tmp):
    rows = [('good film', 1)] * 30 + [('bad film', 0)] * 30     # sorted by label
    for kind in ('train', 'dev'):
        tiny.write_tsv(in_tmp / 'SST-2' / (kind + '.tsv'), ('sentence', 'label'), rows)
    train('--task_name', 'SST', '--max_train_samples', 20, '--max_eval_samples', 10,
          '--output_dir', 'run')
    segments = read_json(in_tmp / 'run' / 'audit.json')['segments']
    assert segments['train']['rows'] == 20 and segments['dev']['rows'] == 10
    assert min(segments['train']['labels'].values()) >= 4


def test_max_eval_samples_does_not_shorten_the_submission(train, sst, in_tmp):
    train('--task_name', 'SST', '--data_dir', sst, '--max_eval_samples', 3, '--output_dir', 'run')
    assert len((in_tmp / 'run' / 'SST-2.tsv').read_text().splitlines()) == 11
    assert read_json(in_tmp / 'run' / 'audit.json')['segments']['dev']['rows'] == 3


def test_bad_test_row_is_never_skipped(train, in_tmp):
    tiny.write_sst(in_tmp / 'SST-2')
    with open(in_tmp / 'SST-2' / 'test.tsv', 'a') as out:
        out.write('no column\n')
    outcome = train('--task_name', 'SST', '--skip_bad_rows')
    assert outcome.error == 'error: ./SST-2/test.tsv:12: 1 column found, expected 2'


def test_metrics_of_all_tasks_exist():
    from bert.data.glue.tasks import TASKS
    assert {name for task in TASKS.values() for name in task.metrics} <= set(METRICS)
