"""Mistakes with the question-answering scripts give one clear error line and lose no data."""
import json
import os

import pytest
from support import tiny
from support.small_squad import QUICK, SIZES, read_json, write_files

from bert import finetune_squad, static_finetune_squad


@pytest.fixture
def run(call, tiny_bert, in_tmp):
    """Function: flags → Outcome of finetune_squad.py on tiny files."""
    def run(*flags, script=finetune_squad):
        return call(script, *write_files(in_tmp), '--bert_checkpoint', tiny_bert, *QUICK, *flags)
    return run


def test_malformed_json_names_file_and_position(run, in_tmp):
    (in_tmp / 'bad.json').write_text('{"data": [\n{"paragraphs": ]}')
    outcome = run('--train_file', 'bad.json')
    assert outcome.code == 2
    assert outcome.error == ('error: bad.json:2:16: not JSON: Expecting value; expected a SQuAD '
                             'file')


def test_a_2_0_file_without_version_2(run, in_tmp):
    tiny.write_squad(in_tmp / 'two.json', 12, 1, version_2=True)
    assert run('--train_file', 'two.json').error == (
        'error: two.json: 4 of its 12 questions have no answer, as in SQuAD 2.0: add --version_2')


def test_a_1_1_file_with_version_2(run):
    assert run('--version_2').error.endswith(
        'train.json: no question has "is_impossible" and all have answers, as in SQuAD 1.1: leave '
        '--version_2 out')


def test_a_missing_field_names_its_place(run, in_tmp):
    content = tiny.squad_content(6, 1)
    del content['data'][0]['paragraphs'][2]['qas'][1]['id']
    (in_tmp / 'odd.json').write_text(json.dumps(content))
    assert run('--dev_file', 'odd.json').error == (
        'error: odd.json: article 1 "Films", paragraph 3, question 2 has no "id": expected a text')


@pytest.mark.parametrize('flags,message', [
    (('--max_seq_length', 9), '--max_seq_length 9: expected more than --max_query_length 6 and 3 '
                              'special tokens together, to leave room for the context'),
    (('--max_seq_length', 41), '--max_seq_length 41 is more than the 40 positions of this model: '
                               'use 40 or less'),
    (('--threshold_file', 'x.json'),
     '--threshold_file needs --version_2: SQuAD 1.1 has no threshold'),
    (('--threshold_file', 'x.json', '--version_2', '--null_score_diff_threshold', -1),
     '--threshold_file and --null_score_diff_threshold: give one of the two'),
    (('--resume', '--overwrite_output_dir', '--output_dir', 'x'),
     '--resume and --overwrite_output_dir: give one of the two'),
    (('--resume', '--output_dir', 'x'), '--resume: x holds no run (no readable options.json)'),
    (('--train_file', 'none.json'), 'none.json: can\'t be read: No such file or directory'),
    (('--optimizer', 'adan'), '--optimizer adan: no such optimizer. Did you mean "adam"?'),
    (('--dtype', 'float16'), '--dtype float16 needs a GPU: MXNet\'s CPU operators don\'t support '
                             'it; leave --dtype out')])
def test_flags(run, in_tmp, flags, message):
    outcome = run(*flags)
    assert outcome.code == 2
    assert outcome.error.startswith('error: ' + message)
    assert not [name for name in (os.listdir('output_dir') if os.path.isdir('output_dir') else ())
                if os.path.exists(os.path.join('output_dir', name, 'results.json'))]


@pytest.mark.parametrize('flags,message', [
    (('--seq_length', 19), '--max_seq_length 20: windows of that size don\'t fit into --seq_length '
                           '19'),
    (('--seq_length', 41), '--seq_length 41: this model reads 1 to 40 tokens: choose '
                            'another --seq_length'),
    (('--input_size', 768), '--input_size 768: the width of this model is 8: leave the setting '
                             'out')])
def test_static_flags(run, flags, message):
    assert run(*flags, script=static_finetune_squad).error == 'error: ' + message


def test_threshold_file_shares_questions_with_dev(call, tiny_bert, in_tmp):
    files = write_files(in_tmp, version_2=True)
    outcome = call(finetune_squad, *files, '--bert_checkpoint', tiny_bert, *QUICK,
                   '--threshold_file', 'dev.json')
    assert outcome.code == 2
    assert outcome.error.startswith('error: --threshold_file dev.json: 11 of its questions are '
                                    'also in ')
    assert outcome.error.endswith('/dev.json, such as "2-0-0": choose the threshold on questions '
                                  'that are not scored')


