"""Waiting for descriptors by number: `trampoline`, `notify_close`, `notify_opened`."""

from __future__ import annotations

import asyncio
import errno
import os
import pty
import socket
import threading
import time

import pytest
from greenlet import GreenletExit, getcurrent, greenlet

import greenio
from _fresh import run as run_fresh
from _sockets import (
    PLACES,
    flags,
    in_thread,
    pipe,
    registered,
    run_in,
    until_parked,
    waiting,
)
from _support import settle, until
from greenio import debug, hubs
from greenio._greenthread.descriptor_waits import wait_descriptor
from greenio.hubs import IOClosed, notify_close, notify_opened, trampoline


@pytest.fixture(params=PLACES)
def everywhere(request, hub_name, loop_factory):
    """Run a function wherever green code may run."""
    return lambda func: run_in(request.param, loop_factory, func)


@pytest.fixture
def ends(nothing_left):
    with pipe() as both:
        yield both


@pytest.fixture
def several_waiters():
    debug.hub_prevent_multiple_readers(False)
    yield
    debug.hub_prevent_multiple_readers(True)


# -- being ready ------------------------------------------------------------------------


def test_read(everywhere, ends):
    reader, writer = ends

    def main():
        order = []

        def wait():
            trampoline(reader, read=True)
            order.append("ready")

        thread = greenio.spawn(wait)
        listener = until_parked(thread)
        assert (listener.fd, listener.event) == (reader, "read")
        assert hubs.get_hub().get_readers() == [listener]
        order.append("written")
        os.write(writer, b"x")
        thread.wait()
        assert order == ["written", "ready"]
        # A descriptor of the user's is watched only while somebody waits.
        assert (waiting(), registered()) == (0, 0)

    everywhere(main)


def test_write(everywhere, ends):
    reader, writer = ends
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))

    def main():
        thread = greenio.spawn(trampoline, writer, write=True)
        until_parked(thread, "write")
        os.read(reader, 1 << 20)
        thread.wait()
        assert (waiting(), registered()) == (0, 0)

    everywhere(main)


def test_ready_already(everywhere, ends):
    os.write(ends[1], b"x")
    everywhere(lambda: trampoline(ends[0], read=True))
    everywhere(lambda: trampoline(ends[1], write=True, timeout=0))


def test_something_with_a_fileno(everywhere):
    first, second = socket.socketpair()
    with first, second:
        second.send(b"x")
        everywhere(lambda: trampoline(first, read=True))


def test_both_directions_at_once(everywhere):
    first, second = socket.socketpair()
    with first, second:

        def main():
            reading = greenio.spawn(trampoline, first, read=True)
            until_parked(reading)
            trampoline(first, write=True)
            assert waiting() == 1
            second.send(b"x")
            reading.wait()

        everywhere(main)


@pytest.mark.parametrize("what", ["file", "directory", "/dev/null"])
def test_what_never_blocks_is_ready(everywhere, what, tmp_path):
    path = {"file": tmp_path / "file", "directory": tmp_path}.get(what, what)
    if what == "file":
        path.write_text("")
    fd = os.open(path, os.O_RDONLY)
    try:
        for direction in ({"read": True}, {"write": True}):
            everywhere(lambda direction=direction: trampoline(fd, **direction))
    finally:
        os.close(fd)


def test_end_of_file_is_ready(everywhere, ends):
    def main():
        thread = greenio.spawn(trampoline, ends[0], read=True)
        until_parked(thread)
        os.close(ends[1])
        thread.wait()

    everywhere(main)


# -- time -------------------------------------------------------------------------------


def test_time_is_up(everywhere, ends):
    def main():
        began = time.monotonic()
        with pytest.raises(greenio.Timeout) as caught:
            trampoline(ends[0], read=True, timeout=0.02)
        assert 0.015 < time.monotonic() - began < 5
        assert caught.value.seconds == 0.02
        assert (waiting(), registered(), hubs.get_hub().timers) == (0, 0, 0)

    everywhere(main)


class TooLateError(Exception):
    pass


