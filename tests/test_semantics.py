"""Who sees which exception: every row of the tables in docs/topics/semantics.md.

A row is run for everything that a victim may be waiting in, by everybody who may end
it, in an owned and in an attached hub, and in a loop in debug mode. The tables in the
documentation are what is tested: the rows are read from there.

Scenarios are green code. A coroutine takes part as a Task of the same loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import greenio
from _support import run_on_loop, until
from greenio import hubs
from greenio.event import Event
from greenio.greenio import GreenSocket
from greenio.lock import Lock
from greenio.queue import Queue

PAGE = Path(__file__).parent.parent / "docs" / "topics" / "semantics.md"


def table(title: str) -> list[list[str]]:
    """Read the rows of the table below a heading."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {title}\n")[1]
    section = section.split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return cells[2:]


def name_of(outcome: Any) -> str:
    """Return how the tables write what somebody saw."""
    if isinstance(outcome, BaseException):
        name = type(outcome).__name__
        # One of them is called like a builtin, which it is since Python 3.11.
        if isinstance(outcome, greenio.Timeout):
            return "Timeout"
        return "TimeoutError" if isinstance(outcome, asyncio.TimeoutError) else name
    return str(outcome)


class Told(Exception):
    """What `kill` and `throw` are told to raise."""


# -- where one waits --------------------------------------------------------------------


class Places:
    """Everything that a victim can wait in, in blocking style and as a coroutine.

    All of them wait for ever. `left` says whether nothing is left of a wait.
    """

    def __init__(self) -> None:
        self.event: Event[None] = Event()
        self.queue: Queue[None] = Queue()
        self.lock = Lock()
        self.lock.acquire()
        self.socket, self.other_end = socket.socketpair()
        self.green_socket = GreenSocket(self.socket)
        self.inner: list[str] = []
        self.waiting = 0
        self.children_live = False

    def close(self) -> None:
        self.green_socket.close()
        self.other_end.close()

    def check_left(self) -> None:
        if self.children_live:
            # Nobody ends a green thread by no longer waiting for it in blocking style.
            assert self.event.statistics().waiting == 1
            self.event.send()
        until(lambda: not self.waiting)
        assert self.event.statistics().waiting == 0
        assert self.queue.statistics().getting == 0
        assert self.lock.statistics().waiting == 0

    # In blocking style.

    def green_await(self) -> None:
        greenio.await_(self.forever())

    def green_wait(self) -> None:
        self.children_live = True
        self.child().wait()

    def green_queue(self) -> None:
        self.queue.get()

    def green_socket_(self) -> None:
        self.green_socket.recv(1)

    def green_lock(self) -> None:
        self.lock.acquire()

    def green_nested(self) -> None:
        """await_ of a coroutine that awaits a function that uses await_."""

        async def middle() -> None:
            await self.noted_async(
                lambda: greenio.run_green(
                    lambda: self.noted(lambda: greenio.await_(self.forever()))
                )
            )

        greenio.await_(middle())

    def green_five_deep(self, depth: int = 5) -> None:
        if depth == 0:
            self.event.wait()
            return

        async def below() -> None:
            await greenio.run_green(self.green_five_deep, depth - 1)

        greenio.await_(below())

    # As a coroutine.

    async def async_await(self) -> None:
        await self.forever()

    async def async_wait(self) -> None:
        await self.child()

    async def async_queue(self) -> None:
        await self.queue.get_async()

    async def async_socket_(self) -> None:
        loop = asyncio.get_running_loop()
        self.socket.setblocking(False)
        await loop.sock_recv(self.socket, 1)

    async def async_lock(self) -> None:
        await self.lock.acquire_async()

    async def async_nested(self) -> None:
        """A function in a coroutine in a function."""

        def middle() -> None:
            self.noted(
                lambda: greenio.await_(
                    self.noted_async(lambda: greenio.run_green(self.event.wait))
                )
            )

        await greenio.run_green(middle)

    async def async_five_deep(self) -> None:
        await greenio.run_green(self.green_five_deep)

    # -- helpers ---------------------------------------------------------------------

    async def forever(self) -> None:
        await self.noted_async(lambda: asyncio.sleep(3600))

    def child(self) -> greenio.GreenThread:
        return greenio.spawn(self.noted, self.event.wait)

    def noted(self, call: Callable[[], Any]) -> None:
        """Call it, and note what comes through."""
        self.waiting += 1
        try:
            call()
        except BaseException as exc:
            self.inner.append(name_of(exc))
            raise
        finally:
            self.waiting -= 1

    async def noted_async(self, call: Callable[[], Any]) -> None:
        self.waiting += 1
        try:
            await call()
        except BaseException as exc:
            self.inner.append(name_of(exc))
            raise
        finally:
            self.waiting -= 1


