"""From logits to answers: the search against brute force, the null score, the n-best entries."""
import itertools
import json

import numpy as np
import pytest
from support import tiny

from bert.data.squad.files import Question, Squad
from bert.data.squad.spans import (
    MAX_NULL_ODDS,
    Answer,
    AnswerFinder,
    Span,
    best_pairs,
    n_best_entries,
)
from bert.data.squad.windows import WindowOptions, make_windows
from bert.data.text.tokenizer import BertTokenizer
from bert.vocabulary import make_vocabulary

OPTIONS = WindowOptions(max_seq_length=12, doc_stride=3, max_query_length=3)


def search_all_pairs(starts, ends, may_start, n_best, max_length):
    pairs = [(i, j) for i, j in itertools.product(range(len(starts)), repeat=2)
             if may_start[i] and i <= j < i + max_length]
    return sorted(pairs, key=lambda pair: (-(starts[pair[0]] + ends[pair[1]]), pair))[:n_best]


@pytest.mark.parametrize('seed', range(12))
def test_the_search_is_exact(seed):
    rng = np.random.RandomState(seed)
    length, n_best, max_length = rng.randint(1, 40), rng.randint(1, 25), rng.randint(1, 50)
    # few different values: many ties
    starts, ends = rng.randint(0, 5, size=(2, length)).astype('float64')
    may_start = rng.rand(length) < 0.7
    pairs = list(zip(*best_pairs(starts, ends, may_start, n_best, max_length)))
    assert pairs == search_all_pairs(starts, ends, may_start, n_best, max_length)


def test_no_token_may_start():
    first, last = best_pairs(np.zeros(3), np.zeros(3), np.zeros(3, dtype=bool), 5, 30)
    assert len(first) == len(last) == 0


@pytest.fixture(scope='module')
def tokenizer():
    return BertTokenizer(make_vocabulary(list(tiny.TOKENS)), lower=True)


def make_squad(*contexts):
    return Squad('', list(contexts), [Question('q%d' % i, 'the film', i, (), False)
                                      for i in range(len(contexts))], [])


def make_logits(length, **values):
    """Logits (length, 2): all -5, except start_<position> and end_<position>."""
    logits = np.full((length, 2), -5.0, dtype='float32')
    for key, value in values.items():
        side, position = key.split('_')
        logits[int(position), ['start', 'end'].index(side)] = value
    return logits


def find_answers(squad, tokenizer, logits, **options):
    windows = make_windows(squad, tokenizer, OPTIONS)
    finder = AnswerFinder(squad, windows, **options)
    for i in reversed(range(len(windows))):     # in any order
        finder.add(i, logits[i])
    return finder.answers()


def test_n_best_counts_distinct_texts_where_words_repeat(tokenizer):
    """Each text has its best score, as in a search over all spans."""
    squad = make_squad('good bad ' * 4)
    logits = np.random.RandomState(2).normal(size=(13, 2)).astype('float32')
    options = WindowOptions(max_seq_length=20, doc_stride=3, max_query_length=3)
    windows = make_windows(squad, tokenizer, options)
    best_scores = {}
    words = squad.contexts[0].split()
    for i, j in itertools.product(range(8), repeat=2):
        if i <= j < i + 3:
            text, score = ' '.join(words[i:j + 1]), logits[i + 4, 0] + logits[j + 4, 1]
            best_scores[text] = max(best_scores.get(text, -np.inf), score)
    expected = sorted(best_scores, key=lambda text: -best_scores[text])
    assert len(expected) == 6       # of 21 spans
    for n_best in range(1, 8):
        finder = AnswerFinder(squad, windows, n_best, max_answer_length=3)
        finder.add(0, logits)
        answer, = finder.answers()
        assert [span.text for span in answer.spans] == expected[:n_best]
        np.testing.assert_allclose([span.score for span in answer.spans],
                                   [best_scores[text] for text in expected[:n_best]], rtol=1e-5)


def test_the_answer_is_cut_from_the_context(tokenizer):
    # [CLS] the film [SEP] it was Very ##? good . [SEP]
    squad = make_squad('It  was\tVERY good.')
    answer, = find_answers(squad, tokenizer, [make_logits(10, start_6=2.0, end_7=3.0, start_0=1.0)])
    span = answer.spans[0]
    assert span == Span(2.0, 3.0, 8, 17, 'VERY good')
    assert (answer.null_start, answer.null_end) == (1.0, -5.0)
    assert answer.null_odds == -4.0 - 5.0


def test_only_context_tokens_can_be_answers(tokenizer):
    # the question, [CLS] and [SEP] score best; so does padding after the window
    logits = make_logits(12, start_1=9, end_2=9, start_3=9, end_3=9, start_11=9, end_11=9,
                         start_4=1, end_5=1, start_8=9, end_8=9)
    answer, = find_answers(make_squad('it was good .'), tokenizer, [logits])
    assert answer.spans[0].text == 'it was'


