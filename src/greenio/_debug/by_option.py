"""What the options ``--monitor`` and ``--debug`` ask for, wherever green code runs in the end.

A command that starts the processes in which it does, as `serve`, gunicorn and Celery are, hands
``--monitor`` on in the environment: `monkey_patch` obeys it, as early as a process is green.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from .._std.originals import in_main_thread

if TYPE_CHECKING:
    from .monitor import monitor

# The seconds of `greenio.debug.monitor`.
VARIABLE = "GREENIO_MONITOR"
DEFAULT = 0.1

# The process, for a forked child has no monitor, and what watches it.
_watched: tuple[int, monitor] | None = None


def seconds_of(text: str) -> float:
    """Return the number of seconds that an option or a variable names.

    Raises:
        ValueError: It is no number above 0.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"--monitor takes a number of seconds above 0, not {text!r}")
    return seconds


def ask_for_monitor(seconds: float) -> None:
    """Have every process that becomes green from now on watch itself."""
    os.environ[VARIABLE] = str(seconds)


def obey_environment() -> None:
    """Watch this process's main thread if GREENIO_MONITOR says so, once.

    A mistake there ends no program.
    """
    global _watched  # noqa: PLW0603 - one for a process
    wish = os.environ.get(VARIABLE, "")
    if not wish or not in_main_thread():
        return
    if _watched is not None and _watched[0] == os.getpid():
        return
    from .monitor import monitor

    try:
        _watched = (os.getpid(), monitor(seconds_of(wish)))
    except ValueError:
        sys.stderr.write(
            f"greenio: {VARIABLE}={wish}: it takes a number of seconds above 0\n"
        )


def debug_mode() -> None:
    """Turn asyncio's debug mode on, here and in processes that are started from now on.

    What is left at the end of the program is logged, and faulthandler is on.
    """
    import faulthandler

    from .left_behind import report_left_behind

    # Read by asyncio whenever a loop is made.
    os.environ["PYTHONASYNCIODEBUG"] = "1"
    faulthandler.enable()
    report_left_behind()
