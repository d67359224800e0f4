"""After monkey_patch asyncio and uvloop still run on the original modules."""

from __future__ import annotations

import pytest

from _fresh import run

# Each starts interpreters.
pytestmark = pytest.mark.slow

# -- asyncio stays itself ---------------------------------------------------------------

ASYNC = """
    import sys
    kind, order = sys.argv[1:]
    if order == "after":
        import asyncio, concurrent.futures, selectors, socket, ssl, threading
        import subprocess
        from concurrent.futures import ThreadPoolExecutor
        if kind == "uvloop":
            import uvloop
    import greenio
    greenio.monkey_patch()
    import asyncio, concurrent.futures, os, selectors, signal, socket, ssl, subprocess
    import threading, time
    if kind == "uvloop":
        import uvloop
        run = uvloop.run
    else:
        run = asyncio.run
    native = greenio.patcher.original("threading").get_ident
    here = native()

    def work(seconds=0.02):
        time.sleep(seconds)
        return native(), threading.current_thread().name
"""


def run_async(body: str, kind: str, order: str) -> str:
    indented = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    return run(f"{ASYNC}\n{indented}\n", kind, order)


@pytest.fixture(params=["before", "after"], ids=["patched-first", "imported-first"])
def order(request):
    return request.param


def test_executors_run_real_threads(loop, order):
    run_async(
        """
async def main():
    loop = asyncio.get_running_loop()
    started = time.monotonic()
    results = await asyncio.gather(*(asyncio.to_thread(work, 0.05) for _ in range(4)))
    assert time.monotonic() - started < 1
    results.append(await loop.run_in_executor(None, work))
    assert all(ident != here for ident, _ in results), results
    # Who asks for the current thread there is told the executor's own.
    assert all(name.startswith((kind, "asyncio")) for _, name in results), results
    assert (await loop.getaddrinfo("localhost", 80))[0]
    # A user's executor is green: the same OS thread, but cooperative.
    pool = concurrent.futures.ThreadPoolExecutor(2)
    ident, name = await loop.run_in_executor(pool, work)
    assert ident == here and name.startswith("ThreadPoolExecutor"), (ident, name)
    future = pool.submit(work)
    assert isinstance(future, concurrent.futures.Future)
    assert (await asyncio.wrap_future(future))[0] == here
    assert await greenio.run_green(pool.submit(work).result)
    await greenio.run_green(pool.shutdown)
    # It may be a loop's default, too.
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
    assert (await loop.run_in_executor(None, work))[0] == here
    return "done"

assert run(main()) == "done"
assert run(main()) == "done"

async def empty():
    pass

run(empty())
""",
        loop,
        order,
    )


def test_loops_stand_on_plain_sockets(loop, order):
    run_async(
        """
plain = greenio.patcher.original("socket").socket

async def main():
    loop = asyncio.get_running_loop()
    if kind == "asyncio":
        assert type(loop._ssock) is plain
        assert type(loop._selector).__module__ == "selectors"

    async def shout(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()[:2]
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"streams\\n")
    assert await reader.read() == b"STREAMS\\n"
    writer.close()
    await writer.wait_closed()
    # Green and plain sockets in the loop's hands.
    for make in (socket.socket, plain):
        with make() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            await loop.sock_sendall(sock, b"sock\\n")
            assert await loop.sock_recv(sock, 100) == b"SOCK\\n"
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        reader, writer = await asyncio.open_connection(sock=sock)
        writer.write(b"adopted\\n")
        assert await reader.readline() == b"ADOPTED\\n"
        writer.close()
        await writer.wait_closed()

    # A green client of an async server.
    def client():
        with socket.create_connection(address, 20) as sock:
            sock.sendall(b"green\\n")
            with sock.makefile() as stream:
                return stream.readline()

    assert await greenio.run_green(client) == "GREEN\\n"
    server.close()

run(main())
""",
        loop,
        order,
    )


def test_processes_and_signals(loop, order):
    run_async(
        """
async def main():
    loop = asyncio.get_running_loop()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-Sc", "import sys; print(sys.stdin.read() * 2)",
        stdin=subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )
    assert await process.communicate(b"ab") == (b"abab\\n", None)
    assert process.returncode == 0
    process = await asyncio.create_subprocess_shell("exit 3")
    assert await process.wait() == 3
    seen = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, seen.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.wait_for(seen.wait(), 20)
    loop.remove_signal_handler(signal.SIGUSR1)
    # From a real thread.
    def from_thread():
        return asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01, 7), loop).result()
    assert await asyncio.to_thread(from_thread) == 7

run(main())
""",
        loop,
        order,
    )


def test_new_loops(order):
    run_async(
        """
loop = asyncio.new_event_loop()
try:
    assert loop.run_until_complete(loop.run_in_executor(None, work))[0] != here
    loop.run_until_complete(loop.shutdown_default_executor())
finally:
    loop.close()

# A selector of the patched module, for a loop of one's own.
for name in ("DefaultSelector", "SelectSelector", "PollSelector"):
    loop = asyncio.SelectorEventLoop(getattr(selectors, name)())
    try:
        assert loop.run_until_complete(asyncio.sleep(0.01, name)) == name
    finally:
        loop.close()

async def in_a_thread():
    await asyncio.sleep(0.01)
    return await greenio.run_green(work)

thread_class = greenio.patcher.original("threading").Thread
results = []
thread = thread_class(target=lambda: results.append(asyncio.run(in_a_thread())))
thread.start()
thread.join()
# Green code on that thread's loop.
assert results and results[0][0] != here
""",
        "asyncio",
        order,
    )


