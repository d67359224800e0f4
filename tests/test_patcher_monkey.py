"""monkey_patch, each time in a fresh interpreter."""

from __future__ import annotations

import pytest

from _fresh import run

# Each starts interpreters.
pytestmark = pytest.mark.slow

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
        # Also where the package is not installed.
        ("MySQLdb=True", {"MySQLdb"}),
    ],
)
def test_keywords(arguments, patched):
    out = run(f"""
        import time, socket, threading, os, select, subprocess, builtins, ssl, queue
        from greenio import patcher
        names = dict(
            time=(time, "sleep"), socket=(socket, "socket"), os=(os, "read"),
            thread=(threading, "_active_limbo_lock"), select=(select, "poll"),
            subprocess=(subprocess, "_PopenSelector"), builtins=(builtins, "open"),
        )
        names["thread"] = (threading, "Lock")
        before = {{k: getattr(*v) for k, v in names.items()}}
        patcher.monkey_patch({arguments})
        changed = {{k for k, v in names.items() if getattr(*v) is not before[k]}}
        if "os" in changed and "builtins" not in patcher.already_patched:
            changed.remove("builtins")  # `open` belongs to both
        assert changed == set(patcher.already_patched) - {{"psycopg", "MySQLdb"}}, changed
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
        assert not greenio.patcher.already_patched
    """)
    assert "unexpected keyword argument 'sockets'; it takes all, builtins, My" in out


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
        import socket, socketserver, subprocess, tempfile, threading, time, urllib.request

        ticks = 0
        def ticker():
            global ticks
            while True:
                time.sleep(0.001)
                ticks += 1
        threading.Thread(target=ticker, daemon=True).start()

        # What is waited for comes when somebody else has run, so it comes only if he can.
        def a_few_ticks():
            before = ticks
            while ticks < before + 3:
                time.sleep(0.001)

        def check(name, func, *args):
            before = ticks
            result = func(*args)
            assert ticks - before >= 3, (name, ticks - before)
            print(name)
            return result

        def later(func, *args):
            def run():
                a_few_ticks()
                func(*args)
            threading.Thread(target=run, daemon=True).start()

        def thread_join():
            thread = threading.Thread(target=a_few_ticks)
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
                        a_few_ticks()
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

        # Children wait until they are let go on.
        path = os.path.join(tempfile.mkdtemp(), "gate")
        os.mkfifo(path)
        gate = os.open(path, os.O_RDWR)
        command = ["sh", "-c", f"read line < {path}; echo child"]
        def child(func, *args, **kwargs):
            later(os.write, gate, b"go on\\n")
            return func(*args, **kwargs)

        assert check("output", child, subprocess.check_output, command) == b"child\\n"
        assert check("call", child, subprocess.call, command) == 0
        def popen():
            with os.popen(f"read line < {path}; echo x") as output:
                return output.read()
        assert check("popen", child, popen) == "x\\n"

        def waitpid():
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            assert os.waitpid(process.pid, 0) == (process.pid, 0)
            process.returncode = 0
        check("waitpid", child, waitpid)

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                a_few_ticks()
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


def test_socket_class_of_somebody_else():
    """`socket.create_connection` takes the class that stands in the module by then.

    PySocks puts its own there, and so do the tests of many programs.
    """
    run("""
        import greenio
        greenio.monkey_patch()
        import socket

        made = []

        class Proxied(socket.socket):
            def connect(self, address):
                made.append(address)
                super().connect(address)

        server = socket.create_server(("127.0.0.1", 0))
        socket.socket = Proxied
        with socket.create_connection(server.getsockname(), 5) as client:
            assert type(client) is Proxied
            assert isinstance(client, greenio.green.socket.GreenSocket)
            assert made == [server.getsockname()]
        server.close()
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
        # A plain socket goes on accepting plain ones.
        assert type(old) is type(accepted) is Traced.__mro__[1] is not socket.socket
        accepted.sendall(b"x")
        assert traced.recv(1) == b"x"
        for sock in (old, traced, accepted):
            sock.close()
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
        assert threading.Lock is not early.Lock
        assert original("time").sleep.__module__ == "time" != time.sleep.__module__
    """)
