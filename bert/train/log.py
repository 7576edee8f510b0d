"""Log lines in the format of the original scripts, on the terminal and in a file."""
import logging
import os
import sys

from tqdm import tqdm

from bert.train.terminal import DIM, RED, YELLOW, is_terminal, style

# Where programs read: in files, and on standard error that is no terminal
LINE_FORMAT = '%(levelname)s:%(name)s:%(asctime)s %(message)s'
TIME_FORMAT = '%H:%M:%S'
# They log every font search, and every request, at INFO
CHATTY_LIBRARIES = ('matplotlib', 'httpx', 'httpx2')


class _FileHandler(logging.FileHandler):
    """Stops with one warning when the log can't be written any more, on a full disk for example."""

    def handleError(self, record):
        logging.getLogger().removeHandler(self)
        print('warning: %s: the log can\'t be written any more: %s'
              % (self.baseFilename, sys.exc_info()[1]), file=sys.stderr)


class _ReadableFormatter(logging.Formatter):
    """Lines for a person at a terminal: the time, and the message alone unless it is a warning or
    an error."""

    def format(self, record):
        message = super().format(record)
        if record.levelno >= logging.WARNING:
            message = style('%s: ' % record.levelname.lower(),
                            YELLOW if record.levelno == logging.WARNING else RED,
                            sys.stderr) + message
        return '%s %s' % (style(self.formatTime(record, TIME_FORMAT), DIM, sys.stderr), message)


class _TerminalHandler(logging.Handler):
    """Prints a line above the progress bar instead of through it. old_level: of the root logger,
    before the log was opened."""

    def __init__(self, old_level):
        super().__init__()
        self.old_level = old_level

    def emit(self, record):
        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except Exception:
            self.handleError(record)


def open_log(path=None, level=logging.INFO):
    """Send log records from `level` on to standard error, and append them to the file `path`.
    Libraries that log much are limited to warnings.

    Replaces the handlers of an earlier call in the same process."""
    close_log()
    root = logging.getLogger()
    handlers = [_TerminalHandler(root.level)]
    root.setLevel(level)
    for name in CHATTY_LIBRARIES:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    if path:
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        handlers.append(_FileHandler(path, encoding='utf-8'))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(LINE_FORMAT, datefmt=TIME_FORMAT))
        root.addHandler(handler)
    if is_terminal(sys.stderr):
        handlers[0].setFormatter(_ReadableFormatter())


def close_log():
    """Remove the handlers of `open_log`, so that later records of the program don't go there."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, (_FileHandler, _TerminalHandler)):
            root.removeHandler(handler)
            handler.close()
        if isinstance(handler, _TerminalHandler):
            root.setLevel(handler.old_level)


def progress_bar(total, initial=0, unit='step', description=None):
    """A tqdm bar; silent when standard error is not a terminal."""
    return tqdm(total=total, initial=initial, unit=unit, desc=description, disable=None,
                leave=False, dynamic_ncols=True)


def format_duration(seconds):
    """Seconds in readable form: 42 s, 3 min 5 s, 2 h 10 min."""
    seconds = int(round(seconds))
    if seconds < 60:
        return '%d s' % seconds
    if seconds < 3600:
        return '%d min %d s' % divmod(seconds, 60)
    return '%d h %d min' % divmod(seconds // 60, 60)
