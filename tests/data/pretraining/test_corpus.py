"""Text files to documents, in blocks."""
import codecs
import hashlib

import pytest

from bert.data.pretraining import corpus
from bert.errors import UserError

TEXT = 'one two\nthree\n\n\n  four  \r\n\t\n\u3000\nfive\u2028six\nseven'
DOCUMENTS = [['one two', 'three'], ['four'], ['five\u2028six', 'seven']]


@pytest.fixture
def write_file(tmp_path):
    """Function: (content, name) → path of a file with this content."""
    def write(content, name='a.txt'):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)
    return write


def read_blocks(path, block_size):
    return [corpus.read_documents(block) for block in corpus.scan(path, block_size).blocks]


@pytest.mark.parametrize('block_size', [1, 10, 20, 1000])
def test_blocks_hold_all_documents_once(write_file, block_size):
    path = write_file(TEXT)
    scan = corpus.scan(path, block_size)
    assert [document for block in read_blocks(path, block_size) for document in block] == DOCUMENTS
    assert [block.documents for block in scan.blocks] == [
        len(documents) for documents in read_blocks(path, block_size)]
    assert (scan.size, scan.lines) == (len(TEXT.encode()), 5)
    assert scan.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()


def test_a_block_ends_with_the_document_that_fills_it(write_file):
    path = write_file('aaaa\n\nbbbb\n\ncc\n\ndddddddd\n')      # 6, 6, 4 and 9 bytes
    a, b, c, d = ['aaaa'], ['bbbb'], ['cc'], ['dddddddd']
    assert read_blocks(path, 1) == [[a], [b], [c], [d]]
    assert read_blocks(path, 5) == [[a], [b], [c, d]]
    assert read_blocks(path, 6) == [[a, b], [c, d]]
    assert read_blocks(path, 16) == [[a, b, c, d]]


def test_a_byte_order_mark_is_no_text(write_file):
    path = write_file(codecs.BOM_UTF8 + b'one\n\ntwo')
    assert read_blocks(path, 1) == [[['one']], [['two']]]
    assert corpus.scan(path, 1).size == 11


def test_bytes_that_are_not_utf8_are_named(write_file):
    path = write_file('é\nüb'.encode() + b'er \xff\n')
    with pytest.raises(UserError, match=r'a\.txt: not UTF-8 at byte 9: save the file as UTF-8'):
        corpus.scan(path, 1)


@pytest.mark.parametrize('content, problem', [
    ('', 'no text in it'), ('\n \n\n', 'no text in it'),
    ('one\ntwo\n', 'one document in 2 lines, expected two or more: put an empty line between')])
def test_a_corpus_needs_two_documents(write_file, content, problem):
    path = write_file(content)
    with pytest.raises(UserError, match='a.txt: ' + problem):
        corpus.check_documents([corpus.scan(path, 1)])


def test_two_files_are_two_documents(write_file):
    corpus.check_documents([corpus.scan(write_file('one\n', name), 1)
                            for name in ('a.txt', 'b.txt')])


def test_a_file_that_is_gone(tmp_path):
    path = str(tmp_path / 'none')
    for function, value in ((corpus.read_documents, corpus.Block(path, 0, 1, 1)),):
        with pytest.raises(UserError, match='none: can\'t be read: No such file'):
            function(value)
    with pytest.raises(UserError, match='none: can\'t be read: No such file'):
        corpus.scan(path, 1)
