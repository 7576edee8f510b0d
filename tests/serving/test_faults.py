"""Broken requests, bad clients, full disks: the server stays up, says why, and answers others."""
import asyncio
import json
import pathlib
import re
import shutil
import signal
import threading
import time

import numpy as np
import pytest
import requests
from safetensors.numpy import load_file, save_file
from support import raw_http, servers, tiny
from support.bodies import BODIES, places, replaced
from support.raw_http import make_request, post, read_answer, send
from support.servers import wait_until

from bert.pipelines.inference import NETWORK_LOCK, Inference
from bert.serving import connections
from bert.serving import server as server_module
from bert.serving.engine import Engine, Limits
from bert.serving.metrics import Metrics

MEGABYTE = 1 << 20
BODY = b'{"inputs":"good"}'
HEAD = b'POST /embed HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n'


def check_alive(url, seconds=5):
    """The server answers, and in a short time."""
    answer, duration = post(url, '/embed', {'inputs': 'good'}, timeout=seconds)
    assert answer.status == 200 and len(answer.content[0]) == tiny.CONFIG.units
    return duration


# HTTP that is broken, or odd

@pytest.mark.parametrize('data', [
    HEAD + b'Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n11\r\n' + BODY +
    b'\r\n0\r\n\r\n',
    HEAD + b'Content-Length: 17\r\nContent-Length: 3\r\n\r\n' + BODY,
    HEAD + b'Content-Length: -1\r\n\r\n' + BODY, HEAD + b'Content-Length: +17\r\n\r\n' + BODY,
    HEAD + b'Content-Length: all\r\n\r\n' + BODY,
    HEAD + b'Content-Length: %s\r\n\r\n' % (b'9' * 99),
    HEAD + b'Transfer-Encoding: xchunked\r\n\r\n11\r\n' + BODY + b'\r\n0\r\n\r\n',
    HEAD + b'Transfer-Encoding: chunked\r\n\r\nzz\r\n' + BODY, HEAD + b'X-A: a\x00b\r\n\r\n',
    HEAD + b'X-A: a\rX-B: b\r\n\r\n', HEAD + b' X-A\r\n\r\n',
    b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc', b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    bytes(range(256)), b'GET /info?model=\xff HTTP/1.1\r\n\r\n',
    b'CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n', b'NONSENSE /embed HTTP/1.1\r\n\r\n'])
def test_broken_http_ends_its_connection_alone(server, data):
    with raw_http.connect(server.url) as connection:
        connection.sendall(data)
        stream = connection.makefile('rb')
        answer = read_answer(stream)
        assert answer.status in (400, 0)
        if answer.status:
            assert answer.headers['content-type'] == 'application/json' and answer.cause
        assert stream.read() == b''     # nothing of it was taken for a second request
    check_alive(server.url)


def test_no_http_is_refused_with_a_cause(server):
    answer = send(server.url, b'NONSENSE /embed HTTP/1.1\r\n\r\n')
    assert answer.status == 400 and answer.content == {
        'error': 'the request is no valid HTTP: expected HTTP/1.1', 'error_type': 'Validation'}
    assert answer.headers['connection'] == 'close'


@pytest.mark.parametrize('header', [
    'Expect: 100-continue', 'Expect: banana', 'X-A: \xff\xe4', 'X-Forwarded-For: \xe4, 1.2.3.4, a',
    'Connection: Upgrade\r\nUpgrade: h2c', 'Authorization: \xff', 'Accept: nothing/at-all',
    'Origin: https://a.org', 'Cookie: a=\xff', 'X-Long: ' + 'a' * 30000])
def test_odd_headers_change_nothing(server, header):
    answer = send(server.url, make_request('/embed', BODY, headers=('Connection: close', header)))
    assert answer.status == 200 and len(answer.content[0]) == tiny.CONFIG.units
    assert 'x-a' not in answer.headers and 'x-b' not in answer.headers


@pytest.mark.parametrize('header', [
    '', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=a',
    '\xff/;;='])
