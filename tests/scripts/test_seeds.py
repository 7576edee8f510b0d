"""The seeds' commands, read from docs/seeds.rst, parsed as printed and run on a tiny model."""
import argparse
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import mxnet as mx
import pytest
from support import tiny
from support.processes import spawn
from support.seeds_page import (
    ALL_COMMANDS,
    EMBEDDING,
    EVALUATOR,
    EXPORT,
    GENERATOR,
    HOROVOD,
    PAGE,
    PRETRAINING,
    TUNING,
    write_data,
)

from bert import (
    create_pretraining_data,
    finetune_classifier,
    finetune_squad,
    run_pretraining,
    run_pretraining_hvd,
    static_finetune_squad,
)
from bert.data.pretraining.shards import read_shard
from bert.model.bert import BERTModel
from bert.model.static_qa import StaticBertForQA

SCRIPTS = {'finetune_classifier.py': finetune_classifier, 'finetune_squad.py': finetune_squad,
           'static_finetune_squad.py': static_finetune_squad}
# with tests of their own
OTHERS = (EVALUATOR, GENERATOR, PRETRAINING, HOROVOD, EMBEDDING, EXPORT) + TUNING
COMMANDS = [command for command in ALL_COMMANDS if command[1] not in OTHERS]
every_command = pytest.mark.parametrize('environment,script,arguments,text', COMMANDS,
                                        ids=[command[3] for command in COMMANDS])


def without_gpu(arguments):
    """The arguments without --gpu and its number, if it has one."""
    place = arguments.index('--gpu')
    has_number = arguments[place + 1:place + 2] and arguments[place + 1].isdigit()
    return arguments[:place] + arguments[place + (2 if has_number else 1):]


@every_command
def test_parsed_word_for_word(environment, script, arguments, text):
    parsed = vars(SCRIPTS[script].make_parser().parse_args(arguments))
    for flag, value in zip(arguments, arguments[1:] + ['--']):
        if not flag.startswith('--'):
            continue
        stored = parsed[flag[2:]]
        if value.startswith('--'):
            assert stored == 0 if flag == '--gpu' else stored is True
        else:
            assert stored == type(stored)(value)


@every_command
def test_no_gpu_is_told_in_one_line(environment, script, arguments, text, call, in_tmp):
    outcome = call(SCRIPTS[script], *arguments)
    assert outcome.code == 2
    assert outcome.err == (
        'error: --gpu 0: no GPU for this MXNet: it is the CPU build, mxnet-cu112 or mxnet-cu117 '
        'is the one for GPUs; leave --gpu out to run on the CPU\n')


@pytest.fixture(scope='session')
def checkpoint_for(tmp_path_factory, roomy_bert):
    """checkpoint_for(arguments) → `roomy_bert`, or one as wide as the large model where that is
    named."""
    wide = tiny.write_checkpoint(
        tmp_path_factory.mktemp('wide') / 'bert',
        dataclasses.replace(tiny.CONFIG, num_layers=1, max_length=512, units=1024, num_heads=16))
    return lambda arguments: wide if 'bert_24_1024_16' in arguments else roomy_bert


@every_command
def test_runs_on_the_cpu(environment, script, arguments, text, call, checkpoint_for, in_tmp,
                         monkeypatch):
    write_data(in_tmp)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    outcome = call(SCRIPTS[script], *without_gpu(arguments), '--bert_checkpoint',
                   checkpoint_for(arguments))
    assert outcome.code == 0, outcome.err
    if script == 'finetune_classifier.py':
        assert 'validation metrics:' in outcome.err
    else:
        check_squad(arguments, outcome)
    if 'BAIDU_ERNIE_DATA_DIR' in environment:
        assert 'rows of baidu_ernie_data/xnli/train.tsv' in outcome.err


def check_squad(arguments, outcome):
    """The files that the seeds promise, the scores, and the width of an exported network."""
    run, = pathlib.Path('output_dir').iterdir()
    names = {path.name for path in run.iterdir()}
    assert {'predictions.json', 'nbest_predictions.json'} < names
    assert ('null_odds.json' in names) == ('--version_2' in arguments)
    assert ("{'exact': " if '--version_2' in arguments else "{'exact_match': ") in outcome.err
    if '--export' in arguments:
        parameters = mx.nd.load(str(run / 'static_net-0002.params'))
        width, = {array.shape[1] for name, array in parameters.items()
                  if name.endswith('word_embed_embedding0_weight')}
        assert width == (1024 if 'bert_24_1024_16' in arguments else 32)


