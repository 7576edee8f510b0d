"""docs/nginx.conf before two instances, where one is killed under load; docs/bert.service."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
from support import raw_http, tiny

pytestmark = pytest.mark.process
DOCS = pathlib.Path(__file__).resolve().parents[2] / 'docs'
NO_NGINX = 'nginx is not installed'


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as listener:
        return listener.getsockname()[1]


def write_configuration(folder, port, instances):
    """Write docs/nginx.conf with other ports and paths. Returns its path."""
    text = (DOCS / 'nginx.conf').read_text()
    for old, new in (
            ('user www-data;', '' if os.getuid() else 'user root;'), ('/run/', '%s/' % folder),
            ('/var/log/nginx/', '%s/' % folder), ('/var/lib/nginx/', '%s/' % folder),
            ('listen 80;', 'listen 127.0.0.1:%d;' % port),
            *(('127.0.0.1:%d' % default, url.removeprefix('http://'))
              for default, url in zip((8081, 8082), instances))):
        assert old in text, old
        text = text.replace(old, new)
    path = folder / 'nginx.conf'
    path.write_text(text)
    return path


def start_nginx(path, port):
    """A process of nginx that accepts connections."""
    process = subprocess.Popen(
        [shutil.which('nginx', path=os.environ['PATH'] + ':/usr/sbin'), '-p', path.parent,
         '-e', path.parent / 'error.log', '-c', path, '-g', 'daemon off;'])
    deadline = time.monotonic() + 20
    while True:
        assert process.poll() is None and time.monotonic() < deadline
        try:
            socket.create_connection(('127.0.0.1', port)).close()
            return process
        except ConnectionRefusedError:
            time.sleep(0.05)


class Proxy:
    """nginx before two instances. url: of nginx; instances: `raw_http.ServerProcess`es."""

    def __init__(self, folder):
        self._model, self._folder = tiny.write_checkpoint(folder / 'vectors'), folder
        port = free_port()
        self.url = 'http://127.0.0.1:%d' % port
        self.instances = self._start(0, 0)
        self._path = write_configuration(
            folder, port, [instance.url for instance in self.instances])
        self._nginx = start_nginx(self._path, port)

    def _start(self, *ports):
        """New instances at ports, which are ready."""
        logs = [self._folder / ('log-%d' % time.monotonic_ns()) for _ in ports]
        processes = [raw_http.start_server(log, [self._model], port=port)
                     for log, port in zip(logs, ports)]
        return [raw_http.wait_until_ready(*item) for item in zip(processes, logs)]

    def revive(self):
        """Start the instances that have ended again, where they were."""
        for i, instance in enumerate(self.instances):
            if instance.process.poll() is not None:
                self.instances[i], = self._start(int(instance.url.rpartition(':')[2]))
                time.sleep(5)       # fail_timeout

    def take_out(self, instance):
        """Let nginx send nothing more to an instance."""
        text, address = self._path.read_text(), instance.url.removeprefix('http://')
        self._path.write_text(text.replace('server %s ' % address, 'server %s down ' % address))
        self._nginx.send_signal(signal.SIGHUP)

    def close(self):
        for process in (self._nginx, *[instance.process for instance in self.instances]):
            process.terminate()
            process.wait(40)


@pytest.fixture(scope='module')
def shared_proxy(tmp_path_factory):
    if not shutil.which('nginx', path=os.environ['PATH'] + ':/usr/sbin'):
        pytest.skip(NO_NGINX)
    proxy = Proxy(tmp_path_factory.mktemp('proxy'))
    yield proxy
    proxy.close()


@pytest.fixture
def proxy(shared_proxy):
    """A `Proxy` whose instances both run."""
    shared_proxy.revive()
    return shared_proxy


class Load:
    """Clients that send requests one after another, each with a number of texts of its own."""

    def __init__(self, url, num_clients=6):
        self._url, self._count, self._lock = url, 100, threading.Lock()
        self.is_over = False
        self.results = []       # (number of texts, status, time of sending, of the answer)
        self.threads = [threading.Thread(target=self._send) for _ in range(num_clients)]
        for thread in self.threads:
            thread.start()

    def _send(self):
        while not self.is_over:
            with self._lock:
                self._count += 1
                count = self._count
            started = time.monotonic()
            answer, _ = raw_http.post(self._url, '/embed', {'inputs': ['good film'] * count})
            assert answer.status != 200 or len(answer.content) == count
            assert answer.status == 200 or 'no instance has answered' in answer.cause
            self.results.append((count, answer.status, started, time.monotonic()))

    def end(self):
        self.is_over = True
        for thread in self.threads:
            thread.join(60)
        return self.results


def answered_counts(instance):
    """Numbers of texts of the requests that an instance has answered, by its log."""
    return [int(count) for count in re.findall(r' 200 .* texts=(\d+)', instance.log.read_text())]


def test_what_nginx_passes_on(proxy):
    url, (first, second) = proxy.url, proxy.instances
    body = b'{"inputs":"good"%s}' % (b' ' * (16 << 20))
    answer, _ = raw_http.post(url, '/embed', body)
    assert answer.status == 413 and answer.cause == 'the body is too long: send several requests'
    body = b'{"inputs":"good"%s}' % (b' ' * ((16 << 20) - 100))
    assert raw_http.post(url, '/embed', body)[0].status == 200
    answer, _ = raw_http.post(url, '/embed?secret=1', {'inputs': []},
                              headers=('X-Forwarded-For: 6.6.6.6',))
    assert answer.status == 400 and 'no text' in answer.cause
    access_log = first.log.parent / 'access.log'
    first.wait_for(lambda: 'POST /embed 400' in access_log.read_text())
    raw_http.post(url, '/secret', {})
    raw_http.post(url, '/v2/models/secret/infer', {})
    first.wait_for(lambda: 'POST /v2/models 400' in access_log.read_text())
    assert 'POST other 404' in access_log.read_text()
    assert 'secret' not in access_log.read_text()
    assert '6.6.6.6' not in first.log.read_text() + second.log.read_text()


def test_the_list_of_cut_texts_fits_in_a_head(proxy):
    """It is longer than the 4 KB that nginx has for a head by default."""
    long = ['good ' * 10000] * 90 + ['good ' * 100] * 210
    for i in range(4):      # both instances: none of them is taken for one that has failed
        body = {'inputs': ['good'] * (9000 + i) + long, 'truncate': True}
        answer, _ = raw_http.post(proxy.url, '/embed', body, timeout=60)
        assert answer.status == 200 and answer.headers['x-truncated-count'] == '300'
        cuts = json.loads(answer.headers['x-truncated'])
        assert len(cuts) == 100
        assert sum(len(name) + len(value) + 4 for name, value in answer.headers.items()) > 4096
        assert cuts[89] == {'index': 9089 + i, 'tokens': 10002, 'kept': 40}


@pytest.mark.parametrize('data, status, message', [
    (b'NONSENSE\x00 /embed HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'the request is no valid HTTP: '),
    (b'GET /health HTTP/1.1\r\n\r\n', 400, 'the request is no valid HTTP: '),    # no Host
    (b'GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n', 400,
     'the request is no valid HTTP: '),
    (b'GET /%s HTTP/1.1\r\nHost: a\r\n\r\n' % (b'a' * 9000), 414, 'the path is too long: '),
    (b'GET / HTTP/1.1\r\nHost: a\r\nX-A: %s\r\n\r\n' % (b'a' * 9000), 431,
     'the headers are too long: ')])
def test_what_nginx_refuses_itself_is_json(proxy, data, status, message):
    answer = raw_http.send(proxy.url, data)
    assert answer.status == status and answer.headers['content-type'] == 'application/json'
    assert answer.cause.startswith(message) and answer.content['error_type'] == 'Validation'


def test_the_errors_of_the_server_pass_nginx_as_they_are(proxy):
    for path, body, status in (('/embed', b'[', 400), ('/embed', {'inputs': ''}, 200),
                               ('/nothing', {}, 404), ('/embed', {'inputs': 3}, 422)):
        own, _ = raw_http.post(proxy.instances[0].url, path, body)
        answer, _ = raw_http.post(proxy.url, path, body)
        assert own.status == answer.status == status
        assert own.body == answer.body
    answer, _ = raw_http.post(proxy.url, '/bad-request', {})    # a location of nginx
    assert answer.status == 404 and answer.cause == 'there is no such path'


def test_an_instance_that_is_killed_takes_its_requests_alone(proxy):
    url, (first, second) = proxy.url, proxy.instances
    load = Load(url)
    time.sleep(2)
    assert min(map(len, map(answered_counts, (first, second)))) > 3     # both have worked
    killed = time.monotonic()
    first.process.kill()
    time.sleep(3)
    results = load.end()
    failed = [result for result in results if result[1] != 200]
    assert {result[1] for result in failed} <= {502}
    assert 1 <= len(failed) <= len(load.threads)
    assert all(sent <= killed + 1 and answered >= killed for _, _, sent, answered in failed)
    assert sum(sent > killed + 1 for _, _, sent, _ in results) > 10
    for _ in range(20):
        assert raw_http.post(url, '/embed', {'inputs': 'good'})[0].status == 200
    # none of the requests that failed was sent to the other instance too, and none twice
    counts = [count for count in answered_counts(second) if count > 1]
    assert len(counts) == len(set(counts)) and not set(counts) & {item[0] for item in failed}
    proxy.revive()
    for _ in range(20):
        assert raw_http.post(url, '/embed', {'inputs': 'good'})[0].status == 200
    assert answered_counts(proxy.instances[0])      # it takes requests again


def test_an_instance_that_is_taken_out_and_ended_loses_no_request(proxy):
    url, (first, second) = proxy.url, proxy.instances
    load = Load(url)
    time.sleep(1)
    proxy.take_out(first)
    time.sleep(1.5)
    count = len(answered_counts(first))
    first.process.terminate()
    first.process.wait(30)
    time.sleep(1)
    results = load.end()
    assert {status for _, status, _, _ in results} == {200} and len(results) > 10
    assert first.process.returncode == 0 and len(answered_counts(first)) == count
    second.process.kill()
    answer, _ = raw_http.post(url, '/embed', {'inputs': 'good'})
    assert answer.status == 502 and 'no instance has answered' in answer.cause


def test_the_limits_are_those_of_the_server():
    from bert.flags.serving import ServingOptions
    from bert.serving import server
    options = ServingOptions(model_dir=('x',))
    text = (DOCS / 'nginx.conf').read_text()
    assert int(re.search(r'client_max_body_size (\d+)m;', text)[1]) << 20 == options.max_bytes
    assert int(re.search(r'proxy_read_timeout (\d+)s;', text)[1]) > options.max_wait
    unit = (DOCS / 'bert.service').read_text()
    assert int(re.search(r'TimeoutStopSec=(\d+)', unit)[1]) > server.SHUTDOWN_SECONDS


def test_the_routes_in_the_log_are_those_of_the_server():
    from bert.serving.application import ROUTERS
    block = re.search(r'map \$uri \$route \{(.*?)\}', (DOCS / 'nginx.conf').read_text(), re.DOTALL)
    patterns = re.findall(r'~(\S+) ', block[1])
    paths = {route.path for router in ROUTERS for route in router.routes}
    assert not [path for path in paths if not any(re.search(item, path) for item in patterns)]
    listed = [name for item in patterns for name in re.findall(r'[a-z0-9_/]{2,}', item)]
    assert {'/' + name.strip('/') for name in listed} - paths == {'/page', '/v2/models'}


def test_the_unit_of_systemd(tmp_path):
    if not shutil.which('systemd-analyze'):
        pytest.skip('systemd is not installed')
    text = (DOCS / 'bert.service').read_text().replace('/opt/bert/run', '/bin/true')
    (tmp_path / 'bert.service').write_text(text.replace('/opt/bert', str(tmp_path)))
    result = subprocess.run(['systemd-analyze', 'verify', tmp_path / 'bert.service'],
                            capture_output=True, text=True)
    assert result.returncode == 0 and not result.stderr, result.stderr
