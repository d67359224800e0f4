"""Raising KeyboardInterrupt wherever the interpreter may raise it in the kernel.

The interpreter looks for signals where a Python function begins, when a call has returned
and where a loop jumps back. `interrupt_at(n)` raises at the n-th such place in the files
of the engine, and nowhere else; `call_at(n, call)` calls something there. Run as a program, it does so for every n of a small program:
``python _injection.py owned``, ``attached``, ``fresh`` (an owned hub that is made anew for each
n) or ``signalled`` (by a real signal, which comes as soon as the interpreter looks), and then the
rooms of the engine, such as ``_kernel``.
"""

from __future__ import annotations

import _thread
import asyncio
import dis
import faulthandler
import functools
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import greenio
from greenio import event, queue
from greenio._kernel.current import close_thread_hub

_PACKAGE = Path(greenio.__file__).parent
_rooms = (str(_PACKAGE) + os.sep,)
_LOOKS_AFTER = ("CALL", "RESUME")
_NO_CALLS = ("CALL_INTRINSIC",)
# What comes next in the code is not what runs next.
_LOOKS_IN = ("JUMP_BACKWARD", "JUMP_ABSOLUTE")


@functools.cache
def _places(code):
    """The offsets of the instructions before which signals are looked for."""
    places = set()
    before = None
    for instruction in dis.get_instructions(code):
        if instruction.opname in _LOOKS_IN:
            places.add(instruction.offset)
        if (
            before is not None
            and before.opname.startswith(_LOOKS_AFTER)
            and not before.opname.startswith(_NO_CALLS)
            and _handler(code, before.offset) == _handler(code, instruction.offset)
        ):
            places.add(instruction.offset)
        before = instruction
    return places


def _handler(code, offset):
    """Where an exception leads to, that the instruction at an offset raises.

    A call that ends a `try` block raises inside of it, and what comes next does not.
    """
    for entry in _handlers(code):
        if entry.start <= offset < entry.end:
            return entry.target
    return None


@functools.cache
def _handlers(code):
    # Up to 3.10 there is an instruction at the end of each block.
    parse = getattr(dis, "_parse_exception_table", None)
    return [] if parse is None else parse(code)


def look_in(*rooms):
    """Count places in these rooms or files of the engine only; return what it was before."""
    global _rooms
    before = _rooms
    _rooms = tuple(
        room if room.endswith((os.sep, ".py")) else room + os.sep
        for room in (str(_PACKAGE / room) for room in rooms)
    )
    return before


class _Signal:
    """When it goes away there is a SIGINT, and no frame of ours that would get it."""

    __slots__ = ()
    __del__ = _thread.interrupt_main


class _Finalizer:
    """When it goes away something is called, on top of whatever is running."""

    def __init__(self, call):
        self._call = call

    def __del__(self):
        self._call()


def interrupt_at(number, signalled=False):
    """Raise KeyboardInterrupt at a place, counted from 0; tells whether it came."""

    def act():
        if signalled:
            # Or the next function that would look is this one.
            sys.settrace(None)
            return _Signal()
        raise KeyboardInterrupt

    return _at(number, act)


def call_at(number, call):
    """Call something at a place, as a finalizer does; tells whether it was called."""
    return _at(number, lambda: _Finalizer(call))


@contextmanager
def _at(number, act):
    """Do something at a place, and keep what it returns until the interpreter looks."""
    left = number
    told = []
    over = False

    def act_here(frame):
        nonlocal left
        left -= 1
        if left < 0 and not told and not over:
            told.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
            return act()
        return None

    def trace(frame, kind, argument):
        if not frame.f_code.co_filename.startswith(_rooms):
            return None
        # Since 3.13 it takes effect in this call only where there is a tracer already.
        frame.f_trace = trace
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        kept = None
        if kind == "call" or (
            kind == "opcode" and frame.f_lasti in _places(frame.f_code)
        ):
            kept = act_here(frame)  # noqa: F841 - as long as this runs
        # Gone when this has returned.
        return trace

    sys.settrace(trace)
    try:
        yield told
    finally:
        over = True
        sys.settrace(None)


