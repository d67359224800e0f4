"""What the tests share: loops with a virtual clock, actors of every kind, sequencing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import selectors
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import greenio
from greenio import hubs
from greenio._kernel.current import close_thread_hub, existing_hub
from greenio._kernel.hub import Hub
from greenio._kernel.waiters import GreenWaiter, TaskWaiter, Waiter
from greenio._loop.loops import loop_factory

# How long a condition may take to come true before the test fails.
PATIENCE = 60.0


# -- a clock that jumps -----------------------------------------------------------------


class _JumpingSelector(selectors.SelectSelector):
    """A selector that does not wait for time to pass: it moves the clock."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            raise AssertionError("everybody waits, and nobody will ever be woken")
        self.loop.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on which sleeping takes no time. For one OS thread only.

    Its clock moves when everybody waits, to the next timer; `now` may also be moved by
    hand, so that several timers are due at once.
    """

    def __init__(self) -> None:
        selector = _JumpingSelector()
        selector.loop = self
        self.now = 1000.0
        super().__init__(selector)

    def time(self) -> float:
        return self.now


# -- the hub and the loop of a test -----------------------------------------------------


def end_hub() -> None:
    """Close this thread's own hub and check that nothing of it is left."""
    hub = existing_hub()
    close_thread_hub()
    if hub is not None:
        check_nothing_left(hub)


def check_nothing_left(hub: Hub) -> None:
    left = {
        "ready": [entry for entry in (*hub.ready, *hub.batch) if entry],
        "timers": hub.timers,
        "readers": {
            fd: listener
            for fd, listener in hub.descriptors._readers.items()
            if listener.waiter is not None or listener.registered
        },
        "writers": {
            fd: listener
            for fd, listener in hub.descriptors._writers.items()
            if listener.waiter is not None or listener.registered
        },
        "waiters": [waiter for waiter in live_waiters() if _may_wait_in(waiter, hub)],
    }
    # What one test leaves behind is no fault of the next.
    _blamed.extend(left["waiters"])
    assert not any(left.values()), left


_blamed: list[Waiter] = []


def _may_wait_in(waiter: Waiter, hub: Hub) -> bool:
    if isinstance(waiter, GreenWaiter):
        return waiter._hub is hub
    if isinstance(waiter, TaskWaiter):
        return waiter._loop is hub.loop
    return hub.owned


def live_waiters() -> list[Waiter]:
    """Whoever waits on any primitive, in any hub or thread."""
    return [
        candidate
        for candidate in gc.get_objects()
        if issubclass(type(candidate), Waiter)
        and not getattr(candidate, "done", True)
        and not any(candidate is known for known in _blamed)
    ]


def end_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is on a loop, wait for that, and close it, as `asyncio.run` does."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def run_on_loop(
    factory: Callable[[], asyncio.AbstractEventLoop],
    main: Callable[[], Coroutine[Any, Any, Any]],
) -> Any:
    """Run a coroutine function as `asyncio.run` would, on a loop of a given kind.

    greenio attaches to that loop; afterwards nothing of its hub may be left.
    """
    loop = factory()
    hub = None

    async def body() -> Any:
        nonlocal hub
        result = await main()
        hub = existing_hub()
        return result

    try:
        return loop.run_until_complete(body())
    finally:
        end_loop(loop)
        if hub is not None and sys.exc_info()[0] is None:
            check_nothing_left(hub)


def until(condition: Callable[[], Any]) -> None:
    """Let others run until a condition is true. For green code."""
    deadline = time.monotonic() + PATIENCE
    turns = 0
    while not condition():
        turns += 1
        # Other OS threads need the processor now and then.
        greenio.sleep(0 if turns % 10 else 0.001)
        assert time.monotonic() < deadline, "the condition never became true"


async def until_async(condition: Callable[[], Any]) -> None:
    """Let others run until a condition is true. For coroutines."""
    deadline = time.monotonic() + PATIENCE
    turns = 0
    while not condition():
        turns += 1
        await asyncio.sleep(0 if turns % 10 else 0.001)
        assert time.monotonic() < deadline, "the condition never became true"


def settle(turns: int = 8) -> None:
    """Let everybody who can run do so; nobody needs more turns in a row than this."""
    for _ in range(turns):
        greenio.sleep(0)


async def settle_async(turns: int = 8) -> None:
    """Let everybody who can run do so; see `settle`."""
    for _ in range(turns):
        await asyncio.sleep(0)


def collect_garbage() -> None:
    """Collect what earlier tests left, so that what comes to light next is not theirs.

    That may take several times: a green thread that is collected lets go of its loop,
    which is garbage for the next time only.
    """
    while gc.collect():
        pass


class Sequencer:
    """Green threads take numbered turns: ``with sequencer(2):`` comes after 1."""

    def __init__(self) -> None:
        self.turn = 0

    @contextlib.contextmanager
    def __call__(self, number: int) -> Any:
        until(lambda: self.turn == number)
        yield
        self.turn += 1


class Ticker:
    """Counts the turns that another green thread gets."""

    def __enter__(self) -> Ticker:
        self.ticks = 0
        self.thread = greenio.spawn(self.run)
        return self

    def run(self) -> None:
        while True:
            self.ticks += 1
            greenio.sleep(0.001)

    def __exit__(self, *exc_info: object) -> None:
        self.thread.kill()


