"""``python -m greenio doctor``: its command line, and what it says."""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
import subprocess  # noqa: TID251 - its own child, before any patch
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .._patch.known_libraries import LIBRARIES
from .._patch.plans import KEYWORDS, ON_REQUEST
from . import environment, source
from .findings import Finding
from .program import inspect

_DESCRIPTION = """\
Look for what keeps a program from working well on greenio: the installation, what the
program imports before it patches, locks and sockets that could not be made green,
libraries that wait in C or bring a loop of their own, and coroutines that block.

The program is imported in a process of its own, and not run: what is under
`if __name__ == "__main__":` stays undone. With --run it is run, and judged at its end.
The status is 1 if anything was found, and 0 if not.
"""

# Modules that block unless the program is patched.
_BLOCKING_MODULES = frozenset(
    {
        "ftplib",
        "http",
        "imaplib",
        "kombu",
        "poplib",
        "pymysql",
        "queue",
        "redis",
        "requests",
        "select",
        "selectors",
        "smtplib",
        "socket",
        "socketserver",
        "ssl",
        "subprocess",
        "threading",
        "time",
        "urllib",
        "urllib3",
        "xmlrpc",
    }
)
_OURS = {"greenio", "eventlet"}
_FIRST = "call monkey_patch() before that is imported, first thing in the program"
_BEFORE_IT = "call monkey_patch() before that is made, first thing in the program"


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m greenio doctor",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("-m", dest="is_module", action="store_true", help="it is a module, no script")
    add("--run", action="store_true", help="run the program, and judge it at its end")
    add("--json", action="store_true", help="print what was found as JSON")
    add(
        "--timeout",
        type=float,
        default=30.0,
        metavar="S",
        help="seconds that importing it may take (default: %(default)g)",
    )
    # For the child process: the file for what it finds, and whether it begins patched.
    add("--report-to", help=argparse.SUPPRESS)
    add("--patched", action="store_true", help=argparse.SUPPRESS)
    add(
        "program",
        nargs="?",
        metavar="script.py",
        help="the program; none: just greenio",
    )
    add("arguments", nargs=argparse.REMAINDER, help="the program's own arguments")
    options = parser.parse_args(words)
    if options.program is None and (options.run or options.is_module):
        parser.error("name the script, or the module after -m")
    return options


def main(words: list[str]) -> int:
    """Run the command; return its exit status."""
    options = _arguments(words)
    if options.report_to is not None:
        how = {
            "is_module": options.is_module,
            "runs": options.run,
            "patched": options.patched,
        }
        inspect(options.report_to, options.program, options.arguments, how)
        return 0
    findings = list(environment.check())
    seen: dict[str, Any] = {}
    if options.program is not None:
        findings += _check_program(options, seen)
    _print(options, findings, seen)
    return 1 if findings else 0


# -- the program --------------------------------------------------------------------------


def _check_program(
    options: argparse.Namespace, seen: dict[str, Any]
) -> Iterator[Finding]:
    path = _path_of(options)
    if path is None or not path.is_file():
        yield Finding(
            "no-program", options.program, "there is no such program", "name it"
        )
        return
    sources = source.read_all(path)
    yield from source.blocking_calls(sources)
    names_us = any(name in _OURS for each in sources for name in _tops(each))
    patches = any(each.calls_monkey_patch for each in sources)
    # One that knows nothing of greenio is to be started by ``python -m greenio``.
    seen["starts_patched"] = not (names_us or patches)
    seen.update(_inspected(options, patched=seen["starts_patched"]))
    yield from _judge_end(options, seen)
    if "patched" in seen:
        yield from _judge_patch(options, sources, seen, names_us)
        yield from _judge_libraries(sources, seen)


def _as_named(options: argparse.Namespace) -> str:
    return f"-m {options.program}" if options.is_module else str(options.program)


def _tops(each: source.Source) -> set[str]:
    return {name.partition(".")[0] for name in each.imports}


def _path_of(options: argparse.Namespace) -> Path | None:
    if not options.is_module:
        return Path(options.program)
    sys.path[:1] = [str(Path.cwd())]
    try:
        spec = importlib.util.find_spec(options.program)
        if spec is not None and spec.submodule_search_locations and options.run:
            spec = importlib.util.find_spec(f"{options.program}.__main__")
    except (ImportError, ValueError):
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin)


def _interpreters_own() -> list[str]:
    """The options of this interpreter, such as ``-X dev``."""
    made: Any = getattr(subprocess, "_args_from_interpreter_flags", list)
    return list(made())


