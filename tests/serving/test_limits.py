"""What one request may ask for: texts, targets, words, tokens, numbers of an answer."""
import logging
import threading

import numpy as np
import pytest
from support import raw_http, servers
from support.raw_http import post

from bert.serving.routes import embedding
from bert.serving.token_limit import MAX_WORD, PIECE, exceeds

MAX_TEXTS = 600     # more than are planned in the event loop
MILLION = 1000000
OTHER = ('X-Forwarded-For: 10.0.0.1',)      # another client


@pytest.fixture(scope='module')
def strict(model_dirs):
    """A server that takes few texts."""
    with servers.running_server(model_dirs, task=servers.TASKS, max_texts=MAX_TEXTS) as running:
        yield running


def cause(server, path, body, status):
    """The message of the error that a body gets."""
    response = server.send(path, body)
    assert response.status_code == status, response.text[:500]
    return raw_http.Answer(status, {}, response.content).cause


def tensor(name, texts):
    return {'name': name, 'shape': [len(texts)], 'datatype': 'BYTES', 'data': texts}


# Texts

@pytest.mark.parametrize('path, make_body', [
    ('/embed', lambda texts: {'inputs': texts}), ('/embed_all', lambda texts: {'inputs': texts}),
    ('/v1/embeddings', lambda texts: {'input': texts, 'model': 'vectors'}),
    ('/similarity', lambda texts: {'inputs': {'source_sentence': 'so', 'sentences': texts}}),
    ('/predict', lambda texts: {'inputs': [[text, 'so'] for text in texts], 'model': 'classes'}),
    ('/rerank', lambda texts: {'query': 'so', 'texts': texts}),
    ('/v1/rerank', lambda texts: {'query': 'so', 'documents': texts}),
    ('/answer', lambda texts: {'question': 'so', 'documents': texts}),
    ('/entities', lambda texts: {'inputs': texts}), ('/tokenize', lambda texts: {'inputs': texts}),
    ('/fill', lambda texts: {'inputs': [text + ' [MASK]' for text in texts], 'targets': ['bad']}),
    ('/decode', lambda texts: {'ids': [[5]] * len(texts)}),
    ('/v2/models/ranks/infer', lambda texts: {'inputs': [
        tensor('query', ['so']), tensor('text', texts)]}),
    ('/v2/models/answers/infer', lambda texts: {'inputs': [
        tensor('question', texts), tensor('document', texts)]}),
    ('/v2/models/classes/infer', lambda texts: {'inputs': [
        tensor('text', texts), tensor('text_pair', texts)]})])
def test_only_what_is_listed_counts_as_texts(strict, path, make_body):
    assert strict.send(path, make_body(['good'] * MAX_TEXTS)).status_code == 200
    assert cause(strict, path, make_body(['good'] * (MAX_TEXTS + 1)), 413) == (
        '601 texts in the request, expected at most 600: send several requests')


# Targets and words of masks

def test_targets_are_bounded_and_not_looked_up_in_the_event_loop(strict, monkeypatch):
    pipeline, threads = strict.pipeline('masks'), []
    find = pipeline.find_targets
    monkeypatch.setattr(pipeline, 'find_targets', lambda targets: threads.append(
        threading.current_thread().name) or find(targets))
    body = {'inputs': '[MASK]', 'targets': ['w%d' % i for i in range(MAX_TEXTS)]}
    assert strict.ask('/fill', body)['masks'][0][0]['words'][0]['word'] == '[UNK]'
    strict.ask('/fill', {'inputs': '[MASK]', 'targets': ['bad']})
    assert [name.startswith('planning') for name in threads] == [True, False]
    body['targets'] += ['good']
    assert cause(strict, '/fill', body, 413) == (
        '601 targets in the request, expected at most 600: send several requests')
    answer, seconds = post(strict.url, '/fill', {'inputs': '[MASK]', 'targets': ['a'] * MILLION})
    assert answer.status == 413 and seconds < 5
    assert cause(strict, '/fill', {'inputs': '[MASK]', 'targets': []}, 422) == (
        'targets: no word given: name words, or leave targets out')


