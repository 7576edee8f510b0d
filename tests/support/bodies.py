"""A right body for each route, for tests that make wrong ones of them."""

# {path: body}
BODIES = {
    '/embed': {'inputs': 'good', 'model': 'vectors', 'prompt_name': None},
    '/embed_all': {'inputs': 'good', 'model': 'vectors'},
    '/similarity': {'inputs': {'source_sentence': 'good', 'sentences': ['bad']}},
    '/v1/embeddings': {'input': 'good', 'model': 'vectors', 'user': 'me'},
    '/predict': {'inputs': [['good', 'bad']], 'model': 'classes'},
    '/rerank': {'query': 'good', 'texts': ['bad'], 'model': 'ranks'},
    '/v1/rerank': {'query': 'good', 'documents': ['bad'], 'model': 'ranks', 'top_n': 1},
    '/answer': {'question': 'good', 'documents': ['bad good'], 'model': 'answers'},
    '/entities': {'inputs': 'good', 'model': 'tags'},
    '/fill': {'inputs': '[MASK] good', 'model': 'masks', 'targets': ['bad']},
    '/tokenize': {'inputs': 'good', 'model': 'tags'}, '/decode': {'ids': [5, 6], 'model': 'tags'},
    '/': {'inputs': 'good', 'model': 'vectors'},
    '/v2/models/vectors/infer': {'id': 'a', 'inputs': [
        {'name': 'text', 'shape': [1], 'datatype': 'BYTES', 'data': ['good']}]},
    '/v2/models/ranks/infer': {'inputs': [
        {'name': 'query', 'shape': [1], 'datatype': 'BYTES', 'data': ['good']},
        {'name': 'text', 'shape': [2], 'datatype': 'BYTES', 'data': ['bad', 'good film']}]}}


def places(value, path=()):
    """The path of each value in a value of JSON."""
    yield path
    items = value.items() if isinstance(value, dict) else \
        enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def replaced(value, path, new):
    """A copy of a value with `new` at a path."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy
