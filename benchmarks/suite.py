"""All benchmarks, in the order of the table."""

from __future__ import annotations

from . import echo, memory, micro

BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (*micro.BENCHMARKS, *memory.BENCHMARKS, *echo.BENCHMARKS)
}
