"""The parser of all scripts, which answers mistakes in one line, and the flags they share.

Nothing here imports mxnet, so `--help` answers at once and `prepare_mxnet` sets the number of
threads before MXNet reads it.
"""
import argparse
import math
import os
import re
import sys

from bert.errors import EXIT_USER_ERROR, UserError, did_you_mean
from bert.flags import allocator

# Flags of the original scripts that this zoo does not support, with what to use instead.
UNSUPPORTED_FLAGS = {
    '--sentencepiece': 'SentencePiece models are not supported; a BERT vocabulary is a vocab.txt, '
                       'see --bert_checkpoint',
    '--custom_pass_lib': 'compiled graph passes are not part of this zoo',
    '--custom_passes': 'compiled graph passes are not part of this zoo',
    '--comm_backend': 'it has no meaning here; this script runs in one process',
}

# The same, for scripts that read text for pre-training.
UNSUPPORTED_TEXT_FLAGS = {flag: UNSUPPORTED_FLAGS['--sentencepiece']
                          for flag in ('--sp_nbest', '--sp_alpha')}

# The same, for the fine-tuning scripts.
UNSUPPORTED_TRAINING_FLAGS = dict(
    {flag: 'an exported model is run by deploy.py --model_dir FOLDER'
     for flag in ('--deploy', '--model_prefix')},
    **{'--tune': 'tuning starts from a trained model: quantize.py --tune --model_dir FOLDER'})

# The same, for static_finetune_squad.py.
UNSUPPORTED_STATIC_TRAINING_FLAGS = dict(UNSUPPORTED_TRAINING_FLAGS, **{
    flag: 'a static network is not calibrated: quantize.py --model_dir FOLDER takes a run of it'
    for flag in ('--only_calibration', '--num_calib_batches', '--quantized_dtype', '--calib_mode')})

# Names of our flags in other programs.
FOREIGN_FLAGS = {'--learning_rate': '--lr', '--max_seq_length': '--max_len',
                 '--max_length': '--max_len',
                 '--num_train_epochs': '--epochs', '--model_name_or_path': '--bert_checkpoint',
                 '--per_device_train_batch_size': '--batch_size',
                 '--gradient_accumulation_steps': '--accumulate'}


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to a flag's help, unless there is no default or the help names it."""

    def _get_help_string(self, action):
        if action.default is None or action.default is False or 'default:' in action.help:
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """argparse with defaults in `--help` and without abbreviations. Suggests the nearest spelling
    of an unknown flag, and explains why a flag is not supported.

    unsupported: {flag: reason} in addition to the general `UNSUPPORTED_FLAGS`.
    Parsed arguments have the attribute `explicit_flags`: {option: flag} of the command line's
    options.
    """

    def __init__(self, description, unsupported=None):
        super().__init__(description=description, allow_abbrev=False,
                         formatter_class=HelpFormatter)
        self._unsupported = dict(UNSUPPORTED_FLAGS, **(unsupported or {}))

    def parse_args(self, args=None, namespace=None):
        arguments = list(sys.argv[1:] if args is None else args)
        for argument in arguments:
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
        if not re.match('--[a-zA-Z]', flag) or flag in self._option_string_actions:
            return
        if flag in self._unsupported:
            self.error('%s: %s' % (flag, self._unsupported[flag]))
        if FOREIGN_FLAGS.get(flag) in self._option_string_actions:
            self.error('%s is called %s here' % (flag, FOREIGN_FLAGS[flag]))
        self.error('unknown argument %s.%s'
                   % (flag, did_you_mean(flag, self._option_string_actions)))

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


def refuse_flags(args, names, reason):
    """Raise `UserError` if the command line set one of the options `names`, which have no effect
    here. reason: why they have none."""
    for name in sorted(args.explicit_flags.keys() & set(names)):
        raise UserError('%s: %s' % (args.explicit_flags[name], reason))


def number_type(kind, expected, low=-math.inf, high=math.inf, above=-math.inf):
    """Make a flag's type: an int or float (`kind`) from `low` to `high` and greater than `above`.
    expected: this range in words, for the error message."""
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and low <= value <= high and value > above):
            raise argparse.ArgumentTypeError('%s found, %s expected' % (text, expected))
        return value
    return parse


positive_int = number_type(int, 'a whole number from 1 on', low=1)
positive_float = number_type(float, 'a number above 0', above=0)
nonnegative_float = number_type(float, 'a number from 0 on', low=0)
ratio = number_type(float, 'a number from 0 to 1', low=0, high=1)


def comma_list(text):
    return tuple(part.strip() for part in text.split(','))


