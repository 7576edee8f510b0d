"""The loss that a token classifier learns: each label of the training set weighs the same."""
import types

import mxnet as mx
import numpy as np
import pytest
from support import tiny

from bert.data.ner.schemes import examine_scheme
from bert.data.ner.sentences import TaggedSentence
from bert.data.ner.tagged_data import tokenize_tagged
from bert.jobs.finetuning.token_task import TokenTask
from bert.pipelines.opening import open_pipeline
from bert.train.workers import SingleWorker


@pytest.fixture
def task(tmp_path):
    """Sentences of 1, 2 and 12 words, the last in several windows."""
    model = open_pipeline(tiny.write_tagger(tmp_path / 'tagger'), mx.cpu())
    model.max_len = 10
    sentences = [TaggedSentence(('good',) * n, ('B-PER',) + ('O',) * (n - 1), 'f', 1)
                 for n in (1, 2, 12)]
    data = tokenize_tagged('f', sentences, examine_scheme(sentences), model.tokenizer)
    options = types.SimpleNamespace(scheme='IOB2', round_to=None, batch_size=2, seed=1,
                                    bert_checkpoint=None)
    return TokenTask(options, 'x', model, {'train': data}, None, SingleWorker())


def test_each_label_weighs_the_same(task):
    batch = task.collate(range(len(task.windows)))
    assert len(task.windows) > 3 and (batch.labels >= 0).sum() == 15
    losses, labels, outputs = task.forward(batch)
    logits, labels = outputs.asnumpy().astype('float64'), labels.asnumpy().astype(int)
    log_sums = np.log(np.exp(logits).sum(axis=-1))
    entropies = [log_sums[place] - logits[place][labels[place]]
                 for place in zip(*np.nonzero(labels >= 0))]
    # the mean over windows is the mean over labels
    assert losses.mean().asscalar() == pytest.approx(np.mean(entropies), rel=1e-5)
    # in batches of one length, too: the sum of a window counts by its labels alone
    parts = [task.forward(task.collate([i]))[0].asscalar() for i in range(len(task.windows))]
    np.testing.assert_allclose(parts, losses.asnumpy(), rtol=1e-5)
