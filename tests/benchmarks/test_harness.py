"""What the comparisons share, and what can be tested of them without the peer."""
import argparse
import importlib
import os
import pathlib
import re
import shlex
import sys
import unittest.mock

import numpy as np
import pytest
from support.help_pages import help_pages

from benchmarks import harness
from benchmarks.classifier import kill_and_resume
from benchmarks.classifier import ours as classifier_ours
from benchmarks.classifier import scores as classifier_scores
from benchmarks.classifier import speed as classifier_speed
from benchmarks.pretraining import speed as pretraining_speed
from benchmarks.squad import losses_and_answers, static_shapes
from benchmarks.squad import ours as squad_ours
from benchmarks.squad import scores as squad_scores
from benchmarks.squad import speed as squad_speed
from benchmarks.squad import split as squad_split
from benchmarks.weights import tokenizer

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / 'benchmarks'
SCRIPTS = ('classifier/losses.py', 'classifier/speed.py', 'classifier/scores.py',
           'classifier/scores_by_dtype.py', 'weights/tokenizer.py',
           'classifier/kill_and_resume.py', 'classifier/chinese.py', 'weights/conversion.py',
           'squad/losses_and_answers.py', 'squad/speed.py', 'squad/scores.py', 'squad/split.py',
           'squad/static_shapes.py', 'inference/exported_models.py', 'inference/predictor.py',
           'inference/tuning.py', 'pretraining/data_creation.py', 'pretraining/rxnfp.py',
           'pretraining/from_scratch.py', 'pretraining/speed.py', 'embedding/speed_and_quality.py',
           'embedding/memory.py', 'kernels/training_step.py', 'kernels/product_limit.py',
           'kernels/onednn_products.py', 'kernels/where_time_goes.py')


@pytest.fixture(scope='module')
def pages():
    return help_pages([BENCHMARKS / script for script in SCRIPTS])


@pytest.mark.parametrize('script', SCRIPTS)
def test_every_comparison_explains_itself(script, pages):
    page = pages[BENCHMARKS / script]
    assert page.startswith('usage: ') and '--output' in page


