"""The table of tasks. A new task is one row; a user's own files make a `Task` too."""
import dataclasses
from collections.abc import Mapping

from bert.data.text.readers import Table
from bert.errors import UserError, nearest


@dataclasses.dataclass(frozen=True)
class Segment:
    """One file of a task."""
    file: str                   # name inside the task's folder
    table: Table
    submission: str = ''        # file of the predictions, for a test segment
    labelled: bool = True


@dataclasses.dataclass(frozen=True)
class Task:
    """What a sentence or sentence-pair task is.

    labels: classes in the order of their indices; None for regression.
    metrics: names in `bert.train.metrics`; the first one picks the best checkpoint.
    segments: name → `Segment`; names begin with train, dev or test.
    folder: name of the task's folder in a data directory.
    """
    name: str
    labels: tuple[str, ...] | None
    pair: bool
    metrics: tuple[str, ...]
    segments: Mapping[str, Segment]
    folder: str = ''
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    language: str = 'en'
    # rows that the published files are known to have broken: reported, left out
    skip_bad_rows: bool = False

    @property
    def is_regression(self):
        return self.labels is None

    @property
    def num_outputs(self):
        return 1 if self.labels is None else len(self.labels)

    def names(self, kind):
        """Names of the segments of one kind: 'train', 'dev' or 'test'."""
        return [name for name in self.segments if name.startswith(kind)]

    def describe(self):
        """What a checkpoint needs to know of the task, for JSON."""
        return describe_task(self.name, self.labels, self.pair, self.metrics)


def describe_task(name, labels, pair, metrics=None):
    """The description of a task as checkpoints hold it. labels: classes in order, None for
    a regression; pair: None where it isn't known; metrics: those of its kind when left out."""
    return {'name': name, 'labels': list(labels) if labels else None, 'pair': pair,
            'metrics': list(metrics or metrics_of(labels))}


def metrics_of(labels):
    """Names of the metrics for classes, or for scores (None)."""
    if labels is None:
        return ('pearsonr', 'spearmanr')
    return ('accuracy', 'f1') if len(labels) == 2 else ('accuracy',)


def _segments(text, label, test_label=None, test='test.tsv', name='', kinds=('train', 'dev')):
    """Segments in GLUE's layout: train.tsv, dev.tsv, test.tsv with a header each."""
    text = tuple(text.split(','))
    segments = {kind: Segment(kind + '.tsv', Table(text, label)) for kind in kinds}
    segments['test'] = Segment(test, Table(text, test_label), '%s.tsv' % name,
                               labelled=test_label is not None)
    return segments


def _mnli_segments():
    text, files = ('sentence1', 'sentence2'), {}
    files['train'] = Segment('train.tsv', Table(text, 'gold_label'))
    for kind in ('matched', 'mismatched'):
        files['dev_' + kind] = Segment('dev_%s.tsv' % kind, Table(text, 'gold_label'))
    for kind, name in (('matched', 'm'), ('mismatched', 'mm')):
        files['test_' + kind] = Segment('test_%s.tsv' % kind, Table(text),
                                        'MNLI-%s.tsv' % name, labelled=False)
    return files


def _cola_segments():
    table = Table(('sentence',), 'acceptable', ('source', 'acceptable', 'mark', 'sentence'))
    return {'train': Segment('train.tsv', table), 'dev': Segment('dev.tsv', table),
            'test': Segment('test.tsv', Table(('sentence',)), 'CoLA.tsv', labelled=False)}


BINARY = ('0', '1')
ENTAILMENT = ('not_entailment', 'entailment')
INFERENCE = ('neutral', 'entailment', 'contradiction')      # the original's order
PAIR = 'sentence1,sentence2'

