"""Conditions of `threading` that pass on what their receivers cannot use.

`Condition.wait` is Python code over locks, and for OS threads, which nobody interrupts
but by Ctrl-C. A green thread may be killed, or run out of time, when it has been notified
and has not gone on yet. Its notification would be lost, and with it an item of a
`queue.Queue` or a permit of a `threading.Semaphore`: there is one, and the next in line
waits all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from types import CodeType
from typing import Any


def pass_notifications_on(condition: Any) -> Callable[[], None]:
    """Have a class of conditions notify the next if a wait that was notified fails.

    Args:
        condition: The class `Condition` of a `threading` module.

    Returns:
        What takes it back.
    """
    original = condition.wait
    code: CodeType = original.__code__

    @wraps(original)
    def wait(self: Any, timeout: float | None = None) -> Any:
        try:
            return original(self, timeout)
        except BaseException as error:
            # The lock has been taken again: see `Lock.acquire` and `_acquire_restore`.
            if _was_notified(error, code) and self._is_owned():
                self.notify()
            raise

    condition.wait = wait
    return partial(setattr, condition, "wait", original)


def _was_notified(error: BaseException, code: CodeType) -> bool:
    """Whether somebody notified the call of `wait` that an exception has left.

    Nobody else can tell: who notifies takes the waiter, a lock, out of the list and
    releases it, and `wait` takes out its own when it fails.
    """
    traceback = error.__traceback__ and error.__traceback__.tb_next
    if traceback is None or traceback.tb_frame.f_code is not code:
        return False
    names = traceback.tb_frame.f_locals
    waiter = names.get("waiter")
    return waiter is not None and (names.get("gotit", False) or not waiter.locked())
