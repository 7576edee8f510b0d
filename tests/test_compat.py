"""The repairs of MXNet and gluonnlp apply automatically, whatever is imported first. They affect
only these two packages. Each repair is needed: without it something breaks."""
import ast
import functools
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import warnings

import numpy as np
import pytest
from support import tiny
from support.processes import spawn

from bert import _compat, _late_imports

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
PTH = REPOSITORY / 'bert' / 'bert_mxnet_compat.pth'


def python(code, *options, folder=None, **environment):
    """What `python -c code` prints. It must print nothing on stderr, not even a warning."""
    process = subprocess.run([sys.executable, *options, '-c', code], cwd=folder, text=True,
                             env=dict(os.environ, **environment), capture_output=True)
    assert (process.returncode, process.stderr) == (0, '')
    return process.stdout.strip()


# ---- where the repairs act

def test_the_environment_has_the_pth_file():
    path = pathlib.Path(sysconfig.get_paths()['purelib']) / PTH.name
    assert path.read_text() == PTH.read_text()


@pytest.mark.parametrize('imports', ['import mxnet', 'import mxnet, bert', 'import bert, mxnet'])
def test_mxnet_imports_first_or_last(imports):
    """The user's numpy stays unchanged: its names, their meaning, how arrays print."""
    assert python(
        'import numpy\n'
        'def names_of(module):\n'
        '    return {name for name, value in vars(module).items() if type(value) != type(module)}\n'
        'names, types = names_of(numpy), (numpy.bool, numpy.object_)\n'
        + imports + ', numpy, numpy as np\n'
        'print(names_of(np) - names, types == (np.bool, np.object_), hasattr(np, "int"),\n'
        '      [np.float64(1)], repr(np.float32(2)), mxnet.nd.ones(3).sum().asscalar())',
        '-W', 'error:`np:DeprecationWarning'
    ) == 'set() True False [np.float64(1.0)] np.float32(2.0) 3.0'


def test_nothing_is_imported_at_start_up():
    assert python(
        'import sys\n'
        'before = {"bert", "bert._compat", "numpy", "mxnet"} & set(sys.modules)\n'
        'import bert\n'
        'print(before, {"numpy", "mxnet"} & set(sys.modules))') == 'set() set()'


def test_the_finder_is_installed_once():
    assert python(
        'import sys, bert, mxnet\n'
        'print([type(f).__name__ for f in sys.meta_path].count("RepairingFinder"))') == '1'


def test_other_packages_are_not_touched(tmp_path):
    (tmp_path / 'mxnet_tools.py').write_text('import numpy\nfound = hasattr(numpy, "int")\n')
    assert python('import bert, mxnet_tools, json.tool\n'
                  'print(mxnet_tools.found, type(json.tool.__loader__).__name__)',
                  folder=tmp_path) == 'False SourceFileLoader'


def test_a_users_folder_named_bert_comes_first(tmp_path):
    (tmp_path / 'bert').mkdir()
    (tmp_path / 'bert' / '__init__.py').write_text('mine = "mine"\n')
    assert python('import bert; print(bert.mine)', folder=tmp_path) == 'mine'


def test_the_pth_file_is_harmless_without_bert(tmp_path):
    (tmp_path / PTH.name).write_text(PTH.read_text())
    assert python(
        'import site, sys\n'
        'before = list(sys.meta_path)\n'
        'site.addsitedir(%r)\n'
        'print(sys.meta_path == before, "bert" in sys.modules)' % str(tmp_path),
        '-I', '-S') == 'True False'


# ---- the names of numpy

def parse_file(path):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', SyntaxWarning)
        return ast.parse(path.read_text(encoding='utf-8'))


