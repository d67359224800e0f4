"""Sphinx directives that draw the rooms of the package and list their walls.

Both are made of the import-linter contracts in pyproject.toml and of the packages' own
docstrings, so they show what the linter checks.
"""

from __future__ import annotations

import ast
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sphinx.application import Sphinx

try:
    import tomllib
except ModuleNotFoundError:  # pragma: no cover - 3.10
    import tomli as tomllib  # type: ignore[import-not-found, no-redef]

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "greenio"

WIDTH = 760
MARGIN = 10
LINE = 17
CHARACTER = 7.25


def contracts() -> list[dict[str, Any]]:
    """The import-linter contracts."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = tomllib.loads(text)["tool"]["importlinter"][
        "contracts"
    ]
    return found


def layers(container: str) -> list[list[str]]:
    """The floors of a package, the highest first; only what is there."""
    place = PACKAGE.joinpath(*container.split(".")[1:])
    for contract in contracts():
        if contract["type"] == "layers" and contract.get("containers") == [container]:
            floors = [re.findall(r"\w+", layer) for layer in contract["layers"]]
            return [
                there
                for floor in floors
                if (there := [name for name in floor if _is_there(place, name)])
            ]
    files = sorted(path.stem for path in place.glob("*.py") if path.stem != "__init__")
    return [files]


def _is_there(place: Path, name: str) -> bool:
    return (place / f"{name}.py").exists() or (place / name).is_dir()


def purpose(room: str) -> str:
    """The first sentence of a package's docstring."""
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " ")


def walls() -> dict[str, list[str]]:
    """Each room of the engine, and what it must never import."""
    found: dict[str, list[str]] = {}
    for contract in contracts():
        if contract["type"] == "forbidden" and len(contract["source_modules"]) == 1:
            room = contract["source_modules"][0].removeprefix("greenio.")
            forbidden = contract["forbidden_modules"]
            found.setdefault(room, []).extend(
                name.removeprefix("greenio.") for name in forbidden
            )
    return found


def _wrapped(words: Iterable[str], width: float) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and (len(lines[-1]) + len(word) + 2) * CHARACTER <= width:
            lines[-1] += f"  {word}"
        else:
            lines.append(word)
    return lines


class Drawing:
    """An SVG that grows downwards."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.bottom = MARGIN

    def text(self, x: float, y: float, text: str, style: str = "") -> None:
        self.parts.append(f'<text x="{x:g}" y="{y:g}" {style}>{escape(text)}</text>')

    def box(self, x: float, width: float, height: float, style: str = "") -> None:
        self.parts.append(
            f'<rect x="{x:g}" y="{self.bottom:g}" width="{width:g}" '
            f'height="{height:g}" rx="4" fill="none" stroke="currentColor" {style}/>'
        )

    def row(self, names: list[str]) -> None:
        """Modules of one layer side by side, as many in a line as there is room for."""
        x = float(MARGIN)
        for name in names:
            width = len(name) * CHARACTER + 16
            if x + width > WIDTH - MARGIN:
                x = MARGIN
                self.bottom += LINE + 12
            self.box(x, width, LINE + 6, 'stroke-opacity="0.5"')
            self.text(x + 8, self.bottom + LINE - 1, name)
            x += width + 6
        self.bottom += LINE + 18

    def room(self, name: str) -> None:
        """A package of the engine, with its floors."""
        inner = WIDTH - 2 * MARGIN - 24
        lines: list[tuple[str, str]] = [(name, 'font-weight="bold"')]
        words = purpose(name).split(" ")
        lines += [
            (line.replace("  ", " "), 'font-family="sans-serif"')
            for line in _wrapped(words, inner)
        ]
        for floor in layers(f"greenio.{name}"):
            lines += [(line, 'opacity="0.8"') for line in _wrapped(floor, inner)]
        height = len(lines) * LINE + 12
        self.box(MARGIN, WIDTH - 2 * MARGIN, height, 'stroke-width="2"')
        for number, (line, style) in enumerate(lines, 1):
            indent = 12 if number == 1 or "sans" in style else 24
            self.text(MARGIN + indent, self.bottom + number * LINE, line, style)
        self.bottom += height + 12

    def svg(self) -> str:
        height = self.bottom
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
            'width="100%" role="img" aria-label="The rooms of greenio; imports go '
            'downwards" font-family="monospace" font-size="12" fill="currentColor">'
            + "".join(self.parts)
            + "</svg>"
        )


def engine() -> list[str]:
    """The rooms that have a layer to themselves and walls of their own."""
    return list(walls())


def drawing() -> str:
    """The rooms, the highest first: whoever imports stands above what he imports."""
    picture = Drawing()
    rooms = engine()
    for layer in layers("greenio"):
        if len(layer) == 1 and layer[0] in rooms:
            picture.room(layer[0])
        else:
            picture.row(layer)
    return picture.svg()


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    from docutils import nodes
    from docutils.parsers.rst import Directive

    class Rooms(Directive):
        def run(self) -> list[nodes.Node]:
            self.state.document.settings.record_dependencies.add(
                str(ROOT / "pyproject.toml")
            )
            return [nodes.raw("", drawing(), format="html")]

    class Walls(Directive):
        def run(self) -> list[nodes.Node]:
            items = nodes.bullet_list()
            rooms = engine()
            for room, forbidden in walls().items():
                text = nodes.paragraph("", "", nodes.literal("", room))
                text += nodes.Text(": ")
                for name in forbidden:
                    if name in rooms:
                        text += nodes.literal("", name)
                        text += nodes.Text(", ")
                text += nodes.Text("anything above ")
                text += nodes.literal("", rooms[-1])
                items += nodes.list_item("", text)
            return [items]

    app.add_directive("rooms", Rooms)
    app.add_directive("walls", Walls)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
