"""Look at what `python -m build` has made: `tox run -e release`.

It exits with 1 and says what is wrong, if something is. The wheel was made from the source
distribution, so what is missing there is missing here.
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Whoever packages greenio for a distribution runs the tests and builds the documentation.
IN_SDIST = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "docs/conf.py",
    "examples/crawler.py",
    "tests/conftest.py",
    "tests/lowest.txt",
    "tox.ini",
    "typing_tests/green.py",
)
IN_WHEEL = ("greenio/__init__.py", "greenio/py.typed", "greenio/_site/sitecustomize.py")


def problems(dist: Path) -> list[str]:
    """Return what is wrong with the two files in a folder."""
    (sdist,) = dist.glob("*.tar.gz")
    (wheel,) = dist.glob("*.whl")
    found = []
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    found += [
        f"{name} is not in {sdist.name}" for name in IN_SDIST if name not in names
    ]
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
        (metadata_name,) = (name for name in files if name.endswith("/METADATA"))
        metadata = Parser().parsestr(archive.read(metadata_name).decode())
    found += [
        f"{name} is not in {wheel.name}" for name in IN_WHEEL if name not in files
    ]
    found += [
        f"{name} is in {wheel.name}"
        for name in files
        # A real eventlet on disk must never be overwritten.
        if not name.startswith(("greenio/", "greenio_asyncio-"))
    ]
    version = metadata["Version"]
    if version not in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"):
        found.append(f"CHANGELOG.md has nothing about {version}")
    # On an index's page a link to a file of the repository leads nowhere.
    relative = re.findall(r"\]\((?!https?://|#)([^)]*)\)", metadata.get_payload())
    found += [f"README.md has a relative link: {target}" for target in relative]
    return found


def main() -> int:
    """Print what is wrong; return the status to exit with."""
    found = problems(ROOT / "dist")
    print(*found, sep="\n") if found else print("the release is whole")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
