"""A server of tiny models in this process, in a thread of its own."""
import contextlib
import dataclasses
import os
import subprocess
import sys
import threading
import time

import requests
from reference import numpy_bert
from support import cross_encoders, tiny
from support.processes import PACKAGE

from bert.flags.serving import ServingOptions
from bert.serving import server

KINDS = {'vectors': 'embedding', 'classes': 'classification', 'labels': 'multi_label',
         'ranks': 'ranking', 'answers': 'question_answering', 'tags': 'token_classification',
         'masks': 'fill_mask', 'scores': 'regression'}     # {name of a tiny model: its kind}


def write_models(folder):
    """Write a tiny model of each kind; the values of --model_dir."""
    paths = {
        'vectors': tiny.write_checkpoint(folder / 'vectors'),
        'classes': tiny.write_classifier(folder / 'classes'),
        'labels': tiny.write_multi_label(folder / 'labels'),
        'ranks': cross_encoders.write_cross_encoder(folder / 'ranks'),
        'answers': tiny.write_question_answerer(folder / 'answers'),
        'tags': tiny.write_tagger(folder / 'tags'),
        'masks': write_masked_model(folder / 'masks'),
        'scores': tiny.write_with_head(folder / 'scores', 'BertForSequenceClassification',
                                       cross_encoders.HEAD, problem_type='regression')}
    return tuple('%s=%s' % item for item in paths.items())


def write_masked_model(folder):
    tensors = {name: tensor for name, tensor in numpy_bert.random_tensors(tiny.CONFIG).items()
               if not name.startswith(('bert.pooler.', 'cls.seq_relationship.'))}
    return tiny.write_transformers(folder, tensors, architectures=['BertForMaskedLM'])


TASKS = 'masks=fill_mask', 'scores=regression'


@dataclasses.dataclass
class RunningServer:
    """url: without a path. service: `bert.serving.service.Service`; key: sent with each request."""
    url: str
    service: object
    key: str | None = None

    def __post_init__(self):
        self.session = requests.Session()

    def pipeline(self, name):
        return self.service.host.models[name].pipeline

    def send(self, path, body=None, **options):
        """The `requests.Response` of a GET, or of a POST with a body of JSON."""
        headers = {'Authorization': 'Bearer ' + self.key} if self.key else {}
        headers.update(options.pop('headers', {}))
        method = 'GET' if body is None and 'data' not in options else 'POST'
        return self.session.request(method, self.url + path, json=body, headers=headers,
                                    timeout=60, **options)

    def ask(self, path, body=None):
        """The content of an answer, which must be none of an error."""
        response = self.send(path, body)
        assert response.status_code == 200, response.text
        return response.json()


def wait_until(is_so):
    deadline = time.monotonic() + 30
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_so()


@contextlib.contextmanager
def running_server(model_dir, key=None, **options):
    """A `RunningServer` of models. options: of `ServingOptions`."""
    options = ServingOptions(model_dir=model_dir, threads=1, port=0, **options)
    service = server.make_service(options)
    uvicorn_server = server.make_server(service)
    listener = server.listen('127.0.0.1', 0)
    thread = threading.Thread(target=uvicorn_server.run, args=([listener],))
    thread.start()
    try:
        yield RunningServer(server.url_of(listener), service, key)
    finally:
        uvicorn_server.should_exit = True
        thread.join(30)
        service.engine.close()
        assert not thread.is_alive()


@contextlib.contextmanager
def started_server(*arguments, env=None, **options):
    """(`RunningServer`, `Popen`) of serve.py in a process of its own, on a free port. It is ended
    with the context."""
    process = subprocess.Popen(
        [sys.executable, str(PACKAGE / 'serve.py'), '--port', '0', *map(str, arguments)],
        stderr=subprocess.PIPE, text=True, env=dict(os.environ, **(env or {})), **options)
    try:
        log = []
        for line in process.stderr:
            log.append(line)
            if ' ready: ' in line:
                break
        assert log and ' ready: ' in log[-1], ''.join(log)
        yield RunningServer(log[-1].split(' ready: ')[1].split()[0], None), process
    finally:
        process.terminate()
        process.communicate(timeout=60)


@contextlib.contextmanager
def running_request(server, path, body):
    """A request in a thread of its own, which ends with the context; its `response` then is there.
    """
    class RunningRequest(threading.Thread):
        response = None

        def run(self):
            self.response = RunningServer(server.url, None, server.key).send(path, body)
    thread = RunningRequest()
    thread.start()
    try:
        yield thread
    finally:
        thread.join(60)
