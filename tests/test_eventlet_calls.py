"""Calls that eventlet takes and consumers make, each with what it does there."""

from __future__ import annotations

import heapq
import os
import signal
import socket as plain_socket
import threading

import pytest

import greenio
from _support import settle, until
from greenio import convenience, hubs, pools, queue, semaphore, spawn, tpool
from greenio.event import NOT_USED, Event
from greenio.green import os as green_os
from greenio.green import select, socket, ssl, thread, time
from greenio.greenpool import GreenPool
from greenio.hubs import HubError

pytestmark = pytest.mark.usefixtures("hub_name")


# -- pools, semaphores, queues, events --------------------------------------------------------


def test_whole_numbers_that_are_floats():
    pool = GreenPool(1e3)
    assert (pool.size, pool.free()) == (1000, 1000)
    assert semaphore.Semaphore(1e2).counter == 100
    assert pools.Pool(max_size=1e3, create=object).free() == 1000
    endless = pools.Pool(max_size=float("inf"), create=object)
    endless.get()
    assert endless.free() == float("inf")


def test_the_semaphore_of_a_pool():
    pool = GreenPool(1)
    assert (pool.sem.acquire(), pool.free(), pool.sem.locked()) == (True, 0, True)
    assert pool.sem.acquire(blocking=False) is False
    assert pool.sem.acquire(timeout=0.001) is False
    waiting = spawn(pool.spawn, len, "abc")
    settle()
    assert (pool.waiting(), pool.sem.balance) == (1, -1)
    # As Celery's pool grows.
    assert pool.sem.release() is True
    assert waiting.wait().wait() == 3
    assert pool.free() == 1
    with pool.sem:
        assert pool.free() == 0
    assert not pool.sem.bounded()


def test_setting_the_counter_of_a_pool():
    pool = GreenPool(0)
    waiting = [spawn(pool.spawn, len, "abc") for _ in range(2)]
    settle()
    assert pool.waiting() == 2
    pool.sem.counter += 2
    assert [each.wait().wait() for each in waiting] == [3, 3]
    assert pool.sem.counter == 2
    pool.size = 5
    assert (pool.size, pool.free()) == (5, 2)
    pool.resize(6)
    assert pool.free() == 3


def test_waitall_inside_the_pool_is_an_assertion_error():
    pool = GreenPool(2)
    for expected in (
        AssertionError,
        RuntimeError,
        greenio.greenpool.WaitingForItselfError,
    ):
        with pytest.raises(expected):
            pool.spawn(pool.waitall).wait()
    assert greenio.greenpool.DEBUG is True


def test_mapping_without_a_function():
    pool = GreenPool(2)
    assert list(pool.imap(None, [1, 2], "ab")) == [(1, "a"), (2, "b")]
    assert list(pool.imap(None, [1])) == [(1,)]
    assert list(pool.starmap(None, [(1, 2)])) == [(1, 2)]
    assert list(pool.imap_unordered(None, [1])) == [(1,)]


def test_the_hooks_of_a_priority_queue():
    class Passing(queue.PriorityQueue):
        def _put(self, item, heappush=heapq.heappush):
            super()._put(item, heappush)

        def _get(self, heappop=heapq.heappop):
            return super()._get(heappop)

    items = Passing()
    for item in (2, 1, 3):
        items.put(item)
    assert [items.get() for _ in range(3)] == [1, 2, 3]


def test_who_waits_at_a_queue():
    items = queue.LightQueue(1)
    assert (items.getters, items.putters) == (set(), set())
    getting = spawn(items.get)
    settle()
    assert (len(items.getters), len(items.putters)) == (1, 0)
    items.put(1)
    assert getting.wait() == 1
    items.put(2)
    putting = spawn(items.put, 3)
    settle()
    assert (len(items.getters), len(items.putters)) == (0, 1)
    assert [items.get(), items.get()] == [2, 3]
    putting.wait()
    assert (items.getters, items.putters) == (set(), set())


