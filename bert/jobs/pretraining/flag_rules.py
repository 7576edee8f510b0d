"""Rules between the flags of pre-training."""
import os

from bert import file_names, files
from bert.errors import UserError
from bert.flags import common
from bert.train import checkpoint
from bert.train.profiling import FIRST_PROFILED_STEP, LAST_PROFILED_STEP

SCRIPT = 'run_pretraining.py'
TASK_NAME = 'pretraining'    # of the runs, and of the task in their results.json
# Options for reading raw text, and for drawing examples
RAW_TEXT_OPTIONS = ('cased', 'tokenized', 'sentence_splitter', 'short_seq_prob', 'whole_word_mask',
                    'eval_use_npz')
SAMPLING_OPTIONS = ('max_seq_length', 'masked_lm_prob', 'max_predictions_per_seq')


def check_pretraining_flags(args, num_devices=1):
    """Raises `UserError` for flags that contradict each other; sets those that follow from others.

    num_devices: over all workers.
    """
    args.synthetic_data = args.synthetic_data or bool(args.dummy_data_len)
    if not (args.data or args.data_eval or args.synthetic_data):
        raise UserError('nothing to do: give --data to train on, --data_eval to evaluate on, or '
                        'both')
    if args.data and args.synthetic_data:
        raise UserError('--synthetic_data takes the place of --data: give one of the two')
    check_sampling_flags(args)
    check_phase_flags(args)
    check_profile_flags(args)
    if args.bert_checkpoint and (args.pretrained or args.bert_config):
        raise UserError('--bert_checkpoint brings its own weights and sizes: leave --pretrained '
                        'and --bert_config out')
    if args.pretrained and args.bert_config:
        raise UserError('--pretrained and --bert_config: released weights have their own sizes; '
                        'give one of the two')
    if args.total_batch_size and 'batch_size' in args.explicit_flags:
        raise UserError('--total_batch_size and --batch_size: give one of the two')
    if args.total_batch_size:
        num_parts = args.accumulate * num_devices
        if args.total_batch_size % num_parts:
            raise UserError('--total_batch_size %d: not a multiple of %d: --accumulate %d on %d '
                            'devices' % (args.total_batch_size, num_parts, args.accumulate,
                                         num_devices))
        args.batch_size = args.total_batch_size // num_parts


def check_sampling_flags(args):
    """Raises `UserError` for flags about drawing examples when the run draws none."""
    draws_examples = args.raw or args.synthetic_data
    for names, is_used in ((RAW_TEXT_OPTIONS, args.raw), (SAMPLING_OPTIONS, draws_examples)):
        if not is_used:
            common.refuse_flags(args, names, 'it is for --raw: what is in the files of --data was '
                                        'decided when they were made')
    if args.raw and not args.data and args.eval_use_npz:
        raise UserError('--raw: there is no raw text to read: --data is missing, and --data_eval '
                        'is said to be .npz by --eval_use_npz')


def check_profile_flags(args):
    """Raises `UserError` if there are too few steps for --profile, or it can't be written."""
    if not args.profile:
        return
    if args.num_steps < LAST_PROFILED_STEP or not (args.data or args.synthetic_data):
        raise UserError('--profile: it looks at steps %d to %d of training: give --data and '
                        '--num_steps %d or more'
                        % (FIRST_PROFILED_STEP, LAST_PROFILED_STEP, LAST_PROFILED_STEP))
    folder = os.path.dirname(os.path.abspath(args.profile))
    if os.path.exists(args.profile) or not os.access(folder, os.W_OK):
        raise UserError('--profile %s: %s: choose another name' % (
            args.profile, 'it exists' if os.path.exists(args.profile)
            else '%s is no folder that can be written to' % folder))


def check_phase_flags(args):
    """Raises `UserError` for a second phase without a first one."""
    if args.phase1_num_steps and not args.phase2:
        raise UserError('--phase1_num_steps is for --phase2')
    if args.phase2 and not args.bert_checkpoint:
        raise UserError('--phase2: name the --ckpt_dir of phase 1 with --bert_checkpoint, and a '
                        'new --ckpt_dir')


def check_start_step(args):
    """Raises `UserError` unless the run's newest checkpoint is that of --start_step."""
    newest = checkpoint.newest_checkpoint(args.ckpt_dir)
    if newest is None:
        raise UserError('--start_step %d: no checkpoint in %s' % (args.start_step, args.ckpt_dir))
    if os.path.basename(newest) != checkpoint.checkpoint_name(args.start_step):
        raise UserError('--start_step %d: the newest checkpoint in %s is %s: --resume goes on from '
                        'that one' % (args.start_step, args.ckpt_dir, os.path.basename(newest)))


def find_phase1_checkpoint(args):
    """Folder of phase 1's newest checkpoint, from whose weights and optimizer phase 2 continues.
    Raises `UserError` when --bert_checkpoint holds none, or that of another kind of run."""
    folder = checkpoint.newest_checkpoint(args.bert_checkpoint)
    if folder is None:
        raise UserError('--phase2: %s holds no run: name the --ckpt_dir of phase 1 with '
                        '--bert_checkpoint' % args.bert_checkpoint)
    report = files.read_json(os.path.join(folder, file_names.RESULTS_FILE))
    if report.get('task') != TASK_NAME:
        raise UserError('--phase2: the run in %s is none of %s' % (args.bert_checkpoint, SCRIPT))
    if report['options']['optimizer'] != args.optimizer:
        raise UserError('--phase2: %s was trained by --optimizer %s: give that one'
                        % (folder, report['options']['optimizer']))
    if args.phase1_num_steps and report['step'] != args.phase1_num_steps:
        raise UserError('--phase1_num_steps %d: the newest checkpoint in %s is of step %d'
                        % (args.phase1_num_steps, args.bert_checkpoint, report['step']))
    return folder
