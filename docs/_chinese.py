"""What Chinese pages need: their language, and no spaces where their source breaks lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_FOLDER = "zh/"
_LANGUAGE = "zh-Hans"
# Ideographs, and the punctuation and letters that are as wide.
_WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_PUNCTUATION = "\u3000-\u3003\u3008-\u3011\uff00-\uff0f\uff1a-\uff1f"
_BREAK = re.compile(
    rf"(?<=[{_WIDE}])\n(?=[{_WIDE}])|(?<=[{_PUNCTUATION}])\n|\n(?=[{_PUNCTUATION}])"
)


def _join_lines(app: Sphinx, doctree: nodes.document) -> None:
    """Take out the line breaks that a browser would show as spaces between ideographs."""
    if not app.env.docname.startswith(_FOLDER):
        return
    for paragraph in doctree.findall(nodes.TextElement):
        if isinstance(paragraph, nodes.FixedTextElement):
            continue
        children = paragraph.children
        # By number: two texts that are the same are equal.
        for at, text in enumerate(children):
            if not isinstance(text, nodes.Text):
                continue
            before = children[at - 1].astext()[-1:] if at else ""
            after = "".join(each.astext()[:1] for each in children[at + 1 : at + 2])
            around = before + text.astext() + after
            end = len(around) - len(after)
            kept = [
                letter
                for place, letter in enumerate(around[:end])
                if place >= len(before) and not _BREAK.match(around, place)
            ]
            paragraph[at] = nodes.Text("".join(kept))


def _set_language(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Have browsers take Chinese forms of the ideographs, not Japanese ones."""
    if page.startswith(_FOLDER):
        context["language"] = _LANGUAGE


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-read", _join_lines)
    app.connect("html-page-context", _set_language)
    return {"parallel_read_safe": True}