def test_who_waits_at_a_pool():
    pool = pools.Pool(max_size=1, create=object)
    item = pool.get()
    channel = pool.channel
    assert (channel.getting(), channel.putting(), channel.qsize()) == (0, 0, 0)
    assert channel.empty()
    assert channel.full()
    assert "1 of 1 items, 0 idle, 0 waiting" in repr(pool)
    waiting = spawn(pool.get)
    beside = spawn(channel.get)
    settle()
    assert channel.getting() == 2
    channel.put(item)
    pool.put("other")
    assert waiting.wait() is item
    assert beside.wait() == "other"


def test_what_an_event_holds():
    event = Event()
    assert event._result is NOT_USED
    assert event._exc is None
    assert repr(NOT_USED) == "NOT_USED"
    event.send(None)
    assert event._result is None
    failed = Event()
    failed.send_exception(ValueError("no"))
    assert isinstance(failed._exc, ValueError)


def test_start_returns_the_timeout():
    timeout = greenio.Timeout(60)
    timeout.cancel()
    assert timeout.start() is timeout
    timeout.cancel()
    endless = greenio.Timeout(None)
    assert endless.start() is endless


def test_time_limits_by_the_old_name():
    assert greenio.greenthread.TimeoutError is greenio.Timeout
    assert (
        greenio.greenthread.with_timeout(0.001, greenio.sleep, 60, timeout_value=3) == 3
    )
    timer = greenio.greenthread.call_after(60, function=print)
    timer.cancel()


# -- hubs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        "epolls",
        "eventlet.hubs.epolls",
        "eventlet.hubs.epolls:Hub",
        "eventlet.hubs.epolls.Hub",
        "greenio.hubs.selects:Hub",
        hubs.poll,
        hubs.kqueue,
        hubs.poll.Hub,
    ],
)
def test_eventlets_hubs_in_every_form(form):
    greenio.sleep(0)
    before = hubs.get_hub()
    hubs.use_hub(mod=form)
    assert hubs.get_hub() is before


def test_a_function_by_its_name(hub_name):
    greenio.sleep(0)
    with pytest.raises(HubError, match="first thing"):
        hubs.use_hub("asyncio:new_event_loop")
    for name in ("no_such_module_x:loop", "asyncio:no_such_name", "os:sep"):
        with pytest.raises(HubError, match="there is no hub"):
            hubs.use_hub(name)
    hubs.use_hub(hub_name)


def test_the_modules_of_hubs():
    assert hubs.get_default_hub() is hubs.asyncio
    assert hubs.get_default_hub().Hub is hubs.Hub
    assert len(hubs.builtin_hub_modules) == len(hubs.builtin_hub_names)
    for name, module in zip(
        hubs.builtin_hub_names, hubs.builtin_hub_modules, strict=True
    ):
        assert module.__name__ == f"greenio.hubs.{name}"
        assert module.is_available() in (True, False)
    assert hubs.asyncio.is_available()
    assert hubs.selects.is_available()
    # oslo.service does it.
    hubs.poll.sleep = time.sleep
    del hubs.poll.sleep


# -- sockets, files, threads --------------------------------------------------------------------


def test_arguments_of_sockets_by_name():
    left, right = socket.socketpair()
    with left, right:
        left.settimeout(howlong=0.001)
        with pytest.raises(TimeoutError):
            left.recv(bufsize=10)
        left.setblocking(flag=True)
        right.sendall(data=b"abc", flags=0)
        assert left.recv(bufsize=2, flags=0) == b"ab"
        assert right.send(data=b"d", flags=0) == 1
        assert left.recvfrom(bufsize=10, flags=0)[0] == b"cd"
        assert not left.act_non_blocking
        left.act_non_blocking = True
        assert (left.gettimeout(), left.act_non_blocking) == (0, True)
        assert left._sock is left.fd is left
    with convenience.listen(("127.0.0.1", 0)) as listening:
        with socket.socket() as client:
            client.connect(address=listening.getsockname())
        with socket.socket() as client:
            assert client.connect_ex(address=listening.getsockname()) == 0


