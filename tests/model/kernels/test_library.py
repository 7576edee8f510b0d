"""Without kernels MXNet's own operators compute, and one log line says why."""
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
MESSAGE_END = 'MXNet\'s own operators compute, which is slower'
FLAGS = ' '.join(targets.BUILDS[0].cpu_flags)
MIN_FLAGS = targets.BUILDS[-1].cpu_flags


@pytest.fixture
def open_library(monkeypatch, tmp_path, caplog):
    """Function: (the CPU's flags, content or path of the library, fingerprint of the sources) → the
    reason in the single log line."""
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
        assert end == MESSAGE_END and record.levelno == logging.WARNING
        assert start.startswith('no fused CPU kernels: ')
        return start[len('no fused CPU kernels: '):]
    return run


def compile_library(path, code):
    subprocess.run([shutil.which('g++'), '-shared', '-fPIC', '-x', 'c++', '-', '-o', str(path)],
                   input=code.encode(), check=True)
    return path


def test_another_cpu(open_library):
    assert open_library(flags='') == 'this CPU lacks %s' % ', '.join(MIN_FLAGS)
    assert open_library(flags=' '.join(MIN_FLAGS).replace('fma', '')) == 'this CPU lacks fma'


def test_a_library_that_the_cpu_cannot_run(open_library, monkeypatch):
    monkeypatch.setenv('BERT_KERNELS', 'avx512_bf16')
    assert open_library(flags=FLAGS.replace('avx512_bf16', '')) == 'this CPU lacks avx512_bf16'


def test_a_library_that_does_not_exist(open_library, monkeypatch):
    monkeypatch.setenv('BERT_KERNELS', 'sse2')
    assert open_library() == 'BERT_KERNELS="sse2": expected 0, 1 or one of avx512_bf16, ' \
        'avx512_vnni, avx512, avx2'


@pytest.mark.parametrize('build', targets.BUILDS, ids=lambda build: build.name)
def test_every_cpu_uses_the_fastest_library_it_can_run(build, monkeypatch, tmp_path):
    monkeypatch.delenv('BERT_KERNELS', raising=False)
    (tmp_path / 'cpuinfo').write_text('flags : %s\n' % ' '.join(build.cpu_flags))
    monkeypatch.setattr(cpu, 'CPU_INFO', str(tmp_path / 'cpuinfo'))
    monkeypatch.setattr(library.os.path, 'isfile', lambda path: True)
    choice, path = library.find_library()
    assert choice is build and path.endswith('bert/model/kernels/%s.so' % build.name)


def test_no_cpu_information(open_library, monkeypatch):
    monkeypatch.setattr(cpu, 'CPU_INFO', '/nowhere')
    assert library.missing_flags(targets.BUILDS[-1]) == list(MIN_FLAGS)


def test_it_was_not_built(open_library):
    assert open_library() == \
        'they were not built, because GCC 11 or later was missing: ' + library.REBUILD_ADVICE


def test_a_file_that_is_no_library(open_library, tmp_path):
    reason = open_library(content=b'text')
    assert reason.startswith('%s cannot be loaded (' % (tmp_path / 'kernels.so'))
    assert 'invalid ELF header' in reason or 'file too short' in reason
    assert reason.endswith('): ' + library.REBUILD_ADVICE)


@pytest.mark.parametrize('end', [-1, -1000, 1000, 64])
def test_a_library_without_its_end(open_library, tmp_path, end):
    """The loader would map more than there is, and the process would be killed."""
    path = compile_library(tmp_path / 'whole.so', 'int nothing;')
    reason = open_library(content=path.read_bytes()[:end])
    assert reason == '%s cannot be loaded (the file is truncated): %s' % (
        tmp_path / 'kernels.so', library.REBUILD_ADVICE)


def test_a_foreign_library(open_library, tmp_path):
    path = compile_library(tmp_path / 'other.so', 'int nothing;')
    reason = open_library(content=path)
    assert 'undefined symbol: bert_kernels_built_from' in reason


def test_other_sources(open_library, tmp_path):
    path = compile_library(tmp_path / 'old.so', 'extern "C" const char* bert_kernels_built_from() '
                                                '{ return "older"; }')
    assert open_library(content=path) == \
        '%s was built from other sources or for another MXNet: %s' % (path, library.REBUILD_ADVICE)


