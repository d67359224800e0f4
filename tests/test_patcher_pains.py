"""What programs on other green libraries suffered: collector, fork, signals, the end.

Each test is a program in which one of them hung, crashed or fell silent.
"""

from __future__ import annotations

import pytest

from _fresh import python, run

pytestmark = pytest.mark.slow


# -- while the garbage collector runs -------------------------------------------------


def test_finalizers_in_the_loop(loop):
    """A finalizer that runs in a loop callback may do whatever need not wait."""
    run(
        """
        import greenio; greenio.monkey_patch()
        import gc, logging, queue, socket, threading, time
        lock, rlock, items = threading.Lock(), threading.RLock(), queue.Queue()
        left, right = socket.socketpair()
        logging.basicConfig(filename="/dev/null", level=logging.DEBUG)
        done = threading.Event()

        class Connection:
            def __del__(self):
                with lock, rlock:
                    left.sendall(b"rollback")   # it fits
                    time.sleep(0)
                    items.put("rolled back")
                    logging.warning("not closed")
                    threading.Thread(target=items.put, args=["thread"]).start()
                done.set()

        def make_garbage():
            connection = Connection()
            connection.itself = connection
            del connection
            gc.collect()

        greenio.hubs.get_hub().loop.call_soon(make_garbage)
        assert done.wait(20)
        assert right.recv(99) == b"rollback"
        assert items.get(timeout=20) == "rolled back"
        assert items.get(timeout=20) == "thread"
        left.close(); right.close()
        """,
        hub=loop,
    )


def test_a_finalizer_that_would_wait_in_the_loop_is_told(loop):
    run(
        """
        import greenio; greenio.monkey_patch()
        import gc, sys, threading
        lock = threading.Lock()
        greenio.spawn(lambda: (lock.acquire(), threading.Event().wait()))
        greenio.sleep(0)
        assert lock.locked()
        told = []
        sys.unraisablehook = lambda hook: told.append(hook.exc_value)

        class Waits:
            def __del__(self):
                lock.acquire()

        def make_garbage():
            garbage = Waits()
            del garbage

        greenio.hubs.get_hub().loop.call_soon(make_garbage)
        while not told:
            greenio.sleep(0.001)
        assert isinstance(told[0], greenio.BlockingInLoopError), told
        assert "spawn" in str(told[0]), told
        """,
        hub=loop,
    )


def test_finalizers_in_the_middle_of_locking(loop):
    """The collector comes in at any line of acquire and release, and takes the lock."""
    run(
        """
        import greenio; greenio.monkey_patch()
        import gc, io, logging, queue, sys, threading, time
        lock, condition, items = threading.RLock(), threading.Condition(), queue.SimpleQueue()
        semaphore = greenio.Semaphore(3)
        # Not a buffered file: CPython refuses to be called in the middle of its flush.
        handler = logging.StreamHandler(io.StringIO())
        logger = logging.getLogger("collected")
        logger.addHandler(handler)
        ran = 0

        class Garbage:
            def __init__(self):
                self.itself = self

            def __del__(self):
                global ran
                ran += 1
                try:
                    self.use()
                except greenio.BlockingInLoopError:
                    # The collector came in the loop greenlet, which is told.
                    assert greenio.getcurrent() not in working

            def use(self):
                with lock:
                    logger.warning("gone")
                with condition:
                    condition.notify_all()
                items.put(1)
                if semaphore.acquire(blocking=False):
                    semaphore.release()

        working = set()

        def work(number):
            working.add(greenio.getcurrent())
            for _ in range(60):
                Garbage()
                with lock:
                    Garbage()
                    logger.warning("%d", number)
                    if number % 2:
                        time.sleep(0)
                with condition:
                    condition.wait(0.0001)
                with semaphore:
                    items.put(2)
                items.get()

        # What is there already need not be looked through again and again.
        gc.freeze()
        gc.set_threshold(1, 1, 1)
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert ran > 100
        assert lock.acquire(blocking=False) and condition.acquire(blocking=False)
        gc.set_threshold(700)
        """,
        hub=loop,
    )


# -- fork -----------------------------------------------------------------------------


def test_fork_while_others_hold_locks(loop):
    """The child has one thread, working locks, a fresh loop and its own descriptors."""
    run(
        """
        import greenio; greenio.monkey_patch()
        import asyncio, logging, os, queue, socket, sys, threading, time
        logging.basicConfig(filename="/dev/null", level=logging.DEBUG)
        handler = logging.getLogger().handlers[0]
        entered, leave = threading.Event(), threading.Event()

        def hold():
            handler.acquire()
            entered.set()
            leave.wait()
            handler.release()

        holder = threading.Thread(target=hold)
        holder.start()
        entered.wait()
        at_fork = []
        os.register_at_fork(
            before=lambda: at_fork.append("before"),
            after_in_parent=lambda: at_fork.append("parent"),
            after_in_child=lambda: at_fork.append("child"),
        )
        parents_loop = greenio.hubs.get_hub().loop
        left, right = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            try:
                assert at_fork == ["before", "child"], at_fork
                assert greenio.hubs.get_hub().loop is not parents_loop
                assert threading.enumerate() == [threading.main_thread()]
                assert not holder.is_alive()
                logging.warning("from the child")    # the holder is not here
                items = queue.Queue()
                threading.Thread(target=lambda: (time.sleep(0.01), items.put(1))).start()
                assert items.get(timeout=20) == 1
                greenio.await_(asyncio.sleep(0))
                assert left.recv(5) == b"hello"
                left.sendall(b"world")
                os._exit(0)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
        assert at_fork == ["before", "parent"], at_fork
        right.sendall(b"hello")
        assert right.recv(5) == b"world"
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        leave.set()
        holder.join()
        logging.warning("from the parent")
        """,
        hub=loop,
    )