def test_arguments_of_files_and_descriptors_by_name(ends, tmp_path):
    reader, writer = ends
    assert green_os.write(fd=writer, st=b"abc") == 3
    assert green_os.read(fd=reader, n=2) == b"ab"
    path = str(tmp_path / "file")
    flags = os.O_RDWR | os.O_CREAT
    for args, kwargs in (
        ((path, flags, 0o600, None), {}),
        ((), {"file": path, "flags": flags, "mode": 0o600, "dir_fd": None}),
        ((), {"path": path, "flags": flags}),
    ):
        os.close(green_os.open(*args, **kwargs))
    with pytest.raises(TypeError):
        green_os.open(path)
    with greenio.greenio.py3.GreenFileIO(path, "r+") as file:
        assert file.write(data=b"abcdef") == 6
        assert file.seek(offset=1, whence=0) == 1
        assert file.read(size=2) == b"bc"
        buffer = bytearray(2)
        assert file.readinto(b=buffer) == 2
        assert file.truncate() == 5
        assert file.truncate(size=2) == 2


def test_selecting_by_name(ends):
    reader, writer = ends
    ready = select.select(
        read_list=[reader], write_list=[writer], error_list=[], timeout=5
    )
    assert ready == ([], [writer], [])
    assert select.get_fileno(reader) == reader
    with socket.socket() as sock:
        assert select.get_fileno(sock) == sock.fileno()

    class Wrong:
        def fileno(self):
            return "3"

    for wrong in ("3", None, object(), Wrong()):
        with pytest.raises(TypeError):
            select.get_fileno(wrong)


def test_sleeping_without_a_time():
    assert time.sleep() is None
    assert time.sleep(seconds=0) is None


def test_threads_by_name():
    got = []
    thread.start_new_thread(function=got.append, args=(1,), kwargs=None)
    thread.start_new(lambda **kwargs: got.append(kwargs), (), {"x": 2})
    handle = thread.start_joinable_thread(function=lambda: got.append(3), daemon=True)
    until(lambda: len(got) == 3)
    assert got == [1, {"x": 2}, 3]
    until(handle.is_done)
    assert thread.allocate_lock("anything").acquire()
    assert thread.Lock is thread.allocate_lock is thread.LockType
    assert thread.stack_size() == thread.stack_size(None)
    with pytest.raises(SystemExit):
        thread.exit()
    assert thread.get_ident(gr=None) == thread.get_ident()
    before = signal.signal(signal.SIGUSR1, lambda number, _: got.append(number))
    try:
        thread.interrupt_main(signal.SIGUSR1)
        until(lambda: got[-1] == signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_tls_names():
    assert ssl.green_create_default_context is ssl.create_default_context
    # Also where the standard module has none any more.
    assert ssl.wrap_socket.__name__ == "wrap_socket"
    left, right = plain_socket.socketpair()
    with right, pytest.raises(ValueError, match="certfile"):
        ssl.wrap_socket(left, server_side=True)
    left.close()
    with ssl.wrap_socket(socket.socket(), cert_reqs=ssl.CERT_OPTIONAL) as sock:
        assert (sock.keyfile, sock.certfile, sock.ca_certs) == (None, None, None)
        assert (sock.cert_reqs, sock.ssl_version) == (ssl.CERT_OPTIONAL, None)


def test_listening_on_a_socket_class_that_was_replaced(monkeypatch):
    made = []

    class Fake:
        def __init__(self, *args):
            made.append(args)

        def __getattr__(self, name):
            return lambda *args: None

    monkeypatch.setattr(socket, "socket", Fake)
    assert type(convenience.listen(("127.0.0.1", 6633))) is Fake
    assert type(convenience.connect(("127.0.0.1", 6633))) is Fake
    assert len(made) == 2
    assert convenience.socket is socket
    assert convenience.ssl is ssl
    assert convenience.greenpool is greenio.greenpool
    assert convenience.greenthread is greenio.greenthread


def test_waiting_for_a_child_with_an_interval():
    from greenio.green import subprocess

    with subprocess.Popen(["true"]) as child:
        assert child.wait(check_interval=0.001) == 0
        assert child.wait(timeout=1, check_interval=0.001) == 0
        assert child.wait(1, 0.001) == 0
    with subprocess.Popen(["sleep", "60"]) as child:
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.001, 0.001)
        child.kill()


