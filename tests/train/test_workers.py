"""A single worker, and how several workers share a batch."""
import numpy as np
import pytest

from bert.errors import UserError
from bert.train.workers import SingleWorker, open_workers, take_share


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


@pytest.mark.parametrize('num_workers', [1, 2, 3, 7])
def test_workers_share_a_batch(num_workers):
    indices = np.arange(100, 105)
    parts = [take_share(indices, worker, num_workers) for worker in range(num_workers)]
    assert sorted(np.concatenate(parts).tolist()) == indices.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