class Work:
    """A few green threads that do a bit of everything, and end by themselves."""

    def __init__(self):
        self.begun = self.ended = 0
        self.items = queue.Queue(1)
        self.go = event.Event()
        self.threads = []

    def run(self, part, *arguments):
        self.begun += 1
        try:
            # Somebody at the other end may have been interrupted.
            with suppress(queue.Empty, queue.Full):
                part(*arguments)
        finally:
            self.ended += 1

    def wait(self):
        self.go.wait(0.004)

    def put(self):
        for number in range(3):
            self.items.put(number, timeout=0.004)

    def get(self):
        for _ in range(3):
            self.items.get(timeout=0.004)

    def rest(self):
        greenio.sleep(0)
        greenio.sleep(0.0005)

    def start(self):
        for part in (self.wait, self.put, self.get, self.rest, self.rest):
            self.threads.append(greenio.spawn(self.run, part))
        for _ in range(2):
            # The first goes on as the second.
            greenio.spawn_n(self.run, int)

    def main(self):
        self.start()
        greenio.sleep(0)
        self.go.send(1)
        greenio.sleep(0.001)


def _signalled(number):
    return _owned(number, signalled=True)


def _owned(number, signalled=False):
    work = Work()
    interrupts = 0
    told = []
    try:
        with interrupt_at(number, signalled) as told:
            work.main()
    except KeyboardInterrupt:
        interrupts += 1
    # The hub works, whatever has come; and nothing more comes.
    for _ in range(2):
        try:
            assert greenio.spawn(int).wait() == 0
            while work.begun != work.ended:
                greenio.sleep(0.0005)
            while not all(thread.dead for thread in work.threads):
                greenio.sleep(0.0005)
            # What uvloop raises comes when its turn is over.
            greenio.sleep(0.0005)
        except KeyboardInterrupt:
            interrupts += 1
    if signalled:
        # Nobody is left behind in a queue; who has been woken may be.
        queued = [*work.items._getters, *work.items._putters]
        assert all(waiter.done for waiter in queued), number
    return bool(told), interrupts, work


def _fresh(number):
    """On a hub that is made, begins and ends with this."""
    close_thread_hub()
    outcome = _owned(number)
    close_thread_hub()
    return outcome


def _run(coroutine):
    """`asyncio.run`, on the kind of loop that is asked for."""
    if os.environ.get("GREENIO_HUB") != "uvloop":
        asyncio.run(coroutine)
    else:
        import uvloop

        uvloop.run(coroutine)


def _attached(number):
    work = Work()
    interrupts = 0

    told = []

    async def main():
        nonlocal told
        with interrupt_at(number) as told:
            work.start()
            await asyncio.sleep(0)
            work.go.send(1)
            # Not in the turn in which it ends: the loop would be told to stop in the
            # next one, in which asyncio.run cancels what is left.
            while work.begun != work.ended:
                await asyncio.sleep(0.0005)
            await asyncio.sleep(0.0005)
            assert await greenio.run_green(int) == 0

    try:
        _run(main())
    except KeyboardInterrupt:
        interrupts += 1
    return bool(told), interrupts, work


def _all_places(run):
    number = 0
    while True:
        faulthandler.dump_traceback_later(20, exit=True)
        told, interrupts, work = run(number)
        if not told:
            break
        assert interrupts == 1, f"place {number}: arrived {interrupts} times"
        assert all(thread.dead for thread in work.threads), f"place {number}"
        assert work.begun == work.ended, f"place {number}: finally"
        number += 1
    faulthandler.cancel_dump_traceback_later()
    return number


if __name__ == "__main__":
    runs = {
        "owned": _owned,
        "attached": _attached,
        "fresh": _fresh,
        "signalled": _signalled,
    }
    look_in(*sys.argv[2:])
    print(_all_places(runs[sys.argv[1]]))
