"""docs/reference/command-line.md has every option and every environment variable."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import greenio
from greenio._command.options import USAGE
from greenio._doctor import command as doctor
from greenio._http import command as serving

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "command-line.md"
SOURCE = Path(greenio.__file__).parent

OPTION = re.compile(r"(?<![\w-])--?[a-zA-Z][a-z-]*")
VARIABLE = re.compile(r"\bGREENIO_[A-Z_]+\b")


def section(title: str) -> str:
    text = PAGE.read_text(encoding="utf-8")
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> set[str]:
    """What the first cells of a section's tables name."""
    cells = [line.split("|")[1] for line in text.splitlines() if line[:1] == "|"]
    return {word for cell in cells for word in re.findall(r"-{0,2}\w[\w-]*", cell)}


def test_every_option() -> None:
    options = set(OPTION.findall(USAGE.partition("options:\n")[2]))
    assert len(options) > 10
    assert options == {
        word for word in rows(section("`python -m greenio`")) if word[0] == "-"
    }


@pytest.mark.parametrize(
    ("name", "main", "least"),
    [("serve", serving.main, 10), ("doctor", doctor.main, 3)],
)
def test_every_option_of(
    name: str,
    main: Callable[[list[str]], int],
    least: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    options = set(OPTION.findall(capsys.readouterr().out.partition("options:\n")[2]))
    options -= {"-h", "--help"}
    assert len(options) > least
    found = rows(section(f"`python -m greenio {name}`"))
    assert options == {word for word in found if word[0] == "-"}


def test_every_environment_variable() -> None:
    read = {
        name
        for path in SOURCE.rglob("*.py")
        for name in VARIABLE.findall(path.read_text(encoding="utf-8"))
    }
    assert len(read) > 6
    named = rows(section("Environment variables"))
    assert read == {word for word in named if word.startswith("GREENIO_")}


def test_every_kind_of_finding() -> None:
    """The first argument of each `Finding`, and the words that are chosen between."""
    made: set[str] = set()
    for path in (SOURCE / "_doctor").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding":
                made.add(ast.unparse(node.args[0]).strip("'"))
    assert len(made) > 10
    made.discard("kind")
    made |= {"own-loop", "waits-in-c"}
    table = section("`python -m greenio doctor`").partition("by the `kind`")[2]
    assert made == rows(table) - {"kind"}
