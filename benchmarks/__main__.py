"""Run the benchmarks: ``python -m benchmarks [--only NAME ...] [--quick]``.

Every pair of a benchmark and a runtime runs in a process of its own, and the rounds go
through all pairs in turn, so that whatever else the machine does meanwhile hits all
runtimes alike. README.md says what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .echo import CLIENT_VARIABLE, compile_client
from .measurement import Benchmark, Measurement
from .report import environment, render, results, without_samples
from .runtimes import RUNTIMES, Runtime
from .suite import BENCHMARKS

# One file for each release.
HISTORY = Path(__file__).parent / "history"

ROUNDS = 5
QUICK_ROUNDS = 1
QUICK_SHARE = 10
TIMEOUT = 120
# What would turn a runtime into something else than its users get by default.
_DISTURBING = (
    "EVENTLET_",
    "GEVENT",
    "GREENIO_",
    "PYTHONASYNCIODEBUG",
    "PYTHONDEVMODE",
    "PYTHONMALLOC",
    "PYTHONTRACEMALLOC",
)


class Failed(Exception):
    """A worker did not deliver a measurement."""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="greenio beside eventlet, gevent, asyncio, uvloop, bare greenlets.",
    )
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, metavar="NAME")
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, metavar="RUNTIME")
    parser.add_argument("--repeat", type=int, metavar="N", help=f"rounds ({ROUNDS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write results there")
    parser.add_argument(
        "--release",
        action="store_true",
        help="keep the medians in benchmarks/history, where the docs' plots find them",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK_ROUNDS} round of fewer operations: does it work?",
    )
    parser.add_argument(
        "--client",
        choices=("auto", "c", "python"),
        default="auto",
        help="the echo benchmark's load client (C if it compiles)",
    )
    parser.epilog = (
        f"benchmarks: {', '.join(BENCHMARKS)}; runtimes: {', '.join(RUNTIMES)}"
    )
    options = parser.parse_args(argv)
    if options.repeat is not None and options.repeat < 1:
        parser.error("--repeat must be at least 1")
    return options


def _clean_environment() -> dict[str, str]:
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_DISTURBING)
    }
    root = str(Path(__file__).parents[1])
    paths = [root, variables.get("PYTHONPATH", "")]
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return variables


def _measure(
    benchmark: Benchmark, runtime: Runtime, count: int, variables: dict[str, str]
) -> Measurement:
    command = [sys.executable, "-m", f"{__package__}.worker"]
    worker = subprocess.Popen(
        [*command, benchmark.name, runtime.name, str(count)],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that a stuck server of its can be ended with it
    )
    try:
        output, errors = worker.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise Failed(f"no result within {TIMEOUT} s") from None
    finally:
        if worker.returncode is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.communicate()
    if worker.returncode:
        raise Failed(errors.strip() or f"exit status {worker.returncode}")
    return Measurement(**json.loads(output.splitlines()[-1]))


def _write(path: Path, data: dict[str, Any]) -> None:
    text = json.dumps(data, indent=1, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def _play(
    benchmarks: Sequence[Benchmark],
    runtimes: Sequence[Runtime],
    rounds: int,
    share: int,
    variables: dict[str, str],
) -> tuple[dict[str, dict[str, list[Measurement]]], dict[tuple[str, str], str]]:
    """Measure all in rounds; return the samples, and what failed with the reason.

    Args:
        benchmarks: What is measured.
        runtimes: On what.
        rounds: How often.
        share: By what the counts are divided, where they can be.
        variables: The workers' environment.
    """
    samples: dict[str, dict[str, list[Measurement]]] = {
        benchmark.name: {runtime.name: [] for runtime in runtimes}
        for benchmark in benchmarks
    }
    failures: dict[tuple[str, str], str] = {}
    # On a terminal a bar; in a pipe a line for each benchmark.
    progress = tqdm(total=rounds * len(benchmarks), disable=None, leave=False)
    for turn in range(rounds):
        # Each round begins with another runtime, so that none is always the one that
        # follows the heaviest.
        first = turn % len(runtimes) if runtimes else 0
        order = [*runtimes[first:], *runtimes[:first]]
        for benchmark in benchmarks:
            now = f"round {turn + 1}/{rounds}: {benchmark.name}"
            progress.set_description(now)
            if progress.disable:
                print(now, file=sys.stderr)
            count = benchmark.count // (share if benchmark.scalable else 1)
            for runtime in order:
                pair = (benchmark.name, runtime.name)
                if runtime.kind not in benchmark.forms or pair in failures:
                    continue
                try:
                    measurement = _measure(benchmark, runtime, count, variables)
                except Failed as error:
                    failures[pair] = str(error)
                    text = f"failed on {runtime.name}:\n{error}"
                    tqdm.write(text, file=sys.stderr)
                else:
                    samples[benchmark.name][runtime.name].append(measurement)
            progress.update()
    progress.close()
    return samples, failures


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(argv)
    # Ended from outside, it ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    benchmarks = [BENCHMARKS[name] for name in options.only or BENCHMARKS]
    chosen = (
        [RUNTIMES[name] for name in options.runtimes]
        if options.runtimes
        else [runtime for runtime in RUNTIMES.values() if not runtime.on_request]
    )
    missing = {runtime.name: runtime.missing() for runtime in chosen}
    missing = {name: modules for name, modules in missing.items() if modules}
    runtimes = [runtime for runtime in chosen if runtime.name not in missing]
    rounds = options.repeat or (QUICK_ROUNDS if options.quick else ROUNDS)
    variables = _clean_environment()

    with tempfile.TemporaryDirectory() as directory:
        client = None
        if options.client != "python":
            client = compile_client(Path(directory))
        if options.client == "c" and client is None:
            print("The C client can't be compiled here.", file=sys.stderr)
            return 2
        if client is not None:
            variables[CLIENT_VARIABLE] = str(client)
        samples, failures = _play(
            benchmarks, runtimes, rounds, QUICK_SHARE if options.quick else 1, variables
        )

    about = environment("C" if client else "Python") | {"rounds": rounds}
    failed = [
        {"benchmark": name, "runtime": runtime, "error": error}
        for (name, runtime), error in failures.items()
    ]
    data = results(benchmarks, samples, missing, failed, about)
    if options.json:
        _write(options.json, data)
    if options.release:
        release = about["versions"]["greenio-asyncio"].split()[0]
        _write(HISTORY / f"{release}.json", without_samples(data))
    print(render(data))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
