"""The command line of ``python -m greenio``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .._debug.by_option import (
    DEFAULT,
    ask_for_monitor,
    debug_mode,
    obey_environment,
    seconds_of,
)
from .._debug.on_signal import VARIABLE as RUN_INFO_VARIABLE
from .._debug.on_signal import number_of

USAGE = """\
usage: python -m greenio [options] script.py [arguments]
       python -m greenio [options] command [arguments]
       python -m greenio [options] -m module [arguments]
       python -m greenio [options] -c code [arguments]
       python -m greenio [options] - [arguments]
       python -m greenio [options]
       python -m greenio serve package.module:app [--help]
       python -m greenio doctor [script.py] [--help]

Run an eventlet-style program on an asyncio or uvloop event loop. The standard library
is made green, and `import eventlet` means greenio, also in the Python programs that it
starts. A command is one that a package has installed, such as gunicorn or celery; `-`
reads the program from standard input. Without a program, a terminal gets a prompt at
which `await` works. `serve` runs a WSGI application, and `doctor` looks for what keeps a
program from working well on greenio.

options:
  --hub NAME    the event loop: asyncio (the default) or uvloop
  --hide-loop   let green threads see no running event loop
  --no-patch    leave the standard library as it is; so it is for gunicorn and celery,
                which patch their workers themselves
  --monitor[=SECONDS]
                log who keeps the event loop from going on for so long (default: 0.1),
                in this program and in those that it starts and that are patched
  --debug       asyncio's debug mode, for the program and those that it starts: slow
                callbacks, coroutines that nobody awaits, where green threads were
                spawned; what is left when the program ends; faulthandler
  --run-info-signal NAME
                print who waits for what when this signal comes, such as USR1
  -c code       run this text; what follows is its arguments
  -m module     run a module instead of a script
  --environment  print the environment variables by which every Python program finds
                eventlet, a line each, and exit
  --version     print the version and exit
  -h, --help    print this and exit
