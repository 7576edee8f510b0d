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
from bert.flags.options import parse
from bert.model.bert import BERTModel
from bert.model.static_qa import StaticBertForQA

SCRIPTS = {'finetune_classifier.py': finetune_classifier, 'finetune_squad.py': finetune_squad,
           'static_finetune_squad.py': static_finetune_squad}
# scripts with their own tests
OTHER_SCRIPTS = (EVALUATOR, GENERATOR, PRETRAINING, HOROVOD, EMBEDDING, EXPORT) + TUNING
COMMANDS = [command for command in ALL_COMMANDS if command[1] not in OTHER_SCRIPTS]
every_command = pytest.mark.parametrize('environment,script,arguments,text', COMMANDS,
                                        ids=[command[3] for command in COMMANDS])


def without_gpu(arguments):
    """The arguments without --gpu and its number, if it has one."""
    index = arguments.index('--gpu')
    has_number = arguments[index + 1:index + 2] and arguments[index + 1].isdigit()
    return arguments[:index] + arguments[index + (2 if has_number else 1):]


@every_command
def test_parsed_word_for_word(environment, script, arguments, text):
    options = parse(SCRIPTS[script].OPTIONS, '', arguments)[0].as_dict()
    for flag, value in zip(arguments, arguments[1:] + ['--']):
        if not flag.startswith('--'):
            continue
        option = options[flag[2:]]
        if value.startswith('--'):
            assert option == 0 if flag == '--gpu' else option is True
        else:
            assert option == type(option)(value)


@every_command
def test_a_missing_gpu_is_reported_in_one_line(environment, script, arguments, text, call, in_tmp):
    outcome = call(SCRIPTS[script], *arguments)
    assert outcome.code == 2
    assert outcome.err == (
        'error: --gpu 0: no GPU for this MXNet: it is the CPU build, GPUs need mxnet-cu112 or '
        'mxnet-cu117; leave --gpu out to run on the CPU\n')


@pytest.fixture(scope='session')
def checkpoint_for(tmp_path_factory, roomy_bert):
    """checkpoint_for(arguments) → `roomy_bert`, or a checkpoint as wide as the large model if the
    arguments name that model."""
    wide_bert = tiny.write_checkpoint(
        tmp_path_factory.mktemp('wide') / 'bert',
        dataclasses.replace(tiny.CONFIG, num_layers=1, max_length=512, units=1024, num_heads=16))
    return lambda arguments: wide_bert if 'bert_24_1024_16' in arguments else roomy_bert


def is_slow(script, arguments):
    """Whether a run takes long: with a wide static network, of which --version_2 is the other."""
    return script.startswith('static') and '--version_2' not in arguments


@pytest.mark.parametrize('environment,script,arguments,text', [
    pytest.param(*command, id=command[3],
                 marks=[pytest.mark.exhaustive] * is_slow(command[1], command[2]))
    for command in COMMANDS])
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
    """The command runs as printed, in the folder of its two files."""
    (_, script, arguments, _), = [command for command in ALL_COMMANDS if command[1] == EVALUATOR]
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
    """The command runs as printed, with the real vocabulary."""
    (_, _, arguments, _), = [command for command in ALL_COMMANDS if command[1] == GENERATOR]
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
    """The parser takes the flags as printed; without a GPU the script prints one line; then it
    runs on the CPU with the test's data and model."""
    check_parsed(run_pretraining, arguments)
    assert call(run_pretraining, *arguments).err == (
        'error: --gpus 0: no GPU for this MXNet: it is the CPU build, GPUs need mxnet-cu112 or '
        'mxnet-cu117; leave --gpus out to run on the CPU\n')
    write_pretraining_data(in_tmp, call)
    outcome = call(run_pretraining, *cpu_arguments(arguments), *TINY_MODEL_FLAGS)
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
@pytest.mark.parametrize('num_workers, arguments', [
    (i, arguments) for i, (launcher, arguments) in enumerate(HOROVOD_COMMANDS, 1)
    if launcher == 'horovodrun'], ids=['1', '8'])
