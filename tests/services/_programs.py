"""Running client programs in fresh interpreters, patched first or late."""

from __future__ import annotations

import textwrap
from pathlib import Path

from _fresh import run

_HERE = str(Path(__file__).parent)

_PATCH = "import greenio; greenio.monkey_patch()"
# The loop runs from here on.
_PROLOGUE = """
import asyncio, sys; sys.path.append({here!r})
greenio.sleep(0)
assert {hub!r} in str(asyncio.get_running_loop().__class__.__mro__)
from _beside import gated, in_green_threads, ticking, together, unique
"""


def run_client(
    hub: str, imports: str, source: str, *arguments: str, late: bool = False
) -> str:
    """Run a program that uses a client under `greenio.monkey_patch()`.

    Args:
        hub: "asyncio" or "uvloop".
        imports: What imports the client.
        source: The program; what it has from `_beside` is imported already.
        arguments: Its `sys.argv[1:]`.
        late: The client is imported before the patch.

    Returns:
        What it printed.
    """
    imports = textwrap.dedent(imports)
    parts = [imports, _PATCH] if late else [_PATCH, imports]
    program = [*parts, _PROLOGUE.format(here=_HERE, hub=hub), textwrap.dedent(source)]
    return run("\n".join(program), *arguments, hub=hub)
