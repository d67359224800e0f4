"""Reading the program's own files, without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .findings import Finding

_SLEEP = "await asyncio.sleep(...)"
_PROCESS = "await asyncio.create_subprocess_exec(...)"
_GREEN = "await greenio.run_green(function, ...)"
# Calls that block whoever makes them, and what to write in a coroutine.
_BLOCKING = {
    "eventlet.sleep": _SLEEP,
    "greenio.sleep": _SLEEP,
    "gevent.sleep": _SLEEP,
    "time.sleep": _SLEEP,
    "input": _GREEN,
    "os.popen": _PROCESS,
    "os.system": _PROCESS,
    "os.wait": _PROCESS,
    "os.waitpid": _PROCESS,
    "subprocess.call": _PROCESS,
    "subprocess.check_call": _PROCESS,
    "subprocess.check_output": _PROCESS,
    "subprocess.run": _PROCESS,
    "select.select": _GREEN,
    "socket.create_connection": "await asyncio.open_connection(...)",
    "socket.getaddrinfo": "await asyncio.get_running_loop().getaddrinfo(...)",
    "socket.gethostbyname": "await asyncio.get_running_loop().getaddrinfo(...)",
    "urllib.request.urlopen": _GREEN,
    "psycopg2.connect": _GREEN,
    "pymysql.connect": _GREEN,
}
for _verb in ("delete", "get", "head", "patch", "post", "put", "request"):
    _BLOCKING[f"requests.{_verb}"] = _GREEN
    _BLOCKING[f"httpx.{_verb}"] = "async with httpx.AsyncClient() as client: ..."
# A coroutine that has one of these may block.
_PORTALS = {"portal", "ensure_portal"}
_FOR_ALL = "portal_task_factory"


@dataclass
class Source:
    """One file of the program.

    Attributes:
        path: Where it is.
        imports: The modules that it imports, as written, and on which line first.
        names: What each name stands for that an import makes.
        calls_monkey_patch: Whether it calls a function of that name.
        mentions: All names that occur in it.
        tree: Its text as Python sees it.
    """

    path: Path
    tree: ast.Module
    imports: dict[str, int] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    calls_monkey_patch: bool = False
    mentions: set[str] = field(default_factory=set)

    def line_of(self, module: str) -> int | None:
        """Return the line that imports a module, or something below it."""
        for name, line in self.imports.items():
            if name == module or name.startswith(f"{module}."):
                return line
        return None


def read(path: Path) -> Source:
    """Read a file.

    Raises:
        SyntaxError: It is no Python.
        OSError: It cannot be read.
    """
    source = Source(path, ast.parse(path.read_bytes(), str(path)))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            _note_import(source, node)
        elif isinstance(node, ast.ImportFrom):
            _note_import_from(source, node)
        elif isinstance(node, ast.Call):
            name = _last_name(node.func)
            source.calls_monkey_patch |= name == "monkey_patch"
        elif isinstance(node, (ast.Name, ast.Attribute)):
            source.mentions.add(_last_name(node))
    return source


def _note_import(source: Source, node: ast.Import) -> None:
    for alias in node.names:
        source.imports.setdefault(alias.name, node.lineno)
        top = alias.name.partition(".")[0]
        source.names[alias.asname or top] = alias.name if alias.asname else top


def _note_import_from(source: Source, node: ast.ImportFrom) -> None:
    module = "." * node.level + (node.module or "")
    source.imports.setdefault(module, node.lineno)
    for alias in node.names:
        joint = "" if module.endswith(".") else "."
        name = f"{module}{joint}{alias.name}"
        source.imports.setdefault(name, node.lineno)
        source.names[alias.asname or alias.name] = name


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def read_all(entry: Path) -> list[Source]:
    """Read a file, and those beside or below it that it imports, and so on.

    Files that cannot be read are left out; whoever imports them will say so.
    """
    root = entry.parent
    sources: dict[Path, Source] = {}
    pending = [entry]
    while pending:
        path = pending.pop().resolve()
        if path in sources:
            continue
        try:
            source = sources[path] = read(path)
        except (OSError, SyntaxError, ValueError):
            continue
        for name in source.imports:
            pending += _files_of(name, root, path.parent)
    return list(sources.values())


def _files_of(name: str, root: Path, here: Path) -> Iterator[Path]:
    level = len(name) - len(name.lstrip("."))
    for _ in range(level - 1):
        here = here.parent
    base = (here if level else root).joinpath(*name.lstrip(".").split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py", base / "__main__.py"):
        if path.is_file():
            yield path


def blocking_calls(sources: list[Source]) -> Iterator[Finding]:
    """Find calls in coroutines that block the loop."""
    if any(_FOR_ALL in source.mentions for source in sources):
        # Every task may block.
        return
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.AsyncFunctionDef) and not _has_portal(node):
                for call in _own_calls(node):
                    yield from _judge(source, node, call)


def _has_portal(function: ast.AsyncFunctionDef) -> bool:
    names = {_last_name(node) for node in ast.walk(function)}
    return bool(names & _PORTALS)


def _own_calls(function: ast.AsyncFunctionDef) -> Iterator[ast.Call]:
    """The calls that a coroutine makes itself, and not a function within it."""
    awaited = set()
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop(0)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Await):
            awaited.add(id(node.value))
        if isinstance(node, ast.Call) and id(node) not in awaited:
            yield node
        pending[:0] = ast.iter_child_nodes(node)


def _judge(
    source: Source, function: ast.AsyncFunctionDef, call: ast.Call
) -> Iterator[Finding]:
    name = _full_name(source, call.func)
    instead = _BLOCKING.get(name)
    if instead is not None:
        yield Finding(
            "blocking-call",
            f"{source.path}:{call.lineno}",
            f"the coroutine {function.name}() calls {name}(), which blocks the loop, and "
            "with it every coroutine and green thread",
            f"use `{instead}` there",
        )


def uses(source: Source, name: str) -> bool:
    """Whether a file mentions something by its full name, however it was imported."""
    return any(
        _full_name(source, node) == name
        for node in ast.walk(source.tree)
        if isinstance(node, (ast.Attribute, ast.Name))
    )


def _full_name(source: Source, node: ast.AST) -> str:
    """Return what a dotted name stands for, or an empty text."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    if node.id not in source.names:
        return "input" if node.id == "input" and not parts else ""
    return ".".join([source.names[node.id], *reversed(parts)])
