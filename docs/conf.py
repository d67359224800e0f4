"""Sphinx configuration; build with `tox run -e docs`, where warnings are errors."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as _version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

project = "greenio"
author = "the greenio authors"
copyright = f"2026, {author}"
release = _version("greenio-asyncio")
version = release.rpartition(".")[0]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    # A link at each name of the reference to its source, in the site itself.
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    # In this folder.
    "_chinese",
    "_rooms",
    "_links",
    "_results",
    "_timeline",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_title = f"greenio {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Docstrings write code as `code`.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Attributes as a list in the class's own text, not as entries of their own.
napoleon_use_ivar = True

# Links to other projects' pages would need the network at build time, so the names of
# the standard library and of greenlet stay without one. So do type variables and
# greenio's internal types, which appear in a few signatures and are not for users to
# name.
_foreign = "|".join([*sys.stdlib_module_names, "greenlet", "gunicorn", "uvloop"])
nitpick_ignore_regex = [
    (r"py:.*", rf"({_foreign})(\..*)?"),
    (r"py:.*", r"(greenio\.)?_[a-z]+\..*"),
    (r"py:.*", r"Arguments|HubSpec|LoopFactory"),
    (r"py:.*", r"(.*\.)?[A-Z](_co|_contra)?"),
]


def _returns_has_no_type(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Keep napoleon from taking a sentence before a colon for a type.

    Types are in the annotations here. An empty type before a colon of its own is what
    napoleon understands.
    """
    if what in {"property", "attribute"} and lines:
        lines[0] = f": {lines[0]}"
    for number, line in enumerate(lines[:-1]):
        if line.strip() == "Returns:":
            text = lines[number + 1].lstrip()
            indent = " " * (len(lines[number + 1]) - len(text))
            lines[number + 1] = f"{indent}: {text}"


def _parameter_specifications(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returned: str | None,
) -> tuple[str | None, str | None]:
    """Write `*args: P`, where Sphinx would write `*args: ~typing.~P`."""
    if signature is not None:
        signature = re.sub(r"~typing\.~(\w+)", r"\1", signature)
        signature = re.sub(r"\[~(\w+)\]", r"[\1]", signature)
    return signature, returned


def _without_sources(app: Sphinx) -> list[object]:
    """Keep modules written in C out of the index of sources, which would link to nothing."""
    modules: dict[str, object] = getattr(app.env, "_viewcode_modules", {})
    for name in [name for name, source in modules.items() if not source]:
        del modules[name]
    return []


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    # Before viewcode's own.
    app.connect("html-collect-pages", _without_sources, priority=100)
    app.connect("autodoc-process-signature", _parameter_specifications)
    # Before napoleon, whose priority is 500.
    app.connect("autodoc-process-docstring", _returns_has_no_type, priority=400)
