"""What is written out for speed does what its original does, on the same inputs."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
from queue import Empty, Full

import pytest
from greenlet import getcurrent

import greenio
from _support import until
from greenio import hubs
from greenio._greenthread.results import Feed, _new_call
from greenio._kernel.waiters import GreenWaiter, mutex
from greenio._net.socket import GreenSocket
from greenio._patch.locks import ThreadRLock
from greenio._reactor.descriptors import Listener
from greenio.event import Event
from greenio.lock import Lock, RLock
from greenio.queue import LifoQueue, LightQueue, PriorityQueue, Queue
from greenio.semaphore import Semaphore


def _outcome(operation, *args):
    try:
        return operation(*args)
    except (Empty, Full) as exc:
        return type(exc)


@pytest.mark.parametrize("cls", [LightQueue, Queue, LifoQueue, PriorityQueue])
@pytest.mark.parametrize("maxsize", [None, 0, 1, 2])
def test_put_and_get_of_a_queue(hub_name, cls, maxsize):
    # `put_nowait` and `get_nowait` go by `_offer` and `_take` themselves.
    for operations in itertools.product(("put", "get"), repeat=6):
        copy, original = cls(maxsize), cls(maxsize)
        for number, operation in enumerate(operations):
            if operation == "put":
                seen = _outcome(copy.put, number, False)
                expected = _outcome(original.put_nowait, number)
            else:
                seen = _outcome(copy.get, False)
                expected = _outcome(original.get_nowait)
            assert seen == expected
            assert copy.statistics() == original.statistics()
            assert list(copy.queue) == list(original.queue)


def _yield_as_the_hub_does():
    hub = hubs.get_hub()
    hub.wake(getcurrent())
    hub.park()


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_yielding_among_others(hub_name, threads):
    def order(let_others_run):
        seen = []

        def run(name):
            for turn in range(5):
                seen.append((name, turn))
                let_others_run()

        greenio.joinall([greenio.spawn(run, name) for name in range(threads)])
        return seen

    assert order(lambda: greenio.sleep(0)) == order(_yield_as_the_hub_does)


def _sleep_as_the_hub_does(seconds):
    hub, current = hubs.get_hub(), getcurrent()
    time_is_up = object()
    timer = hub.call_later(seconds, current.switch, time_is_up)
    try:
        while hub.park() is not time_is_up:
            pass
    finally:
        timer.cancel()


def test_sleeping(virtual_loop):
    def order(let_pass):
        seen = []
        begin = virtual_loop.time()

        def note(*what):
            seen.append((*what, round(virtual_loop.time() - begin, 6)))

        def run(name, *times):
            for seconds in times:
                let_pass(seconds)
                note(name)

        def limited(name, seconds, limit):
            with greenio.Timeout(limit, False):
                run(name, seconds)
            note(name, "is up")

        threads = [
            greenio.spawn(run, "a", 2, 0.5, 2.5),
            greenio.spawn(run, "b", 1, 1, 0, 1),
            greenio.spawn(limited, "c", 60, 4),
        ]
        killed = greenio.spawn(run, "d", 60)
        let_pass(1)
        killed.kill()
        greenio.joinall(threads)
        return seen

    seen = order(greenio.sleep)
    assert seen == order(_sleep_as_the_hub_does)
    assert len(seen) == 8


def _wake_by_the_hub(self, value=None):
    if self.done:
        return False
    self.done, self.value = True, value
    self._hub.wake(self._greenlet)
    return True


def _release_by_giving_back(self, blocking=True):
    with mutex:
        self._give_back(None)
    return True


def _block_by_the_hub(self):
    while not self.done:
        self._hub.park()
    return self.value


@pytest.mark.parametrize("seed", range(20))
def test_waking_and_waiting(hub_name, seed, monkeypatch):
    def program():
        chance = random.Random(seed)
        events = [Event() for _ in range(5)]
        queue, semaphore, lock, seen = Queue(), Semaphore(2), Lock(), []

        def run(name, steps):
            for step, which in steps:
                if step == "wait":
                    with greenio.Timeout(0, False):
                        events[which].wait()
                elif step == "send" and not events[which].ready():
                    events[which].send(which)
                elif step == "put":
                    queue.put((name, which))
                elif step == "get" and not queue.empty():
                    seen.append((name, queue.get()))
                elif step == "hold":
                    with semaphore:
                        greenio.sleep(0)
                elif step == "lock":
                    with lock:
                        greenio.sleep(0)
                seen.append((name, step))

        names = ("wait", "send", "put", "get", "hold", "lock")
        plans = [
            [(chance.choice(names), chance.randrange(5)) for _ in range(12)]
            for _ in range(6)
        ]
        threads = [greenio.spawn(run, *plan) for plan in enumerate(plans)]
        greenio.joinall(threads)
        assert len(seen) >= 72
        return seen

    written_out = program()
    for kind in (Semaphore, Lock):
        monkeypatch.setattr(kind, "release", _release_by_giving_back)
    assert program() == written_out
    monkeypatch.setattr(GreenWaiter, "wake", _wake_by_the_hub)
    monkeypatch.setattr(GreenWaiter, "block", _block_by_the_hub)
    assert program() == written_out


class _ByWakeOne(Semaphore):
    def acquire(self, blocking=True, timeout=None):
        return super().acquire(blocking, NO_LIMIT if timeout is None else timeout)

    def release(self, blocking=True):
        with mutex:
            self._give_back(None)
        return True


# By `wait` and `wait_async`, as with a time limit that matters.
NO_LIMIT = 1e100


@pytest.mark.parametrize("seed", range(20))
def test_a_semaphore(hub_name, seed):
    def program(kind):
        chance = random.Random(seed)
        semaphore, seen = kind(2), []

        def run(name):
            for turn in range(5):
                with semaphore:
                    seen.append((name, turn, semaphore.statistics()))
                    greenio.sleep(0)

        threads = [greenio.spawn(run, name) for name in range(8)]
        for thread in threads:
            for _ in range(chance.randrange(5)):
                greenio.sleep(0)
            if chance.randrange(3) == 0:
                thread.kill()
        for thread in threads:
            thread.wait_end()
        return seen, semaphore.statistics()

    seen, end = program(Semaphore)
    assert (seen, end) == program(_ByWakeOne)
    assert (end.counter, end.waiting) == (2, 0)


class _Coroutines:
    """Some that wait for primitives, without a limit or with one that is none."""

    def __init__(self, limit):
        self.limit, self.seen = limit, []
        self.semaphore, self.event, self.queue = Semaphore(2), Event(), Queue(1)

    async def hold(self, name):
        for turn in range(4):
            await self.semaphore.acquire_async(self.limit)
            self.seen.append((name, turn))
            await asyncio.sleep(0)
            self.semaphore.release()

    async def put(self, name):
        for turn in range(4):
            await self.queue.put_async((name, turn), self.limit)
            self.seen.append((name, turn, self.queue.qsize()))

    async def get(self, name):
        for _ in range(4):
            self.seen.append((name, await self.queue.get_async(self.limit)))

    async def wait(self, name):
        self.seen.append((name, await self.event.wait_async(self.limit)))

    async def run(self, chance):
        bodies = [self.hold, self.put, self.get, self.wait] * 3
        tasks = [asyncio.ensure_future(body(name)) for name, body in enumerate(bodies)]
        for task in tasks:
            for _ in range(chance.randrange(5)):
                await asyncio.sleep(0)
            if chance.randrange(4) == 0:
                task.cancel()
        self.event.send("sent")
        for _ in range(30):
            await asyncio.sleep(0)
        self.note()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.note()
        return self.seen

    def note(self):
        for primitive in (self.semaphore, self.event, self.queue):
            self.seen.append(primitive.statistics())


@pytest.mark.parametrize("seed", range(20))
def test_waiting_as_a_coroutine(run_async, seed):
    async def main():
        seen = await _Coroutines(None).run(random.Random(seed))
        assert seen == await _Coroutines(NO_LIMIT).run(random.Random(seed))
        assert len(seen) > 12

    run_async(main)


class _ByAwaitData(GreenSocket):
    def recv(self, bufsize, flags=0, /):
        if self._drained is not None and bufsize and not flags:
            self._await_data(self._drained)
        return super().recv(bufsize, flags)


def _wait_if_known_by_wait(self, timeout):
    if not self.registered or getattr(getcurrent(), "_hub", None) is not self.hub:
        return True
    return self.wait(timeout, self.hub.park)


@pytest.mark.parametrize("limit", [None, 0, 0.01, 30])
def test_receiving(hub_name, limit, monkeypatch):
    def program(kind):
        left, right = (kind(fileno=end.detach()) for end in socket.socketpair())
        seen = []

        def receive():
            while True:
                try:
                    data = right.recv(8)
                except (BlockingIOError, TimeoutError) as error:
                    seen.append(type(error))
                    right.settimeout(None)
                    continue
                if not seen:
                    # The loop knows the descriptor from now on.
                    right.settimeout(limit)
                seen.append(data)
                if not data:
                    return

        def arrived():
            return b"".join(each for each in seen if type(each) is bytes) == sent

        sent = bytearray()
        with left, right:
            thread = greenio.spawn(receive)
            for text in (b"a", b"bc", b"12345678", b"123456789", b"d"):
                greenio.sleep(0)
                greenio.sleep(0)
                left.sendall(text)
                sent += text
                until(arrived)
                if limit in (0, 0.01):
                    until(lambda: len(seen) > 1)
            left.close()
            thread.wait()
        return seen

    seen = program(GreenSocket)
    assert seen == program(_ByAwaitData)
    assert seen[-1] == b""
    monkeypatch.setattr(Listener, "wait_if_known", _wait_if_known_by_wait)
    assert program(GreenSocket) == seen


def _call_in_a_slot(self, arguments):
    self._call_when_free(_new_call(arguments), arguments)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("ordered", [True, False])
def test_calls_of_an_imap(hub_name, size, ordered, monkeypatch):
    def program():
        pool = greenio.GreenPool(size)
        seen = []

        def work(number):
            seen.append(("begins", number, pool.free(), pool.waiting()))
            for _ in range(number % 3):
                greenio.sleep(0)
            return number

        map_ = pool.imap if ordered else pool.imap_unordered
        for number in map_(work, range(12)):
            seen.append(("comes", number, pool.running()))
        return seen

    seen = program()
    monkeypatch.setattr(Feed, "_call", _call_in_a_slot)
    assert program() == seen
    assert len(seen) == 24


def _holding(lock, operations):
    """What two green threads see who take and release a lock and never wait for it."""
    seen = []

    def run(operation):
        try:
            held = lock.statistics()
            if operation == "release":
                lock.release()
            elif operation == "with":
                with lock:
                    seen.append(lock.statistics().count)
            else:
                seen.append(lock.acquire())
        except RuntimeError:
            seen.append(RuntimeError)
        seen.append((held.count, lock.statistics().count, lock.locked()))

    turns = [Queue(), Queue()]

    def work(turn):
        while (operation := turn.get()) is not None:
            run(operation)
            done.put(None)

    done = Queue()
    threads = [greenio.spawn(work, turn) for turn in turns]
    holder = None
    for who, operation in operations:
        if operation != "release" and holder not in (None, who):
            continue
        turns[who].put(operation)
        done.get()
        holder = who if lock.locked() and holder is None else holder
        holder = holder if lock.locked() else None
    for turn in turns:
        turn.put(None)
    greenio.joinall(threads)
    return seen


def test_taking_and_releasing_a_lock_of_a_patched_program(hub_name):
    chance = random.Random(5)
    steps = list(itertools.product((0, 1), ("acquire", "release", "with")))
    for _ in range(200):
        operations = chance.choices(steps, k=8)
        assert _holding(ThreadRLock(), operations) == _holding(RLock(), operations)
