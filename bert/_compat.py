"""Repairs of MXNet 1.9.1 and gluonnlp 0.10, which were written for numpy 1 and Python 3.8.

Each repair describes what breaks without it, and tests/test_compat.py demonstrates it. The repairs
only affect the two packages: the user's own numpy keeps its names, their meaning and its printing.

Importing this module imports neither numpy nor MXNet. It adds a finder to `sys.meta_path`, which
repairs modules of the two packages as they are imported. `bert` imports this module, and so does
`bert_mxnet_compat.pth` at every start of the environment's Python, so a program may import mxnet
before bert.
"""
import builtins
import functools
import os
import re
import sys
import types

from bert._late_imports import (
    GENERATING_MODULES,
    OMITTED_MODULES,
    compile_late,
    late_module,
    replace_distutils,
    skip_sparse_check,
)

PACKAGES = ('mxnet', 'gluonnlp')


class InstallationError(ModuleNotFoundError):
    """The installed packages are incompatible. The message is one line with the command that fixes
    it; scripts print it without a stack trace."""


# ---- numpy as MXNet expects it
# Without these names `import mxnet` or a later call raises AttributeError.

# The meaning of these names until numpy 1.23; numpy 2 has a different `bool`.
BUILTIN_TYPES = {'bool': bool, 'int': int}
CONSTANTS = {'Inf': float('inf'), 'NAN': float('nan'), 'NaN': float('nan'), 'PINF': float('inf'),
             'NINF': -float('inf'), 'PZERO': 0.0, 'NZERO': -0.0}
RENAMED_FUNCTIONS = {'alltrue': 'all', 'product': 'prod', 'round_': 'round', 'sometrue': 'any',
                     'trapz': 'trapezoid'}
# Functions that numpy removed in version 1.20. `mxnet.numpy` only re-exports them.
FINANCIAL_FUNCTIONS = ('mirr', 'npv', 'pmt', 'ppmt', 'pv', 'rate')


def numpy_aliases(numpy):
    """{name: value} of all names that MXNet looks up in numpy and that numpy may lack."""
    def in1d(ar1, ar2, assume_unique=False, invert=False):
        return numpy.isin(numpy.ravel(ar1), ar2, assume_unique, invert)

    def financial(name):
        def raise_error(*arguments, **options):
            raise RuntimeError('numpy has no %s since 1.20: install numpy-financial' % name)
        return raise_error

    return {**BUILTIN_TYPES, **CONSTANTS,
            **{name: getattr(numpy, successor) for name, successor in RENAMED_FUNCTIONS.items()},
            **{name: financial(name) for name in FINANCIAL_FUNCTIONS},
            'in1d': in1d,
            'msort': functools.partial(numpy.sort, axis=0),
            'compat': types.SimpleNamespace(basestring=str),
            # numpy's own `core` warns at each use
            'core': types.SimpleNamespace(numeric=numpy.lib.array_utils)}


class NumpyForMXNet(types.ModuleType):
    """numpy with the aliases. All other names come from numpy itself.

    Since numpy 1.20, 1.24 and 2.0, which removed names. Can go with an MXNet made for numpy 2.
    """

    def __init__(self, numpy):
        super().__init__('numpy')
        self.__dict__.update(numpy_aliases(numpy))
        self._numpy = numpy

    def __getattr__(self, name):
        return getattr(self._numpy, name)


def _builtins_for_mxnet():
    """Builtins for a module of MXNet, in which `import numpy` returns a `NumpyForMXNet`, and what
    `bert._late_imports` lists is imported or compiled late. They are a plain dictionary, because
    Python is slower with anything else there."""
    cache = {}

    def import_(name, globals=None, locals=None, fromlist=(), level=0):
        if name == 'distutils.version':
            return replace_distutils()
        if name in OMITTED_MODULES and name not in sys.modules:
            raise ImportError(name + ' is left out')
        late = None if level else late_module(name, fromlist)
        if late is not None:
            return late
        module = builtins.__import__(name, globals, locals, fromlist, level)
        if level or name.partition('.')[0] != 'numpy' or module is not sys.modules['numpy']:
            return module
        if 'numpy' not in cache:
            cache['numpy'] = NumpyForMXNet(module)
        return cache['numpy']
    return {**vars(builtins), '__import__': import_}


# ---- repairs of single modules, right after their import

class _StrMeta(type):
    def __instancecheck__(cls, value):
        return isinstance(value, str)


