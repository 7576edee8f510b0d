"""Options of commands: frozen dataclasses, from which flags, `--help` and keywords come.

    @options('training')
    class TrainingOptions(Options):
        epochs: int = flag('passes over the training set', 3, positive_int)

declares the flag --epochs, its help and its default, and the keyword `epochs` of the job. A class
for a command inherits the groups that it is composed of; `@options(epochs=5)` changes defaults.
"""
import argparse
import dataclasses
import functools
import inspect
import shlex
from typing import NamedTuple

from bert.errors import UserError
from bert.flags import kinds
from bert.flags.parser import Parser, explain_unknown_flag

NEGATION = '--no_'      # how the second flag of a switch begins


class Flag(NamedTuple):
    """How an option stands on the command line. names: its flags; () for a positional argument.
    kind: of `bert.flags.kinds`; None for a switch."""
    help: str
    names: tuple
    kind: object
    choices: tuple
    nargs: str
    const: object       # the value of the flag without a value, with nargs '?'
    metavar: object
    hidden: bool        # parsed, for commands that are printed elsewhere, and not in --help


class _EitherWay(argparse.Action):
    """Of a switch with two flags: --no_… sets it to False, the other one to True."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, not option_string.startswith(NEGATION))


def flag(help, default=None, kind=None, *, factory=None, names=None, choices=None, nargs=None,
         const=None, metavar=None, hidden=False, required=False, switch=False):
    """A field of an `Options` class.

    factory: function that gives the default, called for each new object. names: the flags if not
    `--` and the field's name; () for a positional argument. A bool default makes a switch, which
    sets the option to the opposite. switch: one without a default, with two flags. required: there
    is no default.
    """
    is_switch = switch or isinstance(default, bool)
    declaration = Flag(help, names, None if is_switch else kind or kinds.text, choices, nargs,
                       const, metavar, hidden)
    values = {'default_factory': factory} if factory else {} if required else {'default': default}
    return dataclasses.field(metadata={'flag': declaration}, **values)


def options(title=None, aliases=None, **defaults):
    """Class decorator: a group of options, or all options of a command, as a frozen dataclass.

    title: of the group in `--help`. defaults: of inherited options, instead of theirs. aliases:
    {inherited option: further flags}. A class may also declare an inherited option anew; it keeps
    its place in `--help`.
    """
    def decorate(cls):
        annotations = inspect.get_annotations(cls)
        inherited_names = {name for base in cls.__mro__ for name in vars(base).get('own_names', ())}
        cls.title = title
        cls.own_names = tuple(name for name in annotations if name not in inherited_names)
        for name in {**defaults, **(aliases or {})}:
            inherited = next(base.__dataclass_fields__[name] for base in cls.__mro__[1:]
                             if name in getattr(base, '__dataclass_fields__', ()))
            declaration = inherited.metadata['flag']
            names = _flag_names(name, declaration) + (aliases or {}).get(name, ())
            annotations[name] = inherited.type
            setattr(cls, name, dataclasses.field(
                default=defaults.get(name, inherited.default),
                metadata={'flag': declaration._replace(names=names)}))
        cls.__annotations__ = annotations
        return _with_keyword_errors(dataclasses.dataclass(frozen=True, kw_only=True)(cls))
    return decorate


def _with_keyword_errors(cls):
    """The dataclass, whose constructor raises `UserError` for unknown and missing keywords."""
    initialize = cls.__init__

    @functools.wraps(initialize)
    def __init__(self, **keywords):
        keywords = _resolve_keywords(cls, keywords)
        missing = ['/'.join(_flag_names(name, field.metadata['flag'])) or name
                   for name, field in cls.__dataclass_fields__.items()
                   if cls.default_of(name) is dataclasses.MISSING and name not in keywords]
        if missing:
            raise UserError('the following arguments are required: ' + ', '.join(missing))
        initialize(self, **keywords)
    cls.__init__ = __init__
    return cls


@options()
class Options:
    """The base of all options. Raises `UserError` for an unknown keyword, and for a value that a
    flag would not take.

    rules: the class's own rows of `bert.flags.rules`. unsupported: {flag of other programs:
    why the command has none}. folder_flag: the flag of a run's folder. continues_run: whether
    the options of an earlier run are restored; the rules are checked after that. titles: {title of
    a group: its title in this command}. model_options: names of the options that take a path or the
    name of a model on the hub.
    """
    rules = ()
    continues_run = False
    titles = {}
    unsupported = {}
    folder_flag = '--output_dir'
    model_options = ('model_dir', 'bert_checkpoint')

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = _accept_value(field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)

    @classmethod
    def default_of(cls, name):
        """The default of an option; `dataclasses.MISSING` if it is required."""
        return _default_of(cls.__dataclass_fields__[name])

    @classmethod
    def all_rules(cls):
        """The rules of the class and of all its groups."""
        return [rule for base in reversed(cls.__mro__) for rule in vars(base).get('rules', ())]

    @classmethod
    def all_remarks(cls):
        """{option: [what --help says of the rules]}"""
        remarks = {}
        for rule in cls.all_rules():
            for name, remark in rule.remarks.items():
                remarks.setdefault(name, []).append(remark)
        return remarks

    def check(self, explicit, is_final=True):
        """Raise `UserError` if a rule is broken.

        explicit: {option: flag as typed} of the options that the command line or the caller set.
        is_final: False before a resumed run brings its options, which may satisfy a rule.
        """
        for rule in self.all_rules():
            problem = rule.find_problem(self, explicit) if is_final or not rule.can_mend else None
            if problem:
                raise UserError(problem)

    def prepare_mxnet(self):
        """Settings of MXNet that it reads when it is imported; none by default."""

    def as_dict(self):
        """{option: value}"""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def replace(self, **values):
        """A copy with other values."""
        return dataclasses.replace(self, **_resolve_keywords(type(self), values))


def _default_of(field):
    has_factory = field.default_factory is not dataclasses.MISSING
    return field.default_factory() if has_factory else field.default


# From Python


def _accept_value(field, value):
    """The value of an option that a program gives. Raises `UserError`, with argparse's words."""
    declaration = field.metadata['flag']
    if field.default_factory is dataclasses.MISSING and value is field.default:
        return value
    action = argparse.Action(_flag_names(field.name, declaration), field.name,
                             metavar=declaration.metavar, choices=declaration.choices)
    try:
        if declaration.nargs in ('+', '*'):
            if isinstance(value, str) or not hasattr(value, '__iter__'):
                value = [value]
            return tuple(_accept_single(declaration, action, part) for part in value)
        return _accept_single(declaration, action, value)
    except argparse.ArgumentTypeError as error:
        raise UserError(str(argparse.ArgumentError(action, str(error)))) from None
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from None


