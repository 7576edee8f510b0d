"""Keys, logs, limits of bodies, health, metrics, models that are replaced, the command itself."""
import json
import logging
import pathlib
import re
import shutil
import signal
import socket
import threading
import time

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support import raw_http, servers, tiny
from support.processes import spawn
from support.servers import wait_until

from bert.errors import UserError
from bert.flags.options import make_options
from bert.flags.serving import ServingOptions
from bert.pipelines.inference import NETWORK_LOCK
from bert.serving import hosting, serve, service
from bert.serving import server as server_module
from bert.serving.middleware import read_keys
from bert.serving.routes import operation

KEY = 'first-secret'


@pytest.fixture(scope='module')
def own_model(tmp_path_factory):
    """A model that the tests of this file may change."""
    return tiny.write_checkpoint(tmp_path_factory.mktemp('own') / 'own')


@pytest.fixture(scope='module')
def locked(own_model, tmp_path_factory):
    """A server that asks for a key, with small limits."""
    keys = tmp_path_factory.mktemp('keys') / 'keys'
    keys.write_text('%s\n\n second-secret \n' % KEY)
    with servers.running_server((own_model,), key=KEY, api_key_file=str(keys), max_bytes=2000,
                                body_timeout=1.0, cors_origins=('https://a.org',)) as running:
        yield running


def open_socket(server):
    host, port = server.url.removeprefix('http://').split(':')
    return socket.create_connection((host, int(port)), timeout=20)


def answer_of(connection):
    """(status, content) of an answer; the connection is read to its end."""
    data = b''
    while part := connection.recv(65536):
        data += part
    head, _, body = data.partition(b'\r\n\r\n')
    return int(head.split()[1]), json.loads(body)


# Keys and logs

@pytest.mark.parametrize('headers, status', [
    ({'Authorization': 'Bearer ' + KEY}, 200), ({'Authorization': 'bearer second-secret'}, 200),
    ({'Authorization': 'Bearer wrong'}, 401), ({'Authorization': 'Bearer '}, 401),
    ({'Authorization': ''}, 401), ({'Authorization': 'Basic ' + KEY}, 401),
    ({'Authorization': 'Bearer \xe4'}, 401)])
def test_keys(locked, headers, status):
    response = locked.send('/embed', {'inputs': 'good'}, headers=headers)
    assert response.status_code == status
    if status == 401:
        assert response.json()['error_type'] == 'Unauthorized'
        assert response.headers['WWW-Authenticate'] == 'Bearer'


@pytest.mark.parametrize('path, status', [
    ('/health', 200), ('/ping', 200), ('/metrics', 200), ('/v2/health/live', 200),
    ('/v2/health/ready', 200), ('/', 200), ('/docs', 200), ('/openapi.json', 200),
    ('/v1/models', 401), ('/info', 401), ('/embed?key=' + KEY, 401), ('/nothing', 401)])
def test_what_needs_a_key(locked, path, status):
    response = locked.send(path, headers={'Authorization': ''})
    assert response.status_code == status
    if path == '/v1/models':
        assert response.json()['error']['type'] == 'authentication_error'


def test_the_files_of_the_description_need_no_key(locked):
    """Without them the page /docs is empty."""
    page = locked.send('/docs', headers={'Authorization': ''}).text
    paths = re.findall(r'(?:src|href)="(/[^"]+)"', page)
    assert len(paths) >= 3 and all(path.startswith('/static-offline-docs/') for path in paths)
    for path in paths:
        response = locked.send(path, headers={'Authorization': ''})
        assert response.status_code == 200 and len(response.content) > 500, path


def access_lines(caplog):
    """Without those of the test before, whose last line may come late."""
    return sorted((record.getMessage() for record in caplog.records
                   if record.name == 'bert.serving.access'
                   and '/static-offline-docs' not in record.getMessage()),
                  key=lambda line: line.split()[3])


