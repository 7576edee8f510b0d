"""`./run docs`: the site is built without a warning, its links lead somewhere, and it needs no
network. The figures show the numbers of the tables."""
import html.parser
import re
import runpy
import subprocess
import sys
import urllib.parse

import pytest
from support.pages import DOCS, REPOSITORY

MAX_IMAGE_BYTES = 100000


class Page(html.parser.HTMLParser):
    """links: href and src of a page; ids: the targets in it; resources: what a browser loads."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids, self.resources = [], set(), []
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids.add(values.get('id'))
        link = values.get('href') or values.get('src')
        if link:
            self.links.append(link)
            if tag != 'a':
                self.resources.append(link)


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp('site')
    command = re.search(r'python (-m sphinx (?:.*\\\n)*.*)\n', (REPOSITORY / 'run').read_text())
    arguments = re.sub(r'\\\n', ' ', command.group(1)).replace('"', '').split()
    arguments = [argument.replace('$root/docs/_site', str(folder)).replace('$root', str(REPOSITORY))
                 for argument in arguments]
    process = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return folder


@pytest.fixture(scope='module')
def pages(site):
    return {path: Page(path) for path in site.rglob('*.html')}


pytestmark = pytest.mark.process


def test_every_link_inside_leads_somewhere(site, pages):
    assert len(pages) > 40
    for path, page in pages.items():
        for link in page.links:
            address = urllib.parse.urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = (path.parent / urllib.parse.unquote(address.path)).resolve() \
                if address.path else path
            assert target.exists(), '%s links to %s' % (path.relative_to(site), link)
            if address.fragment and target.suffix == '.html':
                assert urllib.parse.unquote(address.fragment) in pages[target].ids, (path, link)


def test_nothing_is_loaded_from_another_host(pages):
    for path, page in pages.items():
        assert not [link for link in page.resources if '//' in link], path


def test_names_are_no_addresses(pages):
    """owner/name@revision is no mail address, tcp://host:8786 nothing that a browser opens."""
    assert not [(path, link) for path, page in pages.items() for link in page.links
                if link.startswith(('mailto:', 'tcp:'))]


def test_every_page_and_the_search_are_there(site):
    for path in DOCS.rglob('*.rst'):
        name = path.relative_to(DOCS).with_suffix('.html')
        assert (site / name).exists()
    assert (site / 'search.html').exists() and (site / 'searchindex.js').exists()


def test_the_reference_has_the_public_names(site):
    assert 'Alias for field' not in (site / 'reference' / 'results.html').read_text()
    pipelines = (site / 'reference' / 'pipelines.html').read_text(encoding='utf-8')
    for name in ('open', 'Classifier', 'Embedder', 'embedding.BertEmbedding',
                 'model.zoo.get_model'):
        assert 'id="bert.%s"' % name in pipelines
    keywords = (site / 'reference' / 'jobs.html').read_text(encoding='utf-8')
    assert 'learning rate' in keywords and 'job-keywords' not in keywords


def numbers_of(svg):
    return re.findall(r'>([^<>]+)</text>', svg)


@pytest.mark.parametrize('name', ['throughput', 'latency', 'similarities'])
def test_the_figures_are_those_of_the_tables(name, tmp_path, monkeypatch):
    draw = runpy.run_path(str(DOCS / 'draw.py'))
    function = draw['FUNCTIONS'][name]
    monkeypatch.delenv('MXNET_HOME', raising=False)     # the real cache has MiniLM
    function.__globals__['FIGURES'] = tmp_path
    drawn = numbers_of(function().read_text(encoding='utf-8'))
    assert len(drawn) > 5
    assert drawn == numbers_of((DOCS / 'figures' / (name + '.svg')).read_text(encoding='utf-8'))


def test_the_images_are_small_and_described():
    for path in (DOCS / 'figures').iterdir():
        assert path.stat().st_size <= MAX_IMAGE_BYTES, path
    texts = [path.read_text(encoding='utf-8') for path in [REPOSITORY / 'README.rst',
                                                           *DOCS.rglob('*.rst')]]
    for text in texts:
        for image, options in re.findall(r'\.\. (?:image|figure):: (\S+)\n((?:   .*\n)*)', text):
            assert ':alt:' in options, image
    shown = {image.rsplit('/', 1)[-1] for text in texts
             for image in re.findall(r'\.\. (?:image|figure):: (\S+)', text)}
    assert shown == {path.name for path in (DOCS / 'figures').iterdir()}