@functools.cache
def numpy_names(package):
    """{name: file} of the names that the modules of `package` look up in numpy: each `numpy.NAME`,
    and each 'NAME' in the lists of `numpy_dispatch_protocol`."""
    folder = pathlib.Path(importlib.util.find_spec(package).origin).parent
    names = {}
    for path in folder.rglob('*.py'):
        tree = parse_file(path)
        aliases = {alias.asname or alias.name for node in ast.walk(tree)
                   if isinstance(node, ast.Import) for alias in node.names if alias.name == 'numpy'}
        for node in ast.walk(tree):
            if (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
                    and node.value.id in aliases):
                names.setdefault(node.attr, path)
            elif path.stem == 'numpy_dispatch_protocol' and isinstance(node, ast.List):
                for name in node.elts:
                    names.setdefault(ast.literal_eval(name).partition('.')[0], path)
    return names


@pytest.mark.parametrize('package', _compat.PACKAGES)
def test_no_name_of_numpy_is_missing(package):
    aliases = _compat.numpy_aliases(np)
    assert {name: str(path) for name, path in numpy_names(package).items()
            if name not in aliases and not hasattr(np, name)} == {}


@pytest.mark.parametrize('name', sorted(_compat.numpy_aliases(np)))
def test_each_alias_is_used_by_mxnet(name):
    assert name in numpy_names('mxnet')


def test_numpy_lacks_the_names_of_the_aliases():
    """It has its own `bool`, warns about `core`, and had two of the names until version 2.3."""
    old_names = {'in1d', 'trapz'} if np.lib.NumpyVersion(np.__version__) < '2.4.0' else set()
    names = {name for name in _compat.numpy_aliases(np) if hasattr(np, name)}
    assert names == {'bool', 'core'} | old_names


def test_meaning_of_the_aliases():
    from mxnet.numpy import fallback, utils
    assert utils.bool is bool and np.bool is not bool
    assert (utils.PINF, utils.NINF, utils.PZERO, utils.NZERO) == (np.inf, -np.inf, 0, 0)
    assert np.signbit(utils.NZERO) and not np.signbit(utils.PZERO)
    assert np.isnan(utils.NAN) and np.isnan(utils.NaN)
    array = np.array([[3, 1], [2, 4]])
    assert fallback.in1d(array, [1, 2]).tolist() == [False, True, True, False]
    assert fallback.in1d(array, [1, 2], invert=True).tolist() == [True, False, False, True]
    assert fallback.msort(array).tolist() == [[2, 1], [3, 4]]
    assert fallback.trapz([1, 2, 4]) == 4.5
    assert fallback.alltrue([1, 0]) == 0
    with pytest.raises(RuntimeError) as error:
        fallback.npv(0.1, [1, 2])
    assert str(error.value) == 'numpy has no npv since 1.20: install numpy-financial'


# ---- what breaks without a repair: code, its output with the repair, the error without

