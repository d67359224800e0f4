"""`GreenTestCase`: unittest's test case, run in a green thread."""

from __future__ import annotations

import unittest
from typing import Any

from .session import TestHub


class GreenTestCase(unittest.TestCase):
    """A test case whose tests run in a green thread each, on a fresh hub.

    `setUp`, the test, `tearDown` and the clean-ups are one green thread, so all of them may
    wait. A green thread that fails while nobody waits for it fails the test.

    Attributes:
        greenio_loop: What `greenio.hubs.use_hub` takes: ``"asyncio"``, ``"uvloop"``, or a
            function that makes a loop, such as `VirtualClockLoop`.
        greenio_no_leaks: Whether a green thread, descriptor or timer that is left fails
            the test.
    """

    greenio_loop: object = "asyncio"
    greenio_no_leaks: bool = False

    def run(self, result: Any = None) -> Any:
        """Run the test, as `unittest.TestCase.run` does."""
        loop = vars(type(self)).get("greenio_loop", type(self).greenio_loop)
        if isinstance(loop, staticmethod):
            loop = loop.__func__
        hub = TestHub(loop)
        try:
            self._test_hub = hub
            if self.greenio_no_leaks:
                hub.expect_no_leaks()
            return hub.run(super().run, result)
        finally:
            del self._test_hub
            hub.close()

    def _callTestMethod(self, method: Any) -> None:  # noqa: N802 - unittest's name
        super()._callTestMethod(method)  # type: ignore[misc]
        failed = self._test_hub.take_unseen()
        if failed:
            self.fail(f"failed while nobody waited for it:\n{failed}")

    def doCleanups(self) -> Any:  # noqa: N802 - unittest's name
        """Run the clean-ups, and then look for what is left."""
        passed = super().doCleanups()
        with self._outcome.testPartExecutor(self):  # type: ignore[attr-defined]
            leaks = self._test_hub.leaks()
            # This test's own green thread still runs.
            if leaks:
                self.fail(f"left behind by the test:\n{leaks}")
        return passed
