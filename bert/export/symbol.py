"""MXNet's symbol and parameter files: networks are written to them and read from them."""
import os
import tempfile
import warnings

import mxnet as mx

from bert import files
from bert.errors import UserError
from bert.file_names import FUSED_MODE, symbol_names
from bert.graph_names import FUSED_NODE, FUSED_OPERATOR
from bert.graph_names import SYMBOL_INPUTS as INPUTS


def export_network(network, folder, prefix, epoch=0):
    """Write <prefix>-symbol.json and <prefix>-<epoch>.params into `folder`; returns their paths.

    network: called with three symbols, it returns one; its `collect_params` have values.
    """
    graph = network(*[mx.sym.var(name) for name in INPUTS])
    parameters = {name: value.data(value.list_ctx()[0])
                  for name, value in network.collect_params().items()}
    return write_symbol(graph, parameters, folder, prefix, epoch)


def write_symbol(graph, parameters, folder, prefix, epoch=0):
    """Write the same files for a `mx.sym.Symbol` and {name: NDArray}; returns their paths.

    Parameters that the symbol doesn't use are left out. Each file is complete or absent. Raises
    `UserError` when the folder can't be written or the disk is full.
    """
    input_names = set(graph.list_inputs())
    arrays = {'arg:' + name: value.as_in_context(mx.cpu())
              for name, value in parameters.items() if name in input_names}
    paths = [os.path.join(folder, name) for name in symbol_names(prefix, epoch)]
    with files.explain_write_errors(folder), tempfile.TemporaryDirectory(dir=folder) as temporary:
        new_paths = [os.path.join(temporary, name) for name in symbol_names(prefix, epoch)]
        try:
            graph.save(new_paths[0])
            mx.nd.save(new_paths[1], arrays)
            # MXNet doesn't report an incomplete write of either file: read them back
            mx.sym.load(new_paths[0])
            mx.nd.load(new_paths[1])
        except mx.MXNetError as error:
            raise UserError('%s: the symbol can\'t be written, the disk may be full: %s' % (
                paths[0], str(error).strip().splitlines()[-1])) from None
        for new_path, path in zip(new_paths, paths):
            os.replace(new_path, path)
    return paths


def import_network(folder, prefix, device, epoch=0):
    """The `SymbolBlock` of an exported network. Raises `UserError`, which names the file that can't
    be read."""
    paths = [os.path.join(folder, name) for name in symbol_names(prefix, epoch)]
    read_symbol(*paths)     # has clearer errors than SymbolBlock
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')     # MXNet warns that the inputs have no types yet
        return mx.gluon.SymbolBlock.imports(paths[0], list(INPUTS), paths[1], ctx=device)


def read_symbol(graph_path, parameters_path):
    """(`mx.sym.Symbol`, {name: NDArray}) of an exported network.

    Raises `UserError` for a file that is missing or can't be read, and for a parameter of the
    symbol that the other file lacks.
    """
    for path in (graph_path, parameters_path):
        if not os.path.isfile(path):
            raise UserError('%s: no such file: an exported network has two files, the symbol %s '
                            'and the parameters %s' % (path, os.path.basename(graph_path),
                                                       os.path.basename(parameters_path)))
    if needs_kernels(graph_path) and not hasattr(mx.sym, FUSED_OPERATOR):
        raise missing_kernels_error(graph_path)
    graph = _load_file(graph_path, mx.sym.load)
    arrays = _load_file(parameters_path, mx.nd.load)
    parameters = {name.split(':', 1)[-1]: array for name, array in arrays.items()} \
        if isinstance(arrays, dict) else {}
    names = set(graph.list_inputs())
    if not names.issuperset(INPUTS):
        raise UserError('%s: the inputs of the symbol are not %s: expected a BERT that this '
                        'package or gluonnlp exported' % (graph_path, ', '.join(INPUTS)))
    missing = sorted(names - set(parameters) - set(INPUTS))
    if missing:
        raise UserError('%s: the file lacks %d parameters of %s (%s …): are both files from '
                        'the same model?' % (parameters_path, len(missing),
                                             os.path.basename(graph_path), missing[0]))
    return graph, parameters


def _load_file(path, load):
    try:
        return load(path)
    except (mx.MXNetError, ValueError, AssertionError) as error:
        raise UserError('%s: not an exported network: %s'
                        % (path, str(error).strip().splitlines()[-1])) from None


def is_quantized(graph):
    """Whether any operator of a symbol computes in INT8."""
    content = graph.tojson()
    return '_contrib_quantize_v2' in content or FUSED_NODE in content


def needs_kernels(path):
    """Whether a file holds a symbol that needs the fused kernels; False if it can't be read."""
    try:
        with open(path, encoding='utf-8', errors='replace') as file:
            return FUSED_NODE in file.read()
    except OSError:
        return False


def missing_kernels_error(path):
    """A `UserError` for a file that `needs_kernels`."""
    return UserError('%s: a model that --calib_mode %s made needs the fused CPU kernels, which '
                     'are not available here (docs/kernels.rst): quantize the model with another '
                     '--calib_mode' % (path, FUSED_MODE))
