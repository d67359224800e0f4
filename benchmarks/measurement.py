"""What a benchmark is, and what one run of it yields."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from .runtimes import Green, Kind, load_green, run_coroutine

MICROSECONDS = "µs"
KIBIBYTES = "KiB"


@dataclass
class Measurement:
    """What one run of one benchmark on one runtime took.

    Attributes:
        operations: How many operations were measured together.
        cpu: CPU seconds (user and system) that they took, in the process under test.
        wall: Seconds that they took on the clock.
        memory: Bytes of resident memory that they took, where memory is the subject.
        extra: What else is worth keeping, such as the client that made the load.
    """

    operations: int
    cpu: float
    wall: float
    memory: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class Stopwatch:
    """Measure a `with` block in CPU time of this process and in wall time."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0

    def __enter__(self) -> Stopwatch:
        # What earlier steps left behind is not collected at this one's expense. The
        # collector itself stays on, as it is in every service.
        gc.collect()
        self._wall = time.perf_counter()
        self._cpu = time.process_time()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cpu = time.process_time() - self._cpu
        self.wall = time.perf_counter() - self._wall

    def measurement(self, operations: int, memory: int | None = None) -> Measurement:
        return Measurement(operations, self.cpu, self.wall, memory)


Form = Callable[[str, int], Measurement]


@dataclass(frozen=True)
class Benchmark:
    """One row of the table.

    Attributes:
        name: What `--only` calls it.
        title: What the table calls it.
        count: How many operations one run makes.
        forms: What to run, given the name of a runtime of that kind and a number of
            operations. The cells of a kind that isn't there stay empty.
        unit: What an operation is measured in: CPU µs, or KiB of resident memory.
        scalable: Whether `--quick` may make fewer operations.
        warmup: Whether a short run in the same process goes first.
        rate: Whether the wall time reads better as operations per second.
    """

    name: str
    title: str
    count: int
    forms: Mapping[Kind, Form]
    unit: str = MICROSECONDS
    scalable: bool = True
    warmup: bool = True
    rate: bool = False


def in_process(
    green: Callable[[Green, int], Measurement],
    tasks: Callable[[int], Coroutine[Any, Any, Measurement]] | None = None,
    bare: Callable[[int], Measurement] | None = None,
) -> dict[Kind, Form]:
    """Return the forms of a benchmark that measures its own process.

    Args:
        green: The form that greenio, eventlet and gevent share.
        tasks: The form that asyncio and uvloop share.
        bare: The form with nothing but the greenlet library: what none can go below.
    """
    forms: dict[Kind, Form] = {
        Kind.GREEN: lambda name, count: green(load_green(name), count)
    }
    if tasks is not None:
        forms[Kind.COROUTINE] = lambda name, count: run_coroutine(name, tasks(count))
    if bare is not None:
        forms[Kind.BARE] = lambda _, count: bare(count)
    return forms
