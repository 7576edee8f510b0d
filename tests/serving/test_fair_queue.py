"""The queue of texts: fair between clients and between their requests, in batches of tokens."""
import collections
import random
import threading

import pytest

from bert.data.transform import Features
from bert.pipelines.inference import Inference
from bert.serving.fair_queue import FairQueue, Work


def make_work(client, lengths, runner='network', ends=None):
    features = [Features(None, None, length, None, length) for length in lengths]
    inference = Inference(runner, features, lambda i, outputs: None, None, lengths)
    return Work(inference, client, (ends if ends is not None else []).append)


def tokens_waiting(queue):
    return sum(queue.tokens_waiting().values())


def take_all(queue):
    """[[(client, index)]] of all batches."""
    queue.close()
    batches = []
    while (batch := queue.take()) is not None:
        batches.append([(work.client, i) for work, i in batch[1]])
    return batches


def test_clients_take_turns():
    queue = FairQueue(30)
    queue.put(make_work('large', [10] * 7))
    queue.put(make_work('small', [10]))
    queue.put(make_work('middle', [10] * 2))
    assert take_all(queue) == [
        [('large', 0), ('small', 0), ('middle', 0)],
        [('large', 1), ('middle', 1), ('large', 2)],
        [('large', 3), ('large', 4), ('large', 5)], [('large', 6)]]


def test_requests_of_a_client_take_turns():
    queue = FairQueue(20)
    works = [make_work('client', [10] * 3), make_work('client', [10])]
    for work in works:
        queue.put(work)
    _, batch = queue.take()
    assert batch == [(works[0], 0), (works[1], 0)]


def test_many_small_texts_do_not_starve_a_single_one():
    queue = FairQueue(100)
    for _ in range(1000):
        queue.put(make_work('many', [10]))
    queue.put(make_work('single', [10]))
    assert ('single', 0) in take_all(queue)[0]


def test_a_batch_holds_a_budget_of_tokens():
    rng = random.Random(1)
    queue, expected = FairQueue(100), collections.Counter()
    lengths = {}
    for client in range(20):
        lengths[client] = [rng.randrange(1, 60) for _ in range(rng.randrange(1, 30))]
        queue.put(make_work(client, lengths[client]))
        expected.update((client, i) for i in range(len(lengths[client])))
    assert tokens_waiting(queue) == sum(map(sum, lengths.values()))
    assert queue.num_texts() == len(expected)
    batches = take_all(queue)
    assert collections.Counter(item for batch in batches for item in batch) == expected
    sizes = [sum(lengths[client][i] for client, i in batch) for batch in batches]
    assert max(sizes) <= 100 and min(sizes[:-1]) > 40       # a text has up to 59 tokens
    assert tokens_waiting(queue) == queue.num_texts() == 0


def test_a_text_above_the_budget_is_a_batch():
    queue = FairQueue(10)
    queue.put(make_work('a', [50, 5, 5]))
    assert take_all(queue) == [[('a', 0)], [('a', 1), ('a', 2)]]


def test_networks_take_turns():
    queue = FairQueue(10)
    for runner in ('first', 'second'):
        queue.put(make_work('client', [10, 10], runner))
    queue.close()
    assert [queue.take()[0] for _ in range(4)] == ['first', 'second', 'first', 'second']
    assert queue.take() is None


def test_what_is_dropped_is_not_taken():
    queue = FairQueue(10)
    dropped, other = make_work('a', [10] * 5), make_work('a', [10])
    queue.put(dropped)
    queue.put(other)
    assert queue.take()[1] == [(dropped, 0)]
    queue.drop(dropped)
    queue.drop(dropped)         # twice, and one that was never there
    queue.drop(make_work('b', [10]))
    assert tokens_waiting(queue) == 10
    assert take_all(queue) == [[('a', 0)]]


def test_take_waits():
    queue, batches = FairQueue(10), []
    thread = threading.Thread(target=lambda: batches.append(queue.take()))
    thread.start()
    work = make_work('a', [10])
    queue.put(work)
    thread.join(10)
    assert batches == [('network', [(work, 0)])]


def test_a_work_ends_once():
    ends = []
    work = make_work('a', [1, 1], ends=ends)
    work.collect(1, None)
    assert not ends
    work.collect(0, None)
    work.end(ValueError())
    work.collect(0, None)
    assert ends == [None]


@pytest.mark.parametrize('seed', range(5))
def test_random_puts_and_drops(seed):
    rng = random.Random(seed)
    queue, expected, dropped = FairQueue(50), set(), set()
    works, taken = [], set()
    for _ in range(300):
        action = rng.random()
        if action < 0.5:
            work = make_work(rng.randrange(5), [rng.randrange(1, 20)] * rng.randrange(1, 9),
                             rng.choice('xyz'))
            works.append(work)
            expected |= {(work, i) for i in range(len(work.lengths))}
            queue.put(work)
        elif action < 0.7 and works:
            work = rng.choice(works)
            dropped |= {(work, i) for i in range(work.next_index, len(work.lengths))}
            queue.drop(work)
        elif queue.num_texts():
            taken |= take_once(queue)
    queue.close()
    while queue.num_texts():
        taken |= take_once(queue)
    assert taken == expected - dropped and tokens_waiting(queue) == 0


def take_once(queue):
    runner, batch = queue.take()
    assert all(work.inference.runner == runner for work, _ in batch)
    assert len(set(batch)) == len(batch)
    return set(batch)
