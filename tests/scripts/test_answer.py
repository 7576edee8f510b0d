"""answer.py: sources of documents, offsets, several documents, no answer, mistakes."""
import io
import json

import mxnet as mx
import numpy as np
import pytest
from support.small_squad import QUICK, read_json, write_files

from bert import answer, finetune_squad
from bert.jobs.prediction.question_answering import passage
from bert.pipelines.question_answering import TASK_DEFAULTS, open_question_answerer

QUESTION = 'the film was'
DOCUMENT = 'the plot was fine and the actor was so .'


def train(call, folder, tiny_bert, version_2):
    outcome = call(finetune_squad, *write_files(folder, version_2), '--bert_checkpoint', tiny_bert,
                   *QUICK, '--output_dir', folder / 'run')
    assert outcome.code == 0, outcome.err
    return str(folder / 'run')


@pytest.fixture
def run(call, in_tmp, tiny_bert):
    return train(call, in_tmp, tiny_bert, version_2=False)


@pytest.fixture
def run_version_2(call, in_tmp, tiny_bert):
    return train(call, in_tmp, tiny_bert, version_2=True)


def lines(outcome):
    assert outcome.code == 0, outcome.err
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_offsets_and_passage(call, run):
    result, = lines(call(answer, '--model_dir', run, QUESTION, DOCUMENT, '--format', 'jsonl'))
    assert result['question'] == QUESTION and result['no_answer'] is False
    assert len(result['answers']) == 3
    for entry in result['answers']:
        assert set(entry) == {'text', 'document', 'start', 'end', 'passage', 'probability'}
        assert DOCUMENT[entry['start']:entry['end']] == entry['text']
        assert entry['passage'] == DOCUMENT and entry['document'] == 'document 1'
    probabilities = [entry['probability'] for entry in result['answers']]
    assert probabilities == sorted(probabilities, reverse=True) and 0 < sum(probabilities) <= 1


def test_the_same_as_the_predictions_of_the_run(call, run, in_tmp):
    """For each question of the dev file, the n-best answers that finetune_squad.py wrote."""
    questions = [dict(id=question['id'], question=question['question'],
                      document=paragraph['context'])
                 for paragraph in read_json(in_tmp / 'dev.json')['data'][0]['paragraphs']
                 for question in paragraph['qas']]
    (in_tmp / 'questions.jsonl').write_text('\n'.join(map(json.dumps, questions)))
    outcome = call(answer, '--model_dir', run, '--jsonl', 'questions.jsonl', '--format', 'jsonl',
                   '--output', 'answers.jsonl')
    assert outcome.code == 0 and outcome.out == ''
    results = [json.loads(line) for line in (in_tmp / 'answers.jsonl').read_text().splitlines()]
    n_best = read_json(in_tmp / 'run' / 'nbest_predictions.json')
    assert [result['id'] for result in results] == list(n_best)
    for result in results:
        expected = n_best[result['id']]
        assert [a['text'] for a in result['answers']] == [entry['text'] for entry in expected[:3]]
        np.testing.assert_allclose([a['probability'] for a in result['answers']],
                                   [entry['probability'] for entry in expected[:3]], rtol=1e-4)


def test_tab_separated(call, run):
    outcome = call(answer, '--model_dir', run, QUESTION, 'the\tplot\nwas fine', '--top_k', 2)
    rows = [line.split('\t') for line in outcome.out.splitlines()]
    assert rows[0] == ['question', 'probability', 'answer', 'document', 'start', 'end', 'passage']
    assert len(rows) == 3 and all(len(row) == 7 for row in rows)
    assert rows[1][0] == QUESTION and rows[1][3] == 'document 1'


def test_tab_separated_with_ids_and_whole_paths(call, run, in_tmp):
    """With several questions the id comes first. Whole paths distinguish equal file names."""
    (in_tmp / 'a.jsonl').write_text('\n'.join(
        json.dumps(dict(line, question=QUESTION, document=DOCUMENT))
        for line in ({'id': ''}, {}, {'id': None}, {'id': 'x'})))
    outcome = call(answer, '--model_dir', run, '--jsonl', 'a.jsonl', '--top_k', 1)
    rows = [line.split('\t') for line in outcome.out.splitlines()]
    assert rows[0][:2] == ['id', 'question'] and [row[0] for row in rows[1:]] == ['', '2', '3', 'x']
    assert all(len(row) == 8 for row in rows)
    for folder in ('one', 'two'):
        (in_tmp / folder).mkdir()
        (in_tmp / folder / 'a.txt').write_text(DOCUMENT)
    outcome = call(answer, '--model_dir', run, QUESTION, '--file', 'one/a.txt', 'two/a.txt')
    assert {line.split('\t')[3] for line in outcome.out.splitlines()[1:]} == {'one/a.txt',
                                                                             'two/a.txt'}


