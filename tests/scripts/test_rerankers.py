"""Rerankers by the scripts: trained with --ranking, then ranked, converted and exported."""
import json

import numpy as np
import pytest
from support import tiny
from support.cross_encoders import (
    IDENTITY,
    QUERY,
    SIGMOID,
    expected_metrics,
    logit,
    read_rows,
    sigmoid,
    write_cross_encoder,
    write_sts,
)
from support.processes import spawn, start, wait_for_step

import bert
from bert import convert_checkpoint, deploy, finetune_classifier, predict
from bert.export import export, to_onnx
from bert.jobs import export_symbol
from bert.pipelines.exported import ExportedCrossEncoder
from bert.pipelines.ranking import CrossEncoder

DOCUMENTS = ['so very good', 'the plot was awful and poor', 'good', 'the ' * 50 + 'film', 'scene']
SENTENCE_CONFIG = 'config_sentence_transformers.json'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_sts(tmp_path_factory.mktemp('data'))


def train(folder, tiny_bert, *arguments):
    """Train a reranker. Returns its folder."""
    finetune_classifier.main(['--bert_checkpoint', tiny_bert, '--ranking', '--max_len', '24',
                              '--lr', '1e-2', '--output_dir', str(folder), *arguments])
    return folder


@pytest.fixture(scope='module')
def run(tmp_path_factory, tiny_bert, data):
    return train(tmp_path_factory.mktemp('runs') / 'run', tiny_bert, '--task_name', 'STS-B',
                 '--data_dir', data, '--epochs', '2')


def ranked(outcome):
    """[(score, document)] of the table."""
    assert outcome.code == 0, outcome.err
    header, *rows = [line.split('\t') for line in outcome.out.splitlines()]
    assert header == ['score', 'document']
    return [(float(score), text) for score, text in rows]


# ---- training

def test_the_run_is_a_cross_encoder_with_these_scores(run, data, in_tmp, call):
    model = bert.open(str(run))
    assert type(model) is CrossEncoder and model.max_len == 24
    assert model.task == {
        'name': 'STS-B', 'labels': None, 'pair': True, 'metrics': ['pearsonr', 'spearmanr'],
        'kind': 'ranking', 'activation': 'sigmoid', 'truncation': 'transformers'}
    call(convert_checkpoint, run, 'hf')
    rows = read_rows(data + '/dev.tsv')
    np.testing.assert_allclose(
        [record.score for record in model([row[:2] for row in rows])],
        [sigmoid(logit('hf', first, second, 24)) for first, second, _ in rows], atol=1e-5)


@pytest.fixture
def wide(in_tmp, call):
    """A folder of ours with outputs of all sizes, where a sigmoid makes a difference."""
    path = write_cross_encoder(in_tmp / 'wide-hf')
    assert call(convert_checkpoint, path, 'wide').code == 0
    return in_tmp / 'wide'


def test_metrics_are_those_of_the_sigmoids(wide, data, in_tmp, call):
    outcome = call(finetune_classifier, '--only_inference', '--ranking', '--task_name', 'STS-B',
                   '--data_dir', data, '--bert_checkpoint', wide, '--model_parameters',
                   wide / 'model.params', '--output_dir', 'scored', '--max_len', '40')
    assert outcome.code == 0, outcome.err
    report = json.loads((in_tmp / 'scored' / 'results.json').read_text())
    assert report['metrics']['dev'] == expected_metrics(data, 'wide-hf')
    predictions = (in_tmp / 'scored' / 'STS-B.tsv').read_text().splitlines()[1:]
    rows = read_rows(data + '/test.tsv')
    np.testing.assert_allclose([float(line.split('\t')[1]) for line in predictions], [
        sigmoid(logit('wide-hf', first, second)) for first, second, _ in rows], atol=1e-5)


