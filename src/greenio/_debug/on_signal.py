"""Printing who waits for what when a signal comes."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any

from .._std.originals import in_main_thread, os_write
from .run_info import format_run_info

# The signal's name or number; every process that imports greenio reads it.
VARIABLE = "GREENIO_RUN_INFO_SIGNAL"


def number_of(signal_: int | str) -> int:
    """Return a signal's number.

    Args:
        signal_: Its number, or its name with or without ``SIG``, in any case.

    Raises:
        ValueError: There is no such signal.
    """
    number: object = signal_
    if isinstance(signal_, str):
        name = signal_.strip().upper()
        if name.isdigit():
            number = int(name)
        else:
            name = name if name.startswith("SIG") else f"SIG{name}"
            number = getattr(signal, name, None)
    if not isinstance(number, int) or number not in signal.valid_signals():
        raise ValueError(f"there is no signal {signal_!r}; USR1 would be one")
    return int(number)


def run_info_on_signal(signum: int | str = "SIGUSR1") -> Any:
    """Have `format_run_info` printed to standard error whenever a signal comes.

    The environment variable GREENIO_RUN_INFO_SIGNAL has ``import greenio`` call it, so
    that it works in every process of a service. The text is written to descriptor 2 by
    one call, past `sys.stderr`, which may be in use where the signal comes.

    Args:
        signum: The signal: a number, or a name such as ``"USR1"``. gunicorn uses USR1 and
            USR2 itself; a real-time signal, such as ``signal.SIGRTMIN + 1``, is free.

    Returns:
        The handler that was there before, as `signal.signal` returns it.

    Raises:
        ValueError: There is no such signal, or the caller is not the main thread.
    """
    return signal.signal(number_of(signum), _print_run_info)


def _print_run_info(_number: int, _frame: FrameType | None) -> None:
    data = f"{format_run_info()}\n".encode(errors="backslashreplace")
    while data:
        try:
            data = data[os_write(2, data) :]
        except OSError:
            # Nobody reads it, or not quickly enough.
            return


def obey_environment() -> None:
    """Do what GREENIO_RUN_INFO_SIGNAL asks for; a mistake there ends no program."""
    wish = os.environ.get(VARIABLE, "")
    if not wish or not in_main_thread():
        return
    try:
        run_info_on_signal(wish)
    except (ValueError, OSError) as exc:
        sys.stderr.write(f"greenio: {VARIABLE}={wish}: {exc}\n")
