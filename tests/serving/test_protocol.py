"""The Open Inference Protocol: metadata, tensors of every kind, errors."""
import json

import numpy as np
import pytest
from support import servers

TOLERANCE = 1e-5
TEXTS = ['the film was good .', 'it was bad', 'very fine']


def tensor(name, texts, shape=None):
    return {'name': name, 'shape': shape or [len(texts)], 'datatype': 'BYTES', 'data': texts}


def infer(server, model, *tensors, **keys):
    """{name: array} of the outputs."""
    content = server.ask('/v2/models/%s/infer' % model, dict(inputs=tensors, **keys))
    assert content['model_name'] == model and content['model_version'] == '1'
    outputs = {}
    for output in content['outputs']:
        dtype = {'FP32': 'float32', 'INT64': 'int64', 'BYTES': object}[output['datatype']]
        outputs[output['name']] = np.array(output['data'], dtype).reshape(output['shape'])
    return outputs


def test_the_server(server):
    assert server.ask('/v2')['name'] == 'bert'
    assert server.ask('/v2/health/live') == {'live': True}
    assert server.ask('/v2/health/ready') == {'ready': True}


@pytest.mark.parametrize('name', servers.KINDS)
def test_metadata_fits_the_outputs(server, name):
    metadata = server.ask('/v2/models/' + name)
    assert metadata == server.ask('/v2/models/%s/versions/1' % name)
    assert metadata['name'] == name and metadata['versions'] == ['1']
    assert server.ask('/v2/models/%s/ready' % name) == {'name': name, 'ready': True}
    texts = ['good [MASK]', 'bad [MASK]']
    inputs = [tensor(item['name'], texts[:1] if item['shape'] == [1] else texts)
              for item in metadata['inputs'] if item['name'] != 'text_pair']
    content = server.ask('/v2/models/%s/infer' % name, {'inputs': inputs, 'id': 'abc'})
    assert content['id'] == 'abc'
    assert [(output['name'], output['datatype'], len(output['shape']))
            for output in content['outputs']] == [
        (output['name'], output['datatype'], len(output['shape']))
        for output in metadata['outputs']]
    for output, described in zip(content['outputs'], metadata['outputs']):
        assert output['shape'][0] == 2 and described['shape'][0] == -1
        assert output['shape'][1:] == described['shape'][1:]


def test_vectors(server):
    outputs = infer(server, 'vectors', tensor('text', TEXTS))
    assert np.allclose(outputs['embedding'], server.pipeline('vectors')(TEXTS), atol=TOLERANCE)
    nested = infer(server, 'vectors', tensor('text', [[TEXTS[0]], [TEXTS[1]]], [2, 1]))
    assert np.allclose(nested['embedding'], outputs['embedding'][:2], atol=TOLERANCE)


def test_classes(server):
    records = server.pipeline('classes')(TEXTS)
    outputs = infer(server, 'classes', tensor('text', TEXTS))
    assert outputs['label'].tolist() == [record.label for record in records]
    assert np.allclose(outputs['probabilities'],
                       [list(record.probabilities.values()) for record in records],
                       atol=TOLERANCE)
    only = infer(server, 'classes', tensor('text', TEXTS), outputs=[{'name': 'label'}])
    assert list(only) == ['label']
    pairs = infer(server, 'classes', tensor('text', TEXTS), tensor('text_pair', TEXTS))
    assert pairs['label'].tolist() == [
        record.label for record in server.pipeline('classes')(list(zip(TEXTS, TEXTS)))]
    labels = infer(server, 'labels', tensor('text', TEXTS))
    assert [json.loads(item) for item in labels['labels']] == [
        record.labels for record in server.pipeline('labels')(TEXTS)]
    assert infer(server, 'scores', tensor('text', TEXTS))['score'] == pytest.approx(
        [record.score for record in server.pipeline('scores')(TEXTS)], abs=TOLERANCE)


