"""Entry scripts through their command lines, in this process or in one of their own."""
import pytest
import tiny
from commands import Outcome

from bert.errors import run_script


@pytest.fixture
def call(capsys):
    """call(script module, *arguments) → Outcome; the script runs in this process."""
    def call(module, *arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_script(lambda: module.main([str(argument) for argument in arguments]))
        return Outcome(ended.value.code or 0, *capsys.readouterr())
    return call


@pytest.fixture(scope='session')
def tiny_bert(tmp_path_factory):
    """Path of a tiny checkpoint in Hugging Face layout."""
    return tiny.write_checkpoint(tmp_path_factory.mktemp('tiny') / 'bert')


@pytest.fixture(scope='session')
def sst(tmp_path_factory):
    """Path of a tiny SST-2 folder."""
    return tiny.write_sst(tmp_path_factory.mktemp('data') / 'SST-2')


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    """Work in an empty folder with an empty cache and no data folders of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('MXNET_HOME', str(tmp_path / 'mxnet'))
    for name in ('GLUE_DIR', 'BAIDU_ERNIE_DATA_DIR', 'SQUAD_DIR', 'SEQLENGTH', 'INPUTSIZE'):
        monkeypatch.delenv(name, raising=False)
    return tmp_path