# -- the pool of threads ------------------------------------------------------------------------


@pytest.fixture
def _fresh_tpool(hub_name):
    # It waits for the threads of other tests, on the loop that is chosen by now.
    tpool.killall()
    yield
    tpool.killall()
    tpool.set_num_threads(tpool.DEFAULT_SIZE)


@pytest.mark.usefixtures("_fresh_tpool")
def test_what_tpool_is_made_of():
    assert not tpool._setup_already
    assert (tpool._reqq, tpool._rspq, tpool._threads) == (None, None, [])
    assert tpool.execute(len, "abc") == 3
    assert tpool._setup_already
    assert len(tpool._threads) == 1
    assert tpool._reqq is not None
    assert tpool._rspq.empty()
    assert tpool.tpool_trampoline() is None
    assert (Exception, greenio.Timeout) == tpool.EXC_CLASSES
    assert KeyboardInterrupt in tpool.SYS_EXCS
    tpool.set_num_threads(3)
    assert tpool._nthreads == 3


@pytest.mark.usefixtures("_fresh_tpool")
def test_a_thread_of_the_programs_makes_calls():
    tpool.set_num_threads(1)
    ends = threading.Event()
    blocked = spawn(tpool.execute, ends.wait)
    until(lambda: len(tpool._threads) == 1)
    helper = threading.Thread(target=tpool.tworker)
    helper.start()
    until(lambda: len(tpool._threads) == 2)
    assert tpool.execute(threading.get_ident) == helper.ident
    ends.set()
    assert blocked.wait()
    tpool.killall()
    helper.join(30)
    assert not helper.is_alive()


@pytest.mark.usefixtures("_fresh_tpool")
def test_attributes_are_wrapped_too():
    class Thing:
        number = 5
        text = "text"

        def method(self):
            return 7

    proxy = tpool.Proxy(Thing(), autowrap=(int,))
    assert type(proxy.number) is tpool.Proxy
    assert type(proxy.text) is str
    assert type(proxy.method()) is tpool.Proxy
    assert type(tpool.Proxy(os, autowrap=(int,)).O_RDONLY) is tpool.Proxy
    named = tpool.Proxy(Thing(), autowrap_names=("text",))
    assert (type(named.text), type(named.number)) == (tpool.Proxy, int)


@pytest.fixture
def _size_of_the_environment(_fresh_tpool, monkeypatch):
    monkeypatch.setattr(greenio._tpool.settings, "nthreads", None)
    monkeypatch.delenv("GREENIO_THREADPOOL_SIZE", raising=False)


@pytest.mark.usefixtures("_size_of_the_environment")
def test_an_environment_without_threads(monkeypatch):
    monkeypatch.setenv("EVENTLET_THREADPOOL_SIZE", "0")
    with pytest.warns(RuntimeWarning, match="EVENTLET_THREADPOOL_SIZE is 0"):
        assert tpool.execute(threading.get_ident) == threading.get_ident()
    # Once.
    assert tpool.execute(threading.get_ident) == threading.get_ident()
    assert tpool._threads == []


@pytest.mark.parametrize("size", ["-1", "many"])
@pytest.mark.usefixtures("_size_of_the_environment")
def test_an_environment_with_no_number_of_threads(monkeypatch, size):
    monkeypatch.setenv("EVENTLET_THREADPOOL_SIZE", size)
    with pytest.raises(ValueError, match=f"EVENTLET_THREADPOOL_SIZE .* not '{size}'"):
        tpool.execute(len, "")


@pytest.mark.usefixtures("_size_of_the_environment")
def test_our_variable_comes_first(monkeypatch):
    monkeypatch.setenv("EVENTLET_THREADPOOL_SIZE", "5")
    assert tpool._nthreads == 5
    monkeypatch.setenv("GREENIO_THREADPOOL_SIZE", "3")
    assert tpool._nthreads == 3
