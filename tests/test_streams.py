"""Standard streams of scripts: closed, full, of another encoding, without a reader."""
import json
import os
import subprocess
import sys

import pytest

SCRIPT = '''
import os, sys
from bert.errors import run_script
def main():
    %s
run_script(main)
'''
FULL = "error: standard output: can't write: No space left on device\n"
CLOSED = 'error: standard output is closed: name a file by --output, or open it\n'


def run(main, redirection='', **environment):
    """(exit code, standard output, standard error as bytes) of a script with this line as its
    `main`, started by a shell."""
    process = subprocess.run(
        ['bash', '-c', 'exec "$0" -c "$1" %s' % redirection, sys.executable, SCRIPT % main],
        capture_output=True, env=dict(os.environ, **environment))
    return process.returncode, process.stdout, process.stderr.decode()


@pytest.mark.parametrize('main', [
    'print("a text")', 'print("x" * 100000)', 'sys.exit(print("help"))',
    'print("a text", flush=True)'])
def test_standard_output_that_takes_nothing(main):
    assert run(main, '>/dev/full') == (2, b'', FULL)
    assert run(main, '>&-') == (2, b'', CLOSED)


def test_an_error_is_not_replaced_by_one_of_standard_output():
    main = 'print("a text"); raise __import__("bert.errors").errors.UserError("the reason")'
    assert run(main, '>/dev/full') == (2, b'', 'error: the reason\n')
    assert run(main) == (2, b'a text\n', 'error: the reason\n')


def test_nothing_printed_needs_no_standard_output():
    assert run('return 0', '>&-') == (0, b'', '')


def test_standard_input_that_is_closed():
    assert run('sys.stdin.read()', '<&-') == (
        2, b'', 'error: standard input is closed: name a file, or give the text as an argument\n')
    assert run('print(sys.stdin.isatty())', '<&-') == (0, b'False\n', '')
    assert run('print(sys.stdin.buffer.read())', '<<< text') == (0, b"b'text\\n'\n", '')


def test_standard_input_that_does_not_block():
    """A text that comes late is waited for."""
    main = 'os.set_blocking(0, False); print(sys.stdin.buffer.read().split())'
    assert run(main, '< <(sleep 0.3; echo one; sleep 0.3; echo two)') == (
        0, b"[b'one', b'two']\n", '')
    main = 'os.set_blocking(0, False); print([line for line in sys.stdin.buffer])'
    assert run(main, '< <(echo one; sleep 0.3; echo two)') == (
        0, b"[b'one\\n', b'two\\n']\n", '')


def test_standard_input_that_cannot_be_read(tmp_path):
    assert run('sys.stdin.read()', '0> %s' % (tmp_path / 'file')) == (
        2, b'', "error: standard input: can't be read: Bad file descriptor\n")


@pytest.mark.parametrize('redirection', ['2>&-', '2>/dev/full'])
def test_standard_error_that_takes_nothing(redirection):
    main = 'print("warning", file=sys.stderr); print("a text")'
    assert run(main, redirection) == (0, b'a text\n', '')
    assert run('raise KeyboardInterrupt', redirection) == (130, b'', '')


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    path = tmp_path / 'file'
    main = 'out = open(%r, "w"); os.write(1, b"for standard output"); out.write("text")' % str(path)
    assert run(main, '<&- >&- 2>&-')[0] == 0
    assert path.read_text() == 'text'


@pytest.mark.parametrize('encoding, expected, count', [
    ('utf-8', 'café 😀 \u2028'.encode(), 0), ('iso-8859-1', b'caf\xe9 \\ud83d\\ude00 \\u2028', 2),
    ('ascii', b'caf\\u00e9 \\ud83d\\ude00 \\u2028', 3)])
def test_characters_that_the_encoding_lacks_are_escaped(encoding, expected, count):
    """As in JSON, so that lines of JSON stay what they are."""
    code, out, err = run(r'print("caf\u00e9 \U0001f600 \u2028")', PYTHONIOENCODING=encoding)
    assert (code, out) == (0, expected + b'\n')
    assert json.loads(b'"%s"' % out.strip().replace(b'\xe9', 'é'.encode())) == 'café 😀 \u2028'
    assert err == ('' if not count else (
        'warning: %d characters that standard output (%s) lacks were written as \\uXXXX, as in '
        'JSON; PYTHONIOENCODING=utf-8 writes them as they are\n'
        % (count, {'iso-8859-1': 'iso8859-1'}.get(encoding, encoding))))


def test_half_a_surrogate_pair_is_escaped():
    assert run(r'print("a\ud800b")', PYTHONIOENCODING='utf-8') == (
        0, b'a\\ud800b\n', 'warning: 1 characters that standard output (utf-8) lacks were written '
        'as \\uXXXX, as in JSON\n')


def test_a_pipe_that_does_not_block():
    """Each text comes out, even if the pipe is full for a while."""
    main = ('os.set_blocking(1, False); '
            '[print("x" * 1000) for _ in range(300)]')
    assert run(main, '| (sleep 0.5; cat)')[:2] == (0, (b'x' * 1000 + b'\n') * 300)
