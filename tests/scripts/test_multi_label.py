"""finetune_classifier.py --multi_label, and every script that takes its models."""
import json
import os
import signal

import numpy as np
import pytest
from sklearn.metrics import f1_score
from support import tiny

from bert import deploy, finetune_classifier, predict, quantize
from bert.export import export
from bert.jobs.finetuning.classifier_task import ClassifierTask

FILES = ('--train_file', 'train.csv', '--dev_file', 'dev.csv', '--text_columns', 'text')
MULTI_LABEL = (*FILES, '--multi_label')
LABELS = '--label_column', 'labels'
INDICATORS = '--label_columns', 'good,bad'


def read_json(path):
    with open(path, encoding='utf-8') as file:
        return json.load(file)


def write_files(folder):
    """The same texts and labels in all forms."""
    for name, count, seed in (('train', 120, 1), ('dev', 24, 2), ('test', 10, 3)):
        rows = tiny.label_sets(count, seed)
        for ending, separator in (('csv', ','), ('tsv', '\t')):
            lines = ['text', 'labels', 'good', 'bad'], *(
                [text, '"%s"' % ','.join(labels) if ending == 'csv' else '|'.join(labels),
                 str(int('good' in labels)), str(int('bad' in labels))] for text, labels in rows)
            (folder / ('%s.%s' % (name, ending))).write_text(
                ''.join(separator.join(line) + '\n' for line in lines))
        (folder / (name + '.jsonl')).write_text(''.join(
            json.dumps({'text': text, 'labels': labels}) + '\n' for text, labels in rows))
    return folder


@pytest.fixture
def files(in_tmp):
    return write_files(in_tmp)


@pytest.fixture
def train(call, roomy_bert, files):
    def train(*flags):
        return call(finetune_classifier, '--bert_checkpoint', roomy_bert, '--max_len', 24,
                    '--lr', 1e-3, '--epochs', 1, '--batch_size', 16, *flags)
    return train


@pytest.fixture(scope='module')
def work(tmp_path_factory, roomy_bert):
    """A folder with files, a run on them, and its export."""
    folder = write_files(tmp_path_factory.mktemp('multi'))
    finetune_classifier.main([
        '--bert_checkpoint', roomy_bert, '--max_len', '24', '--lr', '5e-3', '--epochs', '15',
        '--batch_size', '16', '--dropout', '0', '--optimizer', 'adamw', '--threads', '1',
        '--multi_label',
        *(word if word in ('--text_columns', 'text') or word.startswith('--')
          else str(folder / word) for word in FILES), '--test_file', str(folder / 'test.csv'),
        *LABELS, '--output_dir', str(folder / 'run')])
    export.main(['--model_dir', str(folder / 'run'), '--output_dir', str(folder / 'symbol')])
    return folder


def scores(rows, records):
    """The F1 of records of predict.py by scikit-learn."""
    gold, predicted = (np.array([[name in labels for name in ('bad', 'good')] for labels in column])
                       for column in ([labels for _, labels in rows],
                                      [record['labels'] for record in records]))
    return {name + '_f1': pytest.approx(f1_score(gold, predicted, average=name, zero_division=0))
            for name in ('micro', 'macro')}


def predict_rows(call, work, rows, *flags):
    """What predict.py says of the texts of rows."""
    outcome = call(predict, '--model_dir', work / 'run', '--format', 'jsonl',
                   *(text for text, _ in rows), *flags)
    assert outcome.code == 0, outcome.err
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_it_learns(work, call):
    report = read_json(work / 'run' / 'results.json')
    assert report['metrics']['dev']['micro_f1'] > 0.75       # 0.65 for both labels everywhere
    for name, count, seed in (('dev', 24, 2), ('test', 10, 3)):
        rows = tiny.label_sets(count, seed)
        records = predict_rows(call, work, rows)
        assert report['metrics'][name] == scores(rows, records)
        if name == 'test':
            assert (work / 'run' / 'test_predictions.tsv').read_text().splitlines()[1:] == [
                '%d\t%s' % (i, ','.join(record['labels'])) for i, record in enumerate(records)]
    assert max(entry['metrics']['dev']['micro_f1'] for entry in report['history']) == \
        report['metrics']['dev']['micro_f1']        # it picks the best checkpoint
    task = read_json(next((work / 'run').glob('step-*')) / 'task.json')
    assert task == {'name': 'train', 'labels': ['bad', 'good'], 'pair': False, 'kind':
                    'multi_label', 'threshold': 0.5, 'metrics': ['micro_f1', 'macro_f1'],
                    'max_len': 24}


