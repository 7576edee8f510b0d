"""The metrics of the server, for Prometheus, under the names of text-embeddings-inference."""
import re

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60)
TOKENS = (4, 8, 16, 32, 64, 128, 256, 384, 512, 1024, 4096, 16384)


class Metrics:
    """Counts and times of requests."""

    def __init__(self):
        self.registry = CollectorRegistry()
        self._requests = self._counter('te_request_count', 'requests', 'method')
        self._successes = self._counter('te_request_success', 'requests with an answer', 'method')
        self._failures = self._counter('te_request_failure', 'requests with an error', 'err')
        self._duration = self._histogram('te_request_duration', 'seconds of a request', SECONDS)
        self._tokenization = self._histogram(
            'te_request_tokenization_duration', 'seconds of tokenizing a request', SECONDS)
        self._queue_time = self._histogram(
            'te_request_queue_duration', 'seconds in the queue', SECONDS)
        self._inference = self._histogram(
            'te_request_inference_duration', 'seconds of computing', SECONDS)
        self._input_length = self._histogram('te_request_input_length', 'tokens of a text', TOKENS)
        self._queue_size = Gauge('te_queue_size', 'texts that wait', registry=self.registry)
        self._batch_size = self._histogram('te_batch_next_size', 'texts of a batch', TOKENS)
        self._batch_tokens = self._histogram('te_batch_next_tokens', 'tokens of a batch', TOKENS)

    def _counter(self, name, help, label):
        return Counter(name, help, [label], registry=self.registry)

    def _histogram(self, name, help, buckets):
        return Histogram(name, help, buckets=buckets, registry=self.registry)

    def watch_queue(self, count):
        """Take the size of the queue from a function."""
        self._queue_size.set_function(count)

    def observe_batch(self, features):
        """Count a batch that is taken from the queue."""
        self._batch_size.observe(len(features))
        self._batch_tokens.observe(sum(item.valid_length for item in features))

    def observe_request(self, path, seconds, error_kind=None):
        """Count a request. path: of its route. error_kind: of its `ApiError`, None for an answer.
        """
        self._requests.labels(path).inc()
        self._duration.observe(seconds)
        if error_kind is None:
            self._successes.labels(path).inc()
        else:
            self._failures.labels(error_kind).inc()

    def observe_outcome(self, outcome):
        """Count the texts and times of an `engine.Outcome`."""
        for histogram, seconds in ((self._tokenization, outcome.planning_time),
                                   (self._queue_time, outcome.queue_time),
                                   (self._inference, outcome.inference_time)):
            histogram.observe(seconds)
        for count in outcome.num_tokens:
            self._input_length.observe(count)

    def expose(self):
        """The text that Prometheus reads, bytes. The library writes counters with `_total` at their
        ends, and when each was made; text-embeddings-inference does not."""
        lines = generate_latest(self.registry).splitlines(keepends=True)
        return b''.join(re.sub(rb'\b(te_request_\w+?)_total\b', rb'\1', line) for line in lines
                        if b'_created' not in line)
