"""Leaves work of `import mxnet` that hardly any program needs until a program needs it, because it
takes longer than the rest. `bert._compat` applies it."""
import functools
import importlib
import sys
import types

# Modules for single functions of MXNet, imported when one of them is called
LATE_MODULES = {'scipy.sparse', 'scipy.stats', 'onnx'}
# The base class of its deprecated FeedForward. MXNet goes without where it is not installed.
OMITTED_MODULES = ('sklearn.base',)
# Those that generate the functions of the operators
GENERATING_MODULES = 'mxnet.ndarray.register', 'mxnet.symbol.register'


class LateModule(types.ModuleType):
    """Stands for a module, and imports it when it is asked for an attribute.

    LATE_MODULES and OMITTED_MODULES delay `import mxnet`. Since MXNet 1.9.1. Can go with an MXNet
    that imports them where it uses them.
    """

    def __getattr__(self, name):
        return getattr(importlib.import_module(self.__name__), name)


def late_module(name, fromlist):
    """What an import of LATE_MODULES binds: the `LateModule` of a package, with its modules in it;
    None for any other import, and for modules that are imported already or are not installed."""
    names = {'%s.%s' % (name, submodule) for submodule in fromlist} if fromlist else {name}
    package = name.partition('.')[0]
    if not names <= LATE_MODULES or not names.isdisjoint(sys.modules) \
            or not _is_installed(package):
        return None
    module = LateModule(package)
    for submodule in names - {package}:
        setattr(module, submodule.rpartition('.')[2], LateModule(submodule))
    return module


def _is_installed(package):
    from importlib.util import find_spec  # here: this module is imported at each start of Python
    try:
        return find_spec(package) is not None
    except ValueError:      # the program has put a module of its own in its place
        return False


def replace_distutils():
    """distutils.version for MXNet, which compares numpy's version by it. Python dropped distutils,
    and setuptools, which replaces it, takes long to import. Since Python 3.12. Can go with an MXNet
    for Python 3.12."""
    from packaging.version import Version
    return types.SimpleNamespace(LooseVersion=Version, StrictVersion=Version)


def skip_sparse_check(utils):
    """Keep `mx.nd.array` from importing scipy.sparse, for whose matrices it looks at each call:
    there is none before somebody else has imported it. Since MXNet 1.9.1. Can go with `LateModule`.
    """
    array, utils.spsp = utils.array, None

    @functools.wraps(array)
    def array_of_any(source_array, ctx=None, dtype=None):
        sparse = sys.modules.get('scipy.sparse')    # another thread may be importing it
        if hasattr(sparse, 'csr_matrix') and isinstance(source_array, sparse.csr_matrix):
            return utils._sparse_array(source_array, ctx=ctx, dtype=dtype)
        return array(source_array, ctx, dtype)
    utils.array = array_of_any


def compile_late(code, globals=None, locals=None):
    """`exec` for the code that MXNet generates for each of its operators, two thousand functions in
    all: binds one that compiles the code when it is called first, or asked for its signature.

    Since MXNet 1.9.1. Can go with an MXNet that compiles them late, or ships them compiled.
    """
    name, scope = code.split('(', 1)[0].split()[-1], sys._getframe(1).f_globals

    @functools.cache
    def compiled():
        functions = {}
        exec(code, scope, functions)
        return functions[name]

    def operator(*args, **kwargs):
        return compiled()(*args, **kwargs)

    def signature():
        import inspect
        return inspect.signature(compiled())
    if sys.version_info >= (3, 12):     # before, it had to be a signature and no function
        operator.__signature__ = signature
    operator.__qualname__ = name
    locals[name] = operator
