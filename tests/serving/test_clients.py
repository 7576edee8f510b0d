"""Clients that others wrote: OpenAI's, Hugging Face's, Haystack's, Triton's, curl."""
import base64
import json
import shutil
import subprocess

import numpy as np
import pytest
from support import servers

pytestmark = pytest.mark.clients
NO_CLIENTS = 'the clients of the server are not installed'     # as in conftest.py
TOLERANCE = 1e-5
TEXTS = ['the film was good', 'the plot was very bad and so awful', 'great actor', '\U0001f600 电']
KEY = 'right'


@pytest.fixture(scope='module')
def locked(model_dirs, tmp_path_factory):
    """A server of vectors that asks for a key."""
    keys = tmp_path_factory.mktemp('keys') / 'keys'
    keys.write_text(KEY + '\n')
    with servers.running_server(model_dirs[:1], key=KEY, api_key_file=str(keys)) as running:
        yield running


# OpenAI

@pytest.fixture
def openai(client_library):
    return client_library('openai')


def openai_client(openai, server, key=KEY):
    return openai.OpenAI(base_url=server.url + '/v1', api_key=key, max_retries=0, timeout=30)


@pytest.mark.parametrize('form', [{}, {'encoding_format': 'float'}, {'encoding_format': 'base64'}])
def test_openai_vectors(server, openai, form):
    response = openai_client(openai, server).embeddings.create(
        model='vectors', input=TEXTS, user='me', **form)
    vectors = [item.embedding for item in response.data]
    if form.get('encoding_format') == 'base64':
        vectors = [np.frombuffer(base64.b64decode(text), '<f4') for text in vectors]
    assert np.allclose(vectors, server.pipeline('vectors')(TEXTS), atol=TOLERANCE)
    assert [item.index for item in response.data] == list(range(len(TEXTS)))
    assert response.model == 'vectors' and response.usage.prompt_tokens > len(TEXTS)


def test_openai_inputs_and_dimensions(server, openai):
    client = openai_client(openai, server)
    ids = server.pipeline('vectors').tokenizer.encode(TEXTS[:1])[0]
    for texts in (TEXTS[0], [int(item) for item in ids]):
        response = client.embeddings.create(model='vectors', input=texts, dimensions=3)
        vector, = [item.embedding for item in response.data]
        expected = server.pipeline('vectors')(TEXTS[0])[:3]
        assert np.allclose(vector, expected / np.linalg.norm(expected), atol=TOLERANCE)


def test_openai_models(server, openai):
    models = openai_client(openai, server).models.list().data
    assert [model.id for model in models] == list(servers.KINDS)
    assert all(model.owned_by == 'bert' and model.created > 1.7e9 for model in models)
    assert [model.kind for model in models] == list(servers.KINDS.values())


def test_openai_errors(server, locked, openai):
    embeddings = openai_client(openai, server).embeddings
    for error, status, message, arguments in (
            (openai.NotFoundError, 404, 'there is no such model',
                                        {'model': 'none', 'input': 'good'}),
            (openai.BadRequestError, 400, 'at least one', {'model': 'vectors', 'input': []}),
            (openai.BadRequestError, 400, 'input', {'model': 'vectors', 'input': [{}]}),
            (openai.UnprocessableEntityError, 422, 'the model reads 40',
             {'model': 'vectors', 'input': 'good ' * 100}),
            (openai.UnprocessableEntityError, 422, 'dimensions 9',
             {'model': 'vectors', 'input': 'good', 'dimensions': 9}),
            (openai.APIStatusError, 424, 'is for ranking', {'model': 'ranks', 'input': 'good'})):
        with pytest.raises(error, match=message) as info:
            embeddings.create(**arguments)
        assert info.value.status_code == status and info.value.body['message']
    with pytest.raises(openai.AuthenticationError, match='a key is missing or wrong') as info:
        openai_client(openai, locked, 'wrong').models.list()
    assert info.value.type == 'authentication_error'
    assert len(openai_client(openai, locked).models.list().data) == 1


def test_openai_overload(server, openai, monkeypatch):
    monkeypatch.setattr(server.service.engine, 'queue_seconds', lambda *arguments: 33.0)
    with pytest.raises(openai.RateLimitError, match='the server is busy') as info:
        openai_client(openai, server).embeddings.create(model='vectors', input='good')
    assert info.value.response.headers['Retry-After'] == '3'
    assert info.value.type == 'rate_limit_error'
    seconds = iter([30.5, 0.0])
    monkeypatch.setattr(server.service.engine, 'queue_seconds', lambda *arguments: next(seconds))
    client = openai_client(openai, server).with_options(max_retries=1)      # after a second
    assert client.embeddings.create(model='vectors', input='good').data


# Hugging Face