def test_the_log_has_no_texts_and_no_keys(locked, caplog):
    with caplog.at_level(logging.INFO):
        locked.send('/embed?secret-in-url', {'inputs': ['the good film', 'bad']})
        locked.send('/embed', {'inputs': 'secret-text'}, headers={'Authorization': 'Bearer nope'})
        locked.send('/x%0ay\u4e2d', {})
        locked.send('/' + KEY + '/embed', {}, headers={'Authorization': ''})
        locked.send('/v2/models/secret/infer', {}, headers={'Authorization': ''})
        locked.send('/page/secret.js')
        locked.send('/docs')
        wait_until(lambda: len(access_lines(caplog)) == 7)     # a line comes after its answer
    lines = access_lines(caplog)
    assert sorted(line.rsplit(' ', 4)[0] for line in lines) == [
        '127.0.0.1 GET /docs 200', '127.0.0.1 GET /page 404',
        '127.0.0.1 POST /embed 200', '127.0.0.1 POST /embed 401',
        '127.0.0.1 POST /v2/models/{name:path}/infer 401',
        '127.0.0.1 POST other 401', '127.0.0.1 POST other 404']
    lines = [line for line in lines if '/embed' in line]
    assert lines[0].endswith('texts=2 tokens=8') and lines[1].endswith('texts=- tokens=-')
    for secret in ('secret', 'nope', 'good', KEY):
        assert secret not in caplog.text


def test_no_access_log(own_model, caplog):
    options, _ = make_options(ServingOptions, {'model_dir': (own_model,), 'no_access_log': True})
    assert not options.access_log
    with servers.running_server((own_model,), access_log=False) as running, \
            caplog.at_level(logging.INFO):
        running.ask('/embed', {'inputs': 'good'})
        assert running.send('/nothing').status_code == 404
    assert not access_lines(caplog)


@pytest.mark.parametrize('content, message', [
    (b'\n \n', 'no key in the file: expected one key per line'), (b'\xff\xfe', 'it is not UTF-8'),
    (None, 'No such file or directory')])
def test_files_without_keys(tmp_path, content, message):
    if content is not None:
        (tmp_path / 'keys').write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_keys(tmp_path / 'keys')


def test_other_sites_need_a_permission(locked, server):
    def permission(running, origin):
        return running.send('/health', headers={'Origin': origin}).headers.get(
            'Access-Control-Allow-Origin')
    assert permission(locked, 'https://a.org') == 'https://a.org'
    assert permission(locked, 'https://b.org') is None
    assert permission(server, 'https://a.org') is None
    for origin, status in (('https://a.org', 200), ('https://b.org', 400)):
        response = locked.session.options(locked.url + '/embed', timeout=60, headers={
            'Origin': origin, 'Access-Control-Request-Method': 'POST'})
        assert response.status_code == status
    assert response.json() == {'error_type': 'Forbidden', 'error': (
        'Disallowed CORS origin, in a request of a page of https://b.org: the server '
        'takes none from pages of this site')}
    refused = locked.send('/embed', {'inputs': 'good'},
                          headers={'Authorization': '', 'Origin': 'https://a.org'})
    assert refused.status_code == 401       # which the page can read
    assert refused.headers['Access-Control-Allow-Origin'] == 'https://a.org'


# Bodies

def test_a_body_that_is_too_long(locked):
    message = 'the body has more than 2000 bytes: send several requests'
    response = locked.send('/embed', {'inputs': 'good ' * 1000})
    assert response.status_code == 413 and response.json()['error'] == message
    response = locked.send('/embed', data=iter([b'x' * 1000] * 5))      # chunks, without a length
    assert response.status_code == 413 and response.json()['error'] == message


def test_a_body_that_is_too_slow(locked):
    with open_socket(locked) as connection:
        connection.sendall(b'POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n'
                           b'Authorization: Bearer %s\r\n\r\n{' % KEY.encode())
        status, content = answer_of(connection)
    assert status == 408 and content['error'] == 'the body did not arrive within 1 s'


def test_clients_that_vanish(locked):
    for part in (b'POST /embed HTTP/1.1\r\nHo', b'POST /embed HTTP/1.1\r\nHost: a\r\n'
                 b'Authorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{' % KEY.encode()):
        for _ in range(20):
            with open_socket(locked) as connection:
                connection.sendall(part)
    body = json.dumps({'inputs': ['good'] * 200}).encode()
    for _ in range(20):
        with open_socket(locked) as connection:
            connection.sendall(b'POST /embed HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n'
                               b'Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s'
                               % (KEY.encode(), len(body), body))
    assert locked.ask('/embed', {'inputs': 'good'})
    wait_until(lambda: not locked.service.engine.queue.num_texts())


