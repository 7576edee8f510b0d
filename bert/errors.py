"""The errors that users see, and the exit codes of scripts."""
import logging
import os
import signal
import sys

from bert._compat import InstallationError
from bert.streams import StandardStreams, StreamError

MAX_MESSAGE_LENGTH = 900    # characters: more than any of ours has without what was found
EXIT_USER_ERROR = 2     # what argparse uses for a bad command line
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_TERMINATED = 128 + signal.SIGTERM
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE


class UserError(Exception):
    """A mistake that the user can fix. The message names the place, the problem, the expected input
    and the fix. Scripts print it in one line, without a stack trace.

    Line ends in a message come from what was found, and become spaces. The middle of a very long
    message is left out. is_list: the message has a line for each of several problems.

    fix: what to do, for those who have flags or Python's keywords. It ends the message. Clients of
    the server have neither; they get `problem`, the message without it.
    """

    def __init__(self, message, is_list=False, fix=None):
        message = str(message) if is_list else ' '.join(str(message).splitlines())
        if not is_list and len(message) > MAX_MESSAGE_LENGTH:
            message = '%s … %s' % (message[:MAX_MESSAGE_LENGTH * 2 // 3],
                                   message[-MAX_MESSAGE_LENGTH // 3:])
        super().__init__(message if fix is None else '%s; %s' % (message, fix))
        self.problem = message


# What a text can hold that is no character: from \ud800 in JSON, or from an argument or file name
NOT_UNICODE = 'half a surrogate pair, or bytes that are not UTF-8'


def is_unicode(text):
    """Whether a str can be written as UTF-8; half a surrogate pair can't."""
    try:
        text.encode('utf-8')
        return True
    except UnicodeEncodeError:
        return False


def did_you_mean(word, choices):
    """`' Did you mean "…"?'` with the choice closest to `word`, or '' if none is close."""
    import difflib
    choices = {choice.lower(): choice for choice in choices}
    matches = difflib.get_close_matches(word.lower(), list(choices), n=1, cutoff=0.6)
    return ' Did you mean "%s"?' % choices[matches[0]] if matches else ''


def run_script(main):
    """Run `main()` as the program. A `UserError` or an `InstallationError` ends it with one line
    and exit code 2, Ctrl-C with exit code 130."""
    streams = StandardStreams()
    # the format of warnings in programs without a log
    logging.lastResort.setFormatter(logging.Formatter('%(levelname)s: %(message)s'))
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and 'HOROVOD_RANK' not in os.environ:
        # temporary files are removed on the way out
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(EXIT_TERMINATED))
    try:
        code = _finish(main)
    except (UserError, InstallationError, StreamError) as error:
        print('error: %s' % error, file=sys.stderr)
        code = EXIT_USER_ERROR
    except MemoryError:
        print('error: out of memory: free some memory, raise the limit (ulimit -v), or use '
              'smaller batches', file=sys.stderr)
        streams.close()
        os._exit(EXIT_USER_ERROR)       # MXNet's own end would need memory
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        code = EXIT_INTERRUPTED
    except BrokenPipeError:     # the reader ended, for example `… | head`
        code = EXIT_BROKEN_PIPE
    streams.close()
    sys.exit(code)


def _finish(main):
    """The exit code of `main`, after all that it has printed is written."""
    try:
        code = main()
    except SystemExit as exit_request:      # of argparse
        code = exit_request.code
    sys.stdout.flush()
    return code
