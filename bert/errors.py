"""The one kind of error a user sees, and how a script ends."""
import logging
import os
import signal
import sys

from bert._compat import InstallationError

EXIT_USER_ERROR = 2     # what argparse uses for a bad command line
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE


class UserError(Exception):
    """A mistake the user can mend. The message says what was found where, what was
    expected, and the fix; scripts print it in one line, without a stack trace."""


def nearest(word, choices):
    """`' Did you mean "…"?'` for the choice closest to `word`, or '' when none is close."""
    import difflib
    choices = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(word.lower(), list(choices), n=1, cutoff=0.6)
    return ' Did you mean "%s"?' % choices[found[0]] if found else ''


def run_script(main):
    """Run `main()` as the program; turn a `UserError` and an `InstallationError` into one line and
    exit code 2, Ctrl-C into exit code 130."""
    # warnings of a program that opens no log
    logging.lastResort.setFormatter(logging.Formatter('%(levelname)s: %(message)s'))
    try:
        code = main()
    except (UserError, InstallationError) as error:
        print('error: %s' % error, file=sys.stderr)
        code = EXIT_USER_ERROR
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        code = EXIT_INTERRUPTED
    except BrokenPipeError:     # `… | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_BROKEN_PIPE
    sys.exit(code)
