"""`patcher.report`: what is green in this program, and what is not."""

from __future__ import annotations

import gc
import importlib
import platform
import sys
from collections.abc import Iterator
from typing import Any

from .._std.originals import SSLContext, SSLSocket, socket_class, thread_local
from .._version import __version__
from .existing import (
    KINDS,
    Leftover,
    global_name,
    is_left_alone,
    leftovers,
    subclasses,
)
from .known_libraries import LIBRARIES, Library
from .monkey import already_patched, replaced
from .plans import KEYWORDS

_BASES = {
    socket_class: "socket",
    SSLSocket: "socket",
    SSLContext: "socket",
    thread_local: "thread",
}


def report() -> str:
    """Say in plain words what has been patched, and what could not be.

    For programs that call `monkey_patch` late, and for finding out who blocks the loop.
    What is named can be mended by patching before its module is imported.

    Returns:
        Some lines of text, the last without a line feed.
    """
    patched = [name for name in KEYWORDS if name in already_patched]
    others = [name for name in KEYWORDS if name not in already_patched]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    lines = [
        f"greenio {__version__} on {python}",
        f"patched: {', '.join(patched) or 'nothing'}",
        f"not patched: {', '.join(others) or 'nothing'}",
    ]
    found = []
    if patched:
        found = list(all_leftovers())
        found += [Leftover(name, str(each)) for name, each in loaded_libraries()]
    if found:
        lines.append("not green, although the standard module is:")
        lines += [f"  {leftover.where}: {leftover.why}" for leftover in found]
    elif patched:
        lines.append("nothing was found that is not green")
    return "\n".join(lines)


def all_leftovers() -> Iterator[Leftover]:
    """Everything that is not green, although the standard module is."""
    for module, name, old, _ in replaced.uses():
        yield Leftover(f"{module}.{name}", f"the original {_public_name(old)}")
    yield from _derived_classes()
    if "thread" in already_patched:
        yield from leftovers(tuple(KINDS))
        yield from _real_threads()
    if "socket" in already_patched:
        yield from _plain_sockets()


def loaded_libraries() -> Iterator[tuple[str, Library]]:
    """The libraries that have been imported and that no patch reaches, by name."""
    for module, library in LIBRARIES.items():
        if module in sys.modules and module not in already_patched:
            yield module, library


def _public_name(old: Any) -> str:
    module = getattr(old, "__module__", None) or "standard"
    module = {"posix": "os", "nt": "os"}.get(module, module)
    return f"{module}.{getattr(old, '__name__', old)}"


def _derived_classes() -> Iterator[Leftover]:
    for base, keyword in _BASES.items():
        if keyword in already_patched:
            for cls in subclasses(base):
                if cls not in _BASES:
                    yield Leftover(
                        f"{cls.__module__}.{cls.__qualname__}",
                        f"a class derived from the plain {base.__name__}",
                    )


def _real_threads() -> Iterator[Leftover]:
    threading = importlib.import_module("threading")
    known = threading._active
    for ident in sys._current_frames():
        thread = known.get(ident)
        if thread is not None and thread is not threading.main_thread():
            yield Leftover(
                f"the thread {thread.name!r}", "a real one, started before the patch"
            )


def _plain_sockets() -> Iterator[Leftover]:
    for value in gc.get_objects():
        if type(value) in (socket_class, SSLSocket):
            # asyncio's are not blocking, and it does not wait for them.
            if value.fileno() < 0 or value.gettimeout() == 0:
                continue
            where = global_name(value) or f"the socket with descriptor {value.fileno()}"
            if not is_left_alone(where):
                yield Leftover(where, "a plain socket, made before the patch")
