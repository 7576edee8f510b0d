"""The metrics of the server, for Prometheus, under the names of text-embeddings-inference."""
import re

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from bert import file_names
from bert.serving.hosting import CLASSIFIER_KINDS

SECONDS = (.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60)
TOKENS = (4, 8, 16, 32, 64, 128, 256, 384, 512, 1024, 4096, 16384)
# What text-embeddings-inference counts of its two kinds of models, by our kinds
EMBED, PREDICT = 'te_embed', 'te_predict'
PREFIXES = {file_names.EMBEDDING: EMBED,
            **dict.fromkeys((*CLASSIFIER_KINDS, file_names.RANKING), PREDICT)}


class _Times:
    """Where the seconds of an `engine.Outcome` go. name: the beginning of their names."""

    def __init__(self, name, registry):
        self._tokenization, self._queue, self._inference = (
            Histogram('%s_%s_duration' % (name, part), 'seconds ' + text, buckets=SECONDS,
                      registry=registry)
            for part, text in (('tokenization', 'of tokenizing'), ('queue', 'in the queue'),
                               ('inference', 'of computing')))

    def observe(self, outcome):
        self._tokenization.observe(outcome.planning_time)
        self._queue.observe(outcome.queue_time)
        self._inference.observe(outcome.inference_time)


class _Texts:
    """What models of a kind have done: texts, and the seconds of their requests."""

    def __init__(self, name, registry):
        self._count = Counter(name + '_count', 'texts', registry=registry)
        self._success = Counter(name + '_success', 'texts that were computed', registry=registry)
        self._duration = Histogram(name + '_duration', 'seconds of a request', buckets=SECONDS,
                                   registry=registry)
        self._times = _Times(name, registry)

    def fail(self, num_texts):
        self._count.inc(num_texts)

    def observe(self, outcome):
        for counter in (self._count, self._success):
            counter.inc(len(outcome.num_tokens))
        self._duration.observe(outcome.total_time)
        self._times.observe(outcome)


class Metrics:
    """Counts and times of requests."""

    def __init__(self):
        self.registry = CollectorRegistry()
        self._requests = self._counter('te_request_count', 'requests', 'method')
        self._successes = self._counter('te_request_success', 'requests with an answer', 'method')
        self._failures = self._counter('te_request_failure', 'requests with an error', 'err')
        self._duration = self._histogram('te_request_duration', 'seconds of a request', SECONDS)
        self._times = _Times('te_request', self.registry)
        self._texts = {prefix: _Texts(prefix, self.registry) for prefix in (EMBED, PREDICT)}
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

    def observe_outcome(self, kind, outcome):
        """Count the texts and times of an `engine.Outcome` of a model. kind: of
        `bert.file_names.MODEL_KINDS`."""
        self._times.observe(outcome)
        if kind in PREFIXES:
            self._texts[PREFIXES[kind]].observe(outcome)
        for count in outcome.num_tokens:
            self._input_length.observe(count)

    def observe_failure(self, kind, num_texts):
        """Count the texts of a request that a model of a kind did not answer."""
        if kind in PREFIXES:
            self._texts[PREFIXES[kind]].fail(num_texts)

    def expose(self):
        """The text that Prometheus reads, bytes. The library writes counters with `_total` at their
        ends, and when each was made; text-embeddings-inference does not."""
        lines = generate_latest(self.registry).splitlines(keepends=True)
        return b''.join(re.sub(rb'\b(te_\w+?)_total\b', rb'\1', line) for line in lines
                        if b'_created' not in line)
