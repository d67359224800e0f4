"""Descriptors: `notify_close`, `notify_opened`, the users' flags, other places."""

from __future__ import annotations

import asyncio
import os
import pty
import socket
import threading

import pytest
from greenlet import getcurrent, greenlet

import greenio
from _fresh import run as run_fresh
from _sockets import flags, in_thread, pipe, registered, until_parked, waiting
from _support import settle, until, until_async
from greenio import hubs
from greenio._greenthread.descriptor_waits import wait_descriptor
from greenio._net import socket as green_socket
from greenio.green import socket as green
from greenio.hubs import IOClosed, notify_close, notify_opened, trampoline


class TooLateError(Exception):
    pass


# -- closing ------------------------------------------------------------------------------


def test_closed_meanwhile(everywhere, ends):
    def main():
        marked = []
        thread = greenio.spawn(
            trampoline, ends[0], read=True, mark_as_closed=lambda: marked.append(1)
        )
        until_parked(thread)
        notify_close(ends[0])
        assert registered() == 0
        os.close(ends[0])
        with pytest.raises(IOClosed):
            thread.wait()
        assert marked == [1]

    everywhere(main)


def test_closed_by_the_hubs_own_method(hub_name, ends):
    thread = greenio.spawn(trampoline, ends[0], read=True)
    until_parked(thread)
    hubs.get_hub().notify_close(ends[0])
    with pytest.raises(IOClosed):
        thread.wait()


def test_closed_by_another_os_thread(hub_name, ends):
    thread = greenio.spawn(trampoline, ends[0], read=True)
    until_parked(thread)

    def close():
        notify_close(ends[0])
        os.close(ends[0])

    other = threading.Thread(target=close)
    other.start()
    with pytest.raises(IOClosed):
        thread.wait()
    other.join()


def test_both_directions_closed(hub_name):
    first, second = socket.socketpair()
    with first, second:
        first.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                first.send(bytes(65536))
        threads = [
            greenio.spawn(trampoline, first, read=True),
            greenio.spawn(trampoline, first, write=True),
        ]
        until_parked(threads[0])
        until_parked(threads[1], "write")
        notify_close(first.fileno())
        for thread in threads:
            with pytest.raises(IOClosed):
                thread.wait()


def test_a_number_that_nobody_knows(hub_name, ends):
    notify_close(ends[0])
    notify_opened(ends[0])
    notify_close(1 << 20)


def test_reused_number(hub_name):
    # The old waiter learns that its file is gone; the new one waits for its own.
    with pipe() as (reader, _), pipe() as (other, writer):
        old = greenio.spawn(trampoline, reader, read=True)
        until_parked(old)
        os.close(reader)
        os.dup2(other, reader)
        notify_opened(reader)
        new = greenio.spawn(trampoline, reader, read=True)
        with pytest.raises(IOClosed):
            old.wait()
        until_parked(new)
        settle()
        assert not new.dead
        os.write(writer, b"x")
        new.wait()
        os.close(reader)


def test_reused_number_in_one_turn(hub_name):
    # All of it happens before the old waiter has a chance to run.
    with pipe() as (reader, _), pipe() as (other, writer):
        old = greenio.spawn(trampoline, reader, read=True)
        until_parked(old)
        os.close(reader)
        os.dup2(other, reader)
        notify_opened(reader)
        os.write(writer, b"x")
        trampoline(reader, read=True)
        with pytest.raises(IOClosed):
            old.wait()
        os.close(reader)


def test_a_file_closed_behind_our_back_and_nobody_waiting(hub_name):
    # What was left registered for the old file is not taken for the new one's.
    first, second = greenio.greenio.base.GreenSocket(), socket.socket()
    second.close()
    with first, pipe() as (other, writer):
        left, right = socket.socketpair()
        green = greenio.greenio.GreenSocket(fileno=left.detach())
        thread = greenio.spawn(green.recv, 10)
        listener = until_parked(thread)
        right.send(b"x")
        assert thread.wait() == b"x"
        assert listener.registered
        number = listener.fd
        os.close(number)
        os.dup2(other, number)
        waiter = greenio.spawn(trampoline, number, read=True)
        until_parked(waiter)
        os.write(writer, b"y")
        waiter.wait()
        right.close()
        green.close()


