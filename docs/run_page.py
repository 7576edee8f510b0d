"""Run the Python of a page of docs/: its blocks, one after the other, as one program."""
import argparse
import pathlib
import re
import textwrap

BLOCK = re.compile(r'\.\. code-block:: python\n\n((?:    .*\n|\n)+)')


def extract_program(text):
    """The blocks of a page as one program. Each line keeps its line number for error messages."""
    lines = [''] * len(text.splitlines())
    for block in BLOCK.finditer(text):
        first = text.count('\n', 0, block.start(1))
        for index, line in enumerate(textwrap.dedent(block.group(1)).splitlines(), first):
            lines[index] = line
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('page', help='docs/<name>.rst')
    page = parser.parse_args().page
    program = extract_program(pathlib.Path(page).read_text(encoding='utf-8'))
    exec(compile(program, page, 'exec'), {'__name__': '__main__'})


if __name__ == '__main__':
    main()
