"""Checkpoint folders of a run: each is complete or absent; only the newest and the best stay.

A run folder holds
    checkpoints.json        {"newest": "step-0000230", "best": "step-0000115"}
    step-0000230/           the files listed in bert/file_names.py; describes itself
"""
import errno
import json
import math
import os
import re
import resource
import shutil
import uuid

import mxnet as mx

from bert import files
from bert.errors import UserError
from bert.file_names import INDEX_FILE, MODEL_FILE, OPTIMIZER_FILE, STATE_FILE

FULL_DISK_BYTES = 1 << 20       # a disk with less is full: no checkpoint is smaller
CHECKPOINT_PATTERN = re.compile(r'step-(\d{7})$')
# unfinished checkpoints, and temporary files of `files.atomic_write`
UNFINISHED_PATTERN = re.compile(r'(step-.*|.*\.[0-9a-f]{8})\.tmp$')


def save(run_folder, state, network, optimizer_arrays, write_description, best=None):
    """Write the checkpoint of `state['step']`, then remove all but the newest and the best.

    write_description: function(folder) that adds the files which describe the model.
    best: name of the best checkpoint; None if it is the new one. Returns the new one's name.
    Raises `UserError` when the checkpoint can't be written; the old ones then stay complete.
    """
    name = checkpoint_name(state['step'])
    try:
        _write(os.path.join(run_folder, name), state, network, optimizer_arrays,
               write_description)
    except (OSError, mx.MXNetError) as error:
        raise UserError('%s: the checkpoint could not be written: %s; remove the cause, then '
                        'continue from the previous checkpoint with --resume'
                        % (os.path.join(run_folder, name), failure_reason(error))) from None
    write_index(run_folder, name, best)
    return name


def write_index(run_folder, newest_name, best_name=None):
    """Record the names of the newest and the best checkpoint (None: the newest), and remove all
    others. A resume records them again, because a kill may come between a checkpoint and its
    index."""
    best_name = best_name or newest_name
    with files.atomic_write(os.path.join(run_folder, INDEX_FILE)) as out:
        json.dump({'newest': newest_name, 'best': best_name}, out)
    prune(run_folder, keep={newest_name, best_name})


def checkpoint_name(step):
    return 'step-%07d' % step


def _write(folder, state, network, optimizer_arrays, write_description):
    is_new = not os.path.isdir(folder)
    temporary = '%s.%s.tmp' % (folder, uuid.uuid4().hex[:8])
    try:
        os.makedirs(temporary)
        if is_new:
            save_arrays(os.path.join(temporary, MODEL_FILE), collect_parameters(network))
            save_arrays(os.path.join(temporary, OPTIMIZER_FILE), optimizer_arrays)
        write_description(temporary)
        with open(os.path.join(temporary, STATE_FILE), 'w', encoding='utf-8') as out:
            json.dump(files.replace_nonfinite(state), out, indent=1, allow_nan=False)
        files.sync_folder(temporary)
        if is_new:
            os.rename(temporary, folder)
        else:       # the same step, so the same parameters, but evaluated in the meantime
            files.move_into(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def collect_parameters(network):
    """{gluonnlp's name: float32 NDArray on the CPU} of all parameters."""
    return {name: parameter.data(parameter.list_ctx()[0]).as_in_context(mx.cpu())
            .astype('float32', copy=False)
            for name, parameter in network._collect_params_with_prefix().items()}


def save_arrays(path, arrays):
    """`mx.nd.save`, then read the file back, because MXNet leaves the last bytes to the operating
    system when it closes the file. Raises OSError if a part is missing."""
    try:
        mx.nd.save(path, arrays)
        if set(mx.nd.load(path) or ()) != set(arrays):
            raise mx.MXNetError('the file read back differs')
    except mx.MXNetError as error:
        if os.path.exists(path):
            raise _incomplete_write(path) from None
        raise error


def _incomplete_write(path):
    """OSError for a file that was written in part. MXNet does not say why, so the file system is
    asked whether the disk is full."""
    disk = os.statvfs(path)
    largest_file = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if disk.f_bavail * disk.f_frsize < FULL_DISK_BYTES:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if 0 <= largest_file <= os.path.getsize(path):
        return OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return OSError(errno.EIO, 'only a part of the file was written')


def failure_reason(error):
    """Why a file could not be read or written, in a few words."""
    if isinstance(error, OSError):
        return error.strerror
    return str(error).strip().splitlines()[-1]


def prune(run_folder, keep):
    """Remove the checkpoints whose names are not in `keep`, and what a killed process left."""
    for name in os.listdir(run_folder):
        path = os.path.join(run_folder, name)
        if (CHECKPOINT_PATTERN.match(name) and name not in keep) or UNFINISHED_PATTERN.match(name):
            shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else files.remove(path)


def newest_checkpoint(run_folder):
    """Path of the newest complete checkpoint in `run_folder`; None if there is none."""
    if not os.path.isdir(run_folder):
        return None
    names = sorted(name for name in os.listdir(run_folder) if CHECKPOINT_PATTERN.match(name))
    return os.path.join(run_folder, names[-1]) if names else None


def best_checkpoint(run_folder):
    """Path of the best checkpoint by the index, else of the newest; None if there is none."""
    try:
        with open(os.path.join(run_folder, INDEX_FILE), encoding='utf-8') as file:
            path = os.path.join(run_folder, json.load(file)['best'])
    except (OSError, ValueError, KeyError, TypeError):
        return newest_checkpoint(run_folder)
    return path if os.path.isdir(path) else newest_checkpoint(run_folder)


def load_resume_state(folder):
    """(trainer state, {name: NDArray} of the optimizer) of a checkpoint. Raises `UserError` when
    one of the two is damaged."""
    try:
        with open(os.path.join(folder, STATE_FILE), encoding='utf-8') as file:
            state = json.load(file)
        for entry in state.get('history', ()):      # JSON has no NaN
            for scores in entry['metrics'].values():
                scores.update((name, math.nan) for name, value in scores.items() if value is None)
        return state, mx.nd.load(os.path.join(folder, OPTIMIZER_FILE)) or {}
    except (OSError, ValueError, AttributeError, KeyError, TypeError, mx.MXNetError) as error:
        raise UserError('%s: the checkpoint is damaged: %s; remove it to continue from an '
                        'earlier checkpoint, if there is one'
                        % (folder, failure_reason(error))) from None
