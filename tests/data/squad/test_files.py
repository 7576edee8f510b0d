"""The SQuAD reader: what it reads, what it reports, what it refuses."""
import json

import pytest

from bert.data.squad.files import Question, check_unique_ids, describe_problems, read_squad
from bert.errors import UserError

CONTEXT = 'The film was good .'


def entry(question_id='q1', **changes):
    """A question as in the file. A change to None removes the key."""
    values = {'id': question_id, 'question': 'How was it ?',
              'answers': [{'text': 'good', 'answer_start': 13}], **changes}
    return {key: value for key, value in values.items() if value is not None}


def write_squad(path, *questions, context=CONTEXT, **changes):
    content = {'version': '1.1', 'data': [{'title': 'Films', 'paragraphs': [
        {'context': context, 'qas': list(questions)}]}]}
    content.update(changes)
    path.write_text(json.dumps(content), encoding='utf-8')
    return str(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'squad.json'


def test_contexts_questions_and_answers(path):
    second_entry = entry('q2', answers=[{'text': 'film', 'answer_start': 4},
                                        {'text': 'The film', 'answer_start': 0}])
    squad = read_squad(write_squad(path, entry(), second_entry))
    assert squad.contexts == [CONTEXT]
    assert squad.questions == [
        Question('q1', 'How was it ?', 0, (('good', 13),), False),
        Question('q2', 'How was it ?', 0, (('film', 4), ('The film', 0)), False)]
    assert squad.problems == [] and squad.has_labels
    assert squad.answers() == {'q1': ['good'], 'q2': ['film', 'The film']}
    assert [q.id for q in squad.select([1]).questions] == ['q2']
    assert describe_problems(squad) == []


def test_version_2(path):
    squad = read_squad(write_squad(path, entry(is_impossible=False),
                                   entry('q2', answers=[], is_impossible=True)), version_2=True)
    assert [question.is_impossible for question in squad.questions] == [False, True]
    assert squad.answers() == {'q1': ['good'], 'q2': []}


def test_questions_without_answers_can_be_predicted(path):
    squad = read_squad(write_squad(path, entry(answers=None), entry('q2', answers=None)))
    assert not squad.has_labels
    assert squad.questions[0].answers is None


ROWS = [{'id': 'q1', 'title': 'Films', 'context': CONTEXT, 'question': 'How was it ?',
         'answers': {'text': ['good'], 'answer_start': [13]}},
        {'id': 'q2', 'context': CONTEXT, 'question': 'What was good ?',
         'answers': {'text': ['film', 'The film'], 'answer_start': [4, 0]}},
        {'id': 'q3', 'context': 'Another .', 'question': 'Why ?',
         'answers': {'text': [], 'answer_start': []}}]


@pytest.mark.parametrize('write', [
    json.dumps, lambda rows: json.dumps({'version': 'x', 'data': rows}),
    lambda rows: '\n'.join(map(json.dumps, rows)) + '\n',
    lambda rows: json.dumps([dict(row, answers=[
        {'text': text, 'answer_start': start}
        for text, start in zip(*row['answers'].values())]) for row in rows])])
def test_the_flat_layout_of_the_library_datasets(write, path):
    path.write_text(write(ROWS))
    squad = read_squad(str(path), version_2=None)
    assert squad.contexts == [CONTEXT, 'Another .']
    assert squad.questions == [
        Question('q1', 'How was it ?', 0, (('good', 13),), False),
        Question('q2', 'What was good ?', 0, (('film', 4), ('The film', 0)), False),
        Question('q3', 'Why ?', 1, (), True)]
    assert squad.problems == [] and squad.has_labels


def test_one_row_without_answers(path):
    path.write_text(json.dumps({key: ROWS[0][key] for key in ('id', 'context', 'question')}))
    squad = read_squad(str(path))
    assert len(squad.questions) == 1 and not squad.has_labels


@pytest.mark.parametrize('changes, problem', [
    ({'answers': {'text': ['a', 'b'], 'answer_start': [1]}},
     '"answers" of row 2 has 2 texts and 1 starts, expected as many starts as texts'),
    ({'answers': {'text': 'good', 'answer_start': [1]}},
     '"text" of "answers" of row 2 is "good", expected a list'),
    ({'answers': {'text': ['good']}}, '"answers" of row 2 has no "answer_start": expected a list'),
    ({'answers': {'text': ['a'], 'answer_start': ['b']}},
     '"answer_start" of row 2, answer 1 is "b", expected a whole number'),
    ({'context': 3}, '"context" of row 2 is 3, expected a text'),
    ({'id': 7}, '"id" of row 2 is 7, expected a text')])
def test_flat_rows_that_are_refused(path, changes, problem):
    path.write_text(json.dumps([ROWS[0], dict(ROWS[1], **changes)]))
    with pytest.raises(UserError) as error:
        read_squad(str(path))
    assert str(error.value) == '%s: %s' % (path, problem)
    path.write_text(json.dumps([ROWS[0], 'text']))
    with pytest.raises(UserError, match=': row 2 is "text", expected a dictionary$'):
        read_squad(str(path))


def test_byte_order_mark(path):
    write_squad(path, entry())
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
    assert len(read_squad(str(path)).questions) == 1


@pytest.mark.parametrize('squad_file,version_2,questions,contexts', [
    ('train-subset-v1.1.json', False, 7228, 4159), ('dev-v1.1.json', False, 10570, 2067),
    ('dev-subset-v2.0.json', True, 2828, 301)])
def test_real_files(data_dir, squad_file, version_2, questions, contexts):
    squad = read_squad(str(data_dir / 'squad' / squad_file), version_2)
    assert (len(squad.questions), len(squad.contexts)) == (questions, contexts)
    assert squad.problems == []


# Problems are reported, their questions stay

@pytest.mark.parametrize('question,reason,trainable', [
    (entry(answers=[{'text': 'good', 'answer_start': 12}]),
     'answer 1, "good", is not at its answer_start 12', False),
    (entry(answers=[{'text': 'film', 'answer_start': -15}]),
     'answer 1, "film", is not at its answer_start -15', False),
    (entry(answers=[{'text': 'good', 'answer_start': 13}, {'text': 'x' * 50, 'answer_start': 0}]),
     'answer 2, "%s…", is not at its answer_start 0' % ('x' * 40), True),
    (entry(answers=[{'text': ' ', 'answer_start': 3}]), 'answer 1 is empty', False),
    (entry(question='  '), 'the question is empty', True)])
def test_problems_are_reported_with_id(path, question, reason, trainable):
    squad = read_squad(write_squad(path, entry('fine'), dict(question, id='odd')))
    assert len(squad.questions) == 2
    problem, = squad.problems
    assert problem == (1, 'odd', 'article 1 "Films", paragraph 1, question 2', reason, trainable)
    trainable_ids = [q.id for q in squad.select_trainable().questions]
    assert trainable_ids == (['fine', 'odd'] if trainable else ['fine'])
    assert describe_problems(squad) == [
        '%s: 1 problems, %d questions can\'t be used for training' % (path, not trainable),
        '  odd (article 1 "Films", paragraph 1, question 2): ' + reason]


def test_problems_of_version_2(path):
    squad = read_squad(write_squad(path, entry('a', is_impossible=True),
                                   entry('b', answers=[], is_impossible=False)), version_2=True)
    assert [(p.id, p.reason, p.trainable) for p in squad.problems] == [
        ('a', 'is_impossible is true, but the question has an answer. Training takes it as '
              'impossible, scoring uses the answer, as the official evaluator does', True),
        ('b', 'the question has no answer, but is_impossible is false', False)]


def test_a_title_that_cant_be_printed(path):
    path.write_text('{"data": [{"title": "\\ud800", "paragraphs": [{"qas": []}]}]}')
    with pytest.raises(UserError) as error:
        read_squad(str(path))
    assert str(error.value) == '%s: article 1, paragraph 1 has no "context": expected a text' % path


def test_an_empty_context(path):
    squad = read_squad(write_squad(path, entry(answers=None), context=' \n'))
    assert [(p.reason, p.trainable) for p in squad.problems] == [('the context is empty', False)]


def test_many_problems_are_counted(path):
    entries = [entry('q%d' % i, question='') for i in range(8)]
    lines = describe_problems(read_squad(write_squad(path, *entries)))
    assert len(lines) == 7 and lines[-1] == '  … and 3 more in audit.json'


def test_a_bad_question_removes_no_other_with_its_id(path):
    bad_entry = entry(answers=[{'text': 'good', 'answer_start': 0}])
    squad = read_squad(write_squad(path, entry(), bad_entry, entry()))
    assert len(squad.select_trainable().questions) == 2


def test_repeated_ids(path):
    squad = read_squad(write_squad(path, entry(), entry(), entry('other')))
    assert [(p.id, p.reason, p.trainable) for p in squad.problems] == [
        ('q1', 'the id occurs 2 times', True)]
    with pytest.raises(UserError) as error:
        check_unique_ids(squad)
    assert str(error.value) == (
        '%s: 1 question ids occur more than once, the first is "q1": give each question its '
        'own id, because predictions are stored by id' % path)
    check_unique_ids(read_squad(write_squad(path, entry())))


# Files that are refused

PLACE = 'article 1 "Films", paragraph 1, question 1'


@pytest.mark.parametrize('content,message', [
    ('{"data": [}', ':1:11: not JSON: Expecting value; expected a SQuAD file'),
    ('{"data":\n [1,\n', ':3:1: not JSON: Expecting value; expected a SQuAD file'),
    ('', ':1:1: not JSON: Expecting value; expected a SQuAD file'),
    ('[' * 100000, ': nested too deeply for a SQuAD file'),
    ('[1]', ': the file is [1], expected a dictionary'),
    ('{}', ': the file has no "data": expected a list'),
    ('{"data": {}}', ': "data" of the file is {}, expected a list'),
    ('{"data": []}', ': no question in it'),
    ('{"data": [3]}', ': article 1 is 3, expected a dictionary'),
    ('{"data": [{"title": "T"}]}', ': article 1 "T" has no "paragraphs": expected a list'),
    ('{"data": [{"paragraphs": ["x"]}]}',
     ': article 1, paragraph 1 is "x", expected a dictionary'),
    ('{"data": [{"paragraphs": [{"qas": []}]}]}',
     ': article 1, paragraph 1 has no "context": expected a text'),
    ('{"data": [{"paragraphs": [{"context": "x"}]}]}',
     ': article 1, paragraph 1 has no "qas": expected a list'),
    ('{"data": [{"paragraphs": [{"context": "\\ud83d", "qas": []}]}]}',
     ': "context" of article 1, paragraph 1 contains half a surrogate pair (\\ud800 to '
     '\\udfff alone), which is not a character')])
def test_malformed_files(path, content, message):
    path.write_text(content)
    with pytest.raises(UserError) as error:
        read_squad(str(path))
    assert str(error.value) == str(path) + message


@pytest.mark.parametrize('changes,message', [
    ({'id': None}, PLACE + ' has no "id": expected a text'),
    ({'id': 7}, '"id" of ' + PLACE + ' is 7, expected a text'),
    ({'question': None}, PLACE + ' has no "question": expected a text'),
    ({'answers': 'good'}, '"answers" of ' + PLACE + ' is "good", expected a list'),
    ({'answers': {'text': ['x'] * 30}},
     '"answers" of ' + PLACE + ' is a dictionary, expected a list'),
    ({'answers': ['good']}, PLACE + ', answer 1 is "good", expected a dictionary'),
    ({'answers': [{'text': 'good'}]},
     PLACE + ', answer 1 has no "answer_start": expected a whole number'),
    ({'answers': [{'text': 'good', 'answer_start': True}]},
     '"answer_start" of ' + PLACE + ', answer 1 is true, expected a whole number'),
    ({'answers': [{'answer_start': 3}]}, PLACE + ', answer 1 has no "text": expected a text'),
    ({'is_impossible': 'no'}, '"is_impossible" of ' + PLACE + ' is "no", expected true or false')])
def test_malformed_questions(path, changes, message):
    with pytest.raises(UserError) as error:
        read_squad(write_squad(path, entry(**changes)))
    assert str(error.value) == '%s: %s' % (path, message)


@pytest.mark.parametrize('questions,version_2,message', [
    ([entry(), entry('q2', answers=[], is_impossible=True)], False,
     '1 of its 2 questions have no answer, as in SQuAD 2.0: add --version_2'),
    ([entry(answers=[], is_impossible=False)], False,
     '1 of its 1 questions have no answer, as in SQuAD 2.0: add --version_2'),
    ([entry(answers=[])], False,
     '1 of its 1 questions have no answer, as in SQuAD 2.0: add --version_2'),
    ([entry()], True, 'no question has "is_impossible" and all have answers, as in SQuAD 1.1: '
                      'leave --version_2 out'),
    ([entry(), entry('q2', answers=None)], False,
     'question "q2" has no "answers", but others have: expected a list, empty if there is no '
     'answer')])
def test_files_of_the_other_version(path, questions, version_2, message):
    with pytest.raises(UserError) as error:
        read_squad(write_squad(path, *questions), version_2)
    assert str(error.value) == '%s: %s' % (path, message)


def test_a_2_0_file_may_have_answers_everywhere(path):
    assert read_squad(write_squad(path, entry(is_impossible=False)), version_2=True).has_labels


def test_files_that_cant_be_read(path):
    with pytest.raises(UserError, match='squad.json: can\'t be read: No such file'):
        read_squad(str(path))
    path.write_bytes(b'{"data": "\xff"}')
    with pytest.raises(UserError, match='squad.json: not UTF-8 at byte 11: save it as UTF-8'):
        read_squad(str(path))
