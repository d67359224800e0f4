"""What the doctor finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        kind: A short name for what it is; the same for each of its kind.
        where: The package, module, object or line.
        what: What is the matter, in a sentence.
        fix: What to do.
    """

    kind: str
    where: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n    -> {self.fix}"
