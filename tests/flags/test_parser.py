"""The parser that all scripts share: its error messages, and the shared flags."""
import os
import subprocess
import sys

import pytest

from bert.flags import threads
from bert.flags.common import DeviceOptions
from bert.flags.finetuning import ModelOptions, OptimizerOptions, RunOutputOptions
from bert.flags.options import build_parser, options
from bert.flags.parser import UNSUPPORTED_FLAGS


@options()
class ScriptOptions(ModelOptions, OptimizerOptions, DeviceOptions, RunOutputOptions):
    """A script's options."""
    unsupported = {'--deploy': 'not part of this script'}


@pytest.fixture
def parser():
    parser = build_parser(ScriptOptions, 'A script.')
    parser.prog = 'script.py'
    return parser


@pytest.fixture
def refusal(parser, capsys):
    """refusal(*arguments) → the error message: one line, and the exit code is 2."""
    def refusal(*arguments):
        with pytest.raises(SystemExit) as error:
            parser.parse_args(arguments)
        out, err = capsys.readouterr()
        assert error.value.code == 2 and out == ''
        assert err.startswith('error: ') and err.endswith('\n') and err.count('\n') == 1
        return err[len('error: '):-1]
    return refusal


# ---- mistakes

@pytest.mark.parametrize('flag,suggestion', [
    ('--epoch', '--epochs'), ('--batchsize', '--batch_size'), ('--Batch_Size', '--batch_size'),
    ('--bert_dataset_name', '--bert_dataset'), ('--out_dir', '--output_dir'), ('--zzz', '')])
def test_unknown_flag_suggests_the_nearest(flag, suggestion, refusal):
    hint = ' Did you mean "%s"?' % suggestion if suggestion else ''
    for arguments in ((flag, '3'), (flag + '=3',)):
        assert refusal(*arguments) == \
            'unknown argument %s.%s (script.py --help lists the flags)' % (flag, hint)


@pytest.mark.parametrize('word, shown', [
    ('caf\udce9', "'caf\\udce9'"),        # the byte E9 of a shell that is not UTF-8
    ('--output_dir=\ud83d', "'--output_dir=\\ud83d'")])
def test_arguments_that_are_not_unicode(word, shown, refusal):
    assert refusal('--lr', '1', word) == (
        'argument 3, %s: half a surrogate pair, or bytes that are not UTF-8 (script.py --help '
        'lists the flags)' % shown)


@pytest.mark.parametrize('value', ['1', '1.5', '-0.1', 'nan'])
def test_a_dropout_rate_is_below_1(value, refusal):
    assert refusal('--dropout', value).startswith(
        'argument --dropout: %s found, expected a number from 0 to below 1' % value)


def test_no_abbreviations(refusal):
    assert refusal('--warmup', '0.1').startswith('unknown argument --warmup.')


def test_unknown_flag_comes_before_a_missing_one(parser, refusal):
    parser.add_argument('--needed', required=True)
    assert refusal('--need', 'x').startswith('unknown argument --need. Did you mean "--needed"?')
    assert refusal('--lr', '1').startswith('the following arguments are required: --needed')


def test_value_that_belongs_to_no_flag(refusal):
    assert refusal('--lr', '1', 'stray').startswith('unknown argument stray')


def test_unsupported_flag_says_why(refusal):
    assert refusal('--deploy') == \
        '--deploy: not part of this script (script.py --help lists the flags)'
    assert refusal('--sentencepiece', 'x.model').startswith(
        '--sentencepiece: SentencePiece models are not supported; a BERT vocabulary is a '
        'vocab.txt, see --bert_checkpoint')
    for flag in UNSUPPORTED_FLAGS:
        assert refusal(flag).startswith('%s: %s' % (flag, UNSUPPORTED_FLAGS[flag]))


@pytest.mark.parametrize('value', ['0', '-3'])
def test_positive_int(value, refusal, parser):
    assert refusal('--batch_size', value).startswith(
        'argument --batch_size: %s found, expected a whole number from 1 on' % value)
    for valid_value in (1, 7):
        assert parser.parse_args(['--batch_size', str(valid_value)]).batch_size == valid_value


@pytest.mark.parametrize('value', ['-0.1', '1.01', '10', 'nan'])
def test_ratio(value, refusal, parser):
    assert refusal('--warmup_ratio', value).startswith(
        'argument --warmup_ratio: %s found, expected a number from 0 to 1' % value)
    for valid_value in ('0', '0.5', '1'):
        assert parser.parse_args(['--warmup_ratio', valid_value]).warmup_ratio == float(valid_value)


@pytest.mark.parametrize('flag,value', [('--batch_size', '1.5'), ('--epochs', 'three'),
                                        ('--lr', 'small'), ('--gpu', 'first'),
                                        ('--seeds', '1,x'), ('--dtype', 'int8')])
def test_error_of_an_invalid_value_names_flag_and_value(flag, value, refusal):
    message = refusal(flag, value)
    assert message.startswith('argument %s: ' % flag) and value in message


def test_flag_without_its_value(refusal):
    assert refusal('--lr').startswith('argument --lr: expected one argument')


# ---- values

