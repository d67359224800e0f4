"""How a server of `greenio.wsgi` runs, limits and logs."""

from __future__ import annotations

import asyncio
import logging

import pytest

import greenio
from _http import (
    GET,
    LAST,
    PATHS,
    Lines,
    echo,
    hello,
    read_all,
    read_answer,
    serving,
)
from _support import until
from greenio import hubs, wsgi
from greenio.event import Event


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


# -- limits on time ----------------------------------------------------------------------


def test_a_head_must_come_in_time(path, hub_name):
    with serving(hello, header_timeout=0.1, **path) as site:
        with site.connect() as silent, site.connect() as slow:
            slow.sendall(b"GET / HTTP/1.1\r\nHost")
            answer = read_all(slow)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")
            assert read_all(silent) == b""
    assert site.seen == []


def test_a_byte_at_a_time_is_no_way_round(path, hub_name):
    with serving(hello, header_timeout=0.1, **path) as site, site.connect() as sock:
        ended = greenio.spawn(read_all, sock)
        with pytest.raises(OSError, match=r"."):
            while True:
                sock.sendall(b"a")
                greenio.sleep(0.01)
        ended.kill()


@pytest.mark.parametrize("keywords", [{"idle_timeout": 0.1}, {"keepalive": 0.1}])
def test_an_idle_connection_is_ended(keywords, path, hub_name):
    with serving(hello, **keywords, **path) as site, site.connect() as sock:
        sock.sendall(GET)
        assert read_answer(sock)[0] == 200
        assert read_all(sock) == b""


def test_keepalive_may_be_off(path, hub_name):
    with serving(hello, keepalive=False, **path) as site:
        answers = site.ask(GET)
    assert answers.headers["connection"] == "close"


def test_a_body_must_go_on(path, hub_name):
    errors = []

    def app(environ, start_response):
        try:
            return echo(environ, start_response)
        except TimeoutError as exc:
            errors.append(exc)
            raise

    with serving(app, body_timeout=0.1, **path) as site, site.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhell")
        read_all(sock)
    assert len(errors) == 1


def test_socket_timeout_is_for_each_read(path, hub_name):
    with serving(echo, socket_timeout=0.1, **path) as site, site.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhell")
        read_all(sock)
    assert "TimeoutError" in site.log.text


def test_an_application_that_takes_its_time_is_not_ended(path, hub_name):
    def app(environ, start_response):
        greenio.sleep(0.4)
        return hello(environ, start_response)

    limits = {"header_timeout": 0.1, "idle_timeout": 0.1, "body_timeout": 0.1}
    with serving(app, **limits, **path) as site:
        assert site.ask(LAST).statuses == [200]


def test_slow_clients_keep_nobody_waiting(path, hub_name):
    with serving(hello, header_timeout=0.3, **path) as site:
        slow = [site.connect() for _ in range(200)]
        for sock in slow:
            sock.sendall(b"GET / HT")
        for _ in range(20):
            assert site.ask(LAST).statuses == [200]
        for sock in slow:
            read_all(sock)
            sock.close()


# -- green threads ------------------------------------------------------------------------------


def test_requests_run_beside_each_other(path, hub_name):
    begun = []
    go_on = Event()

    def app(environ, start_response):
        begun.append(greenio.getcurrent())
        go_on.wait()
        return hello(environ, start_response)

    with serving(app, **path) as site:
        clients = [greenio.spawn(site.ask, LAST) for _ in range(5)]
        until(lambda: len(begun) == 5)
        go_on.send()
        assert [client.wait().statuses for client in clients] == [[200]] * 5
    assert len(set(begun)) == 5
    assert all(isinstance(thread, greenio.GreenThread) for thread in begun)


def test_what_one_request_leaves_on_its_green_thread_the_next_does_not_see(hub_name):
    from contextvars import ContextVar

    from greenio.corolocal import local

    mine, var = local(), ContextVar("var", default=None)
    found = []

    def app(environ, start_response):
        current = greenio.getcurrent()
        found.append(
            (getattr(current, "mark", None), getattr(mine, "mark", None), var.get())
        )
        current.mark = mine.mark = 1
        var.set(1)
        return hello(environ, start_response)

    with serving(app) as site, site.connect() as sock:
        for _ in range(3):
            sock.sendall(GET)
            read_answer(sock)
    assert found == [(None, None, None)] * 3


def test_a_green_thread_that_is_kept_is_not_used_again(hub_name):
    kept = []

    def app(environ, start_response):
        kept.append(greenio.getcurrent())
        return hello(environ, start_response)

    with serving(app) as site, site.connect() as sock:
        for _ in range(3):
            sock.sendall(GET)
            read_answer(sock)
    assert len({id(thread) for thread in kept}) == 3


def test_a_request_may_be_killed(path, hub_name):
    threads = []

    def app(environ, start_response):
        threads.append(greenio.getcurrent())
        greenio.sleep(100)

    with serving(app, **path) as site:
        client = greenio.spawn(site.ask, GET)
        until(lambda: threads)
        greenio.kill(threads.pop())
        assert client.wait().statuses == []
        site.app = hello
        assert site.ask(LAST).statuses == [200]


def test_a_timeout_of_the_applications_is_an_error(path, hub_name):
    def app(environ, start_response):
        with greenio.Timeout(0.01):
            greenio.sleep(100)

    with serving(app, **path) as site:
        assert site.ask(GET).statuses == [500]


