"""The prediction graph, with oneDNN's operators, computes the same outputs as the network."""
import dataclasses

import mxnet as mx
import numpy as np
import pytest
from support import tiny

from bert.data.batches import Batch
from bert.model import inference
from bert.model.bert import BERTModel, Encoder, SelfAttention
from bert.model.classification import BERTClassifier
from bert.model.inference import Predictor, has_onednn, prediction_graph
from bert.model.qa import BertForQA
from bert.pipelines.base import Pipeline
from bert.pipelines.question_answering import StaticQuestionAnswerer

SIZE, LENGTH = 16, 37       # 592 tokens: above MIN_GRAPH_TOKENS


def make_network(make=BertForQA, pooler=False, **config):
    mx.random.seed(3)
    bert = BERTModel(dataclasses.replace(tiny.CONFIG, **config), dropout=0.5, use_pooler=pooler)
    network = make(bert)
    network.initialize(mx.init.Normal(0.5), force_reinit=True)
    network.hybridize()
    return network


@pytest.fixture
def network():
    return make_network()


def inputs(size=SIZE, length=LENGTH, seed=0):
    random = np.random.RandomState(seed)
    return [mx.nd.array(random.randint(len(tiny.TOKENS), size=(size, length)), dtype='int32'),
            mx.nd.array(random.randint(2, size=(size, length)), dtype='int32'),
            mx.nd.array(random.randint(1, length + 1, size=size))]


def has_graph(predictor, is_padded=True):
    return is_padded in predictor._graphs


