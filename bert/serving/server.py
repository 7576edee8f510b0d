"""Runs the server: opens the models, listens, ends in good order."""
import ipaddress
import logging
import resource
import signal
import socket
import sys

import mxnet as mx
import uvicorn

from bert.errors import UserError
from bert.model.inference import max_batch_tokens
from bert.serving.application import make_application
from bert.serving.connections import Connection
from bert.serving.engine import Engine, Limits
from bert.serving.hosting import ModelHost, settle_objects
from bert.serving.metrics import Metrics
from bert.serving.service import Service

LOG = logging.getLogger(__name__)

BACKLOG = 2048              # connections that the system keeps until they are accepted
READ_SECONDS = 60           # in which a client must read something of its answer
SHUTDOWN_SECONDS = 30       # that requests get to finish after SIGTERM


def serve_models(options):
    """Serve the models of `bert.flags.serving.ServingOptions` until SIGTERM or Ctrl-C. Raises
    `UserError`."""
    log_to_stderr()
    service = make_service(options)
    try:
        server = make_server(service)
        listener = listen(options.host, options.port)   # when the models answer, and not before
        raise_descriptor_limit()
        if options.api_key_file is None and not is_loopback(listener):
            LOG.warning('--host %s: everyone who can reach this address can use the models: give '
                        '--api_key_file to ask for a key', options.host)
        for model in service.host.models.values():
            LOG.info('model %s: %s, up to %d tokens, from %s', model.name, model.kind,
                     model.max_tokens, model.path)
        address = url_of(listener)
        LOG.info('ready: %s (the page), %s/docs (the interface)', address, address)
        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn has handlers of its own while it runs, and raises the signal again at its
            # end: for these handlers, to which an end in good order is no failure
            signal.signal(number, server.handle_exit)
        settle_objects()
        server.run([listener])
    finally:
        service.engine.close()
    log_end(service.num_given_up)


def log_end(num_given_up):
    """Log what became of the requests that had begun."""
    if num_given_up:
        LOG.warning('ended: %d requests that had begun are not answered, since they took more than '
                    '%d s, or a second signal came', num_given_up, SHUTDOWN_SECONDS)
    else:
        LOG.info('ended: all requests that had begun are answered')


def make_service(options):
    """The `Service` of `ServingOptions`, whose models have computed something. Raises `UserError`.
    """
    host, metrics = ModelHost(options), Metrics()
    limits = Limits(options.max_texts, options.max_tokens, options.max_wait)
    engine = Engine(limits, options.max_batch_tokens or max_batch_tokens(mx.cpu()), metrics)
    return Service(host, engine, options, metrics)


class Server(uvicorn.Server):
    """Says what it waits for at its end."""

    def handle_exit(self, sig, frame):
        num_requests = len(self.server_state.tasks)
        if num_requests and not self.should_exit:
            LOG.info('ending: %d requests are under way, and get %d s; a second signal ends at '
                     'once', num_requests, SHUTDOWN_SECONDS)
        super().handle_exit(sig, frame)


def make_server(service):
    """The `uvicorn.Server` of a service. Raises `UserError`."""
    for name in ('uvicorn.error', 'uvicorn.access'):    # the latter would log whole URLs
        logging.getLogger(name).setLevel(logging.WARNING)
    return Server(uvicorn.Config(
        make_application(service), http=Connection, ws='none', log_config=None, access_log=False,
        lifespan='off', timeout_graceful_shutdown=SHUTDOWN_SECONDS, server_header=False))


def is_loopback(listener):
    """Whether a socket can be reached from this machine only."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def url_of(listener):
    host, port = listener.getsockname()[:2]
    return 'http://%s:%d' % ('[%s]' % host if ':' in host else host, port)


def log_to_stderr():
    logging.basicConfig(stream=sys.stderr, level=logging.INFO,
                        format='%(asctime)s %(levelname)s %(message)s')


def listen(host, port):
    """A listening socket. Raises `UserError`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # a client that does not read its answer is given up; connections inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * READ_SECONDS)
        listener.bind(address)
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        raise UserError('--host %s --port %d: %s: choose another host or port' % (
            host, port, getattr(error, 'strerror', None) or error)) from None
    return listener


def raise_descriptor_limit():
    """Take as many descriptors as the system allows: each connection needs one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
