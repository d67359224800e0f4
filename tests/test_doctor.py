"""``python -m greenio doctor``: a planted mistake of each kind is found."""

from __future__ import annotations

import json
import textwrap

import pytest

from _fresh import python
from greenio._doctor import command, environment, source
from greenio._doctor.findings import Finding


def kinds(findings):
    return [finding.kind for finding in findings]


# -- the installation -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "arguments", "kind"),
    [
        (environment.check_python, ("PyPy", True), "python"),
        (environment.check_python, ("CPython", False), "python"),
        (environment.check_greenlet, ("2.0.2", True), "greenlet"),
        (environment.check_greenlet, ("3.2.1", False), "greenlet"),
        (environment.check_uvloop, ("0.19.0",), "uvloop"),
    ],
)
def test_what_is_too_old_or_not_made_for_it(check, arguments, kind):
    assert kinds(check(*arguments)) == [kind]


def test_what_is_new_enough():
    assert not list(environment.check_python("CPython", True))
    assert not list(environment.check_greenlet("3.1", True))
    assert not list(environment.check_uvloop("0.20.0"))
    assert not list(environment.check_uvloop(None))


def test_a_loop_that_is_not_there(monkeypatch):
    monkeypatch.setenv("GREENIO_HUB", "twisted")
    (finding,) = environment.check_hub()
    assert (finding.kind, finding.where) == ("hub", "GREENIO_HUB=twisted")


def test_the_other_project_of_this_name(tmp_path, monkeypatch):
    info = tmp_path / "greenio-0.6.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: greenio\nVersion: 0.6\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (finding,) = environment.check_distributions()
    assert (finding.kind, finding.where) == ("another-greenio", "greenio 0.6")
    assert "pip uninstall greenio" in finding.fix


# -- the text of the program ------------------------------------------------------------


def blocking(tmp_path, text):
    path = tmp_path / "app.py"
    path.write_text(textwrap.dedent(text))
    return list(source.blocking_calls(source.read_all(path)))


@pytest.mark.parametrize(
    ("imports", "call", "instead"),
    [
        ("import time", "time.sleep(1)", "asyncio.sleep"),
        ("import time as t", "t.sleep(1)", "asyncio.sleep"),
        ("from time import sleep", "sleep(1)", "asyncio.sleep"),
        ("import eventlet", "eventlet.sleep(1)", "asyncio.sleep"),
        ("import requests", "x = [requests.get(u) for u in us]", "run_green"),
        ("import subprocess", "subprocess.run(['ls'])", "create_subprocess_exec"),
        ("import urllib.request", "urllib.request.urlopen(u)", "run_green"),
        ("from urllib import request", "request.urlopen(u)", "run_green"),
        ("", "input('?')", "run_green"),
    ],
)
def test_a_blocking_call_in_a_coroutine(tmp_path, imports, call, instead):
    found = blocking(tmp_path, f"{imports}\nasync def handler(u, us):\n    {call}\n")
    assert kinds(found) == ["blocking-call"]
    assert found[0].where.endswith("app.py:3")
    assert "handler()" in found[0].what
    assert instead in found[0].fix


@pytest.mark.parametrize(
    "text",
    [
        "import time\ndef f():\n    time.sleep(1)\n",
        "import asyncio\nasync def f():\n    await asyncio.sleep(1)\n",
        "from asyncio import sleep\nasync def f():\n    await sleep(1)\n",
        "import time\nasync def f():\n    def g():\n        time.sleep(1)\n",
        "import time\nasync def f():\n    await run_green(time.sleep, 1)\n",
        "import time, greenio\n@greenio.portal\nasync def f():\n    time.sleep(1)\n",
        "import time\nasync def f():\n    await ensure_portal()\n    time.sleep(1)\n",
        "import time\nasync def f():\n    time.sleep(1)\nx = portal_task_factory\n",
    ],
)
def test_what_blocks_nobody(tmp_path, text):
    assert blocking(tmp_path, text) == []


def test_the_files_that_it_imports_are_read_too(tmp_path):
    (tmp_path / "pkg" / "inner").mkdir(parents=True)
    (tmp_path / "pkg" / "__init__.py").write_text("from . import views\n")
    (tmp_path / "pkg" / "views.py").write_text("from .inner.deep import x\n")
    (tmp_path / "pkg" / "inner" / "__init__.py").write_text("")
    (tmp_path / "pkg" / "inner" / "deep.py").write_text(
        "from os import system\nasync def f():\n    system('ls')\n"
    )
    (tmp_path / "broken.py").write_text("this is no python\n")
    found = blocking(tmp_path, "import pkg, broken\n")
    assert [finding.where.rpartition("/")[2] for finding in found] == ["deep.py:3"]


# -- the program itself -----------------------------------------------------------------


@pytest.fixture
def doctor(tmp_path):
    def examine(text, *options, files=(), name="app.py"):
        for path, content in [*files, (name, text)]:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(textwrap.dedent(content))
        done = python("-m", "greenio", "doctor", "--json", *options, name, cwd=tmp_path)
        assert done.stdout, done.stderr
        answer = json.loads(done.stdout)
        findings = [Finding(**finding) for finding in answer["findings"]]
        assert done.returncode == (1 if findings else 0)
        answer["findings"] = findings
        answer["stderr"] = done.stderr
        return answer

    return examine


SICK = """
    import helper
    import grpc
    import psycopg2.extensions
    import gevent
    import greenio
    greenio.monkey_patch(os=False, psycopg=False)
    import asyncio, sqlite3, time

    async def handler():
        time.sleep(0)

    if __name__ == "__main__":
        raise AssertionError("it was run")
"""
HELPER = """
    import socket, threading
    LOCK = threading.Lock()
    LOCK.acquire()

    class Connection(socket.socket):
        pass
"""