REPAIR_CASES = {
    'mxnet._ctypes.ndarray': (
        'print(mx.nd.zeros((np.int64(2), 1)).shape, mx.nd.ones((2, 3))[:, np.int32(2)].shape)',
        '(2, 1) (2,)', 'MXNetError'),
    'mxnet._ctypes.symbol': (
        'print(mx.sym.reshape(mx.sym.var("x"), (np.int64(2), -1)).infer_shape(x=(4, 3))[1])',
        '[(2, 6)]', 'MXNetError'),
    'mxnet.symbol.symbol': (
        'print(mx.sym.var("x", shape=(np.int64(2), 3)).infer_shape()[1])',
        '[(2, 3)]', 'MXNetError'),
    'mxnet.io.io': (
        'open("x.csv", "w").write("1,2\\n3,4\\n")\n'
        'print(mx.io.CSVIter(data_csv="x.csv", data_shape=(np.int64(2),), batch_size=2)'
        '.next().data[0].asnumpy().tolist())',
        '[[1.0, 2.0], [3.0, 4.0]]', 'MXNetError'),
    'mxnet.base': (
        'import ctypes\n'
        'print(list(mx.base.c_array(ctypes.c_float, [np.array([0.5]), np.float32(2), 1])))',
        '[0.5, 2.0, 1.0]', 'TypeError'),
    'mxnet.metric': (
        'import json\n'
        'metric = mx.metric.MAE()\n'
        'for value in (1, 1e-8):\n'
        '    metric.update([mx.nd.zeros(1)], [mx.nd.array([value])])\n'
        'accuracy = mx.metric.Accuracy()\n'
        'accuracy.update([mx.nd.ones(2)], [mx.nd.array([[0, 1], [1, 0]])])\n'
        'both = mx.metric.CompositeEvalMetric([metric, accuracy])\n'
        'print(json.dumps(metric.get()), both.get(), accuracy.get_global())',
        '["mae", 0.500000005] ([\'mae\', \'accuracy\'], [0.500000005, 0.5]) '
        '(\'accuracy\', 0.5)', 'TypeError'),
    'mxnet.ndarray.utils': (
        'mx.nd.array([1])\nprint("scipy.sparse" in sys.modules)', 'False', 'True'),
    'mxnet.gluon.block': (
        'block = mx.gluon.SymbolBlock(mx.sym.var("x") * mx.sym.var("w"), mx.sym.var("x"))\n'
        'block.params.get("w", shape=(1,)).initialize(mx.init.Constant(3))\n'
        'block.export("b", 0)\n'
        'print(mx.nd.load("b-0000.params")["arg:w"].asscalar())',
        '3.0', 'TypeError'),
}
PROGRAM = '''
import contextlib, io, json, sys
import bert._compat as compat
if sys.argv[1] == 'broken':
    sys.meta_path = [f for f in sys.meta_path if type(f).__name__ != 'RepairingFinder']
    compat.REPAIRS.clear()
    compat.install()
import mxnet as mx, numpy as np
results = {}
for name, code in json.load(sys.stdin).items():
    with contextlib.redirect_stdout(io.StringIO()) as output:
        try:
            exec(code)
        except Exception as error:
            print()
            print(type(error).__name__)
    results[name] = output.getvalue().strip().splitlines()[-1]
print(json.dumps(results))
'''


@pytest.fixture(scope='module')
def run_all(tmp_path_factory):
    """Function: 'broken' (without the repairs) or 'repaired' → {module: output or error}."""
    @functools.cache
    def run(state):
        process = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', PROGRAM, state], text=True, check=True,
            input=json.dumps({name: code for name, (code, _, _) in REPAIR_CASES.items()}),
            capture_output=True, cwd=str(tmp_path_factory.mktemp(state)))
        return json.loads(process.stdout)
    return run


@pytest.mark.parametrize('module', sorted(REPAIR_CASES))
def test_each_repair_is_needed(run_all, module):
    _, output, error = REPAIR_CASES[module]
    if module == 'mxnet.base' and np.lib.NumpyVersion(np.__version__) < '2.4.0':
        error = output      # Python 3.10 has no newer numpy
    assert run_all('broken')[module] == error


@pytest.mark.parametrize('module', sorted(REPAIR_CASES))
def test_each_repair_works(run_all, module):
    assert run_all('repaired')[module] == REPAIR_CASES[module][1]


def test_every_repair_is_tested():
    assert set(REPAIR_CASES) == set(_compat.REPAIRS)


def test_each_patch_is_explained():
    """Each docstring says since when the patch is needed and when it can go. The page lists all."""
    from bert.model.kernels import gluon_hooks
    page = (REPOSITORY / 'docs' / 'patches.rst').read_text(encoding='utf-8')
    patches = [*_compat.REPAIRS.values(), _compat.NumpyForMXNet,
               _late_imports.LateModule, _late_imports.compile_late,
               _late_imports.replace_distutils, gluon_hooks.watch_tracing,
               gluon_hooks.watch_gradients]
    for patch in patches:
        assert 'Since' in patch.__doc__ and 'Can go' in patch.__doc__, patch
        assert '``%s``' % patch.__name__ in page
    for module in _compat.REPAIRS:
        assert module in page
    assert page.count('Why:') == page.count('Since:') == page.count('Can go:') == 14


