"""Where there are no kernels: MXNet's own operators compute, and one line says why."""
import logging
import os
import pathlib
import shutil
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest
from support import fused_networks

from bert.model.kernels import cpu, library, targets

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
ENDING = 'MXNet\'s own operators compute, which is slower'
FLAGS = ' '.join(targets.BUILDS[0].cpu_flags)
LEAST = targets.BUILDS[-1].cpu_flags


@pytest.fixture
def opening(monkeypatch, tmp_path, caplog):
    """Function: (CPU's flags, content or path of the library, fingerprint of the sources) → what
    the one line says."""
    def run(flags=FLAGS, content=None, fingerprint=None):
        (tmp_path / 'cpuinfo').write_text('processor : 0\nflags\t\t: fpu %s sse\n' % flags)
        monkeypatch.setattr(cpu, 'CPU_INFO', str(tmp_path / 'cpuinfo'))
        path = tmp_path / 'kernels.so'
        if isinstance(content, pathlib.Path):
            path = content
        elif content is not None:
            path.write_bytes(content)
        monkeypatch.setattr(targets, 'file_of', lambda build: str(path))
        if fingerprint:
            monkeypatch.setattr(targets, 'fingerprint', lambda version: fingerprint)
        caplog.clear()
        assert library._open.__wrapped__() is None      # past the cache
        record, = caplog.records
        start, end = record.getMessage().split('; ', 1)
        assert end == ENDING and record.levelno == logging.WARNING
        assert start.startswith('no fused CPU kernels: ')
        return start[len('no fused CPU kernels: '):]
    return run


def compile_library(path, code):
    subprocess.run([shutil.which('g++'), '-shared', '-fPIC', '-x', 'c++', '-', '-o', str(path)],
                   input=code.encode(), check=True)
    return path


def test_another_cpu(opening):
    assert opening(flags='') == 'this CPU lacks %s' % ', '.join(LEAST)
    assert opening(flags=' '.join(LEAST).replace('fma', '')) == 'this CPU lacks fma'


def test_a_library_that_the_cpu_cannot_run(opening, monkeypatch):
    monkeypatch.setenv('BERT_KERNELS', 'avx512_bf16')
    assert opening(flags=FLAGS.replace('avx512_bf16', '')) == 'this CPU lacks avx512_bf16'


def test_a_library_that_does_not_exist(opening, monkeypatch):
    monkeypatch.setenv('BERT_KERNELS', 'sse2')
    assert opening() == 'BERT_KERNELS="sse2": 0, 1 or one of avx512_bf16, avx512_vnni, avx512, ' \
        'avx2 expected'


@pytest.mark.parametrize('build', targets.BUILDS, ids=lambda build: build.name)
def test_every_cpu_takes_the_fastest_library_it_can_run(build, monkeypatch, tmp_path):
    monkeypatch.delenv('BERT_KERNELS', raising=False)
    (tmp_path / 'cpuinfo').write_text('flags : %s\n' % ' '.join(build.cpu_flags))
    monkeypatch.setattr(cpu, 'CPU_INFO', str(tmp_path / 'cpuinfo'))
    monkeypatch.setattr(library.os.path, 'isfile', lambda path: True)
    found, path = library.find_library()
    assert found is build and path.endswith('bert/model/kernels/%s.so' % build.name)


def test_no_cpu_information(opening, monkeypatch):
    monkeypatch.setattr(cpu, 'CPU_INFO', '/nowhere')
    assert library.missing_flags(targets.BUILDS[-1]) == list(LEAST)


def test_it_was_not_built(opening):
    assert opening() == \
        'they were not built, for want of GCC 11 or later: ' + library.REBUILD_ADVICE


def test_no_library(opening, tmp_path):
    found = opening(content=b'text')
    assert found.startswith('%s cannot be loaded (' % (tmp_path / 'kernels.so'))
    assert 'invalid ELF header' in found or 'file too short' in found
    assert found.endswith('): ' + library.REBUILD_ADVICE)


@pytest.mark.parametrize('kept', [-1, -1000, 1000, 64])
def test_a_library_without_its_end(opening, tmp_path, kept):
    """Past the end of what the loader maps, the process would be killed."""
    path = compile_library(tmp_path / 'whole.so', 'int nothing;')
    found = opening(content=path.read_bytes()[:kept])
    assert found == '%s cannot be loaded (its end is missing): %s' % (tmp_path / 'kernels.so',
                                                                     library.REBUILD_ADVICE)


def test_a_library_of_something_else(opening, tmp_path):
    path = compile_library(tmp_path / 'other.so', 'int nothing;')
    found = opening(content=path)
    assert 'undefined symbol: bert_kernels_built_from' in found


def test_other_sources(opening, tmp_path):
    path = compile_library(tmp_path / 'old.so', 'extern "C" const char* bert_kernels_built_from() '
                                                '{ return "older"; }')
    assert opening(content=path) == \
        '%s was built from other sources or for another MXNet: %s' % (path, library.REBUILD_ADVICE)


