"""Run folders: a new numbered one, or --output_dir. A run never replaces another unasked."""
import contextlib
import logging
import os
import re
import shutil

from bert import file_names, files, locks
from bert.errors import UserError
from bert.train import checkpoint

# its own logger: logging.warning would add a second handler before the log is open
LOG = logging.getLogger(__name__)
DEFAULT_PARENT = 'output_dir'
SEED_FOLDER = re.compile(r'seed-\d+$')     # a sub-folder for one of --seeds
# Options that say where and how to compute, not what: a resume may change them.
OVERRIDABLE_OPTIONS = {
    'log_interval', 'ckpt_interval', 'data_dir', 'gpu', 'gpus', 'data', 'data_eval', 'train_file',
    'comm_backend', 'config'}     # of train_file and data, the trainer compares the digest
# Options that are never restored: each command line sets them for its own session.
SESSION_OPTIONS = {
    'output_dir', 'ckpt_dir', 'resume', 'start_step', 'overwrite_output_dir', 'threads',
    'num_dataset_workers', 'profile', 'rebuild'}
# Options that name inputs which an earlier run may have written.
INPUT_OPTIONS = (
    'model_dir', 'bert_checkpoint', 'model_parameters', 'pretrained_bert_parameters',
    'bert_config', 'dataset_name')
# Logs of all scripts
LOG_FILES = re.compile(r'log_.*\.txt$|phase\d_log\.0$|.*\.log$')
# Files of every run
COMMON_FILES = {
    file_names.OPTIONS_FILE, file_names.INDEX_FILE, file_names.RESULTS_FILE, file_names.CURVES_FILE}


@contextlib.contextmanager
def reopen_run_folder(options, explicit, name, script, is_owner=True):
    """Context with (path of the run that --resume continues, the options of its first session),
    which owns the folder.

    name: of the run, if --output_dir is not given. is_owner: False for all workers of Horovod but
    worker 0. Raises `UserError` when there is no such run, when another script made it, when the
    command line changes an option that has to stay, or when another process owns the folder.
    """
    folder = options.output_dir or _newest_numbered_run(name)
    options = _restore_options(options, explicit, folder, script)
    options.check(explicit)
    with _own_run(folder, options.folder_flag) if is_owner else contextlib.nullcontext():
        yield folder, options


@contextlib.contextmanager
def _own_run(folder, flag):
    """`locks.own_folder`. Raises `UserError` too if another process owns the run of one seed in the
    folder, or the run of several seeds that the folder is a part of."""
    parent, name = os.path.split(os.path.abspath(folder))
    related = [parent] if SEED_FOLDER.match(name) and os.path.isdir(parent) else []
    if os.path.isdir(folder):
        related += [os.path.join(folder, entry) for entry in os.listdir(folder)
                    if SEED_FOLDER.match(entry) and os.path.isdir(os.path.join(folder, entry))]
    with locks.own_folder(folder, flag):
        for path in related:
            with locks.own_folder(path, flag):
                pass
        yield


@contextlib.contextmanager
def open_run_folder(options, name, script, output_files, can_resume=True, **values):
    """Context with the path of the folder for a new run of `script`, which owns the folder; makes
    the folder if it doesn't exist.

    output_files: names of the files that the run writes, apart from those of every run.
    can_resume: False for a run that no --resume continues. values: what else a resume needs to
    know, see `saved_options`.

    Raises `UserError` when --output_dir holds a run and --overwrite_output_dir is not given, and
    when another process owns the folder. A run that a `UserError` ends before it has done anything
    leaves no folder: with a misspelt model it has not begun.
    """
    folder, is_numbered = options.output_dir, not options.output_dir
    if is_numbered:
        folder = _make_numbered_folder(name)
    try:
        with _own_run(folder, options.folder_flag):
            _make_empty(folder, options, can_resume)
            files.write_json(os.path.join(folder, file_names.OPTIONS_FILE), dict(
                options.as_dict(), **values, script=script, files=sorted(output_files)))
            try:
                yield folder
            except UserError:
                _remove_traces(folder)
                raise
    finally:
        if is_numbered:
            with contextlib.suppress(OSError):      # it is not empty
                os.rmdir(folder)


def _remove_traces(folder):
    """Remove the options and the log of a run that has written nothing else."""
    names = set(os.listdir(folder)) - {locks.LOCK_FILE}
    if all(name == file_names.OPTIONS_FILE or LOG_FILES.match(name) for name in names):
        for name in names:
            files.remove(os.path.join(folder, name))


def _make_empty(folder, options, can_resume):
    """Remove the run in the folder, if there is one and --overwrite_output_dir is given; without
    that raises `UserError`."""
    if _holds_run(folder):
        if not options.overwrite_output_dir:
            raise UserError('%s holds a run: choose another %s, %sor replace it with '
                            '--overwrite_output_dir' % (
                                folder, options.folder_flag,
                                'continue it with --resume, ' if can_resume else ''))
        _check_inputs(options, folder)
        _clear(folder)


