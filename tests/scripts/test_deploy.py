"""deploy.py: each engine gives the labels, answers and scores of the model; and latency."""
import json
import os
import pathlib
import re
import shutil

import pytest
from support import tiny
from support.processes import spawn
from support.small_squad import QUICK, read_json, write_files

from bert import answer, deploy, finetune_classifier, finetune_squad, predict, quantize
from bert.export import export, to_onnx

EXPORTED_MODEL = pathlib.Path(__file__).parents[1] / 'export' / 'exported_by_3.12'
ENGINES = {'symbol': ('mxnet',), 'onnx': ('onnxruntime', 'openvino')}


@pytest.fixture(scope='module')
def work(tmp_path_factory, tiny_bert, sst):
    """A folder with two runs and their exported models."""
    folder = tmp_path_factory.mktemp('deploy')
    finetune_classifier.main([
        '--bert_checkpoint', tiny_bert, '--task_name', 'SST', '--data_dir', sst, '--max_len', '12',
        '--lr', '1e-2', '--epochs', '2', '--threads', '1', '--output_dir', str(folder / 'sst')])
    finetune_squad.main([str(word) for word in write_files(folder) + QUICK] + [
        '--bert_checkpoint', tiny_bert, '--output_dir', str(folder / 'squad')])
    for run in ('sst', 'squad'):
        export.main(['--model_dir', str(folder / run), '--output_dir',
                     str(folder / (run + '-symbol'))])
        to_onnx.main(['--model_dir', str(folder / run), '--output_dir',
                      str(folder / (run + '-onnx'))])
    return folder


def form_engine_pairs():
    return [(form, engine) for form, engines in ENGINES.items() for engine in engines]


@pytest.mark.parametrize('form,engine', form_engine_pairs())
def test_labels(call, work, form, engine):
    texts = ['the film was good', 'awful plot', 'so so']
    expected = call(predict, '--model_dir', work / 'sst', *texts)
    outcome = call(deploy, '--model_dir', work / ('sst-' + form), '--engine', engine, *texts)
    assert outcome.code == 0, outcome.err
    assert outcome.out == expected.out


@pytest.mark.parametrize('form,engine', form_engine_pairs())
def test_answers(call, work, form, engine):
    query = ('so was it', 'the film was good .', 'awful actor and scene .')
    reference_outcome = call(answer, '--model_dir', work / 'squad', *query, '--format', 'jsonl')
    outcome = call(deploy, '--model_dir', work / ('squad-' + form), '--engine', engine, *query,
                   '--format', 'jsonl')
    assert outcome.code == 0, outcome.err
    result, reference = json.loads(outcome.out), json.loads(reference_outcome.out)
    for entry, expected in zip(result['answers'], reference['answers']):
        assert entry.pop('probability') == pytest.approx(expected.pop('probability'), abs=1e-4)
    assert result == reference


def test_texts_from_files(call, work, tmp_path):
    (tmp_path / 'texts.txt').write_text('good\nbad\n')
    for script, folder in ((predict, 'sst'), (deploy, 'sst-symbol')):
        outcome = call(script, '--model_dir', work / folder, '--file', tmp_path / 'texts.txt',
                       '--output', tmp_path / folder)
        assert outcome.code == 0, outcome.err
    assert (tmp_path / 'sst').read_text() == (tmp_path / 'sst-symbol').read_text()
    (tmp_path / 'q.jsonl').write_text('{"question": "so was it", "document": "good film"}\n')
    (tmp_path / 'd.txt').write_text('good film')
    jsonl_outcome = call(deploy, '--model_dir', work / 'squad-onnx', '--file',
                         tmp_path / 'q.jsonl')
    file_outcome = call(deploy, '--model_dir', work / 'squad-onnx', 'so was it', '--file',
                        tmp_path / 'd.txt')
    assert jsonl_outcome.code == file_outcome.code == 0
    assert len(jsonl_outcome.out.splitlines()) == len(file_outcome.out.splitlines()) > 1


