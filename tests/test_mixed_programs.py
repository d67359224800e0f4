"""Random programs of green code and coroutines, against the same ones in pure asyncio.

A program is a tree of steps. In the mixed form each function of it is either green code
or a coroutine, by a choice of its own; in the other, all of them are coroutines and all
they use is asyncio's. Both run on a virtual clock, and must do the same at the same time.

What two functions do at the same instant may come in either order, so each has a record
of its own, and no two sleeps take the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from greenlet import GreenletExit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import greenio
from _support import VirtualLoop, run_on_loop
from greenio.lock import Lock
from greenio.queue import Queue

Step = tuple[Any, ...]
HAS_TIMEOUT = hasattr(asyncio, "timeout")
# Whoever still waits then is stopped; the programs may well deadlock.
THE_END = 100_000

variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)


class Boom(Exception):
    pass


ENDED = (asyncio.CancelledError, GreenletExit, greenio.Timeout)


# -- programs ---------------------------------------------------------------------------

small = st.integers(0, 1)
kinds = st.sampled_from(["green", "async"])
leaves = st.one_of(
    st.just(("sleep",)),
    st.tuples(st.just("put"), small),
    st.tuples(st.just("get"), small),
    st.tuples(st.just("join"), small),
    st.tuples(st.just("cancel"), small),
    st.tuples(st.just("set"), st.integers(1, 9)),
    st.just(("look",)),
    st.just(("raise",)),
)


def blocks(steps: st.SearchStrategy[Step]) -> st.SearchStrategy[Step]:
    body = st.lists(steps, min_size=1, max_size=4)
    forms = [
        st.tuples(st.just("call"), kinds, body),
        st.tuples(st.just("spawn"), kinds, body),
        st.tuples(st.just("lock"), small, body),
        st.tuples(st.just("catch"), body),
        st.tuples(st.just("finally"), body),
    ]
    if HAS_TIMEOUT:
        forms.append(st.tuples(st.just("timeout"), body))
    return st.one_of(forms)


programs = st.lists(st.recursive(leaves, blocks, max_leaves=25), min_size=2, max_size=6)


@dataclass
class Function:
    """A function of a program that is running: what it knows, and what it has done."""

    run: Run
    name: str
    children: list[Any] = field(default_factory=list)
    spawned: int = 0

    def note(self, *what: Any) -> None:
        now = round(self.run.loop.time(), 6)
        self.run.records.setdefault(self.name, []).append((now, *what))

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """Note how the body ends."""
        error = None
        try:
            yield
        except BaseException as exc:
            error = exc
            raise
        finally:
            self.note(how_it_ended(error))

    def adopt(self, child: Any) -> None:
        self.children.append(child)
        self.run.everybody.append(child)

    def end_child(self, index: int) -> None:
        if index < len(self.children):
            end(self.children[index])

    def note_child(self, child: Any) -> None:
        error: BaseException | None = None
        try:
            if isinstance(child, asyncio.Task):
                child.result()
            else:
                child.wait()
        except BaseException as exc:
            error = exc
        self.note("joined", how_it_ended(error))

    def child(self) -> Function:
        self.spawned += 1
        return Function(self.run, f"{self.name}.{self.spawned}")

    def duration(self) -> float:
        """A time that nobody else sleeps for."""
        self.spawned += 1
        path = f"{self.name}.{self.spawned}"
        seed = sum(ord(c) * 31**i for i, c in enumerate(path)) % 99_991
        return 1 + seed / 1009


def how_it_ended(error: BaseException | None) -> str:
    if error is None:
        return "returned"
    if isinstance(error, Boom):
        return "failed"
    return "was ended" if isinstance(error, ENDED) else repr(error)


def end(handle: Any) -> None:
    if isinstance(handle, asyncio.Task):
        handle.cancel()
    else:
        handle.kill()


class Run:
    """One run of a program."""

    def __init__(self, make_queue: Any, make_lock: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.records: dict[str, list[Any]] = {}
        self.queues = [make_queue(1), make_queue(1)]
        self.locks = [make_lock(), make_lock()]
        self.everybody: list[Any] = []


# -- the program in pure asyncio ----------------------------------------------------------


async def plain(function: Function, steps: list[Step]) -> None:
    run = function.run
    for step in steps:
        match step:
            case ("sleep",):
                function.note("sleeps")
            case ("put", index):
                await run.queues[index].put(function.name)
                function.note("put", index)
            case ("get", index):
                function.note("got", index, await run.queues[index].get())
            case ("spawn", _, body):
                function.adopt(run.loop.create_task(plain_body(function.child(), body)))
            case ("join", index):
                if index < len(function.children):
                    child = function.children[index]
                    await asyncio.wait([child])
                    function.note_child(child)
            case ("cancel", index):
                function.end_child(index)
            case _ if step[-1:] and isinstance(step[-1], list):
                await plain_block(function, step)
            case _:
                simple(function, step)
                continue
        # One thing at a time, so that no two things happen at the same instant.
        await asyncio.sleep(function.duration())


async def plain_block(function: Function, step: Step) -> None:
    """A step that has others in it."""
    run = function.run
    match step:
        case ("lock", index, body):
            async with run.locks[index]:
                function.note("locked", index)
                await plain(function, body)
        case ("call", _, body):
            await plain(function, body)
        case ("catch", body):
            try:
                await plain(function, body)
            except Boom:
                function.note("caught")
        case ("finally", body):
            with function.noting():
                await plain(function, body)
        case ("timeout", body):
            try:
                async with asyncio.timeout(function.duration()):
                    await plain(function, body)
            except TimeoutError:
                function.note("timeout")
        case _:
            raise AssertionError(step)


async def plain_body(function: Function, steps: list[Step]) -> None:
    with function.noting():
        await plain(function, steps)


# -- the mixed program ----------------------------------------------------------------------


async def as_coroutine(function: Function, steps: list[Step]) -> None:
    run = function.run
    for step in steps:
        match step:
            case ("sleep",):
                function.note("sleeps")
            case ("put", index):
                await run.queues[index].put_async(function.name)
                function.note("put", index)
            case ("get", index):
                function.note("got", index, await run.queues[index].get_async())
            case ("spawn", kind, body):
                function.adopt(start(kind, function.child(), body))
            case ("join", index):
                if index < len(function.children):
                    child = function.children[index]
                    if isinstance(child, asyncio.Task):
                        await asyncio.wait([child])
                    else:
                        await child.wait_end_async()
                    function.note_child(child)
            case ("cancel", index):
                function.end_child(index)
            case _ if step[-1:] and isinstance(step[-1], list):
                await as_coroutine_block(function, step)
            case _:
                simple(function, step)
                continue
        await asyncio.sleep(function.duration())


async def as_coroutine_block(function: Function, step: Step) -> None:
    """A step that has others in it."""
    run = function.run
    match step:
        case ("lock", index, body):
            async with run.locks[index]:
                function.note("locked", index)
                await as_coroutine(function, body)
        case ("call", "green", body):
            await greenio.run_green(as_green, function, body)
        case ("call", "async", body):
            await as_coroutine(function, body)
        case ("catch", body):
            try:
                await as_coroutine(function, body)
            except Boom:
                function.note("caught")
        case ("finally", body):
            with function.noting():
                await as_coroutine(function, body)
        case ("timeout", body):
            try:
                async with asyncio.timeout(function.duration()):
                    await as_coroutine(function, body)
            except TimeoutError:
                function.note("timeout")
        case _:
            raise AssertionError(step)


def as_green(function: Function, steps: list[Step]) -> None:
    run = function.run
    for step in steps:
        match step:
            case ("sleep",):
                function.note("sleeps")
            case ("put", index):
                run.queues[index].put(function.name)
                function.note("put", index)
            case ("get", index):
                function.note("got", index, run.queues[index].get())
            case ("spawn", kind, body):
                function.adopt(start(kind, function.child(), body))
            case ("join", index):
                if index < len(function.children):
                    child = function.children[index]
                    if isinstance(child, asyncio.Task):
                        greenio.await_(asyncio.wait([child]))
                    else:
                        child.wait_end()
                    function.note_child(child)
            case ("cancel", index):
                function.end_child(index)
            case _ if step[-1:] and isinstance(step[-1], list):
                as_green_block(function, step)
            case _:
                simple(function, step)
                continue
        greenio.sleep(function.duration())


def as_green_block(function: Function, step: Step) -> None:
    """A step that has others in it."""
    run = function.run
    match step:
        case ("lock", index, body):
            with run.locks[index]:
                function.note("locked", index)
                as_green(function, body)
        case ("call", "green", body):
            as_green(function, body)
        case ("call", "async", body):
            greenio.await_(as_coroutine(function, body))
        case ("catch", body):
            try:
                as_green(function, body)
            except Boom:
                function.note("caught")
        case ("finally", body):
            with function.noting():
                as_green(function, body)
        case ("timeout", body):
            limit = greenio.Timeout(function.duration())
            try:
                with limit:
                    as_green(function, body)
            except greenio.Timeout as expired:
                if expired is not limit:
                    raise
                function.note("timeout")
        case _:
            raise AssertionError(step)


def start(kind: str, function: Function, steps: list[Step]) -> Any:
    """Start a function beside the caller."""

    async def coroutine() -> None:
        with function.noting():
            await as_coroutine(function, steps)

    def green() -> None:
        with function.noting():
            as_green(function, steps)

    if kind == "green":
        return greenio.spawn(green)
    return function.run.loop.create_task(coroutine())


def simple(function: Function, step: Step) -> None:
    """Steps that never wait."""
    match step:
        case ("set", value):
            variable.set(value)
        case ("look",):
            function.note("sees", variable.get())
        case ("raise",):
            raise Boom
        case _:
            raise AssertionError(step)


# -- both -----------------------------------------------------------------------------------


async def play(run: Run, begin: Callable[[Function], Any]) -> dict[str, list[Any]]:
    """Run a program to its end, or to the end of time."""
    run.loop.set_exception_handler(lambda loop, context: None)
    variable.set(0)
    run.everybody.append(begin(Function(run, "0")))
    await asyncio.sleep(THE_END)
    for handle in run.everybody:
        end(handle)
        # Those who now get what it held shall take it before they are ended.
        await asyncio.sleep(1000)
    for handle in run.everybody:
        if isinstance(handle, asyncio.Task):
            assert handle.done()
            if not handle.cancelled():
                handle.exception()
        else:
            assert handle.dead
            with contextlib.suppress(BaseException):
                handle.wait()
    return run.records


def outcome_of(main: Callable[[], Any]) -> dict[str, list[Any]]:
    return run_on_loop(VirtualLoop, main)  # type: ignore[no-any-return]


@pytest.mark.skipif(not HAS_TIMEOUT, reason="asyncio.timeout is new in Python 3.11")
@settings(suppress_health_check=list(HealthCheck))
@given(program=programs, kind=kinds)
def test_mixed_programs_do_what_plain_ones_do(program, kind):
    async def in_asyncio() -> dict[str, list[Any]]:
        run = Run(asyncio.Queue, asyncio.Lock)
        return await play(
            run, lambda root: run.loop.create_task(plain_body(root, program))
        )

    async def mixed() -> dict[str, list[Any]]:
        run = Run(Queue, Lock)
        return await play(run, lambda root: start(kind, root, program))

    assert outcome_of(mixed) == outcome_of(in_asyncio)
