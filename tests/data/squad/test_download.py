"""Sources of the SQuAD files: folders, the variable, the cache, downloads from a server."""
import hashlib
import os

import pytest
from reference.local_server import LocalServer
from reference.tiny_release import make_zip

from bert.data.squad import download as module
from bert.data.squad.download import SHA1, locate_squad
from bert.errors import UserError

DEAD_URL = 'http://127.0.0.1:9/'    # no server listens there


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, an empty current folder, and no network."""
    monkeypatch.setenv('MXNET_HOME', str(tmp_path / 'mxnet'))
    monkeypatch.setenv('MXNET_GLUON_REPO', DEAD_URL)
    monkeypatch.delenv('SQUAD_DIR', raising=False)
    monkeypatch.setattr(module, 'PUBLISHER', DEAD_URL)
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    return tmp_path / 'mxnet' / 'datasets' / 'squad'


def write_file(folder, name='dev-v1.1.json'):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text('{}')
    return str(folder / name)


def test_the_order_of_the_folders(tmp_path, cache, monkeypatch):
    cache_path = write_file(cache)
    assert locate_squad('dev') == cache_path
    write_file(tmp_path / 'here')
    assert locate_squad('dev') == './dev-v1.1.json'
    write_file(tmp_path / 'here' / 'squad')
    assert locate_squad('dev') == 'squad/dev-v1.1.json'
    variable_path = write_file(tmp_path / 'mine')
    monkeypatch.setenv('SQUAD_DIR', str(tmp_path / 'mine'))
    assert locate_squad('dev') == variable_path
    data_dir_path = write_file(tmp_path / 'given')
    assert locate_squad('dev', data_dir=str(tmp_path / 'given')) == data_dir_path


def test_names_of_segments_and_versions(tmp_path):
    for name in SHA1:
        write_file(tmp_path / 'all', name)
    names = [os.path.basename(locate_squad(segment, version_2, str(tmp_path / 'all')))
             for segment in ('train', 'dev') for version_2 in (False, True)]
    assert names == ['train-v1.1.json', 'train-v2.0.json', 'dev-v1.1.json', 'dev-v2.0.json']


def test_not_in_data_dir(tmp_path):
    with pytest.raises(UserError) as error:
        locate_squad('train', True, str(tmp_path))
    assert str(error.value) == '--data_dir %s: no train-v2.0.json in this folder' % tmp_path


def test_download_from_the_publisher(cache, monkeypatch):
    content = b'{"data": []}'
    monkeypatch.setitem(SHA1, 'dev-v1.1.json', hashlib.sha1(content).hexdigest())
    with LocalServer({'dev-v1.1.json': content}) as server:
        monkeypatch.setattr(module, 'PUBLISHER', server.url)
        path = locate_squad('dev')
        assert path == str(cache / 'dev-v1.1.json')
        assert open(path, 'rb').read() == content
        assert locate_squad('dev') == path and len(server.requests) == 1


def test_download_as_gluonnlp_does(cache, monkeypatch):
    content = b'{"data": [], "version": "1.1"}'
    archive = make_zip('dev-v1.1.json', content)
    init = module.gluonnlp.data.SQuAD.__init__

    def init_without_hash_check(self, *args, **options):
        """gluonnlp checks the hash of its download; this archive is not the published one."""
        monkeypatch.setattr('gluonnlp.data.question_answering.check_sha1', lambda *_: True)
        monkeypatch.setattr('gluonnlp.data.question_answering.download', fetch)
        init(self, *args, **options)

    def fetch(url, path, sha1_hash):
        assert url.startswith(DEAD_URL) and url.endswith('/dev-v1.1.zip')
        with open(os.path.join(path, 'archive.zip'), 'wb') as out:
            out.write(archive)
        return out.name
    monkeypatch.setattr(module.gluonnlp.data.SQuAD, '__init__', init_without_hash_check)
    path = locate_squad('dev')
    assert path == str(cache / 'dev-v1.1.json') and open(path, 'rb').read() == content


def test_nowhere(cache):
    with pytest.raises(UserError) as error:
        locate_squad('dev', version_2=True)
    message = str(error.value)
    assert message.startswith(
        'dev-v2.0.json is not in SQUAD_DIR, ./squad, . or %s, and the download failed: from its '
        'publisher: http://127.0.0.1:9/dev-v2.0.json: ' % cache)
    assert '; from gluonnlp: ' in message
    assert message.endswith(
        '. Put it in a folder and give this folder as --data_dir, or give --dev_file')


def test_a_damaged_download_is_refused(cache, monkeypatch):
    with LocalServer({'dev-v1.1.json': b'something else'}) as server:
        monkeypatch.setattr(module, 'PUBLISHER', server.url)
        with pytest.raises(UserError, match='sha1 is .*, expected e1621aae0683b346ee97'):
            locate_squad('dev')
    assert not (cache / 'dev-v1.1.json').exists()
