"""answer.py: documents from everywhere, offsets, several documents, no answer, mistakes."""
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


def trained(call, folder, tiny_bert, version_2):
    outcome = call(finetune_squad, *write_files(folder, version_2), '--bert_checkpoint', tiny_bert,
                   *QUICK, '--output_dir', folder / 'run')
    assert outcome.code == 0, outcome.err
    return str(folder / 'run')


@pytest.fixture
def run(call, in_tmp, tiny_bert):
    return trained(call, in_tmp, tiny_bert, version_2=False)


@pytest.fixture
def run_2(call, in_tmp, tiny_bert):
    return trained(call, in_tmp, tiny_bert, version_2=True)


def lines(outcome):
    assert outcome.code == 0, outcome.err
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_offsets_and_passage(call, run):
    found, = lines(call(answer, '--model_dir', run, QUESTION, DOCUMENT, '--format', 'jsonl'))
    assert found['question'] == QUESTION and found['no_answer'] is False
    assert len(found['answers']) == 3
    for one in found['answers']:
        assert set(one) == {'text', 'document', 'start', 'end', 'passage', 'probability'}
        assert DOCUMENT[one['start']:one['end']] == one['text']
        assert one['passage'] == DOCUMENT and one['document'] == 'document 1'
    shares = [one['probability'] for one in found['answers']]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1


def test_the_same_as_the_predictions_of_the_run(call, run, in_tmp):
    """Question by question what finetune_squad.py wrote for its dev file."""
    questions = [dict(id=question['id'], question=question['question'],
                      document=paragraph['context'])
                 for paragraph in read_json(in_tmp / 'dev.json')['data'][0]['paragraphs']
                 for question in paragraph['qas']]
    (in_tmp / 'questions.jsonl').write_text('\n'.join(map(json.dumps, questions)))
    outcome = call(answer, '--model_dir', run, '--jsonl', 'questions.jsonl', '--format', 'jsonl',
                   '--output', 'answers.jsonl')
    assert outcome.code == 0 and outcome.out == ''
    found = [json.loads(line) for line in (in_tmp / 'answers.jsonl').read_text().splitlines()]
    n_best = read_json(in_tmp / 'run' / 'nbest_predictions.json')
    assert [one['id'] for one in found] == list(n_best)
    for one in found:
        wanted = n_best[one['id']]
        assert [a['text'] for a in one['answers']] == [entry['text'] for entry in wanted[:3]]
        np.testing.assert_allclose([a['probability'] for a in one['answers']],
                                   [entry['probability'] for entry in wanted[:3]], rtol=1e-4)


def test_tab_separated(call, run):
    outcome = call(answer, '--model_dir', run, QUESTION, 'the\tplot\nwas fine', '--top_k', 2)
    rows = [line.split('\t') for line in outcome.out.splitlines()]
    assert rows[0] == ['question', 'probability', 'answer', 'document', 'start', 'end', 'passage']
    assert len(rows) == 3 and all(len(row) == 7 for row in rows)
    assert rows[1][0] == QUESTION and rows[1][3] == 'document 1'


def test_tab_separated_with_ids_and_whole_paths(call, run, in_tmp):
    """Of many questions the id comes first; documents of the same name can be told apart."""
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
    plain = call(answer, '--model_dir', run, '--top_k', 2, QUESTION, DOCUMENT, 'it was great')
    mixed = call(answer, QUESTION, '--top_k', 2, DOCUMENT, '--model_dir', run, 'it was great')
    assert mixed.code == 0 and mixed.out == plain.out != ''
    after = call(answer, '--model_dir', run, '--top_k', 2, '--', QUESTION, DOCUMENT, 'it was great')
    assert after.code == 0 and after.out == plain.out
    dashed = call(answer, '--model_dir', run, '--', '-' + QUESTION, DOCUMENT)
    assert dashed.code == 0 and dashed.out.splitlines()[1].startswith('-' + QUESTION)


