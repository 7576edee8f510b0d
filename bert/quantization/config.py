"""The configuration file of a tuning run, in the format of lpot's examples."""
import os
from typing import NamedTuple

import yaml

from bert.errors import UserError, did_you_mean
from bert.quantization.loss import Goal

CONFIG_FILES = ('conf.yaml', 'bert.yaml')      # looked for in the current folder
STRATEGIES = ('basic',)
# The keys of the file: each holds further keys, or a value of one of these kinds
NUMBER, WHOLE_NUMBER, TEXT = 'a number', 'a whole number', 'a text'
POSITIVE_NUMBER = 'a whole number from 1 on'
CONFIG_KEYS = {'model': {'name': TEXT, 'framework': TEXT}, 'device': TEXT,
               'tuning': {'strategy': {'name': TEXT},
                          'accuracy_criterion': {'relative': NUMBER, 'absolute': NUMBER},
                          'exit_policy': {'timeout': WHOLE_NUMBER, 'max_trials': POSITIVE_NUMBER},
                          'random_seed': WHOLE_NUMBER}}
MAX_RANDOM_SEED = 2 ** 32 - 1     # NumPy's limit


class TuningConfig(NamedTuple):
    """How a tuning run searches."""
    goal: Goal = Goal()
    timeout: int = 0        # seconds; 0: stop at the first network that meets the goal
    max_trials: int = 100   # as in lpot
    random_seed: int = 1978  # as in lpot
    framework: str | None = None
    path: str | None = None      # absolute path of the file; None: the defaults


def find_config(path=None):
    """The `TuningConfig` in the file `path`, else in conf.yaml or bert.yaml in the current folder,
    else the defaults."""
    path = path or next((name for name in CONFIG_FILES if os.path.isfile(name)), None)
    return read_config(path) if path else TuningConfig()


def read_config(path):
    """The `TuningConfig` in a YAML file. Raises `UserError`, which names the file and the key."""
    try:
        with open(path, encoding='utf-8') as file:
            values = yaml.safe_load(file)
    except OSError as error:
        raise UserError('%s: can\'t be read: %s' % (path, error.strerror)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError('%s: not YAML: %s' % (path, ' '.join(str(error).split()))) from None
    _check_values(path, '', values, CONFIG_KEYS)
    model, tuning = values.get('model') or {}, values.get('tuning') or {}
    seed = tuning.get('random_seed') or 0
    if seed > MAX_RANDOM_SEED:
        raise UserError('%s: tuning.random_seed: %d found, expected at most %d'
                        % (path, seed, MAX_RANDOM_SEED))
    strategy = (tuning.get('strategy') or {}).get('name', STRATEGIES[0])
    if strategy not in STRATEGIES:
        raise UserError('%s: tuning.strategy.name: "%s" found, "%s" expected: the only strategy '
                        'here' % (path, strategy, STRATEGIES[0]))
    if values.get('device', 'cpu') != 'cpu':
        raise UserError('%s: device: "%s" found, "cpu" expected: INT8 is for CPUs here'
                        % (path, values['device']))
    options = dict(tuning.get('exit_policy') or {}, random_seed=tuning.get('random_seed'))
    options = {key: value for key, value in options.items() if value is not None}
    return TuningConfig(goal=_read_goal(path, tuning.get('accuracy_criterion') or {}),
                        path=os.path.abspath(path), framework=model.get('framework'), **options)


def _check_values(path, parent, values, keys):
    """Raises `UserError` for an unknown key, or a value of another kind than `keys` says. parent:
    the key that holds `values`, with dots; '' for the whole file."""
    if not isinstance(values, dict):
        raise UserError('%s: %s: %r found, expected keys with values'
                        % (path, parent or 'the file', values))
    for key, value in values.items():
        name = (parent + '.' + str(key)).lstrip('.')
        if key not in keys:
            raise UserError('%s: unknown key "%s".%s The keys here are %s'
                            % (path, name, did_you_mean(str(key), list(keys)), ', '.join(keys)))
        expected = keys[key]
        if isinstance(expected, dict):
            if value is not None:
                _check_values(path, name, value, expected)
            continue
        if expected == NUMBER and isinstance(value, str):
            value = values[key] = _parse_number(value)      # YAML reads 1e-2 as a text
        if not _is_of_kind(value, expected):
            raise UserError('%s: %s: %r found, expected %s' % (path, name, value, expected))


def _parse_number(text):
    """The number that a text contains, else the text."""
    try:
        return float(text)
    except ValueError:
        return text


def _is_of_kind(value, kind):
    if kind == TEXT:
        return isinstance(value, str)
    types = (int, float) if kind == NUMBER else int
    minimum = 1 if kind == POSITIVE_NUMBER else 0
    return isinstance(value, types) and not isinstance(value, bool) and value >= minimum


def _read_goal(path, criterion):
    if len(criterion) > 1:
        raise UserError('%s: tuning.accuracy_criterion: relative and absolute: give one of the two'
                        % path)
    for key, value in criterion.items():
        try:
            return Goal(value, key == 'relative').check()
        except UserError as error:
            raise UserError('%s: tuning.%s' % (path, error)) from None
    return Goal()