# ---- what MXNet imports and hardly anybody needs

HARDLY_NEEDED = ('scipy', 'sklearn', 'onnx', 'setuptools', 'distutils')


def test_what_is_hardly_needed_is_imported_late():
    assert python(
        'import sys, mxnet as mx, gluonnlp\n'
        'print(set(%r) & set(sys.modules), mx.model.BASE_ESTIMATOR)\n'
        'matrix = mx.nd.array([[0, 3], [0, 0]]).tostype("csr").asscipy()\n'
        'import scipy.sparse\n'
        'print(type(matrix) is scipy.sparse.csr_matrix, matrix.sum())\n'
        'print(mx.nd.array(matrix).stype, mx.contrib.quantization.stats.entropy([1, 1]))'
        % (HARDLY_NEEDED,)) == "set() <class 'object'>\nTrue 3.0\ncsr 0.6931471805599453"


def test_a_thread_that_imports_scipy_disturbs_no_other():
    assert python(
        'import threading, mxnet as mx\n'
        'errors, is_over = [], threading.Event()\n'
        'def work():\n'
        '    while not is_over.is_set():\n'
        '        try:\n'
        '            mx.nd.array([1.0])\n'
        '        except Exception as error:\n'
        '            errors.append(error)\n'
        'thread = threading.Thread(target=work)\n'
        'thread.start()\n'
        'import scipy.sparse\n'
        'is_over.set()\n'
        'thread.join()\n'
        'print(errors[:1])') == '[]'


def test_a_stand_in_for_scipy_is_no_error():
    assert python('import sys, types\n'
                  'sys.modules["scipy"] = types.ModuleType("scipy")\n'
                  'import mxnet as mx; print(mx.nd.array([1]).shape)') == '(1,)'


def test_what_a_program_has_imported_is_taken():
    assert python(
        'import scipy.sparse, sklearn.base, mxnet as mx\n'
        'print(mx.nd.sparse.spsp is scipy.sparse, mx.model.BASE_ESTIMATOR is '
        'sklearn.base.BaseEstimator)') == 'True True'


def test_what_is_not_installed_is_missed_as_before():
    assert python('import sys; sys.modules["scipy"] = sys.modules["onnx"] = None\n'
                  'import mxnet as mx; print(mx.nd.sparse.spsp, mx.test_utils.ss)') == 'None None'


def test_operators_are_compiled_when_they_are_called():
    assert python(
        'import inspect, sys, mxnet as mx\n'
        'print(mx.nd.relu.__doc__[:34], mx.nd.relu.__module__, repr(mx.sym.relu)[:15])\n'
        'cell = dict(zip(mx.nd.relu.__code__.co_freevars, mx.nd.relu.__closure__))["compiled"]\n'
        'counts = [cell.cell_contents.cache_info().misses]\n'
        'print(mx.nd.relu(mx.nd.array([-1, 2])).asnumpy(), mx.nd.relu(data=mx.nd.ones(1)).shape)\n'
        'print(counts + [cell.cell_contents.cache_info().misses])\n'
        'if sys.version_info >= (3, 12):\n'
        '    print(inspect.signature(mx.sym.relu))\n'
        'else:\n'
        '    print("(data=None, name=None, attr=None, out=None, **kwargs)")\n'
        'try:\n'
        '    mx.nd.relu(3)\n'
        'except AssertionError as error:\n'
        '    print(error)') == (
            'Computes rectified linear activati ndarray <function relu \n[0. 2.] (1,)\n[0, 1]\n'
            '(data=None, name=None, attr=None, out=None, **kwargs)\n'
            'Argument data must have NDArray type, but got 3')


def test_a_first_answer_imports_none_of_it(tmp_path):
    folder = tiny.write_classifier(tmp_path / 'classifier')
    assert python('import sys, bert\n'
                  'print(bert.open(%r)("the film was good").label != "")\n'
                  'print(set(%r) & set(sys.modules))' % (folder, HARDLY_NEEDED)) == 'True\nset()'