@pytest.mark.parametrize('form,engine', form_engine_pairs())
def test_scores_of_dev(call, work, sst, form, engine, tmp_path):
    expected = read_json(work / 'sst' / 'results.json')['metrics']['dev']
    outcome = call(deploy, '--model_dir', work / ('sst-' + form), '--engine', engine, '--evaluate',
                   '--data_dir', sst, '--output', tmp_path / 'scores.json')
    assert outcome.code == 0, outcome.err
    assert outcome.out == 'dev (%s, 20 examples): accuracy:%.4f\n' % (
        os.path.join(sst, 'dev.tsv'), expected['accuracy'])
    report = read_json(tmp_path / 'scores.json')
    assert report['metrics'] == {'dev': {'accuracy': pytest.approx(expected['accuracy'])}}
    assert (report['engine'], report['task']) == (engine, 'classification')


def test_scores_of_questions(call, work):
    expected = read_json(work / 'squad' / 'results.json')['metrics']['dev']
    outcome = call(deploy, '--model_dir', work / 'squad-symbol', '--evaluate', '--dev_file',
                   work / 'dev.json')
    assert outcome.code == 0, outcome.err
    assert outcome.out.endswith('(%s, 11 examples): f1:%.4f,exact_match:%.4f\n' % (
        work / 'dev.json', expected['f1'], expected['exact_match']))


def test_scores_of_own_files(call, work, tmp_path):
    tiny.write_tsv(tmp_path / 'own.tsv', ('text', 'mood'), tiny.sentences(6, 4))
    command = ('--model_dir', work / 'sst-symbol', '--evaluate', '--dev_file',
               tmp_path / 'own.tsv')
    outcome = call(deploy, *command, '--text_columns', 'text', '--label_column', 'mood')
    assert outcome.code == 0 and ', 6 examples): accuracy:' in outcome.out
    assert call(deploy, *command, '--label_column', 'mood').error == \
        'error: --text_columns is needed with files of your own: name the columns'
    assert 'error: --task_name MNLI: the task has 3 classes, but the model has 2 classes' == call(
        deploy, '--model_dir', work / 'sst-symbol', '--evaluate', '--task_name', 'MNLI').error


def test_latency(call, work, tmp_path):
    outcome = call(deploy, '--model_dir', work / 'sst-symbol', '--measure', '--batch_sizes', '1,3',
                   '--lengths', '5,20', '--rounds', 4, '--output', tmp_path / 'speed.json')
    assert outcome.code == 0, outcome.err
    title, header, *rows = outcome.out.splitlines()
    assert ' · mxnet · ' in title and header.split() == [
        'batch', 'tokens', 'p50', 'ms', 'p90', 'ms', 'p99', 'ms', 'examples/s']
    assert rows.pop() == '- : this percentile needs at least 20 rounds'
    assert [row.split()[:2] for row in rows] == [['1', '5'], ['1', '20'], ['3', '5'], ['3', '20']]
    assert {tuple(row.split()[3:5]) for row in rows} == {('-', '-')}
    for entry in read_json(tmp_path / 'speed.json')['latency']:
        assert entry['p50_ms'] > 0 and entry['p90_ms'] is entry['p99_ms'] is None
        assert entry['examples_per_second'] == pytest.approx(
            1000 * entry['batch_size'] / entry['p50_ms'])
    outcome = call(deploy, '--model_dir', work / 'sst-symbol', '--measure', '--batch_sizes', '2',
                   '--lengths', '5', '--rounds', 20)
    _, _, row = outcome.out.splitlines()
    p50, p90, p99 = map(float, row.split()[2:5])
    assert 0 < p50 <= p90 <= p99
    outcome = call(deploy, '--model_dir', work / 'sst-symbol', '--measure', '--output',
                   tmp_path / 'speed.json')
    assert outcome.code == 2 and outcome.error.endswith('choose another name, or give --overwrite')
    assert call(deploy, '--model_dir', work / 'sst-symbol', '--measure', '--lengths',
                '41').error == 'error: --lengths 41: this model has 40 positions'
    assert '0 found, expected whole numbers from 1 on' in call(
        deploy, '--model_dir', 'x', '--lengths', '0').error


def test_int8(call, work, sst, tmp_path):
    """deploy.py runs what quantize.py writes in the same way."""
    assert call(quantize, '--model_dir', work / 'sst', '--data_dir', sst, '--output_dir',
                tmp_path / 'int8').code == 0
    outcome = call(deploy, '--model_dir', tmp_path / 'int8', 'the film was good')
    expected = call(predict, '--model_dir', work / 'sst', 'the film was good')
    assert outcome.code == 0
    for field, reference in zip(*(out.splitlines()[1].split('\t') for out in (outcome.out,
                                                                              expected.out))):
        assert field == reference or float(field) == pytest.approx(float(reference), abs=0.1)
    outcome = spawn('deploy.py', '--model_dir', tmp_path / 'int8', 'the film was good',
                    env={'DNNL_MAX_CPU_ISA': 'AVX2'})
    assert outcome.code == 0 and (
        'this CPU has no VNNI (DNNL_MAX_CPU_ISA disables it): INT8 works, but may be no faster '
        'than float32. It rounds differently') in outcome.err


