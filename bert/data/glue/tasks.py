"""The table of sentence tasks. A user's own files make a `Task` too.

A new task is one row here. Where its files are downloaded from is in download.py (`_sources`);
without that, --data_dir names them.
"""
import dataclasses
from collections.abc import Mapping

from bert import file_names
from bert.data.glue.labels import LabelEncoder, LabelSetEncoder
from bert.data.text.readers import Table
from bert.errors import UserError, did_you_mean

TRUNCATION = 'transformers'     # the only value of a task's 'truncation'


@dataclasses.dataclass(frozen=True)
class Segment:
    """One file of a task."""
    file: str                   # its name in the task's folder
    table: Table
    submission: str = ''        # name of the file of predictions, for a test segment

    @property
    def has_labels(self):
        """Whether the file has labels."""
        return self.table.label is not None


@dataclasses.dataclass(frozen=True)
class Task:
    """A sentence or sentence-pair task.

    labels: the classes in the order of their indices; None for regression.
    metrics: names in `bert.train.metrics`; the first metric picks the best checkpoint.
    segments: name → `Segment`; each name begins with train, dev or test.
    folder: name of the task's folder in a data directory.
    threshold: None, but where a text may have none, one or several of the labels: the least
        probability of a label that it has.
    is_ranking: a cross-encoder learns the scores. max_score: the highest score in the files; the
        lowest is 0.
    """
    name: str
    labels: tuple[str, ...] | None
    pair: bool
    metrics: tuple[str, ...]
    segments: Mapping[str, Segment]
    folder: str = ''
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    language: str = 'en'
    # for published files with broken rows: report these and leave them out
    skip_bad_rows: bool = False
    threshold: float | None = None
    is_ranking: bool = False
    max_score: float = 1.0

    @property
    def kind(self):
        """The kind of model, of `file_names.MODEL_KINDS`."""
        if self.threshold is not None:
            return file_names.MULTI_LABEL
        if self.is_ranking:
            return file_names.RANKING
        return file_names.REGRESSION if self.labels is None else file_names.CLASSIFICATION

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
        """The description of the task that a checkpoint stores as JSON."""
        description = describe_task(self.name, self.labels, self.pair, self.metrics,
                                    self.threshold)
        return dict(describe_ranking(description), truncation=TRUNCATION) if self.is_ranking else \
            description

    def label_encoder(self):
        """A function from the label of an `Example` to the label of its `Features`."""
        if self.kind == file_names.MULTI_LABEL:
            return LabelSetEncoder(self.labels)
        return LabelEncoder(self.labels, self.aliases, self.max_score if self.is_ranking else None)

    def as_ranking(self, max_score=None):
        """The same task for a cross-encoder. max_score: instead of the task's own. Raises
        `UserError` unless it has scores of pairs."""
        if not self.is_regression:
            raise UserError('--ranking: %s has classes, but a reranker learns scores: use '
                            '--task_name STS-B, or your own files' % self.name)
        if not self.pair:
            raise UserError('--ranking: a reranker reads pairs: give two --text_columns')
        return dataclasses.replace(self, is_ranking=True, max_score=max_score or self.max_score)


def describe_task(name, labels, pair, metrics=None, threshold=None):
    """The description of a task that a checkpoint stores. labels: classes in order, None for
    regression; pair: None when unknown; metrics: default: `default_metrics`; threshold: as in
    `Task`."""
    task = {'name': name, 'labels': list(labels) if labels else None, 'pair': pair,
            'metrics': list(metrics or default_metrics(labels, threshold))}
    if threshold is not None:
        task.update(kind=file_names.MULTI_LABEL, threshold=threshold)
    return task


def describe_ranking(description, activation=file_names.SIGMOID):
    """The description of a regression as that of a cross-encoder. activation: of
    `bert.file_names.SCORE_ACTIVATIONS`."""
    return dict(description, kind=file_names.RANKING, activation=activation)


def default_metrics(labels, threshold=None):
    """Names of the default metrics for these classes, or for scores (None). threshold: as in
    `Task`."""
    if threshold is not None:
        return ('micro_f1', 'macro_f1')
    if labels is None:
        return ('pearsonr', 'spearmanr')
    return ('accuracy', 'f1') if len(labels) == 2 else ('accuracy',)


def _segments(text, label, test_label=None, test='test.tsv', name='', kinds=('train', 'dev')):
    """Segments in GLUE's layout: train.tsv, dev.tsv and test.tsv, each with a header."""
    text = tuple(text.split(','))
    segments = {kind: Segment(kind + '.tsv', Table(text, label)) for kind in kinds}
    segments['test'] = Segment(test, Table(text, test_label), '%s.tsv' % name)
    return segments


def _mnli_segments():
    text, segments = ('sentence1', 'sentence2'), {}
    segments['train'] = Segment('train.tsv', Table(text, 'gold_label'))
    for kind in ('matched', 'mismatched'):
        segments['dev_' + kind] = Segment('dev_%s.tsv' % kind, Table(text, 'gold_label'))
    for kind, name in (('matched', 'm'), ('mismatched', 'mm')):
        segments['test_' + kind] = Segment('test_%s.tsv' % kind, Table(text),
                                           'MNLI-%s.tsv' % name)
    return segments


def _cola_segments():
    table = Table(('sentence',), 'acceptable', ('source', 'acceptable', 'mark', 'sentence'))
    return {'train': Segment('train.tsv', table), 'dev': Segment('dev.tsv', table),
            'test': Segment('test.tsv', Table(('sentence',)), 'CoLA.tsv')}