def test_another_mxnet(opening, tmp_path):
    path = compile_library(
        tmp_path / 'new.so', 'extern "C" const char* bert_kernels_built_from() { return "now"; }\n'
        'extern "C" int _opVersion() { return 99; }\n')
    found = opening(content=path, fingerprint='now')
    assert found.startswith('MXNet 1.9.1 refuses %s (' % path) and '99' in found
    assert found.endswith('): ' + library.REBUILD_ADVICE)


def test_the_fingerprint_is_of_all_that_is_compiled(monkeypatch, tmp_path):
    before = targets.fingerprint('1.9.1')
    assert before == targets.fingerprint('1.9.1') != targets.fingerprint('1.9.2')
    shutil.copytree(targets.SOURCE_FOLDER, tmp_path / 'source')
    monkeypatch.setattr(targets, 'SOURCE_FOLDER', str(tmp_path / 'source'))
    assert targets.fingerprint('1.9.1') == before
    (tmp_path / 'source' / '.ipynb_checkpoints').mkdir()
    assert targets.fingerprint('1.9.1') == before
    for path in (tmp_path / 'source').glob('*.*[ch]'):
        content = path.read_bytes()
        path.write_bytes(content + b' ')
        assert targets.fingerprint('1.9.1') != before
        path.write_bytes(content)
    for flags in ('COMPILER_FLAGS', 'LINKER_FLAGS', 'SHARED_FLAGS', 'BUILDS'):
        with monkeypatch.context() as patch:
            patch.setattr(targets, flags, ('-O0',))
            assert targets.fingerprint('1.9.1') != before


def test_the_switch(kernels, monkeypatch, caplog):
    network, arrays = fused_networks.make(), fused_networks.batch([5, 3])
    expected = network(*arrays).asnumpy()
    monkeypatch.setenv('BERT_KERNELS', '0')
    assert library.load() is None and not network.is_fused()
    output = network(*arrays).asnumpy()
    assert output[1, 3:].any()      # own operators compute padding too
    np.testing.assert_allclose(output[0], expected[0], atol=1e-5)
    monkeypatch.setenv('BERT_KERNELS', '1')
    assert network.is_fused() and not caplog.records


def test_threads_that_come_first_together(kernels):
    code = ('import threading\nfrom bert.model.kernels import library\nfound = []\n'
            'threads = [threading.Thread(target=lambda: found.append(library.load()))'
            ' for _ in range(8)]\n'
            '[one.start() for one in threads]\n[one.join() for one in threads]\n'
            'print(len(set(found)), None in found)')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ('1 False\n', '')


def test_beside_the_symbols_of_mxnet(kernels):
    """Horovod makes those of libmxnet.so global, which has classes of the names of ours."""
    code = ('import ctypes\nfrom support import fused_networks\nimport mxnet\n'
            'ctypes.CDLL(mxnet.libinfo.find_lib_path()[0], ctypes.RTLD_GLOBAL)\n'
            'network = fused_networks.make()\n'
            'print(network.is_fused(), network(*fused_networks.batch([5, 3])).asnumpy().shape)')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)))
    assert (done.returncode, done.stdout) == (0, 'True (2, 5, 64)\n'), done.stderr


def test_threads(monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    assert library.number_of_threads() == 3
    for given in ('', 'x', '0'):
        monkeypatch.setenv('OMP_NUM_THREADS', given)
        assert library.number_of_threads() == len(os.sched_getaffinity(0))


# ---- building

def build(folder, **environment):
    done = subprocess.run([sys.executable, 'setup.py', 'build_ext', '--build-lib', str(folder),
                           '--build-temp', str(folder / 'temporary')], cwd=str(REPOSITORY),
                          env=dict(os.environ, **environment), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = {path.name for path in (folder / 'bert' / 'model' / 'kernels').glob('*')}
    return files, done.stdout + done.stderr


def test_a_library_for_every_cpu(kernels):
    files = {path.name for path in pathlib.Path(targets.SOURCE_FOLDER).parent.glob('*.so')}
    assert files == {'avx512_bf16.so', 'avx512_vnni.so', 'avx512.so', 'avx2.so'}


@pytest.mark.compiles
def test_without_a_compiler_the_rest_is_installed(tmp_path):
    files, said = build(tmp_path, CC='no-compiler', CXX='no-compiler')
    assert not files and 'no-compiler' in said


@pytest.mark.compiles
def test_without_mxnet_the_rest_is_installed(tmp_path):
    (tmp_path / 'sitecustomize.py').write_text(
        'import os.path\n'
        'exists = os.path.exists\n'
        'os.path.exists = lambda path: "mxnet/libinfo.py" not in str(path) and exists(path)\n')
    files, said = build(tmp_path, PYTHONPATH=str(tmp_path))
    assert not files and 'no mxnet to compile the CPU kernels for: left out' in said


def test_it_is_built_for_the_mxnet_that_is_there(kernels):
    assert kernels is library.load()
    assert kernels._functions.bert_kernels_built_from().decode() == \
        targets.fingerprint(mx.__version__)