@pytest.fixture
def hugging_face(server, client_library):
    """Function of a path → `huggingface_hub.InferenceClient`, which sends all to this path."""
    huggingface_hub = client_library('huggingface_hub')
    return lambda path='': huggingface_hub.InferenceClient(
        server.url + path, provider='hf-inference', token='none')


@pytest.mark.parametrize('path', ['', '/embed', '/invocations'])
def test_hugging_face_vectors(server, hugging_face, path):
    client = hugging_face(path)
    expected = server.pipeline('vectors')(TEXTS)
    assert np.allclose(client.feature_extraction(TEXTS), expected, atol=TOLERANCE)
    assert np.allclose(client.feature_extraction(TEXTS[0]), expected[:1], atol=TOLERANCE)
    plain = client.feature_extraction(TEXTS, normalize=False, truncate=True,
                                      truncation_direction='Right')
    assert np.allclose(plain / np.linalg.norm(plain, axis=1, keepdims=True), expected,
                       atol=TOLERANCE)
    assert not np.allclose(plain, expected, atol=0.1)


def test_hugging_face_similarity_and_classes(server, hugging_face):
    values = hugging_face('/similarity').sentence_similarity(TEXTS[0], other_sentences=TEXTS[1:])
    pipeline = server.pipeline('vectors')
    vectors = pipeline(TEXTS)
    assert values == pytest.approx(pipeline.similarity(vectors[:1], vectors[1:])[0], abs=TOLERANCE)
    record, = server.pipeline('classes')(TEXTS[:1])
    best = hugging_face('/predict').text_classification(TEXTS[0])
    best = best[0] if isinstance(best, list) else best
    assert best.label == record.label
    assert best.score == pytest.approx(record.probabilities[record.label], abs=TOLERANCE)


def test_hugging_face_operation(server, hugging_face):
    assert hugging_face().health_check()
    assert hugging_face().get_endpoint_info()['served_model_name'] == 'vectors'


def test_hugging_face_errors(server, hugging_face):
    from huggingface_hub.errors import HfHubHTTPError
    with pytest.raises(HfHubHTTPError, match='the model reads 40') as info:
        hugging_face().feature_extraction('good ' * 100)
    assert info.value.response.status_code == 422


# Haystack, by text-embeddings-inference's interface

def test_haystack_vectors(server, client_library):
    embedders = client_library('haystack_integrations.components.embedders.huggingface_api')
    from haystack import Document
    settings = {'api_type': 'text_embeddings_inference', 'api_params': {'url': server.url},
                'token': None, 'normalize': True}
    expected = server.pipeline('vectors')(TEXTS)
    embedder = embedders.HuggingFaceAPITextEmbedder(**settings)
    assert np.allclose(embedder.run(text=TEXTS[0])['embedding'], expected[0], atol=TOLERANCE)
    documents = embedders.HuggingFaceAPIDocumentEmbedder(**settings, progress_bar=False).run(
        documents=[Document(content=text) for text in TEXTS])['documents']
    assert np.allclose([item.embedding for item in documents], expected, atol=TOLERANCE)


def test_haystack_ranks(server, client_library):
    rankers = client_library('haystack_integrations.components.rankers.huggingface_api')
    from haystack import Document
    ranker = rankers.HuggingFaceTEIRanker(url=server.url, top_k=3, token=None)
    documents = ranker.run(query='the film', documents=[Document(content=text) for text in TEXTS])
    ranking = server.pipeline('ranks').rank('the film', TEXTS)[:3]
    assert [item.content for item in documents['documents']] == [item.text for item in ranking]
    assert [item.score for item in documents['documents']] == pytest.approx(
        [item.score for item in ranking], abs=TOLERANCE)


# Triton

@pytest.fixture
def triton(server, client_library):
    """`tritonclient.http` and a client."""
    module = client_library('tritonclient.http')
    with module.InferenceServerClient(server.url.removeprefix('http://')) as client:
        yield module, client


def infer(triton, model, outputs=None, **texts):
    """{name: array} of the outputs, as Triton's client reads them."""
    module, client = triton
    inputs = []
    for name, values in texts.items():
        inputs.append(module.InferInput(name, [len(values)], 'BYTES'))
        inputs[-1].set_data_from_numpy(np.array(values, object), binary_data=False)
    names = outputs or [item['name'] for item in client.get_model_metadata(model)['outputs']]
    result = client.infer(model, inputs, request_id='7', outputs=[
        module.InferRequestedOutput(name, binary_data=False) for name in names])
    assert result.get_response()['id'] == '7'
    return {name: result.as_numpy(name) for name in names}


def test_triton_metadata(triton):
    _, client = triton
    assert client.is_server_live() and client.is_server_ready()
    assert client.get_server_metadata()['name'] == 'bert'
    for name in servers.KINDS:
        assert client.is_model_ready(name) and client.is_model_ready(name, '1')
        assert client.get_model_metadata(name)['name'] == name
    assert not client.is_model_ready('none')


