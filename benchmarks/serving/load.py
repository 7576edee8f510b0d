"""The load generator of the serving benchmarks, a worker of harness.py.

Plain sockets and one selector in one thread: its processor time, which is in every answer, is a
few hundredths of a millisecond a request, so that it can run on the cores of the server. It keeps
a list of requests in its order, which `hey` can't; it counts what is done of a fixed amount of work
and has an arrival rate, which `wrk` hasn't.
"""
import collections
import random
import re
import resource
import selectors
import socket
import time

from benchmarks import harness

HEAD_END = b'\r\n\r\n'
CONTENT_LENGTH = re.compile(rb'\r\ncontent-length: *(\d+)', re.IGNORECASE)
RECEIVE_BYTES = 1 << 20
FRESH_SECONDS = 2   # servers keep connections for 5 seconds by default
TIMEOUT = 120       # seconds without any answer after which a server counts as dead


def make_request(path, body):
    """The bytes of a POST request with a JSON body, bytes, on a connection that stays."""
    return (b'POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
            b'Content-Length: %d\r\n\r\n' % (path.encode(), len(body))) + body


class Connection:
    """A connection to a server on this machine, with at most one request under way."""

    def __init__(self, port):
        self._socket = socket.create_connection(('127.0.0.1', port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head, self._missing = b'', None       # bytes of the answer that are still to come
        self.status, self.since = None, 0.0

    def fileno(self):
        return self._socket.fileno()

    def send(self, request, since):
        """since: when the request should have been sent, from which its time counts."""
        self.since = since
        self._socket.sendall(request)

    def receive(self):
        """Read what has come. Returns whether the answer is whole. It must have a Content-Length,
        as those of all servers here have."""
        data = self._socket.recv(RECEIVE_BYTES)
        if not data:
            raise SystemExit('a server closed the connection')
        if self._missing is None:
            self._head += data
            end = self._head.find(HEAD_END)
            if end < 0:
                return False
            self.status = int(self._head[9:12])
            length = int(CONTENT_LENGTH.search(self._head, 0, end + 2).group(1))
            self._missing = length - (len(self._head) - end - len(HEAD_END))
        else:
            self._missing -= len(data)
        if self._missing:
            return False
        self._head, self._missing = b'', None
        return True

    def close(self):
        self._socket.close()


class Run:
    """The measurement of a run: seconds and status of each request."""

    def __init__(self):
        self.seconds, self.failures = [], collections.Counter()
        self._started, self._processor = time.perf_counter(), time.process_time()

    def receive(self, connection):
        """Read from a connection. Returns whether its request is done."""
        if not connection.receive():
            return False
        self.seconds.append(time.perf_counter() - connection.since)
        if connection.status != 200:
            self.failures[connection.status] += 1
        return True

    def answer(self):
        """What the worker answers; times in seconds."""
        values = sorted(self.seconds)
        return {'requests': len(values), 'seconds': time.perf_counter() - self._started,
                'generator_seconds': time.process_time() - self._processor,
                'failures': {str(status): count for status, count in self.failures.items()},
                **{'p%d' % percent: percentile(values, percent) for percent in (50, 90, 99)}}


def percentile(values, percent):
    """Of sorted values: the smallest that is at least as large as `percent` of them."""
    return values[max(0, -(-len(values) * percent // 100) - 1)]


class BusyConnections:
    """The connections whose request is under way; thousands, where a server falls behind."""

    def __init__(self):
        self._selector = selectors.DefaultSelector()

    def __len__(self):
        return len(self._selector.get_map())

    def add(self, connection):
        self._selector.register(connection, selectors.EVENT_READ)

    def remove(self, connection):
        self._selector.unregister(connection)

    def wait(self, seconds=TIMEOUT):
        """The connections that have received something, after `seconds` at most."""
        readable = [key.fileobj for key, _ in self._selector.select(max(0, seconds))]
        if not readable and seconds >= TIMEOUT:
            raise SystemExit('a server gave no answer within %d s' % TIMEOUT)
        return readable


def run_closed(port, requests, clients, count):
    """Each of `clients` sends its next request when it has the answer to the last one; `count`
    requests in all, from the list in turn."""
    connections = [Connection(port) for _ in range(min(clients, count))]
    busy, run = BusyConnections(), Run()
    for sent, connection in enumerate(connections):
        busy.add(connection)
        connection.send(requests[sent % len(requests)], time.perf_counter())
    sent = len(connections)
    while len(busy):
        for connection in busy.wait():
            if not run.receive(connection):
                continue
            if sent < count:
                connection.send(requests[sent % len(requests)], time.perf_counter())
                sent += 1
            else:
                busy.remove(connection)
    answer = run.answer()
    for connection in connections:
        connection.close()
    return answer


def arrivals(rate, seconds, seed):
    """The times of a Poisson process, `rate` a second on average."""
    rng, times, now = random.Random(seed), [], 0.0
    while (now := now + rng.expovariate(rate)) < seconds:
        times.append(now)
    return times


def take_connection(free, port):
    """A free connection, or a new one where there is none that was used lately: servers close those
    that rest for seconds."""
    while free:
        connection = free.pop()
        if time.perf_counter() - connection.since < FRESH_SECONDS:
            return connection
        connection.close()
    return Connection(port)


def run_open(port, requests, rate, seconds, seed):
    """Requests come at times that don't depend on the answers, each on a free connection or on a
    new one; the time of a request counts from when it should have been sent."""
    times = arrivals(rate, seconds, seed)
    free, busy, run, sent = [], BusyConnections(), Run(), 0
    started = time.perf_counter()
    while len(run.seconds) < len(times):
        due = started + times[sent] - time.perf_counter() if sent < len(times) else TIMEOUT
        if due <= 0:
            connection = take_connection(free, port)
            connection.send(requests[sent % len(requests)], started + times[sent])
            busy.add(connection)
            sent += 1
            continue
        for connection in busy.wait(due):
            if run.receive(connection):
                busy.remove(connection)
                free.append(connection)
    answer = run.answer()
    for connection in free:
        connection.close()
    return answer


def raise_descriptor_limit():
    """Each connection needs a descriptor. The usual limit of 1,024 can be raised without rights."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main():
    raise_descriptor_limit()
    lists = {}      # {file: requests}

    def answer(question):
        """A question is {'port', 'path', 'bodies': a JSON file with a list of bodies} with
        {'clients', 'count'}, or {'rate', 'duration', 'seed'} for an open loop."""
        key = question['path'], question['bodies']
        if key not in lists:
            lists[key] = [make_request(question['path'], body.encode())
                          for body in harness.read_json(question['bodies'])]
        requests = lists[key]
        if 'rate' in question:
            return run_open(question['port'], requests, question['rate'], question['duration'],
                            question['seed'])
        return run_closed(question['port'], requests, question['clients'], question['count'])
    harness.answer_questions(answer)


if __name__ == '__main__':
    main()
