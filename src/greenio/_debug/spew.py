"""Printing each line that runs."""

from __future__ import annotations

import linecache
import re
import sys
from types import FrameType
from typing import Any

_WORD = re.compile(r"[A-Za-z_]\w*")


class Spew:
    """A trace function that prints the lines that run.

    Args:
        trace_names: The modules whose lines are printed; None for all.
        show_values: Whether the values of the variables in a line are printed with it.
    """

    def __init__(
        self, trace_names: list[str] | None = None, show_values: bool = True
    ) -> None:
        self.trace_names = trace_names
        self.show_values = show_values

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Spew:  # while tracing
        """Take an event from the interpreter; see `sys.settrace`."""
        if event == "line":
            name = frame.f_globals.get("__name__", "[unknown]")
            if self.trace_names is None or name in self.trace_names:
                self._print(frame, name)
        return self

    def _print(self, frame: FrameType, name: str) -> None:  # while tracing
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        sys.stdout.write(f"{name}:{frame.f_lineno}: {line}\n")
        if not self.show_values:
            return
        values = {
            word: frame.f_locals.get(word, frame.f_globals.get(word))
            for word in _WORD.findall(line)
            if word in frame.f_locals or word in frame.f_globals
        }
        if values:
            shown = ", ".join(f"{word}={value!r}" for word, value in values.items())
            sys.stdout.write(f"\t{shown}\n")


def spew(trace_names: list[str] | None = None, show_values: bool = False) -> None:
    """Print each line that this OS thread runs, from the next call on.

    Args:
        trace_names: The modules whose lines are printed; None for all.
        show_values: Whether the values of the variables in a line are printed with it.
    """
    sys.settrace(Spew(trace_names, show_values))


def unspew() -> None:
    """End what `spew` began."""
    sys.settrace(None)
