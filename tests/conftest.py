"""Fixtures for all tests."""
import os
import pathlib
import sys

import pytest

# Read by MXNet when it is imported. Tiny models gain nothing from a second thread, and lose much
# when something else wants the core it waits on; where a test has several, they wait asleep.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


# ---- the short run and the long one

SLOW_MARKS = 'exhaustive', 'compiles', 'process', 'real_models'


def pytest_addoption(parser):
    parser.addoption('--all', action='store_true',
                     help='also the slow tests (%s), and more random cases in the others'
                     % ', '.join(SLOW_MARKS))


def _leaves_out_slow_tests(config):
    """Not where the command line itself says which tests it wants, by -m or by their names."""
    return not (config.option.all or config.option.markexpr
                or any('::' in argument for argument in config.args))


def pytest_collection_modifyitems(config, items):
    if _leaves_out_slow_tests(config):
        kept, slow = [], []
        for item in items:
            (slow if any(map(item.get_closest_marker, SLOW_MARKS)) else kept).append(item)
        items[:] = kept
        config.hook.pytest_deselected(items=slow)


@pytest.fixture(scope='session')
def number_of(request):
    """Function: how many random cases the short run tries, how many the long one → the number."""
    return lambda short, long: long if request.config.option.all else short


@pytest.fixture(scope='session')
def data_dir():
    """The data shared by the checkouts: $BERT_TEST_DATA, or shared/data beside this one."""
    path = pathlib.Path(os.environ.get('BERT_TEST_DATA') or REPOSITORY.parent / 'shared' / 'data')
    if not path.is_dir():
        pytest.skip('no test data: there is no folder %s (BERT_TEST_DATA names another)' % path)
    return path.resolve()


@pytest.fixture
def fast(monkeypatch):
    """INT8 counts as fast, whatever this machine does with so small a network."""
    from bert.quantization import tune
    monkeypatch.setattr(tune._Search, '_speed', lambda *arguments: 2.0)


@pytest.fixture
def torch():
    """PyTorch, which is optional: the tests that need it are marked `torch`."""
    return pytest.importorskip('torch', reason=NO_TORCH)


@pytest.fixture
def horovodrun():
    """Path of the program, which is optional: the tests that need it are marked `horovod`."""
    path = pathlib.Path(sys.executable).with_name('horovodrun')
    if not path.exists():
        pytest.skip(NO_HOROVOD)
    return str(path)


@pytest.fixture
def need_cpu_for():
    """Function of a `targets.Build`: skips where the CPU can't run it."""
    from bert.model.kernels import library

    def check(build):
        if library.missing_flags(build):
            pytest.skip(NO_KERNELS)
    return check


@pytest.fixture
def kernels(request, need_cpu_for):
    """The library of fused operators, whose tests use as many threads as they like. A test with
    bfloat16 in its name is skipped where the library has no products of it."""
    from bert.model.kernels import library, targets
    need_cpu_for(targets.BUILDS[-1])
    found = library.load()
    assert found, 'the kernels were not built'
    if 'bfloat16' in request.node.name and 'bfloat16' not in found.dtypes:
        pytest.skip(NO_KERNELS)
    yield found
    found.use_threads(library.number_of_threads())


# ---- BERT_NO_SKIPS=1: a skipped test fails the run, so that CI cannot pass by testing nothing.
# BERT_NO_SKIPS=but-optional: those that PyTorch, Horovod or the CPU is missing for may be skipped.

NO_TORCH, NO_HOROVOD = 'PyTorch is not installed', 'Horovod is not installed'
NO_KERNELS = 'there are no kernels for this CPU'


def _skips(config):
    reporter = config.pluginmanager.get_plugin('terminalreporter')
    wanted = os.environ.get('BERT_NO_SKIPS')
    skips = reporter.stats.get('skipped', []) if reporter and wanted else []
    return [report for report in skips
            if wanted != 'but-optional'
            or not report.longrepr[2].endswith((NO_TORCH, NO_HOROVOD, NO_KERNELS))]


def pytest_sessionfinish(session):
    if _skips(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    if _leaves_out_slow_tests(config):
        terminalreporter.line('without the slow tests (%s): --all runs these too'
                              % ', '.join(SLOW_MARKS))
    skips = _skips(config)
    if skips:
        terminalreporter.section('BERT_NO_SKIPS: %d skipped, none may be' % len(skips))
        for report in skips:
            terminalreporter.line('%s: %s' % (report.nodeid, report.longrepr[2]))
