"""``python -m greenio``: run a program on green threads.

The standard library is patched, `import eventlet` means greenio, and the program runs
as `python` would run it: with its own ``sys.argv``, its own ``__main__`` and
tracebacks that begin with its own frames.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import io
import os
import pkgutil
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any, NoReturn

_USAGE = """\
usage: python -m greenio [options] script.py [arguments]
       python -m greenio [options] -m module [arguments]
       python -m greenio serve package.module:app [--help]

Run an eventlet-style program on an asyncio or uvloop event loop. The standard library
is made green, and `import eventlet` means greenio. `serve` runs a WSGI application.

options:
  --hub NAME    the event loop: asyncio (the default) or uvloop
  --hide-loop   let green threads see no running event loop
  --no-patch    leave the standard library as it is
  -m module     run a module instead of a script
  --version     print the version and exit
  -h, --help    print this and exit
"""


class _UsageError(Exception):
    """The command line cannot be understood."""


class _Program:
    """What to run, and how it sees itself."""

    def __init__(self) -> None:
        self.hub: str | None = None
        self.patch = True
        self.hide_loop = False
        self.module: str | None = None
        self.script: str | None = None
        self.arguments: list[str] = []


def _parse(arguments: list[str]) -> _Program:
    program = _Program()
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument in ("-h", "--help"):
            print(_USAGE, end="")
            raise SystemExit(0)
        if argument == "--version":
            print(_version())
            raise SystemExit(0)
        name, equals, value = argument.partition("=")
        if name == "--hub":
            if not equals:
                if not rest:
                    raise _UsageError("--hub takes a name: asyncio or uvloop")
                value = rest.pop(0)
            program.hub = value
        elif argument == "--no-patch":
            program.patch = False
        elif argument == "--hide-loop":
            program.hide_loop = True
        elif argument == "-m":
            if not rest:
                raise _UsageError("-m takes the name of a module")
            program.module = rest.pop(0)
            break
        elif argument == "--" and rest:
            program.script = rest.pop(0)
            break
        elif argument.startswith("-"):
            raise _UsageError(f"unknown option {argument}")
        else:
            program.script = argument
            break
    program.arguments = rest
    if program.module is None and program.script is None:
        raise _UsageError("name a script, or a module with -m")
    return program


def _version() -> str:
    import platform
    from importlib import metadata

    import greenlet

    from . import __version__
    from ._alias import API_LEVEL

    loops = "asyncio"
    try:
        loops += f", uvloop {metadata.version('uvloop')}"
    except metadata.PackageNotFoundError:
        pass
    return (
        f"greenio {__version__} (eventlet API {API_LEVEL}) on Python "
        f"{platform.python_version()}, greenlet {greenlet.__version__}, {loops}"
    )


def _fail(message: str, status: int = 2) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(status)


# -- finding the program ----------------------------------------------------------------


def _load_script(path: str, main: ModuleType) -> CodeType:
    """Prepare `__main__` and ``sys.path`` for a script, and return its code."""
    path = str(Path(path).absolute())
    if Path(path).is_dir() or zipfile.is_zipfile(path):
        _replace_first_path(path)
        # Not by importlib.util, which would find the module that runs now.
        spec = importlib.machinery.PathFinder.find_spec("__main__", [path])
        code = _prepare(main, spec)
        if code is None:
            _fail(f"{sys.executable}: can't find '__main__' module in {path!r}", 1)
        return code
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as exc:
        _fail(
            f"{sys.executable}: can't open file {path!r}: "
            f"[Errno {exc.errno}] {exc.strerror}"
        )
    _replace_first_path(str(Path(path).resolve().parent))
    loader: Any
    if path.endswith(".pyc"):
        loader = importlib.machinery.SourcelessFileLoader("__main__", path)
        code = pkgutil.read_code(io.BytesIO(source))
        if code is None:
            _fail(f"{sys.executable}: bad magic number in {path!r}", 1)
    else:
        loader = importlib.machinery.SourceFileLoader("__main__", path)
        code = compile(source, path, "exec", dont_inherit=True)
    vars(main).update(__file__=path, __loader__=loader, __cached__=None)
    return code


def _load_module(name: str, main: ModuleType) -> CodeType:
    """Prepare `__main__` for a module that is run, and return its code."""
    asked = name
    spec = _find(name)
    if spec is not None and spec.submodule_search_locations is not None:
        name = f"{name}.__main__"
        spec = _find(name)
    code = _prepare(main, spec)
    if code is None:
        hint = (
            ""
            if name == asked
            else (f"; {asked!r} is a package and cannot be directly executed")
        )
        _fail(f"{sys.executable}: No module named {name}{hint}", 1)
    sys.argv[0] = main.__file__ or asked
    return code


def _find(name: str) -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, AttributeError, TypeError, ValueError) as exc:
        parent = name.rpartition(".")[0]
        if isinstance(exc, ModuleNotFoundError) and exc.name == parent:
            return None
        _fail(
            f"{sys.executable}: Error while finding module specification for {name!r} "
            f"({type(exc).__name__}: {exc})",
            1,
        )


def _prepare(
    main: ModuleType, spec: importlib.machinery.ModuleSpec | None
) -> CodeType | None:
    get_code = getattr(spec and spec.loader, "get_code", None)
    code: CodeType | None = None
    if spec is not None and get_code is not None:
        code = get_code(spec.name)
        vars(main).update(
            __spec__=spec,
            __loader__=spec.loader,
            __file__=spec.origin,
            __cached__=spec.cached,
            __package__=spec.parent,
        )
    return code


def _replace_first_path(directory: str) -> None:
    # `python -m` put the current directory there, unless it was told not to.
    if getattr(sys.flags, "safe_path", False):
        return
    if sys.path:
        sys.path[0] = directory
    else:
        sys.path.append(directory)


# -- running it -------------------------------------------------------------------------


def _run(load: Callable[[ModuleType], CodeType], argv: list[str]) -> None:
    main = ModuleType("__main__")
    vars(main).update(__builtins__=__builtins__, __package__=None)
    own_main = sys.modules["__main__"]
    sys.argv[:] = argv
    try:
        code = load(main)
        sys.modules["__main__"] = main
        exec(code, vars(main))  # noqa: S102 - the user's program
    except SystemExit:
        raise
    except BaseException as exc:
        _report(exc)
        if isinstance(exc, KeyboardInterrupt):
            # The interpreter ends itself with the signal, as it does for any script.
            sys.excepthook = lambda *_: None
            raise
        raise SystemExit(1) from None
    finally:
        # It must live as long as what it defined.
        main.__dict__.setdefault("__greenio_runner__", own_main)


def _report(error: BaseException) -> None:
    """Show an exception as if the program had been run by `python`."""
    traceback = _without_ours(error.__traceback__)
    if isinstance(error, KeyboardInterrupt):
        traceback = _without_tail(traceback)
    error.__traceback__ = traceback
    sys.excepthook(type(error), error, traceback)


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    """Leave out the frames that led to the program."""
    while traceback is not None and traceback.tb_frame.f_globals is globals():
        traceback = traceback.tb_next
    while traceback is not None and _is_machinery(traceback):
        traceback = traceback.tb_next
    return traceback


def _without_tail(traceback: TracebackType | None) -> TracebackType | None:
    """Leave out what was going on below the program's frames when it was stopped."""
    frames = []
    while traceback is not None:
        frames.append(traceback)
        traceback = traceback.tb_next
    while len(frames) > 1 and _is_machinery(frames[-1]):
        frames.pop()
    result = None
    for entry in reversed(frames):
        result = TracebackType(result, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return result


_PACKAGE_DIRECTORY = str(Path(__file__).parent) + os.sep
_MACHINERY = ("asyncio", "selectors", "uvloop", "importlib", "greenlet")


def _is_machinery(traceback: TracebackType) -> bool:
    frame = traceback.tb_frame
    if frame.f_code.co_filename.startswith((_PACKAGE_DIRECTORY, "<frozen importlib")):
        return True
    module = frame.f_globals.get("__name__", "")
    return str(module).partition(".")[0] in _MACHINERY


def main() -> None:
    """Run the program that the command line names."""
    if sys.argv[1:2] == ["serve"]:
        from ._http.command import main as serve

        raise SystemExit(serve(sys.argv[2:]))
    try:
        program = _parse(sys.argv[1:])
    except _UsageError as exc:
        _fail(f"python -m greenio: {exc}\n\n{_USAGE.rstrip()}")

    from ._alias import install_as_eventlet
    from ._bridge.loop_visibility import hide_loop
    from ._kernel.current import HIDE_VARIABLE
    from ._loop.loops import ENVIRONMENT_VARIABLE
    from ._patch.provisional import patch_provisionally
    from ._std.errors import HubError
    from .hubs import use_hub

    try:
        use_hub(program.hub)
    except HubError as exc:
        _fail(f"python -m greenio: {exc}")
    if program.hub is not None:
        # For the threads and the processes that the program starts.
        os.environ[ENVIRONMENT_VARIABLE] = program.hub
    if program.hide_loop:
        hide_loop()
        os.environ[HIDE_VARIABLE] = "1"
    install_as_eventlet()
    if program.patch:
        patch_provisionally()
    name = program.module
    script = program.script or ""
    if name is not None:
        _run(partial(_load_module, name), ["-m", *program.arguments])
    else:
        _run(partial(_load_script, script), [script, *program.arguments])


if __name__ == "__main__":
    main()
