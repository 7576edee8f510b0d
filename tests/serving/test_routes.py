"""Each route gives what its pipeline gives, on 200 texts; and its errors."""
import base64
import contextlib
import random
import time

import numpy as np
import pytest
from support import servers, tiny

from bert.pipelines.inference import NETWORK_LOCK

TOLERANCE = 1e-5    # batches differ from those of the pipeline, and so do roundings
LONG_TEXT = 'good ' * 100


def make_texts(count, seed, max_words=30):
    rng = random.Random(seed)
    return [' '.join(rng.choices(tiny.WORDS, k=rng.randrange(1, max_words)))
            for _ in range(count)]


TEXTS = make_texts(200, 1)


@pytest.mark.parametrize('name, kind', servers.KINDS.items())
def test_the_models_have_their_kinds(server, name, kind):
    models = {model['id']: model for model in server.ask('/v1/models')['data']}
    assert models[name]['kind'] == kind and models[name]['object'] == 'model'
    assert models[name]['max_tokens'] == tiny.CONFIG.max_length
    assert models[name].get('threshold') == (0.5 if kind == 'multi_label' else None)
    assert models[name].get('mask_token') == ('[MASK]' if kind == 'fill_mask' else None)


# Vectors

def test_embed(server):
    vectors = server.pipeline('vectors')(TEXTS)
    assert np.allclose(server.ask('/embed', {'inputs': TEXTS}), vectors, atol=TOLERANCE)
    assert np.allclose(server.ask('/embed', {'inputs': TEXTS[0]}), vectors[:1], atol=TOLERANCE)
    plain = server.ask('/embed', {'inputs': TEXTS, 'normalize': False, 'model': 'vectors'})
    assert not np.allclose(plain, vectors, atol=0.1)
    assert np.allclose(plain / np.linalg.norm(plain, axis=1, keepdims=True), vectors,
                       atol=TOLERANCE)
    short = server.ask('/embed', {'inputs': TEXTS, 'dimensions': 3})
    cut = vectors[:, :3] / np.linalg.norm(vectors[:, :3], axis=1, keepdims=True)
    assert np.allclose(short, cut, atol=TOLERANCE)


def test_embed_token_ids(server):
    ids = [tiny.TOKENS.index(word) for word in TEXTS[0].split()]
    expected = server.ask('/embed', {'inputs': [TEXTS[0], TEXTS[1]]})
    assert np.allclose(server.ask('/embed', {'inputs': ids}), expected[:1], atol=TOLERANCE)
    assert np.allclose(server.ask('/embed', {'inputs': [ids, TEXTS[1]]}), expected,
                       atol=TOLERANCE)
    assert error(server, '/embed', {'inputs': [[5], [99]]}, 422) == \
        'text 1: token id 99: expected from 0 to %d, the vocabulary of this model' % (
            len(tiny.TOKENS) - 1)


def test_embed_all(server):
    results = server.ask('/embed_all', {'inputs': TEXTS[:20]})
    pipeline = server.pipeline('vectors')
    for text, rows in zip(TEXTS, results):
        (_, words), = pipeline.words([text])
        assert np.allclose(rows[1:-1], words, atol=TOLERANCE)       # words of one piece
    assert np.allclose(server.ask('/embed_all', {'inputs': TEXTS[0], 'dimensions': 2})[0],
                       np.array(results[0])[:, :2], atol=TOLERANCE)
    ids = [tiny.TOKENS.index(word) for word in TEXTS[0].split()]
    for inputs in (ids, [ids, TEXTS[1]]):
        same = server.ask('/embed_all', {'inputs': inputs})
        assert all(np.allclose(*pair, atol=TOLERANCE) for pair in zip(same, results))
    assert error(server, '/embed_all', {'inputs': [[99]]}, 422).startswith(
        'text 0: token id 99: expected from 0 to ')
    assert error(server, '/embed_all', {'inputs': 'good', 'dimensions': 9}, 422) == \
        'dimensions 9: expected from 1 to 8'


def test_similarity(server):
    values = server.ask('/similarity', {'inputs': {'source_sentence': TEXTS[0],
                                                   'sentences': TEXTS}})
    pipeline = server.pipeline('vectors')
    expected = pipeline.similarity(pipeline(TEXTS[:1]), pipeline(TEXTS))[0]
    assert values == pytest.approx(expected, abs=TOLERANCE)
    assert values[0] == pytest.approx(1)
    assert error(server, '/similarity', {'inputs': {'source_sentence': 'a', 'sentences': []}},
                 400) == 'inputs.sentences is empty: expected at least one text'


