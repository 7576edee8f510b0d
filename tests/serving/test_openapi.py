"""Random requests: of the description at /openapi.json, and of no description at all."""
import json
import os
import random

import pytest
from pydantic import TypeAdapter
from starlette.routing import Match
from support.bodies import BODIES, places, replaced

from bert.serving.application import ROUTERS

# by hand: BERT_FUZZ_CASES=10000 ./run python -m pytest tests/serving/test_openapi.py
NUM_CASES = int(os.environ.get('BERT_FUZZ_CASES', 500))
# 424: a model of another kind than the route is for
STATUSES = {200, 400, 403, 404, 405, 413, 422, 424}


def check(method, path, body, status, content_type, content):
    """The status is an expected one, and an error names its cause."""
    request = '%s %s %.500s: %d %.500s' % (method, path, body, status, content)
    assert status in STATUSES, request
    if path == '/metrics' and status == 200:
        assert content_type.startswith('text/plain') and b'te_queue_size' in content
        return
    assert content_type == 'application/json', request
    content = json.loads(content)
    if status != 200:
        error = content['error']
        message = error['message'] if path.startswith('/v1/') else error
        assert message and isinstance(message, str) and len(message) < 2000, request


# By the description

@pytest.fixture
def description(server, client_library):
    """(schemathesis, its schema of the server)"""
    schemathesis = client_library('schemathesis')
    return schemathesis, schemathesis.openapi.from_url(server.url + '/openapi.json')


@pytest.mark.clients
@pytest.mark.parametrize('mode', ['POSITIVE', 'NEGATIVE'])
def test_requests_of_the_description(server, description, mode):
    from hypothesis import HealthCheck, given, settings
    schemathesis, schema = description
    operations = [result.ok() for result in schema.get_all_operations()]
    num_cases = NUM_CASES // (2 * len(operations))
    statuses = set()
    for operation in operations:
        @settings(max_examples=num_cases, deadline=None, database=None, derandomize=True,
                  suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy(generation_mode=schemathesis.GenerationMode[mode]))
        def send(case):
            response = case.call()
            check(case.method, case.path, case.body, response.status_code,
                  response.headers['content-type'][0], response.content)
            statuses.add(response.status_code)
            case.validate_response(response, checks=[
                schemathesis.checks.response_schema_conformance,
                schemathesis.checks.content_type_conformance])
        try:
            send()
        except Exception as error:
            if 'Unsatisfiable' not in type(error).__name__:     # no bad request can be made
                raise
    assert {200, 422 if mode == 'NEGATIVE' else 404} <= statuses
    assert server.ask('/embed', {'inputs': 'good'}) and not server.service.engine.queue.num_texts()


def test_the_description_is_complete(server):
    document = server.ask('/openapi.json')
    assert len(document['paths']) > 20
    for path, operations in document['paths'].items():
        for operation in operations.values():
            assert operation['summary'] and operation['tags'], path
            if 'requestBody' in operation:
                assert operation['requestBody']['required'], path


@pytest.mark.parametrize('path', [path for path in BODIES if path != '/'])
def test_answers_are_as_described(server, path):
    """Not with more or fewer keys, which schemas of JSON allow."""
    content = server.ask(path, BODIES[path])
    assert as_described('POST', path, content) == content


@pytest.mark.parametrize('path, body', [
    ('/entities', {'inputs': 'good bad film', 'model': 'tags', 'aggregation': 'none'}),
    ('/entities', {'inputs': ['good bad film'] * 2, 'model': 'tags'}),
    ('/predict', {'inputs': 'good', 'model': 'labels'}),
    ('/rerank', {'query': 'good', 'texts': ['bad'], 'model': 'ranks', 'return_text': True}),
    ('/v1/rerank', {'query': 'good', 'documents': ['bad'], 'model': 'ranks',
                    'return_documents': True}),
    ('/v1/embeddings', {'input': 'good ' * 60, 'model': 'vectors', 'truncate': True,
                        'encoding_format': 'base64'})])
def test_other_forms_of_answers_are_as_described(server, path, body):
    content = server.ask(path, body)
    assert content.get('entities', [[1]])[0] if isinstance(content, dict) else content
    assert as_described('POST', path, content) == content


@pytest.mark.parametrize('path', ['/v1/models', '/info', '/health', '/v2', '/v2/health/live',
                                  '/v2/health/ready', '/v2/models/vectors/ready',
                                  '/v2/models/vectors'])
def test_answers_to_operators_are_as_described(server, path):
    content = server.ask(path)
    assert as_described('GET', path, content) == content


def as_described(method, path, content):
    """A content as the model of its route reads and writes it."""
    request = {'type': 'http', 'method': method, 'path': path, 'root_path': ''}
    route = next(route for router in ROUTERS for route in router.routes
                 if route.matches(request)[0] == Match.FULL)
    model = TypeAdapter(route.response_model)
    return model.dump_python(model.validate_python(content), exclude_unset=True)


# By nothing

WORDS = ('good', '[MASK]', '', ' ', '\x00', 'a' * 300, '\U0001f600', '电影', 'vectors', 'tags',
         'text', 'BYTES', 'Right', 'first', 'base64', '\u202e', 'good ' * 60, '[MASK] ' * 50, 'ü')
KEYS = ('inputs', 'input', 'model', 'texts', 'query', 'question', 'documents', 'truncate', 'ids',
        'top_k', 'targets', 'dimensions', 'normalize', 'raw_scores', 'return_text', 'aggregation',
        'parameters', 'sentences', 'source_sentence', 'name', 'shape', 'datatype', 'data', 'id',
        'outputs', 'encoding_format', 'prompt_name', 'truncation_direction', 'add_special_tokens')


def random_value(rng, depth=0):
    """Something for JSON, of the keys and values that the routes know."""
    kind = rng.random()
    if kind < 0.35:
        return rng.choice(WORDS)
    if kind < 0.55:
        return rng.choice((0, 1, 2, 3, -1, 7, 40, 10 ** 6, 2 ** 31, 2 ** 63, 10 ** 30, 0.5, -1e300))
    if kind < 0.65 or depth > 3:
        return rng.choice((None, True, False))
    if kind < 0.85:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(KEYS): random_value(rng, depth + 1) for _ in range(rng.randrange(5))}


def random_body(rng, path):
    """The right body of a route with random values at some places, sometimes with broken JSON."""
    body = BODIES[path]
    for _ in range(rng.choice((0, 1, 1, 2))):
        body = replaced(body, rng.choice(list(places(body))), random_value(rng))
    if isinstance(body, dict) and rng.random() < 0.3:
        body = {**body, rng.choice(KEYS): random_value(rng)}
    data = bytearray(json.dumps(body, ensure_ascii=rng.random() < 0.5).encode())
    for _ in range(rng.choice((0, 0, 0, 0, 1, 3))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def test_random_bodies(server, num_cases):
    rng = random.Random(1)
    good = 0
    for i in range(num_cases(500, 3000)):
        path = list(BODIES)[i % len(BODIES)]
        body = random_body(rng, path)
        response = server.send(path, data=body, headers={'Content-Type': 'application/json'})
        check('POST', path, body, response.status_code, response.headers['content-type'],
              response.content)
        good += response.status_code == 200
    assert 50 < good < i - 50
