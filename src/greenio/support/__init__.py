"""Small helpers that programs written for eventlet import."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["PY33", "bytes_to_str", "get_errno", "wrap_deprecated"]

# Whether this is Python 3.3 or later.
PY33 = True

_MODULES = frozenset({"greendns", "greenlets", "psycopg2_patcher"})


def get_errno(exc: BaseException) -> int | None:
    """Return the error number of an exception, or None.

    Args:
        exc: Any exception: ``exc.errno``, or the first argument where that is a number.
    """
    number = getattr(exc, "errno", None)
    if isinstance(number, int):
        return number
    args: tuple[Any, ...] = exc.args
    return args[0] if args and isinstance(args[0], int) else None


def bytes_to_str(b: bytes | str, encoding: str = "ascii") -> str:
    """Return text for bytes, and text as it is."""
    return b if isinstance(b, str) else b.decode(encoding)


def wrap_deprecated(old: str, new: str) -> Callable[[Any], Any]:
    """Return a decorator for what is still there by an old name, to warn who uses it.

    Args:
        old: The old name.
        new: What to use instead.
    """

    def decorate(base: Any) -> Any:
        def warn() -> None:
            warnings.warn(
                f"{old} is deprecated: use {new} instead",
                DeprecationWarning,
                stacklevel=3,
            )

        if isinstance(base, type):

            def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
                warn()
                base.__init__(self, *args, **kwargs)  # type: ignore[misc]

            return type(base.__name__, (base,), {"__init__": __init__})

        @functools.wraps(base)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            warn()
            return base(*args, **kwargs)

        return wrapped

    return decorate


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        try:
            return importlib.import_module(f"{__name__}.{name}")
        except ImportError as exc:
            raise AttributeError(
                f"module {__name__!r} has no attribute {name!r}: {exc}"
            ) from exc
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
