"""evaluate-v2.0.py: the scores and keys of the official evaluator, and its flags."""
import json

import pytest
from support import tiny
from support.processes import spawn
from support.small_squad import read_json

SCRIPT = 'evaluate-v2.0.py'


@pytest.fixture
def files(tmp_path):
    """(data path, predictions path, {id: prediction}): each answerable question is right, and each
    unanswerable question is answered."""
    data = tiny.write_squad(tmp_path / 'dev-v2.0.json', 12, 1, version_2=True)
    predictions = {question['id']: question['answers'][0]['text'] if question['answers'] else 'x'
                   for paragraph in read_json(tmp_path / 'dev-v2.0.json')['data'][0]['paragraphs']
                   for question in paragraph['qas']}
    (tmp_path / 'predictions.json').write_text(json.dumps(predictions))
    return data, str(tmp_path / 'predictions.json'), predictions


def test_scores(files):
    outcome = spawn(SCRIPT, *files[:2])
    assert outcome.code == 0 and outcome.err == ''
    assert json.loads(outcome.out) == {
        'exact': pytest.approx(800 / 12), 'f1': pytest.approx(800 / 12), 'total': 12,
        'HasAns_exact': 100.0, 'HasAns_f1': 100.0, 'HasAns_total': 8,
        'NoAns_exact': 0.0, 'NoAns_f1': 0.0, 'NoAns_total': 4}


def test_odds_threshold_and_file(files, tmp_path):
    data, predictions, texts = files
    odds = {question_id: 5.0 if text == 'x' else -5.0 for question_id, text in texts.items()}
    (tmp_path / 'null_odds.json').write_text(json.dumps(odds))
    outcome = spawn(SCRIPT, data, predictions, '--na-prob-file', tmp_path / 'null_odds.json',
                    '--na-prob-thresh', 0.5, '--out-file', tmp_path / 'scores.json')
    assert outcome.code == 0 and outcome.out == ''
    scores = read_json(tmp_path / 'scores.json')
    assert scores['exact'] == scores['NoAns_f1'] == scores['best_exact'] == 100.0
    assert scores['best_exact_thresh'] == scores['best_f1_thresh'] == -5.0


def test_a_1_1_file(tmp_path):
    data = tiny.write_squad(tmp_path / 'dev.json', 2, 1)
    id_format = '1-0-%d'
    (tmp_path / 'p.json').write_text(json.dumps({
        id_format % 0: 'nothing', id_format % 1: 'at all'}))
    assert json.loads(spawn(SCRIPT, data, tmp_path / 'p.json').out) == {
        'exact': 0.0, 'f1': 0.0, 'total': 2, 'HasAns_exact': 0.0, 'HasAns_f1': 0.0,
        'HasAns_total': 2}


@pytest.mark.parametrize('change,message', [
    (lambda predictions: predictions.pop('1-0-0'),
     ': no value for 1 of 12 questions, the first is "1-0-0": predict them too'),
    (lambda predictions: predictions.update({'1-0-0': None}),
     ': "1-0-0" is null, expected a text')])
def test_mistakes(files, tmp_path, change, message):
    change(files[2])
    path = tmp_path / 'predictions.json'
    path.write_text(json.dumps(files[2]))
    outcome = spawn(SCRIPT, files[0], path)
    assert (outcome.code, outcome.err) == (2, 'error: %s%s\n' % (path, message))


def test_odds_must_be_numbers(files, tmp_path):
    (tmp_path / 'odds.json').write_text(json.dumps(dict.fromkeys(files[2], True)))
    outcome = spawn(SCRIPT, *files[:2], '-n', tmp_path / 'odds.json')
    assert outcome.err == 'error: %s: "1-0-0" is true, expected a number\n' % (
        tmp_path / 'odds.json')


def test_odds_that_are_nan(files, tmp_path):
    (tmp_path / 'odds.json').write_text(json.dumps(dict.fromkeys(files[2], float('nan'))))
    outcome = spawn(SCRIPT, *files[:2], '-n', tmp_path / 'odds.json')
    assert outcome.err == 'error: %s: "1-0-0" is NaN, expected a number\n' % (
        tmp_path / 'odds.json')


def test_questions_without_answers(tmp_path):
    content = tiny.squad_content(2, 1)
    for question in content['data'][0]['paragraphs'][0]['qas']:
        del question['answers']
    (tmp_path / 'blind.json').write_text(json.dumps(content))
    outcome = spawn(SCRIPT, tmp_path / 'blind.json', tmp_path / 'none.json')
    assert outcome.err == ('error: %s: its questions have no "answers": there is nothing to '
                           'compare with\n' % (tmp_path / 'blind.json'))
