"""A local web server for tests of downloads, which can simulate faults."""
import hashlib
import http.server
import threading


class LocalServer:
    """Serves `content` ({path: bytes}) while the `with` block lasts.

    cut: {path: number of bytes after which the server closes the connection, once}.
    status: {path: HTTP status instead of an answer}. ranges: whether the server honours Range.
    requests: [(method, path, Range or None)] in order of arrival. Like the Hugging Face hub, every
    answer has the commit and an ETag: the value in `etags`, or else the sha256.
    """

    def __init__(self, content=None):
        self.content = dict(content or {})
        self.cut, self.status, self.etags, self.requests = {}, {}, {}, []
        self.ranges = True

    def __enter__(self):
        handler = type('Handler', (_Handler,), {'local': self})
        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = 'http://127.0.0.1:%d/' % self._server.server_port
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def paths(self, method='GET'):
        return [path for verb, path, _ in self.requests if verb == method]


class _Handler(http.server.BaseHTTPRequestHandler):
    local = None

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        path = self.path.split('?')[0].lstrip('/')
        byte_range = self.headers.get('Range')
        self.local.requests.append((self.command, path, byte_range))
        if path in self.local.status or path not in self.local.content:
            self.send_error(self.local.status.get(path, 404))
            return
        data = self.local.content[path]
        start = (int(byte_range[len('bytes='):].split('-')[0])
                 if byte_range and self.local.ranges else 0)
        if start and start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', str(len(data) - start))
        if start:
            self.send_header('Content-Range', 'bytes %d-%d/%d' % (start, len(data) - 1, len(data)))
        self.send_header('ETag', '"%s"' % self.local.etags.get(path,
                                                               hashlib.sha256(data).hexdigest()))
        self.send_header('X-Repo-Commit', '0' * 40)
        self.end_headers()
        if body:
            self.wfile.write(data[start:start + self.local.cut.pop(path, len(data))])
