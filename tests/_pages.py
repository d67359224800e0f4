"""The commands of the pages, pasted into a shell as they stand there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from _fresh import PATIENCE, environment

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```(?:sh|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# What a reader would paste, among what stands in the middle of a sentence.
INLINE = re.compile(
    r"`((?:[A-Z_]+=\S+ )*(?:python3?|pip|pytest|gunicorn|celery|uvicorn|hypercorn|py-spy)"
    r" [^`]+)`"
)


def blocks(page: str) -> list[str]:
    """The blocks of commands of a page, whose name begins below docs."""
    return FENCE.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))


def inline_commands(page: Path) -> set[str]:
    """The commands in the sentences of a page, which may be broken between two lines."""
    text = re.sub(
        r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    return {
        command
        for paragraph in text.split("\n\n")
        for command in INLINE.findall(" ".join(paragraph.split()))
    }


def the_page_has(page: str, text: str) -> str:
    """Return some lines of a page, which must stand there just so."""
    known = [*blocks(page), *inline_commands(ROOT / "docs" / page)]
    assert any(text in each for each in known), f"docs/{page} has no longer: {text}"
    return text


@contextlib.contextmanager
def port_of_the_page(number: int) -> Iterator[int]:
    """A port that a page names, ours alone; without it the test is skipped."""
    with Path(tempfile.gettempdir(), f"greenio-port-{number}").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            with socket.create_server(("127.0.0.1", number)):
                pass
        except OSError as error:
            pytest.skip(f"port {number} is taken: {error}")
        yield number


class Pasted:
    """Lines that were pasted into a shell; what they write goes to a file.

    Args:
        text: The lines.
        folder: Where the shell is.
        typed: What is typed when they run.
        more: For its environment, in which this interpreter's scripts come first.
    """

    def __init__(
        self, text: str, folder: Path, *, typed: str = "", **more: str
    ) -> None:
        scripts = str(Path(sys.executable).parent)
        path = os.pathsep.join([scripts, more.pop("PATH", os.environ["PATH"])])
        self.text = text
        with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as keyboard:
            self._log = os.dup(log.fileno())
            keyboard.write(typed.encode())
            keyboard.seek(0)
            self._start(folder, keyboard, environment(PATH=path, **more))

    def _start(self, folder: Path, keyboard: Any, variables: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["/bin/sh", "-e", "-c", self.text],
            cwd=folder,
            env=variables,
            stdin=keyboard,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def __enter__(self) -> Pasted:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._log)

    def log(self) -> str:
        """What has been written so far."""
        return os.pread(self._log, 1 << 24, 0).decode(errors="replace")

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until a condition holds; return what it says."""
        deadline = time.monotonic() + PATIENCE
        while not (value := condition()):
            assert self.process.poll() is None, f"{what}: it ended\n{self.log()}"
            assert time.monotonic() < deadline, f"{what}: never\n{self.log()}"
            time.sleep(0.02)
        return value

    def hear(self, pattern: str) -> re.Match[str]:
        """Wait until something is written; return the match."""
        found = self.until(lambda: re.search(pattern, self.log()), pattern)
        assert isinstance(found, re.Match)
        return found

    def wait(self) -> int:
        """Wait for the end; return the exit status."""
        return self.process.wait(PATIENCE)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send the command a signal, not its children, and return the exit status."""
        command = psutil.Process(self.process.pid)
        if "-e" in command.cmdline() and (children := command.children()):
            # The shell itself waits for it.
            (command,) = children
        command.send_signal(number)
        return self.wait()


def run(text: str, folder: Path, **more: Any) -> str:
    """Paste lines that end by themselves, and well; return what they wrote."""
    with Pasted(text, folder, **more) as pasted:
        status = pasted.wait()
        assert status == 0, f"exit {status} of {text}\n{pasted.log()}"
        return pasted.log()