def test_openai_embeddings(server):
    body = {'model': 'vectors', 'input': TEXTS}
    content = server.ask('/v1/embeddings', body)
    expected = server.ask('/embed', {'inputs': TEXTS})
    assert np.array_equal([item['embedding'] for item in content['data']], expected)
    assert [item['index'] for item in content['data']] == list(range(len(TEXTS)))
    num_tokens = sum(len(text.split()) + 2 for text in TEXTS)
    assert content['usage'] == {'prompt_tokens': num_tokens, 'total_tokens': num_tokens}
    assert content['model'] == 'vectors' and content['object'] == 'list'
    coded = server.ask('/v1/embeddings', dict(body, encoding_format='base64', user='me'))
    rows = [np.frombuffer(base64.b64decode(item['embedding']), '<f4') for item in coded['data']]
    assert np.array_equal(np.array(rows), np.array(expected, 'float32'))
    response = server.send('/v1/embeddings', {'model': 'none', 'input': 'good'})
    assert response.status_code == 404 and response.json()['error']['type'] == \
        'invalid_request_error'
    assert 'there is no such model' in response.json()['error']['message']
    assert server.send('/v1/embeddings', dict(body, dimensions=9)).status_code == 422
    assert server.send('/v1/embeddings', dict(body, dimensions=0)).status_code == 422


def test_the_aliases_of_the_routes_of_openai(server):
    body = {'model': 'vectors', 'input': 'good'}
    assert server.ask('/embeddings', body) == server.ask('/v1/embeddings', body)
    assert server.ask('/models') == server.ask('/v1/models')
    for keys, status, message in (
            ({'model': 'none'}, 404, 'model "none": there is no such model'),
            ({'input': 3}, 400, 'input: 3 found, expected '),
            ({'input': []}, 400, 'no text in the request'),
            ({'dimensions': 9}, 422, 'dimensions 9: ')):
        responses = [server.send(path, dict(body, **keys))
                     for path in ('/embeddings', '/v1/embeddings')]
        assert [response.status_code for response in responses] == [status] * 2
        assert responses[0].json() == responses[1].json()
        content = responses[0].json()['error']
        assert content['message'].startswith(message) and content['code'] == status
        assert content['type'] == 'invalid_request_error' and content['param'] is None
    response = server.send('/models', {})
    assert response.status_code == 405 and response.json()['error']['message'] == (
        '/models does not support POST')


def test_times_are_in_the_headers(server):
    """In milliseconds."""
    lock = contextlib.ExitStack()
    lock.enter_context(NETWORK_LOCK)
    started = time.monotonic()
    with servers.running_request(server, '/embed', {'inputs': ['good', 'the film']}) as request:
        time.sleep(1)
        lock.close()
    milliseconds = 1000 * (time.monotonic() - started)
    headers = request.response.headers
    parts = [int(headers['x-%s-time' % name]) for name in ('tokenization', 'queue', 'inference')]
    assert 800 < parts[2] <= int(headers['x-total-time']) <= milliseconds
    assert min(parts) >= 0 and abs(sum(parts) - int(headers['x-total-time'])) <= 2
    assert headers['x-compute-tokens'] == '7' and 'x-truncated' not in headers


# Classes, scores, ranks

def test_predict(server):
    records = server.pipeline('classes')(TEXTS)
    results = server.ask('/predict', {'inputs': [[text] for text in TEXTS], 'model': 'classes'})
    for record, labels in zip(records, results, strict=True):
        assert {item['label']: item['score'] for item in labels} == pytest.approx(
            record.probabilities, abs=TOLERANCE)
        assert labels[0]['label'] == record.label
        assert [item['score'] for item in labels] == sorted(
            (item['score'] for item in labels), reverse=True)
    single = server.ask('/predict', {'inputs': TEXTS[0], 'model': 'classes'})
    assert single == [{'label': item['label'], 'score': pytest.approx(item['score'])}
                      for item in results[0]]
    raw = server.ask('/predict', {'inputs': TEXTS[0], 'model': 'classes', 'raw_scores': True})
    powers = np.exp([item['score'] for item in raw])
    assert powers / powers.sum() == pytest.approx([item['score'] for item in single])