@pytest.mark.parametrize("timeout_exc", [TooLateError, TooLateError("it is")])
def test_own_exception(hub_name, ends, timeout_exc):
    with pytest.raises(TooLateError):
        trampoline(ends[0], read=True, timeout=0.001, timeout_exc=timeout_exc)


@pytest.mark.parametrize("timeout", [0, -3])
def test_no_time_left(hub_name, ends, timeout):
    with pytest.raises(TooLateError):
        trampoline(ends[0], read=True, timeout=timeout, timeout_exc=TooLateError)


def test_in_time(hub_name, ends):
    thread = greenio.spawn(trampoline, ends[0], read=True, timeout=30)
    until_parked(thread)
    os.write(ends[1], b"x")
    thread.wait()
    assert hubs.get_hub().timers == 0


def test_ready_while_the_loop_was_busy(hub_name, ends):
    # uvloop looks at its timers before it polls; what came in time came in time.
    thread = greenio.spawn(trampoline, ends[0], read=True, timeout=0.01)
    until_parked(thread)
    os.write(ends[1], b"x")
    time.sleep(0.03)
    thread.wait()


@pytest.mark.parametrize("timeout", [float("inf"), 1e12])
def test_a_long_time(hub_name, ends, timeout):
    thread = greenio.spawn(trampoline, ends[0], read=True, timeout=timeout)
    until_parked(thread)
    os.write(ends[1], b"x")
    thread.wait()


# -- mistakes ---------------------------------------------------------------------------


@pytest.mark.parametrize("choice", [{}, {"read": True, "write": True}, {"read": 0}])
def test_one_direction(hub_name, ends, choice):
    with pytest.raises(ValueError, match="read=True or write=True"):
        trampoline(ends[0], **choice)


def test_negative(hub_name):
    with pytest.raises(
        ValueError, match=r"-1: it is negative.*pass an open descriptor"
    ):
        trampoline(-1, read=True)
    sock = socket.socket()
    sock.close()
    with pytest.raises(ValueError, match="negative"):
        trampoline(sock, read=True)


def test_no_descriptor(hub_name):
    with pytest.raises(TypeError, match="something with fileno"):
        trampoline("pipe", read=True)

    class Odd:
        def fileno(self):
            return None

    with pytest.raises(TypeError, match="None, which is no descriptor"):
        trampoline(Odd(), read=True)


def test_no_number_of_seconds(hub_name, ends):
    with pytest.raises(TypeError, match="in seconds or None, not 'soon'"):
        trampoline(ends[0], read=True, timeout="soon")


def test_closed(everywhere):
    def main():
        # The hub has opened what it needs by now, so the number stays unused.
        hubs.get_hub()
        fd = os.dup(0)
        os.close(fd)
        marked = []
        with pytest.raises(IOClosed) as caught:
            trampoline(fd, read=True, mark_as_closed=lambda: marked.append(1))
        assert caught.value.errno == errno.EBADF
        assert isinstance(caught.value, OSError)
        assert marked == [1]
        assert (waiting(), registered()) == (0, 0)

    everywhere(main)


# -- closing ----------------------------------------------------------------------------


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


# -- somebody else waits ------------------------------------------------------------------


def first_comer(fd):
    trampoline(fd, read=True)


def second_comer(fd):
    trampoline(fd, read=True)


def test_second_reader(everywhere, ends):
    reader, writer = ends

    def main():
        first = greenio.spawn(first_comer, reader)
        until_parked(first)
        with pytest.raises(greenio.SimultaneousUseError) as caught:
            greenio.spawn(second_comer, reader).wait()
        message = str(caught.value)
        assert f"second simultaneous read on descriptor {reader}" in message
        assert "hub_prevent_multiple_readers(False)" in message
        # Both are shown, and nothing of the machinery under them.
        before, _, after = message.partition("The second comes from:")
        assert "in first_comer" in before
        assert "in second_comer" not in before
        assert "in second_comer" in after
        assert "_kernel" not in message
        # The first goes on waiting.
        assert not first.dead
        os.write(writer, b"x")
        first.wait()

    everywhere(main)


