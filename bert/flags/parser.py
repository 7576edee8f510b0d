"""The parser of all scripts, which answers mistakes in one line. Imports no mxnet."""
import argparse
import os
import re
import sys

from bert.errors import EXIT_USER_ERROR, NOT_UNICODE, did_you_mean, is_unicode

# Flags of the original scripts that this zoo does not support, with what to use instead.
UNSUPPORTED_FLAGS = {
    '--sentencepiece': 'SentencePiece models are not supported; a BERT vocabulary is a vocab.txt, '
                       'see --bert_checkpoint',
    '--custom_pass_lib': 'compiled graph passes are not supported',
    '--custom_passes': 'compiled graph passes are not supported',
    '--comm_backend': 'this script runs in one process: leave the flag out',
}

# Names of our flags in other programs.
FOREIGN_FLAGS = {'--learning_rate': '--lr', '--max_seq_length': '--max_len',
                 '--max_length': '--max_len',
                 '--num_train_epochs': '--epochs', '--model_name_or_path': '--bert_checkpoint',
                 '--per_device_train_batch_size': '--batch_size',
                 '--gradient_accumulation_steps': '--accumulate'}


def explain_unknown_flag(flag, known_flags, unsupported):
    """The error for a flag that a command does not have. unsupported: {flag: reason} in addition
    to `UNSUPPORTED_FLAGS`."""
    unsupported = dict(UNSUPPORTED_FLAGS, **unsupported)
    if flag in unsupported:
        return '%s: %s' % (flag, unsupported[flag])
    if FOREIGN_FLAGS.get(flag) in known_flags:
        return '%s is called %s here' % (flag, FOREIGN_FLAGS[flag])
    return 'unknown argument %s.%s' % (flag, did_you_mean(flag, known_flags))


def _decode(argument):
    """An argument, as UTF-8 if the locale has another encoding."""
    if is_unicode(argument):
        return argument
    try:
        return os.fsencode(argument).decode('utf-8')
    except UnicodeError:
        return argument


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to a flag's help, unless there is no default or the help names it."""

    def _get_help_string(self, action):
        is_switch = isinstance(action.default, bool)
        if action.default in (None, ()) or is_switch or 'default:' in action.help:
            return action.help
        if isinstance(action.default, tuple):
            separator = ' ' if action.nargs == '+' else ','
            return '%s (default: %s)' % (action.help, separator.join(map(str, action.default)))
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """argparse with defaults in `--help` and without abbreviations. Suggests the nearest spelling
    of an unknown flag, and explains why a flag is not supported.

    unsupported: {flag: reason} in addition to the general `UNSUPPORTED_FLAGS`.
    Parsed arguments have the attribute `explicit_flags`: {option: flag} of the command line's
    options.
    """

    def __init__(self, description, unsupported=()):
        super().__init__(description=description, allow_abbrev=False,
                         formatter_class=HelpFormatter)
        self._unsupported = dict(unsupported)

    def parse_args(self, args=None, namespace=None):
        arguments = list(map(_decode, sys.argv[1:] if args is None else args))
        for place, argument in enumerate(arguments, 1):
            if not is_unicode(argument):
                self.error('argument %d, %s: %s' % (place, ascii(argument), NOT_UNICODE))
            self._check_flag(argument.split('=')[0])
        parsed, unknown = self.parse_known_args(arguments)
        if unknown:     # flags between texts; only now, because this method does not accept "--"
            parsed, unknown = self.parse_known_intermixed_args(arguments)
        if unknown:
            self.error('unknown argument %s' % unknown[0])
        parsed.explicit_flags = self._explicit_flags(arguments)
        return parsed

    def _check_flag(self, flag):
        """Explain an unknown flag before argparse complains about missing required flags."""
        if re.match('--[a-zA-Z]', flag) and flag not in self._option_string_actions:
            self.error(explain_unknown_flag(flag, self._option_string_actions, self._unsupported))

    def _explicit_flags(self, arguments):
        """{option: flag as typed} for each option that `arguments` set, even to its default."""
        defaults = {action: action.default for action in self._actions}
        try:
            for action in self._actions:
                action.default = argparse.SUPPRESS
            options = vars(self.parse_known_args(arguments)[0])
        finally:
            for action, default in defaults.items():
                action.default = default
        words = {argument.split('=')[0] for argument in arguments}
        return {action.dest: next((flag for flag in action.option_strings if flag in words), '')
                for action in self._actions if action.dest in options}

    def error(self, message):
        self.exit(EXIT_USER_ERROR, 'error: %s (%s --help lists the flags)\n'
                  % (message, self.prog))