def test_replaced_targets_are_in_the_answer_and_not_in_the_log(server, caplog):
    with caplog.at_level(logging.DEBUG):
        content = server.ask('/fill', {'inputs': '[MASK]', 'targets': ['films', 'bad', 'se\ncret']})
    assert content['replaced_targets'] == {'films': 'film', 'se\ncret': '[UNK]'}
    assert {word['word'] for word in content['masks'][0][0]['words']} == {'film', 'bad', '[UNK]'}
    for text in ('films', 'cret', 'replaced'):
        assert text not in caplog.text
    assert 'replaced_targets' not in server.ask('/fill', {'inputs': '[MASK]', 'targets': ['bad']})


def test_words_of_all_masks_are_bounded_on_both_routes(server):
    message = ('%d words requested (masks × top_k), expected at most 20000: lower top_k, or send '
               'several requests')
    texts = ['[MASK] ' * 30] * 10
    assert cause(server, '/fill', {'inputs': texts, 'top_k': 100}, 413) == message % 30000
    assert cause(server, '/v2/models/masks/infer', {'inputs': [
        tensor('text', texts * 14)]}, 413) == message % 21000       # 5 words a mask
    assert server.send('/v2/models/masks/infer', {'inputs': [
        tensor('text', texts)]}).status_code == 200


# Tokens

@pytest.mark.parametrize('path', ['/embed', '/embed_all', '/tokenize', '/entities'])
@pytest.mark.parametrize('text', ['!' * 10 * MILLION, '电' * 2 * MILLION, 'a ' * 5 * MILLION])
def test_tokens_are_counted_before_all_are_made(server, path, text):
    body = {'inputs': text} if path == '/tokenize' else {'inputs': text, 'truncate': True}
    with servers.running_request(server, path, body) as request:
        while request.is_alive():
            answer, seconds = post(server.url, '/embed', {'inputs': 'good'}, headers=OTHER)
            assert answer.status == 200 and seconds < 5
    assert request.response.status_code == 413
    assert request.response.json()['error'] == (
        'more than 1000000 tokens in the request: send several requests')


def test_a_low_limit_keeps_long_texts_out_of_the_event_loop(model_dirs, monkeypatch):
    with servers.running_server(model_dirs[:1], max_tokens=100) as running:
        tokenizer, threads = running.pipeline('vectors').tokenizer, []
        encode = tokenizer.encode
        monkeypatch.setattr(tokenizer, 'encode', lambda texts: threads.append(
            threading.current_thread().name) or encode(texts))
        assert cause(running, '/embed', {'inputs': '!' * 100000}, 413) == (
            'more than 100 tokens in the request: send several requests')
        assert threads and all(name.startswith('planning') for name in threads)


def test_long_texts_of_few_tokens_are_read(server):
    long_word = 'a' * 3 * MILLION       # one unknown token
    tokens, = server.ask('/tokenize', {'inputs': long_word})
    assert [token['text'] for token in tokens[1:-1]] == [long_word]
    assert len(server.ask('/embed', {'inputs': [' ' * 2 * MILLION + 'good']})) == 1


def test_pieces_never_count_too_much(server):
    tokenizer = server.pipeline('vectors').tokenizer
    for text in ('films' * 900, '!' * (2 * PIECE), 'good films ' * 1000, '电a' * PIECE):
        count = len(tokenizer.encode([text])[0])
        assert not exceeds([text], tokenizer, count) and not exceeds([text, [5]], tokenizer,
                                                                     count + 1)
    assert exceeds(['!' * (2 * PIECE)], tokenizer, 2 * (PIECE - MAX_WORD) - 1)
    assert exceeds(['good', [5, 6]], tokenizer, 2) and exceeds([[5, 6]], None, 1)


# Numbers of an answer

def test_the_vectors_of_all_tokens_are_bounded(server, monkeypatch):
    width = server.pipeline('vectors').width
    monkeypatch.setattr(embedding, 'MAX_VALUES', 12 * width)
    rows = server.ask('/embed_all', {'inputs': ['good ' * 4, [5] * 4]})
    assert np.shape(rows) == (2, 6, width)
    assert cause(server, '/embed_all', {'inputs': ['good ' * 4, 'bad ' * 5]}, 413) == (
        '104 numbers requested (tokens × width), expected at most 96: send several requests')
    assert cause(server, '/embed_all', {'inputs': ['good ' * 4, [5] * 5]}, 413).startswith('104 ')
