"""The question-answering comparisons: splits, explanations, summaries, and the peer's worker."""
import argparse
import importlib
import sys
import unittest.mock

import numpy as np
import pytest

from benchmarks import harness
from benchmarks.squad import losses_and_answers, ours, scores, speed, split, static_shapes
from bert.data.batches import collate
from bert.data.transform import Features

CONTEXT = 'Ana Ba\u0301ez met Cleo'      # an a with its accent as a character of its own


def squad_content(*articles):
    """The content of a SQuAD file; articles: (title, [number of questions of each paragraph])."""
    return {'version': '1.1', 'data': [
        {'title': title, 'paragraphs': [
            {'context': CONTEXT, 'qas': [{'id': '%s-%d-%d' % (title, i, j), 'question': 'who?',
                                          'answers': [{'text': 'Ana', 'answer_start': 0}]}
                                         for j in range(count)]}
            for i, count in enumerate(counts)]}
        for title, counts in articles]}


def ids_of(content):
    return [qa['id'] for article in content['data'] for paragraph in article['paragraphs']
            for qa in paragraph['qas']]


def test_articles_are_dealt_by_their_titles_alone():
    titles = ['t%d' % i for i in range(8)]
    parts = split.parse_parts('train:4,threshold:2,dev:2')
    titles_of = split.split_titles(titles, parts)
    assert {name: len(part) for name, part in titles_of.items()} == parts
    assert sorted(set.union(*titles_of.values())) == titles
    assert split.split_titles(titles[::-1] + titles[:3], parts) == titles_of
    titles_of = split.split_titles(titles, {'a': 1, 'b': 1, 'c': 1})
    assert {len(part) for part in titles_of.values()} == {2, 3}


@pytest.mark.parametrize('text', ['train', 'train:0', 'a:1,a:2', ':1', 'a:1.5', ''])
def test_parts_that_are_none(text):
    with pytest.raises(argparse.ArgumentTypeError, match='train:4,dev:2'):
        split.parse_parts(text)


def test_a_file_is_split_whole_articles_at_a_time(tmp_path, monkeypatch, capsys):
    content = squad_content(*((name, [2, 1]) for name in 'abcd'))
    harness.write_json(tmp_path / 'dev.json', content)
    arguments = [str(tmp_path / 'dev.json'), '--parts', 'x:3,y:1', '--output_dir',
                 str(tmp_path / 'to')]
    monkeypatch.setattr(sys, 'argv', ['split.py'] + arguments)
    split.main()
    parts = [harness.read_json(tmp_path / 'to' / name) for name in ('x.json', 'y.json')]
    assert [len(ids_of(part)) for part in parts] == [9, 3]
    assert sorted(ids_of(parts[0]) + ids_of(parts[1])) == sorted(ids_of(content))
    assert '3 articles, 9 questions' in capsys.readouterr().out
    monkeypatch.setattr(sys, 'argv', ['split.py'] + arguments[:1] + ['--parts', 'x:9,y:1'])
    with pytest.raises(SystemExit, match='too few articles for a part y'):
        split.main()
    monkeypatch.setattr(sys, 'argv', ['split.py', arguments[0], '--parts', 'dev:1',
                                      '--output_dir', str(tmp_path)])
    with pytest.raises(SystemExit, match='dev.json is the file itself'):
        split.main()
    assert harness.read_json(tmp_path / 'dev.json') == content


def window_scores(starts, ends, **fields):
    """`WindowScores` of the tokens [CLS] who [SEP] and those of `CONTEXT`: ana, baez, met, cleo."""
    spans = np.array([[0, 3], [4, 9], [10, 13], [14, 18]])
    values = dict(scores=np.array([[0, 0, 0] + starts, [0, 0, 0] + ends]).T, offset=3,
                  may_start=np.ones(4, dtype=bool), spans=spans, plain_spans=spans)
    return losses_and_answers.WindowScores(**dict(values, **fields))


