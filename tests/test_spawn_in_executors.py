"""`spawn` in OS threads that do one job after the other, and have no hub."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import greenio
from greenio import greenthread, hubs, tpool
from greenio.dagpool import DAGPool


def in_executor(func: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(func).result()


def in_to_thread(func: Callable[[], Any]) -> Any:
    return asyncio.run(asyncio.to_thread(func))


def in_anyio(func: Callable[[], Any]) -> Any:
    anyio = pytest.importorskip("anyio.to_thread")
    return asyncio.run(anyio.run_sync(func))


def in_tpool(func: Callable[[], Any]) -> Any:
    return tpool.execute(func)


@pytest.fixture(params=[in_executor, in_to_thread, in_anyio, in_tpool])
def in_worker(request) -> Iterator[Callable[[Callable[[], Any]], Any]]:
    yield request.param
    tpool.killall()


@pytest.mark.parametrize(
    "call",
    [
        lambda: greenio.spawn(int),
        lambda: greenio.spawn_n(int),
        lambda: greenio.spawn_after(0, int),
        lambda: greenthread.spawn_after_local(0, int),
        lambda: greenthread.call_after_global(0, int),
        lambda: greenthread.call_after_local(0, int),
        lambda: greenio.GreenPool().spawn(int),
        lambda: greenio.GreenPool().spawn_n(int),
    ],
)
def test_it_is_refused_with_what_works(in_worker, call):
    with pytest.raises(hubs.HubError, match=r"greenio\.run\(.*from_thread\("):
        in_worker(call)


def pause() -> int:
    greenio.sleep(0.001)
    return threading.get_ident()


def spawn_and_wait() -> int:
    return greenio.spawn(pause).wait()


def after_get_hub() -> int:
    hubs.get_hub()
    return spawn_and_wait()


def after_use_hub() -> int:
    hubs.use_hub("asyncio")
    return spawn_and_wait()


def as_a_program() -> int:
    return greenio.run(spawn_and_wait)


def on_a_loop() -> int:
    async def main() -> int:
        return await greenio.spawn(pause)

    return asyncio.run(main())


@pytest.mark.parametrize("job", [after_get_hub, after_use_hub, as_a_program, on_a_loop])
def test_what_works(in_worker, job):
    assert in_worker(job) != threading.get_ident()


def test_on_the_loop_of_the_program():
    async def main():
        hubs.get_hub()
        return await asyncio.to_thread(greenio.from_thread, spawn_and_wait)

    assert asyncio.run(main()) == threading.get_ident()


def test_a_thread_of_ones_own_may():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(spawn_and_wait()))
    thread.start()
    thread.join()
    assert seen
    assert seen[0] != threading.get_ident()


def test_a_full_pool_is_left_as_it_was():
    pool = greenio.GreenPool(1)
    with pytest.raises(hubs.HubError):
        in_executor(lambda: pool.spawn(int))
    assert pool.free() == 1


def test_a_dag_is_left_as_it_was(in_worker):
    pool = DAGPool()
    with pytest.raises(hubs.HubError):
        in_worker(lambda: pool.spawn("key", (), lambda key, results: key))
    assert (pool.running(), pool.waiting()) == (0, 0)
    pool.post("key", 1)
    assert pool["key"] == 1


def test_a_pile_and_its_pool_are_left_as_they_were(in_worker):
    pool = greenio.GreenPool(2)
    pile = greenio.GreenPile(pool)
    with pytest.raises(hubs.HubError):
        in_worker(lambda: pile.spawn(int))
    assert (pool.free(), pool.running(), pool.waiting()) == (2, 0, 0)
    pile.spawn(int, "1")
    assert list(pile) == [1]
