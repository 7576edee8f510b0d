"""Files of pre-training examples: equal examples give equal bytes, and damage is an error."""
import zipfile

import numpy as np
import pytest
from reference.original_shard import write_original

from bert.data.pretraining import shards
from bert.data.pretraining.examples import PretrainingExamples
from bert.errors import UserError


def make_examples(**changes):
    """Two examples: 2 5 3 6 3 and 2 7 3 4 8 3, with one and two masks."""
    values = dict(input_ids=np.array([2, 5, 3, 6, 3, 2, 7, 3, 4, 8, 3], dtype='int32'),
                  segment_ids=np.array([0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1], dtype='uint8'),
                  token_offsets=np.array([0, 5, 11]),
                  masked_lm_positions=np.array([1, 3, 4], dtype='uint16'),
                  masked_lm_ids=np.array([5, 9, 8], dtype='int32'),
                  masked_offsets=np.array([0, 1, 3]),
                  next_sentence_labels=np.array([1, 0], dtype='uint8'))
    values.update(changes)
    return PretrainingExamples(**values)


def equal_arrays(a, b):
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b))


def test_written_examples_are_read_back(tmp_path):
    path = str(tmp_path / 'part-000.npz')
    shards.write_shard(path, make_examples())
    assert equal_arrays(shards.read_shard(path), make_examples())
    assert equal_arrays(shards.read_shard(path, vocab_size=10), make_examples())
    assert shards.describe_shard(path) == {
        'file': 'part-000.npz', 'examples': 2, 'tokens': 11, 'masked': 3, 'random_next': 1,
        'sha256': shards.files.digest_file(path, 'sha256')}


def test_the_same_examples_give_the_same_bytes(tmp_path, monkeypatch):
    for name, timestamp in (('a', 0), ('b', 10 ** 9)):
        monkeypatch.setattr('time.time', lambda timestamp=timestamp: timestamp)
        shards.write_shard(str(tmp_path / name), make_examples())
    assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()
    with zipfile.ZipFile(tmp_path / 'a') as archive:
        assert set(archive.namelist()) == {name + '.npy' for name in PretrainingExamples._fields}


@pytest.mark.parametrize('changes, problem', [
    (dict(input_ids=np.zeros(11)), 'input_ids is (11,) float64, expected (…,) int32'),
    (dict(segment_ids=np.zeros((11, 1), dtype='uint8')), 'segment_ids is (11, 1) uint8'),
    (dict(input_ids=np.zeros(10, dtype='int32')), 'input_ids and its offsets don\'t match'),
    (dict(token_offsets=np.array([0, 11])), 'input_ids and its offsets don\'t match'),
    (dict(token_offsets=np.array([1, 5, 11])), 'input_ids and its offsets don\'t match'),
    (dict(masked_offsets=np.array([0, 4, 3])), 'masked_lm_positions and its offsets'),
    (dict(segment_ids=np.zeros(12, dtype='uint8')), 'segment_ids and its offsets don\'t match'),
    (dict(masked_lm_ids=np.zeros(2, dtype='int32')), 'masked_lm_ids and its offsets don\'t match'),
    (dict(masked_lm_positions=np.array([5, 3, 4], dtype='uint16')),
     'a masked position lies after the end of its example'),
    (dict(masked_lm_ids=np.array([5, -1, 8], dtype='int32')), 'an id is negative'),
    (dict(masked_lm_ids=np.array([5, 10, 8], dtype='int32')),
     'an id is 10, but the vocabulary has 10 tokens: the shard was made with another vocabulary'),
    (dict(input_ids=np.arange(11, dtype='int32')), 'an id is 10, but the vocabulary has 10')])
def test_arrays_that_don_t_fit_together(tmp_path, changes, problem):
    path = str(tmp_path / 'a.npz')
    np.savez(path, **make_examples(**changes)._asdict())
    with pytest.raises(UserError) as error:
        shards.read_shard(path, vocab_size=10)
    assert str(error.value).startswith(path + ': ') and problem in str(error.value)


def test_files_that_are_no_shards(tmp_path):
    path = tmp_path / 'a.npz'
    shards.write_shard(str(path), make_examples())
    content = path.read_bytes()
    for damage in (content[:200], content[:-30], content[:700] + b'\0' * 40 + content[740:],
                   b'text', b''):
        path.write_bytes(damage)
        with pytest.raises(UserError, match='a.npz: (can\'t be read|not a shard|damaged)'):
            shards.read_shard(str(path))
    np.savez(str(path), other=np.zeros(3))
    with pytest.raises(UserError, match='not a shard of create_pretraining_data.py'):
        shards.read_shard(str(path))
    with pytest.raises(UserError, match='none.npz: can\'t be read: No such file'):
        shards.read_shard(str(tmp_path / 'none.npz'))


@pytest.mark.parametrize('fill', [0, 2])
def test_the_original_format_needs_leave(tmp_path, fill):
    path = str(tmp_path / 'a.npz')
    write_original(path, fill)
    with pytest.raises(UserError, match='pickled Python objects: reading it runs any code that '
                                        'the file contains. Give --allow_pickle if you trust the '
                                        'file'):
        shards.read_shard(path)
    assert equal_arrays(shards.read_shard(path, allow_pickle=True), make_examples())


def test_objects_among_our_names_are_not_unpickled(tmp_path):
    path = str(tmp_path / 'a.npz')
    np.savez(path, **dict(make_examples()._asdict(), input_ids=np.array([{}], dtype=object)))
    for allow_pickle in (False, True):
        with pytest.raises(UserError, match='not a shard'):
            shards.read_shard(path, allow_pickle)
