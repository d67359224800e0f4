"""What `Popen` does otherwise in green form: waiting, and handing sockets on."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from .._net.inherited import share_with_children
from .children import wait_for_exit


def make_popen_green(namespace: dict[str, Any]) -> None:
    """Change the `Popen` of a `subprocess` namespace."""
    namespace["Popen"]._wait = green_wait(namespace)
    namespace["Popen"].wait = taking_interval(namespace["Popen"].wait)
    namespace["Popen"]._execute_child = sharing(namespace["Popen"]._execute_child)


def taking_interval(wait: Callable[..., Any]) -> Callable[..., Any]:
    """Make a `Popen.wait` that takes eventlet's ``check_interval``: it does not check."""

    @functools.wraps(wait)
    def green(self: Any, timeout: Any = None, check_interval: float = 0.01) -> Any:  # noqa: ARG001
        return wait(self, timeout)

    del green.__wrapped__
    return green


def sharing(execute: Callable[..., Any]) -> Callable[..., Any]:
    """Make a `Popen._execute_child` whose child finds green sockets blocking."""

    @functools.wraps(execute)
    def _execute_child(self: Any, *args: Any) -> Any:
        names = inspect.signature(execute).parameters
        known = dict(zip(names, (self, *args), strict=False))
        share_with_children(
            fd
            for fd in (
                *known.get("pass_fds", ()),
                *(known.get(name, -1) for name in ("p2cread", "c2pwrite", "errwrite")),
            )
            if isinstance(fd, int)
        )
        return execute(self, *args)

    return _execute_child


def green_wait(namespace: dict[str, Any]) -> Callable[..., int]:
    """Make `Popen._wait` for a `subprocess` namespace."""
    original: Callable[..., int] = namespace["Popen"]._wait

    def _wait(self: Any, timeout: float | None) -> int:
        if (
            timeout is not None
            and self.returncode is None
            and not wait_for_exit(self.pid, timeout)
            # It may have ended in this very moment.
            and self.poll() is None
        ):
            raise namespace["TimeoutExpired"](self.args, timeout)
        return original(self, timeout)

    return _wait
