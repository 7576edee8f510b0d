"""The folder of comparisons, whose scripts are no package."""
import importlib
import pathlib
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / 'benchmarks'


@pytest.fixture
def module(monkeypatch):
    """Function: name → module of the folder of comparisons."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module
    for path in BENCHMARKS.glob('*.py'):
        if path.stem not in before:
            sys.modules.pop(path.stem, None)
