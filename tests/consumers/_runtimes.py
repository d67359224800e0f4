"""Programs on eventlet's interface, each on greenio on both loops and on eventlet itself.

What eventlet does on the same machine in the same run says whether a failure is greenio's.
Where eventlet is not installed, its turn is skipped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
# For one step of a program, on a machine that has much to do.
PATIENCE = 60


class Running:
    """A running program, and what it and its children write.

    Args:
        runtime: ``asyncio`` or ``uvloop`` for greenio on that loop, or ``eventlet``.
        program: The name of a file in ``programs``, without its ending, or of a command
            that a package has installed.
        arguments: The program's own.
        folder: Where it runs, and where its output is kept.
        more: For its environment.
    """

    def __init__(
        self, runtime: str, program: str, *arguments: str, folder: Path, **more: str
    ):
        green = () if runtime == "eventlet" else ("-m", "greenio", "--hub", runtime)
        path = PROGRAMS / f"{program}.py"
        if not path.exists():
            path = Path(sysconfig.get_path("scripts")) / program
        self.log = folder / f"{program}-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *green, str(path), *arguments],
                env={**os.environ, "PYTHONUNBUFFERED": "1", **more},
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Its signals are its own, and so are those that end its children.
                start_new_session=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Be rid of it and its children, whatever they do."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def text(self) -> str:
        """What they have written so far."""
        return self.log.read_text(errors="replace")

    def said(self, first: str) -> list[str]:
        """The rest of each line so far that begins with this word."""
        lines = (line.split() for line in self.text().splitlines())
        return [" ".join(words[1:]) for words in lines if words[:1] == [first]]

    def until(self, condition, what: str, patience: float = PATIENCE):
        """Wait until a condition holds; return what it says."""
        deadline = time.monotonic() + patience
        while not (value := condition()):
            assert self.process.poll() is None, f"{what}: it ended\n{self.text()}"
            assert time.monotonic() < deadline, f"{what}: never\n{self.text()}"
            time.sleep(0.02)
        return value

    def hear(self, first: str, times: int = 1) -> list[str]:
        """Wait until so many lines begin with this word; return the rest of each."""
        self.until(lambda: len(self.said(first)) >= times, f"{times} times {first!r}")
        return self.said(first)

    def ended(self, patience: float = PATIENCE) -> int:
        """Wait for its end, and return its exit status."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end\n{self.text()}") from None


def run(runtime: str, program: str, *arguments: str, folder: Path, **more: str) -> str:
    """Run a program that must end well, and return what it wrote."""
    with Running(runtime, program, *arguments, folder=folder, **more) as running:
        status = running.ended()
        assert status == 0, f"exit {status}\n{running.text()}"
        return running.text()
