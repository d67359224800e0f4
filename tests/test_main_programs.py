"""``python -m greenio -c``, ``-``, and the options that watch a program."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import textwrap
import time

import pytest

from _fresh import PATIENCE, environment, python

# Each starts interpreters.
pytestmark = pytest.mark.slow

TEXT = """
import sys
print(__name__, sys.argv, sys.path[0] == "", "__file__" in globals(), __loader__)
import time, eventlet
eventlet.spawn(print, "green")
time.sleep(0)
def fail():
    1 / 0
fail()
"""


def piped(*arguments: str, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        input=text,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_text():
    plain = TEXT.replace("import time, eventlet", "import time").replace(
        "eventlet.spawn", ""
    )
    ours = python("-m", "greenio", "-c", TEXT, "a", "-m")
    pythons = python(
        "-c", plain.replace('(print, "green")', 'print("green")'), "a", "-m"
    )
    assert ours.stdout == pythons.stdout
    assert ours.stdout.startswith("__main__ ['-c', 'a', '-m'] True False")
    assert ours.stderr.replace("time, eventlet", "time") == pythons.stderr
    assert ours.returncode == pythons.returncode == 1


def test_standard_input():
    plain = TEXT.replace("import time, eventlet", "import time").replace(
        'eventlet.spawn(print, "green")', 'print("green")'
    )
    ours = piped("-m", "greenio", "-", "a", text=TEXT)
    pythons = piped("-", "a", text=plain)
    assert ours.stdout == pythons.stdout
    assert ours.stdout.startswith("__main__ ['-', 'a'] True True")
    assert ours.stderr == pythons.stderr
    assert ours.returncode == pythons.returncode == 1


def test_what_keeps_the_loop_is_logged(loop):
    done = python(
        *("-m", "greenio", "--monitor=0.05", "-c"),
        textwrap.dedent("""
            import eventlet, logging, sys
            records = []
            logging.getLogger("greenio.debug").addFilter(records.append)

            def hog():
                while not records:
                    pass

            eventlet.spawn(hog).wait()
            print(records[0].getMessage().split(" at ")[0])
        """),
        hub=loop,
    )
    assert done.stdout == "green thread of hog\n", done.stderr


# What keeps the loop until somebody has said so.
HOG = """
import logging, eventlet
records = []
logging.getLogger("greenio.debug").addFilter(records.append)

def hog():
    while not records:
        pass

eventlet.monkey_patch()
eventlet.spawn(hog).wait()
print(records[0].getMessage().split(" at ")[0])
"""


def test_programs_that_it_starts_are_watched_once_they_are_patched(loop):
    plain = "import greenio.debug, threading; print(threading.active_count())"
    done = python(
        *("-m", "greenio", "--monitor=0.05", "--no-patch", "-c"),
        f"""
import subprocess, sys
for text in ({HOG!r}, {plain!r}):
    subprocess.run([sys.executable, "-c", text], check=True)
        """.strip(),
        hub=loop,
    )
    assert done.stdout == "green thread of hog\n1\n", done.stderr


def test_a_forked_child_is_watched_when_it_patches(loop):
    text = HOG.replace("eventlet.monkey_patch()", "eventlet.monkey_patch(os=True)")
    child = f"""
import os, warnings
# From Python 3.12 on, of threads that the child does not have.
warnings.simplefilter("ignore", DeprecationWarning)
pid = os.fork()
if not pid:
    exec({text!r})
else:
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """.strip()
    done = python("-m", "greenio", "--monitor=0.05", "-c", child, hub=loop)
    assert done.stdout == "green thread of hog\n", done.stderr


def test_a_mistake_in_the_monitors_variable_ends_no_program():
    text = "import greenio; greenio.monkey_patch(); print(1)"
    done = python("-c", text, GREENIO_MONITOR="soon")
    assert done.stdout == "1\n"
    assert "GREENIO_MONITOR=soon: it takes a number of seconds" in done.stderr


def test_debug_mode(loop):
    done = python(
        *("-m", "greenio", "--debug", "-c"),
        textwrap.dedent("""
            import asyncio, eventlet, faulthandler, subprocess, sys

            def waits():
                eventlet.event.Event().wait()

            thread = eventlet.spawn(waits)
            eventlet.sleep(0)
            print(asyncio.get_running_loop().get_debug(), faulthandler.is_enabled())
            child = "import asyncio; print(asyncio.new_event_loop().get_debug())"
            print(subprocess.run(
                [sys.executable, "-W", "ignore", "-c", child], stdout=subprocess.PIPE
            ).stdout)
        """),
        hub=loop,
    )
    assert done.stdout == "True True\nb'True\\n'\n", done.stderr
    assert "left behind at the end of the program: <GreenThread waits, " in done.stderr


PROGRAM = """
import os, signal, sys, threading, eventlet

def waits_for_job(queue):
    queue.get()