def test_predict_pairs(server):
    pairs = list(zip(TEXTS[:20], TEXTS[20:40]))
    records = server.pipeline('classes')([(a[:50], b[:50]) for a, b in pairs])
    results = server.ask('/predict', {'inputs': [[a[:50], b[:50]] for a, b in pairs]})
    assert [labels[0]['label'] for labels in results] == [record.label for record in records]
    assert server.ask('/predict', {'inputs': [pairs[0][0][:50], pairs[0][1][:50]]})[0] == \
        pytest.approx(results[0][0], abs=TOLERANCE)


def test_predict_a_mixture(server):
    """A batch of texts and pairs is answered as each of them alone."""
    batch = [[TEXTS[0][:50]], [TEXTS[1][:50], TEXTS[2][:50]], [TEXTS[3][:50]]]
    results = server.ask('/predict', {'inputs': batch})
    for item, labels in zip(batch, results, strict=True):
        (alone,) = server.ask('/predict', {'inputs': [item]})
        assert [label['label'] for label in labels] == [label['label'] for label in alone]
        assert [label['score'] for label in labels] == pytest.approx(
            [label['score'] for label in alone], abs=TOLERANCE)
    assert server.send('/predict', {'inputs': [['a'], ['a', 'b', 'c']]}).status_code == 422


def test_predict_several_labels_and_scores(server):
    records = server.pipeline('labels')(TEXTS)
    results = server.ask('/predict', {'inputs': [[text] for text in TEXTS], 'model': 'labels'})
    for record, labels in zip(records, results, strict=True):
        assert {item['label']: item['score'] for item in labels} == pytest.approx(
            record.probabilities, abs=TOLERANCE)
    scores = server.ask('/predict', {'inputs': [[text] for text in TEXTS], 'model': 'scores'})
    assert [item[0]['score'] for item in scores] == pytest.approx(
        [record.score for record in server.pipeline('scores')(TEXTS)], abs=TOLERANCE)


def test_rerank(server):
    texts = list(dict.fromkeys(make_texts(200, 2, 20)))
    body = {'query': 'the film', 'texts': texts}
    ranking = server.pipeline('ranks').rank('the film', texts)
    results = server.ask('/rerank', body)
    assert [item['score'] for item in results] == pytest.approx(
        [document.score for document in ranking], abs=TOLERANCE)
    assert set(results[0]) == {'index', 'score'}
    scores = {document.document: document.score for document in ranking}
    for item in server.ask('/rerank', dict(body, return_text=True)):
        assert texts[item['index']] == item['text']
        assert item['score'] == pytest.approx(scores[item['index']], abs=TOLERANCE)
    raw = server.ask('/rerank', dict(body, raw_scores=True))
    assert 1 / (1 + np.exp([-item['score'] for item in raw])) == pytest.approx(
        [item['score'] for item in results], abs=TOLERANCE)


def test_rerank_in_the_form_of_cohere(server):
    texts = make_texts(200, 2, 20)
    ranking = server.pipeline('ranks').rank('the film', texts, top_k=10)
    content = server.ask('/v1/rerank', {'query': 'the film', 'documents': texts, 'top_n': 10,
                                        'return_documents': True})
    assert [item['relevance_score'] for item in content['results']] == pytest.approx(
        [document.score for document in ranking], abs=TOLERANCE)
    for item in content['results']:
        assert item['document']['text'] == texts[item['index']]
    assert content['model'] == 'ranks' and content['usage']['total_tokens'] > 200


@pytest.mark.parametrize('name, path, body', [
    ('vectors', '/embed', {'inputs': TEXTS[:3]}),
    ('classes', '/predict', {'inputs': TEXTS[0]}),
    ('ranks', '/rerank', {'query': 'good', 'texts': ['the film', 'the plot']}),
    ('answers', '/answer', {'question': 'good', 'documents': TEXTS[0]}),
    ('tags', '/entities', {'inputs': TEXTS[:3]}),
    ('masks', '/fill', {'inputs': 'the [MASK]'})])
def test_the_own_task_of_a_model(server, name, path, body):
    expected = server.ask(path, dict(body, model=name))
    for own_path in ('/', '/invocations'):
        assert server.ask(own_path, dict(body, model=name)) == expected
    message = error(server, '/', {'model': name, 'nothing': 1}, 422)
    assert message.startswith('query: ' if name == 'ranks' else 'question: ' if name == 'answers'
                              else 'inputs: ')


# Answers, entities, words