PLACES = ["await", "wait", "queue", "socket_", "lock", "nested", "five_deep"]


# -- who takes part ---------------------------------------------------------------------


KINDS = ["coroutine", "green thread", "portal"]


class Actor:
    """Somebody who does one thing, and what came of it.

    Args:
        kind: What it is.
        green: What it does if it is green code.
        coroutine: The same as a coroutine function.
    """

    def __init__(
        self, kind: str, green: Callable[[], Any] | None, coroutine: Any = None
    ) -> None:
        self.kind = kind
        self.seen: Any = None
        self.begun = self.ended = False
        if kind == "green thread":
            self.handle: Any = greenio.spawn(self._green, green)
        else:
            is_portal = kind == "portal" and coroutine is None
            body = self._portal(green) if is_portal else self._async(coroutine)
            self.handle = hubs.get_hub().loop.create_task(body)

    def _green(self, call: Callable[[], Any]) -> Any:
        self.begun = True
        try:
            return call()
        except BaseException as exc:
            self.seen = exc
            raise
        finally:
            self.ended = True

    async def _portal(self, call: Callable[[], Any]) -> Any:
        await greenio.ensure_portal()
        return self._green(call)

    async def _async(self, call: Callable[[], Any]) -> Any:
        self.begun = True
        if self.kind == "portal":
            await greenio.ensure_portal()
        try:
            return await call()
        except BaseException as exc:
            self.seen = exc
            raise
        finally:
            self.ended = True

    def until_it_waits(self) -> None:
        until(lambda: self.begun)
        for _ in range(20):
            greenio.sleep(0)

    def check(self) -> None:
        """Retrieve what came of it, so that nobody else is told."""
        until(lambda: self.ended)
        if isinstance(self.handle, asyncio.Task):
            until(self.handle.done)
            if not self.handle.cancelled():
                self.handle.exception()
        else:
            with contextlib.suppress(BaseException):
                self.handle.wait()


def act(kind: str, action: Callable[[], Any]) -> None:
    """Have somebody of a kind do something that does not wait."""

    async def coroutine() -> None:
        action()

    actor = Actor(kind, action, coroutine if kind == "coroutine" else None)
    actor.check()
    assert actor.seen is None, actor.seen


# Long enough for everybody to wait; nothing depends on it but the test's duration.
SOON = 0.02


def limited_green(limit: str, call: Callable[[], Any]) -> Callable[[], Any]:
    def limited() -> None:
        with greenio.Timeout(SOON):
            call()

    return limited if limit == "`greenio.Timeout`" else call


def limited_async(limit: str, call: Callable[[], Any]) -> Callable[[], Any]:
    async def limited() -> None:
        async with asyncio.timeout(SOON):
            await call()

    return limited if limit == "`asyncio.timeout`" else call


def end(how: str, actor: Actor, by: str) -> None:
    """End somebody; time limits come by themselves."""
    handle = actor.handle
    actions: dict[str, Callable[[], Any]] = {
        "`task.cancel()`": lambda: handle.cancel(),
        "`gt.kill()`": lambda: handle.kill(),
        "`gt.kill(Told())`": lambda: handle.kill(Told()),
    }
    if how in actions:
        actor.until_it_waits()
        assert not actor.ended, actor.seen
        act(by, actions[how])
    actor.check()


def as_coroutine(call: Callable[[], Any]) -> Callable[[], Any]:
    async def body() -> None:
        call()

    return body


# -- running scenarios ------------------------------------------------------------------


