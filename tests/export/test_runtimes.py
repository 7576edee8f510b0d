"""An exported symbol computes the outputs of its network, for any shapes in any order."""
import functools
import gc
import os
import signal
import sys

import mxnet as mx
import numpy as np
import onnx
import pytest
from support import fused_networks, tiny_networks

from bert.errors import UserError
from bert.export import runtimes
from bert.export.onnx_graph import build_onnx_model
from bert.export.symbol import export_network, is_quantized, read_symbol
from bert.model.classification import BERTClassifier
from bert.model.inference import InterleavedNetwork
from bert.model.kernels.quantizer import FusedQuantizer
from bert.train.checkpoint import collect_parameters

MAKERS = {'classifier': tiny_networks.make_classifier, 'answers': tiny_networks.make_qa,
          **{name: functools.partial(tiny_networks.make_classifier, **changes)
             for name, changes in tiny_networks.RELATIVES.items()}}


@pytest.mark.parametrize('make', MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize('wrap', [lambda network: network, InterleavedNetwork],
                         ids=['network', 'interleaved network'])
def test_symbol(make, wrap, tmp_path):
    network = make()
    paths = export_network(wrap(network), str(tmp_path), 'net')
    assert paths == [str(tmp_path / 'net-symbol.json'), str(tmp_path / 'net-0000.params')]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['net-0000.params',
                                                               'net-symbol.json']
    runtime = runtimes.open_symbol(paths[0], mx.cpu())
    # lengths below, at and above multiples of LENGTH_MULTIPLE; the first shape again at the end
    for i, shape in enumerate(((2, 16), (1, 1), (3, 15), (3, 17), (1, 40), (20, 33), (2, 16))):
        arrays = tiny_networks.batch(*shape, seed=i)
        tiny_networks.assert_same(runtime(*arrays), tiny_networks.outputs(network, arrays),
                                  arrays[2])


def test_plans_stay_within_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(runtimes, 'MAX_PLAN_TOKENS', 64)
    network = tiny_networks.make_classifier()
    path, _ = export_network(network, str(tmp_path), 'net')
    runtime = runtimes.open_symbol(path, mx.cpu())
    for size in (1, 2, 1, 3, 8):        # number of rows of 16 tokens
        arrays = tiny_networks.batch(size, 5)
        tiny_networks.assert_same(runtime(*arrays), tiny_networks.outputs(network, arrays),
                                  arrays[2])
        shapes = list(runtime._plans)
        assert shapes[-1] == (size, 16)
        assert len(shapes) == 1 or sum(map(np.prod, shapes)) <= 64
    assert shapes == [(8, 16)]


def test_padding_ends_at_the_positions(kernels):
    """A fused operator refuses a longer text than it has positions for."""
    network = BERTClassifier(fused_networks.make(fused_networks.make_config(max_length=40),
                                                 use_pooler=True))
    network.classifier.initialize()
    network.hybridize()
    arrays = fused_networks.batch([40, 3])
    expected = network(*arrays).asnumpy()
    runtime = runtimes.SymbolRuntime(*FusedQuantizer(network).quantize(), mx.cpu())
    outputs = runtime(*[array.asnumpy() for array in arrays])
    assert np.abs(outputs - expected).max() < 0.1 * np.abs(expected).max()
    assert list(runtime._plans) == [(2, 40)]


def test_unreadable_symbols(tmp_path):
    network = tiny_networks.make_classifier()
    graph, parameters = export_network(network, str(tmp_path), 'net')
    assert not is_quantized(read_symbol(graph, parameters)[0])

    def message():
        with pytest.raises(UserError) as error:
            read_symbol(graph, parameters)
        return str(error.value)
    export_network(tiny_networks.make_classifier(), str(tmp_path), 'other')
    (tmp_path / 'other-0000.params').replace(parameters)
    name = network.classifier[1].bias.name      # the first of 41: Gluon numbers its networks
    assert message() == ('%s: the file lacks 41 parameters of net-symbol.json (%s …): are both '
                         'files from the same model?' % (parameters, name))
    (tmp_path / 'net-0000.params').unlink()
    assert message() == ('%s: no such file: an exported network has two files, the symbol '
                         'net-symbol.json and the parameters net-0000.params' % parameters)
    (tmp_path / 'net-0000.params').write_bytes(b'nothing of MXNet')
    assert message().startswith('%s: not an exported network: ' % parameters)
    (tmp_path / 'net-symbol.json').write_text('{"nodes": 3')
    assert message().startswith('%s: not an exported network: ' % graph)
    mx.sym.FullyConnected(mx.sym.var('data'), num_hidden=2).save(graph)
    mx.nd.save(parameters, {'arg:x': mx.nd.zeros(1)})
    assert message() == ('%s: the inputs of the symbol are not data0, data1, data2: expected a '
                         'BERT that this package or gluonnlp exported' % graph)


@pytest.mark.parametrize('name', sorted(runtimes.ONNX_RUNTIMES))
def test_onnx_without_its_library(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(runtimes.RuntimeNotInstalledError,
                       match='--engine %s: the library is not installed: run "pip install %s", or'
                       % (name, name)):
        runtimes.ONNX_RUNTIMES[name]('x.onnx', 1)


@pytest.mark.parametrize('name', sorted(runtimes.ONNX_RUNTIMES))
def test_onnx_that_cannot_be_read(name, tmp_path):
    (tmp_path / 'x.onnx').write_bytes(b'nothing of ONNX')
    with pytest.raises(UserError, match='x.onnx: not a readable ONNX model: '):
        runtimes.ONNX_RUNTIMES[name](str(tmp_path / 'x.onnx'), 1)


def test_signals_reach_python_after_openvino(tmp_path):
    """Its plugin leaves a stack for signal handlers behind whose memory is gone."""
    pytest.importorskip('openvino')
    path = str(tmp_path / 'model.onnx')
    network = tiny_networks.make_classifier()
    arrays = {name: value.asnumpy() for name, value in collect_parameters(network).items()}
    onnx.save(build_onnx_model(arrays, network.bert.config), path)
    before = runtimes.signal_stack()
    for _ in range(2):
        runtime = runtimes.OpenvinoRuntime(path, 1)
        after = runtimes.signal_stack()
        assert (after.address, after.flags, after.size) == (
            before.address, before.flags, before.size)
        del runtime
        gc.collect()
    received = []
    old_handler = signal.signal(signal.SIGUSR1, lambda number, frame: received.append(number))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, old_handler)
    assert received == [signal.SIGUSR1]
