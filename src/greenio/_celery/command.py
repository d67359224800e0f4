"""``python -m greenio.workers.celery``: Celery's command, with this pool."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from .._debug.by_option import DEFAULT, ask_for_monitor, debug_mode, seconds_of
from .._loop.loops import ENVIRONMENT_VARIABLE
from .._std.errors import HubError
from ..hubs import use_hub

_POOL = "greenio.workers.celery:TaskPool"


def main() -> NoReturn:
    """Run Celery's command line; `worker` gets greenio's pool if it names no other."""
    os.environ["CELERY_CUSTOM_WORKER_POOL"] = _POOL
    arguments = _own_options(sys.argv[1:])
    if "worker" in arguments and not any(
        each.startswith(("-P", "--pool")) and not each.startswith("--pool-")
        for each in arguments
    ):
        place = arguments.index("worker") + 1
        arguments[place:place] = ["-P", "custom"]
    sys.argv[1:] = arguments
    from celery.__main__ import main as celery

    celery()
    raise SystemExit(0)


def _own_options(arguments: list[str]) -> list[str]:
    """Do what the options before Celery's own ask for; return the others."""
    rest = list(arguments)
    while rest:
        name, equals, value = rest[0].partition("=")
        if rest[0] == "--debug":
            debug_mode()
        elif name == "--monitor":
            try:
                ask_for_monitor(seconds_of(value) if equals else DEFAULT)
            except ValueError as exc:
                _fail(str(exc))
        elif name == "--hub" and (equals or len(rest) > 1):
            _choose(value if equals else rest.pop(1))
        else:
            break
        del rest[0]
    return rest


def _fail(message: str) -> NoReturn:
    print(f"python -m greenio.workers.celery: {message}", file=sys.stderr)
    raise SystemExit(2)


def _choose(hub: str) -> None:
    try:
        use_hub(hub)
    except HubError as exc:
        _fail(str(exc))
    # For the processes that the worker starts.
    os.environ[ENVIRONMENT_VARIABLE] = hub