def test_documents_from_files_and_standard_input(call, run, in_tmp, monkeypatch):
    (in_tmp / 'a.txt').write_text(DOCUMENT)
    by_argument, = lines(call(answer, '--model_dir', run, QUESTION, DOCUMENT, '--format', 'jsonl'))
    by_file, = lines(call(answer, '--model_dir', run, QUESTION, '--file', 'a.txt', '--format',
                          'jsonl'))
    for flags in ((), ('--file', '-')):
        monkeypatch.setattr('sys.stdin', io.TextIOWrapper(io.BytesIO(DOCUMENT.encode())))
        by_input, = lines(call(answer, '--model_dir', run, QUESTION, *flags, '--format', 'jsonl'))
        assert by_input['answers'][0]['document'] == '-'
        assert [a['text'] for a in by_input['answers']] == \
            [a['text'] for a in by_argument['answers']]
    assert by_file['answers'][0]['document'] == 'a.txt'
    assert by_file['answers'][0]['start'] == by_argument['answers'][0]['start']


def test_offsets_count_in_the_document_as_it_is(call, run, in_tmp):
    """Line ends of Windows and everything else stay; a byte-order mark is no part of the text."""
    text = 'it was\r\n\r\nso very cafe\u0301 and\r\nthe plot 👍🏽 great .\r\n'
    (in_tmp / 'a.txt').write_bytes(b'\xef\xbb\xbf' + text.encode())
    found, = lines(call(answer, '--model_dir', run, QUESTION, '--file', 'a.txt', '--format',
                        'jsonl', '--top_k', 100))
    assert len(found['answers']) > 20
    for one in found['answers']:
        assert text[one['start']:one['end']] == one['text']


def test_several_documents_are_ranked_together(call, run):
    """The scores of a document don't depend on the others; the best of all come first."""
    documents = [DOCUMENT, 'it was great', 'bad scene and very poor plot']
    alone = [lines(call(answer, '--model_dir', run, QUESTION, text, '--format', 'jsonl',
                        '--top_k', 500))[0]['answers'] for text in documents]
    together, = lines(call(answer, '--model_dir', run, QUESTION, *documents, '--format', 'jsonl',
                           '--top_k', 500))
    order = [(one['document'], one['start'], one['end']) for one in together['answers']]
    assert {name for name, _, _ in order} == {'document 1', 'document 2', 'document 3'}
    for i, answers in enumerate(alone, 1):
        name = 'document %d' % i
        assert [place for place in order if place[0] == name] == \
            [(name, one['start'], one['end']) for one in answers]
    shares = [one['probability'] for one in together['answers']]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1)


def test_documents_of_json_lines(call, run, in_tmp, monkeypatch):
    text = json.dumps({'question': QUESTION, 'documents': ['it was great', DOCUMENT]})
    monkeypatch.setattr('sys.stdin', io.TextIOWrapper(io.BytesIO(text.encode() + b'\n\n')))
    found, = lines(call(answer, '--model_dir', run, '--jsonl', '-', '--format', 'jsonl'))
    assert found['id'] == '1'
    assert {one['document'] for one in found['answers']} <= {'document 1', 'document 2'}


def test_a_long_document_is_read_in_windows(call, run):
    text = ' '.join(['so very the plot and'] * 40) + ' great .'
    found, = lines(call(answer, '--model_dir', run, QUESTION, text, '--format', 'jsonl',
                        '--top_k', 500))
    assert max(one['end'] for one in found['answers']) > 500
    for one in found['answers']:
        assert text[one['start']:one['end']] == one['text']


@pytest.mark.parametrize('threshold,no_answer', [(-1e6, True), (1e6, False)])
def test_no_answer(call, run_2, threshold, no_answer):
    flags = ('--model_dir', run_2, QUESTION, DOCUMENT, '--null_score_diff_threshold', threshold)
    found, = lines(call(answer, *flags, '--format', 'jsonl'))
    assert found['no_answer'] is no_answer
    assert 0 < found['no_answer_probability'] < 1
    assert len(found['answers']) == 3       # told all the same
    rows = call(answer, *flags).out.splitlines()[1:]
    if no_answer:
        assert rows == ['%s\t%.4f\t[no answer]\t\t\t\t' % (
            QUESTION, found['no_answer_probability'])]
    else:
        assert len(rows) == 3


