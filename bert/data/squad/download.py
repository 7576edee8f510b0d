"""Finds the SQuAD files in the user's folders or in the cache, or downloads them."""
import contextlib
import os
import sys

import gluonnlp

from bert import downloads, files
from bert.errors import UserError

PUBLISHER = 'https://rajpurkar.github.io/SQuAD-explorer/dataset/'
# sha1 of the published files, from gluonnlp 0.10 (data/question_answering.py)
SHA1 = {'train-v1.1.json': '1faea1252438a64f9718412a55036b786cfcc636',
        'dev-v1.1.json': 'e1621aae0683b346ee9743bd5609266ba0cc34fc',
        'train-v2.0.json': 'ceb2acdea93b9d82ab1829c7b1e03bee9e302c99',
        'dev-v2.0.json': '846082d15ed71cb5220645b9d473441e00070778'}


def locate_squad(segment, version_2=False, data_dir=None):
    """Path of train-v1.1.json, dev-v2.0.json and so on; segment: 'train' or 'dev'.

    data_dir: the folder of the files. Without it, the function searches SQUAD_DIR, ./squad, the
    current folder and the cache, then downloads. Raises `UserError` with the places and reasons
    when the file is nowhere.
    """
    name = '%s-v%s.json' % (segment, '2.0' if version_2 else '1.1')
    cache = os.path.join(files.cache_dir(), 'datasets', 'squad')
    folders = [data_dir] if data_dir else [os.environ.get('SQUAD_DIR'), 'squad', '.', cache]
    for folder in filter(None, folders):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    if data_dir:
        raise UserError('--data_dir %s: no %s in this folder' % (data_dir, name))
    return _download(name, segment, os.path.join(cache, name))


def _download(name, segment, path):
    reasons = []
    for source, fetch in (('its publisher', _fetch_published), ('gluonnlp', _fetch_gluonnlp)):
        try:
            fetch(name, segment, path)
            return path
        except Exception as error:  # gluonnlp's download lets any exception of requests through
            reason = error if isinstance(error, UserError) else downloads.network_reason(error)
            reasons.append('from %s: %s' % (source, reason))
    raise UserError('%s is not in SQUAD_DIR, ./squad, . or %s, and the download failed: %s. Put '
                    'it in a folder and give this folder as --data_dir, or give --%s_file'
                    % (name, os.path.dirname(path), '; '.join(reasons), segment))


def _fetch_published(name, segment, path):
    downloads.download(PUBLISHER + name, path, sha1=SHA1[name])


def _fetch_gluonnlp(name, segment, path):
    version = name[name.index('-v') + 2:-len('.json')]
    with contextlib.redirect_stdout(sys.stderr):    # gluonnlp prints what it downloads
        gluonnlp.data.SQuAD(segment, version, root=os.path.dirname(path))