def test_the_loss_of_the_first_step(tiny_bert, data, in_tmp, call):
    """One step without dropout on all examples: the logged loss is that of NumPy, for the weights
    before it, which a step of almost no length leaves as they are."""
    outcome = call(finetune_classifier, '--bert_checkpoint', tiny_bert, '--ranking', '--task_name',
                   'STS-B', '--data_dir', data, '--output_dir', 'run', '--max_len', '24',
                   '--batch_size', '40', '--epochs', '1', '--log_interval', '1', '--lr', '1e-12',
                   '--dropout', '0')
    assert outcome.code == 0, outcome.err
    call(convert_checkpoint, 'run', 'hf')
    rows = read_rows(data + '/train.tsv')
    outputs = np.array([logit('hf', first, second, 24) for first, second, _ in rows])
    labels = np.array([label for *_, label in rows]) / 5
    probabilities = sigmoid(outputs)
    expected = -(labels * np.log(probabilities) + (1 - labels) * np.log(1 - probabilities)).mean()
    report = json.loads((in_tmp / 'run' / 'results.json').read_text())
    assert report['training_loss'] == pytest.approx(expected, abs=1e-4)


def test_the_audit_has_the_scores_of_the_files(run, data):
    """Not their shares of the highest score, which the model learns."""
    audit, log = (run / 'audit.json').read_text(), (run / 'log_STS-B.txt').read_text()
    for name in ('train', 'dev'):
        scores = np.array([score for *_, score in read_rows('%s/%s.tsv' % (data, name))])
        expected = {'min': scores.min(), 'mean': scores.mean(), 'max': scores.max()}
        assert json.loads(audit)['segments'][name]['labels'] == pytest.approx(expected)
        assert 'labels: ' + ', '.join('%s %.3g' % item for item in expected.items()) in log


def write_own(path, rows, header='query,text,mark'):
    path.write_text(header + '\n' + ''.join('%s,%s,%s\n' % row for row in rows))
    return str(path)


OWN = ('--text_columns', 'query,text', '--label_column', 'mark')


def test_own_files(in_tmp, tiny_bert, call):
    rows = [(first, second, 10 * (i % 2)) for i, ((first, _), (second, _)) in enumerate(zip(
        tiny.sentences(20, 1), tiny.sentences(20, 2)))]
    files = [write_own(in_tmp / (name + '.csv'), rows) for name in ('train', 'dev', 'test')]
    flags = sum(([flag, path] for flag, path in zip(
        ('--train_file', '--dev_file', '--test_file'), files)), [])
    train(in_tmp / 'run', tiny_bert, *flags, *OWN, '--max_score', '10', '--epochs', '1')
    metrics = json.loads((in_tmp / 'run' / 'results.json').read_text())['metrics']
    assert sorted(metrics) == ['dev', 'test'] and metrics['dev'] == metrics['test']
    predictions = (in_tmp / 'run' / 'test_predictions.tsv').read_text().splitlines()[1:]
    model = bert.open('run')
    np.testing.assert_allclose([float(line.split('\t')[1]) for line in predictions], [
        record.score for record in model([row[:2] for row in rows])], atol=1e-5)
    arguments = ('--bert_checkpoint', tiny_bert, '--ranking', *flags, *OWN)
    outcome = call(finetune_classifier, *arguments)
    assert outcome.error == 'error: %s:3: label "10": expected a number from 0 to 1' % files[0]
    write_own(in_tmp / 'train.csv', rows[:5] + [('a', 'b', -0.5)])
    outcome = call(finetune_classifier, *arguments, '--max_score', '10')
    assert outcome.error == 'error: %s:7: label "-0.5": expected a number from 0 to 10' % files[0]


def test_seeds_and_resume(in_tmp, tiny_bert, data):
    """The same trainer: each seed's folder is a cross-encoder, and a finished run resumes."""
    arguments = ('--task_name', 'STS-B', '--data_dir', data, '--epochs', '1', '--seeds', '1,2')
    folder = train(in_tmp / 'run', tiny_bert, *arguments)
    before = (folder / 'results.json').read_bytes()
    assert type(bert.open(str(folder / 'seed-2'))) is CrossEncoder
    finetune_classifier.main(['--resume', '--output_dir', str(folder)])
    assert json.loads((folder / 'results.json').read_bytes())['metrics'] == json.loads(
        before)['metrics']