def test_a_folder_of_another_python(call):
    """Revision 5184367 exported the model under Python 3.12 and wrote the labels beside it. Later
    revisions must give the same labels."""
    lines = (EXPORTED_MODEL / 'labels.jsonl').read_text().splitlines()
    expected_rows = [json.loads(line) for line in lines]
    outcome = call(deploy, '--model_dir', EXPORTED_MODEL, '--format', 'jsonl',
                   *[row['text'] for row in expected_rows])
    assert outcome.code == 0, outcome.err
    rows = [json.loads(line) for line in outcome.out.splitlines()]
    for row, expected in zip(rows, expected_rows):
        assert row.pop('probabilities') == pytest.approx(expected.pop('probabilities'), abs=1e-5)
        assert row.pop('probability') == pytest.approx(expected.pop('probability'), abs=1e-5)
    assert rows == expected_rows and len(rows) == 3


def test_several_models_in_one_folder(call, work, tmp_path):
    shutil.copytree(work / 'sst-symbol', tmp_path / 'both')
    shutil.copy(work / 'sst-onnx' / 'classification.onnx', tmp_path / 'both' / 'mine.onnx')
    assert call(deploy, '--model_dir', tmp_path / 'both', 'x').error == (
        'error: --model_dir %s holds several models: classification-symbol.json, mine.onnx; choose '
        'one with --model_prefix' % (tmp_path / 'both'))
    for choice in (('--model_prefix', 'mine'), ('--engine', 'openvino'),
                   ('--model_prefix', 'classification')):
        assert call(deploy, '--model_dir', tmp_path / 'both', *choice, 'good').code == 0
    assert call(deploy, '--model_dir', tmp_path / 'both', '--model_prefix', 'other', 'x').error == (
        'error: --model_dir %s --model_prefix other: expected an exported model (*-symbol.json or '
        '*.onnx), found classification-symbol.json, mine.onnx' % (tmp_path / 'both'))


def test_what_is_missing_or_does_not_fit(call, work, tmp_path):
    folder = tmp_path / 'out'

    def refusal(*arguments):
        outcome = call(deploy, '--model_dir', folder, *arguments)
        assert outcome.code == 2
        return outcome.error
    assert refusal('x') == 'error: %s: no such file or folder' % folder
    shutil.copytree(work / 'sst-symbol', folder)
    assert refusal('--evaluate', '--measure') == \
        'error: --evaluate and --measure: give one of the two'
    assert refusal('--evaluate', 'x') == \
        'error: --evaluate and --measure read no texts: leave out TEXT and --file'
    assert refusal('--engine', 'openvino', 'x') == (
        'error: --model_dir %s: expected an exported model (*.onnx), found none; '
        'classification-symbol.json is for another --engine' % folder)
    (tmp_path / 'empty').mkdir()
    expected = 'error: --model_dir %s: expected an exported model (*-symbol.json or *.onnx), found '
    assert call(deploy, '--model_dir', tmp_path / 'empty', 'x').error == expected % (
        tmp_path / 'empty') + 'none: export/export.py and export/to_onnx.py make one'
    assert call(deploy, '--model_dir', tmp_path, 'x').error == expected % tmp_path + (
        'none; there is one in %s' % folder)
    task = (folder / 'task.json').read_text()
    (folder / 'task.json').write_text(task.replace('"labels"', '"classes"'))
    assert refusal('x') == 'error: %s: no "version_2" in it' % (folder / 'task.json')
    (folder / 'task.json').write_text(json.dumps(dict(json.loads(task), labels=['a', 'b', 'c'])))
    assert refusal('x') == (
        'error: %s gives outputs of shape (1, 2), but task.json beside it needs (1, 3): the two '
        "files don't belong together" % (folder / 'classification-symbol.json'))
    for value in ('x', 2, 41):
        (folder / 'task.json').write_text(json.dumps(dict(json.loads(task), max_len=value)))
        assert refusal('x') == ('error: %s: max_len is %r, expected a number of tokens up to the '
                                '40 positions of the model' % (folder / 'task.json', value))
    (folder / 'task.json').write_text(json.dumps(dict(json.loads(task), labels='ab')))
    assert refusal('x').endswith('labels are \'ab\', expected a list of texts')
    (folder / 'task.json').unlink()
    assert refusal('x') == (
        'error: --model_dir %s: no task.json in it: expected a folder that export/export.py, '
        'export/to_onnx.py or quantize.py wrote' % folder)
    (folder / 'task.json').write_text(task)
    (folder / 'classification-0000.params').unlink()
    assert refusal('x').startswith('error: %s: no such file: an exported network has two '
                                   'files, the symbol ' % (folder / 'classification-0000.params'))


