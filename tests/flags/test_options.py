"""Options as dataclasses: the same values and errors from Python as from the command line."""
import argparse
import dataclasses
import pathlib
import shlex

import numpy as np
import pytest

from bert.errors import UserError
from bert.flags import kinds
from bert.flags.options import (
    Options,
    build_parser,
    command_line,
    explicit_options,
    flag,
    make_options,
    options,
    parse,
    refuse,
)
from bert.flags.rules import Rule, excludes, needs, needs_one, not_with, only_with


@options('words')
class WordOptions(Options):
    word: str = flag('a word', metavar='W')
    words: tuple = flag('words', ('a', 'b'), nargs='+')
    columns: tuple | None = flag('columns', None, kinds.text_list)
    file: str = flag('a file', names=('--file', '--input'), required=True)


@options('numbers')
class NumberOptions(Options):
    count: int = flag('a count', 3, kinds.positive_int)
    rate: float = flag('a rate', 0.5, kinds.ratio)
    seeds: tuple | None = flag('seeds', None, kinds.distinct_int_list)
    sizes: tuple = flag('sizes', (1, 32), kinds.positive_int_list)
    gpu: int | None = flag('a GPU', None, kinds.whole_number, nargs='?', const=0)
    threads: int = flag('threads', kind=kinds.positive_int, factory=lambda: 7)


@options(count=4)
class ScriptOptions(WordOptions, NumberOptions):
    """script.py"""
    texts: tuple = flag('texts', (), kinds.any_text, names=(), nargs='*')
    fast: bool = flag('fast', False)
    normalize: bool = flag('leave it', True, names=('--no_normalize',))
    dtype: str = flag('of numbers', 'float32', choices=('float32', 'int8'))
    silent: int | None = flag('a secret', None, kinds.whole_number, hidden=True)
    word: str = flag('another word')
    unsupported = {'--deploy': 'not part of this script'}
    rules = (excludes('fast', 'word'), only_with(('seeds',), 'fast'),
             needs('columns', 'word', '--columns {} need --word'),
             not_with(('rate',), 'dtype', '%s: not with --dtype'),
             not_with(('normalize',), 'count', '%s: not with --count'))


def from_command_line(*arguments):
    return parse(ScriptOptions, 'A script.', arguments)


@pytest.mark.parametrize('arguments, keywords', [
    ('--file x', {'file': 'x'}),
    ('--input x --word y', {'file': pathlib.Path('x'), 'word': 'y'}),
    ('--file x --words c d', {'file': 'x', 'words': ['c', 'd']}),
    ('--file x --columns a,b', {'file': 'x', 'columns': ['a', 'b']}),
    ('--file x --columns a,b', {'file': 'x', 'columns': 'a,b'}),
    ('--file x --count 5 --rate 1', {'file': 'x', 'count': 5, 'rate': 1}),
    ('--file x --seeds 0,2 --sizes 4', {'file': 'x', 'seeds': (0, 2), 'sizes': [4]}),
    ('--file x --gpu', {'file': 'x', 'gpu': 0}),
    ('--file x --gpu 2 --threads 1', {'file': 'x', 'gpu': 2, 'threads': 1}),
    ('--file x --fast --no_normalize', {'file': 'x', 'fast': True, 'normalize': False}),
    ('--file x --no_normalize', {'file': 'x', 'no_normalize': True}),
    ('--file x', {'input': 'x'}), ('--file x --count 2', {'file': 'x', 'count': np.int64(2)}),
    ('--file x --word y', {'file': np.str_('x'), 'word': 'y'}),
    ('--file x --sizes 1,2', {'file': 'x', 'sizes': range(1, 3)}),
    ('one two --file x', {'file': 'x', 'texts': ['one', 'two']}),
    ('--file x --dtype int8 --silent 3', {'file': 'x', 'dtype': 'int8', 'silent': 3})])
def test_keywords_give_the_options_of_the_command_line(arguments, keywords):
    parsed, explicit = from_command_line(*arguments.split())
    script_options, explicit_keywords = make_options(ScriptOptions, keywords)
    assert parsed == script_options
    if keywords.keys() <= ScriptOptions.__dataclass_fields__.keys():    # no other flag's name
        assert parsed == ScriptOptions(**keywords)
    assert set(explicit) == set(explicit_keywords)
    for name, value in dataclasses.asdict(script_options).items():
        assert type(value) is type(getattr(parsed, name)), name


def test_defaults():
    script_options, explicit = make_options(ScriptOptions, {'file': 'x', 'word': None})
    assert script_options.as_dict() == {
        'word': None, 'words': ('a', 'b'), 'columns': None, 'file': 'x', 'count': 4, 'rate': 0.5,
        'seeds': None, 'sizes': (1, 32), 'gpu': None, 'threads': 7, 'texts': (), 'fast': False,
        'normalize': True, 'dtype': 'float32', 'silent': None}
    assert explicit == {'file': '--file'}         # None leaves an option out
    assert NumberOptions().count == 3
    assert ScriptOptions.default_of('threads') == 7


