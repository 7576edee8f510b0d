"""The embedding comparison: summaries of rates, and correlations of vectors."""
import numpy as np
import pytest

from benchmarks.embedding import speed_and_quality
from benchmarks.embedding.speed_and_quality import REFERENCE


def test_embedding_is_compared_at_one_size_and_at_the_best():
    summary = speed_and_quality.summarize({
        (REFERENCE, 32): [4, 6, 5], (REFERENCE, 256): [8, 12, 10],
        ('theirs', 32): [10, 10, 10], ('theirs', 256): [2, 2, 2]})
    ratios = {(entry['contender'], entry['batch_size']): entry['ours_over_it']
              for entry in summary['by_size']}
    assert ratios['theirs', 32] == {'median': 0.5, 'min': 0.4, 'max': 0.6}
    assert ratios['theirs', 256] == {'median': 5, 'min': 4, 'max': 6}
    assert summary['at_best'] == [
        {'contender': REFERENCE, 'batch_size': 256,
         'ours_over_it': {'median': 1, 'min': 1, 'max': 1}},
        {'contender': 'theirs', 'batch_size': 32,
         'ours_over_it': {'median': 1, 'min': 0.8, 'max': 1.2}}]


def test_the_correlation_is_of_cosines(tmp_path):
    rows = [[3, 0], [0, 2], [1, 1], [1, 0], [1, 1], [0, 5]]     # cosines 1, 0.71, 0.71
    np.save(str(tmp_path / 'x test.npy'), np.array(rows, 'float32'))
    assert speed_and_quality.correlation(tmp_path, 'x', 'test', [5, 2, 2]) == pytest.approx(1)
    assert speed_and_quality.correlation(tmp_path, 'x', 'test', [1, 4, 4]) == pytest.approx(-1)
