"""The locks constraints/3.*.txt, which ./run installs, satisfy the ranges in setup.py."""
import pathlib
import re
import runpy

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
LOCKS = {path.stem: path for path in (REPOSITORY / 'constraints').glob('*.txt')}


@pytest.fixture
def setup_arguments(monkeypatch):
    """The arguments with which setup.py calls `setup`."""
    arguments = {}
    monkeypatch.setattr(setuptools, 'setup', lambda **options: arguments.update(options))
    monkeypatch.chdir(REPOSITORY)
    runpy.run_path(str(REPOSITORY / 'setup.py'))
    return arguments


def read_pins(python):
    """{package: version}. Each line must be one pin."""
    lines = [line for line in LOCKS[python].read_text(encoding='utf-8').splitlines()
             if line and not line.lstrip().startswith('#')]
    return dict(re.fullmatch(r'([a-z0-9-]+)==([\w.]+)', line).groups() for line in lines)


def test_each_python_has_its_lock(setup_arguments):
    pythons = SpecifierSet(setup_arguments['python_requires'])
    assert set(LOCKS) == {'3.%d' % minor for minor in range(6, 30) if '3.%d' % minor in pythons}
    run = (REPOSITORY / 'run').read_text(encoding='utf-8')
    assert '        %s) ;;' % ' | '.join(
        sorted(LOCKS, key=lambda python: int(python[2:]))) in run


@pytest.mark.parametrize('python', sorted(LOCKS))
def test_the_lock_satisfies_the_ranges(setup_arguments, python):
    pins = read_pins(python)
    requirements = setup_arguments['install_requires'] + sum(
        setup_arguments['extras_require'].values(), [])
    for requirement in map(Requirement, requirements):
        assert requirement.marker is None
        pin = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin), (requirement, pin)


@pytest.mark.parametrize('python', sorted(LOCKS))
def test_mxnet_is_not_locked(setup_arguments, python):
    """pip would refuse it together with numpy 2, so ./run installs it separately."""
    assert not {name for name in read_pins(python) if name.startswith('mxnet')}
    assert not [line for line in setup_arguments['install_requires'] if 'mxnet' in line]
    assert int(read_pins(python)['numpy'].partition('.')[0]) >= 2
