"""Protocols as programs for eventlet write them: what they override, and what they find."""

from __future__ import annotations

import http.client
from http.server import BaseHTTPRequestHandler

import pytest

import greenio
from _http import GET, LAST, PATHS, Lines, echo, hello, read_all, read_answer, serving
from _support import until
from _websockets import HANDSHAKE, closing, encoded
from greenio import hubs, wsgi
from greenio.event import Event
from greenio.websocket import WebSocketWSGI

POST = (
    b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody"
)


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


def test_one_that_ends_its_connections_by_itself(hub_name):
    """As nameko's does."""

    class Protocol(wsgi.HttpProtocol):
        def finish(self):
            try:
                BaseHTTPRequestHandler.finish(self)
            except OSError as exc:
                if exc.errno not in wsgi.BROKEN_SOCK:
                    raise
            self.connection.close()

    with serving(echo, protocol=Protocol) as site:
        assert site.ask(POST).body == b"body"
        with site.connect() as sock:
            sock.sendall(GET)
            assert read_answer(sock)[0] == 200
    assert "Traceback" not in site.log.text
    assert "Error" not in site.log.text


class SwiftLike(wsgi.HttpProtocol):
    """What Swift's overrides."""

    default_request_version = "HTTP/1.0"
    reject_bad_requests = False

    def __init__(self, *args, **kwargs):
        self.pre = True
        wsgi.HttpProtocol.__init__(self, *args, **kwargs)

    def log_request(self, *args):
        pass

    def log_message(self, f, *args):
        self.server.log.info("ERROR WSGI: %s", f % args)

    class MessageClass(wsgi.HttpProtocol.MessageClass):
        def get_default_type(self):
            return ""

    def get_environ(self, *args, **kwargs):
        environ = wsgi.HttpProtocol.get_environ(self, *args, **kwargs)
        environ["payload"] = self.headers.get_payload()
        return environ

    def _read_request_line(self):
        got = wsgi.HttpProtocol._read_request_line(self)
        self.conn_state[2] = wsgi.STATE_REQUEST
        return got

    def handle_one_request(self):
        wsgi.HttpProtocol.handle_one_request(self)
        self.conn_state[2] = wsgi.STATE_IDLE


class Proxied(SwiftLike):
    """Takes the client's address from a first line, as Swift's and HAProxy's have it."""

    def __init__(self, *args, **kwargs):
        self.proxy_address = None
        SwiftLike.__init__(self, *args, **kwargs)

    def handle_error(self, line):
        self.rfile.close()
        self.log_message("Invalid PROXY line %r", line)
        self.request_version = self.default_request_version
        self.command = "PROXY"
        self.send_error(400, "bad PROXY line")

    def handle(self):
        line = self.rfile.readline(self.server.url_length_limit)
        if not line.startswith(b"PROXY "):
            return self.handle_error(line)
        parts = line.decode().split()
        self.client_address = (parts[2], parts[4])
        return SwiftLike.handle(self)


def test_one_that_reads_a_line_before_the_requests(hub_name):
    seen = []

    def app(environ, start_response):
        seen.append((environ["REMOTE_ADDR"], environ["REMOTE_PORT"]))
        assert environ["CONTENT_TYPE"] == ""
        return hello(environ, start_response)

    with serving(app, protocol=Proxied) as site:
        line = b"PROXY TCP4 10.9.8.7 10.0.0.1 4711 80\r\n"
        assert site.ask(line + GET + LAST).statuses == [200, 200]
        assert site.ask(GET).statuses == [400]
    assert seen == [("10.9.8.7", "4711")] * 2
    assert site.log.text.count("\n10.9.8.7 - - [") == 2
    assert "ERROR WSGI: Invalid PROXY line b'GET / HTTP/1.1\\r\\n'" in site.log.text