def test_how_numbers_are_written():
    write = _compat.plain_str
    for value in (1, 'a', None, True, np.float32(0.1), (1, 2.5), [1, 'a', None], np.array([1, 2]),
                  ('a', "'"), {'a': 1}):
        assert write(value) == str(value) and type(write(value)) is str
    assert write((np.float64(1), np.int32(2), np.bool_(True))) == '(1.0, 2, True)'
    assert write([(np.float32(0.1),), [np.int64(-1)]]) == '[(0.1,), [-1]]'
    assert write({np.str_('a'): np.float32(1), 'b': [np.str_('c')]}) == "{'a': 1.0, 'b': ['c']}"
    assert write(b'a', 'utf-8') == 'a' and write() == ''
    assert isinstance('a', write) and not isinstance(1, write)


def test_every_text_that_mxnet_sends_is_repaired():
    """In a module that calls `c_str(str(…))` or `c_str_array([str(…)…])`, `str` is `plain_str`."""
    folder = pathlib.Path(importlib.util.find_spec('mxnet').origin).parent
    senders = set()
    for path in folder.rglob('*.py'):
        for node in ast.walk(parse_file(path)):
            if (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                    and node.func.id in ('c_str', 'c_str_array')
                    and any(isinstance(child, ast.Call) and getattr(child.func, 'id', '') == 'str'
                            for child in ast.walk(node))):
                senders.add('.'.join(path.relative_to(folder.parent).with_suffix('').parts))
    repaired_modules = {name for name, repair in _compat.REPAIRS.items()
                        if repair is _compat.write_plain_numbers}
    # io.io collects the texts in a list first; the other two send no tuples
    assert senders - {'mxnet.profiler', 'mxnet.kvstore.base'} == repaired_modules - {'mxnet.io.io'}


# ---- an installation that does not fit

def add_distributions(folder, *names):
    for name in names:
        (folder / (name + '.dist-info')).mkdir()
    return folder


@pytest.fixture
def mxnet_folder(tmp_path):
    """A folder that contains only a package mxnet."""
    (tmp_path / 'mxnet').mkdir()
    (tmp_path / 'mxnet' / '__init__.py').touch()
    return tmp_path


def check(folder):
    _compat.check_installation(importlib.machinery.PathFinder.find_spec('mxnet', [str(folder)]))


@pytest.mark.parametrize('names', [[], ['mxnet-1.9.1'], ['mxnet_cu112-1.9.1'], [
    'mxnet-1.9.1', 'mxnetlike-2', 'mxnet_model_server-1.0.8', 'gluonnlp-0.10.0']])
def test_a_good_installation(mxnet_folder, names):
    check(add_distributions(mxnet_folder, *names))


@pytest.mark.parametrize('names, message', [
    (['mxnet-1.9.1', 'mxnet_cu112-1.9.1'],
     "mxnet 1.9.1 and mxnet-cu112 1.9.1 are both installed and overwrite each other's files: mend "
     "it with 'pip uninstall -y mxnet mxnet-cu112', then "
     "'pip install --no-deps mxnet-cu112==1.9.1'"),
    (['mxnet-1.8.0'],
     "mxnet 1.8.0 is installed, and bert needs mxnet 1.9.1: mend it with "
     "'pip uninstall -y mxnet', then 'pip install --no-deps mxnet==1.9.1'"),
    (['mxnet_cu112-1.7.0'],
     "mxnet-cu112 1.7.0 is installed, and bert needs mxnet-cu112 1.9.1: mend it with "
     "'pip uninstall -y mxnet-cu112', then 'pip install --no-deps mxnet-cu112==1.9.1'"),
    (['mxnet_mkl-1.6.0'],
     "mxnet-mkl 1.6.0 is installed, and bert needs mxnet 1.9.1: mend it with "
     "'pip uninstall -y mxnet-mkl', then 'pip install --no-deps mxnet==1.9.1'"),
])
def test_an_mxnet_that_does_not_fit(mxnet_folder, names, message):
    with pytest.raises(_compat.InstallationError) as error:
        check(add_distributions(mxnet_folder, *names))
    assert str(error.value) == message


