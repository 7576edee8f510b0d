"""A local web server for tests of downloads, which can simulate faults."""
import hashlib
import http.server
import threading


class LocalHandler(http.server.BaseHTTPRequestHandler):
    local = None        # the `LocalServer`

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = self.path.split('?')[0].lstrip('/')
        self.local.requests.append((self.command, path, self.headers.get('Range')))
        if path in self.local.status or path not in self.local.content:
            self.send_error(self.local.status.get(path, 404))
            return
        data = self.local.content[path]
        self.send_data(path, data, {
            'ETag': '"%s"' % self.local.etags.get(path, hashlib.sha256(data).hexdigest()),
            'X-Repo-Commit': '0' * 40})

    def send_data(self, path, data, headers):
        """Answer with `data`, or the range of it that the request asks for."""
        byte_range = self.headers.get('Range')
        start = (int(byte_range[len('bytes='):].split('-')[0])
                 if byte_range and self.local.ranges else 0)
        if start and start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', str(len(data) - start))
        if start:
            self.send_header('Content-Range', 'bytes %d-%d/%d' % (start, len(data) - 1, len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == 'GET':
            self.wfile.write(data[start:start + self.local.cut.pop(path, len(data))])


class LocalServer:
    """Serves `content` ({path: bytes}) while the `with` block lasts.

    cut: {path: number of bytes after which the server closes the connection, once}.
    status: {path: HTTP status instead of an answer}. ranges: whether the server honours Range.
    requests: [(method, path, Range or None)] in order of arrival. Like the Hugging Face hub, every
    answer has the commit and an ETag: the value in `etags`, or else the sha256.
    """
    handler = LocalHandler

    def __init__(self, content=None):
        self.content = dict(content or {})
        self.cut, self.status, self.etags, self.requests = {}, {}, {}, []
        self.ranges = True

    def __enter__(self):
        handler = type('Handler', (self.handler,), {'local': self})
        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = 'http://127.0.0.1:%d/' % self._server.server_port
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def paths(self, method='GET'):
        return [path for verb, path, _ in self.requests if verb == method]
