"""The errors that users see, and the exit codes of scripts."""
import logging
import os
import signal
import sys

from bert._compat import InstallationError

EXIT_USER_ERROR = 2     # what argparse uses for a bad command line
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE


class UserError(Exception):
    """A mistake that the user can fix. The message names the place, the problem, the expected input
    and the fix; scripts print it in one line, without a stack trace."""


def did_you_mean(word, choices):
    """`' Did you mean "…"?'` with the choice closest to `word`, or '' if none is close."""
    import difflib
    choices = {choice.lower(): choice for choice in choices}
    matches = difflib.get_close_matches(word.lower(), list(choices), n=1, cutoff=0.6)
    return ' Did you mean "%s"?' % choices[matches[0]] if matches else ''


def run_script(main):
    """Run `main()` as the program. A `UserError` or an `InstallationError` ends it with one line
    and exit code 2, Ctrl-C with exit code 130."""
    # the format of warnings in programs without a log
    logging.lastResort.setFormatter(logging.Formatter('%(levelname)s: %(message)s'))
    try:
        code = main()
    except (UserError, InstallationError) as error:
        print('error: %s' % error, file=sys.stderr)
        code = EXIT_USER_ERROR
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        code = EXIT_INTERRUPTED
    except BrokenPipeError:     # the reader ended, for example `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_BROKEN_PIPE
    sys.exit(code)