def test_an_environment_is_made_once_and_again_for_other_pins(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(harness, 'REPOSITORY', tmp_path)
    monkeypatch.setattr(harness.venv, 'create', lambda folder, with_pip: (made.append(folder),
                                                                       os.makedirs(folder)))
    monkeypatch.setattr(harness.subprocess, 'run', lambda command, check: made.append(command[-1]))
    for pin in ('a==1', 'a==1', 'a==2'):
        monkeypatch.setitem(harness.PINS, 'peer', (pin,))
        assert harness.python_of('peer') == str(tmp_path / '.venv-peer' / 'bin' / 'python')
    assert made == [str(tmp_path / '.venv-peer'), 'a==1', str(tmp_path / '.venv-peer'), 'a==2']


def test_examples_go_through_a_file(tmp_path):
    examples = [classifier_ours.Features(np.arange(n, dtype='int32'), np.zeros(n, dtype='int32'), n,
                              np.float32(n / 2), n) for n in (3, 1, 5)]
    classifier_ours.save_features(tmp_path / 'examples.npz', examples)
    found = classifier_ours.load_features(tmp_path / 'examples.npz')
    assert [one.valid_length for one in found] == [3, 1, 5]
    assert [one.label for one in found] == [1.5, 0.5, 2.5]
    for one, other in zip(examples, found):
        np.testing.assert_array_equal(one.token_ids, other.token_ids)
        np.testing.assert_array_equal(one.segment_ids, other.segment_ids)


def test_batches_go_through_a_file(tmp_path):
    batches = [harness.random_batch(size, 3, size) for size in (4, 4, 2)]
    harness.write_batches(tmp_path / 'x.npz', batches, [1] * 10)
    read, labels = harness.read_batches(tmp_path / 'x.npz')
    for one, other in zip(batches, read):
        for wrote, found in zip(one, other):
            np.testing.assert_array_equal(wrote, found)
    assert [len(batch[2]) for batch in read] == [4, 4, 2] and labels.tolist() == [1] * 10
    # class 1 where the first token is even
    even = np.concatenate([batch[0][:, 0] % 2 == 0 for batch in batches])
    assert 0 < even.mean() < 1
    assert harness.accuracy(lambda tokens, *others: np.eye(2)[1 - tokens[:, 0] % 2], read,
                         labels) == even.mean()


def test_the_interval_of_paired_differences_is_scipys(tmp_path):
    from scipy import stats
    mine, theirs = [0.75, 0.71, 0.78], [0.74, 0.73, 0.72]
    for seed, value in enumerate(mine, 1):
        harness.write_json(tmp_path / ('seed-%d' % seed) / 'results.json', {'history': [
            {'metrics': {'dev': {'f1': 0.9}}}, {'metrics': {'dev': {'f1': value}}}]})
    ours = classifier_scores.our_history(tmp_path / 'results.json', [1, 2, 3])
    theirs = {seed: [{'f1': value}] for seed, value in enumerate(theirs, 1)}
    histories = {'ours': ours, 'transformers': theirs}
    found = classifier_scores.compare(histories, 'f1', classifier_scores.last)
    low, high = stats.t.interval(0.95, 2, loc=0.05 / 3, scale=stats.sem(found['differences']))
    assert found['values'] == {'ours': mine, 'transformers': [0.74, 0.73, 0.72]}
    assert found['mean'] == pytest.approx(0.05 / 3)
    assert found['interval'] == pytest.approx([low, high])
    assert classifier_scores.compare_all(histories)['f1']['best']['values']['ours'] == [0.9] * 3
    with pytest.raises(SystemExit, match='seed-4'):
        classifier_scores.our_history(tmp_path / 'results.json', [4])


def test_a_round_draws_the_same_examples_for_all():
    first = classifier_speed.draw(100, 32, seed=1, round_number=1)
    assert first == classifier_speed.draw(100, 32, seed=1, round_number=1)
    assert first != classifier_speed.draw(100, 32, seed=1, round_number=2)
    assert len(set(first)) == 32


def test_speed_is_summarized_round_by_round():
    rates = dict(zip(classifier_speed.CONTENDERS, (
        [20.0, 40.0, 30.0], [10.0, 10.0, 10.0], [40.0] * 3, [5.0] * 3)))
    found = classifier_speed.summarize(rates)[classifier_speed.CONTENDERS[1]]
    assert found['ours_over_it'] == {'median': 3.0, 'min': 2.0, 'max': 4.0}
    assert found['examples_per_second']['median'] == 10.0


def test_texts_and_digests_of_the_tokenizer_comparison(tmp_path):
    for name in ('glue/X', 'squad', 'corpus'):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / 'glue/X/train.tsv').write_bytes(b'b\t1\r\na\t1\r\n\r\n')
    (tmp_path / 'squad/dev.json').write_text('{"data": [{"question": "c", "id": 4}]}')
    (tmp_path / 'corpus/lines.txt').write_text('a\n\nd\n')
    assert tokenizer.texts_of(tmp_path) == ['1', 'a', 'b', 'c', 'd']
    joined = tokenizer.digest_of([np.array([1, 2]), np.array([3])])
    assert joined != tokenizer.digest_of([np.array([1]), np.array([2, 3])])


def test_the_cause_of_a_difference_is_found_by_undoing_it(tmp_path):
    path = tmp_path / 'cased.txt'
    path.write_text('[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncafe\ncafé\nx\n', encoding='utf-8')
    texts = ['x', 'café', 'cafe\u0301', 'café']
    ids = tokenizer.our_ids(path, texts)
    assert [one.tolist() for one in ids] == [[7], [6], [1], [6]]
    found = tokenizer.differences(path, texts, ids, [np.array([i]) for i in (7, 5, 6, 7)])
    assert {cause: group['number'] for cause, group in found.items()} == {
        'accents stripped': 1, 'composed characters (NFC)': 1, 'other': 1}


# Question answering


CONTEXT = 'Ana Ba\u0301ez met Cleo'      # an a with its accent as a character of its own


def squad_content(*articles):
    """The content of a SQuAD file: of (title, numbers of questions on its paragraphs)."""
    return {'version': '1.1', 'data': [
        {'title': title, 'paragraphs': [
            {'context': CONTEXT, 'qas': [{'id': '%s-%d-%d' % (title, i, j), 'question': 'who?',
                                          'answers': [{'text': 'Ana', 'answer_start': 0}]}
                                         for j in range(number)]}
            for i, number in enumerate(numbers)]}
        for title, numbers in articles]}


def ids_of(content):
    return [qa['id'] for article in content['data'] for paragraph in article['paragraphs']
            for qa in paragraph['qas']]


