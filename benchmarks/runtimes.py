"""The runtimes under test, each behind the same few names.

A green runtime is described by the library's own functions, not by methods that call
them: a benchmark binds them to locals and then calls what a user of that library calls,
so that the adapter costs nothing in the measured loop.
"""

from __future__ import annotations

import asyncio
import importlib.util
import operator
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")


class Kind(Enum):
    """Which form of a benchmark a runtime runs."""

    GREEN = "green"
    COROUTINE = "coroutine"
    BARE = "bare"


@dataclass(frozen=True)
class Green:
    """A library of green threads, by the names that the benchmarks use.

    Attributes:
        spawn: Start a function in a green thread, and return a handle.
        wait: Wait for a handle's green thread and return what it returned.
        spawn_n: The library's cheapest start of a function nobody waits for.
        sleep: Wait for some seconds; 0 lets the others run once.
        queue: Make a queue of at most so many items.
        semaphore: Make a semaphore of so many permits.
        pool: Make a pool of so many green threads, with an `imap`.
        event: Make an object on which any number of green threads can `wait()`.
        release: Wake everybody who waits for such an event.
        listen: Make a listening socket for an address, with a backlog.
    """

    spawn: Callable[..., Any]
    wait: Callable[[Any], Any]
    spawn_n: Callable[..., Any]
    sleep: Callable[[float], Any]
    queue: Callable[[int], Any]
    semaphore: Callable[[int], Any]
    pool: Callable[[int], Any]
    event: Callable[[], Any]
    release: Callable[[Any], Any]
    listen: Callable[[tuple[str, int], int], Any]


@dataclass(frozen=True)
class Runtime:
    """One column of the table.

    Attributes:
        name: What the table and `--runtimes` call it.
        kind: Which form of a benchmark it runs.
        requires: The modules that must be installed.
        on_request: Whether it runs only where `--runtimes` names it.
    """

    name: str
    kind: Kind
    requires: tuple[str, ...] = ()
    on_request: bool = False

    def missing(self) -> list[str]:
        """Return the modules that this runtime needs and that are not installed."""
        return [
            name for name in self.requires if importlib.util.find_spec(name) is None
        ]


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime("greenio-asyncio", Kind.GREEN, ("greenio", "greenlet")),
        Runtime("greenio-uvloop", Kind.GREEN, ("greenio", "greenlet", "uvloop")),
        Runtime("greenio-asyncio-hidden", Kind.GREEN, ("greenio",), on_request=True),
        Runtime(
            "greenio-uvloop-hidden",
            Kind.GREEN,
            ("greenio", "uvloop"),
            on_request=True,
        ),
        Runtime("eventlet", Kind.GREEN, ("eventlet",)),
        Runtime("gevent", Kind.GREEN, ("gevent",)),
        Runtime("asyncio", Kind.COROUTINE),
        Runtime("uvloop", Kind.COROUTINE, ("uvloop",)),
        Runtime("greenlet", Kind.BARE, ("greenlet",)),
    )
}
GREENIO = ("greenio-asyncio", "greenio-uvloop")
GREEN_PEERS = ("eventlet", "gevent")
# Whose versions say what a result is a result of.
LIBRARIES = ("greenio-asyncio", "greenlet", "uvloop", "eventlet", "gevent")


def load_green(name: str) -> Green:
    """Import a library of green threads and return it behind the common names."""
    return _LOADERS[name]()


def run_coroutine(name: str, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a fresh loop of the runtime `name`: asyncio or uvloop."""
    if name == "uvloop":
        import uvloop

        result: T = uvloop.run(coroutine)
        return result
    return asyncio.run(coroutine)


def _load_greenio(hub: str, *, hidden: bool = False) -> Green:
    import greenio
    import greenio.event
    import greenio.hubs
    import greenio.queue

    greenio.hubs.use_hub(hub)
    greenio.hide_loop(hidden)
    return Green(
        spawn=greenio.spawn,
        wait=greenio.GreenThread.wait,
        spawn_n=greenio.spawn_n,
        sleep=greenio.sleep,
        queue=greenio.queue.LightQueue,
        semaphore=greenio.Semaphore,
        pool=greenio.GreenPool,
        event=greenio.event.Event,
        release=operator.methodcaller("send"),
        listen=lambda address, backlog: greenio.listen(address, backlog=backlog),
    )


def _load_eventlet() -> Green:
    import eventlet
    import eventlet.event
    import eventlet.greenthread
    import eventlet.queue

    return Green(
        spawn=eventlet.spawn,
        wait=eventlet.greenthread.GreenThread.wait,
        spawn_n=eventlet.spawn_n,
        sleep=eventlet.sleep,
        queue=eventlet.queue.LightQueue,
        semaphore=eventlet.Semaphore,
        pool=eventlet.GreenPool,
        event=eventlet.event.Event,
        release=operator.methodcaller("send"),
        listen=lambda address, backlog: eventlet.listen(address, backlog=backlog),
    )


def _load_gevent() -> Green:
    import gevent
    import gevent.event
    import gevent.lock
    import gevent.pool
    import gevent.queue
    import gevent.socket

    def listen(address: tuple[str, int], backlog: int) -> Any:
        # Its own create_server() would return a socket that blocks everybody.
        listener = gevent.socket.socket()
        listener.bind(address)
        listener.listen(backlog)
        return listener

    return Green(
        spawn=gevent.spawn,
        wait=gevent.Greenlet.get,
        spawn_n=gevent.spawn_raw,
        sleep=gevent.sleep,
        queue=gevent.queue.SimpleQueue,
        semaphore=gevent.lock.Semaphore,
        pool=gevent.pool.Pool,
        event=gevent.event.Event,
        release=operator.methodcaller("set"),
        listen=listen,
    )


_LOADERS: dict[str, Callable[[], Green]] = {
    "greenio-asyncio": lambda: _load_greenio("asyncio"),
    "greenio-uvloop": lambda: _load_greenio("uvloop"),
    "greenio-asyncio-hidden": lambda: _load_greenio("asyncio", hidden=True),
    "greenio-uvloop-hidden": lambda: _load_greenio("uvloop", hidden=True),
    "eventlet": _load_eventlet,
    "gevent": _load_gevent,
}
