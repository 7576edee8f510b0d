"""The three goals of docs/start.rst from a fresh clone, with real weights: every command of a
section runs as it stands there, on small files of one's own."""
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from support import tiny
from support.pages import REPOSITORY, indented_lines, read

from bert.model.kernels import library

pytestmark = [pytest.mark.process, pytest.mark.real_models]
PAGE = 'docs/start.rst'
TITLES = ('Your own texts', 'Search in your own texts', 'A faster model, and ONNX')
# In the place of ./run, which would make an environment: the environment of the tests
RUN = '#!/bin/sh\nscript=$1\nshift\nPYTHONPATH=$PWD exec %s "bert/$script" "$@"\n'
NOT_CLONED = ('.*', '_site', 'output_dir', 'build', '*.egg-info', '__pycache__')
STARTING_SECONDS = 120
NUM_LINES = 10000


@pytest.fixture(scope='module')
def clone(tmp_path_factory):
    """A copy of the repository as a clone has it, with the files that the page names. The kernels
    come along, because their compilation takes a minute."""
    folder = tmp_path_factory.mktemp('clones') / 'clone'
    shutil.copytree(REPOSITORY, folder, ignore=shutil.ignore_patterns(*NOT_CLONED))
    (folder / 'run').write_text(RUN % shlex.quote(sys.executable))
    for seed, kind in enumerate(('train', 'dev')):
        (folder / (kind + '.csv')).write_text('review,mood\n' + ''.join(
            '"%s",%s\n' % (text, ('sad', 'glad')[label])
            for text, label in tiny.sentences(48, seed)))
    (folder / 'reviews.csv').write_text('review\nit was good\n"bad, very bad"\n')
    (folder / 'texts.txt').write_text('a film about a river\n' + ''.join(
        'number %d of the list\n' % number for number in range(NUM_LINES - 1)))
    return folder


def section_lines(title):
    """The lines to type in a section of the page."""
    text = re.split(r'\n-+\n', read(PAGE))
    index = next(i for i, part in enumerate(text) if part.rstrip().endswith('\n' + title))
    blocks = set(re.sub(r'\s*\\\n\s*', ' ', text[index + 1]).split('\n'))
    return [line for line in indented_lines(PAGE) if '    ' + line in blocks]


def environment():
    """Without the empty cache of the tests: the real one has MiniLM."""
    return {name: value for name, value in os.environ.items() if name != 'MXNET_HOME'}


def run(line, clone):
    process = subprocess.run(line, shell=True, cwd=clone, capture_output=True, text=True,
                             env=environment())
    assert process.returncode == 0, '%s\n%s' % (line, process.stderr)
    return process.stdout


def free_port():
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return server.getsockname()[1]


def wait_until_ready(server, port):
    end = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            with urllib.request.urlopen('http://127.0.0.1:%d/health' % port):
                return
        except OSError:
            assert server.poll() is None and time.monotonic() < end
            time.sleep(0.2)


def test_a_classifier_of_ones_own_is_served(clone):
    train, predict, serve, curl = section_lines(TITLES[0])
    output = run(train, clone)
    assert 'Accuracy on dev: ' in output and './run serve.py --model_dir mood' in output
    run(predict, clone)
    records = [json.loads(line) for line in (clone / 'moods.jsonl').read_text().splitlines()]
    assert [record['label'] in ('sad', 'glad') for record in records] == [True, True]
    port = free_port()
    server = subprocess.Popen(shlex.split(serve) + ['--port', str(port)], cwd=clone,
                              env=environment(), stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(server, port)
        labels = json.loads(run(curl.replace('8080', str(port)), clone))
        assert {item['label'] for item in labels} == {'sad', 'glad'}
    finally:
        server.terminate()
        server.wait()


def test_ten_thousand_lines_are_searched(clone):
    embed, search = section_lines(TITLES[1])
    run(embed, clone)
    assert np.load(clone / 'texts.npy').shape == (NUM_LINES, 384)
    query, best, *_ = run(search, clone).splitlines()
    assert query == 'Query: something about films' and 'a film about a river' in best


@pytest.mark.skipif(not library.load(), reason='there are no kernels for this CPU')
def test_int8_and_onnx(clone):
    if not (clone / 'mood').exists():
        run(section_lines(TITLES[0])[0], clone)
    *makers, deploy_int8, deploy_onnx = section_lines(TITLES[2])
    for line in makers:
        run(line, clone)
    for line in (deploy_int8, deploy_onnx):
        assert re.search('glad|sad', run(line, clone))
