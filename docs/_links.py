"""Sphinx: links from names to where they are documented, and from there to the source.

`greenio.spawn` is documented as `greenio.greenthread.spawn`. Both names of such an object
lead there, in roles and in plain code (`greenio.spawn`, `greenio.spawn(f)`), and so do names
that can mean nothing else (`DeadlockError`, `put_async`, `GreenPool.imap`, `tpool.execute`).
What is documented says that it is from a public module; its source is in one of the rooms.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections import defaultdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

# Of a statement with one call in it (`gt = greenio.spawn(f)`), the call.
CODE = re.compile(
    r"(?:@|(?:async )?with |await |print\(|\w+ = )*(greenio(?:\.[A-Za-z]\w*)+)(?:\(.*)?"
)
# These can be nothing else, wherever they stand.
ALONE = re.compile(
    r"(await_|run_green|as_async|as_sync|monkey_patch|ensure_portal|from_thread|"
    r"Green(?:Thread|Pool|Pile|Group)|Timeout|joinall)(?:\(.*\))?"
)
# And these, if the reference has one such thing. Words such as `get` or `Event` can be others',
# and so can two of those that could not be by their form.
OTHERS = {"socket_timeout", "wait_for"}
NAME = re.compile(
    r"((?:[A-Z]\w+|[a-z]\w*)\.[A-Za-z]\w*|[A-Z]+[a-z0-9]+[A-Z]\w*|[a-z]+_\w*[a-z])(?:\(.*\))?"
)


def _found(name: str) -> object:
    """What a dotted name means, or None."""
    module, _, rest = name.partition(".")
    place: Any = import_module(module)
    for part in rest.split(".") if rest else ():
        try:
            place = getattr(place, part)
        except AttributeError:
            try:
                place = import_module(f"{place.__name__}.{part}")
            except (AttributeError, ImportError):
                return None
    return place


def documented(env: BuildEnvironment, name: str) -> str | None:
    """The name under which the reference has what somebody calls `name`."""
    objects = env.get_domain("py").objects  # type: ignore[attr-defined]
    if name in objects:
        return name
    thing = _found(name)
    if thing is None:
        return None
    last = name.rpartition(".")[2]
    found = [
        str(other)
        for other in objects
        if other.rpartition(".")[2] == last and _found(other) is thing
    ]
    return _first(found)


def _first(names: list[str]) -> str | None:
    """Of several names of one thing, not that of the module for eventlet's `asyncio`."""
    return min(
        names, key=lambda name: name.startswith("greenio.asyncio."), default=None
    )


def only(env: BuildEnvironment, text: str) -> str | None:
    """The one thing in the reference that a name without its module can mean."""
    first, _, rest = text.partition(".")
    if rest:
        ours = first not in sys.stdlib_module_names
        return documented(env, f"greenio.{text}") if ours else None
    # What was read may grow while pages are read, not while they are written.
    objects = env.get_domain("py").objects  # type: ignore[attr-defined]
    names: dict[str, list[str]] | None = getattr(env, "_greenio_names", None)
    if names is None:
        names = defaultdict(list)
        for name, entry in objects.items():
            if not entry.aliased:
                names[name.rpartition(".")[2]].append(name)
        env._greenio_names = names  # type: ignore[attr-defined]
    found = names.get(text, [])
    if text in OTHERS or len({id(_found(name)) for name in found}) != 1:
        return None
    return _first(found)


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Find what a role names by another of its names."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("greenio."):
        return None
    name = documented(env, target)
    if name is None or name == target:
        return None
    return _reference(app, env, node["refdoc"], name, content)


def _reference(
    app: Sphinx, env: BuildEnvironment, document: str, name: str, content: Any
) -> Any:
    from sphinx.util.nodes import make_refnode

    entry = env.get_domain("py").objects[name]  # type: ignore[attr-defined]
    return make_refnode(
        app.builder, document, entry.docname, entry.node_id, content, name
    )


def link_code(app: Sphinx, tree: nodes.document, document: str) -> None:
    """Make links of code in prose that names something of the reference."""
    from docutils import nodes

    for literal in list(tree.findall(nodes.literal)):
        if _is_link(literal):
            continue
        text = literal.astext()
        if match := CODE.fullmatch(text):
            known = documented(app.env, match[1])
        elif match := ALONE.fullmatch(text):
            known = documented(app.env, f"greenio.{match[1]}")
        elif match := NAME.fullmatch(text):
            known = only(app.env, match[1])
        else:
            continue
        if known is not None:
            literal.replace_self(
                _reference(app, app.env, document, known, literal.deepcopy())
            )


def _is_link(node: nodes.Node) -> bool:
    from docutils import nodes

    parent = node.parent
    while parent is not None:
        if isinstance(parent, (nodes.reference, nodes.title)):
            return True
        parent = parent.parent
    return False


def room_of(app: Sphinx, module: str, attribute: str) -> str | None:
    """The module that has the source of what a public module shows."""
    thing: Any
    thing = inspect.unwrap(_found(f"{module}.{attribute}"))  # type: ignore[arg-type]
    if isinstance(thing, type):
        parts = [getattr(part, "fget", part) for part in vars(thing).values()]
        named = f"{thing.__qualname__}."
        codes = [
            part.__code__
            for part in parts
            if getattr(part, "__qualname__", "").startswith(named)
            and hasattr(part, "__code__")
        ]
    else:
        codes = [thing.__code__] if hasattr(thing, "__code__") else []
    for code in codes:
        _, found, path = code.co_filename.rpartition("/greenio/")
        if found:
            name = path.removesuffix(".py").removesuffix("/__init__")
            return f"greenio.{name.replace('/', '.')}"
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("missing-reference", resolve)
    app.connect("doctree-resolved", link_code)
    app.connect("viewcode-follow-imported", room_of)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
