"""requests, urllib3, httpx and aiohttp, with and without TLS.

The server is aiohttp's, in the same loop as the green threads that are its clients. It
answers at ``/gate/20`` when twenty requests are there, so they must overlap.
"""

from __future__ import annotations

import pytest
import trustme

from _programs import run_client

pytestmark = pytest.mark.slow

SERVER = """
import ssl, sys
from aiohttp import web

connections = set()
gates = {}

async def gate(request):
    connections.add(request.transport.get_extra_info("peername"))
    size = int(request.match_info["size"])
    event = gates.setdefault(size, asyncio.Event())
    event.count = getattr(event, "count", 0) + 1
    if event.count == size:
        event.set()
    await event.wait()
    return web.Response(text=request.query["number"])

async def page(request):
    connections.add(request.transport.get_extra_info("peername"))
    body = await request.read()
    return web.Response(body=body or b"x" * 100_000)

async def serve(certificate=None):
    app = web.Application(client_max_size=1 << 24)
    app.router.add_get("/gate/{size}", gate)
    app.router.add_route("*", "/page", page)
    runner = web.AppRunner(app)
    await runner.setup()
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    scheme = "http" if context is None else "https"
    return runner, f"{scheme}://localhost:{port}"

secure = sys.argv[1] == "https"
runner, base = greenio.await_(serve(sys.argv[2] if secure else None))
authority = sys.argv[3] if secure else True

def stop():
    greenio.await_(runner.cleanup())

def gate_url(size, number):
    return f"{base}/gate/{size}?number={number}"
"""


@pytest.fixture
def scheme() -> str:
    return "https"


@pytest.fixture
def arguments(scheme, tmp_path) -> tuple[str, ...]:
    """The server's scheme, its certificate, and the authority that signed it."""
    authority = trustme.CA()
    certificate, root = tmp_path / "server.pem", tmp_path / "root.pem"
    issued = authority.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(certificate)
    authority.cert_pem.write_to_path(root)
    return scheme, str(certificate), str(root)


REQUESTS = """
import requests
from requests.adapters import HTTPAdapter
"""


