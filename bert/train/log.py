"""Log lines as the original scripts print them, on the terminal and in a file."""
import logging
import os
import sys

from tqdm import tqdm

FORMAT = '%(levelname)s:%(name)s:%(asctime)s %(message)s'
CHATTY = ('matplotlib',)     # tells at INFO of the fonts that it looks for


class _FileHandler(logging.FileHandler):
    """A log that can no longer be written, on a full disk say, is given up with one line."""

    def handleError(self, record):
        logging.getLogger().removeHandler(self)
        print('warning: %s: the log can\'t be written any more: %s'
              % (self.baseFilename, sys.exc_info()[1]), file=sys.stderr)


class _TerminalHandler(logging.Handler):
    """Prints a line above the progress bar instead of through it."""

    def emit(self, record):
        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except Exception:
            self.handleError(record)


def open_log(path=None, level=logging.INFO):
    """Send the log, from `level` on, to standard error and, appended, to the file `path`;
    of libraries that say much, warnings only.

    Replaces what an earlier call in the same process set up."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, (_FileHandler, _TerminalHandler)):
            root.removeHandler(handler)
            handler.close()
    root.setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    handlers = [_TerminalHandler()]
    if path:
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        handlers.append(_FileHandler(path, encoding='utf-8'))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(FORMAT, datefmt='%H:%M:%S'))
        root.addHandler(handler)


def progress(total, initial=0, unit='step', description=None):
    """A tqdm bar, silent when standard error is no terminal."""
    return tqdm(total=total, initial=initial, unit=unit, desc=description, disable=None,
                leave=False, dynamic_ncols=True)


def duration(seconds):
    """Seconds as people say them: 42 s, 3 min 5 s, 2 h 10 min."""
    seconds = int(round(seconds))
    if seconds < 60:
        return '%d s' % seconds
    if seconds < 3600:
        return '%d min %d s' % divmod(seconds, 60)
    return '%d h %d min' % divmod(seconds // 60, 60)