def test_answer(server):
    pipeline = server.pipeline('answers')
    for question, document in zip(make_texts(200, 3, 5), make_texts(200, 4, 80)):
        expected = pipeline(question, document)
        content = server.ask('/answer', {'question': question, 'documents': document})
        assert content['answer'] == expected.answer
        assert content['answers'] == [pytest.approx(item._asdict(), abs=TOLERANCE)
                                      for item in expected.answers]
        assert not content['no_answer'] and content['no_answer_probability'] is None
    response = server.send('/answer', {'question': 'good', 'documents': 'the film'})
    assert response.headers['x-compute-tokens'] == '6'      # question, document, special tokens


def test_answer_in_several_documents(server):
    documents = make_texts(5, 5)
    expected = server.pipeline('answers')('the film', documents, top_k=7)
    content = server.ask('/answer', {'question': 'the film', 'documents': documents, 'top_k': 7})
    assert len(content['answers']) == 7
    for item, answer in zip(content['answers'], expected.answers):
        assert item == pytest.approx(answer._asdict(), abs=TOLERANCE)
        assert documents[item['document']][item['start']:item['end']] == item['answer']


@pytest.mark.parametrize('aggregation', ('none', 'simple', 'first', 'average', 'max'))
def test_entities(server, aggregation):
    texts = ['\U0001f600 ' + text for text in make_texts(200, 6, 80)]
    expected = server.pipeline('tags')(texts, aggregation)
    content = server.ask('/entities', {'inputs': texts, 'aggregation': aggregation})
    assert sum(map(len, expected)) > 200
    for items, records in zip(content['entities'], expected, strict=True):
        assert items == [pytest.approx(record._asdict(), abs=TOLERANCE) for record in records]


def test_entities_of_no_text(server):
    assert server.ask('/entities', {'inputs': ['', 'good']})['entities'][0] == []


def test_fill(server):
    rng = random.Random(7)
    texts = []
    for text in make_texts(200, 8):
        words = text.split()
        words.insert(rng.randrange(len(words)), '[MASK]')
        texts.append(' '.join(words))
    texts[3] += ' [MASK]'
    expected = server.pipeline('masks')(texts, top_k=3)
    content = server.ask('/fill', {'inputs': texts, 'top_k': 3})
    for text, masks, result in zip(texts, content['masks'], expected, strict=True):
        result = result if isinstance(result[0], list) else [result]
        assert [[word['word'] for word in mask['words']] for mask in masks] == \
            [[word.word for word in words] for words in result]
        assert [word['score'] for mask in masks for word in mask['words']] == pytest.approx(
            [word.score for words in result for word in words], abs=TOLERANCE)
        assert [text[mask['start']:mask['end']] for mask in masks] == ['[MASK]'] * len(result)
        assert [mask['start'] for mask in masks] == [
            start for start in range(len(text)) if text.startswith('[MASK]', start)]
    targets = server.ask('/fill', {'inputs': texts[0], 'targets': ['bad', 'good']})['masks']
    assert {word['word'] for word in targets[0][0]['words']} == {'bad', 'good'}
    assert error(server, '/fill', {'inputs': ['[MASK]', 'good']}, 422) == \
        'text 1: no [MASK] in the text: write it where a word is missing'


# Tokens

def test_tokenize_and_decode(server):
    text = '\U0001f600 The films.'
    tokens, = server.ask('/tokenize', {'inputs': text})
    assert [token['text'] for token in tokens] == [
        '[CLS]', '\U0001f600', 'The', 'film', 's', '.', '[SEP]']
    assert [token['special'] for token in tokens] == [True] + 5 * [False] + [True]
    for token in tokens[1:-1]:
        assert text[token['start']:token['stop']] == token['text']
    assert tokens[0]['start'] is None and tokens[3]['id'] == tiny.TOKENS.index('film')
    bare, = server.ask('/tokenize', {'inputs': [text], 'add_special_tokens': False})
    assert bare == tokens[1:-1]
    assert server.ask('/decode', {'ids': [token['id'] for token in tokens[2:]]}) == [
        'the films.']
    assert server.ask('/decode', {'ids': [[2, 5], [6]], 'skip_special_tokens': False}) == [
        '[CLS] good', 'fine']
    assert error(server, '/decode', {'ids': [99]}, 422).startswith('ids 0: token id 99')


# Limits and errors