@pytest.fixture(params=["owned", "attached", "debug"])
def play(request, hub_name, loop_factory):
    """Run a function as green code in one kind of hub."""
    mode = request.param
    if mode == "owned":
        return lambda scenario: scenario()

    def factory() -> asyncio.AbstractEventLoop:
        loop = loop_factory()
        loop.set_debug(mode == "debug")
        return loop

    async def main(scenario: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        # A long step is no news on a busy machine.
        loop.slow_callback_duration = 60
        await greenio.run_green(scenario)

    return lambda scenario: run_on_loop(factory, lambda: main(scenario))


def needs(how: str) -> None:
    if "asyncio.timeout" in how and not hasattr(asyncio, "timeout"):
        pytest.skip("asyncio.timeout is new in Python 3.11")


def ended(
    kind: str, how: str, by: str, place: str, waiter_kind: str
) -> tuple[str, str]:
    """End somebody; return what he sees, and what who waits for him does."""
    places = Places()
    noted: list[BaseException] = []

    def green() -> None:
        try:
            getattr(places, f"green_{place}")()
        except BaseException as exc:
            noted.append(exc)
            raise

    async def coroutine() -> None:
        try:
            await getattr(places, f"async_{place}")()
        except BaseException as exc:
            noted.append(exc)
            raise

    if kind == "coroutine":
        victim = Actor(kind, None, limited_async(how, coroutine))
    elif "asyncio" in how:
        victim = Actor(kind, None, limited_async(how, as_coroutine(green)))
    else:
        victim = Actor(kind, limited_green(how, green))
    handle = victim.handle

    async def wait_async() -> None:
        await handle

    def wait() -> None:
        if kind == "green thread":
            handle.wait()
        else:
            greenio.await_(handle)

    waiter = Actor(
        waiter_kind, wait, wait_async if waiter_kind == "coroutine" else None
    )
    end(how, victim, by)
    waiter.check()
    places.check_left()
    places.close()
    assert len(noted) == 1
    return name_of(noted[0]), name_of(waiter.seen)


@pytest.mark.parametrize("by", KINDS)
@pytest.mark.parametrize("row", table("Something is ended"), ids=lambda row: row[0])
def test_something_is_ended(play, row, by):
    kind, how = row[0].split(": ")
    needs(how)

    def scenario() -> None:
        for place in PLACES:
            for waiter_kind, expected in zip(KINDS, row[2:], strict=True):
                seen = ended(kind, how, by, place, waiter_kind)
                assert seen == (row[1], expected), (place, waiter_kind)

    play(scenario)


@pytest.mark.parametrize("by", KINDS)
@pytest.mark.parametrize(
    "row", table("Somebody who waits is ended"), ids=lambda row: " ".join(row[:2])
)
def test_somebody_who_waits_is_ended(play, row, by):
    kind, call = row[0].split(": ")
    _, how, expected, fate = row
    needs(how)

    def scenario() -> None:
        places = Places()
        target = Target(places)
        green, coroutine = target.calls()[call.strip("`")]
        if kind == "coroutine":
            waiter = Actor(kind, None, limited_async(how, coroutine))
        elif "asyncio" in how:
            waiter = Actor(kind, None, limited_async(how, as_coroutine(green)))
        else:
            waiter = Actor(kind, limited_green(how, green))
        end(how, waiter, by)
        assert name_of(waiter.seen) == expected
        if fate == "goes on":
            assert not places.inner
            assert places.waiting == 1
            places.event.send()
            until(lambda: not places.waiting)
        else:
            # It has ended before the one who waited goes on.
            assert places.inner == [fate]
            assert not places.waiting
        places.check_left()
        places.close()

    play(scenario)


class Target:
    """What somebody waits for, in all the ways in which one can."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def calls(self) -> dict[str, tuple[Any, Any]]:
        """Return, by how the table writes it, the call in both styles."""
        places = self.places
        loop = hubs.get_hub().loop

        async def await_child() -> None:
            await places.child()

        async def await_function() -> None:
            await greenio.run_green(places.noted, places.event.wait)

        async def await_task() -> None:
            await loop.create_task(self.coro())

        async def wait_async() -> None:
            await places.child().wait_async()

        return {
            "await gt": (None, await_child),
            "await gt.wait_async()": (None, wait_async),
            "await run_green(f)": (None, await_function),
            "await task": (None, await_task),
            "gt.wait()": (lambda: places.child().wait(), None),
            "await_(coro)": (lambda: greenio.await_(self.coro()), None),
            "await_(gt)": (lambda: greenio.await_(places.child()), None),
            "await_(task)": (
                lambda: greenio.await_(loop.create_task(self.coro())),
                None,
            ),
        }

    async def coro(self) -> None:
        await self.places.noted_async(self.places.event.wait_async)
