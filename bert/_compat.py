"""What MXNet 1.9.1 needs on today's Pythons: the numpy names that numpy 1.24 took away, and an
`export` of symbol blocks that writes their parameters.

Importing this module imports neither numpy nor MXNet: it leaves a hook that acts when `mxnet`
is first imported. `bert` imports it, and the environment's `bert_mxnet_compat.pth` does at every
start of Python, so that a program may import mxnet before bert.
"""
import importlib.util
import sys

# What each name meant: the builtin type.
ALIASES = {'bool': bool, 'int': int, 'float': float, 'complex': complex, 'object': object,
           'str': str}


def add_aliases():
    """Put those of the aliases back that numpy lacks; leave alone those that it has.

    numpy 1.20 to 1.23 give the names on request, with a warning for each; to look into the
    module's dictionary asks for nothing, and then MXNet is not warned either."""
    import numpy
    for name, type_ in ALIASES.items():
        vars(numpy).setdefault(name, type_)


def repair_export():
    """Have `SymbolBlock.export` write the parameters also of a block that has not computed
    anything yet, such as `quantize_net_v2` returns: MXNet 1.9.1 writes a file with none."""
    gluon = sys.modules.get('mxnet.gluon')
    if gluon is None:       # not MXNet, or not whole
        return

    def export(self, path, epoch=0, remove_amp_cast=True):
        if not self._cached_op_args:
            self._build_cache()
        return gluon.HybridBlock.export(self, path, epoch, remove_amp_cast)
    export.__doc__ = gluon.HybridBlock.export.__doc__
    gluon.SymbolBlock.export = export


class ImportHook:
    """A finder of `sys.meta_path` that is told that mxnet is about to be imported: it adds the
    aliases, has the export repaired when mxnet is there, and leaves."""

    def find_spec(self, name, path=None, target=None):
        """Called by Python for every module that is not imported yet."""
        if name != 'mxnet':
            return None
        # A new list: Python is going through the old one, and would miss its next finder.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]
        try:
            add_aliases()
        except ImportError:     # no numpy: MXNet itself says so better
            pass
        spec = importlib.util.find_spec(name)
        if spec is not None:
            _then(spec.loader, repair_export)
        return spec


def _then(loader, action):
    """Have `action` called when the loader has imported its module."""
    run = loader.exec_module

    def exec_module(module):
        run(module)
        action()
    loader.exec_module = exec_module


def install():
    """Wait for the import of mxnet, unless that has happened or somebody waits already (the
    .pth file runs a copy of this module, and Python reads it twice in a virtual environment)."""
    waiting = ImportHook.__name__ in [type(finder).__name__ for finder in sys.meta_path]
    if 'mxnet' not in sys.modules and not waiting:
        sys.meta_path.insert(0, ImportHook())
    elif 'mxnet' in sys.modules and not waiting:
        repair_export()


install()
