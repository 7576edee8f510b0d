"""The numpy names that MXNet needs come back by themselves, whatever is imported first."""
import pathlib
import subprocess
import sys
import sysconfig

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
PTH = REPOSITORY / 'bert' / 'bert_mxnet_compat.pth'


def python(code, *options, folder=None):
    """What `python -c code` prints, without a warning nor a word on stderr."""
    done = subprocess.run([sys.executable, *options, '-c', code], cwd=folder, text=True,
                          capture_output=True)
    assert (done.returncode, done.stderr) == (0, '')
    return done.stdout.strip()


@pytest.fixture
def new_numpy(tmp_path):
    """A folder with a numpy that lacks the aliases, as from 1.24 on, and warns of each as 1.24
    does, and an mxnet that needs them."""
    (tmp_path / 'numpy.py').write_text(
        'import warnings\n'
        'str = "a str of its own"\n'
        'def __getattr__(name):\n'
        '    warnings.warn(name, FutureWarning)\n'
        '    raise AttributeError(name)\n')
    (tmp_path / 'mxnet.py').write_text(
        'import numpy\n'
        'found = [numpy.bool, numpy.int, numpy.float, numpy.complex, numpy.object, numpy.str]\n')
    return tmp_path


def test_the_environment_has_the_pth_file():
    installed = pathlib.Path(sysconfig.get_paths()['purelib']) / PTH.name
    assert installed.read_text() == PTH.read_text()


@pytest.mark.parametrize('imports', ['import mxnet', 'import mxnet, bert', 'import bert, mxnet'])
def test_mxnet_imports_first_or_last(imports):
    assert python(
        imports + ', numpy\n'
        'print(numpy.bool is bool, numpy.int is int, numpy.float is float,\n'
        '      numpy.complex is complex, numpy.object is object, numpy.str is str,\n'
        '      mxnet.nd.ones(3).sum().asscalar())', '-W', 'error:`np:DeprecationWarning'
    ) == 'True True True True True True 3.0'


@pytest.mark.parametrize('imports', ['import mxnet', 'import bert, mxnet'])
def test_missing_names_come_back_and_others_stay(new_numpy, imports):
    assert python(imports + '; print(mxnet.found)', '-W', 'error', folder=new_numpy) == (
        "[<class 'bool'>, <class 'int'>, <class 'float'>, <class 'complex'>, <class 'object'>, "
        "'a str of its own']")


def test_nothing_is_imported_at_start_up():
    assert python(
        'import sys\n'
        'before = {"bert", "bert._compat", "numpy", "mxnet"} & set(sys.modules)\n'
        'import bert\n'
        'print(before, {"numpy", "mxnet"} & set(sys.modules))') == 'set() set()'


def test_the_hook_is_there_once_and_leaves():
    assert python(
        'import sys, bert\n'
        'def hooks(): return [type(f).__name__ for f in sys.meta_path].count("ImportHook")\n'
        'before = hooks()\n'
        'import json.tool\n'
        'during = hooks()\n'
        'import mxnet\n'
        'print(before, during, hooks())') == '1 1 0'


def test_mxnet_already_imported(new_numpy):
    (new_numpy / 'mxnet.py').write_text('')
    assert python(
        'import sys\n'
        'def hooks(): return [f for f in sys.meta_path if type(f).__name__ == "ImportHook"]\n'
        'sys.meta_path = [f for f in sys.meta_path if f not in hooks()]\n'  # as without the .pth
        'import mxnet, bert, numpy\n'
        'print(hooks(), "bool" in vars(numpy))', folder=new_numpy) == '[] False'


def test_without_numpy_mxnet_speaks_for_itself(tmp_path):
    (tmp_path / 'mxnet.py').write_text('name = "mxnet"\n')
    assert python(
        'import sys; sys.modules["numpy"] = None\n'
        'import bert, mxnet\n'
        'print(mxnet.name)', folder=tmp_path) == 'mxnet'


def test_a_folder_of_the_users_own_named_bert_comes_first(tmp_path):
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


@pytest.mark.parametrize('imports', ['import mxnet as mx', 'import mxnet as mx, bert',
                                     'import bert, mxnet as mx'])
def test_a_symbol_block_exports_its_parameters(tmp_path, imports):
    """Also before it has computed anything, as what `quantize_net_v2` returns."""
    assert python(
        imports + '\n'
        'block = mx.gluon.SymbolBlock(mx.sym.var("x") * mx.sym.var("w"), mx.sym.var("x"))\n'
        'block.params.get("w", shape=(1,)).initialize(mx.init.Constant(3))\n'
        'block.export("b", 0)\n'
        'print({name: value.asscalar() for name, value in mx.nd.load("b-0000.params").items()})',
        '-W', 'ignore', folder=tmp_path) == "{'arg:w': 3.0}"