def test_a_difference_is_explained_by_the_rule_that_makes_it(monkeypatch):
    monkeypatch.setattr(harness, 'N_BEST', 2)

    def explain(theirs, *scored_windows):
        return losses_and_answers.explain(CONTEXT, scored_windows, theirs)

    tie = window_scores([0, 0, 4.9995, 5], [0, 0, 0, 5])
    assert explain('met Cleo', tie) == losses_and_answers.TIE
    assert explain('Ana', tie) == losses_and_answers.UNEXPLAINED
    short_context = window_scores([9, 0, 0, 0], [9, 0, 0, 0],
                                  may_start=np.array([False, True, True, True]))
    assert explain('Ana', tie, short_context) == losses_and_answers.LONGEST_CONTEXT
    # the best starts are in the question; ours also tries the starts in the context
    crowded = window_scores([0, 0, 0, 0], [0, 0, 0, 0])
    crowded.scores[:3] = 8, 8
    crowded.scores[3:, 0], crowded.scores[3:, 1] = [3, 0, 0, 0], [3, 0, 0, 0]
    assert explain('', crowded) == losses_and_answers.ALL_PAIRS
    marks = window_scores([0, 6, 0, 0], [0, 6, 0, 0],
                          spans=np.array([[0, 3], [4, 7], [10, 13], [14, 18]]),
                          plain_spans=np.array([[0, 3], [4, 6], [10, 13], [14, 18]]))
    assert explain('Ba', marks) == losses_and_answers.MARKS


def test_the_best_of_each_column(monkeypatch):
    monkeypatch.setattr(harness, 'N_BEST', 2)
    scores = np.array([[1.0, 9.0], [3.0, 8.0], [2.0, 7.0]])
    assert losses_and_answers.is_among_best(scores).T.tolist() == [[False, True, True],
                                                                   [True, True, False]]


def test_scores_of_padding_are_left_out():
    batch = collate([
        Features(np.ones(n, dtype='int32'), np.zeros(n, dtype='int32'), n, None, n)
        for n in (1, 3)], 0)
    scores = np.arange(12.0).reshape(2, 3, 2)
    assert losses_and_answers.drop_padding(batch, scores).tolist() == [
        [0, 1], [6, 7], [8, 9], [10, 11]]


def test_what_misses_a_bound_is_named():
    good = {'losses': [(1.0, 1.0)], 'scores_untrained': {'largest_difference': 1e-5},
            'answers': {'same_windows': True, 'equal_share': 0.996,
                        'differences': [{'explanation': losses_and_answers.TIE}]}}
    bad = {'losses': [(1.0, 1.001)], 'scores_untrained': {'largest_difference': 1e-3},
           'answers': {'same_windows': False, 'equal_share': 0.9,
                       'differences': [{'explanation': losses_and_answers.UNEXPLAINED}]}}
    assert list(losses_and_answers.missed_bounds(good)) == []
    assert list(losses_and_answers.missed_bounds(bad)) == [
        'losses', 'scores_untrained', 'windows', 'share of equal answers', 'unexplained answers']
    assert list(losses_and_answers.missed_bounds({
        'losses': [(1.0, float('nan'))],
        'scores_untrained': {'largest_difference': float('nan')}})) \
        == ['losses', 'scores_untrained']


def test_questions_of_a_round_stand_on_few_paragraphs():
    content = squad_content(('a', [3] * 10), ('b', [3] * 10))
    first = speed.draw_questions(content, 10, seed=1, round_number=1)
    assert first == speed.draw_questions(content, 10, seed=1, round_number=1)
    assert first != speed.draw_questions(content, 10, seed=1, round_number=2)
    assert len(set(first)) == 10
    assert len({name.rpartition('-')[0] for name in first}) == 4


def test_answering_is_summarized_round_by_round():

    def rounds(*seconds, text='x'):
        return [{'seconds': value, 'windows': 2, 'parts': {}, 'answers': {'1': 'x', '2': text}}
                for value in seconds]

    summaries = speed.summarize_answers({
        'ours bfloat16': rounds(1.0, 2.0, 4.0, text='y'), 'ours float32': rounds(4.0, 4.0, 4.0),
        'theirs': rounds(2.0, 2.0, 2.0)})
    assert summaries['theirs']['ours_over_it'] == {'median': 1.0, 'min': 0.5, 'max': 2.0}
    assert summaries['ours bfloat16']['questions_per_second']['median'] == 1.0
    assert summaries['theirs']['same_answers'] == [2] * 3
    assert summaries['ours bfloat16']['same_answers'] == [1] * 3
    assert {'ours bfloat16', 'ours float32'} < set(speed.ANSWERING)


