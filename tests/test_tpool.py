"""`greenio.tpool`: calls in OS threads."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import time

import pytest

import greenio
from _sockets import in_thread
from greenio import tpool


@pytest.fixture(autouse=True)
def _size_of_the_pool():
    """Other tests need as many threads as they wait in."""
    yield
    tpool.set_num_threads(tpool.DEFAULT_SIZE)


@pytest.fixture(autouse=True)
def _fresh_pool():
    yield
    tpool.killall()


def test_call_runs_in_another_thread_and_others_go_on(hub_name):
    here = threading.get_ident()
    release = threading.Event()
    seen = []

    def blocking(x, *, y):
        assert release.wait(10)
        return threading.get_ident(), x + y

    def other():
        seen.append("ran while the call blocked")
        release.set()

    greenio.spawn(other)
    there, total = tpool.execute(blocking, 1, y=2)
    assert seen
    assert there != here
    assert total == 3


def test_exceptions_come_back(hub_name):
    def fail():
        raise KeyError("from the thread")

    with pytest.raises(KeyError, match="from the thread"):
        tpool.execute(fail)


def test_context_goes_there_and_back(hub_name):
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(1)

    def change():
        assert variable.get() == 1
        variable.set(2)

    tpool.execute(change)
    assert variable.get() == 2


def test_many_calls_overlap_up_to_the_size(hub_name):
    tpool.set_num_threads(4)
    barrier = threading.Barrier(4)
    threads = [greenio.spawn(tpool.execute, barrier.wait, 10) for _ in range(4)]
    assert sorted(thread.wait() for thread in threads) == [0, 1, 2, 3]


def test_more_calls_than_threads_are_all_made(hub_name):
    tpool.set_num_threads(2)
    threads = [greenio.spawn(tpool.execute, divmod, n, 7) for n in range(50)]
    assert [t.wait() for t in threads] == [divmod(n, 7) for n in range(50)]


def test_zero_threads_calls_in_place(hub_name):
    tpool.set_num_threads(0)
    try:
        assert tpool.execute(threading.get_ident) == threading.get_ident()
    finally:
        tpool.set_num_threads(tpool.DEFAULT_SIZE)


def test_negative_size_is_refused():
    with pytest.raises(ValueError, match=r"0 .* or more"):
        tpool.set_num_threads(-1)


def test_nested_execute_is_made_in_the_same_thread(hub_name):
    tpool.set_num_threads(1)

    def outer():
        return threading.get_ident(), tpool.execute(threading.get_ident)

    first, second = tpool.execute(outer)
    assert first == second
    tpool.set_num_threads(tpool.DEFAULT_SIZE)


def test_killed_caller_drops_the_result(hub_name):
    release = threading.Event()
    entered = threading.Event()

    def blocking():
        entered.set()
        release.wait(10)

    caller = greenio.spawn(tpool.execute, blocking)
    while not entered.is_set():
        greenio.sleep(0.001)
    with pytest.raises(greenio.Timeout), greenio.Timeout(0.01):
        caller.wait()
    caller.kill()
    assert caller.dead
    release.set()
    assert tpool.execute(sum, [1, 2]) == 3


def test_killall_is_bounded(hub_name, monkeypatch):
    monkeypatch.setattr(tpool, "KILL_TIMEOUT", 0.05)
    release = threading.Event()
    caller = greenio.spawn(tpool.execute, release.wait, 10)
    greenio.sleep(0)
    tpool.killall()
    release.set()
    assert caller.wait() is True


def test_a_thread_that_uses_greenio_has_its_own_hub(hub_name):
    def in_thread():
        hub = greenio.hubs.get_hub()
        return hub, greenio.spawn(lambda: "spawned there").wait()

    hub, result = tpool.execute(in_thread)
    assert hub is not greenio.hubs.get_hub()
    assert result == "spawned there"
    tpool.killall()
    gc.collect()
    # The thread's hub ends with the thread.
    for _ in range(1000):
        if hub.closed:
            break
        time.sleep(0.005)
    assert hub.closed


def test_in_the_loop_greenlet_it_is_refused():
    async def main():
        with pytest.raises(greenio.BlockingInLoopError):
            tpool.execute(time.sleep, 0)

    asyncio.run(main())


class _Thing:
    def __init__(self):
        self.calls = []
        self.attribute = "plain"

    def method(self, *args, **kwargs):
        self.calls.append(threading.get_ident())
        return args, kwargs

    def child(self):
        return _Thing()

    def __iter__(self):
        for n in range(3):
            self.calls.append(threading.get_ident())
            yield n

    def __len__(self):
        return 7

    def __getitem__(self, key):
        return key * 2

    def __enter__(self):
        return "entered"

    def __exit__(self, *exc):
        self.calls.append("exited")

    def __str__(self):
        return "a thing"


def test_proxy(hub_name):
    thing = _Thing()
    proxy = tpool.Proxy(thing, autowrap=(_Thing,))
    assert proxy.method(1, a=2) == ((1,), {"a": 2})
    assert proxy.attribute == "plain"
    assert list(proxy) == [0, 1, 2]
    assert threading.get_ident() not in thing.calls
    assert len(proxy) == 7
    assert proxy[4] == 8
    assert str(proxy) == "a thing"
    assert repr(proxy) == repr(thing)
    assert proxy == thing
    assert hash(proxy) == hash(thing)
    with proxy as entered:
        assert entered == "entered"
    assert thing.calls[-1] == "exited"
    assert isinstance(proxy.child(), tpool.Proxy)
    assert not isinstance(tpool.Proxy(thing).child(), tpool.Proxy)
    assert isinstance(
        tpool.Proxy(thing, autowrap_names=("child",)).child(), tpool.Proxy
    )


def test_proxy_of_a_container_an_iterator_and_a_function(hub_name):
    callers = []

    class Container(dict):
        def __setitem__(self, key, value):
            callers.append(threading.get_ident())
            super().__setitem__(key, value)

        def __delitem__(self, key):
            callers.append(threading.get_ident())
            super().__delitem__(key)

        def __contains__(self, key):
            callers.append(threading.get_ident())
            return super().__contains__(key)

    container = Container()
    proxy = tpool.Proxy(container)
    assert not proxy
    proxy["key"] = "value"
    assert proxy
    assert "key" in proxy
    del proxy["key"]
    assert "key" not in proxy
    assert container == {}
    assert len(callers) == 4
    assert threading.get_ident() not in callers

    iterator = tpool.Proxy(_Thing().__iter__())
    assert next(iterator) == 0
    assert iterator.next() == 1
    assert list(iter(iterator)) == [2]
    with pytest.raises(StopIteration):
        next(iterator)

    ident = tpool.Proxy(threading.get_ident)
    assert ident() != threading.get_ident()
    assert isinstance(tpool.Proxy(_Thing, autowrap_names=("__call__",))(), tpool.Proxy)


def test_proxy_of_a_module(hub_name):
    import math

    assert tpool.Proxy(math).sqrt(16) == 4


def test_settings_are_assigned_to_the_public_module(monkeypatch, capsys):
    assert {"QUIET", "KILL_TIMEOUT", "execute"} <= set(dir(tpool))
    monkeypatch.setattr(tpool, "QUIET", True)
    monkeypatch.setattr(tpool, "_nthreads", 1)
    assert tpool._nthreads == 1
    greenio.debug.tpool_exceptions(True)
    assert tpool.QUIET is False
    with pytest.raises(ZeroDivisionError):
        tpool.execute(divmod, 1, 0)
    assert "ZeroDivisionError" in capsys.readouterr().err
    tpool.QUIET = True
    with pytest.raises(ZeroDivisionError):
        tpool.execute(divmod, 1, 0)
    assert capsys.readouterr().err == ""
    tpool.set_num_threads(tpool.DEFAULT_SIZE)
    assert tpool._nthreads == tpool.DEFAULT_SIZE


def test_proxy_call(hub_name):
    ident = threading.get_ident()
    things = tpool.Proxy(_Thing())
    assert tpool.proxy_call((), threading.get_ident) != ident
    assert tpool.proxy_call((), threading.get_ident, nonblocking=True) == ident
    assert tpool.proxy_call((), type, things) is _Thing
    assert isinstance(tpool.proxy_call((_Thing,), _Thing), tpool.Proxy)


def test_the_pool_may_be_made_before_it_is_needed(hub_name):
    tpool.setup()
    tpool.tpool_trampoline()
    assert tpool.execute(threading.get_ident) != threading.get_ident()


def test_who_may_block_makes_the_call_himself(hub_name):
    """An OS thread without a hub, a worker of the pool among them."""

    def where():
        return tpool.execute(threading.get_ident) == threading.get_ident()

    assert tpool.execute(where)
    assert in_thread(where)


def test_a_thread_that_cannot_be_started(hub_name, monkeypatch):
    def refuse(function, arguments):
        raise RuntimeError("can't start new thread")

    tpool.killall()
    with monkeypatch.context() as patch:
        patch.setattr("greenio._tpool.pool.start_new_thread", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            tpool.execute(len, "abc")
    assert tpool.execute(len, "abc") == 3


@pytest.mark.parametrize("size", [True, 1.5, "3"])
def test_sizes_that_are_no_numbers(size):
    with pytest.raises(TypeError, match="takes a whole number"):
        tpool.set_num_threads(size)
