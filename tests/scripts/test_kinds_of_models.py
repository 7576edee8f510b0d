"""Models of all kinds where a command or `bert.open` expects others: what has no meaning is refused
in one line, nothing is ignored."""
import json
import os

import pytest
from support import tiny

import bert
from bert import deploy, finetune_classifier, finetune_ner, predict, quantize, run_glue_tune
from bert.errors import UserError
from bert.export import export

TAGGED = 'good\tB-PER\nfilm\tI-PER\n\nso\tO\n\n'


@pytest.fixture
def tagger(in_tmp):
    (in_tmp / 'dev.conll').write_text(TAGGED)
    (in_tmp / 'train.conll').write_text(TAGGED.replace('so', 'it'))
    return tiny.write_tagger(in_tmp / 'tagger')


@pytest.fixture
def fills_masks(in_tmp):
    from reference import numpy_bert
    tensors = {name: array for name, array in numpy_bert.random_tensors(tiny.CONFIG).items()
               if not name.startswith(('cls.seq', 'bert.pooler'))}
    return tiny.write_transformers(in_tmp / 'words', tensors, architectures=['BertForMaskedLM'])


@pytest.mark.parametrize('flags, message', [
    (('--ranking', '--multi_label'), '--ranking and --multi_label: give one of the two'),
    (('--ranking', '--classes', 'a,b'), '--ranking and --classes: give one of the two')])
def test_one_kind_a_run(call, in_tmp, flags, message):
    (in_tmp / 'a.csv').write_text('a,b,c\n')
    files = ('--train_file', 'a.csv', '--dev_file', 'a.csv', '--text_columns', 'a,b',
             '--label_column', 'c')
    assert call(finetune_classifier, *files, *flags).error == 'error: ' + message
    assert not (in_tmp / 'output_dir').exists()


@pytest.mark.parametrize('flag, value', [
    ('model_parameters', 'x.params'), ('pretrained_bert_parameters', 'x.params'),
    ('bert_model', 'bert_24_1024_16'), ('dropout', 0.2)])
def test_a_whole_model_has_its_own_weights(call, tagger, flag, value):
    assert call(finetune_ner, '--dev_file', 'dev.conll', '--bert_checkpoint', tagger,
                '--only_inference', '--' + flag, value).error == (
        'error: --%s: nothing is trained, and the model in --bert_checkpoint decides: leave it '
        'out' % flag)


def test_a_resume_knows_the_task_in_any_spelling(call, tiny_bert, in_tmp):
    folder = in_tmp / 'ner_data' / 'wnut17'
    folder.mkdir(parents=True)
    for kind in ('train', 'dev'):
        (folder / (kind + '.conll')).write_text(TAGGED.replace('PER', 'person'))
    flags = ('--bert_checkpoint', tiny_bert, '--epochs', 1, '--max_len', 16, '--output_dir', 'run')
    assert call(finetune_ner, '--task_name', 'wnut-17', *flags).code == 0
    assert '"WNUT17"' in (in_tmp / 'run' / 'options.json').read_text()
    assert call(finetune_ner, '--task_name', 'WNUT17', '--resume', '--output_dir', 'run').code == 0


def test_an_int8_model_is_called_as_its_run(call, tagger, in_tmp, fast_int8):
    assert call(finetune_ner, '--train_file', 'train.conll', '--dev_file', 'dev.conll',
                '--task_name', 'names', '--bert_checkpoint', tagger, '--only_calibration',
                '--output_dir', 'int8').code == 0
    planned = json.loads((in_tmp / 'int8' / 'options.json').read_text())['files']
    written = [name for name in os.listdir('int8') if name.startswith('model_bert_')]
    assert len(written) == 2 and set(written) <= set(planned)
    assert all('_names_' in name for name in written)


