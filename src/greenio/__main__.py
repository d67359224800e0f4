"""``python -m greenio``: run a program on green threads.

The standard library is patched, `import eventlet` means greenio, and the program runs
as `python` would run it: with its own ``sys.argv``, its own ``__main__`` and
tracebacks that begin with its own frames.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import io
import linecache
import os
import pkgutil
import shutil
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any, NoReturn

from ._command.options import USAGE, Program, UsageError, apply, parse, watch


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


def _script_of(name: str) -> str:
    """Return the path of what is to be run: a file, or a command that is installed."""
    if not name or os.sep in name or Path(name).exists():
        return name
    directories = [str(Path(sys.executable).parent), sysconfig.get_path("scripts")]
    for path in (*directories, None):
        found = shutil.which(name, path=path)
        if found is not None:
            if not _is_python(found):
                _fail(f"python -m greenio: {found} is no program in Python")
            return found
    return name


def _is_python(path: str) -> bool:
    """Whether a file is a script in Python, as installers make them."""
    if path.endswith((".py", ".pyc", ".pyz")) or zipfile.is_zipfile(path):
        return True
    with io.open_code(path) as file:
        head = file.read(1024)
    first, _, rest = head.partition(b"\n")
    # With a long path of the interpreter, it is a script for both it and the shell.
    return first.startswith(b"#!") and (
        b"python" in first or rest.startswith(b"'''exec")
    )


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


def _execute(load: Callable[[ModuleType], CodeType], main: ModuleType) -> None:
    code = load(main)
    sys.modules["__main__"] = main
    exec(code, vars(main))  # noqa: S102 - the user's program


def _run(action: Callable[[ModuleType], None], argv: list[str]) -> None:
    main = ModuleType("__main__")
    vars(main).update(__builtins__=__builtins__, __package__=None)
    own_main = sys.modules["__main__"]
    sys.argv[:] = argv
    try:
        action(main)
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


def _load_text(
    source: str | bytes, filename: str, argument: str, main: ModuleType
) -> CodeType:
    """Prepare ``sys.path`` for a program that is in no file, and return its code."""
    _replace_first_path("")
    main.__dict__["__loader__"] = importlib.machinery.BuiltinImporter
    if argument == "-":
        main.__dict__["__file__"] = filename
    elif sys.version_info >= (3, 13):
        # Where tracebacks look for the lines.
        lines = str(source).splitlines(keepends=True)
        linecache.cache[filename] = (len(source), None, lines, filename)
    return compile(source, filename, "exec", dont_inherit=True)


def _loader_of(program: Program) -> tuple[Callable[[ModuleType], CodeType], str]:
    """Return what loads a program, and what its ``sys.argv`` begins with."""
    if program.kind == "module":
        return partial(_load_module, program.name), "-m"
    if program.kind == "code":
        return partial(_load_text, program.name, "<string>", "-c"), "-c"
    if program.kind == "stdin":
        source = sys.stdin.buffer.read()
        return partial(_load_text, source, "<stdin>", "-"), "-"
    path = _script_of(program.name)
    return partial(_load_script, path), path


def _subcommand() -> None:
    """Run what is no program of the user's, if that is asked for."""
    name = sys.argv[1:2]
    if name == ["serve"]:
        from ._http.command import main as serve

        raise SystemExit(serve(sys.argv[2:]))
    if name == ["doctor"]:
        from ._doctor.command import main as examine

        raise SystemExit(examine(sys.argv[2:]))


def main() -> None:
    """Run the program that the command line names."""
    _subcommand()
    try:
        program = parse(sys.argv[1:])
    except UsageError as exc:
        _fail(f"python -m greenio: {exc}\n\n{USAGE.rstrip()}")

    from ._alias import hand_on_to_children, install_as_eventlet
    from ._patch.provisional import patch_provisionally
    from ._std.errors import HubError

    try:
        apply(program)
    except HubError as exc:
        _fail(f"python -m greenio: {exc}")
    install_as_eventlet()
    hand_on_to_children()
    if program.patch and not program.patches_itself:
        patch_provisionally()
    watch(program)
    if program.kind == "console":
        from ._command.console import interact

        _run(interact, [""])
    else:
        load, name = _loader_of(program)
        _run(partial(_execute, load), [name, *program.arguments])


if __name__ == "__main__":
    main()
