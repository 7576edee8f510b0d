"""Checkpoint folders: their files, which are kept, and what a kill or a full disk leaves."""
import errno
import json
import os
from types import SimpleNamespace

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from bert.errors import UserError
from bert.train import checkpoint

FILES = {'model.params', 'optimizer.params', 'trainer.json', 'config.json'}


def make_network():
    """About 40 kB of parameters: ten pages."""
    network = nn.Dense(100, in_units=100)
    network.initialize()
    return network


def describe(folder):
    with open(os.path.join(folder, 'config.json'), 'w') as out:
        out.write('{"units": 100}')


def save(run, step, best=None, network=None, write_description=describe, **state):
    arrays = {'0.0': mx.nd.full((100, 100), step), '1.0': mx.nd.full((100,), step)}
    return checkpoint.save(str(run), dict(state, step=step), network or make_network(), arrays,
                           write_description, best)


def read_files(folder):
    """{file: bytes}"""
    return {name: open(os.path.join(str(folder), name), 'rb').read()
            for name in os.listdir(str(folder))}


def read_index(run):
    return json.loads((run / 'checkpoints.json').read_text())


# ---- their files, and which are kept

def test_files_of_a_checkpoint(tmp_path):
    assert save(tmp_path, 230) == 'step-0000230'
    assert set(os.listdir(str(tmp_path))) == {'step-0000230', 'checkpoints.json'}
    assert set(os.listdir(str(tmp_path / 'step-0000230'))) == FILES
    assert read_index(tmp_path) == {'newest': 'step-0000230', 'best': 'step-0000230'}


def test_a_description_in_folders_is_written_anew(tmp_path):
    """The same step again, evaluated in the meantime: files in sub-folders are replaced, too."""
    for content in ('one', 'two'):
        def write_description(folder, content=content):
            describe(folder)
            os.makedirs(os.path.join(folder, '1_Pooling'))
            with open(os.path.join(folder, '1_Pooling', 'config.json'), 'w') as out:
                out.write(content)
        save(tmp_path, 1, write_description=write_description)
        assert (tmp_path / 'step-0000001' / '1_Pooling' / 'config.json').read_text() == content
    assert set(os.listdir(tmp_path / 'step-0000001')) == FILES | {'1_Pooling'}


def test_parameters_have_gluonnlps_names_and_come_back(tmp_path):
    network = make_network()
    save(tmp_path, 1, network=network)
    arrays = mx.nd.load(str(tmp_path / 'step-0000001' / 'model.params'))
    assert set(arrays) == {'weight', 'bias'}
    assert (arrays['weight'].asnumpy() == network.weight.data().asnumpy()).all()


def test_state_and_optimizer_come_back(tmp_path):
    save(tmp_path, 7, epoch=2, history=[{'metrics': {'dev': {'f1': 0.5}}}])
    state, arrays = checkpoint.load_resume_state(str(tmp_path / 'step-0000007'))
    assert state == {'step': 7, 'epoch': 2, 'history': [{'metrics': {'dev': {'f1': 0.5}}}]}
    assert {name: array.asnumpy().flat[0] for name, array in arrays.items()} == {'0.0': 7, '1.0': 7}


def test_an_optimizer_without_memory(tmp_path):
    checkpoint.save(str(tmp_path), {'step': 1}, make_network(), {}, describe)
    assert checkpoint.load_resume_state(str(tmp_path / 'step-0000001')) == ({'step': 1}, {})


def test_newest_and_best_are_kept(tmp_path):
    for step, best, kept_steps in ((1, None, {1}), (2, 'step-0000001', {1, 2}), (3, None, {3}),
                                   (4, 'step-0000003', {3, 4}), (5, 'step-0000003', {3, 5})):
        save(tmp_path, step, best)
        assert {name for name in os.listdir(str(tmp_path)) if name != 'checkpoints.json'} == \
            {checkpoint.checkpoint_name(kept_step) for kept_step in kept_steps}
    assert checkpoint.newest_checkpoint(str(tmp_path)) == str(tmp_path / 'step-0000005')
    assert checkpoint.best_checkpoint(str(tmp_path)) == str(tmp_path / 'step-0000003')


