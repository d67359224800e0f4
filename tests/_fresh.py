"""Running programs in fresh interpreters: what patches the interpreter must."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import greenio

_SOURCE = str(Path(greenio.__file__).parent.parent)

# For a program to end; a hang is a failure, not a slow test. Of the processor's time those
# of several processes need 5 seconds, and a busy machine gives them a tenth of it.
PATIENCE = 120


def until_it_waits(process: subprocess.Popen[str]) -> None:
    """Wait until a process does so that has said it will, or has ended."""
    asleep = {psutil.STATUS_SLEEPING, psutil.STATUS_ZOMBIE, psutil.STATUS_IDLE}
    # Where the system does not tell, that long is enough for it.
    deadline = time.monotonic() + 1
    while psutil.Process(process.pid).status() not in asleep:
        if time.monotonic() > deadline:
            break
        time.sleep(0.001)


def environment(hub: str | None = None, **more: str) -> dict[str, str]:
    """The environment of a program that imports this greenio."""
    paths = [_SOURCE, os.environ.get("PYTHONPATH", "")]
    result = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
        **more,
    }
    result.pop("GREENIO_HUB", None)
    if hub is not None:
        result["GREENIO_HUB"] = hub
    return result


def python(
    *arguments: str, hub: str | None = None, cwd: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run ``python arguments``; warnings are errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env=environment(hub, **more),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def run(source: str, *arguments: str, hub: str | None = None) -> str:
    """Run a program text that must end well and quietly; return what it printed."""
    done = python("-c", textwrap.dedent(source), *arguments, hub=hub)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.stderr == "", done.stderr
    return done.stdout


class Interrupted:
    """A running program that is interrupted as by Ctrl-C.

    Args:
        arguments: The interpreter's arguments.
        until: What it prints when it is time.
    """

    def __init__(self, *arguments: str, until: str, hub: str | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", *arguments],
            env=environment(hub),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self._stop(until)
        except BaseException:
            self.process.kill()
            self.process.communicate()
            raise

    def _stop(self, until: str) -> None:
        stdout = self.process.stdout
        assert stdout is not None
        seen = ""
        while until not in seen:
            line = stdout.readline()
            assert line, f"it ended too early: {seen}{self.process.stderr.read()}"
            seen += line
        until_it_waits(self.process)
        self.process.send_signal(signal.SIGINT)
        rest, self.stderr = self.process.communicate(timeout=PATIENCE)
        self.stdout = seen + rest
        self.status = self.process.returncode


# -- programs that run loops ------------------------------------------------------------

ASYNCIO_HEAD = """
import greenio
greenio.monkey_patch()
import asyncio, contextvars, gc, sys, threading
from greenio import spawn, sleep
"""


@pytest.fixture
def program(loop: str) -> Callable[[str], list[str]]:
    """Run a program, with greenio's own hub on each kind of loop; return its output."""

    def run_it(source: str) -> list[str]:
        return run(ASYNCIO_HEAD + textwrap.dedent(source), hub=loop).split("\n")

    return run_it
