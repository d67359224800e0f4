"""A main program that nobody can wake any more gets DeadlockError, and nobody else."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

from _fresh import environment, run
from greenio._greenthread import deadlocks

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs to know of all OS threads"
)

START = textwrap.dedent("""
    import asyncio, os, signal, socket, subprocess, sys, threading, time
    import greenio
    from greenio import event, greenthread, hubs, tpool
    from greenio._greenthread import deadlocks

    looks, nobody_is_left = [], deadlocks._nobody_is_left

    def look(hub):
        looks.append(nobody_is_left(hub))
        return looks[-1]

    deadlocks._FIRST, deadlocks._LONGEST = 0.01, 0.02
    deadlocks._nobody_is_left = look

    def stuck():
        event.Event().wait()

""")


# The patch makes no difference that depends on the loop.
KINDS = [("asyncio", False), ("asyncio", True), ("uvloop", False)]


def program(source: str, patched: bool = False) -> str:
    patch = "import greenio; greenio.monkey_patch()\n" if patched else ""
    return patch + START + textwrap.dedent(source)


@pytest.mark.parametrize(("loop", "patched"), KINDS)
@pytest.mark.parametrize(
    "wait",
    [
        "event.Event().wait()",
        "greenio.Queue().get()",
        "greenio.spawn(stuck).wait()",
        "hubs.get_hub().switch()",
        "pool = greenio.GreenPool(); pool.spawn(stuck); pool.waitall()",
    ],
)
def test_it_is_raised_in_the_main_program_with_who_waits(loop, wait, patched):
    source = """
        other = greenio.spawn(stuck)
        for _ in range(2):
            try:
                WAIT
            except hubs.DeadlockError as error:
                assert "wait for ever" in str(error)
                assert "green thread of stuck" in str(error), error
                assert "main program: waits" in str(error), error
            else:
                raise AssertionError
        greenio.sleep(0.001)
        print("goes on")
    """.replace("WAIT", wait)
    assert run(program(source, patched), hub=loop) == "goes on\n"


def test_a_socket_that_nobody_waits_for_wakes_nobody(loop):
    source = """
        from greenio.green import socket
        left, right = socket.socketpair()
        reader = greenio.spawn(left.recv, 1)
        greenio.sleep(0)
        right.send(b"1")
        assert reader.wait() == b"1"
        assert hubs.get_hub().descriptors.registered()
        try:
            stuck()
        except hubs.DeadlockError:
            print("noticed")
    """
    assert run(program(source), hub=loop) == "noticed\n"


# Green threads, timers and tasks: the loop waits with a limit, and nobody looks.
TIMED = [
    "greenio.spawn_after(0.3, done.send)",
    "greenio.spawn(lambda: (greenio.sleep(0.3), done.send()))",
    "hubs.get_hub().schedule_call_global(0.3, done.send)",
    "loop.call_later(0.3, done.send)",
    "task = loop.create_task(send_later())",
]


@pytest.mark.parametrize(("loop", "patched"), KINDS)
@pytest.mark.parametrize(
    "waker",
    [
        *TIMED,
        # OS threads, Python's and greenio's.
        "thread(send_from_a_thread, ())",
        "greenio.spawn(lambda: (tpool.execute(real_sleep, 0.3), done.send()))",
        # Descriptors: green threads', and the loop's own.
        "greenio.spawn(lambda: (left.recv(1), done.send())); child(right)",
        "loop.add_reader(left, read); child(right)",
        "greenio.await_(loop.create_server(Protocol, sock=listener)); child(knock)",
        # Signals.
        "signal.signal(signal.SIGUSR1, handle); signal_later(signal.SIGUSR1)",
        "loop.add_signal_handler(signal.SIGUSR1, handle); signal_later(signal.SIGUSR1)",
    ],
)
def test_it_is_not_raised_while_something_may_wake_somebody(loop, waker, patched):
    source = """
        from greenio.green import socket as green_socket
        from greenio._std.originals import start_new_thread as thread
        from greenio._std.originals import time_sleep as real_sleep

        done = event.Event()
        left, right = green_socket.socketpair()
        loop = hubs.get_hub().loop

        def read():
            loop.remove_reader(left)
            done.send()

        listener = socket.create_server(("127.0.0.1", 0))
        knock = socket.socket()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport):
                done.send()

        def handle(*_):
            greenio.spawn(done.send)

        async def send_later():
            await asyncio.sleep(0.3)
            done.send()

        def send_from_a_thread():
            real_sleep(0.3)
            done.send()

        def fork(work):
            # A grandchild, which is nobody's child here.
            from greenio._std.originals import time_sleep
            me = os.getpid()
            child = os.fork()
            if child == 0:
                if os.fork() == 0:
                    time_sleep(0.3)
                    work(me)
                os._exit(0)
            os.waitpid(child, 0)

        def child(sock):
            if sock is knock:
                fork(lambda me: knock.connect(listener.getsockname()))
            else:
                fork(lambda me: os.write(sock.fileno(), b"1"))

        def signal_later(number):
            fork(lambda me: os.kill(me, number))

        WAKER
        done.wait()
        assert SEEN and not any(looks), looks
        print("woken")
        os._exit(0)
    """.replace("WAKER", waker)
    # uvloop's are looked at all the same.
    unseen = waker in TIMED and loop == "asyncio"
    source = source.replace("SEEN", "not looks" if unseen else "len(looks) >= 2")
    assert run(program(source, patched), hub=loop) == "woken\n"


def test_children_may_still_end(loop):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with child:
        assert deadlocks._has_children()
        assert child.stdin is not None
        child.stdin.write(b"\n")
    program = (
        "from greenio._greenthread import deadlocks; print(deadlocks._has_children())"
    )
    assert run(program) == "False\n"


def test_it_is_turned_off(loop):
    source = """
        hubs.detect_deadlocks(False)
        deadlocks._FIRST = 0.001
        greenio.spawn(stuck)
        print("waiting", flush=True)
        try:
            stuck()
        except KeyboardInterrupt:
            print("interrupted")
    """
    environ = environment(loop)
    child = subprocess.Popen(
        [sys.executable, "-c", program(source)],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.3)
        child.send_signal(signal.SIGINT)
        assert child.stdout.read() == "interrupted\n"
    assert child.returncode == 0