def test_questions_are_selected_in_the_order_of_the_file():
    content = squad_content(('a', [2, 1]), ('b', [1]), ('c', [3]))
    found = harness.select_questions(content, {'c-0-2', 'a-1-0', 'c-0-0'})
    assert ids_of(found) == ['a-1-0', 'c-0-0', 'c-0-2']
    assert [article['title'] for article in found['data']] == ['a', 'c']
    assert len(ids_of(content)) == 7


def test_memory_is_that_of_this_process():
    assert 1e7 < harness.peak_memory() < 1e12


def test_articles_are_dealt_by_their_titles_alone():
    titles = ['t%d' % i for i in range(8)]
    parts = squad_split.weights('train:4,threshold:2,dev:2')
    dealt = squad_split.deal(titles, parts)
    assert {name: len(found) for name, found in dealt.items()} == parts
    assert sorted(set.union(*dealt.values())) == titles
    assert squad_split.deal(titles[::-1] + titles[:3], parts) == dealt
    dealt = squad_split.deal(titles, {'a': 1, 'b': 1, 'c': 1})
    assert {len(found) for found in dealt.values()} == {2, 3}


@pytest.mark.parametrize('text', ['train', 'train:0', 'a:1,a:2', ':1', 'a:1.5', ''])
def test_parts_that_are_none(text):
    with pytest.raises(argparse.ArgumentTypeError, match='train:4,dev:2'):
        squad_split.weights(text)


def test_a_file_is_split_whole_articles_at_a_time(tmp_path, monkeypatch, capsys):
    content = squad_content(*((name, [2, 1]) for name in 'abcd'))
    harness.write_json(tmp_path / 'dev.json', content)
    run = [str(tmp_path / 'dev.json'), '--parts', 'x:3,y:1', '--output_dir', str(tmp_path / 'to')]
    monkeypatch.setattr(sys, 'argv', ['split_squad.py'] + run)
    squad_split.main()
    parts = [harness.read_json(tmp_path / 'to' / name) for name in ('x.json', 'y.json')]
    assert [len(ids_of(part)) for part in parts] == [9, 3]
    assert sorted(ids_of(parts[0]) + ids_of(parts[1])) == sorted(ids_of(content))
    assert '3 articles, 9 questions' in capsys.readouterr().out
    monkeypatch.setattr(sys, 'argv', ['split_squad.py'] + run[:1] + ['--parts', 'x:9,y:1'])
    with pytest.raises(SystemExit, match='too few articles for a part y'):
        squad_split.main()
    monkeypatch.setattr(sys, 'argv', ['split_squad.py', run[0], '--parts', 'dev:1',
                                      '--output_dir', str(tmp_path)])
    with pytest.raises(SystemExit, match='dev.json is the file itself'):
        squad_split.main()
    assert harness.read_json(tmp_path / 'dev.json') == content


def part_of(parity, starts, ends, **more):
    """A window of the tokens [CLS] who [SEP] and those of `CONTEXT`: ana, baez, met, cleo."""
    spans = np.array([[0, 3], [4, 9], [10, 13], [14, 18]])
    values = dict(scores=np.array([[0, 0, 0] + starts, [0, 0, 0] + ends]).T, offset=3,
                  may_start=np.ones(4, dtype=bool), spans=spans, plain_spans=spans)
    return parity.Part(**dict(values, **more))


def test_a_difference_is_explained_by_the_rule_that_makes_it(monkeypatch):
    monkeypatch.setattr(harness, 'N_BEST', 2)

    def explain(theirs, *parts):
        return losses_and_answers.explain(CONTEXT, parts, theirs)

    tie = part_of(losses_and_answers, [0, 0, 4.9995, 5], [0, 0, 0, 5])
    assert explain('met Cleo', tie) == losses_and_answers.TIE
    assert explain('Ana', tie) == losses_and_answers.UNEXPLAINED
    elsewhere = part_of(losses_and_answers, [9, 0, 0, 0], [9, 0, 0, 0],
                        may_start=np.array([False, True, True, True]))
    assert explain('Ana', tie, elsewhere) == losses_and_answers.CONTEXT
    # the best starts are the question's: ours tries the others too
    crowded = part_of(losses_and_answers, [0, 0, 0, 0], [0, 0, 0, 0])
    crowded.scores[:3] = 8, 8
    crowded.scores[3:, 0], crowded.scores[3:, 1] = [3, 0, 0, 0], [3, 0, 0, 0]
    assert explain('', crowded) == losses_and_answers.ALL_PAIRS
    marks = part_of(losses_and_answers, [0, 6, 0, 0], [0, 6, 0, 0],
                    spans=np.array([[0, 3], [4, 7], [10, 13], [14, 18]]),
                    plain_spans=np.array([[0, 3], [4, 6], [10, 13], [14, 18]]))
    assert explain('Ba', marks) == losses_and_answers.MARKS


