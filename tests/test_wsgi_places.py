"""`wsgi.server` in patched programs, and on loops that run already."""

from __future__ import annotations

import asyncio

import pytest

import greenio
from _fresh import run
from _http import LAST, PATHS, Lines, hello
from greenio import wsgi


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


def test_in_a_patched_program(loop):
    """Applications block as they like; clients of the same process are green, too."""
    run(
        """
        import greenio; greenio.monkey_patch()
        import http.client, io, queue, socket, subprocess, sys, threading, time
        import urllib.request
        from greenio import wsgi

        barrier = threading.Barrier(10)
        lock = threading.RLock()
        jobs = queue.Queue()
        seen = set()

        def app(environ, start_response):
            path = environ["PATH_INFO"]
            if path == "/together":
                # All ten are here at once, or none gets through.
                barrier.wait(20)
                with lock:
                    seen.add(threading.current_thread())
            elif path == "/process":
                said = subprocess.run(
                    [sys.executable, "-c", "print('said')"], capture_output=True
                )
                start_response("200 OK", [])
                return [said.stdout]
            elif path == "/thread":
                thread = threading.Thread(target=jobs.put, args=("job",))
                thread.start()
                thread.join()
                start_response("200 OK", [])
                return [jobs.get(timeout=20).encode()]
            elif path == "/proxy":
                url = f"http://{environ['HTTP_HOST']}/process"
                body = urllib.request.urlopen(url, timeout=20).read()
                start_response("200 OK", [])
                return [b"proxied ", body]
            time.sleep(0.01)
            start_response("200 OK", [("X-Thread", threading.current_thread().name)])
            return [b"hello"]

        class Protocol(wsgi.HttpProtocol):
            def get_environ(self):
                return super().get_environ()

        for protocol in (wsgi.HttpProtocol, Protocol):
            listener = socket.create_server(("127.0.0.1", 0), backlog=100)
            log = io.StringIO()
            server = greenio.spawn(
                wsgi.server, listener, app, log=log, protocol=protocol
            )
            port = listener.getsockname()[1]

            def ask(path):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                connection.request("GET", path)
                answer = connection.getresponse().read()
                connection.close()
                return answer

            threads = [
                threading.Thread(target=ask, args=("/together",)) for _ in range(10)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(seen) == 10, seen
            seen.clear()
            assert ask("/process") == b"said\\n"
            assert ask("/thread") == b"job"
            assert ask("/proxy") == b"proxied said\\n"
            server.kill()
            assert "Traceback" not in log.getvalue(), log.getvalue()
        """,
        hub=loop,
    )


def test_the_main_program_may_be_the_server(loop):
    """It ends by StopServe, by a signal, and by a closed socket, and returns."""
    run(
        """
        import greenio; greenio.monkey_patch()
        import io, os, signal, socket, threading
        from greenio import wsgi

        def app(environ, start_response):
            if environ["PATH_INFO"] == "/stop":
                raise greenio.StopServe
            if environ["PATH_INFO"] == "/signal":
                os.kill(os.getpid(), signal.SIGINT)
            if environ["PATH_INFO"] == "/close":
                listener.close()
            start_response("200 OK", [])
            return [b"hello"]

        def ask(address, path):
            with socket.create_connection(address) as sock:
                sock.sendall(b"GET %b HTTP/1.0\\r\\n\\r\\n" % path)
                while sock.recv(100):
                    pass

        for path, why in (
            (b"/stop", "raised StopServe"),
            (b"/signal", "KeyboardInterrupt"),
            (b"/close", "the listening socket was closed"),
        ):
            listener = greenio.listen(("127.0.0.1", 0))
            log = io.StringIO()
            client = threading.Thread(
                target=ask, args=(listener.getsockname(), path)
            )
            client.start()
            try:
                wsgi.server(listener, app, log=log)
            except KeyboardInterrupt:
                assert path == b"/signal"
            else:
                assert path != b"/signal"
            client.join()
            assert why in log.getvalue(), log.getvalue()
        """,
        hub=loop,
    )


