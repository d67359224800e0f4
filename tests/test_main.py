"""``python -m greenio``: the program runs as `python` would run it."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import zipfile

import pytest

from _fresh import PATIENCE, Interrupted, environment, python

# Each starts interpreters.
pytestmark = pytest.mark.slow


@pytest.fixture
def script(tmp_path):
    def write(text, name="program.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


def plain(*arguments, cwd=None):
    """The same without greenio, to compare with."""
    return python(*map(str, arguments), cwd=cwd)


def under(*arguments, cwd=None, hub=None):
    return python("-m", "greenio", *map(str, arguments), cwd=cwd, hub=hub)


SEES_ITSELF = """
    import sys, os
    def here(path):
        return os.path.realpath(path) if path else path
    print(__name__, __file__, sys.argv, here(sys.path[0]))
    print(__package__, __spec__ and __spec__.name, __builtins__ is not None)
    print(sys.modules["__main__"].__dict__ is globals(), __loader__.__class__.__name__)
"""


def test_a_script_sees_what_it_sees_under_python(script):
    path = script(SEES_ITSELF)
    ours, pythons = under(path, "a", "-m", "--hub"), plain(path, "a", "-m", "--hub")
    assert ours.stdout == pythons.stdout
    assert "--hub" in ours.stdout
    assert (ours.returncode, ours.stderr) == (0, "")


def test_a_relative_path(script, tmp_path):
    script(SEES_ITSELF, "inner/program.py")
    ours = under("inner/program.py", cwd=tmp_path)
    assert ours.stdout == plain("inner/program.py", cwd=tmp_path).stdout
    assert str(tmp_path / "inner") in ours.stdout


def test_a_script_imports_its_neighbours(script):
    script("value = 5\n", "neighbour.py")
    path = script("import neighbour; print(neighbour.value)\n")
    assert under(path).stdout == "5\n"


def test_a_module(script, tmp_path):
    script(SEES_ITSELF, "package/part.py")
    script("", "package/__init__.py")
    ours = under("-m", "package.part", "x", cwd=tmp_path)
    assert ours.stdout == plain("-m", "package.part", "x", cwd=tmp_path).stdout
    assert "package.part" in ours.stdout


def test_a_package(script, tmp_path):
    script(SEES_ITSELF, "package/__main__.py")
    script("", "package/__init__.py")
    ours = under("-m", "package", "x", cwd=tmp_path)
    assert ours.stdout == plain("-m", "package", "x", cwd=tmp_path).stdout
    assert "package.__main__" in ours.stdout


def test_a_directory_and_an_archive(script, tmp_path):
    path = script(SEES_ITSELF, "app/__main__.py")
    archive = tmp_path / "app.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(path, "__main__.py")
    for program in (path.parent, archive):
        ours, pythons = under(program, "x"), plain(program, "x")
        assert ours.stdout.splitlines()[0] == pythons.stdout.splitlines()[0]
        assert ours.stderr == ""


def test_it_is_patched_and_eventlet_means_greenio(script):
    path = script("""
        import socket, time, threading
        import eventlet, greenio
        from eventlet import patcher
        assert eventlet.spawn is greenio.spawn
        print(sorted(patcher.already_patched))
        print(issubclass(socket.socket, greenio.green.socket.GreenSocket))
    """)
    done = under(path)
    assert done.stderr == ""
    assert "'socket'" in done.stdout
    assert "'thread'" in done.stdout
    assert done.stdout.endswith("True\n")


def test_no_patch(script):
    path = script("""
        import socket
        import eventlet
        print(socket.socket.__module__, eventlet.patcher.is_monkey_patched("socket"))
    """)
    assert under("--no-patch", path).stdout == "socket False\n"


@pytest.mark.parametrize("option", [["--hub", "uvloop"], ["--hub=uvloop"]])
def test_the_hub_is_chosen(script, option):
    pytest.importorskip("uvloop")
    path = script("""
        import os, eventlet
        eventlet.sleep(0)
        print(type(eventlet.hubs.get_hub().loop).__module__, os.environ["GREENIO_HUB"])
    """)
    assert under(*option, path).stdout == "uvloop uvloop\n"
    # The option is for the program; the environment alone would do as well.
    assert under("--hub", "asyncio", path, hub="uvloop").stdout == (
        "asyncio.unix_events asyncio\n"
    )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("raise SystemExit", 0),
        ("raise SystemExit(3)", 3),
        ("raise SystemExit('a message')", 1),
        ("import sys; sys.exit()", 0),
        ("import os; os._exit(9)", 9),
        ("import eventlet; eventlet.sleep(0); raise SystemExit(4)", 4),
        ("import eventlet; eventlet.spawn(exit, 6); eventlet.sleep(1)", 6),
        ("import atexit; atexit.register(print, 'bye')", 0),
    ],
)
def test_exit_codes(script, body, status):
    done = under(script(body))
    assert done.returncode == status
    assert done.stderr == ("a message\n" if "message" in body else "")
    assert ("bye" in done.stdout) == ("bye" in body)


@pytest.mark.parametrize(
    "body",
    [
        "def f():\n    return {}['missing']\n\nf()\n",
        "x = 1\nthis is no python\n",
        "import importlib\nimportlib.import_module('no_such_module')\n",
        "raise ValueError('a') from KeyError('b')\n",
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise OSError(5, 'c')\n",
        (
            "import sys\nsys.excepthook = lambda kind, error, tb: print(kind, tb.tb_lineno)\n"
            "1 / 0\n"
        ),
    ],
    ids=["nested", "syntax", "importlib", "cause", "context", "excepthook"],
)
def test_tracebacks_are_those_of_python(script, body):
    path = script(body)
    ours, pythons = under(path), plain(path)
    assert ours.stderr == pythons.stderr
    assert ours.stdout == pythons.stdout
    assert ours.returncode == pythons.returncode == 1


def test_a_failing_module_has_no_frames_of_ours(script, tmp_path):
    script("def f():\n    1 / 0\n\nf()\n", "failing.py")
    done = under("-m", "failing", cwd=tmp_path)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "greenio" not in done.stderr
    assert "runpy" not in done.stderr
    assert done.stderr.count("  File ") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.py"], "can't open file '{cwd}/missing.py': [Errno 2] No such file"),
        (["."], "can't find '__main__' module in "),
        (["-m", "no_such_module"], "No module named no_such_module"),
        (["-m", "os.no_such"], "Error while finding module specification for"),
        (["-m", "email"], "No module named email.__main__; 'email' is a package and"),
    ],
)
def test_programs_that_are_not_there(arguments, message, tmp_path):
    ours, pythons = under(*arguments, cwd=tmp_path), plain(*arguments, cwd=tmp_path)
    expected = message.format(cwd=tmp_path.resolve())
    assert expected in ours.stderr
    assert ours.stderr.startswith(f"{sys.executable}: ")
    assert ours.returncode == pythons.returncode
    assert expected in pythons.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a script"),
        (["--hub"], "--hub takes a name"),
        (["-m"], "-m takes the name"),
        (["--frobnicate", "x.py"], "unknown option --frobnicate"),
        (["--hub", "twisted", "x.py"], "there is no hub called 'twisted'"),
    ],
)
def test_command_lines_that_make_no_sense(arguments, message):
    done = under(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help_and_version():
    done = under("--help")
    assert done.returncode == 0
    for word in ("--hub", "--no-patch", "-m module", "--version"):
        assert word in done.stdout
    done = under("--version")
    assert done.stdout.startswith("greenio ")
    assert "eventlet API 0.41.3" in done.stdout


def test_interrupted(script, hub_name):
    path = script("""
        import time
        print("waiting", flush=True)
        time.sleep(60)
    """)
    done = Interrupted("-m", "greenio", str(path), until="waiting", hub=hub_name)
    # Ended by the signal, as the interpreter does it.
    assert done.status == -signal.SIGINT
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "KeyboardInterrupt"
    assert done.stderr.count("  File ") == 1, done.stderr
    assert "program.py" in done.stderr


def test_interrupted_while_a_green_thread_runs(script, hub_name):
    path = script("""
        import eventlet

        def busy():
            print("busy", flush=True)
            while True:
                pass

        eventlet.spawn(busy)
        try:
            eventlet.sleep(60)
        except KeyboardInterrupt:
            print("the main thread got it")
            raise SystemExit(5)
    """)
    done = Interrupted("-m", "greenio", str(path), until="busy", hub=hub_name)
    assert (done.status, done.stderr) == (5, "")
    assert "the main thread got it" in done.stdout


def test_input_and_output_are_the_programs(script):
    path = script("import sys; print(sys.stdin.read().upper(), end='')\n")
    done = subprocess.run(
        [sys.executable, "-m", "greenio", str(path)],
        input="text",
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout == "TEXT"


def test_multiprocessing_finds_the_program(script):
    path = script("""
        import multiprocessing

        def shout(word):
            print(word.upper(), __name__, flush=True)

        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            process = context.Process(target=shout, args=("hello",))
            process.start()
            process.join()
            print(process.exitcode)
    """)
    done = under(path)
    assert done.stdout == "HELLO __mp_main__\n0\n", done.stderr


def test_a_compiled_script(script, tmp_path):
    import py_compile

    path = script("print(__name__, __file__)\n")
    compiled = tmp_path / "compiled.pyc"
    py_compile.compile(str(path), cfile=str(compiled))
    done = under(compiled)
    assert done.stdout == f"__main__ {compiled}\n"


def test_a_compiled_script_of_another_python(tmp_path):
    path = tmp_path / "compiled.pyc"
    path.write_bytes(b"\0" * 64)
    ours, pythons = under(path), plain(path)
    assert "magic number" in ours.stderr
    assert ours.returncode == pythons.returncode == 1


def test_a_module_below_one_that_is_not_there():
    done = under("-m", "no_such.module")
    assert "No module named no_such.module" in done.stderr
    assert done.returncode == 1
