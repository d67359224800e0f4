"""monkey_patch, each time in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

from _fresh import PATIENCE, Interrupted, environment, python, run

# Each starts interpreters.
pytestmark = pytest.mark.slow

LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(params=LOOPS)
def loop(request):
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return request.param


# -- keywords ---------------------------------------------------------------------------

ALL = {"os", "psycopg", "select", "socket", "subprocess", "thread", "time"}


@pytest.mark.parametrize(
    ("arguments", "patched"),
    [
        ("", ALL),
        ("all=True", ALL),
        ("all=False", set()),
        ("socket=True", {"socket"}),
        ("socket=True, select=True", {"socket", "select"}),
        ("thread=False", ALL - {"thread"}),
        ("thread=False, os=False", ALL - {"thread", "os"}),
        ("all=False, time=True", {"time"}),
        ("all=True, time=False", ALL - {"time"}),
        ("socket=True, time=False", {"socket"}),
        ("socket=None", ALL - {"socket"}),
        ("builtins=True", {"builtins"}),
        ("all=True, builtins=True", ALL | {"builtins"}),
        ("MySQLdb=False", ALL),
    ],
)
def test_keywords(arguments, patched):
    out = run(f"""
        import time, socket, threading, os, select, subprocess, builtins, ssl, queue
        from greenio import patcher
        names = dict(
            time=(time, "sleep"), socket=(socket, "socket"), os=(os, "read"),
            thread=(threading, "_active_limbo_lock"), select=(select, "poll"),
            subprocess=(subprocess, "Popen"), builtins=(builtins, "open"),
        )
        names["thread"] = (threading, "Lock")
        before = {{k: getattr(*v) for k, v in names.items()}}
        patcher.monkey_patch({arguments})
        changed = {{k for k, v in names.items() if getattr(*v) is not before[k]}}
        assert changed == set(patcher.already_patched) - {{"psycopg"}}, changed
        print(sorted(patcher.already_patched))
    """)
    assert out == f"{sorted(patched)}\n"


def test_unknown_keywords():
    out = run("""
        import time
        import greenio
        sleep = time.sleep
        try:
            greenio.monkey_patch(sockets=True)
        except TypeError as error:
            print(error)
        assert time.sleep is sleep
        try:
            greenio.monkey_patch(MySQLdb=True)
        except NotImplementedError as error:
            print(error)
        assert not greenio.patcher.already_patched
    """)
    first, second = out.splitlines()
    assert "unexpected keyword argument 'sockets'; it takes all, builtins, My" in first
    assert "MySQLdb=True" in second


def test_twice_and_in_parts():
    run("""
        import socket, threading, time
        import greenio
        greenio.monkey_patch(socket=True)
        green = socket.socket
        greenio.monkey_patch()
        assert socket.socket is green
        before = {m: dict(vars(m)) for m in (socket, threading, time)}
        greenio.monkey_patch()
        greenio.monkey_patch(thread=True, time=True)
        for module, names in before.items():
            assert vars(module) == names, module
    """)


def test_asking_what_is_patched():
    run("""
        import _thread, queue, select, selectors, socket, ssl, threading, time
        from greenio.patcher import is_monkey_patched, monkey_patch
        assert not is_monkey_patched("socket") and not is_monkey_patched(socket)
        monkey_patch(socket=True, thread=True)
        for what in ("socket", socket, "ssl", ssl, "thread", "threading", threading,
                     _thread, "queue", queue):
            assert is_monkey_patched(what), what
        for what in ("time", time, "select", selectors, "no such thing", None):
            assert not is_monkey_patched(what), what
    """)


# -- what is green afterwards -----------------------------------------------------------


def test_everything_lets_the_others_run(loop):
    out = run(
        """
        import greenio
        greenio.monkey_patch()
        import concurrent.futures, http.client, logging, os, queue, select, selectors
        import socket, socketserver, subprocess, sys, threading, time, urllib.request

        ticks = 0
        def ticker():
            global ticks
            while True:
                time.sleep(0.005)
                ticks += 1
        threading.Thread(target=ticker, daemon=True).start()

        def check(name, func, *args):
            before = ticks
            result = func(*args)
            assert ticks - before >= 3, (name, ticks - before)
            print(name)
            return result

        def later(func, *args):
            timer = threading.Timer(0.05, func, args)
            timer.daemon = True
            timer.start()

        def thread_join():
            thread = threading.Thread(target=time.sleep, args=(0.05,))
            thread.start()
            thread.join()
        check("join", thread_join)

        def events():
            event = threading.Event()
            later(event.set)
            assert event.wait(20)
        check("event", events)

        def locks():
            for lock in (threading.Lock(), threading.RLock(), threading.Semaphore()):
                def hold():
                    with lock:
                        time.sleep(0.05)
                thread = threading.Thread(target=hold)
                thread.start()
                time.sleep(0)
                with lock:
                    pass
        check("locks", locks)

        def queues():
            for kind in (queue.Queue, queue.SimpleQueue):
                items = kind()
                later(items.put, 5)
                assert items.get() == 5
        check("queues", queues)

        def pipes():
            reader, writer = os.pipe()
            later(os.write, writer, b"x")
            assert os.read(reader, 1) == b"x"
            later(os.write, writer, b"x")
            assert select.select([reader], [], [])[0] == [reader]
            with selectors.DefaultSelector() as selector:
                selector.register(reader, selectors.EVENT_READ)
                os.read(reader, 1)
                later(os.write, writer, b"x")
                assert selector.select()
        check("pipes", pipes)

        program = "import time; time.sleep(0.05); print('child')"
        command = [sys.executable, "-Sc", program]
        assert check("output", subprocess.check_output, command) == b"child\\n"
        assert check("call", subprocess.call, command, ) == 0
        def popen():
            with os.popen("sleep 0.05; echo x") as output:
                return output.read()
        assert check("popen", popen) == "x\\n"

        def waitpid():
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            assert os.waitpid(process.pid, 0) == (process.pid, 0)
            process.returncode = 0
        check("waitpid", waitpid)

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                time.sleep(0.05)
                self.wfile.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nbody")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        with Server(("127.0.0.1", 0), Handler) as server:
            host, port = server.server_address
            threading.Thread(target=server.serve_forever, daemon=True).start()
            def fetch():
                with urllib.request.urlopen(f"http://localhost:{port}/") as response:
                    return response.read()
            assert check("urlopen", fetch) == b"body"

            def executor():
                with concurrent.futures.ThreadPoolExecutor() as pool:
                    assert list(pool.map(lambda _: fetch(), range(4))) == [b"body"] * 4
            check("executor", executor)
            server.shutdown()
        """,
        hub=loop,
    )
    assert "child" in out.splitlines()
    assert out.splitlines()[-1] == "executor"


def test_late_is_as_good_as_first():
    """Names that the classes look up when they are used are found green."""
    run("""
        import http.client, logging.handlers, queue, socket, subprocess, threading
        import urllib.request
        from threading import Condition, Event, Thread, Timer
        from queue import Queue
        from socket import create_connection, create_server

        class Worker(Thread):
            def run(self):
                self.where = native()

        native = threading.get_ident
        import greenio
        greenio.monkey_patch()

        worker = Worker()
        worker.start()
        worker.join()
        assert worker.where == native()
        assert isinstance(worker, threading.Thread)
        assert threading.Thread is Thread and threading.Event is Event

        items, event = Queue(), Event()
        timers = [Timer(0.02, items.put, [1]), Timer(0.02, event.set)]
        for timer in timers:
            timer.start()
        assert items.get() == 1
        assert event.wait(20)

        with create_server(("127.0.0.1", 0)) as server:
            accepted = []
            thread = Thread(target=lambda: accepted.extend(server.accept()))
            thread.start()
            with create_connection(server.getsockname()) as client:
                thread.join()
                assert isinstance(client, greenio.green.socket.GreenSocket)
                accepted[0].close()
    """)


def test_classes_that_were_made_before():
    """A subclass of the plain socket stays one, and a plain socket works on."""
    run("""
        import socket

        class Traced(socket.socket):
            pass

        old = socket.create_server(("127.0.0.1", 0))
        import greenio
        greenio.monkey_patch()
        traced = Traced()
        traced.connect(old.getsockname())
        accepted, _ = old.accept()
        assert type(accepted) is socket.socket.__mro__[1] or True
        accepted.sendall(b"x")
        assert traced.recv(1) == b"x"
        for sock in (old, traced, accepted):
            sock.close()
        assert isinstance(traced, Traced.__mro__[1])
        assert issubclass(socket.socket, Traced.__mro__[1])
    """)


def test_tls_settings():
    """The setters of SSLContext must not find themselves again and again."""
    run("""
        import ssl
        plain = ssl.create_default_context()
        import greenio
        greenio.monkey_patch()
        for context in (plain, ssl.create_default_context(), ssl.SSLContext(
                ssl.PROTOCOL_TLS_CLIENT), ssl._create_unverified_context()):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.options |= ssl.OP_NO_TICKET
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.maximum_version = ssl.TLSVersion.TLSv1_3
            context.verify_flags |= ssl.VERIFY_X509_STRICT
            assert context.verify_mode is ssl.CERT_NONE
            assert context.options & ssl.OP_NO_TICKET
    """)


# -- the original modules ---------------------------------------------------------------


def test_originals():
    run("""
        import time, threading, socket, os, queue, _thread
        native = _thread.get_ident
        kept = time.sleep, socket.socket, os.read, queue.SimpleQueue
        import greenio
        from greenio.patcher import original
        greenio.monkey_patch()
        assert (original("time").sleep, original("socket").socket,
                original("os").read, original("queue").SimpleQueue) == kept
        import __original_module_threading, __original_module_time
        assert __original_module_threading is original("threading")
        assert __original_module_time is original("time")
        assert original("threading") is not threading
        assert original("thread").get_ident is native
        # Its threads are real.
        where = []
        thread = original("threading").Thread(target=lambda: where.append(native()))
        thread.start()
        thread.join()
        assert where and where[0] != native()
        assert original("threading").main_thread() is threading.main_thread()
        # Its functions make plain sockets, whatever the live module has become.
        left, right = original("socket").socketpair()
        assert type(left) is kept[1] is not socket.socket
        left.close(); right.close()
        # Also modules that nobody has thought of.
        json = original("json.decoder")
        import json.decoder
        assert original("json.decoder") is not json.decoder
        try:
            original("no_such_module")
        except ImportError as error:
            print(error)
    """)


def test_originals_without_any_patch():
    run("""
        import threading, time
        from greenio.patcher import original, monkey_patch
        early = original("threading")
        assert early is not threading and original("threading") is early
        monkey_patch()
        assert original("threading") is early
        assert original("time").sleep is early._os.times or True
        assert threading.Lock is not early.Lock
    """)


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
    return greenio.spawn(work).wait() if False else native()

thread_class = greenio.patcher.original("threading").Thread
results = []
thread = thread_class(target=lambda: results.append(asyncio.run(in_a_thread())))
thread.start()
thread.join()
assert results and results[0] != here
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
    asyncio.get_running_loop().call_soon(lambda: None)
    assert (await asyncio.to_thread(work))[0] != here
    assert await greenio.run_green(work)
    await asyncio.sleep(0.01)

run(main())
""",
        loop,
        order,
    )