def test_other_files_of_the_run_stay(tmp_path):
    for name in ('results.json', 'step-1', 'step-00000010', 'my-step-0000001', 'x.tmp'):
        (tmp_path / name).mkdir()
    save(tmp_path, 1)
    save(tmp_path, 2)
    assert set(os.listdir(str(tmp_path))) == {'results.json', 'step-1', 'step-00000010', 'x.tmp',
                                              'my-step-0000001', 'step-0000002',
                                              'checkpoints.json'}


def test_the_same_step_again_after_its_evaluation(tmp_path):
    save(tmp_path, 1, position=5)
    before = read_files(tmp_path / 'step-0000001')
    save(tmp_path, 1, position=0)
    after = read_files(tmp_path / 'step-0000001')
    assert set(after) == FILES
    assert json.loads(after.pop('trainer.json').decode()) == {'step': 1, 'position': 0}
    before.pop('trainer.json')
    assert after == before


def test_nothing_saved_yet(tmp_path):
    assert checkpoint.newest_checkpoint(str(tmp_path)) is None
    assert checkpoint.newest_checkpoint(str(tmp_path / 'absent')) is None
    assert checkpoint.best_checkpoint(str(tmp_path)) is None


@pytest.mark.parametrize('content', ['', '{', '[]', '{"newest": "x"}', '{"best": "step-0000009"}'])
def test_best_is_the_newest_if_the_index_is_useless(content, tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2, best='step-0000001')
    (tmp_path / 'checkpoints.json').write_text(content)
    assert checkpoint.best_checkpoint(str(tmp_path)) == str(tmp_path / 'step-0000002')


# ---- killed while saving

def test_leftovers_of_a_killed_process_are_no_checkpoints_and_are_removed(tmp_path):
    save(tmp_path, 1)
    leftover = tmp_path / 'step-0000002.0123abcd.tmp'
    leftover.mkdir()
    (leftover / 'model.params').write_bytes(b'half')
    assert checkpoint.newest_checkpoint(str(tmp_path)) == str(tmp_path / 'step-0000001')
    assert checkpoint.best_checkpoint(str(tmp_path)) == str(tmp_path / 'step-0000001')
    (tmp_path / 'step-0000003.0123abcd.tmp').write_text('a file')
    save(tmp_path, 2)
    assert set(os.listdir(str(tmp_path))) == {'step-0000002', 'checkpoints.json'}


def test_killed_between_checkpoint_and_index(tmp_path, monkeypatch):
    save(tmp_path, 1)
    monkeypatch.setattr(checkpoint.json, 'dump', kill_after(checkpoint.json.dump, 1))
    with pytest.raises(Killed):
        save(tmp_path, 2, best='step-0000001')
    assert checkpoint.newest_checkpoint(str(tmp_path)) == str(tmp_path / 'step-0000002')
    assert checkpoint.best_checkpoint(str(tmp_path)) == str(tmp_path / 'step-0000001')
    assert set(read_files(tmp_path / 'step-0000002')) == FILES


class Killed(BaseException):
    pass


def kill_after(function, num_calls):
    """`function`, but the call after the first `num_calls` calls raises `Killed`."""
    past_calls = []

    def wrapper(*args, **options):
        if len(past_calls) == num_calls:
            raise Killed
        past_calls.append(1)
        return function(*args, **options)
    return wrapper


def test_a_folder_gets_its_name_when_all_is_in_it(tmp_path, monkeypatch):
    renames, synced_files = [], set()
    real_fsync = os.fsync

    def rename(source, target):
        renames.append((set(os.listdir(source)), os.path.basename(target)))
        assert synced_files >= FILES      # on the disk, not only in the cache
        os.replace(source, target)

    def fsync(descriptor):
        synced_files.add(os.path.basename(os.readlink('/proc/self/fd/%d' % descriptor)))
        real_fsync(descriptor)
    monkeypatch.setattr(checkpoint.os, 'rename', rename)
    monkeypatch.setattr(checkpoint.os, 'fsync', fsync)
    save(tmp_path, 1)
    assert renames == [(FILES, 'step-0000001')]


