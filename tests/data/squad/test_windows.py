"""Windows against a slow reference, character spans against the text, and the cache."""
import os

import numpy as np
import pytest
from support import tiny

from bert import files
from bert.data.squad import windows as windows_module
from bert.data.squad.files import Question, Squad, read_squad
from bert.data.squad.windows import WindowOptions, load_windows, make_windows
from bert.data.text.tokenizer import BertTokenizer
from bert.data.windows import cut_into_windows
from bert.errors import UserError
from bert.vocabulary import make_vocabulary, read_vocabulary

CLS, SEP = 2, 3
OPTIONS = WindowOptions(max_seq_length=12, doc_stride=3, max_query_length=3)


@pytest.fixture(scope='module')
def tokenizer():
    return BertTokenizer(make_vocabulary(list(tiny.TOKENS)), lower=True)


@pytest.fixture(scope='module')
def english(data_dir):
    return BertTokenizer(read_vocabulary(str(data_dir / 'vocab' / 'bert-base-uncased.txt')), True)


def make_squad(context, question='the film', answer=None):
    """A `Squad` of one question; its answer is the first occurrence of `answer`."""
    answers = ((answer, context.index(answer)),) if answer else ()
    return Squad('', [context], [Question('q', question, 0, answers, False)], [])


def slow_windows(context, question, options):
    """(token_ids, first context token) of each window, as the paper's appendix describes it."""
    question = list(question)[:options.max_query_length]
    room = options.max_seq_length - len(question) - 3
    windows, start = [], 0
    while True:
        part = list(context)[start:start + room]
        windows.append(([CLS] + question + [SEP] + part + [SEP], start))
        if start + room >= len(context):
            return windows
        start += min(options.doc_stride, room)


def slow_owners(starts, lengths):
    """For each context token the window that shows most context, counted token by token."""
    owners = []
    for token in range(starts[-1] + lengths[-1]):
        best_score, owner = None, None
        for i, (start, length) in enumerate(zip(starts, lengths)):
            if start <= token < start + length:
                score = min(token - start, start + length - 1 - token) + 0.01 * length
                if best_score is None or score > best_score:
                    best_score, owner = score, i
        owners.append(owner)
    return owners


@pytest.mark.parametrize('stride', [1, 2, 3, 5, 7, 100])
@pytest.mark.parametrize('length', [1, 6, 7, 8, 20, 33])
def test_windows_equal_the_slow_reference(tokenizer, stride, length):
    rng = np.random.RandomState(length)
    context = ' '.join(rng.choice(tiny.WORDS, size=length))
    options = OPTIONS._replace(doc_stride=stride)
    windows = make_windows(make_squad(context, 'was it good and fine'), tokenizer, options)
    ids = tokenizer.encode([context, 'was it good and fine'])
    expected = slow_windows(*ids, options)
    assert [windows[i].token_ids.tolist() for i in range(len(windows))] == [
        ids for ids, _ in expected]
    assert windows.windows[:, 1].tolist() == [start for _, start in expected]
    assert windows.lengths.tolist() == [len(ids) for ids, _ in expected]
    assert windows.question_cut.tolist() == [2]
    owners = slow_owners(windows.windows[:, 1].tolist(), windows.windows[:, 2].tolist())
    for i, mask in enumerate(windows.max_context()):
        start = windows.windows[i, 1]
        assert mask.tolist() == [owners[start + k] == i for k in range(len(mask))]
    assert sum(mask.sum() for mask in windows.max_context()) == length     # each token once


def test_segments_and_offset(tokenizer):
    windows = make_windows(make_squad('it was good'), tokenizer, OPTIONS)
    assert windows[0].token_ids.tolist() == [CLS, 11, 12, SEP, 18, 13, 5, SEP]
    assert windows[0].segment_ids.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert windows[0].valid_length == 8
    assert windows.offset(0) == 4
    assert windows.spans(0).tolist() == [[0, 2], [3, 6], [7, 11]]


@pytest.mark.parametrize('answer,labels', [
    ('it', [[3, 3], [0, 0], [0, 0]]),           # first token
    ('good', [[7, 7], [4, 4], [0, 0]]),
    ('good film', [[7, 8], [4, 5], [0, 0]]),    # last token of the first window
    ('film so', [[0, 0], [5, 6], [0, 0]]),      # beyond that window: [CLS]
    ('plot', [[0, 0], [0, 0], [8, 8]])])        # last token of all
