"""Rules between options, as rows of a table: each gives an error, and a remark in `--help`.

A rule is about options that are set explicitly. Those that a resumed run brings along can satisfy a
rule, and break none by themselves.
"""
from collections.abc import Callable
from typing import NamedTuple

EMPTY = (None, '', ())      # values that leave an option out


class Rule(NamedTuple):
    """find_problem: function(options, explicit) → the error message, None if the rule holds.
    remarks: {option: what `--help` says of the rule}. can_mend: whether further options can satisfy
    a rule that is broken."""
    find_problem: Callable
    remarks: dict
    can_mend: bool = False


def is_explicit(options, explicit, name):
    """Whether an option is set explicitly, to a value. A switch counts when it is thrown."""
    value = getattr(options, name)
    is_idle = value == options.default_of(name) if isinstance(value, bool) else value in EMPTY
    return name in explicit and not is_idle


def is_active(options, explicit, name):
    """Whether an option is set explicitly, or by the run that is resumed."""
    value = getattr(options, name)
    is_changed = value not in EMPTY and value != options.default_of(name)
    return is_changed or is_explicit(options, explicit, name)


def excludes(first, second, message='%s and %s: give one of the two'):
    """The options `first` and `second` may not be set together. message: the error, with %s for
    each of the two flags, or without."""
    def find_problem(options, explicit):
        if is_active(options, explicit, first) and is_explicit(options, explicit, second):
            return _fill(message, options, explicit, first, second)
        return None
    return Rule(find_problem, {first: 'not with --' + second, second: 'not with --' + first})


def only_with(names, conditions, message='%s: it needs {}'):
    """The options `names` have no effect unless one of the options `conditions` (a name or several)
    is set. message: the error, with %s for the flag and {} for those of `conditions`."""
    conditions = (conditions,) if isinstance(conditions, str) else conditions
    flags = ' or '.join('--' + name for name in conditions)

    def find_problem(options, explicit):
        if any(is_active(options, explicit, name) for name in conditions):
            return None
        return next((_fill(message.format(flags), options, explicit, name) for name in names
                     if is_explicit(options, explicit, name)), None)
    return Rule(find_problem, dict.fromkeys(names, 'only with ' + flags), can_mend=True)


def not_with(names, condition, message):
    """The options `names` have no effect if the option `condition` is set. message: the error, with
    %s for the flag, or without."""
    def find_problem(options, explicit):
        if not is_active(options, explicit, condition):
            return None
        return next((_fill(message, options, explicit, name) for name in names
                     if is_explicit(options, explicit, name)), None)
    return Rule(find_problem, dict.fromkeys(names, 'not with --' + condition))


def needs(name, conditions, message):
    """The option `name` needs one of the options `conditions` (a name or several). message: the
    error; {} in it is the value."""
    conditions = (conditions,) if isinstance(conditions, str) else conditions

    def find_problem(options, explicit):
        if is_explicit(options, explicit, name) and not any(
                is_active(options, explicit, condition) for condition in conditions):
            return message.format(getattr(options, name))
        return None
    return Rule(find_problem, {name: 'needs ' + ' or '.join('--' + condition
                                                            for condition in conditions)},
                can_mend=True)


def needs_one(names, message):
    """At least one of the options `names` must be set. message: the error."""
    def find_problem(options, explicit):
        return None if any(is_active(options, explicit, name) for name in names) else message
    return Rule(find_problem, {}, can_mend=True)


def _fill(message, options, explicit, *names):
    """The message with the flags of the options, as the command line had them."""
    flags = tuple(explicit.get(name) or '--' + name for name in names)
    return message % flags if '%' in message else message
