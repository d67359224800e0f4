"""What is written out for speed does what its original does, on the same inputs."""

from __future__ import annotations

import itertools
import random
import socket
from queue import Empty, Full

import pytest
from greenlet import getcurrent

import greenio
from _support import until
from greenio import hubs
from greenio._kernel.waiters import GreenWaiter
from greenio._net.socket import GreenSocket
from greenio.event import Event
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


@pytest.mark.parametrize("threads", [2, 3, 7])
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


def _wake_by_the_hub(self, value=None):
    if self.done:
        return False
    self.done, self.value = True, value
    self._hub.wake(self._greenlet)
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
        queue, semaphore, seen = Queue(), Semaphore(2), []

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
                seen.append((name, step))

        names = ("wait", "send", "put", "get", "hold")
        plans = [
            [(chance.choice(names), chance.randrange(5)) for _ in range(12)]
            for _ in range(6)
        ]
        threads = [greenio.spawn(run, *plan) for plan in enumerate(plans)]
        greenio.joinall(threads)
        assert len(seen) >= 72
        return seen

    written_out = program()
    monkeypatch.setattr(GreenWaiter, "wake", _wake_by_the_hub)
    monkeypatch.setattr(GreenWaiter, "block", _block_by_the_hub)
    assert program() == written_out


class _ByAwaitData(GreenSocket):
    def recv(self, bufsize, flags=0, /):
        if self._drained is not None and bufsize and not flags:
            self._await_data(self._drained)
        return super().recv(bufsize, flags)


@pytest.mark.parametrize("limit", [None, 0, 0.01, 30])
def test_receiving(hub_name, limit):
    def program(kind):
        left, right = (kind(fileno=end.detach()) for end in socket.socketpair())
        seen = []

        def receive():
            right.settimeout(limit)
            while True:
                try:
                    data = right.recv(8)
                except (BlockingIOError, TimeoutError) as error:
                    seen.append(type(error))
                    right.settimeout(None)
                    continue
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
            left.close()
            thread.wait()
        return seen

    expected = program(_ByAwaitData)
    seen = program(GreenSocket)
    assert seen == expected
    assert seen[-1] == b""
