"""`DAGPool`: green threads that start at once and wait for each other's results.

The pool has a table of values and a table of green threads that run, both by key. A
`Results` is somebody's wish for the values of some keys: those that are there already
lie ready in it, and for each of the others the pool has it in a third table, so that a
new value is told to those who want it and to nobody else.

That table refers to a `Results` weakly: who gives up waiting (a time limit, a kill, a
``break``) leaves nothing behind, without having to say so.

A value is looked up when it is taken, not when it arrives, so that one which `post`
replaced meanwhile is the newer one. A failure is a value too, a `PropagateError`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from greenlet import getcurrent

from .._kernel.waiters import (
    AnyWaiter,
    GreenWaiter,
    ThreadWaiter,
    WaitQueue,
    mutex,
    new_task_waiter,
    new_waiter,
)
from .._loop.reraise import fresh
from .._std.protocols import Results as PublicResults
from .arguments import check_callable
from .spawning import spawn
from .thread import GreenThread

_MISSING: Any = object()


def _taker() -> GreenWaiter | ThreadWaiter:
    return new_waiter("waiting for a value of a DAGPool")


@dataclass(frozen=True)
class DAGPoolStatistics:
    """What `DAGPool.statistics` returns.

    Attributes:
        values: How many keys have a value, or a failure.
        failed: How many of these have a failure.
        running: How many green threads of the pool have not ended.
        waiting: How many of these lack values they depend on.
    """

    values: int
    failed: int
    running: int
    waiting: int


class Collision(Exception):
    """A key was spawned or posted a second time; its argument is the key."""


class PropagateError(Exception):
    """The green thread of a key failed, so the key has no value.

    If another green thread of the pool lets it through, that one's `PropagateError` has
    this one as its `exc`, and so on: following `exc` leads to the first failure.

    Attributes:
        key: The key.
        exc: What its green thread failed with.
    """

    def __init__(self, key: Any, exc: BaseException) -> None:
        super().__init__(key, exc)
        self.key = key
        self.exc = exc

    def __str__(self) -> str:
        return f"PropagateError({self.key}): {type(self.exc).__name__}: {self.exc}"


def _pairs(given: Any, what: str) -> dict[Any, Any]:
    """Return a dict of what was given; raise an error that says what is taken."""
    if isinstance(given, Iterable):
        try:
            return dict(given)
        except (TypeError, ValueError) as exc:
            raise type(exc)(f"{what}, or pairs of both, not {given!r}: {exc}") from exc
    raise TypeError(f"{what}, or pairs of both, not {given!r}")


class Results:
    """The values of some keys, as they become available: pairs of key and value.

    For ``for`` in green threads and OS threads, and for ``async for`` in coroutines.
    """

    __slots__ = ("__weakref__", "_pool", "_ready", "_waiters", "pending")

    def __init__(self, pool: DAGPool, keys: Iterable[Any]) -> None:
        self._pool = pool
        self._ready: deque[Any] = deque()
        self._waiters = WaitQueue()
        # Those that have no value yet.
        self.pending: set[Any] = set()
        if not isinstance(keys, Iterable):
            raise TypeError(
                "a DAGPool is asked for the values of some keys, as in wait(['app']) for "
                f"one, not {keys!r}; pool['app'] is the value by itself"
            )
        pool._want(self, dict.fromkeys(keys))

    def __repr__(self) -> str:
        return (
            f"<results of a {type(self._pool).__name__}, {len(self._ready)} ready, "
            f"{len(self.pending)} to come at {id(self):#x}>"
        )

    def _add(self, key: Any) -> None:
        """Know of a key that has no value, or about to be told of it; under the mutex."""
        self.pending.add(key)

    def _arrived(self, key: Any) -> None:
        """Hear that a key has a value now; under the mutex."""
        if key not in self.pending:
            # Told already, by who interrupted us.
            return
        self.pending.discard(key)
        if not self._waiters.wake_one(key):
            self._ready.append(key)
        if not self.pending:
            # Nothing more comes for anybody else who iterates over the same.
            self._waiters.wake_all(_MISSING)

    def _give_back(self, key: Any) -> None:
        if key is not _MISSING and not self._waiters.wake_one(key):
            self._ready.appendleft(key)

    def _take(self, key: Any) -> tuple[Any, Any]:
        return key, self._pool._values[key]

    def take(self) -> tuple[Any, Any] | None:
        """Wait for the next key and value; a failure is the value. None at the end."""
        key, waiter = self._look_or_queue(_taker)
        if waiter is not None:
            key = self._waiters.wait(waiter, None, self._give_back)
        return None if key is _MISSING else self._take(key)

    async def take_async(self) -> tuple[Any, Any] | None:
        """Await the next key and value; see `take`."""
        key, waiter = self._look_or_queue(new_task_waiter)
        if waiter is not None:
            key = await self._waiters.wait_async(waiter, None, self._give_back)
        return None if key is _MISSING else self._take(key)

    def _look_or_queue(
        self, new_waiter: Callable[[], AnyWaiter]
    ) -> tuple[Any, AnyWaiter | None]:
        """Return a key, if there is one or none to come; or queue a waiter for it."""
        with mutex:
            if not self._ready and self.pending:
                waiter = new_waiter()
                waiters = self._waiters
                # Made by who interrupted us in between, otherwise.
                if not self._ready and self.pending:
                    waiters.append(waiter)
                    return None, waiter
            return self._ready.popleft() if self._ready else _MISSING, None

    def _passes(self, value: Any) -> bool:
        """Whether the value is one that iterating delivers; raise it if it is to be."""
        if isinstance(value, PropagateError):
            raise fresh(value)
        return True

    def __iter__(self) -> Results:
        return self

    def __next__(self) -> tuple[Any, Any]:
        while (pair := self.take()) is not None:
            if self._passes(pair[1]):
                return pair
        raise StopIteration

    def __aiter__(self) -> Results:
        return self

    async def __anext__(self) -> tuple[Any, Any]:
        while (pair := await self.take_async()) is not None:
            if self._passes(pair[1]):
                return pair
        raise StopAsyncIteration


class _Successes(Results):
    __slots__ = ()

    def _passes(self, value: Any) -> bool:
        return not isinstance(value, PropagateError)


class _Failures(Results):
    __slots__ = ()

    def _passes(self, value: Any) -> bool:
        return isinstance(value, PropagateError)


class _Running:
    """A green thread of the pool, and what it waits for."""

    __slots__ = ("results", "thread")

    def __init__(self, results: Results) -> None:
        self.results = results
        self.thread: GreenThread | None = None


class DAGPool:
    """Runs green threads that depend on each other's results, as they allow it.

    Each has a key, and the keys that it depends on. All start at once; each is given an
    iterable of the values it depends on, and waits when it iterates over that::

        def build(name, results, *extra):
            parts = dict(results)  # waits for all that `name` depends on
            return make(name, parts)

        pool = DAGPool({"libc": libc})
        pool.spawn("app", ["libc", "ui"], build)
        pool.spawn("ui", ["libc"], build)
        print(pool["app"])

    What a green thread returns is the value of its key. If it fails, whoever asks for
    that value gets a `PropagateError`.

    Args:
        preload: Values that are there from the start: a mapping, or pairs of key and
            value.
    """

    def __init__(
        self, preload: Mapping[Any, Any] | Iterable[tuple[Any, Any]] = ()
    ) -> None:
        self._values: dict[Any, Any] = _pairs(
            preload, "DAGPool() takes values by key, as in DAGPool({'key': value})"
        )
        self._running: dict[Any, _Running] = {}
        self._wanted: dict[Any, WeakKeyDictionary[Results, None]] = {}

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {len(self._values)} values, {self.running()} "
            f"running, {self.waiting()} of them waiting at {id(self):#x}>"
        )

    # -- starting and ending -----------------------------------------------------------

    def spawn(
        self,
        key: Any,
        depends: Iterable[Any],
        function: Callable[..., Any],
        *args: Any,
        **kwds: Any,
    ) -> None:
        """Run ``function(key, results, *args, **kwds)`` in a green thread.

        Iterating over ``results`` gives pairs of key and value for the keys in
        `depends`, in the order in which they become available, and waits for them. What
        the function returns is the value of `key`.

        Args:
            key: The key, anything hashable.
            depends: The keys whose values the function wants.
            function: The function.
            *args: Its further positional arguments.
            **kwds: Its keyword arguments.

        Raises:
            Collision: There is a value or a green thread for `key` already.
            TypeError: `function` cannot be called, or a key is not hashable.
        """
        check_callable(function, "DAGPool.spawn")
        if not hasattr(depends, "__iter__"):
            raise TypeError(
                "DAGPool.spawn() takes the keys that the green thread depends on as "
                "its second argument, as in spawn(key, (), function) for none, not "
                f"{depends!r}"
            )
        entry = _Running(Results(self, depends))
        with mutex:
            if key in self._values or key in self._running:
                raise Collision(key)
            self._running[key] = entry
        try:
            entry.thread = spawn(function, key, entry.results, *args, **kwds)
        except BaseException:
            with mutex:
                del self._running[key]
            raise
        entry.thread.link(self._ended, key, entry)

    def spawn_many(
        self,
        depends: Mapping[Any, Iterable[Any]] | Iterable[tuple[Any, Iterable[Any]]],
        function: Callable[..., Any],
        *args: Any,
        **kwds: Any,
    ) -> None:
        """Run a function in a green thread for each of several keys; see `spawn`.

        Args:
            depends: For each key the keys that it depends on: a mapping, or pairs.
            function: The function.
            *args: Its further positional arguments.
            **kwds: Its keyword arguments.

        Raises:
            Collision: There is a value or a green thread for a key already; those
                before it have been started.
            TypeError: `function` cannot be called, or a key is not hashable.
        """
        check_callable(function, "DAGPool.spawn_many")
        pairs = _pairs(
            depends,
            "DAGPool.spawn_many() takes for each key the keys that it depends on, as in "
            "spawn_many({'app': ['libc'], 'libc': ()}, function)",
        )
        for key, others in pairs.items():
            self.spawn(key, others, function, *args, **kwds)

    def _ended(self, thread: GreenThread, key: Any, entry: _Running) -> None:
        """Take a green thread's result; it calls this itself at its end."""
        with mutex:
            if key in self._values and self._running.get(key) is entry:
                # It has posted another, which stays. A failure is then nobody's value, and
                # is reported.
                del self._running[key]
                return
        error = thread.failure()
        value: Any
        if error is None:
            value = thread.outcome()
        elif isinstance(error, PropagateError) and error.key == key:
            value = error
        else:
            value = PropagateError(key, error)
            value.__cause__ = error
        with mutex:
            # Unless `kill` has made its key free for another.
            if self._running.get(key) is entry:
                del self._running[key]
                self._set(key, value)

    def kill(self, key: Any) -> None:
        """Kill the green thread of a key.

        Its key is as if it had never been spawned: another may be spawned, or a value
        posted, and whoever waits for the key goes on waiting for that.

        Raises:
            KeyError: No green thread runs for that key.
        """
        with mutex:
            entry = self._running.pop(key)
        if entry.thread is not None:
            entry.thread.kill()

    def post(self, key: Any, value: Any, replace: bool = False) -> None:
        """Give a key a value that no green thread of the pool computes.

        The green thread of a key may post its value too, before it ends. What it returns
        is then dropped.

        Args:
            key: The key.
            value: The value. A `PropagateError` is a failure, raised in whoever asks.
            replace: Whether it may take the place of a value that is there already.
                Whoever has taken that one is not told.

        Raises:
            Collision: There is a value already, or another green thread will return one.
        """
        with mutex:
            entry = self._running.get(key)
            of_another = entry is not None and entry.thread is not getcurrent()
            if of_another or (key in self._values and not replace):
                raise Collision(key)
            self._set(key, value)

    def _set(self, key: Any, value: Any) -> None:
        self._values[key] = value
        for results in list(self._wanted.pop(key, ())):
            results._arrived(key)

    def _want(self, results: Results, keys: Iterable[Any]) -> None:
        with mutex:
            for key in keys:
                results._add(key)
                if key not in self._values:
                    others = self._wanted.get(key)
                    if others is None:
                        others = self._wanted[key] = WeakKeyDictionary()
                    others[results] = None
                # Perhaps meanwhile, by who interrupted us.
                if key in self._values:
                    results._arrived(key)

    # -- waiting -----------------------------------------------------------------------

    def _all_unless(self, keys: Iterable[Any]) -> Iterable[Any]:
        if keys is not _MISSING:
            return keys
        with mutex:
            # Those are in both that have posted their value and go on.
            return {**self._values, **self._running}

    def wait(self, keys: Iterable[Any] = _MISSING) -> dict[Any, Any]:
        """Wait for values.

        Args:
            keys: Their keys; by default all those that were preloaded, posted or
                spawned up to now.

        Returns:
            The values by their keys.

        Raises:
            PropagateError: The green thread of one of them has failed.
            BlockingInLoopError: Called in the loop greenlet when it would have to wait;
                use `wait_async` there.
        """
        return dict(self.wait_each(keys))

    async def wait_async(self, keys: Iterable[Any] = _MISSING) -> dict[Any, Any]:
        """Wait for values as a coroutine; see `wait`."""
        return {key: value async for key, value in self.wait_each(keys)}

    def waitall(self) -> dict[Any, Any]:
        """Wait for every value there is, or will be of green threads that run; `wait`.

        Raises:
            PropagateError: One of them has failed.
        """
        return self.wait()

    async def waitall_async(self) -> dict[Any, Any]:
        """Wait for every value as a coroutine; see `waitall`."""
        return await self.wait_async()

    def wait_each(
        self, keys: Iterable[Any] = _MISSING
    ) -> PublicResults[tuple[Any, Any]]:
        """Iterate over pairs of key and value as they become available.

        Iterating raises the `PropagateError` of a key whose green thread failed, and
        can go on after it.

        Args:
            keys: The keys; by default all those known now.

        Returns:
            An iterator, for ``for`` and for ``async for``.
        """
        return Results(self, self._all_unless(keys))

    def wait_each_success(
        self, keys: Iterable[Any] = _MISSING
    ) -> PublicResults[tuple[Any, Any]]:
        """Like `wait_each`, but leaves out the keys whose green threads failed."""
        return _Successes(self, self._all_unless(keys))

    def wait_each_exception(
        self, keys: Iterable[Any] = _MISSING
    ) -> PublicResults[tuple[Any, Any]]:
        """Like `wait_each`, but only pairs of key and `PropagateError` of failures."""
        return _Failures(self, self._all_unless(keys))

    def __getitem__(self, key: Any) -> Any:
        """Wait for one value.

        Raises:
            PropagateError: Its green thread has failed.
        """
        return next(self.wait_each((key,)))[1]

    # Iterating would ask for the keys 0, 1, 2, and wait for them.
    __iter__ = None

    def __contains__(self, key: Any) -> bool:
        """Whether there is a value for a key, or a failure."""
        return key in self._values

    # -- looking -----------------------------------------------------------------------

    def get(self, key: Any, default: Any = None) -> Any:
        """Return a value if it is there, else `default`; it never waits.

        Raises:
            PropagateError: Its green thread has failed.
        """
        return _or_raise(self._values.get(key, default))

    def keys(self) -> tuple[Any, ...]:
        """Return the keys that have a value, or a failure, now."""
        with mutex:
            return tuple(self._values)

    def items(self) -> tuple[tuple[Any, Any], ...]:
        """Return the keys that have a value now, with their values.

        Raises:
            PropagateError: One of the green threads has failed.
        """
        with mutex:
            items = tuple(self._values.items())
        return tuple((key, _or_raise(value)) for key, value in items)

    def running(self) -> int:
        """Return how many green threads run, those that wait for values included."""
        return len(self._running)

    def running_keys(self) -> tuple[Any, ...]:
        """Return the keys of the green threads that run."""
        with mutex:
            return tuple(self._running)

    def waiting(self) -> int:
        """Return how many green threads of the pool lack values they depend on."""
        with mutex:
            return sum(bool(entry.results.pending) for entry in self._running.values())

    def statistics(self) -> DAGPoolStatistics:
        """Return numbers about the current state."""
        with mutex:
            values = list(self._values.values())
            return DAGPoolStatistics(
                values=len(values),
                failed=sum(isinstance(value, PropagateError) for value in values),
                running=self.running(),
                waiting=self.waiting(),
            )

    def waiting_for(self, key: Any = _MISSING) -> Any:
        """Return what green threads of the pool still lack.

        Args:
            key: The key of one of them.

        Returns:
            The set of keys that this one waits for; without `key`, such sets for all
            that wait, by their keys.

        Raises:
            KeyError: The key is neither running nor has it a value.
        """
        with mutex:
            if key is _MISSING:
                return {
                    waiting: set(entry.results.pending)
                    for waiting, entry in self._running.items()
                    if entry.results.pending
                }
            entry = self._running.get(key)
            if entry is not None:
                return set(entry.results.pending)
            if key in self._values:
                return set()
            raise KeyError(key)


def _or_raise(value: Any) -> Any:
    if isinstance(value, PropagateError):
        raise fresh(value)
    return value
