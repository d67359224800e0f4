"""Coroutine functions where a blocking-style function is called in a green thread.

What a coroutine function returns is awaited where it was called, so that it may be
spawned, mapped over a pool, or given a time limit like any other. A coroutine that a
plain function returns is its result and stays one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import CoroutineType
from typing import Any


def _await_without_bridge(coroutine: Any) -> Any:
    raise NotImplementedError("greenio._bridge is not imported")


# Awaits a coroutine in a green thread; the bridge puts `await_` here.
await_coroutine: Callable[[Any], Any] = _await_without_bridge


def is_coroutine_function(func: Any) -> bool:
    """Whether calling something makes a coroutine, for which there is more to do."""
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(
        getattr(func, "__call__", None)  # noqa: B004 - an object's may be one
    )


def finished(func: Any, result: Any) -> Any:
    """Return what a function that was called comes to, awaiting it if need be."""
    if type(result) is CoroutineType and is_coroutine_function(func):
        return await_coroutine(result)
    return result