def error(server, path, body, status):
    """The message of the error that a body gets."""
    response = server.send(path, body)
    assert response.status_code == status, response.text
    content = response.json()
    return content['error'] if isinstance(content['error'], str) else content['error']['message']


def test_a_long_text_is_refused(server):
    message = 'text 1 has 102 tokens, special tokens included, but the model reads 40: shorten ' \
        'it, or send "truncate": true'
    assert error(server, '/embed', {'inputs': ['good', LONG_TEXT]}, 422) == message
    assert error(server, '/v1/embeddings', {'input': ['good', LONG_TEXT], 'model': 'vectors'},
                 422) == message
    assert error(server, '/embed', {'inputs': [LONG_TEXT, LONG_TEXT]}, 422) == \
        'text 0 has 102 tokens, special tokens included, but the model reads 40 (2 texts are too ' \
        'long): shorten it, or send "truncate": true'
    assert 'has 104 tokens' in error(server, '/rerank', {'query': 'a', 'texts': [LONG_TEXT]}, 422)
    assert 'has 102 tokens' in error(server, '/predict', {'inputs': LONG_TEXT}, 422)
    assert error(server, '/answer', {'question': LONG_TEXT, 'documents': 'good'}, 422) == \
        'question 0 has 100 tokens, but the model reads 20: shorten it, or send "truncate": true'


def test_a_long_text_is_cut_if_the_request_says_so(server):
    response = server.send('/embed', {'inputs': ['good', LONG_TEXT], 'truncate': True})
    assert response.headers['x-truncated'] == '[{"index":1,"tokens":102,"kept":40}]'
    assert response.headers['x-truncated-count'] == '1'
    assert response.headers['x-compute-tokens'] == '43'
    assert np.allclose(response.json()[1], server.pipeline('vectors')(LONG_TEXT), atol=TOLERANCE)
    content = server.ask('/v1/embeddings', {'input': [LONG_TEXT], 'model': 'vectors',
                                            'truncate': True})
    assert content['truncated'] == [{'index': 0, 'tokens': 102, 'kept': 40}]
    assert content['usage']['total_tokens'] == 40
    content = server.ask('/answer', {'question': LONG_TEXT, 'documents': 'good', 'truncate': True})
    assert content['truncated'] == [{'index': 0, 'tokens': 100, 'kept': 20}]
    content = server.ask('/fill', {'inputs': '[MASK] ' + LONG_TEXT, 'truncate': True})
    assert content['truncated'][0]['kept'] == 40


def test_a_long_text_is_cut_at_its_beginning_if_the_request_says_so(server):
    text = LONG_TEXT + 'bad film'
    options = {'truncate': True, 'truncation_direction': 'left'}
    end = ' '.join(text.split()[-38:])
    for body, key in (({'inputs': [text]}, 'inputs'), ({'inputs': [[5] * 99]}, 'inputs')):
        response = server.send('/embed', dict(body, **options))
        assert response.headers['x-truncated-count'] == '1', key
    assert np.allclose(server.ask('/embed', dict(inputs=text, **options)),
                       server.pipeline('vectors')([end]), atol=TOLERANCE)
    assert np.allclose(server.ask('/embed_all', dict(inputs=text, **options)),
                       server.ask('/embed_all', {'inputs': end}), atol=TOLERANCE)
    assert server.ask('/predict', dict(inputs=text, **options))[0] == pytest.approx(
        server.ask('/predict', {'inputs': end})[0], abs=TOLERANCE)
    assert server.ask('/rerank', dict(query='so', texts=[text], **options))[0] == pytest.approx(
        server.ask('/rerank', {'query': 'so', 'texts': [' '.join(text.split()[-36:])]})[0],
        abs=TOLERANCE)


def test_documents_are_never_cut(server):
    document = 'bad ' * 300 + 'good'
    content = server.ask('/answer', {'question': 'the film', 'documents': document, 'top_k': 20})
    assert 'truncated' not in content
    assert max(item['end'] for item in content['answers']) > 900
    content = server.ask('/entities', {'inputs': document})
    assert content['entities'][0][-1]['end'] > 900