@contextlib.contextmanager
def open_model_folder(options, name, script, output_files, can_resume=True, **values):
    """The same for a run that writes a model, which must not replace another model's files.

    Raises `UserError` also when --output_dir holds such files and no run of the script wrote them.
    """
    folder = options.output_dir
    if folder and not options.overwrite_output_dir and not _holds_run(folder) and \
            saved_options(folder).get('script') != script:
        conflicts = sorted(name for name in output_files
                           if os.path.exists(os.path.join(folder, name)))
        if conflicts:
            raise UserError('%s holds %s, but no run of %s: choose another folder, or replace '
                            'files with --overwrite_output_dir' % (folder, conflicts[0], script))
    with open_run_folder(options, name, script, output_files, can_resume, **values) as folder:
        yield folder


def output_beside_model(options, name, is_needed=False):
    """The options with --output_dir, by default the folder `name` in --model_dir. There is no
    default for a model on the hub, whose cache is no place for results, and without --model_dir;
    is_needed: that raises a `UserError`."""
    if options.output_dir or options.model_dir and os.path.isdir(options.model_dir):
        return options.replace(
            output_dir=options.output_dir or os.path.join(options.model_dir, name))
    if is_needed:
        raise UserError('--model_dir %s: this is not a local folder, and the results need one: '
                        'give --output_dir' % options.model_dir)
    return options


def _check_inputs(options, folder):
    """Raises `UserError` when replacing the run would remove one of its inputs."""
    root = os.path.realpath(folder) + os.sep
    for name in INPUT_OPTIONS:
        path = getattr(options, name, None)
        if path and (os.path.realpath(path) + os.sep).startswith(root):
            raise UserError('--overwrite_output_dir: --%s %s is inside the run that would be '
                            'replaced: choose another %s' % (name, path, options.folder_flag))


def _holds_run(folder):
    """Whether the folder holds results or a checkpoint; a run that failed at once has neither."""
    if not os.path.isdir(folder):
        return False
    seed_folders = [os.path.join(folder, name) for name in os.listdir(folder)
                    if SEED_FOLDER.match(name)]
    return any(os.path.exists(os.path.join(path, file_names.RESULTS_FILE))
               or checkpoint.newest_checkpoint(path) for path in [folder] + seed_folders)


def _numbered_runs(name):
    """[(number, path)] of the runs called `name` in the default folder, in order."""
    pattern = re.compile(re.escape(name) + r'-(\d+)$')
    runs = [(int(pattern.match(entry).group(1)), os.path.join(DEFAULT_PARENT, entry))
            for entry in (os.listdir(DEFAULT_PARENT) if os.path.isdir(DEFAULT_PARENT) else ())
            if pattern.match(entry)]
    return sorted(runs)


def _make_numbered_folder(name):
    """Make the folder with the next free number; returns its path."""
    number = (_numbered_runs(name) or [(0, None)])[-1][0] + 1
    while True:     # another process may take the number first
        folder = os.path.join(DEFAULT_PARENT, '%s-%03d' % (name, number))
        try:
            os.makedirs(folder)
            return folder
        except FileExistsError:
            number += 1
        except OSError as error:
            raise UserError("%s: the folder can't be created: %s; choose another with --output_dir"
                            % (folder, error.strerror)) from None


def _newest_numbered_run(name):
    runs = [run for run in _numbered_runs(name) if _holds_run(run[1])]
    if not runs:
        raise UserError('--resume: no run of %s in ./%s; name its folder with --output_dir'
                        % (name, DEFAULT_PARENT))
    return runs[-1][1]


def saved_options(folder):
    """The options with which the run in `folder` was started, and the further values that its job
    saved; {} if they can't be read."""
    try:
        return files.read_json(os.path.join(folder, file_names.OPTIONS_FILE))
    except UserError:
        return {}


def _restore_options(options, explicit, folder, script):
    """The options with which the run in `folder` was started, and those of this session. Raises
    `UserError` when there is no such run, when another script made it, or when the command line
    changes an option that has to stay."""
    saved = saved_options(folder)
    if not saved:
        raise UserError('--resume: %s holds no run (no readable %s)'
                        % (folder, file_names.OPTIONS_FILE))
    if saved.get('script', script) != script:
        raise UserError('--resume: the run in %s was made by %s: continue with that script'
                        % (folder, saved.get('script')))
    if saved.get('threads') != options.threads:
        LOG.warning('the run was started with --threads %s: with %s its numbers may differ in the '
                    'last bits', saved.get('threads'), options.threads)
    restored = {}
    names = options.as_dict().keys() - SESSION_OPTIONS
    for key in [key for key in saved if key in names]:
        value = tuple(saved[key]) if isinstance(saved[key], list) else saved[key]
        if key not in explicit:
            restored[key] = value
        elif key not in OVERRIDABLE_OPTIONS and getattr(options, key) != value:
            raise UserError('--%s %s: the run in %s was started with %s; leave the flag out, or '
                            'start another run' % (key, getattr(options, key), folder, value))
    return options.replace(**restored)


def _clear(folder):
    """Remove the files of a run, and nothing else."""
    output_files = COMMON_FILES.union(saved_options(folder).get('files', ()))
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if checkpoint.CHECKPOINT_PATTERN.match(name) or SEED_FOLDER.match(name):
            shutil.rmtree(path)
        elif name in output_files and os.path.isdir(path):
            shutil.rmtree(path)
        elif name in output_files:
            os.remove(path)
