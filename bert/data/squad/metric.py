"""SQuAD's metrics, with the rules and the JSON keys of the two official evaluators.

Sources: Rajpurkar et al. 2016 (arXiv:1606.05250) and 2018 (arXiv:1806.03822). The two evaluators
treat answers differently that are nothing but articles and punctuation: see `f1` and `score`.
"""
import collections
import re
import string

import numpy as np

ARTICLES = re.compile(r'\b(a|an|the)\b')
NO_PUNCTUATION = str.maketrans('', '', string.punctuation)


def normalize_answer(text):
    """Lower-cased, without ASCII punctuation and English articles, words one space apart."""
    return ' '.join(ARTICLES.sub(' ', text.lower().translate(NO_PUNCTUATION)).split())


def exact(prediction, answer):
    """1.0 when the two are the same after normalisation, else 0.0."""
    return float(normalize_answer(prediction) == normalize_answer(answer))


def f1(prediction, answer, empty_matches):
    """F1 of the bags of words after normalisation.

    empty_matches: what a side without any word scores: True (SQuAD 2.0) 1 against another
    such side and 0 otherwise, False (SQuAD 1.1) always 0.
    """
    found, wanted = (normalize_answer(text).split() for text in (prediction, answer))
    if not found or not wanted:
        return float(empty_matches and found == wanted)
    common = sum((collections.Counter(found) & collections.Counter(wanted)).values())
    return 2.0 * common / (len(found) + len(wanted))


def score(answers, predictions, version_2=False):
    """Exact match and F1 of each question, the best over its answers.

    answers: {question id: [answer text, …]}, empty where there is none (2.0). predictions:
    {question id: text}, '' for "no answer". Returns ({id: exact}, {id: f1}), from 0 to 1.
    Raises KeyError for a question without prediction.
    """
    exact_scores, f1_scores = {}, {}
    for question, texts in answers.items():
        prediction = predictions[question]
        if version_2:
            texts = [text for text in texts if normalize_answer(text)] or ['']
        exact_scores[question] = max(exact(prediction, text) for text in texts)
        f1_scores[question] = max(f1(prediction, text, version_2) for text in texts)
    return exact_scores, f1_scores


def evaluate(answers, predictions):
    """SQuAD 1.1: {'exact_match', 'f1'} in percent, as evaluate-v1.1.py prints them."""
    exact_scores, f1_scores = score(answers, predictions)
    return {'exact_match': _percent(exact_scores.values()), 'f1': _percent(f1_scores.values())}


def evaluate_v2(answers, predictions, null_odds=None, threshold=0.0):
    """SQuAD 2.0, with the keys of evaluate-v2.0.py, in percent.

    null_odds: {question id: number}, larger where "no answer" is likelier; a question above
    `threshold` counts as answered by "no answer". With them come the best thresholds, which are
    chosen on these very answers: an oracle, not a score to report as one's own.
    """
    raw = score(answers, predictions, version_2=True)
    has_answer = {question: any(map(normalize_answer, texts))
                  for question, texts in answers.items()}
    exact_scores, f1_scores = (_apply_threshold(scores, has_answer, null_odds, threshold)
                               for scores in raw)
    result = _summary(exact_scores, f1_scores, has_answer)
    for prefix, wanted in (('HasAns_', True), ('NoAns_', False)):
        chosen = [question for question in answers if has_answer[question] == wanted]
        if chosen:
            part = _summary(exact_scores, f1_scores, chosen)
            result.update({prefix + key: value for key, value in part.items()})
    if null_odds is not None:
        for name, scores in zip(('exact', 'f1'), raw):
            result['best_' + name], result['best_%s_thresh' % name] = best_threshold(
                scores, has_answer, predictions, null_odds)
    return result


def best_threshold(scores, has_answer, predictions, null_odds):
    """(score in percent, threshold) of the threshold on `null_odds` with the best mean.

    scores: {question id: 0 … 1} of the predictions as they are. The official search walks
    through the questions one by one and may stop among equal odds, which no threshold can do;
    this one doesn't. The threshold is 0 where answering nothing at all is best, as there.
    """
    questions = sorted(scores, key=lambda question: null_odds[question])
    odds = np.array([null_odds[question] for question in questions], dtype='float64')
    # what answering changes against "no answer": its score, or losing a right "no answer"
    gains = np.array([scores[question] if has_answer[question] else -bool(predictions[question])
                      for question in questions], dtype='float64')
    unanswerable = sum(not has_answer[question] for question in questions)
    totals = unanswerable + np.cumsum(gains)
    totals[:-1][odds[:-1] == odds[1:]] = -np.inf        # not a place to put a threshold
    best = int(np.argmax(totals))
    if totals[best] <= unanswerable:
        return 100.0 * unanswerable / len(questions), 0.0
    return 100.0 * float(totals[best]) / len(questions), float(odds[best])


def _apply_threshold(scores, has_answer, null_odds, threshold):
    """The scores, with "no answer" where the odds are above the threshold."""
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
