"""The configuration file of a tuning run, in the form that lpot's examples print."""
import os
from typing import NamedTuple

import yaml

from bert.errors import UserError, nearest
from bert.quantization.loss import Goal

NAMES = ('conf.yaml', 'bert.yaml')      # looked for in the current folder
STRATEGIES = ('basic',)
# What may stand in the file, and what each holds: keys, or how a value is read
NUMBER, WHOLE, TEXT = 'a number', 'a whole number', 'a text'
POSITIVE = 'a whole number from 1 on'
KEYS = {'model': {'name': TEXT, 'framework': TEXT}, 'device': TEXT,
        'tuning': {'strategy': {'name': TEXT},
                   'accuracy_criterion': {'relative': NUMBER, 'absolute': NUMBER},
                   'exit_policy': {'timeout': WHOLE, 'max_trials': POSITIVE},
                   'random_seed': WHOLE}}
MOST_SEED = 2 ** 32 - 1     # NumPy's


class Config(NamedTuple):
    """How a tuning run searches."""
    goal: Goal = Goal()
    timeout: int = 0        # seconds; 0: end with the first network that meets the goal
    max_trials: int = 100   # as in lpot
    random_seed: int = 1978  # as in lpot
    framework: str | None = None
    path: str | None = None      # absolute, of the file; None: the defaults


def find_config(path=None):
    """The `Config` of the file `path`, of conf.yaml or bert.yaml in the current folder, or the
    defaults."""
    path = path or next((name for name in NAMES if os.path.isfile(name)), None)
    return read_config(path) if path else Config()


def read_config(path):
    """The `Config` in a YAML file. Raises `UserError` naming file and key."""
    try:
        with open(path, encoding='utf-8') as file:
            values = yaml.safe_load(file)
    except OSError as error:
        raise UserError('%s: can\'t be read: %s' % (path, error.strerror)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError('%s: not YAML: %s' % (path, ' '.join(str(error).split()))) from None
    _check(path, '', values, KEYS)
    model, tuning = values.get('model') or {}, values.get('tuning') or {}
    seed = tuning.get('random_seed') or 0
    if seed > MOST_SEED:
        raise UserError('%s: tuning.random_seed: %d found, at most %d expected'
                        % (path, seed, MOST_SEED))
    strategy = (tuning.get('strategy') or {}).get('name', STRATEGIES[0])
    if strategy not in STRATEGIES:
        raise UserError('%s: tuning.strategy.name: "%s" found, "%s" expected: the only one here'
                        % (path, strategy, STRATEGIES[0]))
    if values.get('device', 'cpu') != 'cpu':
        raise UserError('%s: device: "%s" found, "cpu" expected: INT8 is for CPUs here'
                        % (path, values['device']))
    given = {key: value for part in (tuning.get('exit_policy') or {},
                                     {'random_seed': tuning.get('random_seed')})
             for key, value in part.items() if value is not None}
    return Config(goal=_goal(path, tuning.get('accuracy_criterion') or {}),
                  path=os.path.abspath(path), framework=model.get('framework'), **given)


def _check(path, place, values, keys):
    """Raises `UserError` for a key that isn't known, or a value of another kind."""
    if not isinstance(values, dict):
        raise UserError('%s: %s: keys with values expected, %r found'
                        % (path, place or 'the file', values))
    for key, value in values.items():
        name = (place + '.' + str(key)).lstrip('.')
        if key not in keys:
            raise UserError('%s: unknown key "%s".%s The keys here are %s'
                            % (path, name, nearest(str(key), list(keys)), ', '.join(keys)))
        expected = keys[key]
        if isinstance(expected, dict):
            if value is not None:
                _check(path, name, value, expected)
            continue
        if expected == NUMBER and isinstance(value, str):
            value = values[key] = _number(value)    # YAML takes 1e-2 for a text
        if not _is(value, expected):
            raise UserError('%s: %s: %r found, %s expected' % (path, name, value, expected))


def _number(text):
    """The number that a text says, else the text."""
    try:
        return float(text)
    except ValueError:
        return text


def _is(value, expected):
    if expected == TEXT:
        return isinstance(value, str)
    kinds = (int, float) if expected == NUMBER else int
    return isinstance(value, kinds) and not isinstance(value, bool) and value >= (
        expected == POSITIVE)


def _goal(path, criterion):
    if len(criterion) > 1:
        raise UserError('%s: tuning.accuracy_criterion: relative and absolute: give one of the two'
                        % path)
    for key, value in criterion.items():
        try:
            return Goal(value, key == 'relative').check()
        except UserError as error:
            raise UserError('%s: tuning.%s' % (path, error)) from None
    return Goal()