def test_labels(tokenizer, answer, labels):
    squad = make_squad('it was so very good film so fine and the great plot', 'the', answer)
    windows = make_windows(squad, tokenizer, WindowOptions(10, 3, 3))
    assert windows.windows[:, 1:].tolist() == [[0, 6], [3, 6], [6, 6]]
    assert [windows[i].label.tolist() for i in range(3)] == labels


def test_answers_that_no_window_holds_are_counted(tokenizer):
    context = 'it was so very good film so fine and the great plot'
    for answer, expected in (('it was', 0), ('very good film so fine and', 0),
                             ('so very good film so fine', 1)):
        squad = make_squad(context, 'the', answer)
        windows = make_windows(squad, tokenizer, WindowOptions(10, 3, 3))
        assert windows.answers_in_no_window() == expected


def test_the_label_of_an_impossible_question_is_cls(tokenizer):
    squad = make_squad('it was good', answer='good')
    impossible = [squad.questions[0]._replace(is_impossible=True)]
    assert make_windows(squad._replace(questions=impossible), tokenizer,
                        OPTIONS)[0].label.tolist() == [0, 0]


def test_an_answer_inside_a_word_is_the_whole_piece(tokenizer):
    windows = make_windows(make_squad('the films', answer='lm'), tokenizer, OPTIONS)
    start, end = windows[0].label - windows.offset(0)
    assert (start, end) == (1, 1)
    assert windows.spans(0)[1].tolist() == [4, 8]


def test_contexts_are_tokenized_once(tokenizer, monkeypatch):
    texts = []
    encode = BertTokenizer.encode_with_spans
    monkeypatch.setattr(BertTokenizer, 'encode_with_spans',
                        lambda self, chunk: texts.extend(chunk) or encode(self, chunk))
    questions = [Question(str(i), 'the film', i % 2, (), False) for i in range(6)]
    squad = Squad('', ['it was good', 'it was bad'], questions, [])
    windows = make_windows(squad, tokenizer, OPTIONS)
    assert texts == ['it was good', 'it was bad']
    assert [windows[i].token_ids[-2] for i in range(6)] == [5, 8] * 3


@pytest.mark.parametrize('text,pieces', [
    ('café x', ['café', 'x']),
    ('cafe\u0301 x', ['cafe\u0301', 'x']),                  # the accent as a character of its own
    ('電影 好', ['電', '影', '好']),
    ('👩\u200d💻 works 👍🏽!', ['👩\u200d💻', 'works', '👍🏽', '!']),
    ('a\u200bb', ['a\u200bb']),                             # a character the tokenizer drops
    ('\u0301 film', ['film']),
    ('गुरु x', ['गु', 'रु', 'x']), ('ที่ x', ['ที่', 'x']), ('❤️ x', ['❤️', 'x']),
    ('İstanbul', ['İstanbul'])])
def test_characters_of_each_piece(english, text, pieces):
    windows = make_windows(make_squad(text), english, WindowOptions())
    assert [text[start:end] for start, end in windows.spans(0)] == pieces


def test_characters_in_real_contexts(data_dir, english):
    """Every real answer is cut from its context exactly, except those inside a word."""
    squad = read_squad(str(data_dir / 'squad' / 'dev-v1.1.json'))
    windows = make_windows(squad, english, WindowOptions())
    num_differences = 0
    for question, (start, end) in zip(squad.questions, windows.answers):
        bounds = windows.context_bounds[question.context]
        context = squad.contexts[question.context]
        text = context[windows.context_spans[bounds + start, 0]:
                       windows.context_spans[bounds + end, 1]]
        assert question.answers[0][0] in text
        num_differences += text != question.answers[0][0]
    assert num_differences == 32      # "gold" of "golden", "8" of "18"


def test_a_giant_word(tokenizer):
    text = 'x' * 20000
    windows = make_windows(make_squad(text, answer=text), tokenizer, OPTIONS)
    assert len(windows) == 1
    assert windows.spans(0).tolist() == [[0, 20000]]
    assert windows[0].label.tolist() == [4, 4]


def test_an_empty_context_and_an_empty_question(tokenizer):
    windows = make_windows(make_squad(''), tokenizer, OPTIONS)
    assert windows[0].token_ids.tolist() == [CLS, 11, 12, SEP, SEP]
    assert [mask.tolist() for mask in windows.max_context()] == [[]]
    windows = make_windows(make_squad('it was good', question=''), tokenizer, OPTIONS)
    assert windows[0].token_ids.tolist() == [CLS, SEP, 18, 13, 5, SEP]
    assert windows.offset(0) == 2