def test_gpu_alone_or_with_its_number(parser):
    assert parser.parse_args([]).gpu is None
    assert parser.parse_args(['--gpu']).gpu == 0
    assert parser.parse_args(['--gpu', '--seed', '1']).gpu == 0
    assert parser.parse_args(['--gpu', '3', '--seed', '1']).gpu == 3


def test_flags_of_the_original_and_of_the_issue(parser):
    values = {'bert_model': 'bert_24_1024_16', 'bert_dataset': 'wiki_cn', 'bert_checkpoint': 'x',
              'pretrained_bert_parameters': 'x', 'model_parameters': 'x', 'optimizer': 'lamb',
              'epochs': 4, 'training_steps': 5, 'batch_size': 6, 'accumulate': 7, 'lr': 2e-4,
              'epsilon': 1e-8, 'warmup_ratio': 0.5, 'weight_decay': 0.5, 'max_grad_norm': 2.5,
              'dropout': 0.25, 'dtype': 'float16', 'early_stop': 2, 'seed': 6, 'gpu': 1,
              'threads': 1, 'max_train_samples': 9, 'max_eval_samples': 9, 'output_dir': 'x',
              'ckpt_interval': 3, 'log_interval': 500}
    arguments = ['--overwrite_output_dir', '--resume']
    for name, value in values.items():
        arguments += ['--' + name, str(value)]
    args = vars(parser.parse_args(arguments))
    assert {name: args[name] for name in values} == values
    assert args['overwrite_output_dir'] and args['resume']


def test_defaults_follow_the_seeds(parser):
    args = parser.parse_args([])
    assert (args.lr, args.optimizer, args.batch_size, args.epochs) == (2e-5, 'bertadam', 32, 3)
    assert (args.epsilon, args.warmup_ratio, args.log_interval, args.seed) == (1e-6, 0.1, 10, 2)
    assert (args.accumulate, args.weight_decay, args.max_grad_norm) == (1, 0.01, 1.0)
    assert args.dtype == 'float32'
    assert 1 <= args.threads <= len(os.sched_getaffinity(0))


def test_cores_are_counted_by_affinity():
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, list(cores)[:1])
    try:
        assert threads.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, cores)


@pytest.mark.parametrize('contents, expected', [
    (('150000 100000\n',), 2), (('max 100000\n',), 8), (('50000 100000',), 1), (('x',), 8),
    (('250000\n', '100000\n'), 3), (('-1\n', '100000\n'), 8), ((), 8)])
def test_the_quota_of_a_container(contents, expected, tmp_path, monkeypatch):
    paths = [tmp_path / str(i) for i in range(len(contents))]
    for path, content in zip(paths, contents):
        path.write_text(content)
    monkeypatch.setattr(threads, 'QUOTA_FILES', (('/no/such/file',), tuple(map(str, paths))))
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(8)))
    assert threads.usable_cores() == expected


def test_help_names_each_default_once(parser):
    text = ' '.join(parser.format_help().split())
    assert 'passes over the training set (default: 3)' in text
    assert 'None' not in text and 'False' not in text
    assert 'default: a new ./output_dir/<task>-<number>' in text


def test_lists(parser):
    assert parser.parse_args(['--seeds', '1,2,33']).seeds == (1, 2, 33)


def test_explicit_flags_are_those_of_the_command_line(parser):
    args = parser.parse_args(['--lr', '2e-5', '--resume', '--gpu', '--epochs=3'])
    assert set(args.explicit_flags) == {
        'lr', 'resume', 'gpu', 'epochs'}            # lr too, though it is the default
    assert args.explicit_flags['epochs'] == '--epochs'     # as on the command line
    assert parser.parse_args([]).explicit_flags == {}
    assert parser.parse_args([]).lr == 2e-5       # the default again


def test_command_line_of_the_process(parser, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['script.py', '--seed', '9'])
    assert parser.parse_args().seed == 9


def test_help_shows_defaults(parser, capsys):
    with pytest.raises(SystemExit) as error:
        parser.parse_args(['--help'])
    text = capsys.readouterr().out
    assert error.value.code == 0
    assert '(default: bertadam)' in text and '(default: 2e-05)' in text


def test_threads_reach_mxnet():
    code = ('from bert.flags import threads\n'
            'threads.prepare_mxnet(1)\n'
            'import os\nassert os.environ["OMP_NUM_THREADS"] == "1"\n'
            'import sys\nassert "mxnet" not in sys.modules')
    environment = dict(os.environ, OMP_NUM_THREADS='7')
    subprocess.run([sys.executable, '-c', code], env=environment, check=True)


@pytest.mark.parametrize('flag,value', [('--lr', 'nan'), ('--lr', '-1'), ('--lr', '0'),
                                        ('--max_grad_norm', '0'), ('--weight_decay', '-0.1')])
def test_number_out_of_bounds(flag, value, refusal):
    bound = 'from 0 on' if flag == '--weight_decay' else 'above 0'
    assert refusal(flag, value).startswith(
        'argument %s: %s found, expected a number %s' % (flag, value, bound))


def test_learning_rate_is_called_lr(refusal):
    assert refusal('--learning_rate', '1').startswith('--learning_rate is called --lr here (')
