"""The architecture page shows the way that three calls take, and the rooms keep their size."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

import _fresh

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "topics" / "architecture.md"
ROW = re.compile(r"^\| `([^`]+)`[^|]*\| (\d+) \| (\d+) \| ([^|]+) \|$", re.MULTILINE)


@pytest.mark.skipif(
    importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed"
)
@pytest.mark.skipif(sys.version_info < (3, 11), reason="await_ copies contexts there")
def test_the_page_shows_the_files_that_calls_go_through() -> None:
    done = _fresh.python(str(ROOT / "tests" / "_flows.py"), hub="uvloop")
    assert done.returncode == 0, done.stderr
    flows = {name: flow["files"] for name, flow in json.loads(done.stdout).items()}
    shown = {
        name: (int(files), int(changes), re.findall(r"`([^`]+)`", entered))
        for name, files, changes, entered in ROW.findall(PAGE.read_text("utf-8"))
    }
    assert shown == {
        name: (len(set(files)), len(files) - 1, files) for name, files in flows.items()
    }


def test_the_drawing_shows_every_file_of_the_engine() -> None:
    spec = importlib.util.spec_from_file_location("_rooms", ROOT / "docs" / "_rooms.py")
    assert spec is not None
    assert spec.loader is not None
    rooms = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rooms)
    drawing = rooms.drawing()
    assert sorted(rooms.engine()) == sorted(
        ["_std", "_loop", "_reactor", "_kernel", "_sync", "_greenthread", "_bridge"]
    )
    for room in rooms.engine():
        for path in rooms.PACKAGE.joinpath(room).glob("*.py"):
            if path.stem != "__init__":
                assert re.search(rf"\b{path.stem}\b", drawing), (room, path.stem)


def lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def test_no_file_is_long() -> None:
    files = [*ROOT.glob("src/**/*.py"), *ROOT.glob("tests/**/*.py")]
    assert not [path for path in files if lines(path) > 600]


def test_the_kernel_is_small() -> None:
    kernel = ROOT / "src" / "greenio" / "_kernel"
    assert sum(lines(path) for path in kernel.glob("*.py")) < 3000