def test_the_audit_counts_labels_and_texts_without(work):
    rows = tiny.label_sets(120, 1)
    audit = read_json(work / 'run' / 'audit.json')['segments']['train']
    assert audit['labels'] == {name: sum(name in labels for _, labels in rows)
                               for name in ('bad', 'good')}
    assert audit['without_labels'] == sum(not labels for _, labels in rows) > 0
    assert 'warning: train: %d of 120 texts have no label' % audit['without_labels'] in (
        work / 'run' / 'log_train.txt').read_text()


def test_all_forms_of_labels_train_the_same_model(train, files):
    forms = {'csv': LABELS, 'tsv': (*LABELS, '--label_separator', '|'), 'jsonl': LABELS,
             'columns': INDICATORS}
    parameters = {}
    for form, flags in forms.items():
        ending = 'csv' if form == 'columns' else form
        outcome = train('--multi_label', '--train_file', 'train.' + ending, '--dev_file',
                        'dev.' + ending, '--text_columns', 'text', *flags, '--output_dir', form,
                        *(() if form == 'columns' else ('--classes', 'good,bad')))
        assert outcome.code == 0, outcome.err
        parameters[form] = next((files / form).glob('step-*/model.params')).read_bytes()
        assert ' (labels ' in outcome.out
        assert '  right  ' in outcome.out or '  wrong  ' in outcome.out
    assert len(set(parameters.values())) == 1


