"""Rules between the options of pre-training that a table can't say."""
import os

from bert import file_names, files
from bert.errors import UserError
from bert.flags.options import refuse
from bert.train import checkpoint
from bert.train.profiling import FIRST_PROFILED_STEP, LAST_PROFILED_STEP

SCRIPT = 'run_pretraining.py'
TASK_NAME = 'pretraining'    # of the runs, and of the task in their results.json
# Options for reading raw text, and for drawing examples
RAW_TEXT_OPTIONS = ('cased', 'tokenized', 'sentence_splitter', 'short_seq_prob', 'whole_word_mask',
                    'eval_use_npz')
SAMPLING_OPTIONS = ('max_seq_length', 'masked_lm_prob', 'max_predictions_per_seq')


def resolve_options(options, explicit, num_devices=1):
    """The options with those that follow from others. Raises `UserError` for options that
    contradict each other.

    num_devices: over all workers.
    """
    options = options.replace(synthetic_data=options.draws_synthetic_data)
    if not (options.data or options.data_eval or options.synthetic_data):
        raise UserError('nothing to do: give --data to train on, --data_eval to evaluate on, or '
                        'both')
    if options.data and options.synthetic_data:
        raise UserError('--synthetic_data replaces --data: give one of the two')
    check_sampling_options(options, explicit)
    check_profile_options(options)
    if not options.total_batch_size:
        return options
    num_parts = options.accumulate * num_devices
    if options.total_batch_size % num_parts:
        raise UserError('--total_batch_size %d: expected a multiple of %d: --accumulate %d on %d '
                        'devices' % (options.total_batch_size, num_parts, options.accumulate,
                                     num_devices))
    return options.replace(batch_size=options.total_batch_size // num_parts)


def check_sampling_options(options, explicit):
    """Raises `UserError` for options about drawing examples when the run draws none."""
    draws_examples = options.raw or options.synthetic_data
    for names, is_used in ((RAW_TEXT_OPTIONS, options.raw), (SAMPLING_OPTIONS, draws_examples)):
        if not is_used:
            refuse(explicit, names, 'it is for --raw: the examples of --data are already made')
    if options.raw and not options.data and options.eval_use_npz:
        raise UserError('--raw: there is no raw text to read: --data is missing, and '
                        '--eval_use_npz says that --data_eval is .npz')


def check_profile_options(options):
    """Raises `UserError` if there are too few steps for --profile, or it can't be written."""
    if not options.profile:
        return
    if options.num_steps < LAST_PROFILED_STEP or not (options.data or options.synthetic_data):
        raise UserError('--profile: it records steps %d to %d of training: give --data and '
                        '--num_steps %d or more'
                        % (FIRST_PROFILED_STEP, LAST_PROFILED_STEP, LAST_PROFILED_STEP))
    folder = os.path.dirname(os.path.abspath(options.profile))
    if os.path.exists(options.profile) or not os.access(folder, os.W_OK):
        raise UserError('--profile %s: %s: choose another name' % (
            options.profile, 'it exists' if os.path.exists(options.profile)
            else '%s is not a writable folder' % folder))


def check_start_step(options):
    """Raises `UserError` unless the run's newest checkpoint is that of --start_step."""
    newest = checkpoint.newest_checkpoint(options.ckpt_dir)
    if newest is None:
        raise UserError('--start_step %d: no checkpoint in %s'
                        % (options.start_step, options.ckpt_dir))
    if os.path.basename(newest) != checkpoint.checkpoint_name(options.start_step):
        raise UserError('--start_step %d: the newest checkpoint in %s is %s: give --resume to '
                        'continue from that one'
                        % (options.start_step, options.ckpt_dir, os.path.basename(newest)))


def find_phase1_checkpoint(options):
    """Folder of phase 1's newest checkpoint, from whose weights and optimizer phase 2 continues.
    Raises `UserError` when --bert_checkpoint holds none, or that of another kind of run."""
    folder = checkpoint.newest_checkpoint(options.bert_checkpoint)
    if folder is None:
        raise UserError('--phase2: %s holds no run: name the --ckpt_dir of phase 1 with '
                        '--bert_checkpoint' % options.bert_checkpoint)
    report = files.read_json(os.path.join(folder, file_names.RESULTS_FILE))
    if report.get('task') != TASK_NAME:
        raise UserError('--phase2: the run in %s was not made by %s'
                        % (options.bert_checkpoint, SCRIPT))
    if report['options']['optimizer'] != options.optimizer:
        raise UserError('--phase2: %s was trained with --optimizer %s: give the same'
                        % (folder, report['options']['optimizer']))
    if options.phase1_num_steps and report['step'] != options.phase1_num_steps:
        raise UserError('--phase1_num_steps %d: the newest checkpoint in %s is of step %d'
                        % (options.phase1_num_steps, options.bert_checkpoint, report['step']))
    return folder
