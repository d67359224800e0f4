"""A prompt at which ``await`` works: the backdoor's, and that of ``python -m greenio``."""

from __future__ import annotations

import ast
import asyncio
import code
import traceback
from types import CodeType, FunctionType
from typing import Any

from greenlet import GreenletExit

from .._bridge.await_ import await_


class AwaitingConsole(code.InteractiveConsole):
    """Runs what is entered in the caller's green thread, and awaits it if need be.

    Args:
        namespace: The names that are there at the prompt.
        filename: What tracebacks call it.
    """

    def __init__(self, namespace: dict[str, Any], filename: str) -> None:
        super().__init__(namespace, filename=filename)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    def runcode(self, code: CodeType) -> None:
        """Run a line or a block; whatever it raises is shown, but for the end."""
        # In the original, nothing ends the console but SystemExit.
        try:
            result = FunctionType(code, self.locals)()
            if asyncio.iscoroutine(result):
                await_(result)
        except (SystemExit, GreenletExit):
            raise
        except BaseException as error:  # noqa: BLE001 - shown at the prompt
            trace = error.__traceback__
            while trace is not None and trace.tb_frame.f_code.co_filename != (
                self.filename
            ):
                trace = trace.tb_next
            lines = traceback.format_exception(type(error), error, trace)
            self.write("".join(lines))