def test_a_body_that_is_no_json_by_its_header(server, header):
    data = b'POST /embed HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n%s' % (
        b'Content-Type: %s\r\n' % header.encode('latin-1') if header else b'', len(BODY), BODY)
    answer = send(server.url, data)
    assert answer.status == 422 and 'Content-Type: application/json' in answer.cause


def test_old_versions_of_http(server):
    answer = send(server.url, make_request('/embed', BODY, version='1.0'))
    assert answer.status == 200 and answer.headers['connection'] == 'close'
    assert send(server.url, b'GET /health HTTP/1.0\r\n\r\n').content == {'status': 'ok'}


def test_requests_in_one_piece_are_answered_in_order(server):
    dimensions = [1 + i % tiny.CONFIG.units for i in range(50)]
    with raw_http.connect(server.url) as connection:
        connection.sendall(b''.join(make_request('/embed', {'inputs': 'good', 'dimensions': count})
                                    for count in dimensions))
        stream = connection.makefile('rb')
        assert [len(read_answer(stream).content[0]) for _ in dimensions] == dimensions


def test_each_path_has_its_methods(server):
    for path, operations in server.ask('/openapi.json')['paths'].items():
        path = path.replace('{name}', 'vectors')
        for method in ('HEAD', 'OPTIONS', 'PUT', 'DELETE', 'PATCH', 'TRACE', 'GET', 'POST'):
            if method.lower() in operations:
                continue
            data = make_request(path, method=method, headers=('Connection: close',))
            with raw_http.connect(server.url) as connection:
                connection.sendall(data)
                head, _, body = connection.makefile('rb').read().partition(b'\r\n\r\n')
            if path == '/' and method == 'GET':
                assert head.split()[1] == b'200'
            elif method == 'HEAD' and ('get' in operations or path == '/'):
                length, = re.findall(rb'content-length: (\d+)', head.lower())
                assert head.split()[1] == b'200' and int(length) > 0, (path, head)
            elif method in ('GET', 'HEAD') and path.startswith('/v2/models/'):
                continue        # a name may have slashes: there is no model of this one
            else:
                assert head.split()[1] == b'405', (method, path, head)
            if method == 'HEAD':
                assert body == b''
            elif path != '/':
                assert method in raw_http.Answer(405, {}, body).cause


@pytest.mark.parametrize('path', [
    '/page/../../flags/serving.py', '/page/%2e%2e/__init__.py', '/page/..%2f__init__.py',
    '/page/..%5c__init__.py', '/page//etc/passwd', '/page/%2fetc/passwd', '/page/%00', '/page/',
    '/page/a%00.js', '/page/' + 'a' * 5000, '/page/' + 'a/' * 2000, '/page/%ed%a0%80', '/page/.',
    '/static-offline-docs/..%2f..%2f__init__.py', '//etc/passwd', '/../../etc/passwd', '*',
    '/page'])
def test_paths_to_other_files(server, path):
    answer = send(server.url, make_request(path, method='GET'))
    assert answer.status in (400, 404), answer
    if answer.status == 404:
        assert 'there is no' in answer.cause


def test_a_path_with_a_slash_too_many_leads_nowhere(server):
    answer = send(server.url, make_request('/embed/', BODY).replace(b'localhost', b'evil.example'))
    assert answer.status == 404 and 'location' not in answer.headers


# Bodies

BAD_VALUES = ('"\\ud800"', '"\\udc00\\ud800"', 'NaN', 'Infinity', '-Infinity', '9' * 5000, '1e999',
              '[' * 500 + ']' * 500, '"' + 'a' * 100000 + '"', '18446744073709551616', '-1', 'true',
              'null', '{}', '[]', '""', '"\\u0000"', '[[]]', '[null]', '{"a": "\\ud800"}')


