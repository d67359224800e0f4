"""gunicorn's settings hold with greenio's worker."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import socket
import ssl
import textwrap
import time

import psutil
import pytest
import trustme

from _gunicorn import Gunicorn

pytestmark = pytest.mark.slow

APP = """
import os, threading, time

lock = threading.Lock()
running = 0
most = 0

def app(environ, start_response):
    global running, most
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    headers = [("Content-Type", "text/plain")]
    if path == "/environ":
        start_response("200 OK", headers)
        return [repr(environ.get(query)).encode()]
    if path == "/sleep":
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(float(query))
        with lock:
            running -= 1
    if path == "/most":
        start_response("200 OK", headers)
        return [str(most).encode()]
    if path == "/block":
        end = time.monotonic() + 60
        while time.monotonic() < end:
            pass
    if path == "/length":
        body = environ["wsgi.input"].read()
        start_response("200 OK", headers)
        return [str(len(body)).encode()]
    if path == "/pieces":
        start_response("200 OK", headers)
        return pieces(float(query))
    if path == "/file":
        start_response("200 OK", headers)
        return environ["wsgi.file_wrapper"](open(os.environ["BIG_FILE"], "rb"))
    if path == "/exit":
        raise SystemExit(3)
    if path == "/errors":
        print("said by the application", file=environ["wsgi.errors"])
    start_response("200 OK", headers)
    return [str(os.getpid()).encode()]

def pieces(pause):
    yield b"one "
    time.sleep(pause)
    yield b"two"
