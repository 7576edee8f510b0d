"""The sentences of pages and of `--help` are short, and so are the lines of pages."""
import importlib
import inspect
import pkgutil
import re

import pytest
from support import english
from support.pages import DOCS, REPOSITORY

from bert import jobs
from bert.flags.options import Options

MAX_README_LINES = 120
QUOTED = 'docs/seeds.rst'       # its blocks are the seeds' own
PAGES = ['README.rst', 'CHANGELOG.rst'] + sorted(
    str(path.relative_to(REPOSITORY)) for path in DOCS.rglob('*.rst'))


@pytest.mark.parametrize('page', PAGES)
def test_pages(page):
    text = (REPOSITORY / page).read_text(encoding='utf-8')
    assert not english.long_sentences(english.paragraphs(english.parse(text)))
    assert not [(number, line) for number, line in english.long_lines(text)
                if page != QUOTED or not line.startswith('    ')]


def test_the_readme_is_short():
    text = (REPOSITORY / 'README.rst').read_text(encoding='utf-8')
    assert len(text.splitlines()) <= MAX_README_LINES


def options_classes():
    """The classes of options of all commands."""
    modules = {path.stem for path in (REPOSITORY / 'bert' / 'flags').glob('*.py')} - {'__init__'}
    return {cls for name in modules
            for cls in vars(importlib.import_module('bert.flags.' + name)).values()
            if inspect.isclass(cls) and issubclass(cls, Options)}


@pytest.mark.parametrize('cls', sorted(options_classes(), key=lambda cls: cls.__name__))
def test_help(cls):
    """A semicolon separates the parts of a text, often values with their meanings."""
    parts = [part for field in cls.__dataclass_fields__.values()
             for part in re.sub(r'\s+', ' ', field.metadata['flag'].help or '').split('; ')]
    assert not english.long_sentences(parts)


def test_all_jobs_have_their_options_here():
    assert {job.options_class for job in vars(jobs).values() if isinstance(job, jobs.Job)} <= \
        options_classes()


def documented_objects():
    """{name: object} of what the reference takes from docstrings."""
    for page in sorted((DOCS / 'reference').glob('*.rst')):
        for name, body in re.findall(r'^\.\. auto\w+:: ([\w.]+).*\n((?: +\S.*\n)*)',
                                     page.read_text(encoding='utf-8'), re.MULTILINE):
            found = pkgutil.resolve_name(name)
            if not inspect.ismodule(found):
                yield name, found
            members = re.search(r':members:((?: [\w, ]+\n?)+)', body)
            for member in re.findall(r'\w+', members.group(1) if members else ''):
                yield '%s.%s' % (name, member), getattr(found, member)


@pytest.mark.parametrize('name, found', list(documented_objects()))
def test_docstrings(name, found):
    """Here too a semicolon separates values with their meanings."""
    text = re.sub(r"'[^' ]*'|`[^`]*`", english.LITERAL, inspect.getdoc(found))
    document = english.parse(text, 2)
    assert not english.long_sentences(
        part for text in english.paragraphs(document) for part in text.split('; '))


@pytest.mark.parametrize('name, found', list(documented_objects()))
def test_docstrings_have_values_in_place_of_constants(name, found):
    """Who reads the reference has no source at hand."""
    assert not re.findall(r'`(?:[a-z_.]+\.)?[A-Z][A-Z_]{2,}`', inspect.getdoc(found))


def test_the_reference_is_found():
    names = [name for name, _ in documented_objects()]
    assert {'bert.open', 'bert.CrossEncoder.rank', 'bert.pipelines.records.Label',
            'bert.errors.UserError', 'bert.model.zoo.get_model'} <= set(names)


@pytest.mark.parametrize('text, number', [
    ('One. Two.', 2), ('Version 1.9.1 is here. It runs', 2), ('See CODE. CODE is next.', 2),
    ('Is it so? Yes! No.', 3), ('About 3. 4 more', 2)])
def test_sentences(text, number):
    assert len(english.sentences(text)) == number


def test_what_is_too_long():
    words = ' '.join(['word'] * 25)
    page = 'Title\n=====\n\n%s.\n\n- %s more.\n\n::\n\n    %s code code\n' % (3 * (words,))
    texts = list(english.paragraphs(english.parse(page)))
    assert texts == ['Title', words + '.', words + ' more.']
    assert english.long_sentences(texts) == [words + ' more.']
    assert english.count_words('a ``b c`` – d') == ['a', '``b', 'c``', 'd']
    literal, = english.paragraphs(english.parse('Use ``one two three`` here.'))
    assert literal == 'Use CODE here.'
    assert english.long_lines('a\n%s\n' % ('b' * 101)) == [(2, 'b' * 101)]