# -- the user's flags ---------------------------------------------------------------------


@pytest.mark.parametrize("blocking", [True, False])
def test_flags_stay(everywhere, ends, blocking):
    reader, writer = ends
    os.set_blocking(reader, blocking)
    before = flags(reader)

    def main():
        thread = greenio.spawn(trampoline, reader, read=True)
        until_parked(thread)
        # Other processes may share them: not even for a while.
        assert flags(reader) == before
        os.write(writer, b"x")
        thread.wait()
        assert flags(reader) == before
        os.read(reader, 1)
        with pytest.raises(greenio.Timeout):
            trampoline(reader, read=True, timeout=0.001)
        assert flags(reader) == before

    everywhere(main)


def test_flags_of_standard_input(hub_name):
    terminal, inside = pty.openpty()
    saved = os.dup(0)
    try:
        os.dup2(inside, 0)
        before = flags(0)
        thread = greenio.spawn(trampoline, 0, read=True)
        until_parked(thread)
        assert flags(0) == before
        os.write(terminal, b"word\n")
        thread.wait()
        assert os.read(0, 100) == b"word\n"
        assert flags(0) == before
    finally:
        os.dup2(saved, 0)
        for fd in (saved, terminal, inside):
            os.close(fd)


# -- other places -------------------------------------------------------------------------


def test_in_the_loop_greenlet(run_async, ends):
    async def main():
        with pytest.raises(greenio.BlockingInLoopError, match="run_green"):
            trampoline(ends[0], read=True)
        with pytest.raises(greenio.BlockingInLoopError):
            trampoline(ends[0], read=True, timeout=1)
        # What is ready already needs no waiting.
        trampoline(ends[1], write=True)
        os.write(ends[1], b"x")
        trampoline(ends[0], read=True)
        assert (waiting(), registered()) == (0, 0)

    run_async(main)


def test_in_a_portal(run_async, ends):
    reader, writer = ends

    @greenio.portal
    async def main():
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, os.write, writer, b"x")
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticker = asyncio.create_task(tick())
        trampoline(reader, read=True)
        assert ticks > 1
        assert asyncio.current_task() is task
        assert os.read(reader, 10) == b"x"
        with pytest.raises(greenio.Timeout):
            trampoline(reader, read=True, timeout=0.01)
        ticker.cancel()

        async def impatient():
            trampoline(reader, read=True)

        waiter = asyncio.create_task(greenio.portal(impatient)())
        await until_async(waiting)
        assert waiting() == 1
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert (waiting(), registered()) == (0, 0)

    run_async(main)


def test_closed_under_a_portal(run_async, ends):
    async def wait():
        with pytest.raises(IOClosed):
            trampoline(ends[0], read=True)
        return "told"

    async def main():
        task = asyncio.create_task(greenio.portal(wait)())
        while not waiting():
            await asyncio.sleep(0)
        notify_close(ends[0])
        assert await task == "told"

    run_async(main)


def test_in_a_greenlet_of_the_users(hub_name, ends):
    greenio.sleep(0)
    hub = hubs.get_hub()
    seen = []

    def body():
        trampoline(ends[0], read=True)
        seen.append(os.read(ends[0], 10))

    bare = greenlet(body, hub.loop_greenlet)
    hub.schedule_call_global(0, bare.switch)
    until(lambda: waiting() == 1)
    os.write(ends[1], b"x")
    until(lambda: seen)
    assert seen == [b"x"]


def test_in_an_os_thread_without_a_hub(hub_name, ends):
    reader, writer = ends

    def blocked():
        with pytest.raises(TooLateError):
            trampoline(reader, read=True, timeout=0.01, timeout_exc=TooLateError)
        timer = threading.Timer(0.01, os.write, (writer, b"x"))
        timer.start()
        trampoline(reader, read=True)
        timer.join()
        trampoline(writer, write=True)
        fd = os.dup(reader)
        os.close(fd)
        with pytest.raises(IOClosed):
            trampoline(fd, read=True)
        assert getattr(getcurrent(), "_hub", None) is None

    in_thread(blocked)
    assert os.read(reader, 10) == b"x"


