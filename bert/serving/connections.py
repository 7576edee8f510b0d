"""Connections: uvicorn's, which give up clients that do not send the head of a request."""
import re

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS, MAX_HEAD_BYTES = 30, 65536
UPGRADE = re.compile(rb'\r\nupgrade:', re.IGNORECASE)


class Connection(HttpToolsProtocol):
    """A connection is closed if a head does not come within `HEAD_SECONDS`, or is longer than
    `MAX_HEAD_BYTES`. The timeouts of bodies and of kept connections are for what comes after."""
    _timer, _head_bytes = None, 0

    def connection_made(self, transport):
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc):
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data):
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()
        self._head_bytes += len(data)
        head, end, rest = data.partition(b'\r\n\r\n')
        if self._timer is not None and end:
            # Java's clients offer HTTP/2 with each request: httptools would drop its body
            data = UPGRADE.sub(b'\r\nX-Upgrade:', head) + end + rest
        super().data_received(data)
        if self._timer is not None and self._head_bytes > MAX_HEAD_BYTES:
            self.transport.close()

    def on_headers_complete(self):
        self._end_head()
        super().on_headers_complete()

    def _await_head(self):
        self._head_bytes = 0
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _end_head(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
