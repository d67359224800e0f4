"""Libraries that look at which loop they are on, on loops that green code runs."""

from __future__ import annotations

import pytest

from _fresh import run

pytestmark = pytest.mark.slow

_WHERE = {"main program": "greenio.sleep(0); go()", "thread": "in_a_thread(go)"}
_BEGIN = """
    import greenio; greenio.monkey_patch()
    import asyncio, threading

    def in_a_thread(func):
        thread = threading.Thread(target=func)
        thread.start()
        thread.join()
"""


@pytest.mark.parametrize("where", _WHERE.values(), ids=_WHERE)
def test_aiohttp(loop, where):
    """A server on the loop below; sessions and connectors on each caller's own loop."""
    pytest.importorskip("aiohttp")
    output = run(
        _BEGIN
        + f"""
    import aiohttp
    from aiohttp import web

    async def page(request):
        return web.Response(text=request.path)

    async def serve():
        app = web.Application()
        app.router.add_get("/{{name}}", page)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    async def fetch(name):
        loop = asyncio.get_running_loop()
        connector = aiohttp.TCPConnector(loop=loop)
        async with aiohttp.ClientSession(loop=loop, connector=connector) as session:
            assert session._loop is loop
            timeout = aiohttp.ClientTimeout(total=30)
            async with session.get(base + name, timeout=timeout) as response:
                return await response.text()

    def legacy(name):
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(fetch(name))
        finally:
            loop.close()

    def go():
        global base
        runner = greenio.await_(serve())
        base = "http://127.0.0.1:%d/" % runner.addresses[0][1]
        assert asyncio.run(fetch("run")) == "/run"
        assert legacy("loop") == "/loop"
        threads = [greenio.spawn(legacy, str(number)) for number in range(9)]
        assert [thread.wait() for thread in threads] == [f"/{{n}}" for n in range(9)]
        greenio.await_(runner.cleanup())

    {where}
    print("ok")
    """,
        hub=loop,
    )
    assert output == "ok\n"


@pytest.mark.parametrize("where", _WHERE.values(), ids=_WHERE)
def test_zeroconf(loop, where):
    """It registers a service and finds it, asynchronous and blocking."""
    pytest.importorskip("zeroconf")
    output = run(
        _BEGIN
        + f"""
    import os, socket
    from zeroconf import ServiceInfo, Zeroconf
    from zeroconf.asyncio import AsyncZeroconf

    kind = "_greenio-%d._tcp.local." % os.getpid()

    def service(name):
        return ServiceInfo(
            kind, f"{{name}}.{{kind}}", 4711, server=f"{{name}}.local.",
            addresses=[socket.inet_aton("127.0.0.1")])

    async def register(name):
        one = AsyncZeroconf(interfaces=["127.0.0.1"])
        assert one.zeroconf.loop is asyncio.get_running_loop()
        try:
            await (await one.async_register_service(service(name)))
            found = await one.async_get_service_info(kind, f"{{name}}.{{kind}}")
            return found.port
        finally:
            await one.async_close()

    def blocking(name):
        one = Zeroconf(interfaces=["127.0.0.1"])
        try:
            one.register_service(service(name))
            return one.get_service_info(kind, f"{{name}}.{{kind}}").port
        finally:
            one.close()

    def go():
        assert asyncio.run(register("asynchronous")) == 4711
        assert blocking("blocking") == 4711

    {where}
    print("ok")
    """,
        hub=loop,
    )
    assert output == "ok\n"
