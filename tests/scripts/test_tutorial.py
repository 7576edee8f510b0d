"""The tutorial of docs/: its program, on a few pairs of MRPC."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

from bert.model.kernels import library, targets

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'tutorial.rst'
NUM_TRAIN, NUM_DEV = 64, 48     # pairs: half a minute instead of six


@pytest.fixture(scope='module')
def tutorial(data_dir, tmp_path_factory):
    """The folder where it ran, and its output."""
    folder = tmp_path_factory.mktemp('tutorial')
    (folder / 'glue_data' / 'MRPC').mkdir(parents=True)
    for part, num_pairs in (('train', NUM_TRAIN), ('dev', NUM_DEV)):
        text = (data_dir / 'glue' / 'MRPC' / (part + '.tsv')).read_text(encoding='utf-8')
        (folder / 'glue_data' / 'MRPC' / (part + '.tsv')).write_text(
            ''.join(text.splitlines(True)[:1 + num_pairs]), encoding='utf-8')
    process = subprocess.run([sys.executable, str(ROOT / 'docs' / 'run_page.py'), str(PAGE)],
                             cwd=str(folder), capture_output=True, text=True,
                             env=dict(os.environ, OMP_WAIT_POLICY='passive'))
    assert process.returncode == 0, process.stderr
    return folder, process.stdout


@pytest.mark.real_models
def test_what_it_prints(tutorial):
    _, output = tutorial
    fused_methods = ['fused INT8'] * (not library.missing_flags(targets.BUILDS[-1]))
    lines = output.splitlines()
    assert lines[0] == '%d pairs to train on, %d to choose by' % (NUM_TRAIN, NUM_DEV)
    assert lines[1].startswith('[CLS] am ##ro ##zi accused his brother ,')
    assert lines[1].count('[SEP]') == 2
    assert lines[2] == 'label 1'
    assert len(re.findall(r'^epoch \d: mean loss 0\.\d+$', output, re.M)) == 3
    assert '38 products can be INT8;' in output
    match = re.search(r'the classes of (\d+) of %d pairs have changed' % NUM_DEV, output)
    assert int(match.group(1)) < NUM_DEV / 10
    timings = re.findall(r'^batch of (\d+), 128 tokens: (.+) [\d.]+ ms', output, re.M)
    assert timings == [(size, method) for size in ('1', '32')
                       for method in ['float', 'INT8'] + fused_methods]
    assert len(re.findall(r'^fused INT8: F1 0\.\d{4}; loss ', output, re.M)) == len(fused_methods)
    trials = re.findall(r'^trial \d: (\d) in float, nearness (0\.9\d+),', output, re.M)
    assert [int(num_float) for num_float, _ in trials] == list(range(8))
    assert trials[-1][1] > trials[0][1]
    assert len(re.findall(r'^-?0\.\d{5} (?:bert|classifier)\.', output, re.M)) == 8
    assert lines[-1] == 'True'


@pytest.mark.real_models
def test_what_it_writes(tutorial):
    folder, _ = tutorial
    assert {path.name for path in folder.iterdir()} == {'glue_data', 'paraphrase',
                                                        'tutorial_harms.svg'}
    assert set(os.listdir(str(folder / 'paraphrase'))) == {'int8-symbol.json', 'int8-0000.params'}
