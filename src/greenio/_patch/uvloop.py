"""Real threads for uvloop's loops.

uvloop remembers, as C variables, the classes `ThreadPoolExecutor` and `Thread` of the
standard library, which turn green. So what it does with them is done in the Python
class over its loop, where methods may be set.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

from .nested_loops import run_loops_green


def isolate_uvloop(executor_class: Callable[..., Any], threading: ModuleType) -> None:
    """Make the default executors of uvloop's loops run real threads.

    Args:
        executor_class: The original `ThreadPoolExecutor`.
        threading: The original `threading` module.
    """
    try:
        # Before anything is patched, so that it remembers plain sockets and functions.
        import uvloop
    except ImportError:
        return
    loop_class: Any = uvloop.Loop
    if "run_in_executor" in vars(loop_class):
        return
    base: Any = loop_class.__bases__[0]
    # The executor of each loop; uvloop's own attribute cannot be read.
    key = "_greenio_executor"

    def run_in_executor(
        self: Any, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Any:
        if executor is None and vars(self).get(key) is None:
            self.set_default_executor(executor_class(thread_name_prefix="uvloop"))
        return base.run_in_executor(self, executor, func, *args)

    def set_default_executor(self: Any, executor: Any) -> None:
        vars(self)[key] = executor
        base.set_default_executor(self, executor)

    async def shutdown_default_executor(
        self: Any, timeout: float | None = None
    ) -> None:
        executor = vars(self).pop(key, None)
        # Without one, uvloop only remembers that the executor is shut down.
        base.set_default_executor(self, None)
        await base.shutdown_default_executor(self)
        if executor is not None:
            await _join(self, executor, timeout, threading)

    run_loops_green(loop_class)
    loop_class.run_in_executor = run_in_executor
    loop_class.set_default_executor = set_default_executor
    loop_class.shutdown_default_executor = shutdown_default_executor


async def _join(
    loop: asyncio.AbstractEventLoop,
    executor: Any,
    timeout: float | None,
    threading: ModuleType,
) -> None:
    future = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if not future.done():
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def join() -> None:
        error = None
        try:
            executor.shutdown(wait=True)
        except Exception as exc:  # noqa: BLE001 - it goes to whoever awaits
            error = exc
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, error)

    thread = threading.Thread(target=join)
    thread.start()
    try:
        await asyncio.wait_for(future, timeout)
    except asyncio.TimeoutError:
        warnings.warn(
            "The executor did not finishing joining its threads within "
            f"{timeout} seconds.",
            RuntimeWarning,
            stacklevel=2,
        )
        executor.shutdown(wait=False)
    else:
        thread.join()