def test_flags_may_stand_between_the_texts(call, run):
    expected = call(answer, '--model_dir', run, '--top_k', 2, QUESTION, DOCUMENT, 'it was great')
    outcome = call(answer, QUESTION, '--top_k', 2, DOCUMENT, '--model_dir', run, 'it was great')
    assert outcome.code == 0 and outcome.out == expected.out != ''
    outcome = call(answer, '--model_dir', run, '--top_k', 2, '--', QUESTION, DOCUMENT,
                   'it was great')
    assert outcome.code == 0 and outcome.out == expected.out
    outcome = call(answer, '--model_dir', run, '--', '-' + QUESTION, DOCUMENT)
    assert outcome.code == 0 and outcome.out.splitlines()[1].startswith('-' + QUESTION)


def test_documents_from_files_and_standard_input(call, run, in_tmp, monkeypatch):
    (in_tmp / 'a.txt').write_text(DOCUMENT)
    argument_result, = lines(call(answer, '--model_dir', run, QUESTION, DOCUMENT, '--format',
                                  'jsonl'))
    file_result, = lines(call(answer, '--model_dir', run, QUESTION, '--file', 'a.txt', '--format',
                              'jsonl'))
    for flags in ((), ('--file', '-')):
        monkeypatch.setattr('sys.stdin', io.TextIOWrapper(io.BytesIO(DOCUMENT.encode())))
        stdin_result, = lines(call(answer, '--model_dir', run, QUESTION, *flags, '--format',
                                   'jsonl'))
        assert stdin_result['answers'][0]['document'] == '-'
        assert [a['text'] for a in stdin_result['answers']] == \
            [a['text'] for a in argument_result['answers']]
    assert file_result['answers'][0]['document'] == 'a.txt'
    assert file_result['answers'][0]['start'] == argument_result['answers'][0]['start']


def test_offsets_refer_to_the_unchanged_document(call, run, in_tmp):
    """Only a byte-order mark is no part of the text. Windows line ends stay, for example."""
    text = 'it was\r\n\r\nso very cafe\u0301 and\r\nthe plot 👍🏽 great .\r\n'
    (in_tmp / 'a.txt').write_bytes(b'\xef\xbb\xbf' + text.encode())
    result, = lines(call(answer, '--model_dir', run, QUESTION, '--file', 'a.txt', '--format',
                         'jsonl', '--top_k', 100))
    assert len(result['answers']) > 20
    for entry in result['answers']:
        assert text[entry['start']:entry['end']] == entry['text']


def test_several_documents_are_ranked_together(call, run):
    """A document's scores don't depend on the other documents. The best answers of all documents
    come first."""
    documents = [DOCUMENT, 'it was great', 'bad scene and very poor plot']
    answers_by_document = [
        lines(call(answer, '--model_dir', run, QUESTION, text, '--format', 'jsonl', '--top_k',
                   500))[0]['answers'] for text in documents]
    result, = lines(call(answer, '--model_dir', run, QUESTION, *documents, '--format', 'jsonl',
                         '--top_k', 500))
    spans = [(entry['document'], entry['start'], entry['end']) for entry in result['answers']]
    assert {name for name, _, _ in spans} == {'document 1', 'document 2', 'document 3'}
    for i, answers in enumerate(answers_by_document, 1):
        name = 'document %d' % i
        assert [span for span in spans if span[0] == name] == \
            [(name, entry['start'], entry['end']) for entry in answers]
    probabilities = [entry['probability'] for entry in result['answers']]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)


def test_documents_of_json_lines(call, run, in_tmp, monkeypatch):
    text = json.dumps({'question': QUESTION, 'documents': ['it was great', DOCUMENT]})
    monkeypatch.setattr('sys.stdin', io.TextIOWrapper(io.BytesIO(text.encode() + b'\n\n')))
    result, = lines(call(answer, '--model_dir', run, '--jsonl', '-', '--format', 'jsonl'))
    assert result['id'] == '1'
    assert {entry['document'] for entry in result['answers']} <= {'document 1', 'document 2'}


def test_a_long_document_is_read_in_windows(call, run):
    text = ' '.join(['so very the plot and'] * 40) + ' great .'
    result, = lines(call(answer, '--model_dir', run, QUESTION, text, '--format', 'jsonl',
                         '--top_k', 500))
    assert max(entry['end'] for entry in result['answers']) > 500
    for entry in result['answers']:
        assert text[entry['start']:entry['end']] == entry['text']


