"""Ownership of folders: by threads and processes, after kills, and without locks."""
import concurrent.futures
import errno
import fcntl
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from bert import locks
from bert.errors import UserError
from bert.flags.finetuning import FinetuneClassifierOptions
from bert.jobs.runs import run_folder

HOLDER = r'process %d on %s, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d'
OWN = '''
import sys, time
from bert import locks
with locks.own_folder(sys.argv[1]):
    print('mine', flush=True)
    time.sleep(60)
'''


def is_free(folder):
    try:
        with locks.own_folder(folder):
            return True
    except UserError:
        return False


def test_a_folder_has_one_owner(in_tmp):
    with locks.own_folder('run'):
        assert os.listdir('run') == ['.lock']
        with pytest.raises(UserError) as error, locks.own_folder('run', '--ckpt_dir'):
            pass
        holder = HOLDER % (os.getpid(), re.escape(socket.gethostname()))
        assert re.fullmatch(r'--ckpt_dir run: in use by another run \(%s\): wait for its end, or '
                            'choose another folder' % holder, str(error.value))
        with open('run/file', 'w'):
            pass
    assert os.listdir('run') == ['file'] and is_free('run')


def test_an_empty_folder_is_removed(in_tmp):
    os.mkdir('old')
    for name in ('new', 'old'):
        with pytest.raises(KeyError), locks.own_folder(name):
            raise KeyError
    assert os.listdir() == ['old'] and os.listdir('old') == []


def test_a_folder_that_cannot_be_made(in_tmp):
    (in_tmp / 'file').write_text('')
    with pytest.raises(UserError, match="^file/run: can't write: Not a directory; a part of "), \
            locks.own_folder('file/run'):
        pass


@pytest.mark.process
def test_a_kill_frees_the_folder(in_tmp):
    process = subprocess.Popen([sys.executable, '-c', OWN, 'run'], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b'mine\n'
    with pytest.raises(UserError, match=r'\(process %d on ' % process.pid), \
            locks.own_folder('run'):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert os.listdir('run') == ['.lock'] and is_free('run')


def test_exactly_one_thread_owns_a_folder(in_tmp):
    """Owners that come and go, and remove the lock file, while others try."""
    num_owners, most = [0], [0]

    def compete(_):
        wins = 0
        for _ in range(150):
            try:
                with locks.own_folder('run'):
                    num_owners[0] += 1
                    most[0] = max(most[0], num_owners[0])
                    time.sleep(0)
                    num_owners[0] -= 1
                    wins += 1
            except UserError as error:
                assert 'in use by another run' in str(error)
        return wins
    os.mkdir('run')
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(compete, range(4))) > 10
    assert most == [1] and num_owners == [0] and os.listdir('run') == []


def test_numbered_folders_that_are_chosen_at_once(in_tmp):
    options = FinetuneClassifierOptions()

    def open_and_close(_):
        with run_folder.open_run_folder(options, 'MRPC', 'x.py', []) as folder:
            time.sleep(0.01)
            return folder
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(open_and_close, range(24)))
    assert sorted(folders) == ['output_dir/MRPC-%03d' % i for i in range(1, 25)]


@pytest.mark.parametrize('number', [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(in_tmp, monkeypatch, caplog, number):
    def refuse(file, operation):
        raise OSError(number, os.strerror(number))
    monkeypatch.setattr(fcntl, 'flock', refuse)
    with caplog.at_level(logging.WARNING), locks.own_folder('run'):
        assert os.listdir('run') == ['.lock']
    assert caplog.messages == ['run: no locks in this file system: nothing keeps two runs apart '
                               'that write there']


def test_runs_of_one_and_of_several_seeds_do_not_share_a_folder(in_tmp):
    options = FinetuneClassifierOptions(output_dir='run', overwrite_output_dir=True)
    seed_options = options.replace(output_dir='run/seed-1')
    for owner, other in ((seed_options, options), (options, seed_options)):
        with run_folder.open_run_folder(owner, 'x', 'x.py', []), \
                pytest.raises(UserError, match='in use by another run'), \
                run_folder.open_run_folder(other, 'x', 'x.py', []):
            pass
    with run_folder.open_run_folder(options, 'x', 'x.py', []):
        pass


def test_a_full_disk_takes_the_lock_and_not_its_text(in_tmp, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, 'write', fail)
    with locks.own_folder('run'), \
            pytest.raises(UserError, match='^--output_dir run: in use by another run: wait for '), \
            locks.own_folder('run'):
        pass


def test_a_holder_that_does_not_say_who_it_is(in_tmp):
    (in_tmp / '.lock').write_bytes(b'\xff')
    assert locks.describe_holder('.lock') == '' == locks.describe_holder('none')
    (in_tmp / '.lock').write_text('process 1 on x\n')
    assert locks.describe_holder('.lock') == ' (process 1 on x)'