def test_requests(hub, late, arguments):
    """A session that keeps twenty connections, for two hundred green threads."""
    run_client(
        hub,
        REQUESTS,
        SERVER
        + """
with requests.Session() as session:
    session.verify, session.trust_env = authority, False
    session.mount(base, HTTPAdapter(pool_maxsize=20, pool_block=True))

    def wait(number):
        return int(session.get(gate_url(20, number), timeout=30).text)

    def post(number):
        response = session.post(f"{base}/page", data=str(number), timeout=30)
        response.raise_for_status()
        return int(response.text)

    with ticking() as ticker:
        assert in_green_threads(20, wait) == list(range(20))
        assert in_green_threads(200, post) == list(range(200))
        assert len(session.get(f"{base}/page", timeout=30).content) == 100_000
        ticker.wait_for(1)
    assert len(connections) == 20, connections
stop()
""",
        *arguments,
        late=late,
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_urllib3(hub, arguments):
    run_client(
        hub,
        "import urllib3",
        SERVER
        + """
more = {"ca_certs": authority} if secure else {}
with urllib3.PoolManager(maxsize=20, block=True, **more) as pool:
    def wait(number):
        return int(pool.request("GET", gate_url(20, number), timeout=30).data)

    def stream(number):
        response = pool.request("GET", f"{base}/page", preload_content=False)
        size = sum(map(len, response.stream(4096)))
        response.release_conn()
        return size

    with ticking() as ticker:
        assert in_green_threads(20, wait) == list(range(20))
        assert in_green_threads(200, stream) == [100_000] * 200
        assert ticker.ticks
    assert len(connections) == 20, connections
stop()
""",
        *arguments,
    )


def test_httpx(hub, late, arguments):
    """Its client for threads."""
    run_client(
        hub,
        "import httpx",
        SERVER
        + """
verify = ssl.create_default_context(cafile=authority) if secure else True
limits = httpx.Limits(max_connections=20)
with httpx.Client(verify=verify, limits=limits, timeout=30, trust_env=False) as client:
    def wait(number):
        return int(client.get(gate_url(20, number)).text)

    def post(number):
        return int(client.post(f"{base}/page", content=str(number)).text)

    assert in_green_threads(20, wait) == list(range(20))
    with ticking() as ticker:
        assert in_green_threads(200, post) == list(range(200))
        assert ticker.ticks
    assert len(connections) == 20, connections
stop()
""",
        *arguments,
        late=late,
    )


def test_httpx_async(hub, arguments):
    """Its asynchronous client, shared by green threads, beside the other one."""
    run_client(
        hub,
        "import httpx",
        SERVER
        + """
verify = ssl.create_default_context(cafile=authority) if secure else True
client = httpx.Client(verify=verify, timeout=30, trust_env=False)
async_client = httpx.AsyncClient(verify=verify, timeout=30, trust_env=False)

def wait(number):
    url = gate_url(20, number)
    if number % 2:
        return int(client.get(url).text)
    return int(greenio.await_(async_client.get(url)).text)

with ticking() as ticker:
    assert in_green_threads(20, wait) == list(range(20))
    ticker.wait_for(1)
client.close()
greenio.await_(async_client.aclose())
stop()
""",
        *arguments,
    )


def test_aiohttp(hub, late, arguments):
    """Its client, shared by two hundred green threads."""
    run_client(
        hub,
        "import aiohttp",
        SERVER
        + """
verify = ssl.create_default_context(cafile=authority) if secure else True

async def connect():
    connector = aiohttp.TCPConnector(ssl=verify, limit=200)
    return aiohttp.ClientSession(connector=connector)

session = greenio.await_(connect())

async def get(url):
    async with session.get(url) as response:
        return await response.text()

def wait(number):
    return int(greenio.await_(get(gate_url(200, number))))

with ticking() as ticker:
    assert in_green_threads(200, wait) == list(range(200))
    ticker.wait_for(1)
greenio.await_(session.close())
stop()
""",
        *arguments,
        late=late,
    )


def test_aiohttp_serves_with_green_code(hub):
    """Its handlers run blocking-style code, which waits for other handlers."""
    run_client(
        hub,
        "import requests",
        """
        import queue, threading
        from aiohttp import web
        items = queue.Queue()
        everybody = threading.Barrier(20)

        def blocking_style(number):
            everybody.wait(30)
            items.put(number)
            return items.get()

        async def handler(request):
            number = await greenio.run_green(blocking_style, request.query["number"])
            return web.Response(text=number)

        @greenio.portal
        async def in_a_portal(request):
            return web.Response(text=blocking_style(request.query["number"]))

        async def serve():
            app = web.Application()
            app.router.add_get("/green", handler)
            app.router.add_get("/portal", in_a_portal)
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return runner, runner.addresses[0][1]

        runner, port = greenio.await_(serve())

        def get(number):
            path = ("green", "portal")[number % 2]
            url = f"http://127.0.0.1:{port}/{path}?number={number}"
            return int(requests.get(url, timeout=30).text)

        assert sorted(in_green_threads(20, get)) == list(range(20))
        assert items.empty()
        greenio.await_(runner.cleanup())
        """,
    )


def test_a_green_server(hub, late):
    """The standard library's threading server, whose threads are green."""
    run_client(
        hub,
        "import requests; from http.server import BaseHTTPRequestHandler as Handler",
        """
        import threading
        from http.server import ThreadingHTTPServer
        everybody = threading.Barrier(50)

        class Patient(Handler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                everybody.wait(30)
                body = self.path[1:].encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 100

        server = Server(("127.0.0.1", 0), Patient)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.server_address[1]

        def get(number):
            return int(requests.get(f"http://127.0.0.1:{port}/{number}", timeout=30).text)

        with ticking() as ticker:
            assert in_green_threads(50, get) == list(range(50))
            ticker.wait_for(1)
        server.shutdown()
        thread.join(30)
        server.server_close()
        """,
        late=late,
    )
