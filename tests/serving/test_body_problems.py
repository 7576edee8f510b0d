"""The messages on bodies that are no requests: the place, what was found, what was expected."""
import ast
import pathlib

import pytest
from support import raw_http

from bert.serving import application, schemas
from bert.serving.body_problems import describe_value

ANY_TEXTS = 'a text, a list of token ids or a list of texts'
NUMBERS = 'a list of token ids or a list of lists of token ids'


def cause(server, path, body=None, data=None):
    """The message of the error that a body gets."""
    response = server.send(path, body) if data is None else server.send(
        path, data=data, headers={'Content-Type': 'application/json'})
    assert response.status_code in (400, 422), response.text
    return raw_http.Answer(0, {}, response.content).cause


# Values with alternatives

@pytest.mark.parametrize('inputs, message', [
    (3, 'inputs: 3 found, expected ' + ANY_TEXTS),
    (None, 'inputs: null found, expected ' + ANY_TEXTS),
    ({'a text': 1}, 'inputs: an object found, expected ' + ANY_TEXTS),
    (['a', None], 'inputs[1]: null found, expected a text or a list of token ids'),
    (['a', 5], 'inputs[1]: 5 found, expected a text or a list of token ids'),
    (['a', [5, 'b']], 'inputs[1][1]: "b" found, expected a whole number'),
    ([5, 'a'], 'inputs[1]: "a" found, expected a whole number'),
    ([5, [5]], 'inputs[1]: a list of 1 value found, expected a whole number'),
    ([1.5], 'inputs[0]: 1.5 found, expected a whole number, a text or a list of token ids')])
def test_texts_and_token_ids(server, inputs, message):
    for path in ('/embed', '/embed_all'):
        assert cause(server, path, {'inputs': inputs}) == message
    assert cause(server, '/', {'inputs': inputs, 'model': 'vectors'}) == message
    for path in ('/v1/embeddings', '/embeddings'):
        assert cause(server, path, {'input': inputs, 'model': 'vectors'}) == message.replace(
            'inputs', 'input')


@pytest.mark.parametrize('path, body, message', [
    ('/predict', {'inputs': 3},
     'inputs: 3 found, expected a text, a list of texts or a list of lists of texts'),
    ('/predict', {'inputs': ['a', None]}, 'inputs[1]: null found, expected a text'),
    ('/predict', {'inputs': [['a'], ['b', None]]}, 'inputs[1][1]: null found, expected a text'),
    ('/predict', {'inputs': [None]}, 'inputs[0]: null found, expected a text or a list'),
    ('/tokenize', {'inputs': ['a', [5]]}, 'inputs[1]: a list of 1 value found, expected a text'),
    ('/entities', {'inputs': {}}, 'inputs: an object found, expected a text or a list of texts'),
    ('/fill', {'inputs': [True]}, 'inputs[0]: true found, expected a text'),
    ('/answer', {'question': 'a', 'documents': None},
     'documents: null found, expected a text or a list of texts'),
    ('/decode', {'ids': 'a'}, 'ids: "a" found, expected ' + NUMBERS),
    ('/decode', {'ids': [[5], ['a']]}, 'ids[1][0]: "a" found, expected a whole number')])
def test_other_values_with_alternatives(server, path, body, message):
    assert cause(server, path, body) == message


def unions(schema):
    """Yield the choices of each union in a core schema of pydantic."""
    if isinstance(schema, dict):
        if schema.get('type') == 'union':
            yield schema['choices']
        for value in schema.values():
            yield from unions(value)
    elif isinstance(schema, (list, tuple)):
        for value in schema:
            yield from unions(value)


def test_all_alternatives_have_names_in_words():
    """Without a Tag pydantic gives them names such as list[int], which look like keys."""
    count = 0
    for body in vars(schemas).values():
        if isinstance(body, type) and issubclass(body, schemas.Body):
            assert not [name for name in body.model_fields if ' ' in name]
            for choices in unions(body.__pydantic_core_schema__):
                assert all(isinstance(choice, tuple) and ' ' in choice[1] for choice in choices)
                count += 1
    assert count > 10


# Values of one kind