@pytest.mark.parametrize('path', BODIES)
def test_bad_values_at_every_place_of_a_body(server, path):
    assert server.send(path, BODIES[path]).status_code == 200
    for place in places(BODIES[path]):
        for bad in BAD_VALUES:
            body = json.dumps(replaced(BODIES[path], place, '@@')).replace('"@@"', bad)
            response = server.send(path, data=body.encode(),
                                   headers={'Content-Type': 'application/json'})
            assert response.status_code in (200, 400, 404, 413, 422, 424), (body[:200], response)
            if response.status_code != 200:
                cause = raw_http.Answer(0, {}, response.content).cause
                # a client has no flags, and does not know pydantic
                assert cause and not re.search('--[a-z]|Input should', cause), cause
                assert len(response.content) < 2000, response.text[:200]
            if '\\ud800' in bad or 'N' in bad or 'I' in bad:
                assert response.status_code == 400, (body[:200], response.text)


@pytest.mark.parametrize('path, body', [
    ('/embed', b'{"inputs":[%s]}' % b','.join([b'null'] * 200000)),
    ('/predict', b'{"inputs":[%s]}' % b','.join([b'[1]'] * 200000)),
    ('/decode', b'{"ids":[%s]}' % b','.join([b'""'] * 200000)),
    ('/v2/models/vectors/infer', b'{"inputs":[%s]}' % b','.join([b'{}'] * 200000)),
    ('/v2/models/vectors/infer', b'{"inputs":[{"name":"text","datatype":"BYTES","data":["a"],'
                                 b'"shape":[%s]}]}' % b','.join([b'9' * 18] * 50000)),
    ('/embed', b'{"inputs":"a","model":"%s"}' % (b'vectors' * 200000)),
    ('/embed', b'{"inputs":%s' % (b'[' * MEGABYTE)), ('/embed', b'9' * MEGABYTE),
    ('/embed', b'{%s"inputs":1}' % b''.join(b'"%d":1,' % i for i in range(100000))),
    ('/embed', b'{"inputs":["a"%s]}' % (b',"a"' * 99999))])
def test_a_body_full_of_mistakes_is_refused_in_a_moment(server, path, body):
    answer, seconds = post(server.url, path, body)
    assert answer.status in (400, 413, 422) and answer.cause and len(answer.body) < 2000
    assert seconds < 1.5


def test_chunks(server):
    chunks = b''.join(b'1\r\n%c\r\n' % byte for byte in BODY)
    head = HEAD + b'Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n'
    assert send(server.url, head + chunks + b'0\r\n\r\n').status == 200
    with raw_http.connect(server.url) as connection:        # cut off
        connection.sendall(head + chunks)
    check_alive(server.url)


# Limits in time and size

@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return tiny.write_checkpoint(tmp_path_factory.mktemp('fault') / 'vectors')


@pytest.fixture(scope='module')
def strict(model):
    """A server with short times and small sizes."""
    patch = pytest.MonkeyPatch()
    patch.setattr(connections, 'HEAD_SECONDS', 1)
    patch.setattr(connections, 'MAX_HEAD_BYTES', 65536)
    patch.setattr(server_module, 'READ_SECONDS', 2)
    with servers.running_server((model,), body_timeout=1.5, max_bytes=MEGABYTE) as running:
        yield running
    patch.undo()


def is_closed_within(connection, seconds):
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b''
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize('data', [b'', b'POST /emb', HEAD, make_request('/health', method='GET')])
def test_a_connection_without_a_request_is_closed(strict, data):
    with raw_http.connect(strict.url) as connection:
        connection.sendall(data)
        if b'\r\n\r\n' in data:     # a first request was whole, and then a second one is not
            assert read_answer(connection.makefile('rb')).status == 200
            connection.sendall(HEAD)
        assert is_closed_within(connection, 3)
    check_alive(strict.url)


def test_a_head_by_the_byte_is_given_up(strict):
    with raw_http.connect(strict.url) as connection:
        started = time.monotonic()
        with pytest.raises(OSError):
            for byte in HEAD * 100:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - started < 4