def test_threads_started_by_coroutines(loop, order):
    run_async(
        """
async def main():
    done = asyncio.Event()
    seen = []

    def target():
        seen.append((native(), threading.current_thread()))
        time.sleep(0.01)
        done.set()

    thread = threading.Thread(target=target)
    thread.start()
    assert thread.is_alive()
    await asyncio.wait_for(done.wait(), 20)
    assert seen == [(here, thread)]
    await greenio.run_green(thread.join)
    assert not thread.is_alive()

run(main())
""",
        loop,
        order,
    )


def test_debug_mode(loop, order):
    run_async(
        """
import warnings

async def main():
    asyncio.get_running_loop().set_debug(True)
    # A busy machine is not what is looked for.
    asyncio.get_running_loop().slow_callback_duration = 60
    asyncio.get_running_loop().call_soon(lambda: None)
    assert (await asyncio.to_thread(work))[0] != here
    assert await greenio.run_green(work)
    await asyncio.sleep(0.01)

run(main())
""",
        loop,
        order,
    )


def test_asyncio_sees_what_a_test_puts_into_a_module(order):
    """`mock.patch` reaches asyncio as ever, and is taken back."""
    run_async(
        """
from unittest import mock

plain = greenio.patcher.original("socket").socket
answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]

async def main():
    loop = asyncio.get_running_loop()
    with mock.patch("socket.getaddrinfo", return_value=answer) as resolve:
        assert await loop.getaddrinfo("example.invalid", 80) == answer
    assert resolve.call_count == 1
    assert (await loop.getaddrinfo("127.0.0.1", 80))[0][4] == ("127.0.0.1", 80)
    with mock.patch("subprocess.Popen", side_effect=ZeroDivisionError) as popen:
        try:
            await asyncio.create_subprocess_exec(sys.executable, "-c", "")
        except ZeroDivisionError:
            pass
    assert popen.call_count == 1
    process = await asyncio.create_subprocess_exec(sys.executable, "-Sc", "")
    assert await process.wait() == 0
    with mock.patch("time.monotonic", return_value=12345.5):
        assert loop.time() == 12345.5
    return asyncio.base_events.socket.socket

assert run(main()) is plain
greenio.monkey_patch(builtins=True)
assert run(main()) is plain
""",
        "asyncio",
        order,
    )


def test_executors_that_coroutines_make_and_end(loop, order):
    """As asyncio's documentation shows it: a ``with`` block in a coroutine."""
    run_async(
        """
from multiprocessing import get_context

async def main():
    loop = asyncio.get_running_loop()
    threads = concurrent.futures.ThreadPoolExecutor
    with threads(4) as pool:
        results = await asyncio.gather(
            *(loop.run_in_executor(pool, work) for _ in range(8))
        )
        assert all(ident == here for ident, _ in results), results
    try:
        pool.submit(work)
    except RuntimeError as error:
        assert "shutdown" in str(error)
    else:
        raise AssertionError("it is not shut down")
    with threads() as pool:
        pass
    # Work that is still to be done needs the loop, which the error says.
    pool = threads(1)
    future = loop.run_in_executor(pool, work)
    try:
        pool.shutdown()
    except greenio.BlockingInLoopError as error:
        assert "run_green" in str(error)
    assert (await future)[0] == here
    await greenio.run_green(pool.shutdown)
    # In the loop's own time, a real thread sees to the processes.
    for method in ("fork", "spawn", "forkserver"):
        context = get_context(method)
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            results = await asyncio.gather(
                *(loop.run_in_executor(pool, pow, n, 2) for n in range(5))
            )
            assert results == [0, 1, 4, 9, 16]
            pending = loop.run_in_executor(pool, pow, 3, 3)
        assert await pending == 27
    # The other way: green code starts it, and waits for it.
    def green():
        with concurrent.futures.ProcessPoolExecutor(1) as pool:
            return pool.submit(pow, 2, 5).result()

    assert await greenio.run_green(green) == 32

run(main())
""",
        loop,
        order,
    )


def test_the_sockets_of_transports(order):
    """A duplicate is the user's, and green."""
    run_async(
        """
async def main():
    server = await asyncio.start_server(lambda *streams: None, "127.0.0.1", 0)
    with server.sockets[0].dup() as twin:
        assert isinstance(twin, socket.socket), twin
        assert twin.getsockname() == server.sockets[0].getsockname()
        assert twin.gettimeout() == 0
        twin.settimeout(20)
        accepted = greenio.spawn(twin.accept)
        server.close()
        client = await greenio.run_green(socket.create_connection, twin.getsockname())
        connection, address = await accepted
        assert address == client.getsockname()
        client.close()
        connection.close()

run(main())
""",
        "asyncio",
        order,
    )


def test_the_end_of_the_default_executor_of_uvloop():
    """It may take too long, and may fail."""
    pytest.importorskip("uvloop")
    run("""
        import asyncio, warnings
        import uvloop
        import greenio
        greenio.monkey_patch()
        release = greenio.patcher.original("threading").Event()
        executors = greenio.patcher.original("concurrent.futures.thread")

        class Broken(executors.ThreadPoolExecutor):
            def shutdown(self, *args, **kwargs):
                super().shutdown(*args, **kwargs)
                raise LookupError("broken")

        async def takes_long(loop):
            job = loop.run_in_executor(None, release.wait)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                await loop.shutdown_default_executor(0.001)
            assert "within 0.001 seconds" in str(caught[0].message)
            release.set()
            assert await job

        async def fails(loop):
            loop.set_default_executor(Broken())
            assert await loop.run_in_executor(None, len, "abc") == 3
            try:
                await loop.shutdown_default_executor()
            except LookupError as error:
                assert str(error) == "broken"
            else:
                raise AssertionError

        for main in (takes_long, fails):
            loop = uvloop.Loop()
            loop.run_until_complete(main(loop))
            loop.close()
    """)