@pytest.mark.parametrize('flags, message', [
    (('--dev_file', 'dev.conll', '--task_name', 'WNUT17'),
     '--task_name: it is not for files of your own: name their columns instead'),
    (('--dev_file', 'dev.conll', '--text_columns', '0,1'),
     '--text_columns 0,1: name only the column of the words'),
    (('--dev_file', 'dev.conll', '--label_column', 'ner'),
     'column of the tag "ner": expected the number of a column of dev.conll, from 0'),
    (('--task_name', 'WNUT17', '--text_columns', '0'),
     '--text_columns: it is for files of your own'),
    (('--task_name', 'MRPC'), 'no task "MRPC". The tasks are WNUT17, CoNLL2003. Give your own '
                              'files as --train_file and --dev_file'),
    ((), 'the model was trained on "tagger", which is not a known task: name a task with '
         '--task_name, or files of your own with --dev_file')])
def test_sets_of_an_entity_model(call, tagger, flags, message):
    assert call(quantize, '--model_dir', tagger, '--calib_mode', 'none', '--output_dir', 'int8',
                *flags).error == 'error: ' + message


def test_words_that_are_split_already(call, tagger):
    assert call(predict, '--model_dir', tagger, '--file', 'dev.conll').error == (
        'error: --file dev.conll: CoNLL columns hold words that are split already: give --words')


@pytest.mark.parametrize('kind', ['tagger', 'fills_masks'])
def test_the_example_of_glue_takes_classifiers_only(call, kind, request, in_tmp):
    folder = request.getfixturevalue(kind)
    error = call(run_glue_tune, '--task_name', 'MRPC', '--model_name_or_path', folder, '--do_eval',
                 '--data_dir', '.', '--output_dir', 'out').error
    assert error == 'error: --model_name_or_path %s: the model is for %s, but the task is MRPC' % (
        folder, {'tagger': 'token classification', 'fills_masks': 'fill mask'}[kind])


def test_a_task_that_an_export_is_not_for(call, tagger, in_tmp):
    assert call(export, '--model_dir', tagger, '--output_dir', 'symbol').code == 0
    with pytest.raises(UserError, match='task ranking: symbol holds a model for token class'):
        bert.open('symbol', task='ranking')
    embedding = tiny.write_checkpoint(in_tmp / 'encoder')
    assert call(export, '--model_dir', embedding, '--task', 'embedding', '--output_dir',
                'vectors').code == 0
    with pytest.raises(UserError, match='task ranking: vectors holds a model for embedding'):
        bert.open('vectors', task='ranking')
    with pytest.raises(UserError, match='task classification: bert_12_768_12 holds a model for '
                                        'embedding'):
        bert.open('bert_12_768_12', task='classification')
    assert call(deploy, '--model_dir', 'symbol', '--query', 'x', 'good').error.startswith(
        'error: --query: the model in symbol is for token classification')


@pytest.mark.parametrize('values, message', [
    ({'kind': 'token_classification', 'labels': None},
     'kind is token_classification, but there are no labels'),
    ({'kind': 'fill_mask'}, 'kind is fill_mask, but the weights beside it are of a text '
                            'classifier')])
def test_damaged_tasks(call, in_tmp, values, message):
    folder = tiny.write_classifier(in_tmp / 'model')
    task = {'name': 'x', 'labels': ['a', 'b', 'c'], 'pair': False, 'metrics': ['accuracy'],
            'max_len': 20}
    (in_tmp / 'model' / 'task.json').write_text(json.dumps(dict(task, **values)))
    assert call(predict, '--model_dir', folder, 'good').error == 'error: %s: %s' % (
        in_tmp / 'model' / 'task.json', message)


def test_single_texts_are_not_ranked(in_tmp):
    folder = tiny.write_with_head(in_tmp / 'score', 'BertForSequenceClassification', {
        'classifier.weight': (1, tiny.CONFIG.units), 'classifier.bias': (1,)})
    (in_tmp / 'score' / 'task.json').write_text(json.dumps({
        'name': 'x', 'labels': None, 'pair': False, 'metrics': ['pearsonr'], 'max_len': 20}))
    with pytest.raises(UserError, match='reads single texts, but a reranker reads pairs'):
        bert.open(folder, task='ranking')
