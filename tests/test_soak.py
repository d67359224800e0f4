"""Long and large runs that must end with nothing left."""

from __future__ import annotations

import gc
import random
import subprocess
import sys

import pytest

import greenio
from _fresh import environment
from _support import check_nothing_left, collect_garbage
from greenio import event, hubs, queue, semaphore, sleep, spawn
from greenio._greenthread.thread import GreenThread


def live_green_threads() -> int:
    gc.collect()
    return sum(
        issubclass(type(each), GreenThread) and not each.dead
        for each in gc.get_objects()
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_hundred_thousand_green_threads(hub_name):
    gate = event.Event()
    before = live_green_threads()
    threads = [spawn(gate.wait) for _ in range(100_000)]
    sleep(0)
    assert live_green_threads() - before == 100_000
    gate.send("go")
    assert all(thread.wait() == "go" for thread in threads)
    del threads
    check_nothing_left(hubs.get_hub())
    assert live_green_threads() == before


class Traffic:
    """Random spawns, kills, timeouts, queues and locks, for a time of its own."""

    def __init__(self, seed: int, until: float) -> None:
        self.random = random.Random(seed)
        self.until = until
        self.clock = hubs.get_hub().loop.time
        self.items: queue.Queue = queue.Queue(20)
        self.permits = semaphore.Semaphore(2)
        self.pool = greenio.GreenPool(20)
        # In order, so that the same seed makes the same traffic.
        self.alive: dict[GreenThread, None] = {}
        self.done = 0
        self.held = 0
        self.most_held = 0

    def run(self) -> None:
        actions = [self.produce, self.consume, self.hold, self.nap, self.pooled]
        while self.clock() < self.until:
            if len(self.alive) < 50:
                thread = spawn(self.limited, self.random.choice(actions))
                self.alive[thread] = None
                thread.link(self.alive.pop)
            if self.alive and self.random.random() < 0.2:
                self.random.choice(list(self.alive)).kill()
            sleep(self.random.choice([0, 0.01, 0.5, 2]))
        while self.alive:
            for thread in list(self.alive):
                thread.kill()
            sleep(0)
        self.pool.waitall()

    def limited(self, action) -> None:
        seconds = self.random.choice([None, 0, 0.1, 3, 30])
        with greenio.Timeout(seconds, False):
            action()
        self.done += 1

    def produce(self) -> None:
        self.items.put(object(), timeout=self.random.choice([None, 0.5]))

    def consume(self) -> None:
        self.items.get(timeout=self.random.choice([None, 0.5, 5]))

    def hold(self) -> None:
        with self.permits:
            self.held += 1
            self.most_held = max(self.most_held, self.held)
            try:
                sleep(self.random.random())
            finally:
                self.held -= 1

    def nap(self) -> None:
        sleep(self.random.random() * 10)

    def pooled(self) -> None:
        self.pool.spawn_n(sleep, self.random.random())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_hour_of_random_traffic(virtual_loop):
    virtual_loop.set_exception_handler(lambda *_: None)
    hour = 3600.0

    def one(seed: int, seconds: float) -> Traffic:
        traffic = Traffic(seed, virtual_loop.time() + seconds)
        spawn(traffic.run).wait()
        return traffic

    one(0, hour / 20)
    collect_garbage()
    before = len(gc.get_objects())
    traffic = one(1, hour)
    assert traffic.done > 1000
    assert traffic.most_held == 2
    # Nobody holds or waits for anything: no permit and no slot was lost or doubled.
    assert (traffic.held, traffic.permits.balance) == (0, 2)
    assert (traffic.pool.free(), traffic.pool.running()) == (20, 0)
    assert (traffic.items.getting(), traffic.items.putting()) == (0, 0)
    hub = hubs.get_hub()
    check_nothing_left(hub)
    assert hub.green_threads() == []
    traffic.items = None
    del traffic
    gc.collect()
    assert len(gc.get_objects()) - before < 1000


CLIENTS = """
import resource, sys
import greenio

port, count, limit = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
clients = [
    # Several addresses: one has too few ports for so many connections.
    greenio.connect(("127.0.0.1", port), bind=(f"127.0.0.{number % 4 + 2}", 0))
    for number in range(count)
]
for turn in range(2):
    for number, client in enumerate(clients):
        client.sendall(b"%d %d" % (turn, number))
    for number, client in enumerate(clients):
        assert client.recv(100) == b"%d %d" % (turn, number)
for client in clients:
    client.close()
print("all answered", count)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_thousand_connections(hub_name):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = 20_200
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(hard, limit)))
    except (OSError, ValueError):
        # As many as this machine allows a process.
        limit = hard
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    if limit < 10_000:
        pytest.skip(f"a process may have {hard} descriptors here, far from 20,000")
    try:
        echo_on_all_of_them(limit - 200, limit, hub_name)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def echo_on_all_of_them(count: int, limit: int, hub_name: str) -> None:
    listener = greenio.listen(("127.0.0.1", 0), backlog=1000)
    port = listener.getsockname()[1]
    served = 0

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            spawn(echo, connection)

    def echo(connection) -> None:
        nonlocal served
        with connection:
            while data := connection.recv(100):
                connection.sendall(data)
        served += 1

    server = spawn(serve)
    clients = subprocess.Popen(
        [sys.executable, "-c", CLIENTS, str(port), str(count), str(limit)],
        env=environment(hub_name),
        stdout=subprocess.PIPE,
        text=True,
    )
    with clients:
        while clients.poll() is None or (served < count and not clients.returncode):
            sleep(0.01)
        assert clients.stdout.read() == f"all answered {count}\n"
    server.kill()
    listener.close()
    hub = hubs.get_hub()
    sleep(0)
    sleep(0)
    check_nothing_left(hub)
    assert hub.green_threads() == []
