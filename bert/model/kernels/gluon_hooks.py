"""Where Gluon has to know of the operators, for which MXNet's interface for libraries has no place.

The functions that watch replace methods of Gluon by some that do the same and a little more.
"""
import contextlib
import ctypes
import functools
import sys
import threading
import weakref

import mxnet as mx
from mxnet.gluon import HybridBlock, Parameter

from bert.errors import UserError
from bert.file_names import FUSED_NODE, FUSED_OPERATOR


class _Thread(threading.local):
    may_fuse = False


_THREAD = _Thread()


def may_fuse(F):
    """Whether a block that is called with `F` may use the operators: with arrays, and in the graph
    that `hybridize` makes for itself. A symbol that somebody asked for is of MXNet's own operators,
    but for `fusing`: it can be saved, quantized, and run where there is no library."""
    return F is mx.nd or _THREAD.may_fuse


@contextlib.contextmanager
def fusing(value=True):
    """Context in which symbols too are of the operators, or not."""
    before, _THREAD.may_fuse = _THREAD.may_fuse, value
    try:
        yield
    finally:
        _THREAD.may_fuse = before


def device_of(F, array):
    """The arguments that say where a block that is called with `F` computes: none of a symbol."""
    return {} if F is mx.sym else {'ctx': array.context}


def value_of(parameter, device):
    """A parameter where `device_of` says."""
    return parameter.data(**device) if device else parameter.var()


def watch_tracing():
    """For `may_fuse`; and `HybridBlock.export` writes MXNet's own operators.

    MXNet's `quantize_net_v2` computes with lengths of 0 before it exports. The operator refuses
    them, nobody reads that output, and MXNet raises the error where the next array is read. So
    there too the graph is of MXNet's own operators, and it is forgotten after that.
    """
    get_graph, export = HybridBlock._get_graph, HybridBlock.export

    @functools.wraps(get_graph)
    def _get_graph(block, *args):
        if not block._cached_graph:
            block._traced_with = _placeholders(args)
        with fusing(not _is_quantizing()):
            return get_graph(block, *args)

    @functools.wraps(export)
    def _export(block, *args, **kwargs):
        fused = block._cached_graph
        if not _uses_operator(fused):
            try:
                return export(block, *args, **kwargs)
            finally:
                if _is_quantizing():
                    block._clear_cached_op()
        if not hasattr(block, '_traced_with'):
            raise UserError('%s: its graph holds the operator %s, which runs with this package '
                            'alone: export the block that it was made from'
                            % (block.name, FUSED_OPERATOR))
        block._cached_graph = ()
        try:
            with fusing(False):
                get_graph(block, *block._traced_with)
            return export(block, *args, **kwargs)
        finally:
            block._cached_graph = fused

    HybridBlock._get_graph, HybridBlock.export = _get_graph, _export


def _is_quantizing():
    """Whether `quantize_net_v2` is calling, under whichever name it was imported."""
    code, frame = mx.contrib.quantization.quantize_net_v2.__code__, sys._getframe()
    while frame and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


def _placeholders(args):
    """The same arguments without their values."""
    if isinstance(args, (list, tuple)):
        return type(args)(_placeholders(one) for one in args)
    return None if args is None else mx.sym.var('placeholder')


def _uses_operator(graph):
    """graph: of `HybridBlock._get_graph`, or empty."""
    return bool(graph) and FUSED_NODE in graph[1].tojson()


def watch_gradients(tell):
    """Have the operators know which gradients are added to (grad_req='add'), which they would
    replace otherwise. tell: function(address, whether it is added to)."""
    known = weakref.WeakKeyDictionary()     # {parameter: addresses that were told of}

    def forget(addresses):
        for address in addresses:
            tell(address, False)
        del addresses[:]

    def watch(method):
        @functools.wraps(method)
        def watched(parameter, *args):
            if parameter not in known:
                known[parameter] = []
                weakref.finalize(parameter, forget, known[parameter]).atexit = False
            addresses = known[parameter]
            forget(addresses)       # before somebody else gets that memory
            method(parameter, *args)
            if parameter.grad_req == 'add':
                addresses += [address_of(array) for array in parameter._grad or ()
                              if array.stype == 'default' and array.ctx.device_type == 'cpu']
                for address in addresses:
                    tell(address, True)
        return watched

    Parameter._init_grad, Parameter.cast = watch(Parameter._init_grad), watch(Parameter.cast)


def address_of(array):
    """Of the first number of an NDArray."""
    array.wait_to_read()
    pointer = ctypes.c_void_p()
    mx.base.check_call(mx.base._LIB.MXNDArrayGetData(array.handle, ctypes.byref(pointer)))
    return pointer.value