def _accept_single(declaration, action, value):
    if hasattr(value, 'item') and not getattr(value, 'shape', None):
        value = value.item()        # a number or text of numpy
    if declaration.kind is None:
        if not isinstance(value, bool):
            raise argparse.ArgumentTypeError('%r found, expected True or False' % (value,))
        return value
    value = declaration.kind.accept(value)
    if declaration.choices:
        argparse.ArgumentParser()._check_value(action, value)   # the error in argparse's words
    return value


def make_options(cls, keywords):
    """(options, explicit) of a job that is called with keywords. Raises `UserError`, with the line
    that the script prints."""
    keywords = _resolve_keywords(cls, keywords)
    options = cls(**keywords)
    for name in keywords:
        if getattr(options, name) == ():
            raise UserError('%s: it is empty: give a value, or leave it out' % name)
    return options, {name: _flag_for(cls.__dataclass_fields__[name], value)
                     for name, value in keywords.items()
                     if value is not None and not (isinstance(value, bool)
                                                   and value == cls.default_of(name))}


def _resolve_keywords(cls, keywords):
    """{option: value} of keywords. Raises `UserError` for an unknown one."""
    return dict(_resolve_keyword(cls, *item) for item in keywords.items())


def _resolve_keyword(cls, name, value):
    """(option, value) of a keyword, which may be another flag of the option. Raises `UserError` for
    an unknown one."""
    fields = cls.__dataclass_fields__
    if name in fields:
        return name, value
    flags = {flag: field for field in fields.values()
             for flag in _flag_names(field.name, field.metadata['flag'])}
    for flag, field in flags.items():
        if flag.lstrip('-').replace('-', '_') == name:
            # --no_… turns the option off
            is_negative = field.default is True or (
                field.metadata['flag'].kind is None and flag.startswith(NEGATION))
            return field.name, not value if is_negative else value
    positionals = ['--' + field.name for field in fields.values() if not _flag_names(
        field.name, field.metadata['flag'])]
    raise UserError(explain_unknown_flag('--' + name, [*flags, *positionals], cls.unsupported))


