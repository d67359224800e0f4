"""What tox.ini cannot say: which Pythons there are.

tox finds this file by its name. Pythons that a version manager keeps outside PATH are
tried first.
"""

from __future__ import annotations

import os
import re
from pathlib import Path


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.name.rstrip("t").split("."))


def _managed_pythons() -> list[str]:
    """The Pythons of the version manager, newest first."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders = [
        folder
        for folder in root.glob("versions/3.*")
        # Not other implementations; those without the interpreter lock end in a t.
        if re.fullmatch(r"3\.\d+\.\d+t?", folder.name)
    ]
    # Last, so that each of the others is found first.
    folders.sort(key=lambda folder: (not folder.name.endswith("t"), _version(folder)))
    found = (folder / "bin" / "python" for folder in folders)
    return [str(python) for python in reversed(list(found)) if python.exists()]


# Read when tox parses its options, which is after this file is imported.
if "TOX_DISCOVER" not in os.environ:
    os.environ["TOX_DISCOVER"] = ",".join(_managed_pythons())
