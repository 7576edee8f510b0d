"""Tiny networks with random weights, and batches for them."""
import dataclasses

import mxnet as mx
import numpy as np
from support import tiny

from bert.model.bert import BERTModel
from bert.model.classification import BERTClassifier
from bert.model.discriminator import ReplacedTokenDetector
from bert.model.qa import BertForQA

# {name: fields of the configuration} of BERT's relatives
RELATIVES = {'roberta': dict(family='roberta', token_type_vocab_size=1, position_offset=2),
             'distilbert': dict(family='distilbert', token_type_vocab_size=0),
             'electra': dict(family='electra', embedding_size=4)}


def make_classifier(num_classes=2, seed=3, spread=0.5, **config):
    """A hybridized `BERTClassifier` of `tiny.CONFIG` with the fields of `config` replaced."""
    network = BERTClassifier(_make_bert(config, True), num_classes, dropout=0.1)
    return _initialise(network, seed, spread)


def make_qa(seed=3, spread=0.5, **config):
    return _initialise(BertForQA(_make_bert(config, False)), seed, spread)


def make_discriminator(seed=3, spread=0.5, **config):
    return _initialise(ReplacedTokenDetector(_make_bert(config, False)), seed, spread)


def _make_bert(config, use_pooler):
    return BERTModel(dataclasses.replace(tiny.CONFIG, **config), dropout=0.1, use_pooler=use_pooler)


def _initialise(network, seed, spread):
    """Draw weights of standard deviation `spread`; with the default, outputs are around 1."""
    network.initialize()
    network.hybridize()
    network(*map(mx.nd.array, batch(1, 4)))     # the first batch sets the head's input width
    random = np.random.RandomState(seed)
    for name, parameter in network.collect_params().items():
        array = random.randn(*parameter.shape)
        parameter.set_data(mx.nd.array(
            1 + 0.1 * array if name.endswith('gamma') else
            spread * array if name.endswith('weight') else 0.1 * array))
    return network


def batch(size, length, seed=0):
    """token_ids, segment_ids, valid_length of texts of 1 to `length` tokens. The first text has
    `length` tokens."""
    random = np.random.RandomState(seed)
    valid_length = random.randint(1, length + 1, size=size).astype('float32')
    valid_length[0] = length
    return (random.randint(len(tiny.TOKENS), size=(size, length)).astype('int32'),
            random.randint(2, size=(size, length)).astype('int32'), valid_length)


def outputs(network, arrays):
    return network(*map(mx.nd.array, arrays)).asnumpy()


def assert_same(scores, expected, valid_length, atol=1e-5):
    """Equal except for the scores of padding."""
    assert scores.shape == expected.shape and scores.dtype == np.float32
    if scores.ndim == 3:
        mask = np.arange(scores.shape[1]) < valid_length[:, None]
        scores, expected = scores[mask], expected[mask]
    np.testing.assert_allclose(scores, expected, atol=atol)
