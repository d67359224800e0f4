"""Raising KeyboardInterrupt wherever the interpreter may raise it in the kernel.

The interpreter looks for signals where a Python function begins, when a call has returned
and where a loop jumps back. `interrupt_at(n)` raises at the n-th such place in the files
of the kernel and what it stands on, and nowhere else. Run as a program, it does so for every n of a
small program: ``python _injection.py owned`` or ``attached``.
"""

from __future__ import annotations

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

_PACKAGE = Path(greenio.__file__).parent
_KERNEL = tuple(str(_PACKAGE / room) + os.sep for room in ("_kernel", "_loop"))
_LOOKS_AFTER = ("CALL", "RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE")
_NO_CALLS = ("CALL_INTRINSIC",)


@functools.cache
def _places(code):
    """The offsets of the instructions before which signals are looked for."""
    places = set()
    before = ""
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if before.startswith(_LOOKS_AFTER) and not before.startswith(_NO_CALLS):
            places.add(instruction.offset)
        before = name
    return places


@contextmanager
def interrupt_at(number):
    """Raise KeyboardInterrupt at a place, counted from 0; tells whether it came."""
    left = number
    told = []
    over = False

    def raise_here():
        nonlocal left
        left -= 1
        if left < 0 and not told and not over:
            told.append(True)
            raise KeyboardInterrupt

    def trace(frame, kind, argument):
        if not frame.f_code.co_filename.startswith(_KERNEL):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if kind == "call" or (
            kind == "opcode" and frame.f_lasti in _places(frame.f_code)
        ):
            raise_here()
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

    def main(self):
        self.start()
        greenio.sleep(0)
        self.go.send(1)
        greenio.sleep(0.001)


def _owned(number):
    work = Work()
    interrupts = 0
    with interrupt_at(number) as told:
        try:
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
    return bool(told), interrupts, work


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
    runs = {"owned": _owned, "attached": _attached}
    print(_all_places(runs[sys.argv[1]]))
