"""evaluate_ner.py: the table, JSON, and files that don't belong together."""
import json
import os

import pytest

from bert import evaluate_ner, jobs

GOLD = 'EU B-ORG\nrejects O\n\nPeter B-PER\nBlackburn I-PER\nin O\nBonn B-LOC\n'
PREDICTED = GOLD.replace('Blackburn I-PER', 'Blackburn B-PER')


@pytest.fixture
def files(in_tmp):
    (in_tmp / 'gold.conll').write_text(GOLD)
    (in_tmp / 'predicted.conll').write_text(PREDICTED)
    return in_tmp


def test_the_table(files, call):
    outcome = call(evaluate_ner, 'gold.conll', 'predicted.conll')
    assert outcome.code == 0
    assert [line.split() for line in outcome.out.splitlines()] == [
        ['type', 'precision', 'recall', 'f1', 'gold', 'predicted', 'right'],
        ['all', '0.5000', '0.6667', '0.5714', '3', '4', '2'],
        ['LOC', '1.0000', '1.0000', '1.0000', '1', '1', '1'],
        ['ORG', '1.0000', '1.0000', '1.0000', '1', '1', '1'],
        ['PER', '0.0000', '0.0000', '0.0000', '1', '2', '0']]


def test_json(files, call):
    printed = json.loads(call(evaluate_ner, 'gold.conll', 'predicted.conll', '--json').out)
    assert printed['all'] == {'precision': 0.5, 'recall': 2 / 3, 'f1': 4 / 7, 'gold': 3,
                              'predicted': 4, 'right': 2}
    assert sorted(printed['types']) == ['LOC', 'ORG', 'PER']
    outcome = call(evaluate_ner, 'gold.conll', 'predicted.conll', '--out_file', 'scores.json')
    assert outcome.out == '' and json.loads((files / 'scores.json').read_text()) == printed
    result = jobs.evaluate_entities(gold='gold.conll', predictions='predicted.conll')
    assert result.metrics == {'dev': printed['all']}
    assert result.report['types'] == printed['types']


def test_columns(files, call):
    (files / 'gold.conll').write_text('1 EU NNP B-ORG\n')
    (files / 'predicted.conll').write_text('1 EU B-ORG x\n')
    assert call(evaluate_ner, 'gold.conll', 'predicted.conll', '--word_column', 1).error.startswith(
        'error: predicted.conll:1: the tag "x" of "EU": expected O')
    (files / 'predicted.conll').write_text('1 EU x B-ORG\n')
    outcome = call(evaluate_ner, 'gold.conll', 'predicted.conll', '--word_column', 1,
                   '--tag_column', 3)
    assert outcome.out.splitlines()[1].split()[1] == '1.0000'


@pytest.mark.parametrize('predicted, message', [
    (PREDICTED.replace('Bonn', 'bonn'),
     'predicted.conll:7: "bonn" found, but gold.conll:7 has "Bonn": expected the same words'),
    (PREDICTED.replace('Bonn B-LOC\n', ''), 'predicted.conll:7: the end of the sentence found, but '
                                            'gold.conll:7 has "Bonn": expected the same words'),
    (PREDICTED + 'x O\n', 'predicted.conll:8: "x" found, but gold.conll:8 has the end of the '
                          'sentence: expected the same words'),
    (PREDICTED[:20], 'predicted.conll: the file ends too early: gold.conll has a further sentence '
                     'at line 4: expected the same sentences'),
    (PREDICTED + '\nx O\n', 'gold.conll: the file ends too early: predicted.conll has a further '
                            'sentence at line 9: expected the same sentences'),
    (PREDICTED.replace('B-LOC', 'LOC'), 'predicted.conll:7: the tag "LOC" of "Bonn": expected O, '
     'or a prefix (B-, I-, E-, S-) and a type, such as B-PER'),
    ('', 'predicted.conll: no words in it')])
def test_files_that_do_not_fit(files, call, predicted, message):
    (files / 'predicted.conll').write_text(predicted)
    outcome = call(evaluate_ner, 'gold.conll', 'predicted.conll')
    assert (outcome.code, outcome.error) == (2, 'error: ' + message)


def test_tags_that_fit_no_scheme_are_counted(files, call, caplog):
    (files / 'predicted.conll').write_text(PREDICTED.replace('Peter B-PER\nBlackburn B-PER',
                                                             'Peter I-PER\nBlackburn I-LOC'))
    outcome = call(evaluate_ner, 'gold.conll', 'predicted.conll')
    assert outcome.code == 0
    assert caplog.messages == [
        'predicted.conll: 2 tags do not fit the scheme IOB2; the first is I-PER ("Peter") in '
        'predicted.conll:4; they are read by the rules of conlleval']


def test_outputs_that_do_not_fit(files, call):
    assert call(evaluate_ner, 'gold.conll', 'nowhere').error == (
        'error: nowhere: can\'t be read: No such file or directory')
    assert '--out_file' in call(evaluate_ner, 'gold.conll', 'predicted.conll', '--out_file',
                                'gold.conll').error
    assert 'give one of the two' in call(
        evaluate_ner, 'gold.conll', 'predicted.conll', '--out_file', 'x', '--json').error
    assert sorted(os.listdir()) == ['gold.conll', 'predicted.conll']
