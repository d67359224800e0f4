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


def checked_seconds(seconds: Any, what: str) -> float:
    """Return a number of seconds; less than none is none, as eventlet takes it.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not a number (nan).
    """
    try:
        if seconds >= 0:
            kind = type(seconds)
            if kind is float or kind is int:
                return seconds  # type: ignore[no-any-return]
            # Loops add it to a float, which not every kind of number allows.
            return float(seconds)
        if seconds < 0:
            return 0
    except TypeError:
        raise TypeError(
            f"{what}() takes a number of seconds, not {seconds!r}"
        ) from None
    raise ValueError(f"{what}() takes a number of seconds, not {seconds!r}")


def check_throwable(error: Any, what: str) -> None:
    """Raise TypeError, saying what would have worked, unless it can be raised."""
    if isinstance(error, BaseException):
        return
    if not (isinstance(error, type) and issubclass(error, BaseException)):
        raise TypeError(
            f"{what}() raises an exception or a class of exceptions, as in "
            f"{what}(..., RuntimeError({str(error)!r})), not {error!r}"
        )


def checked_size(size: Any, what: str) -> int:
    """Return a pool's size; ``1e3`` is a whole number, too.

    Raises:
        TypeError: It is not a whole number.
        ValueError: It is negative.
    """
    if isinstance(size, float) and size.is_integer():
        size = int(size)
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


class OfFutures:
    """An attribute that asyncio's futures have, and a green thread has not.

    `asyncio.wait` asks for it. It says what would have worked, and `hasattr` is False.
    """

    def __init__(self, instead: str) -> None:
        self._instead = instead

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, thread: object, owner: type) -> Any:
        raise AttributeError(
            f"{owner.__name__!r} object has no attribute {self._name!r}: it can be "
            f"awaited, but is no asyncio.Future; {self._instead}"
        )


def key_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a link is found by in a table; what cannot be a key is found by looking."""
    try:
        key = (func, args, frozenset(kwargs.items()) if kwargs else None)
        hash(key)
    except TypeError:
        return object()
    return key
