"""The score of a task in bfloat16 and INT8: similarity of sentences, without training."""
import csv

import numpy as np
import pytest
from scipy.stats import spearmanr

from bert.pipelines.embedding import BertEmbedding

MAX_LOSS = {'bfloat16': 0.0005, 'int8': 0.003}     # of Spearman's correlation


@pytest.fixture(scope='module')
def pairs(data_dir):
    """([(sentence, sentence)], their similarities as judged by people) of STS-B's dev set."""
    with open(data_dir / 'glue' / 'STS-B' / 'dev.tsv', encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file, delimiter='\t', quoting=csv.QUOTE_NONE))
    return ([(row['sentence1'], row['sentence2']) for row in rows],
            np.array([float(row['score']) for row in rows]))


def correlation(dtype, pairs):
    embedding = BertEmbedding(model='bert_6_384_12', dtype=dtype, batch_size=64)
    first, second = (embedding.sentence([pair[index] for pair in pairs[0]]) for index in (0, 1))
    return spearmanr((first * second).sum(axis=1), pairs[1])[0]


@pytest.mark.real_models
def test_scores(minilm, kernels, pairs):
    score = correlation('float32', pairs)
    assert score == pytest.approx(0.8672, abs=5e-4)     # of the released model (docs/embedding.rst)
    for dtype in kernels.dtypes[1:]:
        assert correlation(dtype, pairs) == pytest.approx(score, abs=MAX_LOSS[dtype])