def test_one_that_makes_its_own_files(hub_name):
    class Protocol(wsgi.HttpProtocol):
        def setup(self):
            self.connection = self.request
            self.rfile = self.connection.makefile("rb", self.rbufsize)
            self.wfile = self.connection.makefile("wb", self.wbufsize)

        def finish(self):
            BaseHTTPRequestHandler.finish(self)

    with serving(echo, protocol=Protocol) as site:
        assert site.ask(
            POST.replace(b"Connection: close\r\n", b"") + POST
        ).statuses == [
            200,
            200,
        ]
        assert site.ask(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n").statuses == [400]


def test_what_a_protocol_finds_in_its_files(hub_name):
    found = {}

    class Protocol(wsgi.HttpProtocol):
        def handle_one_request(self):
            rfile, wfile = self.rfile, self.wfile
            found["line"] = rfile.readline()
            found["some"] = rfile.read(2)
            found["into"] = bytearray(3)
            rfile.readinto(found["into"])
            found["read1"] = rfile.read1(2)
            found["lines"] = [next(rfile), *rfile.readlines(1)]
            found["files"] = (rfile.readable(), wfile.writable(), rfile.fileno() >= 0)
            wfile.writelines([b"HTTP/1.1 200 OK\r\n", b"\r\n"])
            wfile.write(memoryview(b"x"))
            wfile.flush()
            wfile.close()
            with pytest.raises(ValueError, match="closed"):
                wfile.write(b"x")
            rfile.close()
            with pytest.raises(ValueError, match="closed"):
                rfile.read(1)
            found["closed"] = (rfile.closed, wfile.closed)
            self.close_connection = True

    with serving(hello, protocol=Protocol) as site:
        assert site.ask(b"first\nabcdefgh\nij\n").raw == b"HTTP/1.1 200 OK\r\n\r\nx"
    assert found == {
        "line": b"first\n",
        "some": b"ab",
        "into": bytearray(b"cde"),
        "read1": b"fg",
        "lines": [b"h\n", b"ij\n"],
        "files": (True, True, True),
        "closed": (True, True),
    }


def test_one_that_names_headers_and_clients(hub_name):
    seen = {}

    class Protocol(wsgi.HttpProtocol):
        def formalize_key_naming(self, k):
            if k == "X-Out":
                return None
            return k.replace("-", "_").upper()

        def get_client_address(self):
            return "client", 5

    def app(environ, start_response):
        seen.update(environ)
        return hello(environ, start_response)

    form = "%(client_ip)s:%(client_port)s"
    with serving(app, protocol=Protocol, log_format=form) as site:
        site.ask(LAST.replace(b"Host", b"X_Under: 1\r\nX-Out: 2\r\nHost"))
    assert seen["HTTP_X_UNDER"] == "1"
    assert "HTTP_X_OUT" not in seen
    assert seen["REMOTE_ADDR"] == "127.0.0.1"
    assert "\nclient:5\n" in site.log.text


def test_one_that_answers_by_itself(hub_name):
    class Protocol(wsgi.HttpProtocol):
        def handle_one_response(self):
            body = self.environ["wsgi.input"].read()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + body)
            self.close_connection = self.headers.get("connection") == "close"

    with serving(hello, protocol=Protocol) as site:
        answer = site.ask(POST.replace(b"Connection: close\r\n", b"") + POST)
    assert answer.raw.count(b"body") == 2


@pytest.mark.parametrize("least", [None, 7])
def test_what_a_protocol_is_told_of_its_settings(least, hub_name):
    seen = []

    class Protocol(wsgi.HttpProtocol):
        def setup(self):
            super().setup()
            seen.append(self.minimum_chunk_size)

    assert wsgi.HttpProtocol.minimum_chunk_size == wsgi.MINIMUM_CHUNK_SIZE
    with serving(hello, protocol=Protocol, minimum_chunk_size=least) as site:
        site.ask(LAST)
    assert seen == [least or wsgi.MINIMUM_CHUNK_SIZE]


def test_a_protocol_may_have_its_own_message_class_and_input(hub_name):
    class Input(wsgi.Input):
        def read(self, length=None):
            return super().read(length).upper()

    class Protocol(wsgi.HttpProtocol):
        def get_environ(self):
            environ = super().get_environ()
            assert isinstance(self.headers, http.client.HTTPMessage)
            body = environ["wsgi.input"]
            environ["wsgi.input"] = Input(
                body.rfile,
                body.content_length,
                body.get_socket,
                wfile=body.wfile,
                wfile_line=body.wfile_line,
                chunked_input=body.chunked_input,
            )
            return environ

    with serving(echo, protocol=Protocol) as site:
        assert site.ask(POST).body == b"BODY"


