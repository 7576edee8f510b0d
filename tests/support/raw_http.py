"""HTTP by hand, for requests that no client would send, and servers that are watched meanwhile."""
import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
from typing import NamedTuple

from support.processes import PACKAGE


class Answer(NamedTuple):
    """status: 0 where the connection was closed, or nothing came, instead of an answer."""
    status: int
    headers: dict
    body: bytes

    @property
    def content(self):
        """The content of JSON."""
        return json.loads(self.body)

    @property
    def cause(self):
        """The message of an error in one of the three forms, never empty."""
        error = self.content['error']
        message = error if isinstance(error, str) else error['message']
        assert message and isinstance(message, str)
        return message


CLOSED = Answer(0, {}, b'')


def connect(url, timeout=20, receive_buffer=None):
    """A connection to a server. receive_buffer: of the system, in bytes."""
    connection = socket.socket()
    connection.settimeout(timeout)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    host, port = url.removeprefix('http://').split(':')
    connection.connect((host, int(port)))
    return connection


def make_request(path, body=b'', method='POST', headers=(), version='1.1'):
    """The bytes of a request. body: bytes, or something for JSON."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = ['%s %s HTTP/%s' % (method, path, version), 'Host: localhost',
             'Content-Type: application/json', 'Content-Length: %d' % len(body), *headers]
    return '\r\n'.join(lines).encode('latin-1') + b'\r\n\r\n' + body


def read_answer(stream):
    """The next `Answer` of a stream of bytes, such as `connection.makefile('rb')`."""
    try:
        first = stream.readline()
        if not first:
            return CLOSED
        headers = {}
        while (line := stream.readline().strip()):
            name, _, value = line.decode('latin-1').partition(':')
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get('content-length', 0)))
        return Answer(int(first.split()[1]), headers, body)
    except ConnectionError:
        return CLOSED


def send(url, data, timeout=20):
    """The first `Answer` to bytes, after an interim one."""
    with connect(url, timeout) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        stream = connection.makefile('rb')
        answer = read_answer(stream)
        return read_answer(stream) if answer.status == 100 else answer


def post(url, path, body, timeout=20, headers=()):
    """The `Answer` to a body, and the seconds that it took."""
    started = time.monotonic()
    answer = send(url, make_request(path, body, headers=('Connection: close', *headers)), timeout)
    return answer, time.monotonic() - started


class ServerProcess(NamedTuple):
    """serve.py. log: what it writes, a path."""
    process: subprocess.Popen
    url: str
    log: pathlib.Path

    def state(self):
        """{'descriptors', 'threads', 'megabytes'} that it uses."""
        folder = pathlib.Path('/proc') / str(self.process.pid)
        size = re.search(r'VmRSS:\s+(\d+)', (folder / 'status').read_text())[1]
        return {'descriptors': len(os.listdir(folder / 'fd')),
                'threads': len(os.listdir(folder / 'task')), 'megabytes': int(size) // 1024}

    def queue_size(self):
        """Texts that wait, by its own metrics."""
        text = send(self.url, make_request('/metrics', method='GET')).body.decode()
        return float(re.search(r'^te_queue_size (.+)$', text, re.MULTILINE)[1])

    def wait_for(self, is_reached, seconds=20):
        """Wait until a function is true."""
        deadline = time.monotonic() + seconds
        while not is_reached():
            assert time.monotonic() < deadline, (self.state(), self.queue_size())
            time.sleep(0.05)


def start_server(log, model_dirs, *arguments, port=0):
    """A process of serve.py, which is not ready yet. log: path of what it writes."""
    with open(log, 'wb') as file:
        return subprocess.Popen(
            [sys.executable, str(PACKAGE / 'serve.py'), '--port', str(port), '--threads', '1',
             '--model_dir', *model_dirs, *map(str, arguments)],
            stdout=subprocess.DEVNULL, stderr=file)


def wait_until_ready(process, log):
    """The `ServerProcess` of a process."""
    deadline = time.monotonic() + 120
    while not (match := re.search(r' ready: (http://[\w.:]+)', log.read_text())):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return ServerProcess(process, match[1], log)


@contextlib.contextmanager
def server_processes(logs, model_dirs, *arguments):
    """A `ServerProcess` of models for each log; they end with the context."""
    processes = [start_server(log, model_dirs, *arguments) for log in logs]
    try:
        yield [wait_until_ready(process, log) for process, log in zip(processes, logs)]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def server_process(log, model_dirs, *arguments):
    """A single one."""
    with server_processes([log], model_dirs, *arguments) as (running,):
        yield running
