"""The metrics of SQuAD, with the rules and the JSON keys of the two official evaluators.

Sources: Rajpurkar et al. 2016 (arXiv:1606.05250) and 2018 (arXiv:1806.03822). The evaluators differ
in answers that consist of articles and punctuation only: see `f1_score` and `score_answers`.
"""
import collections
import re
import string

import numpy as np

ARTICLES = re.compile(r'\b(a|an|the)\b')
NO_PUNCTUATION = str.maketrans('', '', string.punctuation)


def normalize_answer(text):
    """The text in lower case, without ASCII punctuation and English articles. Between words,
    any white space becomes one space."""
    return ' '.join(ARTICLES.sub(' ', text.lower().translate(NO_PUNCTUATION)).split())


def exact_match_score(prediction, answer):
    """1.0 if both texts are equal after normalisation, else 0.0."""
    return float(normalize_answer(prediction) == normalize_answer(answer))


def f1_score(prediction, answer, empty_matches):
    """F1 of the two bags of words after normalisation.

    empty_matches: the score of a text without any words: with True (SQuAD 2.0) 1 against another
    such text and otherwise 0, with False (SQuAD 1.1) always 0.
    """
    predicted_words, answer_words = (normalize_answer(text).split()
                                     for text in (prediction, answer))
    if not predicted_words or not answer_words:
        return float(empty_matches and predicted_words == answer_words)
    common = collections.Counter(predicted_words) & collections.Counter(answer_words)
    return 2.0 * sum(common.values()) / (len(predicted_words) + len(answer_words))


def score_answers(answers, predictions, version_2=False):
    """Exact match and F1 of each question: the maximum over its answers.

    answers: {question id: [answer text, …]}; the list is empty for a question without an answer
    (2.0). predictions: {question id: text}, '' for "no answer". Returns ({id: exact}, {id: f1}),
    from 0 to 1. Raises KeyError for a question without a prediction.
    """
    exact_scores, f1_scores = {}, {}
    for question, texts in answers.items():
        prediction = predictions[question]
        if version_2:
            texts = [text for text in texts if normalize_answer(text)] or ['']
        exact_scores[question] = max(exact_match_score(prediction, text) for text in texts)
        f1_scores[question] = max(f1_score(prediction, text, version_2) for text in texts)
    return exact_scores, f1_scores


def evaluate_v1(answers, predictions):
    """SQuAD 1.1: {'exact_match', 'f1'} in percent, as evaluate-v1.1.py prints them."""
    exact_scores, f1_scores = score_answers(answers, predictions)
    return {'exact_match': _percent(exact_scores.values()), 'f1': _percent(f1_scores.values())}


def evaluate_v2(answers, predictions, null_odds=None, threshold=0.0):
    """SQuAD 2.0, with the keys of evaluate-v2.0.py, in percent.

    null_odds: {question id: number}, larger when "no answer" is likelier; above `threshold`, "no
    answer" is the prediction. With null_odds the result has the best thresholds too. They depend on
    the answers, so their scores are those of an oracle: do not report them as results.
    """
    raw_scores = score_answers(answers, predictions, version_2=True)
    has_answer = {question: any(map(normalize_answer, texts))
                  for question, texts in answers.items()}
    exact_scores, f1_scores = (_apply_threshold(scores, has_answer, null_odds, threshold)
                               for scores in raw_scores)
    result = _summary(exact_scores, f1_scores, has_answer)
    for prefix, is_answerable in (('HasAns_', True), ('NoAns_', False)):
        questions = [question for question in answers if has_answer[question] == is_answerable]
        if questions:
            summary = _summary(exact_scores, f1_scores, questions)
            result.update({prefix + key: value for key, value in summary.items()})
    if null_odds is not None:
        for name, scores in zip(('exact', 'f1'), raw_scores):
            result['best_' + name], result['best_%s_thresh' % name] = best_threshold(
                scores, has_answer, predictions, null_odds)
    return result


def best_threshold(scores, has_answer, predictions, null_odds):
    """(score in percent, threshold) for the threshold on `null_odds` with the best mean score.

    scores: {question id: 0 … 1} of the unchanged predictions. The official search goes through the
    questions one by one and may stop among equal odds, which no threshold can do; this search
    doesn't. As there, the threshold is 0 if it is best to answer no question.
    """
    questions = sorted(scores, key=lambda question: null_odds[question])
    odds = np.array([null_odds[question] for question in questions], dtype='float64')
    # the gain over "no answer": the score, or -1 for an answer that replaces a right "no answer"
    gains = np.array([scores[question] if has_answer[question] else -bool(predictions[question])
                      for question in questions], dtype='float64')
    num_unanswerable = sum(not has_answer[question] for question in questions)
    totals = num_unanswerable + np.cumsum(gains)
    totals[:-1][odds[:-1] == odds[1:]] = -np.inf        # no threshold lies between equal odds
    best = int(np.argmax(totals))
    if totals[best] <= num_unanswerable:
        return 100.0 * num_unanswerable / len(questions), 0.0
    return 100.0 * float(totals[best]) / len(questions), float(odds[best])


def _apply_threshold(scores, has_answer, null_odds, threshold):
    """The scores after "no answer" replaces the predictions with odds above the threshold."""
    if null_odds is None:
        return scores
    return {question: float(not has_answer[question]) if null_odds[question] > threshold
            else value for question, value in scores.items()}


def _summary(exact_scores, f1_scores, questions):
    return {'exact': _percent(exact_scores[question] for question in questions),
            'f1': _percent(f1_scores[question] for question in questions),
            'total': len(questions)}


def _percent(values):
    values = list(values)
    return 100.0 * sum(values) / len(values)