def test_explicit_flags_as_they_were_typed():
    _, explicit = from_command_line('--input', 'x', '--count', '4', 'text')
    assert explicit == {'file': '--input', 'count': '--count', 'texts': ''}
    assert explicit_options(ScriptOptions(file='x', count=4, fast=True)) == {
        'file': '--file', 'fast': '--fast'}


@pytest.mark.parametrize('arguments, keywords', [
    ('--count 0', {'count': 0}), ('--count 2.5', {'count': 2.5}), ('--count two', {'count': 'two'}),
    ('--rate 1.5', {'rate': 1.5}), ('--rate nan', {'rate': float('nan')}),
    ('--seeds 1,1', {'seeds': (1, 1)}), ('--sizes 0', {'sizes': [0]}),
    ('--dtype float16', {'dtype': 'float16'}), ('--gpu first', {'gpu': 'first'}),
    ('--word=', {'word': ''}), ('--words=', {'words': ['']})])
def test_invalid_values_have_one_error(arguments, keywords, capsys):
    with pytest.raises(SystemExit) as exit_error:
        from_command_line('--file', 'x', *arguments.split())
    assert exit_error.value.code == 2
    line = capsys.readouterr().err
    with pytest.raises(UserError) as error:
        make_options(ScriptOptions, dict(keywords, file='x'))
    assert line.startswith('error: %s (' % error.value)
    with pytest.raises(UserError, match='^argument %s: ' % arguments.split()[0].rstrip('=')):
        ScriptOptions(file='x', **keywords)


@pytest.mark.parametrize('keywords, problem', [
    ({'word': 3}, 'argument --word: 3 found, expected a text'),
    ({'fast': 1}, 'argument --fast: 1 found, expected True or False'),
    ({'count': True}, 'argument --count: True found, expected a whole number from 1 on'),
    ({'count': '3'}, "argument --count: '3' found, expected a whole number from 1 on"),
    ({'rate': '0.5'}, "argument --rate: '0.5' found, expected a number from 0 to 1"),
    ({'columns': [1]}, 'argument --columns: [1] found, expected a list of texts'),
    ({'rate': 10 ** 400}, 'argument --rate: 1%s found, expected a number from 0 to 1'
     % ('0' * 400)),
    ({'texts': [1]}, 'argument texts: 1 found, expected a text'),
    ({'word': 'a\0b'}, "argument --word: 'a\\x00b': it holds the character NUL"),
    ({'count': 10 ** 400}, 'argument --count: 1%s found, expected a whole number from 1 on'
     % ('0' * 400)),
    ({'count': 2 ** 63}, 'argument --count: %d found, expected at most %d'
     % (2 ** 63, 2 ** 63 - 1)),
    ({'seeds': '\u00b2'}, 'argument --seeds: \u00b2 found, expected different whole numbers from 0 '
                          'on with commas between them'),
    ({'word': 'a\udce9'}, "argument --word: 'a\\udce9': half a surrogate pair, or bytes that are "
                          'not UTF-8')])
def test_values_of_another_type(keywords, problem):
    with pytest.raises(UserError) as error:
        ScriptOptions(file='x', **keywords)
    assert str(error.value) == problem


@pytest.mark.parametrize('name, problem', [
    ('cout', 'unknown argument --cout. Did you mean "--count"?'),
    ('deploy', '--deploy: not part of this script'),
    ('sentencepiece', '--sentencepiece: SentencePiece models are not supported; a BERT vocabulary '
                      'is a vocab.txt, see --bert_checkpoint')])
def test_unknown_names_have_one_error(name, problem, capsys):
    with pytest.raises(UserError) as error:
        make_options(ScriptOptions, {name: 'x', 'file': 'x'})
    assert str(error.value) == problem
    with pytest.raises(SystemExit):
        from_command_line('--file', 'x', '--' + name, 'x')
    assert capsys.readouterr().err.startswith('error: %s (' % problem)


def test_missing_options_have_one_error(capsys):
    with pytest.raises(UserError) as error:
        make_options(ScriptOptions, {})
    assert str(error.value) == 'the following arguments are required: --file/--input'
    with pytest.raises(SystemExit):
        from_command_line()
    assert capsys.readouterr().err.startswith('error: %s (' % error.value)


def test_options_are_frozen():
    script_options = ScriptOptions(file='x')
    with pytest.raises(dataclasses.FrozenInstanceError):
        script_options.count = 5
    assert script_options.replace(count=5).count == 5 and script_options.count == 4
    with pytest.raises(UserError, match='^argument --count: 0 found'):
        script_options.replace(count=0)
    assert script_options.replace(no_normalize=True, input='y') == ScriptOptions(
        file='y', normalize=False)


