"""Starlette's TestClient and anyio's blocking portals in patched programs.

Both run an event loop in a thread that they start, which is a green one, and call into it.
"""

from __future__ import annotations

import pytest

from _fresh import run

pytestmark = pytest.mark.slow


def test_testclient(loop):
    assert (
        run(
            """
            import greenio; greenio.monkey_patch()
            import asyncio, threading, time, warnings
            warnings.simplefilter("ignore")
            from contextlib import asynccontextmanager
            from fastapi import FastAPI, WebSocket
            from fastapi.testclient import TestClient

            events = []

            @asynccontextmanager
            async def lifespan(app):
                events.append("up")
                yield
                events.append("down")

            app = FastAPI(lifespan=lifespan)

            @app.get("/async/{number}")
            async def asynchronous(number: int):
                await asyncio.sleep(0.01)
                return number

            @app.get("/sync/{number}")
            def synchronous(number: int):
                time.sleep(0.01)
                return number

            @app.websocket("/ws")
            async def socket(websocket: WebSocket):
                await websocket.accept()
                await websocket.send_text(await websocket.receive_text() + "!")
                await websocket.close()

            def use(number):
                with TestClient(app) as client:
                    assert client.get(f"/async/{number}").json() == number
                    assert client.get(f"/sync/{number}").json() == number
                    with client.websocket_connect("/ws") as websocket:
                        websocket.send_text("hello")
                        assert websocket.receive_text() == "hello!"
                assert TestClient(app).get(f"/async/{number}").json() == number

            use(0)
            threads = [greenio.spawn(use, number) for number in range(1, 11)]
            for thread in threads:
                thread.wait()
            print(events.count("up"), events.count("down"))
            """,
            hub=loop,
        )
        == "11 11\n"
    )


def test_blocking_portal(loop):
    assert (
        run(
            """
            import greenio; greenio.monkey_patch()
            import anyio, anyio.from_thread, anyio.to_thread, time

            async def double(number):
                await anyio.sleep(0.01)
                return 2 * number

            def use(number):
                with anyio.from_thread.start_blocking_portal() as portal:
                    future = portal.start_task_soon(double, number)
                    assert portal.call(double, number) == 2 * number
                    return future.result()

            print(use(1))
            print([t.wait() for t in [greenio.spawn(use, n) for n in range(5)]])
            print(greenio.spawn(anyio.run, double, 5).wait(), anyio.run(double, 6))

            async def beside():
                return await anyio.to_thread.run_sync(
                    lambda: anyio.from_thread.run(double, 7)
                )

            print(anyio.run(beside))
            """,
            hub=loop,
        )
        == "2\n[0, 2, 4, 6, 8]\n10 12\n14\n"
    )