@pytest.mark.slow
def test_a_program_with_every_mistake(doctor, tmp_path):
    answer = doctor(
        SICK,
        files=[
            ("helper.py", HELPER),
            ("grpc.py", ""),
            ("gevent.py", ""),
            ("psycopg2/__init__.py", ""),
            ("psycopg2/extensions.py", "def get_wait_callback(): return None\n"),
        ],
    )
    found = {}
    for finding in answer["findings"]:
        found.setdefault(finding.kind, []).append(finding)
    app = tmp_path / "app.py"
    assert "monkey_patch() left out os" in found["partly-patched"][0].what
    early = {finding.where for finding in found["imported-before-patching"]}
    assert {f"{app}:2", f"{app}:3", f"{app}:4"} == early
    whats = [finding.what for finding in found["imported-before-patching"]]
    assert any(what.startswith("grpc is imported before") for what in whats)
    wheres = {finding.where for finding in found["not-green"]}
    assert "helper.LOCK" in wheres
    assert "helper.Connection" in wheres
    waits = {finding.where: finding.what for finding in found["waits-in-c"]}
    assert waits[f"{app}:3"].startswith("grpc waits in C")
    assert waits[f"{app}:4"].startswith("psycopg2 has no wait_callback")
    assert any(what.startswith("sqlite3") for what in waits.values())
    assert found["own-loop"][0].what.startswith("gevent brings a loop")
    assert [each.where for each in found["blocking-call"]] == [f"{app}:11"]
    assert all(finding.fix for finding in answer["findings"])
    assert "os" not in answer["patched"]


@pytest.mark.slow
def test_a_healthy_program(doctor):
    answer = doctor(
        """
        import greenio
        greenio.monkey_patch()
        import helper, asyncio

        async def main():
            await asyncio.sleep(0)
        """,
        files=[("helper.py", HELPER.replace("LOCK.acquire()", ""))],
    )
    assert answer["findings"] == [], answer
    assert "socket" in answer["patched"]
    assert answer["versions"].startswith("greenio ")


@pytest.mark.slow
def test_one_that_never_patches(doctor):
    text = "import eventlet, requests, time\ntime.monotonic()\n"
    (finding,) = doctor(text, files=[("requests.py", "")])["findings"]
    assert finding.kind == "not-patched"
    assert "waits in requests keeps" in finding.what
    assert "python -m greenio app.py" in finding.fix


@pytest.mark.slow
def test_one_that_knows_nothing_of_greenio(doctor):
    """It is judged as ``python -m greenio`` runs it."""
    answer = doctor("import socket, threading\nLOCK = threading.Lock()\n")
    assert answer["findings"] == []
    assert "socket" in answer["patched"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "kind", "options"),
    [
        ("import no_such_module\n", "fails", ()),
        ("import os; os._exit(3)\n", "ended", ()),
        (
            "import select; select.select([], [], [])\n",
            "import-does-not-end",
            ("--timeout=0.1",),
        ),
    ],
)
def test_one_that_cannot_be_looked_at(doctor, text, kind, options):
    assert kinds(doctor(text, *options)["findings"]) == [kind]


@pytest.mark.slow
def test_it_is_run_if_asked_to(doctor):
    answer = doctor(
        """
        import sys, greenio
        greenio.monkey_patch()
        import asyncio, time

        def nap():
            time.sleep(0.001)

        async def main():
            nap()

        if __name__ == "__main__":
            print("it is run")
            asyncio.run(main())
            sys.exit(4)
        """,
        "--run",
    )
    # Warnings are errors here.
    warned, blocked = answer["findings"]
    assert (warned.kind, blocked.kind) == ("fails", "blocked-the-loop")
    assert blocked.where.endswith("app.py:7")
    assert "it is run" in answer["stderr"]


@pytest.mark.slow
def test_a_module_and_words(tmp_path):
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "__init__.py").write_text("import eventlet, socket\n")
    done = python("-m", "greenio", "doctor", "-m", "service", cwd=tmp_path)
    assert done.returncode == 1
    assert "service patches: nothing" in done.stdout
    assert "1. service: it never calls monkey_patch()" in done.stdout
    assert "    -> start it by `python -m greenio -m service`" in done.stdout
    assert done.stdout.endswith("\n1 found\n")


def test_command_lines(capsys):
    with pytest.raises(SystemExit):
        command.main(["--run"])
    assert "name the script" in capsys.readouterr().err
    assert command.main(["missing.py"]) == 1
    assert "1. missing.py: there is no such program" in capsys.readouterr().out


@pytest.mark.slow
def test_one_that_exits_when_it_is_imported(doctor):
    (finding,) = doctor("import sys\nsys.exit(3)\n")["findings"]
    assert finding.kind == "fails"
    assert "SystemExit: 3" in finding.what


@pytest.mark.slow
def test_a_package_is_run_if_asked_to(tmp_path):
    package = tmp_path / "service"
    package.mkdir()
    (package / "__init__.py").write_text("import greenio\ngreenio.monkey_patch()\n")
    (package / "__main__.py").write_text("print('it is run', __name__)\n")
    done = python("-m", "greenio", "doctor", "--run", "-m", "service", cwd=tmp_path)
    assert "it is run __main__" in done.stderr
    assert done.returncode == 0, done.stdout


def test_a_module_that_is_not_there(capsys):
    for name in ("no_such.module", "..wrong"):
        assert command.main(["-m", name]) == 1
        assert f"1. {name}: there is no such program" in capsys.readouterr().out
