"""The libraries for other CPUs, as far as this CPU can run them: each repeats the numerical tests.
A process can load only one library, so each library has its own process."""
import os
import pathlib
import subprocess
import sys

import pytest

from bert.model.kernels import targets

HERE = pathlib.Path(__file__).parent
FILES = ('test_fused_encoder.py', 'test_fused_quantizer.py', 'test_fused_dropout.py',
         'test_fused_selected.py', 'test_fused_dense.py', 'test_fused_optimizer.py')
SELECTION = 'not (thousand and 00)'      # of the thousand random networks only the first hundred


@pytest.mark.exhaustive
@pytest.mark.parametrize('build', targets.BUILDS[1:], ids=lambda build: build.name)
def test_numbers(need_cpu_for, build):
    need_cpu_for(build)
    process = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '--all', '-k', SELECTION]
        + [str(HERE / name) for name in FILES],
        env=dict(os.environ, BERT_KERNELS=build.name, BERT_NO_SKIPS='but-optional'),
        capture_output=True, text=True)
    assert process.returncode == 0, process.stdout[-5000:]


@pytest.mark.parametrize('build', [
    pytest.param(build, marks=[pytest.mark.exhaustive] * (build is not targets.BUILDS[-1]))
    for build in targets.BUILDS[1:]], ids=lambda build: build.name)
def test_a_missing_type(need_cpu_for, build):
    """float32 computes instead, and one log line says so. A symbol of that type always fails."""
    need_cpu_for(build)
    code = ('from support import fused_networks\n'
            'for dtype in ("float32", "bfloat16", "int8"):\n'
            '    network = fused_networks.make(dtype=dtype)\n'
            '    print(dtype, network.is_fused(), network.is_fused(dtype),\n'
            '          network(*fused_networks.batch([5, 3])).asnumpy().sum())\n'
            'from bert.model.kernels import gluon_hooks, quantizer\n'
            'from bert.quantization.tune import symbol_block\n'
            'import mxnet as mx\n'
            'with gluon_hooks.allow_fusion():\n'
            '    graph = network(*[mx.sym.var("data%d" % i) for i in range(3)])\n'
            'values = {name: one.data() for name, one in network.collect_params().items()}\n'
            'block = symbol_block(quantizer.with_attributes(graph, dtype="bfloat16"), values)\n'
            'for _ in range(2):\n'
            '    try:\n'
            '        block(*fused_networks.batch([5, 3])).asnumpy()\n'
            '    except mx.MXNetError as error:\n'
            '        print("dtype bfloat16: this library has no products of it" in str(error))\n')
    environment = dict(os.environ, BERT_KERNELS=build.name, PYTHONPATH=os.pathsep.join(sys.path))
    process = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                             check=True, env=environment)
    *lines, first_result, second_result = [line.split() for line in process.stdout.splitlines()]
    assert first_result == second_result == ['True']
    assert [line[:3] for line in lines] == [
        [dtype, 'True', str(dtype in build.dtypes)] for dtype in ('float32', 'bfloat16', 'int8')]
    for dtype, _, _, total in lines:
        assert (total == lines[0][3]) == (dtype not in build.dtypes or dtype == 'float32')
    assert process.stderr.splitlines() == [
        'no fused kernels in %s for this CPU and network: computing in float32 instead' % dtype
        for dtype in ('bfloat16', 'int8') if dtype not in build.dtypes]
