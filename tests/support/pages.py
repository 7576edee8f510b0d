"""What the pages of the documentation hold for a reader to run."""
import pathlib
import re
import runpy
import textwrap

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / 'docs'
BLOCK = runpy.run_path(str(DOCS / 'run_page.py'))['BLOCK']
COMMAND = re.compile(r'([A-Z_]+=\S+ )?\./run ')


def read(page):
    """The text of a page, which is a path from the folder of the repository."""
    return (REPOSITORY / page).read_text(encoding='utf-8')


def indented_lines(page):
    """The lines of a page's blocks. A backslash at the end of a line joins it to the next."""
    text = re.sub(r'\s*\\\n\s*', ' ', read(page))
    return [line.strip() for line in text.splitlines() if line.startswith('    ')]


def commands(page):
    """The `./run` commands of a page, one line each."""
    return [line for line in indented_lines(page) if COMMAND.match(line)]


def horovod_command(page):
    """The only command of a page that starts workers, from `horovodrun` on."""
    command, = [line for line in commands(page) if line.startswith('./run horovodrun -')]
    return command.partition(' ')[2]


def snippets(page):
    """The Python programs of a page."""
    return [textwrap.dedent(block) for block in BLOCK.findall(read(page))]