BINARY_LABELS = ('0', '1')
ENTAILMENT_LABELS = ('not_entailment', 'entailment')
INFERENCE_LABELS = ('neutral', 'entailment', 'contradiction')      # the original's order
PAIR_COLUMNS = 'sentence1,sentence2'

TASKS = {task.name: task for task in (
    Task('MRPC', BINARY_LABELS, True, ('accuracy', 'f1'), folder='MRPC',
         segments=_segments('#1 String,#2 String', 'Quality', name='MRPC')),
    Task('QQP', BINARY_LABELS, True, ('accuracy', 'f1'), folder='QQP', skip_bad_rows=True,
         segments=_segments('question1,question2', 'is_duplicate', name='QQP')),
    Task('QNLI', ENTAILMENT_LABELS, True, ('accuracy',), folder='QNLI',
         segments=_segments('question,sentence', 'label', name='QNLI')),
    Task('RTE', ENTAILMENT_LABELS, True, ('accuracy',), folder='RTE',
         segments=_segments(PAIR_COLUMNS, 'label', name='RTE')),
    Task('STS-B', None, True, ('pearsonr', 'spearmanr'), folder='STS-B', max_score=5.0,
         segments=_segments(PAIR_COLUMNS, 'score', name='STS-B')),
    Task('CoLA', BINARY_LABELS, False, ('mcc', 'accuracy'), folder='CoLA',
         segments=_cola_segments()),
    Task('MNLI', INFERENCE_LABELS, True, ('accuracy',), folder='MNLI', segments=_mnli_segments()),
    Task('WNLI', BINARY_LABELS, True, ('accuracy',), folder='WNLI',
         segments=_segments(PAIR_COLUMNS, 'label', name='WNLI')),
    Task('SST', BINARY_LABELS, False, ('accuracy',), folder='SST-2',
         segments=_segments('sentence', 'label', name='SST-2')),
    Task('XNLI', INFERENCE_LABELS, True, ('accuracy',), folder='xnli', language='zh',
         aliases={'contradictory': 'contradiction'},
         segments=_segments('text_a,text_b', 'label', 'label', name='XNLI')),
    Task('LCQMC', BINARY_LABELS, True, ('accuracy',), folder='lcqmc', language='zh',
         segments=_segments('text_a,text_b', 'label', 'label', name='LCQMC')),
    Task('ChnSentiCorp', BINARY_LABELS, False, ('accuracy',), folder='chnsenticorp', language='zh',
         segments=_segments('text_a', 'label', 'label', name='ChnSentiCorp')),
    Task('RottenTomatoes', ('negative', 'positive'), False, ('accuracy',),
         folder='RottenTomatoes',
         segments={kind: Segment(kind + '.tsv', Table(('sentence',), 'label'))
                   for kind in ('train', 'dev')}),
)}
# The predictions for a user's own test file; no data file is likely to have this name
CUSTOM_SUBMISSION = 'test_predictions.tsv'
SPELLINGS = {'SST-2': 'SST', 'STSB': 'STS-B', 'STS': 'STS-B'}


def is_task(name):
    """Whether the table has a task called `name`, in any case and spelling."""
    return name.lower() in _by_spelling()


def _by_spelling():
    """{name or spelling in lower case: `Task`}"""
    tasks = {name.lower(): task for name, task in TASKS.items()}
    tasks.update({spelling.lower(): TASKS[name] for spelling, name in SPELLINGS.items()})
    return tasks


def find_task(name):
    """The `Task` called `name`, in any case and spelling; `UserError` for an unknown task."""
    tasks = _by_spelling()
    if name.lower() not in tasks:
        raise UserError('no task "%s".%s The tasks are %s. Give your own files as --train_file '
                        'and --dev_file' % (name, did_you_mean(name, list(TASKS) + list(SPELLINGS)),
                                            ', '.join(TASKS)))
    return tasks[name.lower()]


def custom_task(name, files, text_columns, label_column, labels, is_test_labelled=False,
                threshold=None):
    """Make a `Task` of the user's own files.

    files: {'train': path, 'dev': path, 'test': path}, each optional.
    text_columns: names of one or two columns, or their positions in files without a header.
    label_column: name or position; `LabelSetColumns` if `threshold`, as in `Task`, is not None.
    labels: classes in order, None for regression. is_test_labelled: the test file is scored.
    """
    if len(text_columns) not in (1, 2):
        raise UserError('--text_columns %s: give one column, or two for pairs, separated by a '
                        'comma' % ','.join(text_columns))
    text = tuple(text_columns)
    label_columns = Table(text, label_column).label_columns
    for column in label_columns:
        if column in text:
            raise UserError('--text_columns %s: %s is a column of labels: the model would read the '
                            'answer' % (','.join(text), column))
    positions = all(column.isdecimal() for column in text + label_columns)
    header = () if positions else None
    segments = {kind: Segment(path, Table(text, label_column, header))
                for kind, path in files.items() if path and kind != 'test'}
    if files.get('test'):
        test_table = Table(text, label_column if is_test_labelled else None, header)
        segments['test'] = Segment(files['test'], test_table, CUSTOM_SUBMISSION)
    return Task(name, labels, len(text_columns) == 2, default_metrics(labels, threshold), segments,
                threshold=threshold)
