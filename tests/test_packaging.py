"""Installation without a checkout: the source archive, and the package that is built from it."""
import os
import pathlib
import subprocess
import sys
import tarfile

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
# of files that Python, setuptools and the compiler write
GENERATED_SUFFIXES = ('.pyc', '.so')
COMPATIBILITY = 'bert_mxnet_compat.pth'     # goes beside the package
SITE = '_site'      # of ./run docs
KERNELS_PAGE = 'model/kernels/source/README.md'     # for readers of the sources: not installed


def run_setup(folder, *arguments):
    process = subprocess.run([sys.executable, 'setup.py', *map(str, arguments)], cwd=str(folder),
                             env=dict(os.environ, PYTHONPATH=''), capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def files_of(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob('*')
            if path.is_file() and path.suffix not in GENERATED_SUFFIXES and SITE not in path.parts}


@pytest.mark.compiles
def test_every_file_is_installed_from_the_archive(tmp_path):
    """The package has all files of an editable installation. A folder that lacks its __init__.py
    is a package in a checkout, but a wheel leaves it out."""
    run_setup(REPOSITORY, '-q', 'egg_info', '--egg-base', tmp_path, 'sdist', '--dist-dir', tmp_path)
    archive, = tmp_path.glob('*.tar.gz')
    with tarfile.open(str(archive)) as file:
        file.extractall(str(tmp_path / 'sources'))
    source_folder, = (tmp_path / 'sources').iterdir()
    for name in ('run', 'setup.py', 'pyproject.toml', 'README.rst', 'CHANGELOG.rst', 'LICENSE',
                 '.clang-format'):
        assert (source_folder / name).read_bytes() == (REPOSITORY / name).read_bytes()
    assert not (source_folder / 'docs' / SITE).exists()
    for folder in ('bert', 'benchmarks', 'constraints', 'docs', 'tests', '.ci'):
        assert files_of(source_folder / folder) == files_of(REPOSITORY / folder)
    run_setup(source_folder, '-q', 'build_py', '--build-lib', tmp_path / 'installed')
    assert files_of(tmp_path / 'installed' / 'bert') == \
        files_of(REPOSITORY / 'bert') - {COMPATIBILITY, KERNELS_PAGE}
    assert (tmp_path / 'installed' / COMPATIBILITY).is_file()
