"""The queue of the server: texts of all requests, taken in batches, fairly between clients."""
import collections
import threading
import time


class Work:
    """An `Inference` on its way through the queue, with one or more features.

    client: whose it is; texts are taken from all clients in turn, and from all requests of a client
    in turn. on_end: function(exception or None), called once: after the last output was collected,
    or when something failed.
    """

    def __init__(self, inference, client, on_end):
        self.inference, self.client, self._on_end = inference, client, on_end
        self.lengths = [features.valid_length for features in inference.features]
        self.tokens_waiting = sum(self.lengths)
        self.next_index = 0             # of the features that were not taken
        self.is_over = False            # finished, failed or cancelled
        self.started_at = None          # when the first features were taken
        self._num_open = len(self.lengths)      # features without outputs

    @property
    def is_taken(self):
        return self.next_index == len(self.lengths)

    def take(self):
        """The index of the next features."""
        self.started_at = self.started_at or time.monotonic()
        index = self.next_index
        self.next_index += 1
        self.tokens_waiting -= self.lengths[index]
        return index

    def collect(self, index, outputs):
        """Hand over the outputs of features."""
        if self.is_over:
            return
        self.inference.collect(index, outputs)
        self._num_open -= 1
        if not self._num_open:
            self.end()

    def end(self, error=None):
        """The work is done, or has failed."""
        if not self.is_over:
            self.is_over = True
            self._on_end(error)


class _ModelQueue:
    """The works for one `NetworkRunner`, by client."""

    def __init__(self):
        self.clients = collections.OrderedDict()    # {client: deque of works}, the next one first

    def add(self, work):
        self.clients.setdefault(work.client, collections.deque()).append(work)

    def remove(self, work):
        works = self.clients[work.client]
        works.remove(work)
        if not works:
            del self.clients[work.client]

    def take(self, max_tokens):
        """[(work, index)] of at most `max_tokens` tokens, at least one: from each client in turn,
        from each of its works in turn."""
        batch, num_tokens = [], 0
        while self.clients:
            client, works = next(iter(self.clients.items()))
            work = works[0]
            num_tokens += work.lengths[work.next_index]
            if batch and num_tokens > max_tokens:
                break
            batch.append((work, work.take()))
            works.popleft()
            if not work.is_taken:
                works.append(work)
            del self.clients[client]
            if works:
                self.clients[client] = works        # behind all other clients
        return batch


class FairQueue:
    """Features that wait for their networks. Several threads may put, one takes.

    max_batch_tokens: of a batch that is taken.
    """

    def __init__(self, max_batch_tokens):
        self._max_batch_tokens = max_batch_tokens
        self._queues = collections.OrderedDict()    # {NetworkRunner: _ModelQueue}, the next first
        self._condition = threading.Condition()
        self._is_closed = False

    def put(self, work):
        """Add a `Work`."""
        with self._condition:
            self._queues.setdefault(work.inference.runner, _ModelQueue()).add(work)
            self._condition.notify()

    def drop(self, work):
        """Take out what is left of a work."""
        with self._condition:
            runner = work.inference.runner
            queue = self._queues.get(runner)
            if queue and work in queue.clients.get(work.client, ()):
                queue.remove(work)
                if not queue.clients:
                    del self._queues[runner]

    def take(self):
        """(`NetworkRunner`, [(work, index of its features)]) of the next batch; waits for one. None
        after `close`, once the queue is empty. Networks take turns."""
        with self._condition:
            while not self._queues:
                if self._is_closed:
                    return None
                self._condition.wait()
            runner, queue = next(iter(self._queues.items()))
            batch = queue.take(self._max_batch_tokens)
            del self._queues[runner]
            if queue.clients:
                self._queues[runner] = queue
            return runner, batch

    def close(self):
        """Let `take` end when everything is taken."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()

    def tokens_waiting(self):
        """Counter {(`NetworkRunner`, client): number of tokens that wait}."""
        with self._condition:
            return collections.Counter({
                (runner, client): sum(work.tokens_waiting for work in works)
                for runner, queue in self._queues.items()
                for client, works in queue.clients.items()})

    def num_texts(self):
        """Number of features that wait."""
        with self._condition:
            return sum(len(work.lengths) - work.next_index for queue in self._queues.values()
                       for works in queue.clients.values() for work in works)
