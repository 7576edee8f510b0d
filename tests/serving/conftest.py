"""One server with a tiny model of each kind, for the tests that change nothing in it."""
import pytest
from support import servers


@pytest.fixture(scope='session')
def model_dirs(tmp_path_factory):
    return servers.write_models(tmp_path_factory.mktemp('models'))


@pytest.fixture(scope='session')
def server(model_dirs):
    with servers.running_server(model_dirs, task=servers.TASKS) as running:
        yield running