@pytest.mark.parametrize('model,arguments,error', [
    ('sst', ('x', '--top_k', 2), 'top_k: the model in %s is for classification'),
    ('sst', ('x', '--version_2'), 'version_2: the model in %s is for classification'),
    ('sst', ('--evaluate', '--max_answer_length', 2),
     'max_answer_length: the model in %s is for classification'),
    ('squad', ('x', 'y', '--pair'), 'pair: the model in %s is for question answering'),
    ('squad', ('--evaluate', '--text_columns', 'a'),
     'text_columns: the model in %s is for question answering'),
    ('squad', ('--evaluate', '--top_k', 2), 'top_k: it is not for --evaluate'),
    ('sst', ('x', '--dev_file', 'a'), 'dev_file: it needs --evaluate'),
    ('sst', ('--measure', '--data_dir', 'a'), 'data_dir: it needs --evaluate'),
    ('sst', ('x', '--text_columns', 'a'), 'text_columns: it needs --file or --dev_file'),
    ('sst', ('--evaluate', '--label_column', 'a'), 'label_column: it is for files of your own'),
    ('sst', ('x', '--lengths', '8'), 'lengths: it needs --measure'),
    ('sst', ('--evaluate', '--rounds', 2), 'rounds: it needs --measure'),
    ('sst', ('--measure', '--batch_size', 2), 'batch_size: it is not for --measure'),
    ('squad', ('--measure', '--version_2'), 'version_2: it is not for --measure'),
    ('sst', ('--measure', '--format', 'jsonl'), 'format: --evaluate and --measure write JSON')])
def test_flags_that_would_do_nothing(call, work, model, arguments, error):
    folder = work / (model + '-symbol')
    outcome = call(deploy, '--model_dir', folder, *arguments)
    assert outcome.code == 2
    assert outcome.error == 'error: --' + (error % folder if '%s' in error else error)


def test_flags_of_answers_count_in_scores(call, work, in_tmp):
    """If "no answer" always wins, no answer is right. A 2.0 file needs a 2.0 model or
    --version_2."""
    command = ('--model_dir', work / 'squad-symbol', '--evaluate', '--output', 'scores.json')
    scores = []
    for flags in ((), ('--version_2', '--null_score_diff_threshold', -1000)):
        assert call(deploy, *command, '--dev_file', work / 'dev.json', '--overwrite',
                    *flags).code == 0
        scores.append(read_json(in_tmp / 'scores.json')['metrics']['dev'])
    assert scores[0]['f1'] > 0 and scores[1] == {'exact_match': 0, 'f1': 0}
    tiny.write_squad(in_tmp / 'dev-v2.0.json', 6, 1, version_2=True)
    assert re.match(r'error: dev-v2\.0\.json: \d of its 6 questions have no answer, as in SQuAD '
                    r'2\.0, but the model was trained on SQuAD 1\.1: name a file of SQuAD 1\.1$',
                    call(deploy, *command, '--dev_file', 'dev-v2.0.json', '--overwrite').error)
    assert call(deploy, *command, '--dev_file', 'dev-v2.0.json', '--version_2',
                '--overwrite').code == 0


def test_gpu(call, work):
    error = call(deploy, '--model_dir', work / 'sst-symbol', '--gpu', '0', 'x').error
    assert error.startswith('error: --gpu 0: no GPU for this MXNet')


def test_as_a_program(work):
    outcome = spawn('deploy.py', '--model_dir', work / 'sst-onnx', 'the film was good')
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0] == 'label\tprobability\ttext'
