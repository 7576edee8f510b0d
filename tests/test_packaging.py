"""What is installed where nobody has a checkout: the archive of sources, and what comes of it."""
import os
import pathlib
import subprocess
import sys
import tarfile

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
# what is made by Python, by setuptools and by the compiler
MADE = ('.pyc', '.so')
COMPATIBILITY = 'bert_mxnet_compat.pth'     # goes beside the package


def setup(folder, *arguments):
    done = subprocess.run([sys.executable, 'setup.py', *map(str, arguments)], cwd=str(folder),
                          env=dict(os.environ, PYTHONPATH=''), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def files_of(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob('*')
            if path.is_file() and path.suffix not in MADE}


@pytest.mark.compiles
def test_every_file_is_installed_from_the_archive(tmp_path):
    """What an editable install finds is all there without one: a folder that lacks its
    __init__.py is a package in a checkout, and nothing in a wheel."""
    setup(REPOSITORY, '-q', 'egg_info', '--egg-base', tmp_path, 'sdist', '--dist-dir', tmp_path)
    archive, = tmp_path.glob('*.tar.gz')
    with tarfile.open(str(archive)) as opened:
        opened.extractall(str(tmp_path / 'sources'))
    unpacked, = (tmp_path / 'sources').iterdir()
    for name in ('run', 'setup.py', 'pyproject.toml', 'README.rst', 'LICENSE', '.clang-format'):
        assert (unpacked / name).read_bytes() == (REPOSITORY / name).read_bytes()
    for folder in ('bert', 'benchmarks', 'constraints', 'docs', 'tests', '.ci'):
        assert files_of(unpacked / folder) == files_of(REPOSITORY / folder)
    setup(unpacked, '-q', 'build_py', '--build-lib', tmp_path / 'installed')
    assert files_of(tmp_path / 'installed' / 'bert') == \
        files_of(REPOSITORY / 'bert') - {COMPATIBILITY}
    assert (tmp_path / 'installed' / COMPATIBILITY).is_file()