@pytest.mark.process
def test_a_killed_run_resumes_bit_for_bit(in_tmp, tiny_bert, data):
    flags = ['--bert_checkpoint', tiny_bert, '--ranking', '--task_name', 'STS-B', '--data_dir',
             data, '--max_len', '24', '--epochs', '3', '--batch_size', '8', '--ckpt_interval', '1',
             '--threads', '1']
    assert spawn('finetune_classifier.py', *flags, '--output_dir', 'whole').code == 0
    process = start('finetune_classifier.py', *flags, '--output_dir', 'killed')
    wait_for_step(in_tmp / 'killed', 6)
    process.kill()
    process.communicate()
    assert not (in_tmp / 'killed' / 'results.json').exists(), 'killed too late to test anything'
    outcome = spawn('finetune_classifier.py', '--resume', '--output_dir', 'killed')
    assert outcome.code == 0 and 'resumed from' in outcome.err, outcome.err
    for name in ('model.params', 'optimizer.params', 'task.json'):
        whole, killed = ((in_tmp / folder / 'step-0000015' / name).read_bytes()
                         for folder in ('whole', 'killed'))
        assert whole == killed
    assert type(bert.open('killed')) is CrossEncoder


@pytest.mark.parametrize('arguments, message', [
    (('--ranking',), '--ranking: MRPC has classes, but a reranker learns scores: use --task_name '
                     'STS-B, or your own files'),
    (('--max_score', '5'), '--max_score: it needs --ranking'),
    (('--ranking', '--max_score', '0'), 'argument --max_score: 0 found, expected a number above 0'),
    (('--ranking', '--train_file', 'a.csv', '--dev_file', 'a.csv', '--text_columns', 'query',
      '--label_column', 'mark'),
     '--ranking: a reranker reads pairs: give two --text_columns'),
    (('--ranking', '--regression', '--train_file', 'a.csv'),
     '--ranking and --regression: give one of the two'),
    (('--ranking', '--classes', 'a,b', '--train_file', 'a.csv'),
     '--ranking and --classes: give one of the two')])
def test_flags_that_do_not_fit(in_tmp, call, arguments, message):
    write_own(in_tmp / 'a.csv', [('so', 'good', 1)])
    outcome = call(finetune_classifier, *arguments)
    assert outcome.code and ('error: ' + message) in outcome.error


# ---- ranking documents

def test_documents_from_everywhere(run, call, in_tmp, monkeypatch):
    ranking = bert.open(str(run)).rank(QUERY, DOCUMENTS)
    expected = [(round(entry.score, 4), ' '.join(entry.text.split())) for entry in ranking]
    files = {'d.txt': DOCUMENTS, 'd.tsv': ['text', *DOCUMENTS],
             'd.jsonl': [json.dumps({'text': text}) for text in DOCUMENTS]}
    for name, lines in files.items():
        (in_tmp / name).write_text('\n'.join(lines) + '\n')
    column = ('--text_columns', 'text')
    for arguments in (DOCUMENTS, ('--file', 'd.txt'), ('--file', 'd.tsv', *column),
                      ('--file', 'd.jsonl', *column)):
        outcome = call(predict, '--model_dir', run, '--query', QUERY, *arguments)
        assert ranked(outcome) == [(pytest.approx(score, abs=1e-4), text)
                                   for score, text in expected]
        assert 'warning: 1 of 5 texts were cut at 24 tokens' in outcome.err
    outcome = call(predict, '--model_dir', run, '--query', QUERY, *DOCUMENTS, '--top_k', '2',
                   '--format', 'jsonl', '--output', 'out.jsonl')
    assert outcome.code == 0 and outcome.out == ''
    rows = [json.loads(line) for line in (in_tmp / 'out.jsonl').read_text().splitlines()]
    assert [(row['document'], row['text']) for row in rows] == [
        (entry.document, entry.text) for entry in ranking[:2]]
    assert [row['score'] for row in rows] == [pytest.approx(entry.score, abs=1e-6)
                                              for entry in ranking[:2]]


