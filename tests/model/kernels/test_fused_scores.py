"""bfloat16 and INT8 judged by the score of a task: similarity of sentences, without training."""
import csv

import numpy as np
import pytest
from scipy.stats import spearmanr

from bert.pipelines.embedding import BertEmbedding

MOST_LOSS = {'bfloat16': 0.0005, 'int8': 0.003}     # of Spearman's correlation


@pytest.fixture(scope='module')
def pairs(data_dir):
    """([(a sentence, another one)], how similar people find them) of STS-B's dev."""
    with open(data_dir / 'glue' / 'STS-B' / 'dev.tsv', encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file, delimiter='\t', quoting=csv.QUOTE_NONE))
    return ([(row['sentence1'], row['sentence2']) for row in rows],
            np.array([float(row['score']) for row in rows]))


def correlation(dtype, pairs):
    maker = BertEmbedding(model='bert_6_384_12', dtype=dtype, batch_size=64)
    first, second = (maker.sentence([pair[which] for pair in pairs[0]]) for which in (0, 1))
    return spearmanr((first * second).sum(axis=1), pairs[1])[0]


@pytest.mark.real_models
def test_scores(minilm, kernels, pairs):
    exact = correlation('float32', pairs)
    assert exact == pytest.approx(0.8672, abs=5e-4)     # of the released model (docs/embedding.rst)
    for dtype in kernels.dtypes[1:]:
        assert correlation(dtype, pairs) == pytest.approx(exact, abs=MOST_LOSS[dtype])
