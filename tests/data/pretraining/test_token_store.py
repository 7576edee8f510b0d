"""Stores of tokenized documents on disk."""
import numpy as np
import pytest

from bert.data.pretraining import token_store
from bert.data.pretraining.token_store import TokenStore, join_stores, write_store

DOCUMENTS = [[[1, 2], [3]], [[4]], [[5, 6, 7], [8], [9]]]


def as_arrays(documents):
    return [[np.array(ids, dtype='int32') for ids in document] for document in documents]


def read_documents(path, vocab_size):
    """All documents of a store, read by document, by sentence and by token."""
    documents = []
    with TokenStore(path, vocab_size) as store:
        for i in range(store.num_documents):
            first, stop = store.document(i)
            bounds = store.sentences(first, stop)
            assert store.documents(i, i + 1).tolist() == [first, stop]
            documents.append([store.tokens(a, b).tolist() for a, b in zip(bounds, bounds[1:])])
    return documents


@pytest.mark.parametrize('vocab_size, token_size', [(65536, 2), (65537, 4)])
def test_written_documents_are_read_back(tmp_path, vocab_size, token_size):
    path = str(tmp_path / 'store')
    documents = DOCUMENTS + [[[vocab_size - 1]]]
    write_store(path, as_arrays(documents), vocab_size)
    assert read_documents(path, vocab_size) == documents
    assert (tmp_path / 'store.tokens').stat().st_size == 10 * token_size


@pytest.mark.parametrize('cuts', [(0, 1, 3), (0, 2, 2, 3), (0, 0, 3)])
def test_stores_are_joined_in_order(tmp_path, cuts):
    paths = [str(tmp_path / str(i)) for i in range(len(cuts) - 1)]
    for path, first, stop in zip(paths, cuts, cuts[1:]):
        write_store(path, as_arrays(DOCUMENTS[first:stop]), 100)
    joined_path = str(tmp_path / 'whole')
    assert not token_store.is_complete(joined_path)
    join_stores(paths, joined_path)
    assert token_store.is_complete(joined_path)
    assert read_documents(joined_path, 100) == DOCUMENTS
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'whole.documents', 'whole.sentences', 'whole.tokens']
    write_store(paths[0], as_arrays(DOCUMENTS), 100)    # one store of all has the same bytes
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