def test_a_prefork_server(loop):
    """Workers accept on a socket that the parent waited on before it forked them."""
    run(
        """
        import greenio; greenio.monkey_patch()
        import os, signal, socket, threading, time

        listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        address = listener.getsockname()

        def serve_one():
            connection, _ = listener.accept()
            connection.sendall(b"%d" % os.getpid())
            connection.close()

        def ask():
            with socket.create_connection(address) as connection:
                return int(connection.makefile("rb").read())

        # The parent's own poll knows the descriptor.
        thread = threading.Thread(target=serve_one)
        thread.start()
        assert ask() == os.getpid()
        thread.join()

        def worker():
            while True:
                serve_one()

        signal.signal(signal.SIGTERM, lambda *args: os._exit(0))
        pids = []
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                worker()
            pids.append(pid)
        threads = greenio.GreenPool()
        answered = list(threads.imap(lambda _: ask(), range(30)))
        assert len(answered) == 30 and set(answered) <= set(pids), (answered, pids)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        for pid in pids:
            _, status = os.waitpid(pid, 0)
            assert os.waitstatus_to_exitcode(status) == 0, status
        listener.close()
        """,
        hub=loop,
    )


def test_a_fork_in_a_real_thread(loop):
    run(
        """
        import greenio; greenio.monkey_patch()
        import os, threading, time, warnings
        from greenio import tpool

        warnings.filterwarnings("ignore", "This process", DeprecationWarning)

        def fork():
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    thread = threading.Thread(target=time.sleep, args=(0,))
                    thread.start()
                    thread.join()
                    time.sleep(0.001)
                    code = 0
                finally:
                    os._exit(code)
            return pid

        _, status = os.waitpid(tpool.execute(fork), 0)
        assert os.waitstatus_to_exitcode(status) == 0
        """,
        hub=loop,
    )


# -- signals --------------------------------------------------------------------------


def test_a_handler_that_raises_where_the_main_thread_waits(loop):
    """Whatever the main thread waits for, as with the unpatched modules."""
    out = run(
        """
        import greenio; greenio.monkey_patch()
        import os, queue, select, signal, socket, subprocess, sys, threading, time
        class Alarm(Exception): pass
        def handler(*args): raise Alarm
        signal.signal(signal.SIGALRM, handler)
        left, right = socket.socketpair()
        reader, writer = os.pipe()
        lock = threading.Lock()
        lock.acquire()
        waits = {
            "sleep": lambda: time.sleep(600),
            "recv": lambda: left.recv(1),
            "read": lambda: os.read(reader, 1),
            "select": lambda: select.select([left], [], []),
            "queue": lambda: queue.Queue().get(),
            "lock": lambda: lock.acquire(),
            "event": lambda: threading.Event().wait(),
            # It ends quietly if the alarm comes before it is known to have begun.
            "child": lambda: subprocess.run(
                [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=reader
            ),
        }
        for name, wait in waits.items():
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            try:
                wait()
            except Alarm:
                print(name)
        # All goes on afterwards.
        greenio.spawn(right.send, b"x")
        assert left.recv(1) == b"x"
        left.close(); right.close()
        """,
        hub=loop,
    )
    assert out.split() == [
        "sleep",
        "recv",
        "read",
        "select",
        "queue",
        "lock",
        "event",
        "child",
    ]


def test_a_handler_wakes_those_who_wait(loop):
    """At once, and not when the next timer happens to run."""
    run(
        """
        import greenio; greenio.monkey_patch()
        import os, queue, signal, threading
        items, event = queue.SimpleQueue(), threading.Event()

        def handler(*args):
            items.put("from the handler")
            event.set()
            greenio.spawn(items.put, "from a green thread")

        signal.signal(signal.SIGUSR1, handler)
        greenio.spawn_after(3600, print)
        from greenio import tpool
        waiting = greenio.spawn(event.wait)
        greenio.spawn(tpool.execute, os.kill, os.getpid(), signal.SIGUSR1)
        assert items.get() == "from the handler"
        assert waiting.wait()
        assert items.get() == "from a green thread"
        """,
        hub=loop,
    )


# -- the end of the interpreter ---------------------------------------------------------