@pytest.mark.parametrize('part', [b'X-A: %s' % (b'a' * 2048), b'X-A: a\r\n' * 256])
def test_a_head_without_end_is_given_up(strict, part):
    with raw_http.connect(strict.url) as connection:
        with pytest.raises(OSError):
            connection.sendall(HEAD)
            for _ in range(2000):
                connection.sendall(part)
    check_alive(strict.url)


def test_a_body_by_the_byte_is_given_up(strict):
    with raw_http.connect(strict.url) as connection:
        connection.sendall(HEAD + b'Content-Length: 1000\r\n\r\n')
        for _ in range(10):
            connection.sendall(b' ')
            time.sleep(0.05)
        answer = read_answer(connection.makefile('rb'))
    assert answer.status == 408 and answer.cause == 'the body did not arrive within 1.5 s'


def test_a_body_without_end_is_refused(strict):
    with raw_http.connect(strict.url) as connection:
        connection.sendall(HEAD + b'Transfer-Encoding: chunked\r\n\r\n')
        started = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() < started + 10:
                connection.sendall(b'10000\r\n' + b' ' * 65536 + b'\r\n')
        assert time.monotonic() < started + 4
    check_alive(strict.url)


TOO_LARGE = 'the body has more than %d bytes: send several requests' % MEGABYTE


def test_a_client_that_sends_a_body_of_100_mb_gets_its_answer(strict):
    session = requests.Session()        # which sends all before it reads
    body = b' ' * (100 * MEGABYTE)
    for data in (body, (body[:MEGABYTE] for _ in range(100))):      # the second in chunks
        response = session.post(strict.url + '/embed', data=data, timeout=30)
        assert response.status_code == 413 and response.json()['error'] == TOO_LARGE
    with raw_http.connect(strict.url) as connection:    # before any of it came
        connection.sendall(HEAD + b'Content-Length: 100000000\r\n\r\n')
        assert read_answer(connection.makefile('rb')).cause == TOO_LARGE


def test_many_bodies_at_once_do_not_fill_the_memory(strict):
    size = MEGABYTE - 1000
    head = HEAD + b'Content-Length: %d\r\n\r\n' % size
    held = []
    try:
        for _ in range(40):
            held.append(raw_http.connect(strict.url))
            held[-1].sendall(head + b' ' * (size - 1))
        answers = [read_answer(connection.makefile('rb')) for connection in held]
    finally:
        for connection in held:
            connection.close()
    statuses = [answer.status for answer in answers]
    assert set(statuses) <= {429, 408} and 1 <= statuses.count(429) <= 12
    assert 'it holds' in answers[statuses.index(429)].cause
    check_alive(strict.url)


@pytest.mark.process
def test_a_client_that_does_not_read_is_given_up(strict):
    with raw_http.connect(strict.url, receive_buffer=4096) as connection:
        connection.sendall(make_request('/embed_all', {'inputs': ['good ' * 30] * 4000}))
        ends = ' 0100007F:%04X 0100007F:%04X ' % (
            connection.getpeername()[1], connection.getsockname()[1])   # as the server has them

        def is_known():
            return ends in pathlib.Path('/proc/net/tcp').read_text()
        assert is_known()
        check_alive(strict.url, 20)
        deadline = time.monotonic() + 20
        while is_known() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not is_known()


# Clients beside each other

class Client(threading.Thread):
    """Sends a body to a path `times` times; `answers` and `seconds` have a value for each.
    ended: when the last answer came."""

    def __init__(self, url, path, body, times=1, headers=()):
        super().__init__(daemon=True)
        self._arguments, self._times = (url, path, body), times
        self._headers = headers
        self.answers, self.seconds = [], []
        self.start()

    def run(self):
        for _ in range(self._times):
            answer, seconds = post(*self._arguments, timeout=60, headers=self._headers)
            self.answers.append(answer)
            self.seconds.append(seconds)
            self.ended = time.monotonic()


