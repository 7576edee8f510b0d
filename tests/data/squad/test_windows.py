"""Windows against a slow reference, characters against the text, the cache."""
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
SMALL = WindowOptions(max_seq_length=12, doc_stride=3, max_query_length=3)


@pytest.fixture(scope='module')
def tokenizer():
    return BertTokenizer(make_vocabulary(list(tiny.TOKENS)), lower=True)


@pytest.fixture(scope='module')
def english(data_dir):
    return BertTokenizer(read_vocabulary(str(data_dir / 'vocab' / 'bert-base-uncased.txt')), True)


def ask(context, question='the film', answer=None):
    """A `Squad` of one question; the answer stands where it first occurs."""
    answers = ((answer, context.index(answer)),) if answer else ()
    return Squad('', [context], [Question('q', question, 0, answers, False)], [])


def slow_windows(context, question, options):
    """(token_ids, first context token) of each window, as the paper's appendix tells it."""
    question = list(question)[:options.max_query_length]
    room = options.max_seq_length - len(question) - 3
    result, start = [], 0
    while True:
        part = list(context)[start:start + room]
        result.append(([CLS] + question + [SEP] + part + [SEP], start))
        if start + room >= len(context):
            return result
        start += min(options.doc_stride, room)


def slow_owners(starts, lengths):
    """The window that shows most context, counted token by token, for each context token."""
    owners = []
    for token in range(starts[-1] + lengths[-1]):
        best, owner = None, None
        for i, (start, length) in enumerate(zip(starts, lengths)):
            if start <= token < start + length:
                score = min(token - start, start + length - 1 - token) + 0.01 * length
                if best is None or score > best:
                    best, owner = score, i
        owners.append(owner)
    return owners


@pytest.mark.parametrize('stride', [1, 2, 3, 5, 7, 100])
@pytest.mark.parametrize('length', [1, 6, 7, 8, 20, 33])
def test_windows_equal_the_slow_reference(tokenizer, stride, length):
    rng = np.random.RandomState(length)
    context = ' '.join(rng.choice(tiny.WORDS, size=length))
    options = SMALL._replace(doc_stride=stride)
    found = make_windows(ask(context, 'was it good and fine'), tokenizer, options)
    ids = tokenizer.encode([context, 'was it good and fine'])
    wanted = slow_windows(*ids, options)
    assert [found[i].token_ids.tolist() for i in range(len(found))] == [ids for ids, _ in wanted]
    assert found.windows[:, 1].tolist() == [start for _, start in wanted]
    assert found.lengths.tolist() == [len(ids) for ids, _ in wanted]
    assert found.question_cut.tolist() == [2]
    owners = slow_owners(found.windows[:, 1].tolist(), found.windows[:, 2].tolist())
    for i, mask in enumerate(found.max_context()):
        first = found.windows[i, 1]
        assert mask.tolist() == [owners[first + k] == i for k in range(len(mask))]
    assert sum(mask.sum() for mask in found.max_context()) == length     # each token once


def test_segments_and_offset(tokenizer):
    window = make_windows(ask('it was good'), tokenizer, SMALL)
    assert window[0].token_ids.tolist() == [CLS, 11, 12, SEP, 18, 13, 5, SEP]
    assert window[0].segment_ids.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert window[0].valid_length == 8
    assert window.offset(0) == 4
    assert window.spans(0).tolist() == [[0, 2], [3, 6], [7, 11]]


@pytest.mark.parametrize('answer,labels', [
    ('it', [[3, 3], [0, 0], [0, 0]]),           # first token
    ('good', [[7, 7], [4, 4], [0, 0]]),
    ('good film', [[7, 8], [4, 5], [0, 0]]),    # last token of the first window
    ('film so', [[0, 0], [5, 6], [0, 0]]),      # beyond it: [CLS]
    ('plot', [[0, 0], [0, 0], [8, 8]])])        # last token of all
def test_labels(tokenizer, answer, labels):
    squad = ask('it was so very good film so fine and the great plot', 'the', answer)
    found = make_windows(squad, tokenizer, WindowOptions(10, 3, 3))
    assert found.windows[:, 1:].tolist() == [[0, 6], [3, 6], [6, 6]]
    assert [found[i].label.tolist() for i in range(3)] == labels


def test_answers_that_no_window_holds_are_counted(tokenizer):
    context = 'it was so very good film so fine and the great plot'
    for answer, number in (('it was', 0), ('very good film so fine and', 0),
                           ('so very good film so fine', 1)):
        found = make_windows(ask(context, 'the', answer), tokenizer, WindowOptions(10, 3, 3))
        assert found.answers_in_no_window() == number


def test_an_impossible_question_is_labelled_cls(tokenizer):
    squad = ask('it was good', answer='good')
    impossible = [squad.questions[0]._replace(is_impossible=True)]
    assert make_windows(squad._replace(questions=impossible), tokenizer,
                        SMALL)[0].label.tolist() == [0, 0]


def test_an_answer_inside_a_word_is_the_whole_piece(tokenizer):
    found = make_windows(ask('the films', answer='lm'), tokenizer, SMALL)
    start, end = found[0].label - found.offset(0)
    assert (start, end) == (1, 1)
    assert found.spans(0)[1].tolist() == [4, 8]