def test_several_readers(everywhere, ends, several_waiters):
    reader, writer = ends

    def main():
        order = []

        def consume(name):
            trampoline(reader, read=True)
            order.append((name, os.read(reader, 1)))

        threads = [greenio.spawn(consume, name) for name in "abc"]
        for thread in threads:
            until_parked(thread)
        assert waiting() == 3
        for byte in (b"1", b"2", b"3"):
            os.write(writer, byte)
            until(lambda byte=byte: len(order) == int(byte))
        assert order == [("a", b"1"), ("b", b"2"), ("c", b"3")]
        for thread in threads:
            thread.wait()
        assert (waiting(), registered()) == (0, 0)

    everywhere(main)


def test_several_readers_leave(hub_name, ends, several_waiters):
    reader, writer = ends
    killed = greenio.spawn(trampoline, reader, read=True)
    until_parked(killed)
    late = greenio.spawn(trampoline, reader, read=True, timeout=0.01)
    until_parked(late)
    killed_too = greenio.spawn(trampoline, reader, read=True)
    until_parked(killed_too)
    last = greenio.spawn(trampoline, reader, read=True)
    until_parked(last)
    with pytest.raises(greenio.Timeout):
        late.wait()
    killed_too.kill()
    killed.kill()
    assert waiting() == 1
    os.write(writer, b"x")
    last.wait()
    for thread in (killed, killed_too):
        with pytest.raises(GreenletExit):
            thread.wait()
    assert (waiting(), registered(), hubs.get_hub().timers) == (0, 0, 0)


def test_a_time_limit_is_its_owners(hub_name, ends, several_waiters):
    # The first one's limit must not end the wait of whoever moves up after it.
    reader, writer = ends

    def consume():
        trampoline(reader, read=True, timeout=0.03)
        os.read(reader, 1)

    first = greenio.spawn(consume)
    until_parked(first)
    patient = greenio.spawn(trampoline, reader, read=True)
    until_parked(patient)
    os.write(writer, b"x")
    first.wait()
    if patient.dead:  # the loop had told it of the same byte
        patient = greenio.spawn(trampoline, reader, read=True)
        until_parked(patient)
    greenio.sleep(0.05)
    assert not patient.dead
    os.write(writer, b"y")
    patient.wait()


def test_several_readers_closed(hub_name, ends, several_waiters):
    threads = [greenio.spawn(trampoline, ends[0], read=True) for _ in range(3)]
    for thread in threads:
        until_parked(thread)
    notify_close(ends[0])
    for thread in threads:
        with pytest.raises(IOClosed):
            thread.wait()


# -- being interrupted --------------------------------------------------------------------


def test_killed(everywhere, ends):
    def main():
        thread = greenio.spawn(trampoline, ends[0], read=True, timeout=60)
        until_parked(thread)
        thread.kill()
        with pytest.raises(GreenletExit):
            thread.wait()
        assert (waiting(), registered(), hubs.get_hub().timers) == (0, 0, 0)
        os.write(ends[1], b"x")
        trampoline(ends[0], read=True)

    everywhere(main)


def test_timed_out(everywhere, ends):
    def main():
        with greenio.Timeout(0.01) as limit, pytest.raises(greenio.Timeout) as caught:
            trampoline(ends[0], read=True)
        assert caught.value is limit
        assert (waiting(), registered(), hubs.get_hub().timers) == (0, 0, 0)

    everywhere(main)


def test_resumed_by_somebody_else(hub_name, ends):
    # A resume says "look again", not "it is ready".
    thread = greenio.spawn(trampoline, ends[0], read=True)
    until_parked(thread)
    for _ in range(3):
        hubs.get_hub().wake(thread)
        settle()
        assert not thread.dead
    os.write(ends[1], b"x")
    thread.wait()


# -- the user's flags -----------------------------------------------------------------------


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


# -- other places -----------------------------------------------------------------------------


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
        await asyncio.sleep(0.01)
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


# -- processes --------------------------------------------------------------------------------


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
        greenio.sleep(0.01)
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
