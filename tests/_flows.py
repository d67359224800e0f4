"""Which files three everyday calls go through; prints it as JSON.

docs/topics/architecture.md shows it, and test_flows.py holds the page to it. Run it with
`python tests/_flows.py` to see the functions that are called.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import greenlet

import greenio
from greenio import hubs

PACKAGE = Path(greenio.__file__).parent
# A flow is measured when it has gone its way before: the second time.
RUNS = 2


class Trace:
    """The functions of greenio that are called meanwhile, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        # Whose calls are none of the flow's: the greenlet that starts and awaits it.
        self._bystander = greenlet.getcurrent()

    def _profile(self, frame: FrameType, event: str, arg: Any) -> None:
        if event != "call" or greenlet.getcurrent() is self._bystander:
            return
        path = Path(frame.f_code.co_filename)
        if PACKAGE in path.parents:
            name = path.relative_to(PACKAGE).with_suffix("").as_posix()
            self.calls.append((name, frame.f_code.co_name))

    @contextmanager
    def recorded(self) -> Iterator[None]:
        # The interpreter profiles a greenlet, not a thread.
        greenlet.settrace(lambda *_: sys.setprofile(self._profile))
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            greenlet.settrace(None)
            sys.setprofile(None)

    @property
    def files(self) -> list[str]:
        """The files in the order in which they are entered, each time."""
        files = [name for name, _ in self.calls]
        return [
            name
            for before, name in zip([None, *files], files, strict=False)
            if before != name
        ]


def queue_flow() -> dict[str, Trace]:
    """A green thread waits in `queue.get()`; a coroutine puts an item."""
    items: greenio.queue.Queue[int] = greenio.queue.Queue()
    loop = hubs.get_hub().loop
    traces = {"queue.get()": Trace(), "put_async": Trace()}
    get, put = traces.values()

    def getter() -> None:
        with get.recorded():
            items.get()

    async def putter() -> None:
        with put.recorded():
            await items.put_async(1)

    for trace in traces.values():
        trace.calls.clear()
    getting = greenio.spawn(getter)
    greenio.sleep(0)
    asyncio.Task(putter(), loop=loop)
    getting.wait()
    return traces


def socket_flow() -> dict[str, Trace]:
    """A green thread waits in `sock.recv`, not for the first time."""
    import posix
    import socket

    trace = Trace()
    left, right = socket.socketpair()
    assert type(left) is greenio.greenio.GreenSocket

    def reader() -> None:
        left.recv(1)
        with trace.recorded():
            left.recv(1)

    fd = right.fileno()

    async def writer() -> None:
        # Without a call of greenio's, which would be seen.
        for _ in range(2):
            await asyncio.sleep(0.01)
            posix.write(fd, b"x")

    writing = asyncio.Task(writer(), loop=hubs.get_hub().loop)
    greenio.spawn(reader).wait()
    greenio.await_(writing)
    left.close()
    right.close()
    return {"sock.recv": trace}


def bridge_flow() -> dict[str, Trace]:
    """A coroutine awaits `run_green(f)`, and `f` calls `await_`."""
    trace = Trace()

    async def coroutine() -> None:
        await asyncio.sleep(0)

    def func() -> None:
        greenio.await_(coroutine())

    async def main() -> None:
        await greenio.run_green(func)
        with trace.recorded():
            await greenio.run_green(func)

    greenio.await_(main())
    return {"await run_green(f)": trace}


FLOWS: dict[str, Callable[[], dict[str, Trace]]] = {
    "queue": queue_flow,
    "socket": socket_flow,
    "bridge": bridge_flow,
}


def main() -> None:
    greenio.monkey_patch()
    result: dict[str, Any] = {}
    for flow in FLOWS.values():
        for _ in range(RUNS):
            traces = flow()
        for name, trace in traces.items():
            result[name] = {
                "files": trace.files,
                "calls": [f"{name}.{func}" for name, func in trace.calls],
            }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