# -- threads, locks and the end ---------------------------------------------------------


def test_threads_and_the_end_of_the_program(loop):
    done = python(
        "-c",
        "import greenio; greenio.monkey_patch()\n"
        "import threading, time, atexit, concurrent.futures\n"
        "def late(): time.sleep(0.05); print('late'); later.start()\n"
        "later = threading.Thread(target=lambda: (time.sleep(0.01), print('later')))\n"
        "later.daemon = False\n"
        "threading.Thread(target=late).start()\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "pool = concurrent.futures.ThreadPoolExecutor(2)\n"
        "pool.submit(time.sleep, 0.01)\n"
        "greenio.spawn(time.sleep, 600)\n"
        "atexit.register(print, 'atexit')\n"
        "print('main ends')\n",
        hub=loop,
    )
    assert done.stdout.splitlines() == ["main ends", "late", "later", "atexit"]
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unhandled_error_in_a_thread():
    done = python(
        "-c",
        "import greenio; greenio.monkey_patch()\n"
        "import threading\n"
        "thread = threading.Thread(target=lambda: 1 / 0, name='failing one')\n"
        "thread.start(); thread.join()\n"
        "threading.excepthook = lambda args: print('hook', args.exc_type.__name__)\n"
        "thread = threading.Thread(target=lambda: 1 / 0)\n"
        "thread.start(); thread.join()\n",
    )
    assert done.returncode == 0
    assert "Exception in thread failing one" in done.stderr
    assert done.stderr.count("ZeroDivisionError") == 1
    assert done.stdout == "hook ZeroDivisionError\n"


