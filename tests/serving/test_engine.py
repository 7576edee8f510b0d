"""The engine: shared batches, failures of one request alone, overload, clients that leave."""
import asyncio
import threading
import time

import numpy as np
import pytest
from support.servers import wait_until

from bert.data.transform import Features
from bert.errors import UserError
from bert.pipelines.inference import NETWORK_LOCK, Inference
from bert.serving.api_errors import ApiError
from bert.serving.engine import INLINE_TOKENS, Engine, Limits
from bert.serving.metrics import Metrics


class SlowNetwork:
    """A runner whose outputs are the lengths of the texts. It computes while `gate` is set."""

    def __init__(self):
        self.gate, self.batches = threading.Event(), []
        self.gate.set()

    def make_batches(self, features):
        return [range(len(features))]

    def compute_batch(self, features):
        with NETWORK_LOCK:      # as a `NetworkRunner`
            self.gate.wait(10)
        lengths = [item.valid_length for item in features]
        self.batches.append(lengths)
        if 13 in lengths:
            raise RuntimeError('13 is not computed')
        outputs = np.array(lengths, 'float32')[:, None]
        outputs[outputs == 7] = np.nan
        return None, outputs

    def plan(self, lengths, max_tokens=100):
        """A function that plans texts of these lengths; the result is their sum."""
        def plan():
            total = []
            return Inference(self, [Features(None, None, length, None, length)
                                    for length in lengths],
                             lambda i, row: total.append(float(row[0])), lambda: sum(total),
                             lengths, max_tokens)
        return plan


@pytest.fixture
def network():
    return SlowNetwork()


@pytest.fixture
def engine():
    engine = Engine(Limits(max_texts=10, max_tokens=500, max_wait=5.0), 100, Metrics())
    yield engine
    engine.close()


def run(engine, network, *requests, limit=100, truncate=False):
    """The results or errors of requests that are sent at once, each a list of lengths."""
    async def send_all():
        return await asyncio.gather(
            *[engine.run(network, network.plan(lengths, limit), ['text'] * len(lengths), str(i),
                         truncate)
              for i, lengths in enumerate(requests)], return_exceptions=True)
    return asyncio.run(send_all())


def test_requests_share_batches(engine, network):
    network.gate.clear()
    threading.Timer(0.3, network.gate.set).start()
    outcomes = run(engine, network, [1], *[[10, 20]] * 4)
    assert [outcome.result for outcome in outcomes] == [1, 30, 30, 30, 30]
    assert len(network.batches) <= 3 and max(map(sum, network.batches)) <= 100
    assert outcomes[1].num_tokens == [10, 20] and outcomes[1].num_read == 30
    assert outcomes[1].inference_time >= 0 and outcomes[1].queue_time >= 0


def test_a_failed_batch_ends_its_requests_alone(engine, network, caplog):
    failed, = run(engine, network, [13])
    assert isinstance(failed, ApiError) and failed.status == 424
    assert failed.message == 'the model failed: 13 is not computed'
    fine, = run(engine, network, [5])
    assert fine.result == 5


def test_outputs_that_are_not_finite_end_their_request_alone(engine, network):
    network.gate.clear()
    threading.Timer(0.3, network.gate.set).start()
    first, broken, fine = run(engine, network, [1], [7, 2, 3], [4])
    assert (first.result, fine.result) == (1, 4)
    assert broken.status == 424 and 'not finite' in broken.message


def test_limits_of_a_request(engine, network):
    def error(*lengths, **options):
        error, = run(engine, network, list(lengths), **options)
        return error.status, error.message
    assert error() == (400, 'no text in the request: expected at least one')
    assert error(*[1] * 11) == (
        413, '11 texts in the request, expected at most 10: send several requests')
    assert error(*[99] * 6) == (
        413, '594 tokens in the request, expected at most 500: send several requests')
    status, message = error(3, 50, 60, limit=40)
    assert status == 422 and message.startswith(
        'text 1 has 50 tokens, special tokens included, but the model reads 40 (2 texts are too '
        'long)')
    outcome, = run(engine, network, [3, 50], limit=40, truncate=True)
    assert outcome.truncated == [{'index': 1, 'tokens': 50, 'kept': 40}]
    assert outcome.num_read == 53       # the network of this test is not cut short


def test_a_mistake_of_the_user_is_422(engine, network):
    def plan():
        raise UserError('text 0: half a surrogate pair found')

    async def send():
        await engine.run(network, plan, ['text'], 'client')
    with pytest.raises(ApiError) as info:
        asyncio.run(send())
    assert info.value.status == 422 and 'surrogate' in info.value.message


