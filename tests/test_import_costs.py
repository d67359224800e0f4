"""What `import greenio` imports beside asyncio: only what every program needs."""

from __future__ import annotations

import pytest

import _fresh


@pytest.fixture(scope="module")
def beside_asyncio():
    return _fresh.run(
        """
        import asyncio, sys
        before = set(sys.modules)
        import greenio
        print(*(set(sys.modules) - before))
        """
    ).split()


# Each takes some milliseconds, and most programs import none of them.
@pytest.mark.parametrize(
    "name",
    [
        *("ctypes", "importlib.abc", "importlib.resources", "inspect", "pathlib"),
        *("shutil", "sysconfig", "tempfile", "urllib.parse", "uvloop"),
    ],
)
def test_left_to_those_who_need_it(beside_asyncio, name):
    assert name not in beside_asyncio


def test_no_more_than_the_engine(beside_asyncio):
    ours = {
        name.split(".")[1] for name in beside_asyncio if name.startswith("greenio.")
    }
    assert "_kernel" in ours
    assert not ours & {"_http", "_ws", "_asgi", "_net", "_debug", "_tpool", "green"}
