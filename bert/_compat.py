"""The numpy names that MXNet 1.9.1 needs and numpy 1.24 took away.

Importing this module imports neither numpy nor MXNet: it leaves a hook that acts when `mxnet`
is first imported. `bert` imports it, and the environment's `bert_mxnet_compat.pth` does at every
start of Python, so that a program may import mxnet before bert.
"""
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


class AliasHook:
    """A finder of `sys.meta_path` that finds nothing: it is told that mxnet is about to be
    imported, adds the aliases and leaves."""

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
        return None


def install():
    """Wait for the import of mxnet, unless that has happened or somebody waits already (the
    .pth file runs a copy of this module, and Python reads it twice in a virtual environment)."""
    waiting = AliasHook.__name__ in [type(finder).__name__ for finder in sys.meta_path]
    if 'mxnet' not in sys.modules and not waiting:
        sys.meta_path.insert(0, AliasHook())


install()
