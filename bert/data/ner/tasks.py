"""The table of entity tasks, and where their files are looked for. A user's own files make a
`TagTask` too."""
import dataclasses
import os
from collections.abc import Mapping

from bert import files
from bert.data.ner.sentences import TagColumns
from bert.downloads import download
from bert.errors import UserError, did_you_mean

DATA_VARIABLE = 'NER_DIR'       # of the environment: the folder with the folders of the tasks
PREDICTIONS_FILE = 'test_predictions.conll'
# WNUT-17 by its authors (CC-BY 4.0)
DOWNLOAD_URL = 'https://raw.githubusercontent.com/leondz/emerging_entities_17/master/%s'


@dataclasses.dataclass(frozen=True)
class TagTask:
    """A task whose words have tags.

    segments: {'train', 'dev' or 'test': names that its file may have; of own files, the path}.
    types: of its entities, in the order of the model's classes; None: those found in train.
    folder: its name in a data directory. source: where the files can be had. downloads: {segment:
    sha256 of the file with the first of its names, at `DOWNLOAD_URL`}; empty if it is not free.
    """
    name: str
    segments: Mapping[str, tuple[str, ...]]
    types: tuple[str, ...] | None = None
    folder: str = ''
    source: str = ''
    downloads: Mapping[str, str] = dataclasses.field(default_factory=dict)
    columns: TagColumns = TagColumns()


TAG_TASKS = {task.name: task for task in (
    # the published names first
    TagTask('WNUT17', {'train': ('wnut17train.conll', 'train.conll'),
                       'dev': ('emerging.dev.conll', 'dev.conll'),
                       'test': ('emerging.test.annotated', 'test.conll')},
            ('corporation', 'creative-work', 'group', 'location', 'person', 'product'), 'wnut17',
            'https://github.com/leondz/emerging_entities_17',
            {'train': '731820e13f71af324c6b55a1575ec2ce59fbaa2a0806f8f0400b98d56cd6a7a5',
             'dev': 'e053b752b8155113ca66e7db08af5f2f5f43ab993694e4774f1ec5bad42312d8',
             'test': '2aa79b764e56ec9264a1b30fdd9b70195bd00ff400b62edd8f399d5f13c178f0'}),
    TagTask('CoNLL2003', {'train': ('eng.train', 'train.txt'), 'dev': ('eng.testa', 'valid.txt'),
                          'test': ('eng.testb', 'test.txt')},
            ('LOC', 'MISC', 'ORG', 'PER'), 'conll2003',
            'https://www.clips.uantwerpen.be/conll2003/ner'),
)}


def find_tag_task(name):
    """The `TagTask` called `name`, in any case, with or without a hyphen. Raises `UserError`."""
    tasks = {_spelling(key): task for key, task in TAG_TASKS.items()}
    if _spelling(name) not in tasks:
        raise UserError('no task "%s".%s The tasks are %s. Give your own files as --train_file '
                        'and --dev_file' % (name, did_you_mean(name, list(TAG_TASKS)),
                                            ', '.join(TAG_TASKS)))
    return tasks[_spelling(name)]


def is_tag_task(name):
    """Whether the table has a task called `name`."""
    return _spelling(name) in map(_spelling, TAG_TASKS)


def _spelling(name):
    return name.lower().replace('-', '').replace('_', '')


def locate_tag_task(task, data_dir=None):
    """{segment: path} of the files of a `TagTask` of the table.

    data_dir: the task's folder or its parent; default: NER_DIR, ./ner_data, the current folder, the
    cache, a download. Raises `UserError` with the places, if train and dev are in none of them.
    """
    cache = os.path.join(files.cache_dir(), 'datasets')
    parents = [data_dir] if data_dir else [
        *filter(None, [os.environ.get(DATA_VARIABLE)]), 'ner_data', '.', cache]
    folders = [folder for parent in parents for folder in (os.path.join(parent, task.folder),
                                                           parent)]
    for folder in folders:
        paths = {segment: path for segment, names in task.segments.items()
                 for path in [_first_file(folder, names)] if path}
        if paths.keys() & {'train', 'dev'}:
            return paths
    problem = '%s: no files in %s; expected %s' % (task.name, ', '.join(folders), ', '.join(
        ' or '.join(names) for names in task.segments.values()))
    if data_dir or not task.downloads:
        raise UserError('%s. Get the files from %s and give their folder as --data_dir'
                        % (problem, task.source))
    try:
        return {segment: download(DOWNLOAD_URL % names[0],
                                  os.path.join(cache, task.folder, names[0]),
                                  sha256=task.downloads[segment])
                for segment, names in task.segments.items()}
    except UserError as error:
        raise UserError('%s, and the download failed: %s' % (problem, error)) from None


def _first_file(folder, names):
    paths = (os.path.join(folder, name) for name in names)
    return next(filter(os.path.isfile, paths), None)
