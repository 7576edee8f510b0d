"""The folder of one run: a new numbered one, or the one given; never another run's."""
import logging
import os
import re
import shutil

from bert import file_names, files
from bert.errors import UserError
from bert.train import checkpoint

# a logger of its own: logging.warning would set up a second handler before the log is open
LOG = logging.getLogger(__name__)
DEFAULT_PARENT = 'output_dir'
SEED = re.compile(r'seed-\d+$')     # a sub-folder of --seeds
# Options that say where and how, not what: the command line may change them on a resume.
FREE = {'log_interval', 'ckpt_interval', 'data_dir', 'gpu', 'gpus', 'data', 'data_eval',
        'comm_backend', 'config'}
# And those that it always decides.
FRESH = {'output_dir', 'ckpt_dir', 'resume', 'start_step', 'overwrite_output_dir', 'threads',
         'num_dataset_workers', 'profile', 'rebuild'}
# Options that name what a run reads and an earlier run may have written.
READ = ('model_dir', 'bert_checkpoint', 'model_parameters', 'pretrained_bert_parameters',
        'bert_config', 'dataset_name')
# Beside the options, in the same file: which script the run is of, and which files it writes
# apart from those of every run.
ABOUT = {'script', 'files'}
OF_EVERY_RUN = {file_names.OPTIONS, file_names.INDEX, file_names.RESULTS, file_names.CURVES}


def reopen_folder(args, name, script):
    """Path of the run that --resume goes on with; `args` get the options it was started with.

    name: of the run, where --output_dir is not given. Raises UserError when there is none, when
    another script made it, or when the command line asks for another value than it was started
    with, or for the run to be replaced.
    """
    if args.overwrite_output_dir:
        raise UserError('--resume and --overwrite_output_dir: give one of the two')
    folder = args.output_dir or _newest_numbered(name)
    _restore_options(args, folder, script)
    return folder


def open_folder(args, name, script, written, can_resume=True):
    """Path of a folder for a new run of `script`, made when it isn't there.

    written: names of the files that it writes, apart from those of every run. can_resume: whether
    its --resume, where it has one, means this work.

    Raises UserError when --output_dir holds a run and --overwrite_output_dir is not given.
    """
    folder = args.output_dir or _next_numbered(name)
    if _holds_run(folder):
        if not args.overwrite_output_dir:
            raise UserError('%s holds a run: choose another %s, %sor replace it by '
                            '--overwrite_output_dir' % (
                                folder, _flag(args), 'go on with it by --resume, '
                                if can_resume and hasattr(args, 'resume') else ''))
        _check_inputs(args, folder)
        _clear(folder)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UserError('%s %s: can\'t be made: %s' % (_flag(args), folder, error.strerror)) \
            from None
    files.write_json(os.path.join(folder, file_names.OPTIONS),
                     dict(_options(args), script=script, files=sorted(written)))
    return folder


def open_folder_of_its_own(args, name, script, written, can_resume=True):
    """The same for a run whose files are a model, which may not replace another one's.

    Raises `UserError` too when --output_dir has such files that no run of the script has left.
    """
    folder = args.output_dir
    if folder and not args.overwrite_output_dir and not _holds_run(folder) and \
            _saved_options(folder).get('script') != script:
        found = sorted(name for name in written if os.path.exists(os.path.join(folder, name)))
        if found:
            raise UserError('%s holds %s, and is no folder of %s: choose another, or have files '
                            'replaced by --overwrite_output_dir' % (folder, found[0], script))
    return open_folder(args, name, script, written, can_resume)


def _check_inputs(args, folder):
    """Raises `UserError` when something that the run reads would be removed first."""
    place = os.path.realpath(folder) + os.sep
    for name in READ:
        path = getattr(args, name, None)
        if path and (os.path.realpath(path) + os.sep).startswith(place):
            raise UserError('--overwrite_output_dir: --%s %s lies in the run that it would '
                            'replace: choose another %s' % (name, path, _flag(args)))


def _flag(args):
    """What the script calls the folder of a run."""
    return '--ckpt_dir' if hasattr(args, 'ckpt_dir') else '--output_dir'


def _holds_run(folder):
    """Whether anything was computed there; a run that a mistake ended at once leaves nothing."""
    if not os.path.isdir(folder):
        return False
    seeds = [os.path.join(folder, name) for name in os.listdir(folder) if SEED.match(name)]
    return any(os.path.exists(os.path.join(place, file_names.RESULTS)) or checkpoint.newest(place)
               for place in [folder] + seeds)


def _options(args):
    return {key: value for key, value in vars(args).items() if key != 'given'}


def _numbered(name):
    """[(number, path)] of the runs of `name` in the default folder, in order."""
    pattern = re.compile(re.escape(name) + r'-(\d+)$')
    found = [(int(pattern.match(entry).group(1)), os.path.join(DEFAULT_PARENT, entry))
             for entry in (os.listdir(DEFAULT_PARENT) if os.path.isdir(DEFAULT_PARENT) else ())
             if pattern.match(entry)]
    return sorted(found)


def _next_numbered(name):
    number = (_numbered(name) or [(0, None)])[-1][0] + 1
    while True:     # another process may take the number first
        folder = os.path.join(DEFAULT_PARENT, '%s-%03d' % (name, number))
        try:
            os.makedirs(folder)
            return folder
        except FileExistsError:
            number += 1
        except OSError as error:
            raise UserError('%s: can\'t be made: %s; choose a folder with --output_dir'
                            % (folder, error.strerror)) from None


def _newest_numbered(name):
    runs = [run for run in _numbered(name) if _holds_run(run[1])]
    if not runs:
        raise UserError('--resume: no run of %s in ./%s; name its folder with --output_dir'
                        % (name, DEFAULT_PARENT))
    return runs[-1][1]


def _saved_options(folder):
    """The options that the run in `folder` was started with; {} when they can't be read."""
    try:
        return files.read_json(os.path.join(folder, file_names.OPTIONS))
    except UserError:
        return {}


def _restore_options(args, folder, script):
    saved = _saved_options(folder)
    if not saved:
        raise UserError('--resume: %s holds no run (no readable %s)' % (folder, file_names.OPTIONS))
    if saved.get('script', script) != script:
        raise UserError('--resume: the run in %s is one of %s: go on with that script'
                        % (folder, saved.get('script')))
    if saved.get('threads') != args.threads:
        LOG.warning('the run was started with --threads %s: with %s its numbers may differ in the '
                    'last bits', saved.get('threads'), args.threads)
    for key, value in saved.items():
        if key in FRESH | ABOUT:
            continue
        value = tuple(value) if isinstance(value, list) else value
        if key not in args.given:
            setattr(args, key, value)
        elif key not in FREE and getattr(args, key) != value:
            raise UserError('--%s %s: the run in %s was started with %s; leave the flag out, or '
                            'start another run' % (key, getattr(args, key), folder, value))


def _clear(folder):
    """Remove what a run writes, and nothing else."""
    written = OF_EVERY_RUN.union(_saved_options(folder).get('files', ()))
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if checkpoint.NAME.match(name) or SEED.match(name):
            shutil.rmtree(path)
        elif name in written and os.path.isdir(path):
            shutil.rmtree(path)
        elif name in written:
            os.remove(path)