queue = eventlet.Queue()
thread = eventlet.spawn(waits_for_job, queue)
eventlet.sleep(0)
os.kill(os.getpid(), SIGNAL)
while not queue.empty():
    eventlet.sleep(0)
eventlet.sleep(0.01)
queue.put(1)
thread.wait()
"""


@pytest.mark.parametrize("how", ["option", "environment"])
def test_run_info_on_a_signal(loop, how):
    text = PROGRAM.replace("SIGNAL", "signal.SIGUSR2")
    if how == "option":
        command = ["-m", "greenio", "--run-info-signal", "usr2", "-c", text]
        done = python(*command, hub=loop)
    else:
        text = "import greenio as eventlet\n" + text.replace(", eventlet", "")
        done = python("-c", text, hub=loop, GREENIO_RUN_INFO_SIGNAL="SIGUSR2")
    assert done.returncode == 0, done.stderr
    assert "green thread of waits_for_job" in done.stderr
    assert "waits for get() of <Queue" in done.stderr


def test_children_get_the_signal_too():
    child = "import greenio, signal; print(signal.getsignal(signal.SIGUSR2).__name__)"
    done = python(
        *("-m", "greenio", "--run-info-signal", "USR2", "-c"),
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])",
    )
    assert done.stdout == "_print_run_info\n", done.stderr


def test_a_mistake_in_the_environment_ends_no_program():
    done = python("-c", "import greenio", GREENIO_RUN_INFO_SIGNAL="NOSUCH")
    assert done.returncode == 0
    assert "GREENIO_RUN_INFO_SIGNAL=NOSUCH: there is no signal 'NOSUCH'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-c"], "-c takes the text"),
        (["--monitor=inf", "x.py"], "--monitor takes a number of seconds above 0"),
        (["--monitor=x", "x.py"], "--monitor takes a number of seconds above 0"),
        (["--monitor=0", "x.py"], "--monitor takes a number of seconds above 0"),
        (["--run-info-signal"], "takes the name of a signal, such as USR1"),
        (["--run-info-signal=FOO", "x.py"], "there is no signal 'FOO'"),
    ],
)
def test_what_makes_no_sense(arguments, message):
    done = python("-m", "greenio", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


class Terminal:
    """The prompt of ``python -m greenio``, on a terminal of its own."""

    def __init__(self, hub: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "greenio"],
            env=environment(hub, TERM="dumb", INPUTRC=os.devnull),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)
        self.read(">>> ")

    def read(self, end: str) -> str:
        """Return what is shown up to some text."""
        text, deadline = "", time.monotonic() + PATIENCE
        while not text.endswith(end):
            assert time.monotonic() < deadline, text
            if not select.select([self._ours], [], [], 1)[0]:
                continue
            try:
                text += os.read(self._ours, 1).decode()
            except OSError:
                return text
        return text.removesuffix(end).replace("\r\n", "\n")

    def __call__(self, line: str, end: str = ">>> ") -> str:
        """Enter a line; return what it printed."""
        os.write(self._ours, f"{line}\n".encode())
        return self.read(end).partition("\n")[2]

    def interrupt(self) -> str:
        os.write(self._ours, b"\x03")
        return self.read(">>> ")

    def close(self) -> int:
        os.write(self._ours, b"exit()\n")
        self.read("\0")
        status = self.process.wait(PATIENCE)
        os.close(self._ours)
        return status


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_the_prompt(loop):
    terminal = Terminal(loop)
    try:
        assert terminal("1 + 1") == "2\n"
        assert terminal("await asyncio.sleep(0, 'slept')") == "'slept'\n"
        assert terminal("import time, threading, eventlet") == ""
        # It goes on while the prompt waits.
        assert terminal("done = eventlet.Event()") == ""
        assert terminal("t = eventlet.spawn_after(0.01, done.send, 5)") == ""
        assert terminal("done.wait()") == "5\n"
        assert terminal("time.sleep(0); eventlet.__name__") == "'eventlet'\n"
        assert terminal("def two():", "... ") == ""
        assert terminal("    return 2", "... ") == ""
        assert terminal("") == ""
        assert terminal("greenio.spawn(two).wait()") == "2\n"
        shown = terminal("undefined")
        assert "NameError" in shown
        assert "greenio/" not in shown
        assert terminal("import __main__; __main__.two()") == "2\n"
        os.write(terminal._ours, b"print('as' + 'leep'); time.sleep(1000)\n")
        terminal.read("asleep")
        assert "KeyboardInterrupt" in terminal.interrupt()
        # In the middle of reading a line, too.
        assert "KeyboardInterrupt" in terminal.interrupt()
        assert terminal("3") == "3\n"
    finally:
        status = terminal.close()
    assert status == 0


def test_without_a_terminal_it_says_what_to_do():
    done = python("-m", "greenio")
    assert done.returncode == 2
    assert "the prompt is for terminals" in done.stderr