def test_short_requests_need_no_planning_thread(engine, network):
    """In the event loop they are planned and finished sooner; long ones would hold others up."""
    def threads_of(text, length, result_tokens=None):
        names = []

        def plan():
            names.append(threading.current_thread().name)
            return network.plan([length], 1000)()._replace(
                result_tokens=result_tokens,
                result=lambda: names.append(threading.current_thread().name))
        asyncio.run(engine.run(network, plan, [text], 'client'))
        return [name.startswith('planning') for name in names]
    engine.limits = engine.limits._replace(max_tokens=10000)
    assert threads_of('word', 1) == [False, False]
    assert threads_of('word ' * INLINE_TOKENS, 1) == [True, False]
    assert threads_of('word', INLINE_TOKENS + 1) == [False, True]
    assert threads_of('word', 1, INLINE_TOKENS + 1) == [False, True]


def test_overload_is_answered_at_once(engine, network):
    engine.learn_speed(network, 10.0)   # tokens a second
    network.gate.clear()

    async def overload():
        tasks = []
        for _ in range(2):      # one is being computed, one waits
            tasks.append(asyncio.ensure_future(engine.run(network, network.plan([100]), ['t'],
                                                          'a')))
            await asyncio.sleep(0.2)
        started = time.monotonic()
        with pytest.raises(ApiError) as info:
            await engine.run(network, network.plan([1]), ['t'], 'a')
        assert time.monotonic() - started < 1      # of the 10 s that it would wait
        # another client comes in turn, and so at once
        tasks.append(asyncio.ensure_future(engine.run(network, network.plan([1]), ['t'], 'b')))
        await asyncio.sleep(0.1)
        network.gate.set()
        await asyncio.gather(*tasks)
        return info.value
    error = asyncio.run(overload())
    assert error.status == 429 and error.headers == {'Retry-After': '5'}    # 100 / 10 − 5
    assert error.message == ('the server is busy: waiting requests take about 10 s, and new ones '
                             'are accepted up to 5 s')


def test_each_network_has_its_own_speed(engine, network):
    slow, unknown = SlowNetwork(), SlowNetwork()
    engine.learn_speed(slow, 2.0)
    engine.learn_speed(network, 50.0)
    engine.learn_speed(network, 60.0)
    assert engine.queue_seconds(slow, 'a', 10) == 0
    engine._planned.update({(slow, 'b'): 200, (network, 'b'): 102, (network, 'a'): 51,
                            (unknown, 'a'): 1000, (None, 'a'): 1000})
    # tokens a second of the second network: 0.9 × 50 + 0.1 × 60
    assert engine.queue_seconds(slow, 'a', 10) == pytest.approx(1 + min(100 + 2, 1 + 5))
    assert engine.queue_seconds(network, 'c', 102) == pytest.approx(1 + 2)
    assert engine.queue_seconds(unknown, 'b', 10) == pytest.approx(102 + 1)
    with pytest.raises(ApiError):
        engine.check_capacity(slow, 'b', 1)
    engine.check_capacity(network, 'a', 51)


def test_a_speed_has_no_time_of_other_networks(engine, network):
    """A model that is opened meanwhile holds the lock of the networks."""
    with NETWORK_LOCK:
        timer = threading.Thread(target=run, args=(engine, network, [90]))
        timer.start()
        time.sleep(1)
    timer.join(10)
    wait_until(lambda: network in engine._speeds)       # learnt after the answer
    assert network.batches == [[90]] and engine._speeds[network] > 180     # not 90 in a second


def test_what_a_client_left_is_dropped(engine, network):
    network.gate.clear()

    async def leave():
        first = asyncio.ensure_future(engine.run(network, network.plan([1]), ['t'], 'a'))
        await asyncio.sleep(0.2)
        left = asyncio.ensure_future(engine.run(network, network.plan([50] * 4), ['t'] * 4, 'b'))
        await asyncio.sleep(0.2)
        assert engine.queue.num_texts() == 4
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        assert engine.queue.num_texts() == 0
        network.gate.set()
        await first
    asyncio.run(leave())
    assert network.batches == [[1]]


def test_a_probe_passes_a_full_queue(engine, network):
    engine.learn_speed(network, 1e-3)
    engine._planned[network, 'a'] = 100

    async def probe():
        with pytest.raises(ApiError):
            await engine.run(network, network.plan([1]), ['t'], 'a')
        await engine.probe(network.plan([1]))
    asyncio.run(probe())


def test_close_finishes_what_waits(network):
    engine = Engine(Limits(10, 500, 5.0), 20, Metrics())

    async def send():
        network.gate.clear()
        tasks = [asyncio.ensure_future(engine.run(network, network.plan([10, 10]), ['t'] * 2, 'a'))
                 for _ in range(3)]
        await asyncio.sleep(0.2)
        network.gate.set()
        engine.queue.close()
        return [outcome.result for outcome in await asyncio.gather(*tasks)]
    assert asyncio.run(send()) == [20, 20, 20]
    engine.close()
