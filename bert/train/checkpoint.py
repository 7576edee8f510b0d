"""Checkpoint folders: written whole or not at all, the newest and the best kept.

A run folder holds
    checkpoints.json        {"newest": "step-0000230", "best": "step-0000115"}
    step-0000230/           the files of bert/file_names.py: self-describing
"""
import errno
import json
import os
import re
import shutil
import uuid

import mxnet as mx

from bert import files
from bert.errors import UserError
from bert.file_names import INDEX, MODEL, OPTIMIZER, STATE

NAME = re.compile(r'step-(\d{7})$')
# unfinished checkpoints, and files of `files.atomic_write`
UNFINISHED = re.compile(r'(step-.*|.*\.[0-9a-f]{8})\.tmp$')


def save(run_folder, state, network, optimizer_arrays, write_description, best=None):
    """Write the checkpoint of `state['step']`, then drop all but the newest and the best.

    write_description: function(folder) that adds the files which describe the model.
    best: name of the best checkpoint; None when this one is. Returns this one's name.
    Raises UserError when it can't be written; what was there before stays whole.
    """
    name = name_of(state['step'])
    try:
        _write(os.path.join(run_folder, name), state, network, optimizer_arrays,
               write_description)
    except (OSError, mx.MXNetError) as error:
        raise UserError('%s: the checkpoint could not be written: %s; mend that, then go on with '
                        '--resume from the checkpoint before'
                        % (os.path.join(run_folder, name), reason_of(error))) from None
    write_index(run_folder, name, best)
    return name


def write_index(run_folder, newest_name, best_name=None):
    """Say which checkpoint is the newest and which the best (None: the newest), and drop all
    others. A resume says it again: a kill may have come between a checkpoint and its index."""
    best_name = best_name or newest_name
    with files.atomic_write(os.path.join(run_folder, INDEX)) as out:
        json.dump({'newest': newest_name, 'best': best_name}, out)
    prune(run_folder, keep={newest_name, best_name})


def name_of(step):
    return 'step-%07d' % step


def _write(final, state, network, optimizer_arrays, write_description):
    is_new = not os.path.isdir(final)
    temporary = '%s.%s.tmp' % (final, uuid.uuid4().hex[:8])
    try:
        os.makedirs(temporary)
        if is_new:
            save_arrays(os.path.join(temporary, MODEL), parameters_of(network))
            save_arrays(os.path.join(temporary, OPTIMIZER), optimizer_arrays)
        write_description(temporary)
        with open(os.path.join(temporary, STATE), 'w', encoding='utf-8') as out:
            json.dump(state, out, indent=1)
        files.sync_folder(temporary)
        if is_new:
            os.rename(temporary, final)
        else:       # the same step, so the same parameters: evaluated meanwhile
            for name in sorted(os.listdir(temporary)):
                os.replace(os.path.join(temporary, name), os.path.join(final, name))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def parameters_of(network):
    """{gluonnlp's name: float32 NDArray on the CPU} of all parameters."""
    return {name: parameter.data(parameter.list_ctx()[0]).as_in_context(mx.cpu())
            .astype('float32', copy=False)
            for name, parameter in network._collect_params_with_prefix().items()}


def save_arrays(path, arrays):
    """`mx.nd.save`, read back: MXNet reports a full disk, but not for the last bytes, which
    it leaves to the operating system when it closes the file."""
    mx.nd.save(path, arrays)
    try:
        complete = set(mx.nd.load(path) or ()) == set(arrays)
    except mx.MXNetError:
        complete = False
    if not complete:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def reason_of(error):
    """Why a file could not be read or written, in a few words."""
    if isinstance(error, OSError):
        return error.strerror
    # MXNet's stream says no more than that a write was incomplete
    return (os.strerror(errno.ENOSPC) if 'Write incomplete' in str(error)
            else str(error).strip().splitlines()[-1])


def prune(run_folder, keep):
    """Remove the checkpoints that are not in `keep`, and what a killed process left."""
    for name in os.listdir(run_folder):
        path = os.path.join(run_folder, name)
        if (NAME.match(name) and name not in keep) or UNFINISHED.match(name):
            shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else files.remove(path)


def newest(run_folder):
    """Path of the newest complete checkpoint in `run_folder`, None without one."""
    if not os.path.isdir(run_folder):
        return None
    names = sorted(name for name in os.listdir(run_folder) if NAME.match(name))
    return os.path.join(run_folder, names[-1]) if names else None


def best(run_folder):
    """Path of the best checkpoint by the index, else the newest, None without one."""
    try:
        with open(os.path.join(run_folder, INDEX), encoding='utf-8') as index:
            path = os.path.join(run_folder, json.load(index)['best'])
    except (OSError, ValueError, KeyError, TypeError):
        return newest(run_folder)
    return path if os.path.isdir(path) else newest(run_folder)


def load_state(folder):
    """The trainer's state of a checkpoint and its optimizer arrays. UserError when one of the
    two is damaged."""
    try:
        with open(os.path.join(folder, STATE), encoding='utf-8') as state:
            return json.load(state), mx.nd.load(os.path.join(folder, OPTIMIZER)) or {}
    except (OSError, ValueError, mx.MXNetError) as error:
        raise UserError('%s: the checkpoint is damaged: %s; remove it to go on from an earlier '
                        'one, if there is one' % (folder, reason_of(error))) from None