def refuse(explicit, names, reason):
    """Raise `UserError` if one of the options `names` is set explicitly, because it has no effect
    here. reason: why it has none."""
    for name in sorted(explicit.keys() & set(names)):
        raise UserError('%s: %s' % (explicit[name], reason))


def explicit_options(options):
    """{option: flag} of the options that differ from their defaults: those that count as set
    explicitly in an object from Python."""
    return {field.name: _flag_for(field, getattr(options, field.name))
            for field in dataclasses.fields(options)
            if getattr(options, field.name) != _default_of(field)}


def command_line(options):
    """The command that gives a script these options."""
    words = [type(options).__doc__]
    for name, flag_name in sorted(explicit_options(options).items(), key=lambda item: item[0]):
        value = getattr(options, name)
        nargs = options.__dataclass_fields__[name].metadata['flag'].nargs
        parts = [] if isinstance(value, bool) else \
            value if nargs in ('+', '*') else [','.join(map(str, value))] if isinstance(
                value, tuple) else [value]
        words += [flag_name] * flag_name.startswith('-') + [str(part) for part in parts]
    return shlex.join(words)


# From the command line


def build_parser(cls, description):
    """The `Parser` of an `Options` class."""
    parser = Parser(description, cls.unsupported)
    remarks = cls.all_remarks()
    groups = {None: parser}
    for base in cls.__mro__:
        for name in vars(base).get('own_names', ()):
            title = cls.titles.get(base.title, base.title)
            if title not in groups:
                groups[title] = parser.add_argument_group(title)
            _add_flag(groups[title], cls.__dataclass_fields__[name], remarks.get(name, ()))
    return parser


def parse(cls, description, arguments=None):
    """(options, explicit) from a command line, by default the process's. A mistake ends the process
    with one line; a broken rule raises `UserError`."""
    namespace = build_parser(cls, description).parse_args(arguments)
    values = vars(namespace)
    explicit = values.pop('explicit_flags')
    return cls(**values), explicit


def _add_flag(group, field, remarks):
    declaration = field.metadata['flag']
    names = _flag_names(field.name, declaration)
    values = {'default': _default_of(field)}
    if values['default'] is dataclasses.MISSING:
        values = {'required': True} if names else {}
    if names:
        values['dest'] = field.name
    text = '; '.join([declaration.help, *remarks])
    values['help'] = argparse.SUPPRESS if declaration.hidden else text
    if declaration.kind is None:
        if values['default'] is None:
            values.update(action=_EitherWay, nargs=0)
        else:
            values['action'] = 'store_false' if values['default'] else 'store_true'
    else:
        values['type'] = declaration.kind
        values.update((name, getattr(declaration, name)) for name in (
            'choices', 'nargs', 'const', 'metavar') if getattr(declaration, name) is not None)
    group.add_argument(*names or (field.name,), **values)


def _flag_for(field, value):
    """The flag that sets an option to `value`."""
    names = _flag_names(field.name, field.metadata['flag']) or (field.name,)
    return names[-1] if value is False and field.default is None else names[0]


def _flag_names(name, declaration):
    return ('--' + name,) if declaration.names is None else declaration.names
