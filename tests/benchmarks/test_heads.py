"""The comparison of heads: what it draws, what it finds different, and what it refuses."""
import json

import numpy as np
import pytest

from benchmarks.weights import heads

LABELS = [[[['sad'], 0.25], [['glad'], 0.75]], [[['sad'], 0.625], [['glad'], 0.5]]]
ENTITIES = [[[['person', 0, 4], 0.5], [['group', 6, 9], 0.5]], []]


def with_scores(rows, *scores):
    """The rows with other scores, given in their order."""
    scores = iter(scores)
    return [[[key, next(scores)] for key, _ in items] for items in rows]


def test_equal_answers():
    for rows, decide in ((LABELS, heads.best_key), (ENTITIES, heads.all_keys)):
        assert heads.compare(rows, rows, decide) == {'difference': 0, 'same': 1, 'unequal': []}


def test_a_score_and_a_decision_differ():
    outputs = with_scores(LABELS, 0.25, 0.875, 0.5, 0.5625)
    assert heads.compare(LABELS, outputs, heads.best_key) == {
        'difference': 0.125, 'same': 0.5, 'unequal': []}
    assert heads.compare(LABELS, [row[::-1] for row in LABELS], heads.best_key) == {
        'difference': 0, 'same': 1, 'unequal': [0, 1]}


@pytest.mark.parametrize('outputs', [
    [ENTITIES[0][:1], []], [ENTITIES[0][::-1], []], [ENTITIES[0] + [[['group', 9, 10], 0.5]], []],
    [[ENTITIES[0][0], [['group', 6, 10], 0.25]], []],
    [[ENTITIES[0][0], [['person', 6, 9], 0.25]], []]])
def test_entities_differ(outputs):
    assert heads.compare(ENTITIES, outputs, heads.all_keys) == {
        'difference': 0, 'same': 0.5, 'unequal': [0]}


def test_nan_is_no_small_difference():
    outputs = with_scores(LABELS, 0.25, 0.75, float('nan'), 0.5)
    assert np.isnan(heads.compare(LABELS, outputs, heads.best_key)['difference'])


def test_a_lost_text_is_an_error():
    with pytest.raises(ValueError):
        heads.compare(LABELS, LABELS[:1], heads.best_key)


def report(difference=0.0, same=1.0, unequal=0):
    return {'difference': difference, 'same': same, 'unequal': unequal}


def test_what_fails(monkeypatch):
    monkeypatch.setitem(heads.TOLERANCES, 'ours int8', {'reranker': heads.Tolerance(0.25, 0.5)})
    row = {'ours, Gluon folder': report(0.0625, unequal=2), 'ours int8': report(0.25, 0.5, 3),
           'theirs bfloat16': report(1, 0, 9)}
    reports = {('reranker', ''): row}
    assert list(heads.failures(reports, 0.0625)) == ['reranker, ours, Gluon folder: 2 texts differ']
    row['ours, Gluon folder'] = report(0.0625)
    assert list(heads.failures(reports, 0.0625)) == []
    assert list(heads.failures(reports, 0.05)) == [
        'reranker, ours, Gluon folder: a score differs by 6.2e-02, and 5.0e-02 is allowed']
    row['ours int8'] = report(float('nan'), 0.25)
    assert list(heads.failures(reports, 0.0625)) == [
        'reranker, ours int8: a score differs by nan, and 2.5e-01 is allowed',
        'reranker, ours int8: 25.0 % are the same, and 50.0 % are expected']


def test_the_table_names_what_is_left_out(capsys):
    heads.print_table({('entities', 'max'): {'ours, their folder': report(1e-6),
                                             'ours int8': report(0.5, 0.9)}})
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ['entities,', 'max', '1.0e-06,', '100.0', '%', '5.0e-01,', '90.0',
                                '%']
    assert 'ours bfloat16 was not measured: the kernels of this CPU lack the type' in lines


def test_every_contender_of_ours_has_limits():
    for head in heads.make_heads():
        for contender, (_, dtype) in heads.OURS.items():
            limits = heads.limits_of(head, contender, 1e-4)
            assert (limits == (1e-4, 1)) == (dtype == 'float32') == (contender in heads.EXACT)
        assert heads.limits_of(head, 'theirs, converted back', 1e-4) == (1e-4, 1)
        assert heads.limits_of(head, 'theirs bfloat16', 1e-4) is None


def test_examples_are_few():
    rows = LABELS * 10
    comparison = heads.compare(rows, [row[::-1] for row in rows], heads.best_key)
    result = heads.with_examples(comparison, list(range(20)), rows, rows)
    assert result['unequal'] == 20 and len(result['examples']) == heads.MAX_EXAMPLES
    assert result['examples'][1] == {'input': 1, 'theirs': LABELS[1], 'ours': LABELS[1]}


def test_a_word_becomes_a_mask():
    text, masked = 'One  of five\twords .', set()
    for seed in range(50):
        words = heads.mask_word(text, np.random.RandomState(seed)).split(' ')
        assert words.count('[MASK]') == 1
        assert [word for word in text.split() if word not in words] == [
            text.split()[words.index('[MASK]')]]
        masked.add(words.index('[MASK]'))
    assert masked == set(range(5))


def test_inputs_are_drawn_from_the_data(tmp_path):
    (tmp_path / 'ner' / 'wnut17').mkdir(parents=True)
    (tmp_path / 'squad').mkdir()
    tweets = ''.join('w%d\tO\nhere\tO\n\n' % i for i in range(40))
    for name in ('train', 'test'):
        (tmp_path / 'ner' / 'wnut17' / (name + '.conll')).write_text(tweets)
    (tmp_path / 'squad' / 'dev-v1.1.json').write_text(json.dumps({'data': [{'paragraphs': [
        {'context': 'It is %d. Is it ? Yes %d !' % (i, i), 'qas': [{'question': 'What %d?' % i}]}
        for i in range(30)]}]}))
    inputs = heads.read_inputs(str(tmp_path), 20, 1)
    assert inputs == heads.read_inputs(str(tmp_path), 20, 1)
    assert inputs != heads.read_inputs(str(tmp_path), 20, 2)
    assert inputs.keys() == heads.make_heads().keys()
    assert len(set(inputs['entities'])) == 20 and inputs['entities'][0].endswith(' here')
    assert len(set(inputs['several labels'])) == 20
    assert [len(documents) for _, documents in inputs['reranker']] == [heads.DOCUMENTS] * 2
    assert all(text.count('[MASK]') == 1 for text in inputs['fill-mask'])
