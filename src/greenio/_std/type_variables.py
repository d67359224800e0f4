"""Type variables that the oldest Python's `typing` cannot make.

Type checkers see them as `typing_extensions` makes them, which need not be installed. When
the program runs, they are what its own `typing` has, or stand-ins: nothing depends on more.

A class with a parameter that has a default may be named without one: ``GreenThread`` is
``GreenThread[Any]``, and ``Queue()`` a queue of anything.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import TypeVar, TypeVarTuple
    from typing_extensions import Unpack as Unpack

    # What is put into something and taken out again.
    Item = TypeVar("Item", default=Any)
    # What comes out in the end.
    Result_co = TypeVar("Result_co", default=Any, covariant=True)
    # Positional arguments of a function whose caller has keyword arguments of his own.
    Arguments = TypeVarTuple("Arguments")
else:
    from typing import TypeVar

    Item = TypeVar("Item")
    Result_co = TypeVar("Result_co", covariant=True)
    if sys.version_info >= (3, 11):
        from typing import TypeVarTuple
        from typing import Unpack as Unpack

        Arguments = TypeVarTuple("Arguments")
    else:  # pragma: no cover - 3.10
        Arguments = Any

        class Unpack:
            """Stands for any arguments."""

            def __class_getitem__(cls, of):
                return Any
