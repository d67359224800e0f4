"""Compares CPython's own tests with and without `greenio.monkey_patch()`.

See README.md beside this file.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
MODULES = [
    "test_queue",
    "test_socket",
    "test_select",
    "test_poll",
    "test_epoll",
    "test_selectors",
    "test_ssl",
    "test_thread",
    "test_threading",
    "test_threading_local",
    "test_subprocess",
    "test_httplib",
    "test_httpservers",
    "test_urllib2_localnet",
    "test_ftplib",
    "test_smtplib",
    "test_poplib",
    "test_imaplib",
    "test_socketserver",
    "test_xmlrpc",
    "test_wsgiref",
    "test_logging",
    "test_concurrent_futures",
    "test_fork1",
    "test_context",
    "test_asyncio",
]
HUBS = ("asyncio", "uvloop")
# With a hub that runs already when the first test begins.
RUNNING_HUBS = ("asyncio-running", "uvloop-running")
# How long a test may make no progress; one that is listed need not be waited for so long.
STALL = float(os.environ.get("GREENIO_COMPAT_STALL", "60"))
LISTED_STALL = min(STALL, 10.0)


@dataclass
class Results:
    """What came of one module in one kind of interpreter."""

    all: list[str] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)

    def passed(self) -> set[str]:
        return {test for test, outcome in self.outcomes.items() if outcome == "passed"}


def run_module(hub: str, module: str, skip: list[str]) -> Results:
    """Run a module, in as many interpreters as hanging or crashing tests make it."""
    results = Results()
    with tempfile.TemporaryDirectory() as folder:
        while True:
            output = Path(folder, "results")
            output.write_text("")
            before = len(results.outcomes)
            stopped = run_once(hub, module, output, [*skip, *results.outcomes])
            absorb(output, results)
            if stopped is None:
                return results
            outcome, test = stopped
            results.outcomes.setdefault(test, outcome)
            if len(results.outcomes) == before:
                # Not in a test: at the end, or before the first one.
                results.outcomes[f"the interpreter of {module}"] = outcome
                return results


def run_once(
    hub: str, module: str, output: Path, skip: list[str]
) -> tuple[str, str] | None:
    """Run what is left of a module.

    Returns:
        None if it came to its end; else ("hanging" or "crashed", the test it was at).
    """
    command = [sys.executable, str(HERE / "worker.py"), hub, module, str(output), *skip]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=output.parent,
        start_new_session=True,
    ) as process:
        try:
            hanging = has_stalled(process, hub, output)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        if hanging:
            return "hanging", last_started(output)
        if process.returncode != 0:
            return "crashed", last_started(output)
    return None


def has_stalled(process: subprocess.Popen, hub: str, output: Path) -> bool:
    """Wait until an interpreter ends, or has made no progress for too long."""
    listed = exceptions()
    size, changed, limit = 0, time.monotonic(), STALL
    while process.poll() is None:
        time.sleep(0.1)
        now = output.stat().st_size
        if now != size:
            size, changed = now, time.monotonic()
            known = hub != "plain" and reason_for(last_started(output), hub, listed)
            limit = LISTED_STALL if known else STALL
        elif time.monotonic() - changed > limit:
            return True
    return False


def entries(output: Path) -> list[list]:
    lines = output.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("]")]


def last_started(output: Path) -> str:
    started = [entry[1] for entry in entries(output) if entry[0] == "start"]
    return started[-1] if started else "(before the first test)"


def absorb(output: Path, results: Results) -> None:
    for kind, *rest in entries(output):
        if kind == "all":
            results.all = rest[0]
        elif kind == "end":
            test, outcome, detail = rest
            results.outcomes[test] = outcome
            results.details[test] = detail


def exceptions() -> dict[str, dict[str, str]]:
    """Return {hub or "both": {test id: reason}} for this interpreter."""
    import tomllib

    with (HERE / "exceptions.toml").open("rb") as file:
        listed = tomllib.load(file)
    return {
        scope: {
            test: entry if isinstance(entry, str) else entry["reason"]
            for test, entry in entries.items()
            if isinstance(entry, str) or holds_here(entry)
        }
        for scope, entries in listed.items()
    }


def holds_here(entry: dict[str, str]) -> bool:
    def version(name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(map(int, entry[name].split("."))) if name in entry else default

    here = sys.version_info[:2]
    return version("since", here) <= here <= version("until", here)


def reason_for(test: str, hub: str, listed: dict[str, dict[str, str]]) -> str | None:
    name, _, running = hub.partition("-")
    for scope in ("both", name, running):
        for pattern, reason in listed.get(scope, {}).items():
            if test == pattern or test.startswith(f"{pattern}."):
                return reason
    return None


def hubs_for(module: str) -> Sequence[str]:
    return HUBS + RUNNING_HUBS if module.startswith("test_asyncio") else HUBS


def compare(
    module: str, hubs: Sequence[str], verbose: bool
) -> tuple[int, int, list[str]]:
    """Run a module in all kinds of interpreter.

    Returns:
        How many passed both ways, how many passed plain, and what is wrong.
    """
    if importlib.util.find_spec(f"test.{module}") is None:
        print(f"{module}: not there in this Python", flush=True)
        return 0, 0, []
    listed = exceptions()
    plain = run_module("plain", module, [])
    # What fails or is skipped as it is says nothing about greenio.
    others = [test for test in plain.all if plain.outcomes.get(test) != "passed"]
    good = total = 0
    wrong = []
    if not plain.passed():
        wrong.append(f"plain: {module}: nothing of it passes even without greenio")
        print(wrong[0], plain.outcomes, flush=True)
    for hub in hubs:
        green = run_module(hub, module, others)
        expected = plain.passed()
        passed = expected & green.passed()
        total += len(expected)
        good += len(passed)
        lines = []
        for test in sorted(expected - passed):
            if reason_for(test, hub, listed) is None:
                outcome = green.outcomes.get(test, "did not run")
                lines.append(f"{hub}: {test}: {outcome}")
                if verbose:
                    lines.append(green.details.get(test, ""))
        lines += [
            f"{hub}: {test}: passes, but is listed as an exception"
            for test in sorted(passed)
            # Some of what cannot pass at the beginning of a program can later on.
            if reason_for(test, hub, listed) is not None and hub in HUBS
        ]
        wrong += lines
        print(f"{module}, {hub}: {len(passed)} of {len(expected)}", flush=True)
        for line in lines:
            print(f"    {line}", flush=True)
    return good, total, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", default=MODULES)
    parser.add_argument("--hubs", nargs="+", choices=HUBS + RUNNING_HUBS)
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    options = parser.parse_args()
    # Interpreters that tests run in have sessions of their own, and are ended by us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    good = total = 0
    wrong: list[str] = []
    for module in options.modules or MODULES:
        module_good, module_total, module_wrong = compare(
            module, options.hubs or hubs_for(module), options.verbose
        )
        good += module_good
        total += module_total
        wrong += module_wrong
    share = 100 * good / total if total else 0.0
    print(f"{good} of {total} pass patched ({share:.2f}%), {len(wrong)} unexplained")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
