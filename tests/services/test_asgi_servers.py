"""`greenio.asgi` on real servers: Flask and Django in FastAPI, Starlette and alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from _fresh import PATIENCE, environment

pytestmark = [pytest.mark.slow, pytest.mark.service]

HERE = Path(__file__).parent


class Server:
    """A server as users start it, in a process of its own."""

    def __init__(self, kind: str, hub: str, app: str, **variables: str) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.address = self.listener.getsockname()
        fd = self.listener.fileno()
        uvicorn = ["uvicorn", f"--loop={hub}", f"--fd={fd}"]
        uvicorn.append("--timeout-graceful-shutdown=2")
        hypercorn = ["hypercorn", f"--worker-class={hub}", f"--bind=fd://{fd}"]
        command = {
            "uvicorn-h11": [*uvicorn, "--http=h11"],
            "uvicorn": [*uvicorn, "--http=httptools"],
            "hypercorn": [*hypercorn, "--graceful-timeout=2"],
        }[kind]
        # Nobody reads a pipe while tests make requests.
        self.output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by close()
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command, app],
            env=environment(**variables),
            cwd=HERE,
            pass_fds=[fd],
            stdout=self.output,
            stderr=subprocess.STDOUT,
        )

    def stop(self) -> str:
        """Stop it as a service manager does; return what it logged."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)
        self.output.seek(0)
        log = self.output.read()
        # Some servers end by the signal that they were stopped with.
        assert self.process.returncode in (0, -signal.SIGTERM), log
        return log

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()
        self.listener.close()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.address, timeout=PATIENCE)

    def request(self, method, path, body=None, headers=(), **kwargs):
        """Make one request on a connection of its own."""
        connection = self.connect()
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers), **kwargs)
            response = connection.getresponse()
            response.content = response.read()
            return response

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def get_json(self, path, **headers):
        response = self.get(path, **headers)
        assert response.status == 200, (response.status, response.content)
        return json.loads(response.content)

    def wait_for_note(self, note: str, prefix: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while note not in (notes := self.get_json(f"{prefix}/notes")):
            assert time.monotonic() < deadline, notes
            time.sleep(0.02)


@pytest.fixture
def serve(hub):
    """Start a server of a kind, with an application, on the kind of loop `hub`."""
    servers = []

    def start(kind, app, **variables):
        servers.append(Server(kind, hub, app, **variables))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(
    scope="module",
    params=[
        ("uvicorn", "flask_in_fastapi"),
        ("uvicorn-h11", "flask_in_starlette"),
        ("uvicorn", "flask_alone"),
        ("hypercorn", "flask_in_fastapi"),
        ("hypercorn", "flask_alone"),
    ],
    ids="-".join,
)
def setting(request):
    """The kind of server, and how the Flask application is mounted."""
    return request.param


def start_flask(setting, hub):
    kind, app = setting
    server = Server(kind, hub, f"_asgi_apps:{app}")
    server.kind, server.app = kind, app
    server.prefix = "" if app == "flask_alone" else "/legacy"
    return server


@pytest.fixture(scope="module")
def shared_flask(setting, hub):
    """One for all tests that leave it as it was; it must end well, and quietly."""
    with contextlib.closing(start_flask(setting, hub)) as server:
        yield server
        log = server.stop()
        assert not re.search("Traceback|ERROR|Exception|Warning", log), log


@pytest.fixture
def flask(shared_flask):
    """A server with the Flask application, as at its start."""
    assert shared_flask.request("POST", f"{shared_flask.prefix}/reset").status == 200
    return shared_flask


@pytest.fixture
def own_flask(setting, hub):
    """One that the test may stop, or have log what it says in `expected`."""
    with contextlib.closing(start_flask(setting, hub)) as server:
        server.expected = None
        yield server
        log = server.stop()
        if server.expected is None:
            assert not re.search("Traceback|ERROR|Exception|Warning", log), log
        else:
            assert re.search(server.expected, log), log


def test_flask(flask, hub):
    response = flask.get(f"{flask.prefix}/hello/you")
    answer = json.loads(response.content)
    host, port = flask.address
    assert answer == {
        "hello": "you",
        "count": 1,
        "url": f"http://{host}:{port}{flask.prefix}/hello/x",
        "loop": answer["loop"],
    }
    assert hub in answer["loop"]
    cookie = response.headers["set-cookie"].partition(";")[0]
    assert flask.get_json(f"{flask.prefix}/hello/you", cookie=cookie)["count"] == 2
    assert flask.get(f"{flask.prefix}/nothing").status == 404
    head = flask.request("HEAD", f"{flask.prefix}/hello/you")
    assert head.status == 200
    assert int(head.headers["content-length"]) > 0
    assert head.content == b""


def test_many_requests_are_inside_at_once(flask):
    count = 150
    with ThreadPoolExecutor(count) as pool:
        answers = pool.map(flask.get, [f"{flask.prefix}/together/{count}"] * count)
        assert {answer.content for answer in answers} == {b"own"}


def test_asking_the_application_it_is_mounted_in(flask):
    if not flask.app.endswith("fastapi"):
        pytest.skip("it has no other part")
    with ThreadPoolExecutor(20) as pool:
        answers = pool.map(flask.get, [f"{flask.prefix}/upstream"] * 20)
        assert {answer.content for answer in answers} == {b'{"async":true}'}


def test_connection_is_kept(flask):
    head = f"Host: {flask.address[0]}\r\n"
    with contextlib.closing(socket.create_connection(flask.address, PATIENCE)) as sock:
        for number in range(3):
            for method in ("GET", "HEAD", "POST"):
                request = f"{method} {flask.prefix}/hello/{number} HTTP/1.1\r\n{head}"
                # In one piece: hypercorn ends the connection if the answer comes before
                # a body that nobody reads.
                body = "Content-Length: 1\r\n\r\nx" if method == "POST" else "\r\n"
                sock.sendall((request + body).encode())
                with http.client.HTTPResponse(sock, method=method) as response:
                    response.begin()
                    assert response.status == (405 if method == "POST" else 200)
                    response.read()
                    assert not response.will_close


def test_uploading(flask):
    size = 3_000_000
    body = (
        b"--x\r\nContent-Disposition: form-data; name=field\r\n\r\nvalue\r\n"
        b"--x\r\nContent-Disposition: form-data; name=file; filename=f\r\n\r\n"
        + b"a" * size
        + b"\r\n--x--\r\n"
    )
    response = flask.request(
        "POST",
        f"{flask.prefix}/form",
        body,
        {"content-type": "multipart/form-data; boundary=x"},
    )
    assert json.loads(response.content) == {"size": size, "field": "value"}


def test_streaming_both_ways(flask):
    """Each chunk comes back before the next one is sent."""
    with contextlib.closing(flask.connect()) as connection:
        connection.putrequest("POST", f"{flask.prefix}/echo")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        response = None
        for chunk in (b"one", b"two", b"three"):
            connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            if response is None:
                response = http.client.HTTPResponse(connection.sock, method="POST")
                response.begin()
            assert response.read1(100) == chunk.upper()
        connection.send(b"0\r\n\r\n")
        assert response.read() == b""
        response.close()


def test_response_is_sent_as_it_comes(flask):
    with contextlib.closing(flask.connect()) as connection:
        connection.request("GET", f"{flask.prefix}/stream")
        response = connection.getresponse()
        assert response.read1(100) == b"first "
        assert flask.get(f"{flask.prefix}/release").content == b"released"
        assert response.read() == b"second"
    flask.wait_for_note("stream ended", flask.prefix)


def test_client_that_goes_away_while_the_view_waits(flask):
    with contextlib.closing(flask.connect()) as connection:
        connection.request("GET", f"{flask.prefix}/forever")
        flask.wait_for_note("waits", flask.prefix)
        assert "ended" not in flask.get_json(f"{flask.prefix}/notes")
    flask.wait_for_note("ended", flask.prefix)


def test_client_that_goes_away_from_a_stream(flask):
    with contextlib.closing(flask.connect()) as connection:
        connection.request("GET", f"{flask.prefix}/stream")
        response = connection.getresponse()
        assert response.read1(100) == b"first "
        response.close()
    flask.wait_for_note("stream ended", flask.prefix)


def test_client_that_does_not_read_holds_the_stream_up(flask):
    with contextlib.closing(flask.connect()) as connection:
        connection.request("GET", f"{flask.prefix}/flood")
        response = connection.getresponse()
        flask.wait_for_note("chunk 1", flask.prefix)
        before = -1
        # Until what the system buffers is full.
        while before != (now := len(flask.get_json(f"{flask.prefix}/notes"))):
            before = now
            time.sleep(0.2)
        assert now < 10_000
        response.close()
    flask.wait_for_note("flood ended", flask.prefix)


def test_failing_view(own_flask):
    own_flask.expected = "KeyError: 'the secret'"
    response = own_flask.get(f"{own_flask.prefix}/fail")
    assert response.status == 500
    assert b"secret" not in response.content


def test_failure_in_the_middle_of_a_response(own_flask):
    own_flask.expected = "KeyError: 'the secret'"
    with contextlib.closing(own_flask.connect()) as connection:
        connection.request("GET", f"{own_flask.prefix}/late")
        response = connection.getresponse()
        if own_flask.app == "flask_in_starlette":
            # Its BaseHTTPMiddleware completes the response all the same.
            assert response.read() == b"begun"
            return
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()


def test_stopping_waits_for_requests(own_flask):
    with contextlib.closing(own_flask.connect()) as connection:
        connection.request("GET", f"{own_flask.prefix}/slowly")
        response = connection.getresponse()
        assert response.read1(100) == b"first "
        own_flask.process.send_signal(signal.SIGTERM)
        assert response.read() == b"second"


def test_stopping_does_not_wait_for_ever(own_flask, hub):
    no_limit = own_flask.kind == "hypercorn" and sys.version_info >= (3, 12)
    if no_limit and hub == "asyncio":
        pytest.skip("asyncio's wait_closed(), which hypercorn calls, has no limit")
    own_flask.expected = "the view has ended"
    with contextlib.closing(own_flask.connect()) as connection:
        connection.request("GET", f"{own_flask.prefix}/forever")
        own_flask.wait_for_note("waits", own_flask.prefix)
        own_flask.stop()


# -- Django -----------------------------------------------------------------------------


@pytest.fixture
def project(postgresql):
    """The environment of the Django project, whose tables are there."""
    schema = f"greenio_{os.getpid()}_{time.monotonic_ns()}"
    variables = {"DATABASE": postgresql, "SCHEMA": schema}

    def manage(*arguments):
        subprocess.run(
            [sys.executable, "_asgi_django.py", *arguments],
            env=environment(**variables),
            cwd=HERE,
            check=True,
            timeout=PATIENCE,
        )

    manage()
    yield variables
    manage("drop")


@pytest.mark.parametrize("kind", ["uvicorn", "hypercorn"])
def test_django(serve, project, kind):
    server = serve(kind, "_asgi_django:mounted", **project)
    names = [f"item {number:02}" for number in range(20)]
    names[7:9] = ["7 is bad", "8 is bad"]
    with ThreadPoolExecutor(20) as pool:
        paths = [f"/legacy/add/{name.replace(' ', '%20')}" for name in names]
        answers = list(pool.map(server.get, paths))
    assert [answer.status for answer in answers] == [
        409 if name.endswith("bad") else 200 for name in names
    ]
    cookie = answers[0].headers["set-cookie"].partition(";")[0]
    assert server.get_json("/legacy/add/again", cookie=cookie)["count"] == 2
    report = server.get_json("/legacy/report")
    good = [name for name in names if not name.endswith("bad")]
    assert report["names"] == sorted([*good, "again"])
    # The transactions overlapped, each on a connection of its own, which was closed.
    assert report["peak"] > 5
    assert report["connections"] == 1
    assert server.get("/legacy/stream").content.split()[0] == b"item"
    assert not re.search("Traceback|ERROR", server.stop())