# Health, metrics, information

def forget_successes(running):
    running.service.engine._successes.clear()


def test_health_computes_a_text_if_none_succeeded_lately(locked):
    runner = locked.service.host.models['own'].runner
    forget_successes(locked)
    assert locked.ask('/health') == {'status': 'ok'}
    assert time.monotonic() - locked.service.engine.last_success(runner) < 5


def test_a_model_that_fails_is_unhealthy(own_model, locked, monkeypatch):
    def fail(features):
        raise RuntimeError('broken')
    runner = locked.pipeline('own').plan(['good']).runner
    monkeypatch.setattr(runner, 'compute_batch', fail)
    assert locked.send('/embed', {'inputs': 'good'}).status_code == 424
    forget_successes(locked)
    response = locked.send('/health')
    assert response.status_code == 503
    assert response.json() == {'error': 'model "own" does not answer: the model failed: broken',
                               'error_type': 'Unhealthy'}
    assert locked.send('/v2/health/ready').status_code == 503
    assert locked.send('/v2/models/own/ready').status_code == 503
    monkeypatch.undo()
    assert locked.ask('/health') == {'status': 'ok'}


def test_a_model_that_takes_too_long_is_unhealthy(locked, monkeypatch):
    monkeypatch.setattr(service, 'PROBE_SECONDS', 1)
    forget_successes(locked)
    with NETWORK_LOCK:
        response = locked.send('/health')
    assert response.status_code == 503 and response.json() == {
        'error': 'model "own" does not answer: no answer within 1 s', 'error_type': 'Unhealthy'}
    assert locked.ask('/health') == {'status': 'ok'}


def test_weights_that_are_not_finite(tmp_path):
    path = pathlib.Path(tiny.write_checkpoint(tmp_path / 'nan'))
    tensors = load_file(path / 'model.safetensors')
    tensors['bert.embeddings.LayerNorm.bias'][:] = np.nan
    save_file(tensors, path / 'model.safetensors', {'format': 'pt'})
    with pytest.raises(UserError, match='not finite'):
        hosting.ModelHost(ServingOptions(model_dir=(str(path),), threads=1))


def test_metrics(locked):
    def count(name):
        lines = locked.send('/metrics').text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))
    names = ('te_request_count{method="/embed"}', 'te_request_success{method="/embed"}',
             'te_request_failure{err="Empty"}', 'te_request_input_length_count',
             'te_request_duration_count', 'te_batch_next_tokens_sum', 'te_embed_count ',
             'te_embed_success ')
    before = [count(name) for name in names]
    locked.ask('/embed', {'inputs': ['good', 'the film']})
    locked.send('/embed', {'inputs': []})
    locked.send('/embed', {'inputs': ['good', 'the film', 'film ' * 100]})     # too long
    locked.send('/no/such/path')
    after = [count(name) for name in names]
    assert after[:4] == [before[0] + 3, before[1] + 1, before[2] + 1, before[3] + 2]
    assert after[6:] == [before[6] + 2 + 3, before[7] + 2]
    assert after[4] > before[4] and after[5] >= before[5] + 7
    assert count('te_embed_queue_duration_count') == count('te_request_queue_duration_count')
    assert count('te_predict_duration_count') == 0
    assert '/no/such/path' not in locked.send('/metrics').text


def test_info(locked, server):
    info = locked.ask('/info')
    assert info['model_type'] == {'embedding': {'pooling': 'mean'}}
    assert info['max_input_length'] == 40 and info['payload_limit'] == 2000
    assert info['served_model_name'] == 'own' and info['model_dtype'] == 'float32'
    assert not info['auto_truncate']
    assert server.ask('/info?model=classes')['model_type'] == {'classifier': {
        'id2label': {'0': 'bad', '1': 'fine', '2': 'good'},
        'label2id': {'bad': 0, 'fine': 1, 'good': 2}}}
    assert server.ask('/info?model=ranks')['model_type'] == {'reranker': {
        'id2label': {'0': 'ranks'}, 'label2id': {'ranks': 0}}}


def test_truncation_of_the_server(own_model):
    with servers.running_server((own_model,), auto_truncate=True) as running:
        response = running.send('/embed', {'inputs': 'good ' * 100})
        assert response.status_code == 200 and response.headers['x-truncated-count'] == '1'
        assert running.send('/embed', {'inputs': 'good ' * 100,
                                       'truncate': False}).status_code == 422


