"""Waiting for signals in a patched program, and the numbers of its threads."""

from __future__ import annotations

import textwrap

import pytest

from _fresh import run

_BEGIN = """
import greenio; greenio.monkey_patch()
import os, signal, threading, time
here = os.getpid()
turns = []
def turning():
    while True:
        turns.append(1)
        time.sleep(0.001)
greenio.spawn(turning)
def others_ran():
    ran = bool(turns)
    turns.clear()
    return ran
def send(number):
    def when_the_others_have_had_their_turns():
        while len(turns) < 5:
            time.sleep(0.001)
        os.kill(here, number)
    greenio.spawn(when_the_others_have_had_their_turns)
"""


def program(text: str, hub: str) -> str:
    return run(_BEGIN + textwrap.dedent(text), hub=hub)


def test_others_run_until_a_handler_has_run(loop):
    assert (
        program(
            """
            def handler(number, frame):
                print("handler")
            signal.signal(signal.SIGUSR1, handler)
            send(signal.SIGUSR1)
            signal.pause()
            print(others_ran(), signal.getsignal(signal.SIGUSR1) is handler)
            """,
            loop,
        )
        == "handler\nTrue True\n"
    )


def test_a_handler_that_is_installed_meanwhile_ends_the_pause(loop):
    assert (
        program(
            """
            def install():
                signal.signal(signal.SIGUSR1, lambda *_: print("handler"))
                time.sleep(0.1)
                os.kill(here, signal.SIGUSR1)
            greenio.spawn(install)
            signal.pause()
            print("went on")
            """,
            loop,
        )
        == "handler\nwent on\n"
    )


def test_a_green_thread_that_pauses_goes_on_too(loop):
    assert (
        program(
            """
            signal.signal(signal.SIGUSR1, lambda *_: print("handler"))
            send(signal.SIGUSR1)
            threading.Thread(target=lambda: (signal.pause(), print("went on"))).start()
            """,
            loop,
        )
        == "handler\nwent on\n"
    )


def test_ctrl_c_interrupts_a_pause(loop):
    assert (
        program(
            """
            send(signal.SIGINT)
            try:
                signal.pause()
            except KeyboardInterrupt:
                print("interrupted")
            print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
            """,
            loop,
        )
        == "interrupted\nTrue\n"
    )


@pytest.mark.parametrize(
    ("call", "number"),
    [
        ("sigwait({signal.SIGUSR1})", ""),
        ("sigwaitinfo([signal.SIGUSR1])", ".si_signo"),
        ("sigtimedwait([signal.SIGUSR1], 30)", ".si_signo"),
    ],
)
def test_others_run_until_a_blocked_signal_is_pending(loop, call, number):
    assert (
        program(
            f"""
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
            send(signal.SIGUSR1)
            print(signal.{call}{number} == signal.SIGUSR1, others_ran())
            """,
            loop,
        )
        == "True True\n"
    )


def test_the_wait_for_a_signal_has_a_time_limit(loop):
    assert (
        program(
            """
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
            print(signal.sigtimedwait([signal.SIGUSR1], 0.02), others_ran())
            print(signal.sigtimedwait([signal.SIGUSR1], 0))
            try:
                signal.sigtimedwait([signal.SIGUSR1], -1)
            except ValueError:
                print("refused")
            """,
            loop,
        )
        == "None True\nNone\nrefused\n"
    )


def test_the_number_of_a_green_thread_stands_for_its_os_thread(loop):
    assert (
        program(
            """
            real = greenio.patcher.original("threading").get_ident()
            clock = greenio.patcher.original("time").pthread_getcpuclockid(real)
            handled = threading.Event()
            signal.signal(signal.SIGUSR1, lambda *_: handled.set())
            numbers = []
            def work():
                numbers.append(threading.get_ident())
                signal.pthread_kill(numbers[-1], signal.SIGUSR1)
                print(handled.wait(30), time.pthread_getcpuclockid(numbers[-1]) == clock)
                handled.clear()
                over.wait()
            over = threading.Event()
            thread = threading.Thread(target=work)
            thread.start()
            signal.pthread_kill(thread.ident, 0)
            spawned = greenio.spawn(work)
            greenio.sleep(0)
            signal.pthread_kill(numbers[-1], 0)
            over.set()
            thread.join()
            spawned.wait()
            for number in numbers:
                for call in (lambda n: signal.pthread_kill(n, 0),
                             time.pthread_getcpuclockid):
                    try:
                        call(number)
                    except ProcessLookupError:
                        print("ended")
            """,
            loop,
        )
        == "True True\n" * 2 + "ended\n" * 4
    )


def test_what_a_handler_raises_in_a_callback_of_the_loop(loop):
    """The main program gets it, as from the wait that it is in; no callback keeps it."""
    assert (
        program(
            """
            class Late(Exception):
                pass
            def handler(number, frame):
                raise Late
            signal.signal(signal.SIGUSR1, handler)
            def callback():
                os.kill(here, signal.SIGUSR1)
                called.append("to its end")
            called = []
            greenio.hubs.get_hub().loop.call_soon(callback)
            try:
                time.sleep(30)
            except Late:
                print("late", called)
            """,
            loop,
        )
        == "late ['to its end']\n"
    )


def test_other_os_threads_wait_for_signals_as_they_would(loop):
    assert (
        program(
            """
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
            signal.signal(signal.SIGUSR2, lambda *_: None)
            seen = []
            def waits():
                seen.append(signal.sigwait({signal.SIGUSR1}))
                seen.append(signal.sigwaitinfo([signal.SIGUSR1]).si_signo)
                signal.pause()
                seen.append("paused")
            thread = greenio.patcher.original("threading").Thread(target=waits)
            thread.start()
            for count in (1, 2):
                os.kill(here, signal.SIGUSR1)
                while len(seen) < count:
                    time.sleep(0.001)
            while thread.is_alive():
                # It may not have come to it yet.
                signal.pthread_kill(thread.ident, signal.SIGUSR2)
                time.sleep(0.001)
            print(seen == [signal.SIGUSR1, signal.SIGUSR1, "paused"])
            """,
            loop,
        )
        == "True\n"
    )