def test_contexts_are_tokenized_once(tokenizer, monkeypatch):
    texts = []
    encode = BertTokenizer.encode_with_spans
    monkeypatch.setattr(BertTokenizer, 'encode_with_spans',
                        lambda self, chunk: texts.extend(chunk) or encode(self, chunk))
    questions = [Question(str(i), 'the film', i % 2, (), False) for i in range(6)]
    found = make_windows(Squad('', ['it was good', 'it was bad'], questions, []), tokenizer, SMALL)
    assert texts == ['it was good', 'it was bad']
    assert [found[i].token_ids[-2] for i in range(6)] == [5, 8] * 3


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
    found = make_windows(ask(text), english, WindowOptions())
    assert [text[start:end] for start, end in found.spans(0)] == pieces


def test_characters_in_real_contexts(data_dir, english):
    """Every real answer is cut out of its context exactly, but those inside a word."""
    squad = read_squad(str(data_dir / 'squad' / 'dev-v1.1.json'))
    found = make_windows(squad, english, WindowOptions())
    differing = 0
    for question, (start, end) in zip(squad.questions, found.answers):
        bounds = found.context_bounds[question.context]
        context = squad.contexts[question.context]
        text = context[found.context_spans[bounds + start, 0]:
                       found.context_spans[bounds + end, 1]]
        assert question.answers[0][0] in text
        differing += text != question.answers[0][0]
    assert differing == 32      # "gold" of "golden", "8" of "18"


def test_a_giant_word(tokenizer):
    text = 'x' * 20000
    found = make_windows(ask(text, answer=text), tokenizer, SMALL)
    assert len(found) == 1
    assert found.spans(0).tolist() == [[0, 20000]]
    assert found[0].label.tolist() == [4, 4]


def test_an_empty_context_and_an_empty_question(tokenizer):
    empty = make_windows(ask(''), tokenizer, SMALL)
    assert empty[0].token_ids.tolist() == [CLS, 11, 12, SEP, SEP]
    assert [mask.tolist() for mask in empty.max_context()] == [[]]
    silent = make_windows(ask('it was good', question=''), tokenizer, SMALL)
    assert silent[0].token_ids.tolist() == [CLS, SEP, 18, 13, 5, SEP]
    assert silent.offset(0) == 2


def test_a_stride_longer_than_the_window_leaves_nothing_out():
    assert cut_into_windows(20, 6, 100) == [(0, 6), (6, 6), (12, 6), (18, 2)]


@pytest.mark.parametrize('options,message', [
    (WindowOptions(67, 128, 64), '--max_seq_length 67: more than --max_query_length 64 and 3 '
                                 'special tokens expected, or no context fits in'),
    (WindowOptions(384, 0, 64), '--doc_stride 0: a whole number from 1 on expected'),
    (WindowOptions(600, 128, 64), '--max_seq_length 600 is more than the 512 positions of this '
                                  'model: use 512 or less')])
def test_sizes_that_hold_no_context(options, message):
    with pytest.raises(UserError) as error:
        options.check(512)
    assert str(error.value) == message


def test_sizes_that_just_do():
    WindowOptions(68, 1, 64).check(68)


# The cache

@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('MXNET_HOME', str(tmp_path / 'mxnet'))
    return tmp_path / 'mxnet'


def same(left, right):
    return all(np.array_equal(array, right.arrays()[name]) and
               array.dtype == right.arrays()[name].dtype
               for name, array in left.arrays().items())


def test_windows_are_read_back(tokenizer, cache, monkeypatch):
    squad = ask('it was good', answer='good')
    first, path, was_cached = load_windows(squad, tokenizer, SMALL)
    assert not was_cached
    assert os.listdir(cache / 'features') == [os.path.basename(path)]
    monkeypatch.setattr(windows_module, 'make_windows', None)
    second, again, was_cached = load_windows(squad, tokenizer, SMALL)
    assert was_cached and again == path and same(first, second)
    assert second[0].label.tolist() == first[0].label.tolist()


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
def test_the_cache_is_keyed_by_all_that_counts(tokenizer, cache, change):
    given = (ask('it was good', answer='good'), tokenizer, SMALL)
    _, path, _ = load_windows(*given)
    _, other, was_cached = load_windows(*change(*given))
    assert other != path and not was_cached


@pytest.mark.parametrize('damage', [b'', b'PK\x03\x04 nothing', b'\x80\x04N.'])
def test_a_damaged_cache_is_made_again(tokenizer, cache, damage):
    squad = ask('it was good')
    first, path, _ = load_windows(squad, tokenizer, SMALL)
    with open(path, 'wb') as file:
        file.write(damage)
    again, _, was_cached = load_windows(squad, tokenizer, SMALL)
    assert not was_cached and same(first, again)
    assert load_windows(squad, tokenizer, SMALL)[2]


def test_a_cache_with_pickles_is_not_read(tokenizer, cache):
    squad = ask('it was good')
    first, path, _ = load_windows(squad, tokenizer, SMALL)
    arrays = dict(first.arrays(), windows=np.array([print], dtype=object))
    with open(path, 'wb') as file:
        np.savez(file, **arrays)
    again, _, was_cached = load_windows(squad, tokenizer, SMALL)
    assert not was_cached and same(first, again)


def test_no_place_for_the_cache(tokenizer, cache, caplog):
    cache.write_text('a file')
    found, _, was_cached = load_windows(ask('it was good'), tokenizer, SMALL)
    assert len(found) == 1 and not was_cached
    assert 'the features are not kept for the next time: ' in caplog.text
    assert str(files.cache_dir()) in caplog.text