# Replacing a model

def test_reload(locked, own_model):
    path = pathlib.Path(own_model)
    old = locked.ask('/embed', {'inputs': 'good'})
    tiny.write_checkpoint(path, seed=1)
    assert locked.ask('/embed', {'inputs': 'good'}) == old
    assert locked.ask('/admin/reload', {'model': 'own'})['model'] == 'own'
    new = locked.ask('/embed', {'inputs': 'good'})
    assert not np.allclose(new, old, atol=0.01)
    shutil.rmtree(path)
    assert locked.ask('/embed', {'inputs': 'good'}) == new      # its weights are in the memory
    for message in ('%s: no such file or folder' % path,
                    '%s: no checkpoint in this folder: name the folder of a run of '
                    'finetune_classifier.py, finetune_ner.py or finetune_squad.py, or of a '
                    'transformers model of this kind' % path):
        response = locked.send('/admin/reload', {})
        assert response.status_code == 424
        assert response.json()['error'] == 'the old model stays in use: ' + message
        path.mkdir(exist_ok=True)
    assert locked.ask('/embed', {'inputs': 'good'}) == new
    tiny.write_checkpoint(path)
    locked.ask('/admin/reload', {})
    assert np.allclose(locked.ask('/embed', {'inputs': 'good'}), old, atol=1e-6)


def test_a_reload_loses_no_request(locked):
    """Clients send requests all the time while the model is opened again and again."""
    answers, is_over = [], threading.Event()

    def send():
        while not is_over.is_set():
            answers.append(servers.RunningServer(locked.url, None, KEY).send(
                '/embed', {'inputs': ['good', 'the film']}))
    expected = locked.ask('/embed', {'inputs': ['good', 'the film']})
    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    counts = []
    for _ in range(4):
        locked.ask('/admin/reload', {})
        counts.append(len(answers))
    is_over.set()
    for thread in threads:
        thread.join(30)
    assert counts == sorted(set(counts)) and counts[0] > 0      # answered during each of them
    assert {answer.status_code for answer in answers} == {200}
    assert all(np.allclose(answer.json(), expected, atol=1e-6) for answer in answers)


def test_a_cause_without_flags():
    for message, cause in (
            ('--model_dir /a--b: no such folder', '/a--b: no such folder'),
            ('a.bin: no config.json: put it there', 'a.bin: no config.json: put it there'),
            ('a: wrong shape: check --bert_model', 'the log of the server says why'),
            ('a: fetch it (--fetch a)', 'the log of the server says why')):
        assert operation.cause_without_flags(UserError(message, fix='use --x')) == cause


def test_reload_needs_a_key(locked, server):
    assert locked.send('/admin/reload', {}, headers={'Authorization': ''}).status_code == 401
    response = server.send('/admin/reload', {})
    assert response.status_code == 403 and response.json()['error'] == (
        'models can be replaced only on a server that asks for keys')


# Names of models

def test_names_of_models(tmp_path):
    (tmp_path / 'a=b').mkdir()
    path = str(tmp_path / 'a=b')
    assert hosting.parse_models(['first=%s' % tmp_path, path, 'owner/name', 'x=owner/name']) == {
        'first': str(tmp_path), 'a=b': path, 'owner/name': 'owner/name', 'x': 'owner/name'}
    for values, message in (([path, path], 'two models have the name "a=b"'),
                            (['=x'], 'NAME=PATH, or a path alone'), (['x='], 'NAME=PATH')):
        with pytest.raises(UserError, match=message):
            hosting.parse_models(values)


def test_kinds_of_models():
    names = ('first', 'second')
    assert hosting.parse_tasks((), names) == {'first': None, 'second': None}
    assert hosting.parse_tasks(('ranking', 'second=fill_mask'), names) == {
        'first': 'ranking', 'second': 'fill_mask'}
    for values in (('ranking', 'fill_mask'), ('first=ranking', 'first=fill_mask')):
        with pytest.raises(UserError, match='it is given twice'):
            hosting.parse_tasks(values, names)
    for value, message in (('fill_maks', 'Did you mean "fill_mask"'),
                           ('frist=ranking', 'there is no model "frist". Did you mean "first"')):
        with pytest.raises(UserError, match=message):
            hosting.parse_tasks((value,), names)


