"""The configuration file that lpot's example prints, and mistakes in other files."""
import pytest

from bert.errors import UserError
from bert.quantization.config import TuningConfig, find_config, read_config
from bert.quantization.loss import Goal

EXAMPLE = '''model:
  name: bert
  framework: pytorch

device: cpu

tuning:
    accuracy_criterion:
      relative: 0.01
    exit_policy:
      timeout: 0
      max_trials: 300
    random_seed: 9527
'''


@pytest.fixture
def parse(tmp_path):
    def parse(text):
        (tmp_path / 'c.yaml').write_text(text, encoding='utf-8')
        return read_config(str(tmp_path / 'c.yaml'))
    return parse


def test_the_example(parse, tmp_path):
    assert parse(EXAMPLE) == TuningConfig(Goal(0.01, True), 0, 300, 9527, 'pytorch',
                                          str(tmp_path / 'c.yaml'))


def test_all_keys(parse):
    config = parse('model: {name: x, framework: mxnet}\ndevice: cpu\ntuning:\n'
                   '  strategy: {name: basic}\n  accuracy_criterion: {absolute: 0.5}\n'
                   '  exit_policy: {timeout: 60}\n')
    assert (config.goal, config.timeout, config.max_trials) == (Goal(0.5, False), 60, 100)


def test_empty_sections_are_defaults(parse):
    config = parse('tuning:\n  exit_policy:\n  accuracy_criterion:\n')
    assert config._replace(path=None) == TuningConfig()


@pytest.mark.parametrize('text,reason', [
    ('tuning: {exit_polcy: {}}', 'unknown key "tuning.exit_polcy". Did you mean "exit_policy"? '
                                 'The keys here are strategy, accuracy_criterion, exit_policy, '
                                 'random_seed'),
    ('quantization: {}', 'unknown key "quantization". The keys here are model, device, tuning'),
    ('tuning: {random_seed: 1.5}', 'tuning.random_seed: 1.5 found, expected a whole number'),
    ('tuning: {exit_policy: {timeout: -1}}',
     'tuning.exit_policy.timeout: -1 found, expected a whole number'),
    ('tuning: {exit_policy: {max_trials: 0}}',
     'tuning.exit_policy.max_trials: 0 found, expected a whole number from 1 on'),
    ('tuning: {exit_policy: {timeout: true}}',
     'tuning.exit_policy.timeout: True found, expected a whole number'),
    ('tuning: {accuracy_criterion: {relative: much}}',
     "tuning.accuracy_criterion.relative: 'much' found, expected a number"),
    ('tuning: {accuracy_criterion: {relative: 0.01, absolute: 1}}',
     'tuning.accuracy_criterion: relative and absolute: give one of the two'),
    ('tuning: {strategy: {name: bayesian}}',
     'tuning.strategy.name: "bayesian" found, "basic" expected: the only strategy here'),
    ('tuning: {random_seed: 99999999999}',
     'tuning.random_seed: 99999999999 found, expected at most 4294967295'),
    ('tuning: {accuracy_criterion: {relative: 1}}',
     'tuning.accuracy_criterion: 1 found, expected a number from 0 on and below 1'),
    ('tuning: {accuracy_criterion: {absolute: .inf}}',
     'tuning.accuracy_criterion: inf found, expected a number from 0 on'),
    ('device: gpu', 'device: "gpu" found, "cpu" expected: INT8 is for CPUs here'),
    ('tuning: 3', 'tuning: 3 found, expected keys with values'),
    ('', 'the file: None found, expected keys with values')])
def test_mistakes(parse, tmp_path, text, reason):
    with pytest.raises(UserError) as error:
        parse(text)
    assert str(error.value) == '%s: %s' % (tmp_path / 'c.yaml', reason)


def test_a_number_that_yaml_takes_for_a_text(parse):
    assert parse('tuning: {accuracy_criterion: {relative: 1e-2}}').goal == Goal(0.01)


def test_unreadable(parse, tmp_path):
    with pytest.raises(UserError, match='c.yaml: not YAML: '):
        parse('a: [1')
    with pytest.raises(UserError, match="nowhere.yaml: can't be read: No such file"):
        read_config(str(tmp_path / 'nowhere.yaml'))


def test_no_code_in_it_is_run(parse):
    with pytest.raises(UserError, match='not YAML: could not determine a constructor'):
        parse('device: !!python/object/apply:os.system ["true"]')


def test_files_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config() == TuningConfig()
    (tmp_path / 'bert.yaml').write_text('tuning: {random_seed: 1}')
    assert find_config().random_seed == 1
    (tmp_path / 'conf.yaml').write_text('tuning: {random_seed: 2}')
    assert find_config().random_seed == 2
    (tmp_path / 'mine.yaml').write_text('tuning: {random_seed: 3}')
    assert find_config('mine.yaml').random_seed == 3