def test_horovod(num_workers, arguments, horovodrun, call, in_tmp):
    """The first command has one worker as printed, the second has two workers. Both run on the
    CPU with the test's data and model."""
    write_pretraining_data(in_tmp, call)
    script = pathlib.Path(run_pretraining_hvd.__file__)
    process = subprocess.run(
        [horovodrun, '-np', str(num_workers), '-H', 'localhost:%d' % num_workers, sys.executable,
         str(script)] + cpu_arguments(arguments) + TINY_MODEL_FLAGS, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert json.loads((in_tmp / 'ckpt' / 'results.json').read_text())['workers'] == num_workers
    output = process.stdout + process.stderr
    assert len(re.findall(r'\[step \d+\]', output)) == (10 if num_workers == 1 else 1)


TINY_MODEL_FLAGS = ['--bert_config', 'sizes.json', '--dataset_name', 'vocab.txt']


def check_parsed(script, arguments):
    """Check that the parser takes the values as printed."""
    options = parse(script.OPTIONS, '', arguments)[0].as_dict()
    words = [word for argument in arguments for word in argument.split('=')]
    for flag, value in zip(words, words[1:]):
        if flag.startswith('--') and not value.startswith('--'):
            option = options[flag[2:]]
            assert option == (tuple(map(int, value.split(','))) if flag == '--gpus'
                              else type(option)(value))


def write_pretraining_data(folder, call):
    """Write data of the tiny vocabulary into the folders that the commands name, and the sizes
    of a tiny model."""
    (folder / 'sizes.json').write_text(json.dumps(
        dict(num_layers=2, units=8, hidden_size=16, num_heads=2, max_length=128)))
    (folder / 'vocab.txt').write_text(''.join(token + '\n' for token in tiny.TOKENS))
    tiny.write_corpus(folder / 'text.txt')
    for name in ('out', 'train', 'dev'):
        assert call(create_pretraining_data, '--input_file', 'text.txt', '--vocab', 'vocab.txt',
                    '--output_dir', name, '--num_workers', 1).code == 0


def cpu_arguments(arguments):
    """The arguments without GPUs, their dtype and unavailable weights, with few steps and the
    data folders of the test."""
    words = list(arguments)
    for flag in ('--gpus', '--dtype'):
        if flag in words:
            del words[words.index(flag):words.index(flag) + 2]
    words = [word.replace('/path/to/generated/samples/', '') for word in words
             if word != '--pretrained']
    return ['3' if word == '1000000' else word for word in words]


def test_the_static_snippet_of_seed_000(data_dir, tmp_path, monkeypatch):
    """The snippet runs line by line. The page has its lines from the seed."""
    lines = [line.strip() for line in re.findall(
        r'\.\. code-block:: python\n\n((?:    .+\n)+)', PAGE.read_text(encoding='utf-8'))[0]
        .splitlines()]
    seed, = (data_dir.parent / 'seeds').glob('000*.txt')
    seed_lines = {line.strip() for line in seed.read_text(encoding='utf-8').splitlines()}
    assert {'$ ' + line for line in lines} < seed_lines
    for name in ('SEQLENGTH', 'INPUTSIZE'):
        monkeypatch.setenv(name, '')
    names = {'os': os, 'StaticBertForQA': StaticBertForQA,
             'bert': BERTModel(tiny.CONFIG, use_pooler=False),
             'args': argparse.Namespace(seq_length=16, input_size=8, output_dir=str(tmp_path),
                                        epochs=2)}
    for line in lines:
        if line.startswith('net.export'):
            names['net'].initialize()
            token_ids = mx.nd.zeros((2, 16))
            assert names['net'](token_ids, token_ids, mx.nd.ones(2)).shape == (2, 16, 2)
        exec(line, names)
    assert {path.name for path in tmp_path.iterdir()} == {'static_net-symbol.json',
                                                          'static_net-0002.params'}


SCRIPT_COMMAND = re.compile(
    r'(\$ .*|^ *)python (-m torch.distributed.launch )?(bert_embedding/bert|'
    r'finetune_classifier|finetune_squad|static_finetune_squad|evaluate-v2\.0|'
    r'create_pretraining_data|run_pretraining|run_pretraining_hvd|export/export|'
    r'examples/run_glue_tune|examples/run_squad|examples/run_squad_tune)\.py')


def printed_commands(path):
    """The commands of a seed, each in one line with single spaces."""
    text = re.sub(r'\\\n', ' ', path.read_text(encoding='utf-8'))
    return {' '.join(line.replace('```', '').split()).lstrip('$ ')
            for line in text.splitlines() if SCRIPT_COMMAND.search(line)}


def test_the_page_has_every_command_of_the_seeds(data_dir):
    seed_commands = set().union(*map(printed_commands, (data_dir.parent / 'seeds').glob('*.txt')))
    assert seed_commands == {' '.join(text.split()) for _, _, _, text in ALL_COMMANDS}
    assert len(seed_commands) == 6 + 6 + 3 + 1 + 1 + 2 + 3 + 1 + 1 + 5
