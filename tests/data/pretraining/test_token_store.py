"""Tokenized documents on the disk."""
import numpy as np
import pytest

from bert.data.pretraining import token_store
from bert.data.pretraining.token_store import TokenStore, join_stores, write_store

DOCUMENTS = [[[1, 2], [3]], [[4]], [[5, 6, 7], [8], [9]]]


def as_arrays(documents):
    return [[np.array(ids, dtype='int32') for ids in document] for document in documents]


def read(path, vocab_size):
    """All documents of a store, by its three kinds of reading."""
    found = []
    with TokenStore(path, vocab_size) as store:
        for i in range(store.num_documents):
            first, stop = store.document(i)
            bounds = store.sentences(first, stop)
            assert store.documents(i, i + 1).tolist() == [first, stop]
            found.append([store.tokens(a, b).tolist() for a, b in zip(bounds, bounds[1:])])
    return found


@pytest.mark.parametrize('vocab_size, size', [(65536, 2), (65537, 4)])
def test_what_is_written_is_read(tmp_path, vocab_size, size):
    path = str(tmp_path / 'store')
    documents = DOCUMENTS + [[[vocab_size - 1]]]
    write_store(path, as_arrays(documents), vocab_size)
    assert read(path, vocab_size) == documents
    assert (tmp_path / 'store.tokens').stat().st_size == 10 * size


@pytest.mark.parametrize('cuts', [(0, 1, 3), (0, 2, 2, 3), (0, 0, 3)])
def test_stores_are_put_together_in_order(tmp_path, cuts):
    paths = [str(tmp_path / str(i)) for i in range(len(cuts) - 1)]
    for path, first, stop in zip(paths, cuts, cuts[1:]):
        write_store(path, as_arrays(DOCUMENTS[first:stop]), 100)
    whole = str(tmp_path / 'whole')
    assert not token_store.is_complete(whole)
    join_stores(paths, whole)
    assert token_store.is_complete(whole)
    assert read(whole, 100) == DOCUMENTS
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'whole.documents', 'whole.sentences', 'whole.tokens']
    write_store(paths[0], as_arrays(DOCUMENTS), 100)    # the same bytes as of one piece
    for name in token_store.FILE_ENDINGS:
        assert (tmp_path / ('whole.' + name)).read_bytes() == \
            (tmp_path / ('0.' + name)).read_bytes()


def test_a_store_is_complete_when_its_last_file_is_there(tmp_path, monkeypatch):
    path = str(tmp_path / 'store')
    monkeypatch.setattr(token_store, 'FILE_ENDINGS', token_store.FILE_ENDINGS[:2] + ('broken',))
    with pytest.raises(KeyError):
        write_store(path, as_arrays(DOCUMENTS), 100)
    monkeypatch.undo()
    assert not token_store.is_complete(path)
