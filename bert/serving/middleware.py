"""What every request goes through: keys, limits of the body, a client that leaves, errors, logs."""
import asyncio
import hmac
import logging
import time

import orjson
from starlette.routing import Match

from bert.errors import UserError
from bert.serving.api_errors import ApiError, error_body

# Bodies that are held at once, counted in longest ones: slow clients can't fill the memory
MAX_BODIES = 32

ACCESS_LOG = logging.getLogger('bert.serving.access')
LOG = logging.getLogger(__name__)

# What needs no key: operators' tools have none
OPEN_PATHS = '/health', '/ping', '/metrics', '/v2/health/live', '/v2/health/ready'
# The page and the description of the interface, which hold no data
OPEN_PREFIXES = '/page/', '/docs', '/openapi.json', '/static-offline-docs/'


def read_keys(path):
    """The keys in a file, one a line. Raises `UserError`."""
    try:
        with open(path, encoding='utf-8') as lines:
            keys = [line.strip() for line in lines if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("--api_key_file %s: the file can't be read: %s" % (
            path, getattr(error, 'strerror', None) or 'it is not UTF-8')) from None
    if not keys:
        raise UserError('--api_key_file %s: no key in the file: expected one key per line' % path)
    return [key.encode() for key in keys]


class Guard:
    """ASGI middleware around the whole application.

    keys: the accepted keys, bytes; None: no key is asked for. service: `service.Service`; routes:
    of the application, as Starlette has them.
    """

    def __init__(self, app, keys, service, routes):
        self._app, self._keys, self._service, self._routes = app, keys, service, routes
        self._options, self._metrics = service.options, service.metrics
        self._held_bytes = 0        # of all bodies

    async def __call__(self, scope, receive, send):
        if scope['type'] != 'http':
            await self._app(scope, receive, send)
            return
        exchange = Exchange(send)
        scope.setdefault('state', {})
        if scope['method'] == 'HEAD':   # its answer is that to GET; the connection drops the body
            scope = dict(scope, method='GET', asked_method='HEAD')
        started, kind = time.monotonic(), None
        try:
            self._check_key(scope)
            body = await self._read_body(scope, receive)
            await run_until_client_leaves(self._app, scope, body, receive, exchange)
        except ClientLeft:
            kind = 'ClientLeft'
        except Exception as error:
            kind = await self._send_error(scope, exchange, error)
        except asyncio.CancelledError:      # the server ends before it has answered
            self._service.num_given_up += 1
            kind = await self._send_error(scope, exchange, ApiError(
                503, 'Ended', 'the server ended before it had an answer'))
        finally:
            self._held_bytes -= scope['state'].get('held_bytes', 0)
        if exchange.status >= 400:
            kind = kind or scope['state'].get('error_kind', str(exchange.status))
        seconds = time.monotonic() - started
        path = self._route_path(scope)
        self._metrics.observe_request(path, seconds, kind)
        if self._options.access_log:
            log_request(scope, path, exchange.status, seconds)

    def _route_path(self, scope):
        """The path of the route, as it is declared; 'other' for none. So nobody can write into the
        log, or make as many metrics as there are paths."""
        if 'route' in scope:
            return scope['route'].path
        request = {'type': 'http', 'method': scope['method'], 'path': scope['path'],
                   'root_path': ''}
        return next((route.path for route in self._routes
                     if route.matches(request)[0] != Match.NONE), 'other')

    def _check_key(self, scope):
        path = scope['path']
        is_open = path in OPEN_PATHS or path.startswith(OPEN_PREFIXES) or \
            scope['method'] == 'OPTIONS' or path == '/' and scope['method'] == 'GET'
        if self._keys is None or is_open:
            return
        header = dict(scope['headers']).get(b'authorization', b'')
        scheme, _, key = header.partition(b' ')
        scope['state']['key'] = key.strip()     # the client, for the queue
        # all of them are compared, so that the time tells nothing
        matches = [hmac.compare_digest(key.strip(), known) for known in self._keys]
        if scheme.lower() != b'bearer' or not any(matches):
            raise ApiError(401, 'Unauthorized', 'a key is missing or wrong: expected the header '
                                                'Authorization: Bearer KEY',
                                                {'WWW-Authenticate': 'Bearer'})

    async def _read_body(self, scope, receive):
        """The body of a request. Raises `ApiError` for one that is too long or too slow."""
        limit = self._options.max_bytes
        length = dict(scope['headers']).get(b'content-length', b'0')
        if length.isdigit() and int(length) > limit:
            raise self._body_error(limit)
        try:
            return await asyncio.wait_for(self._receive_body(scope, receive),
                                          self._options.body_timeout)
        except asyncio.TimeoutError:    # of its own kind in Python 3.10
            raise ApiError(408, 'Validation', 'the body did not arrive within %g s'
                           % self._options.body_timeout, {'Connection': 'close'}) from None

    async def _receive_body(self, scope, receive):
        """The body, bytes. Raises `ApiError` if it is too long, or too much together with others,
        and `ClientLeft`."""
        limit, state, parts = self._options.max_bytes, scope['state'], []
        state['held_bytes'] = 0
        while True:
            message = await receive()
            if message['type'] == 'http.disconnect':
                raise ClientLeft
            parts.append(message.get('body', b''))
            state['held_bytes'] += len(parts[-1])
            self._held_bytes += len(parts[-1])
            if state['held_bytes'] > limit:
                raise self._body_error(limit)
            if self._held_bytes > MAX_BODIES * limit:
                raise ApiError(429, 'Overloaded', 'the server is busy: it holds %d bytes of '
                               'requests' % self._held_bytes, {'Retry-After': '1'})
            if not message.get('more_body'):
                return b''.join(parts)

    @staticmethod
    def _body_error(limit):
        # the connection stays: a client that sends all before it reads would lose the answer
        return ApiError(413, 'Validation', 'the body has more than %d bytes: send several requests'
                        % limit)

    async def _send_error(self, scope, exchange, error):
        """Answer with an error, if no answer has begun. Returns its kind."""
        if not isinstance(error, ApiError):
            LOG.error('%s %s failed', scope['method'], self._route_path(scope), exc_info=error)
            error = ApiError(500, 'Internal', 'the server failed: %s' % type(error).__name__)
        if not exchange.status:
            await send_json(exchange.send, error.status, error_body(scope['path'], error),
                            error.headers)
        return error.kind


class Exchange:
    """A `send` that remembers the status of the answer; 0 before there is any."""

    def __init__(self, send):
        self._send, self.status = send, 0

    async def send(self, message):
        if message['type'] == 'http.response.start':
            self.status = message['status']
        await self._send(message)


class ClientLeft(Exception):
    """The connection is closed."""


async def run_until_client_leaves(app, scope, body, receive, exchange):
    """Run the application on a body that was read; cancel it when the client closes the connection.
    Raises `ClientLeft` then."""
    is_read = False

    async def receive_again():
        nonlocal is_read
        if not is_read:
            is_read = True
            return {'type': 'http.request', 'body': body, 'more_body': False}
        await asyncio.Event().wait()        # the watcher knows when the client leaves
    answering = asyncio.ensure_future(app(scope, receive_again, exchange.send))
    watching = asyncio.ensure_future(receive())
    try:
        await asyncio.wait((answering, watching), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise ClientLeft
        await answering     # raises what it has raised
    finally:
        for task in (answering, watching):
            task.cancel()
        await asyncio.gather(answering, watching, return_exceptions=True)


async def send_json(send, status, content, headers):
    body = orjson.dumps(content)
    fields = {'content-type': 'application/json', 'content-length': str(len(body)), **headers}
    await send({'type': 'http.response.start', 'status': status, 'headers': [
        (name.lower().encode('latin-1'), value.encode('latin-1'))
        for name, value in fields.items()]})
    await send({'type': 'http.response.body', 'body': body})


def log_request(scope, path, status, seconds):
    """Write a line of the access log: no text and no key is in it. path: of the route, since users
    put keys also into paths."""
    state = scope['state']
    ACCESS_LOG.info('%s %s %s %s %.1f ms texts=%s tokens=%s',
                    scope['client'][0] if scope.get('client') else '-',
                    scope.get('asked_method', scope['method']), path, status or 'left',
                    1000 * seconds, state.get('num_texts', '-'), state.get('num_tokens', '-'))
