"""Green sockets: closing, registrations, and the places they are used in."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
import threading
import warnings

import pytest

import greenio
from _sockets import (
    NAMES,
    event_of,
    fill,
    in_thread,
    listening,
    operations,
    registered,
    until_parked,
    waiting,
)
from _support import collect_garbage, settle, until, until_async
from greenio import hubs
from greenio._net.socket import GreenSocket, fromfd, socketpair
from greenio.hubs import IOClosed

# -- closing ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_close_wakes(pair, name):
    green, _ = pair
    fill(green)
    thread = greenio.spawn(operations(green)[name])
    until_parked(thread, event_of(name))
    green.close()
    assert registered() == 0
    with pytest.raises(OSError) as caught:
        thread.wait()
    assert caught.value.errno == errno.EBADF
    assert not isinstance(caught.value, TimeoutError)


def test_close_wakes_everywhere(everywhere):
    def main():
        server = listening()
        thread = greenio.spawn(server.accept)
        until_parked(thread)
        server.close()
        with pytest.raises(OSError) as caught:
            thread.wait()
        assert caught.value.errno == errno.EBADF
        assert (waiting(), registered()) == (0, 0)

    everywhere(main)


def test_close_wakes_both_directions(pair):
    green, _ = pair
    fill(green)
    threads = [
        greenio.spawn(green.recv, 10),
        greenio.spawn(green.sendall, bytes(1 << 20)),
    ]
    until_parked(threads[0])
    until_parked(threads[1], "write")
    green.close()
    for thread in threads:
        with pytest.raises(IOClosed):
            thread.wait()


def test_shutdown_wakes(pair):
    green, _ = pair
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    green.shutdown(socket.SHUT_RDWR)
    assert thread.wait() == b""


@pytest.mark.parametrize("name", [*NAMES, "accept", "getpeername"])
def test_closed_already(hub_name, name):
    left, right = socketpair()
    right.close()
    left.close()
    left.close()
    assert left.fileno() == -1
    call = operations(left).get(name) or getattr(left, name)
    with pytest.raises(OSError) as caught:
        call()
    assert caught.value.errno == errno.EBADF


def test_the_number_is_used_again(hub_name):
    # The new socket has the old one's number, and nothing else of it.
    left, right = socketpair()
    old = greenio.spawn(left.recv, 10)
    until_parked(old)
    number = left.fileno()
    left.close()
    other, far = socketpair()
    assert number in (other.fileno(), far.fileno())
    fresh = other if other.fileno() == number else far
    peer = far if fresh is other else other
    with right, fresh, peer:
        new = greenio.spawn(fresh.recv, 10)
        with pytest.raises(IOClosed):
            old.wait()
        until_parked(new)
        peer.send(b"new")
        assert new.wait() == b"new"


@pytest.mark.parametrize("how", ["socket", "socketpair", "accept", "fromfd", "dup"])
def test_closed_behind_our_back(hub_name, how):
    with listening() as server:
        left, right = socketpair()
        old = greenio.spawn(left.recv, 10)
        listener = until_parked(old)
        # It has polled, so that only the kernel and we know the number.
        right.send(b"x")
        assert old.wait() == b"x"
        old = greenio.spawn(left.recv, 10)
        until_parked(old)
        settle(3)
        plain = socket.create_connection(server.getsockname())
        number = left.fileno()
        os.close(number)
        if how == "socket":
            fresh = [GreenSocket()]
        elif how == "socketpair":
            fresh = list(socketpair())
        elif how == "accept":
            fresh = [server.accept()[0]]
        elif how == "fromfd":
            fresh = [fromfd(right.fileno(), right.family, right.type)]
        else:
            fresh = [right.dup()]
        assert number in [sock.fileno() for sock in fresh]
        with pytest.raises(IOClosed):
            old.wait()
        assert listener.closed
        # What is left of the old object does not hurt the new one.
        new = next(sock for sock in fresh if sock.fileno() == number)
        left.detach()
        if how == "socketpair":
            new.settimeout(0.01)
            with pytest.raises(TimeoutError):
                new.recv(10)
        for sock in (*fresh, plain, right):
            sock.close()


def test_detach(pair):
    green, plain = pair
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    number = green.detach()
    assert green.fileno() == -1
    with pytest.raises(IOClosed):
        thread.wait()
    assert registered() == 0
    # As it seemed to be, for whoever has it now.
    assert os.get_blocking(number)
    plain.send(b"x")
    assert os.read(number, 10) == b"x"
    os.close(number)


def test_dup(pair):
    green, plain = pair
    green.settimeout(5)
    twin = green.dup()
    assert type(twin) is GreenSocket
    assert twin.fileno() != green.fileno()
    assert twin.gettimeout() == 5
    assert not os.get_inheritable(twin.fileno())
    waiters = [greenio.spawn(sock.recv, 1) for sock in (green, twin)]
    for thread in waiters:
        until_parked(thread)
    plain.send(b"ab")
    assert sorted(thread.wait() for thread in waiters) == [b"a", b"b"]
    green.close()
    thread = greenio.spawn(twin.recv, 10)
    until_parked(thread)
    plain.send(b"c")
    assert thread.wait() == b"c"
    twin.close()


def test_forgotten(hub_name):
    left, right = socketpair()
    thread = greenio.spawn(left.recv, 10)
    until_parked(thread)
    right.send(b"x")
    thread.wait()
    assert registered() == 1
    collect_garbage()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del left, thread
        gc.collect()
    assert registered() == 0
    assert [entry.category for entry in caught] == [ResourceWarning]
    assert right.recv(10) == b""
    right.close()


def test_could_not_be_made(hub_name):
    with pytest.raises(OSError):
        GreenSocket(999)
    with pytest.raises((ValueError, OSError)):
        GreenSocket(fileno=-1)
    gc.collect()


def test_a_closed_one_in_green_form(hub_name):
    plain, other = socket.socketpair()
    plain.close()
    green = GreenSocket(plain)
    assert green.fileno() == -1
    with pytest.raises(OSError) as caught:
        green.recv(10)
    assert caught.value.errno == errno.EBADF
    green.close()
    other.close()


# -- the registration stays ---------------------------------------------------------------


def test_requests_without_registering(hub_name):
    left, right = socketpair()
    with left, right:

        def serve():
            while data := right.recv(100):
                right.sendall(data)

        server = greenio.spawn(serve)
        registrations = set()

        def ask():
            for _ in range(50):
                left.sendall(b"ping")
                assert left.recv(100) == b"ping"
                for listener in hubs.get_hub().descriptors.registered():
                    registrations.add((listener.fd, id(listener._registration)))

        greenio.spawn(ask).wait()
        assert {fd for fd, _ in registrations} == {left.fileno(), right.fileno()}
        assert len(registrations) == 2
        left.shutdown(socket.SHUT_WR)
        server.wait()


def test_idle_registration_goes(pair):
    green, plain = pair
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    plain.send(b"x")
    thread.wait()
    assert registered() == 1
    # It becomes readable, and nobody waits.
    plain.send(b"y")
    until(lambda: registered() == 0)
    assert green.recv(10) == b"y"
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    plain.send(b"z")
    assert thread.wait() == b"z"


def test_asking_for_the_number(pair):
    green, plain = pair
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    green.fileno()
    assert registered() == 1
    plain.send(b"x")
    thread.wait()
    assert registered() == 1
    green.fileno()
    assert registered() == 0


# -- other places -------------------------------------------------------------------------


def test_in_the_loop_greenlet(run_async):
    async def main():
        left, right = socketpair()
        with left, right, listening() as server:
            # What needs no waiting is done.
            left.sendall(b"x")
            assert right.recv(10) == b"x"
            for call in (lambda: right.recv(10), server.accept):
                with pytest.raises(greenio.BlockingInLoopError, match="run_green"):
                    call()
            left.sendall(b"nothing is lost")
            assert right.recv(100) == b"nothing is lost"
            fill(left)
            with pytest.raises(greenio.BlockingInLoopError):
                left.send(b"x")
            client = GreenSocket()
            with pytest.raises(greenio.BlockingInLoopError):
                client.connect(("localhost", server.getsockname()[1]))
            with pytest.raises(greenio.BlockingInLoopError):
                client.connect(server.getsockname())
            await greenio.run_green(client.connect, server.getsockname())
            server.accept()[0].close()
            client.close()
            # An address that must be looked up can be bound to, as ever.
            with GreenSocket() as sock:
                sock.bind(("localhost", 0))

    run_async(main)


def test_in_a_portal(run_async):
    async def main():
        left, right = socketpair()
        with left, right:
            received = []

            @greenio.portal
            async def read():
                right.settimeout(10)
                for _ in range(3):
                    received.append(right.recv(10))
                    await asyncio.sleep(0)
                right.settimeout(0.01)
                with pytest.raises(TimeoutError):
                    right.recv(10)

            task = asyncio.create_task(read())
            for count, message in enumerate((b"1", b"2", b"3")):
                await until_async(lambda n=count: len(received) == n and waiting())
                left.send(message)
            await task
            assert received == [b"1", b"2", b"3"]

            right.settimeout(None)
            task = asyncio.create_task(greenio.portal(greenio.as_async(right.recv))(9))
            while not waiting():
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert waiting() == 0

    run_async(main)


def test_in_an_os_thread_without_a_hub(pair):
    green, plain = pair

    def blocked():
        green.settimeout(0.01)
        with pytest.raises(TimeoutError):
            green.recv(10)
        green.settimeout(10)
        timer = threading.Timer(0.01, plain.send, (b"x",))
        timer.start()
        assert green.recv(10) == b"x"
        timer.join()
        green.sendall(b"answer")
        with listening() as server, GreenSocket() as client:
            client.connect(("localhost", server.getsockname()[1]))
            connection, _ = server.accept()
            connection.close()
        green.settimeout(None)

    in_thread(blocked)
    assert plain.recv(10) == b"answer"
    # Here it is green, there it blocks, and here it is green again.
    thread = greenio.spawn(green.recv, 10)
    until_parked(thread)
    plain.send(b"y")
    assert thread.wait() == b"y"
    plain.send(b"z")
    assert in_thread(lambda: green.recv(10)) == b"z"


def test_two_loops_share_a_listening_socket(loop_factory):
    server = listening()
    counts = {"here": 0, "there": 0}
    ready = threading.Barrier(2)
    ended = []

    def accept(name):
        try:
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.sendall(name.encode())
                counts[name] += 1
        except OSError as exc:
            ended.append(exc.errno)

    def other():
        loop = loop_factory()

        async def main():
            thread = greenio.spawn(accept, "there")
            await asyncio.sleep(0)
            ready.wait()
            await thread

        try:
            loop.run_until_complete(main())
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
                loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
            loop.close()

    native = threading.Thread(target=other)
    native.start()
    thread = greenio.spawn(accept, "here")
    until_parked(thread)
    ready.wait()
    total = 0
    while total < 40 or not all(counts.values()):
        with GreenSocket() as client:
            client.settimeout(10)
            client.connect(server.getsockname())
            assert client.recv(10) in (b"here", b"there")
        total += 1
        assert total < 5000
    server.close()
    thread.wait()
    native.join(20)
    assert not native.is_alive()
    assert ended == [errno.EBADF] * 2


def test_closed_from_another_os_thread(pair):
    green, _ = pair
    for _ in range(2):
        thread = greenio.spawn(green.recv, 10)
        until_parked(thread)
        in_thread(green.close)
        # Its number is not given away before our loop has let go of it.
        with pytest.raises(IOClosed):
            thread.wait()
        break
    assert registered() == 0


@pytest.mark.parametrize("name", ["recv", "sendall"])
def test_closed_from_another_os_thread_before_it_is_registered(hub_name, name):
    """What is about to wait does not wait for the file that got the number."""

    class ClosedMeanwhile(GreenSocket):
        heirs = ()

        def _open_fd(self):
            fd = super()._open_fd()
            in_thread(self.close)
            self.heirs = socket.socketpair()
            assert fd in [heir.fileno() for heir in self.heirs]
            return fd

    plain, peer = socket.socketpair()
    with peer:
        green = ClosedMeanwhile(fileno=plain.detach())
        fill(green)
        with pytest.raises(IOClosed):
            greenio.spawn(operations(green)[name]).wait()
        assert registered() == 0
        for heir in green.heirs:
            heir.close()


# -- asyncio uses it ----------------------------------------------------------------------


def test_asyncio_and_green_code_take_turns(run_async):
    async def main():
        loop = asyncio.get_running_loop()
        left, right = socketpair()
        with left, right:
            for _ in range(10):
                reading = greenio.spawn(right.recv, 10)
                await loop.run_in_executor(None, left.send, b"green")
                assert await reading == b"green"
                for sock in (left, right):
                    sock.setblocking(False)
                await loop.sock_sendall(left, b"async")
                assert await loop.sock_recv(right, 10) == b"async"
                buffer = bytearray(9)
                receiving = asyncio.ensure_future(loop.sock_recv_into(right, buffer))
                await asyncio.sleep(0)
                await loop.sock_sendall(left, b"into")
                assert await receiving == 4
                for sock in (left, right):
                    sock.setblocking(True)

    run_async(main)


def test_asyncio_accepts_and_connects(run_async):
    async def main():
        loop = asyncio.get_running_loop()
        with listening() as server, GreenSocket() as client:
            server.setblocking(False)
            client.setblocking(False)
            accepting = asyncio.ensure_future(loop.sock_accept(server))
            await loop.sock_connect(client, server.getsockname())
            connection, address = await accepting
            assert address == client.getsockname()
            with connection:
                connection.setblocking(False)
                await loop.sock_sendall(connection, b"welcome")
                client.setblocking(True)
                assert await greenio.run_green(client.recv, 10) == b"welcome"

    run_async(main)


def test_streams_over_green_sockets(run_async):
    async def main():
        listener = listening()
        # It has been waited on, so the loop knows it.
        accepting = greenio.spawn(listener.accept)
        first = GreenSocket()
        await greenio.run_green(first.connect, listener.getsockname())
        (await accepting)[0].close()
        first.close()

        async def serve(reader, writer):
            while data := await reader.read(100):
                writer.write(data.upper())
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, sock=listener)
        client = GreenSocket()
        await greenio.run_green(client.connect, listener.getsockname())

        def talk():
            for _ in range(3):
                client.sendall(b"from green")
                assert client.recv(100) == b"FROM GREEN"

        await greenio.run_green(talk)
        # The same connection goes on as a stream.
        client.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=client)
        writer.write(b"from a stream")
        assert await reader.readexactly(13) == b"FROM A STREAM"
        with pytest.raises(greenio.SimultaneousUseError):
            await greenio.run_green(trample, client.fileno())
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run_async(main)


def trample(number):
    hubs.trampoline(number, read=True)