def test_another_mxnet(open_library, tmp_path):
    path = compile_library(
        tmp_path / 'new.so', 'extern "C" const char* bert_kernels_built_from() { return "now"; }\n'
        'extern "C" int _opVersion() { return 99; }\n')
    reason = open_library(content=path, fingerprint='now')
    assert reason.startswith('MXNet 1.9.1 refuses %s (' % path) and '99' in reason
    assert reason.endswith('): ' + library.REBUILD_ADVICE)


def test_the_fingerprint_covers_all_that_is_compiled(monkeypatch, tmp_path):
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


def test_the_environment_variable(kernels, monkeypatch, caplog):
    network, arrays = fused_networks.make(), fused_networks.batch([5, 3])
    expected = network(*arrays).asnumpy()
    monkeypatch.setenv('BERT_KERNELS', '0')
    assert library.load() is None and not network.is_fused()
    output = network(*arrays).asnumpy()
    assert output[1, 3:].any()      # own operators compute padding too
    np.testing.assert_allclose(output[0], expected[0], atol=1e-5)
    monkeypatch.setenv('BERT_KERNELS', '1')
    assert network.is_fused() and not caplog.records


@pytest.mark.process
def test_the_first_load_in_several_threads(kernels):
    code = ('import threading\nfrom bert.model.kernels import library\nresults = []\n'
            'threads = [threading.Thread(target=lambda: results.append(library.load()))'
            ' for _ in range(8)]\n'
            '[thread.start() for thread in threads]\n[thread.join() for thread in threads]\n'
            'print(len(set(results)), None in results)')
    process = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                             check=True)
    assert (process.stdout, process.stderr) == ('1 False\n', '')


@pytest.mark.process
def test_beside_the_symbols_of_mxnet(kernels):
    """Horovod makes the symbols of libmxnet.so global. Some of its classes have the same names."""
    code = ('import ctypes\nfrom support import fused_networks\nimport mxnet\n'
            'ctypes.CDLL(mxnet.libinfo.find_lib_path()[0], ctypes.RTLD_GLOBAL)\n'
            'network = fused_networks.make()\n'
            'print(network.is_fused(), network(*fused_networks.batch([5, 3])).asnumpy().shape)')
    process = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                             env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)))
    assert (process.returncode, process.stdout) == (0, 'True (2, 5, 64)\n'), process.stderr


def test_number_of_threads(monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    assert library.number_of_threads() == 3
    for text in ('', 'x', '0'):
        monkeypatch.setenv('OMP_NUM_THREADS', text)
        assert library.number_of_threads() == len(os.sched_getaffinity(0))


# ---- building

def build_extensions(folder, **environment):
    process = subprocess.run([sys.executable, 'setup.py', 'build_ext', '--build-lib', str(folder),
                              '--build-temp', str(folder / 'temporary')], cwd=str(REPOSITORY),
                             env=dict(os.environ, **environment), capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    files = {path.name for path in (folder / 'bert' / 'model' / 'kernels').glob('*')}
    return files, process.stdout + process.stderr


def test_a_library_for_every_cpu(kernels):
    files = {path.name for path in pathlib.Path(targets.SOURCE_FOLDER).parent.glob('*.so')}
    assert files == {'avx512_bf16.so', 'avx512_vnni.so', 'avx512.so', 'avx2.so'}


@pytest.mark.compiles
def test_without_a_compiler_the_package_is_installed(tmp_path):
    files, log = build_extensions(tmp_path, CC='no-compiler', CXX='no-compiler')
    assert not files and 'no-compiler' in log


@pytest.mark.compiles
def test_without_mxnet_the_package_is_installed(tmp_path):
    (tmp_path / 'sitecustomize.py').write_text(
        'import os.path\n'
        'exists = os.path.exists\n'
        'os.path.exists = lambda path: "mxnet/libinfo.py" not in str(path) and exists(path)\n')
    files, log = build_extensions(tmp_path, PYTHONPATH=str(tmp_path))
    assert not files and 'no mxnet to compile the CPU kernels for: left out' in log


def test_it_is_built_for_the_installed_mxnet(kernels):
    assert kernels is library.load()
    assert kernels._functions.bert_kernels_built_from().decode() == \
        targets.fingerprint(mx.__version__)
