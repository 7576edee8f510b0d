"""Long sentences and long lines of pages and docstrings.

From the folder of the repository: PYTHONPATH=tests python -m support.english PAGE …
"""
import re
import sys

from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst import Directive, directives

MAX_WORDS, MAX_COLUMNS = 25, 100
SENTENCES = nodes.paragraph, nodes.title, nodes.caption
SPHINX_DIRECTIVES = ('toctree', 'autoclass', 'autoexception', 'autofunction', 'automodule',
                     'job-keywords')
LITERAL = 'CODE'        # stands for a literal, which counts as one word
# A full stop before a small letter ends no sentence.
SENTENCE_END = re.compile(r'(?<=[.!?])[)”"’]*\s+(?=[(“"‘]?[A-Z0-9])')


class AnyOption(dict):
    """Options of a directive, of any name."""

    def __getitem__(self, name):
        return directives.unchanged


class Skipped(Directive):
    """A directive of Sphinx that docutils does not know. It holds no sentences."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec = AnyOption(any=directives.unchanged)

    def run(self):
        return []


def parse(text, report_level=5):
    """The document of a page in reStructuredText. report_level: 2 prints faults, 5 none."""
    for name in SPHINX_DIRECTIVES:
        directives.register_directive(name, Skipped)
    return publish_doctree(text, settings_overrides={
        'report_level': report_level, 'file_insertion_enabled': False, 'syntax_highlight': 'none'})


def paragraphs(document):
    """The texts of a document's paragraphs and titles; cells of tables and captions are some."""
    for node in document.findall(lambda node: isinstance(node, SENTENCES)):
        words = [LITERAL if isinstance(text.parent, nodes.literal) else text.astext()
                 for text in node.findall(nodes.Text)]
        yield re.sub(r'\s+', ' ', ''.join(words)).strip()


def sentences(text):
    """The sentences of a paragraph."""
    return SENTENCE_END.split(text)


def long_sentences(texts):
    """Those of more than MAX_WORDS words."""
    return [sentence for text in texts for sentence in sentences(text)
            if len(count_words(sentence)) > MAX_WORDS]


def count_words(sentence):
    """The words of a sentence: what stands between spaces and has a letter or a digit."""
    return [word for word in sentence.split() if re.search(r'\w', word)]


def long_lines(text):
    """[(number, line)] of the lines of more than MAX_COLUMNS columns."""
    return [(number, line) for number, line in enumerate(text.splitlines(), 1)
            if len(line) > MAX_COLUMNS]


def main():
    for path in sys.argv[1:]:
        with open(path, encoding='utf-8') as file:
            text = file.read()
        for number, line in long_lines(text):
            print('%s:%d: %d columns' % (path, number, len(line)))
        for sentence in long_sentences(paragraphs(parse(text, 2))):
            print('%s: %d words: %s' % (path, len(count_words(sentence)), sentence))


if __name__ == '__main__':
    main()