def test_ranks(server):
    scores = infer(server, 'ranks', tensor('query', ['good']), tensor('text', TEXTS))['score']
    ranking = server.pipeline('ranks').rank('good', TEXTS)
    assert {i: score for i, score in enumerate(scores)} == pytest.approx(
        {document.document: document.score for document in ranking}, abs=TOLERANCE)


def test_answers(server):
    outputs = infer(server, 'answers', tensor('question', TEXTS), tensor('document', TEXTS[::-1]))
    for i, (question, document) in enumerate(zip(TEXTS, TEXTS[::-1])):
        best = server.pipeline('answers')(question, document).answers[0]
        assert outputs['answer'][i] == best.answer
        assert outputs['start'][i] == best.start and outputs['end'][i] == best.end
        assert outputs['probability'][i] == pytest.approx(best.probability, abs=TOLERANCE)


def test_entities_and_masks(server):
    entities = infer(server, 'tags', tensor('text', TEXTS))['entities']
    for item, records in zip(entities, server.pipeline('tags')(TEXTS)):
        assert json.loads(item) == [pytest.approx(record._asdict(), abs=TOLERANCE)
                                    for record in records]
    masks = infer(server, 'masks', tensor('text', ['good [MASK]', '[MASK] [MASK]']))['masks']
    assert [[mask['start'] for mask in json.loads(item)] for item in masks] == [[5], [0, 7]]
    assert json.loads(masks[0])[0]['words'][0]['word'] == \
        server.pipeline('masks')('good [MASK]')[0].word


def test_cut_texts_are_named(server):
    body = {'inputs': [tensor('text', ['good ' * 100])]}
    assert server.send('/v2/models/vectors/infer', body).status_code == 422
    content = server.ask('/v2/models/vectors/infer', dict(body, parameters={'truncate': True}))
    assert content['parameters'] == {'truncated': [{'index': 0, 'tokens': 102, 'kept': 40}]}


@pytest.mark.parametrize('model, inputs, keys, status, message', [
    ('none', [], {}, 404, 'model "none": there is no such model'),
    ('vectors', [], {}, 400, 'input "text" is missing: the inputs are text'),
    ('vectors', [tensor('texts', TEXTS)], {}, 400, 'input "texts": unknown; the inputs are text'),
    ('vectors', [tensor('text', TEXTS)] * 2, {}, 400, 'input "text": it occurs twice'),
    ('vectors', [tensor('text', TEXTS, [4])], {}, 400,
     'input "text": 3 texts found, but its shape is [4]'),
    ('vectors', [tensor('text', [1.5])], {}, 400, 'input "text": 1.5 found, expected texts'),
    ('vectors', [dict(tensor('text', TEXTS), datatype='FP32')], {}, 400,
     'input "text": datatype FP32 found, expected BYTES'),
    ('vectors', [tensor('text', TEXTS)], {'outputs': [{'name': 'x'}]}, 400,
     'output "x": unknown; the outputs are embedding'),
    ('vectors', [tensor('text', [])], {}, 400, 'no text in the request'),
    ('answers', [tensor('question', TEXTS), tensor('document', TEXTS[:1])], {}, 400,
     'expected inputs of one size, found 3 of question, 1 of document'),
    ('ranks', [tensor('query', TEXTS), tensor('text', TEXTS)], {}, 400,
     'query: 3 texts found, expected 1'),
    ('vectors', 'text', {}, 400, 'inputs: "text" found, expected a list'),
    ('vectors', [{'name': 'text'}], {}, 400, 'inputs[0].shape: Field required'),
])
def test_errors(server, model, inputs, keys, status, message):
    response = server.send('/v2/models/%s/infer' % model, dict(inputs=inputs, **keys))
    assert response.status_code == status, response.text
    assert list(response.json()) == ['error'] and message in response.json()['error']


def test_an_unknown_version(server):
    response = server.send('/v2/models/vectors/versions/2')
    assert response.status_code == 404
    assert response.json() == {'error': 'model "vectors": there is no version "2"; the only '
                                        'version is "1"'}