def test_max_answer_length(tokenizer):
    squad, logits = make_squad('it was good .'), [make_logits(9, start_4=5, end_7=5)]
    answer, = find_answers(squad, tokenizer, logits, max_answer_length=4)
    assert answer.spans[0].text == 'it was good .'
    assert answer.spans[0].score == 10
    short_answer, = find_answers(squad, tokenizer, logits, max_answer_length=3)
    assert all(span.score == 0 for span in short_answer.spans[:2])
    assert 'it was good .' not in [span.text for span in short_answer.spans]


def test_the_last_token_of_a_window_can_start_an_answer(tokenizer):
    """The original marked max context one position too low, so this token never could."""
    logits = make_logits(9, start_7=5, end_7=5)
    answer, = find_answers(make_squad('it was good .'), tokenizer, [logits])
    assert answer.spans[0].text == '.'
    # with several windows too: the very last token of the context
    context = 'it was so very good film so fine and the great plot'
    windows = make_windows(make_squad(context), tokenizer, OPTIONS)
    assert len(windows) > 2
    logits = [make_logits(12) for _ in range(len(windows))]
    last_token = windows.lengths[-1] - 2
    logits[-1][last_token] = 5
    assert find_answers(make_squad(context), tokenizer, logits)[0].spans[0].text == 'plot'


def test_a_token_is_scored_where_it_sees_most_context(tokenizer):
    context = 'it was so very good film so fine and the great plot'
    windows = make_windows(make_squad(context), tokenizer, OPTIONS)
    logits = [make_logits(12) for _ in range(len(windows))]
    logits[0][4 + 5, 0] = 9     # "film", second to last in window 0: window 1 shows more context
    logits[0][4 + 6, 0] = 9     # "so", the last of window 0
    logits[1][4 + 3, 0] = 1     # the same "so" in window 1
    answer, = find_answers(make_squad(context), tokenizer, logits)
    assert answer.spans[0].score == -4.0 and answer.spans[0].text == 'so'
    assert answer.spans[0].start == context.index('so fine')


def test_the_null_score_is_the_lowest_of_the_windows(tokenizer):
    context = 'it was so very good film so fine and the great plot'
    logits = [make_logits(12, start_0=value, end_0=1.0) for value in (3.0, -1.0, 2.0)]
    answer, = find_answers(make_squad(context), tokenizer, logits)
    assert (answer.null_start, answer.null_end) == (-1.0, 1.0)


def test_each_text_occurs_once(tokenizer):
    logits = make_logits(11, start_4=3, end_4=3, start_6=2, end_6=2)
    answer, = find_answers(make_squad('it was it so .'), tokenizer, [logits], n_best=50)
    texts = [span.text for span in answer.spans]
    assert texts[0] == 'it' and len(texts) == len(set(texts))
    assert answer.spans[0].score == 6


def test_n_best_bounds_the_spans(tokenizer):
    answer, = find_answers(make_squad('it was good .'), tokenizer, [make_logits(9)], n_best=3)
    assert len(answer.spans) == 3


def test_threshold():
    answer = Answer([Span(2.0, 1.0, 0, 4, 'good')], 2.5, 1.0)
    assert answer.null_odds == 0.5
    assert answer.text() == 'good'                      # SQuAD 1.1 always answers
    assert answer.text(version_2=True) == ''            # 0.5 > 0
    assert answer.text(version_2=True, threshold=0.5) == 'good'
    assert answer.text(version_2=True, threshold=0.4) == ''


@pytest.mark.parametrize('version_2', [False, True])
def test_a_question_without_any_span(tokenizer, version_2):
    """The original crashed on such a question in SQuAD 2.0."""
    answer, = find_answers(make_squad(''), tokenizer, [make_logits(6, start_0=1.0, end_0=2.0)])
    assert answer.spans == []
    assert answer.text(version_2, threshold=1e9) == ''
    assert answer.null_odds == MAX_NULL_ODDS
    assert json.loads(json.dumps(answer.null_odds)) == MAX_NULL_ODDS
    assert n_best_entries(answer, version_2) == [
        {'text': '', 'start_logit': 1.0, 'end_logit': 2.0, 'answer_start': None,
         'probability': 1.0}]


def test_n_best_entries():
    answer = Answer([Span(2.0, 1.0, 5, 9, 'good'), Span(0.0, 1.0, 0, 2, 'it')], 1.0, 1.0)
    entries = n_best_entries(answer, version_2=False)
    assert [entry['text'] for entry in entries] == ['good', 'it']
    assert entries[0]['answer_start'] == 5
    probabilities = np.exp([3.0, 1.0]) / np.exp([3.0, 1.0]).sum()
    np.testing.assert_allclose([entry['probability'] for entry in entries], probabilities)
    entries = n_best_entries(answer, version_2=True)
    assert [entry['text'] for entry in entries] == ['good', '', 'it']
    probabilities = np.exp([3.0, 2.0, 1.0]) / np.exp([3.0, 2.0, 1.0]).sum()
    np.testing.assert_allclose([entry['probability'] for entry in entries], probabilities)
    assert json.loads(json.dumps(entries)) == entries
