"""The prompt of ``python -m greenio`` on a terminal.

The main greenlet runs it, so the loop goes on when it waits, as in any program: for what
is awaited, for green calls, and for the next line. That is read in an OS thread. Ctrl-C
cannot end that thread's reading; it ends the waiting, and the line that is read then is
what the next prompt gets.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from .._debug.console import AwaitingConsole
from .._greenthread.spawning import spawn
from .._sync.event import Event
from .._sync.queue import Queue
from .._tpool.pool import execute


class _Console(AwaitingConsole):
    """Reads from the terminal.

    Ctrl-C may come between any two lines of this, so each step may be taken twice.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        super().__init__(namespace, "<console>")
        # Sent when a line is to be read, and replaced when it has been.
        self._wanted: Event[None] = Event()
        self._prompt = ""
        # Lines that have been read; None for the end.
        self._lines: Queue[str | None] = Queue()
        self._reader = spawn(self._read_on)

    def raw_input(self, prompt: str = "") -> str:
        if self._wanted.ready():
            # The line is being read that somebody gave up waiting for.
            sys.stdout.write(prompt)
            sys.stdout.flush()
        else:
            self._prompt = prompt
            self._wanted.send()
        line: str | None = self._lines.get()
        if line is None:
            raise EOFError
        return line

    def _read_on(self) -> None:
        while True:
            self._wanted.wait()
            try:
                line = execute(input, self._prompt)
            except (EOFError, OSError, ValueError):
                line = None
            self._wanted = Event()
            self._lines.put(line)


def _complete_with_tab(namespace: dict[str, Any]) -> None:
    try:
        import readline
        import rlcompleter
    except ImportError:
        return
    readline.set_completer(rlcompleter.Completer(namespace).complete)
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")


def interact(main: ModuleType) -> None:
    """Talk to whoever sits at the terminal, until he leaves.

    Args:
        main: The module that he is in: `__main__`.
    """
    import asyncio

    import greenio

    sys.modules["__main__"] = main
    namespace = vars(main)
    namespace.update(asyncio=asyncio, greenio=greenio)
    _complete_with_tab(namespace)
    _Console(namespace).interact(
        f"greenio {greenio.__version__} on Python {sys.version} on {sys.platform}\n"
        "await and green calls work here; asyncio and greenio are imported.\n"
        'Type "help", "copyright", "credits" or "license" for more information.',
        exitmsg="",
    )