def test_the_evaluator_of_the_seeds(tmp_path):
    """As printed, where the two files are."""
    (_, script, arguments, _), = [found for found in ALL_COMMANDS if found[1] == EVALUATOR]
    assert arguments == ['dev-v2.0.json', 'predictions.json']
    tiny.write_squad(tmp_path / 'dev-v2.0.json', 6, 1, version_2=True)
    questions = [question for paragraph in tiny.squad_content(6, 1, True)['data'][0]['paragraphs']
                 for question in paragraph['qas']]
    (tmp_path / 'predictions.json').write_text(json.dumps(
        {question['id']: '' for question in questions}))
    outcome = spawn(script, *arguments, cwd=str(tmp_path))
    assert outcome.code == 0, outcome.err
    assert list(json.loads(outcome.out)) == [
        'exact', 'f1', 'total', 'HasAns_exact', 'HasAns_f1', 'HasAns_total', 'NoAns_exact',
        'NoAns_f1', 'NoAns_total']


def test_pretraining_samples(call, in_tmp, monkeypatch):
    """As printed, with the real vocabulary."""
    (_, _, arguments, _), = [found for found in ALL_COMMANDS if found[1] == GENERATOR]
    monkeypatch.delenv('MXNET_HOME')
    outcome = call(create_pretraining_data, *arguments)
    assert outcome.code == 0, outcome.err
    options = json.loads((in_tmp / 'out' / 'manifest.json').read_text())['options']
    for flag, value in zip(arguments, arguments[1:]):
        if flag[2:] in options:
            assert options[flag[2:]] == type(options[flag[2:]])(value)
    assert 'next_sentence_label: ' in outcome.err       # --verbose
    assert read_shard('out/part-000.npz', vocab_size=30522).size > 100


PRETRAINING_COMMANDS = [arguments for _, script, arguments, _ in ALL_COMMANDS
                        if script == PRETRAINING]


@pytest.mark.parametrize('arguments', PRETRAINING_COMMANDS, ids=['one GPU', 'eight GPUs'])
def test_pretraining(arguments, call, in_tmp):
    """Parsed as printed; without a GPU one line; then on the CPU with data and model of the
    test."""
    check_parsed(run_pretraining, arguments)
    assert call(run_pretraining, *arguments).err == (
        'error: --gpus 0: no GPU for this MXNet: it is the CPU build, mxnet-cu112 or mxnet-cu117 '
        'is the one for GPUs; leave --gpus out to run on the CPU\n')
    write_pretraining_data(in_tmp, call)
    outcome = call(run_pretraining, *on_the_cpu(arguments), *OWN_MODEL)
    assert outcome.code == 0, outcome.err
    assert (in_tmp / 'ckpt' / 'checkpoints.json').exists()
    assert len(re.findall(r'\[step \d+\]', outcome.err)) == (10 if '--verbose' in arguments else 1)
    assert 'Eval mlm_loss=' in outcome.err


HOROVOD_COMMANDS = [(text.split()[0], arguments) for _, script, arguments, text in ALL_COMMANDS
                    if script == HOROVOD]


@pytest.mark.parametrize('launcher, arguments', HOROVOD_COMMANDS, ids=['1', '8', 'mpirun'])
def test_horovod_arguments(launcher, arguments):
    check_parsed(run_pretraining_hvd, arguments)


@pytest.mark.horovod
@pytest.mark.parametrize('number, arguments', [
    (number, arguments) for number, (launcher, arguments) in enumerate(HOROVOD_COMMANDS, 1)
    if launcher == 'horovodrun'], ids=['1', '8'])
