"""Portals, `run_green` and `await_` inside what runs other people's coroutines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from _fresh import PATIENCE, environment, run

pytestmark = pytest.mark.slow

# What each host is given: a coroutine function `check`, which ends well or raises.
CHECK = """
import asyncio
import greenio
from greenio.queue import Queue

def blocking(queue):
    greenio.sleep(0.001)
    return queue.get(timeout=10)

@greenio.portal
async def decorated(queue):
    task = asyncio.current_task()
    assert blocking(queue) == 1
    assert asyncio.current_task() is task
    async with asyncio.Lock():
        greenio.sleep(0.001)
    assert greenio.await_(asyncio.sleep(0.001, "slept")) == "slept"

async def check():
    queue = Queue()
    putter = greenio.spawn(lambda: [queue.put(1) for _ in range(3)])
    await decorated(queue)
    assert await greenio.run_green(blocking, queue) == 1
    await greenio.ensure_portal()
    assert greenio.has_portal()
    assert blocking(queue) == 1
    await putter
"""


def run_pytest(path: Path, source: str, *options: str) -> None:
    """Run a test file in an interpreter of its own; every test of it must pass."""
    path.write_text(source)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *options,
            path,
        ],
        env=environment(),
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_anyio_pytest_plugin(tmp_path):
    run_pytest(
        tmp_path / "test_anyio.py",
        CHECK
        + """
import pytest, anyio

@pytest.fixture(params=[{}, {"use_uvloop": True}])
def anyio_backend(request):
    return "asyncio", request.param

@pytest.fixture
async def resource():
    await check()
    yield

@pytest.mark.anyio
async def test_it(resource):
    await check()
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(check)
    with anyio.move_on_after(0.01) as scope:
        await greenio.run_green(greenio.sleep, 600)
    assert scope.cancelled_caught
""",
    )


def test_pytest_asyncio(tmp_path):
    run_pytest(
        tmp_path / "test_asyncio.py",
        CHECK
        + """
import pytest, uvloop

@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop])
def factory(request):
    return request.param

@pytest.mark.asyncio
async def test_one():
    await check()

@pytest.mark.asyncio
async def test_two():
    await asyncio.gather(*(check() for _ in range(5)))
""",
        "-o",
        "asyncio_default_fixture_loop_scope=function",
    )


def test_a_loop_that_runs_cells(loop):
    """As in a notebook: the loop runs for ever, and code with ``await`` comes in pieces."""
    assert (
        run(
            CHECK
            + """
import ast, inspect, sys, types

cells = [
    "await check()",
    "await greenio.ensure_portal(); greenio.sleep(0.001); x = blocking_result()",
    "greenio.spawn(greenio.sleep, 0.001); print('x is', x)",
    "print(await greenio.run_green(blocking_result))",
]

def blocking_result():
    greenio.sleep(0.001)
    return 5

async def kernel():
    namespace = globals()
    for cell in cells:
        code = compile(cell, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, namespace)
        if inspect.iscoroutine(result):
            await asyncio.create_task(result)
    asyncio.get_running_loop().stop()

loop = (__import__("uvloop") if sys.argv[1:] == ["uvloop"] else asyncio).new_event_loop()
asyncio.set_event_loop(loop)
task = loop.create_task(kernel())
loop.run_forever()
task.result()
# The notebook ends.
for task in asyncio.all_tasks(loop):
    task.cancel()
loop.run_until_complete(asyncio.sleep(0.01))
loop.close()
""",
            loop,
        )
        == "x is 5\n5\n"
    )


@pytest.mark.parametrize("on_uvloop", [False, True])
def test_aiohttp(on_uvloop):
    """Handlers that block, in the server's tasks."""
    assert (
        run(
            CHECK
            + f"""
import aiohttp
from aiohttp import web

async def handle(request):
    await check()
    return web.Response(text="good")

@greenio.portal
async def handle_in_portal(request):
    greenio.sleep(0.001)
    return web.Response(text="good")

async def main():
    app = web.Application()
    app.router.add_get("/plain", handle)
    app.router.add_get("/portal", handle_in_portal)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as session:
        async def get(path):
            async with session.get(f"http://127.0.0.1:{{port}}/{{path}}") as response:
                return await response.text()
        answers = await asyncio.gather(
            *(get(path) for path in ("plain", "portal") for _ in range(10))
        )
        assert answers == ["good"] * 20
    await runner.cleanup()
    print("done")

if {on_uvloop}:
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""
        )
        == "done\n"
    )
