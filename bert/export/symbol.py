"""A network as MXNet's symbol and parameters, and back."""
import os
import tempfile
import warnings

import mxnet as mx

from bert import files
from bert.errors import UserError
from bert.layout import symbol_names

INPUTS = ('data0', 'data1', 'data2')    # token_ids, segment_ids, valid_length, as Gluon names them


def export_network(network, folder, prefix, epoch, device, shape):
    """Write <prefix>-symbol.json and <prefix>-<epoch>.params into `folder`; returns their paths.

    network: hybridized, of three inputs. shape: (batch, length) of a batch that it takes.
    Each file is whole or absent. Raises `UserError` when the disk refuses.
    """
    token_ids = mx.nd.zeros(shape, ctx=device, dtype='int32')
    # a hybrid block can be exported once it has seen an input
    dtype = network.bert.word_embed[0].weight.dtype
    network(token_ids, token_ids, mx.nd.ones(shape[:1], ctx=device, dtype=dtype)).wait_to_read()
    paths = [os.path.join(folder, name) for name in symbol_names(prefix, epoch)]
    with files.writing(folder), tempfile.TemporaryDirectory(dir=folder) as temporary:
        parts = [os.path.join(temporary, name) for name in symbol_names(prefix, epoch)]
        try:
            network.export(os.path.join(temporary, prefix), epoch=epoch)
            # MXNet doesn't report a short write of either file: read them back
            mx.sym.load(parts[0])
            mx.nd.load(parts[1])
        except mx.MXNetError as error:
            raise UserError('%s: the symbol can\'t be written, the disk may be full: %s' % (
                paths[0], str(error).strip().splitlines()[-1])) from None
        for part, path in zip(parts, paths):
            os.replace(part, path)
    return paths


def import_network(folder, prefix, epoch, device):
    """The `SymbolBlock` of an exported network. Raises `UserError` naming what can't be read."""
    paths = [os.path.join(folder, name) for name in symbol_names(prefix, epoch)]
    for path in paths:
        if not os.path.isfile(path):
            raise UserError('%s: no such file: expected what --export writes' % path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')     # the inputs' types are open until they come
            return mx.gluon.SymbolBlock.imports(paths[0], list(INPUTS), paths[1], ctx=device)
    except (mx.MXNetError, ValueError, AssertionError) as error:
        raise UserError('%s: not an exported network: %s'
                        % (paths[0], str(error).strip().splitlines()[-1])) from None