@pytest.mark.parametrize('path, body, message', [
    ('/embed', {}, 'inputs: Field required'),
    ('/embed', 3, 'the body: 3 found, expected an object'),
    ('/embed', {'inputs': 'a', 'truncation_direction': 'up'},
     'truncation_direction: "up" found, expected "right", "left", "Right" or "Left"'),
    ('/embed', {'inputs': 'a', 'model': 'a' * 501},
     'model: a text of 501 characters found, expected at most 500 characters'),
    ('/rerank', {'query': 'a', 'texts': ['b', None]}, 'texts[1]: null found, expected a text'),
    ('/rerank', {'query': 3, 'texts': 'a', 'raw_scores': 1, 'truncate': 'true', 'model': 7},
     'model: 7 found, expected a text; truncate: "true" found, expected true or false; '
     'query: 3 found, expected a text; and 2 more'),
    ('/similarity', {'inputs': {'source_sentence': 'a', 'sentences': ['a', None]}},
     'inputs.sentences[1]: null found, expected a text'),
    ('/fill', {'inputs': 'a', 'top_k': 0}, 'top_k: 0 found, expected at least 1'),
    ('/fill', {'inputs': 'a', 'top_k': 1001}, 'top_k: 1001 found, expected at most 1000'),
    ('/v2/models/vectors/infer', {'inputs': [
        {'name': 'text', 'shape': [1] * 9, 'datatype': 'BYTES', 'data': []}]},
     'inputs[0].shape: a list of 9 values found, expected at most 8 values'),
    ('/v2/models/vectors/infer', {'inputs': [], 'parameters': 3},
     'parameters: 3 found, expected an object'),
    ('/v2/models/vectors/infer', {'inputs': [
        {'name': 'text', 'shape': [1], 'datatype': 'BYTES', 'data': [None]}]},
     'input "text": null found, expected texts')])
def test_values_of_one_kind(server, path, body, message):
    assert cause(server, path, body) == message


def test_values_in_messages_are_short():
    for value, words in ((None, 'null'), (False, 'false'), (-2.5, '-2.5'), ('"', r'"\""'),
                         ('a' * 40, '"%s"' % ('a' * 40)), ('a' * 41, 'a text of 41 characters'),
                         ([], 'an empty list'), ([[]], 'a list of 1 value'),
                         ([1, 2], 'a list of 2 values'), ({'a': 1}, 'an object')):
        assert describe_value(value) == words


# Bodies that are no JSON

@pytest.mark.parametrize('data, message', [
    (b'{"inputs":"caf\xe9"}', 'the body is not UTF-8: byte 0xe9 at position 14'),
    (b'\xff\xfe{\x00', 'the body is not UTF-8: byte 0xff at position 0'),
    (b'{"inputs":"\xed\xa0\x80"}', 'the body is not UTF-8: byte 0xed at position 11'),
    (b'{"inputs":"caf\xc3', 'the body is not UTF-8: byte 0xc3 at position 14'),
    (b'{"inputs":"a\\ud800"}', 'the body is not JSON: half a surrogate pair at character 12'),
    (b'{"inputs":"\\udc00"}', 'the body is not JSON: half a surrogate pair at character 11'),
    (b'[', 'the body is not JSON: unexpected end of data at character 1')])
def test_bodies_that_are_no_json(server, data, message):
    assert cause(server, '/embed', data=data) == message


# Flags

def test_a_client_is_told_of_no_flags(server):
    body = {'inputs': 'a', 'prompt_name': 'query'}
    for path in ('/embed', '/embed_all', '/tokenize'):
        assert cause(server, path, dict(body, model='vectors')) == (
            'prompt_name query: this model has no prompts')


def test_no_error_of_the_server_names_a_flag():
    count = 0
    for path in pathlib.Path(application.__file__).parent.rglob('*.py'):
        for call in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(call, ast.Call) and getattr(call.func, 'id', '') in (
                    'ApiError', 'HTTPException', '_refusal'):
                texts = [node.value for node in ast.walk(call) if isinstance(node, ast.Constant)
                         and isinstance(node.value, str)]
                assert not [text for text in texts if '--' in text], path
                count += 1
    assert count > 20