def int_list(text):
    parts = [part.strip() for part in text.split(',')]
    if not all(part.isdigit() and int(part) for part in parts):
        raise argparse.ArgumentTypeError('%s found, whole numbers from 1 on with commas between '
                                         'them expected' % text)
    return tuple(map(int, parts))


def seed_list(text):
    parts = [part.strip() for part in text.split(',')]
    if not all(part.isdigit() for part in parts) or len(set(parts)) != len(parts):
        raise argparse.ArgumentTypeError('%s found, different whole numbers from 0 on with commas '
                                         'between them expected' % text)
    return tuple(int(part) for part in parts)


def add_device_flags(parser):
    group = parser.add_argument_group('device')
    group.add_argument('--gpu', type=int, nargs='?', const=0, metavar='ID',
                       help='GPU to use, alone or with its number; left out: the CPU')
    add_threads_flag(group)


def add_prediction_device_flags(parser):
    """The same, for a script that predicts with an MXNet network."""
    add_device_flags(parser)
    add_dtype_flag(parser, ('float32', 'bfloat16', 'int8'))


def add_training_device_flags(parser):
    """The same, for a script that several workers can run together."""
    add_device_flags(parser)
    add_backend_flag(parser)


def add_backend_flag(parser, more_backends=()):
    parser.add_argument('--comm_backend', choices=('horovod',) + more_backends,
                        help='horovod: train together with the other workers of horovodrun, which '
                             'is also the default where that starts the script')


def add_threads_flag(group):
    group.add_argument('--threads', type=positive_int, default=cores_per_worker(),
                       help='CPU threads')


def add_step_flags(group, learning_rate, warmup_ratio):
    """Settings of an optimizer step."""
    group.add_argument('--accumulate', type=positive_int, default=1,
                       help='micro-batches an optimizer step')
    group.add_argument('--lr', type=positive_float, default=learning_rate,
                       help='peak learning rate')
    group.add_argument('--epsilon', type=positive_float, default=1e-6, help='of Adam and the like')
    group.add_argument('--warmup_ratio', type=ratio, default=warmup_ratio,
                       help='share of the steps in which the learning rate rises; it falls '
                            'linearly afterwards')
    group.add_argument('--weight_decay', type=nonnegative_float, default=0.01,
                       help='not applied to biases and layer normalisation')
    group.add_argument('--max_grad_norm', type=positive_float, default=1.0,
                       help='bound of the global norm of the gradient')
    group.add_argument('--dropout', type=ratio, default=0.1, help='in the encoder and the head')
    add_dtype_flag(group, ('float32', 'bfloat16', 'float16'))


DTYPE_DESCRIPTIONS = {
    'float32': 'the exact one', 'bfloat16': 'products of 16 bits, faster on a CPU with AVX-512 for '
    'it', 'int8': 'of 8 bits, faster still and less exact', 'float16': 'on a GPU only'}


def add_dtype_flag(group, choices=tuple(DTYPE_DESCRIPTIONS)):
    group.add_argument('--dtype', choices=choices, default='float32', help='to compute in: ' +
                       '; '.join('%s: %s' % (name, DTYPE_DESCRIPTIONS[name]) for name in choices))


def add_text_output_flags(parser, format_help, batch_size, unit):
    """Where and how a script writes results about its texts, and the size of its batches."""
    parser.add_argument('--output', metavar='FILE', help='default: standard output')
    parser.add_argument('--format', choices=('tsv', 'jsonl'), default='tsv', help=format_help)
    parser.add_argument('--batch_size', type=positive_int, default=batch_size,
                        help=unit + ' a batch')
    parser.add_argument('--overwrite', action='store_true', help='replace an --output that exists')


def usable_cores():
    """Number of cores that this process may use, by its affinity and its container's quota."""
    from joblib import cpu_count  # here, because this import takes a sixth of a second
    return cpu_count()


def cores_per_worker():
    """Number of usable cores for each Horovod worker on this machine, at least 1."""
    return max(1, usable_cores() // int(os.environ.get('HOROVOD_LOCAL_SIZE') or 1))


def prepare_mxnet(threads, training=False, low_latency=False):
    """Make MXNet compute with `threads` threads and keep its memory. Call this before mxnet is
    imported. By default MXNet uses half the cores, because it takes the others for hyper-threads.

    training: whether gradients are computed (see `bert.flags.allocator`).
    low_latency: threads spin while they wait for work. That halves the time of a small batch, but
    takes the cores away from other programs.
    """
    os.environ['OMP_NUM_THREADS'] = str(threads)
    os.environ.setdefault('MXNET_SUBGRAPH_VERBOSE', '0')    # no messages on the terminal
    if low_latency and threads <= usable_cores():
        os.environ.setdefault('OMP_WAIT_POLICY', 'active')
    allocator.keep_freed_memory(training)
