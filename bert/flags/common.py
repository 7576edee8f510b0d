"""Flags that scripts share, and a parser that answers mistakes in one line.

Nothing here imports mxnet: `--help` answers at once, and `--threads` is set before MXNet
reads it.
"""
import argparse
import math
import os
import re
import sys

from bert.errors import EXIT_USER_ERROR, UserError, nearest
from bert.flags import allocator

# Flags of the original scripts that this zoo leaves out, and what to use instead.
LEFT_OUT = {
    '--sentencepiece': 'SentencePiece models are not supported; a BERT vocabulary is a vocab.txt, '
                       'see --bert_checkpoint',
    '--custom_pass_lib': 'compiled graph passes are not part of this zoo',
    '--custom_passes': 'compiled graph passes are not part of this zoo',
    '--comm_backend': 'it has no meaning here; this script runs in one process',
}

# The same for scripts that read text to pre-train on.
LEFT_OUT_OF_TEXT = {flag: LEFT_OUT['--sentencepiece'] for flag in ('--sp_nbest', '--sp_alpha')}

# The same for the fine-tuning scripts.
LEFT_OUT_OF_TRAINING = dict(
    {flag: 'an exported model is run by deploy.py --model_dir FOLDER'
     for flag in ('--deploy', '--model_prefix')},
    **{'--tune': 'tuning starts from a trained model: quantize.py --tune --model_dir FOLDER'})

# The same for static_finetune_squad.py.
LEFT_OUT_OF_STATIC_TRAINING = dict(LEFT_OUT_OF_TRAINING, **{
    flag: 'a static network is not calibrated: quantize.py --model_dir FOLDER takes a run of it'
    for flag in ('--only_calibration', '--num_calib_batches', '--quantized_dtype', '--calib_mode')})

# What other programs call flags of ours.
RENAMED = {'--learning_rate': '--lr', '--max_seq_length': '--max_len', '--max_length': '--max_len',
           '--num_train_epochs': '--epochs', '--model_name_or_path': '--bert_checkpoint',
           '--per_device_train_batch_size': '--batch_size',
           '--gradient_accumulation_steps': '--accumulate'}


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to a flag's help, unless there is none or the help names it."""

    def _get_help_string(self, action):
        if action.default is None or action.default is False or 'default:' in action.help:
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """argparse with defaults in `--help`, no abbreviations, near spellings for an unknown
    flag, and the reason for a flag that was left out.

    left_out: {flag: reason} beside the general `LEFT_OUT`.
    Parsed arguments have `given`: the set of names that the command line set.
    """

    def __init__(self, description, left_out=None):
        super().__init__(description=description, allow_abbrev=False,
                         formatter_class=HelpFormatter)
        self._left_out = dict(LEFT_OUT, **(left_out or {}))

    def parse_args(self, args=None, namespace=None):
        arguments = list(sys.argv[1:] if args is None else args)
        for argument in arguments:
            self._check_flag(argument.split('=')[0])
        parsed, unknown = self.parse_known_args(arguments)
        if unknown:     # flags between texts; not at once, for it knows no "--"
            parsed, unknown = self.parse_known_intermixed_args(arguments)
        if unknown:
            self.error('unknown argument %s' % unknown[0])
        parsed.given = self._given(arguments)
        return parsed

    def _check_flag(self, flag):
        """Explain a flag that isn't there, before argparse asks for the required ones."""
        if not re.match('--[a-zA-Z]', flag) or flag in self._option_string_actions:
            return
        if flag in self._left_out:
            self.error('%s: %s' % (flag, self._left_out[flag]))
        if RENAMED.get(flag) in self._option_string_actions:
            self.error('%s is called %s here' % (flag, RENAMED[flag]))
        self.error('unknown argument %s.%s' % (flag, nearest(flag, self._option_string_actions)))

    def _given(self, arguments):
        """{name of an option: the flag} of those that `arguments` set, whatever their value."""
        defaults = {action: action.default for action in self._actions}
        try:
            for action in self._actions:
                action.default = argparse.SUPPRESS
            names = vars(self.parse_known_args(arguments)[0])
        finally:
            for action, default in defaults.items():
                action.default = default
        typed = {argument.split('=')[0] for argument in arguments}
        return {action.dest: next((flag for flag in action.option_strings if flag in typed), '')
                for action in self._actions if action.dest in names}

    def error(self, message):
        self.exit(EXIT_USER_ERROR, 'error: %s (%s --help lists the flags)\n'
                  % (message, self.prog))