@pytest.fixture(scope='module')
def shared(model, tmp_path_factory):
    """A server whose clients have keys, so that it tells them apart."""
    keys = tmp_path_factory.mktemp('keys') / 'keys'
    keys.write_text('large\nsmall\n')
    with servers.running_server((model,), api_key_file=str(keys), max_wait=0.5) as running:
        yield running


LARGE, SMALL = ('Authorization: Bearer large',), ('Authorization: Bearer small',)


@pytest.mark.process
def test_a_client_with_much_to_do_does_not_hold_another_one_up(shared, monkeypatch):
    engine = shared.service.engine
    monkeypatch.setattr(engine, 'limits', engine.limits._replace(max_wait=600))
    small = Client(shared.url, '/embed', {'inputs': 'good'}, 20, SMALL)
    small.join(60)
    alone = np.median(small.seconds)
    large = [Client(shared.url, '/embed', {'inputs': ['good ' * 30] * 10000}, 1, LARGE)
             for _ in range(3)]
    wait_until(lambda: engine.queue.num_texts() > 5000)
    small = Client(shared.url, '/embed', {'inputs': 'good'}, 10, SMALL)
    small.join(60)
    assert any(client.is_alive() for client in large)
    assert [answer.status for answer in small.answers] == [200] * 10
    assert np.median(small.seconds) < max(20 * alone, 1)
    for client in large:
        client.join(60)
        assert client.answers[0].status == 200


def test_a_client_is_an_address_where_no_keys_are_asked_for(server):
    """nginx tells it. The second client's text is computed before the many of the first."""
    engine = server.service.engine
    runner = server.service.host.models['vectors'].runner
    with NETWORK_LOCK:
        first = Client(server.url, '/embed', {'inputs': ['good ' * 30] * 10000}, 1,
                       ('X-Forwarded-For: 10.0.0.1',))
        wait_until(lambda: engine.queue.num_texts() > 5000)
        second = Client(server.url, '/embed', {'inputs': 'good'}, 1, ('X-Forwarded-For: 10.0.0.2',))
        wait_until(lambda: len(engine.queue.tokens_waiting()) == 2)
        assert set(engine.queue.tokens_waiting()) == {(runner, '10.0.0.1'), (runner, '10.0.0.2')}
    for client in (first, second):
        client.join(60)
        assert client.answers[0].status == 200
    assert second.ended < first.ended


def test_clients_that_vanish_before_their_turn_leave_it():
    engine, gate = Engine(Limits(10, 500, 5.0), 100, Metrics()), threading.Event()

    def plan():
        gate.wait(10)
        return Inference(None, [], None, lambda: 7, [])

    async def vanish():
        # two of each client are planned, the third's wait for a thread, others for their turn
        tasks = [asyncio.ensure_future(engine.run(None, plan, ['text'], client))
                 for client in ('first', 'second', 'third') for _ in range(4)]
        await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not engine._planned
        gate.set()
        outcomes = [await asyncio.wait_for(engine.run(None, plan, ['text'], client), 5)
                    for client in ('first', 'second', 'third')]
        return [outcome.result for outcome in outcomes]
    assert asyncio.run(vanish()) == [7, 7, 7]
    engine.close()


def test_a_wrong_key_with_a_large_body_gets_its_answer(shared):
    session = requests.Session()        # which sends all before it reads
    for _ in range(3):
        response = session.post(shared.url + '/embed', data=b' ' * (8 * MEGABYTE), timeout=20)
        assert response.status_code == 401 and 'a key is missing' in response.json()['error']


def test_a_refused_body_may_still_come_before_the_next_request(shared):
    with raw_http.connect(shared.url) as connection:
        stream = connection.makefile('rb')
        connection.sendall(HEAD + b'Content-Length: 300000\r\n\r\n')
        assert read_answer(stream).status == 401
        connection.sendall(b' ' * 300000 + make_request('/health', method='GET'))
        assert read_answer(stream).content == {'status': 'ok'}