def test_horovod(number, arguments, horovodrun, call, in_tmp):
    """The first as printed, the second with two workers; on the CPU with data and model of the
    test."""
    write_pretraining_data(in_tmp, call)
    script = pathlib.Path(run_pretraining_hvd.__file__)
    done = subprocess.run(
        [horovodrun, '-np', str(number), '-H', 'localhost:%d' % number, sys.executable,
         str(script)] + on_the_cpu(arguments) + OWN_MODEL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((in_tmp / 'ckpt' / 'results.json').read_text())['workers'] == number
    said = done.stdout + done.stderr
    assert len(re.findall(r'\[step \d+\]', said)) == (10 if number == 1 else 1)


OWN_MODEL = ['--bert_config', 'sizes.json', '--dataset_name', 'vocab.txt']


def check_parsed(script, arguments):
    """That the parser takes the values as they are printed."""
    parsed = vars(script.make_parser().parse_args(arguments))
    words = [word for argument in arguments for word in argument.split('=')]
    for flag, value in zip(words, words[1:]):
        if flag.startswith('--') and not value.startswith('--'):
            stored = parsed[flag[2:]]
            assert stored == (tuple(map(int, value.split(','))) if flag == '--gpus'
                              else type(stored)(value))


def write_pretraining_data(folder, call):
    """Data of the tiny vocabulary in the folders that the commands name, and a tiny model's
    sizes."""
    (folder / 'sizes.json').write_text(json.dumps(
        dict(num_layers=2, units=8, hidden_size=16, num_heads=2, max_length=128)))
    (folder / 'vocab.txt').write_text(''.join(token + '\n' for token in tiny.TOKENS))
    tiny.write_corpus(folder / 'text.txt')
    for name in ('out', 'train', 'dev'):
        assert call(create_pretraining_data, '--input_file', 'text.txt', '--vocab', 'vocab.txt',
                    '--output_dir', name, '--num_workers', 1).code == 0


def on_the_cpu(arguments):
    """The arguments without GPUs, their dtype and weights that can't be had; few steps; data
    where the test has it."""
    left = list(arguments)
    for flag in ('--gpus', '--dtype'):
        if flag in left:
            del left[left.index(flag):left.index(flag) + 2]
    left = [word.replace('/path/to/generated/samples/', '') for word in left
            if word != '--pretrained']
    return ['3' if word == '1000000' else word for word in left]


def test_the_static_snippet_of_seed_000(data_dir, tmp_path, monkeypatch):
    """Line by line from the page, which has them from the seed."""
    lines = [line.strip() for line in re.findall(
        r'\.\. code-block:: python\n\n((?:    .+\n)+)', PAGE.read_text(encoding='utf-8'))[0]
        .splitlines()]
    seed, = (data_dir.parent / 'seeds').glob('000*.txt')
    printed = {line.strip() for line in seed.read_text(encoding='utf-8').splitlines()}
    assert {'$ ' + line for line in lines} < printed
    for name in ('SEQLENGTH', 'INPUTSIZE'):
        monkeypatch.setenv(name, '')
    names = {'os': os, 'StaticBertForQA': StaticBertForQA,
             'bert': BERTModel(tiny.CONFIG, use_pooler=False),
             'args': argparse.Namespace(seq_length=16, input_size=8, output_dir=str(tmp_path),
                                        epochs=2)}
    for line in lines:
        if line.startswith('net.export'):
            names['net'].initialize()
            ids = mx.nd.zeros((2, 16))
            assert names['net'](ids, ids, mx.nd.ones(2)).shape == (2, 16, 2)
        exec(line, names)
    assert {path.name for path in tmp_path.iterdir()} == {'static_net-symbol.json',
                                                          'static_net-0002.params'}


OURS = re.compile(r'(\$ .*|^ *)python (-m torch.distributed.launch )?(bert_embedding/bert|'
                  r'finetune_classifier|finetune_squad|static_finetune_squad|evaluate-v2\.0|'
                  r'create_pretraining_data|run_pretraining|run_pretraining_hvd|export/export|'
                  r'examples/run_glue_tune|examples/run_squad|examples/run_squad_tune)\.py')


def printed_commands(path):
    """The commands of a seed, each in one line with single spaces."""
    text = re.sub(r'\\\n', ' ', path.read_text(encoding='utf-8'))
    return {' '.join(line.replace('```', '').split()).lstrip('$ ')
            for line in text.splitlines() if OURS.search(line)}


def test_the_page_has_every_command_of_the_seeds(data_dir):
    printed = set().union(*map(printed_commands, (data_dir.parent / 'seeds').glob('*.txt')))
    assert printed == {' '.join(text.split()) for _, _, _, text in ALL_COMMANDS}
    assert len(printed) == 6 + 6 + 3 + 1 + 1 + 2 + 3 + 1 + 1 + 5