class plain_str(str, metaclass=_StrMeta):
    """`str`, but numpy numbers in tuples, lists and dictionaries become plain numbers: `(1.0,)`.

    MXNet passes the parameters of operators as text. numpy 2 writes `(np.float64(1.0),)`, which
    MXNet rejects with "Invalid Parameter format": at every step of gluonnlp's BERTAdam, for a Dense
    layer of numpy.int64 units, for `array[:, numpy.int32(2)]`.
    """
    def __new__(cls, value='', *encoding):
        return str(_plain(value) if type(value) in (tuple, list, dict) else value, *encoding)


class _Verbatim(str):
    __repr__ = str.__str__


def _plain(value):
    if type(value) in (tuple, list):
        return type(value)(map(_plain, value))
    if type(value) is dict:
        return {_plain(key): _plain(item) for key, item in value.items()}
    numpy = sys.modules['numpy']
    if isinstance(value, (numpy.number, numpy.bool_)):
        return _Verbatim(value)
    return value.item() if isinstance(value, numpy.generic) else value


def write_plain_numbers(module):
    """Let a module write the parameters of operators by `plain_str`.

    Since numpy 2.0. Can go with an MXNet made for numpy 2.
    """
    module.str = plain_str


def accept_one_element_arrays(base):
    """Let `c_array` accept arrays with a single number, as with numpy 1. Entropy calibration passes
    thresholds of shape (1,), and numpy raises "only 0-dimensional arrays can be converted".

    Since numpy 2.4. Can go with an MXNet made for numpy 2.
    """
    import numpy
    c_array = base.c_array

    @functools.wraps(c_array)
    def c_array_of_numbers(ctype, values):
        return c_array(ctype, [value.item() if isinstance(value, numpy.ndarray) else value
                               for value in values])
    base.c_array = c_array_of_numbers


def sum_metrics_in_float64(metric):
    """Let metrics add up in float64 and return Python numbers. With numpy 2 a Python number plus a
    numpy.float32 is a numpy.float32: MAE, MSE, RMSE, CrossEntropy and Loss would lose digits,
    `json.dumps` would reject their values, and others would print as `np.float64(0.5)`.
    Since numpy 2.0. Can go with an MXNet made for numpy 2."""
    import numpy

    def sum_in_float64(name):
        def get(self):
            if name not in self.__dict__:
                raise AttributeError(name)
            return self.__dict__[name]

        def set(self, value):
            if isinstance(value, numpy.floating):
                value = numpy.float64(value)
            self.__dict__[name] = value
        return property(get, set, lambda self: self.__dict__.pop(name))
    for name in ('sum_metric', 'global_sum_metric'):
        setattr(metric.EvalMetric, name, sum_in_float64(name))

    def plain(value):
        return list(map(plain, value)) if isinstance(value, list) else \
            value.item() if isinstance(value, numpy.generic) else value

    def returning_plain(get):
        @functools.wraps(get)
        def get_plain(self):
            name, value = get(self)
            return name, plain(value)
        return get_plain

    def return_plain(kind, **options):
        for name in {'get', 'get_global'} & set(vars(kind)):
            setattr(kind, name, returning_plain(vars(kind)[name]))
    for kind in list(vars(metric).values()):
        if isinstance(kind, type) and issubclass(kind, metric.EvalMetric):
            return_plain(kind)
    metric.EvalMetric.__init_subclass__ = classmethod(return_plain)     # for users' own metrics


def export_parameters(block):
    """Let `SymbolBlock.export` write the parameters of a block that has not computed anything yet,
    such as the result of `quantize_net_v2`. MXNet would write a file without parameters.

    Since MXNet 1.9.1. Can go with an MXNet that writes them.
    """
    def export(self, path, epoch=0, remove_amp_cast=True):
        if not self._cached_op_args:
            self._build_cache()
        return block.HybridBlock.export(self, path, epoch, remove_amp_cast)
    export.__doc__ = block.HybridBlock.export.__doc__
    block.SymbolBlock.export = export


REPAIRS = {
    'mxnet._ctypes.ndarray': write_plain_numbers,
    'mxnet._ctypes.symbol': write_plain_numbers,
    'mxnet.symbol.symbol': write_plain_numbers,
    'mxnet.io.io': write_plain_numbers,
    'mxnet.base': accept_one_element_arrays,
    'mxnet.metric': sum_metrics_in_float64,
    'mxnet.ndarray.utils': skip_sparse_check,
    'mxnet.gluon.block': export_parameters,
}