"""


@pytest.fixture
def gunicorn(tmp_path, loop):
    started = []

    def start(*words, app=APP, **keywords):
        headers = keywords.pop("headers", None)
        started.append(Gunicorn(tmp_path, loop, app, *words, **keywords))
        return started[-1].started(headers)

    yield start
    for one in started:
        one.kill()


# -- requests and answers ----------------------------------------------------------------


def test_the_environment_is_gunicorns(gunicorn):
    server = gunicorn("-w", "2", "-e", "SCRIPT_NAME=/mounted")

    def value(key, prefix="/mounted", **headers):
        return server.ask(f"{prefix}/environ?{key}", headers=headers)

    assert value("RAW_URI") == "'/mounted/environ?RAW_URI'"
    assert value("SCRIPT_NAME") == "'/mounted'"
    assert value("PATH_INFO") == "'/environ'"
    assert value("wsgi.multiprocess") == value("wsgi.multithread") == "True"
    assert value("SERVER_SOFTWARE").startswith("'gunicorn/")
    assert value("CONTENT_TYPE") == value("HTTPS") == "None"
    assert value("SERVER_PORT") == f"'{server.port}'"
    assert value("REMOTE_ADDR") == "'127.0.0.1'"
    assert "GreenSocket" in value("gunicorn.socket")
    assert server.respond("/elsewhere")[0].status == 500


def test_answers_bear_gunicorns_name_and_the_applications_headers(gunicorn):
    answer = gunicorn().raw(b"GET / HTTP/1.0\r\n\r\n")
    head = answer.partition(b"\r\n\r\n")[0]
    assert b"\r\nServer: gunicorn\r\n" in head
    assert head.count(b"\r\nDate: ") == 1
    assert b"\r\nConnection: close" in head


def test_pieces_are_sent_as_they_come(gunicorn):
    server = gunicorn()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        sock.sendall(b"GET /pieces?30 HTTP/1.1\r\nHost: a\r\n\r\n")
        data = b""
        while not data.endswith(b"4\r\none \r\n"):
            data += sock.recv(4096)
    assert b"two" not in data


def test_bodies(gunicorn):
    server = gunicorn()
    assert server.ask("/length", method="POST", body=b"x" * 300_000) == "300000"
    chunked = server.raw(
        b"POST /length HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    )
    assert chunked.endswith(b"\r\n\r\n5")


@pytest.mark.parametrize("words", [(), ("--no-sendfile",)], ids=["sendfile", "without"])
def test_files(gunicorn, tmp_path, words):
    data = bytes(range(256)) * 20_000
    (tmp_path / "big").write_bytes(data)
    server = gunicorn(*words, "-e", f"BIG_FILE={tmp_path / 'big'}")
    if words == ():
        # The system sends it: this process never holds it.
        worker = psutil.Process(server.workers()[0])
        before = worker.io_counters().read_chars
    response, body = server.respond("/file")
    assert hashlib.sha256(body).digest() == hashlib.sha256(data).digest()
    assert int(response.getheader("Content-Length", len(data))) == len(data)
    if words == ():
        assert worker.io_counters().read_chars - before < 2 * len(data)


def test_an_application_that_exits_ends_its_request_only(gunicorn):
    server = gunicorn()
    pids = server.workers()
    assert server.respond("/exit")[0].status == 500
    assert server.ask("/") in map(str, pids)
    assert server.workers() == pids


@pytest.mark.parametrize("words", [(), ("--permit-obsolete-folding",)])
def test_pages_of_errors_are_gunicorns(gunicorn, words):
    """In HTML, whoever reads the requests."""
    server = gunicorn(*words)
    answer = server.raw(b"GET / HTTP/1.1\r\nHost: a\r\nbad<name: b\r\n\r\n")
    # On Python 3.14 gunicorn's own page ends its head by "\r\n\n": `textwrap.dedent` makes
    # a line with nothing but a "\r" an empty one there.
    head, refused = re.split(rb"\r\n\r?\n", answer, maxsplit=1)
    assert head.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"Content-Type: text/html" in head
    assert b"<title>Bad Request</title>" in refused
    assert b"<name" not in refused
    if not words:
        # gunicorn's own code ends the connection of an application that exits.
        failed, page = server.respond("/exit")
        assert failed.getheader("Content-Type") == "text/html"
        assert b"<title>Internal Server Error</title>" in page


# -- limits ------------------------------------------------------------------------------


def test_limits_on_heads(gunicorn):
    server = gunicorn(
        *("--limit-request-line", "100", "--limit-request-fields", "5"),
        *("--limit-request-field_size", "60"),
    )

    def status(path="/", headers=()):
        lines = "".join(f"{line}\r\n" for line in ("Host: a", *headers))
        answer = server.raw(
            f"GET {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode()
        )
        return int(answer.split()[1])

    assert status("/" + "a" * 80) == 200
    assert status("/" + "a" * 100) == 414
    assert status(headers=["a: b"] * 3) == 200
    assert status(headers=["a: b"] * 4) == 431
    # With its CRLF.
    assert status(headers=["a: " + "b" * 55]) == 200
    assert status(headers=["a: " + "b" * 56]) == 431


def test_worker_connections_and_what_waits_for_room(gunicorn):
    server = gunicorn("--worker-connections", "3", "--keep-alive", "1")
    socks = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
    for sock in socks:
        sock.sendall(b"GET /sleep?0.2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    for sock in socks:
        sock.settimeout(30)
        assert sock.recv(12) == b"HTTP/1.1 200"
        sock.close()
    assert server.ask("/most") == "3"


@pytest.mark.parametrize("seconds", [0, 1])
def test_keepalive(gunicorn, seconds):
    server = gunicorn("--keep-alive", str(seconds))
    answer = server.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    # It ended by itself.
    assert (b"\r\nConnection: close\r\n" in answer) == (seconds == 0)


def test_unconventional_methods(gunicorn):
    server = gunicorn()
    assert server.respond("/", method="PURGE")[0].status == 200
    for method in ("get", "AB", "A" * 21):
        answer = server.raw(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert answer.split()[1] == b"400"
    assert "Invalid request from ip=127.0.0.1" in server.end()


def test_unconventional_methods_where_they_are_permitted(gunicorn):
    server = gunicorn("--permit-unconventional-http-method")
    assert server.respond("/", method="purge")[0].status == 200


# -- what proxies say --------------------------------------------------------------------


def test_only_those_that_are_trusted_name_the_scheme(gunicorn):
    server = gunicorn("--forwarded-allow-ips", "10.0.0.1")
    said = {"X-Forwarded-Proto": "https"}
    assert server.ask("/environ?wsgi.url_scheme", headers=said) == "'http'"
    server.kill()
    server = gunicorn()
    assert server.ask("/environ?wsgi.url_scheme", headers=said) == "'https'"
    said = {"X-Forwarded-Proto": "http", "X-Forwarded-Ssl": "off"}
    assert server.ask("/environ?wsgi.url_scheme", headers=said) == "'http'"
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"}
    assert server.respond("/", headers=said)[0].status == 400


def test_headers_with_underscores(gunicorn):
    server = gunicorn()
    assert server.ask("/environ?HTTP_X_REAL", headers={"X_Real": "1"}) == "None"
    named = {"SCRIPT_NAME": "/here"}
    assert server.ask("/here/environ?SCRIPT_NAME", headers=named) == "'/here'"
    server.kill()
    server = gunicorn("--header-map", "refuse", "--forwarded-allow-ips", "10.0.0.1")
    assert server.respond("/", headers={"X_Real": "1"})[0].status == 400
    assert server.respond("/here/", headers=named)[0].status == 400
    server.kill()
    server = gunicorn("--header-map", "dangerous")
    assert server.ask("/environ?HTTP_X_REAL", headers={"X_Real": "1"}) == "'1'"


def test_the_proxy_protocol(gunicorn):
    conf = """
        import gunicorn
        proxy_protocol = "auto" if gunicorn.version_info[0] >= 25 else True
    """
    server = gunicorn(conf=conf)
    answer = server.raw(
        b"PROXY TCP4 192.0.2.7 127.0.0.1 5555 80\r\n"
        b"GET /environ?REMOTE_ADDR HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    assert b"'192.0.2.7'" in answer
    assert "read by gunicorn's parser: proxy_protocol" in server.end()


# -- TLS, Unix sockets, several addresses ------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("parser", [(), ("--casefold-http-method",)])
@pytest.mark.parametrize("hook", [False, True], ids=["files", "ssl_context"])
def test_tls(gunicorn, tmp_path, hook, parser):
    """With greenio's parser, and with what only gunicorn's own keeps."""
    authority = trustme.CA()
    mine = authority.issue_cert("127.0.0.1")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    data = b"0123456789" * 200_000
    (tmp_path / "big").write_bytes(data)
    conf = """
        def ssl_context(conf, default):
            import ssl
            context = default()
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            return context
    """
    server = gunicorn(
        *("--certfile", "cert.pem", "--keyfile", "key.pem", "-w", "2"),
        *("-e", f"BIG_FILE={tmp_path / 'big'}", *parser),
        tls=context,
        conf=conf if hook else "",
    )
    assert server.ask("/environ?wsgi.url_scheme") == "'https'"
    assert server.respond("/file")[1] == data
    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert int(server.ask()) in server.workers()
    old = ssl.create_default_context()
    authority.configure_trust(old)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    server.tls = old
    if hook:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            server.ask()
    else:
        assert server.ask()
    assert "Traceback" not in server.end()


def test_a_unix_socket_beside_another_port(gunicorn, tmp_path):
    server = gunicorn("-b", "unix:sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(tmp_path / "sock"))
        sock.sendall(
            b"GET /environ?SERVER_NAME HTTP/1.1\r\nHost: example.org:81\r\n"
            b"X-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
        )
        answer = b"".join(iter(lambda: sock.recv(4096), b""))
    assert answer.endswith(b"'example.org'")
    assert int(server.ask()) in server.workers()
    server.end()
    assert not (tmp_path / "sock").exists()


# -- the worker's life -------------------------------------------------------------------


@pytest.mark.smoke
def test_a_blocked_worker_is_replaced_and_named(gunicorn):
    # The time also counts for those that are just beginning.
    server = gunicorn("--timeout", "5", "-w", "2")
    before = server.until(lambda: len(now := server.workers()) == 2 and now)
    answered = set()
    server.until(lambda: answered.add(int(server.ask())) or answered == set(before))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        blocked = int(connection.getresponse().read())
        connection.request("GET", "/block")
        with pytest.raises(ConnectionError):
            connection.getresponse()
    assert f"WORKER TIMEOUT (pid:{blocked})" in server.log
    after = server.until(
        lambda: blocked not in (now := server.workers()) and len(now) == 2 and now
    )
    assert set(before) - set(after) == {blocked}
    assert server.ask()
    log = server.end()
    assert f"Worker (pid:{blocked}) blocked its loop in" in log
    assert "in app\n" in log


def test_a_worker_that_is_busy_but_not_blocked_stays(gunicorn):
    server = gunicorn("--timeout", "2")
    before = server.workers()
    assert server.ask("/sleep?5")
    assert server.workers() == before


def test_max_requests(gunicorn):
    server = gunicorn("--max-requests", "5", "--max-requests-jitter", "3")
    pids = set()
    for _ in range(40):
        pids.add(server.until(lambda: server.ask("/")))
    assert len(pids) >= 4
    assert "Autorestarting worker after current request." in server.end()


def test_graceful_timeout_bounds_the_stop(gunicorn):
    server = gunicorn("--graceful-timeout", "1")
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
        sock.sendall(b"GET /sleep?100 HTTP/1.1\r\nHost: a\r\n\r\n")
        server.until(lambda: server.ask("/most") == "1")
        begun = time.monotonic()
        server.end()
        assert time.monotonic() - begun < 20
        assert sock.recv(4096) == b""


def test_the_worker_ends_when_its_arbiter_is_gone(gunicorn):
    server = gunicorn()
    (worker,) = [psutil.Process(pid) for pid in server.workers()]
    server.master.kill()
    server.process.wait()
    worker.wait(timeout=30)


HOOKS = """
    def say(*words):
        print(*words, flush=True)

    def post_fork(server, worker): say("post_fork")
    def post_worker_init(worker): say("post_worker_init", worker.wsgi.__name__)
    def worker_int(worker): say("worker_int")
    def worker_abort(worker): say("worker_abort")
    def child_exit(server, worker): say("child_exit")
    def worker_exit(server, worker): say("worker_exit")
    def pre_request(worker, req):
        say("pre_request", req.method, req.path, req.query, req.uri, req.version,
            req.headers[0], req.scheme, worker.nr)
        if req.path == "/refused":
            raise ValueError("refused by the hook")
    def post_request(worker, req, environ, resp):
        say("post_request", req.uri, environ["PATH_INFO"], resp.status, resp.sent,
            resp.headers)