def test_the_best_of_each_column(monkeypatch):
    monkeypatch.setattr(harness, 'N_BEST', 2)
    scores = np.array([[1.0, 9.0], [3.0, 8.0], [2.0, 7.0]])
    assert losses_and_answers.among_best(scores).T.tolist() == [[False, True, True],
                                                                [True, True, False]]


def test_scores_of_padding_are_left_out():
    batch = classifier_ours.collate([
        classifier_ours.Features(np.ones(n, dtype='int32'), np.zeros(n, dtype='int32'), n, None, n)
        for n in (1, 3)], 0)
    scores = np.arange(12.0).reshape(2, 3, 2)
    assert losses_and_answers.at_tokens(batch, scores).tolist() == [
        [0, 1], [6, 7], [8, 9], [10, 11]]


def test_what_misses_a_bound_is_named():
    good = {'losses': [(1.0, 1.0)], 'scores_untrained': {'largest_difference': 1e-5},
            'answers': {'same_windows': True, 'equal_share': 0.996,
                        'differences': [{'explanation': losses_and_answers.TIE}]}}
    bad = {'losses': [(1.0, 1.001)], 'scores_untrained': {'largest_difference': 1e-3},
           'answers': {'same_windows': False, 'equal_share': 0.9,
                       'differences': [{'explanation': losses_and_answers.UNEXPLAINED}]}}
    assert list(losses_and_answers.failures(good)) == []
    assert list(losses_and_answers.failures(bad)) == ['losses', 'scores_untrained', 'windows',
                                          'share of equal answers', 'unexplained answers']
    assert list(losses_and_answers.failures({'losses': [(1.0, float('nan'))],
                                 'scores_untrained': {'largest_difference': float('nan')}})) \
        == ['losses', 'scores_untrained']


def test_questions_of_a_round_stand_on_few_paragraphs():
    content = squad_content(('a', [3] * 10), ('b', [3] * 10))
    first = squad_speed.draw(content, 10, seed=1, round_number=1)
    assert first == squad_speed.draw(content, 10, seed=1, round_number=1)
    assert first != squad_speed.draw(content, 10, seed=1, round_number=2)
    assert len(set(first)) == 10
    assert len({name.rpartition('-')[0] for name in first}) == 4


def test_answering_is_summarized_round_by_round():

    def rounds(*seconds, text='x'):
        return [{'seconds': value, 'windows': 2, 'parts': {}, 'answers': {'1': 'x', '2': text}}
                for value in seconds]

    found = squad_speed.summarize_answers({
        'ours bfloat16': rounds(1.0, 2.0, 4.0, text='y'), 'ours float32': rounds(4.0, 4.0, 4.0),
        'theirs': rounds(2.0, 2.0, 2.0)})
    assert found['theirs']['ours_over_it'] == {'median': 1.0, 'min': 0.5, 'max': 2.0}
    assert found['ours bfloat16']['questions_per_second']['median'] == 1.0
    assert found['theirs']['same_answers'] == [2] * 3
    assert found['ours bfloat16']['same_answers'] == [1] * 3
    assert {'ours bfloat16', 'ours float32'} < set(squad_speed.ANSWERING)


def test_the_bounds_of_cutting_windows():

    def summary(seconds, size):
        return squad_speed.summarize_windows({
            contender: [{'seconds': value, 'bytes': size}]
            for contender, value in zip(squad_speed.CUTTING, (seconds, 10.0, 15.0))})

    assert list(squad_speed.failures(summary(4.9, 5e8))) == []
    assert list(squad_speed.failures(summary(5.0, 1e9))) == ['memory', 'time']


def test_predictions_of_our_runs_by_seed(tmp_path):
    harness.write_json(tmp_path / 'many' / 'results.json', {'seeds': [1, 2]})
    harness.write_json(tmp_path / 'one' / 'results.json', {'seed': 3})
    for place, text in (('many/seed-1', 'a'), ('many/seed-2', 'b'), ('one', 'c')):
        harness.write_json(tmp_path / place / 'predictions.json', {'q': text})
    results = [tmp_path / 'many' / 'results.json', tmp_path / 'one' / 'results.json']
    assert squad_scores.our_predictions(results, [3, 1]) == {3: {'q': 'c'}, 1: {'q': 'a'}}
    with pytest.raises(SystemExit, match='no run with seed 4'):
        squad_scores.our_predictions(results, [1, 4])
    (tmp_path / 'one' / 'predictions.json').unlink()
    with pytest.raises(SystemExit, match='no predictions.json in .*one'):
        squad_scores.our_predictions(results, [3])
    with pytest.raises(SystemExit, match='no .*none'):
        squad_scores.our_predictions([tmp_path / 'none'], [1])