# ---- the installation

MXNET = '1.9.1'
# Names of distributions with the package mxnet, and the distributions that have this version
MXNET_DISTRIBUTION_PATTERN = re.compile(r'mxnet(-cu\d+(mkl)?|-mkl|-native)?')
MXNET_DISTRIBUTIONS = ('mxnet', 'mxnet-cu112', 'mxnet-cu117')


def install_command(distribution='mxnet'):
    """The pip command. MXNet's metadata exclude numpy 2, so pip has to ignore them: --no-deps."""
    return 'pip install --no-deps %s==%s' % (distribution, MXNET)


def installed_mxnets(folder):
    """[(name, version)] of the distributions in `folder` that contain the package mxnet."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    distributions = [name.removesuffix('.dist-info').replace('_', '-').rpartition('-')
                     for name in names if name.endswith('.dist-info')]
    return sorted((name, version) for name, _, version in distributions
                  if MXNET_DISTRIBUTION_PATTERN.fullmatch(name))


def check_installation(mxnet):
    """Raises `InstallationError`, with the problem in one line, if the packages are incompatible.

    mxnet: the `ModuleSpec` of the package mxnet, or None."""
    if mxnet is None or mxnet.origin is None:       # no origin: a folder that pip left behind
        raise InstallationError("MXNet is not installed: install it with '%s'" % install_command(),
                                name='mxnet')
    installed = installed_mxnets(os.path.dirname(os.path.dirname(mxnet.origin)))
    names = [name for name, _ in installed]
    distribution = ([name for name in MXNET_DISTRIBUTIONS if name in names]
                    or MXNET_DISTRIBUTIONS[:1])[-1]
    if len(installed) > 1:
        raise InstallationError(
            "%s are both installed and overwrite each other's files: mend it with 'pip uninstall "
            "-y %s', then '%s'" % (' and '.join('%s %s' % package for package in installed),
                                   ' '.join(names), install_command(distribution)), name='mxnet')
    if installed and installed[0] != (distribution, MXNET):
        raise InstallationError(
            "%s %s is installed, and bert needs %s %s: mend it with 'pip uninstall -y %s', then "
            "'%s'" % (*installed[0], distribution, MXNET, names[0], install_command(distribution)),
            name='mxnet')
    check_numpy()


def check_numpy():
    try:
        import numpy
    except ImportError:     # MXNet's own error is clearer
        return
    if int(numpy.__version__.partition('.')[0]) < 2:
        raise InstallationError("numpy %s is installed, and bert needs numpy 2 or later: mend it "
                                "with 'pip install \"numpy>=2\"'" % numpy.__version__, name='mxnet')


# ---- the import of repaired modules

class RepairingLoader:
    """Imports a module of MXNet or gluonnlp with its own numpy, then repairs it. All other
    attributes come from the loader that Python chose."""
    builtins = _builtins_for_mxnet()

    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def exec_module(self, module):
        vars(module)['__builtins__'] = {**self.builtins, 'exec': compile_late} \
            if module.__name__ in GENERATING_MODULES else self.builtins
        self._loader.exec_module(module)
        if module.__name__ in REPAIRS:
            REPAIRS[module.__name__](module)


class RepairingFinder:
    """A finder of `sys.meta_path` for the modules of MXNet and gluonnlp."""

    def find_spec(self, name, path=None, target=None):
        """Called by Python for every module that is not imported yet."""
        if name.partition('.')[0] not in PACKAGES:
            return None
        specs = (finder.find_spec(name, path, target) for finder in sys.meta_path
                 if finder is not self and hasattr(finder, 'find_spec'))
        spec = next(filter(None, specs), None)
        if name == 'mxnet' and self._is_import():
            check_installation(spec)
        if spec is not None and hasattr(spec.loader, 'get_source'):
            spec.loader = RepairingLoader(spec.loader)
        return spec

    @staticmethod
    def _is_import():
        """Whether the caller imports. `importlib.util.find_spec` only looks for mxnet and must not
        fail."""
        return sys._getframe(3).f_code.co_name != 'find_spec'


def install():
    """Add the finder, in place of one from a copy of this module: the .pth file runs a copy at
    every start of Python, twice in a virtual environment."""
    sys.meta_path[:] = [RepairingFinder()] + [
        finder for finder in sys.meta_path if type(finder).__name__ != RepairingFinder.__name__]


install()
