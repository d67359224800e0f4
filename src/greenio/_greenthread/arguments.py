"""Arguments that several calls take: checked, and refused with what would work."""

from __future__ import annotations

import asyncio
from typing import Any


def check_callable(func: Any, what: str) -> None:
    """Raise TypeError, saying what would have worked, unless `func` can be called."""
    if not callable(func):
        hint = ""
        if asyncio.iscoroutine(func):
            func.close()
            hint = (
                "; a coroutine is started with asyncio.create_task(), or waited for "
                "with greenio.await_() in a green thread"
            )
        raise TypeError(
            f"{what} takes a function and its arguments, as in {what}(func, arg), "
            f"not {func!r}{hint}"
        )


def check_seconds(seconds: Any, what: str) -> None:
    """Raise, saying what would have worked, unless `seconds` is a number >= 0."""
    try:
        good = seconds >= 0
    except TypeError:
        raise TypeError(
            f"{what}() takes a number of seconds, not {seconds!r}"
        ) from None
    if not good:
        raise ValueError(
            f"{what}() takes 0 seconds (let the others run) or more, not {seconds!r}"
        )


def checked_size(size: Any, what: str) -> int:
    """Return a pool's size.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is negative.
    """
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{what}() takes a whole number as size, not {size!r}")
    if size < 0:
        raise ValueError(f"{what}() takes a size of 0 or more, not {size!r}")
    return size


def name_of(func: Any) -> str:
    """Return the name of a function, or of what else is called."""
    try:
        return func.__qualname__  # type: ignore[no-any-return]
    except AttributeError:
        # functools.partial, or an object that can be called.
        inner = getattr(func, "func", None)
        return type(func).__qualname__ if inner is None else name_of(inner)