def test_a_finished_seed_of_transformers_is_not_trained_again(tmp_path, monkeypatch):
    args = squad_scores.make_parser().parse_args(['--seeds', '1', '--group_by_length'])
    trained = []

    def run(environment, script, *arguments, threads):
        assert '--group_by_length' in arguments
        trained.append(arguments[arguments.index('--epochs') + 1])
        harness.write_json(arguments[arguments.index('--output') + 1],
                        {'predictions': {'q': 'text'}, 'curve': [], 'training_seconds': 1.0})

    monkeypatch.setattr(harness, 'run', run)
    kept = tmp_path / 'SQuAD-peer-seed-1.json'
    for epochs in (2, 2, 3):
        found = squad_scores.peer_seed(args, kept, {'epochs': epochs}, 'weights', 'train', 'dev', 1)
        assert found == {'q': 'text'}
    assert len(trained) == 2
    assert harness.read_json(tmp_path / 'SQuAD-peer-seed-1' / 'predictions.json') == {'q': 'text'}
    assert sorted(path.name for path in tmp_path.iterdir()) == ['SQuAD-peer-seed-1', kept.name]


def test_both_sides_are_scored_by_the_same_code(tmp_path):
    from bert.data.squad.files import read_squad
    harness.write_json(tmp_path / 'dev.json', squad_content(('a', [2])))
    squad = read_squad(str(tmp_path / 'dev.json'))
    found = squad_scores.score(squad, {1: {'a-0-0': 'ana', 'a-0-1': 'Cleo'}})
    assert found == {1: [{'exact_match': 50.0, 'f1': 50.0}]}


