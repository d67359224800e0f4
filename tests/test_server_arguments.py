"""Every keyword of the servers with every odd value: taken, or an error of the call.

What is taken must serve: for each value a connection is made, used and closed. What is
not taken must say whose fault it is, and leave the caller's socket alone. Which values
are taken is in a table for each call, so that a change is seen.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import math
import socket
import subprocess
import sys
from functools import partial
from typing import Any

import pytest

import greenio
from _http import PATHS, Lines, echo, read_all
from _support import settle
from greenio import backdoor, dagpool, db_pool, websocket, wsgi
from greenio._http import command

ODD: dict[str, Any] = {
    "None": None,
    "text": "x",
    "empty": "",
    "-1": -1,
    "0": 0,
    "1.5": 1.5,
    "1e-320": 1e-320,
    "inf": math.inf,
    "nan": math.nan,
    "True": True,
    "10**30": 10**30,
    "10**400": 10**400,
    "bytes": b"x",
    "object": object(),
    "list": [],
    "dict": {},
    "function": len,
    "class": int,
}
ALL = set(ODD)
SECONDS = {"None", "1.5", "1e-320", "inf", "True", "10**30", "10**400"}


def refusal(call: Any, *about: str) -> str | None:
    """Return what a call is refused with; None if it is taken."""
    try:
        with greenio.Timeout(20, AssertionError("it hangs")):
            call()
    except (TypeError, ValueError, AttributeError) as exc:
        text = str(exc)
        assert any(word in text for word in about), text
        return text
    return None


def taken(call: Any, *about: str) -> set[str]:
    """The names of the values that a call takes."""
    return {
        name for name, odd in ODD.items() if refusal(partial(call, odd), *about) is None
    }


# -- wsgi.server ----------------------------------------------------------------------------

POST = (
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
)
SERVED = {
    "log": {"None"},
    "environ": {"None", "dict"},
    "max_size": {"None", "10**30", "10**400"},
    "max_http_version": {"None"},
    "protocol": set(),
    "server_event": {"None"},
    "minimum_chunk_size": {"None", "0", "1.5", "1e-320", "inf", "10**30", "10**400"},
    "log_x_forwarded_for": ALL,
    "custom_pool": {"None"},
    "keepalive": {*SECONDS, "0"},
    "log_output": ALL,
    "log_format": {"text", "empty"},
    "url_length_limit": {"None", "10**30", "10**400"},
    "debug": ALL,
    "socket_timeout": SECONDS,
    "capitalize_response_headers": ALL,
    "header_timeout": SECONDS,
    "idle_timeout": {*SECONDS, "0"},
    "body_timeout": SECONDS,
    "body_rate": SECONDS,
    "graceful_timeout": {*SECONDS, "0"},
    "send_timeout": SECONDS,
    "sock": set(),
    "site": set(),
}


def serve_once(name: str, odd: Any, path: dict[str, Any]) -> None:
    """Serve with one odd argument, in whichever way it ends."""
    log = Lines()
    with greenio.listen(("127.0.0.1", 0)) as sock:
        address = sock.getsockname()
        keywords = {"sock": sock, "site": echo, "log": log, **path, name: odd}
        thread = greenio.spawn(wsgi.server, **keywords)
        # By then it has refused the argument, or listens.
        settle()
        if thread.dead:
            # The socket is the caller's still.
            assert sock.fileno() >= 0
            thread.wait()
            raise AssertionError("it returned")
        try:
            # Of two connections, the first is not to harm the second.
            for _ in range(2):
                with greenio.connect(address) as client:
                    client.settimeout(20)
                    client.sendall(POST)
                    answer = b""
                    with contextlib.suppress(ConnectionResetError):
                        answer = read_all(client)
                if not 0 < float_of(odd) < 1e-300:
                    assert answer.startswith((b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK"))
                    assert b"hello" in answer
                    assert "Traceback" not in log.text
        finally:
            thread.kill()
            with contextlib.suppress(greenio.greenlet.GreenletExit):
                thread.wait()


def float_of(odd: Any) -> float:
    return odd if isinstance(odd, float) else 1.0


@pytest.mark.parametrize("path", ["loop", "resting", "classic"])
@pytest.mark.parametrize("name", SERVED)
def test_a_server_serves_or_refuses_the_argument(name, path, hub_name):
    words = (name, "wsgi.server() takes", "wsgi.server() calls")
    got = taken(lambda odd: serve_once(name, odd, PATHS[path]), *words)
    assert got == SERVED[name]


def test_every_keyword_has_its_row():
    assert set(SERVED) == set(inspect.signature(wsgi.server).parameters)


def test_the_class_refuses_what_the_function_refuses():
    for name in set(inspect.signature(wsgi.Server).parameters) & set(SERVED):

        def make(odd, name=name):
            return wsgi.Server(None, ("a", 1), echo, **{"log": Lines(), name: odd})

        assert taken(make, name) == SERVED[name], name


@pytest.mark.parametrize("name", ["app", "address", "sock"])
def test_a_coroutine_is_told(name, run_async):
    async def main():
        for odd in ODD.values():
            given = {"app": echo, "address": ("127.0.0.1", 0), name: odd}
            if (name == "sock" and odd is None) or (name == "app" and callable(odd)):
                continue
            with pytest.raises(TypeError, match=r"(server|listen)\(\) takes"):
                await wsgi.serve(log=Lines(), **given)

    run_async(main)


def test_the_limits_of_all_servers_are_numbers():
    names = [name for name in dir(wsgi) if name.startswith(("MAX_", "MINIMUM_"))]
    assert len(names) >= 8
    for name in names:
        before = getattr(wsgi, name)
        try:
            got = taken(lambda odd, name=name: setattr(wsgi, name, odd), name)
            assert got == {"0", "True", "10**30", "10**400"}
        finally:
            setattr(wsgi, name, before)


# -- python -m greenio serve ------------------------------------------------------------------

NUMBERS = ("--workers", "--backlog", "--max-size", "--keepalive", "--graceful-timeout")
RUNS = {
    "--workers": {"1"},
    "--hub": set(),
    "--log-format": {"%(status_code)s", "%(status_code)d"},
    "--backlog": {"1"},
    "--max-size": {"1", "9" * 30},
    "--keepalive": {"0", "1", "1.5", "inf", "1e400", "9" * 30},
    "--graceful-timeout": {"0", "1", "1.5", "inf", "1e400", "9" * 30},
    "--monitor": {"1", "1.5", "9" * 30},
    "--bind": {"127.0.0.1:0", ":0", "localhost:0"},
    "--keyfile": set(),
}
WORDS = [
    *("", "x", "-1", "0", "1", "1.5", "inf", "nan", "1e400", "9" * 30, "None"),
    *("%", "%(status_code)s", "%(status_code)d", "%(nothing)s"),
]
ADDRESSES = [
    *("127.0.0.1:0", ":0", "localhost:0", "127.0.0.1:", "127.0.0.1:65536", "[::1]"),
    *(
        "127.0.0.1:-1",
        "127.0.0.1:1.5",
        "127.0.0.1:" + "9" * 30,
        "no.such.host.invalid:0",
    ),
    *("unix:", "unix:/no/such/directory/socket", "unix:" + "a" * 200),
    *("fd:", "fd:x", "fd:-1", "fd:999", "fd:" + "9" * 30),
]


@pytest.mark.parametrize("option", RUNS)
def test_the_command_runs_or_refuses_the_option(option, monkeypatch, capfd):
    class Supervisor:
        def __init__(self, words, options, socks):
            for sock in socks:
                sock.close()

        def run(self):
            return 0

    monkeypatch.setattr(command, "_Supervisor", Supervisor)
    runs = set()
    given = [*WORDS, *ADDRESSES] if option == "--bind" else WORDS
    for word in given:
        words = ["a:b", f"{option}={word}"]
        if option != "--bind":
            words.append("--bind=127.0.0.1:0")
        try:
            status = command.main(words)
        except SystemExit as exc:
            status = exc.code
        told = capfd.readouterr().err
        if status:
            assert option in told or f"cannot listen on {word}" in told
            assert "Traceback" not in told
        else:
            runs.add(word)
    assert runs == RUNS[option]


HUBS = {
    "asyncio": True,
    "epolls": True,
    "uvloop": importlib.util.find_spec("uvloop") is not None,
    # Its module may need to be patched first: the workers look.
    "no_such_module:new_loop": True,
    "asyncoi": False,
}


@pytest.mark.parametrize("name", HUBS)
def test_the_command_knows_the_names_of_hubs(name, monkeypatch, capfd):
    served = []

    class Supervisor:
        def __init__(self, words, options, socks):
            served.extend(socks)

        def run(self):
            return 0

    monkeypatch.setattr(command, "_Supervisor", Supervisor)
    words = ["a:b", f"--hub={name}", "--bind=127.0.0.1:0"]
    if HUBS[name]:
        assert command.main(words) == 0
        served[0].close()
        return
    with pytest.raises(SystemExit, match="2"):
        command.main(words)
    assert f"--hub {name}: " in capfd.readouterr().err
    assert served == []


def test_the_command_needs_an_application(capfd):
    for word in ("", "a", "a:", ":b", "-1"):
        with pytest.raises(SystemExit):
            command.main([word, "--bind=127.0.0.1:0"])
        assert "package.module:app" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_certificate_that_cannot_be_read_ends_the_command(tmp_path, content):
    (tmp_path / "odd_site.py").write_text("app = print")
    if content is not None:
        (tmp_path / "cert.pem").write_text(content)
    words = ["odd_site:app", "--bind=127.0.0.1:0", "--certfile=cert.pem"]
    ended = subprocess.run(
        [sys.executable, "-m", "greenio", "serve", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 1
    assert "cannot serve TLS with cert.pem: " in ended.stderr
    assert "Traceback" not in ended.stderr


# -- websockets -----------------------------------------------------------------------------

WRAPPED = {
    "handler": {"function", "class"},
    "max_frame_length": {"0", "1.5", "1e-320", "inf", "10**30", "10**400"},
    "supported_protocols": {"None", "list", "dict"},
    "origin_checker": {"None", "function", "class"},
    "compression": ALL,
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_websocket_application_refuses_the_argument(name):
    def handler(ws):
        pass

    def make(odd):
        websocket.WebSocketWSGI(**{"handler": handler, name: odd})

    assert taken(make, name, "WebSocketWSGI takes") == WRAPPED[name]
    if name != "handler":

        def configure(odd):
            websocket.WebSocketWSGI.configured(**{name: odd})(handler)

        assert taken(configure, name) == WRAPPED[name]


def test_every_argument_of_a_websocket_application_is_here():
    assert set(WRAPPED) == set(inspect.signature(websocket.WebSocketWSGI).parameters)


# -- db_pool -----------------------------------------------------------------------------------


class Connection:
    def rollback(self):
        pass

    def close(self):
        pass


class Module:
    def connect(self, *args, **kw):
        return Connection()


ANY_SECONDS = {"-1", "0", "1.5", "1e-320", "inf", "True", "10**30"}
POOLED = {
    "db_module": set(),
    "min_size": {"0"},
    "max_size": {"inf", "10**30", "10**400"},
    "max_idle": ANY_SECONDS,
    "max_age": ANY_SECONDS,
    "connect_timeout": {*ANY_SECONDS, "None"},
    # Those that fail have the connection closed.
    "cleanup": {"None", "function", "class"},
}


@pytest.mark.parametrize(
    "kind", [db_pool.RawConnectionPool, db_pool.TpooledConnectionPool]
)
@pytest.mark.parametrize("name", POOLED)
def test_a_pool_of_connections_lends_or_refuses_the_argument(kind, name, hub_name):
    def use(odd):
        pool = kind(**{"db_module": Module(), name: odd})
        if odd == 0 and name == "max_size":
            # As eventlet's: it can be resized.
            raise ValueError("max_size")
        # A limit of no seconds is one that nothing keeps.
        late = (
            name == "connect_timeout" and isinstance(odd, (int, float)) and odd < 1e-9
        )
        with contextlib.suppress(*[db_pool.ConnectTimeout] * late):
            for _ in range(2):
                with pool.item() as connection:
                    connection.rollback()
        pool.clear()

    assert taken(use, name, "size") == POOLED[name]


def test_every_argument_of_a_pool_of_connections_is_here():
    names = set(inspect.signature(db_pool.BaseConnectionPool).parameters)
    assert names == {*POOLED, "args", "kwargs"}


def test_what_is_no_connection_is_not_taken_back(hub_name):
    pool = db_pool.RawConnectionPool(Module(), max_size=1)
    with pool.item():
        # None says that it is gone.
        assert taken(lambda odd: odd is None or pool.put(odd), "put() takes") == {
            "None"
        }
        assert pool.current_size == 1


def test_a_cleanup_that_cannot_be_called_takes_nothing_back(hub_name):
    pool = db_pool.RawConnectionPool(Module(), max_size=1)
    lent = pool.get()
    for odd in ODD.values():
        if odd is None or callable(odd):
            continue
        with pytest.raises(TypeError, match="cleanup is a function"):
            pool.put(lent, cleanup=odd)
        with pytest.raises(TypeError, match="cleanup is a function"), pool.item(odd):
            pass
    assert lent
    assert pool.current_size == 1
    pool.put(lent)
    assert len(pool.free_items) == 1


def test_a_connector_of_databases_refuses_the_argument(hub_name):
    make = db_pool.DatabaseConnector
    assert taken(lambda odd: make(Module(), odd), "credentials") == {"dict"}
    got = taken(lambda odd: make(Module(), {}, odd), "conn_pool")
    assert got == {"None", "function", "class"}

    def lend(odd):
        make(Module(), {"default": odd}).get("host", "name").get()

    with pytest.raises(LookupError, match="no credentials"):
        lend(None)
    got = taken(lambda odd: odd is None or lend(odd), "the credentials")
    assert got == {"None", "dict"}


# -- backdoor and dagpool --------------------------------------------------------------------


def test_the_backdoor_refuses_the_argument(hub_name):
    file = backdoor.FileProxy(Lines())
    name = "locals is a dict"
    assert taken(backdoor.backdoor_server, "listening socket") == set()
    assert taken(backdoor.backdoor, "sock.accept()") == set()
    assert taken(lambda odd: backdoor.backdoor((odd, odd)), "sock.accept()") == set()
    with greenio.listen(("127.0.0.1", 0)) as sock:
        for odd in ODD.values():
            if odd is None or isinstance(odd, dict):
                continue
            for call in (
                lambda odd=odd: backdoor.backdoor_server(sock, odd),
                lambda odd=odd: backdoor.backdoor((sock, None), odd),
                lambda odd=odd: backdoor.SocketConsole(file, None, odd),
            ):
                with pytest.raises(TypeError, match=name):
                    call()
        assert sock.fileno() >= 0
    got = taken(lambda odd: backdoor.SocketConsole(odd, None), "SocketConsole() takes")
    assert got == set()


def test_a_dagpool_refuses_the_argument(hub_name):
    def nothing(key, results):
        return None

    pool = dagpool.DAGPool
    takes = "as in DAGPool({"
    assert taken(pool, takes) == {"empty", "list", "dict"}
    assert taken(lambda odd: pool([odd]), takes) == set()
    got = taken(lambda odd: pool().spawn_many(odd, nothing), "as in spawn_many({")
    assert got == {"empty", "list", "dict"}
    got = taken(lambda odd: pool().spawn_many({}, odd), "takes a function")
    assert got == {"function", "class"}
    got = taken(lambda odd: pool().spawn("key", odd, nothing), "depends on")
    assert got == {"text", "empty", "bytes", "list", "dict"}
    got = taken(lambda odd: pool().spawn("key", (), odd), "takes a function")
    assert got == {"function", "class"}
    got = taken(lambda odd: pool().spawn(odd, (), nothing), "unhashable")
    assert got == ALL - {"list", "dict"}
    for name in ("wait", "wait_each", "wait_each_success", "wait_each_exception"):
        wait = getattr(pool({"x": 1, 120: 2}), name)
        got = taken(lambda odd, wait=wait: list(wait(odd)), "as in wait([")
        assert got == {"text", "empty", "bytes", "list", "dict"}
    settle()


def test_ports_that_cannot_be_shared(capfd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ["--reuse-port", "--workers", "2", "--bind", f"127.0.0.1:{port}"]
        assert command.main([*words, "site:app"]) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in capfd.readouterr().err