# ---- a full disk


# room for nothing, for half a model, for the model, for all but the description
@pytest.mark.parametrize('free_bytes', [0, 20000, 60000, 90000])
def test_full_disk(free_bytes, disk):
    run = disk.path / 'run'
    run.mkdir()

    def describe_at_length(folder):
        with open(os.path.join(folder, 'config.json'), 'w') as out:
            out.write('x' * 100000)
    save(run, 1, write_description=describe_at_length)
    before = read_files(run / 'step-0000001')
    disk.fill(free_bytes)
    with pytest.raises(UserError) as error:
        save(run, 2, write_description=describe_at_length)
    disk.free()
    reason = str(error.value).replace('File too large', 'No space left on device')
    assert reason == (
        '%s: the checkpoint could not be written: No space left on device; remove the cause, '
        'then continue from the previous checkpoint with --resume' % (run / 'step-0000002'))
    assert set(os.listdir(str(run))) == {'step-0000001', 'checkpoints.json'}
    assert read_files(run / 'step-0000001') == before
    assert checkpoint.newest_checkpoint(str(run)) == str(run / 'step-0000001')
    assert save(run, 2) == 'step-0000002'      # works again with free space


def test_full_disk_when_the_same_step_is_saved_again(disk):
    run = disk.path / 'run'
    run.mkdir()
    save(run, 1)
    before = read_files(run / 'step-0000001')
    disk.fill(0)
    with pytest.raises(UserError, match='could not be written'):
        save(run, 1, position=0)
    disk.free()
    assert read_files(run / 'step-0000001') == before


def test_bytes_that_are_lost_when_the_file_is_closed(tmp_path, monkeypatch):
    def lossy_save(path, arrays):
        real_save(path, arrays)
        os.truncate(path, os.path.getsize(path) - 1)
    real_save = mx.nd.save
    monkeypatch.setattr(mx.nd, 'save', lossy_save)
    with pytest.raises(OSError) as error:
        checkpoint.save_arrays(str(tmp_path / 'x.params'), {'a': mx.nd.ones(3)})
    assert error.value.strerror == 'only a part of the file was written'       # there is space
    monkeypatch.setattr(os, 'statvfs', lambda path: SimpleNamespace(f_bavail=1, f_frsize=4096))
    with pytest.raises(OSError) as error:
        checkpoint.save_arrays(str(tmp_path / 'x.params'), {'a': mx.nd.ones(3)})
    assert error.value.errno == errno.ENOSPC


def test_a_file_in_place_of_the_run_folder(tmp_path):
    (tmp_path / 'run').write_text('a file')
    with pytest.raises(UserError, match='could not be written: Not a directory; remove the'):
        save(tmp_path / 'run', 1)


# ---- damaged

@pytest.mark.parametrize('name', ['trainer.json', 'optimizer.params'])
@pytest.mark.parametrize('damage', ['cut', 'absent'])
def test_damaged_checkpoint(name, damage, tmp_path):
    save(tmp_path, 3)
    path = tmp_path / 'step-0000003' / name
    if damage == 'cut':
        path.write_bytes(path.read_bytes()[:-5])
    else:
        path.unlink()
    with pytest.raises(UserError) as error:
        checkpoint.load_resume_state(str(path.parent))
    message = str(error.value)
    assert message.startswith('%s: the checkpoint is damaged: ' % path.parent)
    assert message.endswith('; remove it to continue from an earlier checkpoint, if there is one')
    assert '\n' not in message


def test_arrays_of_any_context_are_saved_from_the_cpu():
    network = make_network()
    arrays = checkpoint.collect_parameters(network)
    assert {array.context for array in arrays.values()} == {mx.cpu()}
    np.testing.assert_array_equal(arrays['bias'].asnumpy(), network.bias.data().asnumpy())


def test_float16_weights_are_saved_as_float32():
    network = make_network()
    network.cast('float16')
    assert {array.dtype
            for array in checkpoint.collect_parameters(network).values()} == {np.float32}
