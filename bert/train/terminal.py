"""Colours for people at a terminal; plain text when the output goes elsewhere."""
import os
import sys

# Parameters of the escape sequence "Select Graphic Rendition", ECMA-48 section 8.3.117
BOLD, DIM, RED, GREEN, YELLOW = '1', '2', '31', '32', '33'


def has_colours(stream):
    """Whether a stream is a terminal that shows colours; NO_COLOR (no-color.org) forbids them."""
    return stream.isatty() and not os.environ.get('NO_COLOR') and os.environ.get('TERM') != 'dumb'


def style(text, parameter, stream=None):
    """The text in a colour or weight, if the stream, by default standard output, shows it."""
    return '\033[%sm%s\033[0m' % (parameter, text) \
        if text and has_colours(stream or sys.stdout) else text