@pytest.mark.process
def test_documents_from_standard_input(run, tmp_path):
    (tmp_path / 'd.txt').write_text('so very good\nscene\n')
    for arguments in ((), ('--file', '-')):
        with open(tmp_path / 'd.txt') as documents:
            outcome = spawn('predict.py', '--model_dir', run, '--query', QUERY, *arguments,
                            stdin=documents)
        assert sorted(text for _, text in ranked(outcome)) == ['scene', 'so very good']


def test_pairs_without_a_query(run, call):
    outcome = call(predict, '--model_dir', run, QUERY, 'good', QUERY, 'awful')
    header, *rows = [line.split('\t') for line in outcome.out.splitlines()]
    assert header == ['score', 'text_a', 'text_b']
    expected = bert.open(str(run))([(QUERY, 'good'), (QUERY, 'awful')])
    for row, text, record in zip(rows, ('good', 'awful'), expected, strict=True):
        assert row[1:] == [QUERY, text]
        assert float(row[0]) == pytest.approx(record.score, abs=1e-4)


def test_the_activation_of_the_command_line(run, call, in_tmp):
    outcome = call(predict, '--model_dir', run, '--query', QUERY, 'good', '--activation',
                   'identity')
    (value, _), = ranked(outcome)
    record, = bert.open(str(run)).rank(QUERY, ['good'])
    assert sigmoid(value) == pytest.approx(record.score, abs=1e-4)
    classes = tiny.write_classifier(in_tmp / 'classes')
    assert call(predict, '--model_dir', classes, 'a', '--activation', 'sigmoid').error == (
        'error: --activation: the model in %s is for classification' % classes)


def test_a_regression_ranks_with_a_sigmoid(call, in_tmp):
    path = write_cross_encoder(in_tmp / 'm', {'problem_type': 'regression'})
    scores = {text: sigmoid(logit(path, QUERY, text)) for text in ('good', 'awful')}
    assert ranked(call(predict, '--model_dir', path, '--query', QUERY, 'good', 'awful')) == [
        (pytest.approx(score, abs=1e-4), text)
        for text, score in sorted(scores.items(), key=lambda item: -item[1])]


def test_the_case_of_the_shared_folder(data_dir, call):
    """Its README has the scores of sentence-transformers; the outputs are -1.0706 and -0.8441."""
    folder = data_dir.parent / 'cases' / 'cross_encoder_one_label' / 'model'
    if not folder.is_dir():
        pytest.skip('there is no folder of shared cases')
    outcome = call(predict, '--model_dir', folder, '--pair', 'good tea', 'fine coffee', 'rain',
                   'sun')
    assert outcome.out.splitlines() == [
        'score\ttext_a\ttext_b', '0.2553\tgood tea\tfine coffee', '0.3007\train\tsun']
    assert [text for _, text in ranked(call(
        predict, '--model_dir', folder, '--query', 'rain', 'good tea', 'sun'))] == [
            'sun', 'good tea']
    outputs = bert.open(str(folder), activation='identity')(
        [('good tea', 'fine coffee'), ('rain', 'sun')])
    assert [output.score for output in outputs] == pytest.approx([-1.0706, -0.8441], abs=1e-4)


