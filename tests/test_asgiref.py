"""asgiref's two directions within each other, in a patched program."""

from __future__ import annotations

import pytest

from _fresh import run


def test_sync_code_below_async_to_sync_runs_in_the_thread_that_called_it(loop):
    """As in a program with real threads, at every depth and again and again."""
    pytest.importorskip("asgiref")
    assert (
        run(
            """if True:
        import greenio; greenio.monkey_patch()
        import threading
        from asgiref.sync import async_to_sync, sync_to_async
        def work():
            greenio.sleep(0.001)
            return threading.current_thread()
        async def main():
            here = await sync_to_async(work)()
            elsewhere = await sync_to_async(work, thread_sensitive=False)()
            assert here is not elsewhere
            return here
        async def outer():
            return await sync_to_async(lambda: async_to_sync(main)())()
        def call():
            me = threading.current_thread()
            return [async_to_sync(each)() is me for each in (main, outer, main, outer)]
        for _ in range(3):
            print(call())
            greenio.sleep(0)
            print(greenio.spawn(call).wait())
        """,
            hub=loop,
        )
        == "[True, True, True, True]\n" * 6
    )
