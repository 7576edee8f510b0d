"""Cross-encoders against sentence-transformers itself: its folders here, ours there."""
import json

import numpy as np
import pytest
from support.cross_encoders import IDENTITY, SIGMOID, write_cross_encoder

import bert
from bert import jobs

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings('ignore')]
TEXTS = ['The film was so good .', 'bad', '', 'plots and scenes ' * 20, 'it was a very fine film',
         'so ' * 60, '电影 it was']
PAIRS = [(first, second) for first in TEXTS for second in TEXTS]


def assert_same_scores(ours, theirs):
    """Batches of several lengths, padded; and the order of documents. Theirs in float64: two sums
    in float32 may be further apart than each of them is from the exact one."""
    theirs.model.double()
    scores = [record.score for record in ours(PAIRS)]
    np.testing.assert_allclose(scores, theirs.predict(PAIRS, batch_size=8), atol=1e-5)
    assert np.ptp(scores) > 0.05
    for query in TEXTS:
        expected = theirs.rank(query, TEXTS, return_documents=True)
        ranking = ours.rank(query, TEXTS)
        assert [(entry.document, entry.text) for entry in ranking] == [
            (entry['corpus_id'], entry['text']) for entry in expected]
        np.testing.assert_allclose([entry.score for entry in ranking],
                                   [entry['score'] for entry in expected], atol=1e-5)
    theirs.model.float()        # as it was, since each float32 is a float64


@pytest.mark.parametrize('name', [SIGMOID, IDENTITY])
def test_their_folder_here_and_ours_there(torch, sentence_transformers, tmp_path, name):
    """Opened from config.json, saved by them, converted to Gluon and back, and saved again."""
    path = write_cross_encoder(tmp_path / 'hf', {
        'sentence_transformers': {'activation_fn': name, 'version': '4.0.0'}})
    theirs = sentence_transformers.CrossEncoder(path, device='cpu')
    assert_same_scores(bert.open(path), theirs)
    theirs.save_pretrained(str(tmp_path / 'saved'))
    saved = str(tmp_path / 'saved')
    assert_same_scores(bert.open(saved), theirs)
    jobs.convert_checkpoint(input=saved, output=saved + '-gluon')
    assert_same_scores(bert.open(saved + '-gluon'), theirs)
    jobs.convert_checkpoint(input=saved + '-gluon', output=saved + '-back')
    back = sentence_transformers.CrossEncoder(saved + '-back', device='cpu')
    assert type(back.activation_fn) is type(theirs.activation_fn)
    np.testing.assert_allclose(back.predict(PAIRS), theirs.predict(PAIRS), atol=1e-6)
    back.save_pretrained(str(tmp_path / 'again'))
    assert_same_scores(bert.open(str(tmp_path / 'again')), theirs)


@pytest.mark.parametrize('config, settings', [
    ({'sentence_transformers': {'activation_fn': SIGMOID}}, IDENTITY),
    ({'sbert_ce_default_activation_function': IDENTITY}, SIGMOID),
    ({'sbert_ce_default_activation_function': IDENTITY}, None),
    ({'sentence_transformers': {'activation_fn': SIGMOID},
      'sbert_ce_default_activation_function': IDENTITY}, None)])
def test_the_order_of_the_activations(torch, sentence_transformers, tmp_path, config, settings):
    path = write_cross_encoder(tmp_path / 'hf', config)
    if settings:
        sentence_transformers.CrossEncoder(path, device='cpu').save_pretrained(path + '-saved')
        path += '-saved'
        for name, keys in (('config.json', config), ('config_sentence_transformers.json',
                                                     {'activation_fn': settings})):
            values = json.loads(open(path + '/' + name).read())
            values.pop('sentence_transformers', None)
            with open(path + '/' + name, 'w') as out:
                json.dump(dict(values, **keys), out)
    assert_same_scores(bert.open(path), sentence_transformers.CrossEncoder(path, device='cpu'))


def test_a_model_that_says_nothing(torch, sentence_transformers, tmp_path):
    for name, config in (('plain', {'hidden_dropout_prob': 0.1}),
                         ('regression', {'problem_type': 'regression'})):
        path = write_cross_encoder(tmp_path / name, config)
        assert_same_scores(bert.open(path, task='ranking'),
                           sentence_transformers.CrossEncoder(path, device='cpu'))


def test_the_length(torch, sentence_transformers, tmp_path):
    path = write_cross_encoder(tmp_path / 'hf', tokenizer_config={
        'do_lower_case': True, 'model_max_length': 20})
    assert_same_scores(bert.open(path), sentence_transformers.CrossEncoder(path, device='cpu'))
    theirs = sentence_transformers.CrossEncoder(path, device='cpu', max_length=13)
    theirs.save_pretrained(path + '-short')
    assert bert.open(path + '-short').max_len == 13
    assert_same_scores(bert.open(path + '-short'), theirs)


def test_the_loss(torch, sentence_transformers):
    import mxnet as mx

    from bert.model.classification import make_loss
    outputs = np.random.RandomState(0).randn(40, 1).astype('float32') * 4
    labels = np.random.RandomState(1).rand(40).astype('float32')
    expected = torch.nn.BCEWithLogitsLoss()(torch.tensor(outputs[:, 0]), torch.tensor(labels))
    loss = make_loss('ranking')(mx.nd.array(outputs), mx.nd.array(labels)).mean()
    assert loss.asscalar() == pytest.approx(float(expected), abs=1e-5)
