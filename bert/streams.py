"""Standard input, output and error of a script. What fails there ends the script with one line."""
import codecs
import io
import json
import os
import select
import sys

ESCAPE = 'bert.escape'      # name of our handler of encoding errors


class StreamError(Exception):
    """A standard stream can't be read or written. The message says which one, and why."""


class StandardStreams:
    """Replaces the three standard streams of the process by guarded ones.

    A descriptor that is closed stays without a stream, and no file that the script opens gets its
    number. Characters that standard output can't encode are escaped as in JSON. A stream that the
    program has set itself, as a test does, stays.
    """

    def __init__(self):
        self._num_escaped = 0
        closed = list(map(_fill_descriptor, range(3)))
        codecs.register_error(ESCAPE, self._escape)
        if sys.stdin is sys.__stdin__:
            raw_input = _ClosedInput() if closed[0] else _Input(0, 'r', closefd=False)
            sys.stdin = io.TextIOWrapper(io.BufferedReader(raw_input),
                                         encoding=sys.stdin.encoding if sys.stdin else 'utf-8')
        self._output = _ClosedOutput() if closed[1] else _Output(1, 'w', closefd=False)
        if sys.stdout is sys.__stdout__:
            sys.stdout = _text_stream(self._output, sys.stdout, ESCAPE)
        if sys.stderr is sys.__stderr__:
            error_output = _Output(2, 'w', closefd=False)
            error_output.is_given_up = True     # there is no place to say that it can't be written
            sys.stderr = _text_stream(error_output, sys.stderr, 'backslashreplace')

    def _escape(self, error):
        if not isinstance(error, UnicodeEncodeError):
            raise error
        text = error.object[error.start:error.end]
        self._num_escaped += len(text)
        return ''.join(json.dumps(character)[1:-1] for character in text), error.end

    def close(self):
        """Write what is buffered, as far as that is possible, and say what was escaped."""
        try:
            sys.stdout.flush()
        except (StreamError, OSError):
            self._output.is_given_up = True     # the interpreter flushes again
        if self._num_escaped:
            remedy = '' if sys.stdout.encoding.lower().startswith('utf') else \
                '; PYTHONIOENCODING=utf-8 writes them as they are'
            print('warning: %d characters that standard output (%s) lacks were written as \\uXXXX, '
                  'as in JSON%s' % (self._num_escaped, sys.stdout.encoding, remedy),
                  file=sys.stderr)


def binary_input():
    """Standard input as a file of bytes, also where a program has set a stream of its own."""
    if sys.stdin is None:
        raise StreamError('standard input is closed: name a file, or give the text as an argument')
    return sys.stdin.buffer if hasattr(sys.stdin, 'buffer') else \
        io.BytesIO(sys.stdin.read().encode('utf-8', 'surrogatepass'))


def _fill_descriptor(number):
    """Open /dev/null in place of a closed standard descriptor; returns whether it was closed."""
    try:
        os.fstat(number)
        return False
    except OSError:
        os.open(os.devnull, os.O_RDWR)      # takes the lowest number that is free
        return True


def _text_stream(raw, old_stream, errors):
    return io.TextIOWrapper(io.BufferedWriter(raw), errors=errors,
                            encoding=old_stream.encoding if old_stream else 'utf-8',
                            line_buffering=raw.isatty() or errors != ESCAPE)


class _Output(io.FileIO):
    """Standard output. Raises `StreamError` where a write fails, and BrokenPipeError for a pipe
    without a reader. is_given_up: what can't be written is dropped instead."""
    is_given_up = False

    def write(self, content):
        try:
            while (num_bytes := super().write(content)) is None:    # it does not block, and is full
                select.select([], [self], [])
            return num_bytes
        except OSError as error:
            if self.is_given_up:
                return len(content)
            if isinstance(error, BrokenPipeError):
                raise
            raise StreamError('standard output: can\'t write: %s' % error.strerror) from None


class _Input(io.FileIO):
    """Standard input. Raises `StreamError` where a read fails. `readall` and `read` are defined
    anew, because those of FileIO take an input that is empty for the moment as ended."""

    def readinto(self, buffer):
        try:
            while (num_bytes := super().readinto(buffer)) is None:      # empty, and does not block
                select.select([self], [], [])
            return num_bytes
        except OSError as error:
            raise StreamError('standard input: can\'t be read: %s' % error.strerror) from None

    def readall(self):
        return b''.join(iter(lambda: self.read(io.DEFAULT_BUFFER_SIZE), b''))

    def read(self, size=-1):
        if size < 0:
            return self.readall()
        buffer = bytearray(size)
        return bytes(buffer[:self.readinto(buffer)])


class _ClosedOutput(io.RawIOBase):
    is_given_up = False

    def writable(self):
        return True

    def write(self, content):
        if self.is_given_up:
            return len(content)
        raise StreamError('standard output is closed: name a file by --output, or open it')


class _ClosedInput(io.RawIOBase):
    def readable(self):
        return True

    def readinto(self, buffer):
        raise StreamError('standard input is closed: name a file, or give the text as an argument')