def test_a_resume_is_equal(train, files, monkeypatch):
    flags = (*MULTI_LABEL, *LABELS, '--threshold', 0.4)
    train(*flags, '--output_dir', 'whole')
    forward, num_calls = ClassifierTask.forward, []

    def forward_and_interrupt(self, batch):
        num_calls.append(1)
        if len(num_calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return forward(self, batch)
    with monkeypatch.context() as patch:
        patch.setattr(ClassifierTask, 'forward', forward_and_interrupt)
        assert train(*flags, '--output_dir', 'parts').code == 130
    assert [path.name for path in files.glob('parts/step-*')] == ['step-0000003']
    outcome = train('--resume', '--output_dir', 'parts')
    assert 'resumed from' in outcome.err and outcome.code == 0, outcome.err
    for name in ('model.params', 'optimizer.params', 'task.json'):
        assert (files / 'parts' / 'step-0000008' / name).read_bytes() == (
            files / 'whole' / 'step-0000008' / name).read_bytes()
    assert read_json('parts/results.json')['metrics'] == read_json('whole/results.json')['metrics']
    assert read_json('parts/step-0000008/task.json')['threshold'] == 0.4


def test_seeds_give_mean_and_deviation(train, files):
    outcome = train(*MULTI_LABEL, *LABELS, '--seeds', '1,2', '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    spreads = read_json('run/results.json')['metrics']['dev']
    single = [read_json('run/seed-%d/results.json' % seed)['metrics']['dev'] for seed in (1, 2)]
    for name in ('micro_f1', 'macro_f1'):
        values = [metrics[name] for metrics in single]
        assert spreads.pop(name) == {'values': values, 'mean': pytest.approx(np.mean(values)),
                                     'sd': pytest.approx(np.std(values, ddof=1))}
        assert 'dev %s over 2 seeds: %.4f ± %.4f' % (
            name, np.mean(values), np.std(values, ddof=1)) in outcome.err
    assert not spreads and single[0] != single[1]


def test_pairs_and_a_single_label(train, call):
    outcome = train('--train_file', 'train.tsv', '--dev_file', 'dev.tsv', '--text_columns',
                    'text,labels', '--multi_label', '--label_columns', 'good', '--output_dir',
                    'run', '--max_train_samples', 32)
    assert outcome.code == 0, outcome.err
    outcome = call(predict, '--model_dir', 'run', '--format', 'jsonl', '--threshold', 0.01,
                   'so good', 'the film')
    record = json.loads(outcome.out)
    assert record['text_b'] == 'the film' and record['labels'] == ['good']
    assert 0 < record['probabilities']['good'] < 1


def test_the_predictions_of_test_have_the_separator_of_its_labels(work, train):
    parameters = next((work / 'run').glob('step-*/model.params'))
    flags = ('--multi_label', '--only_inference', '--model_parameters', parameters, '--classes',
             'bad,good', '--text_columns', 'text', *LABELS)
    lines = {}
    for ending, separator in (('csv', ','), ('tsv', '|')):
        train(*flags, '--test_file', 'test.' + ending, '--dev_file', 'dev.' + ending,
              '--label_separator', separator, '--output_dir', ending)
        with open(ending + '/test_predictions.tsv') as file:
            lines[ending] = file.read()
    assert lines['csv'].replace(',', '|') == lines['tsv'] and 'bad|good' in lines['tsv']


def test_only_inference(call, work, train):
    parameters = next((work / 'run').glob('step-*/model.params'))
    outcome = train(*MULTI_LABEL, *LABELS, '--only_inference', '--model_parameters', parameters,
                    '--output_dir', 'scores')
    assert outcome.code == 0, outcome.err
    expected = read_json(work / 'run' / 'results.json')['metrics']['dev']
    assert read_json('scores/results.json')['metrics']['dev'] == pytest.approx(expected)


# ---- predict.py and deploy.py

def test_lines_of_predictions(call, work):
    texts = [text for text, _ in tiny.label_sets(12, 7)]
    records = predict_rows(call, work, [(text, None) for text in texts])
    assert {len(record['labels']) for record in records} == {0, 1, 2}
    for path, script in (('run', predict), ('symbol', deploy)):
        outcome = call(script, '--model_dir', work / path, *texts)
        assert outcome.code == 0, outcome.err
        assert outcome.out.splitlines() == ['labels\tprobabilities\ttext', *(
            '\t'.join((','.join(record['labels']), ','.join(
                '%.4f' % record['probabilities'][label] for label in record['labels']), text))
            for text, record in zip(texts, records))]
    assert all(list(record['probabilities']) == ['bad', 'good'] for record in records)


def test_the_threshold_overrides_that_of_the_model(call, work):
    rows = tiny.label_sets(20, 5)
    for threshold in (0.001, 0.999):
        for record in predict_rows(call, work, rows, '--threshold', threshold):
            assert record['labels'] == [label for label, p in record['probabilities'].items()
                                        if p >= threshold]
        outcome = call(deploy, '--model_dir', work / 'symbol', '--threshold', threshold, 'so good')
        assert outcome.out.splitlines()[1].startswith(
            'bad,good\t' if threshold < 0.5 else ('good\t', '\t'))


def test_texts_of_a_file_and_of_standard_input(call, work, tmp_path, monkeypatch):
    (tmp_path / 'texts.txt').write_text('so good\nso bad\n')
    outcome = call(predict, '--model_dir', work / 'run', '--file', tmp_path / 'texts.txt')
    records = predict_rows(call, work, [('so good', ()), ('so bad', ())])
    assert [line.split('\t')[0] for line in outcome.out.splitlines()] == ['labels', *(
        ','.join(record['labels']) for record in records)]
    with open(tmp_path / 'texts.txt') as stream:
        monkeypatch.setattr('sys.stdin', stream)
        assert call(predict, '--model_dir', work / 'run', '--file', '-').out == outcome.out


def test_a_label_with_a_comma_is_named(call, tmp_path):
    folder = tiny.write_with_head(
        tmp_path / 'model', 'BertForSequenceClassification', tiny.CLASSIFIER_HEAD,
        id2label={'0': 'bad, very', '1': 'b', '2': 'c'}, problem_type='multi_label_classification')
    warning = ('warning: the label "bad, very" contains a comma, but commas separate labels here: '
               'give --format jsonl to tell them apart')
    assert warning in call(predict, '--model_dir', folder, 'so').err
    assert warning not in call(predict, '--model_dir', folder, 'so', '--format', 'jsonl').err


@pytest.mark.parametrize('flags', [LABELS, INDICATORS])
def test_scores_of_an_export(call, work, tmp_path, flags, caplog):
    command = ('--model_dir', work / 'symbol', '--evaluate', '--dev_file', work / 'dev.csv',
               '--text_columns', 'text', *flags, '--output', tmp_path / 'scores.json')
    outcome = call(deploy, *command)
    assert outcome.code == 0, outcome.err
    assert 'dev.csv: %d of 24 texts have no label' % sum(
        not labels for _, labels in tiny.label_sets(24, 2)) in caplog.text
    report = read_json(tmp_path / 'scores.json')
    assert report['task'] == 'multi_label'
    assert report['metrics']['dev'] == pytest.approx(
        read_json(work / 'run' / 'results.json')['metrics']['dev'])
    call(deploy, *command, '--threshold', 0.999999, '--overwrite')
    assert read_json(tmp_path / 'scores.json')['metrics']['dev']['micro_f1'] == 0


# ---- INT8

@pytest.mark.parametrize('mode', [
    pytest.param('customize', marks=pytest.mark.exhaustive), 'fused'])
def test_quantized(call, work, in_tmp, mode, request):
    if mode == 'fused':
        request.getfixturevalue('kernels')
    outcome = call(quantize, '--model_dir', work / 'run', '--train_file', work / 'train.csv',
                   '--dev_file', work / 'dev.csv', '--text_columns', 'text', *LABELS,
                   '--calib_mode', mode, '--output_dir', 'out',
                   *(('--calib_batch_size', 8, '--num_calib_batches', 2) * (mode != 'fused')))
    assert outcome.code == 0, outcome.err
    dev = read_json('out/results.json')['scores']['dev']
    assert dev['metric'] == 'micro_f1'
    assert dev['int8']['micro_f1'] == pytest.approx(dev['float']['micro_f1'], abs=0.1)
    rows = tiny.label_sets(12, 7)
    outcome = call(deploy, '--model_dir', 'out', '--format', 'jsonl', *(text for text, _ in rows))
    assert outcome.code == 0, outcome.err
    for line, record in zip(outcome.out.splitlines(), predict_rows(call, work, rows), strict=True):
        probabilities = json.loads(line)['probabilities']
        assert json.loads(line)['labels'] == [name for name, p in probabilities.items() if p >= 0.5]
        # MXNet's operators saturate on a CPU without VNNI
        assert mode == 'customize' or probabilities == pytest.approx(record['probabilities'],
                                                                     abs=0.1)


@pytest.mark.exhaustive
def test_tuned(call, work, in_tmp, fast_int8):
    outcome = call(quantize, '--tune', '--model_dir', work / 'run', '--train_file',
                   work / 'train.csv', '--dev_file', work / 'dev.csv', '--text_columns', 'text',
                   *INDICATORS, '--calib_batch_size', 8, '--num_calib_batches', 2,
                   '--output_dir', 'out')
    assert outcome.code in (0, 1), outcome.err
    scores_of_halves = read_json('out/results.json')['scores']
    assert [values['metric'] for values in scores_of_halves.values()] == ['micro_f1']


def test_only_calibration(work, train):
    parameters = next((work / 'run').glob('step-*/model.params'))
    outcome = train(*MULTI_LABEL, *LABELS, '--only_calibration', '--model_parameters', parameters,
                    '--calib_mode', 'naive', '--calib_batch_size', 8, '--output_dir', 'int8')
    assert outcome.code == 0, outcome.err
    assert read_json('int8/results.json')['scores']['dev']['metric'] == 'micro_f1'
    assert {'model_bert_train_quantized_naive-symbol.json', 'task.json'} <= set(os.listdir('int8'))


# ---- mistakes

@pytest.mark.parametrize('flags,message', [
    ((*MULTI_LABEL, *LABELS, '--regression'),
     '--regression and --multi_label: give one of the two'),
    ((*MULTI_LABEL, *LABELS, *INDICATORS),
     '--label_column and --label_columns: give one of the two'),
    ((*MULTI_LABEL, *INDICATORS, '--label_separator', ';'),
     '--label_columns and --label_separator: columns of 0 and 1 have no separator'),
    ((*MULTI_LABEL, *INDICATORS, '--classes', 'good,bad'),
     '--classes and --label_columns: give one of the two'),
    ((*FILES, *INDICATORS), '--label_columns: it needs --multi_label'),
    ((*FILES, *LABELS, '--label_separator', ';'), '--label_separator: it needs --multi_label'),
    ((*FILES, *LABELS, '--threshold', '0.4'), '--threshold: it needs --multi_label'),
    (('--task_name', 'SST', '--multi_label'),
     '--multi_label is for files of your own: give --train_file and --dev_file'),
    ((*MULTI_LABEL, *LABELS, '--threshold', '1'),
     'argument --threshold: 1 found, expected a number above 0 and below 1'),
    (MULTI_LABEL, '--label_column or --label_columns is needed with files of your own: name the '
                  'columns'),
    ((*MULTI_LABEL, '--label_columns', 'good,good'), '--label_columns good,good: expected '
                                                     'different names, none of them empty'),
    ((*MULTI_LABEL, *LABELS, '--classes', 'good,good'), '--classes good,good: expected different '
                                                        'names, none of them empty'),
    ((*MULTI_LABEL, '--text_columns', '0', '--label_columns', '2,3'),
     '--label_columns 2,3: the names of the columns are the labels: use files with a header'),
    ((*MULTI_LABEL, *LABELS, '--classes', 'good'), 'train.csv:'),
    ((*MULTI_LABEL, '--label_columns', 'good,labels'), 'train.csv:2: "labels" is "'),
    ((*MULTI_LABEL, '--label_columns', 'good,awful'), 'train.csv: no column "awful"; its columns'),
])
def test_flags_that_do_not_fit(train, flags, message):
    outcome = train(*flags)
    assert outcome.code == 2 and outcome.error.startswith('error: ' + message), outcome.err


def test_a_column_without_labels(train, files):
    (files / 'none.csv').write_text('text,labels\nso,\nit,\n')
    outcome = train('--train_file', 'none.csv', '--dev_file', 'none.csv', '--text_columns', 'text',
                    '--multi_label', *LABELS)
    assert outcome.error == 'error: column "labels" holds no label in any row'


@pytest.mark.parametrize('content,warning', [
    ('text\nso good\n', 'the test file is not scored: test.csv: no column "labels"'),
    ('text,labels\nso good,"good,long"\n',
     'the test file is not scored: test.csv:2: label "long": expected one of bad, good'),
    ('text,labels\nso good,\n', None)])
def test_a_test_file_that_is_not_scored(train, files, content, warning, caplog):
    (files / 'test.csv').write_text(content)
    outcome = train(*MULTI_LABEL, *LABELS, '--test_file', 'test.csv', '--output_dir', 'run')
    assert outcome.code == 0, outcome.err
    assert 'test' not in read_json('run/results.json')['metrics']
    warnings = [record.getMessage() for record in caplog.records
                if 'is not scored' in record.getMessage()]
    assert [line.startswith(warning) for line in warnings] == ([] if warning is None else [True])
    assert len((files / 'run' / 'test_predictions.tsv').read_text().splitlines()) == 2


def test_labels_that_the_model_lacks(call, work, tmp_path):
    (tmp_path / 'dev.csv').write_text('text,labels\nso good,good\nso long,"bad,long"\n')
    outcome = call(deploy, '--model_dir', work / 'symbol', '--evaluate', '--dev_file',
                   tmp_path / 'dev.csv', '--text_columns', 'text', *LABELS)
    assert outcome.error == 'error: %s:3: label "long": expected one of bad, good' % (
        tmp_path / 'dev.csv')


@pytest.mark.parametrize('columns', ['good', 'good,bad,text', 'good,awful'])
def test_columns_that_are_not_the_labels_of_the_model(call, work, columns):
    outcome = call(deploy, '--model_dir', work / 'symbol', '--evaluate', '--dev_file',
                   work / 'dev.csv', '--text_columns', 'text', '--label_columns', columns)
    assert outcome.error == ('error: --label_columns %s: the labels of the model are bad,good: '
                             'name a column for each' % columns)


def test_other_models_have_no_threshold(call, work, tmp_path):
    folder = tiny.write_classifier(tmp_path / 'classifier')
    assert call(predict, '--model_dir', folder, '--threshold', 0.4, 'so').error == \
        'error: --threshold: the model in %s is for classification' % folder
    outcome = call(quantize, '--model_dir', folder, '--dev_file', 'a.csv', '--text_columns', 'a',
                   *INDICATORS, '--output_dir', tmp_path / 'out', '--calib_mode', 'none')
    assert outcome.error == \
        'error: --label_columns: the model in %s is for classification' % folder
    assert call(deploy, '--model_dir', work / 'symbol', '--evaluate').error == (
        'error: the model gives a text several labels, but no known task has several: name files '
        'of your own with --dev_file')
    assert call(deploy, '--model_dir', work / 'symbol', '--evaluate', '--dev_file', 'dev.csv',
                '--text_columns', 'text', *LABELS, *INDICATORS).error == \
        'error: --label_column and --label_columns: give one of the two'
    assert call(deploy, '--model_dir', work / 'symbol', '--measure', '--threshold', 0.4).error == \
        'error: --threshold: it is not for --measure'
