"""The seeds' commands, read from docs/seeds.rst, parsed as printed and run on a tiny model."""
import pathlib
import re
import shlex

import pytest
import tiny

from bert import finetune_classifier

PAGE = pathlib.Path(__file__).resolve().parents[2] / 'docs' / 'seeds.rst'
SCRIPTS = {'finetune_classifier.py': finetune_classifier}


def commands():
    """The console commands of the page: [(environment, script, arguments, text)]."""
    blocks = re.findall(r'\.\. code-block:: console\n\n((?:    .+\n)+)',
                        PAGE.read_text(encoding='utf-8'))
    found = []
    for line in [line[4:] for block in blocks for line in block.splitlines()]:
        assert line.startswith('$ '), line
        words = shlex.split(line[2:])
        environment = {}
        while '=' in words[0]:
            name, value = words.pop(0).split('=', 1)
            environment[name] = value
        assert words[0] == 'python', line
        found.append((environment, words[1], words[2:], line[2:]))
    return found


COMMANDS = commands()
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
            assert stored == 0      # a bare --gpu
        else:
            assert stored == type(stored)(value)


@every_command
def test_no_gpu_is_told_in_one_line(environment, script, arguments, text, call, in_tmp):
    outcome = call(SCRIPTS[script], *arguments)
    assert outcome.code == 2
    assert outcome.err == (
        'error: --gpu 0: no GPU for this MXNet: it is the CPU build, mxnet-cu112 or mxnet-cu117 '
        'is the one for GPUs; leave --gpu out to run on the CPU\n')


def inference(similarity):
    return ('neutral', 'entailment', 'contradiction')[int(similarity * 2.99)]


def binary(similarity):
    return int(similarity > 0.5)


def entailment(similarity):
    return ('not_entailment', 'entailment')[binary(similarity)]


def write_data(folder):
    """Each task where its command looks for it."""
    pair = ('sentence1', 'sentence2')
    mrpc = ('#1 String', '#2 String', 'Quality')
    tiny.write_pairs(folder / 'MRPC', mrpc, binary)
    tiny.write_pairs(folder / 'glue_data' / 'MRPC', mrpc, binary)
    tiny.write_sst(folder / 'glue_data' / 'SST-2')
    tiny.write_pairs(folder / 'glue_data' / 'RTE', pair + ('label',), entailment)
    tiny.write_pairs(folder / 'glue_data' / 'MNLI', pair + ('gold_label',), inference,
                     files={'dev': ['dev_matched.tsv', 'dev_mismatched.tsv'],
                            'test': ['test_matched.tsv', 'test_mismatched.tsv']})
    tiny.write_pairs(folder / 'baidu_ernie_data' / 'xnli', ('text_a', 'text_b', 'label'),
                     inference)


@pytest.fixture(scope='session')
def roomy_bert(tmp_path_factory):
    """A tiny model with the 512 positions that the commands count on."""
    import dataclasses
    return tiny.write_checkpoint(tmp_path_factory.mktemp('roomy') / 'bert',
                                 dataclasses.replace(tiny.CONFIG, max_length=512))


@every_command
def test_runs_on_the_cpu(environment, script, arguments, text, call, roomy_bert, in_tmp,
                         monkeypatch):
    write_data(in_tmp)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    outcome = call(SCRIPTS[script], *without_gpu(arguments), '--bert_checkpoint', roomy_bert)
    assert outcome.code == 0, outcome.err
    assert 'validation metrics:' in outcome.err
    if 'BAIDU_ERNIE_DATA_DIR' in environment:
        assert 'rows of baidu_ernie_data/xnli/train.tsv' in outcome.err


def test_the_page_has_every_classifier_command_of_the_seeds(data_dir):
    seeds = data_dir.parent / 'seeds'
    printed = {line.strip().lstrip('$ ') for path in seeds.glob('*.txt')
               for line in path.read_text(encoding='utf-8').splitlines()
               if re.search(r'python \S*finetune_classifier\.py', line)}
    assert printed == {text for _, script, _, text in COMMANDS
                       if script == 'finetune_classifier.py'}
    assert len(printed) == 6