# The command

@pytest.fixture
def tiny_model(tmp_path):
    return tiny.write_checkpoint(tmp_path / 'tiny')


@pytest.mark.process
def test_sigterm_finishes_what_is_under_way(tiny_model):
    texts = ['good ' * 30] * 2000
    with servers.started_server('--model_dir', tiny_model) as (running, process):
        with servers.running_request(running, '/embed', {'inputs': texts}) as request:
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
        log = process.stderr.read()
        process.wait(30)
    assert request.response.status_code == 200 and len(request.response.json()) == len(texts)
    assert process.returncode == 0 and 'all requests that had begun are answered' in log
    assert 'texts=2000' in log and 'Traceback' not in log
    assert 'ending: 1 requests are under way, and get 30 s; a second signal ends at once' in log


def hold_networks(seconds):
    """No network computes meanwhile."""
    with NETWORK_LOCK:
        time.sleep(seconds)


def test_the_last_line_says_whether_requests_were_given_up(own_model, monkeypatch, caplog):
    monkeypatch.setattr(server_module, 'SHUTDOWN_SECONDS', 1)
    with servers.running_server((own_model,)) as running:
        running.ask('/embed', {'inputs': 'good'})
        with caplog.at_level(logging.INFO):
            server_module.log_end(running.service.num_given_up)
        assert caplog.messages[-1] == 'ended: all requests that had begun are answered'
        answers = []
        threads = [threading.Thread(target=hold_networks, args=(4,)), threading.Thread(
            target=lambda: answers.append(raw_http.post(running.url, '/embed',
                                                        {'inputs': 'good'})))]
        for thread in threads:
            thread.start()
            time.sleep(0.5)
    for thread in threads:
        thread.join(10)
    assert running.service.num_given_up == 1
    (answer, _), = answers
    assert answer.status == 503
    assert json.loads(answer.body)['error'] == 'the server ended before it had an answer'
    assert 'Exception in ASGI application' not in caplog.text
    server_module.log_end(running.service.num_given_up)
    assert caplog.messages[-1] == (
        'ended: 1 requests that had begun are not answered, since they took more than 1 s, or a '
        'second signal came')


@pytest.mark.parametrize('host, is_private', [
    (ServingOptions(model_dir=('x',)).host, True), ('localhost', True), ('0.0.0.0', False)])
def test_the_default_address_is_that_of_this_machine_alone(host, is_private):
    with server_module.listen(host, 0) as listener:
        assert server_module.is_loopback(listener) == is_private


@pytest.mark.parametrize('values, message', [
    ({'model_dir': ('nothing-here',)}, 'nothing-here'),
    ({'host': 'no.such.host.invalid'}, '--host no.such.host.invalid --port 8080: '),
    ({'api_key_file': 'none'}, "--api_key_file none: the file can't be read: No such file"),
    ({'task': ('fill_mask',)}, 'has no masked-language-model decoder')])
def test_errors_of_the_command(tiny_model, in_tmp, values, message):
    with pytest.raises(UserError, match=re.escape(message)):
        serve(ServingOptions(**{'model_dir': (tiny_model,), 'threads': 1, **values}), {})


@pytest.mark.parametrize('values, message', [
    ({'model_dir': 'x', 'port': 99999},
     'argument --port: 99999 found, expected a whole number from 0 to 65535'),
    ({'model_dir': ()}, 'model_dir: it is empty'),
    ({}, 'the following arguments are required: --model_dir')])
def test_values_of_options(values, message):
    with pytest.raises(UserError, match=message):
        make_options(ServingOptions, values)


def test_a_port_that_is_taken(tiny_model):
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match='--host 127.0.0.1 --port %d: Address already in use: '
                                            'choose another host or port' % port):
            serve(ServingOptions(model_dir=(tiny_model,), threads=1, port=port), {})


@pytest.mark.process
def test_an_error_is_one_line(tmp_path):
    outcome = spawn('serve.py', '--model_dir', 'nothing-here', cwd=tmp_path)
    assert outcome.code == 2 and outcome.error.startswith('error: ')
    assert 'nothing-here' in outcome.error and 'Traceback' not in outcome.err
