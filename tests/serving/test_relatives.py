"""The server with relatives of BERT, beside the pipelines of the same models."""
import numpy as np
import pytest
from support import servers, tiny, tiny_relatives

TEXTS = [' '.join(tiny.WORDS[start:start + 1 + start % 5]) for start in range(12)]


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp('relatives')
    vectors = tiny_relatives.write_roberta(folder / 'vectors')
    classes = tiny_relatives.write_roberta(folder / 'classes')
    tiny_relatives.add_classifier(classes)
    models = {'vectors': vectors, 'classes': classes, **{
        name: tiny_relatives.write_relative(folder / name, family, head, labels, seed)
        for name, family, head, labels, seed in (
            ('answers', 'distilbert', 'ForQuestionAnswering', None, 0),
            ('replaced', 'electra', 'ForPreTraining', None, 55),    # 23 of the 33 tokens are
            ('masks', 'camembert', 'ForMaskedLM', None, 0),
            ('tags', 'xlm-roberta', 'ForTokenClassification', tiny_relatives.TAGS, 0))}}
    with servers.running_server(
            tuple('%s=%s' % item for item in models.items()),
            task=('replaced=token_classification', 'masks=fill_mask')) as running:
        yield running


def test_vectors_and_tokens(server):
    vectors = server.pipeline('vectors')(TEXTS)
    assert np.allclose(server.ask('/embed', {'inputs': TEXTS}), vectors, atol=1e-5)
    tokens, = server.ask('/tokenize', {'inputs': 'good film'})
    assert [token['text'] for token in tokens] == ['<s>', 'good', 'film', '</s>']
    # the table has two rows that no position uses
    response = server.send('/embed', {'inputs': 'good ' * 39})
    assert response.status_code == 422
    assert 'has 41 tokens, special tokens included, but the model reads 40' in response.text


def test_classes_of_pairs(server):
    """Segment ids have no meaning here, and change nothing."""
    pairs = list(zip(TEXTS, TEXTS[1:]))
    results = server.ask('/predict', {'inputs': pairs, 'model': 'classes'})
    for record, labels in zip(server.pipeline('classes')(pairs), results, strict=True):
        assert {item['label']: item['score'] for item in labels} == pytest.approx(
            record.probabilities, abs=1e-5)


def rounded(value):
    """A value of JSON with numbers that may differ a little."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return pytest.approx(value, abs=1e-5) if isinstance(value, float) else value


def test_answers(server):
    result = server.ask('/answer', {'model': 'answers', 'question': TEXTS[1],
                                    'documents': TEXTS[2:5]})
    expected = server.pipeline('answers')(TEXTS[1], TEXTS[2:5])
    assert len(expected.answers) == 3
    assert result['answers'] == rounded([item._asdict() for item in expected.answers])


@pytest.mark.parametrize('model', ['replaced', 'tags'])
@pytest.mark.parametrize('aggregation', ['first', 'none'])
def test_replaced_tokens_and_entities(server, model, aggregation):
    results = server.ask('/entities', {'model': model, 'inputs': TEXTS,
                                       'aggregation': aggregation})['entities']
    expected = server.pipeline(model)(TEXTS, aggregation=aggregation)
    assert sum(map(len, expected)) > 3
    assert results == rounded([[item._asdict() for item in items] for items in expected])


def test_masks(server):
    texts = ['good <mask>', '<mask> film <mask>']
    results = server.ask('/fill', {'model': 'masks', 'inputs': texts})['masks']
    assert [len(masks) for masks in results] == [1, 2]
    first, (second, third) = server.pipeline('masks')(texts)
    words = [mask['words'] for masks in results for mask in masks]
    assert words == rounded([[word._asdict() for word in items]
                             for items in (first, second, third)])
