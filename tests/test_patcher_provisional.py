"""`python -m greenio` patches for the program until it says what it wants itself."""

from __future__ import annotations

import textwrap

import pytest

from _fresh import python

_BEGIN = """
import threading, time
from time import sleep
import eventlet
"""
_KEYWORDS = ("os", "select", "socket", "subprocess", "thread", "time")


def program(tmp_path, text, loop):
    script = tmp_path / "script.py"
    script.write_text(_BEGIN + textwrap.dedent(text))
    done = python("-m", "greenio", str(script), hub=loop)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "left_out"),
    [
        ("", set()),
        ("all=True", set()),
        ("thread=False", {"thread"}),
        ("time=False, os=False", {"time", "os"}),
        ("subprocess=False", {"subprocess"}),
        ("socket=True, select=True", {"os", "subprocess", "thread", "time"}),
    ],
)
def test_the_programs_own_choice_is_obeyed(tmp_path, loop, arguments, left_out):
    text = f"""
        eventlet.monkey_patch({arguments})
        import asyncio, os, queue, socket, subprocess
        from concurrent.futures import ThreadPoolExecutor
        left_out = {{
            name for name in {_KEYWORDS} if not eventlet.patcher.is_monkey_patched(name)
        }}
        assert left_out == {left_out!r}, left_out
        names = dict(time=sleep, os=os.read, thread=threading.Lock, socket=socket.socket)
        for name, value in names.items():
            green = (value.__module__ or "").startswith("greenio")
            assert green == (name not in left_out), (name, value)
        assert time.sleep is sleep
        # All of it works, together with what stays green.
        thread = threading.Thread(target=time.sleep, args=(0.01,))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(abs, [-1, 2])) == [1, 2]
        assert subprocess.run(["echo", "hi"], capture_output=True).stdout == b"hi\\n"
        assert asyncio.run(asyncio.sleep(0.01, "slept")) == "slept"
        threading.Thread(target=lambda: (time.sleep(0.02), print("late"))).start()
        print("end")
    """
    # A green thread that sleeps for real does so before `start` returns.
    assert sorted(program(tmp_path, text, loop).splitlines()) == ["end", "late"]


def test_threads_that_are_left_out_are_real(tmp_path, loop):
    text = """
        eventlet.monkey_patch(thread=False)
        from eventlet.green import threading as green_threading
        go_on = threading.Event()
        # Waiting for a real thread blocks, and that thread runs meanwhile.
        threading.Thread(target=go_on.set).start()
        print(go_on.wait(30), threading.current_thread() is threading.main_thread())
        seen = []
        thread = green_threading.Thread(target=lambda: (sleep(0), seen.append("green")))
        thread.start()
        print(seen)
        thread.join()
        print(seen)
    """
    assert program(tmp_path, text, loop) == "True True\n[]\n['green']\n"


def test_only_the_first_call_leaves_out(tmp_path, loop):
    text = """
        eventlet.monkey_patch(socket=True)
        eventlet.monkey_patch(time=True)
        eventlet.monkey_patch(thread=False, os=False, select=False, subprocess=False)
        print(*(name for name in ("socket", "time", "os", "thread")
                if eventlet.patcher.is_monkey_patched(name)))
    """
    assert program(tmp_path, text, loop) == "socket time\n"


def test_threads_cannot_be_left_out_when_some_have_started(tmp_path, loop):
    text = """
        go_on = threading.Event()
        threading.Thread(target=go_on.wait).start()
        try:
            eventlet.monkey_patch(thread=False)
        except RuntimeError as error:
            print("--no-patch" in str(error))
        go_on.set()
    """
    assert program(tmp_path, text, loop) == "True\n"