def test_a_server_class_may_say_what_each_request_has(hub_name):
    numbers = iter(range(10))

    class Server(wsgi.Server):
        def get_environ(self):
            return {**super().get_environ(), "number": next(numbers)}

    seen = []

    def app(environ, start_response):
        seen.append(environ["number"])
        return hello(environ, start_response)

    listener = greenio.listen(("127.0.0.1", 0))
    server = Server(listener, listener.getsockname(), app, log=Lines())

    def accept():
        sock, address = listener.accept()
        server.process_request([address, sock, wsgi.STATE_IDLE])

    thread = greenio.spawn(accept)
    with greenio.connect(listener.getsockname()) as sock:
        sock.sendall(GET + LAST)
        assert read_all(sock).count(b"200 OK") == 2
    thread.wait()
    listener.close()
    assert len(set(seen)) == 2
    until(lambda: hubs.get_hub().timers == 0)


def test_names_of_a_unix_socket(path, tmp_path, hub_name):
    import socket

    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        return hello(environ, start_response)

    sock = greenio.listen(str(tmp_path / "s"), family=socket.AF_UNIX)
    with serving(app, sock, **path) as site:
        assert site.ask(LAST).statuses == [200]
    names = ("SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "REMOTE_PORT")
    assert [seen[name] for name in names] == ["unix", "", "unix", ""]
    assert "\nunix - - [" in site.log.text
    assert wsgi.addr_to_host_port(b"") == ("unix", "")
    assert wsgi.addr_to_host_port(("h", 1)) == ("h", 1)


def test_the_server_of_a_request_is_the_address_it_came_to(path, hub_name):
    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        return hello(environ, start_response)

    with serving(app, greenio.listen(("0.0.0.0", 0)), **path) as site:
        site.address = ("127.0.0.1", site.address[1])
        assert site.ask(LAST).statuses == [200]
    assert seen["SERVER_NAME"] == "127.0.0.1"
    assert seen["SERVER_PORT"] == str(site.address[1])


def test_a_stop_ends_connections_that_wait_in_an_application(path, hub_name):
    """A WebSocket connection is told so; nobody waits for it to end by itself."""
    waiting = Event()
    ended = []

    @WebSocketWSGI
    def app(ws):
        waiting.send()
        for message in ws:
            ws.send(message)
        ended.append(ws.close_code)

    head = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
    with serving(app, server_event=(event := Event()), **path) as site:
        server = event.wait()
        with site.connect() as sock:
            sock.sendall(f"GET / HTTP/1.1\r\n{head}\r\n".encode() + encoded(1, b"x"))
            waiting.wait()
            assert server.outstanding_requests == 1
            server.stop("it was told to")
            answer = read_all(sock)
        site.thread.wait()
    assert answer.endswith(b"\r\n\r\n\x81\x01x\x88\x02\x03\xe9")
    assert ended == [1006]
    assert "were still in use" not in site.log.text


def test_set_idle_is_in_the_environment(path, hub_name):
    def app(environ, start_response):
        environ["eventlet.set_idle"]()
        environ["eventlet.input"].get_socket().recv(1)
        return wsgi.ALREADY_HANDLED

    with serving(app, server_event=(event := Event()), **path) as site:
        server = event.wait()
        with site.connect() as sock:
            sock.sendall(GET)
            until(lambda: any(channel.held for channel in server.channels))
            server.stop("it was told to")
            assert read_all(sock) == b""
        site.thread.wait()


def test_a_closed_peer_is_told_apart_from_a_stop(path, hub_name):
    codes = []

    @WebSocketWSGI
    def app(ws):
        while ws.wait() is not None:
            pass
        codes.append(ws.close_code)

    head = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
    with serving(app, **path) as site, site.connect() as sock:
        sock.sendall(f"GET / HTTP/1.1\r\n{head}\r\n".encode() + closing())
        assert read_all(sock).endswith(b"\x88\x02\x03\xe8")
    assert codes == [1000]


def test_messages_of_http_server_go_to_the_log(hub_name):
    class Protocol(wsgi.HttpProtocol):
        def get_environ(self):
            self.log_message("%d words for %s", 2, "the log")
            return super().get_environ()

    with serving(echo, protocol=Protocol) as site:
        assert site.ask(POST).body == b"body"
    assert "2 words for the log" in site.log.text