TASKS = {task.name: task for task in (
    Task('MRPC', BINARY, True, ('accuracy', 'f1'), folder='MRPC',
         segments=_segments('#1 String,#2 String', 'Quality', name='MRPC')),
    Task('QQP', BINARY, True, ('accuracy', 'f1'), folder='QQP', skip_bad_rows=True,
         segments=_segments('question1,question2', 'is_duplicate', name='QQP')),
    Task('QNLI', ENTAILMENT, True, ('accuracy',), folder='QNLI',
         segments=_segments('question,sentence', 'label', name='QNLI')),
    Task('RTE', ENTAILMENT, True, ('accuracy',), folder='RTE',
         segments=_segments(PAIR, 'label', name='RTE')),
    Task('STS-B', None, True, ('pearsonr', 'spearmanr'), folder='STS-B',
         segments=_segments(PAIR, 'score', name='STS-B')),
    Task('CoLA', BINARY, False, ('mcc', 'accuracy'), folder='CoLA', segments=_cola_segments()),
    Task('MNLI', INFERENCE, True, ('accuracy',), folder='MNLI', segments=_mnli_segments()),
    Task('WNLI', BINARY, True, ('accuracy',), folder='WNLI',
         segments=_segments(PAIR, 'label', name='WNLI')),
    Task('SST', BINARY, False, ('accuracy',), folder='SST-2',
         segments=_segments('sentence', 'label', name='SST-2')),
    Task('XNLI', INFERENCE, True, ('accuracy',), folder='xnli', language='zh',
         aliases={'contradictory': 'contradiction'},
         segments=_segments('text_a,text_b', 'label', 'label', name='XNLI')),
    Task('LCQMC', BINARY, True, ('accuracy',), folder='lcqmc', language='zh',
         segments=_segments('text_a,text_b', 'label', 'label', name='LCQMC')),
    Task('ChnSentiCorp', BINARY, False, ('accuracy',), folder='chnsenticorp', language='zh',
         segments=_segments('text_a', 'label', 'label', name='ChnSentiCorp')),
    Task('RottenTomatoes', ('negative', 'positive'), False, ('accuracy',),
         folder='RottenTomatoes',
         segments={kind: Segment(kind + '.tsv', Table(('sentence',), 'label'))
                   for kind in ('train', 'dev')}),
)}
# Of files of the user's own; named like no file that people keep data in
OWN_SUBMISSION = 'test_predictions.tsv'
SPELLINGS = {'SST-2': 'SST', 'STSB': 'STS-B', 'STS': 'STS-B'}


def is_task(name):
    """Whether the table has a task called `name`, in any case and spelling."""
    return name.lower() in _by_spelling()


def _by_spelling():
    known = {spelling.lower(): TASKS[spelling] for spelling in TASKS}
    known.update({spelling.lower(): TASKS[task] for spelling, task in SPELLINGS.items()})
    return known


def find_task(name):
    """The `Task` called `name`, in any case and spelling. UserError for an unknown one."""
    known = _by_spelling()
    if name.lower() not in known:
        raise UserError('no task "%s".%s The tasks are %s; your own files go with --train_file '
                        'and --dev_file' % (name, nearest(name, list(TASKS) + list(SPELLINGS)),
                                            ', '.join(TASKS)))
    return known[name.lower()]


def own_task(name, files, text_columns, label_column, labels):
    """A `Task` of the user's own files.

    files: {'train': path, 'dev': path, 'test': path}, those that there are.
    text_columns: one or two column names, or positions in files without a header.
    labels: classes in order, None for regression.
    """
    if len(text_columns) not in (1, 2):
        raise UserError('--text_columns %s: give one column, or two for pairs, separated by a '
                        'comma' % ','.join(text_columns))
    positions = all(column.isdigit() for column in list(text_columns) + [label_column])
    header = () if positions else None
    text = tuple(text_columns)
    segments = {kind: Segment(path, Table(text, label_column, header))
                for kind, path in files.items() if path and kind != 'test'}
    if files.get('test'):
        segments['test'] = Segment(files['test'], Table(text, None, header),
                                   OWN_SUBMISSION, labelled=False)
    return Task(name, labels, len(text_columns) == 2, metrics_of(labels), segments)
