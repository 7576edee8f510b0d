"""Fixtures for all tests."""
import os
import pathlib
import subprocess
import sys

import pytest
from support.small_disk import Disk

# MXNet reads these variables when it is imported. A second thread does not speed up tiny models,
# and slows them much when another program needs its core. If a test uses several threads, they
# sleep while they wait.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
# No test asks the real hub: nothing listens at this port.
os.environ['HF_ENDPOINT'] = 'http://127.0.0.1:9'

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


# ---- the short run and the long run

SLOW_MARKS = 'exhaustive', 'compiles', 'process', 'real_models'


def pytest_addoption(parser):
    parser.addoption('--all', action='store_true',
                     help='also the slow tests (%s), and more random cases in the others'
                     % ', '.join(SLOW_MARKS))


def _skips_slow_tests(config):
    """Whether this run skips the slow tests: not with --all, -m or names of single tests."""
    return not (config.option.all or config.option.markexpr
                or any('::' in argument for argument in config.args))


def pytest_collection_modifyitems(config, items):
    if _skips_slow_tests(config):
        quick, slow = [], []
        for item in items:
            (slow if any(map(item.get_closest_marker, SLOW_MARKS)) else quick).append(item)
        items[:] = quick
        config.hook.pytest_deselected(items=slow)


@pytest.fixture(scope='session')
def num_cases(request):
    """Function (number for the short run, number for the long run) → number of random cases."""
    return lambda short, long: long if request.config.option.all else short


@pytest.fixture(scope='session')
def data_dir():
    """The data shared by all checkouts: $BERT_TEST_DATA, or shared/data beside this checkout."""
    path = pathlib.Path(os.environ.get('BERT_TEST_DATA') or REPOSITORY.parent / 'shared' / 'data')
    if not path.is_dir():
        pytest.skip('no test data: there is no folder %s (BERT_TEST_DATA names another)' % path)
    return path.resolve()


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    """Work in an empty folder, with an empty cache and without the user's data folders."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('MXNET_HOME', str(tmp_path / 'mxnet'))
    for name in ('GLUE_DIR', 'BAIDU_ERNIE_DATA_DIR', 'SQUAD_DIR', 'NER_DIR', 'SEQLENGTH',
                 'INPUTSIZE'):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def disk(tmp_path):
    """A small tmpfs, or a limit on the length of files if the user may not mount one."""
    path = tmp_path / 'disk'
    path.mkdir()
    command = 'mount -t tmpfs -o size=1m tmpfs "%s"' % path
    is_mounted = subprocess.call(command, shell=True, stderr=subprocess.DEVNULL) == 0
    disk = Disk(path, is_mounted)
    yield disk
    disk.free()
    if is_mounted:
        subprocess.check_call(['umount', '-l', str(path)])


@pytest.fixture
def fast_int8(monkeypatch):
    """INT8 measures as twice as fast, whatever its speed for tiny networks on this machine."""
    from bert.quantization import tune
    monkeypatch.setattr(tune._Search, '_speed', lambda *arguments: 2.0)


@pytest.fixture
def torch():
    """PyTorch. It is optional, so tests that need it have the mark `torch`."""
    return pytest.importorskip('torch', reason=NO_TORCH)


@pytest.fixture
def transformers(torch):
    """The library. CI installs it along with PyTorch, so tests that need it have its mark."""
    return pytest.importorskip('transformers')


@pytest.fixture
def sentence_transformers(torch):
    """The same for sentence-transformers."""
    return pytest.importorskip('sentence_transformers')


@pytest.fixture
def client_library():
    """Function of the name of a library that talks to the server. They are optional, so tests that
    need one have the mark `clients`."""
    return lambda name: pytest.importorskip(name, reason=NO_CLIENTS)


@pytest.fixture
def horovodrun():
    """Path of the program. It is optional, so tests that need it have the mark `horovod`."""
    path = pathlib.Path(sys.executable).with_name('horovodrun')
    if not path.exists():
        pytest.skip(NO_HOROVOD)
    return str(path)


@pytest.fixture
def root():
    """Skips a test that an ordinary user can't run."""
    if os.getuid():
        pytest.skip(NO_ROOT)


@pytest.fixture
def need_cpu_for():
    """Function of a `targets.Build` that skips the test if the CPU can't run this build."""
    from bert.model.kernels import library

    def check(build):
        if library.missing_flags(build):
            pytest.skip(NO_KERNELS)
    return check


@pytest.fixture
def kernels(request, need_cpu_for):
    """The library of fused operators. Tests may change its number of threads. Skips a test with
    bfloat16 in its name if the library has no products for that dtype."""
    from bert.model.kernels import library, targets
    need_cpu_for(targets.BUILDS[-1])
    loaded_library = library.load()
    assert loaded_library, 'the kernels were not built'
    if 'bfloat16' in request.node.name and 'bfloat16' not in loaded_library.dtypes:
        pytest.skip(NO_KERNELS)
    yield loaded_library
    loaded_library.use_threads(library.number_of_threads())


# ---- BERT_NO_SKIPS=1: a skipped test fails the run, so that CI cannot pass by testing nothing.
# BERT_NO_SKIPS=but-optional: tests that lack PyTorch, Horovod, the right CPU or root's rights may
# still skip.

NO_TORCH, NO_HOROVOD = 'PyTorch is not installed', 'Horovod is not installed'
NO_KERNELS = 'there are no kernels for this CPU'
# systemd is a program of the machine, which CI's may lack
NO_SYSTEMD = 'systemd is not installed'
NO_CLIENTS = 'the clients of the server are not installed'
NO_BROWSER = 'there is no Chromium with Playwright and curl'
NO_CASES = 'there is no folder of shared cases'       # beside that of the data
NO_ROOT = 'device nodes and mounts need root'  # CI runs as root, on a new machine as a user too


def _forbidden_skips(config):
    """Reports of the skipped tests that $BERT_NO_SKIPS does not allow."""
    reporter = config.pluginmanager.get_plugin('terminalreporter')
    policy = os.environ.get('BERT_NO_SKIPS')
    skips = reporter.stats.get('skipped', []) if reporter and policy else []
    return [report for report in skips
            if policy != 'but-optional'
            or not report.longrepr[2].endswith(
                (NO_TORCH, NO_HOROVOD, NO_KERNELS, NO_ROOT, NO_CLIENTS, NO_BROWSER,
                 NO_SYSTEMD, NO_CASES))]


def pytest_sessionfinish(session):
    if _forbidden_skips(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    if _skips_slow_tests(config):
        terminalreporter.line('without the slow tests (%s): --all runs these too'
                              % ', '.join(SLOW_MARKS))
    skips = _forbidden_skips(config)
    if skips:
        terminalreporter.section('BERT_NO_SKIPS: %d skipped, none may be' % len(skips))
        for report in skips:
            terminalreporter.line('%s: %s' % (report.nodeid, report.longrepr[2]))
