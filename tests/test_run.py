"""`./run` on machines that lack something. Its Python and pip are stubs that record their
arguments, so no test installs anything."""
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]

# The programs of the system that `run` uses. Its PATH holds only these and the stubs.
TOOLS = ('cat chmod cp dirname env flock grep head ls mkdir mktemp ln readlink rm sed sh sha256sum '
         'sleep sort tail uname').split()

# A Python that executes `-m venv` and `-m pip` itself and passes `-c` to the real Python, after
# PRELUDE. It appends the arguments of pip to the file CALLS.
PYTHON_STUB = r'''#!/bin/sh
case "$1 $2" in
    '-m venv')
        mkdir -p "$3/bin"
        ln -s HERE "$3/bin/python" ;;
    '-m pip')
        echo "pip $*" >> CALLS
        [ ! -e SLOW ] || sleep "$(cat SLOW)"
        [ ! -e BROKEN ] || { cat BROKEN; exit 1; }
        case "$*" in
            *mxnet==*) mkdir -p lib/python3/site-packages/mxnet-1.9.1.dist-info ;;
            *' download '*) cp HOROVOD "$9/horovod-0.28.1.tar.gz" ;;
            *' wheel '*)
                cat "$9"/third_party/flatbuffers/include/flatbuffers/* "$9"/cmake/*/* >> CALLS
                : > "$8/horovod-0.28.1-py3.whl" ;;
            *horovod-0.28.1*)
                printf '#!/bin/sh\necho horovodrun "$@"\n' > bin/horovodrun
                chmod +x bin/horovodrun ;;
        esac
        for program in ruff pytest; do
            { echo '#!/bin/sh'; echo "echo $program \"\$@\""; echo "exit \$(cat STATUS.$program)"
            } > "${0%/*}/$program"
            chmod +x "${0%/*}/$program"
        done ;;
    -c\ *)
        code=$2
        shift 2
        exec REAL -I -S -c 'import sys
sys.modules.update(mxnet=sys, gluonnlp=sys)
PRELUDE
'"$code" "$@" ;;
    *)
        exec REAL "$@" ;;
esac
'''

KERNELS = 'bert/model/kernels'
VERSION = 'sys.version_info = (3, %d, 0, "final", 0)'
COMPLETE_PRELUDE = VERSION % 11 + '''
import sysconfig
sysconfig.get_config_var = lambda name: "INCLUDE"
sys.modules.update(ensurepip=sys, venv=sys)'''
NO_VENV = 'sys.modules["ensurepip"] = None'
NO_HEADERS = 'sysconfig.get_config_var = lambda name: "/nowhere"'


