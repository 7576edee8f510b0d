"""Colours for people at a terminal; plain text when the output goes elsewhere."""
import os
import sys

# Parameters of the escape sequence "Select Graphic Rendition", ECMA-48 section 8.3.117
BOLD, DIM, RED, GREEN, YELLOW = '1', '2', '31', '32', '33'


def is_terminal(stream):
    """Whether a stream is a terminal. A program may put anything in the place of sys.stdout."""
    return getattr(stream, 'isatty', bool)()


def has_colours(stream):
    """Whether a stream is a terminal that shows colours; NO_COLOR (no-color.org) forbids them."""
    return is_terminal(stream) and not os.environ.get('NO_COLOR') \
        and os.environ.get('TERM') != 'dumb'


def style(text, parameter, stream=None):
    """The text in a colour or weight, if the stream, by default standard output, shows it."""
    return '\033[%sm%s\033[0m' % (parameter, text) \
        if text and has_colours(stream or sys.stdout) else text