def refuse(args, names, reason):
    """Raises `UserError` for one of the options `names` that was given and would do nothing."""
    for name in sorted(args.given.keys() & set(names)):
        raise UserError('%s: %s' % (args.given[name], reason))


def number(kind, expected, low=-math.inf, high=math.inf, above=-math.inf):
    """A flag's type: an int or float (`kind`) from `low` to `high` and greater than `above`;
    `expected` says so in the error."""
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and low <= value <= high and value > above):
            raise argparse.ArgumentTypeError('%s found, %s expected' % (text, expected))
        return value
    return parse


positive_int = number(int, 'a whole number from 1 on', low=1)
positive = number(float, 'a number above 0', above=0)
not_negative = number(float, 'a number from 0 on', low=0)
ratio = number(float, 'a number from 0 to 1', low=0, high=1)


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
    """The same for a script that predicts with a network of MXNet."""
    add_device_flags(parser)
    add_dtype_flag(parser, ('float32', 'bfloat16', 'int8'))


def add_training_device_flags(parser):
    """The same for a script that several workers can run together."""
    add_device_flags(parser)
    add_backend_flag(parser)


def add_backend_flag(parser, others=()):
    parser.add_argument('--comm_backend', choices=('horovod',) + others,
                        help='horovod: train together with the other workers of horovodrun, which '
                             'is also the default where that starts the script')


def add_threads_flag(group):
    group.add_argument('--threads', type=positive_int, default=cores_a_worker(),
                       help='CPU threads')


def add_step_flags(group, learning_rate, warmup_ratio):
    """What an optimizer step is."""
    group.add_argument('--accumulate', type=positive_int, default=1,
                       help='micro-batches an optimizer step')
    group.add_argument('--lr', type=positive, default=learning_rate, help='peak learning rate')
    group.add_argument('--epsilon', type=positive, default=1e-6, help='of Adam and the like')
    group.add_argument('--warmup_ratio', type=ratio, default=warmup_ratio,
                       help='share of the steps in which the learning rate rises; it falls '
                            'linearly afterwards')
    group.add_argument('--weight_decay', type=not_negative, default=0.01,
                       help='not applied to biases and layer normalisation')
    group.add_argument('--max_grad_norm', type=positive, default=1.0,
                       help='bound of the global norm of the gradient')
    group.add_argument('--dropout', type=ratio, default=0.1, help='in the encoder and the head')
    add_dtype_flag(group, ('float32', 'bfloat16', 'float16'))


DTYPES = {
    'float32': 'the exact one', 'bfloat16': 'products of 16 bits, faster on a CPU with AVX-512 for '
    'it', 'int8': 'of 8 bits, faster still and less exact', 'float16': 'on a GPU only'}


def add_dtype_flag(group, choices=tuple(DTYPES)):
    group.add_argument('--dtype', choices=choices, default='float32', help='to compute in: ' +
                       '; '.join('%s: %s' % (name, DTYPES[name]) for name in choices))


def add_text_output_flags(parser, format_help, batch_size, unit):
    """Where a script writes lines about its texts, and how many it computes at once."""
    parser.add_argument('--output', metavar='FILE', help='default: standard output')
    parser.add_argument('--format', choices=('tsv', 'jsonl'), default='tsv', help=format_help)
    parser.add_argument('--batch_size', type=positive_int, default=batch_size,
                        help=unit + ' a batch')
    parser.add_argument('--overwrite', action='store_true', help='replace an --output that exists')


def usable_cores():
    """Cores this process may use: those of its affinity and of its container's quota."""
    from joblib import cpu_count  # a sixth of a second: not for those who import this module
    return cpu_count()


def cores_a_worker():
    """The usable cores shared out among the workers of Horovod on this machine."""
    return max(1, usable_cores() // int(os.environ.get('HOROVOD_LOCAL_SIZE') or 1))


def prepare_mxnet(threads, training=False, low_latency=False):
    """Have MXNet compute with `threads` threads and keep its memory: call it before mxnet is
    imported. Left alone, MXNet takes half the cores of the machine, thinking the others
    hyper-threads.

    low_latency: threads wait for the next piece of work awake, which halves the time of a small
    batch, and takes the cores from whatever else runs beside.
    """
    os.environ['OMP_NUM_THREADS'] = str(threads)
    os.environ.setdefault('MXNET_SUBGRAPH_VERBOSE', '0')    # no line of its source on the terminal
    if low_latency and threads <= usable_cores():
        os.environ.setdefault('OMP_WAIT_POLICY', 'active')
    allocator.keep_freed(training)
