"""docs/serving.rst: its commands, its curl lines, its table of routes."""
import json
import pathlib
import re
import subprocess

import pytest
from reference.hub_server import HubServer, Repository
from support import servers, tiny
from support.pages import indented_lines, read
from support.sentence_folders import write_folder

from bert.serving.application import ROUTERS

PAGE = 'docs/serving.rst'
ADDRESS = 'http://127.0.0.1:8080'


def lines(start):
    return [line for line in indented_lines(PAGE) if line.startswith(start)]


@pytest.fixture
def workplace(in_tmp):
    """A folder with the models that the page names."""
    tiny.write_classifier(in_tmp / 'output_dir' / 'RottenTomatoes-001')
    write_folder(in_tmp / 'bge-small', modules=('Pooling', 'Normalize'))
    return in_tmp


@pytest.fixture
def hub(tmp_path):
    folder = pathlib.Path(servers.write_masked_model(tmp_path / 'masked'))
    with HubServer({'google-bert/bert-base-uncased': Repository({
            path.name: path.read_bytes() for path in folder.iterdir()})}) as server:
        yield server


@pytest.mark.process
def test_the_commands(workplace, hub):
    commands = lines('./run serve.py')
    assert len(commands) == 2
    environment = {'HF_ENDPOINT': hub.url, 'HF_HOME': str(workplace / 'hf')}
    for command, names in zip(commands, ({'RottenTomatoes-001'}, {'vectors', 'reviews', 'words'})):
        with servers.started_server(*command.split()[2:], env=environment) as (running, _):
            models = {model['id'] for model in running.ask('/v1/models')['data']}
            assert models == names
            if len(names) == 1:
                check_curl_lines(running)


def check_curl_lines(running):
    commands = lines('curl ')
    assert len(commands) == 1
    for command in commands:
        assert ADDRESS in command
        result = subprocess.run(command.replace(ADDRESS, running.url), shell=True,
                                capture_output=True, text=True)
        labels = json.loads(result.stdout)
        assert {item['label'] for item in labels} == {'bad', 'fine', 'good'}
        assert sum(item['score'] for item in labels) == pytest.approx(1)


def test_the_table_names_all_routes():
    text = read(PAGE)
    table = text[text.index('=====\n'):text.rindex('=====\n')].replace('NAME', '{name}')
    for router in ROUTERS:
        for route in router.routes:
            path = route.path
            if route.include_in_schema and not path.startswith(('/v2', '/admin')):
                assert re.search(r'``(GET |POST )?%s``' % re.escape(path), table), path


@pytest.mark.clients
def test_the_snippet(workplace, capsys, client_library):
    client_library('openai')
    code = '\n'.join(line[4:] for line in re.search(
        r'code-block:: python\n\n((    .*\n|\n)+)', read(PAGE))
        .group(1).splitlines())
    with servers.running_server(('vectors=bge-small',)) as running:
        exec(code.replace(ADDRESS, running.url), {})
    assert re.fullmatch(r'2 \d+\n', capsys.readouterr().out)