@pytest.mark.parametrize('threshold,no_answer', [(-1e6, True), (1e6, False)])
def test_no_answer(call, run_version_2, threshold, no_answer):
    flags = ('--model_dir', run_version_2, QUESTION, DOCUMENT, '--null_score_diff_threshold',
             threshold)
    result, = lines(call(answer, *flags, '--format', 'jsonl'))
    assert result['no_answer'] is no_answer
    assert 0 < result['no_answer_probability'] < 1
    assert len(result['answers']) == 3       # listed anyway
    rows = call(answer, *flags).out.splitlines()[1:]
    if no_answer:
        assert rows == ['%s\t%.4f\t[no answer]\t\t\t\t' % (
            QUESTION, result['no_answer_probability'])]
    else:
        assert len(rows) == 3


def test_a_model_of_1_1_always_answers_without_version_2(call, run):
    flags = ('--model_dir', run, QUESTION, DOCUMENT, '--format', 'jsonl')
    threshold = '--null_score_diff_threshold', -1e6
    assert lines(call(answer, *flags))[0]['no_answer'] is False
    assert lines(call(answer, *flags, *threshold, '--version_2'))[0]['no_answer'] is True
    assert call(answer, *flags, *threshold).error == (
        'error: --null_score_diff_threshold: the model was trained on SQuAD 1.1 and always '
        'answers; give --version_2 if that is wrong')


def test_blank_lines_of_a_file_of_questions_are_counted(call, run, in_tmp, caplog):
    line = json.dumps({'question': QUESTION, 'document': DOCUMENT})
    (in_tmp / 'questions.jsonl').write_text('%s\n\n  \n%s\n' % (line, line))
    results = lines(call(answer, '--model_dir', run, '--jsonl', 'questions.jsonl', '--format',
                         'jsonl'))
    assert [result['id'] for result in results] == ['1', '4']
    assert 'questions.jsonl: 2 blank lines skipped, the first is line 2' in caplog.messages


def test_an_id_that_is_not_unicode(call, run, in_tmp):
    (in_tmp / 'questions.jsonl').write_text('{"id": "a\\ud800", "question": "%s", "document": "%s"}'
                                            % (QUESTION, DOCUMENT))
    assert call(answer, '--model_dir', run, '--jsonl', 'questions.jsonl').error == (
        'error: questions.jsonl:1: half a surrogate pair, or bytes that are not UTF-8, in the id')


def test_max_answer_length(call, run):
    result, = lines(call(answer, '--model_dir', run, QUESTION, DOCUMENT, '--format', 'jsonl',
                         '--max_answer_length', 1, '--top_k', 20))
    assert all(' ' not in entry['text'] for entry in result['answers'])


def test_a_cut_question_causes_a_warning(call, run):
    outcome = call(answer, '--model_dir', run, 'the film was so very good and fine', DOCUMENT)
    assert outcome.code == 0
    assert outcome.err == 'warning: 1 of 1 questions were cut at 6 tokens\n'


def test_a_model_of_transformers(call, in_tmp, run, caplog):
    """A run converted to transformers gives the same answers."""
    from bert import convert_checkpoint
    assert call(convert_checkpoint, run, 'hf').code == 0
    assert set(read_json(in_tmp / 'hf' / 'task.json')) == set(TASK_DEFAULTS) | {'max_len'}
    expected, result = (lines(call(answer, '--model_dir', folder, QUESTION, DOCUMENT, '--format',
                                   'jsonl'))[0] for folder in (run, 'hf'))
    assert [entry['text'] for entry in expected['answers']] == \
        [entry['text'] for entry in result['answers']]
    (in_tmp / 'hf' / 'task.json').unlink()     # transformers saves none: default sizes
    model = open_question_answerer('hf', mx.cpu())
    assert model.max_len == 40
    assert model.task == dict(TASK_DEFAULTS, max_query_length=20, doc_stride=13)
    # a task.json of another program is ignored
    (in_tmp / 'hf' / 'task.json').write_text('{"name": "qa"}')
    assert call(convert_checkpoint, 'hf', 'back').code == 0
    assert read_json(in_tmp / 'back' / 'task.json')['doc_stride'] == 13
    caplog.clear()
    assert call(answer, '--model_dir', 'hf', QUESTION, DOCUMENT).code == 0
    assert 'task.json is not the task file of a question-answering model' in caplog.text
    assert len(lines(call(answer, '--model_dir', 'hf', QUESTION, DOCUMENT, '--format',
                          'jsonl'))[0]['answers']) == 3


def test_output_is_not_overwritten(call, run, in_tmp):
    (in_tmp / 'out.tsv').write_text('mine')
    flags = ('--model_dir', run, QUESTION, DOCUMENT, '--output', 'out.tsv')
    assert call(answer, *flags).error == (
        'error: --output out.tsv: it exists: choose another name, or give --overwrite')
    assert (in_tmp / 'out.tsv').read_text() == 'mine'
    assert call(answer, *flags, '--overwrite').code == 0
    assert (in_tmp / 'out.tsv').read_text().startswith('question\t')


# Mistakes

