"""The load generator of the serving benchmarks, against a server of the test."""
import contextlib
import http.server
import os
import resource
import socketserver
import threading

import pytest

from benchmarks.serving import load

SELECT_LIMIT = 1024     # FD_SETSIZE, the descriptors that select(2) can watch


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers 200, or 429 where the body says so."""
    protocol_version = 'HTTP/1.1'

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        self.server.bodies.append(body)
        self.send_response(429 if body == b'refuse' else 200)
        self.send_header('Content-Length', '2')
        self.end_headers()
        self.wfile.write(b'{}')

    def log_message(self, *arguments):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64


@pytest.fixture
def server():
    """Its `bodies` are those that it has received."""
    with Server(('127.0.0.1', 0), Answer) as server:
        server.bodies = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def many_descriptors():
    """New descriptors are larger than those that select(2) can watch."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    load.raise_descriptor_limit()
    with contextlib.ExitStack() as stack:
        descriptor = 0
        while descriptor < SELECT_LIMIT:
            descriptor = os.open(os.devnull, os.O_RDONLY)
            stack.callback(os.close, descriptor)
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def requests(*bodies):
    return [load.make_request('/', body) for body in bodies]


def test_a_closed_loop_sends_the_requests_in_turn(server):
    answer = load.run_closed(server.server_port, requests(b'1', b'2', b'refuse'), 1, 7)
    assert server.bodies == [b'1', b'2', b'refuse', b'1', b'2', b'refuse', b'1']
    assert (answer['requests'], answer['failures']) == (7, {'429': 2})
    assert 0 < answer['p50'] <= answer['p90'] <= answer['p99'] <= answer['seconds']


def test_an_open_loop_sends_a_request_at_each_arrival(server):
    answer = load.run_open(server.server_port, requests(b'1', b'2'), 200, 0.5, seed=1)
    assert answer['requests'] == len(load.arrivals(200, 0.5, 1)) == len(server.bodies)
    assert not answer['failures']


def test_arrivals_have_the_rate():
    times = load.arrivals(100, 1000, 1)
    assert times == sorted(times) and 0 < times[0] and times[-1] < 1000
    assert abs(len(times) - 100_000) < 5 * 100_000 ** 0.5      # five standard deviations


@pytest.mark.usefixtures('many_descriptors')
def test_more_connections_than_select_can_watch(server):
    """A server that falls behind has thousands of requests under way."""
    assert load.run_closed(server.server_port, requests(b'1'), 3, 9)['requests'] == 9
    assert load.run_open(server.server_port, requests(b'1'), 100, 0.2, seed=1)['requests'] == \
        len(load.arrivals(100, 0.2, 1))


@pytest.mark.parametrize('percent, value', [(50, 2), (75, 3), (76, 4), (99, 4), (100, 4)])
def test_percentile(percent, value):
    assert load.percentile([1, 2, 3, 4], percent) == value