def _inspected(options: argparse.Namespace, patched: bool) -> dict[str, Any]:
    """Have a child process look at the program."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.json")
        command = [sys.executable, *_interpreters_own()]
        command += ["-m", "greenio", "doctor", "--report-to", str(report)]
        command += ["--run"] * options.run + ["--patched"] * patched
        command += ["-m"] * options.is_module
        command += [options.program, *options.arguments]
        # What it prints is not part of the answer.
        child = subprocess.Popen(command, stdout=2)  # noqa: S603 - ourselves
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            child.wait(None if options.run else options.timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            return {"hangs": True}
        finally:
            signal.signal(signal.SIGINT, before)
        if not report.exists():
            return {"status": child.returncode}
        seen: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return seen


def _judge_end(options: argparse.Namespace, seen: dict[str, Any]) -> Iterator[Finding]:
    where = options.program
    if seen.get("hangs"):
        yield Finding(
            "import-does-not-end",
            where,
            f"importing it takes more than {options.timeout:g} seconds: it does its work "
            "when it is imported",
            'put that under `if __name__ == "__main__":`, or give doctor --run',
        )
    elif "patched" not in seen:
        yield Finding(
            "ended",
            where,
            f"its process ended with status {seen['status']} and could not be looked at",
            "have it end by returning, and not by a signal or os._exit()",
        )
    elif seen["error"] is not None:
        done = "run" if options.run else "imported"
        yield Finding(
            "fails", where, f"it cannot be {done}: {seen['error']}", "see the traceback"
        )


def _judge_patch(
    options: argparse.Namespace,
    sources: list[source.Source],
    seen: dict[str, Any],
    names_us: bool,
) -> Iterator[Finding]:
    patched = seen["patched"]
    if not patched:
        blocking = {name for each in sources for name in _tops(each)}
        blocking &= _BLOCKING_MODULES
        if not any(source.uses(each, "time.sleep") for each in sources):
            blocking.discard("time")
        if names_us and blocking:
            yield Finding(
                "not-patched",
                options.program,
                "it never calls monkey_patch(), so whoever waits in "
                f"{', '.join(sorted(blocking))} keeps all other green threads waiting",
                f"start it by `python -m greenio {_as_named(options)}`, or begin it with "
                "`import greenio; greenio.monkey_patch()`",
            )
        return
    missing = [name for name in _USUAL if name not in patched]
    if missing:
        yield Finding(
            "partly-patched",
            options.program,
            f"monkey_patch() left out {', '.join(missing)}",
            "call monkey_patch() without keywords, unless that was meant",
        )
    yield from _judge_early(sources, seen["early"])
    for where, why in seen["leftovers"]:
        yield Finding("not-green", where, f"it is not green: {why}", _BEFORE_IT)
    for path, line in seen["held_up"]:
        yield Finding(
            "blocked-the-loop",
            f"{path}:{line}",
            "a coroutine or a callback of the loop has blocked the loop here",
            "await an asynchronous call there, or `await greenio.run_green(func, ...)`",
        )


def _judge_early(sources: list[source.Source], early: list[str]) -> Iterator[Finding]:
    """Name what the program imports itself; what that imports, only without it."""
    by_place: dict[str, list[str]] = {}
    for name in early:
        by_place.setdefault(_where_imported(sources, name) or "", []).append(name)
    others = by_place.pop("", [])
    if not by_place and others:
        by_place = {others[0]: others}
    for where, names in by_place.items():
        verb = "is" if len(names) == 1 else "are"
        yield Finding(
            "imported-before-patching",
            where,
            f"{', '.join(names)} {verb} imported before the standard library is patched",
            _FIRST,
        )


_USUAL = [name for name in KEYWORDS if name not in ON_REQUEST and name != "psycopg"]


def _where_imported(sources: list[source.Source], name: str) -> str | None:
    for each in sources:
        line = each.line_of(name)
        if line is not None:
            return f"{each.path}:{line}"
    return None


def _judge_libraries(
    sources: list[source.Source], seen: dict[str, Any]
) -> Iterator[Finding]:
    for name in seen["libraries"]:
        library = LIBRARIES[name]
        if library.common and not any(each.line_of(name) for each in sources):
            continue
        kind = "own-loop" if "loop" in library.what else "waits-in-c"
        yield Finding(
            kind,
            _where_imported(sources, name) or name,
            f"{name} {library.what}",
            library.advice,
        )
    if seen["psycopg2_waits"]:
        yield Finding(
            "waits-in-c",
            _where_imported(sources, "psycopg2") or "psycopg2",
            "psycopg2 has no wait_callback, so it waits in C",
            "call monkey_patch(), which sets one, or "
            "greenio.support.psycopg2_patcher.make_psycopg_green()",
        )


# -- the answer ---------------------------------------------------------------------------


def _print(
    options: argparse.Namespace, findings: list[Finding], seen: dict[str, Any]
) -> None:
    from .._command.options import version

    if options.json:
        answer = {
            "versions": version(),
            "program": options.program,
            "patched": seen.get("patched"),
            "findings": [asdict(finding) for finding in findings],
        }
        print(json.dumps(answer, indent=2))
        return
    print(version())
    if "patched" in seen:
        how = " from the start, by python -m greenio" if seen["starts_patched"] else ""
        print(
            f"{options.program} patches: {', '.join(seen['patched']) or 'nothing'}{how}"
        )
    for number, finding in enumerate(findings, 1):
        print(f"\n{number}. {finding}")
    print(f"\n{len(findings) or 'nothing'} found")
