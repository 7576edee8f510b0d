"""Connections: uvicorn's, which give up clients that do not send the head of a request."""
import re

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bert.serving.api_errors import ApiError, native_body

HEAD_SECONDS, MAX_HEAD_BYTES = 30, 65536
NO_HTTP = ApiError(400, 'Validation', 'the request is no valid HTTP: expected HTTP/1.1')
UPGRADE = re.compile(rb'\r\nupgrade:', re.IGNORECASE)


class LingeringTransport:
    """An asyncio transport that does not close in the middle of a body: the system would throw away
    the answer when more of the body comes. It ends its own side, and drops what still comes."""

    def __init__(self, transport, is_in_body):
        self._transport, self._is_in_body, self._has_ended = transport, is_in_body, False
        self.close_now = transport.close

    def __getattr__(self, name):
        return getattr(self._transport, name)

    def close(self):
        if self._has_ended or not self._is_in_body() or self._transport.is_closing():
            self.close_now()
        else:
            self._has_ended = True
            self._transport.write_eof()

    def close_if_ended(self):
        """After a body."""
        if self._has_ended:
            self.close_now()


class Connection(HttpToolsProtocol):
    """A connection is closed if a head does not come within `HEAD_SECONDS`, or is longer than
    `MAX_HEAD_BYTES`, or if the rest of a body that is refused does not come in that time."""
    _timer, _head_bytes, _is_in_body = None, 0, False

    def connection_made(self, transport):
        super().connection_made(transport)
        self.transport = LingeringTransport(transport, lambda: self._is_in_body)
        self._start_timer()

    def connection_lost(self, exc):
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data):
        is_answered = self.cycle is None or self.cycle.response_complete
        if self._timer is None and is_answered:
            self._start_timer()
        if not self._is_in_body and is_answered:
            self._head_bytes += len(data)
            # Java's clients offer HTTP/2 with each request: httptools would drop its body
            head, end, rest = data.partition(b'\r\n\r\n')
            data = UPGRADE.sub(b'\r\nX-Upgrade:', head) + end + rest
        super().data_received(data)
        if not self._is_in_body and self._timer is not None and self._head_bytes > MAX_HEAD_BYTES:
            self.transport.close()

    def on_headers_complete(self):
        if self.transport.is_closing():     # a request after the last one
            return
        self._stop_timer()
        self._is_in_body, self._head_bytes = True, 0
        super().on_headers_complete()

    def on_message_complete(self):
        self._stop_timer()
        self._is_in_body = False
        super().on_message_complete()
        self.transport.close_if_ended()

    def shutdown(self):
        super().shutdown()
        self.transport.close_if_ended()

    def send_400_response(self, msg):
        """Answer to what is no HTTP: with JSON, as to all other errors."""
        body = orjson.dumps(native_body(NO_HTTP))
        self.transport.write(b'HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n'
                             b'content-length: %d\r\nconnection: close\r\n\r\n' % len(body) + body)
        self.transport.close()

    def _start_timer(self):
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close_now)

    def _stop_timer(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
