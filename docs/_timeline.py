"""A Sphinx directive that draws who runs when, from lines of text.

Each line is a name, two or more spaces, and a row of signs, one for each moment:
`#` it runs, `.` it waits, a space: it is not there.
"""

from __future__ import annotations

import re
from html import escape
from itertools import groupby, zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

WIDTH = 760
LINE = 24
MARGIN = 8
CHARACTER = 7.25

ROW = re.compile(r"(?P<name>\S+(?: \S+)*)  +(?P<moments>[#.][#. ]*)")


def drawing(lines: list[str], caption: str) -> str:
    """An SVG of those lines.

    Raises:
        ValueError: a line is none.
    """
    found = [ROW.fullmatch(line.rstrip()) for line in lines]
    for line, row in zip(lines, found, strict=True):
        if row is None:
            raise ValueError(f"not a name and its moments: {line!r}")
    # What counts is the column: a row may begin later than the first.
    begin = min(row.start("moments") for row in found if row)
    rows = [(row["name"], row.string[begin:]) for row in found if row]
    for moment in zip_longest(*(signs for _, signs in rows)):
        if moment.count("#") > 1:
            raise ValueError("in one OS thread, two run at the same moment")
    left = MARGIN + max(len(name) for name, _ in rows) * CHARACTER + 12
    moments = max(len(signs) for _, signs in rows)
    step = (WIDTH - left - MARGIN) / moments
    parts = []
    for number, (name, signs) in enumerate(rows):
        top = MARGIN + number * LINE
        parts.append(f'<text x="{MARGIN}" y="{top + 15}">{escape(name)}</text>')
        at = 0
        for sign, group in groupby(signs):
            length = len(list(group))
            x, width = left + at * step, length * step
            if sign == "#":
                parts.append(
                    f'<rect x="{x:.1f}" y="{top + 3}" width="{width:.1f}" '
                    f'height="16" rx="2"/>'
                )
            elif sign == ".":
                parts.append(
                    f'<line x1="{x:.1f}" x2="{x + width:.1f}" y1="{top + 11}" '
                    f'y2="{top + 11}" stroke="currentColor" stroke-dasharray="3 3"/>'
                )
            at += length
    height = 2 * MARGIN + len(rows) * LINE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="100%" role="img" aria-label="{escape(caption, quote=True)}" '
        'font-family="monospace" font-size="12" fill="currentColor">'
        + "".join(parts)
        + "</svg>"
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    from docutils import nodes
    from docutils.parsers.rst import Directive

    class Timeline(Directive):
        has_content = True
        required_arguments = 1
        final_argument_whitespace = True

        def run(self) -> list[nodes.Node]:
            caption = self.arguments[0]
            try:
                svg = drawing(list(self.content), caption)
            except ValueError as error:
                raise self.error(str(error)) from None
            figure = nodes.figure()
            figure += nodes.raw("", svg, format="html")
            figure += nodes.caption("", caption)
            return [figure]

    app.add_directive("timeline", Timeline)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