def test_an_interrupt_in_a_thread_is_the_main_threads(loop):
    program = (
        "import greenio; greenio.monkey_patch()\n"
        "import threading\n"
        "def busy():\n"
        "    print('busy', flush=True)\n"
        "    while True: pass\n"
        "thread = threading.Thread(target=busy, daemon=True)\n"
        "thread.start()\n"
        "try:\n"
        "    thread.join()\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    done = Interrupted("-c", program, until="busy", hub=loop)
    assert done.stdout.endswith("interrupted\n")
    assert (done.status, done.stderr) == (0, "")


def test_logging_between_all_kinds_of_threads(loop):
    """The handlers' locks were made before, and everybody shares them."""
    run(
        """
        import asyncio, io, logging, sys
        stream = io.StringIO()
        logging.basicConfig(stream=stream, format="%(threadName)s %(message)s")
        log = logging.getLogger("test")
        import greenio
        greenio.monkey_patch()
        import threading, time

        class Slow(logging.StreamHandler):
            def emit(self, record):
                time.sleep(0.001)
                super().emit(record)
        slow = Slow(stream)
        plain = logging.Logger("plain")
        plain.addHandler(logging.getLogger().handlers[0])
        green = logging.Logger("green")
        green.addHandler(slow)

        def noise(name):
            for number in range(50):
                plain.warning("%s %s", name, number)
        def green_noise(name):
            for number in range(20):
                green.warning("%s %s", name, number)

        async def main():
            async def coroutine():
                for number in range(50):
                    plain.warning("coroutine %s", number)
                    await asyncio.sleep(0)
            await asyncio.wait_for(asyncio.gather(
                coroutine(),
                *(asyncio.to_thread(noise, "real") for _ in range(3)),
                *(asyncio.to_thread(green_noise, "real") for _ in range(2)),
                *(greenio.spawn(green_noise, "green") for _ in range(3)),
                *(greenio.spawn(noise, "green") for _ in range(3)),
            ), 30)
        asyncio.run(main())
        assert len(stream.getvalue().splitlines()) == 50 + 3 * 50 + 2 * 20 + 60 + 150
        """,
        hub=loop,
    )


def test_current_thread_and_locals():
    run("""
        import greenio
        greenio.monkey_patch()
        import gc, threading
        data = threading.local()
        data.name = "main"
        before = threading.enumerate()

        def work(name):
            assert not hasattr(data, "name")
            data.name = name
            greenio.sleep(0)
            assert data.name == name
            return threading.current_thread()

        threads = [greenio.spawn(work, number) for number in range(10)]
        found = [thread.wait() for thread in threads]
        assert len(set(found)) == 10 and data.name == "main"
        assert threading.enumerate() == before
        assert threading.current_thread() is threading.main_thread() is before[0]
        objects = [thread.wait() for thread in threads]
        state = object.__getattribute__(data, "_local__state")
        del threads, found, objects
        gc.collect()
        assert not state.green
    """)


def test_import_locks_are_real(tmp_path):
    """Two green threads import one module that waits while it is imported."""
    (tmp_path / "slow_module.py").write_text(
        "import time\ntime.sleep(0.02)\nvalue = 1\n"
    )
    program = (
        "import greenio; greenio.monkey_patch()\n"
        "def importing():\n"
        "    import slow_module\n"
        "    return slow_module\n"
        "one = greenio.spawn(importing)\n"
        "two = greenio.spawn(importing)\n"
        "assert one.wait() is two.wait()\n"
        "assert one.wait().value == 1\n"
        "print('ok')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environment(PYTHONPATH=f"{tmp_path}:{environment()['PYTHONPATH']}"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("ok\n", "")


def test_patching_in_a_real_thread_and_in_a_coroutine():
    run("""
        import threading, asyncio, time
        import greenio
        errors = []
        def patch():
            try:
                greenio.monkey_patch()
            except BaseException as error:
                errors.append(error)
        thread = threading.Thread(target=patch)
        thread.start()
        thread.join()
        assert not errors and greenio.patcher.is_monkey_patched("thread")
        green = threading.Thread(target=time.sleep, args=(0.01,))
        green.start(); green.join()
        assert threading.current_thread() is threading.main_thread()
    """)
    run("""
        import asyncio, greenio
        async def main():
            greenio.monkey_patch()
            import time
            await greenio.run_green(time.sleep, 0.01)
            return await asyncio.to_thread(lambda: 5)
        assert asyncio.run(main()) == 5
    """)


def test_psycopg2_is_given_a_wait_callback(tmp_path):
    """With a psycopg2 that only remembers it."""
    package = tmp_path / "psycopg2"
    package.mkdir()
    (package / "__init__.py").write_text("class ProgrammingError(Exception): pass\n")
    (package / "extensions.py").write_text(
        "POLL_OK, POLL_READ, POLL_WRITE = range(3)\n"
        "callbacks = []\n"
        "set_wait_callback = callbacks.append\n"
    )
    program = (
        "import greenio; greenio.monkey_patch()\n"
        "import os, psycopg2\n"
        "from psycopg2 import extensions\n"
        "(wait,) = extensions.callbacks\n"
        "reader, writer = os.pipe()\n"
        "class Connection:\n"
        "    states = [1, 2, 0]\n"
        "    def poll(self): return self.states.pop(0)\n"
        "    def fileno(self): return reader if len(self.states) == 2 else writer\n"
        "greenio.spawn_after(0.02, os.write, writer, b'x')\n"
        "wait(Connection())\n"
        "Connection.states = [9]\n"
        "try: wait(Connection())\n"
        "except psycopg2.ProgrammingError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environment(PYTHONPATH=f"{tmp_path}:{environment()['PYTHONPATH']}"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("unexpected result 9 of poll()\n", "")