def test_overload_is_refused_at_once(shared):
    engine = shared.service.engine
    runner = shared.service.host.find(None, ('embedding',)).runner
    with NETWORK_LOCK:      # a network that takes long
        first = Client(shared.url, '/embed', {'inputs': ['good ' * 30] * 10000}, 1, LARGE)
        wait_until(lambda: engine.queue.num_texts() > 5000)
        engine._speeds[runner] = 1e4    # tokens a second
        second = Client(shared.url, '/embed', {'inputs': ['good'] * 10}, 10, LARGE)
        second.join(60)
    first.join(120)
    for answer, seconds in zip(second.answers, second.seconds):
        assert answer.status == 429 and 'the server is busy' in answer.cause
        # some 10,000 texts of 32 tokens wait, less the 0.5 s that are allowed
        assert 15 <= int(answer.headers['retry-after']) <= 32 and seconds < 2
    assert len(second.answers) == 10 and first.answers[0].status == 200
    answer, _ = post(shared.url, '/embed', {'inputs': 'good'}, headers=LARGE)
    assert answer.status == 200


# What only a process shows

def send_too_much(url):
    """Requests with too many tokens, texts or bytes: each is refused with its cause."""
    for path in ('/embed', '/tokenize'):
        answer, _ = post(url, path, {'inputs': 'good ' * (2 * MEGABYTE)}, timeout=60)
        assert answer.status == 413 and 'more than 1000000 tokens in the request' in answer.cause
    answer, _ = post(url, '/embed', {'inputs': ['good'] * 100000})
    assert answer.status == 413 and '100000 texts in the request' in answer.cause
    answer, _ = post(url, '/embed', b' ' * (100 * MEGABYTE))
    assert answer.status == 413 and 'bytes: send several requests' in answer.cause


@pytest.fixture(scope='module')
def served(model, tmp_path_factory):
    """A process whose use of the machine is the same after each test: it knows the largest requests
    already."""
    log = tmp_path_factory.mktemp('log') / 'log'
    with raw_http.server_process(log, [model], '--max_wait', '600') as running:
        post(running.url, '/embed', {'inputs': ['good ' * 30] * 10000}, timeout=60)
        send_too_much(running.url)
        yield running
        assert 'Traceback' not in log.read_text()


@pytest.fixture
def unchanged(served):
    """The process, which must use nothing more in the end: no descriptor, no text in the queue.
    Threads are made as they are needed, up to a number."""
    before = served.state()
    yield served
    served.wait_for(lambda: served.state()['descriptors'] <= before['descriptors'] and
                    not served.queue_size())
    after = served.state()
    assert after['threads'] <= before['threads'] + 10
    # freed memory lies in pieces: what a leak of one body of 100 MB would exceed
    assert after['megabytes'] < before['megabytes'] + 90, (before, after)
    check_alive(served.url)