def test_constructors_explain_keywords():
    for make in (ScriptOptions, ScriptOptions(file='x').replace):
        with pytest.raises(UserError, match='^unknown argument --cout. Did you mean "--count"'):
            make(cout=1)
        with pytest.raises(UserError, match='^unknown argument --text. Did you mean "--texts"'):
            make(text=['a'])
    with pytest.raises(UserError, match='^the following arguments are required: --file/--input$'):
        ScriptOptions(count=3)


def test_an_empty_list_is_an_error_for_a_job():
    for name in ('texts', 'words', 'columns'):
        with pytest.raises(UserError, match='^%s: it is empty: give a value, or leave it out$'
                                            % name):
            make_options(ScriptOptions, {'file': 'x', name: []})


def test_command_line():
    script_options = ScriptOptions(file='a b', count=5, fast=True, normalize=False, sizes=(1, 2),
                                   words=('c', 'd'), texts=('one text', ''))
    line = command_line(script_options)
    assert line == ("script.py --count 5 --fast --file 'a b' --no_normalize --sizes 1,2 "
                    "'one text' '' --words c d")
    assert from_command_line(*shlex.split(line)[1:])[0] == script_options


# ---- rules

def problem_of(**keywords):
    script_options, explicit = make_options(ScriptOptions, dict(keywords, file='x'))
    try:
        script_options.check(explicit)
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize('keywords, problem', [
    ({}, None),
    ({'fast': True}, None), ({'word': 'y'}, None),
    ({'fast': True, 'word': 'y'}, '--fast and --word: give one of the two'),
    ({'fast': False, 'word': 'y'}, None),
    ({'fast': True, 'word': None}, None),
    ({'normalize': False, 'count': 5}, '--no_normalize: not with --count'),
    ({'no_normalize': True, 'count': 5}, '--no_normalize: not with --count'),
    ({'normalize': True, 'count': 5}, None),
    ({'seeds': (1,)}, '--seeds: it needs --fast'), ({'seeds': (1,), 'fast': True}, None),
    ({'columns': 'a,b'}, "--columns ('a', 'b') need --word"),
    ({'columns': 'a', 'word': 'y'}, None),
    ({'rate': 0.5, 'dtype': 'int8'}, '--rate: not with --dtype'), ({'dtype': 'int8'}, None),
    ({'rate': 0.5}, None)])
def test_rules(keywords, problem):
    assert problem_of(**keywords) == problem


def test_one_of_several_is_needed():
    rule = needs_one(('word', 'gpu'), 'give --word or --gpu')
    assert rule.find_problem(ScriptOptions(file='x'), {}) == 'give --word or --gpu'
    assert rule.find_problem(ScriptOptions(file='x', gpu=0), {}) is None


def test_restored_options_satisfy_rules_and_break_none():
    restored = ScriptOptions(file='x', fast=True, seeds=(1,), word='y')
    restored.check({})
    restored.check({'seeds': '--seeds'})
    with pytest.raises(UserError, match='^--fast and --word: give one of the two$'):
        restored.check({'word': '--word'})


def test_refuse():
    refuse({'count': '--count'}, ('rate', 'word'), 'no')
    with pytest.raises(UserError, match='^--number: no reason$'):
        refuse({'count': '--number', 'word': '--word'}, ('word', 'count'), 'no reason')


# ---- --help

def test_help():
    page = ' '.join(build_parser(ScriptOptions, 'A script.').format_help().split())
    assert 'a count (default: 4)' in page and 'threads (default: 7)' in page
    assert 'another word; not with --fast' in page and 'fast; not with --word' in page
    assert 'seeds; only with --fast' in page and 'columns; needs --word' in page
    assert 'words (default: a b)' in page
    assert 'secret' not in page and '--silent' not in page
    assert page.index('words:') < page.index('numbers:')
    assert page.index('words:') < page.index('another word') < page.index('numbers:')


def test_a_group_keeps_its_defaults():
    assert issubclass(ScriptOptions, NumberOptions)
    assert NumberOptions.default_of('count') == 3 and ScriptOptions.default_of('count') == 4


def test_all_rules_name_options():
    """Each remark of --help belongs to an option of the class."""
    from bert import jobs
    classes = {job.options_class for job in vars(jobs).values() if isinstance(job, jobs.Job)}
    assert len(classes) == 19
    for cls in classes:
        for rule in cls.all_rules():
            assert isinstance(rule, Rule)
            assert set(rule.remarks) <= set(cls.__dataclass_fields__), cls


def test_parser_types_accept_defaults():
    """A default is a value that its own flag takes."""
    from bert import jobs
    for job in vars(jobs).values():
        if isinstance(job, jobs.Job):
            for name, field in job.options_class.__dataclass_fields__.items():
                default = job.options_class.default_of(name)
                kind = field.metadata['flag'].kind
                if default in (None, dataclasses.MISSING) or kind is None:
                    continue
                values = default if field.metadata['flag'].nargs in ('+', '*') else [default]
                try:
                    assert [kind.accept(value) for value in values] == list(values)
                except argparse.ArgumentTypeError as error:
                    raise AssertionError('%s %s: %s' % (job, name, error)) from None
