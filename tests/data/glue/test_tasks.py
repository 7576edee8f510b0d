"""The table of tasks, and tasks on the user's own files."""
import pytest

from bert.data.glue.tasks import TASKS, custom_task, find_task
from bert.data.text.label_sets import LabelSetColumns
from bert.data.text.readers import Table
from bert.errors import UserError

# reference: finetune_classifier.py of gluonnlp 0.10
ORIGINAL_TASKS = {
    'MRPC': (('0', '1'), True, 'accuracy', 'en'), 'QQP': (('0', '1'), True, 'accuracy', 'en'),
    'QNLI': (('not_entailment', 'entailment'), True, 'accuracy', 'en'),
    'RTE': (('not_entailment', 'entailment'), True, 'accuracy', 'en'),
    'STS-B': (None, True, 'pearsonr', 'en'), 'CoLA': (('0', '1'), False, 'mcc', 'en'),
    'MNLI': (('neutral', 'entailment', 'contradiction'), True, 'accuracy', 'en'),
    'WNLI': (('0', '1'), True, 'accuracy', 'en'), 'SST': (('0', '1'), False, 'accuracy', 'en'),
    'XNLI': (('neutral', 'entailment', 'contradiction'), True, 'accuracy', 'zh'),
    'LCQMC': (('0', '1'), True, 'accuracy', 'zh'),
    'ChnSentiCorp': (('0', '1'), False, 'accuracy', 'zh'),
}


@pytest.mark.parametrize('name', ORIGINAL_TASKS)
def test_task_is_as_in_the_original(name):
    task = TASKS[name]
    assert (task.labels, task.pair, task.metrics[0], task.language) == ORIGINAL_TASKS[name]
    assert task.is_regression == (name == 'STS-B')
    assert task.num_outputs == len(task.labels or [1])


def test_the_table_holds_these_and_the_embedded_default():
    assert set(TASKS) == set(ORIGINAL_TASKS) | {'RottenTomatoes'}
    assert all(task.name == name for name, task in TASKS.items())


def test_the_embedded_default():
    task = TASKS['RottenTomatoes']
    assert (task.labels, task.pair, task.metrics) == (('negative', 'positive'), False,
                                                      ('accuracy',))
    assert list(task.segments) == ['train', 'dev']


def test_bad_rows_are_skipped_in_qqp_alone():
    assert [task.name for task in TASKS.values() if task.skip_bad_rows] == ['QQP']
    assert not custom_task('mood', FILES, ('text',), 'mood', None).skip_bad_rows


def test_mnli_has_two_dev_and_two_test_segments():
    task = TASKS['MNLI']
    assert task.names('train') == ['train']
    assert task.names('dev') == ['dev_matched', 'dev_mismatched']   # the first decides
    assert task.names('test') == ['test_matched', 'test_mismatched']
    assert task.segments['dev_mismatched'].file == 'dev_mismatched.tsv'
    assert [task.segments[name].submission for name in task.names('test')] == \
        ['MNLI-m.tsv', 'MNLI-mm.tsv']


def test_only_test_segments_are_submitted_and_may_lack_labels():
    for task in TASKS.values():
        for name, segment in task.segments.items():
            assert bool(segment.submission) == name.startswith('test')
            assert segment.has_labels == (segment.table.label is not None)
            if not name.startswith('test'):
                assert segment.has_labels


def test_xnli_alias():
    assert dict(TASKS['XNLI'].aliases) == {'contradictory': 'contradiction'}


@pytest.mark.parametrize('spelling,name', [
    ('MRPC', 'MRPC'), ('mrpc', 'MRPC'), ('SST-2', 'SST'), ('sst', 'SST'), ('STSB', 'STS-B'),
    ('sts-b', 'STS-B'), ('chnsenticorp', 'ChnSentiCorp'), ('rottentomatoes', 'RottenTomatoes')])
def test_spellings(spelling, name):
    assert find_task(spelling).name == name


@pytest.mark.parametrize('name,suggestion', [('MRCP', 'MRPC'), ('mrcp', 'MRPC'), ('Cola2', 'CoLA'),
                                             ('sst2', 'SST-2')])
def test_unknown_task_suggests_the_nearest(name, suggestion):
    with pytest.raises(UserError) as error:
        find_task(name)
    assert str(error.value) == (
        'no task "%s". Did you mean "%s"? The tasks are MRPC, QQP, QNLI, RTE, STS-B, CoLA, MNLI, '
        'WNLI, SST, XNLI, LCQMC, ChnSentiCorp, RottenTomatoes. Give your own files as '
        '--train_file and --dev_file' % (name, suggestion))


def test_unknown_task_without_a_suggestion():
    with pytest.raises(UserError, match='^no task "weather". The tasks are'):
        find_task('weather')


# ---- tasks on the user's own files

FILES = {'train': 'a/train.csv', 'dev': 'a/dev.csv', 'test': 'b/new.csv'}


def test_own_task():
    task = custom_task('mood', FILES, ('title', 'body'), 'mood', ('sad', 'glad'))
    assert (task.name, task.labels, task.pair, task.metrics) == \
        ('mood', ('sad', 'glad'), True, ('accuracy', 'f1'))
    assert {name: segment.file for name, segment in task.segments.items()} == FILES
    assert task.segments['dev'].table == Table(('title', 'body'), 'mood', None)
    assert task.segments['test'].table == Table(('title', 'body'), None, None)
    assert task.segments['test'].submission == 'test_predictions.tsv'
    assert not task.segments['test'].has_labels


def test_own_task_of_one_text_and_several_classes():
    task = custom_task('mood', FILES, ('text',), 'mood', ('sad', 'glad', 'angry'))
    assert (task.pair, task.metrics, task.num_outputs) == (False, ('accuracy',), 3)


def test_own_regression():
    task = custom_task('stars', FILES, ('text',), 'stars', None)
    assert task.is_regression and task.num_outputs == 1
    assert task.metrics == ('pearsonr', 'spearmanr')


def test_own_files_that_are_absent():
    task = custom_task('mood', {'train': None, 'dev': 'dev.csv', 'test': None}, ('text',), 'mood',
                       ('a', 'b'))
    assert list(task.segments) == ['dev']


def test_numbers_for_columns_mean_positions():
    task = custom_task('mood', FILES, ('0', '2'), '1', ('a', 'b'))
    assert task.segments['train'].table == Table(('0', '2'), '1', ())
    task = custom_task('mood', FILES, ('0',), 'mood', ('a', 'b'))
    assert task.segments['train'].table.header is None     # the header names the columns


def test_own_task_takes_one_or_two_columns():
    with pytest.raises(UserError) as error:
        custom_task('mood', FILES, ('a', 'b', 'c'), 'mood', ('x', 'y'))
    assert str(error.value) == ('--text_columns a,b,c: give one column, or two for pairs, '
                                'separated by a comma')


@pytest.mark.parametrize('label_column', ['mood', LabelSetColumns(('a', 'mood'))])
def test_the_label_is_no_text(label_column):
    with pytest.raises(UserError) as error:
        custom_task('x', FILES, ('text', 'mood'), label_column, ('x', 'y'), threshold=0.5)
    assert str(error.value) == ('--text_columns text,mood: mood is a column of labels: the model '
                                'would read the answer')


def test_description_for_the_checkpoint():
    assert TASKS['CoLA'].describe() == {'name': 'CoLA', 'labels': ['0', '1'], 'pair': False,
                                        'metrics': ['mcc', 'accuracy']}
    assert TASKS['STS-B'].describe()['labels'] is None
