"""Which flags of pre-training go together."""
import os

from bert import file_names, files
from bert.errors import UserError
from bert.flags import common
from bert.train import checkpoint
from bert.train.profiling import FIRST_PROFILED, LAST_PROFILED

SCRIPT, NAME = 'run_pretraining.py', 'pretraining'      # NAME: the task of its runs
# Flags that say how raw text is read, and how examples are drawn
OF_RAW = ('cased', 'tokenized', 'sentence_splitter', 'short_seq_prob', 'whole_word_mask',
          'eval_use_npz')
OF_EXAMPLES = ('max_seq_length', 'masked_lm_prob', 'max_predictions_per_seq')


def check_flags(args, num_devices=1):
    """Raises `UserError` for flags that contradict each other."""
    args.synthetic_data = args.synthetic_data or bool(args.dummy_data_len)
    if not (args.data or args.data_eval or args.synthetic_data):
        raise UserError('nothing to do: give --data to train on, --data_eval to evaluate on, or '
                        'both')
    if args.data and args.synthetic_data:
        raise UserError('--synthetic_data takes the place of --data: give one of the two')
    check_sampling_flags(args)
    check_phase(args)
    check_profile(args)
    if args.bert_checkpoint and (args.pretrained or args.bert_config):
        raise UserError('--bert_checkpoint brings its own weights and sizes: leave --pretrained '
                        'and --bert_config out')
    if args.pretrained and args.bert_config:
        raise UserError('--pretrained and --bert_config: released weights have their own sizes; '
                        'give one of the two')
    if args.total_batch_size and 'batch_size' in args.given:
        raise UserError('--total_batch_size and --batch_size: give one of the two')
    if args.total_batch_size:
        parts = args.accumulate * num_devices
        if args.total_batch_size % parts:
            raise UserError('--total_batch_size %d: not a multiple of %d: --accumulate %d on %d '
                            'devices' % (args.total_batch_size, parts, args.accumulate,
                                         num_devices))
        args.batch_size = args.total_batch_size // parts


def check_sampling_flags(args):
    """Raises `UserError` for flags about how examples are drawn where none are."""
    for names, needed in ((OF_RAW, args.raw), (OF_EXAMPLES, args.raw or args.synthetic_data)):
        if not needed:
            common.refuse(args, names, 'it is for --raw: what is in the files of --data was '
                                        'decided when they were made')
    if args.raw and not args.data and args.eval_use_npz:
        raise UserError('--raw: there is no raw text to read: --data is missing, and --data_eval '
                        'is said to be .npz by --eval_use_npz')


def check_profile(args):
    """Raises `UserError` for a --profile that can't be made or written."""
    if not args.profile:
        return
    if args.num_steps < LAST_PROFILED or not (args.data or args.synthetic_data):
        raise UserError('--profile: it looks at steps %d to %d of training: give --data and '
                        '--num_steps %d or more' % (FIRST_PROFILED, LAST_PROFILED, LAST_PROFILED))
    folder = os.path.dirname(os.path.abspath(args.profile))
    if os.path.exists(args.profile) or not os.access(folder, os.W_OK):
        raise UserError('--profile %s: %s: choose another name' % (
            args.profile, 'it exists' if os.path.exists(args.profile)
            else '%s is no folder that can be written to' % folder))


def check_phase(args):
    """Raises `UserError` for a second phase without a first one."""
    if args.phase1_num_steps and not args.phase2:
        raise UserError('--phase1_num_steps is for --phase2')
    if args.phase2 and not args.bert_checkpoint:
        raise UserError('--phase2: name the --ckpt_dir of phase 1 with --bert_checkpoint, and a '
                        'new --ckpt_dir')


def check_start_step(args):
    """Raises `UserError` unless the run's newest checkpoint is of --start_step."""
    newest = checkpoint.newest(args.ckpt_dir)
    if newest is None:
        raise UserError('--start_step %d: no checkpoint in %s' % (args.start_step, args.ckpt_dir))
    if os.path.basename(newest) != checkpoint.name_of(args.start_step):
        raise UserError('--start_step %d: the newest checkpoint in %s is %s: --resume goes on from '
                        'that one' % (args.start_step, args.ckpt_dir, os.path.basename(newest)))


def find_phase1(args):
    """The newest checkpoint of phase 1, whose weights and optimizer phase 2 goes on with. Raises
    `UserError` when --bert_checkpoint holds none, or one of another kind."""
    folder = checkpoint.newest(args.bert_checkpoint)
    if folder is None:
        raise UserError('--phase2: %s holds no run: name the --ckpt_dir of phase 1 with '
                        '--bert_checkpoint' % args.bert_checkpoint)
    about = files.read_json(os.path.join(folder, file_names.RESULTS))
    if about.get('task') != NAME:
        raise UserError('--phase2: the run in %s is none of %s' % (args.bert_checkpoint, SCRIPT))
    if about['options']['optimizer'] != args.optimizer:
        raise UserError('--phase2: %s was trained by --optimizer %s: give that one'
                        % (folder, about['options']['optimizer']))
    if args.phase1_num_steps and about['step'] != args.phase1_num_steps:
        raise UserError('--phase1_num_steps %d: the newest checkpoint in %s is of step %d'
                        % (args.phase1_num_steps, args.bert_checkpoint, about['step']))
    return folder