def test_the_bounds_of_cutting_windows():

    def misses(seconds, size):
        return list(speed.missed_bounds(speed.summarize_windows({
            contender: [{'seconds': value, 'bytes': size}]
            for contender, value in zip(speed.CUTTING, (seconds, 10.0, 15.0))})))

    assert misses(4.9, 5e8) == []
    assert misses(5.0, 1e9) == ['memory', 'time']


def test_predictions_of_our_runs_by_seed(tmp_path):
    harness.write_json(tmp_path / 'many' / 'results.json', {'seeds': [1, 2]})
    harness.write_json(tmp_path / 'one' / 'results.json', {'seed': 3})
    for folder, text in (('many/seed-1', 'a'), ('many/seed-2', 'b'), ('one', 'c')):
        harness.write_json(tmp_path / folder / 'predictions.json', {'q': text})
    results = [tmp_path / 'many' / 'results.json', tmp_path / 'one' / 'results.json']
    assert scores.our_predictions(results, [3, 1]) == {3: {'q': 'c'}, 1: {'q': 'a'}}
    with pytest.raises(SystemExit, match='no run with seed 4'):
        scores.our_predictions(results, [1, 4])
    (tmp_path / 'one' / 'predictions.json').unlink()
    with pytest.raises(SystemExit, match='no predictions.json in .*one'):
        scores.our_predictions(results, [3])
    with pytest.raises(SystemExit, match='no .*none'):
        scores.our_predictions([tmp_path / 'none'], [1])


def test_a_finished_seed_of_transformers_is_not_trained_again(tmp_path, monkeypatch):
    args = scores.make_parser().parse_args(['--seeds', '1', '--group_by_length'])
    runs = []

    def run_worker(environment, module, *arguments, threads):
        assert '--group_by_length' in arguments
        runs.append(arguments[arguments.index('--epochs') + 1])
        harness.write_json(arguments[arguments.index('--output') + 1],
                           {'predictions': {'q': 'text'}, 'curve': [], 'training_seconds': 1.0})

    monkeypatch.setattr(harness, 'run_worker', run_worker)
    seed_file = tmp_path / 'SQuAD-peer-seed-1.json'
    for epochs in (2, 2, 3):
        predictions = scores.peer_predictions_of(args, seed_file, {'epochs': epochs}, 'weights',
                                                 'train', 'dev', 1)
        assert predictions == {'q': 'text'}
    assert len(runs) == 2
    assert harness.read_json(tmp_path / 'SQuAD-peer-seed-1' / 'predictions.json') == {'q': 'text'}
    assert sorted(path.name for path in tmp_path.iterdir()) == ['SQuAD-peer-seed-1',
                                                                seed_file.name]


def test_both_sides_are_scored_by_the_same_code(tmp_path):
    from bert.data.squad.files import read_squad
    harness.write_json(tmp_path / 'dev.json', squad_content(('a', [2])))
    squad = read_squad(str(tmp_path / 'dev.json'))
    percentages = scores.score(squad, {1: {'a-0-0': 'ana', 'a-0-1': 'Cleo'}})
    assert percentages == {1: [{'exact_match': 50.0, 'f1': 50.0}]}


