"""Results as data, and the data as tables."""

from __future__ import annotations

import datetime as dt
import os
import platform
import statistics
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .measurement import KIBIBYTES, Benchmark, Measurement
from .runtimes import GREEN_PEERS, GREENIO, LIBRARIES, RUNTIMES

# Samples of one pair by benchmark and runtime, in the order of the rounds.
Samples = Mapping[str, Mapping[str, list[Measurement]]]

# Beyond this spread between rounds, a cell is marked as noisy.
_NOISY = 0.25

# Of greenio's costs to its rivals': the key in JSON, and the head of the column.
_RATIOS = {
    "best_to_green_peer": "better / peer",
    "asyncio_to_asyncio": "-asyncio / asyncio",
    "uvloop_to_uvloop": "-uvloop / uvloop",
}


def environment(client: str) -> dict[str, Any]:
    """Say what a result is a result of."""
    versions: dict[str, str | None] = {}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            versions[library] = None
    if (
        versions["greenio-asyncio"] is None
        and not RUNTIMES["greenio-asyncio"].missing()
    ):
        import greenio

        versions["greenio-asyncio"] = f"{greenio.__version__} (not installed)"
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "time": dt.datetime.now(dt.timezone.utc).isoformat("T", "seconds"),
        "versions": versions,
        "echo_client": client,
    }


def _summary(benchmark: Benchmark, samples: list[Measurement]) -> dict[str, Any]:
    if benchmark.unit == KIBIBYTES:
        costs = [(sample.memory or 0) / sample.operations / 1024 for sample in samples]
    else:
        costs = [sample.cpu / sample.operations * 1e6 for sample in samples]
    walls = [sample.wall / sample.operations * 1e6 for sample in samples]
    return {
        "cost": statistics.median(costs),
        "cost_min": min(costs),
        "cost_max": max(costs),
        "wall_us": statistics.median(walls),
        "wall_us_min": min(walls),
        "wall_us_max": max(walls),
        "samples": [
            {
                "operations": sample.operations,
                "cpu_s": sample.cpu,
                "wall_s": sample.wall,
                **({} if sample.memory is None else {"bytes": sample.memory}),
                **sample.extra,
            }
            for sample in samples
        ],
    }


def _ratios(costs: Mapping[str, float]) -> dict[str, float]:
    """Relate greenio's cost to its rivals'; below 1 greenio is the cheaper one."""

    def best(names: Iterable[str]) -> float | None:
        return min((costs[name] for name in names if name in costs), default=None)

    pairs = {
        "best_to_green_peer": (best(GREENIO), best(GREEN_PEERS)),
        "asyncio_to_asyncio": (costs.get("greenio-asyncio"), costs.get("asyncio")),
        "uvloop_to_uvloop": (costs.get("greenio-uvloop"), costs.get("uvloop")),
    }
    return {
        name: ours / theirs
        for name, (ours, theirs) in pairs.items()
        if ours is not None and theirs
    }


def results(
    benchmarks: Iterable[Benchmark],
    samples: Samples,
    missing: Mapping[str, list[str]],
    failures: list[dict[str, str]],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Return everything that was found out, ready for JSON."""
    rows = []
    for benchmark in benchmarks:
        cells = {
            runtime: _summary(benchmark, measured)
            for runtime, measured in samples[benchmark.name].items()
            if measured
        }
        rows.append(
            {
                "name": benchmark.name,
                "title": benchmark.title,
                "unit": benchmark.unit,
                "rate": benchmark.rate,
                "runtimes": cells,
                "ratios": _ratios({name: cell["cost"] for name, cell in cells.items()}),
            }
        )
    return {
        "about": dict(about),
        "missing": {name: list(modules) for name, modules in missing.items()},
        "failures": failures,
        "benchmarks": rows,
    }


def without_samples(data: dict[str, Any]) -> dict[str, Any]:
    """Return the results with medians and spreads only, as a release keeps them."""
    rows = [
        row
        | {
            "runtimes": {
                name: {key: cell[key] for key in cell if key != "samples"}
                for name, cell in row["runtimes"].items()
            }
        }
        for row in data["benchmarks"]
    ]
    return data | {"benchmarks": rows}


# -- tables ----------------------------------------------------------------------------


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    """Align a Markdown table, so that it can be read as text too."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]

    def line(cells: list[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1])] + [
            text.rjust(width) for text, width in rest
        ]
        return f"| {' | '.join(padded)} |"

    rule = [f"{'-' * (widths[0])}"] + [f"{'-' * (width - 1)}:" for width in widths[1:]]
    return "\n".join([line(heads), line(rule), *map(line, rows)])


def _cell(row: Mapping[str, Any], runtime: str, failed: set[tuple[str, str]]) -> str:
    if runtime not in row["runtimes"]:
        return "failed" if (row["name"], runtime) in failed else ""
    cell = row["runtimes"][runtime]
    noisy = cell["cost_max"] - cell["cost_min"] > _NOISY * cell["cost"]
    return f"{'~' if noisy else ''}{_number(cell['cost'])}"


def _wall_cell(row: Mapping[str, Any], runtime: str) -> str:
    if runtime not in row["runtimes"]:
        return ""
    wall = row["runtimes"][runtime]["wall_us"]
    return f"{1e6 / wall:,.0f}/s" if row["rate"] else _number(wall)


def render(data: Mapping[str, Any]) -> str:
    """Write the results as text: two tables, and what is missing from them."""
    rows = data["benchmarks"]
    failed = {(entry["benchmark"], entry["runtime"]) for entry in data["failures"]}
    measured = {name for row in rows for name in row["runtimes"]}
    measured |= {runtime for _, runtime in failed}
    columns = [name for name in RUNTIMES if name in measured]
    about = data["about"]
    versions = ", ".join(
        f"{name} {number}" for name, number in about["versions"].items() if number
    )

    cost_rows = [
        [
            f"{row['title']}, {row['unit']}",
            *(_cell(row, name, failed) for name in columns),
            *(
                f"{row['ratios'][name]:.2f}" if name in row["ratios"] else ""
                for name in _RATIOS
            ),
        ]
        for row in rows
    ]
    wall_rows = [
        [
            row["title"],
            *(_wall_cell(row, name) for name in columns),
        ]
        for row in rows
        if row["unit"] != KIBIBYTES
    ]
    heading = [
        f"{about['python']}, {about['system']}, {about['cpus']} CPUs, {about['time']}",
        versions,
        f"median of {about['rounds']} rounds; echo client in {about['echo_client']}",
    ]
    legend = [
        "CPU µs per operation, or KiB of resident memory.",
        f"~ marks cells whose rounds differ by more than {_NOISY:.0%}.",
        "Ratios below 1: greenio is cheaper; the first takes greenio's better loop,",
        "and the better of eventlet and gevent.",
    ]
    parts = [
        "\n".join(heading),
        "\n".join(legend),
        _table(["CPU", *columns, *_RATIOS.values()], cost_rows),
    ]
    if wall_rows:
        parts += [
            "Wall µs per operation, or requests per second:",
            _table(["wall", *columns], wall_rows),
        ]
    parts += [
        f"Missing: {name} (not installed: {', '.join(modules)})"
        for name, modules in data["missing"].items()
    ]
    parts += [
        f"Failed: {entry['benchmark']} on {entry['runtime']}: "
        f"{entry['error'].splitlines()[-1]}"
        for entry in data["failures"]
    ]
    return "\n\n".join(parts)