# -- actors -----------------------------------------------------------------------------


class Actor:
    """Somebody who makes one call, and what came of it."""

    def __init__(self) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self.finished = False

    def stop(self) -> None:
        """Kill or cancel it. OS threads cannot be."""
        raise NotImplementedError

    def run(self, call: Callable[[], Any]) -> None:
        try:
            self.result = call()
        except BaseException as exc:
            self.error = exc
        self.finished = True

    async def run_async(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        try:
            self.result = await call()
        except BaseException as exc:
            self.error = exc
        self.finished = True

    def outcome(self) -> Any:
        """Wait for the call to end; return its result or raise its exception."""
        until(lambda: self.finished)
        if self.error is not None:
            raise self.error
        return self.result


class GreenActor(Actor):
    """A green thread."""

    def __init__(self, obj: Any, method: str, args: tuple, kwargs: dict) -> None:
        super().__init__()
        self.thread = greenio.spawn(
            self.run, lambda: getattr(obj, method)(*args, **kwargs)
        )

    def stop(self) -> None:
        self.thread.kill()
        self.finished = True


def async_form(obj: Any, method: str, args: tuple, kwargs: dict) -> Any:
    """Return a coroutine function for the ``_async`` twin of a method."""
    twin = getattr(obj, f"{method}_async", None)
    if twin is not None:
        return lambda: twin(*args, **kwargs)

    async def call() -> Any:
        # It never waits, so there is only one form of it.
        return getattr(obj, method)(*args, **kwargs)

    return call


class CoroutineActor(Actor):
    """A Task on the hub's loop."""

    def __init__(self, obj: Any, method: str, args: tuple, kwargs: dict) -> None:
        super().__init__()
        loop = hubs.get_hub().loop
        call = async_form(obj, method, args, kwargs)
        self.task = asyncio.Task(self.run_async(call), loop=loop)

    def stop(self) -> None:
        if not self.task.done():
            self.task.cancel()
        self.finished = True


class ThreadActor(Actor):
    """An OS thread without a hub."""

    def __init__(self, obj: Any, method: str, args: tuple, kwargs: dict) -> None:
        super().__init__()
        self.thread = threading.Thread(
            target=self.run,
            args=(lambda: getattr(obj, method)(*args, **kwargs),),
            daemon=True,
        )
        self.thread.start()


class OtherLoop:
    """Another OS thread with a running loop, to which greenio attaches."""

    def __init__(self, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self._started = threading.Event()
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(factory,), daemon=True)
        self.thread.start()
        assert self._started.wait(PATIENCE)

    def _run(self, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        try:
            run_on_loop(factory, self._main)
        except BaseException as exc:
            self.failure = exc

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._started.set()
        await self._stop.wait()

    def call(self, func: Callable[..., Any], *args: Any) -> None:
        self.loop.call_soon_threadsafe(func, *args)

    def close(self) -> None:
        self.call(self._stop.set)
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        if self.failure is not None:
            raise self.failure


class OtherGreenActor(Actor):
    """A green thread on another thread's loop."""

    def __init__(
        self, other: OtherLoop, obj: Any, method: str, args: tuple, kwargs: dict
    ) -> None:
        super().__init__()
        self.other = other

        def start() -> None:
            self.thread = greenio.spawn(
                self.run, lambda: getattr(obj, method)(*args, **kwargs)
            )

        other.call(start)

    def stop(self) -> None:
        self.other.call(self.thread.kill)


class OtherCoroutineActor(Actor):
    """A Task on another thread's loop."""

    def __init__(
        self, other: OtherLoop, obj: Any, method: str, args: tuple, kwargs: dict
    ) -> None:
        super().__init__()
        self.other = other
        call = async_form(obj, method, args, kwargs)

        def start() -> None:
            self.task = other.loop.create_task(self.run_async(call))

        other.call(start)

    def stop(self) -> None:
        self.other.call(self.task.cancel)


KINDS = ("green", "coroutine", "thread", "other-green", "other-coroutine")
STOPPABLE = tuple(kind for kind in KINDS if kind != "thread")


class Cast:
    """Starts actors of any kind, and knows the other loop."""

    def __init__(self, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self._factory = factory
        self._other: OtherLoop | None = None

    @property
    def other(self) -> OtherLoop:
        if self._other is None:
            self._other = OtherLoop(self._factory)
        return self._other

    def start(self, kind: str, obj: Any, method: str, *args: Any, **kw: Any) -> Actor:
        if kind == "green":
            return GreenActor(obj, method, args, kw)
        if kind == "coroutine":
            return CoroutineActor(obj, method, args, kw)
        if kind == "thread":
            return ThreadActor(obj, method, args, kw)
        if kind == "other-green":
            return OtherGreenActor(self.other, obj, method, args, kw)
        assert kind == "other-coroutine"
        return OtherCoroutineActor(self.other, obj, method, args, kw)

    def close(self) -> None:
        if self._other is not None:
            self._other.close()


def factory_of(hub_name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the function that makes a loop of the named kind."""
    return loop_factory(hub_name)