def test_a_model_of_1_1_always_answers_unless_told(call, run):
    flags = ('--model_dir', run, QUESTION, DOCUMENT, '--null_score_diff_threshold', -1e6,
             '--format', 'jsonl')
    assert lines(call(answer, *flags))[0]['no_answer'] is False
    assert lines(call(answer, *flags, '--version_2'))[0]['no_answer'] is True


def test_max_answer_length(call, run):
    found, = lines(call(answer, '--model_dir', run, QUESTION, DOCUMENT, '--format', 'jsonl',
                        '--max_answer_length', 1, '--top_k', 20))
    assert all(' ' not in one['text'] for one in found['answers'])


def test_a_cut_question_is_told(call, run):
    outcome = call(answer, '--model_dir', run, 'the film was so very good and fine', DOCUMENT)
    assert outcome.code == 0
    assert outcome.err == 'warning: 1 of 1 questions were cut at 6 tokens\n'


def test_a_model_of_transformers(call, in_tmp, run):
    """Converted from ours: the same answers."""
    from bert import convert_checkpoint
    assert call(convert_checkpoint, run, 'hf').code == 0
    assert set(read_json(in_tmp / 'hf' / 'task.json')) == set(TASK_DEFAULTS) | {'max_len'}
    ours, theirs = (lines(call(answer, '--model_dir', folder, QUESTION, DOCUMENT, '--format',
                               'jsonl'))[0] for folder in (run, 'hf'))
    assert [one['text'] for one in ours['answers']] == [one['text'] for one in theirs['answers']]
    (in_tmp / 'hf' / 'task.json').unlink()     # as transformers saves one: the usual sizes
    model = open_question_answerer('hf', mx.cpu())
    assert model.max_len == 40
    assert model.task == dict(TASK_DEFAULTS, max_query_length=20, doc_stride=13)
    # somebody else's file of that name is left alone
    (in_tmp / 'hf' / 'task.json').write_text('{"name": "qa"}')
    assert call(convert_checkpoint, 'hf', 'back').code == 0
    assert read_json(in_tmp / 'back' / 'task.json')['doc_stride'] == 13
    assert 'task.json is none of a question-answering model of ours' in \
        call(answer, '--model_dir', 'hf', QUESTION, DOCUMENT).err
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
    (('--file', 'a.txt', QUESTION), 'give a question, or --jsonl with questions; --file takes all '
                                    'that follows it: the question comes before'),
    ((QUESTION, '--jsonl', 'a.jsonl'), 'give a question, or --jsonl with questions, not both'),
    (('--jsonl', 'a.jsonl', '--file', 'a.txt'), '--jsonl has its own documents: leave --file out'),
    ((QUESTION, DOCUMENT, '--file', 'a.txt'),
     'give documents as arguments or by --file, not both'),
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
     'half a surrogate pair, or bytes that are no UTF-8, in a text'),
    ('{"question": "", "document": "x"}', 'the question is empty'),
    ('{"question": "x", "document": " "}', 'document 1 is empty'),
    ('{"question": "x", "document": "y", "documents": ["z"]}',
     '"document" and "documents": give one of the two'),
    pytest.param('[' * 200000, 'JSON that is nested too deeply', id='deep'),
    ('[1]', 'list found, expected one JSON object a line'),
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
    assert 'holds no question-answering model but: classification; ' in outcome.error


def test_no_model(call, in_tmp):
    assert call(answer, '--model_dir', 'nowhere', QUESTION, DOCUMENT).error == (
        'error: --model_dir nowhere: no checkpoint in it: name the folder of a run of '
        'finetune_squad.py, or of such a model of transformers')


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
