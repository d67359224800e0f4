"""``python -m greenio command``, and what the programs find that it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import greenio
from _fresh import environment, python

# Each starts interpreters.
pytestmark = pytest.mark.slow

SITE = Path(greenio.__file__).parent / "_site"


def command(directory, name, text, first="#!/usr/bin/env python3\n"):
    path = directory / name
    path.write_text(first + text)
    path.chmod(0o755)
    return path


def on_path(directory):
    return {"PATH": f"{directory}{os.pathsep}{os.environ['PATH']}"}


SHOW = """
import sys, time, importlib.util
spec = importlib.util.find_spec("eventlet")
print(sys.argv, __name__, spec.origin.endswith("greenio/__init__.py"))
print(time.sleep.__module__ if hasattr(time.sleep, "__code__") else "plain")
"""


def test_a_command_that_is_on_the_path(tmp_path):
    path = command(tmp_path, "our-command", SHOW)
    done = python("-m", "greenio", "our-command", "--its", "own", **on_path(tmp_path))
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"{[str(path), '--its', 'own']} __main__ True",
        "greenio.green.time",
    ]


def test_a_long_interpreter_line(tmp_path):
    """As pip writes it where the path of the interpreter is too long for the system."""
    text = f"'''exec' {sys.executable} \"$0\" \"$@\"\n' '''\nprint('ran')\n"
    command(tmp_path, "our-command", text, first="#!/bin/sh\n")
    done = python("-m", "greenio", "our-command", **on_path(tmp_path))
    assert (done.stdout, done.stderr) == ("ran\n", "")


def test_one_of_this_environment_comes_first(tmp_path):
    """pytest is beside the interpreter, or where packages put their commands."""
    places = (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")))
    if not any((place / "pytest").exists() for place in places):
        pytest.skip("pytest was not installed as a command")
    command(tmp_path, "pytest", "print('the wrong one')")
    done = python(
        "-m", "greenio", "--no-patch", "pytest", "--version", **on_path(tmp_path)
    )
    assert "the wrong one" not in done.stdout
    assert "pytest" in done.stdout + done.stderr


def test_a_file_of_that_name_comes_first(tmp_path):
    (tmp_path / "here").write_text("print('the file')")
    inner = tmp_path / "bin"
    inner.mkdir()
    command(inner, "here", "print('the command')")
    done = python("-m", "greenio", "here", cwd=tmp_path, **on_path(inner))
    assert done.stdout == "the file\n"


def test_what_is_no_program_in_python(tmp_path):
    path = command(tmp_path, "our-shell", "echo shell\n", first="#!/bin/sh\n")
    done = python("-m", "greenio", "our-shell", **on_path(tmp_path))
    assert done.returncode == 2
    assert f"{path} is no program in Python" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["gunicorn", "celery"])
def test_those_who_patch_their_workers_are_not_patched(tmp_path, name):
    command(tmp_path, name, SHOW)
    for arguments in ([str(tmp_path / name)], ["-m", name]):
        (tmp_path / f"{name}.py").write_text(SHOW)
        done = python("-m", "greenio", *arguments, cwd=tmp_path)
        assert done.stderr == ""
        first, second = done.stdout.splitlines()
        assert first.endswith("__main__ True")
        assert second == "plain"


# -- what they start ------------------------------------------------------------------------

CHILD = """
import importlib.metadata, importlib.util, sys
before = "greenio" in sys.modules
import eventlet
print(before, eventlet.__version__, importlib.metadata.version("eventlet"))
print(eventlet.spawn.__module__)
"""


def test_programs_that_it_starts_know_eventlet(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {CHILD!r}], check=True)\n"
    )
    done = python("-m", "greenio", str(script))
    assert done.stderr == ""
    assert done.stdout == "False 0.41.3 0.41.3\ngreenio.greenthread\n"


def test_by_the_variables_that_it_prints():
    done = python("-m", "greenio", "--environment")
    variables = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert variables["GREENIO_AS_EVENTLET"] == "1"
    assert variables["PYTHONPATH"].split(os.pathsep)[0] == str(SITE)
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD],
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert child.stdout == "False 0.41.3 0.41.3\ngreenio.greenthread\n"


def site(tmp_path, program, **more):
    """Run a program with our sitecustomize in front of other directories."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={
            **environment(),
            "PYTHONPATH": os.pathsep.join(
                [str(SITE), str(tmp_path), environment()["PYTHONPATH"]]
            ),
            **more,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_sitecustomize_that_it_hides_is_run(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.hidden = __name__\n")
    program = (
        "import sys, sitecustomize\n"
        "print(sys.hidden, sitecustomize.__file__, 'greenio' in sys.modules)"
    )
    done = site(tmp_path, program, GREENIO_AS_EVENTLET="1")
    assert done.stderr == ""
    assert done.stdout == f"sitecustomize {tmp_path / 'sitecustomize.py'} False\n"


def test_without_the_variable_nothing_is_changed(tmp_path):
    (tmp_path / "eventlet.py").write_text("real = True\n")
    done = site(tmp_path, "import eventlet; print(eventlet.real)")
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_python_without_greenio_keeps_its_eventlet(tmp_path):
    (tmp_path / "eventlet.py").write_text("real = True\n")
    (tmp_path / "greenio.py").write_text("raise ImportError('not here')\n")
    done = site(
        tmp_path,
        "import importlib.metadata, eventlet; print(eventlet.real)",
        GREENIO_AS_EVENTLET="1",
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_metadata_without_an_import(tmp_path):
    program = "import importlib.metadata as m; print(m.version('eventlet'))"
    done = site(tmp_path, program, GREENIO_AS_EVENTLET="1")
    assert done.stderr == ""
    assert done.stdout == "0.41.3\n"