@pytest.mark.parametrize("size", [1, 2])
def test_max_size_bounds_connections(size, path, hub_name):
    with serving(hello, max_size=size, **path) as site:
        first = [site.connect() for _ in range(size)]
        for sock in first:
            sock.sendall(GET)
            read_answer(sock)
        late = greenio.spawn(site.ask, LAST)
        for _ in range(20):
            greenio.sleep(0)
        assert not late.dead
        first.pop().close()
        assert late.wait().statuses == [200]
        for sock in first:
            sock.close()


def test_a_pool_of_ones_own(hub_name):
    pool = greenio.GreenPool(2)
    with serving(hello, custom_pool=pool) as site, site.connect() as sock:
        sock.sendall(GET)
        read_answer(sock)
        assert pool.running() == 1
    pool.waitall()


def test_connections_that_a_program_accepts_itself(hub_name):
    """As nameko does."""
    listener = greenio.listen(("127.0.0.1", 0))
    log = Lines()
    server = wsgi.Server(listener, listener.getsockname(), hello, log=log)

    def accept():
        sock, address = listener.accept()
        server.process_request([address, sock, wsgi.STATE_IDLE])

    thread = greenio.spawn(accept)
    with greenio.connect(listener.getsockname()) as sock:
        sock.sendall(GET)
        assert read_answer(sock)[0] == 200
    thread.wait()
    listener.close()
    assert not server.channels
    until(lambda: hubs.get_hub().timers == 0)


def test_a_subclass_sees_each_step(hub_name):
    """As Swift's does."""
    steps = []

    class Protocol(wsgi.HttpProtocol):
        default_request_version = "HTTP/1.0"

        def __init__(self, *args, **kwargs):
            steps.append("init")
            super().__init__(*args, **kwargs)

        def _read_request_line(self):
            steps.append(self.conn_state[2])
            return super()._read_request_line()

        def handle_one_request(self):
            super().handle_one_request()
            steps.append("handled")

        def get_environ(self, *args, **kwargs):
            environ = super().get_environ(*args, **kwargs)
            environ["a"] = self.get_client_address()[0]
            return environ

    with serving(hello, protocol=Protocol) as site:
        assert site.ask(GET + LAST).statuses == [200, 200]
    assert steps == ["init", "idle", "handled", "idle", "handled"]


# -- the log -----------------------------------------------------------------------------------------


def test_the_log_says_what_was_asked(path, hub_name):
    raw = b'GET /a"\\?x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\n'
    with serving(hello, **path) as site:
        site.ask(raw + b"Connection: close\r\n\r\n")
    assert "1.2.3.4,127.0.0.1 - - [" in site.log.text
    assert '] "GET /a\\"\\\\?x HTTP/1.1" 200 5 0.' in site.log.text
    with serving(hello, log_x_forwarded_for=False, **path) as site:
        site.ask(raw + b"Connection: close\r\n\r\n")
    assert "1.2.3.4" not in site.log.text
    with serving(hello, log_output=False, **path) as site:
        site.ask(LAST)
    assert "GET" not in site.log.text


class BrokenLog:
    """Takes a line, and is full."""

    def __init__(self):
        self.tried = 0

    def write(self, text):
        self.tried += 1
        if self.tried > 1:
            raise OSError(28, "No space left on device")


def test_a_log_that_fails_is_no_end_of_the_server(path, hub_name, capfd):
    log = BrokenLog()
    with serving(hello, log=log, header_timeout=0.1, **path) as site:
        for _ in range(3):
            assert site.ask(LAST).statuses == [200]
        assert site.ask(b"GET / HT").statuses in ([408], [])
        assert site.ask(LAST).statuses == [200]
    assert log.tried > 4
    # It is said where the log cannot say it, once.
    assert capfd.readouterr().err.count("No space left on device") == 1


def test_a_format_and_a_logger_of_ones_own(path, hub_name, caplog):
    caplog.set_level(logging.DEBUG)
    log = logging.getLogger("site")
    form = (
        "%(client_ip)s %(client_port)s %(status_code)s %(body_length)s %(user_agent)s"
    )
    with serving(hello, log=log, log_format=form, **path) as site:
        site.ask(b"GET /%d HTTP/1.1\r\nHost: a\r\nUser-Agent: %s\r\n" + LAST[25:])
    assert any(text.endswith(" 200 5 %s") for text in caplog.messages)


def test_limits_that_are_assigned_count_at_once(path, hub_name, monkeypatch):
    with serving(hello, **path) as site:
        long = b"GET / HTTP/1.1\r\nX: " + b"a" * 600 + b"\r\n" + LAST[16:]
        assert site.ask(long).statuses == [200]
        monkeypatch.setattr(wsgi, "MAX_HEADER_LINE", 500)
        assert site.ask(long).statuses == [431]
    with pytest.raises(ValueError, match="MAX_HEADER_LINE"):
        wsgi.MAX_HEADER_LINE = "x"


# -- beside coroutines ---------------------------------------------------------------------------


def test_it_runs_beside_coroutines(path, run_async):
    sock = greenio.listen(("127.0.0.1", 0))
    address = sock.getsockname()

    def app(environ, start_response):
        greenio.await_(asyncio.sleep(0))
        return hello(environ, start_response)

    async def main():
        server = asyncio.create_task(
            wsgi.serve(app, sock=sock, log=Lines(), graceful_timeout=5, **path)
        )
        reader, writer = await asyncio.open_connection(*address[:2])
        writer.write(LAST)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.cancel()
        with pytest.raises(asyncio.CancelledError):
            await server
        return answer

    assert run_async(main).startswith(b"HTTP/1.1 200 OK")
