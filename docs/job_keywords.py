"""A directive of Sphinx for the reference of jobs: a table of the keywords of a job, their defaults
and their help, from its options class.

    .. job-keywords:: finetune_classifier
"""
import dataclasses
import re

from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from bert import jobs

ADDRESS = r'([\w/.-]+@\w+|\w+://[\w/.:-]*\w)'


def keyword_rows(job):
    """[(keyword, default, help)] of a job, without the hidden ones."""
    cls = job.options_class
    remarks = cls.all_remarks()
    for field in dataclasses.fields(cls):
        flag = field.metadata['flag']
        if not flag.hidden:
            text = '; '.join([flag.help.replace('%%', '%'), *remarks.get(field.name, ())])
            yield field.name, describe_default(field), as_markup(text)


def as_markup(text):
    """Plain text in reStructuredText. What looks like an address is a literal, not a link."""
    parts = re.split(ADDRESS, text)
    return ''.join('``%s``' % part if i % 2 else re.sub(r'([*_|`\\])', r'\\\1', part)
                   for i, part in enumerate(parts))


def describe_default(field):
    """The default of an option. That of a factory depends on the machine."""
    if field.default_factory is not dataclasses.MISSING:
        return 'of this machine'
    return 'required' if field.default is dataclasses.MISSING else '``%r``' % (field.default,)


class JobKeywords(Directive):
    required_arguments = 1

    def run(self):
        lines = ['.. list-table::', '   :header-rows: 1', '   :widths: 26 18 56', '',
                 '   * - keyword', '     - default', '     - description']
        for row in keyword_rows(getattr(jobs, self.arguments[0])):
            lines += ['   %s %s' % ('* -' if i == 0 else '  -', '``%s``' % text if i == 0 else text)
                      for i, text in enumerate(row)]
        container = self.state_machine.node.__class__()     # a node of the kind that is built
        self.state.nested_parse(StringList(lines, source=__file__), 0, container)
        return container.children


def setup(app):
    app.add_directive('job-keywords', JobKeywords)
    return {'parallel_read_safe': True}
