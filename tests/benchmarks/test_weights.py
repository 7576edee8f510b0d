"""The comparison of tokenizers: its texts and digests, and the causes of differences."""
import numpy as np

from benchmarks.weights import tokenizer


def test_texts_and_digests_of_the_tokenizer_comparison(tmp_path):
    for name in ('glue/X', 'squad', 'corpus'):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / 'glue/X/train.tsv').write_bytes(b'b\t1\r\na\t1\r\n\r\n')
    (tmp_path / 'squad/dev.json').write_text('{"data": [{"question": "c", "id": 4}]}')
    (tmp_path / 'corpus/lines.txt').write_text('a\n\nd\n')
    assert tokenizer.texts_of(tmp_path) == ['1', 'a', 'b', 'c', 'd']
    joined = tokenizer.digest_of([np.array([1, 2]), np.array([3])])
    assert joined != tokenizer.digest_of([np.array([1]), np.array([2, 3])])


def test_the_cause_of_a_difference_is_found_by_undoing_it(tmp_path):
    path = tmp_path / 'cased.txt'
    path.write_text('[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncafe\ncafé\nx\n', encoding='utf-8')
    texts = ['x', 'café', 'cafe\u0301', 'café']
    our_rows = tokenizer.our_ids(path, texts)
    assert [row.tolist() for row in our_rows] == [[7], [6], [1], [6]]
    causes = tokenizer.group_differences(path, texts, our_rows,
                                         [np.array([i]) for i in (7, 5, 6, 7)])
    assert {cause: group['number'] for cause, group in causes.items()} == {
        'accents stripped': 1, 'composed characters (NFC)': 1, 'other': 1}