"""


def test_hooks(gunicorn):
    server = gunicorn(conf=HOOKS)
    pid = server.ask("/some?a=b")
    assert server.respond("/refused")[0].status == 500
    assert server.ask("/errors")
    log = server.end()
    assert "post_fork\n" in log
    assert "post_worker_init app\n" in log
    assert (
        "pre_request GET /some a=b /some?a=b (1, 1) "
        f"('HOST', '127.0.0.1:{server.port}') http 2\n"
    ) in log
    assert (
        f"post_request /some?a=b /some 200 OK {len(pid)} "
        "[('Content-Type', 'text/plain')]\n"
    ) in log
    assert "post_request /refused /refused 500 Internal Server Error" in log
    assert "ValueError: refused by the hook" in log
    assert "said by the application" in log
    assert "worker_exit\n" in log
    assert "child_exit\n" in log
    assert "worker_int\n" not in log


def test_the_abort_hook(gunicorn):
    server = gunicorn("--timeout", "1", conf=HOOKS)
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
        sock.sendall(b"GET /block HTTP/1.1\r\nHost: a\r\n\r\n")
        server.until(lambda: "worker_abort\n" in server.log)


def test_the_access_log(gunicorn, tmp_path):
    server = gunicorn(
        *("--access-logfile", "access", "--access-logformat"),
        "%(h)s %(m)s %(U)s %(q)s %(s)s %(B)s %(f)s %({x-a}i)s %({content-type}o)s "
        "%({raw_uri}e)s %(L)s %(p)s",
    )
    pid = server.ask("/some?a=b", headers={"X-A": "said", "Referer": "there"})
    line = server.until(
        lambda: [
            each
            for each in (tmp_path / "access").read_text().splitlines()
            if "/some" in each
        ]
    )[0].split()
    assert line[:10] == [
        *("127.0.0.1", "GET", "/some", "a=b", "200", str(len(pid)), "there"),
        *("said", "text/plain", "/some?a=b"),
    ]
    assert 0 <= float(line[10]) < 60
    assert line[11] == f"<{pid}>"


def test_loggers_of_the_programs_own(gunicorn, tmp_path):
    """They are given all of it, in the context of the request."""
    (tmp_path / "own.py").write_text(
        textwrap.dedent(
            """
            from contextvars import ContextVar
            from gunicorn.glogging import Logger

            request_id = ContextVar("request_id", default="none")

            class Own(Logger):
                def access(self, resp, req, environ, request_time):
                    print("own:", resp.status, resp.status_code, resp.headers_sent,
                        req.method, req.uri, dict(req.headers)["X-ID"],
                        environ["wsgi.url_scheme"], request_id.get(), flush=True)
            """
        )
    )
    app = """
    import own

    def app(environ, start_response):
        own.request_id.set(environ.get("HTTP_X_ID"))
        start_response("200 OK", [])
        return [b"answer"]
    """
    conf = """
        import own
        logger_class = own.Own
    """
    server = gunicorn(app=app, conf=conf, headers={"X-Id": "0"})
    server.ask("/a?b", headers={"X-Id": "17"})
    assert "own: 200 OK 200 True GET /a?b 17 http 17\n" in server.end()


def test_a_filter_on_the_access_log_sees_the_requests_context(gunicorn, tmp_path):
    app = """
    import contextvars, logging

    request_id = contextvars.ContextVar("request_id", default="none")

    class Mark(logging.Filter):
        def filter(self, record):
            record.msg = f"{request_id.get()} {record.msg}"
            return True

    logging.getLogger("gunicorn.access").addFilter(Mark())

    def app(environ, start_response):
        request_id.set("from-the-request")
        start_response("200 OK", [])
        return [b"answer"]
    """
    server = gunicorn("--access-logfile", "-", app=app)
    server.ask("/some")
    assert re.search(r'from-the-request .* "GET /some HTTP/1.1" 200 6', server.end())


def test_a_statsd_is_told_of_requests(gunicorn):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(30)
        server = gunicorn("--statsd-host", f"127.0.0.1:{statsd.getsockname()[1]}")
        assert server.ask()
        while b"gunicorn.request.status.200" not in statsd.recv(4096):
            pass


def test_preloaded_applications_are_patched_too(gunicorn):
    app = """
    import os, threading, time
    from time import sleep
    from queue import Queue
    pid = os.getpid()
    queue = Queue()
    lock = threading.RLock()

    def app(environ, start_response):
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/put":
            queue.put("put")
            return [b""]
        if environ["PATH_INFO"] == "/get":
            with lock:
                return [queue.get(timeout=30).encode()]
        sleep(0.01)
        return [str(pid).encode()]
    """
    server = gunicorn("--preload", "-w", "2", app=app)
    assert server.ask() == str(server.master.pid)
    server.end()
    server = gunicorn("--preload", app=app)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        sock.sendall(b"GET /get HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        # While one waits for it, in what was made before patching.
        server.ask("/put")
        assert b"".join(iter(lambda: sock.recv(4096), b"")).endswith(b"put")


def test_reload(gunicorn, tmp_path):
    server = gunicorn("--reload", "--reload-engine", "poll")
    pids = server.workers()
    source = tmp_path / "site_under_test.py"
    source.write_text(source.read_text() + "\nchanged = True\n")
    server.until(lambda: (now := server.workers()) and now != pids)
    assert server.until(server.ask)
    assert "Worker reloading:" in server.log
