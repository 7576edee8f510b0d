"""What a person sees at a terminal, and that programs read plain text."""
import io
import logging
import re
import sys

import pytest

from bert.train import log, terminal


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv('NO_COLOR', raising=False)
    monkeypatch.setenv('TERM', 'xterm')


def test_colours_are_for_terminals(monkeypatch):
    assert terminal.style('a', terminal.RED, Terminal()) == '\033[31ma\033[0m'
    assert terminal.style('', terminal.RED, Terminal()) == ''
    assert terminal.style('a', terminal.RED, io.StringIO()) == 'a'
    monkeypatch.setenv('NO_COLOR', '1')
    assert terminal.style('a', terminal.RED, Terminal()) == 'a'
    monkeypatch.delenv('NO_COLOR')
    monkeypatch.setenv('TERM', 'dumb')
    assert terminal.style('a', terminal.RED, Terminal()) == 'a'


@pytest.mark.parametrize('stream, pattern', [
    (io.StringIO, r'INFO:bert:\d\d:\d\d:\d\d read\nWARNING:bert:\d\d:\d\d:\d\d cut\n'),
    (Terminal, r'\x1b\[2m\d\d:\d\d:\d\d\x1b\[0m read\n'
               r'\x1b\[2m\d\d:\d\d:\d\d\x1b\[0m \x1b\[33mwarning: \x1b\[0mcut\n')])
def test_lines_of_the_log(monkeypatch, stream, pattern, tmp_path):
    output = stream()
    monkeypatch.setattr(sys, 'stderr', output)
    log.open_log(str(tmp_path / 'log.txt'))
    try:
        logging.getLogger('bert').info('read')
        logging.getLogger('bert').warning('cut')
    finally:
        log.close_log()
    assert re.fullmatch(pattern, output.getvalue())
    assert re.fullmatch(r'INFO:bert:\d\d:\d\d:\d\d read\nWARNING:bert:\d\d:\d\d:\d\d cut\n',
                        (tmp_path / 'log.txt').read_text())