@pytest.fixture
def peer(monkeypatch):
    """The module of the peer's worker, for its functions that need NumPy only: PyTorch and
    transformers are in the peer's own environment."""
    for name in ('torch', 'transformers'):
        monkeypatch.setitem(sys.modules, name, unittest.mock.MagicMock())
    for name in ('benchmarks.classifier.peer', 'benchmarks.squad.peer'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    sys.modules['torch'].no_grad.return_value = lambda function: function
    module = importlib.import_module('benchmarks.squad.peer')
    yield module
    for name in ('benchmarks.classifier.peer', 'benchmarks.squad.peer'):
        sys.modules.pop(name, None)


def window_of(peer, spans, question=0):
    size = len(spans)
    return peer.Window(question, list(range(size)), [0] * size, [1] * size, spans)


def test_the_peer_reads_first_answers(tmp_path, peer):
    content = squad_content(('a', [2]))
    content['data'][0]['paragraphs'][0]['qas'][1]['answers'] = []
    harness.write_json(tmp_path / 'dev.json', content)
    first, second = peer.read_questions(tmp_path / 'dev.json')
    assert first == ('a-0-0', 'who?', CONTEXT, ('Ana', 0))
    assert second.answer is None


def test_the_peer_labels_the_tokens_of_an_answer(peer):
    # [CLS] who [SEP] ba ##nana split [SEP]
    window = window_of(peer, [None] * 3 + [(4, 6), (6, 10), (11, 16), None])
    assert peer.label_window(window, ('banana', 4)) == (3, 4)
    assert peer.label_window(window, ('split', 11)) == (5, 5)
    assert peer.label_window(window, ('nan', 6)) == (4, 4)       # part of a token
    assert peer.label_window(window, ('a banana', 2)) == (0, 0)
    assert peer.label_window(window, ('split now', 11)) == (0, 0)


def test_the_peer_answers_from_the_best_starts_and_ends(monkeypatch, peer):
    monkeypatch.setattr(harness, 'N_BEST', 2)
    monkeypatch.setattr(harness, 'MAX_ANSWER_LENGTH', 2)
    spans = [None, (0, 3), (4, 9), (10, 13), None]
    questions = [peer.Question(name, 'who?', CONTEXT, None) for name in 'xyz']
    windows = [window_of(peer, spans, i) for i in (0, 0, 1, 2)]
    scores_of = [[[0, 2, 1, 0, 0], [0, 0, 2, 3, 0]],    # Ana to met is too long
                 [[0, 0, 4, 0, 0], [0, 0, 0, 4, 0]],
                 [[9, 0, 0, 8, 0], [9, 8, 0, 0, 0]],    # backwards, or [CLS]
                 [[0, 5, 0, 4, 0], [0, 5, 0, 4, 0]]]
    answers = peer.find_answers(questions, windows, list(map(np.array, scores_of)))
    assert answers == {'x': CONTEXT[4:13], 'y': '', 'z': 'Ana'}


def test_the_peer_orders_windows_by_length_when_told(peer):
    lengths = np.arange(300) % 7
    plain, sorted_order = (peer.training_order(lengths, 2, np.random.RandomState(0), by_length)
                           for by_length in (False, True))
    assert sorted(plain) == sorted(sorted_order) == list(range(300))
    assert sorted(plain[:100]) == sorted(sorted_order[:100])
    assert (np.diff(lengths[sorted_order[:100]]) <= 0).all()
    assert (np.diff(lengths[plain[:100]]) > 0).any()


def test_windows_have_one_digest_on_both_sides(peer):
    windows = unittest.mock.MagicMock(windows=np.array([[5, 0, 3]], dtype='int32'))
    windows.__getitem__.return_value.token_ids = np.arange(4, dtype='int32')
    theirs = window_of(peer, [None] * 4, question=5)
    assert ours.digest(windows, 0) == peer.digest(theirs)


def test_ways_of_answering_are_compared_with_the_dynamic_one():
    def entries(text, start, end):
        return [{'text': text, 'start_logit': start, 'end_logit': end},
                {'text': 'next best', 'start_logit': 0.0, 'end_logit': 0.0}]
    dynamic = {'a': entries('one', 1.0, 2.0), 'b': entries('two', 3.0, 4.0)}
    static = {'a': entries('one', 1.0, 2.5), 'b': entries('three', 3.25, 4.0)}
    assert static_shapes.compare(dynamic, static) == {
        'questions': 2, 'equal': 1, 'largest_difference': 0.5}


def test_the_number_of_a_symbol_is_in_its_name(tmp_path):
    (tmp_path / 'static_net-0003.params').touch()
    assert static_shapes.epoch_of(str(tmp_path)) == 3