@pytest.mark.parametrize('body, status, message', [
    ({'inputs': []}, 400, 'no text in the request'),
    ({'inputs': 3}, 422, 'inputs: 3 found, expected a text, a list of token ids or a list of '
                         'texts'),
    ({}, 422, 'inputs: Field required'),
    ({'inputs': [None]}, 422, 'inputs[0]: null found, expected '),
    ({'inputs': 'a', 'truncate': 'true'}, 422,
     'truncate: "true" found, expected true or false'),
    ({'inputs': 'a', 'model': 'vectros'}, 404, 'Did you mean "vectors"?'),
    ({'inputs': 'a', 'model': 'tags'}, 424, '"tags" is for token_classification: this needs a '
                                            'model for embedding'),
    ({'inputs': 'a', 'prompt_name': 'query'}, 422, 'this model has no prompts'),
])
def test_errors(server, body, status, message):
    assert message in error(server, '/embed', body, status)


@pytest.mark.parametrize('data', [
    b'{"inputs": "a"', b'', b'[', b'\xff', b'nothing', b'{"inputs": ' + b'[' * 100000,
    b'{"inputs": "\\ud800"}', b'{"inputs": NaN}', b'null', b'{"inputs": ["a", {}]}'])
def test_bodies_that_are_no_requests(server, data):
    response = server.send('/embed', data=data, headers={'Content-Type': 'application/json'})
    assert response.status_code in (400, 422), response.text
    assert response.json()['error_type'] == 'Validation' and response.json()['error']


def test_the_files_of_the_page(server):
    for path in ('/', '/page/main.js', '/page/page.css'):
        response = server.send(path)
        assert response.status_code == 200 and response.headers['Cache-Control'] == 'no-cache'
        assert response.headers['X-Content-Type-Options'] == 'nosniff'
    assert server.session.head(server.url + '/', timeout=60).status_code == 200
    for path in ('/page/none.js', '/page/../server.py', '/page/%2e%2e/server.py'):
        assert server.send(path).status_code == 404
        assert 'there is no path ' in server.send(path).json()['error']


def test_unknown_paths_and_methods(server):
    assert error(server, '/embeddings/x', {}, 404) == 'there is no path /embeddings/x'
    response = server.send('/embed')
    assert response.status_code == 405 and response.json()['error'] == '/embed does not support GET'
    assert error(server, '/v2/models/none/infer', {'inputs': []}, 404).startswith(
        'model "none": there is no such model. The models are vectors, ')


# What one request may ask for

def test_a_query_is_tokenized_once(server, monkeypatch):
    tokenizer, calls = server.pipeline('ranks').tokenizer, []
    encode = tokenizer.encode
    monkeypatch.setattr(tokenizer, 'encode', lambda texts: calls.append(texts) or encode(texts))
    server.ask('/rerank', {'query': 'good', 'texts': ['bad', 'fine', 'bad']})
    assert calls == [['good'], ['bad', 'fine']]


def test_cut_documents_are_named_by_their_places(server):
    body = {'query': 'so', 'documents': ['bad', 'bad', 'bad', LONG_TEXT]}
    assert error(server, '/v1/rerank', body, 422).startswith('text 3 has 104 tokens')
    content = server.ask('/v1/rerank', dict(body, truncate=True))
    assert [item['index'] for item in content['truncated']] == [3]


def test_words_of_all_masks_are_bounded(server):
    body = {'inputs': ['[MASK] ' * 30] * 10, 'top_k': 100}
    assert error(server, '/fill', body, 413) == (
        '30000 words requested (masks × top_k), expected at most 20000: lower top_k, or send '
        'several requests')


def test_truncation_of_the_protocol(server):
    def infer(truncate):
        return error(server, '/v2/models/vectors/infer', {
            'parameters': {'truncate': truncate},
            'inputs': [{'name': 'text', 'shape': [1], 'datatype': 'BYTES', 'data': [LONG_TEXT]}]},
            422 if truncate is False else 400)
    assert 'has 102 tokens' in infer(False)
    assert infer('yes') == 'parameters.truncate: "yes" found, expected true or false'


def test_a_name_as_on_the_hub(model_dirs):
    path = model_dirs[0].partition('=')[2]
    with servers.running_server(('owner/name=' + path,)) as running:
        assert running.ask('/v2/models/owner/name')['name'] == 'owner/name'
        assert running.ask('/v2/models/owner/name/ready')['ready']
        assert running.ask('/v2/models/owner/name/versions/1')['versions'] == ['1']
        content = running.ask('/v2/models/owner/name/infer', {'inputs': [
            {'name': 'text', 'shape': [1], 'datatype': 'BYTES', 'data': ['good']}]})
        assert content['model_name'] == 'owner/name'
        assert running.ask('/embed', {'inputs': 'good', 'model': 'owner/name'})