"""

# They have a process that supervises others, which is to stay as it is, and patch their
# workers themselves.
_PATCH_THEMSELVES = frozenset({"celery", "gunicorn"})


class UsageError(Exception):
    """The command line cannot be understood."""


@dataclass
class Program:
    """What to run, how it sees itself, and what to watch.

    Attributes:
        kind: ``"script"``, ``"module"``, ``"code"``, ``"stdin"`` or ``"console"``.
        name: The script, the module or the code.
        arguments: The program's own.
        max_blocking: After how many seconds the monitor reports; None for no monitor.
        run_info_signal: Which signal prints the run info, if any.
    """

    kind: str = "console"
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    hub: str | None = None
    patch: bool = True
    hide_loop: bool = False
    debug: bool = False
    max_blocking: float | None = None
    run_info_signal: int | None = None

    @property
    def patches_itself(self) -> bool:
        """Whether it is to be left as it is, for it starts what it patches."""
        if self.kind == "module":
            return self.name.partition(".")[0] in _PATCH_THEMSELVES
        return self.kind == "script" and Path(self.name).stem in _PATCH_THEMSELVES


def _print_and_exit(text: str) -> None:
    print(text)
    raise SystemExit(0)


def _print_environment() -> None:
    from .._alias import hand_on_to_children

    hand_on_to_children()
    names = ("GREENIO_AS_EVENTLET", "PYTHONPATH")
    _print_and_exit("\n".join(f"{name}={os.environ[name]}" for name in names))


def version() -> str:
    """Return the versions of everything that a program runs on, in one line."""
    import platform
    from importlib import metadata

    import greenlet

    from .._alias import API_LEVEL
    from .._version import __version__

    loops = "asyncio"
    try:
        loops += f", uvloop {metadata.version('uvloop')}"
    except metadata.PackageNotFoundError:
        pass
    return (
        f"greenio {__version__} (eventlet API {API_LEVEL}) on Python "
        f"{platform.python_version()}, greenlet {greenlet.__version__}, {loops}"
    )


# What prints something and does nothing else.
_PRINTING: dict[str, Callable[[], None]] = {
    "-h": lambda: _print_and_exit(USAGE.rstrip()),
    "--help": lambda: _print_and_exit(USAGE.rstrip()),
    "--version": lambda: _print_and_exit(version()),
    "--environment": _print_environment,
}


def _set_hub(program: Program, value: str) -> None:
    program.hub = value


def _set_signal(program: Program, value: str) -> None:
    try:
        program.run_info_signal = number_of(value)
    except ValueError as exc:
        raise UsageError(f"--run-info-signal: {exc}") from None


# Options with a value, by `--name value` or `--name=value`, and what they take.
_VALUES: dict[str, tuple[Callable[[Program, str], None], str]] = {
    "--hub": (_set_hub, "a name: asyncio or uvloop"),
    "--run-info-signal": (_set_signal, "the name of a signal, such as USR1"),
}
_FLAGS = {
    "--no-patch": ("patch", False),
    "--hide-loop": ("hide_loop", True),
    "--debug": ("debug", True),
    "--monitor": ("max_blocking", DEFAULT),
}
# What is followed by the program and its arguments.
_PROGRAMS = {
    "-m": ("module", "-m takes the name of a module"),
    "-c": ("code", "-c takes the text of a program"),
    "--": ("script", "-- is followed by a script"),
}


def parse(arguments: list[str]) -> Program:
    """Understand a command line.

    Raises:
        UsageError: It makes no sense.
        SystemExit: It asked for something to be printed, which has been done.
    """
    program = Program()
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument in _PRINTING:
            _PRINTING[argument]()
        if argument in _PROGRAMS:
            program.kind, missing = _PROGRAMS[argument]
            if not rest:
                raise UsageError(missing)
            program.name = rest.pop(0)
            break
        if argument == "-":
            program.kind = "stdin"
            break
        if not argument.startswith("-"):
            program.kind, program.name = "script", argument
            break
        _parse_option(program, argument, rest)
    program.arguments = rest
    if program.kind == "console" and not sys.stdin.isatty():
        raise UsageError(
            "name a script, a module with -m, a text with -c, or - to read the program "
            "from standard input; the prompt is for terminals"
        )
    return program


def _parse_option(program: Program, argument: str, rest: list[str]) -> None:
    name, equals, value = argument.partition("=")
    if argument in _FLAGS:
        attribute, setting = _FLAGS[argument]
        setattr(program, attribute, setting)
    elif name == "--monitor":
        try:
            program.max_blocking = seconds_of(value)
        except ValueError as exc:
            raise UsageError(str(exc)) from None
    elif name in _VALUES:
        put, what = _VALUES[name]
        if not equals:
            if not rest:
                raise UsageError(f"{name} takes {what}")
            value = rest.pop(0)
        put(program, value)
    else:
        raise UsageError(f"unknown option {argument}")


def apply(program: Program) -> None:
    """Set up what the options ask for, for this process and those that it starts.

    Raises:
        HubError: There is no such hub.
    """
    from .._bridge.loop_visibility import hide_loop
    from .._kernel.current import HIDE_VARIABLE, use_hub
    from .._loop.loops import ENVIRONMENT_VARIABLE

    use_hub(program.hub)
    if program.hub is not None:
        os.environ[ENVIRONMENT_VARIABLE] = program.hub
    if program.hide_loop:
        hide_loop()
        os.environ[HIDE_VARIABLE] = "1"
    if program.run_info_signal is not None:
        os.environ[RUN_INFO_VARIABLE] = str(int(program.run_info_signal))
    if program.max_blocking is not None:
        ask_for_monitor(program.max_blocking)
    if program.debug:
        debug_mode()


def watch(program: Program) -> None:
    """Begin what watches the program; when it is patched, if it is to be."""
    if program.run_info_signal is not None:
        from .._debug.on_signal import run_info_on_signal

        run_info_on_signal(program.run_info_signal)
    if not program.patches_itself:
        obey_environment()
