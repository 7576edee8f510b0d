"""Hooks into Gluon that the operators need and MXNet's interface for libraries doesn't have.

The `watch_…` functions replace methods of Gluon by wrappers that do the same and a little more.
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
from bert.graph_names import FUSED_NODE, FUSED_OPERATOR


class _Thread(threading.local):
    may_fuse = False


_THREAD = _Thread()


def may_fuse(F):
    """Whether a block that is called with `F` may use the operators: with arrays, in the graph that
    `hybridize` builds, and inside `allow_fusion`. All other symbols consist of MXNet's own
    operators, so that they can be saved, quantized, and run without the library."""
    return F is mx.nd or _THREAD.may_fuse


@contextlib.contextmanager
def allow_fusion(value=True):
    """Context in which symbols may use the operators (True) or may not (False)."""
    old_value, _THREAD.may_fuse = _THREAD.may_fuse, value
    try:
        yield
    finally:
        _THREAD.may_fuse = old_value


def context_arguments(F, array):
    """Keyword arguments for the place where a block that is called with `F` computes: {'ctx':
    context of `array`}, or {} for symbols."""
    return {} if F is mx.sym else {'ctx': array.context}


def value_of(parameter, arguments):
    """The array or symbol of a parameter. arguments: of `context_arguments`."""
    return parameter.data(**arguments) if arguments else parameter.var()


def watch_tracing():
    """Hook `hybridize`, so that its graph uses the operators (`may_fuse`), and
    `HybridBlock.export`, so that it writes MXNet's own operators.

    MXNet's `quantize_net_v2` calls the block with lengths of 0 before it exports. The operator
    refuses them; nobody reads that output, so MXNet would raise the error where the next array is
    read. There the graph consists of MXNet's own operators too, and is cleared afterwards.
    Since: the fused operators; MXNet exports no other graph for an operator. Can go when it does.
    """
    get_graph, export = HybridBlock._get_graph, HybridBlock.export

    @functools.wraps(get_graph)
    def _get_graph(block, *args):
        if not block._cached_graph:
            block._trace_inputs = _placeholders(args)
        with allow_fusion(not _is_quantizing()):
            return get_graph(block, *args)

    @functools.wraps(export)
    def _export(block, *args, **kwargs):
        cached_graph = block._cached_graph
        if not _uses_operator(cached_graph):
            try:
                return export(block, *args, **kwargs)
            finally:
                if _is_quantizing():
                    block._clear_cached_op()
        if not hasattr(block, '_trace_inputs'):
            raise UserError('%s: the graph contains the operator %s, which runs only with this '
                            'package: export the block that the graph was made from'
                            % (block.name, FUSED_OPERATOR))
        block._cached_graph = ()
        try:
            with allow_fusion(False):
                get_graph(block, *block._trace_inputs)
            return export(block, *args, **kwargs)
        finally:
            block._cached_graph = cached_graph

    HybridBlock._get_graph, HybridBlock.export = _get_graph, _export


def _is_quantizing():
    """Whether `quantize_net_v2` is on the call stack, under whatever name it was imported."""
    code, frame = mx.contrib.quantization.quantize_net_v2.__code__, sys._getframe()
    while frame and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


def _placeholders(args):
    """The same structure of arguments, with a symbol in place of each value."""
    if isinstance(args, (list, tuple)):
        return type(args)(_placeholders(arg) for arg in args)
    return None if args is None else mx.sym.var('placeholder')


def _uses_operator(graph):
    """Whether a graph contains `FUSED_OPERATOR`. graph: of `HybridBlock._get_graph`, or empty."""
    return bool(graph) and FUSED_NODE in graph[1].tojson()


def watch_gradients(set_accumulation):
    """Hook `Parameter` so that the operators add to gradients with grad_req='add', which they would
    overwrite otherwise. set_accumulation: function (address of a gradient, whether to add).

    Since the fused operators: lib_api.h of MXNet 1.9.1 passes no grad_req. Can go when it does.
    """
    # {parameter: addresses of its gradients with accumulation}
    accumulating_addresses = weakref.WeakKeyDictionary()

    def unset(addresses):
        for address in addresses:
            set_accumulation(address, False)
        del addresses[:]

    def watch(method):
        @functools.wraps(method)
        def wrapper(parameter, *args):
            if parameter not in accumulating_addresses:
                accumulating_addresses[parameter] = []
                weakref.finalize(parameter, unset,
                                 accumulating_addresses[parameter]).atexit = False
            addresses = accumulating_addresses[parameter]
            unset(addresses)        # before the memory is used for something else
            method(parameter, *args)
            if parameter.grad_req == 'add':
                addresses += [address_of(array) for array in parameter._grad or ()
                              if array.stype == 'default' and array.ctx.device_type == 'cpu']
                for address in addresses:
                    set_accumulation(address, True)
        return wrapper

    Parameter._init_grad, Parameter.cast = watch(Parameter._init_grad), watch(Parameter.cast)


def address_of(array):
    """The memory address of the first element of an NDArray."""
    array.wait_to_read()
    pointer = ctypes.c_void_p()
    mx.base.check_call(mx.base._LIB.MXNDArrayGetData(array.handle, ctypes.byref(pointer)))
    return pointer.value