def test_a_patched_program_on_a_running_loop(loop):
    run(
        """
        import greenio; greenio.monkey_patch()
        import asyncio, io, sys, time
        from greenio import wsgi

        def app(environ, start_response):
            time.sleep(0.01)
            said = greenio.await_(asyncio.sleep(0, "awaited"))
            start_response("200 OK", [])
            return [said.encode()]

        async def ask(port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

        async def main():
            sock = greenio.listen(("127.0.0.1", 0), backlog=100)
            port = sock.getsockname()[1]
            server = asyncio.ensure_future(wsgi.serve(app, sock=sock, log=io.StringIO()))
            answers = await asyncio.gather(*(ask(port) for _ in range(20)))
            assert all(answer.endswith(b"awaited") for answer in answers), answers
            server.cancel()
            try:
                await server
            except asyncio.CancelledError:
                print("ended")

        if sys.argv[1] == "uvloop":
            import uvloop
            loop = uvloop.new_event_loop()
        else:
            loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
        """,
        loop,
    )


async def ask(address):
    reader, writer = await asyncio.open_connection(*address[:2])
    writer.write(LAST)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def ended(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_several_servers_on_one_running_loop(path, run_async):
    def app(environ, start_response):
        # The loop's coroutines go on while green code waits, and the reverse.
        assert greenio.await_(asyncio.sleep(0, 5)) == 5
        greenio.sleep(0.001)
        return hello(environ, start_response)

    async def main():
        socks = [greenio.listen(("127.0.0.1", 0)) for _ in range(3)]
        servers = [
            asyncio.ensure_future(wsgi.serve(app, sock=sock, log=Lines(), **path))
            for sock in socks
        ]
        addresses = [sock.getsockname() for sock in socks]
        answers = await asyncio.gather(*map(ask, addresses * 5))
        for server in servers:
            await ended(server)
        return answers

    answers = run_async(main)
    assert len(answers) == 15
    assert all(answer.endswith(b"hello") for answer in answers)


def test_a_cancelled_server_answers_what_it_has_begun(path, run_async):
    async def main():
        begun, go_on = asyncio.Event(), asyncio.Event()

        def app(environ, start_response):
            begun.set()
            greenio.await_(go_on.wait())
            return hello(environ, start_response)

        sock = greenio.listen(("127.0.0.1", 0))
        log = Lines()
        server = asyncio.ensure_future(wsgi.serve(app, sock=sock, log=log, **path))
        client = asyncio.ensure_future(ask(sock.getsockname()))
        await begun.wait()
        server.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not server.done()
        go_on.set()
        answer = await client
        with pytest.raises(asyncio.CancelledError):
            await server
        return answer, log.text

    answer, text = run_async(main)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert "were still in use" not in text


def test_a_server_started_from_green_code_of_a_running_loop(path, run_async):
    async def main():
        sock = greenio.listen(("127.0.0.1", 0))

        def start():
            return greenio.spawn(wsgi.server, sock, hello, log=Lines(), **path)

        thread = await greenio.run_green(start)
        answer = await ask(sock.getsockname())
        await greenio.run_green(thread.kill)
        return answer

    assert run_async(main).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("app", "keywords", "error", "match"),
    [
        (None, {}, TypeError, "WSGI application"),
        (hello, {"address": "nowhere"}, (TypeError, ValueError, OSError), None),
        (hello, {"max_size": 0}, ValueError, "max_size"),
        (hello, {"sock": 5}, TypeError, "listening socket"),
        (hello, {"unknown": 5}, TypeError, "unknown"),
        (ask, {}, TypeError, "uvicorn|ASGI|async"),
    ],
)
def test_what_cannot_be_served_is_said_to_the_coroutine(
    app, keywords, error, match, run_async
):
    async def main():
        keywords.setdefault("address", ("127.0.0.1", 0))
        with pytest.raises(error, match=match):
            await asyncio.wait_for(wsgi.serve(app, log=Lines(), **keywords), 20)

    run_async(main)