def test_a_stride_longer_than_the_window_leaves_nothing_out():
    assert cut_into_windows(20, 6, 100) == [(0, 6), (6, 6), (12, 6), (18, 2)]


@pytest.mark.parametrize('options,message', [
    (WindowOptions(67, 128, 64), '--max_seq_length 67: expected more than --max_query_length 64 '
                                 'and 3 special tokens together, to leave room for the context'),
    (WindowOptions(384, 0, 64), '--doc_stride 0: expected a whole number from 1 on'),
    (WindowOptions(600, 128, 64), '--max_seq_length 600 is more than the 512 positions of this '
                                  'model: use 512 or less')])
def test_sizes_that_leave_no_room_for_a_context(options, message):
    with pytest.raises(UserError) as error:
        options.check(512)
    assert str(error.value) == message


def test_the_smallest_sizes():
    WindowOptions(68, 1, 64).check(68)


# The cache

@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('MXNET_HOME', str(tmp_path / 'mxnet'))
    return tmp_path / 'mxnet'


def equal_windows(left, right):
    return all(np.array_equal(array, right.arrays()[name]) and
               array.dtype == right.arrays()[name].dtype
               for name, array in left.arrays().items())


def test_windows_are_read_back(tokenizer, cache, monkeypatch):
    squad = make_squad('it was good', answer='good')
    windows, path, was_cached = load_windows(squad, tokenizer, OPTIONS)
    assert not was_cached
    assert os.listdir(cache / 'features') == [os.path.basename(path)]
    monkeypatch.setattr(windows_module, 'make_windows', None)
    cached_windows, cached_path, was_cached = load_windows(squad, tokenizer, OPTIONS)
    assert was_cached and cached_path == path and equal_windows(windows, cached_windows)
    assert cached_windows[0].label.tolist() == windows[0].label.tolist()


@pytest.mark.parametrize('change', [
    lambda squad, t, o: (squad._replace(contexts=['it was bad']), t, o),
    lambda squad, t, o: (squad._replace(questions=[squad.questions[0]._replace(text='it')]), t, o),
    lambda squad, t, o: (squad._replace(questions=[squad.questions[0]._replace(
        answers=(('was', 3),))]), t, o),
    lambda squad, t, o: (squad._replace(questions=[squad.questions[0]._replace(
        is_impossible=True)]), t, o),
    lambda squad, t, o: (squad, BertTokenizer(t.vocab, lower=False), o),
    lambda squad, t, o: (squad, BertTokenizer(make_vocabulary(list(tiny.TOKENS) + ['x']), True), o),
    lambda squad, t, o: (squad, t, o._replace(doc_stride=4)),
    lambda squad, t, o: (squad, t, o._replace(max_seq_length=13)),
    lambda squad, t, o: (squad, t, o._replace(max_query_length=4))])
def test_the_cache_key_depends_on_each_input(tokenizer, cache, change):
    arguments = (make_squad('it was good', answer='good'), tokenizer, OPTIONS)
    _, path, _ = load_windows(*arguments)
    _, other_path, was_cached = load_windows(*change(*arguments))
    assert other_path != path and not was_cached


@pytest.mark.parametrize('damage', [b'', b'PK\x03\x04 nothing', b'\x80\x04N.'])
def test_a_damaged_cache_is_replaced(tokenizer, cache, damage):
    squad = make_squad('it was good')
    windows, path, _ = load_windows(squad, tokenizer, OPTIONS)
    with open(path, 'wb') as file:
        file.write(damage)
    new_windows, _, was_cached = load_windows(squad, tokenizer, OPTIONS)
    assert not was_cached and equal_windows(windows, new_windows)
    assert load_windows(squad, tokenizer, OPTIONS)[2]


def test_a_cache_with_pickles_is_not_read(tokenizer, cache):
    squad = make_squad('it was good')
    windows, path, _ = load_windows(squad, tokenizer, OPTIONS)
    arrays = dict(windows.arrays(), windows=np.array([print], dtype=object))
    with open(path, 'wb') as file:
        np.savez(file, **arrays)
    new_windows, _, was_cached = load_windows(squad, tokenizer, OPTIONS)
    assert not was_cached and equal_windows(windows, new_windows)


def test_a_cache_that_cannot_be_written(tokenizer, cache, caplog):
    cache.write_text('a file')
    windows, _, was_cached = load_windows(make_squad('it was good'), tokenizer, OPTIONS)
    assert len(windows) == 1 and not was_cached
    assert 'the features could not be saved for the next run: ' in caplog.text
    assert str(files.cache_dir()) in caplog.text