def compare(predictor, network, arrays, *is_padded):
    np.testing.assert_allclose(predictor(*arrays, *is_padded).asnumpy(),
                               network(*arrays).asnumpy(), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize('config', [{}, {'activation': 'relu'}, {'activation': 'gelu_new'},
                                    {'num_heads': 1}, {'num_heads': 8}])
def test_same_scores(config):
    network = make_network(**config)
    predictor = Predictor(network)
    for seed, (size, length) in enumerate(((SIZE, LENGTH), (40, 14), (SIZE, LENGTH), (600, 1))):
        compare(predictor, network, inputs(size, length, seed))
    assert has_graph(predictor)


def test_same_logits_of_a_classifier():
    network = make_network(lambda bert: BERTClassifier(bert, num_classes=3, dropout=0.5), True)
    predictor = Predictor(network)
    first_output = predictor(*inputs())    # a layer doesn't know its width yet
    compare(predictor, network, inputs())
    np.testing.assert_allclose(predictor(*inputs()).asnumpy(), first_output.asnumpy(), atol=2e-5)
    assert has_graph(predictor)


def test_without_padding_there_is_no_mask(network):
    token_ids, segment_ids, valid_length = inputs()
    full_length = mx.nd.full(SIZE, LENGTH)
    predictor = Predictor(network)
    compare(predictor, network, [token_ids, segment_ids, full_length], False)
    assert has_graph(predictor, False) and not has_graph(predictor)
    # the predictor ignores the lengths and applies no mask
    np.testing.assert_array_equal(predictor(token_ids, segment_ids, valid_length, False).asnumpy(),
                                  predictor(token_ids, segment_ids, full_length, False).asnumpy())
    compare(predictor, network, [token_ids, segment_ids, valid_length], True)
    assert has_graph(predictor)


@pytest.mark.parametrize('lengths,is_padded', [([LENGTH] * SIZE, False),
                                               ([LENGTH] * (SIZE - 1) + [1], True)])
def test_a_pipeline_passes_on_whether_a_batch_is_padded(network, monkeypatch, lengths, is_padded):
    pipeline = Pipeline(network, None, tiny.CONFIG, {}, LENGTH)
    flags = []
    monkeypatch.setattr(pipeline, '_predict',
                        lambda *arrays: flags.append(arrays[3]) or network(*arrays[:3]))
    token_ids, segment_ids, _ = (array.asnumpy() for array in inputs())
    batch = Batch(token_ids, segment_ids, np.array(lengths, dtype='float32'), None)
    assert pipeline.outputs(batch).shape == (SIZE, LENGTH, 2) and flags == [is_padded]
    with mx.autograd.record():      # training calls the network itself
        pipeline.outputs(batch)
    assert len(flags) == 1


def test_batches_end_where_the_length_changes(network, monkeypatch):
    lengths = [64] * 24 + [60] * 9
    pipeline = Pipeline(network, None, tiny.CONFIG, {}, LENGTH)
    sizes = [len(batch) for batch in pipeline.batches(lengths, 33)]
    assert sizes == [24, 9]     # 1536 tokens are enough
    gpu_pipeline = Pipeline(network, None, tiny.CONFIG, {}, LENGTH, mx.gpu())
    assert [len(batch) for batch in gpu_pipeline.batches(lengths, 33)] == [33]
    static_pipeline = StaticQuestionAnswerer(network, None, tiny.CONFIG, {}, LENGTH)
    assert [len(batch) for batch in static_pipeline.batches(lengths, 33)] == [33]
    monkeypatch.setattr(inference, 'has_onednn', lambda: False)
    assert [len(batch) for batch in pipeline.batches(lengths, 33)] == [33]


def test_a_static_pipeline_calls_the_network_itself(network, monkeypatch):
    network.seq_length = LENGTH
    pipeline = StaticQuestionAnswerer(network, None, tiny.CONFIG, {}, LENGTH, batch_sizes=(1, SIZE))
    monkeypatch.setattr(StaticQuestionAnswerer, 'padding_id', 0)
    monkeypatch.setattr(inference, 'prediction_graph', None)    # a call would fail
    token_ids, segment_ids, valid_length = (array.asnumpy() for array in inputs())
    batch = Batch(token_ids, segment_ids, valid_length, None)
    np.testing.assert_array_equal(pipeline.outputs(batch).asnumpy(),
                                  network(*inputs()).asnumpy())


def test_the_graph_has_the_operators_of_onednn(network, monkeypatch):
    symbols = []
    monkeypatch.setattr(mx.nd, 'CachedOp', symbols.append)
    _, sources = prediction_graph(network)
    names = ' '.join(symbols[0].get_internals().list_outputs())
    for operator, count in (('selfatt_qk', 2), ('selfatt_valatt', 2),
                            ('fully_connected', 4 * 2 + 1)):
        assert names.count('sg_mkldnn_' + operator) == count, names
    assert sorted(source for source in sources if isinstance(source, int)) == [0, 1, 2]
    assert {source for source in sources if not isinstance(source, int)} == \
        set(network.collect_params().values())


def test_a_predictor_uses_the_current_parameters(network):
    """oneDNN keeps weights in its own layout, and must notice when they change."""
    predictor, arrays = Predictor(network), inputs()
    compare(predictor, network, arrays)
    old_output = network(*arrays).asnumpy()
    weight = network.bert.encoder.transformer_cells[0].ffn.ffn_1.weight
    for change in (lambda: weight.set_data(weight.data() * 2),
                   lambda: weight.data().__setitem__(slice(None), weight.data() * -1),
                   lambda: train(network, arrays)):
        change()
        new_output = network(*arrays).asnumpy()
        assert abs(new_output - old_output).max() > 1e-3
        compare(predictor, network, arrays)
        old_output = new_output


def train(network, arrays):
    trainer = mx.gluon.Trainer(network.collect_params(), 'sgd', {'learning_rate': 0.1})
    with mx.autograd.record():
        loss = (network(*arrays) ** 2).mean()
    loss.backward()
    trainer.step(1)


def test_few_tokens_and_builds_without_onednn_use_the_network(network, monkeypatch):
    predictor = Predictor(network)
    compare(predictor, network, inputs(1, 31))
    monkeypatch.setattr(inference, 'has_onednn', lambda: False)
    compare(predictor, network, inputs())
    assert not has_graph(predictor)
    monkeypatch.undo()
    assert has_onednn()     # the installed MXNet wheel has it
    predictor(*inputs())
    assert has_graph(predictor)


def test_the_graph_leaves_the_network_unchanged(network, monkeypatch):
    blocks = []
    network.apply(lambda block: blocks.append(block)
                  if isinstance(block, (Encoder, SelfAttention)) else None)
    assert len(blocks) == 3
    prediction_graph(network)
    assert not any(block.interleaved for block in blocks)

    def fail(*arguments, **options):
        assert all(block.interleaved for block in blocks)
        raise ValueError
    monkeypatch.setattr(network, 'hybrid_forward', fail)
    with pytest.raises(ValueError):
        prediction_graph(network)
    assert not any(block.interleaved for block in blocks)