def test_what_a_transport_owns(run_async):
    async def main():
        loop = asyncio.get_running_loop()
        first, second = socket.socketpair()
        with second:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=first)
            number = transport.get_extra_info("socket").fileno()

            def wait():
                with pytest.raises(greenio.SimultaneousUseError, match="transport"):
                    trampoline(number, read=True)
                with pytest.raises(greenio.SimultaneousUseError, match=r"sock\.dup"):
                    trampoline(number, write=True)

            await greenio.run_green(wait)
            assert (waiting(), registered()) == (0, 0)
            # The transport has not suffered.
            transport.write(b"well")
            assert await loop.run_in_executor(None, second.recv, 10) == b"well"
            transport.close()
            await asyncio.sleep(0)

    run_async(main)


def test_asyncio_takes_over_while_somebody_waits(run_async):
    # Its reader replaces ours without a word; the waiter must not be left alone.
    async def main():
        loop = asyncio.get_running_loop()
        first, second = socket.socketpair()
        first.setblocking(False)
        with first, second:
            green = greenio.greenio.GreenSocket(first)
            green.settimeout(None)
            thread = greenio.spawn(green.recv, 10)
            while not waiting():
                await asyncio.sleep(0)
            green.fileno()
            receiving = asyncio.ensure_future(loop.sock_recv(first, 10))
            with pytest.raises(greenio.SimultaneousUseError, match="took over"):
                await thread
            second.send(b"x")
            assert await receiving == b"x"
            assert waiting() == 0

    run_async(main)


def test_closed_loop(run_async, ends):
    async def main():
        return hubs.get_hub()

    hub = run_async(main)
    with pytest.raises(hubs.HubClosedError):
        hub.descriptors.wait_once(ends[0], "read", None, hub.park)


# -- processes ----------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_leaves_the_parents_descriptors_alone(hub_name):
    # The kernel's side of the poller is shared: unregistering there in the child would
    # leave the parent waiting for ever.
    out = run_fresh(
        """
        import os
        import greenio
        from greenio._net.socket import socketpair

        first, second = socketpair()
        reading = greenio.spawn(first.recv, 100)
        while not greenio.hubs.get_hub().get_readers():
            greenio.sleep(0)
        child = os.fork()
        if child == 0:
            first.close()
            second.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        second.send(b"for the parent")
        with greenio.Timeout(10):
            print(reading.wait())
        first.close()
        second.close()
        """,
        hub=hub_name,
    )
    assert out == "b'for the parent'\n"


def test_wait_descriptor_names_the_call(run_async, ends):
    async def main():
        with pytest.raises(greenio.BlockingInLoopError, match="reading the manual"):
            wait_descriptor(ends[0], "read", None, "reading the manual")

    run_async(main)


@pytest.mark.parametrize("read", ["recv", "recv_into"])
def test_a_look_that_finds_nothing_leaves_it_known_that_nothing_is_there(
    hub_name, monkeypatch, read
):
    # Pools of connections look before each request whether the peer has gone.
    asked = []
    name = f"_raw_{read}"
    ask = getattr(green_socket, name)

    def counted(sock, *arguments):
        asked.append(sock)
        return ask(sock, *arguments)

    monkeypatch.setattr(green_socket, name, counted)
    arguments = {"recv": (8,), "recv_into": (bytearray(8),)}[read]
    client, server = green.socketpair()
    with client, server:
        for request in range(3):
            client.settimeout(0)
            with pytest.raises(BlockingIOError):
                getattr(client, read)(*arguments)
            client.settimeout(None)
            greenio.spawn(server.sendall, b"answer")
            getattr(client, read)(*arguments)
            # At first nothing is known, so the read asks before it waits.
            assert asked.count(client) == (3 if request == 0 else 2), request
            asked.clear()