@pytest.mark.parametrize("how", ["end", "exit", "error"])
def test_the_end_with_parked_green_threads(loop, how):
    """Their ``finally`` blocks run while everything still works, and all is quiet."""
    last = {"end": "", "exit": "raise SystemExit(3)", "error": "1 / 0"}[how]
    done = python(
        "-c",
        f"""if True:
        import greenio; greenio.monkey_patch()
        import atexit, logging, queue, socket, threading, time
        logging.basicConfig(filename="/dev/null")
        lock, items, ended = threading.RLock(), queue.Queue(), []
        left, right = socket.socketpair()

        def receive():
            with left, right:
                left.recv(1)

        def parked(wait, number):
            try:
                wait()
            finally:
                with lock:
                    logging.warning("ending")
                    items.put(number)
                ended.append(number)
                if len(ended) == 5:
                    print("all five")

        class Last:
            def __del__(self):
                lock.acquire(); lock.release(); items.put(9)

        kept = Last()
        kept.itself = kept
        waits = [lambda: time.sleep(600), items.get, receive,
                 threading.Event().wait, greenio.Event().wait]
        threads = [greenio.spawn(parked, wait, number)
                   for number, wait in enumerate(waits)]
        greenio.sleep(0)
        atexit.register(lambda: (lock.acquire(), lock.release()))
        atexit.register(time.sleep, 0.001)
        {last}
        """,
        hub=loop,
    )
    expected = {"end": 0, "exit": 3, "error": 1}[how]
    assert done.returncode == expected, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == "all five\n"
    stderr = [] if how == "error" else done.stderr.splitlines()
    assert not stderr, done.stderr
    if how == "error":
        assert done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")
        assert done.stderr.count("Traceback") == 1, done.stderr


def test_finalizers_after_the_end_of_greenlets(loop):
    """What is used last of all: logging, locks and the like in module teardown."""
    done = python(
        "-c",
        """if True:
        import greenio; greenio.monkey_patch()
        import logging, os, queue, socket, threading, time
        write = os.write

        class Last:
            def __init__(self):
                self.lock, self.rlock = threading.Lock(), threading.RLock()
                self.condition, self.event = threading.Condition(), threading.Event()
                self.semaphore = threading.Semaphore()
                self.items, self.simple = queue.Queue(), queue.SimpleQueue()
                self.local = threading.local()
                self.local.value = 1
                self.greenio = greenio.Semaphore(), greenio.Queue(), greenio.Event()
                self.left, self.right = socket.socketpair()
                self.logging, self.threading, self.time = logging, threading, time
                self.handler = logging.FileHandler("/dev/null")
                self.record = logging.makeLogRecord({"msg": "late"})
                self.write = os.write

            def __del__(self):
                try:
                    self.use_everything()
                except BaseException as error:
                    self.write(2, repr(error).encode())
                    raise

            def use_everything(self):
                with self.lock, self.rlock, self.semaphore:
                    self.items.put(1)
                    assert self.items.get() == 1
                    self.simple.put(2)
                    assert self.simple.get() == 2
                with self.condition:
                    self.condition.notify_all()
                self.event.set()
                self.event.wait()
                self.local.value = 2
                assert self.local.value == 2
                assert not hasattr(self.local, "other")
                assert self.threading.get_ident()
                self.threading.current_thread()
                semaphore, items, event = self.greenio
                with semaphore:
                    items.put(3)
                    assert items.get() == 3
                    event.send(4)
                    assert event.wait() == 4
                self.time.sleep(0)
                self.handler.handle(self.record)
                self.handler.close()
                self.left.send(b"x")
                assert self.right.recv(1) == b"x"
                self.left.close()
                self.right.close()
                self.write(1, b"the last one was fine")

        greenio.spawn(time.sleep, 600)
        greenio.sleep(0)
        # Found by the last run of the collector, when the modules have gone.
        last = Last()
        last.itself = last
        """,
        hub=loop,
    )
    assert (done.stdout, done.stderr) == ("the last one was fine", "")
    assert done.returncode == 0


def test_logging_keeps_its_locks(loop, tmp_path):
    """A replacement for eventlet's locks, as oslo.log has one, is not needed here."""
    package = tmp_path / "oslo_log"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "pipe_mutex.py").write_text(
        "def pipe_createLock(self):\n    raise AssertionError('no other lock')\n"
    )
    out = run(
        f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import greenio
        greenio.monkey_patch()
        import io, logging
        from greenio import patcher, tpool
        from oslo_log import pipe_mutex

        logging.Handler.createLock = pipe_mutex.pipe_createLock
        handler = logging.StreamHandler(stream := io.StringIO())
        assert handler.lock.acquire() and handler.lock.acquire(), "recursive"
        record = logging.makeLogRecord({{"msg": "line"}})
        # Who waits for it, a green thread or an OS thread, holds up nobody else.
        waiting = [
            greenio.spawn(handler.handle, record),
            greenio.spawn(tpool.execute, handler.handle, record),
        ]
        while handler.lock._waiters.waiting < 2:
            greenio.sleep(0)
        assert not stream.getvalue()
        handler.lock.release()
        handler.lock.release()
        for each in waiting:
            each.wait()
        print(stream.getvalue().split())

        async def coroutine():
            handler.handle(record)

        greenio.await_(coroutine())
        print(len(stream.getvalue().split()))
        """,
        hub=loop,
    )
    assert out == "['line', 'line']\n3\n"
