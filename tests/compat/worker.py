"""Runs one of CPython's test modules, and writes what came of each test.

Usage: worker.py HUB MODULE OUTPUT [SKIP ...]

HUB is "plain" for an interpreter without greenio, or the name of a hub. With "-running"
behind it, all tests run in one program whose hub runs already; without, the tests of
asyncio find none, as at the beginning of a program. Every line of OUTPUT is a JSON list:
["start", id], ["end", id, outcome, detail] or ["all", [id, ...]].
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
import unittest
from pathlib import Path


def patch(hub: str) -> None:
    """Make this interpreter green, unless it is to stay plain."""
    if hub != "plain":
        import greenio

        name, _, running = hub.partition("-")
        greenio.hubs.use_hub(name)
        greenio.monkey_patch()
        if running:
            greenio.sleep(0)


def tests_of(name: str) -> list[unittest.TestCase]:
    """Return the tests of a module of CPython's, or of a package of modules."""
    module = importlib.import_module(f"test.{name}")
    modules = [module]
    if hasattr(module, "__path__"):
        modules = []
        for info in pkgutil.iter_modules(module.__path__):
            if info.name.startswith("test_"):
                try:
                    modules.append(
                        importlib.import_module(f"{module.__name__}.{info.name}")
                    )
                except unittest.SkipTest:
                    continue
    loader = unittest.defaultTestLoader
    return [test for each in modules for test in flat(loader.loadTestsFromModule(each))]


def flat(suite: unittest.TestSuite) -> list[unittest.TestCase]:
    """Return the tests of a suite of suites."""
    tests: list[unittest.TestCase] = []
    for entry in suite:
        tests.extend(flat(entry) if isinstance(entry, unittest.TestSuite) else [entry])
    return tests


def close_hub() -> None:
    """End what runs below this program: the next test begins as a new program does."""
    from greenio import hubs

    hubs.get_hub().close()


class Recorder(unittest.TestResult):
    """Writes each outcome as soon as it is known."""

    def __init__(self, path: str, *, close_hub: bool) -> None:
        super().__init__()
        self._close_hub = close_hub
        self._file = Path(path).open("a", encoding="utf-8")  # noqa: SIM115 - to the end
        self._bad: dict[str, tuple[str, str]] = {}

    def write(self, *entry: object) -> None:
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def startTest(self, test):
        super().startTest(test)
        self.write("start", test.id())
        if self._close_hub:
            close_hub()

    def stopTest(self, test):
        outcome, detail = self._bad.pop(test.id(), ("passed", ""))
        self.write("end", test.id(), outcome, detail)
        super().stopTest(test)

    def _failed(self, test, error):
        detail = self._exc_info_to_string(error, test)[-2000:]
        if isinstance(test, unittest.suite._ErrorHolder):
            # setUpClass or setUpModule
            self.write("end", test.id(), "failed", detail)
        else:
            self._bad[test.id()] = ("failed", detail)

    addError = addFailure = _failed

    def addSkip(self, test, reason):
        if isinstance(test, unittest.suite._ErrorHolder):
            return
        self._bad.setdefault(test.id(), ("skipped", reason))

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._failed(test, err)

    def addUnexpectedSuccess(self, test):
        self._bad[test.id()] = ("failed", "unexpected success")


def main() -> None:
    hub, name, output, *skip = sys.argv[1:]
    patch(hub)
    from test import support

    # It talks to itself, and says that it needs the network.
    support.use_resources = ["network"] if name == "test_socketserver" else []
    # Where a program has waited, its hub runs, and one test would make that so for all
    # after it.
    own_loops = (
        hub in ("asyncio", "uvloop") and name.partition(".")[0] == "test_asyncio"
    )
    recorder = Recorder(output, close_hub=own_loops)
    try:
        tests = tests_of(name)
    except unittest.SkipTest:
        tests = []
    recorder.write("all", [test.id() for test in tests])
    unittest.TestSuite(t for t in tests if t.id() not in skip).run(recorder)
    # Threads that a failed test has left behind must not keep the interpreter.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