class Machine:
    """A machine with this repository's `run` and a small package in `repo`, and programs in
    `bin`. The name of `repo` has a space, because paths of users may have one."""

    def __init__(self, folder):
        self.folder, self.repo, self.bin = folder, folder / 'my repo', folder / 'bin'
        (self.repo / 'bert' / 'export').mkdir(parents=True)
        self.bin.mkdir()
        for name in TOOLS:
            (self.bin / name).symlink_to(shutil.which(name))
        for name in ('run', 'setup.py', 'pyproject.toml', 'bert/_compat.py',
                     'bert/bert_mxnet_compat.pth'):
            shutil.copy2(REPOSITORY / name, self.repo / name)
        shutil.copytree(REPOSITORY / 'constraints', self.repo / 'constraints')
        shutil.copytree(REPOSITORY / KERNELS, self.repo / KERNELS,
                        ignore=shutil.ignore_patterns('*.so', '__pycache__'))
        script = ('"""%s"""\nimport os, sys\n\nif __name__ == \'__main__\':\n'
                  '    print(os.path.basename(__file__), sys.argv[1:], os.getcwd())\n')
        (self.repo / 'bert' / 'models.py').write_text(script % 'Lists what can be had.')
        (self.repo / 'bert' / 'export' / 'export.py').write_text(script % 'Writes a model.')
        (self.repo / 'bert' / 'library.py').write_text('"""No script."""\n')
        (self.repo / 'bert' / 'export' / 'symbol_worker.py').write_text(
            script % 'Started by a script, and in no list.')
        (self.repo / 'tests').mkdir()
        (folder / 'Python.h').touch()
        self.set_status('ruff', 0)
        self.set_status('pytest', 0)
        self.add_program('g++', '#!/bin/sh\n')
        self.add_program('make', '#!/bin/sh\n')
        self.add_python()

    def add_program(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def add_python(self, prelude='', name='python3'):
        """Add a Python that runs `prelude` first."""
        path = str(self.bin / name)
        prelude = '\n'.join([COMPLETE_PRELUDE, prelude, 'sys.executable = "%s"' % path])
        text = PYTHON_STUB.replace('PRELUDE', prelude).replace('REAL', sys.executable)
        text = text.replace('HERE', shlex.quote(path))
        for file in ('CALLS', 'SLOW', 'BROKEN', 'STATUS', 'HOROVOD'):
            text = text.replace(file, shlex.quote(str(self.folder / file)))
        self.add_program(name, text.replace('INCLUDE', str(self.folder)))

    def set_status(self, program, status):
        (self.folder / ('STATUS.' + program)).write_text(str(status))

    def start(self, *arguments, folder=None, **environment):
        return subprocess.Popen(
            [str(self.repo / 'run'), *arguments], cwd=folder or self.folder,
            env={'PATH': str(self.bin), **environment}, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *arguments, **options):
        """(exit status, stdout, stderr) of `./run arguments`."""
        process = self.start(*arguments, **options)
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors

    def pip_calls(self):
        calls = self.folder / 'CALLS'
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


SETUP_MESSAGE = (
    'setting up .venv (once, about 2 minutes) …\n'
    '  1 of 2: MXNet 1.9.1 …\n'
    '  2 of 2: this package, the packages it needs, and its CPU kernels …\n')


def refusal(machine, **environment):
    """The single error line of a `run` that lacks something. It must have created nothing."""
    status, output, errors = machine.run('models', **environment)
    assert (status, output) == (1, '')
    assert errors.count('\n') == 1
    assert machine.pip_calls() == [] and not (machine.repo / '.venv').exists()
    return errors.strip()


# ---- what is missing

@pytest.mark.parametrize('prelude, missing_program, message', [
    (NO_VENV, None,
     "error: no venv module in python3 (needed to build gluonnlp): "
     "install with 'apt-get install python3.11-venv'"),
    (NO_HEADERS, None,
     "error: no Python.h (needed to build gluonnlp): "
     "install with 'apt-get install python3.11-dev'"),
    ('', 'g++',
     "error: no C++ compiler (needed to build gluonnlp): install with 'apt-get install g++'"),
    (NO_VENV + '\n' + NO_HEADERS, 'g++',
     "error: no venv module in python3, no Python.h, no C++ compiler (needed to build gluonnlp): "
     "install with 'apt-get install python3.11-venv python3.11-dev g++'"),
    ('', 'flock', "error: no flock: install it with 'apt-get install util-linux'"),
])
def test_a_missing_package(machine, prelude, missing_program, message):
    machine.add_python(prelude)
    if missing_program:
        (machine.bin / missing_program).unlink()
    assert refusal(machine) == message


def test_another_compiler(machine):
    (machine.bin / 'g++').unlink()
    machine.add_program('clang++', '#!/bin/sh\n')
    assert machine.run('models', CXX='clang++')[0] == 0


@pytest.mark.parametrize('name', ['Linux aarch64', 'Darwin arm64', 'Darwin x86_64'])
def test_another_machine(machine, name):
    system, architecture = name.split()
    (machine.bin / 'uname').unlink()
    machine.add_program('uname', '#!/bin/sh\n[ $1 = -m ] && echo %s || echo %s\n'
                        % (architecture, system))
    assert refusal(machine) == (
        'error: MXNet 1.9.1 needs Linux x86_64, but this is %s: enter a container with '
        '\'docker run -it --platform linux/amd64 -v "%s":/bert -w /bert python:3.13 bash\''
        % (name, machine.repo))


@pytest.mark.parametrize('minor', [8, 9, 15])
def test_another_python(machine, minor):
    machine.add_python(VERSION % minor)
    assert refusal(machine) == (
        "error: needs Python 3.10 to 3.14, but python3 is 3.%d: install another with "
        "'apt-get install pipx && pipx run uv python install 3.13', then "
        "'PYTHON=~/.local/bin/python3.13 ./run …'"
        % minor)


def test_no_python(machine):
    (machine.bin / 'python3').unlink()
    assert refusal(machine) == (
        "error: no python3: install it with 'apt-get install python3 python3-venv python3-dev g++'")


@pytest.mark.parametrize('minor', [10, 12, 13, 14])
def test_a_python_of_another_name_is_found(machine, minor):
    machine.add_python(VERSION % 9)
    machine.add_python(VERSION % 9, name='python3.11')      # a wrong name, as with pyenv's shims
    machine.add_python(VERSION % minor, name='python3.%d' % minor)
    code = 'import sys; print(sys.version_info[1])'
    assert machine.run('python', '-c', code) == (0, '%d\n' % minor, SETUP_MESSAGE)


def test_the_environment_variable_chooses_python(machine):
    machine.add_python(VERSION % 10, name='my python')
    code = 'import sys; print(sys.version_info[1])'
    assert machine.run('python', '-c', code, PYTHON=str(machine.bin / 'my python'))[1] == '10\n'


def test_the_environment_variable_names_an_unsupported_python(machine):
    machine.add_python(VERSION % 15, name='new')
    assert refusal(machine, PYTHON='new') == (
        "error: PYTHON=new is not Python 3.10 to 3.14: name another one with "
        "'PYTHON=/path/to/python3.13 ./run …'")


def test_an_unsupported_python_beside_a_ready_environment(machine):
    machine.run('models')
    status, output, errors = machine.run('models', PYTHON='/nowhere/python3.13')
    assert (status, output, errors.count('\n')) == (1, '', 1)
    assert errors.startswith('error: PYTHON=/nowhere/python3.13 is not Python 3.10 to 3.14: ')


def test_a_failed_setup_ends_horovodrun(machine):
    (machine.bin / 'python3').unlink()
    assert machine.run('horovodrun', '-np', '2') == (
        1, '', "error: no python3: install it with "
               "'apt-get install python3 python3-venv python3-dev g++'\n")


def test_pip_fails(machine):
    (machine.folder / 'BROKEN').write_text(
        ''.join('line %d\n' % n for n in range(40)) + 'ERROR: no matching distribution\n')
    status, output, errors = machine.run('models')
    log = machine.repo / '.venv' / 'pip.log'
    assert (status, output) == (1, '')
    assert errors.splitlines()[2:] == ['line %d' % n for n in range(26, 40)] + [
        'ERROR: no matching distribution',
        'error: pip could not install bert: its whole output is in %s' % log]
    assert log.read_text().startswith('line 0\n')
    (machine.folder / 'BROKEN').unlink()
    assert machine.run('models')[0] == 0


@pytest.mark.parametrize('problem, message', [
    ('libgomp.so.1: cannot open shared object file: No such file or directory',
     "error: MXNet needs two system libraries: "
     "install them with 'apt-get install libgomp1 libquadmath0'"),
    ('no symbol', 'error: MXNet is installed, but cannot be imported: OSError: no symbol'),
])
def test_mxnet_cannot_be_imported(machine, problem, message):
    machine.add_python('class Loader:\n'
                       '    def find_spec(name, path=None, target=None):\n'
                       '        if name == "mxnet": raise OSError("%s")\n'
                       'del sys.modules["mxnet"]; sys.meta_path.insert(0, Loader)' % problem)
    status, output, errors = machine.run('models')
    assert (status, output, errors) == (1, '', SETUP_MESSAGE + message + '\n')


# ---- making the environment

def test_first_and_second_call(machine):
    models = 'models.py [] %s\n' % machine.folder
    assert machine.run('models') == (0, models, SETUP_MESSAGE)
    assert machine.run('models') == (0, models, '')
    assert machine.pip_calls() == [
        'pip -m pip install --disable-pip-version-check --no-deps mxnet==1.9.1',
        'pip -m pip install --disable-pip-version-check --use-pep517 --prefer-binary --editable %s'
        % machine.repo]


def test_the_lock_of_its_python_is_installed(machine):
    for minor in (11, 13):
        machine.add_python(VERSION % minor)
        shutil.rmtree(str(machine.repo / '.venv'), ignore_errors=True)
        machine.run('models')
        assert (machine.repo / '.venv' / 'constraints.txt').read_text() == \
            (REPOSITORY / 'constraints' / ('3.%d.txt' % minor)).read_text()


def test_an_mxnet_for_a_gpu_stays(machine):
    machine.run('models')
    packages = machine.repo / '.venv' / 'lib' / 'python3' / 'site-packages'
    (packages / 'mxnet-1.9.1.dist-info').rename(packages / 'mxnet_cu112-1.9.1.dist-info')
    with open(machine.repo / 'setup.py', 'a') as file:
        file.write('\n')
    machine.run('models')
    assert ['mxnet==' in call for call in machine.pip_calls()] == [True, False, False]


def test_tests_install_their_extra_once(machine):
    for _ in range(2):
        assert machine.run('tests')[0] == 0
    assert machine.run('models')[0] == 0
    assert [call.split()[-1] for call in machine.pip_calls()] == [
        'mxnet==1.9.1', 'repo[tests]']


def test_the_tests_extra_comes_later(machine):
    machine.run('models')
    assert machine.run('tests') == (
        0, 'ruff check --quiet {0}\npytest -c {0}/pyproject.toml --rootdir {0} '
           '-n 2 --dist loadfile --max-worker-restart 0 {0}/tests\n'.format(machine.repo),
        'updating .venv (about a minute) …\n')
    assert machine.pip_calls()[2:] == [     # so the kernels are not compiled again
        'pip -m pip install --disable-pip-version-check --no-deps --requirement constraints.txt']


def test_the_server_installs_its_packages_once(machine):
    shutil.copy2(machine.repo / 'bert' / 'models.py', machine.repo / 'bert' / 'serve.py')
    machine.run('models')
    for name in ('serve.py', 'serve', 'bert/serve.py'):
        assert machine.run(name, '--port', '1')[:2] == (
            0, "serve.py ['--port', '1'] %s\n" % machine.folder)
    assert machine.pip_calls()[2:] == [
        'pip -m pip install --disable-pip-version-check fastapi fastapi-offline httptools orjson '
        'prometheus_client pydantic uvicorn uvloop']


def test_the_documentation_installs_its_packages_once(machine):
    machine.run('models')
    for _ in range(2):
        machine.run('docs')     # there is no Sphinx on this machine
    assert machine.pip_calls()[2:] == [
        'pip -m pip install --disable-pip-version-check furo sphinx']


def test_the_server_comes_first(machine):
    shutil.copy2(machine.repo / 'bert' / 'models.py', machine.repo / 'bert' / 'serve.py')
    assert machine.run('serve')[0] == 0
    assert [call.split()[-1] for call in machine.pip_calls()] == ['mxnet==1.9.1', 'repo[serve]']


@pytest.mark.parametrize('name', ['setup.py', 'pyproject.toml', 'constraints/3.13.txt',
                                  'bert/bert_mxnet_compat.pth',
                                  KERNELS + '/targets.py', KERNELS + '/source/packing.h',
                                  KERNELS + '/source/encoder.cc'])
def test_changed_files_update_the_environment(machine, name):
    machine.run('models')
    (machine.repo / '.venv' / 'mine').touch()
    with open(machine.repo / name, 'a') as file:
        file.write('\n')
    assert machine.run('models')[2] == 'updating .venv (about a minute) …\n'
    assert machine.run('models')[2] == ''
    assert len(machine.pip_calls()) == 3
    assert (machine.repo / '.venv' / 'mine').exists()


def test_another_python_makes_a_new_environment(machine):
    machine.run('models')
    machine.add_python(VERSION % 13, name='python3.13')
    new_python, old_python = str(machine.bin / 'python3.13'), machine.bin / 'python3'
    for messages in (rebuild_message(old_python, new_python) + SETUP_MESSAGE, ''):
        status, output, errors = machine.run('python', '-c', 'print(sys.version_info[1])',
                                             PYTHON=new_python)
        assert (status, output, errors) == (0, '13\n', messages)


def rebuild_message(old_python, new_python):
    return '.venv was made by %s: making it again with %s …\n' % (old_python, new_python)


def test_another_python_of_the_system(machine):
    machine.run('models')
    (machine.bin / 'python3').rename(machine.bin / 'python3.11')
    machine.add_python(VERSION % 13, name='python3.13')
    (machine.bin / 'python3').symlink_to('python3.13')
    assert machine.run('models')[2] == rebuild_message(
        machine.bin / 'python3', 'python3') + SETUP_MESSAGE


def remove_stamp(venv):
    (venv / 'ready').unlink()


def empty_folder(venv):
    shutil.rmtree(str(venv))
    venv.mkdir()


def remove_python(venv):
    (venv / 'bin' / 'python').unlink()


def break_python_link(venv):
    (venv / 'bin' / 'python').unlink()
    (venv / 'bin' / 'python').symlink_to('/nowhere/python3')


def cut_stamp(venv):
    (venv / 'ready').write_text((venv / 'ready').read_text()[:10])


@pytest.mark.parametrize('damage', [
    remove_stamp, empty_folder, remove_python, break_python_link, cut_stamp])
def test_a_damaged_environment_is_rebuilt(machine, damage):
    machine.run('models')
    venv = machine.repo / '.venv'
    (venv / 'left behind').touch()
    damage(venv)
    status, output, errors = machine.run('models')
    assert (status, output) == (0, 'models.py [] %s\n' % machine.folder)
    assert errors.removeprefix(rebuild_message(machine.bin / 'python3', 'python3')) == SETUP_MESSAGE
    assert not (venv / 'left behind').exists()


def test_a_copied_repository_makes_its_own_environment(machine):
    machine.run('models')
    shutil.copytree(str(machine.repo), str(machine.folder / 'copy'), symlinks=True)
    machine.repo = machine.folder / 'copy'
    assert machine.run('models')[2] == SETUP_MESSAGE
    assert machine.pip_calls()[-1].endswith('--editable %s' % machine.repo)


def test_killed_while_pip_works(machine):
    (machine.folder / 'SLOW').write_text('60')
    process = machine.start('models')
    while not machine.pip_calls() and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (machine.folder / 'SLOW').unlink()
    assert machine.run('models') == (0, 'models.py [] %s\n' % machine.folder, SETUP_MESSAGE)


def test_two_concurrent_first_calls(machine):
    (machine.folder / 'SLOW').write_text('0.5')
    processes = [machine.start('models') for _ in range(2)]
    errors = sorted(process.communicate(timeout=60)[1] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert errors == [SETUP_MESSAGE, 'waiting for another ./run to set up .venv …\n']
    assert len(machine.pip_calls()) == 2


# ---- Horovod

BUILD_MESSAGE = 'building Horovod (once, about 2 minutes) …\n'


@pytest.fixture
def temporary_folder(machine):
    """Path of the machine's folder for temporary files. pip downloads a source of Horovod that
    has the lines that `run` changes."""
    source = machine.folder / 'horovod-0.28.1'
    for name, text in (('third_party/flatbuffers/include/flatbuffers/stl_emulation.h',
                        '  pointer const data_;\n  const size_type count_;\n'),
                       ('cmake/Modules/FindMxnet.cmake', HOROVOD_PARTS_PATHS)):
        (source / name).parent.mkdir(parents=True)
        (source / name).write_text(text)
    with tarfile.open(str(machine.folder / 'HOROVOD'), 'w:gz') as file:
        file.add(str(source), source.name)
    (machine.folder / 'temporary').mkdir()
    return machine.folder / 'temporary'


HOROVOD_PARTS_PATHS = r'''string(REGEX REPLACE "\n" ";" Mxnet_OUTPUT "${Mxnet_OUTPUT}")
    string(REPLACE " " ";" Mxnet_LIBRARIES "${Mxnet_LIBRARIES}")
'''


def test_horovod_is_built_once(machine, temporary_folder):
    for errors in (SETUP_MESSAGE + BUILD_MESSAGE, ''):
        assert machine.run('horovodrun', '-np', '2', TMPDIR=str(temporary_folder)) == (
            0, 'horovodrun -np 2\n', errors)
    calls = machine.pip_calls()[2:]
    tools = calls[0].split()[5]
    assert tools.startswith(str(temporary_folder)) and not os.listdir(temporary_folder)
    wheel = '%s/horovod-0.28.1-py3.whl --disable-pip-version-check' % tools
    assert calls == [
        'pip -m pip install --target %s cmake==3.31.6 setuptools==75.3.2 packaging==24.2 '
        '--disable-pip-version-check' % tools,
        'pip -m pip download --no-build-isolation --no-deps --no-binary :all: --dest %s '
        'horovod==0.28.1 --disable-pip-version-check' % tools,
        'pip -m pip wheel --no-build-isolation --no-deps --no-cache-dir --wheel-dir {0} '
        '{0}/horovod-0.28.1 --disable-pip-version-check'.format(tools),
        # the lines that `run` changes, afterwards
        '  pointer data_;', '  size_type count_;', HOROVOD_PARTS_PATHS.splitlines()[0],
        'pip -m pip install --no-deps --force-reinstall ' + wheel,
        'pip -m pip install --constraint constraints.txt ' + wheel]


def test_horovod_is_built_again_for_another_mxnet(machine, temporary_folder):
    machine.run('horovodrun')
    packages = machine.repo / '.venv' / 'lib' / 'python3' / 'site-packages'
    (packages / 'mxnet-1.9.1.dist-info').rename(packages / 'mxnet_cu112-1.9.1.dist-info')
    for errors in (BUILD_MESSAGE, ''):
        assert machine.run('horovodrun') == (0, 'horovodrun\n', errors)


@pytest.mark.parametrize('missing_programs, message', [
    (['make'], "no make (needed to build Horovod): install with 'apt-get install make'"),
    (['make', 'g++'], "no make, no C++ compiler (needed to build Horovod): "
                      "install with 'apt-get install make g++'"),
])
def test_packages_that_horovod_lacks(ready, missing_programs, message):
    for name in missing_programs:
        (ready.bin / name).unlink()
    calls = ready.pip_calls()
    assert ready.run('horovodrun') == (1, '', 'error: %s\n' % message)
    assert ready.pip_calls() == calls


def test_horovod_can_not_be_built(ready, temporary_folder):
    (ready.folder / 'BROKEN').write_text('CMake Error\n')
    log = ready.repo / '.venv' / 'pip.log'
    assert ready.run('horovodrun') == (
        1, '', BUILD_MESSAGE + 'CMake Error\nerror: pip could not build Horovod: its whole output '
        'is in %s\n' % log)
    (ready.folder / 'BROKEN').unlink()
    assert ready.run('horovodrun') == (0, 'horovodrun\n', BUILD_MESSAGE)


# ---- running

@pytest.fixture
def ready(machine):
    machine.run('tests')
    return machine


@pytest.mark.parametrize('name, file', [
    ('models', 'models.py'), ('models.py', 'models.py'), ('bert/models.py', 'models.py'),
    ('export/export', 'export.py'), ('export/export.py', 'export.py')])
def test_a_script_by_its_name(ready, name, file):
    assert ready.run(name, '--task_name', 'a b', '*') == (
        0, "%s ['--task_name', 'a b', '*'] %s\n" % (file, ready.folder), '')


def test_relative_paths_mean_the_callers_folder(ready):
    (ready.folder / 'here').mkdir()
    (ready.folder / 'here' / 'file').write_text('found\n')
    assert ready.run('python', '-c', 'print(open("file").read())',
                     folder=ready.folder / 'here') == (0, 'found\n\n', '')
    assert ready.run('cat', 'file', folder=ready.folder / 'here') == (0, 'found\n', '')


def test_called_through_a_link(ready):
    (ready.folder / 'link').symlink_to(ready.repo / 'run')
    process = subprocess.run([str(ready.folder / 'link'), 'models'], env={'PATH': str(ready.bin)},
                             stdout=subprocess.PIPE, text=True, cwd=ready.folder)
    assert process.stdout == 'models.py [] %s\n' % ready.folder


def test_exit_status_and_signals(ready):
    assert ready.run('python', '-c', 'sys.exit(7)')[0] == 7
    assert ready.run('python', '-c', 'import os; os.kill(os.getpid(), 15)')[0] == -signal.SIGTERM


def test_programs_of_the_environment_come_first(ready):
    ready.add_program('ruff', '#!/bin/sh\necho another ruff\n')
    assert ready.run('ruff', 'check') == (0, 'ruff check\n', '')
    code = 'import os; print(os.environ["VIRTUAL_ENV"])'
    assert ready.run('python', '-c', code)[1] == '%s/.venv\n' % ready.repo


@pytest.mark.parametrize('name, hint', [
    ('model', ' Did you mean models.py?'),
    ('export', ' Did you mean export/export.py?'),      # also a word of the shell
    ('library.py', ''),
    ('pythn', ' Did you mean python or pytest?'),
    ('test', ' Did you mean tests or pytest?'),
    ('xyzzy', ''),
])
def test_an_unknown_name(ready, name, hint):
    assert ready.run(name) == (
        2, '', "error: there is no script or program %s.%s './run' lists the scripts.\n"
        % (name, hint))


def test_usage(machine):
    status, output, errors = machine.run()
    assert (status, output) == (2, '')
    assert errors.endswith('scripts:\n'
                           '  export/export.py               Writes a model.\n'
                           '  models.py                      Lists what can be had.\n')
    assert machine.run('--help') == (0, errors, '')
    assert machine.pip_calls() == []


@pytest.mark.parametrize('arguments, tail', [
    (['-x', '-k', 'squad'], '-n 2 --dist loadfile --max-worker-restart 0 {0}/tests -x -k squad'),
    (['-n', '4'], '{0}/tests -n 4'),
    (['--pdb'], '{0}/tests --pdb'),
    (['--all'], '-n 2 --dist loadfile --max-worker-restart 0 {0}/tests --all'),
    (['my repo/tests/test_run.py::test_usage'], 'my repo/tests/test_run.py::test_usage'),
    (['my repo/tests', '-x'], 'my repo/tests -x'),
])
def test_arguments_of_tests(ready, arguments, tail):
    (ready.repo / 'tests' / 'test_run.py').touch()
    pytest_line = ready.run('tests', *arguments)[1].splitlines()[1]
    assert pytest_line == ('pytest -c {0}/pyproject.toml --rootdir {0} ' + tail).format(ready.repo)


@pytest.mark.parametrize('ruff, pytest_, status', [(0, 0, 0), (1, 0, 1), (0, 3, 3), (1, 3, 3)])
def test_status_of_tests(ready, ruff, pytest_, status):
    ready.set_status('ruff', ruff)
    ready.set_status('pytest', pytest_)
    code, output, errors = ready.run('tests')
    assert (code, errors) == (status, '')
    assert [line.split()[0] for line in output.splitlines()] == ['ruff', 'pytest']
