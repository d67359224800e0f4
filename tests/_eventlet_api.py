"""Reading tests/data: eventlet's names and signatures, and whether calls are taken."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


@dataclass
class Entry:
    """A name: what it is called with, what it equals, and what is in it."""

    name: str
    signature: str | None = None
    same_as: str | None = None
    members: list[Entry] = field(default_factory=list)


@dataclass
class Module:
    """A module of eventlet's: what is in it, and what it replaces in the standard one."""

    name: str
    entries: list[Entry] = field(default_factory=list)
    replaces: list[str] = field(default_factory=list)


def read() -> dict[str, Module]:
    """Return eventlet's modules by their names."""
    modules: dict[str, Module] = {}
    for file in sorted(DATA.glob("eventlet*.txt")):
        for line in file.read_text().splitlines():
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            if line == text:
                module = modules[text] = Module(text)
            elif line.startswith("    "):
                module.entries[-1].members.append(_entry(text))
            elif text.startswith("replaces: "):
                module.replaces = text.split()[1:]
            elif not text.startswith("removes: "):
                module.entries.append(_entry(text))
    return modules


def _entry(text: str) -> Entry:
    for kind in ("class ", "property ", "classmethod "):
        if text.startswith(kind):
            text = text.removeprefix(kind)
            if kind == "classmethod ":
                text = text.replace("cls, ", "").replace("cls", "")
    if " = eventlet" in text:
        name, _, same_as = text.partition(" = ")
        return Entry(name, same_as=same_as)
    name, parenthesis, rest = text.partition("(")
    if parenthesis:
        return Entry(name, signature=f"({rest}")
    return Entry(text.partition(":")[0])


def refused_calls(
    thing: Any, signature: str, *, passed_on: bool = False
) -> Iterator[str]:
    """Yield the calls that eventlet's function takes and this one does not.

    All that counts is how many arguments there are, and what they are called.

    Args:
        thing: The function, or the class.
        signature: eventlet's.
        passed_on: Whether eventlet hands further arguments on to something else, which
            refuses most of them: those are not tried.
    """
    try:
        own = inspect.signature(thing)
    except (TypeError, ValueError):
        # Written in C, or not a function: it takes what it takes.
        return
    there = ast.parse(f"def f{signature}: pass").body[0].args  # type: ignore[attr-defined]
    names = [argument.arg for argument in there.args]
    first = ["self"] if names[:1] == ["self"] else []
    names = names[len(first) :]
    required = names[: len(names) - len(there.defaults)]
    keywords = dict.fromkeys(argument.arg for argument in there.kwonlyargs)
    calls: list[tuple[list[str], dict[str, Any]]] = [
        (first + required, {}),
        (first + names, {}),
        (first, dict.fromkeys(names)),
        (first + required, keywords),
    ]
    calls += [
        (first + names[:count], dict.fromkeys(names[count:]))
        for count in range(1, len(names))
    ]
    if not passed_on:
        if there.vararg:
            calls.append(([*first, *names, "one more", "and another"], {}))
        if there.kwarg:
            calls.append((first + required, {"any_other": None}))
    for args, kwargs in calls:
        try:
            own.bind(*args, **kwargs)
        except TypeError as exc:
            yield f"*{args}, **{sorted(kwargs)}: {exc}"


def other_defaults(thing: Any, signature: str) -> Iterator[str]:
    """Yield the arguments whose default is another than eventlet's."""
    try:
        own = inspect.signature(thing).parameters
    except (TypeError, ValueError):
        return
    there = ast.parse(f"def f{signature}: pass").body[0].args  # type: ignore[attr-defined]
    defaults = zip(reversed(there.args), reversed(there.defaults), strict=False)
    for argument, default in defaults:
        try:
            value = ast.literal_eval(default)
        except ValueError:
            continue
        mine = own.get(argument.arg)
        if mine is None or value is ...:
            continue
        if value in ([], {}) and mine.default in ((), [], {}):
            continue
        if mine.default != value:
            yield f"{argument.arg}={value!r} there, {mine.default!r} here"