@pytest.mark.parametrize('arguments, message', [
    (('--query', QUERY, '--pair', 'a', 'b'), '--query and --pair: with a query each text is a '
                                             'document'),
    (('--query', '', 'a'), 'argument --query: an empty text found, expected a value'),
    (('--query', '  ', 'a'), '--query: it is empty'),
    (('--top_k', '2', 'a', 'b'), '--top_k: it is for --query'),
    (('--query', QUERY, '--top_k', '0', 'a'), 'argument --top_k: 0 found, expected a whole number '
                                              'from 1 on'),
    (('--query', QUERY, '--file', 'empty.txt'), 'empty.txt: no text in it'),
    (('--query', QUERY, '--file', 'd.csv'),
     '--file d.csv: --query reads one text: name the column with --text_columns'),
    (('--query', QUERY, '--file', 'd.csv', 'a'), 'give texts as arguments or with --file, not '
                                                 'both')])
def test_a_query_that_cannot_be_ranked(run, call, in_tmp, arguments, message):
    (in_tmp / 'empty.txt').write_text('')
    (in_tmp / 'd.csv').write_text('text,other\na,b\n')
    outcome = call(predict, '--model_dir', run, *arguments)
    assert outcome.code and ('error: ' + message) in outcome.error


def test_models_that_cannot_rank(call, in_tmp):
    remedy = ': name a model that scores pairs, such as a run of finetune_classifier.py --ranking'
    for name, write, kind in (('c', tiny.write_classifier, 'classification'),
                              ('q', tiny.write_question_answerer, 'question answering')):
        write(in_tmp / name)
        assert call(predict, '--model_dir', name, '--query', QUERY, 'a').error == \
            'error: --query: the model in %s is for %s%s' % (name, kind, remedy)
    path = write_cross_encoder(in_tmp / 'm', {'problem_type': 'regression'})
    call(convert_checkpoint, path, 'single')
    task = json.loads((in_tmp / 'single' / 'task.json').read_text())
    (in_tmp / 'single' / 'task.json').write_text(json.dumps(dict(task, pair=False)))
    assert call(predict, '--model_dir', 'single', '--query', QUERY, 'a').error == \
        'error: --query: the model in single is for single texts' + remedy


# ---- conversion, export

def scores_of(model):
    return [record.score for record in model([(QUERY, text) for text in DOCUMENTS])]


@pytest.mark.parametrize('activation', [
    'sigmoid', pytest.param('identity', marks=pytest.mark.exhaustive)])
def test_conversion_and_exports_keep_the_scores(tmp_path, call, activation):
    function = {'sigmoid': sigmoid, 'identity': float}[activation]
    path = write_cross_encoder(tmp_path / 'm', {'sentence_transformers': {
        'activation_fn': {'sigmoid': SIGMOID, 'identity': IDENTITY}[activation]}})
    expected = [function(logit(path, QUERY, text)) for text in DOCUMENTS]
    for script, *arguments in ((convert_checkpoint, path, tmp_path / 'gluon'),
                               (convert_checkpoint, tmp_path / 'gluon', tmp_path / 'back'),
                               (export, '--model_dir', path, '--output_dir', tmp_path / 'symbol'),
                               (to_onnx, '--model_dir', path, '--output_dir', tmp_path / 'onnx')):
        assert call(script, *arguments).code == 0
    ranking = bert.open(path).rank(QUERY, DOCUMENTS)
    for name in ('gluon', 'back', 'symbol', 'onnx'):
        model = bert.open(str(tmp_path / name))
        assert type(model) is (ExportedCrossEncoder if name in ('symbol', 'onnx') else CrossEncoder)
        np.testing.assert_allclose(scores_of(model), expected, atol=1e-5)
        assert [entry.document for entry in model.rank(QUERY, DOCUMENTS)] == \
            [entry.document for entry in ranking]
        other = {'sigmoid': 'identity', 'identity': 'sigmoid'}[activation]
        assert bert.open(str(tmp_path / name), activation=other).task['activation'] == other
    for name in ('back', 'onnx'):       # what sentence-transformers reads
        config = json.loads((tmp_path / name / 'config.json').read_text())
        settings = json.loads((tmp_path / name / SENTENCE_CONFIG).read_text())
        assert config['sentence_transformers']['activation_fn'] == settings['activation_fn'] == {
            'sigmoid': SIGMOID, 'identity': IDENTITY}[activation]
        assert 'problem_type' not in config and settings['model_type'] == 'CrossEncoder'
    (tmp_path / 'back' / 'task.json').unlink()
    np.testing.assert_allclose(scores_of(bert.open(str(tmp_path / 'back'))), expected, atol=1e-5)