@pytest.fixture
def peer_squad(monkeypatch):
    """The peer's worker, for what it does with NumPy alone: PyTorch and transformers live in its
    own environment only."""
    for name in ('torch', 'transformers'):
        monkeypatch.setitem(sys.modules, name, unittest.mock.MagicMock())
    for name in ('benchmarks.classifier.peer', 'benchmarks.squad.peer'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    sys.modules['torch'].no_grad.return_value = lambda function: function
    module = importlib.import_module('benchmarks.squad.peer')
    yield module
    for name in ('benchmarks.classifier.peer', 'benchmarks.squad.peer'):
        sys.modules.pop(name, None)


def window_of(peer_squad, spans, question=0):
    size = len(spans)
    return peer_squad.Window(question, list(range(size)), [0] * size, [1] * size, spans)


def test_the_peer_reads_first_answers(tmp_path, peer_squad):
    content = squad_content(('a', [2]))
    content['data'][0]['paragraphs'][0]['qas'][1]['answers'] = []
    harness.write_json(tmp_path / 'dev.json', content)
    first, second = peer_squad.read_questions(tmp_path / 'dev.json')
    assert first == ('a-0-0', 'who?', CONTEXT, ('Ana', 0))
    assert second.answer is None


def test_the_peer_labels_the_tokens_of_an_answer(peer_squad):
    # [CLS] who [SEP] ba ##nana split [SEP]
    window = window_of(peer_squad, [None] * 3 + [(4, 6), (6, 10), (11, 16), None])
    assert peer_squad.label(window, ('banana', 4)) == (3, 4)
    assert peer_squad.label(window, ('split', 11)) == (5, 5)
    assert peer_squad.label(window, ('nan', 6)) == (4, 4)       # part of a token
    assert peer_squad.label(window, ('a banana', 2)) == (0, 0)
    assert peer_squad.label(window, ('split now', 11)) == (0, 0)


def test_the_peer_answers_from_the_best_starts_and_ends(monkeypatch, peer_squad):
    monkeypatch.setattr(harness, 'N_BEST', 2)
    monkeypatch.setattr(harness, 'MAX_ANSWER_LENGTH', 2)
    spans = [None, (0, 3), (4, 9), (10, 13), None]
    questions = [peer_squad.Question(name, 'who?', CONTEXT, None) for name in 'xyz']
    windows = [window_of(peer_squad, spans, i) for i in (0, 0, 1, 2)]
    scores = [[[0, 2, 1, 0, 0], [0, 0, 2, 3, 0]],       # Ana to met is too long
              [[0, 0, 4, 0, 0], [0, 0, 0, 4, 0]],
              [[9, 0, 0, 8, 0], [9, 8, 0, 0, 0]],       # backwards, or [CLS]
              [[0, 5, 0, 4, 0], [0, 5, 0, 4, 0]]]
    found = peer_squad.find_answers(questions, windows, [np.array(both) for both in scores])
    assert found == {'x': CONTEXT[4:13], 'y': '', 'z': 'Ana'}


def test_the_peer_orders_windows_by_length_when_told(peer_squad):
    lengths = np.arange(300) % 7
    plain, grouped = (peer_squad.order_of(lengths, 2, np.random.RandomState(0), grouped)
                      for grouped in (False, True))
    assert sorted(plain) == sorted(grouped) == list(range(300))
    assert sorted(plain[:100]) == sorted(grouped[:100])
    assert (np.diff(lengths[grouped[:100]]) <= 0).all()
    assert (np.diff(lengths[plain[:100]]) > 0).any()


def test_windows_have_one_digest_on_both_sides(peer_squad):
    windows = unittest.mock.MagicMock(windows=np.array([[5, 0, 3]], dtype='int32'))
    windows.__getitem__.return_value.token_ids = np.arange(4, dtype='int32')
    theirs = window_of(peer_squad, [None] * 4, question=5)
    assert squad_ours.digest(windows, 0) == peer_squad.digest(theirs)


def test_every_command_of_the_page_is_understood():
    page = (BENCHMARKS.parent / 'docs' / 'benchmarks.rst').read_text(encoding='utf-8')
    commands = re.findall(r'^ +\./run python -m benchmarks\.([\w.]+)(.*)$', page, re.MULTILINE)
    assert {name.replace('.', '/') + '.py' for name, _ in commands} == set(SCRIPTS)
    for name, arguments in commands:
        script = importlib.import_module('benchmarks.' + name)
        script.make_parser().parse_args(shlex.split(arguments))


def test_ways_of_answering_are_compared_with_the_dynamic_one():
    def entries(text, start, end):
        return [{'text': text, 'start_logit': start, 'end_logit': end},
                {'text': 'next best', 'start_logit': 0.0, 'end_logit': 0.0}]
    dynamic = {'a': entries('one', 1.0, 2.0), 'b': entries('two', 3.0, 4.0)}
    other = {'a': entries('one', 1.0, 2.5), 'b': entries('three', 3.25, 4.0)}
    assert static_shapes.compare(dynamic, other) == {
        'questions': 2, 'equal': 1, 'largest_difference': 0.5}


def test_the_number_of_a_symbol_is_in_its_name(tmp_path):
    (tmp_path / 'static_net-0003.params').touch()
    assert static_shapes.epoch_of(str(tmp_path)) == 3


def test_pretraining_counts_no_padding():
    def answers(*seconds):
        return [{'seconds': one, 'tokens': 600, 'padded': 800} for one in seconds]
    contenders = pretraining_speed.CONTENDERS
    found = pretraining_speed.summarize(
        dict(zip(contenders, (answers(1, 2, 3), answers(2, 2, 2), answers(4, 2, 2)))))
    assert found[contenders[0]]['tokens_per_second'] == {'median': 300, 'min': 200, 'max': 600}
    assert found[contenders[1]]['ours_over_it'] == {'median': 1, 'min': 2 / 3, 'max': 2}
    assert found[contenders[2]]['ours_over_it'] == {'median': 1, 'min': 2 / 3, 'max': 4}
    assert found[contenders[0]]['padding'] == 0.25


@pytest.mark.parametrize('run, line, step', [
    ('Classifier', 'INFO:root:10:00:00 [Epoch 2 Batch 3/5] loss=0.6', 8),
    ('Classifier', 'INFO:root:10:00:00 [Batch 3/5] loss=0.6', 0),
    ('Workers', '[0]<stderr>:INFO:root:10:00:00 [step 12]\tmlm_loss=6.1', 12),
    ('Pretraining', 'INFO:root:10:00:00 Eval mlm_loss=6.1', 0)])
def test_when_a_run_is_killed(run, line, step):
    job = object.__new__(getattr(kill_and_resume, run))
    assert job.step_in(line) == step