@pytest.mark.parametrize('arguments,message', [
    ((), 'give a question, or --jsonl with questions'),
    (('--file', 'a.txt', QUESTION), 'give a question, or --jsonl with questions; put the question '
                                    'before --file: all arguments after --file are files'),
    ((QUESTION, '--jsonl', 'a.jsonl'), 'give a question, or --jsonl with questions, not both'),
    (('--jsonl', 'a.jsonl', '--file', 'a.txt'), '--jsonl has its own documents: leave --file out'),
    ((QUESTION, DOCUMENT, '--file', 'a.txt'),
     'give documents as arguments or with --file, not both'),
    ((' ', DOCUMENT), 'arguments: the question is empty'),
    ((QUESTION, DOCUMENT, ''), 'arguments: document 2 is empty'),
    ((QUESTION, '--file', 'empty.txt'), 'arguments: empty.txt is empty'),
    ((QUESTION, '--file', 'none.txt'), 'none.txt: can\'t be read: No such file or directory'),
    ((QUESTION, '--file', 'latin.txt'), 'latin.txt: not UTF-8 at byte 4: save it as UTF-8'),
    (('--jsonl', 'empty.txt'), 'empty.txt: no question in it')])
def test_mistakes(call, run, in_tmp, arguments, message):
    (in_tmp / 'empty.txt').write_text('\n')
    (in_tmp / 'a.txt').write_text('x')
    (in_tmp / 'a.jsonl').write_text('')
    (in_tmp / 'latin.txt').write_bytes(b'caf\xe9')
    outcome = call(answer, '--model_dir', run, *arguments)
    assert (outcome.code, outcome.err) == (2, 'error: %s\n' % message)


@pytest.mark.parametrize('line,message', [
    ('{"question": 3, "document": "x"}', '"question" must be a text'),
    ('{"document": "x"}', '"question" must be a text'),
    ('{"question": "x"}', '"document" must be a text, or "documents" a list of texts'),
    ('{"question": "x", "documents": "y"}',
     '"document" must be a text, or "documents" a list of texts'),
    ('{"question": "x", "documents": []}', 'no document'),
    ('{"question": "x", "document": "\\ud800"}',
     'half a surrogate pair, or bytes that are not UTF-8, in a text'),
    ('{"question": "", "document": "x"}', 'the question is empty'),
    ('{"question": "x", "document": " "}', 'document 1 is empty'),
    ('{"question": "x", "document": "y", "documents": ["z"]}',
     '"document" and "documents": give one of the two'),
    pytest.param('[' * 200000, 'JSON that is nested too deeply', id='deep'),
    ('[1]', 'list found, expected one JSON object per line'),
    ('{"question": ', 'not JSON: Expecting value: line 1 column 14 (char 13)')])
def test_bad_lines(call, run, in_tmp, line, message):
    (in_tmp / 'a.jsonl').write_text('{"question": "x", "document": "y"}\n%s\n' % line)
    outcome = call(answer, '--model_dir', run, '--jsonl', 'a.jsonl', '--output', 'out')
    assert (outcome.code, outcome.err) == (2, 'error: a.jsonl:2: %s\n' % message)
    assert not (in_tmp / 'out').exists()


def test_a_classifier_is_no_model_for_answers(call, in_tmp, tiny_bert, sst):
    from bert import finetune_classifier
    call(finetune_classifier, '--task_name', 'SST', '--data_dir', sst, '--bert_checkpoint',
         tiny_bert, '--max_len', 24, '--epochs', 1, '--output_dir', 'run')
    outcome = call(answer, '--model_dir', 'run', QUESTION, DOCUMENT)
    assert outcome.code == 2
    assert 'holds no question-answering model; found: classification. ' in outcome.error


def test_no_model(call, in_tmp):
    assert call(answer, '--model_dir', 'nowhere', QUESTION, DOCUMENT).error.startswith(
        'error: nowhere: no such file or folder here; as a model of the hub it is not in the cache')


@pytest.mark.parametrize('text,answer,expected', [
    ('one line', 'line', 'one line'),
    ('above\nit is here\nbelow', 'is', 'it is here'),
    ('x' * 100 + ' here', 'here', '…' + 'x' * 79 + ' here'),
    ('here ' + 'y' * 30 + ' ' + 'z' * 100, 'here', 'here ' + 'y' * 30 + ' ' + 'z' * 48 + '…'),
    ('here ' + 'y' * 70 + ' ' + 'z' * 100, 'here', 'here ' + 'y' * 70 + '…'),
    ('a ' * 100 + 'here' + ' b' * 100, 'here', '…' + 'a ' * 39 + 'here' + ' b' * 39 + '…')])
def test_passage(text, answer, expected):
    start = text.index(answer)
    assert passage(text, start, start + len(answer)) == expected
