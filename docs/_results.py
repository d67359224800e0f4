"""Sphinx directives that draw what `python -m benchmarks` measured, release by release.

`benchmarks/history` has a file for each release, as `--json` writes it, without the single
samples. Nothing here knows a figure: what is not in the files is not drawn.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sphinx.application import Sphinx

HISTORY = Path(__file__).parent.parent / "benchmarks" / "history"

WIDTH = 760
LEFT = 290
BAR = 13
COLOURS = {
    "greenio-uvloop": "#1b7f4d",
    "greenio-asyncio": "#55b583",
    "eventlet": "#b05f3c",
    "gevent": "#6d6fb8",
}
PEERS = ("eventlet", "gevent")
# A bar that is longer ends with its figure only.
LONGEST = 4.0
# What a figure has around it, so that the line does not cross it.
HALO = "paint-order:stroke;stroke:var(--color-background-primary,#fff);stroke-width:4"


def releases() -> list[tuple[str, dict[str, Any]]]:
    """The results by release, the oldest first."""
    found = [
        (path.stem, json.loads(path.read_text(encoding="utf-8")))
        for path in HISTORY.glob("*.json")
    ]
    return sorted(found, key=lambda entry: _numbers(entry[0]))


def _numbers(release: str) -> list[int]:
    return [int(part) for part in release.partition("-")[0].split(".")]


def _costs(row: Mapping[str, Any]) -> dict[str, float]:
    """What each library's cost is, as a share of the better green peer's."""
    costs = {name: cell["cost"] for name, cell in row["runtimes"].items()}
    peers = [costs[name] for name in PEERS if name in costs]
    if not peers:
        return {}
    return {name: costs[name] / min(peers) for name in COLOURS if name in costs}


def _svg(height: float, caption: str, parts: Iterable[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
        f'width="100%" role="img" aria-label="{escape(caption, quote=True)}" '
        'font-family="sans-serif" font-size="12" fill="currentColor">'
        + "".join(parts)
        + "</svg>"
    )


def _legend(top: float) -> list[str]:
    parts = []
    for number, (name, colour) in enumerate(COLOURS.items()):
        x = LEFT + number * 125
        parts.append(
            f'<rect x="{x}" y="{top}" width="12" height="12" fill="{colour}"/>'
            f'<text x="{x + 17}" y="{top + 10}">{name}</text>'
        )
    return parts


def bars(data: Mapping[str, Any], caption: str) -> str:
    """Bars for each row: costs as shares of the better green peer's, so that is 1."""
    scale = (WIDTH - LEFT - 50) / LONGEST
    parts, figures = _legend(4), []
    top = 28.0
    begin = top
    for row in data["benchmarks"]:
        costs = _costs(row)
        if not costs:
            continue
        height = len(costs) * BAR
        label = escape(row["title"])
        parts.append(f'<text x="0" y="{top + height / 2 + 4:.1f}">{label}</text>')
        for number, (name, cost) in enumerate(costs.items()):
            y = top + number * BAR
            width = min(cost, LONGEST) * scale
            parts.append(
                f'<rect x="{LEFT}" y="{y:.1f}" width="{width:.1f}" '
                f'height="{BAR - 2}" fill="{COLOURS[name]}"/>'
            )
            figures.append(
                f'<text x="{LEFT + width + 4:.1f}" y="{y + 10:.1f}" '
                f'font-size="10" style="{HALO}">{cost:.2f}</text>'
            )
        top += height + 9
    x = LEFT + scale
    parts.append(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{begin}" y2="{top}" '
        'stroke="currentColor" stroke-dasharray="2 3"/>'
    )
    return _svg(top + 6, caption, [*parts, *figures])


def ratios(history: Iterable[tuple[str, Mapping[str, Any]]]) -> list[list[str]]:
    """A table: for each row, greenio's better loop to the better peer, by release."""
    history = list(history)
    rows: dict[str, dict[str, str]] = {}
    for release, data in history:
        for row in data["benchmarks"]:
            ratio = row["ratios"].get("best_to_green_peer")
            if ratio is not None:
                rows.setdefault(row["title"], {})[release] = f"{ratio:.2f}"
    names = [release for release, _ in history]
    return [["operation", *names]] + [
        [title, *(cells.get(name, "") for name in names)]
        for title, cells in rows.items()
    ]


def about(data: Mapping[str, Any]) -> str:
    """What the figures are figures of."""
    facts = data["about"]
    versions = ", ".join(
        f"{name} {number}" for name, number in facts["versions"].items() if number
    )
    return (
        f"{facts['python']}, {facts['system']}, {facts['cpus']} processors, "
        f"{facts['rounds']} rounds, {facts['time'][:10]}; {versions}."
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    from docutils import nodes
    from docutils.parsers.rst import Directive

    class Results(Directive):
        def run(self) -> list[nodes.Node]:
            release, data = releases()[-1]
            caption = f"Costs as shares of the better green peer's, greenio {release}"
            figure = nodes.figure()
            figure += nodes.raw("", bars(data, caption), format="html")
            figure += nodes.caption("", f"{caption}. {about(data)}")
            return [figure]

    class History(Directive):
        def run(self) -> list[nodes.Node]:
            head, *rows = ratios(releases())
            table = nodes.table()
            group = nodes.tgroup(cols=len(head))
            table += group
            for _ in head:
                group += nodes.colspec(colwidth=1)

            def row(cells: list[str]) -> nodes.row:
                made = nodes.row()
                for cell in cells:
                    entry = nodes.entry()
                    entry += nodes.paragraph("", cell)
                    made += entry
                return made

            top = nodes.thead()
            top += row(head)
            body = nodes.tbody()
            body += [row(cells) for cells in rows]
            group += [top, body]
            return [table]

    app.add_directive("results", Results)
    app.add_directive("results-history", History)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
