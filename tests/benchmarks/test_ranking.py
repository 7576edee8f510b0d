"""The ranking comparisons: what is drawn, summarized and missed."""
import numpy as np
import pytest
from scipy import stats

from benchmarks.ranking import scores, speed

SQUAD = {'data': [{'paragraphs': [
    {'context': 'One is here. Two is there! Is three? %d.' % i,
     'qas': [{'question': 'How many %d?' % i}]} for i in range(6)]}]}


def test_documents_are_paragraphs_and_their_sentences():
    texts = questions, contexts, sentences = speed.read_texts(SQUAD)
    assert len(questions) == len(contexts) == 6
    assert sentences[:5] == ['One is here.', 'Two is there!', 'Is three?', '0.', '1.']
    requests = speed.draw_requests(texts, 3, 10, [1, 0])
    assert len(requests) == 3
    for query, documents in requests:
        assert query in questions and len(set(documents)) == 10
        assert sum(text in contexts for text in documents) == 5
        assert sum(text in sentences for text in documents) == 5
    assert speed.draw_requests(texts, 3, 10, [1, 0]) == requests
    assert speed.draw_requests(texts, 3, 10, [1, 1]) != requests


def test_the_first_is_compared_with_all():
    rates = dict.fromkeys(speed.CONTENDERS, [10., 20.])
    rates['ours bfloat16'], rates['pipeline bfloat16'] = [20., 30.], [10., 15.]
    exact = np.array([[1., 2.], [4., 3.]])
    outputs = dict.fromkeys(speed.CONTENDERS, exact)
    outputs['ours int8'] = np.array([[1., 2.], [3.5, 3.6]])
    summary = speed.summarize(rates, outputs)
    assert summary['theirs bfloat16']['first_over_it'] == {'median': 1.75, 'min': 1.5, 'max': 2}
    assert summary['ours int8']['difference'] == pytest.approx(0.6)
    assert summary['ours int8']['same_first'] == 0.5
    assert list(speed.missed_goals(summary)) == [
        'ours bfloat16 over theirs bfloat16: 1.75, and 1.9 is the goal']
    rates['theirs bfloat16'] = [10., 15.]
    assert not list(speed.missed_goals(speed.summarize(rates, outputs)))
    rates['pipeline bfloat16'] = [10., 20.]
    assert list(speed.missed_goals(speed.summarize(rates, outputs))) == [
        'ours bfloat16 over pipeline bfloat16: 1.75, and 1.9 is the goal']
    del rates['ours bfloat16']      # as on a CPU without bfloat16
    assert not list(speed.missed_goals(speed.summarize(rates, outputs)))
    outputs['ours float32'] = exact + 0.001
    assert list(speed.missed_goals(speed.summarize(rates, outputs))) == [
        'the scores in float32 differ by 1.0e-03']


def test_an_epoch_is_scored_by_correlations():
    labels, values = np.array([0., 0.2, 1., 0.6]), np.array([0.1, 0.3, 0.8, 0.9])
    assert scores.score_epoch(labels, values) == pytest.approx({
        'pearsonr': stats.pearsonr(labels, values)[0],
        'spearmanr': stats.spearmanr(labels, values)[0]})