def test_triton_vectors_and_classes(server, triton):
    vectors = infer(triton, 'vectors', text=TEXTS)['embedding']
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, server.pipeline('vectors')(TEXTS), atol=TOLERANCE)
    for name, label in (('classes', 'label'), ('labels', 'labels')):
        records = server.pipeline(name)(TEXTS)
        outputs = infer(triton, name, text=TEXTS)
        assert np.allclose(outputs['probabilities'], [
            list(record.probabilities.values()) for record in records], atol=TOLERANCE)
        expected = [record.label for record in records] if label == 'label' else \
            [json.dumps(record.labels, separators=(',', ':')) for record in records]
        assert outputs[label].astype(str).tolist() == expected
    scores = infer(triton, 'scores', text=TEXTS)['score']
    assert np.allclose(scores, [record.score for record in server.pipeline('scores')(TEXTS)],
                       atol=TOLERANCE)
    pairs = infer(triton, 'classes', ['label'], text=TEXTS, text_pair=TEXTS[::-1])['label']
    assert pairs.astype(str).tolist() == [
        record.label for record in server.pipeline('classes')(list(zip(TEXTS, TEXTS[::-1])))]


def test_triton_ranks_and_answers(server, triton):
    scores = infer(triton, 'ranks', query=['the film'], text=TEXTS)['score']
    ranking = server.pipeline('ranks').rank('the film', TEXTS)
    assert np.allclose([scores[item.document] for item in ranking],
                       [item.score for item in ranking], atol=TOLERANCE)
    outputs = infer(triton, 'answers', question=TEXTS[:2], document=TEXTS[2:])
    for i in range(2):
        best = server.pipeline('answers')(TEXTS[i], TEXTS[2 + i]).answers[0]
        assert outputs['start'].dtype == np.int64
        assert (outputs['answer'].astype(str)[i], outputs['start'][i], outputs['end'][i]) == (
            best.answer, best.start, best.end)
        assert outputs['probability'][i] == pytest.approx(best.probability, abs=TOLERANCE)


def test_triton_entities_and_words(server, triton):
    entities = infer(triton, 'tags', text=TEXTS)['entities']
    for item, records in zip(entities, server.pipeline('tags')(TEXTS), strict=True):
        assert json.loads(item) == [pytest.approx(record._asdict(), abs=TOLERANCE)
                                    for record in records]
    text = 'the [MASK] was good'
    masks, = infer(triton, 'masks', text=[text])['masks']
    assert [word['word'] for word in json.loads(masks)[0]['words']] == [
        word.word for word in server.pipeline('masks')(text)]


def test_triton_errors(triton):
    module, client = triton
    with pytest.raises(module.InferenceServerException, match='input "text" is missing'):
        client.infer('vectors', [])
    with pytest.raises(module.InferenceServerException, match='there is no such model'):
        client.get_model_metadata('none')
    inputs = [module.InferInput('text', [1], 'BYTES')]
    inputs[0].set_data_from_numpy(np.array(['good'], object), binary_data=True)
    with pytest.raises(module.InferenceServerException, match='binary') as info:
        client.infer('vectors', inputs)
    assert info.value.status() == '400'


# curl

def curl(*arguments):
    """(status, content of JSON)"""
    if not shutil.which('curl'):
        pytest.skip(NO_CLIENTS)
    result = subprocess.run(['curl', '--silent', '--show-error', '--max-time', '30', '--write-out',
                             '\n%{http_code}', *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    body, _, status = result.stdout.rpartition('\n')
    return int(status), json.loads(body)


JSON_HEADER = '-H', 'Content-Type: application/json'


def test_curl(server, locked, tmp_path):
    body = json.dumps({'inputs': TEXTS})
    expected = server.pipeline('vectors')(TEXTS)
    (tmp_path / 'body.json').write_text(body)
    for options in (('-d', body), ('--json', body), ('-d', '@%s' % (tmp_path / 'body.json')),
                    ('-d', body, '--http1.0'), ('-d', body, '-H', 'Transfer-Encoding: chunked'),
                    ('-d', body, '-H', 'Expect: 100-continue'), ('-d', body, '--http2')):
        status, vectors = curl(server.url + '/embed', *JSON_HEADER, *options)
        assert status == 200 and np.allclose(vectors, expected, atol=TOLERANCE)
    status, error = curl(server.url + '/embed', '-d', body)
    assert status == 422 and 'Content-Type: application/json' in error['error']
    status, error = curl(locked.url + '/embed', *JSON_HEADER, '-d', body)
    assert status == 401 and error['error_type'] == 'Unauthorized'
    status, vectors = curl(locked.url + '/embed', *JSON_HEADER, '-d', body, '--oauth2-bearer', KEY)
    assert status == 200 and np.allclose(vectors, expected, atol=TOLERANCE)