def test_repeated_ids_in_dev(run, in_tmp):
    content = tiny.squad_content(4, 1)
    for paragraph in content['data'][0]['paragraphs']:
        for question in paragraph['qas']:
            question['id'] = 'same'
    (in_tmp / 'dup.json').write_text(json.dumps(content))
    assert run('--dev_file', 'dup.json').error == (
        'error: dup.json: 1 question ids occur more than once, the first is "same": give each '
        'question its own id, because predictions are stored by id')
    outcome = run('--train_file', 'dup.json', '--output_dir', 'run')
    assert outcome.code == 0, outcome.err       # training accepts them with a warning
    assert 'same (the file): the id occurs 4 times' in outcome.err


def test_training_needs_answers(run, in_tmp):
    content = tiny.squad_content(4, 1)
    for paragraph in content['data'][0]['paragraphs']:
        for question in paragraph['qas']:
            del question['answers']
    (in_tmp / 'blind.json').write_text(json.dumps(content))
    assert run('--train_file', 'blind.json').error == (
        'error: blind.json: its questions have no "answers": they can\'t be used for training')


def test_nothing_to_train_on(run, in_tmp):
    content = tiny.squad_content(2, 1)
    content['data'][0]['paragraphs'][0]['context'] = ' '
    (in_tmp / 'empty.json').write_text(json.dumps(content))
    assert run('--train_file', 'empty.json').error == (
        'error: empty.json: no question in it can be used for training')


# Unusual input that has an answer

def write_dev_file(folder, context, question='the film was', answer='good'):
    """Write a dev file of one question. Returns its name."""
    (folder / 'odd.json').write_text(json.dumps({'data': [{'title': 'T', 'paragraphs': [{
        'context': context, 'qas': [{'id': 'q', 'question': question, 'answers': [
            {'text': answer, 'answer_start': context.find(answer)}]}]}]}]}))
    return 'odd.json'


def predict_answer(run, in_tmp, dev_file, *flags):
    outcome = run('--dev_file', dev_file, '--output_dir', 'run', *flags)
    assert outcome.code == 0, outcome.err
    return read_json(in_tmp / 'run' / 'predictions.json')['q'], outcome


def test_a_word_of_20000_characters(run, in_tmp):
    word = 'x' * 20000
    text, _ = predict_answer(run, in_tmp, write_dev_file(in_tmp, word, answer=word))
    assert text == word


def test_an_empty_question(run, in_tmp):
    text, outcome = predict_answer(run, in_tmp, write_dev_file(in_tmp, 'it was good', question=''))
    assert text and text in 'it was good'
    assert 'q (article 1 "T", paragraph 1, question 1): the question is empty' in outcome.err


def test_an_empty_context(run, in_tmp):
    text, outcome = predict_answer(run, in_tmp, write_dev_file(in_tmp, ' ', answer=''))
    assert text == ''
    assert 'the context is empty' in outcome.err


def test_a_stride_larger_than_the_window(run, in_tmp):
    """The windows skip no word: the answer may be anywhere."""
    context = ' '.join('so very the plot and'.split() * 20)
    text, _ = predict_answer(run, in_tmp, write_dev_file(in_tmp, context, answer='plot'),
                             '--doc_stride', 1000)
    assert text in context
    audit = read_json(in_tmp / 'run' / 'audit.json')['segments']['dev']
    assert audit['windows'] == 8        # 100 words, 14 per window


def test_a_question_longer_than_the_cap_is_counted(run, in_tmp):
    _, outcome = predict_answer(run, in_tmp, write_dev_file(
        in_tmp, 'it was good', question='was it so very very very very good'))
    assert '1 are cut at --max_query_length' in outcome.err
    assert read_json(in_tmp / 'run' / 'audit.json')['segments']['dev']['questions_cut'] == 1


@pytest.mark.parametrize('flag,reason', [
    ('--deploy', 'to run an exported model, use deploy.py --model_dir FOLDER'),
    ('--tune', 'to tune a trained model, use quantize.py --tune --model_dir FOLDER'),
    ('--sentencepiece', 'SentencePiece models are not supported; a BERT vocabulary is a vocab.txt, '
                        'see --bert_checkpoint')])
def test_unsupported_flags(call, in_tmp, flag, reason):
    outcome = call(finetune_squad, flag, 'x')
    assert outcome.code == 2
    assert outcome.err.startswith('error: %s: %s (' % (flag, reason))


def test_sizes_are_part_of_the_run(call, run, in_tmp):
    """A run can't be resumed with other windows."""
    run('--output_dir', 'run')
    outcome = call(finetune_squad, '--resume', '--output_dir', 'run', *SIZES[:2], '--doc_stride', 7)
    assert outcome.error == ('error: --doc_stride 7: the run in run was started with 5; leave the '
                             'flag out, or start another run')