@pytest.mark.parametrize('page', ['README.rst', 'docs/installation.rst'])
def test_the_pages_have_the_command(page):
    lines = r"\n    %s\n    pip install (\.|'\.\[serve,onnx\]')\n" % re.escape(
        _compat.install_command())
    assert re.search(lines, (REPOSITORY / page).read_text(encoding='utf-8'))


NO_MXNET = "MXNet is not installed: install it with 'pip install --no-deps mxnet==1.9.1'"


@pytest.mark.parametrize('is_folder_left', [False, True])
def test_no_mxnet(mxnet_folder, is_folder_left):
    (mxnet_folder / 'mxnet' / '__init__.py').unlink()
    if not is_folder_left:
        (mxnet_folder / 'mxnet').rmdir()
    with pytest.raises(_compat.InstallationError) as error:
        check(mxnet_folder)
    assert str(error.value) == NO_MXNET


def test_import_without_mxnet():
    """The search for its spec, without an import, returns None as usual."""
    code = ('import sys; sys.path.append(%r)\nimport bert, importlib.util\n'
            'print(importlib.util.find_spec("mxnet"))\n'
            'try: import mxnet\nexcept ModuleNotFoundError as error: print(error, error.name)')
    assert python(code % str(REPOSITORY), '-I', '-S') == 'None\n' + NO_MXNET + ' mxnet'


def test_an_mxnet_that_another_finder_finds(tmp_path):
    """Such as the finders that setuptools writes for editable installations."""
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'elsewhere' / 'mxnet.py').write_text('import numpy\nmine = numpy.PZERO\n')
    assert python(
        'import bert, importlib.machinery, inspect, sys\n'
        'class Finder:\n'
        '    def find_spec(self, name, path=None, target=None):\n'
        '        return importlib.machinery.PathFinder.find_spec(name, ["elsewhere"])\n'
        'sys.meta_path.insert(0, Finder())\n'
        'bert._compat.install()\n'
        'import mxnet\n'
        'print(mxnet.mine, inspect.getsource(mxnet).count("PZERO"))', folder=tmp_path) == '0.0 1'


def test_user_defined_metrics():
    """Their sums may have any type."""
    import mxnet as mx

    class Count(mx.metric.EvalMetric):
        def reset(self):
            self.sum_metric, self.global_sum_metric = 0, []

        def update(self, labels, predictions):
            self.sum_metric += len(labels)
            self.global_sum_metric.append(mx.nd.ones(1))

        def get(self):
            return self.name, np.float64(self.sum_metric)
    count = Count('count')
    count.update([1, 2], None)
    assert count.sum_metric == 2 and type(count.sum_metric) is int
    assert len(count.global_sum_metric) == 1 and type(count.get()[1]) is float
    del count.sum_metric
    assert not hasattr(count, 'sum_metric')
    count.sum_metric = np.float32(0.1)
    assert type(count.sum_metric) is np.float64


def test_a_script_reports_it_in_one_line(tmp_path):
    (tmp_path / 'numpy.py').write_text('__version__ = "1.26.4"\n')
    outcome = spawn('finetune_classifier.py', '--task_name', 'MRPC',
                    env={'PYTHONPATH': str(tmp_path)})
    assert (outcome.code, outcome.out, outcome.err) == (
        2, '', "error: numpy 1.26.4 is installed, and bert needs numpy 2 or later: mend it with "
               "'pip install \"numpy>=2\"'\n")


def test_without_numpy_nothing_is_checked(tmp_path):
    (tmp_path / 'mxnet.py').write_text('name = "mxnet"\n')
    assert python(
        'import sys; sys.modules["numpy"] = None\n'
        'import bert, mxnet\n'
        'print(mxnet.name)', folder=tmp_path) == 'mxnet'
