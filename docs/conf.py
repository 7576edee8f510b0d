"""Settings of Sphinx for the site that `./run docs` builds."""
import os
import sys

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.transforms import SphinxTransform

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

from bert import __version__ as version  # noqa: E402  (its folder comes first)

project = 'BERT for Apache MXNet'
author = 'the authors of the package bert'
extensions = ['sphinx.ext.autodoc', 'job_keywords']
exclude_patterns = ['_site']
html_theme = 'furo'
html_title = 'BERT for Apache MXNet %s' % version
html_static_path = ['static']
html_extra_path = ['nginx.conf', 'bert.service']
smartquotes = False     # two hyphens begin a flag
html_css_files = ['site.css']
html_copy_source = False
html_show_sphinx = False
autodoc_member_order = 'bysource'
autodoc_typehints = 'none'
add_module_names = False
highlight_language = 'sh'       # most blocks are commands
default_role = 'code'     # of names in docstrings


class LinkPages(SphinxTransform):
    """Pages link to each other by file name, which works in a viewer of the repository. In the site
    such a link becomes one to the page. A page that does not exist is a warning."""

    default_priority = 5        # before Sphinx resolves its own references

    def apply(self, **kwargs):
        for link in list(self.document.findall(nodes.reference)):
            page, _, anchor = link.get('refuri', '').partition('#')
            if page.endswith('.rst') and '://' not in page and not anchor:
                link.replace_self(pending_xref(
                    '', nodes.inline('', link.astext()), refdomain='std', reftype='doc',
                    refexplicit=True, refwarn=True, reftarget=page[:-len('.rst')],
                    refdoc=self.env.docname))


def skip_fields(app, what, name, obj, skip, options):
    """Whether to leave a member out: Python documents the fields of a named tuple as aliases."""
    return True if str(getattr(obj, '__doc__', '')).startswith('Alias for field number') else None


def setup(app):
    app.connect('autodoc-skip-member', skip_fields)
    app.add_transform(LinkPages)
