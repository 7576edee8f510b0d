"""The metrics of SQuAD: every rule by hand, and the threshold search by brute force."""
import json
import random

import pytest

from bert.data.squad import metric as squad_metric
from bert.data.squad.metric import (
    best_threshold,
    evaluate_v1,
    evaluate_v2,
    exact_match_score,
    f1_score,
)

# ---- normalisation


@pytest.mark.parametrize('text,expected', [
    ('Denver Broncos', 'denver broncos'),
    ('The  Denver\tBroncos\n', 'denver broncos'),
    ('an apple a day', 'apple day'),
    ('Theatre, another', 'theatre another'),        # articles are whole words
    ('"Mr. O\'Neil" (1999)', 'mr oneil 1999'),
    ('in-house', 'inhouse'), ('$5,000.50', '500050'),
    ('a-team', 'ateam'),        # punctuation goes first: no article is left
    ('The.', ''), ('—', '—'), ('«été»', '«été»'),     # ASCII punctuation only
    ('', ''), ('A', ''), ('ÉTÉ', 'été'),
])
def test_normalisation(text, expected):
    assert squad_metric.normalize_answer(text) == expected


# ---- one pair


def test_exact():
    assert exact_match_score('the Broncos', 'Broncos!') == 1
    assert exact_match_score('Broncos', 'Denver Broncos') == 0


@pytest.mark.parametrize('prediction,answer,expected', [
    ('the cat', 'cat', 1), ('dog', 'cat', 0),
    ('cat sat', 'cat', 2 / 3), ('cat cat', 'cat', 2 / 3), ('cat cat', 'cat cat', 1),
    ('in the big house', 'a house', 2 * (1 / 3) / (1 / 3 + 1)),
])
def test_f1(prediction, answer, expected):
    assert f1_score(prediction, answer, True) == f1_score(prediction, answer, False)
    assert f1_score(prediction, answer, True) == pytest.approx(expected)


def test_texts_without_words_score_by_the_official_rules():
    for prediction, answer in (('the', 'a'), ('', ''), ('the', '')):
        assert f1_score(prediction, answer, empty_matches=False) == 0      # 1.1
        assert f1_score(prediction, answer, empty_matches=True) == 1       # 2.0
        assert exact_match_score(prediction, answer) == 1       # both
    assert f1_score('', 'cat', True) == f1_score('cat', '', True) == 0


# ---- SQuAD 1.1


def test_the_best_of_several_answers_counts():
    answers = {'q1': ['Denver Broncos', 'the Broncos'], 'q2': ['1999'], 'q3': ['in the house']}
    predictions = {'q1': 'Broncos', 'q2': '2000', 'q3': 'house', 'other': 'x'}
    assert evaluate_v1(answers, predictions) == {
        'exact_match': pytest.approx(100 / 3), 'f1': pytest.approx(100 * (1 + 0 + 2 / 3) / 3)}


def test_a_question_without_prediction_is_an_error():
    with pytest.raises(KeyError):
        evaluate_v1({'q1': ['x']}, {})


# ---- SQuAD 2.0

ANSWERS = {'a': ['the cat'], 'b': ['big dog', 'dog'], 'c': [], 'd': []}
PREDICTIONS = {'a': 'cat', 'b': 'small dog', 'c': '', 'd': 'fish'}


def test_v2_without_odds():
    result = evaluate_v2(ANSWERS, PREDICTIONS)
    dog_f1 = 100 * 2 / 3       # of 'small dog' against 'dog'
    assert result == {
        'exact': 50.0, 'f1': pytest.approx((100 + dog_f1 + 100 + 0) / 4), 'total': 4,
        'HasAns_exact': 50.0, 'HasAns_f1': pytest.approx((100 + dog_f1) / 2), 'HasAns_total': 2,
        'NoAns_exact': 50.0, 'NoAns_f1': 50.0, 'NoAns_total': 2}
    # the order of the official file
    assert list(result)[:6] == ['exact', 'f1', 'total', 'HasAns_exact', 'HasAns_f1', 'HasAns_total']


def test_v2_of_answerable_questions_only():
    result = evaluate_v2({'a': ['cat']}, {'a': 'cat'})
    assert not any(key.startswith('NoAns') for key in result) and result['HasAns_total'] == 1


def test_v2_with_odds():
    odds = {'a': -2.0, 'b': 1.0, 'c': 3.0, 'd': 5.0}
    result = evaluate_v2(ANSWERS, PREDICTIONS, odds, threshold=2.0)
    assert (result['exact'], result['NoAns_exact'], result['HasAns_exact']) == (75.0, 100.0, 50.0)
    result = evaluate_v2(ANSWERS, PREDICTIONS, odds, threshold=0.0)
    assert (result['exact'], result['HasAns_exact']) == (75.0, 50.0)      # b has no answer either
    # the lowest of the thresholds with the best score
    assert (result['best_exact'], result['best_exact_thresh']) == (75.0, -2.0)
    assert (result['best_f1'], result['best_f1_thresh']) == \
        (pytest.approx(100 * (1 + 2 / 3 + 2) / 4), 1.0)
    json.dumps(result)


def test_v2_where_answering_nothing_is_best():
    answers = {'a': ['x'], 'b': [], 'c': []}
    result = evaluate_v2(answers, {'a': 'y', 'b': 'z', 'c': 'z'}, {'a': 1.0, 'b': 0.0, 'c': 2.0})
    assert (result['best_exact'], result['best_exact_thresh']) == (pytest.approx(200 / 3), 0.0)


def test_v2_answers_of_punctuation_only_are_no_answers():
    result = evaluate_v2({'a': ['.', 'the']}, {'a': ''})
    assert result['NoAns_total'] == 1 and result['exact'] == 100


@pytest.mark.parametrize('seed', range(20))
def test_the_best_threshold_by_brute_force(seed):
    """Also with equal odds: all or none of these questions are answered."""
    rng = random.Random(seed)
    answers = {str(i): ['x y'] if rng.random() < 0.5 else [] for i in range(30)}
    predictions = {question: rng.choice(['x y', 'x', 'z', '']) for question in answers}
    odds = {question: float(rng.randrange(-8, 8)) for question in answers}
    result = evaluate_v2(answers, predictions, odds)
    for key in ('exact', 'f1'):
        scores = [evaluate_v2(answers, predictions, odds, threshold)[key]
                  for threshold in [-9] + sorted(set(odds.values()))]
        assert result['best_' + key] == pytest.approx(max(scores))
        score = evaluate_v2(answers, predictions, odds, result['best_%s_thresh' % key])[key]
        null_score = 100 * sum(not texts for texts in answers.values()) / len(answers)
        assert score == pytest.approx(max(scores)) or max(scores) == pytest.approx(null_score)


def test_best_threshold_alone():
    scores = {'a': 1.0, 'b': 0.0}
    assert best_threshold(scores, {'a': True, 'b': False}, {'a': 'x', 'b': 'x'},
                          {'a': -3.5, 'b': 4.0}) == (100.0, -3.5)
