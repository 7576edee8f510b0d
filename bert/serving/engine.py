"""The engine of the server: plans the inferences of requests, computes them in shared batches."""
import asyncio
import collections
import concurrent.futures
import contextlib
import logging
import math
import threading
import time
import weakref
from typing import NamedTuple

from bert.errors import UserError
from bert.pipelines.inference import NETWORK_LOCK, NOT_FINITE, finite_rows
from bert.serving.api_errors import ApiError
from bert.serving.fair_queue import FairQueue, Work
from bert.serving.token_limit import estimate_tokens, exceeds, may_exceed

LOG = logging.getLogger(__name__)

# Threads that tokenize and finish requests. More than one, so that a large request does not hold
# the small ones up; the tokenizer computes outside of Python.
PLANNING_THREADS = 4
# Up to so many tokens a request is planned, and finished, in the event loop: the way to a thread
# and back takes longer than the work, which is less than a millisecond
INLINE_TOKENS = 512
PROBE = 'probe'     # the client of probes
# Weight of the newest batch in the measured speed
SPEED_UPDATE = 0.1


class Limits(NamedTuple):
    """What the engine takes. max_texts, max_tokens: of a request. max_wait: seconds that the queue
    may need when a request comes."""
    max_texts: int
    max_tokens: int
    max_wait: float


class Outcome(NamedTuple):
    """What became of a request. num_read: tokens that the network has read; num_tokens: of each
    text before it was cut; max_tokens: the length at which texts are cut. Times in seconds."""
    result: object
    num_read: int
    num_tokens: list
    max_tokens: float
    planning_time: float
    queue_time: float
    inference_time: float

    @property
    def total_time(self):
        return self.planning_time + self.queue_time + self.inference_time

    @property
    def truncated(self):
        """[{'index', 'tokens', 'kept'}] of the texts that were cut."""
        return [{'index': i, 'tokens': int(count), 'kept': int(self.max_tokens)}
                for i, count in enumerate(self.num_tokens) if count > self.max_tokens]


