"""The Python in README.md and docs/ runs, and prints what the page says it prints."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from _fresh import PATIENCE

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)


def _blocks() -> list[tuple[str, str, str | None]]:
    return [
        (
            f"{page.relative_to(ROOT)}:{text[: match.start()].count(chr(10)) + 1}",
            match["code"],
            match["output"],
        )
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for match in BLOCK.finditer(text)
    ]


BLOCKS = _blocks()
WITH_OUTPUT = [block for block in BLOCKS if block[2] is not None]


def test_examples_are_found() -> None:
    assert len(WITH_OUTPUT) >= 8


@pytest.mark.parametrize(
    ("where", "code"), [pytest.param(*block[:2], id=block[0]) for block in BLOCKS]
)
def test_example_compiles(where: str, code: str) -> None:
    compile(code, where, "exec")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "output"), [pytest.param(*block[1:], id=block[0]) for block in WITH_OUTPUT]
)
def test_example_prints_what_the_page_says(code: str, output: str) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (run.stdout, run.stderr, run.returncode) == (output, "", 0)


# -- rules and the tests that hold them --------------------------------------------------

# In the tables of the topics: `test_kill::test_killing_itself`.
HOLDS = re.compile(r"`(test_\w+)::(test_\w+)`")
RULES = ROOT / "docs" / "topics" / "interruption.md"


def _tests_of(module: str) -> set[str]:
    path = ROOT / "tests" / f"{module}.py"
    if not path.exists():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_a_page_names_exists() -> None:
    named = {
        (page.name, *match.groups())
        for page in PAGES
        for match in HOLDS.finditer(page.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    tests = {module: _tests_of(module) for _, module, _ in named}
    gone = [name for name in named if name[2] not in tests[name[1]]]
    assert gone == []


def test_every_rule_has_a_test() -> None:
    rows = [
        line.strip().strip("|").split("|")
        for line in RULES.read_text(encoding="utf-8").splitlines()
        # The other table is of numbers.
        if re.match(r"\| (?!rule \||operation \|)(?!.* \| \d+ \|$)", line)
    ]
    assert len(rows) > 20
    without = [rule.strip() for rule, *tests in rows if not HOLDS.search(str(tests))]
    assert without == []


SERVERS = {
    "topics/http-server.md": ("## RFC 9110 and 9112", "test_wsgi*.py", 30),
    "howto/websocket.md": ("## What is checked", "test_websocket*.py", 18),
    "topics/security.md": ("### What the servers refuse", "test_*.py", 35),
}


@pytest.mark.parametrize("page", SERVERS)
def test_every_row_of_the_servers_tables_has_its_test(page: str) -> None:
    """A test by its name, or a row of the tables of attacks."""
    heading, files, least = SERVERS[page]
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    table = text.partition(heading)[2].partition("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line[:1] == "|"]
    known = set()
    for path in (ROOT / "tests").glob(files):
        known |= {f"{path.stem}::{name}" for name in _tests_of(path.stem)}
        known |= _tests_of(path.stem)
    for path in (ROOT / "tests").glob("test_w*_attacks.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Dict):
                keys = node.keys
                known |= {key.value for key in keys if isinstance(key, ast.Constant)}
    assert len(rows) > least
    for rule, *_, tests in rows[2:]:
        names = re.findall(r"`([^`]+)`", tests)
        assert names, f"no test holds: {rule.strip()}"
        assert set(names) <= known, (rule.strip(), set(names) - known)


def test_every_limit_of_the_servers_is_on_the_page() -> None:
    """With its default; a limit that is not there is a surprise."""
    pytest.importorskip("httptools")
    from greenio import wsgi
    from greenio._http import settings

    page = (ROOT / "docs/topics/http-server.md").read_text(encoding="utf-8")
    table = page.partition("## Limits")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")]
    limits = {
        f"`wsgi.{name}`": str(value)
        for name, value in vars(settings).items()
        if name.startswith("MAX_")
    }
    for name, parameter in inspect.signature(wsgi.server).parameters.items():
        if name.endswith(("_timeout", "_limit", "_rate")) or name == "max_size":
            limits[f"`{name}`"] = f"{parameter.default or 'none'}"
    # That of `MAX_REQUEST_LINE`.
    limits["`url_length_limit`"] = "8192"
    assert len(limits) > 12
    for name, default in limits.items():
        (row,) = [row for row in rows if name in row.split(":")[0]]
        assert re.search(rf"\b{default.removesuffix('.0')}\b", row), (
            name,
            default,
            row,
        )
