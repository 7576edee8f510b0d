"""A single worker, and how several workers share a batch."""
import os
import sys
import types

import mxnet as mx
import numpy as np
import pytest

from bert.errors import UserError
from bert.train.workers import Horovod, SingleWorker, open_workers, take_share


def test_a_single_worker(monkeypatch):
    monkeypatch.delenv('HOROVOD_SIZE', raising=False)
    workers = open_workers()
    assert type(workers) is SingleWorker
    assert (workers.rank, workers.size) == (0, 1)
    assert workers.sum(np.array([1.0, 2.0])).tolist() == [1, 2]
    assert workers.gather('a') == ['a'] and workers.broadcast('a') == 'a'


def test_a_kvstore_under_horovodrun(monkeypatch):
    monkeypatch.setenv('HOROVOD_SIZE', '2')
    with pytest.raises(UserError, match='horovodrun started 2 processes, and each would train al'):
        open_workers('device')


@pytest.mark.parametrize('own, gpus, expected', [
    (None, 0, '25'), ('5', 0, '5'), (None, 1, None)])
def test_horovods_cycle(monkeypatch, own, gpus, expected):
    """Longer where CPUs compute, unless the user has set it."""
    library = types.SimpleNamespace(init=lambda: None, rank=lambda: 0, size=lambda: 2,
                                    local_rank=lambda: 0)
    for name in ('horovod', 'horovod.mxnet'):
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(mxnet=library))
    monkeypatch.setattr(mx.context, 'num_gpus', lambda: gpus)
    monkeypatch.setattr(os, 'environ', {'HOROVOD_CYCLE_TIME': own} if own else {})
    Horovod()
    assert os.environ.get('HOROVOD_CYCLE_TIME') == expected
    assert os.environ['HOROVOD_FUSION_THRESHOLD'] == '0'


@pytest.mark.parametrize('num_workers', [1, 2, 3, 7])
def test_workers_share_a_batch(num_workers):
    indices = np.arange(100, 105)
    parts = [take_share(indices, worker, num_workers) for worker in range(num_workers)]
    assert sorted(np.concatenate(parts).tolist()) == indices.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