class Engine:
    """Plans and computes requests. limits: `Limits`; max_batch_tokens: of a batch; metrics:
    `bert.serving.metrics.Metrics`. Its coroutines are for one event loop."""

    def __init__(self, limits, max_batch_tokens, metrics):
        self.limits, self._metrics = limits, metrics
        self.max_batch_tokens, self.num_planning_threads = max_batch_tokens, PLANNING_THREADS
        self.queue = FairQueue(max_batch_tokens)
        metrics.watch_queue(self.queue.num_texts)
        self._successes = weakref.WeakKeyDictionary()   # {NetworkRunner: time of its last batch}
        self._planning = concurrent.futures.ThreadPoolExecutor(PLANNING_THREADS, 'planning')
        self._speeds = weakref.WeakKeyDictionary()      # {NetworkRunner: tokens a second}
        # {(NetworkRunner, client): tokens being planned, estimated}
        self._planned = collections.Counter()
        self._turns = weakref.WeakValueDictionary()     # {client: semaphore of planning}
        self._thread = threading.Thread(target=self._compute_batches, name='computing', daemon=True)
        self._thread.start()

    async def run(self, runner, plan, texts, client, truncate=False, **about_texts):
        """The `Outcome` of a request.

        runner: `NetworkRunner` that will compute it, to know how long that takes. plan: function
        → `Inference`, called in a planning thread. texts: all texts of the request.
        client: of the queue. truncate: whether texts that are too long are cut. about_texts:
        num_items, tokenizer: as for `plan`. Raises `ApiError`. Where the task is cancelled,
        because the client left, what waits is dropped.
        """
        started = time.monotonic()
        inference = await self.plan(lambda: _with_list(plan()), texts, client, runner,
                                    **about_texts)
        self._check_tokens(inference, truncate)
        planned = time.monotonic()
        work = await self._compute(inference, client)
        result_tokens = inference.result_tokens
        result = await self.finish(inference.result, inference.num_read if result_tokens is None
                                   else result_tokens)
        now = time.monotonic()
        started_at = planned if work is None else work.started_at
        return Outcome(result, inference.num_read, inference.num_tokens, inference.max_tokens,
                       planned - started, started_at - planned, now - started_at)

    async def probe(self, plan):
        """Compute an inference that no limit holds up, to see that a model works. plan: function →
        `Inference`. Raises `ApiError`."""
        await self._compute(await self.in_planning_thread(plan), PROBE)

    def last_success(self, runner):
        """time.monotonic() of the last batch that a `NetworkRunner` has computed."""
        return self._successes.get(runner, -math.inf)

    async def in_planning_thread(self, function, on_end=None):
        """Call a function beside the event loop. on_end: called when the thread is free again,
        which may be later than the client has left. Raises `ApiError` for a `UserError`."""
        loop, future = asyncio.get_running_loop(), self._planning.submit(function)
        if on_end is not None:
            future.add_done_callback(lambda _: loop.call_soon_threadsafe(on_end))
        with _user_errors_as_422():
            return await asyncio.wrap_future(future)

    async def finish(self, function, num_tokens):
        """Call a function that makes results or an answer: beside the event loop if they are of
        many tokens, so that others don't wait. Raises `ApiError` for a `UserError`."""
        if num_tokens > INLINE_TOKENS:
            return await self.in_planning_thread(function)
        with _user_errors_as_422():
            return function()

    async def plan(self, function, texts, client, runner=None, num_items=None, tokenizer=None):
        """Call a function that tokenizes texts, or reads their ids: short texts at once, others
        in a planning thread, in turn with other clients.

        runner: `NetworkRunner` that will compute them, or None. num_items: what the user has
        listed; `texts` may have others too, such as a query; None: all of them. tokenizer: of
        texts that are no token ids. Raises `ApiError`.
        """
        self.check_count(len(texts) if num_items is None else num_items)
        num_tokens = sum(map(estimate_tokens, texts))
        estimate = min(num_tokens, self.limits.max_tokens)      # more are refused
        if runner is not None:
            self.check_capacity(runner, client, estimate)
        if len(texts) + num_tokens <= INLINE_TOKENS:
            with _user_errors_as_422():
                return function()

        def check_and_call():
            self._check_size(texts, tokenizer)
            return function()
        return await self._plan_in_turn(check_and_call, estimate, client, runner)

    async def _plan_in_turn(self, function, estimate, client, runner):
        """`plan` in a planning thread. estimate: of the tokens."""
        turn = self._turns.get(client)
        if turn is None:
            # no client takes all threads
            turn = self._turns[client] = asyncio.Semaphore(PLANNING_THREADS // 2)
        self._planned[runner, client] += estimate
        try:
            await turn.acquire()
            return await self.in_planning_thread(function, turn.release)
        finally:
            self._planned[runner, client] -= estimate
            if not self._planned[runner, client]:
                del self._planned[runner, client]

    async def _compute(self, inference, client):
        """The `Work` of an inference, computed; None for one without features."""
        if not len(inference.features):
            return None
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def end(error):
            if not loop.is_closed():
                loop.call_soon_threadsafe(_finish, future, error)
        work = Work(inference, client, end)
        self.queue.put(work)
        try:
            await future
        except asyncio.CancelledError:
            work.is_over = True
            self.queue.drop(work)
            raise
        return work

    # Limits

    def check_count(self, count, unit='texts'):
        """Raises `ApiError` for no text, or too many. unit: what else is counted."""
        if not count:
            raise ApiError(400, 'Empty', 'no text in the request: expected at least one')
        if count > self.limits.max_texts:
            raise ApiError(413, 'Validation', '%d %s in the request, expected at most %d: send '
                           'several requests' % (count, unit, self.limits.max_texts))

    def _check_size(self, texts, tokenizer):
        """Raises `ApiError` 413 for texts of more tokens than a request may have: before all of
        them are tokenized, which takes long and much memory."""
        limit = self.limits.max_tokens
        if may_exceed(texts, limit) and exceeds(texts, tokenizer, limit):
            raise ApiError(413, 'Validation', 'more than %d tokens in the request: send several '
                           'requests' % limit)

    def _check_tokens(self, inference, truncate):
        limit = inference.max_tokens
        too_long = [(i, count) for i, count in enumerate(inference.num_tokens) if count > limit]
        if too_long and not truncate:
            raise ApiError(422, 'Validation', '%s %d has %d tokens%s, but the model reads %d%s: '
                           'shorten it, or send "truncate": true' % (
                               inference.unit, *too_long[0],
                               ', special tokens included' * (inference.unit == 'text'), limit,
                               '' if len(too_long) == 1 else
                               ' (%d %ss are too long)' % (len(too_long), inference.unit)))
        if inference.num_read > self.limits.max_tokens:
            raise ApiError(413, 'Validation', '%d tokens in the request, expected at most %d: send '
                           'several requests' % (inference.num_read, self.limits.max_tokens))

    def check_capacity(self, runner, client, num_tokens):
        """Raises `ApiError` 429 while a request of `num_tokens` would wait longer than it may."""
        seconds = self.queue_seconds(runner, client, num_tokens)
        if seconds > self.limits.max_wait:
            raise ApiError(429, 'Overloaded', 'the server is busy: waiting requests take about '
                           '%.0f s, and new ones are accepted up to %.0f s'
                           % (seconds, self.limits.max_wait),
                           {'Retry-After': str(math.ceil(seconds - self.limits.max_wait) or 1)})

    def queue_seconds(self, runner, client, num_tokens):
        """The time that what is computed before a request takes, from the speeds of the networks.
        Clients take turns: of each other one it is no more than of this one."""
        seconds = collections.Counter()     # {client: of all its tokens}
        for (network, owner), tokens in (self.queue.tokens_waiting() + self._planned).items():
            seconds[owner] += self._seconds(network, tokens)
        own = seconds.pop(client, 0)
        until_end = own + self._seconds(runner, num_tokens)
        return own + sum(min(other, until_end) for other in seconds.values())

    def _seconds(self, runner, num_tokens):
        """The time that a network takes for tokens; 0 where there is none, or its speed is not
        known."""
        return 0.0 if runner is None else num_tokens / self._speeds.get(runner, math.inf)

    # Computing

    def _compute_batches(self):
        """The computing thread."""
        while (batch := self.queue.take()) is not None:
            runner, parts = batch
            try:
                self._compute_parts(runner, parts)
            except Exception as error:      # it ends the requests of the batch, and nothing else
                LOG.exception('a batch failed')
                message = (str(error).splitlines() or [type(error).__name__])[0]
                for work, _ in parts:
                    self._fail(work, 'the model failed: ' + message)

    def _compute_parts(self, runner, parts):
        """Compute what was taken from the queue, in the batches of its network."""
        features = [work.inference.features[i] for work, i in parts]
        self._metrics.observe_batch(features)
        started, waited = time.monotonic(), 0.0
        for indices in runner.make_batches(features):
            called = time.monotonic()
            with NETWORK_LOCK:      # which a model has that is just being opened
                waited += time.monotonic() - called
                _, outputs = runner.compute_batch([features[i] for i in indices])
            is_finite = finite_rows(outputs)
            for i, row, is_right in zip(indices, outputs, is_finite):
                work, number = parts[i]
                if is_right:
                    work.collect(number, row)
                else:
                    self._fail(work, NOT_FINITE)
            if is_finite.all():
                self._successes[runner] = time.monotonic()
        num_tokens = sum(item.valid_length for item in features)
        if num_tokens > self.max_batch_tokens / 2:      # single texts would seem slow
            seconds = time.monotonic() - started - waited
            self.learn_speed(runner, num_tokens / max(seconds, 1e-6))

    def _fail(self, work, message):
        self.queue.drop(work)
        work.end(ApiError(424, 'Backend', message))

    def learn_speed(self, runner, speed):
        """Take in a measured speed of a network, in tokens a second."""
        self._speeds[runner] = \
            (1 - SPEED_UPDATE) * self._speeds.get(runner, speed) + SPEED_UPDATE * speed

    def close(self):
        """Compute what waits, and end the threads."""
        self.queue.close()
        self._thread.join()
        self._planning.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _user_errors_as_422():
    """Context in which a `UserError` becomes an `ApiError`."""
    try:
        yield
    except UserError as error:
        raise ApiError(422, 'Validation', error.problem) from None


def _with_list(inference):
    """The inference with its features as a list: some make them anew each time."""
    return inference._replace(features=list(inference.features))


def _finish(future, error):
    """Set the result of a future, in its event loop."""
    if not future.done():
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
