"""Waiting for descriptors by number: `trampoline`."""

from __future__ import annotations

import errno
import os
import re
import socket
import time

import pytest
from greenlet import GreenletExit

import greenio
from _sockets import registered, until_parked, waiting
from _support import settle, until
from greenio import debug, hubs
from greenio.hubs import IOClosed, notify_close, trampoline


@pytest.fixture
def several_waiters():
    debug.hub_prevent_multiple_readers(False)
    yield
    debug.hub_prevent_multiple_readers(True)


class TooLateError(Exception):
    pass


# -- being ready --------------------------------------------------------------------------


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


# -- time ---------------------------------------------------------------------------------


def test_time_is_up(everywhere, ends):
    def main():
        began = time.monotonic()
        with pytest.raises(greenio.Timeout) as caught:
            trampoline(ends[0], read=True, timeout=0.02)
        assert 0.015 < time.monotonic() - began < 5
        assert caught.value.seconds == 0.02
        assert (waiting(), registered(), hubs.get_hub().timers) == (0, 0, 0)

    everywhere(main)


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


# -- mistakes -----------------------------------------------------------------------------


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
        assert not re.search("_kernel|_reactor", message)
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