@pytest.mark.process
def test_clients_that_vanish_leave_nothing(unchanged):
    data = make_request('/embed', {'inputs': ['good ' * 30] * 10000},
                        headers=('X-Forwarded-For: 10.0.0.1',))
    for wait in (0, 0, 0.3, 0.3, 1, 1):
        with raw_http.connect(unchanged.url) as connection:
            connection.sendall(data)
            time.sleep(wait)
        check_alive(unchanged.url, 10)
    for cut in (10, 100, 1000, len(data) // 2):
        with raw_http.connect(unchanged.url) as connection:
            connection.sendall(data[:cut])
    unchanged.wait_for(lambda: not unchanged.queue_size(), 5)


@pytest.mark.process
def test_two_thousand_connections_at_once(unchanged):
    data = make_request('/embed', {'inputs': 'good film'})
    connections_ = []
    try:
        for _ in range(2000):
            connections_.append(raw_http.connect(unchanged.url, timeout=60))
            connections_[-1].sendall(data)
        statuses = [read_answer(connection.makefile('rb')).status for connection in connections_]
    finally:
        for connection in connections_:
            connection.close()
    assert statuses == [200] * 2000


@pytest.mark.process
def test_a_large_text_and_too_many_texts(unchanged):
    send_too_much(unchanged.url)


@pytest.mark.process
def test_a_process_that_is_stopped_goes_on(unchanged):
    client = Client(unchanged.url, '/embed', {'inputs': ['good ' * 30] * 2000})
    time.sleep(0.3)
    unchanged.process.send_signal(signal.SIGSTOP)
    late = Client(unchanged.url, '/embed', {'inputs': 'good'})
    time.sleep(10)
    assert not late.answers
    unchanged.process.send_signal(signal.SIGCONT)
    for thread in (client, late):
        thread.join(30)
        assert thread.answers[0].status == 200
    assert check_alive(unchanged.url) < 2


@pytest.mark.process
def test_the_log_never_has_a_key(model, tmp_path):
    (tmp_path / 'keys').write_text('right-secret\n')
    with raw_http.server_process(tmp_path / 'log', [model], '--api_key_file',
                                 tmp_path / 'keys') as running:
        for path, headers, status in (
                ('/embed', ('Authorization: Bearer right-secret',), 200),
                ('/embed', (), 401), ('/embed?key=right-secret', (), 401),
                ('/embed', ('Authorization: Bearer wrong-secret',), 401),
                ('/embed', ('Authorization: Basic right-secret',), 401),
                ('/embed', ('X-Api-Key: right-secret',), 401),
                ('/right-secret/embed', ('Authorization: Bearer right-secret',), 404),
                ('/v2/models/right-secret', (), 401), ('/right-secret', (), 401),
                ('/embed?api_key=wrong-secret', ('Authorization: Bearer right-secret',), 200)):
            answer, _ = post(running.url, path, {'inputs': 'good'}, headers=headers)
            assert answer.status == status
            assert status != 401 or 'a key is missing or wrong' in answer.cause
        send(running.url, b'GET /x?right-secret HTTP/1.1\r\nA: right-secret\r\n\x00\r\n')
        running.wait_for(lambda: running.log.read_text().count('POST /embed') == 7)
        assert 'secret' not in running.log.read_text()


@pytest.mark.process
def test_a_full_disk_for_the_log(model, disk):
    with raw_http.server_process(disk.path / 'log', [model]) as running:
        check_alive(running.url)
        before = running.state()
        disk.fill(0)
        for _ in range(100):
            check_alive(running.url)
        assert post(running.url, '/embed', b'[')[0].status == 400
        disk.free()
        check_alive(running.url)
        running.wait_for(lambda: 'POST /embed 200' in running.log.read_text()[-200:])
        running.wait_for(lambda: running.state()['descriptors'] <= before['descriptors'])


@pytest.mark.process
def test_a_model_that_is_deleted_or_broken_while_it_is_served(tmp_path):
    path = pathlib.Path(tiny.write_checkpoint(tmp_path / 'own'))
    (tmp_path / 'keys').write_text('key\n')
    key = ('Authorization: Bearer key',)
    with raw_http.server_process(tmp_path / 'log', [str(path)], '--api_key_file',
                                 tmp_path / 'keys') as running:
        old = post(running.url, '/embed', {'inputs': 'good'}, headers=key)[0].content
        tensors = load_file(path / 'model.safetensors')
        tensors['bert.embeddings.LayerNorm.bias'][:] = np.nan
        save_file(tensors, path / 'model.safetensors', {'format': 'pt'})
        answer, _ = post(running.url, '/admin/reload', {}, headers=key)
        assert answer.status == 424 and 'not finite' in answer.cause
        assert post(running.url, '/embed', {'inputs': 'good'}, headers=key)[0].content == old
        shutil.rmtree(path)
        answer, _ = post(running.url, '/admin/reload', {}, headers=key)
        assert answer.status == 424 and 'the old model stays in use' in answer.cause
        assert post(running.url, '/embed', {'inputs': 'good'}, headers=key)[0].content == old
        info = send(running.url, make_request('/info', method='GET', headers=key))
        assert info.content['model_id'] == 'own' and str(tmp_path) not in info.body.decode()
