"""The server with relatives of BERT: a RoBERTa for vectors, and with a classifier."""
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
    with servers.running_server(('vectors=%s' % vectors, 'classes=%s' % classes)) as running:
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