def test_an_exported_regression_is_opened_for_a_ranking(tmp_path):
    path = write_cross_encoder(tmp_path / 'm', {'problem_type': 'regression'})
    export_symbol(model_dir=path, output_dir=str(tmp_path / 'out'))
    np.testing.assert_allclose(scores_of(bert.open(str(tmp_path / 'out'))),
                               [logit(path, QUERY, text) for text in DOCUMENTS], atol=1e-5)
    model = bert.open(str(tmp_path / 'out'), task='ranking')
    assert type(model) is ExportedCrossEncoder
    np.testing.assert_allclose(
        scores_of(model), [sigmoid(logit(path, QUERY, text)) for text in DOCUMENTS], atol=1e-5)
    export_symbol(model_dir=path, output_dir=str(tmp_path / 'ranking'), task='ranking')
    assert (tmp_path / 'ranking' / 'ranking-symbol.json').exists()
    assert type(bert.open(str(tmp_path / 'ranking'))) is ExportedCrossEncoder


def test_deploy(wide, data, in_tmp, call):
    assert call(export, '--model_dir', wide, '--output_dir', 'out').code == 0
    expected = ranked(call(predict, '--model_dir', wide, '--query', QUERY, *DOCUMENTS))
    assert len(expected) == 5
    for flags, count in ((('--top_k', '4'), 4), ((), 5)):
        assert ranked(call(deploy, '--model_dir', 'out', '--query', QUERY, *DOCUMENTS,
                           *flags)) == [(pytest.approx(score, abs=1e-4), text)
                                        for score, text in expected[:count]]
    (output, _), = ranked(call(deploy, '--model_dir', 'out', '--query', QUERY, DOCUMENTS[0],
                               '--activation', 'identity'))
    assert sigmoid(output) == pytest.approx(
        next(score for score, text in expected if text == ' '.join(DOCUMENTS[0].split())), abs=1e-4)
    pairs = call(deploy, '--model_dir', 'out', QUERY, 'good')
    assert pairs.out.splitlines()[0] == 'score\ttext_a\ttext_b'
    outcome = call(deploy, '--model_dir', 'out', '--evaluate', '--task_name', 'STS-B',
                   '--data_dir', data, '--output', 'scores.json')
    assert outcome.code == 0, outcome.err
    metrics = json.loads((in_tmp / 'scores.json').read_text())['metrics']['dev']
    assert metrics == expected_metrics(data, 'wide-hf')
    for flags, message in (
            (('--top_k', '2', QUERY, 'good'), '--top_k: it is for --query'),
            (('--query', QUERY, '--version_2', 'good'),
             '--version_2: the model in out is for ranking'),
            (('--query', QUERY, '--evaluate'), '--query: it is not for --evaluate'),
            (('--activation', 'sigmoid', '--evaluate'), '--activation: it is not for --evaluate'),
            (('--query', QUERY, '--pair', 'a', 'b'),
             '--query and --pair: with a query each text is a document')):
        assert call(deploy, '--model_dir', 'out', *flags).error == 'error: ' + message


def test_deploy_refuses_a_query_for_classes(in_tmp, call):
    tiny.write_classifier(in_tmp / 'c')
    assert call(export, '--model_dir', 'c', '--output_dir', 'out').code == 0
    assert call(deploy, '--model_dir', 'out', '--query', QUERY, 'a').error.startswith(
        'error: --query: the model in out is for classification: name a model that scores pairs')
